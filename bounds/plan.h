/* What every bound pass needs to know about a graph, computed once: which nodes are ReLUs, and the error vectors of
 * certified back-substitution.
 *
 * Rigour (DESIGN: certify). A certified pass keeps, for every row, stored float64 coefficients c_v over values v, a
 * constant and an error such that for all inputs of the root box
 *
 *     objective >= sum_v c_v * v(x) + cst - err                                                     (*)
 *
 * with v(x) the exact real values and the stored c_v taken as exact numbers. Passing a coefficient row c through
 * v = sum_k A_k u_k + b computes c' = fl(c A_k). By Higham (lemma 3.1) |c' - c A_k| <= gamma*|c||A_k| + tiny, so (*)
 * stays true when err grows by |c| . aerr with
 *
 *     aerr = sum_k (gamma_{t+4} + rel_err_k) |A_k| mag(u_k) + bias_err + gamma_{n+4} |b|
 *
 * where mag(u) bounds |u(x)| over the root box. One dot product per row and layer pays for all rounding. */
#ifndef EP_BOUNDS_PLAN_H
#define EP_BOUNDS_PLAN_H

#include "bounds/proof.h"
#include "kernels/pool.h"
#include "models/eval.h"

/* Relative slack that covers the rounding of the error terms themselves: they are sums of at most 2^30 non-negative
 * products, computed to nearest, hence accurate to gamma_{2^30} < 2^-20. */
#define EP_ERR_SLACK (1 + 0x1p-16)

typedef struct ep_plan {
  ep_ctx *ctx;
  const ep_graph *g;
  ep_arena arena;
  uint32_t n_x, n_y;
  bool *is_relu;   /* [n_node] UNIVAR nodes that are max(x,0) */
  uint32_t n_relu; /* neurons behind them */
  uint32_t max_n;  /* largest value */
  double **mag;    /* [n_val][n_v] upper bound of |v| over the root box */
  double **aerr;   /* [n_node][n_out] for AFFINE nodes, see above; NULL otherwise */
  double *aeta;    /* [n_node] absolute underflow charge of one row through the node */
  /* Pre-activations: values that feed a UNIVAR or GENERAL node, in topological order. Branch and bound stores certified
   * bounds of these packed one after the other: value z_val[i] at offset z_off[i], z_off[n_z] doubles in all. */
  uint32_t n_z;
  ep_vid *z_val;
  size_t *z_off;
  /* When the certified bounds are to be replayed by the checker of certificates: where steps are recorded (NULL = not),
   * and how many times their error a margin must exceed, since the replay rounds elsewhere (1 = no replay). */
  ep_proof *proof;
  double margin_factor;
} ep_plan;

/* Builds the plan for a root box lo/hi[n_x], with magnitudes from interval propagation. @sound outward */
ep_status ep_plan_create(ep_ctx *ctx, const ep_graph *g, const double *lo, const double *hi, ep_scratch *s,
                         ep_plan **out);
void ep_plan_destroy(ep_plan *plan);
/* The margin factor for replays. Float32 errors, which outweigh rounding, are the same in both but for second orders.
 */
double ep_plan_replay_factor(const ep_graph *g);
/* Lowers the magnitudes with better certified bounds of the root box (batch 1) and recomputes the error vectors. */
ep_status ep_plan_refine(ep_plan *plan, const ep_trace_itv *bounds, ep_scratch *s);

#endif
