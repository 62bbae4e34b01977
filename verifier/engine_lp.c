/* Engine `lp`: one linear program per polytope, between bounds tightened by linear programs. */
#include "verifier/milp.h"

ep_status ep_engine_lp_run(ep_run *run);

ep_status ep_engine_lp_run(ep_run *run) {
  bool is_sat, is_stuck;
  return ep_milp_sweep(run, &(ep_milp_sweep_opt){.name = "lp"}, &is_sat, &is_stuck);
}
