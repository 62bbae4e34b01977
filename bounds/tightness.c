#include "bounds/tightness.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "models/ops/window.h"

/* The linear map at the point: slope[v] for the outputs of UNIVAR nodes; from[v], which element of its input each
 * output of a MaxPool is. */
typedef struct pattern {
  double **slope;
  uint32_t **from;
} pattern;

static ep_status choose(const ep_node *nd, const double *x, ep_scratch *s, uint32_t **from) {
  const ep_max_windows *p = nd->param;
  uint32_t *at = *from = EP_SCRATCH(s, uint32_t, p->n + 1);
  if (!at) return EP_E_NOMEM;
  for (size_t i = 0; i < p->n; i++) {
    at[i] = p->col[p->ptr[i]];
    for (uint32_t k = p->ptr[i] + 1; k < p->ptr[i + 1]; k++)
      if (x[p->col[k]] > x[at[i]]) at[i] = p->col[k];
  }
  return EP_OK;
}

static ep_status pattern_at(const ep_graph *g, const double *x, bool is_linear, ep_scratch *s, pattern *p) {
  ep_trace_f64 t;
  double **slope = p->slope;
  EP_TRY(ep_eval_f64(g, 1, x, s, &t));
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    bool is_max = nd->low.cls == EP_GENERAL && !strcmp(nd->op->onnx, "MaxPool");
    if (nd->low.cls == EP_GENERAL && !is_max)
      return EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "node '%s' (%s) has no tightness", nd->name, nd->op->onnx);
    if (is_max) EP_TRY(choose(nd, t.v[nd->in[0]], s, &p->from[nd->out]));
    if (nd->low.cls != EP_UNIVAR) continue;
    uint32_t n = g->val[nd->out].n;
    slope[nd->out] = EP_SCRATCH(s, double, n);
    if (!slope[nd->out]) return EP_E_NOMEM;
    for (uint32_t i = 0; i < n; i++)
      slope[nd->out][i] = is_linear ? 1 : nd->low.is.univar.df(&nd->low.is.univar, t.v[nd->in[0]][i]);
  }
  return EP_OK;
}

/* Interval widths of all values of the linear map: |A| r, |slope| r. */
static ep_status forward_widths(const ep_graph *g, const double *rad, const pattern *p, ep_scratch *s, double **r) {
  for (uint32_t v = 0; v < g->n_val; v++) {
    r[v] = EP_SCRATCH(s, double, g->val[v].n);
    if (!r[v]) return EP_E_NOMEM;
  }
  memcpy(r[g->input], rad, g->val[g->input].n * sizeof *rad);
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (nd->low.cls == EP_UNIVAR) {
      for (uint32_t i = 0; i < g->val[nd->out].n; i++) r[nd->out][i] = fabs(p->slope[nd->out][i]) * r[nd->in[0]][i];
      continue;
    }
    if (nd->low.cls == EP_GENERAL) {
      for (uint32_t i = 0; i < g->val[nd->out].n; i++) r[nd->out][i] = r[nd->in[0]][p->from[nd->out][i]];
      continue;
    }
    const ep_affine *a = &nd->low.is.affine;
    for (uint32_t j = 0; j < a->n_terms; j++)
      EP_TRY(ep_linop_apply_abs_f64(&a->A[j], 1, r[nd->in[j]], r[nd->out], j > 0, s));
  }
  return EP_OK;
}

/* One node of the backward pass over n_row rows of coefficients; values get added to. */
static ep_status backward_node(const ep_graph *g, const ep_node *nd, size_t n_row, const pattern *p, ep_scratch *s,
                               double **c) {
  if (nd->low.cls == EP_AFFINE) {
    for (uint32_t j = 0; j < nd->n_in; j++)
      EP_TRY(ep_linop_apply_t_f64(&nd->low.is.affine.A[j], n_row, c[nd->out], c[nd->in[j]], true, s));
    return EP_OK;
  }
  size_t n = g->val[nd->out].n, n_in = g->val[nd->in[0]].n;
  for (size_t i = 0; i < n_row * n; i++)
    if (nd->low.cls == EP_UNIVAR)
      c[nd->in[0]][i] += p->slope[nd->out][i % n] * c[nd->out][i];
    else
      c[nd->in[0]][i / n * n_in + p->from[nd->out][i % n]] += c[nd->out][i];
  return EP_OK;
}

static void widths_of_rows(size_t n_row, size_t n, const double *c, const double *r, double *out) {
  for (size_t j = 0; j < n_row; j++) {
    out[j] = 0;
    for (size_t i = 0; i < n; i++) out[j] += fabs(c[j * n + i]) * r[i];
  }
}

static ep_status run(const ep_graph *g, const double *x, const double *rad, uint32_t label, bool is_linear,
                     ep_scratch *s, double *tau) {
  uint32_t n_y = g->val[g->output].n;
  pattern p = {EP_SCRATCH(s, double *, g->n_val), EP_SCRATCH(s, uint32_t *, g->n_val)};
  double **r = EP_SCRATCH(s, double *, g->n_val);
  double **c = EP_SCRATCH(s, double *, g->n_val), *loose = EP_SCRATCH(s, double, n_y);
  if (!p.slope || !p.from || !r || !c || !loose) return EP_E_NOMEM;
  EP_TRY(pattern_at(g, x, is_linear, s, &p));
  EP_TRY(forward_widths(g, rad, &p, s, r));
  for (uint32_t v = 0; v < g->n_val; v++) {
    size_t n = (size_t)n_y * g->val[v].n;
    c[v] = EP_SCRATCH(s, double, n);
    if (!c[v]) return EP_E_NOMEM;
    memset(c[v], 0, n * sizeof *c[v]);
  }
  for (uint32_t j = 0; j < n_y; j++) {
    c[g->output][(size_t)j * n_y + label] += 1;
    c[g->output][(size_t)j * n_y + j] -= 1;
  }
  for (uint32_t k = g->n_node; k-- > 0;) {
    EP_TRY(backward_node(g, &g->node[k], n_y, &p, s, c));
    ep_vid in = g->node[k].in[0];
    if (k + 1 == g->n_node) widths_of_rows(n_y, g->val[in].n, c[in], r[in], loose);
  }
  widths_of_rows(n_y, g->val[g->input].n, c[g->input], rad, tau);
  for (uint32_t j = 0; j < n_y; j++) tau[j] = loose[j] > 0 ? tau[j] / loose[j] : 1;
  tau[label] = NAN;
  return EP_OK;
}

ep_status ep_tightness_at(const ep_graph *g, const double *x, const double *rad, uint32_t label, bool is_linear,
                          ep_scratch *s, double *tau) {
  const ep_node *last = g->n_node ? &g->node[g->n_node - 1] : NULL;
  if (!last || last->low.cls != EP_AFFINE || last->n_in != 1 || last->out != g->output)
    return EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "the network's last layer is not affine: no tightness of margins");
  assert(label < g->val[g->output].n);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = run(g, x, rad, label, is_linear, s, tau);
  ep_scratch_restore(s, m);
  return st;
}

double ep_tightness_gaussian(double d) {
  return sqrt(3.141592653589793) * exp(lgamma((d + 1) / 2) - lgamma(d / 2)) / d;
}

double ep_tightness_same_sign(size_t n_out, size_t d, size_t n_in, const double *V, const double *W) {
  size_t n_same = 0;
  for (size_t i = 0; i < n_out; i++)
    for (size_t j = 0; j < n_in; j++) {
      bool has_up = false, has_down = false;
      for (size_t k = 0; k < d; k++) {
        double p = V[i * d + k] * W[k * n_in + j];
        has_up = has_up || p > 0;
        has_down = has_down || p < 0;
      }
      n_same += !(has_up && has_down);
    }
  return (double)n_same / (double)(n_out * n_in);
}
