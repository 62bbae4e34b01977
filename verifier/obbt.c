/* Optimisation-based bound tightening, see milp.h. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/milp.h"

typedef struct target {
  uint32_t neuron;
  double score; /* smaller = closer to being stable */
} target;

static int by_score(const void *a, const void *b) {
  const target *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  return x->neuron < y->neuron ? -1 : x->neuron > y->neuron;
}

static uint32_t count_unstable(const ep_root *r, uint32_t *dom, uint32_t *neuron) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < r->plan->n_z; i++)
    n += ep_crown_unstable(r->plan, r->plan->z_val[i], &r->bounds, dom, neuron);
  return n;
}

/* The bound by the prices of the duals y, if that improves the neuron's: recorded, and what the replay will find of it.
 */
static ep_status record_side(ep_root *r, ep_prices *prices, uint32_t var, ep_vid v, uint32_t i, double sign,
                             const double *y, double *lower) {
  ep_scratch *s = ep_pool_scratch(r->run->pool);
  ep_scratch_mark mark = ep_scratch_save(s);
  double *coef = EP_SCRATCH(s, double, r->run->g->val[v].n + 1u), bound;
  if (!coef) return EP_E_NOMEM;
  memset(coef, 0, r->run->g->val[v].n * sizeof *coef);
  coef[i] = sign;
  ep_prices_take(prices, y, 1, &var, &sign, EP_NO_GOAL, 1);
  ep_status st = ep_prices_bound(prices, v, coef, NULL, s, &bound);
  ep_scratch_restore(s, mark);
  if (st != EP_OK) return st;
  *lower = fmin(*lower, bound);
  if (!(*lower > (sign > 0 ? r->bounds.lo[v][i] : -r->bounds.hi[v][i]))) return EP_OK;
  return ep_proof_add_leaf(r->plan->proof, &(ep_proof_leaf){.key = 2 * i + (sign < 0), .price = prices->price}, NULL,
                           0);
}

/* One side of one neuron: minimise sign*z over the relaxation, certify, keep what is better. */
static ep_status tighten_side(ep_root *r, const ep_backend *lp, ep_solver *solver, const ep_prob *p, uint32_t var,
                              ep_vid v, uint32_t i, double sign, double *y, ep_prices *prices) {
  ep_answer_kind answer;
  double lower;
  ep_case none = {.goal = EP_NO_GOAL};
  EP_TRY(lp->minimise(solver, 1, &var, &sign));
  EP_TRY(lp->check(solver, NULL, &answer));
  if (answer != EP_ANSWER_SAT) return EP_OK;
  EP_TRY(lp->duals(solver, y));
  EP_TRY(ep_dual_bound(p, &none, 1, &var, &sign, y, ep_pool_scratch(r->run->pool), &lower));
  if (r->plan->proof) EP_TRY(record_side(r, prices, var, v, i, sign, y, &lower));
  double *lo = &r->bounds.lo[v][i], *hi = &r->bounds.hi[v][i];
  if (sign > 0 && lower > *lo && lower <= *hi) *lo = lower;
  if (sign < 0 && -lower < *hi && -lower >= *lo) *hi = -lower;
  return EP_OK;
}

/* Most promising first: those that are nearest to being stable. */
static void order(const ep_root *r, ep_vid v, uint32_t n, const uint32_t *neuron, target *t) {
  for (uint32_t k = 0; k < n; k++) {
    double l = r->bounds.lo[v][neuron[k]], u = r->bounds.hi[v][neuron[k]];
    t[k] = (target){neuron[k], fmin(fabs(l), fabs(u)) / (u - l)};
  }
  qsort(t, n, sizeof *t, by_score);
}

/* The nodes before pre-activation v, of whose elements only the targets are wanted, and a reduction of that. */
typedef struct encoding {
  ep_network *net;
  ep_prob *small; /* NULL: net->prob itself */
  uint32_t *map;
} encoding;

static ep_status encode(const ep_root *r, ep_vid v, uint32_t n, const target *t, ep_scratch *s, encoding *e) {
  const ep_graph *g = r->run->g;
  const ep_node *last = &g->node[g->val[v].producer];
  bool *is_wanted = EP_SCRATCH(s, bool, g->val[v].n + 1u);
  if (!is_wanted) return EP_E_NOMEM;
  for (uint32_t i = 0; i < g->val[v].n; i++) is_wanted[i] = false;
  for (uint32_t k = 0; k < n; k++) is_wanted[t[k].neuron] = true;
  ep_network_opt part = {.n_node = g->val[v].producer + 1,
                         .folds_pinned = true,
                         .is_wanted = last->low.cls == EP_AFFINE ? is_wanted : NULL};
  EP_TRY(ep_network_create(r->run->ctx, g, &r->bounds, &part, s, &e->net));
  /* Over the box alone back-substitution is exact already. */
  if (r->run->certificate || (!e->net->n_unstable && !e->net->n_pool)) return EP_OK;
  bool *stays = EP_SCRATCH(s, bool, e->net->prob->n_var + 1u);
  e->map = EP_SCRATCH(s, uint32_t, e->net->prob->n_var + 1u);
  if (!stays || !e->map) return EP_E_NOMEM;
  for (uint32_t i = 0; i < e->net->prob->n_var; i++) stays[i] = false;
  for (uint32_t k = 0; k < n; k++)
    if (e->net->term[v][t[k].neuron] != EP_NO_VAR) stays[e->net->term[v][t[k].neuron]] = true;
  return ep_prob_reduce(e->net->prob, stays, 0, s, e->map, &e->small);
}

/* All unstable neurons of pre-activation v. */
static ep_status tighten_layer(ep_root *r, const ep_backend *lp, ep_vid v, uint32_t n, const uint32_t *neuron,
                               double until_s, uint64_t *programs) {
  ep_ctx *ctx = r->run->ctx;
  ep_scratch *s = ep_pool_scratch(r->run->pool);
  ep_scratch_mark mark = ep_scratch_save(s);
  encoding e = {0};
  ep_solver *solver = NULL;
  ep_status st = EP_E_NOMEM;
  target *t = EP_SCRATCH(s, target, n + 1u);
  if (!t) goto done;
  order(r, v, n, neuron, t);
  EP_GOTO(encode(r, v, n, t, s, &e));
  if (!e.net->n_unstable && !e.net->n_pool) goto done;
  const ep_prob *p = e.small ? e.small : e.net->prob;
  double *y = EP_SCRATCH(s, double, (size_t)p->n_row + p->n_choice_row + 1);
  st = y ? lp->create(ctx, p, &solver) : EP_E_NOMEM;
  ep_proof *proof = r->plan->proof;
  ep_prices prices = {0};
  if (st == EP_OK && proof) st = ep_prices_init(&prices, r, e.net);
  if (st == EP_OK && proof) st = ep_proof_begin_lemmas(proof, v, prices.n_u, prices.u);
  if (st == EP_OK) lp->limit(solver, &(ep_effort){.until_s = until_s});
  for (uint32_t k = 0; k < n && st == EP_OK && ep_time_s() < until_s; k++) {
    uint32_t var = e.net->term[v][t[k].neuron];
    if (var == EP_NO_VAR) continue;
    if (e.small) var = e.map[var];
    /* First the side that is nearer to 0. */
    double first = fabs(r->bounds.lo[v][t[k].neuron]) < fabs(r->bounds.hi[v][t[k].neuron]) ? 1 : -1;
    EP_GOTO(tighten_side(r, lp, solver, p, var, v, t[k].neuron, first, y, &prices));
    EP_GOTO(tighten_side(r, lp, solver, p, var, v, t[k].neuron, -first, y, &prices));
    *programs += 2;
  }
  if (st == EP_OK && proof) st = ep_proof_commit(proof);
done:
  if (r->plan->proof) ep_proof_abort(r->plan->proof);
  if (solver) lp->destroy(solver);
  ep_prob_destroy(e.small);
  ep_network_destroy(e.net);
  ep_scratch_restore(s, mark);
  return st;
}

ep_status ep_milp_tighten(ep_root *r, double until_s, ep_obbt_stats *stats) {
  const ep_plan *plan = r->plan;
  ep_scratch *s = ep_pool_scratch(r->run->pool);
  ep_scratch_mark mark = ep_scratch_save(s);
  const ep_backend *lp;
  ep_status st = EP_OK;
  uint32_t *dom = EP_SCRATCH(s, uint32_t, plan->max_n + 1u), *neuron = EP_SCRATCH(s, uint32_t, plan->max_n + 1u);
  *stats = (ep_obbt_stats){0};
  if (!dom || !neuron) return EP_E_NOMEM;
  EP_GOTO(ep_backend_find(r->run->ctx, "glpk", &lp));
  ep_ascent_opt opt = ep_ascent_default();
  stats->unstable_before = count_unstable(r, dom, neuron);
  for (uint32_t i = 0; i < plan->n_z && ep_time_s() < until_s; i++) {
    uint32_t n = ep_crown_unstable(plan, plan->z_val[i], &r->bounds, dom, neuron);
    if (!n || plan->z_val[i] == r->run->g->input) continue;
    uint64_t before = stats->programs;
    EP_GOTO(tighten_layer(r, lp, plan->z_val[i], n, neuron, until_s, &stats->programs));
    /* What was learnt reaches the later layers before they are encoded. */
    if (stats->programs > before) EP_GOTO(ep_root_bound(r, EP_ROOT_CROWN, &opt));
  }
  stats->unstable_after = count_unstable(r, dom, neuron);
done:
  ep_scratch_restore(s, mark);
  return st;
}
