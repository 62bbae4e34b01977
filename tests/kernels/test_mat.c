/* The matrix layer in all its cases against naive sums, including the detours for single rows and columns. */
#include "tests/ep_test.h"

#include <math.h>

#include "kernels/mat.h"
#include "kernels/rng.h"
#include "kernels/round.h"

enum { MAX = 40, CELLS = (MAX + 3) * (MAX + 3) };

static void products_match_naive_sums(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 4);
  static double a[CELLS], b[CELLS], c[CELLS], old[CELLS];
  static float af[CELLS], bf[CELLS], cf[CELLS];
  for (int round = 0; round < 3000; round++) {
    size_t dim[3];
    for (int i = 0; i < 3; i++) dim[i] = ep_rng_below(&r, 3) ? ep_rng_below(&r, MAX) : ep_rng_below(&r, 3);
    size_t m = dim[0], n = dim[1], k = dim[2];
    bool ta = ep_rng_below(&r, 2), tb = ep_rng_below(&r, 2);
    size_t lda = (ta ? m : k) + ep_rng_below(&r, 3), ldb = (tb ? k : n) + ep_rng_below(&r, 3),
           ldc = n + ep_rng_below(&r, 3);
    lda += !lda;
    ldb += !ldb;
    ldc += !ldc;
    const double factors[] = {0, 1, -0.5, 1};
    double alpha = factors[1 + ep_rng_below(&r, 3)], beta = factors[ep_rng_below(&r, 4)];
    for (int i = 0; i < CELLS; i++) {
      a[i] = af[i] = (float)ep_rng_normal(&r);
      b[i] = bf[i] = (float)ep_rng_normal(&r);
      old[i] = c[i] = cf[i] = beta == 0 ? NAN : (float)ep_rng_normal(&r); /* beta 0: unread */
    }
    ep_dgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    ep_sgemm(ta, tb, m, n, k, (float)alpha, af, lda, bf, ldb, (float)beta, cf, ldc);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        double want = 0, mag = 0;
        for (size_t t = 0; t < k; t++) {
          double p = alpha * (ta ? a[t * lda + i] : a[i * lda + t]) * (tb ? b[j * ldb + t] : b[t * ldb + j]);
          want += p;
          mag += fabs(p);
        }
        if (beta != 0) {
          want += beta * old[i * ldc + j];
          mag += fabs(beta * old[i * ldc + j]);
        }
        assert_true(fabs(c[i * ldc + j] - want) <= 2 * ep_gamma64(k + 4) * mag);
        assert_true(fabs((double)cf[i * ldc + j] - want) <= ep_gamma32(k + 4) * mag + 1e-30);
      }
    for (size_t i = 0; i < m; i++) /* what lies between the rows is not touched */
      for (size_t j = n; j < ldc; j++) {
        double now = c[i * ldc + j], before = old[i * ldc + j];
        assert_true(now == before || (isnan(now) && isnan(before)));
      }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(products_match_naive_sums)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
