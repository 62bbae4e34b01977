#include "verifier/dlv.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "encoders/backend.h"
#include "encoders/network.h"
#include "verifier/root.h"
#include "verifier/rowcheck.h"

uint32_t ep_dlv_features(uint32_t n_x, const double *x, const bool *may_vary, uint32_t n, uint32_t *dim) {
  double mean = 0;
  for (uint32_t i = 0; i < n_x; i++) mean += x[i] / n_x;
  uint32_t k = 0;
  for (; k < n; k++) {
    uint32_t best = n_x;
    for (uint32_t i = 0; i < n_x; i++) {
      bool is_taken = !may_vary[i];
      for (uint32_t t = 0; t < k; t++) is_taken |= dim[t] == i;
      if (!is_taken && (best == n_x || fabs(x[i] - mean) > fabs(x[best] - mean))) best = i;
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

static ep_status visit(ep_run *run, const double *x, ep_scratch *s, ep_dlv_layer *l, bool *is_sat) {
  bool is_refuted;
  l->visited++;
  atomic_fetch_add(&run->progress.domains, 1);
  EP_TRY(is_refuted_at(run, x, s, &is_refuted));
  l->refuted += is_refuted;
  return is_refuted ? EP_OK : ep_run_witness(run, 0, x, s, is_sat);
}

/* ---- layer 0: the grid ---- */

static uint64_t power(uint64_t base, uint32_t n) {
  uint64_t p = 1;
  for (uint32_t i = 0; i < n; i++) p = p > EP_DLV_MAX_POINTS ? p : p * base;
  return p;
}

static ep_status search_grid(ep_run *run, uint32_t count, ep_dlv_layer *l, double *x, ep_scratch *s, bool *is_sat) {
  const ep_input_box *b = &run->q->box[0];
  uint64_t per = 2 * (uint64_t)count + 1;
  l->points = power(per, l->n_dim);
  uint64_t n = l->points < EP_DLV_MAX_POINTS ? l->points : EP_DLV_MAX_POINTS;
  for (uint64_t k = 0; k < n && !*is_sat; k++) {
    uint64_t rest = k;
    if (ep_ctx_should_stop(run->ctx)) return EP_E_STOPPED;
    for (uint32_t d = 0; d < l->n_dim; d++, rest /= per) {
      /* From the inward ends, so that every point lies in the box; the middle step is the input itself. */
      double lo = b->lo_in[l->dim[d]], hi = b->hi_in[l->dim[d]], at = (double)(rest % per) / (double)(per - 1);
      x[l->dim[d]] = rest % per == 0 ? lo : rest % per == per - 1 ? hi : fmin(hi, fmax(lo, lo + at * (hi - lo)));
    }
    EP_TRY(visit(run, x, s, l, is_sat));
  }
  l->is_complete = n == l->points && l->visited == n;
  return EP_OK;
}

/* ---- deeper layers: cells carried back ---- */

/* The dimensions of value v with the widest certified range. */
static void widest(const ep_root *root, ep_vid v, uint32_t n, ep_dlv_layer *l) {
  const double *lo = root->bounds.lo[v], *hi = root->bounds.hi[v];
  l->value = v;
  for (l->n_dim = 0; l->n_dim < n; l->n_dim++) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < root->run->g->val[v].n; i++) {
      bool is_taken = !(hi[i] - lo[i] > 0 && hi[i] - lo[i] < INFINITY);
      for (uint32_t t = 0; t < l->n_dim; t++) is_taken |= l->dim[t] == i;
      if (!is_taken && (best == UINT32_MAX || hi[i] - lo[i] > hi[best] - lo[best])) best = i;
    }
    if (best == UINT32_MAX) return;
    l->dim[l->n_dim] = best;
    l->lo[l->n_dim] = lo[best];
    l->hi[l->n_dim] = hi[best];
  }
}

/* Ends of part j of `per` equal parts; neighbours share an end exactly, the outer ones are the range's own. */
static double part_end(double lo, double hi, uint64_t j, uint64_t per) {
  return j == 0 ? lo : j == per ? hi : fmin(hi, fmax(lo, lo + (double)j / (double)per * (hi - lo)));
}

/* Bounds the layer's dimensions to cell k and asks for an input. */
static ep_status cell_input(const ep_dlv_layer *l, const ep_network *net, const ep_backend *be, ep_solver *solver,
                            uint64_t k, uint64_t per, ep_answer_kind *answer) {
  uint64_t rest = k;
  for (uint32_t d = 0; d < l->n_dim; d++, rest /= per) {
    uint32_t var = net->term[l->value][l->dim[d]];
    double lo = part_end(l->lo[d], l->hi[d], rest % per, per), hi = part_end(l->lo[d], l->hi[d], rest % per + 1, per);
    if (var == EP_NO_VAR) continue;
    EP_TRY(be->bound(solver, var, lo, hi));
  }
  return be->check(solver, NULL, answer);
}

static ep_status search_cells(ep_run *run, const ep_network *net, const ep_backend *be, ep_solver *solver,
                              uint32_t count, ep_dlv_layer *l, double *x, ep_scratch *s, bool *is_sat) {
  uint64_t per = 2 * (uint64_t)count + 1;
  l->points = power(per, l->n_dim);
  uint64_t n = l->points < EP_DLV_MAX_POINTS ? l->points : EP_DLV_MAX_POINTS;
  for (uint64_t k = 0; k < n && !*is_sat; k++) {
    ep_answer_kind answer = EP_ANSWER_UNKNOWN;
    EP_TRY(be->push(solver));
    ep_status st = cell_input(l, net, be, solver, k, per, &answer);
    if (st == EP_OK && answer == EP_ANSWER_SAT) {
      for (uint32_t i = 0; i < run->q->n_x; i++) x[i] = be->value(solver, ep_network_input_var(net, i));
      st = visit(run, x, s, l, is_sat);
    }
    l->empty += answer == EP_ANSWER_UNSAT;
    be->pop(solver);
    if (st != EP_OK) return st;
  }
  l->is_complete = n == l->points && l->visited + l->empty == n;
  return EP_OK;
}

static ep_status search_layer(ep_root *root, const ep_dlv_opt *opt, ep_vid v, const ep_backend *be, ep_dlv_layer *l,
                              double *x, ep_scratch *s, bool *is_sat) {
  ep_run *run = root->run;
  ep_network *net = NULL;
  ep_solver *solver = NULL;
  ep_status st;
  widest(root, v, opt->n_feature, l);
  bool *is_wanted = EP_SCRATCH(s, bool, run->g->val[v].n + 1u);
  st = is_wanted ? EP_OK : EP_E_NOMEM;
  if (st != EP_OK) goto done;
  for (uint32_t i = 0; i < run->g->val[v].n; i++) is_wanted[i] = false;
  for (uint32_t d = 0; d < l->n_dim; d++) is_wanted[l->dim[d]] = true;
  ep_network_opt part = {.n_node = run->g->val[v].producer + 1, .folds_pinned = true, .is_wanted = is_wanted};
  EP_GOTO(ep_network_create(run->ctx, run->g, &root->bounds, &part, s, &net));
  EP_GOTO(be->create(run->ctx, net->prob, &solver));
  st = search_cells(run, net, be, solver, opt->count, l, x, s, is_sat);
done:
  if (solver) be->destroy(solver);
  ep_network_destroy(net);
  return st;
}

static ep_status search_deeper(ep_run *run, const ep_dlv_opt *opt, ep_dlv_result *out, double *x, ep_scratch *s) {
  const ep_backend *be;
  ep_root *root;
  if (ep_backend_find(run->ctx, "z3", &be) != EP_OK || ep_network_check(run->ctx, run->g) != EP_OK) {
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
    st = search_layer(root, opt, root->plan->z_val[i], be, l, x, s, &out->is_sat);
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
  double *x = EP_SCRATCH(s, double, n_x + 1u);
  bool *may_vary = EP_SCRATCH(s, bool, n_x + 1u);
  assert(opt->n_feature > 0 && opt->n_feature <= EP_DLV_MAX_FEATURES && opt->count > 0);
  *out = (ep_dlv_result){.n_layer = 1, .layer[0].value = run->g->input};
  if (!x || !may_vary) goto done;
  for (uint32_t i = 0; i < n_x; i++) {
    x[i] = 0.5 * b->lo_in[i] + 0.5 * b->hi_in[i];
    may_vary[i] = b->lo_in[i] < b->hi_in[i];
  }
  ep_dlv_layer *l = &out->layer[0];
  l->n_dim = ep_dlv_features(n_x, x, may_vary, opt->n_feature, l->dim);
  uint32_t n_vary = 0;
  for (uint32_t i = 0; i < n_x; i++) n_vary += may_vary[i];
  for (uint32_t d = 0; d < l->n_dim; d++) {
    l->lo[d] = b->lo[l->dim[d]];
    l->hi[d] = b->hi[l->dim[d]];
  }
  EP_GOTO(search_grid(run, opt->count, l, x, s, &out->is_sat));
  /* Safe means the whole region, not a part of its dimensions. */
  out->is_safe = l->is_complete && l->refuted == l->points && n_vary == l->n_dim && !out->is_sat;
  if (!out->is_sat && opt->n_layer > 0) st = search_deeper(run, opt, out, x, s);
done:
  ep_scratch_restore(s, m);
  return st;
}
