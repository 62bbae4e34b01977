/* Simplification: the merged node's stored weights and biases are within their stated errors of the exact ones (GMP),
 * the node counts are as small as promised, and the function stays the same.
 *
 * Seen to fail, by hand-made mutations of simplify.c, each alone: the product's own rounding, the scale's or the
 * weights' rel_err left out; the sum's or the product's rounding left out of bias_err; an error of the bias not scaled;
 * the scale taken from the wrong channel; a value with two readers merged; the outer or the inner map ignored. */
#include "tests/ep_test.h"

#include <gmp.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/eval.h"

typedef struct maker {
  ep_ctx *ctx;
  ep_builder *b;
  ep_rng rng;
  int n_const;
  char name[64][16];
} maker;

static void must(maker *m, ep_status st) {
  if (st != EP_OK) fail_msg("%s", ep_ctx_error(m->ctx).text);
}
static void start(maker *m, const ep_shape *in) {
  memset(m, 0, sizeof *m);
  m->ctx = ep_ctx_create();
  ep_rng_seed(&m->rng, 4711);
  must(m, ep_builder_create(m->ctx, 13, &m->b));
  must(m, ep_builder_input(m->b, "x", EP_DT_F64, in));
}
static const char *constant(maker *m, ep_shape s, double *v) {
  char *name = m->name[m->n_const];
  snprintf(name, 16, "c%d", m->n_const++);
  must(m, ep_builder_constant(m->b, name, &(ep_tensor){EP_DT_F64, s, ep_shape_count(&s), v, NULL}));
  return name;
}
static const char *node(maker *m, const char *op, const char *out, const char *a, const char *b, const char *c,
                        ep_attr *attr) {
  const char *in[3] = {a, b, c};
  ep_attrs as = {attr ? 1 : 0, attr};
  must(m, ep_builder_node(m->b, op, out, c ? 3 : b ? 2 : 1, in, out, &as));
  return out;
}
static ep_graph *finish(maker *m, const char *out) {
  ep_graph *g;
  must(m, ep_builder_finish(m->b, out, &g));
  return g;
}
static void stop(maker *m, ep_graph *g) {
  ep_builder_destroy(m->b);
  ep_graph_destroy(g);
  ep_ctx_destroy(m->ctx);
}
static void noise(maker *m, size_t n, double *v) {
  for (size_t i = 0; i < n; i++) v[i] = ep_rng_normal(&m->rng);
}

/* |true - stored| <= err, all exact. */
static bool is_within(const mpq_t truth, double stored, double err) {
  mpq_t d, e;
  mpq_inits(d, e, NULL);
  mpq_set_d(d, stored);
  mpq_sub(d, truth, d);
  mpq_abs(d, d);
  mpq_set_d(e, err);
  bool is_in = mpq_cmp(d, e) <= 0;
  mpq_clears(d, e, NULL);
  return is_in;
}

/* alpha*x*w + b, then the steps of `path` (M Mul, D Div, A Add, S Sub): one node, whose weights and bias are compared
 * with the exact recurrence. Short paths pin each error term down on its own, long ones their sum. */
static void check_path(const char *path, float alpha) {
  enum { N = 64 };
  maker m;
  start(&m, &(ep_shape){2, {1, 1}});
  double w[N], b[N], c[N];
  char name[16][16];
  mpq_t W[N], B[N], q;
  mpq_init(q);
  noise(&m, N, w);
  noise(&m, N, b);
  for (int i = 0; i < N; i++) {
    mpq_inits(W[i], B[i], NULL);
    mpq_set_d(W[i], w[i]);
    mpq_set_d(q, (double)alpha);
    mpq_mul(W[i], W[i], q);
    mpq_set_d(B[i], b[i]);
  }
  ep_attr a = {.name = "alpha", .type = EP_ATTR_FLOAT, .f = (double)alpha};
  const char *cw = constant(&m, (ep_shape){2, {1, N}}, w),
             *cur = node(&m, "Gemm", "y", "x", cw, constant(&m, (ep_shape){1, {N}}, b), &a);
  for (int r = 0; path[r]; r++) {
    const char *op = path[r] == 'M' ? "Mul" : path[r] == 'D' ? "Div" : path[r] == 'A' ? "Add" : "Sub";
    snprintf(name[r], sizeof name[r], "v%d", r);
    noise(&m, N, c);
    cur = node(&m, op, name[r], cur, constant(&m, (ep_shape){1, {N}}, c), NULL, NULL);
    for (int i = 0; i < N; i++) {
      mpq_set_d(q, c[i]);
      if (path[r] == 'M') mpq_mul(W[i], W[i], q), mpq_mul(B[i], B[i], q);
      if (path[r] == 'D') mpq_div(W[i], W[i], q), mpq_div(B[i], B[i], q);
      if (path[r] == 'A') mpq_add(B[i], B[i], q);
      if (path[r] == 'S') mpq_sub(B[i], B[i], q);
    }
  }
  ep_graph *g = finish(&m, cur);
  assert_int_equal(g->n_node, 1);
  const ep_affine *f = &g->node[0].low.is.affine;
  assert_true(f->n_terms == 1 && f->A[0].kind == EP_LINOP_DENSE && f->A[0].rel_err < 20 * 0x1p-53);
  for (int i = 0; i < N; i++) {
    double stored = f->A[0].w64[i];
    if (!is_within(W[i], stored, f->A[0].rel_err * fabs(stored))) fail_msg("path %s: weight %d", path, i);
    if (!is_within(B[i], f->bias[i], f->bias_err ? f->bias_err[i] : 0)) fail_msg("path %s: bias %d", path, i);
    assert_true(f->bias32[i] == (float)f->bias[i] && f->A[0].w32[i] == (float)stored);
    mpq_clears(W[i], B[i], NULL);
  }
  mpq_clear(q);
  stop(&m, g);
}

static void scales_and_shifts(void **state) {
  (void)state;
  static const char *const path[] = {"", "M", "D", "A", "S", "MA", "DA", "AM", "AD", "AA", "MDASMDA", "DDD"};
  for (size_t k = 0; k < sizeof path / sizeof *path; k++) {
    check_path(path[k], 1);
    check_path(path[k], 0.7f);
  }
}

/* The folded scale and shift against 512 bits. */
static void batch_norm_is_within_its_error(void **state) {
  (void)state;
  enum { N = 200 };
  maker m;
  start(&m, &(ep_shape){2, {1, N}});
  double scale[N], shift[N], mean[N], var[N];
  noise(&m, N, scale);
  noise(&m, N, shift);
  noise(&m, N, mean);
  for (int i = 0; i < N; i++) var[i] = 0.01 + ep_rng_uniform(&m.rng);
  const ep_shape row = {1, {N}};
  const char *in[5] = {"x", constant(&m, row, scale), constant(&m, row, shift), constant(&m, row, mean),
                       constant(&m, row, var)};
  must(&m, ep_builder_node(m.b, "BatchNormalization", "bn", 5, in, "y", NULL));
  ep_graph *g = finish(&m, "y");
  const ep_affine *a = &g->node[0].low.is.affine;
  assert_int_equal(a->A[0].kind, EP_LINOP_DIAG);
  mpf_set_default_prec(512);
  mpf_t w, c, t;
  mpf_inits(w, c, t, NULL);
  int tight = 0;
  for (int i = 0; i < N; i++) {
    mpf_set_d(w, var[i]);
    mpf_set_d(t, (double)1e-5f);
    mpf_add(w, w, t);
    mpf_sqrt(w, w);
    mpf_set_d(t, scale[i]);
    mpf_div(w, t, w);
    mpf_set_d(t, mean[i]);
    mpf_mul(c, w, t);
    mpf_set_d(t, shift[i]);
    mpf_sub(c, t, c);
    mpf_set_d(t, a->A[0].w64[i]);
    mpf_sub(w, w, t);
    double dw = fabs(mpf_get_d(w)) / fabs(a->A[0].w64[i]);
    mpf_set_d(t, a->bias[i]);
    mpf_sub(c, c, t);
    assert_true(dw <= a->A[0].rel_err);
    assert_true(fabs(mpf_get_d(c)) <= a->bias_err[i]);
    tight += dw > a->A[0].rel_err / 8;
  }
  assert_true(tight > 0); /* the stated error is of the right size, too */
  mpf_clears(w, c, t, NULL);
  stop(&m, g);
}

/* Values of the merged graph against a run with every step written out. */
static void same_values(const ep_graph *g, maker *m, const double *x, const double *want, size_t n) {
  ep_scratch s;
  ep_trace_f64 t;
  ep_scratch_init(&s, m->ctx);
  must(m, ep_eval_f64(g, 1, x, &s, &t));
  assert_int_equal(g->val[g->output].n, n);
  for (size_t i = 0; i < n; i++) assert_true(fabs(t.v[g->output][i] - want[i]) < 1e-12 * (1 + fabs(want[i])));
  ep_scratch_clear(&s);
}

/* Conv and ConvTranspose take a scale per channel (with groups), not one per pixel. */
static void convolution_scales(void **state) {
  (void)state;
  for (int k = 0; k < 4; k++) {
    bool transpose = k & 1, per_pixel = k & 2;
    maker m;
    ep_shape in = {4, {1, 4, 3, 3}}, kernel = transpose ? (ep_shape){4, {4, 3, 2, 2}} : (ep_shape){4, {6, 2, 2, 2}};
    start(&m, &in);
    double w[48], s[96], x[36], plain[96];
    noise(&m, 48, w);
    noise(&m, 96, s);
    noise(&m, 36, x);
    int64_t side = transpose ? 4 : 2, n = 6 * side * side;
    ep_shape ss = per_pixel ? (ep_shape){4, {1, 6, side, side}} : (ep_shape){3, {6, 1, 1}};
    ep_attr group = {.name = "group", .type = EP_ATTR_INT, .i = 2};
    const char *op = transpose ? "ConvTranspose" : "Conv";
    for (int merged = 0; merged < 2; merged++) {
      if (merged) {
        ep_builder_destroy(m.b);
        ep_ctx *ctx = m.ctx;
        must(&m, ep_builder_create(ctx, 13, &m.b));
        must(&m, ep_builder_input(m.b, "x", EP_DT_F64, &in));
        m.n_const = 0;
      }
      const char *y = node(&m, op, "y", "x", constant(&m, kernel, w), NULL, &group);
      if (merged) y = node(&m, "Mul", "z", y, constant(&m, ss, s), NULL, NULL);
      ep_graph *g = finish(&m, y);
      if (!merged) {
        ep_scratch sc;
        ep_trace_f64 t;
        ep_scratch_init(&sc, m.ctx);
        must(&m, ep_eval_f64(g, 1, x, &sc, &t));
        for (int64_t i = 0; i < n; i++) plain[i] = t.v[g->output][i] * s[per_pixel ? i : i / (side * side)];
        ep_scratch_clear(&sc);
      } else {
        same_values(g, &m, x, plain, (size_t)n);
        assert_int_equal(g->n_node, per_pixel ? 2 : 1);
      }
      ep_graph_destroy(g);
    }
    stop(&m, NULL);
  }
}

/* A value that something else reads, too, keeps its node; so does the graph's output. */
static void shared_values_stay(void **state) {
  (void)state;
  maker m;
  start(&m, &(ep_shape){2, {1, 3}});
  double w[9], s[3] = {2, 3, 4}, x[3] = {1, -2, 0.5}, want[3];
  noise(&m, 9, w);
  node(&m, "MatMul", "y", "x", constant(&m, (ep_shape){2, {3, 3}}, w), NULL, NULL);
  node(&m, "Mul", "z", "y", constant(&m, (ep_shape){1, {3}}, s), NULL, NULL);
  node(&m, "Add", "sum", "y", "z", NULL, NULL);
  for (int i = 0; i < 3; i++) want[i] = (1 + s[i]) * (w[i] * x[0] + w[3 + i] * x[1] + w[6 + i] * x[2]);
  ep_graph *g = finish(&m, "sum");
  assert_int_equal(g->n_node, 3);
  same_values(g, &m, x, want, 3);
  stop(&m, g);
}

/* Residual sums take a scale in both terms. */
static void scaled_residual(void **state) {
  (void)state;
  maker m;
  start(&m, &(ep_shape){2, {1, 3}});
  double w[9], s[3] = {2, 3, 4}, x[3] = {1, -2, 0.5}, want[3];
  noise(&m, 9, w);
  node(&m, "MatMul", "y", "x", constant(&m, (ep_shape){2, {3, 3}}, w), NULL, NULL);
  node(&m, "Add", "sum", "y", "x", NULL, NULL);
  node(&m, "Mul", "z", "sum", constant(&m, (ep_shape){1, {3}}, s), NULL, NULL);
  for (int i = 0; i < 3; i++) want[i] = s[i] * (x[i] + w[i] * x[0] + w[3 + i] * x[1] + w[6 + i] * x[2]);
  ep_graph *g = finish(&m, "z");
  assert_int_equal(g->n_node, 2);
  same_values(g, &m, x, want, 3);
  stop(&m, g);
}

/* Picks of picks become one. */
static void moves(void **state) {
  (void)state;
  maker m;
  start(&m, &(ep_shape){2, {3, 4}});
  int64_t one = 1, two = 2, pads[4] = {0, 1, 0, 0};
  ep_attr back = {.name = "perm", .type = EP_ATTR_INTS, .n = 2, .ints = (int64_t[]){1, 0}};
  node(&m, "Transpose", "t", "x", NULL, NULL, &back); /* [4,3] */
  must(&m, ep_builder_constant(m.b, "one", &(ep_tensor){EP_DT_I64, {1, {1}}, 1, NULL, &one}));
  must(&m, ep_builder_constant(m.b, "two", &(ep_tensor){EP_DT_I64, {1, {1}}, 1, NULL, &two}));
  node(&m, "Slice", "s", "t", "one", "two", NULL); /* row 1: [1,3] */
  must(&m, ep_builder_constant(m.b, "pads", &(ep_tensor){EP_DT_I64, {1, {4}}, 4, NULL, pads}));
  node(&m, "Pad", "p", "s", "pads", NULL, NULL); /* [1,4] with a leading zero */
  ep_graph *g = finish(&m, "p");
  double x[12], want[4];
  for (int i = 0; i < 12; i++) x[i] = i + 1;
  want[0] = 0, want[1] = x[1], want[2] = x[5], want[3] = x[9];
  assert_int_equal(g->n_node, 1);
  assert_int_equal(g->node[0].low.is.affine.A[0].kind, EP_LINOP_MAP);
  same_values(g, &m, x, want, 4);
  stop(&m, g);
}

static void moves_that_cancel(void **state) {
  (void)state;
  maker m;
  start(&m, &(ep_shape){2, {3, 4}});
  ep_attr back = {.name = "perm", .type = EP_ATTR_INTS, .n = 2, .ints = (int64_t[]){1, 0}};
  node(&m, "Transpose", "t", "x", NULL, NULL, &back);
  node(&m, "Transpose", "u", "t", NULL, NULL, &back);
  node(&m, "Relu", "r", "u", NULL, NULL, NULL);
  node(&m, "Transpose", "v", "r", NULL, NULL, &back);
  node(&m, "Transpose", "w", "v", NULL, NULL, &back);
  ep_graph *g = finish(&m, "w");
  double x[12], want[12];
  for (int i = 0; i < 12; i++) want[i] = fmax(x[i] = i - 6, 0);
  assert_int_equal(g->n_node, 1);
  same_values(g, &m, x, want, 12);
  stop(&m, g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scales_and_shifts),  cmocka_unit_test(batch_norm_is_within_its_error),
      cmocka_unit_test(convolution_scales), cmocka_unit_test(shared_values_stay),
      cmocka_unit_test(scaled_residual),    cmocka_unit_test(moves),
      cmocka_unit_test(moves_that_cancel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
