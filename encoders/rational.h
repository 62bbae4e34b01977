/* Exact rationals: GMP's mpq_t, and the few helpers around it. The only file of the layers that includes gmp.h. GMP
 * takes memory by itself (not counted by the context) and ends the process when there is none left: callers keep their
 * problems small. */
#ifndef EP_ENCODERS_RATIONAL_H
#define EP_ENCODERS_RATIONAL_H

#include <math.h>
#include <stdio.h> /* before gmp.h, which then declares its printing functions */

#include <gmp.h>

#include "kernels/status.h"

/* n numbers, all 0; NULL on failure (recorded). */
static inline mpq_t *ep_rational_create(ep_ctx *ctx, size_t n) {
  mpq_t *v = ep_alloc(ctx, (n + 1) * sizeof *v);
  for (size_t i = 0; v && i < n; i++) mpq_init(v[i]);
  return v;
}
static inline void ep_rational_destroy(ep_ctx *ctx, mpq_t *v, size_t n) {
  for (size_t i = 0; v && i < n; i++) mpq_clear(v[i]);
  ep_free(ctx, v);
}
/* y += a * x; t is work space. */
static inline void ep_rational_add_mul(mpq_t y, const mpq_t a, const mpq_t x, mpq_t t) {
  if (mpq_sgn(a) == 0 || mpq_sgn(x) == 0) return;
  mpq_mul(t, a, x);
  mpq_add(y, y, t);
}
/* Is the double x equal to, below (-1) or above (1) q? */
static inline int ep_rational_compare(double x, const mpq_t q) {
  mpq_t t;
  mpq_init(t);
  mpq_set_d(t, x);
  int c = mpq_cmp(t, q);
  mpq_clear(t);
  return c < 0 ? -1 : c > 0;
}
/* The smallest double not below q (up to one step: GMP truncates), and the mirrored one. @sound outward */
static inline double ep_rational_up(const mpq_t q) {
  double x = mpq_get_d(q);
  return ep_rational_compare(x, q) < 0 ? nextafter(x, INFINITY) : x;
}
static inline double ep_rational_dn(const mpq_t q) {
  double x = mpq_get_d(q);
  return ep_rational_compare(x, q) > 0 ? nextafter(x, -INFINITY) : x;
}

#endif
