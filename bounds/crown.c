#include "bounds/crown.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/enclose.h"
#include "models/float32.h"

ep_status ep_crown_table(const ep_plan *p, size_t batch, ep_scratch *s, ep_trace_itv *out) {
  out->batch = batch;
  out->lo = EP_SCRATCH(s, double *, p->g->n_val);
  out->hi = EP_SCRATCH(s, double *, p->g->n_val);
  if (!out->lo || !out->hi) return EP_E_NOMEM;
  for (uint32_t v = 0; v < p->g->n_val; v++) {
    size_t n = p->g->val[v].n * batch;
    out->lo[v] = EP_SCRATCH(s, double, n + 1);
    out->hi[v] = EP_SCRATCH(s, double, n + 1);
    if (!out->lo[v] || !out->hi[v]) return EP_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
      out->lo[v][i] = -INFINITY;
      out->hi[v][i] = INFINITY;
    }
  }
  return EP_OK;
}

size_t ep_crown_chunk(const ep_plan *p) {
  size_t rows = ((size_t)1 << 18) / (p->max_n + 1);
  return rows < 64 ? 64 : rows > 2048 ? 2048 : rows;
}

/* Keeps the tighter of old and new; a crossing (only possible when the domain is empty) or NaN keeps the old one. */
static void intersect(double *lo, double *hi, double l, double h) {
  double a = l > *lo ? l : *lo, b = h < *hi ? h : *hi;
  if (a <= b) {
    *lo = a;
    *hi = b;
  }
}

/* Shares of the inputs in a neuron's range, from its lower and upper rows lin[2 x n_x]. */
static void shares(const ep_plan *p, const ep_trace_itv *b, uint32_t d, const double *lin, float *out) {
  size_t n_x = p->n_x;
  const double *lo = b->lo[p->g->input] + d * n_x, *hi = b->hi[p->g->input] + d * n_x;
  double sum = 1e-300;
  for (size_t j = 0; j < n_x; j++) sum += (fabs(lin[j]) + fabs(lin[n_x + j])) * (hi[j] - lo[j]);
  for (size_t j = 0; j < n_x; j++) out[j] = (float)((fabs(lin[j]) + fabs(lin[n_x + j])) * (hi[j] - lo[j]) / sum);
}

ep_status ep_crown_tighten(const ep_plan *p, const ep_relax_f64 *relax, ep_vid v, size_t n_pair, const uint32_t *dom,
                           const uint32_t *neuron, double *const *alpha, float *influence, ep_trace_itv *b,
                           ep_scratch *s) {
  size_t rows = 2 * n_pair, n_x = p->n_x, n = p->g->val[v].n;
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t *row_dom = EP_SCRATCH(s, uint32_t, rows + 1), *row_neuron = EP_SCRATCH(s, uint32_t, rows + 1);
  int8_t *sign = EP_SCRATCH(s, int8_t, rows + 1);
  double *lin = EP_SCRATCH(s, double, rows *n_x + 1), *cst = EP_SCRATCH(s, double, 3 * rows + 1);
  if (!row_dom || !row_neuron || !sign || !lin || !cst) return EP_E_NOMEM;
  double *err = cst + rows, *low = err + rows;
  for (size_t i = 0; i < rows; i++) {
    row_dom[i] = dom[i / 2];
    row_neuron[i] = neuron[i / 2];
    sign[i] = i % 2 ? -1 : 1;
  }
  ep_backward_f64 job = {.plan = p,
                         .relax = relax,
                         .from = v,
                         .rows = rows,
                         .dom = row_dom,
                         .neuron = row_neuron,
                         .sign = sign,
                         .alpha = alpha,
                         .lin = lin,
                         .cst = cst,
                         .err = err};
  ep_status st = ep_backward_run_f64(&job, s);
  if (st == EP_OK) {
    ep_backward_concretize_f64(rows, n_x, lin, cst, err, row_dom, b->lo[p->g->input], b->hi[p->g->input], low);
    for (size_t i = 0; i < n_pair; i++) {
      size_t at = dom[i] * n + neuron[i];
      if (p->proof && alpha && low[2 * i] > b->lo[v][at])
        EP_TRY(ep_proof_add_leaf(p->proof, &(ep_proof_leaf){.key = 2 * neuron[i]}, alpha, 2 * i));
      if (p->proof && alpha && -low[2 * i + 1] < b->hi[v][at])
        EP_TRY(ep_proof_add_leaf(p->proof, &(ep_proof_leaf){.key = 2 * neuron[i] + 1}, alpha, 2 * i + 1));
      intersect(&b->lo[v][at], &b->hi[v][at], low[2 * i], -low[2 * i + 1]);
      if (influence) shares(p, b, dom[i], lin + 2 * i * n_x, influence + at * n_x);
    }
  }
  ep_scratch_restore(s, m);
  return st;
}

typedef struct tighten_job {
  const ep_plan *plan;
  const ep_relax_f64 *relax;
  ep_vid v;
  size_t n_pair, chunk;
  const uint32_t *dom, *neuron;
  float *influence;
  ep_trace_itv *bounds;
} tighten_job;

static ep_status tighten_chunk(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  tighten_job *j = arg;
  (void)worker;
  if (ep_ctx_should_stop(j->plan->ctx)) return EP_E_STOPPED;
  size_t at = i * j->chunk, n = j->n_pair - at < j->chunk ? j->n_pair - at : j->chunk;
  return ep_crown_tighten(j->plan, j->relax, j->v, n, j->dom + at, j->neuron + at, NULL, j->influence, j->bounds, s);
}

/* Is neuron i of value v nonlinear on its bounds for some consumer, so that tighter bounds help? */
static bool needs_bounds(const ep_plan *p, ep_vid v, double l, double h) {
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    const ep_node *nd = &p->g->node[k];
    if (nd->low.cls == EP_AFFINE) continue;
    for (uint32_t j = 0; j < nd->n_in; j++) {
      if (nd->in[j] != v) continue;
      if (nd->low.cls == EP_GENERAL) return l < h;
      if (p->is_relu[k] ? (l < 0 && h > 0) : (l < h && !ep_lines_is_linear(&nd->low.is.univar, l, h))) return true;
      if (!(l <= h)) return true;
    }
  }
  return false;
}

/* The usual case, one ReLU reading v, tested without walking the graph. */
static bool only_relu_reads(const ep_plan *p, ep_vid v) {
  uint32_t n_relu = 0, n_other = 0;
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    const ep_node *nd = &p->g->node[k];
    for (uint32_t j = 0; j < nd->n_in && nd->low.cls != EP_AFFINE; j++)
      if (nd->in[j] == v) *(p->is_relu[k] ? &n_relu : &n_other) += 1;
  }
  return n_relu && !n_other;
}

uint32_t ep_crown_unstable(const ep_plan *p, ep_vid v, const ep_trace_itv *b, uint32_t *dom, uint32_t *neuron) {
  size_t n = p->g->val[v].n;
  bool is_relu = only_relu_reads(p, v);
  uint32_t n_pair = 0;
  for (size_t d = 0; d < b->batch; d++)
    for (size_t i = 0; i < n; i++) {
      double l = b->lo[v][d * n + i], h = b->hi[v][d * n + i];
      if (is_relu ? !(l < 0 && h > 0) : !needs_bounds(p, v, l, h)) continue;
      dom[n_pair] = (uint32_t)d;
      neuron[n_pair++] = (uint32_t)i;
    }
  return n_pair;
}

ep_status ep_crown_value(const ep_plan *p, const ep_crown_opt *opt, ep_vid v, ep_trace_itv *b,
                         const ep_relax_f64 *relax, ep_scratch *s) {
  size_t n = p->g->val[v].n;
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t *dom = EP_SCRATCH(s, uint32_t, b->batch * n + 1), *neuron = EP_SCRATCH(s, uint32_t, b->batch * n + 1);
  if (!dom || !neuron) return EP_E_NOMEM;
  size_t n_pair = ep_crown_unstable(p, v, b, dom, neuron);
  tighten_job job = {p, relax, v, n_pair, ep_crown_chunk(p) / 2, dom, neuron, opt->influence ? opt->influence[v] : NULL,
                     b};
  ep_status st = n_pair && p->proof ? ep_proof_layer(p->proof, v, relax) : EP_OK;
  size_t n_chunk = st == EP_OK ? (n_pair + job.chunk - 1) / job.chunk : 0;
  if (opt->pool && n_chunk > 1)
    st = ep_pool_run(opt->pool, n_chunk, tighten_chunk, &job);
  else
    for (size_t i = 0; i < n_chunk && st == EP_OK; i++) st = tighten_chunk(&job, i, 0, s);
  ep_scratch_restore(s, m);
  return st;
}

/* Float32 errors of AFFINE node k from the magnitudes of its inputs over each domain. */
static ep_status float32_errors(const ep_plan *p, uint32_t k, const ep_trace_itv *b, double *err, ep_scratch *s) {
  const ep_node *nd = &p->g->node[k];
  const ep_affine *a = &nd->low.is.affine;
  size_t n_out = p->g->val[nd->out].n, n = n_out * b->batch;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    size_t n_in = b->batch * p->g->val[nd->in[j]].n;
    ep_scratch_mark m = ep_scratch_save(s);
    double *mag = EP_SCRATCH(s, double, n_in + 1);
    if (!mag) return EP_E_NOMEM;
    for (size_t i = 0; i < n_in; i++) mag[i] = fmax(fabs(b->lo[nd->in[j]][i]), fabs(b->hi[nd->in[j]][i]));
    EP_TRY(ep_linop_apply_abs_f64(&a->A[j], b->batch, mag, err, j > 0, s));
    ep_scratch_restore(s, m);
  }
  for (size_t i = 0; i < n; i++) {
    double mass = (err[i] + (a->bias ? fabs(a->bias[i % n_out]) : 0)) * EP_ERR_SLACK;
    err[i] = ep_float32_error(a->n_round, mass);
  }
  return EP_OK;
}

static ep_status affine_bounds(const ep_plan *p, uint32_t k, ep_trace_itv *b, const ep_relax_f64 *relax,
                               ep_scratch *s) {
  const ep_node *nd = &p->g->node[k];
  size_t n = p->g->val[nd->out].n * b->batch;
  ep_scratch_mark m = ep_scratch_save(s);
  const double **lo = EP_SCRATCH(s, const double *, nd->n_in + 1), **hi = EP_SCRATCH(s, const double *, nd->n_in + 1);
  double *l = EP_SCRATCH(s, double, n + 1), *h = EP_SCRATCH(s, double, n + 1);
  if (!lo || !hi || !l || !h) return EP_E_NOMEM;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    lo[j] = b->lo[nd->in[j]];
    hi[j] = b->hi[nd->in[j]];
  }
  ep_status st = ep_affine_box(&nd->low.is.affine, p->g->val[nd->out].n, b->batch, lo, hi, l, h, s);
  if (st == EP_OK)
    for (size_t i = 0; i < n; i++) intersect(&b->lo[nd->out][i], &b->hi[nd->out][i], l[i], h[i]);
  if (st == EP_OK && relax->f32_err[k]) st = float32_errors(p, k, b, relax->f32_err[k], s);
  ep_scratch_restore(s, m);
  return st;
}

static void univar_bounds(const ep_plan *p, uint32_t k, ep_trace_itv *b) {
  const ep_node *nd = &p->g->node[k];
  size_t n = p->g->val[nd->out].n * b->batch;
  const double *l = b->lo[nd->in[0]], *h = b->hi[nd->in[0]];
  double *yl = b->lo[nd->out], *yh = b->hi[nd->out];
  for (size_t i = 0; i < n; i++) {
    if (p->is_relu[k]) {
      /* A NaN never arises: tables start whole and are only ever intersected. */
      yl[i] = l[i] > 0 ? l[i] : 0;
      yh[i] = h[i] > 0 ? h[i] : 0;
    } else {
      ep_itv e = ep_enclose_range(&nd->low.is.univar, l[i], h[i]);
      intersect(&yl[i], &yh[i], e.lo, e.hi);
    }
  }
}

static ep_status general_bounds(const ep_plan *p, uint32_t k, ep_trace_itv *b, ep_relax_f64 *relax, ep_arena *arena,
                                ep_scratch *s) {
  const ep_node *nd = &p->g->node[k];
  size_t n = p->g->val[nd->out].n;
  ep_scratch_mark m = ep_scratch_save(s);
  const double **lo = EP_SCRATCH(s, const double *, nd->n_in + 1), **hi = EP_SCRATCH(s, const double *, nd->n_in + 1);
  double *l = EP_SCRATCH(s, double, n + 1), *h = EP_SCRATCH(s, double, n + 1);
  if (!lo || !hi || !l || !h) return EP_E_NOMEM;
  for (size_t d = 0; d < b->batch; d++) {
    for (uint32_t j = 0; j < nd->n_in; j++) {
      lo[j] = b->lo[nd->in[j]] + d * p->g->val[nd->in[j]].n;
      hi[j] = b->hi[nd->in[j]] + d * p->g->val[nd->in[j]].n;
    }
    nd->low.is.general.box(nd, lo, hi, l, h);
    for (size_t i = 0; i < n; i++) intersect(&b->lo[nd->out][d * n + i], &b->hi[nd->out][d * n + i], l[i], h[i]);
    EP_TRY(nd->low.is.general.relax(nd, lo, hi, arena, &relax->general[k][d]));
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

ep_status ep_crown_node(const ep_plan *p, uint32_t k, ep_relax_rule rule, ep_trace_itv *b, ep_relax_f64 *relax,
                        ep_arena *arena, ep_scratch *s) {
  const ep_node *nd = &p->g->node[k];
  if (nd->low.cls == EP_AFFINE) return affine_bounds(p, k, b, relax, s);
  if (nd->low.cls == EP_GENERAL) return general_bounds(p, k, b, relax, arena, s);
  ep_lines_node(p, k, rule, 0, b->batch, b->lo[nd->in[0]], b->hi[nd->in[0]], relax);
  univar_bounds(p, k, b);
  return EP_OK;
}

ep_status ep_crown_run(const ep_plan *p, const ep_crown_opt *opt, ep_trace_itv *b, ep_relax_f64 *relax, ep_arena *arena,
                       ep_scratch *s) {
  const ep_graph *g = p->g;
  assert(relax->batch == b->batch);
  ep_scratch_mark m = ep_scratch_save(s);
  bool *is_refined = EP_SCRATCH(s, bool, g->n_val);
  if (!is_refined) return EP_E_NOMEM;
  memset(is_refined, 0, g->n_val * sizeof(bool));
  is_refined[g->input] = true;
  ep_status st = EP_OK;
  for (uint32_t k = 0; k < g->n_node && st == EP_OK; k++) {
    const ep_node *nd = &g->node[k];
    if (ep_ctx_should_stop(p->ctx)) st = EP_E_STOPPED;
    for (uint32_t j = 0; j < nd->n_in && st == EP_OK && nd->low.cls != EP_AFFINE && !opt->is_interval_only; j++) {
      if (is_refined[nd->in[j]]) continue;
      is_refined[nd->in[j]] = true;
      st = ep_crown_value(p, opt, nd->in[j], b, relax, s);
    }
    if (st == EP_OK) st = ep_crown_node(p, k, opt->rule, b, relax, arena, s);
  }
  ep_scratch_restore(s, m);
  return st;
}
