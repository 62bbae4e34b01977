/* Goals put to an exact solver (Z3), over a query box or a part of one. An `unsat` of an exact encoding is a proof by
 * that solver; a model is a candidate and goes through replay. A model often sits on the very edge of the unsafe set,
 * where rounding the input to float32 loses it: then the same question is asked again with the unsafe set shrunk. */
#ifndef EP_VERIFIER_EXACT_H
#define EP_VERIFIER_EXACT_H

#include "verifier/goal.h"

/* Precision of reductions for the exact solver: numbers that stay short through many eliminations. */
enum { EP_EXACT_BITS = 16 };

/* Goal g by `solver`, which was made for `p`, goals->prob or goals->net->prob, and is left as it was. An input found is
 * in x[n_x]. The run is not told. EP_GOAL_STUCK: `p` has a solution, which for a reduction means little. */
ep_status ep_exact_decide(const ep_run *run, uint32_t box, const ep_goals *goals, const ep_prob *p, uint32_t g,
                          const ep_backend *be, ep_solver *solver, double *x, ep_scratch *s, ep_goal_outcome *out);

#endif
