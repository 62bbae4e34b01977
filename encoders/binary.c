#include "encoders/binary.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- literals with constants ---- */

static ep_lit negated(ep_lit l) {
  return l == EP_BIT_TRUE ? EP_BIT_FALSE : l == EP_BIT_FALSE ? EP_BIT_TRUE : ep_lit_not(l);
}
static bool is_constant(ep_lit l) { return l == EP_BIT_TRUE || l == EP_BIT_FALSE; }

/* A sum of literals under construction. `n` open literals, `base` true constants. */
typedef struct count {
  uint32_t n;
  int64_t base;
  ep_lit *lit;
} count;

static void count_add(count *c, ep_lit l) {
  if (is_constant(l))
    c->base += l == EP_BIT_TRUE;
  else
    c->lit[c->n++] = l;
}

/* A literal for "at least k of the sum", constants and single literals without a new variable. */
static ep_status at_least(ep_prob *p, const count *c, int64_t k, ep_lit *out) {
  k -= c->base;
  if (k <= 0 || k > c->n) {
    *out = k <= 0 ? EP_BIT_TRUE : EP_BIT_FALSE;
    return EP_OK;
  }
  if (c->n == 1) {
    *out = c->lit[0];
    return EP_OK;
  }
  *out = EP_LIT(ep_prob_bool(p), false);
  return ep_prob_card_add(p, *out, c->n, c->lit, (uint32_t)k);
}

/* ---- the layers ---- */

static ep_status refuse(const ep_binary *b, const ep_node *nd, const char *why) {
  return EP_FAIL(b->prob->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): not part of a binarised network: %s", nd->name,
                 nd->op->onnx, why);
}

/* Row i of an affine node: its non-zero weights; false when they do not fit n_max. */
static uint32_t row_of(const ep_linop *A, uint32_t i, double *dense, uint32_t *col, double *w) {
  uint32_t n = 0;
  if (A->kind == EP_LINOP_DIAG || A->kind == EP_LINOP_ID) {
    col[0] = i;
    w[0] = A->kind == EP_LINOP_ID ? 1 : A->w64[i];
    return w[0] != 0;
  }
  ep_linop_rows_f64(A, 1, &i, dense, false);
  for (uint32_t j = 0; j < A->n_in; j++)
    if (dense[j] != 0) {
      col[n] = j;
      w[n++] = dense[j];
    }
  return n;
}

/* Work space for one row. */
typedef struct work {
  double *dense, *w;
  uint32_t *col;
  count c;
} work;

static ep_status work_init(const ep_graph *g, ep_scratch *s, work *k) {
  uint32_t most = 1;
  for (uint32_t v = 0; v < g->n_val; v++) most = g->val[v].n > most ? g->val[v].n : most;
  *k = (work){.dense = EP_SCRATCH(s, double, most + 1u),
              .w = EP_SCRATCH(s, double, most + 1u),
              .col = EP_SCRATCH(s, uint32_t, most + 1u),
              .c.lit = EP_SCRATCH(s, ep_lit, 20 * (size_t)most + 1)};
  return k->dense && k->w && k->col && k->c.lit ? EP_OK : EP_E_NOMEM;
}

/* Range of w*x + bias with their errors. */
static ep_itv affine_at(double w, double rel_err, double x, ep_itv bias) {
  double e = rel_err > 0 ? ep_mul_up(rel_err, fabs(w)) : 0;
  ep_itv c = e > 0 ? (ep_itv){ep_sub_dn(w, e), ep_add_up(w, e)} : ep_itv_point(w);
  return ep_itv_add(ep_itv_mul(c, ep_itv_point(x)), bias);
}

static ep_itv bias_of(const ep_affine *a, uint32_t i) {
  double b = a && a->bias ? a->bias[i] : 0, e = a && a->bias_err ? a->bias_err[i] : 0;
  return e > 0 ? (ep_itv){ep_sub_dn(b, e), ep_add_up(b, e)} : ep_itv_point(b);
}

/* Sign of w*x + bias while x runs through its box. */
static ep_status pixel_bit(ep_binary *b, uint32_t input, double w, double rel_err, ep_itv bias, ep_bit *out) {
  ep_itv l = affine_at(w, rel_err, b->lo[input], bias), h = affine_at(w, rel_err, b->hi[input], bias);
  ep_itv z = ep_itv_hull(l, h);
  *out = (ep_bit){EP_BIT_FALSE, EP_BIT_TRUE};
  if (z.lo > 0) out->pos = EP_BIT_TRUE;
  if (z.hi < 0) out->not_neg = EP_BIT_FALSE;
  if (z.lo > 0 || z.hi < 0) return EP_OK;
  if (!(z.lo == 0 && z.hi == 0)) {
    if (z.hi > 0) out->pos = EP_LIT(ep_prob_bool(b->prob), false);
    if (z.lo < 0) out->not_neg = EP_LIT(ep_prob_bool(b->prob), false);
    ep_lit implied[2] = {negated(out->pos), out->not_neg}; /* +1 is not -1 */
    if (!is_constant(out->pos) && !is_constant(out->not_neg)) EP_TRY(ep_prob_clause_add(b->prob, 2, implied));
    b->pixel[b->n_pixel++] = (ep_binary_pixel){input, w < 0, *out};
  }
  return EP_OK;
}

static ep_status sign_of_inputs(ep_binary *b, const ep_node *sign, const ep_node *affine, const uint32_t *input_of,
                                work *k) {
  const ep_affine *a = affine ? &affine->low.is.affine : NULL;
  ep_bit *bits = b->bits[sign->out];
  for (uint32_t i = 0; i < b->g->val[sign->out].n; i++) {
    uint32_t n = a ? row_of(&a->A[0], i, k->dense, k->col, k->w) : 1;
    if (!a) k->col[0] = i, k->w[0] = 1;
    if (n > 1) return refuse(b, affine, "a Sign behind it reads several real inputs");
    ep_itv bias = bias_of(a, i);
    if (n == 0) k->w[0] = 0, k->col[0] = 0;
    EP_TRY(pixel_bit(b, input_of[k->col[0]], k->w[0], a ? a->A[0].rel_err : 0, bias, &bits[i]));
  }
  return EP_OK;
}

/* Smallest integer sum S in lo, lo+step, .. hi at which a*S + bias is positive for sure, provided that it is negative
 * for sure one step below; hi + step when it is never positive. False when rounding (or an exact zero) cannot tell. */
static bool threshold(double a, double slack, ep_itv bias, int64_t lo, int64_t hi, int64_t step, int64_t *out) {
  int64_t from = 0, n = (hi - lo) / step + 1; /* first positive index in [0, n] by bisection */
  for (int64_t to = n; from < to;) {
    int64_t mid = from + (to - from) / 2;
    ep_itv z = ep_itv_add(ep_itv_mul(ep_itv_point(a), ep_itv_point((double)(lo + mid * step))), bias);
    if (ep_sub_dn(z.lo, slack) > 0)
      to = mid;
    else if (ep_add_up(z.hi, slack) < 0)
      from = mid + 1;
    else
      return false;
  }
  *out = lo + from * step;
  return true;
}

static ep_status sign_of_bits(ep_binary *b, const ep_node *sign, const ep_node *affine, const ep_bit *in, work *k) {
  const ep_affine *a = &affine->low.is.affine;
  ep_bit *bits = b->bits[sign->out];
  for (uint32_t i = 0; i < b->g->val[sign->out].n; i++) {
    uint32_t n = row_of(&a->A[0], i, k->dense, k->col, k->w);
    double c = n ? fabs(k->w[0]) : 1;
    bool is_two_valued = true;
    for (uint32_t t = 0; t < n; t++) {
      if (fabs(k->w[t]) != c) return refuse(b, affine, "the weights of a neuron are not +-c for one c");
      is_two_valued &= in[k->col[t]].pos == in[k->col[t]].not_neg;
    }
    /* S = (true literals) - n over both literals of every input, or 2 (true literals) - n over one of each. */
    k->c.n = 0;
    k->c.base = 0;
    for (uint32_t t = 0; t < n; t++) {
      ep_bit x = in[k->col[t]];
      bool is_neg = k->w[t] < 0;
      count_add(&k->c, is_neg ? negated(x.pos) : x.pos);
      if (!is_two_valued) count_add(&k->c, is_neg ? negated(x.not_neg) : x.not_neg);
    }
    double slack = a->A[0].rel_err > 0 ? ep_mul_up(ep_mul_up(a->A[0].rel_err, c), (double)n) : 0;
    int64_t d, step = is_two_valued ? 2 : 1;
    if (!threshold(c, slack, bias_of(a, i), -(int64_t)n, (int64_t)n, step, &d))
      return refuse(b, affine, "a neuron's sum can be 0 (or rounding cannot tell), where Sign is neither 1 nor -1");
    int64_t need = is_two_valued ? (d + (int64_t)n) / 2 : d + (int64_t)n;
    EP_TRY(at_least(b->prob, &k->c, need, &bits[i].pos));
    bits[i].not_neg = bits[i].pos;
  }
  return EP_OK;
}

static ep_status encode_sign(ep_binary *b, const ep_node *nd, work *k) {
  ep_vid v = nd->in[0];
  b->bits[nd->out] = EP_ARENA(&b->prob->arena, ep_bit, b->g->val[nd->out].n + 1u);
  if (!b->bits[nd->out]) return EP_E_NOMEM;
  if (b->input_of[v]) return sign_of_inputs(b, nd, NULL, b->input_of[v], k);
  if (b->bits[v]) {
    memcpy(b->bits[nd->out], b->bits[v], b->g->val[nd->out].n * sizeof(ep_bit));
    return EP_OK;
  }
  const ep_node *affine = &b->g->node[b->affine[v]];
  if (b->input_of[affine->in[0]]) return sign_of_inputs(b, nd, affine, b->input_of[affine->in[0]], k);
  EP_TRY(sign_of_bits(b, nd, affine, b->bits[affine->in[0]], k));
  b->cut[b->n_cut++] = (ep_binary_cut){nd->out, b->prob->n_clause, b->prob->n_card};
  return EP_OK;
}

/* Copies pass bits or input elements on; anything else waits for the Sign behind it. */
static ep_status encode_affine(ep_binary *b, uint32_t node) {
  const ep_node *nd = &b->g->node[node];
  const ep_affine *a = &nd->low.is.affine;
  uint32_t n = b->g->val[nd->out].n;
  ep_vid v = nd->in[0];
  if (a->n_terms != 1) return refuse(b, nd, "it adds layers");
  bool is_map = a->A[0].kind == EP_LINOP_ID || a->A[0].kind == EP_LINOP_MAP;
  for (uint32_t i = 0; i < n && is_map; i++)
    is_map = !(a->bias && a->bias[i] != 0) && !(a->A[0].kind == EP_LINOP_MAP && a->A[0].map[i] < 0);
  if (!b->input_of[v] && !b->bits[v]) return refuse(b, nd, "its input is neither the network's nor a Sign");
  if (!is_map) {
    b->affine[nd->out] = node;
    return EP_OK;
  }
  if (b->bits[v]) b->bits[nd->out] = EP_ARENA(&b->prob->arena, ep_bit, n + 1u);
  if (b->input_of[v]) b->input_of[nd->out] = EP_ARENA(&b->prob->arena, uint32_t, n + 1u);
  if ((b->bits[v] && !b->bits[nd->out]) || (b->input_of[v] && !b->input_of[nd->out])) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t from = a->A[0].kind == EP_LINOP_MAP ? (uint32_t)a->A[0].map[i] : i;
    if (b->bits[v]) b->bits[nd->out][i] = b->bits[v][from];
    if (b->input_of[v]) b->input_of[nd->out][i] = b->input_of[v][from];
  }
  return EP_OK;
}

static ep_status encode_graph(ep_binary *b, ep_scratch *s) {
  const ep_graph *g = b->g;
  work k;
  uint32_t n_sign = 0;
  EP_TRY(work_init(g, s, &k));
  b->bits = EP_ARENA(&b->prob->arena, ep_bit *, g->n_val);
  b->input_of = EP_ARENA(&b->prob->arena, uint32_t *, g->n_val);
  b->affine = EP_ARENA(&b->prob->arena, uint32_t, g->n_val);
  for (uint32_t i = 0; i < g->n_node; i++) n_sign += g->val[g->node[i].out].n;
  b->pixel = EP_ARENA(&b->prob->arena, ep_binary_pixel, n_sign + 1u);
  b->cut = EP_ARENA(&b->prob->arena, ep_binary_cut, g->n_node + 1u);
  if (!b->cut || !b->bits || !b->input_of || !b->affine || !b->pixel) return EP_E_NOMEM;
  uint32_t *in = b->input_of[g->input] = EP_ARENA(&b->prob->arena, uint32_t, g->val[g->input].n + 1u);
  if (!in) return EP_E_NOMEM;
  for (uint32_t i = 0; i < g->val[g->input].n; i++) in[i] = i;
  for (uint32_t i = 0; i < g->n_node; i++) {
    const ep_node *nd = &g->node[i];
    if (nd->low.cls == EP_AFFINE)
      EP_TRY(encode_affine(b, i));
    else if (nd->low.cls == EP_UNIVAR && strcmp(nd->low.is.univar.name, "Sign") == 0)
      EP_TRY(encode_sign(b, nd, &k));
    else
      return refuse(b, nd, "only affine layers and Sign are");
  }
  if (b->input_of[g->output]) return EP_FAIL(b->prob->ctx, EP_E_UNSUPPORTED, "the network has no Sign layer");
  if (!b->bits[g->output] && !b->bits[g->node[b->affine[g->output]].in[0]])
    return refuse(b, &g->node[b->affine[g->output]], "the outputs read real inputs");
  return EP_OK;
}

ep_status ep_binary_create(ep_ctx *ctx, const ep_graph *g, const double *lo, const double *hi, ep_scratch *s,
                           ep_binary **out) {
  *out = NULL;
  ep_binary *b = ep_calloc(ctx, 1, sizeof *b);
  if (!b) return EP_E_NOMEM;
  *b = (ep_binary){.g = g, .lo = lo, .hi = hi};
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = ep_prob_create(ctx, &b->prob);
  if (st == EP_OK) st = encode_graph(b, s);
  ep_scratch_restore(s, m);
  if (st != EP_OK)
    ep_binary_destroy(b);
  else
    *out = b;
  return st;
}

void ep_binary_destroy(ep_binary *b) {
  if (!b) return;
  ep_ctx *ctx = b->g->ctx;
  ep_prob_destroy(b->prob);
  ep_free(ctx, b);
}

/* ---- output rows ---- */

enum { MAX_REPEAT = 8 };

/* Coefficients of the bits in the row and what is left of its right-hand side (rounded up). */
static void collect(const ep_binary *b, const ep_binary_row *row, const ep_affine *a, double *coef, work *k,
                    double *rhs) {
  double err = row->coef_err;
  uint32_t n = a ? a->A[0].n_in : b->g->val[b->g->output].n;
  memset(coef, 0, n * sizeof *coef);
  *rhs = row->rhs;
  for (uint32_t t = 0; t < row->n; t++) {
    uint32_t m = a ? row_of(&a->A[0], row->output[t], k->dense, k->col, k->w) : 1;
    if (!a) k->col[0] = row->output[t], k->w[0] = 1;
    for (uint32_t j = 0; j < m; j++) {
      double w = row->coef[t] * k->w[j], sum = coef[k->col[j]] + w;
      /* Exact for the usual small numbers; any rounding is charged. */
      if (fma(row->coef[t], k->w[j], -w) != 0 || sum - coef[k->col[j]] != w || sum - w != coef[k->col[j]])
        err = ep_add_up(err, ep_mul_up(4 * EP_U64, ep_add_up(fabs(w), fabs(sum))));
      if (a && a->A[0].rel_err > 0) err = ep_add_up(err, ep_mul_up(a->A[0].rel_err, fabs(w)));
      coef[k->col[j]] = sum;
    }
    ep_itv bias = bias_of(a, row->output[t]);
    if (bias.lo != 0 || bias.hi != 0) *rhs = ep_sub_up(*rhs, ep_itv_mul(ep_itv_point(row->coef[t]), bias).lo);
  }
  if (err > 0) *rhs = ep_add_up(*rhs, err);
}

ep_status ep_binary_row_literal(ep_binary *b, const ep_binary_row *row, ep_scratch *s, ep_lit *out) {
  const ep_graph *g = b->g;
  ep_vid y = g->output;
  const ep_node *last = b->bits[y] ? NULL : &g->node[b->affine[y]];
  const ep_affine *a = last ? &last->low.is.affine : NULL;
  const ep_bit *in = last ? b->bits[last->in[0]] : b->bits[y];
  uint32_t n = last ? a->A[0].n_in : g->val[y].n;
  ep_scratch_mark m = ep_scratch_save(s);
  work k;
  ep_status st;
  EP_GOTO(work_init(g, s, &k));
  double *coef = EP_SCRATCH(s, double, n + 1u), rhs, c = INFINITY;
  st = coef ? EP_OK : EP_E_NOMEM;
  if (st != EP_OK) goto done;
  collect(b, row, a, coef, &k, &rhs);
  for (uint32_t j = 0; j < n; j++)
    if (coef[j] != 0) c = fmin(c, fabs(coef[j]));
  if (c == INFINITY) c = 1;
  /* sum m_j h_j <= rhs / c with integers m_j: the sum of (|m_j| copies of) literals of -m_j h_j reaches a threshold. */
  int64_t total = 0;
  k.c.n = 0;
  k.c.base = 0;
  for (uint32_t j = 0; j < n; j++) {
    double q = coef[j] / c;
    if (q != rint(q) || q * c != coef[j] || fabs(q) > MAX_REPEAT) {
      st = last ? refuse(b, last, "an output row's weights are not small multiples of one number")
                : EP_FAIL(b->prob->ctx, EP_E_UNSUPPORTED, "the property's coefficients are not small multiples");
      goto done;
    }
    for (int64_t t = 0; t < llrint(fabs(q)); t++, total++) {
      bool is_neg = q > 0; /* of -m_j */
      count_add(&k.c, is_neg ? negated(in[j].pos) : in[j].pos);
      count_add(&k.c, is_neg ? negated(in[j].not_neg) : in[j].not_neg);
    }
  }
  double t = rhs / c;
  bool is_exact_ratio = fma(t, c, -rhs) == 0;
  if (!is_exact_ratio) t = ep_up(t);
  t = fmax(fmin(t, 1e15), -1e15);
  int64_t most = (int64_t)floor(t); /* S <= most */
  if (row->is_strict && is_exact_ratio && t == rint(t)) most--;
  /* S' = -S >= -most, S' = (true literals) - total over both literals of each. */
  EP_GOTO(at_least(b->prob, &k.c, total - most, out));
done:
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_binary_require(ep_binary *b, uint32_t n_goal, const uint32_t *first, const ep_lit *literal) {
  ep_prob *p = b->prob;
  ep_lit *any = ep_alloc(p->ctx, (n_goal + 1u) * sizeof *any);
  if (!any) return EP_E_NOMEM;
  uint32_t n = 0;
  bool is_true = false;
  ep_status st = EP_OK;
  for (uint32_t g = 0; g < n_goal && st == EP_OK; g++) {
    uint32_t open = 0;
    bool is_false = false;
    for (uint32_t k = first[g]; k < first[g + 1]; k++) {
      is_false |= literal[k] == EP_BIT_FALSE;
      open += !is_constant(literal[k]);
    }
    if (is_false) continue;
    if (!open) {
      is_true = true;
      break;
    }
    ep_lit head = EP_LIT(ep_prob_bool(p), false);
    any[n++] = head;
    for (uint32_t k = first[g]; k < first[g + 1] && st == EP_OK; k++) {
      ep_lit implied[2] = {ep_lit_not(head), literal[k]};
      if (!is_constant(literal[k])) st = ep_prob_clause_add(p, 2, implied);
    }
  }
  if (st == EP_OK && !is_true) st = ep_prob_clause_add(p, n, any);
  ep_free(p->ctx, any);
  return st;
}

ep_status ep_binary_no_zero(ep_binary *b, ep_lit *out) {
  /* One literal for all pixels: it implies that +1 and "not -1" agree. */
  ep_lit all = EP_LIT(ep_prob_bool(b->prob), false);
  for (uint32_t i = 0; i < b->n_pixel; i++) {
    ep_bit x = b->pixel[i].bit;
    ep_lit clause[3] = {ep_lit_not(all)};
    uint32_t n = 1;
    if (!is_constant(x.pos)) clause[n++] = x.pos;
    if (!is_constant(x.not_neg)) clause[n++] = ep_lit_not(x.not_neg);
    EP_TRY(ep_prob_clause_add(b->prob, n, clause));
  }
  *out = all;
  return EP_OK;
}

void ep_binary_input(const ep_binary *b, bool (*value)(void *arg, uint32_t var), void *arg, double *x) {
  uint32_t n_x = b->g->val[b->g->input].n;
  for (uint32_t i = 0; i < n_x; i++) x[i] = 0.5 * b->lo[i] + 0.5 * b->hi[i];
  for (uint32_t k = 0; k < b->n_pixel; k++) {
    const ep_binary_pixel *p = &b->pixel[k];
    bool is_pos = !is_constant(p->bit.pos) && value(arg, p->bit.pos / 2);
    bool is_neg = !is_constant(p->bit.not_neg) && !value(arg, p->bit.not_neg / 2);
    if (is_pos) x[p->input] = p->is_falling ? b->lo[p->input] : b->hi[p->input];
    if (is_neg) x[p->input] = p->is_falling ? b->hi[p->input] : b->lo[p->input];
  }
}
