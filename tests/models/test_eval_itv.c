/* Interval evaluation against exact rational arithmetic (GMP) on small random networks: every value of every node lies
 * in its box, for points and for boxes, whatever the magnitudes.
 *
 * Seen to fail, by hand-made mutations of eval_itv.c, each alone: the gamma term dropped; rel_err dropped; bias_err
 * dropped; the radius of one input taken to nearest half; `add` of the second term lost. */
#include "tests/ep_test.h"

#include <gmp.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/eval.h"

enum { N_IN = 6, MAX_VAL = 80 };

typedef struct net {
  ep_ctx *ctx;
  ep_builder *b;
  ep_graph *g;
  ep_rng rng;
  double scale; /* magnitude spread of weights */
} net;

static void must(net *t, ep_status st) {
  if (st != EP_OK) fail_msg("%s", ep_ctx_error(t->ctx).text);
}

/* float32 weights whose magnitudes spread over `scale` decades, so that sums cancel badly. */
static double weight(net *t) {
  double m = pow(10, t->scale * (ep_rng_uniform(&t->rng) - 0.5));
  return (double)(float)(m * (2 * ep_rng_uniform(&t->rng) - 1));
}
static void constant(net *t, const char *name, ep_shape s, bool positive) {
  double v[256];
  ep_tensor c = {EP_DT_F32, s, ep_shape_count(&s), v, NULL};
  assert_true(c.n <= 256);
  for (size_t i = 0; i < c.n; i++) v[i] = positive ? 1 + fabs(weight(t)) : weight(t);
  must(t, ep_builder_constant(t->b, name, &c));
}
static void node(net *t, const char *op, const char *out, const char *a, const char *b, const char *c, ep_attr *attr) {
  const char *in[3] = {a, b, c};
  ep_attrs as = {attr ? 1 : 0, attr};
  must(t, ep_builder_node(t->b, op, out, c ? 3 : b ? 2 : 1, in, out, &as));
}

/* x -> blocks of Gemm, residual Add, Concat, Mul, Sub, Conv on a 1 x 1 x 2 x 3 view, Relu. */
static void random_net(net *t, uint64_t seed) {
  char cur[16] = "x", next[16], w[24], bias[24];
  ep_rng_seed(&t->rng, seed);
  t->ctx = ep_ctx_create();
  t->scale = (double)(seed % 4) * 4;
  must(t, ep_builder_create(t->ctx, 13, &t->b));
  must(t, ep_builder_input(t->b, "x", EP_DT_F32, &(ep_shape){2, {1, N_IN}}));
  for (int k = 0; k < 5; k++) {
    uint64_t kind = ep_rng_below(&t->rng, 5);
    snprintf(next, sizeof next, "y%d", k);
    snprintf(w, sizeof w, "w%d", k);
    snprintf(bias, sizeof bias, "b%d", k);
    if (kind == 0) {
      constant(t, w, (ep_shape){2, {N_IN, N_IN}}, false);
      constant(t, bias, (ep_shape){1, {N_IN}}, false);
      node(t, "Gemm", next, cur, w, bias, NULL);
    } else if (kind == 1) { /* residual: x + MatMul(Relu(x)) */
      constant(t, w, (ep_shape){2, {N_IN, N_IN}}, false);
      char r[24], m[24];
      snprintf(r, sizeof r, "r%d", k);
      snprintf(m, sizeof m, "m%d", k);
      node(t, "Relu", r, cur, NULL, NULL, NULL);
      node(t, "MatMul", m, r, w, NULL, NULL);
      node(t, ep_rng_below(&t->rng, 2) ? "Add" : "Sub", next, cur, m, NULL, NULL);
    } else if (kind == 2) { /* Concat of two halves' products */
      constant(t, w, (ep_shape){2, {N_IN, N_IN / 2}}, false);
      char m[24];
      int64_t axis = 1;
      snprintf(m, sizeof m, "m%d", k);
      node(t, "MatMul", m, cur, w, NULL, NULL);
      ep_attr a = {.name = "axis", .type = EP_ATTR_INT, .i = axis};
      node(t, "Concat", next, m, m, NULL, &a);
    } else if (kind == 3) {
      constant(t, w, (ep_shape){1, {N_IN}}, false);
      constant(t, bias, (ep_shape){1, {N_IN}}, false);
      char m[24];
      snprintf(m, sizeof m, "m%d", k);
      node(t, "Mul", m, cur, w, NULL, NULL);
      node(t, "Add", next, m, bias, NULL, NULL);
    } else {
      constant(t, w, (ep_shape){4, {1, 1, 3, 3}}, false);
      int64_t image[4] = {1, 1, 2, 3}, flat[2] = {1, N_IN}, pads[4] = {1, 1, 1, 1};
      char s0[24], s1[24], v[24], m[24];
      snprintf(s0, sizeof s0, "s%d", k);
      snprintf(s1, sizeof s1, "t%d", k);
      snprintf(v, sizeof v, "v%d", k);
      snprintf(m, sizeof m, "m%d", k);
      must(t, ep_builder_constant(t->b, s0, &(ep_tensor){EP_DT_I64, {1, {4}}, 4, NULL, image}));
      must(t, ep_builder_constant(t->b, s1, &(ep_tensor){EP_DT_I64, {1, {2}}, 2, NULL, flat}));
      node(t, "Reshape", v, cur, s0, NULL, NULL);
      ep_attr a = {.name = "pads", .type = EP_ATTR_INTS, .n = 4, .ints = pads};
      node(t, "Conv", m, v, w, NULL, &a);
      node(t, "Reshape", next, m, s1, NULL, NULL);
    }
    memcpy(cur, next, sizeof cur);
  }
  must(t, ep_builder_finish(t->b, cur, &t->g));
  ep_builder_destroy(t->b);
}

static void close_net(net *t) {
  ep_graph_destroy(t->g);
  ep_ctx_destroy(t->ctx);
}

/* Exact values of all nodes: val[v][i]. Biases that carry an error are outside this oracle (bias_err must be NULL). */
static void exact(const ep_graph *g, mpq_t *const *val) {
  mpq_t w, p;
  mpq_inits(w, p, NULL);
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    uint32_t n = g->val[nd->out].n;
    mpq_t *y = val[nd->out];
    if (nd->low.cls == EP_UNIVAR) {
      assert_string_equal(nd->low.is.univar.name, "Relu");
      for (uint32_t i = 0; i < n; i++) {
        mpq_set(y[i], val[nd->in[0]][i]);
        if (mpq_sgn(y[i]) < 0) mpq_set_ui(y[i], 0, 1);
      }
      continue;
    }
    const ep_affine *a = &nd->low.is.affine;
    assert_int_equal(nd->low.cls, EP_AFFINE);
    for (uint32_t i = 0; i < n; i++) {
      mpq_set_d(y[i], a->bias ? a->bias[i] : 0);
      for (uint32_t j = 0; j < a->n_terms; j++) {
        double row[256];
        assert_true(a->A[j].n_in <= 256 && a->A[j].rel_err == 0);
        ep_linop_rows_f64(&a->A[j], 1, &i, row, false);
        for (uint32_t c = 0; c < a->A[j].n_in; c++) {
          if (row[c] == 0) continue;
          mpq_set_d(w, row[c]);
          mpq_mul(p, w, val[nd->in[j]][c]);
          mpq_add(y[i], y[i], p);
        }
      }
    }
  }
  mpq_clears(w, p, NULL);
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
  for (uint64_t seed = 0; seed < 60; seed++) {
    net t = {0};
    random_net(&t, seed);
    mpq_t *val[MAX_VAL];
    assert_true(t.g->n_val <= MAX_VAL);
    for (uint32_t v = 0; v < t.g->n_val; v++) {
      val[v] = test_malloc(t.g->val[v].n * sizeof *val[v]);
      for (uint32_t i = 0; i < t.g->val[v].n; i++) mpq_init(val[v][i]);
    }
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
        for (int i = 0; i < N_IN; i++) mpq_set_d(val[t.g->input][i], ep_rng_below(&t.rng, 2) ? lo[i] : hi[i]);
        exact(t.g, val);
        for (uint32_t v = 0; v < t.g->n_val; v++)
          for (uint32_t i = 0; i < t.g->val[v].n; i++)
            if (!holds(b.lo[v][i], val[v][i], b.hi[v][i]))
              fail_msg("seed %u, value '%s'[%u] = %.17g outside [%.17g, %.17g]", (unsigned)seed, t.g->val[v].name, i,
                       mpq_get_d(val[v][i]), b.lo[v][i], b.hi[v][i]);
      }
      ep_scratch_clear(&s);
    }
    for (uint32_t v = 0; v < t.g->n_val; v++) {
      for (uint32_t i = 0; i < t.g->val[v].n; i++) mpq_clear(val[v][i]);
      test_free(val[v]);
    }
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
  ep_affine a = {n_terms, A, bias, bias_err, NULL};
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

/* Denormal products vanish in float64 but not in the box. */
static void underflow(void **state) {
  (void)state;
  static const double w = 0x1p-600, x = 0x1p-600;
  const double *wp = &w, *xp = &x;
  double l, h;
  affine(1, (uint32_t[]){1}, &wp, &xp, &xp, NULL, NULL, 0, &l, &h);
  assert_true(l <= 0 && h > 0 && h < 1e-290);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_nets),   cmocka_unit_test(cancellation), cmocka_unit_test(cancellation_across_terms),
      cmocka_unit_test(stated_errors), cmocka_unit_test(unbounded),    cmocka_unit_test(underflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
