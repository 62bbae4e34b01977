#include "encoders/network.h"

#include <assert.h>
#include <string.h>

#include "models/enclose.h"
#include "models/ops/window.h"

extern const ep_op ep_op_max_pool;

typedef struct enc {
  ep_network *net;
  ep_prob *p;
  const ep_graph *g;
  const ep_trace_itv *b;
  ep_scratch *s;
  bool folds_pinned;
  const bool *is_wanted; /* of the node under way */
  ep_itv pinned;         /* what pinned elements add to the row under construction */
  /* one row under construction */
  uint32_t n, *var;
  double *coef;
  uint32_t few_var[4]; /* for rows of one neuron */
  double few_coef[4];
} enc;

/* ---- what can be encoded ---- */

static bool is_piecewise_linear(const ep_univar *u) {
  for (uint32_t k = 0; k < u->n_piece; k++) {
    if (u->piece[k] != EP_LINEAR) return false;
    if (k + 1 < u->n_piece && u->brk[k].lo != u->brk[k].hi) return false;
    if (k + 1 < u->n_piece && u->has_jump && u->jump_lo[k] != u->jump_hi[k]) {
      ep_itv y = u->enclose(u, u->brk[k].lo);
      if (y.lo != y.hi) return false;
    }
  }
  return u->n_piece > 0;
}

ep_status ep_network_check(ep_ctx *ctx, const ep_graph *g) {
  if (g->is_float32) return EP_FAIL(ctx, EP_E_UNSUPPORTED, "float32 semantics: solvers get the real function only");
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    bool is_known = nd->low.cls == EP_AFFINE || (nd->low.cls == EP_UNIVAR && is_piecewise_linear(&nd->low.is.univar)) ||
                    nd->op == &ep_op_max_pool;
    if (!is_known)
      return EP_FAIL(ctx, EP_E_UNSUPPORTED,
                     "node '%s' (%s): no exact encoding for solvers; piecewise linear functions and MaxPool have one",
                     nd->name, nd->op->onnx);
  }
  return EP_OK;
}

/* ---- rows ---- */

static void row_start(enc *e) {
  e->n = 0;
  e->pinned = ep_itv_point(0);
}
static void row_term(enc *e, double coef, uint32_t var) {
  if (var == EP_NO_VAR || coef == 0) return;
  e->var[e->n] = var;
  e->coef[e->n++] = coef;
}
static ep_status row_end(enc *e, ep_prob_place place, double lo, double hi, bool is_implied) {
  ep_prob_row r = {.n = e->n, .var = e->var, .coef = e->coef, .lo = lo, .hi = hi, .is_implied = is_implied};
  return ep_prob_add(e->p, place, &r);
}

/* The term -w*x of an affine row; a pinned x may go into the constant instead, as the interval it is pinned to. */
static void affine_term(enc *e, double w, uint32_t var, double lo, double hi) {
  if (e->folds_pinned && hi - lo <= 0x1p-40 * fmax(1, fabs(lo)))
    e->pinned = lo == 0 && hi == 0 ? e->pinned : ep_itv_add(e->pinned, ep_itv_mul(ep_itv_point(w), (ep_itv){lo, hi}));
  else
    row_term(e, -w, var);
}

static ep_status new_var(enc *e, ep_vid v, uint32_t i, uint32_t *out) {
  return ep_prob_var(e->p, e->b->lo[v][i], e->b->hi[v][i], v, i, out);
}

/* ---- AFFINE ---- */

/* Where output i of one copying operator comes from: true and *src (-1 = the constant 0). */
static bool copies(const ep_affine *a, uint32_t i, int64_t *src) {
  if (a->n_terms != 1 || (a->bias && a->bias[i] != 0) || (a->bias_err && a->bias_err[i] != 0)) return false;
  if (a->A[0].kind == EP_LINOP_ID)
    *src = i;
  else if (a->A[0].kind == EP_LINOP_MAP)
    *src = a->A[0].map[i];
  else
    return false;
  return true;
}

/* Adds -A_i to the row (the output itself has coefficient 1) and the weights' error mass to *slack. */
static void affine_terms(enc *e, const ep_linop *A, uint32_t i, const uint32_t *in, const double *lo, const double *hi,
                         double *dense, double *slack) {
  double mass = 0;
  uint32_t n = 0;
  if (A->kind == EP_LINOP_CSR) { /* straight from the list: entries may repeat */
    for (uint32_t t = A->row_ptr[i]; t < A->row_ptr[i + 1]; t++, n++) {
      affine_term(e, A->w64[t], in[A->col[t]], lo[A->col[t]], hi[A->col[t]]);
      mass += fabs(A->w64[t]) * fmax(fabs(lo[A->col[t]]), fabs(hi[A->col[t]]));
    }
  } else {
    ep_linop_rows_f64(A, 1, &i, dense, false);
    for (uint32_t j = 0; j < A->n_in; j++) {
      if (dense[j] == 0) continue;
      n++;
      affine_term(e, dense[j], in[j], lo[j], hi[j]);
      mass += fabs(dense[j]) * fmax(fabs(lo[j]), fabs(hi[j]));
    }
  }
  if (A->rel_err > 0) *slack = ep_add_up(*slack, ep_mul_up(A->rel_err, ep_sum_up(mass, n)));
}

static ep_status affine_output(enc *e, const ep_node *nd, uint32_t i, double *dense) {
  const ep_affine *a = &nd->low.is.affine;
  uint32_t *term = e->net->term[nd->out];
  int64_t src;
  if (e->is_wanted && !e->is_wanted[i]) {
    term[i] = EP_NO_VAR;
    return EP_OK;
  }
  if (copies(a, i, &src)) {
    term[i] = src < 0 ? EP_NO_VAR : e->net->term[nd->in[0]][src];
    return EP_OK;
  }
  double slack = a->bias_err ? a->bias_err[i] : 0, bias = a->bias ? a->bias[i] : 0;
  EP_TRY(new_var(e, nd->out, i, &term[i]));
  row_start(e);
  row_term(e, 1, term[i]);
  for (uint32_t q = 0; q < a->n_terms; q++)
    affine_terms(e, &a->A[q], i, e->net->term[nd->in[q]], e->b->lo[nd->in[q]], e->b->hi[nd->in[q]], dense, &slack);
  if (!(slack >= 0 && slack < INFINITY)) slack = INFINITY;
  ep_itv c = ep_itv_point(bias);
  if (e->pinned.lo != 0 || e->pinned.hi != 0) c = ep_itv_add(c, e->pinned);
  if (slack > 0) c = (ep_itv){ep_sub_dn(c.lo, slack), ep_add_up(c.hi, slack)};
  e->p->is_exact &= c.lo == c.hi;
  return row_end(e, EP_PLACE_ALWAYS, c.lo, c.hi, false);
}

static ep_status encode_affine(enc *e, const ep_node *nd) {
  ep_scratch_mark m = ep_scratch_save(e->s);
  const ep_affine *a = &nd->low.is.affine;
  size_t n_in = 0, total = 1;
  for (uint32_t q = 0; q < a->n_terms; q++) {
    n_in = a->A[q].n_in > n_in ? a->A[q].n_in : n_in;
    total += a->A[q].kind == EP_LINOP_CSR ? a->A[q].terms_fwd : a->A[q].n_in;
  }
  double *dense = EP_SCRATCH(e->s, double, n_in + 1);
  e->var = EP_SCRATCH(e->s, uint32_t, total);
  e->coef = EP_SCRATCH(e->s, double, total);
  ep_status st = dense && e->var && e->coef ? EP_OK : EP_E_NOMEM;
  for (uint32_t i = 0; i < e->g->val[nd->out].n && st == EP_OK; i++) {
    st = affine_output(e, nd, i, dense);
    if (i % 64 == 63 && ep_ctx_should_stop(e->p->ctx)) st = EP_E_STOPPED;
  }
  ep_scratch_restore(e->s, m);
  return st;
}

/* ---- UNIVAR: pieces ---- */

/* y = slope*x + icpt for x between lo and hi. */
typedef struct segment {
  double lo, hi, slope, icpt;
  bool is_lo_open, is_hi_open;
} segment;
enum { MAX_SEGMENTS = 2 * EP_MAX_PIECES };

/* All pieces of u, the points of its jumps included, from left to right. */
static uint32_t segments_of(const ep_univar *u, segment *out) {
  uint32_t n = 0;
  double from = -INFINITY;
  bool is_open = false;
  for (uint32_t k = 0; k < u->n_piece; k++) {
    bool is_last = k + 1 == u->n_piece;
    bool jumps = !is_last && u->has_jump && u->jump_lo[k] != u->jump_hi[k];
    double to = is_last ? INFINITY : u->brk[k].lo;
    out[n++] = (segment){from, to, u->slope[k], u->icpt[k], is_open, jumps};
    if (jumps) out[n++] = (segment){to, to, 0, u->enclose(u, to).lo, false, false};
    from = to;
    is_open = jumps;
  }
  return n;
}

/* Keeps the segments that meet [l,u]; single points where two pieces meet stay with one of them. */
static uint32_t clip_segments(uint32_t n, segment *seg, double l, double u) {
  uint32_t kept = 0;
  for (uint32_t k = 0; k < n; k++) {
    bool is_left = seg[k].hi < l || (seg[k].hi == l && seg[k].is_hi_open);
    bool is_right = seg[k].lo > u || (seg[k].lo == u && seg[k].is_lo_open);
    if (!is_left && !is_right) seg[kept++] = seg[k];
  }
  /* Continuous ends: [.., l] and [l, ..] both contain l, and the wider one says everything. */
  if (kept > 1 && seg[0].hi == l && seg[0].lo < l && !seg[1].is_lo_open && seg[1].lo == l && seg[1].hi > l) {
    memmove(seg, seg + 1, (kept - 1) * sizeof *seg);
    kept--;
  }
  if (kept > 1 && seg[kept - 1].lo == u && seg[kept - 1].hi > u && !seg[kept - 2].is_hi_open && seg[kept - 2].hi == u &&
      seg[kept - 2].lo < u)
    kept--;
  return kept;
}

/* Beside a jump (Sign) a range may end a rounding error away from it: the edge from there says next to nothing and has
 * a slope that ruins the arithmetic of linear programs. Implied rows may be left out. */
#define STEEPEST 0x1p30
#define SHORTEST 0x1p-20

/* y >= s*x + t or y <= s*x + t over [l,u]: the slope is a guess, the intercept certified. */
static ep_status hull_row(enc *e, const ep_univar *u, uint32_t x, uint32_t y, double slope, double l, double h,
                          bool is_upper) {
  ep_itv gap = ep_enclose(u, slope, l, h);
  if (!(fabs(slope) < STEEPEST)) return EP_OK;
  row_start(e);
  row_term(e, 1, y);
  row_term(e, -slope, x);
  return row_end(e, EP_PLACE_ALWAYS, is_upper ? -INFINITY : gap.lo, is_upper ? gap.hi : INFINITY, true);
}

/* The convex hull of the graph over [l,u]: edges of the lower and of the upper hull of its corner points (Andrew's
 * monotone chain). */
static ep_status hull_rows(enc *e, const ep_univar *u, uint32_t x, uint32_t y, uint32_t n, const segment *seg, double l,
                           double h) {
  double px[2 * MAX_SEGMENTS] = {0}, py[2 * MAX_SEGMENTS] = {0};
  uint32_t n_p = 0;
  for (uint32_t k = 0; k < n; k++) {
    double from = fmax(seg[k].lo, l), to = fmin(seg[k].hi, h);
    px[n_p] = from;
    py[n_p++] = seg[k].slope * from + seg[k].icpt;
    px[n_p] = to;
    py[n_p++] = seg[k].slope * to + seg[k].icpt;
  }
  for (int side = -1; side <= 1; side += 2) { /* +1 the lower hull, -1 the upper one */
    uint32_t stack[2 * MAX_SEGMENTS], top = 0;
    for (uint32_t i = 0; i < n_p; i++) {
      if (top && px[i] == px[stack[top - 1]]) { /* same place: only the outer point counts */
        if (side * py[i] >= side * py[stack[top - 1]]) continue;
        top--;
      }
      while (top > 1) {
        uint32_t a = stack[top - 2], b = stack[top - 1];
        double cross = (px[b] - px[a]) * (py[i] - py[a]) - (py[b] - py[a]) * (px[i] - px[a]);
        if (side * cross > 0) break;
        top--;
      }
      stack[top++] = i;
    }
    for (uint32_t k = 0; k + 1 < top; k++) {
      double dx = px[stack[k + 1]] - px[stack[k]];
      if (dx > SHORTEST * (h - l)) EP_TRY(hull_row(e, u, x, y, (py[stack[k + 1]] - py[stack[k]]) / dx, l, h, side < 0));
    }
  }
  return EP_OK;
}

static ep_status segment_rows(enc *e, const segment *s, ep_prob_place place, uint32_t x, uint32_t y, double l,
                              double h) {
  if (place == EP_PLACE_CHOICE && (s->lo > l || s->hi < h)) {
    ep_prob_row r = {.n = 1, .var = &x, .coef = (const double[]){1}, .lo = -INFINITY, .hi = INFINITY};
    if (s->lo > l) {
      r.lo = s->lo;
      r.is_lo_strict = s->is_lo_open;
    }
    if (s->hi < h) {
      r.hi = s->hi;
      r.is_hi_strict = s->is_hi_open;
    }
    EP_TRY(ep_prob_add(e->p, place, &r));
  }
  row_start(e);
  row_term(e, 1, y);
  row_term(e, -s->slope, x);
  return row_end(e, place, s->icpt, s->icpt, false);
}

static ep_status encode_univar_element(enc *e, const ep_node *nd, uint32_t i) {
  const ep_univar *u = &nd->low.is.univar;
  uint32_t x = e->net->term[nd->in[0]][i], *y = &e->net->term[nd->out][i];
  double l = e->b->lo[nd->in[0]][i], h = e->b->hi[nd->in[0]][i];
  if (x == EP_NO_VAR) l = h = 0;
  if (!(l <= h)) l = -INFINITY, h = INFINITY;
  segment seg[MAX_SEGMENTS];
  uint32_t n = clip_segments(segments_of(u, seg), seg, l, h);
  assert(n > 0);
  if (n == 1 && seg[0].icpt == 0 && (seg[0].slope == 0 || seg[0].slope == 1)) {
    *y = seg[0].slope == 0 ? EP_NO_VAR : x;
    return EP_OK;
  }
  EP_TRY(new_var(e, nd->out, i, y));
  if (n == 1) return segment_rows(e, &seg[0], EP_PLACE_ALWAYS, x, *y, l, h);
  assert(x != EP_NO_VAR);
  e->net->n_unstable++;
  EP_TRY(ep_prob_open_disj(e->p, x, *y, nd->out, i));
  for (uint32_t k = 0; k < n; k++) {
    EP_TRY(ep_prob_open_choice(e->p));
    EP_TRY(segment_rows(e, &seg[k], EP_PLACE_CHOICE, x, *y, l, h));
  }
  return l > -INFINITY && h < INFINITY && l < h ? hull_rows(e, u, x, *y, n, seg, l, h) : EP_OK;
}

static ep_status encode_univar(enc *e, const ep_node *nd) {
  e->var = e->few_var;
  e->coef = e->few_coef;
  for (uint32_t i = 0; i < e->g->val[nd->out].n; i++) EP_TRY(encode_univar_element(e, nd, i));
  return EP_OK;
}

/* ---- MaxPool ---- */

/* Candidates that can be the largest, at most one for the constant 0; returns how many. */
static uint32_t max_candidates(const enc *e, const ep_max_windows *w, ep_vid v, uint32_t i, uint32_t *out) {
  double best = -INFINITY;
  uint32_t n = 0;
  for (uint32_t k = w->ptr[i]; k < w->ptr[i + 1]; k++) best = fmax(best, e->b->lo[v][w->col[k]]);
  bool has_best = false;
  for (uint32_t k = w->ptr[i]; k < w->ptr[i + 1]; k++) {
    uint32_t c = w->col[k];
    /* Whoever cannot exceed a lower bound of another leaves; of several that are all pinned to it, one stays. */
    bool is_best = !has_best && e->b->lo[v][c] == best;
    if (e->b->hi[v][c] <= best && !is_best) continue;
    has_best |= is_best;
    out[n++] = c;
  }
  return n;
}

static ep_status encode_max_element(enc *e, const ep_node *nd, uint32_t i) {
  const ep_max_windows *w = nd->param;
  const uint32_t *in = e->net->term[nd->in[0]];
  const double *lo = e->b->lo[nd->in[0]];
  ep_scratch_mark m = ep_scratch_save(e->s);
  uint32_t *cand = EP_SCRATCH(e->s, uint32_t, w->ptr[i + 1] - w->ptr[i] + 1);
  e->var = EP_SCRATCH(e->s, uint32_t, w->ptr[i + 1] - w->ptr[i] + 2);
  e->coef = EP_SCRATCH(e->s, double, w->ptr[i + 1] - w->ptr[i] + 2);
  if (!cand || !e->var || !e->coef) return EP_E_NOMEM;
  uint32_t n = max_candidates(e, w, nd->in[0], i, cand), *y = &e->net->term[nd->out][i];
  assert(n > 0);
  ep_status st = EP_OK;
  if (n == 1) {
    *y = in[cand[0]];
    goto done;
  }
  EP_GOTO(new_var(e, nd->out, i, y));
  for (uint32_t k = 0; k < n; k++) {
    row_start(e);
    row_term(e, 1, *y);
    row_term(e, -1, in[cand[k]]);
    EP_GOTO(row_end(e, EP_PLACE_ALWAYS, 0, INFINITY, false));
  }
  e->net->n_pool++;
  EP_GOTO(ep_prob_open_disj(e->p, EP_NO_VAR, *y, nd->out, i));
  for (uint32_t k = 0; k < n; k++) {
    EP_GOTO(ep_prob_open_choice(e->p));
    row_start(e);
    row_term(e, 1, *y);
    row_term(e, -1, in[cand[k]]);
    EP_GOTO(row_end(e, EP_PLACE_CHOICE, -INFINITY, 0, false));
  }
  /* y = x_m = (x_m - l_m) + l_m <= sum_j (x_j - l_j) + max_j l_j */
  double most = -INFINITY, sum = 0;
  row_start(e);
  row_term(e, 1, *y);
  for (uint32_t k = 0; k < n; k++) {
    row_term(e, -1, in[cand[k]]);
    most = fmax(most, lo[cand[k]]);
    sum = ep_add_up(sum, -lo[cand[k]]);
  }
  double rhs = ep_add_up(sum, most);
  if (rhs < INFINITY) EP_GOTO(row_end(e, EP_PLACE_ALWAYS, -INFINITY, rhs, true));
done:
  ep_scratch_restore(e->s, m);
  return st;
}

/* ---- the whole graph ---- */

static ep_status encode_node(enc *e, const ep_node *nd) {
  uint32_t n = e->g->val[nd->out].n;
  e->net->term[nd->out] = EP_ARENA(&e->p->arena, uint32_t, n + 1u);
  if (!e->net->term[nd->out]) return EP_E_NOMEM;
  if (nd->low.cls == EP_AFFINE) return encode_affine(e, nd);
  if (nd->low.cls == EP_UNIVAR) return encode_univar(e, nd);
  for (uint32_t i = 0; i < n; i++) EP_TRY(encode_max_element(e, nd, i));
  return EP_OK;
}

static ep_status encode_graph(enc *e, const ep_network_opt *opt) {
  uint32_t n_node = opt->n_node && opt->n_node < e->g->n_node ? opt->n_node : e->g->n_node;
  const ep_graph *g = e->g;
  e->net->term = EP_ARENA(&e->p->arena, uint32_t *, g->n_val + 1u);
  if (!e->net->term) return EP_E_NOMEM;
  uint32_t *in = e->net->term[g->input] = EP_ARENA(&e->p->arena, uint32_t, g->val[g->input].n + 1u);
  if (!in) return EP_E_NOMEM;
  for (uint32_t i = 0; i < g->val[g->input].n; i++) EP_TRY(new_var(e, g->input, i, &in[i]));
  for (uint32_t k = 0; k < n_node; k++) {
    if (ep_ctx_should_stop(e->p->ctx)) return EP_E_STOPPED;
    e->is_wanted = k + 1 == n_node ? opt->is_wanted : NULL;
    EP_TRY(encode_node(e, &g->node[k]));
  }
  return EP_OK;
}

ep_status ep_network_create(ep_ctx *ctx, const ep_graph *g, const ep_trace_itv *bounds, const ep_network_opt *opt,
                            ep_scratch *s, ep_network **out) {
  *out = NULL;
  assert(bounds->batch == 1);
  EP_TRY(ep_network_check(ctx, g));
  ep_network *net = ep_calloc(ctx, 1, sizeof *net);
  if (!net) return EP_E_NOMEM;
  net->g = g;
  ep_status st = ep_prob_create(ctx, &net->prob);
  if (st == EP_OK) {
    net->prob->input_value = g->input;
    net->prob->output_value = g->output;
    enc e = {.net = net, .p = net->prob, .g = g, .b = bounds, .s = s, .folds_pinned = opt->folds_pinned};
    st = encode_graph(&e, opt);
  }
  if (st != EP_OK)
    ep_network_destroy(net);
  else
    *out = net;
  return st;
}

void ep_network_destroy(ep_network *net) {
  if (!net) return;
  ep_ctx *ctx = net->prob ? net->prob->ctx : net->g->ctx;
  ep_prob_destroy(net->prob);
  ep_free(ctx, net);
}
