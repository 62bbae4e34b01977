/* Engine `smt`: a short attack, certified bounds, then the exact encoding of what they leave open, decided by Z3 one
 * polytope at a time. An `unsat` of an exact encoding is a proof; a model is a candidate and goes through replay. A
 * model often sits on the very edge of the unsafe set, where rounding the input to float32 loses it: then the same
 * question is asked again with the unsafe set shrunk a little. */
#include <math.h>

#include "verifier/attack.h"
#include "verifier/goal.h"

ep_status ep_engine_smt_run(ep_run *run);

static const double margins[] = {0, 1e-2, 1e-4, 1e-6};

/* One polytope; *is_sat tells that a counterexample was accepted. */
static ep_status decide(ep_root *root, const ep_goals *goals, uint32_t g, const ep_backend *be, ep_solver *solver,
                        bool *is_sat) {
  ep_run *run = root->run;
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, run->q->n_x + 1u);
  ep_status st = x ? EP_OK : EP_E_NOMEM;
  for (size_t k = 0; k < sizeof margins / sizeof *margins && st == EP_OK && !*is_sat; k++) {
    ep_answer_kind answer = EP_ANSWER_UNKNOWN;
    EP_GOTO(be->push(solver));
    st = be->goal(solver, g, margins[k]);
    if (st == EP_OK) st = be->check(solver, NULL, &answer);
    if (st == EP_OK && answer == EP_ANSWER_SAT) {
      ep_goals_input(goals, be, solver, x);
      st = ep_run_witness(run, root->box, x, s, is_sat);
    }
    be->pop(solver);
    if (answer == EP_ANSWER_UNSAT && k == 0) {
      ep_run_mark_refuted_by_solver(run, root->box, goals->poly[g]);
      break;
    }
  }
done:
  ep_scratch_restore(s, m);
  return st;
}

/* Everything in box `box` that is still open. */
static ep_status solve_box(ep_run *run, uint32_t box, const ep_backend *be, bool *is_sat) {
  ep_root *root;
  EP_TRY(ep_root_create(run, box, &root));
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_ascent_opt opt = ep_ascent_default();
  ep_goals goals = {0};
  ep_solver *solver = NULL;
  ep_status st;
  opt.iterations = (uint32_t)run->cfg->iterations;
  EP_GOTO(ep_root_bound(root, EP_ROOT_CROWN, &opt));
  if (!ep_run_is_box_open(run, box)) goto done;
  EP_GOTO(ep_root_bound(root, EP_ROOT_ALPHA, &opt));
  if (!ep_run_is_box_open(run, box)) goto done;
  EP_GOTO(ep_goals_create(root, false, s, &goals));
  ep_log(run->ctx, 2, "smt: box %u: %u variables, %u rows, %u unstable neurons, %u pool windows", box,
         goals.net->prob->n_var, goals.net->prob->n_row, goals.net->n_unstable, goals.net->n_pool);
  EP_GOTO(be->create(run->ctx, goals.net->prob, &solver));
  for (uint32_t g = 0; g < goals.n && st == EP_OK && !*is_sat; g++) st = decide(root, &goals, g, be, solver, is_sat);
done:
  if (solver) be->destroy(solver);
  ep_goals_clear(&goals);
  ep_root_destroy(root);
  return st;
}

ep_status ep_engine_smt_run(ep_run *run) {
  double t0 = ep_time_s();
  const ep_backend *be;
  uint32_t open = ep_run_n_open(run);
  bool is_sat = false;
  ep_status st = EP_OK;
  EP_TRY(ep_network_check(run->ctx, run->g));
  EP_TRY(ep_backend_find(run->ctx, "z3", &be));
  ep_phase ph = {.name = "smt", .worst_bound = NAN};
  atomic_store(&run->progress.phase, "smt");
  ep_attack_opt attack = {.restarts = (uint32_t)run->cfg->restarts, .steps = 15, .seed = (uint64_t)run->cfg->seed};
  ep_attack_stats stats = {0};
  st = ep_attack_run(run, &attack, &stats, &is_sat);
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK && !is_sat; i++) {
    if (!ep_run_is_box_open(run, i)) continue;
    st = solve_box(run, i, be, &is_sat);
    atomic_store(&run->progress.domains, ++ph.domains);
  }
  ph.seconds = ep_time_s() - t0;
  ph.proved = open - ep_run_n_open(run);
  ep_run_phase(run, &ph);
  return st;
}
