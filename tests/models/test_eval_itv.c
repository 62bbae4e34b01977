/* Interval evaluation against exact rational arithmetic (GMP) on small random networks: every value of every node lies
 * in its box, for points and for boxes, whatever the magnitudes.
 *
 * Seen to fail, by hand-made mutations of eval_itv.c, each alone: the gamma term dropped; rel_err dropped; bias_err
 * dropped; the centre moved without its radius; the second term not added; eta dropped; gamma for one term only. */
#include "tests/ep_test.h"

#include <gmp.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/eval.h"

enum { N_IN = 6, N_LAYER = 6 };
typedef enum kind { GEMM, RESIDUAL, CONCAT, AFFINE, CONV, N_KIND } kind;

/* A random network, kept apart from the graph so that the exact values owe nothing to it. Values are 6 numbers, which a
 * convolution sees as a 1 x 1 x 2 x 3 image. */
typedef struct layer {
  kind kind;
  bool is_sub;
  double w[N_IN * N_IN], b[N_IN];
} layer;
typedef struct net {
  ep_ctx *ctx;
  ep_builder *b;
  ep_graph *g;
  ep_rng rng;
  layer layer[N_LAYER];
} net;

static void must(net *t, ep_status st) {
  if (st != EP_OK) fail_msg("%s", ep_ctx_error(t->ctx).text);
}

static const char *constant(net *t, const char *name, ep_shape s, const double *v) {
  must(t, ep_builder_constant(t->b, name, &(ep_tensor){EP_DT_F32, s, ep_shape_count(&s), v, NULL}));
  return name;
}
static const char *ints(net *t, const char *name, int64_t n, const int64_t *v) {
  must(t, ep_builder_constant(t->b, name, &(ep_tensor){EP_DT_I64, {1, {n}}, (size_t)n, NULL, v}));
  return name;
}
static const char *node(net *t, const char *op, const char *out, const char *a, const char *b, const char *c,
                        ep_attr *attr) {
  const char *in[3] = {a, b, c};
  ep_attrs as = {attr ? 1 : 0, attr};
  must(t, ep_builder_node(t->b, op, out, c ? 3 : b ? 2 : 1, in, out, &as));
  return out;
}

static void add_layer(net *t, const layer *l, const char *x, const char *y, char n[6][16]) {
  const int64_t image[4] = {1, 1, 2, 3}, flat[2] = {1, N_IN}, pads[4] = {1, 1, 1, 1};
  ep_attr axis = {.name = "axis", .type = EP_ATTR_INT, .i = 1};
  ep_attr pad = {.name = "pads", .type = EP_ATTR_INTS, .n = 4, .ints = pads};
  const ep_shape square = {2, {N_IN, N_IN}}, half = {2, {N_IN, N_IN / 2}}, row = {1, {N_IN}},
                 kernel = {4, {1, 1, 3, 3}};
  switch (l->kind) {
  case GEMM:
    node(t, "Gemm", y, x, constant(t, n[0], square, l->w), constant(t, n[1], row, l->b), NULL);
    break;
  case RESIDUAL:
    node(t, "Relu", n[2], x, NULL, NULL, NULL);
    node(t, "MatMul", n[3], n[2], constant(t, n[0], square, l->w), NULL, NULL);
    node(t, l->is_sub ? "Sub" : "Add", y, x, n[3], NULL, NULL);
    break;
  case CONCAT:
    node(t, "MatMul", n[2], x, constant(t, n[0], half, l->w), NULL, NULL);
    node(t, "Concat", y, n[2], n[2], NULL, &axis);
    break;
  case AFFINE:
    node(t, "Mul", n[2], x, constant(t, n[0], row, l->w), NULL, NULL);
    node(t, "Add", y, n[2], constant(t, n[1], row, l->b), NULL, NULL);
    break;
  default:
    node(t, "Reshape", n[2], x, ints(t, n[0], 4, image), NULL, NULL);
    node(t, "Conv", n[3], n[2], constant(t, n[1], kernel, l->w), NULL, &pad);
    node(t, "Reshape", y, n[3], ints(t, n[4], 2, flat), NULL, NULL);
    break;
  }
}

/* float32 weights whose magnitudes spread over `decades`, so that sums cancel badly. */
static double weight(net *t, double decades) {
  double m = pow(10, decades * (ep_rng_uniform(&t->rng) - 0.5));
  return (double)(float)(m * (2 * ep_rng_uniform(&t->rng) - 1));
}

static void random_net(net *t, uint64_t seed) {
  char cur[16] = "x", next[16], n[6][16];
  double decades = (double)(seed % 4) * 4;
  ep_rng_seed(&t->rng, seed);
  t->ctx = ep_ctx_create();
  must(t, ep_builder_create(t->ctx, 13, &t->b));
  must(t, ep_builder_input(t->b, "x", EP_DT_F32, &(ep_shape){2, {1, N_IN}}));
  for (int k = 0; k < N_LAYER; k++) {
    layer *l = &t->layer[k];
    l->kind = (kind)ep_rng_below(&t->rng, N_KIND);
    l->is_sub = ep_rng_below(&t->rng, 2);
    for (int i = 0; i < N_IN * N_IN; i++) l->w[i] = weight(t, decades);
    for (int i = 0; i < N_IN; i++) l->b[i] = weight(t, decades);
    for (int i = 0; i < 6; i++) snprintf(n[i], sizeof n[i], "n%d_%d", k, i);
    snprintf(next, sizeof next, "y%d", k);
    add_layer(t, l, cur, next, n);
    memcpy(cur, next, sizeof cur);
  }
  must(t, ep_builder_finish(t->b, cur, &t->g));
  ep_builder_destroy(t->b);
}

static void close_net(net *t) {
  ep_graph_destroy(t->g);
  ep_ctx_destroy(t->ctx);
}

/* y += w*x, with x's negative part cut off when `relu`. */
static void add_product(mpq_t y, double w, const mpq_t x, bool relu) {
  mpq_t t;
  if (relu && mpq_sgn(x) <= 0) return;
  mpq_init(t);
  mpq_set_d(t, w);
  mpq_mul(t, t, x);
  mpq_add(y, y, t);
  mpq_clear(t);
}

static void exact_layer(const layer *l, mpq_t *x, mpq_t *y) {
  for (int o = 0; o < N_IN; o++) {
    mpq_set_ui(y[o], 0, 1);
    if (l->kind == GEMM || l->kind == AFFINE) mpq_set_d(y[o], l->b[o]);
    if (l->kind == RESIDUAL) mpq_set(y[o], x[o]);
    if (l->kind == AFFINE) add_product(y[o], l->w[o], x[o], false);
    for (int i = 0; i < N_IN; i++) {
      if (l->kind == GEMM) add_product(y[o], l->w[i * N_IN + o], x[i], false);
      if (l->kind == RESIDUAL) add_product(y[o], l->is_sub ? -l->w[i * N_IN + o] : l->w[i * N_IN + o], x[i], true);
      if (l->kind == CONCAT) add_product(y[o], l->w[i * (N_IN / 2) + o % (N_IN / 2)], x[i], false);
      int dy = i / 3 - o / 3 + 1, dx = i % 3 - o % 3 + 1;
      if (l->kind == CONV && dx >= 0 && dx < 3) add_product(y[o], l->w[dy * 3 + dx], x[i], false);
    }
  }
}

static void exact(const net *t, mpq_t *x) {
  mpq_t y[N_IN];
  for (int i = 0; i < N_IN; i++) mpq_init(y[i]);
  for (int k = 0; k < N_LAYER; k++) {
    exact_layer(&t->layer[k], x, y);
    for (int i = 0; i < N_IN; i++) mpq_swap(x[i], y[i]);
  }
  for (int i = 0; i < N_IN; i++) mpq_clear(y[i]);
}

static bool holds(double lo, const mpq_t x, double hi) {
  mpq_t q;
  mpq_init(q);
  bool is_in = true;
  if (isfinite(lo)) mpq_set_d(q, lo), is_in = mpq_cmp(q, x) <= 0;
  if (isfinite(hi)) mpq_set_d(q, hi), is_in = is_in && mpq_cmp(x, q) <= 0;
  mpq_clear(q);
  return is_in && lo <= hi;
}

static void random_nets(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 200; seed++) {
    net t = {0};
    mpq_t x[N_IN];
    random_net(&t, seed);
    for (int i = 0; i < N_IN; i++) mpq_init(x[i]);
    for (int round = 0; round < 6; round++) {
      double lo[N_IN], hi[N_IN], width = round < 3 ? 0 : pow(10, -3.0 * (round - 3));
      for (int i = 0; i < N_IN; i++) {
        lo[i] = ep_rng_normal(&t.rng);
        hi[i] = lo[i] + width * ep_rng_uniform(&t.rng);
      }
      ep_scratch s;
      ep_trace_itv b;
      ep_scratch_init(&s, t.ctx);
      must(&t, ep_eval_itv(t.g, 1, lo, hi, &s, &b));
      for (int k = 0; k < 8; k++) { /* corners */
        for (int i = 0; i < N_IN; i++) mpq_set_d(x[i], ep_rng_below(&t.rng, 2) ? lo[i] : hi[i]);
        exact(&t, x);
        for (uint32_t i = 0; i < N_IN; i++) {
          double l = b.lo[t.g->output][i], h = b.hi[t.g->output][i];
          if (!holds(l, x[i], h))
            fail_msg("seed %u, output %u = %.17g outside [%.17g, %.17g]", (unsigned)seed, i, mpq_get_d(x[i]), l, h);
        }
      }
      ep_scratch_clear(&s);
    }
    for (int i = 0; i < N_IN; i++) mpq_clear(x[i]);
    close_net(&t);
  }
}

/* One affine node with the given dense terms and bias, at a point or over a box. */
static void affine(uint32_t n_terms, const uint32_t *n_in, const double *const *w, const double *const *lo,
                   const double *const *hi, const double *bias, const double *bias_err, double rel_err, double *ylo,
                   double *yhi) {
  ep_ctx *ctx = ep_ctx_create();
  ep_arena arena;
  ep_scratch s;
  ep_linop A[3];
  ep_arena_init(&arena, ctx);
  ep_scratch_init(&s, ctx);
  for (uint32_t k = 0; k < n_terms; k++)
    assert_int_equal(ep_linop_dense(&arena, 1, n_in[k], w[k], rel_err, &A[k]), EP_OK);
  ep_affine a = {.n_terms = n_terms, .A = A, .bias = bias, .bias_err = bias_err};
  assert_int_equal(ep_affine_box(&a, 1, 1, lo, hi, ylo, yhi, &s), EP_OK);
  ep_scratch_clear(&s);
  ep_arena_clear(&arena);
  ep_ctx_destroy(ctx);
}

/* Sums that cancel: computed to nearest they are off by whole units, so only the gamma term can save them. */
static void cancellation(void **state) {
  (void)state;
  static const double w[4][3] = {
      {0x1p53, 1, -0x1p53}, {0x1p60, 3, -0x1p60}, {-0x1p53, 1, 0x1p53}, {1e8 * 0x1p30, 1, -1e8 * 0x1p30}};
  static const double exact_sum[4] = {1, 3, 1, 1}, one[3] = {1, 1, 1};
  for (int k = 0; k < 4; k++) {
    double l, h;
    const double *wk = w[k], *x = one;
    affine(1, (uint32_t[]){3}, &wk, &x, &x, NULL, NULL, 0, &l, &h);
    assert_true(l <= exact_sum[k] && exact_sum[k] <= h);
    assert_true(h - l <= 64 * 0x1p-53 * 2 * fabs(w[k][0])); /* and not much more than that */
  }
}

/* The same across two terms and the bias. */
static void cancellation_across_terms(void **state) {
  (void)state;
  static const double big = 0x1p55, small = 1, minus = -0x1p55, one = 1;
  const double *w[3] = {&big, &small, &minus}, *x[3] = {&one, &one, &one};
  double l, h;
  affine(3, (uint32_t[]){1, 1, 1}, w, x, x, NULL, NULL, 0, &l, &h);
  assert_true(l <= 1 && 1 <= h);
  affine(2, (uint32_t[]){1, 1}, w, x, x, &minus, NULL, 0, &l, &h);
  assert_true(l <= 1 && 1 <= h);
}

/* Errors of weights and bias are as wide as stated, on top of everything else. */
static void stated_errors(void **state) {
  (void)state;
  static const double w[2] = {1, -1}, x_lo[2] = {100, 100}, x_hi[2] = {101, 101}, bias = 0.5, err = 0.25;
  const double *wp = w, *lo = x_lo, *hi = x_hi;
  double l, h;
  affine(1, (uint32_t[]){2}, &wp, &lo, &hi, &bias, &err, 0x1p-10, &l, &h);
  double worst = 1 + 0.25 + 202 * 0x1p-10; /* |Ax| <= 1, both weights off in the worst direction, bias off */
  assert_true(l <= 0.5 - worst && h >= 0.5 + worst);
  assert_true(l >= 0.5 - worst - 0.01 && h <= 0.5 + worst + 0.01);
}

/* Nothing known in, nothing (and no NaN) out; zero weights do not hide it. */
static void unbounded(void **state) {
  (void)state;
  static const double w[2] = {1, 0}, x_lo[2] = {0, -INFINITY}, x_hi[2] = {1, 1}, huge[2] = {1e308, 1e308},
                      two[2] = {2, 2};
  const double *wp = w, *lo = x_lo, *hi = x_hi;
  double l, h;
  affine(1, (uint32_t[]){2}, &wp, &lo, &hi, NULL, NULL, 0, &l, &h);
  assert_true(l <= 0 && h >= 1);
  wp = two, lo = huge, hi = huge;
  affine(1, (uint32_t[]){2}, &wp, &lo, &hi, NULL, NULL, 0, &l, &h);
  assert_true(l <= h && h == INFINITY);
}

/* Products that underflow vanish in float64 but not in the box, however many there are. */
static void underflow(void **state) {
  (void)state;
  double w[64], x[64], l, h;
  for (int i = 0; i < 64; i++) w[i] = x[i] = 0x1p-538; /* each product is a quarter of the smallest double */
  const double *wp = w, *xp = x;
  affine(1, (uint32_t[]){64}, &wp, &xp, &xp, NULL, NULL, 0, &l, &h);
  assert_true(l <= 0 && h >= 16 * 0x1p-1074 && h < 1e-290);
}

/* Long sums: small summands are lost one by one next to a large one, in whatever order the product adds them. */
static void long_sums(void **state) {
  (void)state;
  enum { N = 4096 };
  double w[N], x[N], l, h;
  for (int i = 0; i < N; i++) w[i] = i % 64 ? 0x1.fp-54 : 1, x[i] = 1;
  const double *wp = w, *xp = x;
  mpq_t sum, t;
  mpq_inits(sum, t, NULL);
  for (int i = 0; i < N; i++) {
    mpq_set_d(t, w[i]);
    mpq_add(sum, sum, t);
  }
  affine(1, (uint32_t[]){N}, &wp, &xp, &xp, NULL, NULL, 0, &l, &h);
  assert_true(holds(l, sum, h));
  assert_true(h - l < 1e-10);
  mpq_clears(sum, t, NULL);
}

/* Points on a grid whose sums fit 53 bits give their exact sum as a point; as soon as they may not fit, an interval
 * that holds it. Exponents range so that both happen, with the bias or a second term as the finest or the largest. */
static void sums_on_a_grid(void **state) {
  (void)state;
  enum { N = 5 };
  ep_rng r;
  ep_rng_seed(&r, 91);
  uint32_t n_point = 0, n_itv = 0;
  mpq_t sum, t, u;
  mpq_inits(sum, t, u, NULL);
  for (int k = 0; k < 60000; k++) {
    double w[2][N], x[2][N], bias = 0, l, h;
    const double *wp[2] = {w[0], w[1]}, *xp[2] = {x[0], x[1]};
    int span = (int)ep_rng_below(&r, 40);
    mpq_set_ui(sum, 0, 1);
    for (int j = 0; j < 2; j++)
      for (int i = 0; i < N; i++) {
        w[j][i] = ldexp((double)ep_rng_below(&r, 3) - 1, (int)ep_rng_below(&r, 1 + (uint64_t)span));
        x[j][i] = ldexp((double)ep_rng_below(&r, 7) - 3, (int)ep_rng_below(&r, 1 + (uint64_t)span));
        mpq_set_d(t, w[j][i]);
        mpq_set_d(u, x[j][i]);
        mpq_mul(t, t, u);
        mpq_add(sum, sum, t);
      }
    if (k % 3) bias = ldexp((double)ep_rng_below(&r, 7) - 3, (int)ep_rng_below(&r, 80) - 20);
    mpq_set_d(t, bias);
    mpq_add(sum, sum, t);
    affine(2, (uint32_t[]){N, N}, wp, xp, xp, k % 3 ? &bias : NULL, NULL, 0, &l, &h);
    assert_true(holds(l, sum, h));
    n_point += l == h;
    n_itv += l < h;
    if (span <= 12 && k % 3 == 0) assert_true(l == h);
  }
  assert_true(n_point > 10000 && n_itv > 10000);
  mpq_clears(sum, t, u, NULL);
}

/* Errors of weights and bias, and inputs that are no points, are not lost on the way. */
static void grids_keep_stated_errors(void **state) {
  (void)state;
  static const double w[2] = {1, -1}, x[2] = {3, 3}, x_hi[2] = {3, 4}, bias = 2, err = 0.5;
  const double *wp = w, *lo = x, *hi = x_hi;
  double l, h;
  affine(1, (uint32_t[]){2}, &wp, &lo, &lo, &bias, NULL, 0, &l, &h);
  assert_true(l == 2 && h == 2);
  affine(1, (uint32_t[]){2}, &wp, &lo, &lo, &bias, &err, 0, &l, &h);
  assert_true(l <= 1.5 && h >= 2.5);
  affine(1, (uint32_t[]){2}, &wp, &lo, &lo, &bias, NULL, 0x1p-10, &l, &h);
  assert_true(l <= 2 - 6 * 0x1p-10 && h >= 2 + 6 * 0x1p-10);
  affine(1, (uint32_t[]){2}, &wp, &lo, &hi, &bias, NULL, 0, &l, &h);
  assert_true(l <= 1 && h >= 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_nets),   cmocka_unit_test(cancellation),   cmocka_unit_test(cancellation_across_terms),
      cmocka_unit_test(stated_errors), cmocka_unit_test(unbounded),      cmocka_unit_test(underflow),
      cmocka_unit_test(long_sums),     cmocka_unit_test(sums_on_a_grid), cmocka_unit_test(grids_keep_stated_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
