#include "verifier/rebound.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { CHUNK = 256 }; /* rows at a time */

/* One pre-activation under the decisions. */
typedef struct layer {
  const ep_root *root;       /* the domain's own */
  const ep_unstable **place; /* [n_dec] decided neurons, by layer and neuron */
  const bool *is_active;     /* [n_dec] */
  uint32_t n_dec;
  const ep_ascent_opt *opt;
  ep_proof_block *proof, *lemmas; /* where bounds are recorded, NULL = nowhere; this layer's */
  ep_vid v;
  ep_snet net; /* of what comes before v */
  uint32_t *neuron;
  size_t n; /* neurons to be bounded again */
  /* Decisions before v in the net's terms, and those at v. */
  uint32_t n_before, *at, *at_layer;
  bool *is_before_active;
  size_t n_own;
  uint32_t *own;
  bool *own_is_active;
} layer;

static ep_vid pre_activation(const layer *y, const ep_unstable *u) { return y->root->run->g->node[u->node].in[0]; }

/* Index of a neuron among the net's unstable ones, UINT32_MAX when it is not there. */
static uint32_t find_unstable(const ep_snet *net, const ep_unstable *u) {
  uint32_t lo = 0, hi = net->n_u;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    const ep_unstable *m = &net->u[mid];
    if (m->node < u->node || (m->node == u->node && m->neuron < u->neuron))
      lo = mid + 1;
    else
      hi = mid;
  }
  bool is_there = lo < net->n_u && net->u[lo].node == u->node && net->u[lo].neuron == u->neuron;
  return is_there ? lo : UINT32_MAX;
}

static ep_status list_decisions(layer *y, ep_scratch *s) {
  y->at = EP_SCRATCH(s, uint32_t, 3 * y->n_dec + 1);
  y->is_before_active = EP_SCRATCH(s, bool, 2 * y->n_dec + 1);
  if (!y->at || !y->is_before_active) return EP_E_NOMEM;
  y->at_layer = y->at + y->n_dec;
  y->own = y->at_layer + y->n_dec;
  y->own_is_active = y->is_before_active + y->n_dec;
  y->n_before = 0;
  y->n_own = 0;
  for (uint32_t k = 0; k < y->n_dec; k++) {
    if (pre_activation(y, y->place[k]) == y->v) {
      y->own[y->n_own] = y->place[k]->neuron;
      y->own_is_active[y->n_own++] = y->is_active[k];
      continue;
    }
    uint32_t u = find_unstable(&y->net, y->place[k]);
    if (u == UINT32_MAX) continue; /* behind v, beside it, or stable by now */
    y->at[y->n_before] = y->net.u[u].at;
    y->at_layer[y->n_before] = y->net.u[u].layer;
    y->is_before_active[y->n_before++] = y->is_active[k];
  }
  return EP_OK;
}

/* Neurons of v that are unstable and not decided. */
static ep_status list_neurons(layer *y, ep_scratch *s) {
  const ep_trace_itv *b = &y->root->bounds;
  uint32_t n_v = y->root->run->g->val[y->v].n;
  bool *is_decided = EP_SCRATCH(s, bool, n_v + 1);
  y->neuron = EP_SCRATCH(s, uint32_t, n_v + 1);
  if (!is_decided || !y->neuron) return EP_E_NOMEM;
  memset(is_decided, 0, n_v * sizeof(bool));
  for (uint32_t k = 0; k < y->n_dec; k++)
    if (pre_activation(y, y->place[k]) == y->v) is_decided[y->place[k]->neuron] = true;
  y->n = 0;
  for (uint32_t i = 0; i < n_v; i++)
    if (!is_decided[i] && b->lo[y->v][i] < 0 && b->hi[y->v][i] > 0) y->neuron[y->n++] = i;
  return EP_OK;
}

/* The same decisions before v for every row, multipliers from zero. */
static ep_status row_phases(const layer *y, size_t rows, ep_scratch *s, ep_phases *out) {
  uint32_t stride = y->net.n_layer + 1, n = y->n_before;
  uint32_t *ptr = EP_SCRATCH(s, uint32_t, rows * stride + 1), *at = EP_SCRATCH(s, uint32_t, rows * n + 1);
  uint8_t *is_active = EP_SCRATCH(s, uint8_t, rows * n + 1);
  float *beta = EP_SCRATCH(s, float, rows *n + 1);
  if (!ptr || !at || !is_active || !beta) return EP_E_NOMEM;
  for (size_t r = 0; r < rows; r++) {
    uint32_t first = (uint32_t)r * n, k = 0;
    for (uint32_t l = 0; l < stride; l++) {
      ptr[r * stride + l] = first + k;
      while (k < n && y->at_layer[k] == l) k++;
    }
    for (k = 0; k < n; k++) {
      at[first + k] = y->at[k];
      is_active[first + k] = y->is_before_active[k];
      beta[first + k] = 0;
    }
  }
  ptr[rows * stride] = (uint32_t)rows * n;
  *out = (ep_phases){ptr, at, is_active, beta};
  return EP_OK;
}

/* The rows with their multiples of the decisions at v, as float64 seeds. A multiplier is >= 0 or counts as 0. */
static double *seeds(const layer *y, size_t rows, const uint32_t *neuron, const int8_t *sign, const float *beta,
                     ep_scratch *s) {
  size_t n_v = y->root->run->g->val[y->v].n;
  double *c = EP_SCRATCH(s, double, rows *n_v + 1);
  if (!c) return NULL;
  memset(c, 0, rows * n_v * sizeof *c);
  for (size_t r = 0; r < rows; r++) {
    c[r * n_v + neuron[r]] = sign[r];
    for (size_t i = 0; i < y->n_own; i++) {
      double m = beta[r * y->n_own + i];
      m = m > 0 && m < INFINITY ? m : 0;
      assert(y->own[i] != neuron[r]);
      c[r * n_v + y->own[i]] = y->own_is_active[i] ? -m : m;
    }
  }
  return c;
}

/* Slopes and multipliers as the record of a proof holds them. */
static void round_rows(const layer *y, size_t rows, const ep_ascent *a) {
  for (size_t r = 0; r < rows; r++)
    for (uint32_t k = 0; k < y->net.n_u; k++) a->alpha[r][k] = ep_slope_unpack(ep_slope_pack(a->alpha[r][k]));
  for (size_t i = 0; i < rows * y->n_own; i++) a->own_beta[i] = ep_beta_round(a->own_beta[i]);
  for (size_t i = 0; i < rows * y->n_before; i++) ((float *)a->phases->beta)[i] = ep_beta_round(a->phases->beta[i]);
}

/* Row r improves the bound of its neuron. */
static ep_status record_row(const layer *y, size_t r, uint32_t neuron, const ep_ascent *a, ep_scratch *s) {
  uint32_t n_u = y->net.n_u, n = 0, node = 0;
  ep_proof_leaf leaf = {.key = 2 * neuron + r % 2};
  uint32_t *dec = EP_SCRATCH(s, uint32_t, y->n_before + y->n_own + 1);
  float *beta = EP_SCRATCH(s, float, y->n_before + y->n_own + 1);
  uint8_t *slope = EP_SCRATCH(s, uint8_t, n_u + 1);
  if (!dec || !beta || !slope) return EP_E_NOMEM;
  for (uint32_t k = 0; k < y->n_before; k++, n++) {
    dec[n] = 2 * (y->net.layer[y->at_layer[k]].first + y->at[k]) + y->is_before_active[k];
    beta[n] = a->phases->beta[r * y->n_before + k];
  }
  for (uint32_t k = 0; k < y->n_dec; k++)
    if (pre_activation(y, y->place[k]) == y->v) node = y->place[k]->node;
  for (size_t k = 0; k < y->n_own; k++, n++) {
    dec[n] = (2 * ep_proof_flat(y->root->plan->proof, node, y->own[k]) + y->own_is_active[k]) | EP_PROOF_FLAT;
    beta[n] = a->own_beta[r * y->n_own + k];
  }
  leaf.n_dec = n;
  leaf.dec = dec;
  leaf.beta = beta;
  leaf.slope = slope;
  for (uint32_t k = 0; k < n_u; k++) slope[k] = ep_slope_pack(a->alpha[r][k]);
  return ep_proof_block_add(y->lemmas, &leaf, NULL, 0);
}

/* Does the domain have no inputs, by bounds that cross? A replay rounds elsewhere: it must be by more than that. */
static bool is_crossed(const layer *y, double l, double h) {
  return l > h + (y->proof ? 1e-6 * (fabs(l) + fabs(h)) + 1e-9 : 0);
}

/* The certified pass over the rows: out[r] is a lower bound of sign * neuron where the decisions hold. */
static ep_status certify(const layer *y, size_t rows, const uint32_t *neuron, const int8_t *sign, const ep_ascent *a,
                         double *out, ep_scratch *s) {
  const ep_plan *p = y->root->plan;
  const ep_trace_itv *x = &y->root->bounds;
  size_t n_x = p->n_x, *row = EP_SCRATCH(s, size_t, rows + 1);
  double *lin = EP_SCRATCH(s, double, rows *n_x + 1), *cst = EP_SCRATCH(s, double, 2 * rows + 1), **tables;
  ep_decision *dec = EP_SCRATCH(s, ep_decision, rows * y->n_before + 1);
  double *coef = y->n_own ? seeds(y, rows, neuron, sign, a->own_beta, s) : NULL;
  if (!row || !lin || !cst || !dec || (y->n_own && !coef)) return EP_E_NOMEM;
  for (size_t r = 0; r < rows; r++) row[r] = r;
  EP_TRY(ep_snet_slopes(&y->net, &y->root->relax, rows, (const float *const *)a->alpha, s, &tables));
  ep_backward_f64 b = {.plan = p,
                       .relax = &y->root->relax,
                       .from = y->v,
                       .rows = rows,
                       .neuron = coef ? NULL : neuron,
                       .sign = coef ? NULL : sign,
                       .coef = coef,
                       .alpha = tables,
                       .decision = dec,
                       .n_decision = ep_phases_decisions(&y->net, a->phases, rows, row, dec),
                       .lin = lin,
                       .cst = cst,
                       .err = cst + rows};
  EP_TRY(ep_backward_run_f64(&b, s));
  ep_backward_concretize_f64(rows, n_x, lin, cst, cst + rows, NULL, x->lo[p->g->input], x->hi[p->g->input], out);
  return EP_OK;
}

/* Rows 2i and 2i+1 bound neuron i from below and above. */
static ep_status bound_chunk(const layer *y, size_t from, size_t n, bool *is_empty, ep_scratch *s) {
  size_t rows = 2 * n;
  uint32_t *neuron = EP_SCRATCH(s, uint32_t, 2 * rows + 1), *group = neuron ? neuron + rows : NULL;
  int8_t *sign = EP_SCRATCH(s, int8_t, rows + 1);
  float *target = EP_SCRATCH(s, float, 2 * rows + 1), *alpha = EP_SCRATCH(s, float, rows * y->net.n_u + 1);
  float **alphas = EP_SCRATCH(s, float *, rows + 1), *beta = EP_SCRATCH(s, float, rows * y->n_own + 1);
  double *bound = EP_SCRATCH(s, double, rows + 1);
  bool *is_done = EP_SCRATCH(s, bool, rows + 1);
  ep_phases phases;
  if (!neuron || !sign || !target || !alpha || !alphas || !beta || !bound || !is_done) return EP_E_NOMEM;
  for (size_t r = 0; r < rows; r++) {
    neuron[r] = y->neuron[from + r / 2];
    sign[r] = r % 2 ? -1 : 1;
    group[r] = (uint32_t)(r / 2);
    target[r] = 0; /* beyond it the neuron is stable */
    alphas[r] = alpha + r * y->net.n_u;
  }
  memset(beta, 0, rows * y->n_own * sizeof *beta);
  EP_TRY(row_phases(y, rows, s, &phases));
  ep_ascent a = {.net = &y->net,
                 .n = rows,
                 .neuron = neuron,
                 .sign = sign,
                 .phases = &phases,
                 .target = target,
                 .group = group,
                 .n_own = y->n_own,
                 .own = y->own,
                 .own_is_active = y->own_is_active,
                 .own_beta = beta,
                 .best = target + rows,
                 .alpha = alphas,
                 .is_done = is_done};
  EP_TRY(ep_ascent_run(&a, y->opt, s));
  if (y->proof) round_rows(y, rows, &a);
  EP_TRY(certify(y, rows, neuron, sign, &a, bound, s));
  double *lo = y->root->bounds.lo[y->v], *hi = y->root->bounds.hi[y->v];
  for (size_t i = 0; i < n; i++) {
    double l = fmax(lo[neuron[2 * i]], bound[2 * i]), h = fmin(hi[neuron[2 * i]], -bound[2 * i + 1]);
    if (y->proof && bound[2 * i] > lo[neuron[2 * i]]) EP_TRY(record_row(y, 2 * i, neuron[2 * i], &a, s));
    if (y->proof && -bound[2 * i + 1] < hi[neuron[2 * i]]) EP_TRY(record_row(y, 2 * i + 1, neuron[2 * i], &a, s));
    if (is_crossed(y, l, h)) *is_empty = true;
    lo[neuron[2 * i]] = fmin(l, h);
    hi[neuron[2 * i]] = fmax(l, h);
  }
  return EP_OK;
}

static ep_status bound_value(layer *y, ep_rebound *out, ep_scratch *s) {
  const ep_root *root = y->root;
  EP_TRY(list_neurons(y, s));
  if (!y->n) return EP_OK;
  EP_TRY(ep_snet_init(&y->net, root->plan, &root->bounds, &root->relax, y->v, s));
  EP_TRY(list_decisions(y, s));
  if (y->net.node[y->net.n_node - 1].kind != EP_SNET_AFFINE) y->n_own = 0;
  if (!y->n_before && !y->n_own) return EP_OK;
  if (y->proof) EP_TRY(ep_proof_block_lemmas(y->proof, y->v, y->net.n_u, y->net.u, &y->lemmas));
  for (size_t at = 0; at < y->n && !out->is_empty; at += CHUNK / 2) {
    size_t n = y->n - at < CHUNK / 2 ? y->n - at : CHUNK / 2;
    ep_scratch_mark m = ep_scratch_save(s);
    ep_status st = bound_chunk(y, at, n, &out->is_empty, s);
    ep_scratch_restore(s, m);
    if (st != EP_OK) return st;
    out->n_row += 2 * n;
  }
  return EP_OK;
}

/* Tables of the domain's own, starting from the parent's. */
static ep_status copy_root(const ep_root *from, ep_scratch *s, ep_root *r) {
  *r = *from;
  r->slopes = NULL;
  r->has_slopes = false;
  EP_TRY(ep_crown_table(from->plan, 1, s, &r->bounds));
  EP_TRY(ep_relax_init_f64(from->plan, 1, s, &r->relax));
  for (uint32_t v = 0; v < from->run->g->n_val; v++) {
    size_t n = from->run->g->val[v].n * sizeof(double);
    memcpy(r->bounds.lo[v], from->bounds.lo[v], n);
    memcpy(r->bounds.hi[v], from->bounds.hi[v], n);
  }
  return EP_OK;
}

/* The domain over the smaller net. A decision on a neuron that has become stable drops out: the side it keeps is all
 * there is, or the domain is empty. */
static ep_status carry_over(const ep_tree *t, const ep_domain *d, ep_rebound *out, ep_scratch *s) {
  const ep_snet *old = t->net, *net = &out->root.net;
  size_t n_row = t->n_row;
  uint32_t *kept = EP_SCRATCH(s, uint32_t, 2 * d->n_dec + 1), n = 0;
  if (!kept) return EP_E_NOMEM;
  uint32_t *dec = kept + d->n_dec;
  for (uint32_t k = 0; k < d->n_dec; k++) {
    const ep_unstable *u = &old->u[d->dec[k] / 2];
    uint32_t at = find_unstable(net, u);
    ep_vid z = out->root.run->g->node[u->node].in[0];
    bool is_active = d->dec[k] & 1;
    if (at == UINT32_MAX) {
      out->is_empty |= is_active ? out->root.bounds.hi[z][u->neuron] < 0 : out->root.bounds.lo[z][u->neuron] > 0;
      continue;
    }
    kept[n] = k;
    dec[n++] = 2 * at + is_active;
  }
  if (out->is_empty) return EP_OK;
  ep_domain *c = out->domain = ep_domain_create(t->ctx, n_row, net->n_u, n);
  if (!c) return EP_E_NOMEM;
  c->margin = d->margin;
  c->seed = d->seed;
  if (n) memcpy(c->dec, dec, n * sizeof *dec);
  for (size_t j = 0; j < n_row; j++) {
    for (uint32_t k = 0; k < n; k++) c->beta[j * n + k] = d->beta[j * d->n_dec + kept[k]];
    for (uint32_t i = 0, o = 0; i < net->n_u; i++, o++) {
      while (old->u[o].node != net->u[i].node || old->u[o].neuron != net->u[i].neuron) o++;
      c->slope[j * net->n_u + i] = d->slope[j * old->n_u + o];
    }
  }
  return EP_OK;
}

ep_status ep_rebound_run(const ep_tree *t, const ep_domain *d, const ep_ascent_opt *opt, ep_proof_block *proof,
                         ep_scratch *s, ep_rebound *out) {
  const ep_graph *g = t->root->run->g;
  *out = (ep_rebound){0};
  EP_TRY(copy_root(t->root, s, &out->root));
  layer y = {.root = &out->root, .n_dec = d->n_dec, .opt = opt, .proof = proof};
  bool *is_active = EP_SCRATCH(s, bool, d->n_dec + 1);
  y.place = EP_SCRATCH(s, const ep_unstable *, d->n_dec + 1);
  if (!is_active || !y.place) return EP_E_NOMEM;
  for (uint32_t k = 0; k < d->n_dec; k++) {
    y.place[k] = &t->net->u[d->dec[k] / 2];
    is_active[k] = d->dec[k] & 1;
  }
  y.is_active = is_active;
  for (uint32_t k = 0; k < g->n_node && !out->is_empty; k++) {
    assert(g->node[k].low.cls == EP_AFFINE || out->root.plan->is_relu[k]);
    y.v = g->node[k].in[0];
    ep_scratch_mark m = ep_scratch_save(s);
    ep_status st = out->root.plan->is_relu[k] ? bound_value(&y, out, s) : EP_OK;
    ep_scratch_restore(s, m);
    if (st != EP_OK) return st;
    EP_TRY(
        ep_crown_node(out->root.plan, k, EP_RELAX_ADAPTIVE, &out->root.bounds, &out->root.relax, &out->root.arena, s));
  }
  if (out->is_empty) return EP_OK;
  EP_TRY(ep_snet_init(&out->root.net, out->root.plan, &out->root.bounds, &out->root.relax, g->output, s));
  return carry_over(t, d, out, s);
}
