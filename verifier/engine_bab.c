/* Engine `bab`: optimised bounds of every open box, then branch and bound on its neurons. */
#include "verifier/sweep.h"

ep_status ep_engine_bab_run(ep_run *run);

ep_status ep_engine_bab_run(ep_run *run) {
  bool is_sat, is_stuck;
  return ep_sweep_neurons(run, 0, NULL, &is_sat, &is_stuck);
}
