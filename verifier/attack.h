/* Gradient attacks: projected sign-gradient descent (PGD) from many starts, batched over starts and disjuncts.
 * Untrusted: whatever looks like a counterexample goes through ep_run_witness. Madry et al. 2018; step halving as in
 * Croce & Hein 2020 (APGD). */
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

#endif
