#include "verifier/milp.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* How far an LP solution may be off before a disjunction counts as violated by it. */
#define FEASIBLE 1e-7
enum { EXACT_STEPS_OF_PART = 1000000 };

/* ---- setting up ---- */

static ep_status milp_fill(ep_milp *m) {
  ep_ctx *ctx = m->root->run->ctx;
  if (!m->root->run->certificate) EP_TRY(ep_goals_reduce(&m->goals, 0, m->s));
  const ep_prob *p = m->goals.prob;
  uint32_t most = 1;
  for (uint32_t d = 0; d < p->n_disj; d++) most = p->disj[d].n > most ? p->disj[d].n : most;
  m->y = ep_calloc(ctx, (size_t)p->n_row + p->n_choice_row + p->n_goal_row + 1, sizeof *m->y);
  m->x = ep_calloc(ctx, m->root->run->q->n_x + 1u, sizeof *m->x);
  m->path_disj = ep_calloc(ctx, p->n_disj + 1u, sizeof(uint32_t));
  m->path_choice = ep_calloc(ctx, p->n_disj + 1u, sizeof(uint32_t));
  m->choice_of = ep_calloc(ctx, p->n_disj + 1u, sizeof(uint32_t));
  m->order = ep_calloc(ctx, (size_t)(p->n_disj + 1) * (most + 1), sizeof(uint32_t));
  if (!m->y || !m->x || !m->path_disj || !m->path_choice || !m->choice_of || !m->order) return EP_E_NOMEM;
  m->proof = m->root->plan->proof;
  if (m->proof) EP_TRY(ep_prices_init(&m->prices, m->root, m->goals.net));
  m->n_u = m->prices.n_u;
  m->u = m->prices.u;
  return m->lp->create(ctx, p, &m->lp_solver);
}

ep_status ep_milp_create_for(ep_root *root, ep_goals *take_goals, ep_scratch *s, ep_milp **out) {
  const ep_backend *lp;
  *out = NULL;
  ep_status st = ep_backend_find(root->run->ctx, "glpk", &lp);
  ep_milp *m = st == EP_OK ? ep_calloc(root->run->ctx, 1, sizeof *m) : NULL;
  if (!m) {
    ep_goals_clear(take_goals);
    return st == EP_OK ? EP_E_NOMEM : st;
  }
  *m = (ep_milp){.root = root, .s = s, .lp = lp, .goals = *take_goals};
  *take_goals = (ep_goals){0};
  st = milp_fill(m);
  if (st != EP_OK)
    ep_milp_destroy(m);
  else
    *out = m;
  return st;
}

ep_status ep_milp_create(ep_root *root, ep_milp **out) {
  ep_scratch *s = ep_pool_scratch(root->run->pool);
  ep_goals goals;
  *out = NULL;
  EP_TRY(ep_goals_create(root, false, s, &goals));
  return ep_milp_create_for(root, &goals, s, out);
}

ep_status ep_milp_create_part(ep_root *root, uint32_t poly, ep_scratch *s, ep_milp **out) {
  ep_goals goals;
  *out = NULL;
  EP_TRY(ep_goals_create_one(root, poly, s, &goals));
  EP_TRY(ep_milp_create_for(root, &goals, s, out));
  (*out)->is_part = true;
  return EP_OK;
}

void ep_milp_destroy(ep_milp *m) {
  if (!m) return;
  ep_ctx *ctx = m->root->run->ctx;
  if (m->lp_solver) m->lp->destroy(m->lp_solver);
  if (m->exact_solver) m->exact->destroy(m->exact_solver);
  ep_goals_clear(&m->goals);
  void *owned[] = {m->y, m->x, m->path_disj, m->path_choice, m->choice_of, m->order};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) ep_free(ctx, owned[i]);
  ep_free(ctx, m);
}

void ep_milp_end_at(ep_milp *m, double until_s) {
  m->until_s = until_s;
  m->lp->limit(m->lp_solver, &(ep_effort){.until_s = until_s});
}

/* ---- what is recorded ---- */

/* Weights of the goal's rows, scaled so that the largest is 1 (all 0 when the case is empty without the goal); prices
 * alike. */
static void take_duals(ep_milp *m, uint32_t g, float *weight) {
  const ep_prob *p = m->goals.net->prob;
  const double *y = m->y + p->n_row + p->n_choice_row + p->goal[g].first;
  double scale = 0;
  for (uint32_t k = 0; k < p->goal[g].n; k++) scale = fmax(scale, y[k] < 0 && y[k] > -INFINITY ? -y[k] : 0);
  for (uint32_t k = 0; k < p->goal[g].n; k++)
    weight[k] = scale > 0 && y[k] < 0 && y[k] > -INFINITY ? (float)(-y[k] / scale) : 0;
  for (uint32_t i = 0; i < p->n_row && !(scale > 0); i++) scale = fmax(scale, fabs(m->y[i]));
  ep_prices_take(&m->prices, m->y, 0, NULL, NULL, g, scale > 0 ? scale : 1);
}

/* Do these weights and prices refute the case, with room for the replay's rounding? */
static ep_status replays(ep_milp *m, uint32_t poly, const float *weight, bool *is_refuted) {
  const ep_query *q = m->root->run->q;
  const ep_polytope *w = &q->box[m->root->box].poly[poly];
  ep_scratch *s = m->s;
  ep_scratch_mark mark = ep_scratch_save(s);
  double *y = EP_SCRATCH(s, double, q->n_y + 1u), *x = EP_SCRATCH(s, double, q->n_x + 1u), rhs = 0, size = 0, bound;
  if (!y || !x) return EP_E_NOMEM;
  memset(y, 0, q->n_y * sizeof *y);
  memset(x, 0, q->n_x * sizeof *x);
  for (uint32_t k = 0; k < w->n_row; k++) {
    const ep_row *r = &w->row[k];
    rhs += (double)weight[k] * r->rhs.hi;
    size += (double)weight[k] * fabs(r->rhs.hi);
    for (uint32_t i = 0; i < r->n; i++)
      *(r->var[i] < q->n_y ? &y[r->var[i]] : &x[r->var[i] - q->n_y]) += (double)weight[k] * r->coef[i];
  }
  ep_status st = ep_prices_bound(&m->prices, m->root->run->g->output, y, x, s, &bound);
  *is_refuted = st == EP_OK && bound > rhs + 1e-12 * size;
  ep_scratch_restore(s, mark);
  return st;
}

/* The case, refuted by the duals in m->y: recorded in the step under way if that replays, else not refuted. */
static ep_status record_case(ep_milp *m, const ep_case *c, bool *is_refuted) {
  const ep_prob *p = m->goals.net->prob;
  uint32_t n_row = p->goal[c->goal].n, n = 0;
  ep_scratch *s = m->s;
  ep_scratch_mark mark = ep_scratch_save(s);
  float *weight = EP_SCRATCH(s, float, n_row + 1u), *price = EP_SCRATCH(s, float, m->n_u + 1u);
  uint32_t *dec = EP_SCRATCH(s, uint32_t, c->n + 1u);
  if (!weight || !price || !dec) return EP_E_NOMEM;
  take_duals(m, c->goal, weight);
  memset(m->prices.phase, 0, m->prices.n_u);
  for (uint32_t i = 0; i < c->n; i++) m->prices.phase[c->disj[i]] = (uint8_t)(1 + c->choice[i]);
  for (uint32_t d = 0; d < p->n_disj; d++) {
    uint32_t z = ep_proof_flat(m->proof, m->prices.u[d].node, m->prices.u[d].neuron);
    if (m->prices.phase[d]) dec[n++] = (2 * z + m->prices.phase[d] - 1u) | EP_PROOF_FLAT;
  }
  for (uint32_t k = 0; k < m->n_u; k++) price[k] = ep_prices_of(&m->prices, &m->u[k]);
  ep_status st = replays(m, m->goals.poly[c->goal], weight, is_refuted);
  ep_proof_leaf leaf = {.n_dec = n, .dec = dec, .price = price, .weight = weight, .n_weight = n_row};
  if (n_row == 1 && weight[0] > 0) leaf.weight = NULL;
  if (st == EP_OK && *is_refuted) st = ep_proof_add_leaf(m->proof, &leaf, NULL, 0);
  ep_scratch_restore(s, mark);
  return st;
}

/* Does m->y refute the case, in what counts for the verdict and in what is recorded? */
static ep_status refutes(ep_milp *m, const ep_case *c, bool *is_refuted) {
  EP_TRY(ep_dual_refutes(m->goals.prob, c, m->y, m->s, is_refuted));
  return *is_refuted && m->proof ? record_case(m, c, is_refuted) : EP_OK;
}

static ep_status begin_record(ep_milp *m, uint32_t g) {
  return m->proof ? ep_proof_begin_poly(m->proof, m->goals.poly[g], m->n_u, m->u) : EP_OK;
}

static ep_status end_record(ep_milp *m, bool is_proved) {
  if (m->proof && is_proved) return ep_proof_commit(m->proof);
  if (m->proof) ep_proof_abort(m->proof);
  return EP_OK;
}

/* ---- the root relaxation ---- */

/* Certified margin of a goal of one row: lower bound of its sum, minus its right-hand side. */
static ep_status row_margin(ep_milp *m, uint32_t g, double *margin) {
  const ep_prob *p = m->goals.prob;
  const ep_prob_row *r = &p->goal_row[p->goal[g].first];
  ep_case none = {.goal = EP_NO_GOAL};
  double lower;
  EP_TRY(ep_dual_bound(p, &none, r->n, r->var, r->coef, m->y, m->s, &lower));
  *margin = ep_sub_dn(lower, r->hi);
  return EP_OK;
}

static ep_status relax_goal(ep_milp *m, uint32_t g) {
  const ep_prob *p = m->goals.prob;
  ep_run *run = m->root->run;
  ep_answer_kind answer;
  bool is_refuted = false;
  double margin = -INFINITY;
  EP_TRY(m->lp->goal(m->lp_solver, g, 0));
  EP_TRY(m->lp->check(m->lp_solver, NULL, &answer));
  m->cases++;
  if (answer == EP_ANSWER_UNKNOWN) return EP_OK;
  EP_TRY(m->lp->duals(m->lp_solver, m->y));
  if (answer == EP_ANSWER_SAT && p->goal[g].n == 1) EP_TRY(row_margin(m, g, &margin));
  ep_case c = {.goal = g};
  EP_TRY(begin_record(m, g));
  EP_TRY(refutes(m, &c, &is_refuted));
  EP_TRY(end_record(m, is_refuted));
  if (is_refuted) ep_run_mark_proved(run, m->root->box, m->goals.poly[g]);
  uint32_t row = m->root->spec.first[m->goals.poly[g]];
  if (margin > m->root->margin[row]) m->root->margin[row] = margin;
  return EP_OK;
}

ep_status ep_milp_relax(ep_milp *m) {
  ep_status st = EP_OK;
  for (uint32_t g = 0; g < m->goals.n && st == EP_OK; g++) {
    EP_TRY(m->lp->push(m->lp_solver));
    st = relax_goal(m, g);
    m->lp->pop(m->lp_solver);
  }
  return st;
}

/* ---- the search ---- */

typedef enum outcome { CLOSED, SPLIT, STUCK, FOUND } outcome;

static ep_status try_input(ep_milp *m, bool *is_found) {
  if (m->try_input) return m->try_input(m->arg, m->x, is_found);
  return ep_goal_try_input(m->root->run, m->root->box, m->x, m->s, is_found);
}

static double row_violation(const ep_milp *m, const ep_prob_row *r) {
  double v = 0;
  for (uint32_t k = 0; k < r->n; k++) v += r->coef[k] * m->lp->value(m->lp_solver, r->var[k]);
  return fmax(0, fmax(r->lo - v, v - r->hi));
}

static double choice_violation(const ep_milp *m, uint32_t d, uint32_t choice) {
  const ep_prob *p = m->goals.prob;
  const ep_prob_choice *c = &p->choice[p->disj[d].first + choice];
  double worst = 0;
  for (uint32_t k = c->first; k < c->first + c->n; k++) worst = fmax(worst, row_violation(m, &p->choice_row[k]));
  return worst;
}

/* The undecided disjunction that the LP's optimum violates most; n_disj when all are decided. */
static uint32_t most_violated(const ep_milp *m, double *violation) {
  const ep_prob *p = m->goals.prob;
  uint32_t best = p->n_disj;
  *violation = -1;
  for (uint32_t d = 0; d < p->n_disj; d++) {
    if (m->choice_of[d] != UINT32_MAX) continue;
    double least = INFINITY;
    for (uint32_t c = 0; c < p->disj[d].n; c++) least = fmin(least, choice_violation(m, d, c));
    if (least > *violation) {
      *violation = least;
      best = d;
    }
  }
  return best;
}

static uint32_t any_undecided(const ep_milp *m) {
  uint32_t d = 0;
  while (d < m->goals.prob->n_disj && m->choice_of[d] != UINT32_MAX) d++;
  return d;
}

/* The case by the exact solver: what double precision cannot settle (ties). */
static ep_status settle_exactly(ep_milp *m, const ep_case *c, outcome *out) {
  ep_run *run = m->root->run;
  bool is_sat = false;
  *out = STUCK;
  if (m->proof || m->skips_exact) return EP_OK; /* nobody records the word of an exact solver */
  if (!m->exact && ep_backend_find(run->ctx, "z3", &m->exact) != EP_OK) {
    ep_ctx_clear_error(run->ctx);
    return EP_OK;
  }
  if (!m->exact_solver) EP_TRY(m->exact->create(run->ctx, m->goals.net->prob, &m->exact_solver));
  ep_effort effort = {.until_s = m->until_s, .steps = m->is_part ? EXACT_STEPS_OF_PART : 0};
  m->exact->limit(m->exact_solver, &effort);
  EP_TRY(m->exact->push(m->exact_solver));
  ep_answer_kind answer = EP_ANSWER_UNKNOWN;
  ep_status st = m->exact->goal(m->exact_solver, c->goal, 0);
  for (uint32_t i = 0; i < c->n && st == EP_OK; i++) st = m->exact->choose(m->exact_solver, c->disj[i], c->choice[i]);
  if (st == EP_OK) st = m->exact->check(m->exact_solver, NULL, &answer);
  if (st == EP_OK && answer == EP_ANSWER_SAT) {
    ep_goals_input(&m->goals, m->goals.net->prob, m->exact, m->exact_solver, m->x);
    st = try_input(m, &is_sat);
  }
  m->exact->pop(m->exact_solver);
  if (answer == EP_ANSWER_UNSAT) {
    m->by_exact++;
    *out = CLOSED;
  } else if (is_sat) {
    *out = FOUND;
  }
  return st;
}

/* Bounds the case that the solver stands at; *split is the disjunction to split on. */
static ep_status visit(ep_milp *m, const ep_case *c, outcome *out, uint32_t *split) {
  ep_run *run = m->root->run;
  ep_answer_kind answer;
  bool is_refuted = false, is_sat = false;
  double violation = INFINITY;
  m->cases++;
  if (!m->is_part) atomic_store(&run->progress.domains, m->cases);
  EP_TRY(m->lp->check(m->lp_solver, NULL, &answer));
  double excess = answer == EP_ANSWER_SAT ? m->lp->objective(m->lp_solver) : INFINITY;
  if (excess > 0 && answer != EP_ANSWER_UNKNOWN) {
    EP_TRY(m->lp->duals(m->lp_solver, m->y));
    EP_TRY(refutes(m, c, &is_refuted));
    *out = CLOSED;
    if (is_refuted) return EP_OK;
  }
  if (answer == EP_ANSWER_SAT) {
    ep_goals_input(&m->goals, m->goals.prob, m->lp, m->lp_solver, m->x);
    EP_TRY(try_input(m, &is_sat));
    *out = FOUND;
    if (is_sat) return EP_OK;
    *split = most_violated(m, &violation);
  } else {
    *split = any_undecided(m);
  }
  *out = SPLIT;
  bool is_decided = *split == m->goals.prob->n_disj;
  return is_decided || violation <= FEASIBLE ? settle_exactly(m, c, out) : EP_OK;
}

/* Choices of disjunction d, least violated first; returns how many. */
static uint32_t order_choices(const ep_milp *m, uint32_t d, uint32_t *order) {
  uint32_t n = m->goals.prob->disj[d].n;
  for (uint32_t c = 0; c < n; c++) {
    double v = choice_violation(m, d, c);
    uint32_t k = c;
    for (; k > 0 && choice_violation(m, d, order[k - 1]) > v; k--) order[k] = order[k - 1];
    order[k] = c;
  }
  return n;
}

/* Back to no case at all. */
static void leave(ep_milp *m, uint32_t n) {
  for (; n > 0; n--) {
    m->choice_of[m->path_disj[n - 1]] = UINT32_MAX;
    m->lp->pop(m->lp_solver);
  }
}

/* Depth first; *out = SPLIT when given up. Level k of the path splits disjunction path_disj[k]; its choices still to
 * come are the last left[k] of order[k][..]. */
static ep_status search(ep_milp *m, uint32_t g, uint32_t *left, uint32_t stride, outcome *out) {
  const ep_prob *p = m->goals.prob;
  ep_case c = {.disj = m->path_disj, .choice = m->path_choice, .goal = g};
  uint64_t before = m->cases;
  bool is_stuck = false;
  for (;;) {
    outcome o = STUCK;
    uint32_t split = 0, k = c.n;
    if (ep_ctx_should_stop(m->root->run->ctx)) return EP_E_STOPPED;
    bool is_over = (m->max_cases && m->cases - before >= m->max_cases) || (m->until_s > 0 && ep_time_s() > m->until_s);
    if (!is_over) EP_TRY(visit(m, &c, &o, &split));
    if (o == FOUND || is_over) return leave(m, c.n), *out = is_over ? SPLIT : FOUND, EP_OK;
    is_stuck |= o == STUCK;
    if (o == SPLIT) {
      m->path_disj[k] = split;
      left[k] = order_choices(m, split, m->order + (size_t)k * stride);
      EP_TRY(m->lp->push(m->lp_solver));
    } else { /* back to the last level with a choice left */
      for (; k > 0 && !left[k - 1]; k--) {
        m->choice_of[m->path_disj[k - 1]] = UINT32_MAX;
        m->lp->pop(m->lp_solver);
      }
      if (k == 0) return *out = is_stuck ? STUCK : CLOSED, EP_OK;
      m->lp->pop(m->lp_solver);
      EP_TRY(m->lp->push(m->lp_solver));
      k--;
    }
    uint32_t d = m->path_disj[k], n = p->disj[d].n;
    m->path_choice[k] = m->choice_of[d] = m->order[(size_t)k * stride + n - left[k]--];
    c.n = k + 1;
    EP_TRY(m->lp->choose(m->lp_solver, d, m->path_choice[k]));
  }
}

ep_status ep_milp_decide(ep_milp *m, uint32_t g, ep_goal_outcome *out) {
  const ep_prob *p = m->goals.prob;
  ep_scratch_mark mark = ep_scratch_save(m->s);
  uint32_t *left = EP_SCRATCH(m->s, uint32_t, p->n_disj + 1u), stride = 2;
  *out = EP_GOAL_OPEN;
  if (!left) return EP_E_NOMEM;
  for (uint32_t d = 0; d < p->n_disj; d++) {
    m->choice_of[d] = UINT32_MAX;
    stride = p->disj[d].n > stride ? p->disj[d].n : stride;
  }
  outcome o = STUCK;
  EP_TRY(m->lp->push(m->lp_solver));
  ep_status st = m->lp->goal(m->lp_solver, g, 0);
  if (st == EP_OK) st = begin_record(m, g);
  if (st == EP_OK) st = search(m, g, left, stride, &o);
  ep_status recorded = end_record(m, st == EP_OK && o == CLOSED);
  if (st == EP_OK) st = recorded;
  ep_scratch_restore(m->s, mark);
  if (st != EP_OK) return st; /* the solver keeps its levels: a stopped search is not resumed */
  m->lp->pop(m->lp_solver);
  *out = o == CLOSED ? EP_GOAL_REFUTED : o == FOUND ? EP_GOAL_FOUND : o == STUCK ? EP_GOAL_STUCK : EP_GOAL_OPEN;
  return EP_OK;
}

ep_status ep_milp_search(ep_milp *m, uint32_t g, bool *is_sat, bool *is_stuck) {
  uint64_t by_exact = m->by_exact;
  ep_goal_outcome o;
  EP_TRY(ep_milp_decide(m, g, &o));
  *is_stuck = o == EP_GOAL_STUCK;
  if (o == EP_GOAL_FOUND) EP_TRY(ep_run_witness(m->root->run, m->root->box, m->x, m->s, is_sat));
  if (o == EP_GOAL_REFUTED && m->by_exact > by_exact)
    ep_run_mark_refuted_by_solver(m->root->run, m->root->box, m->goals.poly[g]);
  else if (o == EP_GOAL_REFUTED)
    ep_run_mark_proved(m->root->run, m->root->box, m->goals.poly[g]);
  return EP_OK;
}

ep_status ep_milp_settle(ep_milp *m, const ep_case *c, bool *is_closed, bool *is_sat) {
  const ep_prob *p = m->goals.prob;
  outcome o = STUCK;
  uint32_t split;
  *is_closed = *is_sat = false;
  for (uint32_t d = 0; d < p->n_disj; d++) m->choice_of[d] = UINT32_MAX;
  for (uint32_t i = 0; i < c->n; i++) m->choice_of[c->disj[i]] = c->choice[i];
  EP_TRY(m->lp->push(m->lp_solver));
  ep_status st = m->lp->goal(m->lp_solver, c->goal, 0);
  for (uint32_t i = 0; i < c->n && st == EP_OK; i++) st = m->lp->choose(m->lp_solver, c->disj[i], c->choice[i]);
  if (st == EP_OK) st = visit(m, c, &o, &split);
  if (st == EP_OK && o == SPLIT) st = settle_exactly(m, c, &o);
  m->lp->pop(m->lp_solver);
  if (st != EP_OK) return st;
  *is_closed = o == CLOSED;
  return o == FOUND ? ep_run_witness(m->root->run, m->root->box, m->x, m->s, is_sat) : EP_OK;
}
