#include "verifier/goal.h"

#include <assert.h>
#include <math.h>

static double mag_of(const ep_prob *p, uint32_t v) { return fmax(fabs(p->lo[v]), fabs(p->hi[v])); }

static ep_status add_row(ep_goals *g, const ep_query *q, const ep_row *row, ep_scratch *s) {
  ep_prob *p = g->net->prob;
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t *var = EP_SCRATCH(s, uint32_t, row->n + 1u), n = 0;
  double *coef = EP_SCRATCH(s, double, row->n + 1u), slack = 0;
  if (!var || !coef) return EP_E_NOMEM;
  for (uint32_t k = 0; k < row->n; k++) {
    uint32_t v = row->var[k] < q->n_y ? g->net->term[g->net->g->output][row->var[k]]
                                      : ep_network_input_var(g->net, row->var[k] - q->n_y);
    if (v == EP_NO_VAR || row->coef[k] == 0) continue; /* relative errors of 0 are 0 */
    if (row->coef_rel_err > 0)
      slack = ep_add_up(slack, ep_mul_up(ep_mul_up(row->coef_rel_err, fabs(row->coef[k])), mag_of(p, v)));
    var[n] = v;
    coef[n++] = row->coef[k];
  }
  if (!(slack >= 0)) slack = INFINITY;
  ep_prob_row r = {.n = n,
                   .var = var,
                   .coef = coef,
                   .lo = -INFINITY,
                   .hi = slack > 0 ? ep_add_up(row->rhs.hi, slack) : row->rhs.hi,
                   .is_hi_strict = row->is_strict};
  p->is_exact &= slack == 0 && row->rhs.lo == row->rhs.hi;
  ep_status st = ep_prob_add(p, EP_PLACE_GOAL, &r);
  ep_scratch_restore(s, m);
  return st;
}

/* The network and the polytopes first..end-1 of the box, without those proved unless with_proved. */
static ep_status create(const ep_root *root, uint32_t first, uint32_t end, bool with_proved, ep_scratch *s,
                        ep_goals *out) {
  const ep_query *q = root->run->q;
  const ep_input_box *b = &q->box[root->box];
  *out = (ep_goals){0};
  EP_TRY(ep_network_create(root->run->ctx, root->run->g, &root->bounds, &(ep_network_opt){0}, s, &out->net));
  ep_status st = EP_OK;
  out->poly = EP_ARENA(&out->net->prob->arena, uint32_t, b->n_poly + 1u);
  if (!out->poly) st = EP_E_NOMEM;
  for (uint32_t p = first; p < end && st == EP_OK; p++) {
    if (!with_proved && ep_run_is_proved(root->run, root->box, p)) continue;
    out->poly[out->n++] = p;
    st = ep_prob_open_goal(out->net->prob);
    for (uint32_t r = 0; r < b->poly[p].n_row && st == EP_OK; r++) st = add_row(out, q, &b->poly[p].row[r], s);
  }
  out->prob = out->net->prob;
  if (st != EP_OK) ep_goals_clear(out);
  return st;
}

ep_status ep_goals_create(const ep_root *root, bool with_proved, ep_scratch *s, ep_goals *out) {
  return create(root, 0, root->run->q->box[root->box].n_poly, with_proved, s, out);
}

ep_status ep_goals_create_one(const ep_root *root, uint32_t poly, ep_scratch *s, ep_goals *out) {
  return create(root, poly, poly + 1, true, s, out);
}

ep_status ep_goals_reduce(ep_goals *goals, int bits, ep_scratch *s) {
  ep_prob *small;
  uint32_t *map = EP_ARENA(&goals->net->prob->arena, uint32_t, goals->net->prob->n_var + 1u);
  if (!map) return EP_E_NOMEM;
  EP_TRY(ep_prob_reduce(goals->net->prob, NULL, bits, s, map, &small));
  if (!small) return EP_OK;
  assert(!goals->map);
  goals->prob = small;
  goals->map = map;
  return EP_OK;
}

void ep_goals_clear(ep_goals *goals) {
  if (goals->map) ep_prob_destroy(goals->prob);
  ep_network_destroy(goals->net);
  *goals = (ep_goals){0};
}

ep_status ep_goal_try_input(const ep_run *run, uint32_t box, const double *x, ep_scratch *s, bool *is_sat) {
  ep_scratch_mark mark = ep_scratch_save(s);
  ep_witness w = {.x = EP_SCRATCH(s, double, run->q->n_x + 1u), .y = EP_SCRATCH(s, double, run->q->n_y + 1u)};
  ep_status st = w.x && w.y ? ep_replay(run->g, run->q, box, x, s, &w, is_sat) : EP_E_NOMEM;
  ep_scratch_restore(s, mark);
  return st;
}

void ep_goals_input(const ep_goals *goals, const ep_prob *p, const ep_backend *be, ep_solver *solver, double *x) {
  const ep_graph *g = goals->net->g;
  bool is_reduced = goals->map && p == goals->prob;
  for (uint32_t i = 0; i < g->val[g->input].n; i++) {
    uint32_t v = ep_network_input_var(goals->net, i);
    x[i] = be->value(solver, is_reduced ? goals->map[v] : v);
  }
}
