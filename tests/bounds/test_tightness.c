/* Tightness against plain matrix products, and what theory says of its ends. */
#include "bounds/tightness.h"

#include <math.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/eval.h"
#include "tests/ep_test.h"
#include "tests/support/netlang.h"

enum { N = 5, D = 7, K = 3 };

/* y = V relu(W x) from given matrices. */
static ep_graph *two_layers(ep_ctx *ctx, const double *W, const double *V) {
  ep_builder *b;
  ep_graph *g;
  ep_shape in = {2, {1, N}}, sw = {2, {D, N}}, sv = {2, {K, D}};
  ep_tensor tw = {EP_DT_F32, sw, (size_t)D * N, W, NULL}, tv = {EP_DT_F32, sv, (size_t)K * D, V, NULL};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  assert_int_equal(ep_builder_create(ctx, 13, &b), EP_OK);
  assert_int_equal(ep_builder_input(b, "x", EP_DT_F32, &in), EP_OK);
  assert_int_equal(ep_builder_constant(b, "w", &tw), EP_OK);
  assert_int_equal(ep_builder_constant(b, "v", &tv), EP_OK);
  assert_int_equal(ep_builder_node(b, "Gemm", "g1", 2, (const char *const[]){"x", "w"}, "h", &attrs), EP_OK);
  assert_int_equal(ep_builder_node(b, "Relu", "r", 1, (const char *const[]){"h"}, "a", NULL), EP_OK);
  assert_int_equal(ep_builder_node(b, "Gemm", "g2", 2, (const char *const[]){"a", "v"}, "y", &attrs), EP_OK);
  assert_int_equal(ep_builder_finish(b, "y", &g), EP_OK);
  ep_builder_destroy(b);
  return g;
}

static void draw(ep_rng *rng, size_t n, bool is_positive, double *out) {
  for (size_t i = 0; i < n; i++) {
    double v = (double)(float)ep_rng_normal(rng);
    out[i] = is_positive ? fabs(v) : v;
  }
}

static void test_products(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 20; seed++)
    for (int is_linear = 0; is_linear < 2; is_linear++) {
      ep_ctx *ctx = ep_ctx_create();
      ep_scratch s;
      ep_rng rng;
      double W[D * N], V[K * D], x[N], rad[N], tau[K];
      ep_rng_seed(&rng, seed);
      ep_scratch_init(&s, ctx);
      draw(&rng, (size_t)D * N, false, W);
      draw(&rng, (size_t)K * D, false, V);
      draw(&rng, N, false, x);
      draw(&rng, N, true, rad);
      ep_graph *g = two_layers(ctx, W, V);
      assert_int_equal(ep_tightness_at(g, x, rad, 1, is_linear, &s, tau), EP_OK);
      assert_true(isnan(tau[1]));
      for (size_t j = 0; j < K; j += 2) {
        double exact = 0, loose = 0;
        for (size_t i = 0; i < N; i++) {
          double sum = 0, abs = 0;
          for (size_t k = 0; k < D; k++) {
            double h = 0;
            for (size_t q = 0; q < N; q++) h += W[k * N + q] * x[q];
            double p = (V[D + k] - V[j * D + k]) * W[k * N + i];
            if (!is_linear && h <= 0) continue;
            sum += p;
            abs += fabs(p);
          }
          exact += fabs(sum) * rad[i];
          loose += abs * rad[i];
        }
        if (fabs(tau[j] - exact / loose) > 1e-12)
          fail_msg("seed %d: %g, expected %g", (int)seed, tau[j], exact / loose);
      }
      ep_scratch_clear(&s);
      ep_graph_destroy(g);
      ep_ctx_destroy(ctx);
    }
}

/* A network with a MaxPool: the exact width from finite differences, that of intervals from interval evaluation of a
 * box so small that nothing changes sides. */
static void test_max_pool(void **state) {
  (void)state;
  enum { SIDE = 6, CLASSES = 4, POOLED = 12 };
  ep_ctx *ctx = ep_ctx_create();
  ep_scratch s;
  ep_rng rng;
  ep_graph *g;
  double x[SIDE * SIDE], lo[SIDE * SIDE], hi[SIDE * SIDE], rad[SIDE * SIDE], tau[CLASSES];
  ep_rng_seed(&rng, 5);
  ep_scratch_init(&s, ctx);
  assert_int_equal(netlang_make(ctx,
                                "x:1,1,6,6; a = Conv x c3,1,3,3 c3; b = Relu a; m = MaxPool b kernel_shape=[2,2] "
                                "strides=[2,2]; f = Flatten m; y = Gemm f c4,12 c4 transB=1",
                                2, &g),
                   EP_OK);
  for (size_t i = 0; i < SIDE * SIDE; i++) {
    x[i] = ep_rng_normal(&rng);
    rad[i] = 1e-7 * (1 + ep_rng_uniform(&rng));
    lo[i] = x[i] - rad[i];
    hi[i] = x[i] + rad[i];
  }
  assert_int_equal(ep_tightness_at(g, x, rad, 1, false, &s, tau), EP_OK);
  const ep_node *last = &g->node[g->n_node - 1];
  const uint32_t rows[CLASSES] = {0, 1, 2, 3};
  double w[CLASSES * POOLED], exact[CLASSES] = {0};
  assert_int_equal(g->val[last->in[0]].n, POOLED);
  ep_linop_rows_f64(&last->low.is.affine.A[0], CLASSES, rows, w, false);
  for (size_t i = 0; i < SIDE * SIDE; i++) {
    double margin[2][CLASSES], kept = x[i];
    for (int side = 0; side < 2; side++) {
      ep_trace_f64 t;
      x[i] = kept + (side ? -1e-6 : 1e-6);
      assert_int_equal(ep_eval_f64(g, 1, x, &s, &t), EP_OK);
      for (size_t c = 0; c < CLASSES; c++) margin[side][c] = t.v[g->output][1] - t.v[g->output][c];
    }
    x[i] = kept;
    for (size_t c = 0; c < CLASSES; c++) exact[c] += fabs(margin[0][c] - margin[1][c]) / 2e-6 * rad[i];
  }
  ep_trace_itv box;
  assert_int_equal(ep_eval_itv(g, 1, lo, hi, &s, &box), EP_OK);
  for (size_t c = 0; c < CLASSES; c++) {
    double loose = 0;
    for (size_t k = 0; k < POOLED; k++)
      loose += fabs(w[POOLED + k] - w[c * POOLED + k]) * (box.hi[last->in[0]][k] - box.lo[last->in[0]][k]) / 2;
    if (c != 1 && !(fabs(tau[c] - exact[c] / loose) < 1e-5)) fail_msg("%g, expected %g", tau[c], exact[c] / loose);
  }
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* One sign everywhere: exact. */
static void test_exact(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_scratch s;
  ep_rng rng;
  double W[D * N], V[K * D], x[N], rad[N], tau[K];
  ep_rng_seed(&rng, 1);
  ep_scratch_init(&s, ctx);
  draw(&rng, (size_t)D * N, true, W);
  draw(&rng, (size_t)K * D, true, V);
  draw(&rng, N, true, x);
  draw(&rng, N, true, rad);
  for (size_t k = 0; k < D; k++) V[k] = 0; /* margins over class 0 are V's own rows */
  ep_graph *g = two_layers(ctx, W, V);
  assert_int_equal(ep_tightness_at(g, x, rad, 1, false, &s, tau), EP_OK);
  assert_true(fabs(tau[0] - 1) < 1e-12);
  assert_true(tau[2] > 0 && tau[2] < 1);
  assert_true(ep_tightness_same_sign(K, D, N, V, W) >= 1);
  W[0] = -W[0];
  double share = ep_tightness_same_sign(K, D, N, V, W); /* column 0 is mixed for the two rows that are not 0 */
  assert_true(fabs(share - 13.0 / 15) < 1e-12);
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

static void test_gaussian(void **state) {
  (void)state;
  static const double d[] = {10, 50, 200}, want[] = {0.387, 0.176, 0.0885};
  for (int i = 0; i < 3; i++) assert_true(fabs(ep_tightness_gaussian(d[i]) - want[i]) < 6e-4);
  assert_true(fabs(ep_tightness_gaussian(1) - 1) < 1e-12);
}

static void test_refused(void **state) {
  (void)state;
  static const char *const nets[] = {"x:1,4; a = MatMul x c4,6; y = Relu a",
                                     "x:1,4; a = MatMul x c4,6; b = MatMul x c4,6; c = Mul a b; y = MatMul c c6,2"};
  for (int i = 0; i < 2; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_scratch s;
    ep_graph *g;
    double x[4] = {0}, rad[4] = {1, 1, 1, 1}, tau[6];
    ep_scratch_init(&s, ctx);
    assert_int_equal(netlang_make(ctx, nets[i], 1, &g), EP_OK);
    assert_int_equal(ep_tightness_at(g, x, rad, 0, false, &s, tau), EP_E_UNSUPPORTED);
    ep_scratch_clear(&s);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_max_pool),
                                     cmocka_unit_test(test_exact), cmocka_unit_test(test_gaussian),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
