#include "verifier/refine.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "verifier/expand.h"

/* The rows of one pre-activation: 2i and 2i+1 bound neuron i of the list from below and from above. */
typedef struct layer {
  ep_root *root;
  uint32_t max_leaves;
  double deadline_s;
  ep_refine_stats *stats;
  ep_vid v;
  ep_snet net;
  ep_tree tree;
  uint32_t n; /* rows */
  uint32_t *neuron;
  int8_t *sign;
  ep_queue *leaf;  /* [n] leaves of each row's tree */
  bool *is_stable; /* [n/2] by an estimate */
  bool *is_final;  /* [n] not to be split any more */
  bool is_bounded; /* the trees' roots have been */
  double *bound;   /* [n] certified */
  ep_step *step;
  size_t n_step, batch;
  /* certification: all leaves in one list */
  ep_domain **all;
  size_t n_all;
  double *cert; /* [n_all] */
} layer;

static ep_ctx *ctx_of(const layer *y) { return y->root->run->ctx; }

static ep_status layer_init(layer *y, ep_scratch *s) {
  ep_root *root = y->root;
  ep_trace_itv *b = &root->bounds;
  uint32_t n_v = root->plan->g->val[y->v].n;
  uint32_t *dom = EP_SCRATCH(s, uint32_t, n_v + 1), *unstable = EP_SCRATCH(s, uint32_t, n_v + 1);
  if (!dom || !unstable) return EP_E_NOMEM;
  y->n = 2 * ep_crown_unstable(root->plan, y->v, b, dom, unstable);
  EP_TRY(ep_snet_init(&y->net, root->plan, b, &root->relax, y->v, s));
  EP_TRY(ep_tree_init(&y->tree, &y->net, s));
  y->neuron = EP_SCRATCH(s, uint32_t, y->n + 1);
  y->sign = EP_SCRATCH(s, int8_t, y->n + 1);
  y->leaf = EP_SCRATCH(s, ep_queue, y->n + 1);
  y->is_final = EP_SCRATCH(s, bool, y->n + 1);
  y->is_stable = EP_SCRATCH(s, bool, y->n + 1);
  y->bound = EP_SCRATCH(s, double, y->n + 1);
  y->tree.rhs = EP_SCRATCH(s, double, y->n + 1);
  y->tree.target = EP_SCRATCH(s, float, y->n + 1);
  if (!y->neuron || !y->sign || !y->leaf || !y->is_final || !y->is_stable || !y->bound || !y->tree.rhs ||
      !y->tree.target)
    return EP_E_NOMEM;
  for (uint32_t i = 0; i < y->n; i++) {
    y->neuron[i] = unstable[i / 2];
    y->sign[i] = i % 2 ? -1 : 1;
    y->leaf[i] = (ep_queue){0};
    y->is_final[i] = y->is_stable[i] = false;
    y->bound[i] = i % 2 ? -b->hi[y->v][unstable[i / 2]] : b->lo[y->v][unstable[i / 2]];
    y->tree.rhs[i] = 0;
    y->tree.target[i] = (float)(1e-6 * fabs(y->bound[i])); /* beyond it the neuron is stable */
  }
  y->tree.neuron = y->neuron;
  y->tree.sign = y->sign;
  y->tree.rule = ep_branching_find(root->run->cfg->branching);
  y->tree.ascent = ep_ascent_default();
  y->tree.ascent.iterations = 10;
  y->batch = ep_tree_batch(&y->tree);
  y->n_step = y->n / y->batch + 1;
  y->step = EP_SCRATCH(s, ep_step, y->n_step);
  if (!y->step) return EP_E_NOMEM;
  for (size_t i = 0; i < y->n_step; i++) EP_TRY(ep_step_init(&y->step[i], &y->tree, s));
  return EP_OK;
}

static ep_status push_roots(layer *y) {
  for (uint32_t i = 0; i < y->n; i++) {
    ep_domain *d = ep_domain_create(ctx_of(y), 1, y->net.n_u, 0);
    if (!d) return EP_E_NOMEM;
    d->seed = i;
    for (uint32_t l = 0; l < y->net.n_layer; l++)
      for (uint32_t k = 0; k < y->net.layer[l].n_u; k++)
        d->slope[y->net.layer[l].first + k] = ep_slope_pack(y->net.layer[l].sl[k]);
    EP_TRY(ep_queue_push(ctx_of(y), &y->leaf[i], d));
  }
  return EP_OK;
}

/* A row is not split further when its worst leaf is stable, cannot be split, or there are leaves enough; nor is the
 * other row of a neuron that is stable already. */
static bool wants_split(const layer *y, uint32_t i) {
  if (!y->is_bounded) return true;
  const ep_queue *own = &y->leaf[i];
  const ep_domain *worst = own->heap[0];
  if (own->n >= y->max_leaves || !worst->n_branch) return false;
  return worst->margin <= y->tree.target[i] && !y->is_stable[i / 2];
}

static ep_status run_step(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  (void)worker;
  return ep_step_run(&((layer *)arg)->step[index], s);
}

/* Splits the worst leaf of every row that wants it; *n_split = how many did. */
static ep_status split_round(layer *y, size_t *n_split) {
  size_t n = 0;
  *n_split = 0;
  for (uint32_t i = 0; i < y->n && y->is_bounded; i++)
    y->is_stable[i / 2] |= y->leaf[i].heap[0]->margin > y->tree.target[i];
  for (uint32_t i = 0; i < y->n; i++) {
    y->is_final[i] = y->is_final[i] || !wants_split(y, i);
    if (y->is_final[i]) continue;
    ep_step *e = &y->step[*n_split / y->batch];
    e->parent[e->n_parent++] = ep_queue_pop(&y->leaf[i]);
    n = *n_split / y->batch + 1;
    ++*n_split;
  }
  y->is_bounded = true;
  ep_status st = ep_pool_run(y->root->run->pool, n, run_step, y);
  for (size_t k = 0; k < n; k++) {
    ep_step *e = &y->step[k];
    y->stats->domains += e->n_bounded;
    for (size_t i = 0; i < e->n_child; i++) {
      e->child[i]->serial = i;
      if (st == EP_OK)
        st = ep_queue_push(ctx_of(y), &y->leaf[e->child[i]->seed], e->child[i]);
      else
        ep_free(ctx_of(y), e->child[i]);
    }
    for (size_t i = 0; i < e->n_parent; i++) ep_free(ctx_of(y), e->parent[i]);
    e->n_child = e->n_parent = 0;
    e->n_bounded = 0;
  }
  return st;
}

/* ---- certification ---- */

static ep_status certify_chunk(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  layer *y = arg;
  (void)worker;
  const ep_plan *p = y->root->plan;
  size_t at = index * y->batch, n = y->n_all - at < y->batch ? y->n_all - at : y->batch, n_dec = 0;
  size_t n_u = y->net.n_u, n_x = p->n_x;
  ep_domain **d = y->all + at;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  uint32_t *neuron = EP_SCRATCH(s, uint32_t, n + 1);
  int8_t *sign = EP_SCRATCH(s, int8_t, n + 1);
  size_t *row = EP_SCRATCH(s, size_t, n + 1);
  const float **alpha = EP_SCRATCH(s, const float *, n + 1);
  float *slopes = EP_SCRATCH(s, float, n *n_u + 1);
  double *lin = EP_SCRATCH(s, double, n *n_x + 1), *cst = EP_SCRATCH(s, double, 2 * n + 1), **tables;
  if (!neuron || !sign || !row || !alpha || !slopes || !lin || !cst) goto done;
  for (size_t i = 0; i < n; i++) {
    neuron[i] = y->neuron[d[i]->seed];
    sign[i] = y->sign[d[i]->seed];
    row[i] = i;
    n_dec += d[i]->n_dec;
    alpha[i] = slopes + i * n_u;
    for (size_t k = 0; k < n_u; k++) slopes[i * n_u + k] = ep_slope_unpack(d[i]->slope[k]);
  }
  ep_phases phases;
  ep_decision *dec = EP_SCRATCH(s, ep_decision, n_dec + 1);
  if (!dec) goto done;
  EP_GOTO(ep_tree_phases(&y->tree, n, d, &phases, s));
  uint32_t n_beta = phases.ptr[n * (y->net.n_layer + 1)];
  for (uint32_t i = 0; i < n_beta && p->proof; i++) ((float *)phases.beta)[i] = ep_beta_round(phases.beta[i]);
  n_dec = ep_phases_decisions(&y->net, &phases, n, row, dec);
  EP_GOTO(ep_snet_slopes(&y->net, &y->root->relax, n, alpha, s, &tables));
  ep_backward_f64 b = {.plan = p,
                       .relax = &y->root->relax,
                       .from = y->v,
                       .rows = n,
                       .neuron = neuron,
                       .sign = sign,
                       .alpha = tables,
                       .decision = dec,
                       .n_decision = n_dec,
                       .lin = lin,
                       .cst = cst,
                       .err = cst + n};
  EP_GOTO(ep_backward_run_f64(&b, s));
  const ep_trace_itv *x = &y->root->bounds;
  ep_backward_concretize_f64(n, n_x, lin, cst, cst + n, NULL, x->lo[p->g->input], x->hi[p->g->input], y->cert + at);
done:
  ep_scratch_restore(s, m);
  return st;
}

/* The tree of row i, whose leaves are the queue's, improves the neuron's bound. */
static ep_status record_tree(const layer *y, uint32_t i) {
  for (size_t k = 0; k < y->leaf[i].n; k++) {
    const ep_domain *d = y->leaf[i].heap[k];
    ep_proof_leaf leaf = {.key = 2 * y->neuron[i] + (y->sign[i] < 0),
                          .n_dec = d->n_dec,
                          .dec = d->dec,
                          .beta = d->beta,
                          .slope = d->slope};
    EP_TRY(ep_proof_add_leaf(y->root->plan->proof, &leaf, NULL, 0));
  }
  return EP_OK;
}

/* Bounds every leaf and takes the smallest of each tree. */
static ep_status certify_leaves(layer *y, ep_scratch *s) {
  y->n_all = 0;
  for (uint32_t i = 0; i < y->n; i++) y->n_all += y->leaf[i].n;
  y->all = EP_SCRATCH(s, ep_domain *, y->n_all + 1);
  y->cert = EP_SCRATCH(s, double, y->n_all + 1);
  if (!y->all || !y->cert) return EP_E_NOMEM;
  size_t n = 0;
  for (uint32_t i = 0; i < y->n; i++)
    for (size_t k = 0; k < y->leaf[i].n; k++) y->all[n++] = y->leaf[i].heap[k];
  EP_TRY(ep_pool_run(y->root->run->pool, (n + y->batch - 1) / y->batch, certify_chunk, y));
  double *lo = y->root->bounds.lo[y->v], *hi = y->root->bounds.hi[y->v];
  n = 0;
  ep_proof *proof = y->root->plan->proof;
  if (proof) EP_TRY(ep_proof_begin_lemmas(proof, y->v, y->net.n_u, y->net.u));
  for (uint32_t i = 0; i < y->n; i++) {
    double worst = INFINITY;
    for (size_t k = 0; k < y->leaf[i].n; k++, n++) worst = fmin(worst, y->cert[n]);
    if (!y->leaf[i].n || !(worst > y->bound[i])) continue;
    if (proof) EP_TRY(record_tree(y, i));
    if (y->sign[i] > 0)
      lo[y->neuron[i]] = fmin(worst, hi[y->neuron[i]]);
    else
      hi[y->neuron[i]] = fmax(-worst, lo[y->neuron[i]]);
  }
  return proof ? ep_proof_commit(proof) : EP_OK;
}

static bool is_late(const layer *y) { return y->deadline_s > 0 && ep_time_s() > y->deadline_s; }

static ep_status refine_value(layer *y, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st;
  size_t n_split = 1;
  EP_GOTO(layer_init(y, s));
  EP_GOTO(push_roots(y));
  while (n_split && !ep_ctx_should_stop(ctx_of(y)) && !is_late(y)) EP_GOTO(split_round(y, &n_split));
  y->stats->is_cut_short |= n_split > 0;
  st = ep_ctx_should_stop(ctx_of(y)) ? EP_E_STOPPED : certify_leaves(y, s);
done:
  for (uint32_t i = 0; y->leaf && i < y->n; i++) ep_queue_clear(ctx_of(y), &y->leaf[i]);
  ep_scratch_restore(s, m);
  return st;
}

static uint32_t n_unstable(const ep_root *root, ep_vid v) {
  uint32_t n = 0;
  for (uint32_t j = 0; j < root->plan->g->val[v].n; j++) n += root->bounds.lo[v][j] < 0 && root->bounds.hi[v][j] > 0;
  return n;
}

static uint32_t count_unstable(const ep_root *root) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < root->plan->n_z; i++) n += n_unstable(root, root->plan->z_val[i]);
  return n;
}

/* Pre-activations behind a ReLU that have unstable neurons, from node `from` on, and how many neurons these are. */
static uint32_t count_layers(const ep_root *root, uint32_t from, uint64_t *n_neuron) {
  uint32_t n = 0;
  bool is_behind = false;
  for (uint32_t k = 0; k < root->plan->g->n_node; k++) {
    if (!root->plan->is_relu[k]) continue;
    uint32_t unstable = is_behind && k >= from ? n_unstable(root, root->plan->g->node[k].in[0]) : 0;
    n += unstable > 0;
    *n_neuron += unstable;
    is_behind = true;
  }
  return n;
}

uint64_t ep_refine_rows(const ep_root *root) {
  uint64_t n = 0;
  for (uint32_t k = 0; k < root->plan->g->n_node; k++)
    if (root->plan->g->node[k].low.cls != EP_AFFINE && !root->plan->is_relu[k]) return 0;
  count_layers(root, 0, &n);
  return 2 * n;
}

ep_status ep_refine_bounds(ep_root *root, const ep_refine_opt *opt, ep_refine_stats *stats) {
  const ep_plan *p = root->plan;
  ep_scratch *s = ep_pool_scratch(root->run->pool);
  *stats = (ep_refine_stats){.n_before = count_unstable(root)};
  ep_ascent_opt ascent = ep_ascent_default();
  bool is_behind = false;
  uint64_t n_left = 0;
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    if (p->is_relu[k]) {
      layer y = {.root = root, .max_leaves = opt->leaves, .stats = stats, .v = p->g->node[k].in[0]};
      EP_TRY(ep_alpha_value(p, y.v, &ascent, &root->bounds, &root->relax, root->run->pool, s));
      double now = ep_time_s(); /* the layers left share the time left */
      if (opt->deadline_s > 0) y.deadline_s = now + (opt->deadline_s - now) / (1 + count_layers(root, k + 1, &n_left));
      if (is_behind && n_unstable(root, y.v)) EP_TRY(refine_value(&y, s));
      is_behind = true;
    }
    EP_TRY(ep_crown_node(p, k, EP_RELAX_ADAPTIVE, &root->bounds, &root->relax, &root->arena, s));
  }
  stats->n_after = count_unstable(root);
  return ep_plan_refine(root->plan, &root->bounds, s);
}
