#include "verifier/divide.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "verifier/rebound.h"

enum { MIN_DOMAINS = 16 };
static const double MAX_PRODUCTS = 1e8;  /* of bounding all unstable neurons of a domain again */
static const double ROWS_PER_DOMAIN = 4; /* bounded rows that a domain of the search after them stands for */

typedef struct division {
  const ep_tree *tree;
  ep_domain **task;
  size_t n;
  double deadline_s;
  ep_ascent_opt rebound;
  _Atomic size_t best; /* lowest task with a witness */
  double *found;       /* [n_x] its input, guarded by the run's lock */
  _Atomic uint64_t domains, certified, stuck, open;
} division;

/* One task on its way down. */
typedef struct dive {
  division *v;
  size_t task;
  uint64_t n_lost; /* domains that did not close so far */
} dive;

/* Two certified rows through the whole network for every unstable neuron. */
bool ep_divide_applies(const ep_tree *t) {
  const ep_graph *g = t->root->run->g;
  double weights = 0;
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_lowered *low = &g->node[k].low;
    if (low->cls != EP_AFFINE && !t->root->plan->is_relu[k]) return false;
    for (uint32_t j = 0; low->cls == EP_AFFINE && j < low->is.affine.n_terms; j++)
      weights += (double)low->is.affine.A[j].n_out * low->is.affine.A[j].terms_fwd;
  }
  return 2 * weights * t->net->n_u <= MAX_PRODUCTS;
}

static bool is_over(const dive *d) {
  const division *v = d->v;
  return d->task > atomic_load(&v->best) || ep_ctx_should_stop(v->tree->ctx) ||
         (v->deadline_s > 0 && ep_time_s() > v->deadline_s);
}

/* Replays a child's corner; the lowest task's wins, whichever comes first. */
static ep_status try_corner(const dive *d, const float *corner, ep_scratch *s) {
  division *v = d->v;
  ep_run *run = v->tree->root->run;
  size_t n_x = run->q->n_x;
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, 2 * n_x + 1), *y = EP_SCRATCH(s, double, run->q->n_y + 1u);
  bool is_sat = false;
  if (!x || !y) return EP_E_NOMEM;
  for (size_t j = 0; j < n_x; j++) x[j] = corner[j];
  ep_witness w = {.x = x + n_x, .y = y};
  EP_TRY(ep_replay(run->g, run->q, v->tree->root->box, x, s, &w, &is_sat));
  pthread_mutex_lock(&run->lock);
  if (is_sat && d->task < atomic_load(&v->best)) {
    atomic_store(&v->best, d->task);
    memcpy(v->found, x, n_x * sizeof *x);
  }
  pthread_mutex_unlock(&run->lock);
  ep_scratch_restore(s, m);
  return EP_OK;
}

static ep_status collect(dive *d, ep_step *e, ep_queue *q, ep_status st, ep_scratch *s) {
  size_t n_x = e->tree->root->spec.n_x;
  for (size_t i = 0; i < e->n_child && st == EP_OK; i++)
    if (e->has_candidate[i]) st = try_corner(d, e->corner + i * n_x, s);
  st = ep_step_take(e, q, 0, st);
  atomic_fetch_add(&d->v->domains, e->n_bounded);
  atomic_fetch_add(&d->v->certified, e->n_certified);
  atomic_fetch_add(&d->v->stuck, e->n_stuck);
  d->n_lost += e->n_stuck;
  return st;
}

/* Searches from the queue's domains until it is empty or `max` domains have been bounded. */
static ep_status search(dive *d, const ep_tree *t, ep_queue *q, uint64_t max, ep_scratch *s) {
  uint64_t n = 0;
  size_t batch = ep_tree_batch(t);
  while (q->n && n < max && !is_over(d)) {
    ep_scratch_mark m = ep_scratch_save(s);
    ep_step *e = EP_SCRATCH(s, ep_step, 1);
    if (!e) return EP_E_NOMEM;
    ep_status st = ep_step_init(e, t, s);
    while (st == EP_OK && q->n && e->n_parent < batch) e->parent[e->n_parent++] = ep_queue_pop(q);
    if (st == EP_OK) st = collect(d, e, q, ep_step_run(e, s), s);
    n += e->n_bounded;
    ep_scratch_restore(s, m);
    if (st != EP_OK) return st;
  }
  return EP_OK;
}

/* The domain goes on in `block`, which is taken over. */
static ep_status record_block(const ep_tree *t, const ep_domain *domain, ep_proof_block *block) {
  return ep_proof_block_add(t->proof, &(ep_proof_leaf){.n_dec = domain->n_dec, .dec = domain->dec, .block = block},
                            NULL, 0);
}

/* Owns `domain`, one of the search t. */
static ep_status descend(dive *d, const ep_tree *t, ep_domain *domain, ep_scratch *s) {
  ep_ctx *ctx = t->ctx;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_queue q = {0};
  ep_rebound own = {.is_empty = true};
  ep_tree below;
  ep_status st = EP_OK;
  uint64_t n_lost = d->n_lost;
  if (is_over(d)) {
    atomic_fetch_add(&d->v->open, 1);
    d->n_lost++;
    goto done;
  }
  ep_proof_block *block = NULL;
  if (t->proof) EP_GOTO(ep_proof_block_create(t->root->plan->proof, &block));
  st = ep_rebound_run(t, domain, &d->v->rebound, block, s, &own);
  if (block && st == EP_OK && !own.is_empty) st = ep_proof_block_neurons(block, own.root.net.n_u, own.root.net.u);
  if (block && st == EP_OK && own.is_empty) st = ep_proof_block_set_void(block);
  if (block && st == EP_OK) /* what is recorded in it from now on, others do not touch */
    st = record_block(t, domain, block);
  else
    ep_proof_block_destroy(block);
  if (st != EP_OK || own.is_empty) goto done;
  EP_GOTO(ep_tree_init_polytope(&below, &own.root, t->root->spec.poly[t->row_id[0]], s));
  below.rule = t->rule;
  below.ascent = t->ascent;
  below.proof = block;
  below.leaves =
      t->proof ? NULL : t->leaves; /* a record has them in their block, which is closed when they are settled */
  st = ep_queue_push(ctx, &q, own.domain);
  own.domain = NULL;
  if (st != EP_OK) goto done;
  EP_GOTO(search(d, &below, &q, MIN_DOMAINS + (uint64_t)((double)own.n_row / ROWS_PER_DOMAIN), s));
  while (q.n && st == EP_OK) st = descend(d, &below, ep_queue_pop(&q), s);
  if (block && st == EP_OK && d->n_lost == n_lost) st = ep_proof_block_close(block);
done:
  atomic_fetch_add(&d->v->open, q.n);
  ep_free(ctx, own.domain);
  ep_free(ctx, domain);
  ep_queue_clear(ctx, &q);
  ep_scratch_restore(s, m);
  return st;
}

static ep_status run_task(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  division *v = arg;
  (void)worker;
  dive d = {.v = v, .task = index};
  ep_domain *own = v->task[index];
  v->task[index] = NULL;
  ep_status st = descend(&d, v->tree, own, s);
  ep_progress *live = &v->tree->root->run->progress;
  atomic_store(&live->domains, atomic_load(&v->domains));
  atomic_store(&live->open, v->n - index - 1);
  return st;
}

ep_status ep_divide_run(const ep_tree *t, ep_queue *queue, double deadline_s, ep_divide_stats *stats, bool *is_sat) {
  ep_run *run = t->root->run;
  ep_scratch own;
  ep_scratch_init(&own, t->ctx);
  division v = {.tree = t, .n = queue->n, .deadline_s = deadline_s, .rebound = ep_ascent_default()};
  v.rebound.iterations = 8;
  atomic_init(&v.best, v.n);
  ep_status st = EP_E_NOMEM;
  v.task = EP_SCRATCH(&own, ep_domain *, v.n + 1);
  v.found = EP_SCRATCH(&own, double, run->q->n_x + 1u);
  if (!v.task || !v.found) goto done;
  for (size_t i = 0; i < v.n; i++) v.task[i] = ep_queue_pop(queue);
  st = ep_pool_run(run->pool, v.n, run_task, &v);
  for (size_t i = 0; i < v.n; i++) { /* those that never ran */
    v.open += v.task[i] != NULL;
    ep_free(t->ctx, v.task[i]);
  }
  if (st == EP_OK && ep_ctx_should_stop(t->ctx)) st = EP_E_STOPPED;
  if (v.best < v.n) st = ep_run_witness(run, t->root->box, v.found, ep_pool_scratch(run->pool), is_sat);
done:
  *stats = (ep_divide_stats){v.domains, v.certified, v.stuck, v.open};
  ep_scratch_clear(&own);
  return st;
}
