/* Engine `milp`: a short attack, then branch and bound over linear programs; where inputs can be split, in turn with
 * that and on the parts. */
#include "verifier/milp.h"
#include "verifier/parts.h"

ep_status ep_engine_milp_run(ep_run *run);

static ep_status turn(void *unused, ep_run *run, double budget_s, bool *is_sat, bool *is_stuck) {
  ep_milp_sweep_opt opt = {.name = "milp", .is_branching = true, .budget_s = budget_s};
  (void)unused;
  return ep_milp_sweep(run, &opt, is_sat, is_stuck);
}

ep_status ep_engine_milp_run(ep_run *run) { return ep_parts_search(run, "glpk", ep_parts_by_milp, turn); }
