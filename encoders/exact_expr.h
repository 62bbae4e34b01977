/* Affine functions with rational coefficients, and what an affine node does to them: what the exact passes over small
 * networks (encoders/exact_bounds.h, encoders/exact_cells.h) share. A function over w variables is a row of w + 1
 * rationals, the constant last. */
#ifndef EP_ENCODERS_EXACT_EXPR_H
#define EP_ENCODERS_EXACT_EXPR_H

#include "encoders/rational.h"
#include "models/graph.h"

/* Has every node an exact reading: affine with exact weights (no convolution, nothing folded by rounding) or ReLU?
 * EP_E_UNSUPPORTED with one line naming the first that has none. */
ep_status ep_exact_check(ep_ctx *ctx, const ep_graph *g);

typedef struct ep_exprs {
  ep_ctx *ctx;
  const ep_graph *g;
  uint32_t width; /* numbers per function */
  mpq_t **of;     /* [n_val] of [n_v x width] */
  mpq_t w, t;     /* work space */
} ep_exprs;
ep_status ep_exprs_init(ep_exprs *e, ep_ctx *ctx, const ep_graph *g, uint32_t n_var);
void ep_exprs_clear(ep_exprs *e);
static inline mpq_t *ep_exprs_at(const ep_exprs *e, ep_vid v, uint32_t i) { return e->of[v] + (size_t)i * e->width; }
/* Outputs of an AFFINE node from its inputs. @sound exact */
ep_status ep_exprs_affine(ep_exprs *e, const ep_node *nd);
/* The weights of output i of one term: calls add(arg, j, weight) for every entry that is not 0. */
ep_status ep_exact_weights(ep_ctx *ctx, const ep_linop *A, uint32_t i,
                           void (*add)(void *arg, uint32_t j, double weight), void *arg);
static inline void ep_expr_set_zero(mpq_t *e, uint32_t width) {
  for (uint32_t j = 0; j < width; j++) mpq_set_ui(e[j], 0, 1);
}
static inline void ep_expr_copy(mpq_t *to, mpq_t *from, uint32_t width) {
  for (uint32_t j = 0; j < width; j++) mpq_set(to[j], from[j]);
}
/* to += c * from; t is work space. */
static inline void ep_expr_add_mul(mpq_t *to, mpq_t c, mpq_t *from, uint32_t width, mpq_t t) {
  for (uint32_t j = 0; j < width && mpq_sgn(c); j++) ep_rational_add_mul(to[j], c, from[j], t);
}

#endif
