/* Add, Sub, Mul, Div with broadcasting, and Neg. With a constant operand they are affine; the product and quotient of
 * two variables are GENERAL (McCormick envelopes). */
#include <math.h>
#include <string.h>

#include "models/op_util.h"
#include "models/ops/mccormick.h"

enum { ADD, SUB, MUL, DIV };

static ep_status arith_shape(ep_op_build *b) {
  char s[80], t[80];
  if (!ep_shape_broadcast(&b->in[0].shape, &b->in[1].shape, &b->out_shape))
    return OP_FAIL(b, EP_E_SHAPE, "shapes %s and %s do not broadcast", ep_shape_text(&b->in[0].shape, s, sizeof s),
                   ep_shape_text(&b->in[1].shape, t, sizeof t));
  if (b->in[0].dtype != b->in[1].dtype) return OP_FAIL(b, EP_E_SYNTAX, "operands differ in type");
  if (ep_shape_count(&b->out_shape) >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "output too large");
  b->out_dtype = b->in[0].dtype;
  return EP_OK;
}

/* The index each output element reads in input k. */
static ep_status source(ep_op_build *b, uint32_t k, int32_t **map) {
  *map = EP_ARENA(b->arena, int32_t, ep_shape_count(&b->out_shape) + 1);
  if (!*map) return EP_E_NOMEM;
  ep_shape_broadcast_map(&b->in[k].shape, &b->out_shape, *map);
  return EP_OK;
}

/* Input k scaled elementwise by w (NULL = 1) after broadcasting: one linop. */
static ep_status scaled(ep_op_build *b, uint32_t k, const double *w, double rel_err, ep_linop *A) {
  uint32_t n = (uint32_t)ep_shape_count(&b->out_shape), n_in = (uint32_t)ep_shape_count(&b->in[k].shape);
  int32_t *map;
  EP_TRY(source(b, k, &map));
  if (!w) return ep_linop_map(b->arena, n, n_in, map, A);
  if (n == n_in) return ep_linop_diag(b->arena, n, w, rel_err, A);
  uint32_t *ptr = EP_ARENA(b->arena, uint32_t, n + 1u);
  if (!ptr) return EP_E_NOMEM;
  for (uint32_t i = 0; i <= n; i++) ptr[i] = i;
  return ep_linop_csr(b->arena, n, n_in, ptr, (const uint32_t *)map, w, rel_err, A);
}

static ep_status build_sum(ep_op_build *b, double sign) {
  EP_TRY(arith_shape(b));
  size_t n = ep_shape_count(&b->out_shape);
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 2);
  double *w = EP_ARENA(b->arena, double, n + 1), *bias = NULL;
  uint32_t n_term = 0;
  if (!A || !w) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) w[i] = sign;
  for (uint32_t k = 0; k < 2; k++) {
    const ep_tensor *c = b->in[k].constant;
    if (!c) {
      EP_TRY(scaled(b, k, k && sign < 0 ? w : NULL, 0, &A[n_term++]));
      continue;
    }
    int32_t *map;
    EP_TRY(source(b, k, &map));
    bias = EP_ARENA(b->arena, double, n + 1);
    if (!bias) return EP_E_NOMEM;
    if (!c->f64) return OP_FAIL(b, EP_E_UNSUPPORTED, "integer data");
    for (size_t i = 0; i < n; i++) bias[i] = k ? sign * c->f64[map[i]] : c->f64[map[i]];
  }
  return ep_op_affine(b, n_term, A, bias, NULL);
}

/* ---- products of two variables: x[0] and x[1] have the output's shape up to broadcasting ---- */

typedef struct pair_param {
  int kind;
  size_t n;
  const int32_t *map[2];
} pair_param;

static void pair_f32(const ep_node *nd, const float *const *x, float *y) {
  const pair_param *p = nd->param;
  for (size_t i = 0; i < p->n; i++) {
    float a = x[0][p->map[0][i]], c = x[1][p->map[1][i]];
    y[i] = p->kind == MUL ? a * c : a / c;
  }
}

static void pair_f64(const ep_node *nd, const double *const *x, double *y) {
  const pair_param *p = nd->param;
  for (size_t i = 0; i < p->n; i++) {
    double a = x[0][p->map[0][i]], c = x[1][p->map[1][i]];
    y[i] = p->kind == MUL ? a * c : a / c;
  }
}

static void pair_backward(const ep_node *nd, const double *const *x, const double *gy, double *const *gx) {
  const pair_param *p = nd->param;
  for (size_t i = 0; i < p->n; i++) {
    double a = x[0][p->map[0][i]], c = x[1][p->map[1][i]];
    gx[0][p->map[0][i]] += p->kind == MUL ? gy[i] * c : gy[i] / c;
    gx[1][p->map[1][i]] += p->kind == MUL ? gy[i] * a : -gy[i] * a / (c * c);
  }
}

static ep_itv operand(const pair_param *p, const double *const *lo, const double *const *hi, int k, size_t i) {
  return (ep_itv){lo[k][p->map[k][i]], hi[k][p->map[k][i]]};
}

static void pair_box(const ep_node *nd, const double *const *lo, const double *const *hi, double *ylo, double *yhi) {
  const pair_param *p = nd->param;
  for (size_t i = 0; i < p->n; i++) {
    ep_itv a = operand(p, lo, hi, 0, i), c = operand(p, lo, hi, 1, i);
    ep_itv y = p->kind == MUL ? ep_itv_mul(a, c) : ep_itv_div(a, c);
    ylo[i] = y.lo;
    yhi[i] = y.hi;
  }
}

static ep_status pair_side(const ep_node *nd, const double *const *lo, const double *const *hi, bool upper,
                           ep_arena *arena, ep_linop *L, double **consts) {
  const pair_param *p = nd->param;
  uint32_t n = (uint32_t)p->n, n0 = (uint32_t)ep_shape_count(&nd->in_shape[0]);
  uint32_t n_in = n0 + (uint32_t)ep_shape_count(&nd->in_shape[1]);
  uint32_t *ptr = EP_ARENA(arena, uint32_t, n + 1u), *col = EP_ARENA(arena, uint32_t, 2u * n + 1u);
  double *w = EP_ARENA(arena, double, 2u * n + 1u), *t = EP_ARENA(arena, double, n + 1u);
  if (!ptr || !col || !w || !t) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    ep_itv a = operand(p, lo, hi, 0, i), c = operand(p, lo, hi, 1, i);
    ptr[i + 1] = 2 * i + 2;
    col[2 * i] = (uint32_t)p->map[0][i];
    col[2 * i + 1] = n0 + (uint32_t)p->map[1][i];
    if (p->kind == MUL) {
      ep_mccormick_plane(a, c, upper, &w[2 * i], &w[2 * i + 1], &t[i]);
    } else { /* no plane for quotients: the constant interval bound */
      ep_itv y = ep_itv_div(a, c);
      t[i] = upper ? y.hi : y.lo;
    }
  }
  *consts = t;
  return ep_linop_csr(arena, n, n_in, ptr, col, w, 0, L);
}

static ep_status pair_relax(const ep_node *nd, const double *const *lo, const double *const *hi, ep_arena *arena,
                            ep_linear_pair *out) {
  EP_TRY(pair_side(nd, lo, hi, false, arena, &out->lower, &out->lower_c));
  return pair_side(nd, lo, hi, true, arena, &out->upper, &out->upper_c);
}

static ep_status build_pair(ep_op_build *b, int kind) {
  pair_param *p = EP_ARENA(b->arena, pair_param, 1);
  int32_t *m0, *m1;
  if (!p) return EP_E_NOMEM;
  EP_TRY(source(b, 0, &m0));
  EP_TRY(source(b, 1, &m1));
  *p = (pair_param){kind, ep_shape_count(&b->out_shape), {m0, m1}};
  b->param = p;
  b->low.cls = EP_GENERAL;
  b->low.is.general = (ep_general){pair_f32, pair_f64, pair_backward, pair_box, pair_relax};
  return EP_OK;
}

static ep_status build_product(ep_op_build *b, int kind) {
  EP_TRY(arith_shape(b));
  if (!b->in[0].constant && !b->in[1].constant) return build_pair(b, kind);
  uint32_t kc = b->in[0].constant ? 0 : 1;
  if (kind == DIV && kc == 0) return OP_FAIL(b, EP_E_UNSUPPORTED, "constant divided by a variable");
  const ep_tensor *c = b->in[kc].constant;
  size_t n = ep_shape_count(&b->out_shape);
  int32_t *map;
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  double *w = EP_ARENA(b->arena, double, n + 1);
  if (!A || !w) return EP_E_NOMEM;
  if (!c->f64) return OP_FAIL(b, EP_E_UNSUPPORTED, "integer data");
  EP_TRY(source(b, kc, &map));
  bool is_exact = true;
  for (size_t i = 0; i < n; i++) {
    double x = c->f64[map[i]];
    if (kind == DIV && x == 0) return OP_FAIL(b, EP_E_UNSUPPORTED, "division by zero");
    w[i] = kind == DIV ? 1 / x : x;
    int e;
    is_exact = is_exact && (kind == MUL || fabs(frexp(x, &e)) == 0.5); /* reciprocals of powers of two are exact */
    if (!ep_op_is_normal(w[i], x)) return OP_FAIL(b, EP_E_UNSUPPORTED, "dividing by %g leaves the range of doubles", x);
  }
  EP_TRY(scaled(b, 1 - kc, w, is_exact ? 0 : 2 * EP_U64, A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

static ep_status fold_arith(ep_op_build *b, ep_tensor *out, int kind) {
  double *f;
  int64_t *v;
  int32_t *m0, *m1;
  EP_TRY(arith_shape(b));
  EP_TRY(source(b, 0, &m0));
  EP_TRY(source(b, 1, &m1));
  EP_TRY(ep_op_tensor(b, b->out_dtype, &b->out_shape, out, &f, &v));
  const ep_tensor *s = b->in[0].constant, *t = b->in[1].constant;
  for (size_t i = 0; i < out->n; i++) {
    if (f) {
      double x = s->f64[m0[i]], y = t->f64[m1[i]];
      double r = kind == ADD ? x + y : kind == SUB ? x - y : kind == MUL ? x * y : x / y;
      f[i] = b->out_dtype == EP_DT_F32 ? (double)(float)r : r;
    } else {
      int64_t x = s->i64[m0[i]], y = t->i64[m1[i]];
      if (kind == DIV && (y == 0 || (y == -1 && x == INT64_MIN))) return OP_FAIL(b, EP_E_SYNTAX, "integer division");
      uint64_t p = (uint64_t)x, q = (uint64_t)y;
      v[i] = kind == DIV ? x / y : (int64_t)(kind == ADD ? p + q : kind == SUB ? p - q : p * q);
    }
  }
  return EP_OK;
}

static ep_status build_neg(ep_op_build *b) {
  b->out_shape = b->in[0].shape;
  b->out_dtype = b->in[0].dtype;
  size_t n = ep_shape_count(&b->out_shape);
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  double *w = EP_ARENA(b->arena, double, n + 1);
  if (!A || !w) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) w[i] = -1;
  EP_TRY(ep_linop_diag(b->arena, (uint32_t)n, w, 0, A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

#define ARITH(id, text, kind, call)                                                                                    \
  static ep_status build_##id(ep_op_build *b) { return call; }                                                         \
  static ep_status fold_##id(ep_op_build *b, ep_tensor *out) { return fold_arith(b, out, kind); }                      \
  extern const ep_op ep_op_##id;                                                                                       \
  const ep_op ep_op_##id = {text, 2, 2, build_##id, fold_##id};
ARITH(add, "Add", ADD, build_sum(b, 1))
ARITH(sub, "Sub", SUB, build_sum(b, -1))
ARITH(mul, "Mul", MUL, build_product(b, MUL))
ARITH(div, "Div", DIV, build_product(b, DIV))

extern const ep_op ep_op_neg;
const ep_op ep_op_neg = {"Neg", 1, 1, build_neg, NULL};
