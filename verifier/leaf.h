/* Leaves of branch and bound: cases in which every neuron of the search net is decided and no optimised bound was good
 * enough. What is left of such a case is a linear program; here it is encoded, solved, and closed by the solver's dual
 * recomputed with outward rounding (encoders/dual.h), or, where double precision cannot settle it, by the exact solver.
 * A feasible one yields a counterexample. Leaves are gathered while the search runs and settled when nothing else is
 * open. */
#ifndef EP_VERIFIER_LEAF_H
#define EP_VERIFIER_LEAF_H

#include <pthread.h>

#include "verifier/domain.h"
#include "verifier/root.h"

typedef struct ep_leaf ep_leaf;
typedef struct ep_leaves {
  const ep_root *root; /* of the search that the leaves belong to */
  pthread_mutex_t lock;
  ep_leaf **leaf;
  size_t n, cap;
  uint64_t n_lost; /* beyond what is kept: they stay open */
} ep_leaves;

void ep_leaves_init(ep_leaves *leaves, const ep_root *root);
void ep_leaves_clear(ep_leaves *leaves);
/* A leaf of the search below `at`, whose bounds hold in the case that it stands for: leaves->root itself, or one that
 * was bounded anew under some decisions (verifier/rebound.h). dec[n_dec] as in ep_domain, over at->net. Neurons of
 * leaves->root's net that `at` knows to be stable count as decided that way. From any thread. */
ep_status ep_leaves_add(ep_leaves *leaves, const ep_root *at, uint32_t n_dec, const uint32_t *dec);

typedef struct ep_leaves_stats {
  uint64_t closed, open; /* open: neither way, or lost */
  bool by_solver;        /* one of the closed ones rests on the exact solver alone */
} ep_leaves_stats;
/* Settles the leaves of polytope `poly` in an order that no thread has a say in, and drops them. Where there is no
 * exact encoding or no LP solver they stay open, as do leaves in which functions other than ReLU leave much undecided.
 * What closes is recorded in the step under way, if a certificate is wanted, and rests on no exact solver then.
 * Stops at the first accepted witness (*is_sat), and at until_s (monotonic, 0 = the run's own limit) with the rest
 * open. `root` is leaves->root. @sound exact */
ep_status ep_leaves_settle(ep_leaves *leaves, ep_root *root, uint32_t poly, double until_s, ep_leaves_stats *stats,
                           bool *is_sat);

#endif
