#include "verifier/turns.h"

#include <math.h>

/* Coordinates with room, over all boxes. */
static uint32_t free_inputs(const ep_query *q) {
  uint32_t n = 0;
  for (uint32_t j = 0; j < q->n_x; j++) {
    bool is_free = false;
    for (uint32_t i = 0; i < q->n_box && !is_free; i++) is_free = q->box[i].lo[j] < q->box[i].hi[j];
    n += is_free;
  }
  return n;
}

/* Splitting few inputs takes 4 to the number of inputs boxes, 1024 from five on. */
bool ep_turns_can_split(const ep_run *run, double box_s) {
  uint32_t n_free = free_inputs(run->q);
  double deadline = ep_ctx_deadline(run->ctx), left = deadline > 0 ? deadline - ep_time_s() : INFINITY;
  return n_free <= 24 && box_s * pow(4, n_free < 5 ? n_free : 5) <= left;
}

/* *is_stuck: no box is left, but some could not be split and are open still. */
static ep_status split_inputs(ep_run *run, const ep_turns *t, double budget_s, bool *is_stuck) {
  ep_input_split_opt opt = {
      .deadline_s = budget_s > 0 ? ep_time_s() + budget_s : 0, .keep_below = 0.9, .decider = t->decider};
  ep_input_split_stats stats;
  ep_status st = ep_input_split_run(run, &opt, &stats);
  *is_stuck = st == EP_OK && !stats.open && ep_run_n_open(run) && !run->result.has_witness;
  return st;
}

ep_status ep_turns_run(ep_run *run, const ep_turns *t) {
  uint32_t n_free = free_inputs(run->q);
  bool is_sat = false, is_stuck = false, is_split_stuck = false, split_first = n_free <= 8 && !t->is_other_exact;
  double budget = n_free <= 6 && split_first ? 8 : 2;
  bool can_split = ep_turns_can_split(run, t->box_s);
  if (!t->other) return can_split ? split_inputs(run, t, 0, &is_split_stuck) : EP_OK;
  if (!can_split) return t->other(t->arg, run, 0, &is_sat, &is_stuck);
  for (int turn = 0; !ep_ctx_should_stop(run->ctx); turn++) {
    bool do_split = (turn % 2 == 0) == split_first;
    if (do_split && !is_split_stuck)
      EP_TRY(split_inputs(run, t, budget, &is_split_stuck));
    else if (!do_split && !is_stuck)
      EP_TRY(t->other(t->arg, run, budget, &is_sat, &is_stuck));
    if (is_sat || run->result.has_witness || !ep_run_n_open(run)) return EP_OK;
    if (is_stuck && t->is_other_exact) return EP_OK;
    if (is_split_stuck && (is_stuck || (!n_free && turn > 0))) return EP_OK;
    if (turn % 2) budget *= 3;
  }
  return EP_E_STOPPED;
}
