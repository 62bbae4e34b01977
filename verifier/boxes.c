#include "verifier/boxes.h"

#include <math.h>

ep_status ep_boxes_sweep(ep_run *run, const char *name, ep_box_solve *solve, void *arg, bool *is_sat) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run), n_left = 0;
  ep_phase ph = {.name = name, .worst_bound = INFINITY};
  ep_status st = EP_OK;
  *is_sat = false;
  atomic_store(&run->progress.phase, name);
  for (uint32_t i = 0; i < run->q->n_box; i++) n_left += ep_run_is_box_open(run, i);
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK && !*is_sat; i++) {
    if (!ep_run_is_box_open(run, i)) continue;
    st = solve(arg, run, i, n_left--, &ph, is_sat);
    atomic_store(&run->progress.domains, ph.domains);
  }
  ph.seconds = ep_time_s() - t0;
  ph.proved = open - ep_run_n_open(run);
  if (!(fabs(ph.worst_bound) < INFINITY)) ph.worst_bound = NAN;
  ep_run_phase(run, &ph);
  return st;
}
