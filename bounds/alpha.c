#include "bounds/alpha.h"

#include <assert.h>
#include <math.h>
#include <string.h>

ep_alpha_opt ep_alpha_default(void) {
  return (ep_alpha_opt){.iterations = 20, .rate = 0.1f, .beta_rate = 0.5f, .decay = 0.98f};
}

/* Marks the values that `from` is computed from, itself included. */
static void mark_ancestors(const ep_plan *p, ep_vid from, bool *is_anc) {
  const ep_graph *g = p->g;
  memset(is_anc, 0, g->n_val * sizeof(bool));
  is_anc[from] = true;
  for (uint32_t k = g->n_node; k-- > 0;)
    if (is_anc[g->node[k].out])
      for (uint32_t j = 0; j < g->node[k].n_in; j++) is_anc[g->node[k].in[j]] = true;
}

ep_status ep_alpha_tables(const ep_plan *p, const ep_relax_f32 *relax, ep_vid from, size_t rows, const uint32_t *dom,
                          ep_scratch *s, float ***out) {
  const ep_graph *g = p->g;
  float **a = EP_SCRATCH(s, float *, g->n_node + 1);
  bool *is_anc = EP_SCRATCH(s, bool, g->n_val);
  if (!a || !is_anc) return EP_E_NOMEM;
  mark_ancestors(p, from, is_anc);
  for (uint32_t k = 0; k < g->n_node; k++) {
    a[k] = NULL;
    size_t n = g->val[g->node[k].out].n;
    if (!p->is_relu[k] || !is_anc[g->node[k].out]) continue;
    a[k] = EP_SCRATCH(s, float, rows *n + 1);
    if (!a[k]) return EP_E_NOMEM;
    for (size_t r = 0; r < rows; r++)
      memcpy(a[k] + r * n, relax->lines[k].sl + (dom ? dom[r] : 0) * n, n * sizeof(float));
  }
  *out = a;
  return EP_OK;
}

ep_status ep_alpha_to_f64(const ep_plan *p, float *const *alpha, size_t rows, ep_scratch *s, double ***out) {
  double **a = EP_SCRATCH(s, double *, p->g->n_node + 1);
  if (!a) return EP_E_NOMEM;
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    a[k] = NULL;
    if (!alpha[k]) continue;
    size_t n = rows * p->g->val[p->g->node[k].out].n;
    a[k] = EP_SCRATCH(s, double, n + 1);
    if (!a[k]) return EP_E_NOMEM;
    for (size_t i = 0; i < n; i++) a[k][i] = alpha[k][i];
  }
  *out = a;
  return EP_OK;
}

/* Working state of one optimisation: side tables per node like alpha itself. */
typedef struct ascent {
  const ep_alpha_job *job;
  ep_scratch *s;
  float **kept, **m, **v, **best_alpha;
  float *best_beta, *beta_m, *beta_v;
  float **val; /* forward values [n_val] of [rows x n] */
  bool *is_anc, *is_better;
  float *lin, *cst, *err, *bound;
} ascent;

static ep_status table_like(const ascent *a, bool zero, float ***out) {
  const ep_plan *p = a->job->plan;
  float **t = EP_SCRATCH(a->s, float *, p->g->n_node + 1);
  if (!t) return EP_E_NOMEM;
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    t[k] = NULL;
    if (!a->job->alpha[k]) continue;
    size_t n = a->job->rows * p->g->val[p->g->node[k].out].n;
    t[k] = EP_SCRATCH(a->s, float, n + 1);
    if (!t[k]) return EP_E_NOMEM;
    if (zero) memset(t[k], 0, n * sizeof(float));
  }
  *out = t;
  return EP_OK;
}

/* Coefficient tables for every UNIVAR ancestor (the forward pass needs the side each neuron chose). */
static ep_status kept_tables(ascent *a) {
  const ep_plan *p = a->job->plan;
  a->kept = EP_SCRATCH(a->s, float *, p->g->n_node + 1);
  if (!a->kept) return EP_E_NOMEM;
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    const ep_node *nd = &p->g->node[k];
    a->kept[k] = a->job->kept ? a->job->kept[k] : NULL;
    if (a->kept[k] || nd->low.cls != EP_UNIVAR || !a->is_anc[nd->out]) continue;
    size_t n = a->job->rows * p->g->val[nd->out].n;
    a->kept[k] = EP_SCRATCH(a->s, float, n + 1);
    if (!a->kept[k]) return EP_E_NOMEM;
    memset(a->kept[k], 0, n * sizeof(float));
  }
  return EP_OK;
}

static ep_status ascent_init(ascent *a, bool optimise) {
  const ep_alpha_job *j = a->job;
  size_t rows = j->rows, n_dec = j->n_decision;
  a->is_anc = EP_SCRATCH(a->s, bool, j->plan->g->n_val);
  a->is_better = EP_SCRATCH(a->s, bool, rows + 1);
  a->lin = j->lin ? j->lin : EP_SCRATCH(a->s, float, rows * j->plan->n_x + 1);
  a->cst = EP_SCRATCH(a->s, float, 3 * rows + 3);
  a->best_beta = EP_SCRATCH(a->s, float, 3 * n_dec + 1);
  if (!a->is_anc || !a->is_better || !a->lin || !a->cst || !a->best_beta) return EP_E_NOMEM;
  a->err = a->cst + rows;
  a->bound = a->err + rows;
  a->beta_m = a->best_beta + n_dec;
  a->beta_v = a->beta_m + n_dec;
  for (size_t i = 0; i < n_dec; i++) {
    a->best_beta[i] = j->decision[i].beta;
    a->beta_m[i] = a->beta_v[i] = 0;
  }
  mark_ancestors(j->plan, j->from, a->is_anc);
  for (size_t r = 0; r < rows; r++) j->best[r] = -INFINITY;
  if (!optimise) {
    a->kept = j->kept;
    return EP_OK;
  }
  EP_TRY(kept_tables(a));
  EP_TRY(table_like(a, true, &a->m));
  EP_TRY(table_like(a, true, &a->v));
  EP_TRY(table_like(a, false, &a->best_alpha));
  a->val = EP_SCRATCH(a->s, float *, j->plan->g->n_val);
  if (!a->val) return EP_E_NOMEM;
  for (uint32_t v = 0; v < j->plan->g->n_val; v++) {
    a->val[v] = NULL;
    if (!a->is_anc[v] || v == j->from) continue;
    a->val[v] = EP_SCRATCH(a->s, float, rows * j->plan->g->val[v].n + 1);
    if (!a->val[v]) return EP_E_NOMEM;
  }
  return EP_OK;
}

static ep_status evaluate(ascent *a) {
  const ep_alpha_job *j = a->job;
  ep_backward_f32 b = {.plan = j->plan,
                       .relax = j->relax,
                       .from = j->from,
                       .rows = j->rows,
                       .dom = j->dom,
                       .neuron = j->neuron,
                       .sign = j->sign,
                       .coef = j->coef,
                       .coef_x = j->coef_x,
                       .alpha = j->alpha,
                       .decision = j->decision,
                       .n_decision = j->n_decision,
                       .kept = a->kept,
                       .lin = a->lin,
                       .cst = a->cst,
                       .err = a->err};
  EP_TRY(ep_backward_run_f32(&b, a->s));
  ep_backward_concretize_f32(j->rows, j->plan->n_x, a->lin, a->cst, j->dom, j->x_lo, j->x_hi, a->bound);
  for (size_t r = 0; r < j->rows; r++) {
    a->is_better[r] = a->bound[r] > j->best[r];
    if (a->is_better[r]) j->best[r] = a->bound[r];
  }
  return EP_OK;
}

static void keep_best(ascent *a) {
  const ep_alpha_job *j = a->job;
  for (uint32_t k = 0; k < j->plan->g->n_node; k++) {
    if (!j->alpha[k]) continue;
    size_t n = j->plan->g->val[j->plan->g->node[k].out].n;
    for (size_t r = 0; r < j->rows; r++)
      if (a->is_better[r]) memcpy(a->best_alpha[k] + r * n, j->alpha[k] + r * n, n * sizeof(float));
  }
  for (size_t i = 0; i < j->n_decision; i++)
    if (a->is_better[j->decision[i].row]) a->best_beta[i] = j->decision[i].beta;
}

static bool all_done(const ascent *a) {
  const ep_alpha_job *j = a->job;
  if (!j->target) return false;
  for (size_t r = 0; r < j->rows;) {
    size_t e = r;
    bool any = false;
    do {
      any |= j->best[e] > j->target[e];
      e++;
    } while (j->group && e < j->rows && j->group[e] == j->group[r]);
    if (!any) return false;
    r = e;
  }
  return true;
}

static ep_status forward_affine(ascent *a, const ep_node *nd) {
  const ep_alpha_job *j = a->job;
  const ep_affine *af = &nd->low.is.affine;
  size_t n = j->plan->g->val[nd->out].n;
  float *y = a->val[nd->out];
  for (uint32_t t = 0; t < af->n_terms; t++)
    EP_TRY(ep_linop_apply_f32(&af->A[t], j->rows, a->val[nd->in[t]], y, t > 0, a->s));
  for (size_t r = 0; af->bias32 && r < j->rows; r++)
    for (size_t i = 0; i < n; i++) y[r * n + i] += af->bias32[i];
  return EP_OK;
}

static void forward_univar(ascent *a, uint32_t k) {
  const ep_alpha_job *j = a->job;
  const ep_node *nd = &j->plan->g->node[k];
  size_t n = j->plan->g->val[nd->out].n;
  const ep_lines_f32 *ln = &j->relax->lines[k];
  for (size_t r = 0; r < j->rows; r++) {
    size_t at = (j->dom ? j->dom[r] : 0) * n;
    const float *z = a->val[nd->in[0]] + r * n, *c = a->kept[k] + r * n;
    const float *sl = j->alpha[k] ? j->alpha[k] + r * n : ln->sl + at;
    const float *tl = ln->tl + at, *su = ln->su + at, *tu = ln->tu + at;
    float *y = a->val[nd->out] + r * n;
    for (size_t i = 0; i < n; i++) y[i] = c[i] >= 0 ? sl[i] * z[i] + tl[i] : su[i] * z[i] + tu[i];
  }
  for (size_t i = 0; i < j->n_decision; i++) {
    const ep_decision *d = &j->decision[i];
    if (d->node != k) continue;
    size_t at = d->row * n + d->neuron;
    a->val[nd->out][at] = d->is_active ? a->val[nd->in[0]][at] : 0;
  }
}

/* GENERAL nodes: the mean of both planes (only steers the search). */
static ep_status forward_general(ascent *a, uint32_t k) {
  const ep_alpha_job *j = a->job;
  const ep_graph *g = j->plan->g;
  const ep_node *nd = &g->node[k];
  size_t n = g->val[nd->out].n, n_cat = 0;
  for (uint32_t t = 0; t < nd->n_in; t++) n_cat += g->val[nd->in[t]].n;
  ep_scratch_mark m = ep_scratch_save(a->s);
  float *cat = EP_SCRATCH(a->s, float, n_cat + 1);
  if (!cat) return EP_E_NOMEM;
  for (size_t r = 0; r < j->rows; r++) {
    float *at = cat, *y = a->val[nd->out] + r * n;
    for (uint32_t t = 0; t < nd->n_in; t++) {
      size_t w = g->val[nd->in[t]].n;
      memcpy(at, a->val[nd->in[t]] + r * w, w * sizeof(float));
      at += w;
    }
    const ep_linear_pair *lp = &j->relax->general[k][j->dom ? j->dom[r] : 0];
    EP_TRY(ep_linop_apply_f32(&lp->lower, 1, cat, y, false, a->s));
    EP_TRY(ep_linop_apply_f32(&lp->upper, 1, cat, y, true, a->s));
    for (size_t i = 0; i < n; i++) y[i] = 0.5f * (y[i] + (float)lp->lower_c[i] + (float)lp->upper_c[i]);
  }
  ep_scratch_restore(a->s, m);
  return EP_OK;
}

/* The minimising corner of every row, forward through the chosen lines. */
static ep_status forward_lines(ascent *a) {
  const ep_alpha_job *j = a->job;
  const ep_graph *g = j->plan->g;
  size_t n_x = j->plan->n_x;
  for (size_t r = 0; r < j->rows; r++) {
    size_t at = (j->dom ? j->dom[r] : 0) * n_x;
    float *x = a->val[g->input] + r * n_x;
    const float *c = a->lin + r * n_x;
    for (size_t i = 0; i < n_x; i++) x[i] = c[i] > 0 ? j->x_lo[at + i] : j->x_hi[at + i];
  }
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (!a->val[nd->out]) continue;
    if (nd->low.cls == EP_AFFINE)
      EP_TRY(forward_affine(a, nd));
    else if (nd->low.cls == EP_UNIVAR)
      forward_univar(a, k);
    else
      EP_TRY(forward_general(a, k));
  }
  return EP_OK;
}

/* One Adam step on every alpha. Stable neurons (upper intercept 0) keep theirs. */
static void step_alpha(ascent *a, uint32_t k, float rate, float c1, float c2) {
  const ep_alpha_job *j = a->job;
  const ep_node *nd = &j->plan->g->node[k];
  size_t n = j->plan->g->val[nd->out].n;
  for (size_t r = 0; r < j->rows; r++) {
    const float *tu = j->relax->lines[k].tu + (j->dom ? j->dom[r] : 0) * n;
    const float *c = a->kept[k] + r * n, *z = a->val[nd->in[0]] + r * n;
    float *al = j->alpha[k] + r * n, *m = a->m[k] + r * n, *v = a->v[k] + r * n;
    for (size_t i = 0; i < n; i++) {
      float g = c[i] > 0 ? c[i] * z[i] : 0;
      m[i] = 0.9f * m[i] + 0.1f * g;
      v[i] = 0.999f * v[i] + 0.001f * g * g;
      float t = al[i] + rate * (m[i] * c1) / (sqrtf(v[i] * c2) + 1e-8f);
      t = t < 0 ? 0 : t > 1 ? 1 : t;
      al[i] = tu[i] > 0 ? t : al[i];
    }
  }
}

static void step_beta(ascent *a, float rate, float c1, float c2) {
  const ep_alpha_job *j = a->job;
  for (size_t i = 0; i < j->n_decision; i++) {
    ep_decision *d = &j->decision[i];
    const ep_node *nd = &j->plan->g->node[d->node];
    float z = a->val[nd->in[0]][d->row * j->plan->g->val[nd->in[0]].n + d->neuron];
    float g = d->is_active ? -z : z;
    a->beta_m[i] = 0.9f * a->beta_m[i] + 0.1f * g;
    a->beta_v[i] = 0.999f * a->beta_v[i] + 0.001f * g * g;
    /* Multipliers live on the scale of the row's coefficient at the neuron. */
    float scale = fabsf(a->kept[d->node][d->row * j->plan->g->val[nd->out].n + d->neuron]);
    float t = d->beta + rate * scale * (a->beta_m[i] * c1) / (sqrtf(a->beta_v[i] * c2) + 1e-8f);
    d->beta = t > 0 ? t : 0;
  }
}

ep_status ep_alpha_run(const ep_alpha_job *job, const ep_alpha_opt *opt, ep_scratch *s) {
  ep_scratch_mark mark = ep_scratch_save(s);
  ascent a = {.job = job, .s = s};
  ep_status st;
  EP_GOTO(ascent_init(&a, opt->iterations > 0));
  EP_GOTO(evaluate(&a));
  if (!opt->iterations) goto done;
  keep_best(&a);
  float rate = opt->rate, beta_rate = opt->beta_rate, p1 = 1, p2 = 1;
  for (uint32_t it = 0; it < opt->iterations && !all_done(&a); it++) {
    if (ep_ctx_should_stop(job->plan->ctx)) break;
    EP_GOTO(forward_lines(&a));
    p1 *= 0.9f;
    p2 *= 0.999f;
    for (uint32_t k = 0; k < job->plan->g->n_node; k++)
      if (job->alpha[k]) step_alpha(&a, k, rate, 1 / (1 - p1), 1 / (1 - p2));
    step_beta(&a, beta_rate, 1 / (1 - p1), 1 / (1 - p2));
    rate *= opt->decay;
    beta_rate *= opt->decay;
    EP_GOTO(evaluate(&a));
    keep_best(&a);
  }
  for (uint32_t k = 0; k < job->plan->g->n_node; k++)
    if (job->alpha[k])
      memcpy(job->alpha[k], a.best_alpha[k],
             job->rows * job->plan->g->val[job->plan->g->node[k].out].n * sizeof(float));
  for (size_t i = 0; i < job->n_decision; i++) job->decision[i].beta = a.best_beta[i];
done:
  ep_scratch_restore(s, mark);
  return st;
}
