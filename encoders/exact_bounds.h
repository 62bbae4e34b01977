/* What a convex relaxation says about a small ReLU network over a box, in exact rational arithmetic: the relaxations of
 * encoders/relaxations.def without any rounding, so that "no gap" can be told from "a gap of 1e-17".
 *
 * Values are affine functions of base variables: the inputs and the outputs of unstable ReLUs. Every pre-activation is
 * bounded by the relaxation itself. The programs are solved by encoders/exact_lp.h; multi-neuron adds facets of joint
 * hulls (encoders/hull.h) until the optimum violates none:
 *
 *   - where all unstable neurons of a layer depend on at most three base variables, the hull of all of them over the
 *     octahedron of these variables, [lo,hi] and the ranges of sums and differences in the relaxation so far;
 *   - else, for every unstable neuron and each other neuron of its layer, the hull over the two pre-activations'
 *     octahedron. */
#ifndef EP_ENCODERS_EXACT_BOUNDS_H
#define EP_ENCODERS_EXACT_BOUNDS_H

#include "encoders/exact_expr.h"
#include "encoders/hull.h"
#include "encoders/relaxation.h"

enum { EP_EXACT_MAX_RELU = 512, EP_EXACT_MAX_SOURCES = 3 };

/* A joint hull: source j is the function src[j x width], ReLU k the base variable relu[k]. */
typedef struct ep_exact_group {
  ep_hull *hull;
  mpq_t *src;
  uint32_t *relu;
} ep_exact_group;

typedef struct ep_exact {
  ep_ctx *ctx;
  const ep_graph *g;
  ep_convex relaxation;
  uint32_t n_x, cap, n_base;           /* base variables in use, and at most */
  ep_exprs e;                          /* over the base variables */
  mpq_t *lo, *hi;                      /* [n_x] the box */
  mpq_t *below, *above;                /* [cap x width] lines of the base variables behind the inputs */
  mpq_t **vlo, **vhi;                  /* IBP: [n_val][n_v] */
  ep_exact_lp lp;                      /* programs: the constraints so far */
  uint32_t n_group, n_live, cap_group; /* live: those of finished layers, whose variables the programs have */
  ep_exact_group *group;
  mpq_t t, u, *row, *at; /* work space; row, at: [width] */
} ep_exact;

/* Analyses all layers. EP_E_UNSUPPORTED (a node without an exact reading), EP_E_LIMIT (more than EP_EXACT_MAX_RELU
 * neurons). lo/hi[n_x] are copied. @sound exact */
ep_status ep_exact_create(ep_ctx *ctx, const ep_graph *g, ep_convex relaxation, mpq_t *lo, mpq_t *hi, ep_exact **out);
void ep_exact_destroy(ep_exact *a);
/* The relaxation's bound of output i. For programs at[cap] (may be NULL) receives the optimum: the inputs first.
 * @sound exact */
ep_status ep_exact_output(ep_exact *a, uint32_t i, bool is_upper, mpq_t value, mpq_t *at);

#endif
