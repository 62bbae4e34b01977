/* Gradient attacks: sign-gradient descent (verifier/descent.h) from many starts, batched over starts and disjuncts.
 * Every other chunk of starts is spread along random output directions first and descends with momentum. Untrusted:
 * whatever looks like a counterexample goes through ep_run_witness. */
#ifndef EP_VERIFIER_ATTACK_H
#define EP_VERIFIER_ATTACK_H

#include "verifier/engine.h"

typedef struct ep_attack_opt {
  uint32_t restarts; /* starts per open polytope, spread over chunks */
  uint32_t steps;
  double deadline_s; /* monotonic time to give up at; 0 = the run's own */
  uint64_t seed;
} ep_attack_opt;

typedef struct ep_attack_stats {
  uint64_t samples; /* forward passes */
} ep_attack_stats;

/* Attacks all open polytopes. The result does not depend on the number of threads (unless the deadline cuts in). */
ep_status ep_attack_run(ep_run *run, const ep_attack_opt *opt, ep_attack_stats *stats, bool *is_sat);

/* The same as a phase of a strategy, for at most budget_s seconds. */
ep_status ep_attack_phase(ep_run *run, uint32_t restarts, uint32_t steps, double budget_s, bool *is_sat);

/* A few steps from the points x[n x n_x] (float32, in the box) towards polytope `poly` of box `box`: each point becomes
 * the best one seen on its way, loss[n] its largest row value (<= 0: it looks like a counterexample). @sound estimate
 */
ep_status ep_attack_polish(const ep_run *run, uint32_t box, uint32_t poly, uint32_t steps, size_t n, float *x,
                           float *loss, ep_scratch *s);

#endif
