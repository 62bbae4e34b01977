#include "verifier/milp.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* How far an LP solution may be off before a disjunction counts as violated by it. */
#define FEASIBLE 1e-7

/* ---- setting up ---- */

static ep_status milp_fill(ep_milp *m) {
  ep_ctx *ctx = m->root->run->ctx;
  ep_scratch *s = ep_pool_scratch(m->root->run->pool);
  EP_TRY(ep_backend_find(ctx, "glpk", &m->lp));
  EP_TRY(ep_goals_create(m->root, false, s, &m->goals));
  const ep_prob *p = m->goals.net->prob;
  uint32_t most = 1;
  for (uint32_t d = 0; d < p->n_disj; d++) most = p->disj[d].n > most ? p->disj[d].n : most;
  m->x = ep_calloc(ctx, m->root->run->q->n_x + 1u, sizeof *m->x);
  m->path_disj = ep_calloc(ctx, p->n_disj + 1u, sizeof(uint32_t));
  m->path_choice = ep_calloc(ctx, p->n_disj + 1u, sizeof(uint32_t));
  m->choice_of = ep_calloc(ctx, p->n_disj + 1u, sizeof(uint32_t));
  m->order = ep_calloc(ctx, (size_t)(p->n_disj + 1) * (most + 1), sizeof(uint32_t));
  if (!m->x || !m->path_disj || !m->path_choice || !m->choice_of || !m->order) return EP_E_NOMEM;
  return ep_milp_renew(m);
}

ep_status ep_milp_renew(ep_milp *m) {
  const ep_prob *p = m->goals.net->prob;
  ep_ctx *ctx = m->root->run->ctx;
  if (m->lp_solver) m->lp->destroy(m->lp_solver);
  m->lp_solver = NULL;
  ep_free(ctx, m->y);
  m->y = ep_calloc(ctx, (size_t)p->n_row + p->n_choice_row + p->n_goal_row + 1, sizeof *m->y);
  return m->y ? m->lp->create(ctx, p, &m->lp_solver) : EP_E_NOMEM;
}

ep_status ep_milp_create(ep_root *root, ep_milp **out) {
  *out = NULL;
  ep_milp *m = ep_calloc(root->run->ctx, 1, sizeof *m);
  if (!m) return EP_E_NOMEM;
  m->root = root;
  ep_status st = milp_fill(m);
  if (st != EP_OK)
    ep_milp_destroy(m);
  else
    *out = m;
  return st;
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

static ep_scratch *scratch(const ep_milp *m) { return ep_pool_scratch(m->root->run->pool); }

/* ---- the root relaxation ---- */

/* Certified margin of a goal of one row: lower bound of its sum, minus its right-hand side. */
static ep_status row_margin(ep_milp *m, uint32_t g, double *margin) {
  const ep_prob *p = m->goals.net->prob;
  const ep_prob_row *r = &p->goal_row[p->goal[g].first];
  ep_case none = {.goal = EP_NO_GOAL};
  double lower;
  EP_TRY(ep_dual_bound(p, &none, r->n, r->var, r->coef, m->y, scratch(m), &lower));
  *margin = ep_sub_dn(lower, r->hi);
  return EP_OK;
}

static ep_status relax_goal(ep_milp *m, uint32_t g) {
  const ep_prob *p = m->goals.net->prob;
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
  EP_TRY(ep_dual_refutes(p, &c, m->y, scratch(m), &is_refuted));
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

static double row_violation(const ep_milp *m, const ep_prob_row *r) {
  double v = 0;
  for (uint32_t k = 0; k < r->n; k++) v += r->coef[k] * m->lp->value(m->lp_solver, r->var[k]);
  return fmax(0, fmax(r->lo - v, v - r->hi));
}

static double choice_violation(const ep_milp *m, uint32_t d, uint32_t choice) {
  const ep_prob *p = m->goals.net->prob;
  const ep_prob_choice *c = &p->choice[p->disj[d].first + choice];
  double worst = 0;
  for (uint32_t k = c->first; k < c->first + c->n; k++) worst = fmax(worst, row_violation(m, &p->choice_row[k]));
  return worst;
}

/* The undecided disjunction that the LP's optimum violates most; n_disj when all are decided. */
static uint32_t most_violated(const ep_milp *m, double *violation) {
  const ep_prob *p = m->goals.net->prob;
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
  while (d < m->goals.net->prob->n_disj && m->choice_of[d] != UINT32_MAX) d++;
  return d;
}

/* The case by the exact solver: what double precision cannot settle (ties). */
static ep_status settle_exactly(ep_milp *m, const ep_case *c, outcome *out) {
  ep_run *run = m->root->run;
  bool is_sat = false;
  *out = STUCK;
  if (!m->exact && ep_backend_find(run->ctx, "z3", &m->exact) != EP_OK) {
    ep_ctx_clear_error(run->ctx);
    return EP_OK;
  }
  if (!m->exact_solver) EP_TRY(m->exact->create(run->ctx, m->goals.net->prob, &m->exact_solver));
  EP_TRY(m->exact->push(m->exact_solver));
  ep_answer_kind answer = EP_ANSWER_UNKNOWN;
  ep_status st = m->exact->goal(m->exact_solver, c->goal, 0);
  for (uint32_t i = 0; i < c->n && st == EP_OK; i++) st = m->exact->choose(m->exact_solver, c->disj[i], c->choice[i]);
  if (st == EP_OK) st = m->exact->check(m->exact_solver, NULL, &answer);
  if (st == EP_OK && answer == EP_ANSWER_SAT) {
    ep_goals_input(&m->goals, m->exact, m->exact_solver, m->x);
    st = ep_run_witness(run, m->root->box, m->x, scratch(m), &is_sat);
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
  atomic_store(&run->progress.domains, m->cases);
  EP_TRY(m->lp->check(m->lp_solver, NULL, &answer));
  double excess = answer == EP_ANSWER_SAT ? m->lp->objective(m->lp_solver) : INFINITY;
  if (excess > 0 && answer != EP_ANSWER_UNKNOWN) {
    EP_TRY(m->lp->duals(m->lp_solver, m->y));
    EP_TRY(ep_dual_refutes(m->goals.net->prob, c, m->y, scratch(m), &is_refuted));
    *out = CLOSED;
    if (is_refuted) return EP_OK;
  }
  if (answer == EP_ANSWER_SAT) {
    ep_goals_input(&m->goals, m->lp, m->lp_solver, m->x);
    EP_TRY(ep_run_witness(run, m->root->box, m->x, scratch(m), &is_sat));
    *out = FOUND;
    if (is_sat) return EP_OK;
    *split = most_violated(m, &violation);
  } else {
    *split = any_undecided(m);
  }
  *out = SPLIT;
  bool is_decided = *split == m->goals.net->prob->n_disj;
  return is_decided || violation <= FEASIBLE ? settle_exactly(m, c, out) : EP_OK;
}

/* Choices of disjunction d, least violated first; returns how many. */
static uint32_t order_choices(const ep_milp *m, uint32_t d, uint32_t *order) {
  uint32_t n = m->goals.net->prob->disj[d].n;
  for (uint32_t c = 0; c < n; c++) {
    double v = choice_violation(m, d, c);
    uint32_t k = c;
    for (; k > 0 && choice_violation(m, d, order[k - 1]) > v; k--) order[k] = order[k - 1];
    order[k] = c;
  }
  return n;
}

/* Depth first. Level k of the path splits disjunction path_disj[k]; its choices still to come are the last left[k] of
 * order[k][..]. */
static ep_status search(ep_milp *m, uint32_t g, uint32_t *left, uint32_t stride, outcome *out) {
  const ep_prob *p = m->goals.net->prob;
  ep_case c = {.disj = m->path_disj, .choice = m->path_choice, .goal = g};
  bool is_stuck = false;
  for (;;) {
    outcome o;
    uint32_t split = 0, k = c.n;
    if (ep_ctx_should_stop(m->root->run->ctx)) return EP_E_STOPPED;
    EP_TRY(visit(m, &c, &o, &split));
    if (o == FOUND) return *out = FOUND, EP_OK;
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

ep_status ep_milp_search(ep_milp *m, uint32_t g, bool *is_sat) {
  const ep_prob *p = m->goals.net->prob;
  ep_scratch *s = scratch(m);
  ep_scratch_mark mark = ep_scratch_save(s);
  uint32_t *left = EP_SCRATCH(s, uint32_t, p->n_disj + 1u), stride = 2;
  if (!left) return EP_E_NOMEM;
  for (uint32_t d = 0; d < p->n_disj; d++) {
    m->choice_of[d] = UINT32_MAX;
    stride = p->disj[d].n > stride ? p->disj[d].n : stride;
  }
  outcome o = STUCK;
  uint64_t by_exact = m->by_exact;
  EP_TRY(m->lp->push(m->lp_solver));
  ep_status st = m->lp->goal(m->lp_solver, g, 0);
  if (st == EP_OK) st = search(m, g, left, stride, &o);
  ep_scratch_restore(s, mark);
  if (st != EP_OK) return st; /* the solver keeps its levels: a stopped search is not resumed */
  *is_sat = o == FOUND;
  if (o == CLOSED && m->by_exact > by_exact)
    ep_run_mark_refuted_by_solver(m->root->run, m->root->box, m->goals.poly[g]);
  else if (o == CLOSED)
    ep_run_mark_proved(m->root->run, m->root->box, m->goals.poly[g]);
  if (o != FOUND) m->lp->pop(m->lp_solver);
  return EP_OK;
}

ep_status ep_milp_settle(ep_milp *m, const ep_case *c, bool *is_closed, bool *is_sat) {
  const ep_prob *p = m->goals.net->prob;
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
  *is_sat = o == FOUND;
  return EP_OK;
}
