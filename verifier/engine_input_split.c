/* Engine `input-split`: branch and bound on the input box until everything is decided or the run is stopped. */

#include "verifier/input_split.h"

ep_status ep_engine_input_split_run(ep_run *run);

ep_status ep_engine_input_split_run(ep_run *run) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run);
  ep_input_split_opt opt = {0};
  ep_input_split_stats stats;
  atomic_store(&run->progress.phase, "input-split");
  ep_status st = ep_input_split_run(run, &opt, &stats);
  ep_phase ph = {.name = "input-split",
                 .seconds = ep_time_s() - t0,
                 .domains = stats.boxes,
                 .proved = open - ep_run_n_open(run),
                 .worst_bound = stats.worst_margin};
  ep_run_phase(run, &ph);
  return st;
}
