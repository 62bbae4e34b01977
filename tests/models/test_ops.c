/* Every operator against a naive reference, gradients against finite differences, boxes and planes against samples. The
 * table of cases is tests/models/opcases.h. */
#include "tests/ep_test.h"

#include "models/float32.h"
#include "tests/models/opcases.h"

typedef struct fixture {
  ep_ctx *ctx;
  ep_scratch s;
} fixture;

static void open_fixture(fixture *f) {
  f->ctx = ep_ctx_create();
  assert_non_null(f->ctx);
  ep_scratch_init(&f->s, f->ctx);
}
static void close_fixture(fixture *f) {
  ep_scratch_clear(&f->s);
  ep_ctx_destroy(f->ctx);
}

/* Runs `check` on an instance of every case. */
static void for_all(void (*check)(const inst *, fixture *)) {
  for (int k = 0; k < N_CASES; k++) {
    fixture f;
    inst t;
    open_fixture(&f);
    if (inst_init(&t, &cases[k], f.ctx, 77u + (uint64_t)k) != EP_OK)
      fail_msg("case %d, %s %s %s: %s", k, cases[k].op, cases[k].in, cases[k].attrs, ep_ctx_error(f.ctx).text);
    check(&t, &f);
    inst_clear(&t);
    close_fixture(&f);
  }
}
#define WRONG(t, ...)                                                                                                  \
  do {                                                                                                                 \
    print_error("%s (opset %d) %s %s: ", (t)->c->op, (t)->c->opset, (t)->c->in, (t)->c->attrs);                        \
    fail_msg(__VA_ARGS__);                                                                                             \
  } while (0)

static void check_value(const inst *t, fixture *f) {
  double *x = calloc(t->n_x + 1u, sizeof *x);
  float *x32 = calloc(t->n_x + 1u, sizeof *x32);
  inst_x(t, x);
  for (uint32_t i = 0; i < t->n_x; i++) x32[i] = (float)x[i];
  tens want = {.shape = shape_of(t->c->out_shape)};
  want.n = ep_shape_count(&want.shape);
  want.v = calloc(want.n + 1, sizeof *want.v);
  t->c->ref(t, &want);
  ep_trace_f64 r;
  ep_trace_f32 r32;
  assert_int_equal(ep_eval_f64(t->g, 1, x, &f->s, &r), EP_OK);
  assert_int_equal(ep_eval_f32(t->g, 1, x32, &f->s, &r32), EP_OK);
  if (t->g->val[t->g->output].n != want.n) WRONG(t, "%u elements, expected %zu", t->g->val[t->g->output].n, want.n);
  for (size_t i = 0; i < want.n; i++) {
    double got = r.v[t->g->output][i], got32 = (double)r32.v[t->g->output][i];
    if (!(fabs(got - want.v[i]) <= 1e-12 * (1 + fabs(want.v[i]))))
      WRONG(t, "element %zu: %g, expected %g", i, got, want.v[i]);
    if (!(fabs(got32 - want.v[i]) <= 3e-6 * (1 + fabs(want.v[i]))))
      WRONG(t, "float32 element %zu: %g, not %g", i, got32, want.v[i]);
  }
  free(x);
  free(x32);
  free(want.v);
}
static void values(void **state) {
  (void)state;
  for_all(check_value);
}

/* The shape that later nodes see. */
static void check_shape(const inst *t, fixture *f) {
  (void)f;
  ep_shape want = shape_of(t->c->out_shape);
  const ep_node *last = t->g->n_node ? &t->g->node[t->g->n_node - 1] : NULL;
  if (!last || strcmp(last->op->onnx, t->c->op) != 0) return; /* an alias: its shape lives in the builder only */
  if (!ep_shape_equal(&want, &last->out_shape)) WRONG(t, "wrong shape");
}
static void shapes(void **state) {
  (void)state;
  for_all(check_shape);
}

static double objective(const inst *t, fixture *f, const double *x, const double *gy) {
  ep_scratch_mark m = ep_scratch_save(&f->s);
  ep_trace_f64 r;
  assert_int_equal(ep_eval_f64(t->g, 1, x, &f->s, &r), EP_OK);
  double sum = 0;
  for (uint32_t i = 0; i < t->g->val[t->g->output].n; i++) sum += gy[i] * r.v[t->g->output][i];
  ep_scratch_restore(&f->s, m);
  return sum;
}
static void check_gradient(const inst *t, fixture *f) {
  uint32_t n = t->n_x, m = t->g->val[t->g->output].n;
  double *x = calloc(n + 1u, sizeof *x), *gx = calloc(n + 1u, sizeof *x), *gy = calloc(m + 1u, sizeof *x);
  float *x32 = calloc(n + 1u, sizeof *x32), *gx32 = calloc(n + 1u, sizeof *x32), *gy32 = calloc(m + 1u, sizeof *x32);
  ep_rng rng;
  ep_rng_seed(&rng, 5);
  inst_x(t, x);
  for (uint32_t i = 0; i < m; i++) gy[i] = gy32[i] = (float)ep_rng_normal(&rng);
  for (uint32_t i = 0; i < n; i++) x32[i] = (float)x[i];
  ep_trace_f64 r;
  ep_trace_f32 r32;
  assert_int_equal(ep_eval_f64(t->g, 1, x, &f->s, &r), EP_OK);
  assert_int_equal(ep_grad_f64(t->g, &r, gy, gx, &f->s), EP_OK);
  assert_int_equal(ep_eval_f32(t->g, 1, x32, &f->s, &r32), EP_OK);
  assert_int_equal(ep_grad_f32(t->g, &r32, gy32, gx32, &f->s), EP_OK);
  for (uint32_t i = 0; i < n; i++) {
    const double h = 1e-5, at = x[i];
    x[i] = at + h;
    double up = objective(t, f, x, gy);
    x[i] = at - h;
    double down = objective(t, f, x, gy);
    x[i] = at;
    double mid = objective(t, f, x, gy), slope = (up - down) / (2 * h);
    if (!strcmp(t->c->op, "Sign")) slope = gy[i];                             /* straight through */
    bool is_kink = t->c->has_kinks && fabs((up - mid) - (mid - down)) > 1e-9; /* a kink within h of x */
    if (!is_kink && fabs(gx[i] - slope) > 1e-5 * (1 + fabs(slope)))
      WRONG(t, "d/dx%u = %g, expected %g", i, gx[i], slope);
    if (!is_kink && fabs((double)gx32[i] - slope) > 1e-4 * (1 + fabs(slope)))
      WRONG(t, "float32 d/dx%u = %g, expected %g", i, (double)gx32[i], slope);
  }
  free(x), free(gx), free(gy), free(x32), free(gx32), free(gy32);
}
static void gradients(void **state) {
  (void)state;
  for_all(check_gradient);
}

/* Boxes of several widths around the instance's point, of zero width in some coordinates; corners and inner points. */
static void random_box(ep_rng *r, const double *x, uint32_t n, double *lo, double *hi) {
  double width = pow(10, -4 * ep_rng_uniform(r));
  for (uint32_t i = 0; i < n; i++) {
    bool is_fixed = ep_rng_below(r, 4) == 0;
    lo[i] = x[i] - (is_fixed ? 0 : width * ep_rng_uniform(r));
    hi[i] = x[i] + (is_fixed ? 0 : width * ep_rng_uniform(r));
  }
}
static void random_point(ep_rng *r, const double *lo, const double *hi, uint32_t n, double *x) {
  bool is_corner = ep_rng_below(r, 2) == 0;
  for (uint32_t i = 0; i < n; i++) {
    double u = is_corner ? (double)ep_rng_below(r, 2) : ep_rng_uniform(r);
    x[i] = fmin(fmax(lo[i] + u * (hi[i] - lo[i]), lo[i]), hi[i]);
  }
}

static void check_box(const inst *t, fixture *f) {
  uint32_t n = t->n_x, m = t->g->val[t->g->output].n;
  double *x = calloc(n + 1u, 8), *c = calloc(n + 1u, 8), *lo = calloc(2 * n + 1u, 8), *hi = calloc(2 * n + 1u, 8);
  ep_rng rng;
  ep_rng_seed(&rng, 9);
  inst_x(t, c);
  for (int round = 0; round < 12; round++) {
    ep_scratch_mark mark = ep_scratch_save(&f->s);
    ep_trace_itv b;
    random_box(&rng, c, n, lo, hi);
    random_box(&rng, c, n, lo + n, hi + n); /* a batch of two: rows do not mix */
    assert_int_equal(ep_eval_itv(t->g, 2, lo, hi, &f->s, &b), EP_OK);
    for (int k = 0; k < 40; k++) {
      size_t row = (size_t)(k & 1);
      ep_trace_f64 r;
      ep_scratch_mark inner = ep_scratch_save(&f->s);
      random_point(&rng, lo + row * n, hi + row * n, n, x);
      assert_int_equal(ep_eval_f64(t->g, 1, x, &f->s, &r), EP_OK);
      for (uint32_t i = 0; i < m; i++) {
        double y = r.v[t->g->output][i], slack = 1e-14 * (1 + fabs(y)); /* what float64 evaluation itself may be off */
        double l = b.lo[t->g->output][row * m + i], h = b.hi[t->g->output][row * m + i];
        if (!(y >= l - slack && y <= h + slack)) WRONG(t, "output %u: %.17g outside [%.17g, %.17g]", i, y, l, h);
      }
      ep_scratch_restore(&f->s, inner);
    }
    ep_scratch_restore(&f->s, mark);
  }
  free(x), free(c), free(lo), free(hi);
}
static void boxes(void **state) {
  (void)state;
  for_all(check_box);
}

/* A box of zero width gives an output box hardly wider than rounding. */
static void check_tight(const inst *t, fixture *f) {
  double *x = calloc(t->n_x + 1u, 8);
  ep_trace_itv b;
  inst_x(t, x);
  assert_int_equal(ep_eval_itv(t->g, 1, x, x, &f->s, &b), EP_OK);
  for (uint32_t i = 0; i < t->g->val[t->g->output].n; i++) {
    double w = b.hi[t->g->output][i] - b.lo[t->g->output][i];
    if (!(w >= 0 && w <= 1e-13)) WRONG(t, "width %g at a point", w);
  }
  free(x);
}
static void tight_at_points(void **state) {
  (void)state;
  for_all(check_tight);
}

/* Both planes of GENERAL operators over boxes of their own inputs. */
static void check_planes(const inst *t, fixture *f) {
  const ep_node *nd = t->g->n_node ? &t->g->node[t->g->n_node - 1] : NULL;
  if (!nd || nd->low.cls != EP_GENERAL) return;
  const ep_general *op = &nd->low.is.general;
  uint32_t m = t->g->val[nd->out].n, n = 0;
  const double *plo[4], *phi[4], *px[4];
  for (uint32_t j = 0; j < nd->n_in; j++) n += t->g->val[nd->in[j]].n;
  double *c = calloc(n + 1u, 8), *x = calloc(n + 1u, 8), *lo = calloc(n + 1u, 8), *hi = calloc(n + 1u, 8),
         *y = calloc(m + 1u, 8);
  double *yl = calloc(m + 1u, 8), *yu = calloc(m + 1u, 8);
  ep_rng rng;
  ep_rng_seed(&rng, 21);
  for (int round = 0; round < 60; round++) {
    for (uint32_t i = 0; i < n; i++) c[i] = 2 * ep_rng_uniform(&rng) - 1;
    random_box(&rng, c, n, lo, hi);
    for (uint32_t j = 0, at = 0; j < nd->n_in; at += t->g->val[nd->in[j]].n, j++) {
      plo[j] = lo + at;
      phi[j] = hi + at;
      px[j] = x + at;
    }
    ep_arena arena;
    ep_linear_pair p = {0};
    ep_arena_init(&arena, f->ctx);
    assert_int_equal(op->relax(nd, plo, phi, &arena, &p), EP_OK);
    assert_int_equal(p.lower.n_in, n);
    assert_int_equal(p.upper.n_out, m);
    for (int k = 0; k < 30; k++) {
      random_point(&rng, lo, hi, n, x);
      op->forward_f64(nd, px, y);
      assert_int_equal(ep_linop_apply_f64(&p.lower, 1, x, yl, false, &f->s), EP_OK);
      assert_int_equal(ep_linop_apply_f64(&p.upper, 1, x, yu, false, &f->s), EP_OK);
      for (uint32_t i = 0; i < m; i++) {
        double l = yl[i] + p.lower_c[i], u = yu[i] + p.upper_c[i], slack = 1e-14 * (1 + fabs(y[i]));
        if (!(l <= y[i] + slack && y[i] <= u + slack))
          WRONG(t, "output %u: %.17g outside planes %.17g %.17g", i, y[i], l, u);
      }
    }
    ep_arena_clear(&arena);
  }
  free(c), free(x), free(lo), free(hi), free(y), free(yl), free(yu);
}
static void planes(void **state) {
  (void)state;
  for_all(check_planes);
}

/* Quotients over boxes that hold zero know nothing; products of unbounded boxes neither. */
static void no_information(void **state) {
  (void)state;
  static const opcase div = {"Div", 13, "v2 | v2", "", "2", ref_arith, false};
  static const opcase mul = {"Mul", 13, "v2 | v2", "", "2", ref_arith, false};
  for (int k = 0; k < 2; k++) {
    fixture f;
    inst t;
    open_fixture(&f);
    assert_int_equal(inst_init(&t, k ? &mul : &div, f.ctx, 3), EP_OK);
    double lo[4] = {-1, 1, -1, 0.5}, hi[4] = {1, 2, 1, 2};
    if (k) hi[0] = INFINITY;
    ep_trace_itv b;
    assert_int_equal(ep_eval_itv(t.g, 1, lo, hi, &f.s, &b), EP_OK);
    assert_true(b.lo[t.g->output][0] == -INFINITY && b.hi[t.g->output][0] == INFINITY);
    assert_true(b.lo[t.g->output][1] > 0.49 && b.hi[t.g->output][1] < 4.01);
    inst_clear(&t);
    close_fixture(&f);
  }
}

/* Shape and ConstantOfShape make constants only; their suite is test_builder. */
static void every_operator_has_a_case(void **state) {
  (void)state;
  for (size_t o = 0; o < ep_n_ops; o++) {
    bool has = !strcmp(ep_ops[o]->onnx, "Shape") || !strcmp(ep_ops[o]->onnx, "ConstantOfShape");
    for (int k = 0; k < N_CASES; k++) has = has || !strcmp(cases[k].op, ep_ops[o]->onnx);
    if (!has) fail_msg("no case for %s", ep_ops[o]->onnx);
    assert_ptr_equal(ep_op_find(ep_ops[o]->onnx), ep_ops[o]);
    if (o) assert_true(strcmp(ep_ops[o - 1]->onnx, ep_ops[o]->onnx) < 0);
  }
}

/* What `epsproof supports` says of float32 must hold: an operator that no case finds affine is exact or not covered. */
static void float32_cover_is_stated(void **state) {
  (void)state;
  for (size_t o = 0; o < ep_n_ops; o++) {
    bool has_case = false, is_affine = false;
    for (int k = 0; k < N_CASES; k++) {
      if (strcmp(cases[k].op, ep_ops[o]->onnx) != 0) continue;
      fixture f;
      inst t;
      open_fixture(&f);
      assert_int_equal(inst_init(&t, &cases[k], f.ctx, 1), EP_OK);
      has_case = true;
      is_affine |= !t.g->n_node || t.g->node[t.g->n_node - 1].low.cls == EP_AFFINE;
      inst_clear(&t);
      close_fixture(&f);
    }
    ep_float32_cover cover = ep_float32_cover_of(ep_ops[o]->onnx);
    if (has_case && !is_affine && cover != EP_FLOAT32_EXACT && cover != EP_FLOAT32_NONE)
      fail_msg("%s is not affine: models/float32.c must say how float32 semantics covers it", ep_ops[o]->onnx);
    if (has_case && is_affine && cover == EP_FLOAT32_EXACT && strcmp(ep_ops[o]->onnx, "Clip") != 0)
      fail_msg("%s is affine: its float32 results are rounded", ep_ops[o]->onnx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values),
      cmocka_unit_test(shapes),
      cmocka_unit_test(gradients),
      cmocka_unit_test(boxes),
      cmocka_unit_test(planes),
      cmocka_unit_test(no_information),
      cmocka_unit_test(tight_at_points),
      cmocka_unit_test(every_operator_has_a_case),
      cmocka_unit_test(float32_cover_is_stated),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
