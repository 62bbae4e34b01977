/* Branch and bound over linear programs: the search behind the engines `lp` and `milp`. The relaxation of every case is
 * solved by a floating-point LP solver; a case closes only when the solver's dual, recomputed with outward rounding
 * (encoders/dual.h), refutes it, or an exact solver does. Cases split on the disjunction that the LP's optimum violates
 * most; the choices of a disjunction cover it.
 * Tjeng et al. 2019 (MIPVerify) for the encoding and the tightening of bounds. */
#ifndef EP_VERIFIER_MILP_H
#define EP_VERIFIER_MILP_H

#include "encoders/dual.h"
#include "verifier/goal.h"
#include "verifier/price.h"

typedef struct ep_milp {
  ep_root *root;
  ep_goals goals;
  const ep_backend *lp, *exact; /* exact: for cases that rounding leaves open; NULL when not compiled in */
  ep_solver *lp_solver, *exact_solver;
  double *y, *x;
  ep_scratch *s;
  bool is_part;     /* the root is a part of a query box, searched beside others */
  bool skips_exact; /* cases that rounding leaves open stay so */
  /* Is the input in x what is looked for? NULL = a counterexample that replay accepts. */
  ep_status (*try_input)(void *arg, double *x, bool *is_found);
  void *arg;
  uint64_t max_cases;                                    /* of one search; 0 = no limit */
  double until_s;                                        /* when to leave a search open (monotonic); 0 = never */
  uint32_t *path_disj, *path_choice, *choice_of, *order; /* the case under way, see milp.c */
  uint64_t cases, by_exact;
  /* For a certificate: a case then closes only when what is recorded of it proves it as well. */
  ep_proof *proof; /* NULL = none is wanted */
  ep_prices prices;
  uint32_t n_u; /* neurons of the step that cases are recorded in: all with a price unless a caller has its own step */
  const ep_unstable *u;
} ep_milp;

/* Encodes the open polytopes of root's box with the bounds found so far. EP_E_UNSUPPORTED for operators without an
 * exact encoding. */
ep_status ep_milp_create(ep_root *root, ep_milp **out);
/* For one polytope over a part of a query box: root's bounds are those of the part. Memory from `s`, which the search
 * uses as well (a worker's own). */
ep_status ep_milp_create_part(ep_root *root, uint32_t poly, ep_scratch *s, ep_milp **out);
/* For goals of the caller's making over root's graph and bounds; takes them over, also when it fails. */
ep_status ep_milp_create_for(ep_root *root, ep_goals *take_goals, ep_scratch *s, ep_milp **out);
void ep_milp_destroy(ep_milp *m);
/* Ends every search and relaxation of m at that time (monotonic; 0 = never), leaving open what is not decided. */
void ep_milp_end_at(ep_milp *m, double until_s);
/* The root relaxation of every goal: marks polytopes proved and raises the margins of single-row polytopes.
 * @sound outward */
ep_status ep_milp_relax(ep_milp *m);
/* Searches goal g and tells nobody; an input found is in x; stuck means undecidable by rounding, open means that
 * max_cases or until_s was reached; EP_E_STOPPED when the run stops. by_exact counts the cases that rest on the exact
 * solver. */
ep_status ep_milp_decide(ep_milp *m, uint32_t g, ep_goal_outcome *out);
/* Decides goal g: marks its polytope proved, accepts a witness (*is_sat), or leaves it open (*is_stuck: for good). */
ep_status ep_milp_search(ep_milp *m, uint32_t g, bool *is_sat, bool *is_stuck);
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

typedef struct ep_milp_sweep_opt {
  const char *name; /* of the phase */
  bool is_branching;
  double budget_s; /* 0 = the run's own limit */
} ep_milp_sweep_opt;
/* Every open box of the query: certified bounds, root relaxation, tightening (--obbt), relaxation again, and with
 * is_branching the search. *is_stuck: all that is open is so for good. */
ep_status ep_milp_sweep(ep_run *run, const ep_milp_sweep_opt *opt, bool *is_sat, bool *is_stuck);

#endif
