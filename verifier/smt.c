#include "verifier/smt.h"

#include <math.h>

#include "verifier/boxes.h"
#include "verifier/exact.h"

typedef struct sweep {
  const ep_backend *be;
  double until_s;
  uint32_t n_stuck; /* polytopes for which the network's own problem was solved in vain */
} sweep;

/* Of the time there is, what the reduced problem may take before the network's own is tried. */
static const double REDUCED_SHARE = 0.7;

/* The goals that are open, by a solver for `p`, which is goals->prob or goals->net->prob. */
static ep_status decide(sweep *w, ep_root *root, const ep_goals *goals, const ep_prob *p, double until_s, ep_phase *ph,
                        bool *is_sat) {
  ep_run *run = root->run;
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_solver *solver = NULL;
  ep_goal_outcome outcome;
  double *x = EP_SCRATCH(s, double, run->q->n_x + 1u);
  ep_status st = x ? w->be->create(run->ctx, p, &solver) : EP_E_NOMEM;
  if (st == EP_OK) w->be->limit(solver, &(ep_effort){.until_s = until_s});
  for (uint32_t g = 0; g < goals->n && st == EP_OK && !*is_sat; g++) {
    if (ep_run_is_proved(run, root->box, goals->poly[g])) continue;
    st = ep_exact_decide(run, root->box, goals, p, g, w->be, solver, x, s, &outcome);
    if (st != EP_OK) break;
    ph->domains++;
    if (outcome == EP_GOAL_FOUND) st = ep_run_witness(run, root->box, x, s, is_sat);
    w->n_stuck += outcome == EP_GOAL_STUCK && p == goals->net->prob;
    if (outcome == EP_GOAL_REFUTED) ep_run_mark_refuted_by_solver(run, root->box, goals->poly[g]);
  }
  if (solver) w->be->destroy(solver);
  ep_scratch_restore(s, m);
  return st;
}

/* First with few variables and short numbers, which leaves open what is nearly a tie; that by the network itself. */
static ep_status decide_goals(sweep *w, ep_root *root, ep_goals *goals, ep_phase *ph, bool *is_sat) {
  double end_s = w->until_s > 0 ? w->until_s : ep_ctx_deadline(root->run->ctx), now_s = ep_time_s();
  EP_TRY(ep_goals_reduce(goals, EP_EXACT_BITS, ep_pool_scratch(root->run->pool)));
  if (goals->map) {
    ep_log(root->run->ctx, 2, "smt: reduced to %u variables, %u rows", goals->prob->n_var, goals->prob->n_row);
    double until_s = end_s > 0 ? now_s + REDUCED_SHARE * (end_s - now_s) : 0;
    EP_TRY(decide(w, root, goals, goals->prob, until_s, ph, is_sat));
    if (*is_sat || !ep_run_is_box_open(root->run, root->box)) return EP_OK;
  }
  return decide(w, root, goals, goals->net->prob, w->until_s, ph, is_sat);
}

static ep_status solve_box(void *arg, ep_run *run, uint32_t box, uint32_t n_left, ep_phase *ph, bool *is_sat) {
  sweep *w = arg;
  ep_root *root;
  (void)n_left;
  EP_TRY(ep_root_create(run, box, &root));
  ep_ascent_opt opt = ep_ascent_default();
  ep_goals goals = {0};
  ep_status st;
  opt.iterations = (uint32_t)run->cfg->iterations;
  EP_GOTO(ep_root_bound(root, EP_ROOT_CROWN, &opt));
  if (!ep_run_is_box_open(run, box)) goto done;
  EP_GOTO(ep_root_bound(root, EP_ROOT_ALPHA, &opt));
  if (!ep_run_is_box_open(run, box)) goto done;
  EP_GOTO(ep_goals_create(root, false, ep_pool_scratch(run->pool), &goals));
  ep_log(run->ctx, 2, "smt: box %u: %u variables, %u rows, %u unstable neurons, %u pool windows", box,
         goals.net->prob->n_var, goals.net->prob->n_row, goals.net->n_unstable, goals.net->n_pool);
  st = decide_goals(w, root, &goals, ph, is_sat);
done:
  ph->worst_bound = fmin(ph->worst_bound, ep_root_worst(root));
  ep_goals_clear(&goals);
  ep_root_destroy(root);
  return st;
}

ep_status ep_smt_sweep(void *unused, ep_run *run, double budget_s, bool *is_sat, bool *is_stuck) {
  sweep w = {.until_s = budget_s > 0 ? ep_time_s() + budget_s : 0};
  (void)unused;
  EP_TRY(ep_network_check(run->ctx, run->g));
  EP_TRY(ep_backend_find(run->ctx, "z3", &w.be));
  EP_TRY(ep_boxes_sweep(run, "smt", solve_box, &w, is_sat));
  *is_stuck = w.n_stuck == ep_run_n_open(run);
  return EP_OK;
}
