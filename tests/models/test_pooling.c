/* Pooling: maxima and averages against their definitions, boxes hold what their points give, gradients against finite
 * differences, lines of maxima around them. */
#include "models/train/pooling.h"

#include <math.h>
#include <string.h>

#include "kernels/rng.h"
#include "tests/ep_test.h"

enum { L = EP_LANES, N_IN = 12, N_OUT = 4 };

static const uint32_t ptr[N_OUT + 1] = {0, 3, 4, 8, 12}, col[12] = {0, 5, 7, 11, 1, 2, 3, 4, 2, 6, 8, 10};
static const ep_pooling_lists lists = {N_OUT, ptr, col};

static void fill(ep_rng *rng, size_t n, double lo, double hi, float *x) {
  for (size_t i = 0; i < n; i++) x[i] = (float)(lo + (hi - lo) * ep_rng_uniform(rng));
}

static void test_max(void **state) {
  (void)state;
  float mid[N_IN * L], rad[N_IN * L], x[N_IN * L], y[N_OUT * L], ym[N_OUT * L], yr[N_OUT * L];
  ep_rng rng;
  ep_rng_seed(&rng, 1);
  fill(&rng, N_IN * L, -1, 1, mid);
  fill(&rng, N_IN * L, 0, 0.5, rad);
  ep_pooling_max_box(&lists, mid, rad, ym, yr);
  int n_sure = 0;
  for (int round = 0; round < 50; round++) {
    for (size_t i = 0; i < N_IN * L; i++) x[i] = mid[i] + rad[i] * (float)(2 * ep_rng_uniform(&rng) - 1);
    ep_pooling_max(&lists, x, y);
    for (uint32_t i = 0; i < N_OUT; i++)
      for (size_t l = 0; l < L; l++) {
        float want = -INFINITY;
        for (uint32_t k = ptr[i]; k < ptr[i + 1]; k++) want = fmaxf(want, x[col[k] * L + l]);
        float got = y[i * L + l];
        assert_true(got == want);
        assert_true(fabsf(got - ym[i * L + l]) <= yr[i * L + l] + 1e-6f);
        ep_pooling_bound b = ep_pooling_max_bound(&lists, i, l, mid, rad);
        assert_true(x[b.low] <= got);
        assert_true(b.is_sure ? got <= x[b.low] + 1e-6f : got <= mid[b.high] + rad[b.high] + 1e-6f);
        n_sure += b.is_sure;
      }
  }
  assert_true(n_sure > 50 * L && n_sure < 50 * L * N_OUT); /* both kinds, besides the list of one element */
}

/* <g, f(x)> moved along each element by finite differences: away from ties, exact up to rounding. */
static void test_max_gradient(void **state) {
  (void)state;
  float in[2][N_IN * L], g[2][N_OUT * L], got[2][N_IN * L] = {{0}}, point[N_IN * L] = {0}, y[2][N_OUT * L];
  ep_rng rng;
  ep_rng_seed(&rng, 2);
  fill(&rng, N_IN * L, -1, 1, in[0]);
  fill(&rng, N_IN * L, 0, 0.5, in[1]);
  fill(&rng, N_OUT * L, -1, 1, g[0]);
  fill(&rng, N_OUT * L, -1, 1, g[1]);
  ep_pooling_max_back(&lists, in[0], g[0], point);
  ep_pooling_max_box_back(&lists, in[0], in[1], g[0], g[1], got[0], got[1]);
  const float h = 1e-3f;
  for (size_t k = 0; k < N_IN; k++)
    for (int which = 0; which < 3; which++) { /* the point's element, the box's midpoint, its radius */
      double slope[L] = {0};
      for (int side = -1; side <= 1; side += 2) {
        for (size_t l = 0; l < L; l++) in[which == 2][k * L + l] += (float)side * h;
        if (which)
          ep_pooling_max_box(&lists, in[0], in[1], y[0], y[1]);
        else
          ep_pooling_max(&lists, in[0], y[0]);
        for (size_t l = 0; l < L; l++) in[which == 2][k * L + l] -= (float)side * h;
        for (size_t i = 0; i < N_OUT; i++)
          for (size_t l = 0; l < L; l++)
            for (int s = 0; s < (which ? 2 : 1); s++)
              slope[l] += side * (double)g[s][i * L + l] * (double)y[s][i * L + l] / (2 * (double)h);
      }
      int n_off = 0;
      for (size_t l = 0; l < L; l++) {
        double want = (double)(which == 0 ? point : got[which - 1])[k * L + l];
        n_off += !(fabs(slope[l] - want) < 2e-3);
      }
      if (n_off > 2) fail_msg("element %zu, kind %d: %d lanes differ", k, which, n_off); /* ties within h */
    }
}

static void test_average(void **state) {
  (void)state;
  const ep_conv_geom g = {2, 5, 6, 2, 2, 3, 2, 2, 2, 2, 1, 1, 0, 0, 2};
  static float x[2 * 5 * 6 * L], gx[2 * 5 * 6 * L], y[2 * 2 * 3 * L], gy[2 * 2 * 3 * L];
  ep_rng rng;
  ep_rng_seed(&rng, 3);
  fill(&rng, sizeof x / sizeof *x, -1, 1, x);
  fill(&rng, sizeof gy / sizeof *gy, -1, 1, gy);
  ep_pooling_average(&g, x, y);
  const size_t at[4] = {(1 * 30 + 2 * 6 + 4) * L + 7, (1 * 30 + 2 * 6 + 5) * L + 7, (1 * 30 + 3 * 6 + 4) * L + 7,
                        (1 * 30 + 3 * 6 + 5) * L + 7}; /* channel 1, window (1, 2), lane 7 */
  float want = (x[at[0]] + x[at[1]] + x[at[2]] + x[at[3]]) / 4;
  assert_true(fabsf(y[(1 * 6 + 1 * 3 + 2) * L + 7] - want) < 1e-6f);
  memset(gx, 0, sizeof gx);
  ep_pooling_average_back(&g, gy, gx);
  double a = 0, b = 0; /* <gy, A x> = <A^T gy, x> */
  for (size_t i = 0; i < sizeof y / sizeof *y; i++) a += (double)gy[i] * (double)y[i];
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) b += (double)gx[i] * (double)x[i];
  assert_true(fabs(a - b) < 1e-3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_max), cmocka_unit_test(test_max_gradient),
                                     cmocka_unit_test(test_average)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
