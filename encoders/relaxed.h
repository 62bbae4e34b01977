/* Certified bounds from the linear relaxation of a network: minima of linear functions over a neutral problem whose
 * disjunctions are only seen through their implied rows, strengthened while it is used by rows of joint hulls
 * (encoders/joint.h). The solver is not trusted: every bound is recomputed from its dual (encoders/dual.h). */
#ifndef EP_ENCODERS_RELAXED_H
#define EP_ENCODERS_RELAXED_H

#include "encoders/backend.h"
#include "encoders/dual.h"
#include "encoders/joint.h"
#include "encoders/relaxation.h"

typedef struct ep_relaxed {
  ep_ctx *ctx;
  ep_scratch *s;
  const ep_backend *lp;
  ep_network *net;
  const ep_joints *joints; /* may be NULL; borrowed, may grow between calls */
  ep_solver *solver;
  double *y, *x; /* a dual, a point */
  size_t n_y;
  uint32_t rounds; /* of cuts per minimum, at most */
  uint64_t cuts;   /* added so far */
} ep_relaxed;

/* The relaxation of the graph (or its first opt->n_node nodes) over certified bounds. EP_E_UNSUPPORTED where an
 * operator has no encoding or the build has no LP solver. */
ep_status ep_relaxed_create(ep_ctx *ctx, const ep_graph *g, const ep_trace_itv *bounds, const ep_network_opt *opt,
                            const ep_joints *joints, ep_scratch *s, ep_relaxed **out);
void ep_relaxed_destroy(ep_relaxed *r);
/* Raises *lower to a certified lower bound of sum coef*element of graph value v; coefficients are small integers.
 * @sound outward */
ep_status ep_relaxed_minimise(ep_relaxed *r, ep_vid v, uint32_t n, const uint32_t *element, const double *coef,
                              double *lower);

typedef struct ep_relaxed_opt {
  ep_convex relaxation; /* TRIANGLE or MULTI_NEURON */
  uint32_t group;       /* MULTI_NEURON: pre-activations per group */
  bool tightens;        /* bound unstable neurons (and octahedra) again by programs, as long as there is time ... */
  double until_s;       /* ... that is until this monotonic time; 0 = no limit */
  ep_pool *pool;
} ep_relaxed_opt;
/* Layer by layer: bounds of unstable neurons by programs over the layers before them, then the joint hulls of the
 * layer, which the programs of later layers see. `bounds` and `relax` (batch 1) hold certified bounds and lines of all
 * layers and are improved in place; `joints` (may be NULL for TRIANGLE) receives the groups. @sound outward */
ep_status ep_relaxed_layers(const ep_plan *plan, const ep_relaxed_opt *opt, ep_trace_itv *bounds, ep_relax_f64 *relax,
                            ep_joints *joints, ep_arena *arena, ep_scratch *s);
/* Raises lo[n_y] and lowers hi[n_y], certified bounds of the outputs, by programs over the whole network.
 * @sound outward */
ep_status ep_relaxed_outputs(const ep_plan *plan, const ep_trace_itv *bounds, const ep_joints *joints, double *lo,
                             double *hi, ep_scratch *s);

/* Certified bounds lo/hi[n_y] of the outputs over the plan's box x_lo/x_hi[n_x] by one relaxation of the registry;
 * `opt` counts for programs only, its `relaxation` not at all. Bounds of programs start from CROWN's, never end worse,
 * and refine the plan; when the context stops them, they are those found so far. @sound outward */
ep_status ep_relaxed_bounds(ep_plan *plan, ep_convex relaxation, const ep_relaxed_opt *opt, const double *x_lo,
                            const double *x_hi, double *lo, double *hi, ep_arena *arena, ep_scratch *s);

#endif
