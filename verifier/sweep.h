/* The strategy of one box on neurons: optimised bounds, then by turns branch and bound and refinement of the bounds of
 * intermediate neurons with ever more cases, for as long as refinement closes the gap, and branch and bound to the end.
 */
#ifndef EP_VERIFIER_SWEEP_H
#define EP_VERIFIER_SWEEP_H

#include "verifier/root.h"

/* Works on every box with open polytopes, for at most budget_s seconds beside the root bounds (0 = the run's own
 * limit); appends the phases alpha-crown, refine and bab. `keep` as in ep_root_open: a later call goes on from the
 * bounds of an earlier one. *is_stuck: a polytope is beyond this search. */
ep_status ep_sweep_neurons(ep_run *run, double budget_s, ep_root_keep *keep, bool *is_sat, bool *is_stuck);

#endif
