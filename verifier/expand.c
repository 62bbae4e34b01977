#include "verifier/expand.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "verifier/attack.h"

enum { PER_RULE = 5, MAX_CANDIDATES = 2 * PER_RULE, PROBE_ROWS = 256, LEAF_ITERATIONS = 300 };
enum { PER_POLISHED = 32, POLISH_STEPS = 8 }; /* of so many corners one takes so many gradient steps */
static const float LEAF_DECAY = 0.985f;

/* The children of one step and their rows: child i's are i*n_row .. (i+1)*n_row-1. */
typedef struct batch {
  const ep_tree *t;
  size_t n; /* children */
  const ep_domain **from;
  uint32_t *n_extra, *extra; /* [n], [n x EP_MAX_WAYS] more decisions (unstable neuron * 2 + is_active), ascending */
  ep_phases phases;
  ep_ascent ascent;
  size_t *best_row; /* [n] row with the largest margin */
  double *margin;   /* [n] */
  bool *is_closed;  /* [n] certified */
  ep_domain **open; /* [n] stored children, NULL = closed or stuck */
} batch;

static uint32_t n_dec_of(const batch *b, size_t i) { return b->from[i]->n_dec + b->n_extra[i]; }

/* Room for `cap` children. */
static ep_status batch_reserve(batch *b, size_t cap, ep_scratch *s) {
  b->from = EP_SCRATCH(s, const ep_domain *, cap + 1);
  b->n_extra = EP_SCRATCH(s, uint32_t, cap + 1);
  b->extra = EP_SCRATCH(s, uint32_t, cap * EP_MAX_WAYS + 1);
  b->best_row = EP_SCRATCH(s, size_t, cap + 1);
  b->margin = EP_SCRATCH(s, double, cap + 1);
  b->is_closed = EP_SCRATCH(s, bool, cap + 1);
  b->open = EP_SCRATCH(s, ep_domain *, cap + 1);
  return b->from && b->n_extra && b->extra && b->best_row && b->margin && b->is_closed && b->open ? EP_OK : EP_E_NOMEM;
}

static void batch_add(batch *b, const ep_domain *from, uint32_t n_extra, const uint32_t *extra) {
  b->from[b->n] = from;
  b->n_extra[b->n] = n_extra;
  for (uint32_t k = 0; k < n_extra; k++) b->extra[b->n * EP_MAX_WAYS + k] = extra[k];
  b->n++;
}

/* ---- what all steps share ---- */

/* Rows that differ from their parent in layer l only from there on may start at the first cut at or above it. */
static void find_joins(ep_tree *t) {
  int32_t last = EP_SPASS_TOP;
  for (uint32_t l = t->net->n_layer; l-- > 0;) {
    if (t->net->layer[l].is_cut) last = (int32_t)l;
    t->join[l] = last;
  }
}

ep_status ep_tree_init(ep_tree *t, const ep_snet *net, ep_scratch *s) {
  *t = (ep_tree){.ctx = net->plan->ctx, .net = net, .n_row = 1};
  t->join = EP_SCRATCH(s, int32_t, net->n_layer + 1);
  if (!t->join) return EP_E_NOMEM;
  find_joins(t);
  return EP_OK;
}

size_t ep_tree_batch(const ep_tree *t) {
  /* 16 parents have 32 children: the block of vectors that sparse products work on. */
  size_t rows = (((size_t)1 << 16) / (t->net->max_n + 1)) & ~(size_t)15, n_row = t->n_row ? t->n_row : 1;
  size_t n = (rows < 16 ? 16 : rows > EP_MAX_PARENTS ? EP_MAX_PARENTS : rows) / n_row;
  return n ? n : 1;
}

ep_status ep_tree_init_polytope(ep_tree *t, const ep_root *root, uint32_t poly, ep_scratch *s) {
  const ep_spec *sp = &root->spec;
  const ep_snet *net = &root->net;
  EP_TRY(ep_tree_init(t, net, s));
  t->root = root;
  t->n_row = sp->first[poly + 1] - sp->first[poly];
  size_t n = t->n_row;
  float *coef = EP_SCRATCH(s, float, n * sp->n_y + 1);
  float *coef_x = sp->coef_x ? EP_SCRATCH(s, float, n * net->n_x + 1) : NULL;
  t->coef = coef;
  t->coef_x = coef_x;
  t->row_id = EP_SCRATCH(s, uint32_t, n + 1);
  t->rhs = EP_SCRATCH(s, double, n + 1);
  t->target = EP_SCRATCH(s, float, n + 1);
  t->x_fixed = EP_SCRATCH(s, float, sp->n_x + 1);
  if (!t->row_id || !coef || !t->rhs || !t->target || !t->x_fixed || (sp->coef_x && !coef_x)) return EP_E_NOMEM;
  const double *x_lo = root->bounds.lo[root->run->g->input];
  for (size_t i = 0; i < n; i++) {
    t->row_id[i] = sp->first[poly] + (uint32_t)i;
    t->rhs[i] = ep_spec_seed(sp, t->row_id[i], net, x_lo, coef + i * sp->n_y, coef_x ? coef_x + i * net->n_x : NULL);
    t->target[i] = (float)(t->rhs[i] + 1e-5 * (1 + fabs(t->rhs[i])));
  }
  for (size_t i = 0; i < sp->n_x; i++) t->x_fixed[i] = (float)x_lo[i];
  return EP_OK;
}

ep_status ep_step_init(ep_step *e, const ep_tree *t, ep_scratch *s) {
  memset(e, 0, sizeof *e);
  e->tree = t;
  e->n_way = 1;
  e->has_candidate = EP_SCRATCH(s, bool, EP_MAX_CHILDREN);
  if (t->root) e->corner = EP_SCRATCH(s, float, EP_MAX_CHILDREN *(size_t)t->root->spec.n_x + 1);
  return e->has_candidate && (e->corner || !t->root) ? EP_OK : EP_E_NOMEM;
}

/* ---- the rows of a batch ---- */

/* Decisions of child i, ascending: the parent's with those added put in their places. was[k] is the place of decision
 * k among the parent's, UINT32_MAX = added; `was` may be NULL. */
static void merge_decisions(const batch *b, size_t i, uint32_t *dec, uint32_t *was) {
  const ep_domain *d = b->from[i];
  const uint32_t *extra = b->extra + i * EP_MAX_WAYS;
  for (uint32_t k = 0, o = 0, x = 0; k < d->n_dec + b->n_extra[i]; k++) {
    bool is_added = o == d->n_dec || (x < b->n_extra[i] && extra[x] < d->dec[o]);
    if (was) was[k] = is_added ? UINT32_MAX : o;
    dec[k] = is_added ? extra[x++] : d->dec[o++];
  }
}

static void row_phases(const batch *b, const uint32_t *dec, uint32_t n_dec, uint32_t first, uint32_t *ptr, uint32_t *at,
                       uint8_t *is_active) {
  const ep_snet *net = b->t->net;
  uint32_t k = 0;
  for (uint32_t l = 0; l <= net->n_layer; l++) {
    ptr[l] = first + k;
    for (; l < net->n_layer && k < n_dec && net->u[dec[k] / 2].layer == l; k++) {
      at[first + k] = net->u[dec[k] / 2].at;
      is_active[first + k] = dec[k] & 1;
    }
  }
  assert(k == n_dec);
}

static ep_status batch_phases(batch *b, ep_scratch *s) {
  const ep_tree *t = b->t;
  size_t n = 0, stride = t->net->n_layer + 1;
  uint32_t max_dec = 0;
  for (size_t i = 0; i < b->n; i++) {
    n += n_dec_of(b, i);
    max_dec = n_dec_of(b, i) > max_dec ? n_dec_of(b, i) : max_dec;
  }
  n *= t->n_row;
  uint32_t *ptr = EP_SCRATCH(s, uint32_t, b->n * t->n_row * stride + 1), *at = EP_SCRATCH(s, uint32_t, n + 1);
  uint8_t *is_active = EP_SCRATCH(s, uint8_t, n + 1);
  float *beta = EP_SCRATCH(s, float, n + 1);
  uint32_t *dec = EP_SCRATCH(s, uint32_t, 2 * max_dec + 1), *was = dec ? dec + max_dec : NULL, first = 0;
  if (!ptr || !at || !is_active || !beta || !dec) return EP_E_NOMEM;
  for (size_t i = 0; i < b->n; i++) {
    uint32_t n_old = b->from[i]->n_dec, n_dec = n_dec_of(b, i);
    merge_decisions(b, i, dec, was);
    for (uint32_t j = 0; j < t->n_row; j++, first += n_dec) {
      row_phases(b, dec, n_dec, first, ptr + (i * t->n_row + j) * stride, at, is_active);
      for (uint32_t k = 0; k < n_dec; k++)
        beta[first + k] = was[k] == UINT32_MAX ? 0 : b->from[i]->beta[j * n_old + was[k]];
    }
  }
  ptr[b->n * t->n_row * stride] = first;
  b->phases = (ep_phases){ptr, at, is_active, beta};
  return EP_OK;
}

static ep_status batch_ascent(batch *b, const ep_ascent_opt *opt, ep_scratch *s) {
  const ep_tree *t = b->t;
  size_t n = b->n * t->n_row, n_u = t->net->n_u;
  const uint8_t **start = EP_SCRATCH(s, const uint8_t *, n + 1);
  uint32_t *seed = EP_SCRATCH(s, uint32_t, 2 * n + 1), *group = seed ? seed + n : NULL;
  float *target = EP_SCRATCH(s, float, 2 * n + 1), *alpha = EP_SCRATCH(s, float, n *n_u + 1);
  float **alphas = EP_SCRATCH(s, float *, n + 1);
  bool *is_done = EP_SCRATCH(s, bool, n + 1);
  if (!start || !seed || !target || !alpha || !alphas || !is_done) return EP_E_NOMEM;
  for (size_t r = 0; r < n; r++) {
    group[r] = (uint32_t)(r / t->n_row);
    seed[r] = b->from[group[r]]->seed + (uint32_t)(r % t->n_row);
    start[r] = b->from[group[r]]->slope + (r % t->n_row) * n_u;
    target[r] = t->target[seed[r]];
    alphas[r] = alpha + r * n_u;
  }
  EP_TRY(batch_phases(b, s));
  b->ascent = (ep_ascent){.net = t->net,
                          .n = n,
                          .coef = t->coef,
                          .coef_x = t->coef_x,
                          .neuron = t->neuron,
                          .sign = t->sign,
                          .seed = seed,
                          .start = start,
                          .phases = &b->phases,
                          .target = target,
                          .group = group,
                          .keep_left = true,
                          .best = target + n,
                          .alpha = alphas,
                          .is_done = is_done};
  return ep_ascent_run(&b->ascent, opt, s);
}

static void find_best_rows(batch *b) {
  const ep_tree *t = b->t;
  for (size_t i = 0; i < b->n; i++) {
    b->best_row[i] = i * t->n_row;
    b->margin[i] = -INFINITY;
    for (size_t r = i * t->n_row; r < (i + 1) * t->n_row; r++) {
      double m = b->ascent.best[r] - t->rhs[b->ascent.seed[r]];
      if (!(m > b->margin[i])) continue;
      b->margin[i] = m;
      b->best_row[i] = r;
    }
  }
}

/* ---- the certified end of a domain ---- */

size_t ep_phases_decisions(const ep_snet *net, const ep_phases *p, size_t n, const size_t *row, ep_decision *out) {
  size_t k = 0;
  for (uint32_t l = 0; l < net->n_layer; l++)
    for (size_t i = 0; i < n; i++) {
      const uint32_t *ptr = p->ptr + row[i] * (net->n_layer + 1) + l;
      for (uint32_t e = ptr[0]; e < ptr[1]; e++) {
        const ep_unstable *u = &net->u[net->layer[l].first + p->at[e]];
        out[k++] = (ep_decision){u->node, u->neuron, i, p->is_active[e], p->beta[e]};
      }
    }
  return k;
}

ep_status ep_tree_phases(const ep_tree *t, size_t n, ep_domain *const *d, ep_phases *out, ep_scratch *s) {
  batch b = {.t = t};
  EP_TRY(batch_reserve(&b, n, s));
  for (size_t i = 0; i < n; i++) batch_add(&b, d[i], 0, NULL);
  EP_TRY(batch_phases(&b, s));
  *out = b.phases;
  return EP_OK;
}

/* Slopes and multipliers of rows as the record of a proof holds them. */
static void round_rows(const batch *b, size_t n, const size_t *row, const float **alpha) {
  uint32_t stride = b->t->net->n_layer + 1;
  for (size_t i = 0; i < n; i++) {
    for (uint32_t k = 0; k < b->t->net->n_u; k++) ((float *)alpha[i])[k] = ep_slope_unpack(ep_slope_pack(alpha[i][k]));
    for (uint32_t e = b->phases.ptr[row[i] * stride]; e < b->phases.ptr[(row[i] + 1) * stride]; e++)
      ((float *)b->phases.beta)[e] = ep_beta_round(b->phases.beta[e]);
  }
}

/* Child i is closed by row `row` of the batch. */
static ep_status record_leaf(const batch *b, size_t i, size_t row, ep_scratch *s) {
  uint32_t n_u = b->t->net->n_u, n_dec = n_dec_of(b, i);
  ep_proof_leaf leaf = {.row = (uint32_t)(row % b->t->n_row), .n_dec = n_dec};
  uint32_t *dec = EP_SCRATCH(s, uint32_t, n_dec + 1);
  uint8_t *slope = EP_SCRATCH(s, uint8_t, n_u + 1);
  if (!dec || !slope) return EP_E_NOMEM;
  merge_decisions(b, i, dec, NULL);
  for (uint32_t k = 0; k < n_u; k++) slope[k] = ep_slope_pack(b->ascent.alpha[row][k]);
  leaf.dec = dec;
  leaf.beta = b->phases.beta + b->phases.ptr[row * (b->t->net->n_layer + 1)];
  leaf.slope = slope;
  return ep_proof_block_add(b->t->proof, &leaf, NULL, 0);
}

/* Certifies the best row of every child that reached its target, in one float64 pass; is_closed is set only here. */
static ep_status certify(batch *b, ep_scratch *s) {
  const ep_root *root = b->t->root;
  for (size_t i = 0; i < b->n; i++) b->is_closed[i] = false;
  if (!root) return EP_OK;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  size_t n = 0, n_dec = 0, *row = EP_SCRATCH(s, size_t, 2 * b->n + 1), *child = row ? row + b->n : NULL;
  uint32_t *id = EP_SCRATCH(s, uint32_t, 2 * b->n + 1);
  double *margin = EP_SCRATCH(s, double, b->n + 1), *lin = EP_SCRATCH(s, double, b->n * root->spec.n_x + 1), **slopes;
  const float **alpha = EP_SCRATCH(s, const float *, b->n + 1);
  if (!row || !id || !margin || !lin || !alpha) goto done;
  uint32_t *dom = id + b->n;
  for (size_t i = 0; i < b->n; i++) {
    if (!b->ascent.is_done[b->best_row[i]]) continue;
    row[n] = b->best_row[i];
    id[n] = b->t->row_id[row[n] % b->t->n_row];
    dom[n] = 0;
    alpha[n] = b->ascent.alpha[row[n]];
    n_dec += n_dec_of(b, i);
    child[n++] = i;
  }
  st = EP_OK;
  if (!n) goto done;
  ep_decision *dec = EP_SCRATCH(s, ep_decision, n_dec + 1);
  if (!dec) st = EP_E_NOMEM;
  if (!dec) goto done;
  if (b->t->proof) round_rows(b, n, row, alpha);
  n_dec = ep_phases_decisions(b->t->net, &b->phases, n, row, dec);
  EP_GOTO(ep_snet_slopes(b->t->net, &root->relax, n, alpha, s, &slopes));
  EP_GOTO(ep_spec_margins(&root->spec, root->plan, &root->relax, &root->bounds, n, id, dom, slopes, dec, n_dec, NULL,
                          margin, lin, s));
  for (size_t i = 0; i < n; i++) {
    b->is_closed[child[i]] = ep_spec_refutes(&root->spec, id[i], margin[i]);
    if (b->is_closed[child[i]] && b->t->proof) EP_GOTO(record_leaf(b, child[i], row[i], s));
  }
done:
  ep_scratch_restore(s, m);
  return st;
}

/* Nothing is left to decide: what remains is a linear programme. */
static bool is_leaf(const batch *b, size_t i) { return b->t->root && n_dec_of(b, i) >= b->t->net->n_u; }

/* Leaves that are open still get the time that their programme's multipliers need. */
static ep_status finish_leaves(batch *b, ep_scratch *s) {
  ep_ascent_opt opt = b->t->ascent;
  opt.iterations = LEAF_ITERATIONS;
  opt.decay = LEAF_DECAY;
  ep_scratch_mark m = ep_scratch_save(s);
  batch l = {.t = b->t};
  size_t *at = EP_SCRATCH(s, size_t, b->n + 1);
  ep_status st = EP_E_NOMEM;
  if (!at) goto done;
  EP_GOTO(batch_reserve(&l, b->n, s));
  for (size_t i = 0; i < b->n; i++) {
    if (b->is_closed[i] || !is_leaf(b, i)) continue;
    at[l.n] = i;
    batch_add(&l, b->from[i], b->n_extra[i], b->extra + i * EP_MAX_WAYS);
  }
  if (!l.n) goto done;
  EP_GOTO(batch_ascent(&l, &opt, s));
  find_best_rows(&l);
  EP_GOTO(certify(&l, s));
  for (size_t i = 0; i < l.n; i++) b->is_closed[at[i]] = l.is_closed[i];
done:
  ep_scratch_restore(s, m);
  return st;
}

/* ---- children that stay open ---- */

static ep_domain *store(const batch *b, size_t i) {
  const ep_tree *t = b->t;
  uint32_t n_dec = n_dec_of(b, i);
  size_t n_u = t->net->n_u, stride = t->net->n_layer + 1;
  ep_domain *d = ep_domain_create(t->ctx, t->n_row, n_u, n_dec);
  if (!d) return NULL;
  d->margin = b->margin[i];
  d->seed = b->from[i]->seed;
  merge_decisions(b, i, d->dec, NULL);
  for (uint32_t j = 0; j < t->n_row; j++) {
    size_t r = i * t->n_row + j;
    const float *a = b->ascent.alpha[r];
    uint8_t *slope = d->slope + j * n_u;
    for (size_t k = 0; k < n_u; k++) slope[k] = ep_slope_pack(a[k]);
    if (n_dec) memcpy(d->beta + j * n_dec, b->phases.beta + b->phases.ptr[r * stride], n_dec * sizeof(float));
  }
  return d;
}

static ep_status keep_leaf(const batch *b, size_t i, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t n_dec = n_dec_of(b, i), *dec = EP_SCRATCH(s, uint32_t, n_dec + 1u);
  if (!dec) return EP_E_NOMEM;
  merge_decisions(b, i, dec, NULL);
  ep_status st = ep_leaves_add(b->t->leaves, b->t->root, n_dec, dec);
  ep_scratch_restore(s, m);
  return st;
}

static ep_status keep_open(ep_step *e, batch *b, ep_scratch *s) {
  for (size_t i = 0; i < b->n; i++) {
    b->open[i] = NULL;
    e->n_bounded++;
    e->n_certified += b->is_closed[i];
    if (b->is_closed[i]) continue;
    if (is_leaf(b, i)) {
      e->n_stuck++;
      if (b->t->leaves) EP_TRY(keep_leaf(b, i, s));
      continue;
    }
    b->open[i] = store(b, i);
    if (!b->open[i]) return EP_E_NOMEM;
    e->has_candidate[e->n_child] = false;
    e->child[e->n_child++] = b->open[i];
  }
  return EP_OK;
}

/* Place of a row in the tables that the ascent left behind, SIZE_MAX when it has none. */
static ep_status find_places(const batch *b, ep_scratch *s, size_t **out) {
  size_t *place = EP_SCRATCH(s, size_t, b->n + 1), *of_row = EP_SCRATCH(s, size_t, b->n * b->t->n_row + 1);
  if (!place || !of_row) return EP_E_NOMEM;
  for (size_t r = 0; r < b->n * b->t->n_row; r++) of_row[r] = SIZE_MAX;
  for (size_t i = 0; i < b->ascent.n_left; i++) of_row[b->ascent.id[i]] = i;
  for (size_t i = 0; i < b->n; i++) place[i] = b->open[i] ? of_row[b->best_row[i]] : SIZE_MAX;
  *out = place;
  return EP_OK;
}

/* The largest row value of each corner, by a float32 pass: not above zero, it looks like a counterexample. */
static ep_status corner_losses(const ep_step *e, size_t n, double *loss, ep_scratch *s) {
  const ep_tree *t = e->tree;
  const ep_root *root = t->root;
  const ep_graph *g = root->run->g;
  size_t n_x = root->spec.n_x, n_y = root->spec.n_y;
  ep_trace_f32 tr;
  EP_TRY(ep_eval_f32(g, n, e->corner, s, &tr));
  double *y = EP_SCRATCH(s, double, n_y + 1), *x = EP_SCRATCH(s, double, n_x + 1);
  if (!y || !x) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < n_y; j++) y[j] = tr.v[g->output][i * n_y + j];
    for (size_t j = 0; j < n_x; j++) x[j] = e->corner[i * n_x + j];
    loss[i] = -INFINITY;
    for (uint32_t p = 0; p < t->n_row; p++) loss[i] = fmax(loss[i], ep_spec_value(&root->spec, t->row_id[p], y, x));
  }
  return EP_OK;
}

/* The corners nearest to a counterexample go a few gradient steps further. */
static ep_status polish_corners(ep_step *e, size_t n, double *loss, ep_scratch *s) {
  const ep_root *root = e->tree->root;
  size_t n_x = root->spec.n_x, k = 1 + n / PER_POLISHED;
  float *x = EP_SCRATCH(s, float, k *n_x + 1), *reached = EP_SCRATCH(s, float, k + 1);
  size_t *at = EP_SCRATCH(s, size_t, k + 1);
  if (!x || !reached || !at) return EP_E_NOMEM;
  for (size_t c = 0; c < k; c++) {
    at[c] = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
      bool is_taken = false;
      for (size_t d = 0; d < c; d++) is_taken |= at[d] == i;
      if (!is_taken && (at[c] == SIZE_MAX || loss[i] < loss[at[c]])) at[c] = i;
    }
    memcpy(x + c * n_x, e->corner + at[c] * n_x, n_x * sizeof *x);
  }
  EP_TRY(ep_attack_polish(root->run, root->box, root->spec.poly[e->tree->row_id[0]], POLISH_STEPS, k, x, reached, s));
  for (size_t c = 0; c < k; c++) {
    if (!(reached[c] < loss[at[c]])) continue;
    loss[at[c]] = reached[c];
    memcpy(e->corner + at[c] * n_x, x + c * n_x, n_x * sizeof *x);
  }
  return EP_OK;
}

/* The corners that minimise the open children's best rows, as float32 inputs. */
static ep_status try_corners(ep_step *e, const batch *b, const size_t *place, ep_scratch *s) {
  const ep_tree *t = b->t;
  size_t n_x = t->root->spec.n_x, n = 0;
  for (size_t i = 0; i < b->n; i++) {
    if (!b->open[i]) continue;
    float *x = e->corner + n++ * n_x;
    memcpy(x, t->x_fixed, n_x * sizeof *x);
    const float *c = place[i] == SIZE_MAX ? NULL : b->ascent.lin + place[i] * t->net->n_x;
    for (uint32_t j = 0; c && j < t->net->n_x; j++) x[t->net->x_at[j]] = c[j] > 0 ? t->net->x_lo[j] : t->net->x_hi[j];
  }
  assert(n == e->n_child);
  if (!n) return EP_OK;
  ep_scratch_mark m = ep_scratch_save(s);
  double *loss = EP_SCRATCH(s, double, n);
  ep_status st = loss ? corner_losses(e, n, loss, s) : EP_E_NOMEM;
  if (st == EP_OK) st = polish_corners(e, n, loss, s);
  for (size_t i = 0; i < n && st == EP_OK; i++) e->has_candidate[i] = loss[i] <= 0;
  ep_scratch_restore(s, m);
  return st;
}

/* ---- choosing the next neuron ---- */

typedef struct candidate {
  uint32_t child, u;
  int32_t join;
} candidate;

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

/* Neurons worth a try in child i: the best few of the configured rule, then of the intercept rule. */
static size_t pick(const batch *b, size_t i, size_t place, float *coef, float *score, uint32_t *cand) {
  const ep_snet *net = b->t->net;
  const ep_domain *d = b->open[i];
  size_t n_cand = 0;
  for (uint32_t l = 0; l < net->n_layer; l++) {
    const ep_snet_layer *la = &net->layer[l];
    if (place == SIZE_MAX)
      memset(coef + la->first, 0, la->n_u * sizeof(float));
    else
      memcpy(coef + la->first, b->ascent.coef_u[l] + place * la->n_u, la->n_u * sizeof(float));
  }
  for (int pass = 0; pass < 3; pass++) {
    if (pass == 2 && n_cand) break;
    if (pass == 2) /* every score is zero: any undecided neuron will do, however narrow */
      for (uint32_t k = 0; k < net->n_u; k++) score[k] = net->u[k].hi - net->u[k].lo + FLT_MIN;
    else
      (pass ? ep_branching_find("intercept") : b->t->rule)->score(net->n_u, net->u, coef, score);
    for (uint32_t k = 0; k < d->n_dec; k++) score[d->dec[k] / 2] = 0;
    add_top(score, net->n_u, pass == 2 ? 1 : PER_RULE, cand, &n_cand);
  }
  return n_cand;
}

/* Bounds both children of candidates c[0..n-1] (sorted by join) with one plain pass: margin[2i + side]. */
static ep_status probe(const batch *b, const size_t *place, size_t n, const candidate *c, double *margin,
                       ep_scratch *s) {
  const ep_tree *t = b->t;
  ep_scratch_mark m = ep_scratch_save(s);
  size_t rows = 2 * n;
  uint32_t *idx = EP_SCRATCH(s, uint32_t, 4 * rows + 1);
  int32_t *join = EP_SCRATCH(s, int32_t, rows + 1);
  float *lin = EP_SCRATCH(s, float, rows * t->net->n_x + 1), *bound = EP_SCRATCH(s, float, rows + 1);
  if (!idx || !join || !lin || !bound) return EP_E_NOMEM;
  uint32_t *seed = idx, *slope_row = idx + rows, *phase_row = idx + 2 * rows, *extra = idx + 3 * rows;
  for (size_t r = 0; r < rows; r++) {
    const candidate *k = &c[r / 2];
    slope_row[r] = (uint32_t)place[k->child];
    phase_row[r] = b->ascent.id[place[k->child]];
    seed[r] = b->ascent.seed[phase_row[r]];
    extra[r] = 2 * k->u + r % 2;
    join[r] = k->join;
  }
  ep_spass p = {.net = t->net,
                .n = rows,
                .seed = seed,
                .coef = t->coef,
                .coef_x = t->coef_x,
                .neuron = t->neuron,
                .sign = t->sign,
                .alpha = b->ascent.slopes,
                .slope_row = slope_row,
                .phases = &b->phases,
                .phase_row = phase_row,
                .extra = extra,
                .join = join,
                .cut = b->ascent.cut,
                .cut_cst = b->ascent.cut_cst,
                .lin = lin,
                .bound = bound};
  EP_TRY(ep_spass_run(&p, s));
  for (size_t r = 0; r < rows; r++) margin[r] = bound[r] - t->rhs[seed[r]];
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* Candidates ordered by where their rows start: from the seeds first, then from the last cut down to the first. */
static void sort_candidates(const ep_tree *t, size_t n, const candidate *in, candidate *out) {
  size_t k = 0;
  for (size_t i = 0; i < n; i++)
    if (in[i].join == EP_SPASS_TOP) out[k++] = in[i];
  for (uint32_t l = t->net->n_layer; l-- > 0;)
    for (size_t i = 0; i < n; i++)
      if (in[i].join == (int32_t)l) out[k++] = in[i];
  assert(k == n);
}

/* Takes neuron u into the domain's list of the best. top[k] is what branch[k] scores. */
static void rank(ep_domain *d, double *top, uint32_t u, double score) {
  uint32_t k = d->n_branch;
  if (k == EP_MAX_WAYS && !(score > top[--k])) return;
  if (d->n_branch < EP_MAX_WAYS) d->n_branch++;
  for (; k > 0 && score > top[k - 1]; k--) {
    top[k] = top[k - 1];
    d->branch[k] = d->branch[k - 1];
  }
  top[k] = score;
  d->branch[k] = u;
}

/* Filtered smart branching: the candidates whose children do best together. */
static ep_status choose(const batch *b, const size_t *place, ep_scratch *s) {
  const ep_tree *t = b->t;
  size_t n = 0, n_u = t->net->n_u;
  float *coef = EP_SCRATCH(s, float, 2 * n_u + 1);
  candidate *all = EP_SCRATCH(s, candidate, 2 * b->n * MAX_CANDIDATES + 1);
  double *margin = EP_SCRATCH(s, double, 2 * PROBE_ROWS), *top = EP_SCRATCH(s, double, b->n *EP_MAX_WAYS + 1);
  if (!coef || !all || !margin || !top) return EP_E_NOMEM;
  candidate *c = all + b->n * MAX_CANDIDATES;
  for (size_t i = 0; i < b->n; i++) {
    uint32_t cand[MAX_CANDIDATES + 1];
    if (!b->open[i] || (!t->root && place[i] == SIZE_MAX)) continue;
    size_t n_cand = pick(b, i, place[i], coef, coef + n_u, cand);
    if (n_cand == 1) b->open[i]->branch[b->open[i]->n_branch++] = cand[0];
    for (size_t k = 0; k < n_cand && n_cand > 1; k++)
      all[n++] = (candidate){(uint32_t)i, cand[k], t->join[t->net->u[cand[k]].layer]};
  }
  sort_candidates(t, n, all, c);
  for (size_t at = 0; at < n; at += PROBE_ROWS / 2) {
    size_t len = n - at < PROBE_ROWS / 2 ? n - at : PROBE_ROWS / 2;
    EP_TRY(probe(b, place, len, c + at, margin, s));
    for (size_t i = 0; i < len; i++) {
      /* A child beyond zero is as good as closed: what counts then is the other one. */
      double sum = fmin(margin[2 * i], 1e-6) + fmin(margin[2 * i + 1], 1e-6);
      rank(b->open[c[at + i].child], top + c[at + i].child * EP_MAX_WAYS, c[at + i].u, sum);
    }
  }
  return EP_OK;
}

/* ---- the step ---- */

/* The neurons that a parent decides, ascending. */
static uint32_t next_neurons(const ep_domain *d, uint32_t n_way, uint32_t *u) {
  uint32_t n = d->n_branch < n_way ? d->n_branch : n_way;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t k = i;
    for (; k > 0 && u[k - 1] > d->branch[i]; k--) u[k] = u[k - 1];
    u[k] = d->branch[i];
  }
  return n;
}

/* Every combination of phases of the neurons that a parent decides is a child: together they cover it. */
static ep_status list_children(const ep_step *e, batch *b, ep_scratch *s) {
  assert(e->n_way >= 1 && e->n_way <= EP_MAX_WAYS && e->n_parent << e->n_way <= EP_MAX_CHILDREN);
  EP_TRY(batch_reserve(b, e->n_parent << e->n_way, s));
  for (size_t i = 0; i < e->n_parent; i++) {
    uint32_t u[EP_MAX_WAYS], extra[EP_MAX_WAYS], n = next_neurons(e->parent[i], e->n_way, u);
    for (uint32_t phases = 0; phases < 1u << n; phases++) {
      for (uint32_t k = 0; k < n; k++) extra[k] = u[k] * 2 + (phases >> k & 1u);
      batch_add(b, e->parent[i], n, extra);
    }
  }
  return EP_OK;
}

ep_status ep_step_run(ep_step *e, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  batch b = {.t = e->tree};
  ep_status st;
  size_t *place;
  EP_GOTO(list_children(e, &b, s));
  EP_GOTO(batch_ascent(&b, &b.t->ascent, s));
  find_best_rows(&b);
  EP_GOTO(certify(&b, s));
  EP_GOTO(finish_leaves(&b, s));
  EP_GOTO(keep_open(e, &b, s));
  EP_GOTO(find_places(&b, s, &place));
  if (e->tree->root) EP_GOTO(try_corners(e, &b, place, s));
  EP_GOTO(choose(&b, place, s));
done:
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_step_take(ep_step *e, ep_queue *q, uint64_t serial, ep_status st) {
  ep_ctx *ctx = e->tree->ctx;
  for (size_t i = 0; i < e->n_child; i++) {
    e->child[i]->serial = serial + i;
    if (st == EP_OK)
      st = ep_queue_push(ctx, q, e->child[i]);
    else
      ep_free(ctx, e->child[i]);
  }
  for (size_t i = 0; i < e->n_parent; i++) ep_free(ctx, e->parent[i]);
  e->n_child = e->n_parent = 0;
  return st;
}
