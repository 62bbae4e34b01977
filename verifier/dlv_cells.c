#include "verifier/dlv_cells.h"

#include <assert.h>
#include <math.h>

#include "kernels/rng.h"
#include "verifier/exact.h"
#include "verifier/milp.h"

enum { SAMPLES = 2048, BATCH = 64, MAX_CASES = 64 };
/* Of a network with unstable neurons whose own encoding the exact solver gets: on larger ones it may not even notice
 * that time is up. */
enum { MOST_EXACT_VARS = 128 };
static const double CELL_S = 0.5; /* of the exact solver, per cell */

typedef enum cell_state { OPEN, VISITED, EMPTY } cell_state;

typedef struct cells {
  ep_root *root;
  ep_run *run;
  ep_dlv_layer *l;
  uint64_t per, n;
  uint8_t *state; /* [n] */
  double until_s;
  ep_scratch *s;
  ep_goals goals;         /* the network up to the layer; taken over by branch and bound ... */
  const ep_network *net;  /* ... which keeps it */
  uint32_t n_goal, *cell; /* [n_goal] cells that are goals of net->prob */
} cells;

/* The dimensions of value v with the widest certified range. */
static void widest(const ep_root *root, ep_vid v, uint32_t n, ep_dlv_layer *l) {
  const double *lo = root->bounds.lo[v], *hi = root->bounds.hi[v];
  l->value = v;
  for (l->n_dim = 0; l->n_dim < n; l->n_dim++) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < root->run->g->val[v].n; i++) {
      bool is_taken = !(hi[i] - lo[i] > 0 && hi[i] - lo[i] < INFINITY);
      for (uint32_t t = 0; t < l->n_dim; t++) is_taken |= l->dim[t] == i;
      if (!is_taken && (best == UINT32_MAX || hi[i] - lo[i] > hi[best] - lo[best])) best = i;
    }
    if (best == UINT32_MAX) return;
    l->dim[l->n_dim] = best;
    l->lo[l->n_dim] = lo[best];
    l->hi[l->n_dim] = hi[best];
  }
}

/* Ends of part j of `per` equal parts; neighbours share an end exactly, the outer ones are the range's own. */
static double part_end(double lo, double hi, uint64_t j, uint64_t per) {
  return j == 0 ? lo : j == per ? hi : fmin(hi, fmax(lo, lo + (double)j / (double)per * (hi - lo)));
}

/* The cell of values z (of the whole layer); false outside the range. */
static bool cell_of(const cells *c, const double *z, uint64_t *cell) {
  const ep_dlv_layer *l = c->l;
  uint64_t unit = 1;
  *cell = 0;
  for (uint32_t d = 0; d < l->n_dim; d++, unit *= c->per) {
    double v = z[l->dim[d]], lo = l->lo[d], hi = l->hi[d];
    if (!(v >= lo && v <= hi)) return false;
    uint64_t j = (uint64_t)fmin((double)(c->per - 1), (v - lo) / (hi - lo) * (double)c->per);
    while (j > 0 && v < part_end(lo, hi, j, c->per)) j--;
    while (j + 1 < c->per && v > part_end(lo, hi, j + 1, c->per)) j++;
    *cell += j * unit;
  }
  return true;
}

static bool is_over(const cells *c) { return c->until_s > 0 && ep_time_s() > c->until_s; }

/* ---- random inputs ---- */

/* Runs x[n x n_x]: marks cells, tries what looks like a counterexample. */
static ep_status land(cells *c, size_t n, const double *x, bool *is_sat) {
  const ep_query *q = c->run->q;
  ep_scratch_mark m = ep_scratch_save(c->s);
  uint32_t n_z = c->run->g->val[c->l->value].n;
  ep_trace_f64 t;
  ep_status st = ep_eval_f64(c->run->g, n, x, c->s, &t);
  for (size_t i = 0; i < n && st == EP_OK && !*is_sat; i++) {
    uint64_t cell;
    const double *xi = x + i * q->n_x;
    bool is_new = cell_of(c, t.v[c->l->value] + i * n_z, &cell) && c->state[cell] == OPEN;
    if (is_new) {
      c->state[cell] = VISITED;
      st = ep_dlv_visit(c->run, xi, c->s, c->l, is_sat);
    } else if (ep_query_distance(q, 0, t.v[c->run->g->output] + i * q->n_y, xi) <= 0) {
      st = ep_run_witness(c->run, 0, xi, c->s, is_sat);
    }
  }
  ep_scratch_restore(c->s, m);
  return st;
}

static ep_status sample(cells *c, bool *is_sat) {
  const ep_input_box *b = &c->run->q->box[0];
  uint32_t n_x = c->run->q->n_x;
  ep_scratch_mark m = ep_scratch_save(c->s);
  double *x = EP_SCRATCH(c->s, double, (size_t)BATCH *n_x + 1);
  ep_rng rng;
  ep_rng_seed_stream(&rng, (uint64_t)c->run->cfg->seed, c->l->value);
  ep_status st = x ? EP_OK : EP_E_NOMEM;
  for (uint32_t k = 0; k < SAMPLES && st == EP_OK && !*is_sat; k += BATCH) {
    if (ep_ctx_should_stop(c->run->ctx)) st = EP_E_STOPPED;
    for (uint32_t i = 0; i < BATCH; i++)
      for (uint32_t j = 0; j < n_x; j++) { /* every other input in a corner of the region */
        double u = i % 2 ? (double)(ep_rng_u64(&rng) & 1) : ep_rng_uniform(&rng);
        double lo = b->lo_in[j], hi = b->hi_in[j];
        x[(size_t)i * n_x + j] = u == 1 ? hi : fmin(hi, lo + u * (hi - lo));
      }
    if (st == EP_OK) st = land(c, BATCH, x, is_sat);
  }
  ep_scratch_restore(c->s, m);
  return st;
}

/* ---- cells as goals ---- */

/* Goal of net->prob: the layer's dimensions lie in cell k. */
static ep_status add_goal(cells *c, uint64_t k) {
  const ep_dlv_layer *l = c->l;
  EP_TRY(ep_prob_open_goal(c->goals.net->prob));
  c->cell[c->n_goal++] = (uint32_t)k;
  for (uint32_t d = 0; d < l->n_dim; d++, k /= c->per) {
    uint32_t var = c->goals.net->term[l->value][l->dim[d]];
    ep_prob_row r = {.n = 1, .var = &var, .coef = (const double[]){1}};
    r.lo = part_end(l->lo[d], l->hi[d], k % c->per, c->per);
    r.hi = part_end(l->lo[d], l->hi[d], k % c->per + 1, c->per);
    if (var != EP_NO_VAR) EP_TRY(ep_prob_add(c->goals.net->prob, EP_PLACE_GOAL, &r));
  }
  return EP_OK;
}

static ep_status encode(cells *c) {
  ep_run *run = c->run;
  uint32_t n = run->g->val[c->l->value].n;
  bool *is_wanted = EP_SCRATCH(c->s, bool, n + 1u);
  c->cell = EP_SCRATCH(c->s, uint32_t, c->n + 1);
  if (!is_wanted || !c->cell) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) is_wanted[i] = false;
  for (uint32_t d = 0; d < c->l->n_dim; d++) is_wanted[c->l->dim[d]] = true;
  ep_network_opt part = {.n_node = run->g->val[c->l->value].producer + 1, .folds_pinned = true, .is_wanted = is_wanted};
  EP_TRY(ep_network_create(run->ctx, run->g, &c->root->bounds, &part, c->s, &c->goals.net));
  c->goals.prob = c->goals.net->prob;
  for (uint64_t k = 0; k < c->n; k++)
    if (c->state[k] == OPEN) EP_TRY(add_goal(c, k));
  return EP_OK;
}

static void set_empty(cells *c, uint32_t goal) {
  c->state[c->cell[goal]] = EMPTY;
  c->l->empty++;
}

/* An input for cell k: it lands there, or, when the encoding is the network itself, belongs there up to the rounding of
 * its coordinates. */
static ep_status reached(cells *c, uint64_t k, bool is_network, double *x, bool *is_sat) {
  EP_TRY(land(c, 1, x, is_sat));
  if (c->state[k] != OPEN || !is_network || *is_sat) return EP_OK;
  c->state[k] = VISITED;
  return ep_dlv_visit(c->run, x, c->s, c->l, is_sat);
}

/* The exact solver: an input for the cell, or none exists. `map` as in ep_prob_reduce, NULL = p is the network's. */
static ep_status by_solver(cells *c, const ep_backend *be, const ep_prob *p, const uint32_t *map, double *x,
                           bool *is_sat) {
  ep_solver *solver = NULL;
  ep_status st;
  EP_GOTO(be->create(c->run->ctx, p, &solver));
  be->limit(solver, &(ep_effort){.until_s = c->until_s, .cpu_s = CELL_S});
  for (uint32_t g = 0; g < c->n_goal && !is_over(c) && !*is_sat; g++) {
    ep_answer_kind answer = EP_ANSWER_UNKNOWN;
    if (c->state[c->cell[g]] != OPEN) continue;
    EP_GOTO(be->push(solver));
    st = be->goal(solver, g, 0);
    if (st == EP_OK) st = be->check(solver, NULL, &answer);
    for (uint32_t i = 0; st == EP_OK && answer == EP_ANSWER_SAT && i < c->run->q->n_x; i++) {
      uint32_t v = ep_network_input_var(c->net, i);
      x[i] = be->value(solver, map ? map[v] : v);
    }
    be->pop(solver);
    if (st != EP_OK) break;
    if (answer == EP_ANSWER_UNSAT) set_empty(c, g);
    if (answer == EP_ANSWER_SAT) EP_GOTO(reached(c, c->cell[g], !map, x, is_sat));
  }
done:
  if (solver) be->destroy(solver);
  return st;
}

/* Branch and bound over linear programs, few cases per cell (one: the relaxation alone); solutions are run as well. */
typedef struct program_try {
  cells *c;
  uint64_t cell;
  bool is_sat;
} program_try;

static ep_status try_solution(void *arg, double *x, bool *is_found) {
  program_try *t = arg;
  EP_TRY(land(t->c, 1, x, &t->is_sat));
  *is_found = t->is_sat || t->c->state[t->cell] != OPEN;
  return EP_OK;
}

static ep_status by_programs(cells *c, ep_milp *m, program_try *t, uint64_t max_cases, bool *is_sat) {
  m->max_cases = max_cases;
  for (uint32_t g = 0; g < c->n_goal && !is_over(c) && !*is_sat; g++) {
    ep_goal_outcome outcome;
    t->cell = c->cell[g];
    if (c->state[t->cell] != OPEN) continue;
    EP_TRY(ep_milp_decide(m, g, &outcome));
    if (outcome == EP_GOAL_REFUTED) set_empty(c, g);
    *is_sat = t->is_sat;
  }
  return EP_OK;
}

/* What sampling left open. The exact solver gets short numbers first; they leave cells open that are barely touched. */
static ep_status settle(cells *c, double *x, bool *is_sat) {
  const ep_backend *lp, *exact = NULL;
  ep_ctx *ctx = c->run->ctx;
  program_try t = {.c = c};
  ep_milp *m = NULL;
  ep_prob *small = NULL;
  ep_status st;
  EP_TRY(encode(c));
  uint32_t *map = EP_SCRATCH(c->s, uint32_t, c->goals.net->prob->n_var + 1u);
  if (!map) return EP_E_NOMEM;
  EP_TRY(ep_prob_reduce(c->goals.net->prob, NULL, EP_EXACT_BITS, c->s, map, &small));
  c->net = c->goals.net;
  if (ep_backend_find(ctx, "z3", &exact) != EP_OK) ep_ctx_clear_error(ctx);
  if (ep_backend_find(ctx, "glpk", &lp) == EP_OK) {
    EP_GOTO(ep_milp_create_for(c->root, &c->goals, c->s, &m));
    m->is_part = m->skips_exact = true;
    m->try_input = try_solution;
    m->arg = &t;
    ep_milp_end_at(m, c->until_s);
    EP_GOTO(by_programs(c, m, &t, 1, is_sat));
    if (!*is_sat) EP_GOTO(by_programs(c, m, &t, MAX_CASES, is_sat));
  }
  ep_ctx_clear_error(ctx);
  st = EP_OK;
  if (exact && small && !*is_sat) EP_GOTO(by_solver(c, exact, small, map, x, is_sat));
  if (exact && !*is_sat && (!c->net->prob->n_disj || c->net->prob->n_var <= MOST_EXACT_VARS))
    st = by_solver(c, exact, c->net->prob, NULL, x, is_sat);
done:
  ep_milp_destroy(m);
  ep_prob_destroy(small);
  return st;
}

ep_status ep_dlv_cells(ep_root *root, const ep_dlv_opt *opt, ep_vid v, double until_s, ep_dlv_layer *out, double *x,
                       bool *is_sat) {
  ep_scratch *s = ep_pool_scratch(root->run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  cells c = {.root = root, .run = root->run, .l = out, .per = 2 * (uint64_t)opt->count + 1, .until_s = until_s, .s = s};
  widest(root, v, opt->n_feature, out);
  out->points = ep_dlv_power(c.per, out->n_dim);
  c.n = out->points < EP_DLV_MAX_CELLS ? out->points : EP_DLV_MAX_CELLS;
  /* Beyond the limit only what sampling reaches is looked at; such a layer is not complete. */
  c.state = EP_SCRATCH(s, uint8_t, out->points + 1);
  ep_status st = c.state ? EP_OK : EP_E_NOMEM;
  for (uint64_t k = 0; k < out->points && st == EP_OK; k++) c.state[k] = OPEN;
  if (st == EP_OK) st = sample(&c, is_sat);
  if (st == EP_OK && !*is_sat) st = settle(&c, x, is_sat);
  out->is_complete = out->visited + out->empty == out->points;
  ep_goals_clear(&c.goals);
  ep_scratch_restore(s, m);
  return st;
}
