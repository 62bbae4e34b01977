#include "verifier/cuts.h"

#include "kernels/log.h"

/* Rounds of cuts per goal, at most. */
enum { ROUNDS = 10 };

ep_status ep_cuts_relaxation(ep_ctx *ctx, const ep_config *cfg, ep_convex *out) {
  *out = EP_CONVEX_TRIANGLE;
  if (!cfg->relaxation) return EP_OK;
  if (!ep_convex_find(cfg->relaxation, out))
    return EP_FAIL(ctx, EP_E_OPTION, "--relaxation: '%s' is not one of %s, %s", cfg->relaxation,
                   ep_convex_name(EP_CONVEX_TRIANGLE), ep_convex_name(EP_CONVEX_MULTI_NEURON));
  if (!ep_convex_is_program(*out))
    return EP_FAIL(ctx, EP_E_OPTION, "--relaxation: '%s' is no linear program; only 'bound' takes it", cfg->relaxation);
  if (*out == EP_CONVEX_MULTI_NEURON && cfg->certificate)
    return EP_FAIL(ctx, EP_E_OPTION, "--certificate: joint hulls have no place in certificates (use triangle)");
  return EP_OK;
}

ep_status ep_cuts_join(ep_root *root, double until_s, ep_joints *out) {
  ep_run *run = root->run;
  ep_relaxed_opt opt = {.relaxation = EP_CONVEX_MULTI_NEURON,
                        .group = (uint32_t)run->cfg->joint,
                        .tightens = until_s > 0,
                        .until_s = until_s,
                        .pool = run->pool};
  ep_joints_init(out, run->ctx);
  return ep_relaxed_layers(root->plan, &opt, &root->bounds, &root->relax, out, &root->arena,
                           ep_pool_scratch(run->pool));
}

/* The optimum of goal g's relaxation, x[n_var]; false when there is none. */
static ep_status optimum(const ep_backend *lp, const ep_goals *goals, uint32_t g, double *x, bool *has_one) {
  ep_solver *solver;
  ep_answer_kind answer = EP_ANSWER_UNKNOWN;
  EP_TRY(lp->create(goals->net->prob->ctx, goals->net->prob, &solver));
  ep_status st = lp->goal(solver, g, 0);
  if (st == EP_OK) st = lp->check(solver, NULL, &answer);
  /* No violation left, or already refuted: no row is of use. */
  *has_one = st == EP_OK && answer == EP_ANSWER_SAT && lp->objective(solver) <= 0;
  for (uint32_t v = 0; *has_one && v < goals->net->prob->n_var; v++) x[v] = lp->value(solver, v);
  lp->destroy(solver);
  return st;
}

static ep_status cut_goal(const ep_backend *lp, ep_goals *goals, const ep_joints *joints, uint32_t g, uint32_t *total) {
  ep_ctx *ctx = goals->net->prob->ctx;
  ep_status st = EP_OK;
  for (uint32_t round = 0, n = 1; round < ROUNDS && n && st == EP_OK; round++) {
    /* Rows may bring variables of their own. */
    double *x = ep_alloc(ctx, (goals->net->prob->n_var + 1u) * sizeof *x);
    bool has_one = false;
    n = 0;
    st = x ? optimum(lp, goals, g, x, &has_one) : EP_E_NOMEM;
    if (st == EP_OK && has_one) st = ep_joints_separate(joints, goals->net, x, &n);
    *total += n;
    ep_free(ctx, x);
  }
  return st;
}

ep_status ep_cuts_add(ep_goals *goals, const ep_joints *joints) {
  const ep_backend *lp;
  uint32_t total = 0;
  EP_TRY(ep_backend_find(goals->net->prob->ctx, "glpk", &lp));
  for (uint32_t g = 0; g < goals->n; g++) EP_TRY(cut_goal(lp, goals, joints, g, &total));
  ep_log(goals->net->prob->ctx, 2, "joint hulls: %u groups, %u rows added", joints->n, total);
  return EP_OK;
}
