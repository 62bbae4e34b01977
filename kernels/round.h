/* Rounding: the one place that knows about ulps. Everything else asks here for outward steps and error constants.
 *
 * Model: IEEE binary64 round to nearest, no -ffast-math, no contraction. u = 2^-53. gamma_n = n*u/(1-n*u) bounds the
 * relative error of a sum of n products in any order, with or without FMA (Higham 2002, lemma 3.1; Jeannerod & Rump
 * 2013). eta covers underflow, generously enough that even a flush-to-zero unit stays inside it. */
#ifndef EP_KERNELS_ROUND_H
#define EP_KERNELS_ROUND_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EP_U64 0x1p-53     /* unit roundoff of binary64 */
#define EP_U32 0x1p-24     /* unit roundoff of binary32 */
#define EP_ETA64 0x1p-1000 /* absolute error of one operation that may underflow, generous */
#define EP_ETA32 0x1p-126
#define EP_LIBM_ULP 4 /* assumed accuracy of libm functions, in ulps; tested against quad precision */

/* Next double above / below, as nextafter but inlined (the order of doubles of one sign is that of their bits). NaN
 * stays; +inf stays above and -inf below; from -inf upwards comes -DBL_MAX, from +inf downwards DBL_MAX, which is what
 * a sum that overflowed needs. @sound outward */
static inline double ep_up(double x) {
  if (!(x < INFINITY)) return x;
  if (x == 0) return 0x1p-1074;
  int64_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits += bits >= 0 ? 1 : -1;
  memcpy(&x, &bits, sizeof x);
  return x;
}
static inline double ep_dn(double x) { return -ep_up(-x); }

/* Directed operations: the true result lies on the far side of (or at) the value returned. @sound outward */
static inline double ep_add_dn(double a, double b) { return ep_dn(a + b); }
static inline double ep_add_up(double a, double b) { return ep_up(a + b); }
static inline double ep_sub_dn(double a, double b) { return ep_dn(a - b); }
static inline double ep_sub_up(double a, double b) { return ep_up(a - b); }
static inline double ep_mul_dn(double a, double b) { return ep_dn(a * b); }
static inline double ep_mul_up(double a, double b) { return ep_up(a * b); }
static inline double ep_div_dn(double a, double b) { return ep_dn(a / b); }
static inline double ep_div_up(double a, double b) { return ep_up(a / b); }

/* gamma_n rounded up; INFINITY when n*u >= 1/2. @sound outward */
static inline double ep_gamma64(size_t n) {
  double t = (double)n * EP_U64;
  return t < 0.5 ? t / (1 - t) * (1 + 0x1p-50) : INFINITY;
}
static inline double ep_gamma32(size_t n) {
  double t = (double)n * EP_U32;
  return t < 0.5 ? t / (1 - t) * (1 + 0x1p-50) : INFINITY;
}
/* Upper bound on a non-negative sum of n products that was computed to nearest as `s`. @sound outward */
static inline double ep_sum_up(double s, size_t n) { return s * (1 + 2 * ep_gamma64(n + 2)) + (double)n * EP_ETA64; }

#endif
