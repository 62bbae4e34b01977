#include "encoders/relaxed.h"

#include <assert.h>
#include <string.h>

/* Rounds of cuts per minimum, and unstable neurons per layer with joint hulls. */
enum { ROUNDS = 8, MOST_JOINT = 64 };

/* ---- one relaxation ---- */

/* A solver for the problem as it stands now. */
static ep_status renew(ep_relaxed *r) {
  const ep_prob *p = r->net->prob;
  size_t n_y = (size_t)p->n_row + p->n_choice_row + p->n_goal_row + 1;
  if (r->solver) r->lp->destroy(r->solver);
  r->solver = NULL;
  ep_free(r->ctx, r->y);
  ep_free(r->ctx, r->x);
  r->y = ep_alloc(r->ctx, n_y * sizeof *r->y);
  r->x = ep_alloc(r->ctx, (p->n_var + 1u) * sizeof *r->x);
  return r->y && r->x ? r->lp->create(r->ctx, p, &r->solver) : EP_E_NOMEM;
}

ep_status ep_relaxed_create(ep_ctx *ctx, const ep_graph *g, const ep_trace_itv *bounds, const ep_network_opt *opt,
                            const ep_joints *joints, ep_scratch *s, ep_relaxed **out) {
  *out = NULL;
  ep_relaxed *r = ep_calloc(ctx, 1, sizeof *r);
  if (!r) return EP_E_NOMEM;
  *r = (ep_relaxed){.ctx = ctx, .s = s, .joints = joints, .rounds = ROUNDS};
  ep_status st = ep_backend_find(ctx, "glpk", &r->lp);
  if (st == EP_OK) st = ep_network_create(ctx, g, bounds, opt, s, &r->net);
  if (st == EP_OK) st = renew(r);
  if (st != EP_OK)
    ep_relaxed_destroy(r);
  else
    *out = r;
  return st;
}

void ep_relaxed_destroy(ep_relaxed *r) {
  if (!r) return;
  if (r->solver) r->lp->destroy(r->solver);
  ep_network_destroy(r->net);
  ep_free(r->ctx, r->y);
  ep_free(r->ctx, r->x);
  ep_free(r->ctx, r);
}

/* One program: its certified value into *lower, and whether its optimum breaks a joint hull (rows were added). */
static ep_status solve(ep_relaxed *r, uint32_t n, const uint32_t *var, const double *coef, bool is_last, double *lower,
                       uint32_t *n_cut) {
  ep_answer_kind answer;
  ep_case none = {.goal = EP_NO_GOAL};
  double bound;
  *n_cut = 0;
  EP_TRY(r->lp->minimise(r->solver, n, var, coef));
  EP_TRY(r->lp->check(r->solver, NULL, &answer));
  if (answer != EP_ANSWER_SAT) return EP_OK;
  EP_TRY(r->lp->duals(r->solver, r->y));
  EP_TRY(ep_dual_bound(r->net->prob, &none, n, var, coef, r->y, r->s, &bound));
  if (bound > *lower) *lower = bound;
  if (is_last || !r->joints) return EP_OK;
  for (uint32_t v = 0; v < r->net->prob->n_var; v++) r->x[v] = r->lp->value(r->solver, v);
  return ep_joints_separate(r->joints, r->net, r->x, n_cut);
}

ep_status ep_relaxed_minimise(ep_relaxed *r, ep_vid v, uint32_t n, const uint32_t *element, const double *coef,
                              double *lower) {
  ep_scratch_mark m = ep_scratch_save(r->s);
  uint32_t *var = EP_SCRATCH(r->s, uint32_t, n + 1u), k = 0, n_cut = 1;
  double *c = EP_SCRATCH(r->s, double, n + 1u);
  if (!var || !c) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t t = r->net->term[v][element[i]];
    if (t == EP_NO_VAR || coef[i] == 0) continue; /* the constant 0 */
    uint32_t at = 0;
    while (at < k && var[at] != t) at++; /* copies share a variable */
    if (at == k) c[k++] = 0;
    var[at] = t;
    assert(coef[i] == rint(coef[i]) && fabs(coef[i]) < 0x1p20); /* sums are exact */
    c[at] += coef[i];
  }
  for (uint32_t round = 0; round <= r->rounds && n_cut; round++) {
    EP_TRY(solve(r, k, var, c, round == r->rounds, lower, &n_cut));
    r->cuts += n_cut;
    if (n_cut) EP_TRY(renew(r));
  }
  ep_scratch_restore(r->s, m);
  return EP_OK;
}

/* ---- layers ---- */

static bool has_time(const ep_relaxed_opt *opt) {
  return opt->tightens && !(opt->until_s > 0 && ep_time_s() > opt->until_s);
}

/* The hook of ep_joints_add_layer. */
typedef struct hook {
  const ep_relaxed_opt *opt;
  ep_relaxed *r;
} hook;

static ep_status improve(void *arg, ep_vid v, uint32_t n, const uint32_t *element, const double *coef, double *lower) {
  hook *h = arg;
  return has_time(h->opt) && h->r->net->term[v] ? ep_relaxed_minimise(h->r, v, n, element, coef, lower) : EP_OK;
}

/* Both ends of neuron i of pre-activation v; what is certified is kept where it is better and consistent. */
static ep_status tighten(ep_relaxed *r, ep_vid v, uint32_t i, ep_trace_itv *b) {
  for (int side = 0; side < 2; side++) {
    double coef = side ? -1 : 1, lower = -INFINITY, *lo = &b->lo[v][i], *hi = &b->hi[v][i];
    EP_TRY(ep_relaxed_minimise(r, v, 1, &i, &coef, &lower));
    if (!side && lower > *lo && lower <= *hi) *lo = lower;
    if (side && -lower < *hi && -lower >= *lo) *hi = -lower;
  }
  return EP_OK;
}

/* The hulls of all ReLU nodes that read v. */
static ep_status join(const ep_plan *plan, const ep_relaxed_opt *opt, ep_vid v, ep_relaxed *r,
                      const ep_trace_itv *bounds, const ep_relax_f64 *relax, ep_joints *joints, ep_scratch *s) {
  hook h = {opt, r};
  ep_joint_opt jopt = {
      .size = opt->group, .most = MOST_JOINT, .improve = r ? improve : NULL, .arg = &h, .until_s = opt->until_s};
  for (uint32_t k = 0; k < plan->g->n_node; k++)
    if (plan->is_relu[k] && plan->g->node[k].in[0] == v)
      EP_TRY(ep_joints_add_layer(joints, plan, bounds, relax, k, &jopt, s));
  return EP_OK;
}

static ep_status pre_activation(const ep_plan *plan, const ep_relaxed_opt *opt, ep_vid v, ep_trace_itv *bounds,
                                ep_relax_f64 *relax, ep_joints *joints, ep_arena *arena, ep_scratch *s) {
  ep_relaxed *r = NULL;
  ep_status st = EP_OK;
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t n_v = plan->g->val[v].n, *dom = EP_SCRATCH(s, uint32_t, n_v + 1u);
  uint32_t *neuron = EP_SCRATCH(s, uint32_t, n_v + 1u);
  if (!dom || !neuron) return EP_E_NOMEM;
  uint32_t n = ep_crown_unstable(plan, v, bounds, dom, neuron);
  if (!n || v == plan->g->input) goto done; /* inputs are where they are, and independent of each other */
  ep_network_opt part = {.n_node = plan->g->val[v].producer + 1};
  if (has_time(opt)) EP_GOTO(ep_relaxed_create(plan->ctx, plan->g, bounds, &part, joints, s, &r));
  for (uint32_t i = 0; i < n && has_time(opt); i++) EP_GOTO(tighten(r, v, neuron[i], bounds));
  /* The lines of this layer and all bounds behind it follow. */
  ep_crown_opt crown = {.rule = EP_RELAX_ADAPTIVE, .pool = opt->pool};
  if (r) EP_GOTO(ep_crown_run(plan, &crown, bounds, relax, arena, s));
  if (opt->relaxation == EP_CONVEX_MULTI_NEURON) EP_GOTO(join(plan, opt, v, r, bounds, relax, joints, s));
done:
  ep_relaxed_destroy(r);
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_relaxed_layers(const ep_plan *plan, const ep_relaxed_opt *opt, ep_trace_itv *bounds, ep_relax_f64 *relax,
                            ep_joints *joints, ep_arena *arena, ep_scratch *s) {
  assert(ep_convex_is_program(opt->relaxation) && (joints || opt->relaxation == EP_CONVEX_TRIANGLE));
  EP_TRY(ep_network_check(plan->ctx, plan->g));
  for (uint32_t i = 0; i < plan->n_z; i++) {
    if (ep_ctx_should_stop(plan->ctx)) return EP_E_STOPPED;
    EP_TRY(pre_activation(plan, opt, plan->z_val[i], bounds, relax, joints, arena, s));
  }
  return EP_OK;
}

ep_status ep_relaxed_outputs(const ep_plan *plan, const ep_trace_itv *bounds, const ep_joints *joints, double *lo,
                             double *hi, ep_scratch *s) {
  ep_relaxed *r;
  EP_TRY(ep_relaxed_create(plan->ctx, plan->g, bounds, &(ep_network_opt){0}, joints, s, &r));
  ep_status st = EP_OK;
  /* First all outputs without cuts: should time run out, each has at least that. */
  for (uint32_t k = joints ? 0 : 2 * plan->n_y; k < 4 * plan->n_y && st == EP_OK; k++) {
    uint32_t i = k % (2 * plan->n_y), y = i / 2;
    r->rounds = k < 2 * plan->n_y ? 0 : ROUNDS;
    double coef = i % 2 ? -1 : 1, lower = i % 2 ? -hi[y] : lo[y];
    st = ep_relaxed_minimise(r, plan->g->output, 1, &y, &coef, &lower);
    if (i % 2)
      hi[y] = -lower;
    else
      lo[y] = lower;
  }
  ep_relaxed_destroy(r);
  return st;
}

/* Output bounds by back-substitution, in place. */
static ep_status outputs_by_lines(const ep_plan *plan, const ep_relax_f64 *relax, ep_trace_itv *bounds, ep_scratch *s) {
  uint32_t *dom = EP_SCRATCH(s, uint32_t, plan->n_y + 1u), *neuron = EP_SCRATCH(s, uint32_t, plan->n_y + 1u);
  if (!dom || !neuron) return EP_E_NOMEM;
  for (uint32_t i = 0; i < plan->n_y; i++) {
    dom[i] = 0;
    neuron[i] = i;
  }
  return ep_crown_tighten(plan, relax, plan->g->output, plan->n_y, dom, neuron, NULL, NULL, bounds, s);
}

static ep_status by_programs(const ep_plan *plan, const ep_relaxed_opt *opt, ep_trace_itv *bounds, ep_relax_f64 *relax,
                             double *lo, double *hi, ep_arena *arena, ep_scratch *s) {
  ep_joints joints;
  ep_joints_init(&joints, plan->ctx);
  /* Joint hulls cost most: they come when the triangles alone have gained what they can (or half of the time is up). */
  ep_relaxed_opt triangles = *opt;
  triangles.relaxation = EP_CONVEX_TRIANGLE;
  if (opt->until_s > 0 && opt->relaxation != EP_CONVEX_TRIANGLE)
    triangles.until_s = ep_time_s() + 0.5 * fmax(0, opt->until_s - ep_time_s());
  ep_status st = ep_relaxed_layers(plan, &triangles, bounds, relax, NULL, arena, s);
  if (st == EP_OK && opt->relaxation != EP_CONVEX_TRIANGLE)
    st = ep_relaxed_layers(plan, opt, bounds, relax, &joints, arena, s);
  if (st == EP_OK) st = outputs_by_lines(plan, relax, bounds, s); /* layers improved: so may the lines' bounds */
  memcpy(lo, bounds->lo[plan->g->output], plan->n_y * sizeof *lo);
  memcpy(hi, bounds->hi[plan->g->output], plan->n_y * sizeof *hi);
  if (st == EP_OK) st = ep_relaxed_outputs(plan, bounds, joints.n ? &joints : NULL, lo, hi, s);
  ep_joints_clear(&joints);
  return st == EP_E_STOPPED ? EP_OK : st; /* what there is by then is certified */
}

ep_status ep_relaxed_bounds(ep_plan *plan, ep_convex relaxation, const ep_relaxed_opt *opt, const double *x_lo,
                            const double *x_hi, double *lo, double *hi, ep_arena *arena, ep_scratch *s) {
  ep_trace_itv bounds;
  ep_relax_f64 relax;
  ep_scratch_mark m = ep_scratch_save(s);
  EP_TRY(ep_crown_table(plan, 1, s, &bounds));
  EP_TRY(ep_relax_init_f64(plan, 1, s, &relax));
  memcpy(bounds.lo[plan->g->input], x_lo, plan->n_x * sizeof *lo);
  memcpy(bounds.hi[plan->g->input], x_hi, plan->n_x * sizeof *hi);
  ep_crown_opt crown = {.rule = relaxation == EP_CONVEX_DEEPPOLY_0   ? EP_RELAX_ZERO
                                : relaxation == EP_CONVEX_DEEPPOLY_1 ? EP_RELAX_ONE
                                                                     : EP_RELAX_ADAPTIVE,
                        .is_interval_only = relaxation == EP_CONVEX_IBP,
                        .pool = opt->pool};
  EP_TRY(ep_crown_run(plan, &crown, &bounds, &relax, arena, s));
  if (relaxation != EP_CONVEX_IBP) {
    EP_TRY(ep_plan_refine(plan, &bounds, s));
    EP_TRY(outputs_by_lines(plan, &relax, &bounds, s));
  }
  memcpy(lo, bounds.lo[plan->g->output], plan->n_y * sizeof *lo);
  memcpy(hi, bounds.hi[plan->g->output], plan->n_y * sizeof *hi);
  if (ep_convex_is_program(relaxation)) {
    ep_relaxed_opt o = *opt;
    o.relaxation = relaxation;
    EP_TRY(by_programs(plan, &o, &bounds, &relax, lo, hi, arena, s));
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}
