/* Certified back-substitution: the float64 pass with a-priori error terms. Part of the trusted base; every `unsat`
 * rests on a bound that came out of this file. See plan.h for the invariant and the accounting. */
#include "bounds/backward.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct slot_buf {
  double *data;
  size_t cap;
  bool is_used;
} slot_buf;

/* State of one pass: coefficient buffers per value, recycled as soon as a value is consumed. */
typedef struct pass {
  const ep_backward_f64 *b;
  ep_scratch *s;
  double **slot; /* [n_val] coefficients over that value, NULL = none */
  int32_t *buf;  /* [n_val] buffer behind the slot */
  slot_buf *bufs;
  int32_t n_buf, max_buf;
} pass;

static ep_status slot_take(pass *p, ep_vid v, bool zero) {
  size_t need = p->b->rows * p->b->plan->g->val[v].n;
  int32_t best = -1;
  for (int32_t i = 0; i < p->n_buf; i++)
    if (!p->bufs[i].is_used && p->bufs[i].cap >= need && (best < 0 || p->bufs[i].cap < p->bufs[best].cap)) best = i;
  if (best < 0) {
    assert(p->n_buf < p->max_buf);
    best = p->n_buf;
    p->bufs[best].data = EP_SCRATCH(p->s, double, need + 1);
    if (!p->bufs[best].data) return EP_E_NOMEM;
    p->bufs[best].cap = need;
    p->n_buf++;
  }
  p->bufs[best].is_used = true;
  p->slot[v] = p->bufs[best].data;
  p->buf[v] = best;
  if (zero) memset(p->slot[v], 0, need * sizeof(double));
  return EP_OK;
}

static void slot_drop(pass *p, ep_vid v) {
  if (p->slot[v]) p->bufs[p->buf[v]].is_used = false;
  p->slot[v] = NULL;
}

/* Hands v's buffer over to the empty slot u (same size). */
static void slot_move(pass *p, ep_vid v, ep_vid u) {
  assert(!p->slot[u] && p->b->plan->g->val[u].n == p->b->plan->g->val[v].n);
  p->slot[u] = p->slot[v];
  p->buf[u] = p->buf[v];
  p->slot[v] = NULL;
}

/* Adds `sum` to row r's constant and charges the rounding of this one addition; how `sum` was rounded is the caller's
 * to charge. */
static void cst_add(const ep_backward_f64 *b, size_t r, double sum) {
  b->cst[r] += sum;
  b->err[r] += 2 * EP_U64 * fabs(b->cst[r]);
}

/* Accumulating onto old coefficients rounds them too: charge gamma*|c_old|*mag before it happens. */
static void charge_accumulate(pass *p, ep_vid u, size_t terms) {
  const ep_backward_f64 *b = p->b;
  size_t n = b->plan->g->val[u].n;
  const double *mag = b->plan->mag[u];
  double gamma = ep_gamma64(terms + 4) * EP_ERR_SLACK;
  for (size_t r = 0; r < b->rows; r++) {
    const double *c = p->slot[u] + r * n;
    double t = 0;
#pragma omp simd reduction(+ : t)
    for (size_t i = 0; i < n; i++) t += fabs(c[i]) * mag[i];
    b->err[r] += gamma * t * EP_ERR_SLACK + (double)(n + 1) * EP_ETA64;
  }
}

/* |c| . (float32 errors of AFFINE node k in row r's domain); 0 under real semantics. */
static double float32_charge(const ep_backward_f64 *b, uint32_t k, size_t r, size_t n, const double *c) {
  double e = 0;
  if (!b->relax->f32_err[k]) return 0;
  const double *err = b->relax->f32_err[k] + (b->dom ? b->dom[r] : 0) * n;
  for (size_t i = 0; i < n; i++)
    if (c[i] != 0) e += fabs(c[i]) * err[i]; /* dead neurons may have no bounds */
  return e;
}

/* cst += c.bias and err += |c|.aerr over all rows at the output v of AFFINE node k. */
static void affine_constants(pass *p, uint32_t k, const double *coef) {
  const ep_backward_f64 *b = p->b;
  const ep_node *nd = &b->plan->g->node[k];
  size_t n = b->plan->g->val[nd->out].n;
  const ep_affine *a = &nd->low.is.affine;
  const double *bias = a->bias, *aerr = b->plan->aerr[k];
  for (size_t r = 0; r < b->rows; r++) {
    const double *c = coef + r * n;
    double t = 0, e = 0;
    if (bias) {
#pragma omp simd reduction(+ : t, e)
      for (size_t i = 0; i < n; i++) {
        t += c[i] * bias[i];
        e += fabs(c[i]) * aerr[i];
      }
    } else {
#pragma omp simd reduction(+ : e)
      for (size_t i = 0; i < n; i++) e += fabs(c[i]) * aerr[i];
    }
    b->err[r] += (e + float32_charge(b, k, r, n, c)) * EP_ERR_SLACK + b->plan->aeta[k];
    /* The rounding of t itself is inside aerr (gamma_{n+4}|b|). */
    if (bias) cst_add(b, r, t);
  }
}

static ep_status affine_step(pass *p, uint32_t k) {
  const ep_backward_f64 *b = p->b;
  const ep_node *nd = &b->plan->g->node[k];
  const ep_affine *a = &nd->low.is.affine;
  ep_vid v = nd->out;
  size_t rows = b->rows, n = b->plan->g->val[v].n;
  affine_constants(p, k, p->slot[v]);
  for (uint32_t j = 0; j < a->n_terms; j++) {
    const ep_linop *A = &a->A[j];
    ep_vid u = nd->in[j];
    bool has_old = p->slot[u] != NULL;
    if (A->kind == EP_LINOP_ID && !has_old && j + 1 == a->n_terms) {
      slot_move(p, v, u);
      return EP_OK;
    }
    if (has_old) charge_accumulate(p, u, A->terms_bwd);
    if (!has_old) EP_TRY(slot_take(p, u, false));
    if (A->kind == EP_LINOP_ID && !has_old)
      memcpy(p->slot[u], p->slot[v], rows * n * sizeof(double));
    else
      EP_TRY(ep_linop_apply_t_f64(A, rows, p->slot[v], p->slot[u], has_old, p->s));
  }
  slot_drop(p, v);
  return EP_OK;
}

/* One row through the lines: dst = c+ * lower slope + c- * upper slope; returns the constant c+ . tl + c- . tu. */
static double univar_row(size_t n, const double *c, const double *sl, const double *tl, const double *su,
                         const double *tu, double *dst) {
  double t = 0;
#pragma omp simd reduction(+ : t)
  for (size_t i = 0; i < n; i++) {
    double pos = c[i] > 0 ? c[i] : 0, neg = c[i] < 0 ? c[i] : 0;
    dst[i] = pos * sl[i] + neg * su[i];
    t += pos * tl[i] + neg * tu[i];
  }
  return t;
}

/* Same with the row's own lower slopes for a ReLU node: any slope in [0,1] with intercept 0 is below relu everywhere.
 */
static double relu_row_alpha(size_t n, const double *c, const double *alpha, const double *su, const double *tu,
                             double *dst) {
  double t = 0;
#pragma omp simd reduction(+ : t)
  for (size_t i = 0; i < n; i++) {
    double pos = c[i] > 0 ? c[i] : 0, neg = c[i] < 0 ? c[i] : 0;
    double al = alpha[i] > 0 ? alpha[i] : 0; /* a NaN becomes 0 */
    al = al < 1 ? al : 1;
    dst[i] = pos * al + neg * su[i];
    t += neg * tu[i];
  }
  return t;
}

/* Error charge of one row through UNIVAR node k. One of c+, c- is zero, so dst_i is a single rounded product: off by at
 * most u|dst_i| + eta, plus as much again when it is added to an old coefficient; each worth times mag_i. The constant
 * is a sum of n products, of which at most |c_i| max(|tl_i|,|tu_i|) each. */
static void univar_charge(const ep_backward_f64 *b, size_t r, size_t n, const double *c, const double *tl,
                          const double *tu, const double *dst, const double *mag) {
  double e = 0, t = 0, m = 0;
#pragma omp simd reduction(+ : e, t, m)
  for (size_t i = 0; i < n; i++) {
    e += fabs(dst[i]) * mag[i];
    m += mag[i];
    double lo = fabs(tl[i]), up = fabs(tu[i]);
    t += fabs(c[i]) * (lo > up ? lo : up);
  }
  b->err[r] += (3 * EP_U64 * e + ep_gamma64(n + 4) * t) * EP_ERR_SLACK + (m + (double)n + 1) * EP_ETA64;
}

/* First decision of node k; *n_out = how many there are. */
static const ep_decision *decisions_of(const ep_backward_f64 *b, uint32_t k, size_t *n_out) {
  size_t lo = 0, hi = b->n_decision;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (b->decision[mid].node < k)
      lo = mid + 1;
    else
      hi = mid;
  }
  size_t e = lo;
  while (e < b->n_decision && b->decision[e].node == k) e++;
  *n_out = e - lo;
  return b->decision + lo;
}

/* Decided neurons leave the relaxation: their coefficients are set aside (in `aside`) before a row passes ... */
static void decisions_before(const ep_decision *d, size_t n, double *c, double *aside) {
  for (size_t i = 0; i < n; i++) {
    aside[i] = c[d[i].neuron];
    c[d[i].neuron] = 0;
  }
}

/* ... and come back through their exact line, with the multiplier: for z >= 0, row >= row - beta z; for z <= 0,
 * row >= row + beta z. */
static void decisions_after(const ep_backward_f64 *b, size_t r, const ep_decision *d, size_t n, const double *aside,
                            const double *mag, double *dst) {
  for (size_t i = 0; i < n; i++) {
    double beta = d[i].beta > 0 ? (double)d[i].beta : 0; /* a NaN becomes 0 */
    double c = d[i].is_active ? aside[i] - beta : beta;
    dst[d[i].neuron] = c;
    /* One subtraction; the later addition onto an old coefficient is charged like any other. */
    b->err[r] += 3 * EP_U64 * fabs(c) * mag[d[i].neuron] * EP_ERR_SLACK + EP_ETA64;
  }
}

static ep_status univar_step(pass *p, uint32_t k) {
  const ep_backward_f64 *b = p->b;
  const ep_node *nd = &b->plan->g->node[k];
  const ep_lines_f64 *ln = &b->relax->lines[k];
  ep_vid v = nd->out, u = nd->in[0];
  size_t rows = b->rows, n = b->plan->g->val[v].n;
  bool has_old = p->slot[u] != NULL;
  ep_scratch_mark m = ep_scratch_save(p->s);
  double *dst = EP_SCRATCH(p->s, double, n + 1);
  if (!dst) return EP_E_NOMEM;
  if (has_old) charge_accumulate(p, u, 1);
  if (b->kept && b->kept[k]) memcpy(b->kept[k], p->slot[v], rows * n * sizeof(double));
  const double *alpha = b->alpha && b->plan->is_relu[k] ? b->alpha[k] : NULL;
  size_t n_dec;
  const ep_decision *dec = decisions_of(b, k, &n_dec), *dec_end = dec + n_dec;
  double *aside = EP_SCRATCH(p->s, double, n_dec + 1);
  if (!aside) return EP_E_NOMEM;
  assert(!n_dec || b->plan->is_relu[k]);
  for (size_t r = 0; r < rows; r++) {
    size_t n_row = 0;
    while (dec + n_row < dec_end && dec[n_row].row == r) n_row++;
    size_t at = (b->dom ? b->dom[r] : 0) * n;
    assert(at < b->relax->batch * n || n == 0);
    double *c = p->slot[v] + r * n;
    decisions_before(dec, n_row, c, aside);
    double t = alpha ? relu_row_alpha(n, c, alpha + r * n, ln->su + at, ln->tu + at, dst)
                     : univar_row(n, c, ln->sl + at, ln->tl + at, ln->su + at, ln->tu + at, dst);
    univar_charge(b, r, n, c, ln->tl + at, ln->tu + at, dst, b->plan->mag[u]);
    cst_add(b, r, t);
    decisions_after(b, r, dec, n_row, aside, b->plan->mag[u], dst);
    dec += n_row;
    if (has_old) {
      double *old = p->slot[u] + r * n;
      for (size_t i = 0; i < n; i++) old[i] += dst[i];
    } else {
      memcpy(c, dst, n * sizeof(double));
    }
  }
  if (has_old)
    slot_drop(p, v);
  else
    slot_move(p, v, u);
  ep_scratch_restore(p->s, m);
  return EP_OK;
}

/* Adds the coefficients over the concatenated inputs of GENERAL node `nd` to row r of the input slots. */
static void general_scatter(pass *p, const ep_node *nd, size_t r, const double *cat) {
  for (uint32_t j = 0; j < nd->n_in; j++) {
    size_t n = p->b->plan->g->val[nd->in[j]].n;
    double *dst = p->slot[nd->in[j]] + r * n;
    for (size_t i = 0; i < n; i++) dst[i] += cat[i];
    cat += n;
  }
}

/* Charge of row c through one linear map L of a GENERAL node: gamma*|c||L|mag, and the additions into the slots. */
static ep_status general_charge(pass *p, const ep_node *nd, size_t r, const ep_linop *L, const double *c,
                                const double *consts) {
  const ep_backward_f64 *b = p->b;
  ep_scratch_mark m = ep_scratch_save(p->s);
  double *mag = EP_SCRATCH(p->s, double, L->n_in + 1), *lm = EP_SCRATCH(p->s, double, L->n_out + 1);
  if (!mag || !lm) return EP_E_NOMEM;
  double *at = mag, e = 0, t = 0, sum = 0;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    size_t n = b->plan->g->val[nd->in[j]].n;
    memcpy(at, b->plan->mag[nd->in[j]], n * sizeof *at);
    for (size_t i = 0; i < n; i++) sum += at[i];
    at += n;
  }
  EP_TRY(ep_linop_apply_abs_f64(L, 1, mag, lm, false, p->s));
  for (size_t i = 0; i < L->n_out; i++) {
    e += fabs(c[i]) * lm[i];
    t += fabs(c[i]) * fabs(consts[i]);
  }
  b->err[r] +=
      ((ep_gamma64(L->terms_bwd + 8u) + L->rel_err * EP_ERR_SLACK) * e + ep_gamma64(L->n_out + 4u) * t) * EP_ERR_SLACK +
      (sum * (L->terms_bwd + 4.0) + (double)L->n_out + 1) * EP_ETA64;
  ep_scratch_restore(p->s, m);
  return EP_OK;
}

static ep_status general_row(pass *p, uint32_t k, size_t r, double *part, double *cat) {
  const ep_backward_f64 *b = p->b;
  const ep_node *nd = &b->plan->g->node[k];
  size_t n = b->plan->g->val[nd->out].n;
  const ep_linear_pair *pair = &b->relax->general[k][b->dom ? b->dom[r] : 0];
  const double *c = p->slot[nd->out] + r * n;
  for (int side = 0; side < 2; side++) {
    const ep_linop *L = side ? &pair->upper : &pair->lower;
    const double *consts = side ? pair->upper_c : pair->lower_c;
    double t = 0;
    for (size_t i = 0; i < n; i++) {
      part[i] = side ? (c[i] < 0 ? c[i] : 0) : (c[i] > 0 ? c[i] : 0);
      t += part[i] * (double)consts[i];
    }
    EP_TRY(general_charge(p, nd, r, L, part, consts));
    cst_add(b, r, t);
    EP_TRY(ep_linop_apply_t_f64(L, 1, part, cat, false, p->s));
    general_scatter(p, nd, r, cat);
  }
  return EP_OK;
}

static ep_status general_step(pass *p, uint32_t k) {
  const ep_backward_f64 *b = p->b;
  const ep_node *nd = &b->plan->g->node[k];
  size_t n = b->plan->g->val[nd->out].n, n_cat = 0;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    ep_vid u = nd->in[j];
    n_cat += b->plan->g->val[u].n;
    if (!p->slot[u]) EP_TRY(slot_take(p, u, true));
  }
  ep_scratch_mark m = ep_scratch_save(p->s);
  double *part = EP_SCRATCH(p->s, double, n + 1), *cat = EP_SCRATCH(p->s, double, n_cat + 1);
  if (!part || !cat) return EP_E_NOMEM;
  /* Every row is added to each input slot twice; charge what is there before and what comes in between. */
  for (uint32_t j = 0; j < nd->n_in; j++) charge_accumulate(p, nd->in[j], 4);
  for (size_t r = 0; r < b->rows; r++) EP_TRY(general_row(p, k, r, part, cat));
  slot_drop(p, nd->out);
  ep_scratch_restore(p->s, m);
  return EP_OK;
}

/* Unit seeds at the output of an AFFINE node: copy its rows instead of multiplying by the identity. */
static ep_status seed_rows(pass *p, uint32_t k) {
  const ep_backward_f64 *b = p->b;
  const ep_node *nd = &b->plan->g->node[k];
  const ep_affine *a = &nd->low.is.affine;
  for (uint32_t j = 0; j < a->n_terms; j++) {
    ep_vid u = nd->in[j];
    bool has_old = p->slot[u] != NULL;
    if (!has_old) EP_TRY(slot_take(p, u, false));
    /* Where rows of two terms are added, the sum's rounding is inside aerr's gamma_{t+4}. */
    ep_linop_rows_f64(&a->A[j], b->rows, b->neuron, p->slot[u], has_old);
  }
  for (uint32_t j = 0; j < a->n_terms; j++) {
    ep_vid u = nd->in[j];
    size_t n = b->plan->g->val[u].n;
    bool is_done = false;
    for (uint32_t i = 0; i < j; i++) is_done |= nd->in[i] == u;
    for (size_t r = 0; r < b->rows && !is_done; r++) {
      if (b->sign[r] > 0) continue;
      double *c = p->slot[u] + r * n;
      for (size_t i = 0; i < n; i++) c[i] = -c[i];
    }
  }
  for (size_t r = 0; r < b->rows; r++) {
    uint32_t i = b->neuron[r];
    if (a->bias) b->cst[r] = (double)(b->sign[r] > 0 ? a->bias[i] : -a->bias[i]);
    double off =
        b->relax->f32_err[k] ? b->relax->f32_err[k][(b->dom ? b->dom[r] : 0) * b->plan->g->val[nd->out].n + i] : 0;
    b->err[r] += (b->plan->aerr[k][i] + off) * EP_ERR_SLACK + b->plan->aeta[k];
  }
  return EP_OK;
}

/* Puts the seeds into slots; *node = the first node still to be passed. */
static ep_status seed(pass *p, int64_t *node) {
  const ep_backward_f64 *b = p->b;
  const ep_graph *g = b->plan->g;
  size_t n = g->val[b->from].n, n_x = b->plan->n_x;
  uint32_t k = g->val[b->from].producer;
  *node = k == UINT32_MAX ? -1 : (int64_t)k;
  memset(b->cst, 0, b->rows * sizeof(double));
  memset(b->err, 0, b->rows * sizeof(double));
  if (b->coef) {
    EP_TRY(slot_take(p, b->from, false));
    memcpy(p->slot[b->from], b->coef, b->rows * n * sizeof(double));
  } else if (k != UINT32_MAX && g->node[k].low.cls == EP_AFFINE && !b->coef_x) {
    EP_TRY(seed_rows(p, k));
    *node = (int64_t)k - 1;
  } else {
    EP_TRY(slot_take(p, b->from, true));
    for (size_t r = 0; r < b->rows; r++) p->slot[b->from][r * n + b->neuron[r]] = b->sign[r];
  }
  if (b->coef_x) {
    if (!p->slot[g->input]) EP_TRY(slot_take(p, g->input, true));
    for (size_t i = 0; i < b->rows * n_x; i++) p->slot[g->input][i] += b->coef_x[i];
    charge_accumulate(p, g->input, 1); /* the sum above, where the output is the input itself */
  }
  return EP_OK;
}

ep_status ep_backward_run_f64(const ep_backward_f64 *b, ep_scratch *s) {
  const ep_graph *g = b->plan->g;
  size_t n_x = b->plan->n_x;
  if (!b->rows) return EP_OK;
  assert((b->coef != NULL) != (b->neuron != NULL));
  ep_status st = EP_E_NOMEM;
  double cpu = ep_thread_cpu_s();
  ep_scratch_mark m = ep_scratch_save(s);
  pass p = {.b = b, .s = s, .max_buf = (int32_t)g->n_val + 1};
  p.slot = EP_SCRATCH(s, double *, g->n_val);
  p.buf = EP_SCRATCH(s, int32_t, g->n_val);
  p.bufs = EP_SCRATCH(s, slot_buf, g->n_val + 1);
  if (!p.slot || !p.buf || !p.bufs) goto done;
  for (uint32_t v = 0; v < g->n_val; v++) p.slot[v] = NULL;
  int64_t k;
  EP_GOTO(seed(&p, &k));
  for (; k >= 0; k--) {
    const ep_node *nd = &g->node[k];
    if (!p.slot[nd->out]) continue;
    if (nd->low.cls == EP_AFFINE)
      EP_GOTO(affine_step(&p, (uint32_t)k));
    else if (nd->low.cls == EP_UNIVAR)
      EP_GOTO(univar_step(&p, (uint32_t)k));
    else
      EP_GOTO(general_step(&p, (uint32_t)k));
  }
  if (p.slot[g->input])
    memcpy(b->lin, p.slot[g->input], b->rows * n_x * sizeof(double));
  else
    memset(b->lin, 0, b->rows * n_x * sizeof(double));
  st = EP_OK;
done:
  ep_scratch_restore(s, m);
  ep_ctx_add_certify_s(b->plan->ctx, ep_thread_cpu_s() - cpu);
  return st;
}

void ep_backward_concretize_f64(size_t rows, size_t n_x, const double *lin, const double *cst, const double *err,
                                const uint32_t *dom, const double *lo, const double *hi, double *out) {
  double gamma = ep_gamma64(n_x + 4) * EP_ERR_SLACK;
  for (size_t r = 0; r < rows; r++) {
    const double *c = lin + r * n_x, *l = lo + (dom ? dom[r] : 0) * n_x, *h = hi + (dom ? dom[r] : 0) * n_x;
    double t = 0, a = 0;
    /* min over [l,h] of c x is c l for c > 0 and c h otherwise; a sums |c x| at that corner. */
#pragma omp simd reduction(+ : t, a)
    for (size_t i = 0; i < n_x; i++) {
      double v = c[i] * (c[i] > 0 ? l[i] : h[i]);
      t += v;
      a += fabs(v);
    }
    double e = ep_up((err[r] + gamma * a) * EP_ERR_SLACK + (double)(n_x + 1) * EP_ETA64);
    double b = ep_dn(ep_dn(t + cst[r]) - e);
    out[r] = b < INFINITY ? b : -INFINITY; /* NaN and overflow: no information */
  }
}
