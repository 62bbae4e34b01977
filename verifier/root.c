#include "verifier/root.h"

#include <math.h>
#include <string.h>

#include "bounds/forward.h"

static ep_status root_fill(ep_root *r, uint32_t box) {
  const ep_input_box *b = &r->run->q->box[box];
  size_t n_x = r->run->q->n_x;
  EP_TRY(ep_plan_create(r->run->ctx, r->run->g, b->lo, b->hi, &r->mem, &r->plan));
  if (r->run->certificate) {
    EP_TRY(ep_proof_create(r->run->ctx, r->run->g, &r->plan->proof));
    r->plan->margin_factor = ep_plan_replay_factor(r->run->g);
  }
  EP_TRY(ep_spec_init(&r->spec, r->plan, r->run->q, box, &r->mem));
  EP_TRY(ep_crown_table(r->plan, 1, &r->mem, &r->bounds));
  EP_TRY(ep_relax_init_f64(r->plan, 1, &r->mem, &r->relax));
  memcpy(r->bounds.lo[r->run->g->input], b->lo, n_x * sizeof(double));
  memcpy(r->bounds.hi[r->run->g->input], b->hi, n_x * sizeof(double));
  r->margin = EP_SCRATCH(&r->mem, double, r->spec.n_row + 1);
  if (!r->margin) return EP_E_NOMEM;
  for (uint32_t i = 0; i < r->spec.n_row; i++) r->margin[i] = -INFINITY;
  return EP_OK;
}

ep_status ep_root_create(ep_run *run, uint32_t box, ep_root **out) {
  *out = NULL;
  ep_root *r = ep_calloc(run->ctx, 1, sizeof *r);
  if (!r) return EP_E_NOMEM;
  r->run = run;
  r->box = box;
  ep_arena_init(&r->arena, run->ctx);
  ep_scratch_init(&r->mem, run->ctx);
  ep_status st = root_fill(r, box);
  if (st != EP_OK)
    ep_root_destroy(r);
  else
    *out = r;
  return st;
}

void ep_root_destroy(ep_root *r) {
  if (!r) return;
  ep_ctx *ctx = r->run->ctx;
  if (r->plan) ep_proof_destroy(r->plan->proof);
  ep_plan_destroy(r->plan);
  ep_arena_clear(&r->arena);
  ep_scratch_clear(&r->mem);
  ep_free(ctx, r);
}

ep_status ep_root_open(ep_run *run, uint32_t box, ep_root_keep *keep, ep_root **out) {
  if (!keep || !keep->root || keep->root->box != box) return ep_root_create(run, box, out);
  *out = keep->root;
  keep->root = NULL;
  return EP_OK;
}

ep_status ep_root_close(ep_root *r, ep_root_keep *keep) {
  if (r && keep && r->run->q->n_box == 1) {
    keep->root = r;
    return EP_OK;
  }
  ep_proof *p = r ? r->plan->proof : NULL;
  ep_status st = p ? ep_certificate_add_neurons(r->run->certificate, r->box, p) : EP_OK;
  ep_root_destroy(r);
  return st;
}

/* Rows of open polytopes. */
static size_t open_rows(const ep_root *r, uint32_t *row, uint32_t *group) {
  size_t n = 0;
  for (uint32_t i = 0; i < r->spec.n_row; i++) {
    if (ep_run_is_proved(r->run, r->box, r->spec.poly[i])) continue;
    row[n] = i;
    group[n++] = r->spec.poly[i];
  }
  return n;
}

/* Row `row`, whose slopes are row `at` of alpha (NULL = the default rule), refutes its polytope. */
static ep_status record_row(ep_root *r, uint32_t row, double *const *alpha, size_t at) {
  ep_proof *proof = r->plan->proof;
  uint32_t p = r->spec.poly[row];
  if (alpha)
    EP_TRY(ep_proof_begin_poly(proof, p, r->net.n_u, r->net.u));
  else
    EP_TRY(ep_proof_begin_poly_lines(proof, p, &r->relax));
  EP_TRY(ep_proof_add_leaf(proof, &(ep_proof_leaf){.row = row - r->spec.first[p]}, alpha, at));
  return ep_proof_commit(proof);
}

static ep_status settle_rows(ep_root *r, size_t n, const uint32_t *row, double *const *alpha, const double *margin) {
  for (size_t i = 0; i < n; i++) {
    if (margin[i] > r->margin[row[i]]) r->margin[row[i]] = margin[i];
    uint32_t p = r->spec.poly[row[i]];
    if (!ep_spec_refutes(&r->spec, row[i], margin[i]) || ep_run_is_proved(r->run, r->box, p)) continue;
    if (r->plan->proof) EP_TRY(record_row(r, row[i], alpha, i));
    ep_run_mark_proved(r->run, r->box, p);
  }
  return EP_OK;
}

/* Makes the search net, optimises the open rows' slopes there, keeps them and hands them back as float64 tables. */
static ep_status optimise_rows(ep_root *r, const ep_ascent_opt *opt, size_t n, const uint32_t *row,
                               const uint32_t *group, double ***out, ep_scratch *s) {
  size_t n_y = r->spec.n_y;
  EP_TRY(ep_snet_init(&r->net, r->plan, &r->bounds, &r->relax, r->run->g->output, &r->mem));
  size_t n_x = r->net.n_x, n_u = r->net.n_u;
  r->slopes = EP_SCRATCH(&r->mem, float *, r->spec.n_row + 1);
  float *alpha = EP_SCRATCH(&r->mem, float, n *n_u + 1), **slopes = EP_SCRATCH(s, float *, n + 1);
  float *coef = EP_SCRATCH(s, float, n *n_y + 1), *coef_x = r->spec.coef_x ? EP_SCRATCH(s, float, n *n_x + 1) : NULL;
  float *target = EP_SCRATCH(s, float, n + 1);
  if (!r->slopes || !alpha || !slopes || !coef || !target || (r->spec.coef_x && !coef_x)) return EP_E_NOMEM;
  for (uint32_t i = 0; i < r->spec.n_row; i++) r->slopes[i] = NULL;
  for (size_t i = 0; i < n; i++) {
    r->slopes[row[i]] = slopes[i] = alpha + i * n_u;
    double rhs = ep_spec_seed(&r->spec, row[i], &r->net, r->bounds.lo[r->run->g->input], coef + i * n_y,
                              coef_x ? coef_x + i * n_x : NULL);
    target[i] = (float)(rhs + 1e-4 * (1 + fabs(rhs)));
  }
  ep_ascent a = {
      .net = &r->net, .n = n, .coef = coef, .coef_x = coef_x, .target = target, .group = group, .alpha = slopes};
  return ep_ascent_slopes(&a, opt, &r->relax, s, out);
}

ep_status ep_root_bound(ep_root *r, ep_root_method method, const ep_ascent_opt *opt) {
  ep_run *run = r->run;
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  uint32_t *row = EP_SCRATCH(s, uint32_t, 2 * r->spec.n_row + 1), *dom = EP_SCRATCH(s, uint32_t, r->spec.n_row + 1);
  double *margin = EP_SCRATCH(s, double, r->spec.n_row + 1), **alpha = NULL;
  double *lin = EP_SCRATCH(s, double, (size_t)r->spec.n_row * r->spec.n_x + 1);
  if (!row || !dom || !margin || !lin) goto done;
  uint32_t *group = row + r->spec.n_row;
  ep_crown_opt copt = {.rule = EP_RELAX_ADAPTIVE, .is_interval_only = method == EP_ROOT_IBP, .pool = run->pool};
  bool has_slopes = method == EP_ROOT_ALPHA || method == EP_ROOT_ROWS;
  if (method == EP_ROOT_ALPHA)
    EP_GOTO(ep_alpha_bounds(r->plan, &copt, opt, &r->bounds, &r->relax, &r->arena, s));
  else if (!has_slopes)
    EP_GOTO(ep_crown_run(r->plan, &copt, &r->bounds, &r->relax, &r->arena, s));
  if (method != EP_ROOT_ROWS) EP_GOTO(ep_plan_refine(r->plan, &r->bounds, s));
  size_t n = open_rows(r, row, group);
  for (size_t i = 0; i < n; i++) dom[i] = 0;
  if (has_slopes) EP_GOTO(optimise_rows(r, opt, n, row, group, &alpha, s));
  if (has_slopes && r->plan->proof) ep_proof_round(r->plan->proof, alpha, n);
  r->has_slopes = has_slopes;
  EP_GOTO(ep_spec_margins(&r->spec, r->plan, &r->relax, &r->bounds, n, row, dom, alpha, NULL, 0, NULL, margin, lin, s));
  st = settle_rows(r, n, row, alpha, margin);
done:
  ep_scratch_restore(s, m);
  return st;
}

double ep_root_worst(const ep_root *r) {
  double worst = INFINITY;
  for (uint32_t p = 0; p < r->spec.n_poly; p++) {
    if (ep_run_is_proved(r->run, r->box, p)) continue;
    double best = -INFINITY;
    for (uint32_t i = r->spec.first[p]; i < r->spec.first[p + 1]; i++) best = fmax(best, r->margin[i]);
    worst = fmin(worst, best);
  }
  return worst;
}

ep_status ep_root_sweep(ep_run *run, ep_root_method method, const char *name, ep_root_keep *keep) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run);
  ep_phase ph = {.name = name, .worst_bound = INFINITY};
  atomic_store(&run->progress.phase, name);
  ep_ascent_opt opt = ep_ascent_default();
  opt.iterations = (uint32_t)run->cfg->iterations;
  ep_status st = EP_OK;
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK; i++) {
    if (!ep_run_is_box_open(run, i)) continue;
    ep_root *root;
    st = ep_root_open(run, i, keep, &root);
    if (st != EP_OK) break;
    st = ep_root_bound(root, method, &opt);
    ph.domains++;
    atomic_store(&run->progress.domains, ph.domains);
    if (st == EP_OK) ph.worst_bound = fmin(ph.worst_bound, ep_root_worst(root));
    ep_status closed = ep_root_close(root, keep);
    if (st == EP_OK) st = closed;
  }
  ph.seconds = ep_time_s() - t0;
  ph.proved = open - ep_run_n_open(run);
  if (!(ph.worst_bound < INFINITY)) ph.worst_bound = NAN;
  ep_run_phase(run, &ph);
  return st;
}
