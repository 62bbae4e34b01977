/* Certified back-substitution: the float64 pass with a-priori error terms. Part of the trusted base; every `unsat`
 * rests on a bound that came out of this file. See plan.h for the invariant and the accounting. */
#include "bounds/backward.h"

#define REAL double
#define FN(name) name##_f64
#define EP_CERT 1
#include "bounds/backward_impl.h"

void ep_backward_concretize_f64(size_t rows, size_t n_x, const double *lin, const double *cst, const double *err,
                                const uint32_t *dom, const double *lo, const double *hi, double *out) {
  double gamma = ep_gamma64(n_x + 4) * EP_ERR_SLACK;
  for (size_t r = 0; r < rows; r++) {
    const double *c = lin + r * n_x, *l = lo + (dom ? dom[r] : 0) * n_x, *h = hi + (dom ? dom[r] : 0) * n_x;
    double t = 0, a = 0;
    /* min over [l,h] of c x is c l for c > 0 and c h otherwise; a sums |c x| at that corner. */
#pragma omp simd reduction(+ : t, a)
    for (size_t i = 0; i < n_x; i++) {
      double v = c[i] * (c[i] > 0 ? l[i] : h[i]);
      t += v;
      a += fabs(v);
    }
    double e = ep_up((err[r] + gamma * a) * EP_ERR_SLACK + (double)(n_x + 1) * EP_ETA64);
    double b = ep_dn(ep_dn(t + cst[r]) - e);
    out[r] = b < INFINITY ? b : -INFINITY; /* NaN and overflow: no information */
  }
}
