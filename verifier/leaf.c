#include "verifier/leaf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/milp.h"

enum { MAX_LEAVES = 4096, MAX_UNDECIDED = 12 };

typedef enum phase { INACTIVE, ACTIVE, UNDECIDED } phase;

struct ep_leaf {
  uint32_t n_u;
  uint8_t phase[]; /* [n_u] of the root's unstable neurons */
};

void ep_leaves_init(ep_leaves *leaves, const ep_root *root) {
  memset(leaves, 0, sizeof *leaves);
  leaves->root = root;
  pthread_mutex_init(&leaves->lock, NULL);
}

static void drop_all(ep_leaves *l) {
  for (size_t i = 0; i < l->n; i++) ep_free(l->root->run->ctx, l->leaf[i]);
  l->n = 0;
  l->n_lost = 0;
}

void ep_leaves_clear(ep_leaves *leaves) {
  drop_all(leaves);
  ep_free(leaves->root->run->ctx, leaves->leaf);
  pthread_mutex_destroy(&leaves->lock);
}

/* ---- gathering ---- */

/* What the certified bounds of `at` say about a neuron. */
static phase stable_phase(const ep_root *at, const ep_unstable *u) {
  ep_vid z = at->plan->g->node[u->node].in[0];
  return at->bounds.lo[z][u->neuron] >= 0 ? ACTIVE : at->bounds.hi[z][u->neuron] <= 0 ? INACTIVE : UNDECIDED;
}

/* Index in the root's net of a neuron of another search net. UINT32_MAX: it is not there. */
static uint32_t find_neuron(const ep_snet *net, const ep_unstable *u) {
  for (uint32_t k = 0; k < net->n_u; k++)
    if (net->u[k].node == u->node && net->u[k].neuron == u->neuron) return k;
  return UINT32_MAX;
}

static ep_leaf *make(const ep_leaves *l, const ep_root *at, uint32_t n_dec, const uint32_t *dec) {
  const ep_snet *net = &l->root->net;
  ep_leaf *leaf = ep_alloc(l->root->run->ctx, sizeof *leaf + net->n_u);
  if (!leaf) return NULL;
  leaf->n_u = net->n_u;
  for (uint32_t k = 0; k < net->n_u; k++) leaf->phase[k] = (uint8_t)stable_phase(at, &net->u[k]);
  for (uint32_t k = 0; k < n_dec; k++) {
    uint32_t i = at == l->root ? dec[k] / 2 : find_neuron(net, &at->net.u[dec[k] / 2]);
    if (i != UINT32_MAX) leaf->phase[i] = dec[k] & 1 ? ACTIVE : INACTIVE;
  }
  return leaf;
}

static ep_status keep(ep_leaves *l, ep_leaf *leaf) {
  ep_ctx *ctx = l->root->run->ctx;
  ep_status st = ep_reserve(ctx, (void **)&l->leaf, &l->cap, l->n, sizeof *l->leaf);
  if (st != EP_OK) {
    ep_free(ctx, leaf);
    return st;
  }
  l->leaf[l->n++] = leaf;
  return EP_OK;
}

ep_status ep_leaves_add(ep_leaves *leaves, const ep_root *at, uint32_t n_dec, const uint32_t *dec) {
  ep_leaf *leaf = make(leaves, at, n_dec, dec);
  if (!leaf) return EP_E_NOMEM;
  ep_status st = EP_OK;
  pthread_mutex_lock(&leaves->lock);
  if (leaves->n < MAX_LEAVES) {
    st = keep(leaves, leaf);
  } else {
    ep_free(leaves->root->run->ctx, leaf);
    leaves->n_lost++;
  }
  pthread_mutex_unlock(&leaves->lock);
  return st;
}

/* ---- settling ---- */

static int by_phases(const void *a, const void *b) {
  const ep_leaf *const *x = a, *const *y = b;
  return memcmp((*x)->phase, (*y)->phase, (*x)->n_u);
}

/* The disjunction of every unstable neuron of the root's net, n_disj where the problem has none with two pieces. */
static ep_status find_disjunctions(const ep_root *root, const ep_prob *p, ep_scratch *s, uint32_t **out) {
  const ep_graph *g = root->run->g;
  uint32_t **at = EP_SCRATCH(s, uint32_t *, g->n_val + 1u), *disj = EP_SCRATCH(s, uint32_t, root->net.n_u + 1u);
  if (!at || !disj) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) at[v] = NULL;
  for (uint32_t k = 0; k < root->net.n_u; k++) {
    ep_vid y = g->node[root->net.u[k].node].out;
    if (at[y]) continue;
    at[y] = EP_SCRATCH(s, uint32_t, g->val[y].n + 1u);
    if (!at[y]) return EP_E_NOMEM;
    for (uint32_t i = 0; i < g->val[y].n; i++) at[y][i] = p->n_disj;
  }
  for (uint32_t d = 0; d < p->n_disj; d++)
    if (p->disj[d].n == 2 && p->disj[d].value < g->n_val && at[p->disj[d].value])
      at[p->disj[d].value][p->disj[d].element] = d;
  for (uint32_t k = 0; k < root->net.n_u; k++) disj[k] = at[g->node[root->net.u[k].node].out][root->net.u[k].neuron];
  *out = disj;
  return EP_OK;
}

/* The leaf as a case of the problem; choices of a disjunction are in order of its argument. */
static uint32_t to_case(const ep_leaf *leaf, const ep_prob *p, const uint32_t *disj_of, uint32_t *disj,
                        uint32_t *choice) {
  uint32_t n = 0;
  for (uint32_t k = 0; k < leaf->n_u; k++) {
    if (leaf->phase[k] == UNDECIDED || disj_of[k] == p->n_disj) continue;
    disj[n] = disj_of[k];
    choice[n++] = leaf->phase[k] == ACTIVE ? 1 : 0;
  }
  return n;
}

static ep_status settle_all(ep_leaves *l, ep_milp *m, uint32_t goal, double until_s, ep_leaves_stats *stats,
                            bool *is_sat, ep_scratch *s) {
  const ep_prob *p = m->goals.net->prob;
  uint32_t *disj_of, n_u = l->root->net.n_u;
  m->n_u = n_u; /* those of the search's step, where what closes is recorded */
  m->u = l->root->net.u;
  EP_TRY(find_disjunctions(l->root, p, s, &disj_of));
  uint32_t *disj = EP_SCRATCH(s, uint32_t, 2 * n_u + 1u), *choice = disj ? disj + n_u : NULL;
  if (!disj) return EP_E_NOMEM;
  for (size_t i = 0; i < l->n && !*is_sat; i++) {
    if (ep_ctx_should_stop(l->root->run->ctx)) return EP_E_STOPPED;
    if (until_s > 0 && ep_time_s() > until_s) break;
    ep_case c = {.disj = disj, .choice = choice, .goal = goal};
    bool is_closed;
    c.n = to_case(l->leaf[i], p, disj_of, disj, choice);
    if (p->n_disj - c.n > MAX_UNDECIDED) continue;
    EP_TRY(ep_milp_settle(m, &c, &is_closed, is_sat));
    stats->closed += is_closed;
  }
  stats->by_solver = m->by_exact > 0;
  return EP_OK;
}

ep_status ep_leaves_settle(ep_leaves *leaves, ep_root *root, uint32_t poly, double until_s, ep_leaves_stats *stats,
                           bool *is_sat) {
  assert(root == leaves->root);
  ep_ctx *ctx = root->run->ctx;
  ep_scratch *s = ep_pool_scratch(root->run->pool);
  ep_scratch_mark mark = ep_scratch_save(s);
  ep_milp *m = NULL;
  uint32_t goal = 0;
  uint64_t n = leaves->n + leaves->n_lost;
  *stats = (ep_leaves_stats){0};
  if (leaves->n) qsort(leaves->leaf, leaves->n, sizeof(ep_leaf *), by_phases);
  ep_status st = leaves->n ? ep_milp_create(root, &m) : EP_OK;
  while (m && goal < m->goals.n && m->goals.poly[goal] != poly) goal++;
  if (m && goal < m->goals.n) st = settle_all(leaves, m, goal, until_s, stats, is_sat, s);
  if (st == EP_E_UNSUPPORTED || st == EP_E_LIMIT || st == EP_E_BACKEND) { /* the leaves stay as they were */
    ep_log(ctx, 2, "leaves: not settled: %s", ep_ctx_error(ctx).text);
    ep_ctx_clear_error(ctx);
    st = EP_OK;
  }
  ep_milp_destroy(m);
  stats->open = n - stats->closed;
  drop_all(leaves);
  ep_scratch_restore(s, mark);
  return st;
}
