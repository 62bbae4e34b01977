#include "verifier/exact.h"

static const double margins[] = {0, 1e-2, 1e-4, 1e-6};

/* Once, with the unsafe set shrunk by `margin`. */
static ep_status ask(const ep_run *run, uint32_t box, const ep_goals *goals, const ep_prob *p, uint32_t g,
                     const ep_backend *be, ep_solver *solver, double margin, double *x, ep_scratch *s,
                     ep_answer_kind *answer, bool *is_found) {
  EP_TRY(be->push(solver));
  ep_status st = be->goal(solver, g, margin);
  if (st == EP_OK) st = be->check(solver, NULL, answer);
  if (st == EP_OK && *answer == EP_ANSWER_SAT) {
    ep_goals_input(goals, p, be, solver, x);
    st = ep_goal_try_input(run, box, x, s, is_found);
  }
  be->pop(solver);
  return st;
}

ep_status ep_exact_decide(const ep_run *run, uint32_t box, const ep_goals *goals, const ep_prob *p, uint32_t g,
                          const ep_backend *be, ep_solver *solver, double *x, ep_scratch *s, ep_goal_outcome *out) {
  bool is_found = false;
  *out = EP_GOAL_OPEN;
  for (size_t k = 0; k < sizeof margins / sizeof *margins && !is_found; k++) {
    ep_answer_kind answer = EP_ANSWER_UNKNOWN;
    EP_TRY(ask(run, box, goals, p, g, be, solver, margins[k], x, s, &answer, &is_found));
    if (k == 0 && answer == EP_ANSWER_UNSAT) *out = EP_GOAL_REFUTED;
    if (k == 0 && answer != EP_ANSWER_SAT) return EP_OK;
  }
  *out = is_found ? EP_GOAL_FOUND : *out == EP_GOAL_REFUTED ? EP_GOAL_REFUTED : EP_GOAL_STUCK;
  return EP_OK;
}
