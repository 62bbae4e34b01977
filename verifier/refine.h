/* Bounds of intermediate neurons by cases: every still unstable neuron's lower and upper bound gets a small branch and
 * bound of its own over the phases of earlier neurons, layer by layer, so that later layers profit. A bound is the
 * smallest certified bound over the leaves of its tree; the leaves cover the box by construction. In fully connected
 * networks this closes much of the gap that one relaxation per layer leaves. */
#ifndef EP_VERIFIER_REFINE_H
#define EP_VERIFIER_REFINE_H

#include "verifier/root.h"

typedef struct ep_refine_opt {
  uint32_t leaves;   /* most leaves of one bound's tree */
  double deadline_s; /* monotonic time to stop splitting at; 0 = none */
} ep_refine_opt;

typedef struct ep_refine_stats {
  uint64_t domains;
  uint32_t n_before, n_after; /* unstable neurons */
  bool is_cut_short;          /* by the deadline */
} ep_refine_stats;

/* How many bounds it would refine: two for every unstable neuron behind a ReLU; 0 where it does not apply (a nonlinear
 * node is no ReLU). */
uint64_t ep_refine_rows(const ep_root *root);
/* Improves root->bounds, root->relax and the plan's magnitudes; the caller bounds the spec rows again (EP_ROOT_ROWS).
 * Only where it applies. @sound outward */
ep_status ep_refine_bounds(ep_root *root, const ep_refine_opt *opt, ep_refine_stats *stats);

#endif
