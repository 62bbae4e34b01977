/* Branch and bound over linear programs: the search behind the engines `lp` and `milp`. The relaxation of every case is
 * solved by a floating-point LP solver; a case closes only when the solver's dual, recomputed with outward rounding
 * (encoders/dual.h), refutes it, or an exact solver does. Cases split on the disjunction that the LP's optimum violates
 * most; the choices of a disjunction cover it.
 * Tjeng et al. 2019 (MIPVerify) for the encoding and the tightening of bounds. */
#ifndef EP_VERIFIER_MILP_H
#define EP_VERIFIER_MILP_H

#include "encoders/dual.h"
#include "verifier/goal.h"

typedef struct ep_milp {
  ep_root *root;
  ep_goals goals;
  const ep_backend *lp, *exact; /* exact: for cases that rounding leaves open; NULL when not compiled in */
  ep_solver *lp_solver, *exact_solver;
  double *y, *x;
  uint32_t *path_disj, *path_choice, *choice_of, *order; /* the case under way, see milp.c */
  uint64_t cases, by_exact;
} ep_milp;

/* Encodes the open polytopes of root's box with the bounds found so far. EP_E_UNSUPPORTED for operators without an
 * exact encoding. */
ep_status ep_milp_create(ep_root *root, ep_milp **out);
void ep_milp_destroy(ep_milp *m);
/* Takes in rows that were added to the goals' problem. */
ep_status ep_milp_renew(ep_milp *m);
/* The root relaxation of every goal: marks polytopes proved and raises the margins of single-row polytopes.
 * @sound outward */
ep_status ep_milp_relax(ep_milp *m);
/* Decides goal g: marks its polytope proved, accepts a witness (*is_sat), or leaves it open (undecidable by rounding,
 * or stopped: EP_E_STOPPED). */
ep_status ep_milp_search(ep_milp *m, uint32_t g, bool *is_sat);
/* Decides the case `c` without branching: by its relaxation, then by the exact solver. *is_closed: nothing is left in
 * it (m->by_exact counts those that rest on the exact solver); *is_sat: a witness was accepted; neither: open.
 * @sound exact */
ep_status ep_milp_settle(ep_milp *m, const ep_case *c, bool *is_closed, bool *is_sat);

typedef struct ep_obbt_stats {
  uint32_t unstable_before, unstable_after; /* neurons with more than one piece left */
  uint64_t programs;
} ep_obbt_stats;
/* Tightens root's bounds of unstable neurons, layer by layer, by minimising and maximising each over the relaxation of
 * the layers before it; most promising first (those that a little tightening would stabilise), until `until_s`
 * (monotonic). Bounds are certified from the duals. Optimisation-based bound tightening
 * (Gleixner et al. 2017). @sound outward */
ep_status ep_milp_tighten(ep_root *root, double until_s, ep_obbt_stats *stats);

/* Every open box of the query: certified bounds, root relaxation, tightening (--obbt), relaxation again, and with
 * is_branching the search. Appends the phase `name`. */
ep_status ep_milp_sweep(ep_run *run, const char *name, bool is_branching);

#endif
