#include "verifier/bab.h"

#include <math.h>

#include "verifier/divide.h"

/* Domains after which a search that applies is divided instead of continued. */
enum { DIVIDE_AFTER = 256 };
enum { STEPS = 4 };       /* of one round; fixed, so that the search does not depend on the number of threads */
enum { FULL_ROUND = 32 }; /* children that fill one */

/* One polytope's search. */
typedef struct search {
  ep_run *run;
  ep_tree tree;
  const ep_bab_opt *opt;
  ep_bab_stats *stats;
  ep_step *step; /* [STEPS] */
  ep_queue queue;
  ep_leaves leaves;                    /* the stuck ones */
  uint64_t serial, n_stuck, divide_at; /* domains, 0 = never */
  size_t max_parents;                  /* of one step: so many that coefficients stay near the cache */
} search;

static ep_status run_step(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  (void)worker;
  return ep_step_run(&((search *)arg)->step[index], s);
}

static ep_status try_witness(search *b, const float *corner, bool *is_sat) {
  size_t n_x = b->tree.root->spec.n_x;
  ep_scratch *s = ep_pool_scratch(b->run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, n_x + 1);
  if (!x) return EP_E_NOMEM;
  for (size_t j = 0; j < n_x; j++) x[j] = corner[j];
  ep_status st = ep_run_witness(b->run, b->tree.root->box, x, s, is_sat);
  ep_scratch_restore(s, m);
  return st;
}

/* Takes a step's children into the queue and tries its candidates. */
static ep_status collect(search *b, ep_step *e, ep_status st, bool *is_sat) {
  size_t n_x = b->tree.root->spec.n_x, n = e->n_child;
  for (size_t i = 0; i < n && st == EP_OK && !*is_sat; i++)
    if (e->has_candidate[i]) st = try_witness(b, e->corner + i * n_x, is_sat);
  st = ep_step_take(e, &b->queue, b->serial, st);
  b->serial += n;
  b->stats->domains += e->n_bounded;
  b->stats->certified += e->n_certified;
  b->n_stuck += e->n_stuck;
  e->n_bounded = e->n_certified = e->n_stuck = 0;
  return st;
}

/* Neurons to decide at once: more than one while the queue is too short to fill a round's steps. */
static uint32_t ways(const search *b) {
  uint32_t n = 1;
  while (n < EP_MAX_WAYS && b->queue.n << (n + 1) <= FULL_ROUND) n++;
  return n;
}

static ep_status round_of_steps(search *b, bool *is_sat) {
  size_t per = (b->queue.n + STEPS - 1) / STEPS, n = 0;
  uint32_t n_way = ways(b);
  per = per > b->max_parents ? b->max_parents : per;
  for (; n < STEPS && b->queue.n; n++) {
    b->step[n].n_way = n_way;
    while (b->step[n].n_parent < per && b->queue.n) b->step[n].parent[b->step[n].n_parent++] = ep_queue_pop(&b->queue);
  }
  ep_status st = ep_pool_run(b->run->pool, n, run_step, b);
  for (size_t i = 0; i < n; i++) st = collect(b, &b->step[i], st, is_sat);
  return st;
}

static ep_status divide(search *b, bool *is_sat, bool *is_out) {
  ep_divide_stats stats;
  EP_TRY(ep_divide_run(&b->tree, &b->queue, b->opt->deadline_s, &stats, is_sat));
  b->stats->domains += stats.domains;
  b->stats->certified += stats.certified;
  b->stats->open += stats.open;
  b->n_stuck += stats.stuck;
  *is_out = stats.open > 0;
  return EP_OK;
}

static ep_status explore(search *b, bool *is_sat, bool *is_out) {
  while (b->queue.n && !*is_sat) {
    if (ep_ctx_should_stop(b->run->ctx)) return EP_E_STOPPED;
    *is_out = (b->opt->deadline_s > 0 && ep_time_s() > b->opt->deadline_s) ||
              (b->opt->max_domains && b->stats->domains >= b->opt->max_domains);
    if (*is_out) return EP_OK;
    if (b->divide_at && b->stats->domains >= b->divide_at) return divide(b, is_sat, is_out);
    atomic_store(&b->run->progress.domains, b->stats->domains);
    atomic_store(&b->run->progress.open, b->queue.n);
    atomic_store(&b->run->progress.worst_bound, b->queue.heap[0]->margin);
    b->stats->worst_margin = b->queue.heap[0]->margin;
    EP_TRY(round_of_steps(b, is_sat));
  }
  return EP_OK;
}

/* The root domain: no decisions, the slopes that EP_ROOT_ALPHA found. */
static ep_status push_root(search *b) {
  const ep_tree *t = &b->tree;
  size_t n_u = t->net->n_u;
  ep_domain *d = ep_domain_create(b->run->ctx, t->n_row, n_u, 0);
  if (!d) return EP_E_NOMEM;
  for (uint32_t j = 0; j < t->n_row; j++) {
    const float *a = t->root->slopes[t->row_id[j]];
    for (size_t i = 0; i < n_u; i++) d->slope[j * n_u + i] = a ? ep_slope_pack(a[i]) : 128;
  }
  return ep_queue_push(b->run->ctx, &b->queue, d);
}

static ep_status search_init(search *b, const ep_root *root, uint32_t poly, ep_scratch *s) {
  EP_TRY(ep_tree_init_polytope(&b->tree, root, poly, s));
  b->tree.rule = ep_branching_find(b->run->cfg->branching);
  b->tree.ascent = b->opt->ascent;
  b->step = EP_SCRATCH(s, ep_step, STEPS);
  if (!b->step) return EP_E_NOMEM;
  for (size_t i = 0; i < STEPS; i++) EP_TRY(ep_step_init(&b->step[i], &b->tree, s));
  b->max_parents = ep_tree_batch(&b->tree);
  b->divide_at = ep_divide_applies(&b->tree) ? b->stats->domains + DIVIDE_AFTER : 0;
  return EP_OK;
}

/* What the bounds left open although nothing is left to decide. Linear programs know the real function only. */
static ep_status settle_leaves(search *b, ep_root *root, uint32_t poly, ep_leaves_stats *stats, bool *is_sat) {
  EP_TRY(ep_leaves_settle(&b->leaves, root, poly, b->opt->deadline_s, stats, is_sat));
  unsigned long long n_closed = stats->closed, n_open = stats->open;
  ep_log(b->run->ctx, 2, "leaves: polytope %u: %llu closed by linear programs, %llu open%s", poly, n_closed, n_open,
         *is_sat ? ", one is a counterexample" : "");
  b->n_stuck -= stats->closed;
  return EP_OK;
}

static ep_status search_polytope(ep_root *root, uint32_t poly, const ep_bab_opt *opt, ep_bab_stats *stats, bool *is_sat,
                                 bool *is_out) {
  ep_scratch own;
  ep_scratch_init(&own, root->run->ctx);
  search b = {.run = root->run, .opt = opt, .stats = stats};
  ep_leaves_stats leaves = {0};
  ep_leaves_init(&b.leaves, root);
  ep_proof *proof = root->plan->proof;
  ep_status st;
  EP_GOTO(search_init(&b, root, poly, &own));
  if (!b.tree.n_row) goto done;
  if (proof) EP_GOTO(ep_proof_begin_poly(proof, poly, b.tree.net->n_u, b.tree.net->u));
  b.tree.proof = proof ? proof->step : NULL;
  b.tree.leaves = root->run->g->is_float32 ? NULL : &b.leaves;
  EP_GOTO(push_root(&b));
  EP_GOTO(explore(&b, is_sat, is_out));
  if (!*is_sat && !*is_out && !b.queue.n && b.leaves.n) EP_GOTO(settle_leaves(&b, root, poly, &leaves, is_sat));
  /* Every domain of the tree was closed by a certified bound and the tree covers the box. */
  if (!*is_sat && !*is_out && !b.queue.n && !b.n_stuck) {
    if (proof) EP_GOTO(ep_proof_commit(proof));
    if (leaves.by_solver)
      ep_run_mark_refuted_by_solver(root->run, root->box, poly);
    else
      ep_run_mark_proved(root->run, root->box, poly);
  }
done:
  if (proof) ep_proof_abort(proof);
  stats->open += b.queue.n;
  stats->stuck += b.n_stuck;
  ep_queue_clear(root->run->ctx, &b.queue);
  ep_leaves_clear(&b.leaves);
  ep_scratch_clear(&own);
  return st;
}

ep_bab_opt ep_bab_default(const ep_run *run) {
  (void)run;
  ep_bab_opt opt = {.ascent = ep_ascent_default()};
  opt.ascent.iterations = 12;
  return opt;
}

ep_status ep_bab_run(ep_root *root, const ep_bab_opt *opt, ep_bab_stats *stats, bool *is_sat) {
  bool is_out = false;
  *is_sat = false;
  *stats = (ep_bab_stats){.worst_margin = NAN};
  for (uint32_t p = 0; p < root->spec.n_poly && !*is_sat && !is_out; p++)
    if (!ep_run_is_proved(root->run, root->box, p)) EP_TRY(search_polytope(root, p, opt, stats, is_sat, &is_out));
  return EP_OK;
}
