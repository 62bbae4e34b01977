/* What univariate operators say of themselves, which every relaxation believes: enclosures of f and f' against extended
 * precision, pieces against f, hot loops against the plain function.
 *
 * Seen to fail, by hand-made mutations, each alone: WIDEN set to zero; a floor or ceiling of Sigmoid or Tanh wrong;
 * curvatures swapped; a Clip limit's piece or breakpoint moved; LeakyRelu's product not stepped outward; a kink's hull
 * of slopes reduced to one side; is_monotone claimed for a negative alpha. */
#include "tests/ep_test.h"

#include <float.h>
#include <math.h>

#include "tests/models/opcase.h"

typedef struct fun {
  opcase c;
  long double (*f)(const double *p, long double x), (*df)(const double *p, long double x);
  double lo, hi; /* where to sample, apart from extremes */
} fun;

static long double abs_f(const double *p, long double x) { return (void)p, fabsl(x); }
static long double abs_df(const double *p, long double x) { return (void)p, x > 0 ? 1 : -1; }
static long double relu_f(const double *p, long double x) { return (void)p, x > 0 ? x : 0; }
static long double relu_df(const double *p, long double x) { return (void)p, x > 0; }
static long double leaky_f(const double *p, long double x) { return x > 0 ? x : (long double)p[0] * x; }
static long double leaky_df(const double *p, long double x) { return x > 0 ? 1 : p[0]; }
static long double clip_f(const double *p, long double x) { return x < p[0] ? p[0] : x > p[1] ? p[1] : x; }
static long double clip_df(const double *p, long double x) { return x > p[0] && x < p[1]; }
static long double sign_f(const double *p, long double x) { return (void)p, (x > 0) - (x < 0); }
static long double sign_df(const double *p, long double x) { return (void)p, (void)x, 0; }
static long double sigmoid_f(const double *p, long double x) {
  (void)p;
  long double e = expl(-fabsl(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
static long double sigmoid_df(const double *p, long double x) {
  (void)p;
  long double e = expl(-fabsl(x));
  return e / ((1 + e) * (1 + e));
}
static long double tanh_f(const double *p, long double x) { return (void)p, tanhl(x); }
static long double sin_f(const double *p, long double x) { return (void)p, sinl(x); }
static long double cos_f(const double *p, long double x) { return (void)p, cosl(x); }
static long double minus_sin(const double *p, long double x) { return (void)p, -sinl(x); }
static long double tanh_df(const double *p, long double x) { return 4 * sigmoid_df(p, 2 * x); }

static const fun funs[] = {
    {{.op = "Abs"}, abs_f, abs_df, -3, 3},
    {{.op = "Relu"}, relu_f, relu_df, -3, 3},
    {{.op = "LeakyRelu"}, leaky_f, leaky_df, -3, 3},
    {{.op = "LeakyRelu", .attrs = "f alpha 2.7"}, leaky_f, leaky_df, -3, 3},
    {{.op = "LeakyRelu", .attrs = "f alpha -0.3"}, leaky_f, leaky_df, -3, 3},
    {{.op = "Clip", .opset = 6, .attrs = "f min -0.7; f max 1.9"}, clip_f, clip_df, -3, 3},
    {{.op = "Clip", .opset = 6, .attrs = "f min 0.2"}, clip_f, clip_df, -3, 3},
    {{.op = "Clip", .opset = 6, .attrs = "f max -0.2"}, clip_f, clip_df, -3, 3},
    {{.op = "Clip", .opset = 6, .attrs = "f min 1; f max 1"}, clip_f, clip_df, -3, 3},
    {{.op = "Sign"}, sign_f, sign_df, -3, 3},
    {{.op = "Sigmoid"}, sigmoid_f, sigmoid_df, -40, 40},
    {{.op = "Tanh"}, tanh_f, tanh_df, -20, 20},
    {{.op = "Sin"}, sin_f, cos_f, -16, 16},
    {{.op = "Cos"}, cos_f, minus_sin, -16, 16},
};
enum { N_FUNS = sizeof funs / sizeof *funs };

static void with(void (*check)(const fun *, const ep_univar *, const inst *, ep_ctx *)) {
  for (int k = 0; k < N_FUNS; k++) {
    ep_ctx *ctx = ep_ctx_create();
    opcase c = funs[k].c;
    c.in = "v50";
    c.opset = c.opset ? c.opset : 13;
    inst t;
    if (inst_init(&t, &c, ctx, 1) != EP_OK) fail_msg("%s", ep_ctx_error(ctx).text);
    const ep_node *nd = &t.g->node[t.g->n_node - 1];
    assert_int_equal(nd->low.cls, EP_UNIVAR);
    assert_string_equal(nd->low.is.univar.name, c.op);
    check(&funs[k], &nd->low.is.univar, &t, ctx);
    inst_clear(&t);
    ep_ctx_destroy(ctx);
  }
}

/* Sample k: dense in the interesting range, close to breakpoints, and of every magnitude. */
static double sample(const fun *f, const ep_univar *u, ep_rng *r, int k) {
  double x = f->lo + (f->hi - f->lo) * ep_rng_uniform(r);
  if (k % 4 == 1) x = ldexp(x, (int)ep_rng_below(r, 200) - 150);
  if (k % 4 == 2 && u->n_piece > 1) {
    x = u->brk[ep_rng_below(r, u->n_piece - 1)].lo;
    if (k % 8 == 2) x = nextafter(x, ep_rng_below(r, 2) ? INFINITY : -INFINITY);
  }
  return x;
}

static bool is_breakpoint(const ep_univar *u, double x) {
  for (uint32_t i = 0; i + 1 < u->n_piece; i++)
    if (u->brk[i].lo <= x && x <= u->brk[i].hi) return true;
  return false;
}

static void check_enclosures(const fun *f, const ep_univar *u, const inst *t, ep_ctx *ctx) {
  (void)t;
  (void)ctx;
  ep_rng r;
  ep_rng_seed(&r, 31);
  for (int k = 0; k < 40000; k++) {
    double x = sample(f, u, &r, k);
    long double y = f->f(u->param, x), d = f->df(u->param, x);
    /* extended precision itself is off by a few of its ulps, 2^-11 of ours */
    long double e = fabsl(y) * 0x1p-61L, ed = fabsl(d) * 0x1p-60L;
    ep_itv v = u->enclose(u, x), g = u->enclose_df(u, x);
    if (!((long double)v.lo <= y + e && y - e <= (long double)v.hi))
      fail_msg("%s(%.17g) outside [%.17g, %.17g]", u->name, x, v.lo, v.hi);
    if (!((long double)g.lo <= d + ed && d - ed <= (long double)g.hi))
      fail_msg("%s'(%.17g) = %.17Lg outside [%.17g, %.17g]", u->name, x, d, g.lo, g.hi);
    assert_true(v.hi - v.lo <= 64 * EP_U64 * fabs((double)y) + 1e-300);
    if (!is_breakpoint(u, x)) assert_true(g.hi - g.lo <= 64 * EP_U64 * fabs((double)d) + 1e-300);
    assert_true(fabs(u->f(u, x) - (double)y) <= 32 * EP_U64 * fabs((double)y) + 1e-300);
    if (!is_breakpoint(u, x)) assert_true(fabs(u->df(u, x) - (double)d) <= 32 * EP_U64 * fabs((double)d) + 1e-300);
    long double y32 = f->f(u->param, (float)x);
    if (fabs(x) < 80) assert_true(fabsl(u->f32(u, (float)x) - y32) <= 1e-6L * (1 + fabsl(y32)));
    if (k % 4 == 0) { /* a kink's slopes include both sides' */
      for (uint32_t i = 0; i + 1 < u->n_piece && !u->has_jump; i++) {
        ep_itv at = u->enclose_df(u, u->brk[i].lo);
        double left = u->df(u, u->brk[i].lo - 0x1p-30), right = u->df(u, u->brk[i].hi + 0x1p-30);
        if (u->piece[i] == EP_LINEAR) assert_true(at.lo <= left && left <= at.hi && at.lo <= right && right <= at.hi);
      }
    }
  }
}

/* Linear pieces are what they say, to the bit; the others curve as they say; jumps are enclosed; monotone is monotone.
 */
static void check_pieces(const fun *f, const ep_univar *u, const inst *t, ep_ctx *ctx) {
  (void)t;
  (void)ctx;
  ep_rng r;
  ep_rng_seed(&r, 37);
  assert_true(u->n_piece >= 1 && u->n_piece <= EP_MAX_PIECES);
  for (int k = 0; k < 40000; k++) {
    double x = sample(f, u, &r, k & ~2);
    uint32_t i = 0;
    while (i + 1 < u->n_piece && x > u->brk[i].hi) i++;
    if (is_breakpoint(u, x)) continue;
    long double y = f->f(u->param, x);
    if (u->piece[i] == EP_LINEAR) {
      assert_true((long double)u->slope[i] * x + u->icpt[i] == y);
      continue;
    }
    double h = 0.01 * ep_rng_uniform(&r);
    bool is_near = fabs(x) > (u->reach > 0 ? u->reach - h : 30);
    for (uint32_t j = 0; j + 1 < u->n_piece; j++) is_near |= x - h < u->brk[j].hi && x + h > u->brk[j].lo;
    if (is_near) continue;
    long double bend = f->f(u->param, (long double)x - h) + f->f(u->param, (long double)x + h) - 2 * y,
                noise = fabsl(y) * 0x1p-60L;
    assert_true(u->piece[i] == EP_CONVEX ? bend >= -noise : bend <= noise);
  }
  for (uint32_t i = 0; u->has_jump && i + 1 < u->n_piece; i++)
    for (int s = -1; s <= 1; s++) {
      double y = (double)f->f(u->param, u->brk[i].lo + s * 0x1p-40);
      assert_true(u->jump_lo[i] <= y && y <= u->jump_hi[i]);
    }
  bool falls = false;
  for (int k = 0; k < 4000; k++) {
    double x = sample(f, u, &r, k), z = sample(f, u, &r, k + 1);
    falls |= x < z && f->f(u->param, x) > f->f(u->param, z);
  }
  assert_true(falls == !u->is_monotone);
}

/* Whole arrays give the same bits as one element at a time. */
static void check_loops(const fun *f, const ep_univar *u, const inst *t, ep_ctx *ctx) {
  enum { N = 50, BATCH = 3 };
  ep_rng r;
  ep_scratch s;
  ep_rng_seed(&r, 41);
  ep_scratch_init(&s, ctx);
  double x[N * BATCH], gy[N * BATCH], gx[N * BATCH];
  float x32[N * BATCH], gy32[N * BATCH], gx32[N * BATCH];
  for (int k = 0; k < N * BATCH; k++) {
    x32[k] = (float)sample(f, u, &r, k & ~1);
    x[k] = (double)x32[k];
    gy[k] = gy32[k] = (float)ep_rng_normal(&r);
  }
  ep_trace_f64 v;
  ep_trace_f32 v32;
  assert_int_equal(ep_eval_f64(t->g, BATCH, x, &s, &v), EP_OK);
  assert_int_equal(ep_eval_f32(t->g, BATCH, x32, &s, &v32), EP_OK);
  assert_int_equal(ep_grad_f64(t->g, &v, gy, gx, &s), EP_OK);
  assert_int_equal(ep_grad_f32(t->g, &v32, gy32, gx32, &s), EP_OK);
  for (int k = 0; k < N * BATCH; k++) {
    assert_true(v.v[t->g->output][k] == u->f(u, x[k]));
    assert_true(v32.v[t->g->output][k] == u->f32(u, x32[k]));
    double slope = u->has_jump ? 1 : u->df(u, x[k]),
           slope32 = u->has_jump ? 1 : u->df(u, x32[k]); /* straight through */
    assert_true(gx[k] == gy[k] * slope);
    assert_true(gx32[k] == gy32[k] * (float)slope32);
  }
  ep_scratch_clear(&s);
}

static void enclosures(void **state) {
  (void)state;
  with(check_enclosures);
}
static void pieces(void **state) {
  (void)state;
  with(check_pieces);
}
static void loops(void **state) {
  (void)state;
  with(check_loops);
}

/* A new univariate operator has to be listed above. */
static void every_univar_is_listed(void **state) {
  (void)state;
  for (size_t o = 0; o < ep_n_ops; o++) {
    ep_ctx *ctx = ep_ctx_create();
    opcase c = {.op = ep_ops[o]->onnx, .opset = 13, .in = "v4"};
    inst t;
    bool is_listed = false;
    for (int k = 0; k < N_FUNS; k++) is_listed |= !strcmp(funs[k].c.op, c.op);
    if (inst_init(&t, &c, ctx, 1) == EP_OK && t.g->n_node && t.g->node[t.g->n_node - 1].low.cls == EP_UNIVAR &&
        !is_listed)
      fail_msg("%s is not listed", c.op);
    inst_clear(&t);
    ep_ctx_destroy(ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(enclosures),
      cmocka_unit_test(pieces),
      cmocka_unit_test(loops),
      cmocka_unit_test(every_univar_is_listed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
