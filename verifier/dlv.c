#include "verifier/dlv.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "encoders/network.h"
#include "verifier/dlv_cells.h"
#include "verifier/rowcheck.h"

/* Of the time left, what the hidden layers may take. */
static const double LAYERS_SHARE = 0.5;

void ep_dlv_score_value(uint32_t n_x, const double *x, double *score) {
  double mean = 0;
  for (uint32_t i = 0; i < n_x; i++) mean += x[i] / n_x;
  for (uint32_t i = 0; i < n_x; i++) score[i] = fabs(x[i] - mean);
}

ep_status ep_dlv_score_gradient(const ep_graph *g, const ep_query *q, const double *x, ep_scratch *s, double *score) {
  const ep_input_box *b = &q->box[0];
  ep_scratch_mark m = ep_scratch_save(s);
  ep_trace_f64 t;
  double *gy = EP_SCRATCH(s, double, q->n_y + 1u), *gx = EP_SCRATCH(s, double, q->n_x + 1u), least = INFINITY;
  ep_status st = gy && gx ? EP_OK : EP_E_NOMEM;
  if (st == EP_OK) st = ep_eval_f64(g, 1, x, s, &t);
  const ep_row *nearest = NULL;
  for (uint32_t p = 0; p < b->n_poly && st == EP_OK; p++) {
    ep_polytope only = b->poly[p];
    ep_input_box one = {.n_poly = 1, .poly = &only};
    double d =
        ep_query_distance(&(ep_query){.n_x = q->n_x, .n_y = q->n_y, .n_box = 1, .box = &one}, 0, t.v[g->output], x);
    if (d < least && only.n_row) least = d, nearest = only.row;
  }
  for (uint32_t i = 0; i < q->n_y && st == EP_OK; i++) gy[i] = 0;
  for (uint32_t k = 0; st == EP_OK && nearest && k < nearest->n; k++)
    if (nearest->var[k] < q->n_y) gy[nearest->var[k]] = nearest->coef[k];
  if (st == EP_OK) st = ep_grad_f64(g, &t, gy, gx, s);
  for (uint32_t i = 0; i < q->n_x && st == EP_OK; i++) score[i] = fabs(gx[i]) * (b->hi[i] - b->lo[i]);
  ep_scratch_restore(s, m);
  return st;
}

uint32_t ep_dlv_features(uint32_t n_x, const double *score, const bool *may_vary, uint32_t n, uint32_t *dim) {
  uint32_t k = 0;
  for (; k < n; k++) {
    uint32_t best = n_x;
    for (uint32_t i = 0; i < n_x; i++) {
      bool is_taken = !may_vary[i];
      for (uint32_t t = 0; t < k; t++) is_taken |= dim[t] == i;
      if (!is_taken && (best == n_x || score[i] > score[best])) best = i;
    }
    if (best == n_x) break;
    dim[k] = best;
  }
  return k;
}

/* ---- one input ---- */

/* Every polytope of box 0 is refuted at the point (rigorous evaluation of the real network). */
static ep_status is_refuted_at(ep_run *run, const double *x, ep_scratch *s, bool *out) {
  const ep_input_box *b = &run->q->box[0];
  ep_scratch_mark m = ep_scratch_save(s);
  ep_trace_itv t;
  *out = false;
  ep_status st = ep_eval_itv(run->g, 1, x, x, s, &t);
  if (st == EP_OK) {
    *out = true;
    for (uint32_t p = 0; p < b->n_poly && *out; p++) {
      bool one = false;
      for (uint32_t r = 0; r < b->poly[p].n_row; r++) {
        const ep_row *w = &b->poly[p].row[r];
        one |= ep_row_is_refuted(w, ep_row_range(w, run->q->n_y, t.lo[run->g->output], t.hi[run->g->output], x, x));
      }
      *out = one;
    }
  }
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_dlv_visit(ep_run *run, const double *x, ep_scratch *s, ep_dlv_layer *l, bool *is_sat) {
  bool is_refuted;
  l->visited++;
  atomic_fetch_add(&run->progress.domains, 1);
  EP_TRY(is_refuted_at(run, x, s, &is_refuted));
  l->refuted += is_refuted;
  return is_refuted ? EP_OK : ep_run_witness(run, 0, x, s, is_sat);
}

/* ---- layer 0: the grid ---- */

uint64_t ep_dlv_power(uint64_t base, uint32_t n) {
  uint64_t p = 1;
  for (uint32_t i = 0; i < n; i++) p = p > EP_DLV_MAX_POINTS ? p : p * base;
  return p;
}

static ep_status search_grid(ep_run *run, uint32_t count, ep_dlv_layer *l, double *x, ep_scratch *s, bool *is_sat) {
  const ep_input_box *b = &run->q->box[0];
  uint64_t per = 2 * (uint64_t)count + 1;
  l->points = ep_dlv_power(per, l->n_dim);
  uint64_t n = l->points < EP_DLV_MAX_POINTS ? l->points : EP_DLV_MAX_POINTS;
  for (uint64_t k = 0; k < n && !*is_sat; k++) {
    uint64_t rest = k;
    if (ep_ctx_should_stop(run->ctx)) return EP_E_STOPPED;
    for (uint32_t d = 0; d < l->n_dim; d++, rest /= per) {
      /* From the inward ends, so that every point lies in the box; the middle step is the input itself. */
      double lo = b->lo_in[l->dim[d]], hi = b->hi_in[l->dim[d]], at = (double)(rest % per) / (double)(per - 1);
      x[l->dim[d]] = rest % per == 0 ? lo : rest % per == per - 1 ? hi : fmin(hi, fmax(lo, lo + at * (hi - lo)));
    }
    EP_TRY(ep_dlv_visit(run, x, s, l, is_sat));
  }
  l->is_complete = n == l->points && l->visited == n;
  return EP_OK;
}

/* ---- deeper layers ---- */

/* When a layer has to end so that `left` layers share the time there is. */
static double layer_ends(const ep_run *run, uint32_t left) {
  double deadline_s = ep_ctx_deadline(run->ctx), now_s = ep_time_s();
  return deadline_s > 0 ? now_s + LAYERS_SHARE * fmax(0, deadline_s - now_s) / left : 0;
}

static ep_status search_deeper(ep_run *run, const ep_dlv_opt *opt, ep_dlv_result *out, double *x) {
  ep_root *root;
  if (ep_network_check(run->ctx, run->g) != EP_OK) {
    ep_log(run->ctx, 1, "warning: dlv: only the input layer is searched: %s", ep_ctx_error(run->ctx).text);
    ep_ctx_clear_error(run->ctx);
    return EP_OK;
  }
  EP_TRY(ep_root_create(run, 0, &root));
  ep_ascent_opt ascent = ep_ascent_default();
  ep_status st = ep_root_bound(root, EP_ROOT_CROWN, &ascent);
  for (uint32_t i = 0; i < root->plan->n_z && st == EP_OK && !out->is_sat; i++) {
    if (root->plan->z_val[i] == run->g->input || out->n_layer > opt->n_layer || out->n_layer == EP_DLV_MAX_LAYERS)
      continue;
    ep_dlv_layer *l = &out->layer[out->n_layer++];
    double until_s = layer_ends(run, opt->n_layer + 2 - out->n_layer);
    st = ep_dlv_cells(root, opt, root->plan->z_val[i], until_s, l, x, &out->is_sat);
  }
  ep_root_destroy(root);
  return st;
}

ep_status ep_dlv_run(ep_run *run, const ep_dlv_opt *opt, ep_dlv_result *out) {
  const ep_input_box *b = &run->q->box[0];
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t n_x = run->q->n_x;
  ep_status st = EP_E_NOMEM;
  double *x = EP_SCRATCH(s, double, n_x + 1u), *score = EP_SCRATCH(s, double, n_x + 1u);
  bool *may_vary = EP_SCRATCH(s, bool, n_x + 1u);
  assert(opt->n_feature > 0 && opt->n_feature <= EP_DLV_MAX_FEATURES && opt->count > 0);
  *out = (ep_dlv_result){.n_layer = 1, .layer[0].value = run->g->input};
  if (!x || !score || !may_vary) goto done;
  for (uint32_t i = 0; i < n_x; i++) {
    x[i] = 0.5 * b->lo_in[i] + 0.5 * b->hi_in[i];
    may_vary[i] = b->lo_in[i] < b->hi_in[i];
  }
  ep_dlv_layer *l = &out->layer[0];
  ep_dlv_score_value(n_x, x, score);
  if (opt->by_gradient) EP_GOTO(ep_dlv_score_gradient(run->g, run->q, x, s, score));
  l->n_dim = ep_dlv_features(n_x, score, may_vary, opt->n_feature, l->dim);
  uint32_t n_vary = 0;
  for (uint32_t i = 0; i < n_x; i++) n_vary += may_vary[i];
  for (uint32_t d = 0; d < l->n_dim; d++) {
    l->lo[d] = b->lo[l->dim[d]];
    l->hi[d] = b->hi[l->dim[d]];
  }
  EP_GOTO(search_grid(run, opt->count, l, x, s, &out->is_sat));
  /* Safe means the whole region, not a part of its dimensions. */
  out->is_safe = l->is_complete && l->refuted == l->points && n_vary == l->n_dim && !out->is_sat;
  if (!out->is_sat && opt->n_layer > 0) st = search_deeper(run, opt, out, x);
done:
  ep_scratch_restore(s, m);
  return st;
}
