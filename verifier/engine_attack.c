/* Engine `attack`: a quick round, then the configured number of restarts. */
#include <math.h>

#include "verifier/attack.h"

ep_status ep_engine_attack_run(ep_run *run);

ep_status ep_engine_attack_run(ep_run *run) {
  double t0 = ep_time_s();
  ep_attack_opt opt = {.restarts = 32, .steps = 15, .seed = (uint64_t)run->cfg->seed};
  ep_attack_stats stats = {0};
  bool is_sat;
  atomic_store(&run->progress.phase, "attack");
  ep_status st = ep_attack_run(run, &opt, &stats, &is_sat);
  uint64_t samples = stats.samples;
  if (st == EP_OK && !is_sat) {
    opt.restarts = (uint32_t)run->cfg->restarts;
    opt.steps = (uint32_t)run->cfg->steps;
    opt.seed++;
    st = ep_attack_run(run, &opt, &stats, &is_sat);
    samples += stats.samples;
  }
  ep_phase ph = {.name = "attack", .seconds = ep_time_s() - t0, .domains = samples, .worst_bound = NAN};
  ep_run_phase(run, &ph);
  return st;
}
