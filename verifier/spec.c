#include "verifier/spec.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static ep_status spec_alloc(ep_spec *sp, bool has_x, ep_scratch *s) {
  size_t n = sp->n_row + 1;
  sp->coef = EP_SCRATCH(s, double, n * sp->n_y);
  sp->coef_x = has_x ? EP_SCRATCH(s, double, n * sp->n_x) : NULL;
  sp->rhs = EP_SCRATCH(s, double, n);
  sp->coef_err = EP_SCRATCH(s, double, n);
  sp->is_strict = EP_SCRATCH(s, bool, n);
  sp->poly = EP_SCRATCH(s, uint32_t, n);
  sp->first = EP_SCRATCH(s, uint32_t, sp->n_poly + 1);
  bool is_ok = sp->coef && sp->rhs && sp->coef_err && sp->is_strict && sp->poly && sp->first && (!has_x || sp->coef_x);
  if (!is_ok) return EP_E_NOMEM;
  memset(sp->coef, 0, n * sp->n_y * sizeof(double));
  if (has_x) memset(sp->coef_x, 0, n * sp->n_x * sizeof(double));
  return EP_OK;
}

static void spec_row(ep_spec *sp, const ep_plan *plan, uint32_t i, const ep_row *row) {
  const double *mag_y = plan->mag[plan->g->output], *mag_x = plan->mag[plan->g->input];
  double mass = 0;
  for (uint32_t t = 0; t < row->n; t++) {
    bool is_y = row->var[t] < sp->n_y;
    uint32_t j = is_y ? row->var[t] : row->var[t] - sp->n_y;
    assert(is_y || sp->coef_x);
    double *c = is_y ? &sp->coef[(size_t)i * sp->n_y + j] : &sp->coef_x[(size_t)i * sp->n_x + j];
    double sum = *c + row->coef[t];
    /* A variable that occurs twice: the sum's rounding joins the coefficient error. */
    double slip = *c != 0 ? 2 * EP_U64 * fabs(sum) : 0;
    *c = sum;
    mass += (row->coef_rel_err * fabs(row->coef[t]) + slip) * (is_y ? mag_y[j] : mag_x[j]);
  }
  sp->rhs[i] = row->rhs.hi;
  sp->coef_err[i] = mass > 0 ? mass * EP_ERR_SLACK + EP_ETA64 : 0;
  sp->is_strict[i] = row->is_strict;
}

ep_status ep_spec_init(ep_spec *sp, const ep_plan *plan, const ep_query *q, uint32_t box, ep_scratch *s) {
  const ep_input_box *b = &q->box[box];
  bool has_x = false;
  *sp = (ep_spec){.n_poly = b->n_poly, .n_x = q->n_x, .n_y = q->n_y};
  for (uint32_t p = 0; p < b->n_poly; p++)
    for (uint32_t r = 0; r < b->poly[p].n_row; r++, sp->n_row++)
      for (uint32_t t = 0; t < b->poly[p].row[r].n; t++) has_x |= b->poly[p].row[r].var[t] >= q->n_y;
  EP_TRY(spec_alloc(sp, has_x, s));
  uint32_t i = 0;
  for (uint32_t p = 0; p < b->n_poly; p++) {
    sp->first[p] = i;
    for (uint32_t r = 0; r < b->poly[p].n_row; r++, i++) {
      sp->poly[i] = p;
      spec_row(sp, plan, i, &b->poly[p].row[r]);
    }
  }
  sp->first[sp->n_poly] = i;
  return EP_OK;
}

ep_status ep_spec_margins(const ep_spec *sp, const ep_plan *plan, const ep_relax_f64 *relax, const ep_trace_itv *b,
                          size_t n, const uint32_t *row, const uint32_t *dom, double *const *alpha,
                          const ep_decision *decision, size_t n_decision, double **kept, double *margin, double *lin,
                          ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  size_t n_x = sp->n_x, n_y = sp->n_y;
  double *coef = EP_SCRATCH(s, double, n *n_y + 1);
  double *coef_x = sp->coef_x ? EP_SCRATCH(s, double, n *n_x + 1) : NULL;
  double *cst = EP_SCRATCH(s, double, 2 * n + 1), *err = cst ? cst + n : NULL;
  if (!coef || !cst || (sp->coef_x && !coef_x)) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    memcpy(coef + i * n_y, sp->coef + row[i] * n_y, n_y * sizeof(double));
    if (coef_x) memcpy(coef_x + i * n_x, sp->coef_x + row[i] * n_x, n_x * sizeof(double));
  }
  ep_backward_f64 job = {.plan = plan,
                         .relax = relax,
                         .from = plan->g->output,
                         .rows = n,
                         .dom = dom,
                         .coef = coef,
                         .coef_x = coef_x,
                         .alpha = alpha,
                         .decision = decision,
                         .n_decision = n_decision,
                         .kept = kept,
                         .lin = lin,
                         .cst = cst,
                         .err = err};
  ep_status st = ep_backward_run_f64(&job, s);
  if (st == EP_OK) {
    for (size_t i = 0; i < n; i++) err[i] = (err[i] + sp->coef_err[row[i]]) * plan->margin_factor;
    ep_backward_concretize_f64(n, n_x, lin, cst, err, dom, b->lo[plan->g->input], b->hi[plan->g->input], margin);
    for (size_t i = 0; i < n; i++) margin[i] = ep_sub_dn(margin[i], sp->rhs[row[i]]);
  }
  ep_scratch_restore(s, m);
  return st;
}

double ep_spec_seed(const ep_spec *sp, uint32_t row, const ep_snet *net, const double *x_lo, float *coef,
                    float *coef_x) {
  double rhs = sp->rhs[row];
  for (uint32_t j = 0; j < sp->n_y; j++) coef[j] = (float)sp->coef[(size_t)row * sp->n_y + j];
  for (uint32_t j = 0, c = 0; sp->coef_x && j < sp->n_x; j++) {
    double k = sp->coef_x[(size_t)row * sp->n_x + j];
    if (c < net->n_x && net->x_at[c] == j)
      coef_x[c++] = (float)k;
    else
      rhs -= k * x_lo[j];
  }
  return rhs;
}

double ep_spec_value(const ep_spec *sp, uint32_t row, const double *y, const double *x) {
  double t = -sp->rhs[row];
  for (uint32_t j = 0; j < sp->n_y; j++) t += sp->coef[(size_t)row * sp->n_y + j] * y[j];
  if (sp->coef_x)
    for (uint32_t j = 0; j < sp->n_x; j++) t += sp->coef_x[(size_t)row * sp->n_x + j] * x[j];
  return t;
}
