/* Engine `bab`: optimised bounds of every open box, then branch and bound on its neurons. */
#include <math.h>

#include "verifier/bab.h"

ep_status ep_engine_bab_run(ep_run *run);

static ep_status one_box(ep_run *run, uint32_t box, ep_bab_stats *sum, bool *is_sat) {
  ep_root *root;
  EP_TRY(ep_root_create(run, box, &root));
  ep_ascent_opt opt = ep_ascent_default();
  opt.iterations = (uint32_t)run->cfg->iterations;
  ep_status st = ep_root_bound(root, EP_ROOT_ALPHA, &opt);
  if (st == EP_OK) {
    ep_bab_opt bab = ep_bab_default(run);
    ep_bab_stats stats;
    st = ep_bab_run(root, &bab, &stats, is_sat);
    sum->domains += stats.domains;
    sum->open += stats.open;
    sum->stuck += stats.stuck;
    sum->worst_margin = fmin(sum->worst_margin, stats.worst_margin);
  }
  ep_root_destroy(root);
  return st;
}

ep_status ep_engine_bab_run(ep_run *run) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run);
  ep_bab_stats sum = {.worst_margin = INFINITY};
  bool is_sat = false;
  ep_status st = EP_OK;
  atomic_store(&run->progress.phase, "bab");
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK && !is_sat; i++) {
    bool is_open = false;
    for (uint32_t p = 0; p < run->q->box[i].n_poly; p++) is_open |= !ep_run_is_proved(run, i, p);
    if (is_open) st = one_box(run, i, &sum, &is_sat);
  }
  ep_phase ph = {.name = "bab",
                 .seconds = ep_time_s() - t0,
                 .domains = sum.domains,
                 .proved = open - ep_run_n_open(run),
                 .worst_bound = sum.worst_margin < INFINITY ? sum.worst_margin : NAN};
  ep_run_phase(run, &ph);
  return st;
}
