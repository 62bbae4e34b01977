#include "verifier/binary_goal.h"

#include <math.h>

/* Magnitude of an output over all signs: sum of its weights and bias, generously. */
static double output_mag(const ep_binary *b, uint32_t i, ep_scratch *s, ep_status *st) {
  const ep_graph *g = b->g;
  if (b->bits[g->output]) return 1;
  const ep_affine *a = &g->node[b->affine[g->output]].low.is.affine;
  ep_scratch_mark m = ep_scratch_save(s);
  double *row = EP_SCRATCH(s, double, a->A[0].n_in + 1u), sum = a->bias ? fabs(a->bias[i]) : 0;
  if (!row) return *st = EP_E_NOMEM, 0;
  ep_linop_rows_f64(&a->A[0], 1, &i, row, false);
  for (uint32_t j = 0; j < a->A[0].n_in; j++) sum += fabs(row[j]);
  ep_scratch_restore(s, m);
  return 1.001 * sum;
}

static ep_status row_literal(ep_binary *b, const ep_query *q, const ep_row *row, ep_scratch *s, ep_lit *out) {
  ep_binary_row r = {
      .n = row->n, .output = row->var, .coef = row->coef, .rhs = row->rhs.hi, .is_strict = row->is_strict};
  ep_status st = EP_OK;
  for (uint32_t k = 0; k < row->n; k++) {
    if (row->var[k] >= q->n_y)
      return EP_FAIL(q->ctx, EP_E_UNSUPPORTED, "%s: a condition reads inputs, which clauses cannot say", q->name);
    if (row->coef_rel_err > 0)
      r.coef_err = ep_add_up(r.coef_err, ep_mul_up(row->coef_rel_err * fabs(row->coef[k]) * (1 + 0x1p-50),
                                                   output_mag(b, row->var[k], s, &st)));
  }
  return st == EP_OK ? ep_binary_row_literal(b, &r, s, out) : st;
}

static ep_status add_goals(ep_binary *b, const ep_query *q, uint32_t box, const ep_run *run, ep_scratch *s) {
  const ep_input_box *x = &q->box[box];
  uint32_t n_row = 0, n_goal = 0, n = 0;
  for (uint32_t p = 0; p < x->n_poly; p++) n_row += x->poly[p].n_row;
  uint32_t *first = EP_SCRATCH(s, uint32_t, x->n_poly + 2u);
  ep_lit *lit = EP_SCRATCH(s, ep_lit, n_row + 1u);
  if (!first || !lit) return EP_E_NOMEM;
  for (uint32_t p = 0; p < x->n_poly; p++) {
    if (run && ep_run_is_proved(run, box, p)) continue;
    first[n_goal++] = n;
    for (uint32_t r = 0; r < x->poly[p].n_row; r++) EP_TRY(row_literal(b, q, &x->poly[p].row[r], s, &lit[n++]));
  }
  first[n_goal] = n;
  return ep_binary_require(b, n_goal, first, lit);
}

ep_status ep_binary_goal_create(ep_ctx *ctx, const ep_graph *g, const ep_query *q, uint32_t box, const ep_run *run,
                                ep_scratch *s, ep_binary **out) {
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = ep_binary_create(ctx, g, q->box[box].lo, q->box[box].hi, s, out);
  if (st == EP_OK) st = add_goals(*out, q, box, run, s);
  if (st != EP_OK) {
    ep_binary_destroy(*out);
    *out = NULL;
  }
  ep_scratch_restore(s, m);
  return st;
}
