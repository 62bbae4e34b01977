/* The rows of one query box as dense coefficients, ready for back-substitution, and the test that closes a polytope.
 *
 * A polytope is refuted over a domain when one of its rows cannot hold there: certified lower bound of coef . (y, x)
 * above rhs (at least rhs for a strict row). The margin of a row is that lower bound minus rhs, rounded down. */
#ifndef EP_VERIFIER_SPEC_H
#define EP_VERIFIER_SPEC_H

#include "bounds/backward.h"
#include "bounds/snet.h"
#include "verifier/query.h"

typedef struct ep_spec {
  uint32_t n_row, n_poly, n_x, n_y;
  double *coef;     /* [n_row x n_y] */
  double *coef_x;   /* [n_row x n_x], NULL when no row reads an input */
  double *rhs;      /* [n_row] upper end of the right-hand side */
  double *coef_err; /* [n_row] charge for inexact coefficients: rel_err * sum |coef| mag */
  bool *is_strict;
  uint32_t *poly;  /* [n_row] polytope of each row, ascending */
  uint32_t *first; /* [n_poly + 1] */
} ep_spec;

/* All polytopes of box `box`, in order. Memory from `s`. */
ep_status ep_spec_init(ep_spec *spec, const ep_plan *plan, const ep_query *q, uint32_t box, ep_scratch *s);
/* Is a row with this margin refuted? */
static inline bool ep_spec_refutes(const ep_spec *spec, uint32_t row, double margin) {
  return spec->is_strict[row] ? margin >= 0 : margin > 0;
}

/* Certified margins of rows row[0..n-1] over domains dom[0..n-1] (ascending): margin[n], and their
 * coefficients over the input lin[n x n_x]: over domain d, coef . (y, x) - rhs >= margin + lin . x - min(lin . x),
 * which is what box clipping needs. alpha, decision, kept as in ep_backward_f64. `bounds` holds the input boxes. @sound
 * outward */
ep_status ep_spec_margins(const ep_spec *spec, const ep_plan *plan, const ep_relax_f64 *relax,
                          const ep_trace_itv *bounds, size_t n, const uint32_t *row, const uint32_t *dom,
                          double *const *alpha, const ep_decision *decision, size_t n_decision, double **kept,
                          double *margin, double *lin, ep_scratch *s);

/* Row `row` as a seed of the search: coef[n_y], and coef_x[net->n_x] when the spec has coefficients over the input.
 * Returns the right-hand side that goes with it, which holds the share of inputs that the net fixes at x_lo.
 * @sound estimate */
double ep_spec_seed(const ep_spec *spec, uint32_t row, const ep_snet *net, const double *x_lo, float *coef,
                    float *coef_x);

/* Estimated value of row `row` minus rhs at a point. @sound estimate */
double ep_spec_value(const ep_spec *spec, uint32_t row, const double *y, const double *x);

#endif
