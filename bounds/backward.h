/* Back-substitution (CROWN): rows of coefficients over one value are carried back to the input, through transposes of
 * the affine operators and through one line per nonlinear neuron.
 *
 * Every row is a *lower* bound: objective >= lin . x + cst - err for all x in the row's box (for an upper bound seed
 * the negated row). This is the certified pass: its invariant is (*) in plan.h. The search has its own in float32
 * (bounds/spass.h). */
#ifndef EP_BOUNDS_BACKWARD_H
#define EP_BOUNDS_BACKWARD_H

#include "bounds/lines.h"

/* A decided neuron of row `row`: ReLU node `node`, input neuron z = `neuron`, decided z >= 0 (is_active: relu(z) = z)
 * or z <= 0 (relu(z) = 0). The row's relaxation of the neuron becomes that exact line, and `beta` >= 0 (anything else
 * counts as 0) times the decided inequality is subtracted from the row: it stays a lower bound wherever the decision
 * holds. Arrays of decisions are sorted by node, then row. */
typedef struct ep_decision {
  uint32_t node, neuron;
  size_t row;
  bool is_active;
  float beta;
} ep_decision;

typedef struct ep_backward_f64 {
  const ep_plan *plan;
  const ep_relax_f64 *relax;
  /* Seeds: `rows` rows over value `from`, row r in domain dom[r] of `relax` (dom NULL = all 0). Either +-unit rows
   * (neuron, sign) or dense coef[rows x n_from]; coef_x[rows x n_x] (may be NULL) starts at the input. */
  ep_vid from;
  size_t rows;
  const uint32_t *dom;
  const uint32_t *neuron;
  const int8_t *sign;
  const double *coef, *coef_x;
  /* Per-row lower slopes of ReLU nodes, [n_node] of [rows x n] or NULL. Clamped to [0,1]: sound for any value. */
  double *const *alpha;
  const ep_decision *decision;
  size_t n_decision;
  /* If not NULL: [n_node] of NULL or caller's [rows x n], which receives the coefficients at that UNIVAR node's output
   * (left alone when no row reaches the node). */
  double **kept;
  /* Results, caller's arrays. */
  double *lin; /* [rows x n_x] */
  double *cst; /* [rows] */
  double *err; /* [rows] */
} ep_backward_f64;

/* The certified pass. @sound outward */
ep_status ep_backward_run_f64(const ep_backward_f64 *b, ep_scratch *s);

/* Minimum of lin.x + cst - err over the box of each row: out[r]. lo/hi[batch x n_x], row r in box dom[r]. NaN in, -inf
 * out. @sound outward: the true minimum over reals is not below out[r]. */
void ep_backward_concretize_f64(size_t rows, size_t n_x, const double *lin, const double *cst, const double *err,
                                const uint32_t *dom, const double *lo, const double *hi, double *out);

#endif
