#include "verifier/bab.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "verifier/branching.h"

enum { TASKS = 4, MAX_PARENTS = 128, MAX_CANDIDATES = 16 };

/* A domain: a list of decisions, the slopes to start from, the neuron to decide next. One memory block. */
typedef struct domain {
  double margin;   /* estimated margin (best row), the queue's key */
  uint64_t serial; /* ties in order of creation */
  uint32_t n_dec;
  uint32_t branch; /* unstable index to decide next */
  uint32_t *dec;   /* [n_dec] unstable index * 2 + is_active */
  float *beta;     /* [n_row x n_dec] */
  uint8_t *alpha;  /* [n_row x n_u] slope * 255 */
} domain;

/* One polytope's search. */
typedef struct tree {
  ep_root *root;
  const ep_bab_opt *opt;
  const ep_branching *rule;
  uint32_t poly, first_row, n_row;
  uint32_t n_u;
  ep_unstable *u;
  ep_relax_f32 relax32;
  uint32_t *row_id; /* [n_row] rows of the spec */
  domain **heap;
  size_t n_heap, cap_heap;
  uint64_t serial;
  uint64_t n_stuck;
  size_t max_parents; /* domains of one task: so many that coefficients stay near the cache */
  ep_bab_stats *stats;
} tree;

static ep_ctx *ctx_of(const tree *t) { return t->root->run->ctx; }

/* ---- queue: smallest margin first ---- */

static bool before(const domain *a, const domain *b) {
  return a->margin < b->margin || (a->margin == b->margin && a->serial < b->serial);
}

static ep_status heap_push(tree *t, domain *d) {
  if (t->n_heap == t->cap_heap) {
    size_t cap = t->cap_heap ? 2 * t->cap_heap : 256;
    domain **h = ep_realloc(ctx_of(t), t->heap, cap * sizeof *h);
    if (!h) {
      ep_free(ctx_of(t), d);
      return EP_E_NOMEM;
    }
    t->heap = h;
    t->cap_heap = cap;
  }
  size_t i = t->n_heap++;
  for (; i > 0 && before(d, t->heap[(i - 1) / 2]); i = (i - 1) / 2) t->heap[i] = t->heap[(i - 1) / 2];
  t->heap[i] = d;
  return EP_OK;
}

static domain *heap_pop(tree *t) {
  domain *top = t->heap[0], *last = t->heap[--t->n_heap];
  size_t i = 0;
  for (;;) {
    size_t c = 2 * i + 1;
    if (c >= t->n_heap) break;
    if (c + 1 < t->n_heap && before(t->heap[c + 1], t->heap[c])) c++;
    if (!before(t->heap[c], last)) break;
    t->heap[i] = t->heap[c];
    i = c;
  }
  if (t->n_heap) t->heap[i] = last;
  return top;
}

static domain *domain_create(const tree *t, uint32_t n_dec) {
  size_t n =
      sizeof(domain) + n_dec * sizeof(uint32_t) + (size_t)t->n_row * n_dec * sizeof(float) + (size_t)t->n_row * t->n_u;
  domain *d = ep_alloc(ctx_of(t), n);
  if (!d) return NULL;
  d->n_dec = n_dec;
  d->branch = UINT32_MAX;
  d->dec = (uint32_t *)(d + 1);
  d->beta = (float *)(d->dec + n_dec);
  d->alpha = (uint8_t *)(d->beta + (size_t)t->n_row * n_dec);
  return d;
}

/* ---- bounding a batch of domains ---- */

/* A view of domains as rows: domain i has decisions `dec[i]` and its rows are i*n_row .. */
typedef struct view {
  size_t n;            /* domains */
  const domain **from; /* [n] whose slopes, multipliers and decisions to start with */
  uint32_t *extra;     /* [n] one more decision (unstable index * 2 + is_active), UINT32_MAX = none */
} view;

typedef struct rows {
  size_t n;
  float *coef, *coef_x, *target, *best, *lin;
  uint32_t *group;
  float **alpha, **kept;
  ep_decision *decision;
  size_t n_decision;
  size_t *at; /* [n_decision] row * max_dec + position of the decision in its domain, to put multipliers back */
} rows;

static uint32_t view_n_dec(const view *v, size_t i) { return v->from[i]->n_dec + (v->extra[i] != UINT32_MAX); }
static uint32_t view_dec(const view *v, size_t i, uint32_t k) {
  return k < v->from[i]->n_dec ? v->from[i]->dec[k] : v->extra[i];
}

/* Decisions of all rows sorted by node, then row: one counting pass per node in graph order. */
static ep_status rows_decisions(const tree *t, const view *v, rows *r, ep_scratch *s) {
  size_t n = 0;
  for (size_t i = 0; i < v->n; i++) n += view_n_dec(v, i);
  n *= t->n_row;
  r->decision = EP_SCRATCH(s, ep_decision, n + 1);
  r->at = EP_SCRATCH(s, size_t, n + 1);
  size_t n_node = t->root->run->g->n_node;
  size_t *count = EP_SCRATCH(s, size_t, n_node + 1);
  if (!r->decision || !r->at || !count) return EP_E_NOMEM;
  memset(count, 0, (n_node + 1) * sizeof *count);
  for (size_t i = 0; i < v->n; i++)
    for (uint32_t k = 0; k < view_n_dec(v, i); k++) count[t->u[view_dec(v, i, k) / 2].node + 1] += t->n_row;
  for (size_t k = 0; k < n_node; k++) count[k + 1] += count[k];
  for (size_t i = 0; i < v->n; i++)
    for (uint32_t j = 0; j < t->n_row; j++)
      for (uint32_t k = 0; k < view_n_dec(v, i); k++) {
        uint32_t e = view_dec(v, i, k), n_old = v->from[i]->n_dec;
        const ep_unstable *u = &t->u[e / 2];
        size_t at = count[u->node]++;
        float beta = k < n_old ? v->from[i]->beta[j * n_old + k] : 0;
        r->decision[at] = (ep_decision){u->node, u->neuron, i * t->n_row + j, e & 1, beta};
        r->at[at] = k;
      }
  r->n_decision = n;
  return EP_OK;
}

static ep_status rows_init(const tree *t, const view *v, bool keep, rows *r, ep_scratch *s) {
  const ep_root *root = t->root;
  const ep_graph *g = root->run->g;
  size_t n = v->n * t->n_row, n_y = root->spec.n_y, n_x = root->spec.n_x;
  *r = (rows){.n = n};
  r->coef = EP_SCRATCH(s, float, n *n_y + 1);
  r->coef_x = root->spec.coef_x ? EP_SCRATCH(s, float, n *n_x + 1) : NULL;
  r->target = EP_SCRATCH(s, float, n + 1);
  r->best = EP_SCRATCH(s, float, n + 1);
  r->lin = EP_SCRATCH(s, float, n *n_x + 1);
  r->group = EP_SCRATCH(s, uint32_t, n + 1);
  if (!r->coef || !r->target || !r->best || !r->lin || !r->group || (root->spec.coef_x && !r->coef_x))
    return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    uint32_t row = t->row_id[i % t->n_row];
    double rhs = root->spec.rhs[row];
    memcpy(r->coef + i * n_y, root->spec.coef32 + row * n_y, n_y * sizeof(float));
    if (r->coef_x) memcpy(r->coef_x + i * n_x, root->spec.coef_x32 + row * n_x, n_x * sizeof(float));
    r->target[i] = (float)(rhs + 1e-5 * (1 + fabs(rhs)));
    r->group[i] = (uint32_t)(i / t->n_row);
  }
  EP_TRY(ep_alpha_tables(root->plan, &t->relax32, g->output, n, NULL, s, &r->alpha));
  r->kept = EP_SCRATCH(s, float *, g->n_node + 1);
  if (!r->kept) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    r->kept[k] = NULL;
    if (!keep || !r->alpha[k]) continue;
    size_t w = n * g->val[g->node[k].out].n;
    r->kept[k] = EP_SCRATCH(s, float, w + 1);
    if (!r->kept[k]) return EP_E_NOMEM;
    memset(r->kept[k], 0, w * sizeof(float));
  }
  for (size_t i = 0; i < n; i++) {
    const uint8_t *a = v->from[i / t->n_row]->alpha + (i % t->n_row) * t->n_u;
    for (uint32_t k = 0; k < t->n_u; k++) {
      size_t w = g->val[g->node[t->u[k].node].out].n;
      if (r->alpha[t->u[k].node]) r->alpha[t->u[k].node][i * w + t->u[k].neuron] = (float)a[k] * (1.0f / 255);
    }
  }
  return rows_decisions(t, v, r, s);
}

static ep_status rows_bound(const tree *t, rows *r, const ep_alpha_opt *opt, bool keep, ep_scratch *s) {
  ep_alpha_job job = {.plan = t->root->plan,
                      .relax = &t->relax32,
                      .x_lo = t->root->x_lo,
                      .x_hi = t->root->x_hi,
                      .from = t->root->run->g->output,
                      .rows = r->n,
                      .coef = r->coef,
                      .coef_x = r->coef_x,
                      .alpha = r->alpha,
                      .decision = r->decision,
                      .n_decision = r->n_decision,
                      .target = r->target,
                      .group = r->group,
                      .best = r->best,
                      .lin = r->lin,
                      .kept = keep ? r->kept : NULL};
  return ep_alpha_run(&job, opt, s);
}

/* Best row of domain i and its estimated margin. */
static size_t best_row(const tree *t, const rows *r, size_t i, double *margin) {
  size_t at = i * t->n_row;
  *margin = -INFINITY;
  for (size_t j = i * t->n_row; j < (i + 1) * t->n_row; j++) {
    double m = r->best[j] - t->root->spec.rhs[t->row_id[j % t->n_row]];
    if (m > *margin) {
      *margin = m;
      at = j;
    }
  }
  return at;
}

/* ---- the certified end of a domain ---- */

/* Certifies row `at` of each listed domain in one float64 pass; is_closed[i] is set only here. */
static ep_status certify(const tree *t, const rows *r, size_t n, const size_t *at, const size_t *which, bool *is_closed,
                         ep_scratch *s) {
  const ep_root *root = t->root;
  const ep_graph *g = root->run->g;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  uint32_t *row = EP_SCRATCH(s, uint32_t, n + 1), *dom = EP_SCRATCH(s, uint32_t, n + 1);
  double *margin = EP_SCRATCH(s, double, n + 1), *lin = EP_SCRATCH(s, double, n * root->spec.n_x + 1);
  double **alpha = EP_SCRATCH(s, double *, g->n_node + 1);
  ep_decision *dec = EP_SCRATCH(s, ep_decision, r->n_decision + 1);
  size_t *slot = EP_SCRATCH(s, size_t, r->n + 1);
  if (!row || !dom || !margin || !lin || !alpha || !dec || !slot) goto done;
  for (size_t i = 0; i < r->n; i++) slot[i] = SIZE_MAX;
  for (size_t i = 0; i < n; i++) {
    row[i] = t->row_id[at[i] % t->n_row];
    dom[i] = 0;
    slot[at[i]] = i;
  }
  for (uint32_t k = 0; k < g->n_node; k++) {
    alpha[k] = NULL;
    if (!r->alpha[k]) continue;
    size_t w = g->val[g->node[k].out].n;
    alpha[k] = EP_SCRATCH(s, double, n *w + 1);
    if (!alpha[k]) goto done;
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0; j < w; j++) alpha[k][i * w + j] = r->alpha[k][at[i] * w + j];
  }
  size_t n_dec = 0;
  for (size_t i = 0; i < r->n_decision; i++) {
    if (slot[r->decision[i].row] == SIZE_MAX) continue;
    dec[n_dec] = r->decision[i];
    dec[n_dec++].row = slot[r->decision[i].row]; /* `at` ascends, so the order by row is kept */
  }
  EP_GOTO(ep_spec_margins(&root->spec, root->plan, &root->relax, &root->bounds, n, row, dom, alpha, dec, n_dec, NULL,
                          margin, lin, s));
  for (size_t i = 0; i < n; i++) is_closed[which[i]] = ep_spec_refutes(&root->spec, row[i], margin[i]);
done:
  ep_scratch_restore(s, m);
  return st;
}

/* ---- choosing the next neuron ---- */

static void coefs_of_row(const tree *t, const rows *r, size_t row, float *coef) {
  const ep_graph *g = t->root->run->g;
  for (uint32_t k = 0; k < t->n_u; k++) {
    const float *c = r->kept[t->u[k].node];
    coef[k] = c ? c[row * g->val[g->node[t->u[k].node].out].n + t->u[k].neuron] : 0;
  }
}

static void add_top(const float *score, size_t n, size_t want, uint32_t *cand, size_t *n_cand) {
  for (size_t w = 0; w < want; w++) {
    float top = 0;
    size_t best = SIZE_MAX;
    for (size_t k = 0; k < n; k++) {
      if (!(score[k] > top)) continue;
      bool is_known = false;
      for (size_t c = 0; c < *n_cand; c++) is_known |= cand[c] == k;
      if (is_known) continue;
      top = score[k];
      best = k;
    }
    if (best == SIZE_MAX) return;
    cand[(*n_cand)++] = (uint32_t)best;
  }
}

/* Candidates of one domain: the best of the configured rule, then of the intercept rule. */
static ep_status candidates(const tree *t, const rows *r, size_t row, const view *v, size_t i, uint32_t *cand,
                            size_t *n_cand, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  float *coef = EP_SCRATCH(s, float, t->n_u + 1), *score = EP_SCRATCH(s, float, t->n_u + 1);
  if (!coef || !score) return EP_E_NOMEM;
  coefs_of_row(t, r, row, coef);
  *n_cand = 0;
  for (int pass = 0; pass < 2; pass++) {
    const ep_branching *rule = pass ? ep_branching_find("intercept") : t->rule;
    rule->score(t->n_u, t->u, coef, score);
    for (uint32_t k = 0; k < view_n_dec(v, i); k++) score[view_dec(v, i, k) / 2] = 0;
    add_top(score, t->n_u, 8, cand, n_cand);
  }
  if (!*n_cand) {
    /* Every score is zero: any undecided neuron will do. */
    for (uint32_t k = 0; k < t->n_u; k++) score[k] = t->u[k].hi - t->u[k].lo;
    for (uint32_t k = 0; k < view_n_dec(v, i); k++) score[view_dec(v, i, k) / 2] = 0;
    add_top(score, t->n_u, 1, cand, n_cand);
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* Tries both children of every candidate of every open domain with one plain bound; takes the candidate whose worse
 * child is best. `d[i]` is NULL for closed domains. */
static ep_status choose(const tree *t, domain **d, const rows *r, const view *v, const size_t *row, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  size_t n = 0, cap = v->n * MAX_CANDIDATES * 2;
  const domain **from = EP_SCRATCH(s, const domain *, cap + 1);
  uint32_t *extra = EP_SCRATCH(s, uint32_t, cap + 1);
  size_t *owner = EP_SCRATCH(s, size_t, cap + 1);
  if (!from || !extra || !owner) return EP_E_NOMEM;
  for (size_t i = 0; i < v->n; i++) {
    uint32_t cand[MAX_CANDIDATES];
    size_t n_cand;
    if (!d[i]) continue;
    EP_TRY(candidates(t, r, row[i], v, i, cand, &n_cand, s));
    if (n_cand) d[i]->branch = cand[0];
    for (size_t c = 0; c < n_cand && n_cand > 1; c++)
      for (uint32_t side = 0; side < 2; side++, n++) {
        from[n] = d[i];
        extra[n] = cand[c] * 2 + side;
        owner[n] = i;
      }
  }
  ep_status st = EP_OK;
  double top = -INFINITY;
  for (size_t at = 0; at < n && st == EP_OK;) {
    size_t len = n - at < 64 ? n - at : 64;
    ep_scratch_mark m2 = ep_scratch_save(s);
    view try = {len, from + at, extra + at};
    rows tr;
    ep_alpha_opt none = {0};
    st = rows_init(t, &try, false, &tr, s);
    if (st == EP_OK) st = rows_bound(t, &tr, &none, false, s);
    for (size_t i = 0; i + 1 < len && st == EP_OK; i += 2) {
      double a, b, rhs_worst;
      best_row(t, &tr, i, &a);
      best_row(t, &tr, i + 1, &b);
      /* A child beyond zero is as good as closed: what counts then is the other one. */
      rhs_worst = fmin(a, 1e-6) + fmin(b, 1e-6);
      size_t o = owner[at + i];
      bool is_first = (at + i == 0) || owner[at + i - 1] != o;
      if (is_first || rhs_worst > top) {
        top = rhs_worst;
        d[o]->branch = extra[at + i] / 2;
      }
    }
    ep_scratch_restore(s, m2);
    at += len;
  }
  ep_scratch_restore(s, m);
  return st;
}

/* ---- one task: both children of some domains ---- */

typedef struct task {
  tree *t;
  size_t n_parent;
  domain *parent[MAX_PARENTS];
  size_t n_child;
  domain *child[2 * MAX_PARENTS]; /* open children */
  uint64_t n_bounded, n_closed, n_stuck;
  float *corner; /* [2*MAX_PARENTS x n_x] candidate inputs of open children */
  bool has_candidate[2 * MAX_PARENTS];
} task;

/* Makes a stored domain from row results. */
static domain *store(const tree *t, const rows *r, const view *v, size_t i, double margin) {
  uint32_t n_dec = view_n_dec(v, i);
  domain *d = domain_create(t, n_dec);
  if (!d) return NULL;
  const ep_graph *g = t->root->run->g;
  d->margin = margin;
  for (uint32_t k = 0; k < n_dec; k++) d->dec[k] = view_dec(v, i, k);
  for (uint32_t j = 0; j < t->n_row; j++)
    for (uint32_t k = 0; k < t->n_u; k++) {
      const float *a = r->alpha[t->u[k].node];
      float x = a ? a[(i * t->n_row + j) * g->val[g->node[t->u[k].node].out].n + t->u[k].neuron] : 0;
      d->alpha[(size_t)j * t->n_u + k] = (uint8_t)(x * 255 + 0.5f);
    }
  return d;
}

static void store_betas(const tree *t, const rows *r, domain **d) {
  for (size_t i = 0; i < r->n_decision; i++) {
    size_t row = r->decision[i].row;
    domain *e = d[row / t->n_row];
    if (e) e->beta[(row % t->n_row) * e->n_dec + r->at[i]] = r->decision[i].beta;
  }
}

/* The corners that minimise the best rows, as float32 inputs, through the network. */
static ep_status try_corners(task *k, const rows *r, const size_t *row, size_t n, domain **d, ep_scratch *s) {
  const tree *t = k->t;
  const ep_root *root = t->root;
  size_t n_x = root->spec.n_x, n_y = root->spec.n_y, at = 0;
  for (size_t i = 0; i < n; i++) {
    if (!d[i]) continue;
    const float *c = r->lin + row[i] * n_x;
    for (size_t j = 0; j < n_x; j++) k->corner[at * n_x + j] = c[j] > 0 ? root->x_lo[j] : root->x_hi[j];
    at++;
  }
  if (!at) return EP_OK;
  ep_trace_f32 tr;
  EP_TRY(ep_eval_f32(root->run->g, at, k->corner, s, &tr));
  double *y = EP_SCRATCH(s, double, n_y + 1), *x = EP_SCRATCH(s, double, n_x + 1);
  if (!y || !x) return EP_E_NOMEM;
  for (size_t i = 0; i < at; i++) {
    for (size_t j = 0; j < n_y; j++) y[j] = tr.v[root->run->g->output][i * n_y + j];
    for (size_t j = 0; j < n_x; j++) x[j] = k->corner[i * n_x + j];
    bool is_all = true;
    for (uint32_t p = 0; p < t->n_row; p++) is_all = is_all && ep_spec_value(&root->spec, t->row_id[p], y, x) <= 0;
    k->has_candidate[i] = is_all;
  }
  return EP_OK;
}

/* Best rows and margins of all domains of the view; certifies those that look proved. row, margin and is_closed have
 * room for v->n. */
static ep_status close_proved(const tree *t, const rows *r, const view *v, size_t *row, double *margin, bool *is_closed,
                              ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  size_t *at = EP_SCRATCH(s, size_t, 2 * v->n + 1), n_cert = 0;
  if (!at) return EP_E_NOMEM;
  size_t *which = at + v->n;
  for (size_t i = 0; i < v->n; i++) {
    is_closed[i] = false;
    row[i] = best_row(t, r, i, &margin[i]);
    if (!(margin[i] > 0)) continue;
    at[n_cert] = row[i];
    which[n_cert++] = i;
  }
  ep_status st = n_cert ? certify(t, r, n_cert, at, which, is_closed, s) : EP_OK;
  ep_scratch_restore(s, m);
  return st;
}

/* Closes what the inherited slopes and multipliers prove already and leaves the rest in the view: the ascent is the
 * expensive part. */
static ep_status drop_easy(task *k, view *v, ep_scratch *s) {
  const tree *t = k->t;
  ep_scratch_mark m = ep_scratch_save(s);
  rows r;
  ep_alpha_opt none = {0};
  EP_TRY(rows_init(t, v, false, &r, s));
  EP_TRY(rows_bound(t, &r, &none, false, s));
  size_t *row = EP_SCRATCH(s, size_t, v->n + 1), n = 0;
  double *margin = EP_SCRATCH(s, double, v->n + 1);
  bool *is_closed = EP_SCRATCH(s, bool, v->n + 1);
  if (!row || !margin || !is_closed) return EP_E_NOMEM;
  EP_TRY(close_proved(t, &r, v, row, margin, is_closed, s));
  for (size_t i = 0; i < v->n; i++) {
    if (is_closed[i]) continue;
    v->from[n] = v->from[i];
    v->extra[n++] = v->extra[i];
  }
  k->n_bounded += v->n - n;
  k->n_closed += v->n - n;
  v->n = n;
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* Bounds the view, certifies what looks proved, stores the rest with its next neuron. */
static ep_status expand(task *k, view *v, ep_scratch *s) {
  const tree *t = k->t;
  rows r;
  EP_TRY(drop_easy(k, v, s));
  if (!v->n) return EP_OK;
  EP_TRY(rows_init(t, v, true, &r, s));
  EP_TRY(rows_bound(t, &r, &t->opt->ascent, true, s));
  size_t *row = EP_SCRATCH(s, size_t, v->n + 1);
  bool *is_closed = EP_SCRATCH(s, bool, v->n + 1);
  domain **d = EP_SCRATCH(s, domain *, v->n + 1);
  double *margin = EP_SCRATCH(s, double, v->n + 1);
  if (!row || !is_closed || !d || !margin) return EP_E_NOMEM;
  for (size_t i = 0; i < v->n; i++) d[i] = NULL;
  EP_TRY(close_proved(t, &r, v, row, margin, is_closed, s));
  k->n_bounded += v->n;
  for (size_t i = 0; i < v->n; i++) {
    if (is_closed[i]) {
      k->n_closed++;
      continue;
    }
    if (view_n_dec(v, i) >= t->n_u) {
      k->n_stuck++;
      continue;
    }
    d[i] = store(t, &r, v, i, margin[i]);
    if (!d[i]) return EP_E_NOMEM;
    k->child[k->n_child++] = d[i];
  }
  store_betas(t, &r, d);
  EP_TRY(try_corners(k, &r, row, v->n, d, s));
  return choose(t, d, &r, v, row, s);
}

static ep_status run_task(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  task *k = &((task *)arg)[index];
  (void)worker;
  const domain *from[2 * MAX_PARENTS];
  uint32_t extra[2 * MAX_PARENTS];
  ep_scratch_mark m = ep_scratch_save(s);
  for (size_t i = 0; i < 2 * k->n_parent; i++) {
    from[i] = k->parent[i / 2];
    extra[i] = k->parent[i / 2]->branch * 2 + (uint32_t)(i % 2);
  }
  view v = {2 * k->n_parent, from, extra};
  ep_status st = expand(k, &v, s);
  ep_scratch_restore(s, m);
  return st;
}

/* ---- the search ---- */

static ep_status list_unstable(tree *t, ep_scratch *s) {
  const ep_root *root = t->root;
  const ep_graph *g = root->run->g;
  t->u = EP_SCRATCH(s, ep_unstable, root->plan->n_relu + 1);
  if (!t->u) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    if (!root->plan->is_relu[k]) continue;
    ep_vid z = g->node[k].in[0];
    uint32_t pr = g->val[z].producer;
    const double *bias = pr != UINT32_MAX && g->node[pr].low.cls == EP_AFFINE ? g->node[pr].low.is.affine.bias : NULL;
    for (uint32_t i = 0; i < g->val[z].n; i++) {
      double l = root->bounds.lo[z][i], h = root->bounds.hi[z][i];
      if (!(l < 0 && h > 0)) continue;
      t->u[t->n_u++] = (ep_unstable){k, i, (float)l, (float)h, bias ? (float)bias[i] : 0};
    }
  }
  return EP_OK;
}

/* The root domain: no decisions, the slopes that EP_ROOT_ALPHA found. */
static ep_status start(tree *t, task *k, ep_scratch *s) {
  domain *d = domain_create(t, 0);
  if (!d) return EP_E_NOMEM;
  const ep_graph *g = t->root->run->g;
  for (uint32_t j = 0; j < t->n_row; j++)
    for (uint32_t i = 0; i < t->n_u; i++) {
      const float *a = t->root->alpha ? t->root->alpha[t->u[i].node] : NULL;
      size_t w = g->val[g->node[t->u[i].node].out].n;
      d->alpha[(size_t)j * t->n_u + i] = a ? (uint8_t)(a[t->row_id[j] * w + t->u[i].neuron] * 255 + 0.5f) : 128;
    }
  const domain *from[1] = {d};
  uint32_t extra[1] = {UINT32_MAX};
  view v = {1, from, extra};
  ep_scratch_mark m = ep_scratch_save(s);
  k->n_child = 0;
  ep_status st = expand(k, &v, s);
  ep_scratch_restore(s, m);
  ep_free(ctx_of(t), d);
  return st;
}

/* Takes a task's children into the queue and tries its candidates. */
static ep_status collect(task *k, bool *is_sat) {
  tree *t = k->t;
  ep_status st = EP_OK;
  size_t n_x = t->root->spec.n_x;
  ep_scratch *s = ep_pool_scratch(t->root->run->pool);
  for (size_t i = 0; i < k->n_child; i++) {
    if (st == EP_OK && !*is_sat && k->has_candidate[i]) {
      ep_scratch_mark m = ep_scratch_save(s);
      double *x = EP_SCRATCH(s, double, n_x + 1);
      st = x ? EP_OK : EP_E_NOMEM;
      for (size_t j = 0; j < n_x && x; j++) x[j] = k->corner[i * n_x + j];
      if (st == EP_OK) st = ep_run_witness(t->root->run, t->root->box, x, s, is_sat);
      ep_scratch_restore(s, m);
    }
    k->child[i]->serial = t->serial++;
    if (st == EP_OK)
      st = heap_push(t, k->child[i]);
    else
      ep_free(ctx_of(t), k->child[i]);
  }
  t->stats->domains += k->n_bounded;
  t->stats->certified += k->n_closed;
  t->n_stuck += k->n_stuck;
  k->n_child = 0;
  k->n_bounded = k->n_closed = k->n_stuck = 0;
  return st;
}

static ep_status tree_round(tree *t, task *tasks, bool *is_sat) {
  size_t per = (t->n_heap + TASKS - 1) / TASKS, n_task = 0;
  size_t cap = t->max_parents / t->n_row;
  cap = cap < 1 ? 1 : cap;
  per = per > cap ? cap : per;
  for (; n_task < TASKS && t->n_heap; n_task++)
    for (tasks[n_task].n_parent = 0; tasks[n_task].n_parent < per && t->n_heap;)
      tasks[n_task].parent[tasks[n_task].n_parent++] = heap_pop(t);
  ep_status st = ep_pool_run(t->root->run->pool, n_task, run_task, tasks);
  for (size_t i = 0; i < n_task; i++) {
    for (size_t j = 0; j < tasks[i].n_parent; j++) ep_free(ctx_of(t), tasks[i].parent[j]);
    tasks[i].n_parent = 0;
    if (st == EP_OK) {
      st = collect(&tasks[i], is_sat);
    } else {
      for (size_t j = 0; j < tasks[i].n_child; j++) ep_free(ctx_of(t), tasks[i].child[j]);
      tasks[i].n_child = 0;
    }
  }
  return st;
}

static ep_status tree_search(tree *t, task *tasks, bool *is_sat, bool *is_out) {
  ep_run *run = t->root->run;
  while (t->n_heap && !*is_sat) {
    if (ep_ctx_should_stop(run->ctx)) return EP_E_STOPPED;
    *is_out = (t->opt->deadline_s > 0 && ep_time_s() > t->opt->deadline_s) ||
              (t->opt->max_domains && t->stats->domains >= t->opt->max_domains);
    if (*is_out) return EP_OK;
    atomic_store(&run->progress.domains, t->stats->domains);
    atomic_store(&run->progress.open, t->n_heap);
    atomic_store(&run->progress.worst_bound, t->heap[0]->margin);
    t->stats->worst_margin = t->heap[0]->margin;
    EP_TRY(tree_round(t, tasks, is_sat));
  }
  return EP_OK;
}

static ep_status tree_run(ep_root *root, uint32_t poly, const ep_bab_opt *opt, ep_bab_stats *stats, bool *is_sat,
                          bool *is_out) {
  ep_scratch own;
  ep_scratch_init(&own, root->run->ctx);
  tree t = {.root = root, .opt = opt, .poly = poly, .stats = stats};
  t.rule = ep_branching_find(root->run->cfg->branching);
  t.first_row = root->spec.first[poly];
  t.n_row = root->spec.first[poly + 1] - t.first_row;
  size_t n_x = root->spec.n_x;
  ep_status st = EP_E_NOMEM;
  task *tasks = EP_SCRATCH(&own, task, TASKS);
  t.row_id = EP_SCRATCH(&own, uint32_t, t.n_row + 1);
  if (!tasks || !t.row_id || !t.rule || !t.n_row) goto done;
  memset(tasks, 0, TASKS * sizeof *tasks);
  for (uint32_t i = 0; i < t.n_row; i++) t.row_id[i] = t.first_row + i;
  for (size_t i = 0; i < TASKS; i++) {
    tasks[i].t = &t;
    tasks[i].corner = EP_SCRATCH(&own, float, 2 * MAX_PARENTS * n_x + 1);
    if (!tasks[i].corner) goto done;
  }
  size_t per = ((size_t)1 << 16) / (root->plan->max_n + 1);
  t.max_parents = per < 8 ? 8 : per > MAX_PARENTS ? MAX_PARENTS : per;
  EP_GOTO(list_unstable(&t, &own));
  EP_GOTO(ep_relax_init_f32(root->plan, 1, &own, &t.relax32));
  ep_relax_to_f32(root->plan, &root->relax, &t.relax32);
  EP_GOTO(start(&t, &tasks[0], ep_pool_scratch(root->run->pool)));
  EP_GOTO(collect(&tasks[0], is_sat));
  EP_GOTO(tree_search(&t, tasks, is_sat, is_out));
  /* Every domain of the tree was closed by a certified bound and the tree covers the box. */
  if (!*is_sat && !*is_out && !t.n_heap && !t.n_stuck) ep_run_mark_proved(root->run, root->box, poly);
done:
  stats->open += t.n_heap;
  stats->stuck += t.n_stuck;
  for (size_t i = 0; i < t.n_heap; i++) ep_free(ctx_of(&t), t.heap[i]);
  ep_free(ctx_of(&t), t.heap);
  if (tasks)
    for (size_t i = 0; i < TASKS; i++)
      for (size_t j = 0; j < tasks[i].n_child; j++) ep_free(ctx_of(&t), tasks[i].child[j]);
  ep_scratch_clear(&own);
  return st;
}

ep_bab_opt ep_bab_default(const ep_run *run) {
  (void)run;
  ep_bab_opt opt = {.ascent = ep_alpha_default()};
  opt.ascent.iterations = 12;
  return opt;
}

ep_status ep_bab_run(ep_root *root, const ep_bab_opt *opt, ep_bab_stats *stats, bool *is_sat) {
  bool is_out = false;
  *is_sat = false;
  *stats = (ep_bab_stats){.worst_margin = NAN};
  for (uint32_t p = 0; p < root->spec.n_poly && !*is_sat && !is_out; p++)
    if (!ep_run_is_proved(root->run, root->box, p)) EP_TRY(tree_run(root, p, opt, stats, is_sat, &is_out));
  return EP_OK;
}
