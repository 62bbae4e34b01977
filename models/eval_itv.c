/* Rigorous interval evaluation. Part of the trusted base. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/enclose.h"
#include "models/eval.h"
#include "models/float32.h"

/* Slack that covers the rounding of the error terms themselves. */
#define SLACK (1 + 0x1p-16)

/* y = sum_k A_k x_k + b over boxes, as mid and radius: exact y lies within rad of mid where
 *   mid = fl(sum A_k m_k + b),  rad >= sum |A_k| r_k + error.
 * Any m_k with |x - m_k| <= r_k will do; m_k is the rounded centre and r_k is rounded up from it. Product k adds an
 * error of gamma_{t_k+2} (|A_k| |m_k| + |what was accumulated before|) (kernels/linop.h), so a summand of the first
 * product may pass through all T = sum_k (t_k + 2) of those roundings, and adding b is two more. The stored weights may
 * be off by rel_err |A_k| on all of |x| and the bias by bias_err: with mag_k = |m_k| + r_k >= |x|, error <= sum_k
 * (gamma_{T+4} + rel_err_k) |A_k| mag_k + gamma_4 |b| + bias_err + T*eta. The radius is a sum of non-negative
 * numbers, whose rounding ep_sum_up covers. Under float32 semantics gamma32 (sum |A_k| mag_k + |b|) and the underflow
 * of models/float32.h come on top. */
static ep_status affine_term(const ep_linop *A, size_t terms, double gamma32, size_t batch, const double *lo,
                             const double *hi, bool add, double *mid, double *rad, ep_scratch *s) {
  size_t n = batch * A->n_in;
  ep_scratch_mark mark = ep_scratch_save(s);
  double *m = EP_SCRATCH(s, double, n + 1), *r = EP_SCRATCH(s, double, n + 1);
  if (!m || !r) return EP_E_NOMEM;
  double w = (ep_gamma64(terms + 4) + A->rel_err + gamma32) * SLACK;
  for (size_t i = 0; i < n; i++) {
    m[i] = lo[i] + 0.5 * (hi[i] - lo[i]);
    if (lo[i] == hi[i]) m[i] = lo[i];
    double a = ep_sub_up(m[i], lo[i]), b = ep_sub_up(hi[i], m[i]);
    if (lo[i] == hi[i]) a = b = 0;
    r[i] = a > b ? a : b;
    r[i] += w * (fabs(m[i]) + r[i]) * SLACK; /* the error term rides along: one |A| product for both */
  }
  ep_status st = ep_linop_apply_f64(A, batch, m, mid, add, s);
  if (st == EP_OK) st = ep_linop_apply_abs_f64(A, batch, r, rad, add, s);
  ep_scratch_restore(s, mark);
  return st;
}

/* One variable input that is only moved around: the box moves along, exactly. */
static bool is_move(const ep_affine *a) {
  return a->n_terms == 1 && !a->bias && (a->A[0].kind == EP_LINOP_ID || a->A[0].kind == EP_LINOP_MAP);
}

/* ---- sums without any rounding ---- */

/* Numbers as multiples of 2^bit, none larger than `most`. */
typedef struct grid {
  int bit;
  double most;
} grid;

enum { NO_BIT = 1 << 20 }; /* of zeros alone */

/* v is finite. */
static int lowest_bit(double v) {
  int e;
  int64_t m = (int64_t)ldexp(frexp(v, &e), 53);
  return m ? e - 53 + __builtin_ctzll((uint64_t)m) : NO_BIT;
}

/* Takes v[0..n-1] into the grid; false as soon as `terms` products with numbers of `other` may need more than 53 bits.
 */
static bool grid_add(grid *g, size_t n, const double *v, const grid *other, double terms) {
  for (size_t i = 0; i < n; i++) {
    if (!isfinite(v[i])) return false;
    int bit = lowest_bit(v[i]);
    if (bit < g->bit) g->bit = bit;
    g->most = fmax(g->most, fabs(v[i]));
    if (bit == NO_BIT) continue;
    if (g->bit < -400 || g->most > 0x1p400) return false;
    if (other && !(terms * g->most * other->most <= ldexp(1, g->bit + (other->bit == NO_BIT ? 0 : other->bit) + 53)))
      return false;
  }
  return true;
}

static bool is_point(size_t n, const double *lo, const double *hi) {
  for (size_t i = 0; i < n; i++)
    if (!(lo[i] == hi[i])) return false;
  return true;
}

/* Points whose products with the weights, and the bias, are all multiples of one power of two 2^b and add up to less
 * than 2^(b+53) in magnitude: every partial sum, in whatever order and fused or not, is then a binary64 number, and the
 * computed result is the exact one. Binarised networks live there: a sum of +-1 that is exactly 0 decides a sign. */
static bool is_without_rounding(const ep_affine *a, uint32_t n_out, size_t batch, const double *const *lo,
                                const double *const *hi) {
  grid sum = {NO_BIT, 0};
  if (a->bias_err || a->n_round) return false;
  for (uint32_t k = 0; k < a->n_terms; k++) {
    const ep_linop *A = &a->A[k];
    grid x = {NO_BIT, 0}, w = {NO_BIT, 0};
    double one = 1, terms = A->terms_fwd;
    if (A->rel_err > 0 || !is_point(batch * A->n_in, lo[k], hi[k])) return false;
    if (!grid_add(&x, batch * A->n_in, lo[k], NULL, 0)) return false;
    bool has_weights = A->kind != EP_LINOP_ID && A->kind != EP_LINOP_MAP;
    if (!grid_add(&w, has_weights ? A->n_w : 1, has_weights ? A->w64 : &one, &x, terms)) return false;
    if (x.bit == NO_BIT || w.bit == NO_BIT) continue;
    if (x.bit + w.bit < sum.bit) sum.bit = x.bit + w.bit;
    sum.most += terms * x.most * w.most;
  }
  grid b = {NO_BIT, 0};
  if (a->bias && !grid_add(&b, n_out, a->bias, NULL, 0)) return false;
  if (b.bit < sum.bit) sum.bit = b.bit;
  return sum.bit == NO_BIT || sum.most + b.most <= ldexp(1, sum.bit + 52); /* 52: the line itself was rounded */
}

static ep_status exact_points(const ep_affine *a, uint32_t n_out, size_t batch, const double *const *x, double *ylo,
                              double *yhi, ep_scratch *s) {
  for (uint32_t k = 0; k < a->n_terms; k++) EP_TRY(ep_linop_apply_f64(&a->A[k], batch, x[k], ylo, k > 0, s));
  for (size_t i = 0; i < batch * n_out; i++) {
    if (a->bias) ylo[i] += a->bias[i % n_out];
    yhi[i] = ylo[i];
  }
  return EP_OK;
}

ep_status ep_affine_box(const ep_affine *a, uint32_t n_out, size_t batch, const double *const *lo,
                        const double *const *hi, double *ylo, double *yhi, ep_scratch *s) {
  if (is_move(a)) {
    EP_TRY(ep_linop_apply_f64(&a->A[0], batch, lo[0], ylo, false, s));
    return ep_linop_apply_f64(&a->A[0], batch, hi[0], yhi, false, s);
  }
  if (is_without_rounding(a, n_out, batch, lo, hi)) return exact_points(a, n_out, batch, lo, ylo, yhi, s);
  ep_scratch_mark mark = ep_scratch_save(s);
  double *mid = EP_SCRATCH(s, double, batch *n_out + 1), *rad = EP_SCRATCH(s, double, batch *n_out + 1);
  ep_status st = mid && rad ? EP_OK : EP_E_NOMEM;
  size_t terms = 0;
  double gamma32 = ep_float32_gamma(a->n_round);
  for (uint32_t k = 0; k < a->n_terms; k++) {
    assert(a->A[k].n_out == n_out);
    terms += a->A[k].terms_fwd + 2u;
  }
  for (uint32_t k = 0; k < a->n_terms && st == EP_OK; k++)
    st = affine_term(&a->A[k], terms, gamma32, batch, lo[k], hi[k], k > 0, mid, rad, s);
  double w = (ep_gamma64(4) + gamma32) * SLACK;
  for (size_t i = 0; st == EP_OK && i < batch * n_out; i++) {
    double b = a->bias ? a->bias[i % n_out] : 0, be = a->bias_err ? a->bias_err[i % n_out] : 0;
    double c = mid[i] + b, own = rad[i] + w * fabs(b);
    /* A summand of the radius passes through at most T + 8 roundings. */
    double e = ep_sum_up(own + be + 2 * EP_U64 * fabs(c), terms + 8);
    if (a->n_round) e = ep_add_up(e, ep_float32_underflow(a->n_round, own)); /* own >= gamma32 * mass */
    double l = ep_sub_dn(c, e), h = ep_add_up(c, e);
    bool is_known = l <= h; /* false for NaN */
    ylo[i] = is_known ? l : -INFINITY;
    yhi[i] = is_known ? h : INFINITY;
  }
  ep_scratch_restore(s, mark);
  return st;
}

static ep_status affine_node(const ep_graph *g, const ep_node *nd, ep_trace_itv *t, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  const double **lo = EP_SCRATCH(s, const double *, nd->n_in), **hi = EP_SCRATCH(s, const double *, nd->n_in);
  if (!lo || !hi) return EP_E_NOMEM;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    lo[j] = t->lo[nd->in[j]];
    hi[j] = t->hi[nd->in[j]];
  }
  ep_status st =
      ep_affine_box(&nd->low.is.affine, g->val[nd->out].n, t->batch, lo, hi, t->lo[nd->out], t->hi[nd->out], s);
  ep_scratch_restore(s, m);
  return st;
}

static void univar_node(const ep_graph *g, const ep_node *nd, ep_trace_itv *t) {
  const ep_univar *u = &nd->low.is.univar;
  size_t n = g->val[nd->out].n * t->batch;
  const double *l = t->lo[nd->in[0]], *h = t->hi[nd->in[0]];
  bool is_relu = !strcmp(u->name, "Relu");
  for (size_t i = 0; i < n; i++) {
    ep_itv e = is_relu ? (ep_itv){l[i] > 0 ? l[i] : 0, h[i] > 0 ? h[i] : 0} : ep_enclose_range(u, l[i], h[i]);
    t->lo[nd->out][i] = e.lo;
    t->hi[nd->out][i] = e.hi;
  }
}

static ep_status general_node(const ep_graph *g, const ep_node *nd, ep_trace_itv *t, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  const double **lo = EP_SCRATCH(s, const double *, nd->n_in), **hi = EP_SCRATCH(s, const double *, nd->n_in);
  if (!lo || !hi) return EP_E_NOMEM;
  for (size_t r = 0; r < t->batch; r++) {
    size_t n = g->val[nd->out].n;
    for (uint32_t j = 0; j < nd->n_in; j++) {
      lo[j] = t->lo[nd->in[j]] + r * g->val[nd->in[j]].n;
      hi[j] = t->hi[nd->in[j]] + r * g->val[nd->in[j]].n;
    }
    double *yl = t->lo[nd->out] + r * n, *yh = t->hi[nd->out] + r * n;
    nd->low.is.general.box(nd, lo, hi, yl, yh);
    for (size_t i = 0; i < n; i++)
      if (!(yl[i] <= yh[i])) {
        yl[i] = -INFINITY;
        yh[i] = INFINITY;
      }
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

ep_status ep_eval_itv(const ep_graph *g, size_t batch, const double *lo, const double *hi, ep_scratch *s,
                      ep_trace_itv *out) {
  out->batch = batch;
  out->lo = EP_SCRATCH(s, double *, g->n_val + 1u);
  out->hi = EP_SCRATCH(s, double *, g->n_val + 1u);
  if (!out->lo || !out->hi) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) {
    out->lo[v] = EP_SCRATCH(s, double, batch * g->val[v].n + 1);
    out->hi[v] = EP_SCRATCH(s, double, batch * g->val[v].n + 1);
    if (!out->lo[v] || !out->hi[v]) return EP_E_NOMEM;
  }
  memcpy(out->lo[g->input], lo, batch * g->val[g->input].n * sizeof *lo);
  memcpy(out->hi[g->input], hi, batch * g->val[g->input].n * sizeof *hi);
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (nd->low.cls == EP_AFFINE)
      EP_TRY(affine_node(g, nd, out, s));
    else if (nd->low.cls == EP_UNIVAR)
      univar_node(g, nd, out);
    else
      EP_TRY(general_node(g, nd, out, s));
  }
  return EP_OK;
}
