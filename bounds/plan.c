#include "bounds/plan.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* aerr of one AFFINE node from the magnitudes of its inputs. */
static ep_status affine_error(ep_plan *p, uint32_t k, ep_scratch *s) {
  const ep_node *nd = &p->g->node[k];
  const ep_affine *a = &nd->low.is.affine;
  uint32_t n_out = p->g->val[nd->out].n;
  double *err = p->aerr[k];
  ep_scratch_mark m = ep_scratch_save(s);
  double *t = EP_SCRATCH(s, double, n_out);
  if (!t) return EP_E_NOMEM;
  memset(err, 0, n_out * sizeof *err);
  double eta = 0;
  for (uint32_t j = 0; j < a->n_terms; j++) {
    const ep_linop *A = &a->A[j];
    const double *mag = p->mag[nd->in[j]];
    ep_status st = ep_linop_apply_abs_f64(A, 1, mag, t, false, s);
    if (st != EP_OK) {
      ep_scratch_restore(s, m);
      return st;
    }
    double w = (ep_gamma64(A->terms_bwd + 4u) + A->rel_err * (1 + 0x1p-20)) * EP_ERR_SLACK;
    for (uint32_t i = 0; i < n_out; i++) err[i] += w * t[i];
    for (uint32_t i = 0; i < A->n_in; i++) eta += (A->terms_bwd + 1.0) * mag[i];
  }
  if (a->bias) {
    double w = (ep_gamma64(n_out + 4u)) * EP_ERR_SLACK;
    for (uint32_t i = 0; i < n_out; i++) err[i] += w * fabs(a->bias[i]) + (a->bias_err ? a->bias_err[i] : 0);
  }
  for (uint32_t i = 0; i < n_out; i++) err[i] = err[i] * EP_ERR_SLACK + EP_ETA64;
  p->aeta[k] = (eta * EP_ERR_SLACK + n_out + 1) * EP_ETA64;
  ep_scratch_restore(s, m);
  return EP_OK;
}

static ep_status errors(ep_plan *p, ep_scratch *s) {
  for (uint32_t k = 0; k < p->g->n_node; k++)
    if (p->g->node[k].low.cls == EP_AFFINE) EP_TRY(affine_error(p, k, s));
  return EP_OK;
}

static ep_status list_preactivations(ep_plan *p) {
  const ep_graph *g = p->g;
  bool *is_z = EP_ARENA(&p->arena, bool, g->n_val);
  p->z_val = EP_ARENA(&p->arena, ep_vid, g->n_val);
  p->z_off = EP_ARENA(&p->arena, size_t, g->n_val + 1);
  if (!is_z || !p->z_val || !p->z_off) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++)
    for (uint32_t j = 0; j < g->node[k].n_in && g->node[k].low.cls != EP_AFFINE; j++) {
      ep_vid v = g->node[k].in[j];
      if (is_z[v]) continue;
      is_z[v] = true;
      p->z_val[p->n_z] = v;
      p->z_off[p->n_z + 1] = p->z_off[p->n_z] + g->val[v].n;
      p->n_z++;
    }
  return EP_OK;
}

ep_status ep_plan_create(ep_ctx *ctx, const ep_graph *g, const double *lo, const double *hi, ep_scratch *s,
                         ep_plan **out) {
  *out = NULL;
  ep_status st = EP_E_NOMEM;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_plan *p = ep_calloc(ctx, 1, sizeof *p);
  if (!p) return st;
  p->ctx = ctx;
  p->g = g;
  p->margin_factor = 1;
  ep_arena_init(&p->arena, ctx);
  p->n_x = g->val[g->input].n;
  p->n_y = g->val[g->output].n;
  p->is_relu = EP_ARENA(&p->arena, bool, g->n_node + 1);
  p->aerr = EP_ARENA(&p->arena, double *, g->n_node + 1);
  p->aeta = EP_ARENA(&p->arena, double, g->n_node + 1);
  p->mag = EP_ARENA(&p->arena, double *, g->n_val);
  if (!p->is_relu || !p->aerr || !p->aeta || !p->mag) goto done;
  for (uint32_t v = 0; v < g->n_val; v++) {
    uint32_t n = g->val[v].n;
    if (n > p->max_n) p->max_n = n;
    p->mag[v] = EP_ARENA(&p->arena, double, n + 1);
    if (!p->mag[v]) goto done;
    for (uint32_t i = 0; i < n; i++) p->mag[v][i] = INFINITY;
  }
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (ep_op_is_relu(&nd->low)) {
      p->is_relu[k] = true;
      p->n_relu += g->val[nd->out].n;
    }
    if (nd->low.cls != EP_AFFINE) continue;
    p->aerr[k] = EP_ARENA(&p->arena, double, g->val[nd->out].n + 1);
    if (!p->aerr[k]) goto done;
  }
  EP_GOTO(list_preactivations(p));
  ep_trace_itv box;
  EP_GOTO(ep_eval_itv(g, 1, lo, hi, s, &box));
  EP_GOTO(ep_plan_refine(p, &box, s));
  *out = p;
done:
  ep_scratch_restore(s, m);
  if (st != EP_OK) ep_plan_destroy(p);
  return st;
}

void ep_plan_destroy(ep_plan *p) {
  if (!p) return;
  ep_ctx *ctx = p->ctx;
  ep_arena_clear(&p->arena);
  ep_free(ctx, p);
}

ep_status ep_plan_refine(ep_plan *p, const ep_trace_itv *b, ep_scratch *s) {
  assert(b->batch == 1);
  for (uint32_t v = 0; v < p->g->n_val; v++)
    for (uint32_t i = 0; i < p->g->val[v].n; i++) {
      double t = fmax(fabs(b->lo[v][i]), fabs(b->hi[v][i]));
      /* Written so that a NaN leaves the old magnitude in place. */
      if (t < p->mag[v][i]) p->mag[v][i] = t;
    }
  return errors(p, s);
}

double ep_plan_replay_factor(const ep_graph *g) { return g->is_float32 ? 1.01 : 8; }
