/* Engine `auto`: escalates from cheap to dear: a quick attack, intervals, one CROWN pass, a fuller attack, optimised
 * bounds, then branch and bound. Inputs are split when few of them are free and a box is cheap to bound (the CROWN pass
 * tells), neurons when the network is ReLU; with both possible each gets turns with growing budgets. */
#include <math.h>

#include "verifier/attack.h"
#include "verifier/input_split.h"
#include "verifier/root.h"
#include "verifier/sweep.h"

ep_status ep_engine_auto_run(ep_run *run);
ep_status ep_engine_ibp_run(ep_run *run);

static ep_status attack(ep_run *run, uint32_t restarts, uint32_t steps, double budget_s, bool *is_sat) {
  double t0 = ep_time_s();
  ep_attack_opt opt = {restarts, steps, t0 + budget_s, (uint64_t)run->cfg->seed + restarts};
  ep_attack_stats stats = {0};
  atomic_store(&run->progress.phase, "attack");
  ep_status st = ep_attack_run(run, &opt, &stats, is_sat);
  ep_phase ph = {.name = "attack", .seconds = ep_time_s() - t0, .domains = stats.samples, .worst_bound = NAN};
  ep_run_phase(run, &ph);
  return st;
}

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

static bool only_relu(const ep_graph *g) {
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_lowered *low = &g->node[k].low;
    bool is_relu = low->cls == EP_UNIVAR && low->is.univar.n_piece == 2 && low->is.univar.slope[0] == 0 &&
                   low->is.univar.slope[1] == 1 && !low->is.univar.has_jump;
    if (low->cls != EP_AFFINE && !is_relu) return false;
  }
  return true;
}

static ep_status split_inputs(ep_run *run, double budget_s, double *volume_left) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run);
  ep_input_split_opt opt = {.deadline_s = budget_s > 0 ? t0 + budget_s : 0, .keep_below = 0.9};
  ep_input_split_stats stats;
  atomic_store(&run->progress.phase, "input-split");
  ep_status st = ep_input_split_run(run, &opt, &stats);
  ep_phase ph = {.name = "input-split",
                 .seconds = ep_time_s() - t0,
                 .domains = stats.boxes,
                 .proved = open - ep_run_n_open(run),
                 .worst_bound = stats.worst_margin};
  ep_run_phase(run, &ph);
  *volume_left = stats.volume_left;
  return st;
}

static bool is_over(const ep_run *run, bool is_sat) { return is_sat || !ep_run_n_open(run); }

/* Can the time left pay for as many boxes as splitting few inputs takes (4 to the number of inputs, 1024 from five on)?
 */
static bool is_split_affordable(const ep_run *run, uint32_t n_free, double box_s) {
  double deadline = ep_ctx_deadline(run->ctx), left = deadline > 0 ? deadline - ep_time_s() : INFINITY;
  return n_free <= 24 && box_s * pow(4, n_free < 5 ? n_free : 5) <= left;
}

/* Branch and bound with a budget that grows while neither way finishes; box_s = what bounding one box once takes. */
static ep_status search(ep_run *run, double box_s, ep_root_keep *keep) {
  uint32_t n_free = free_inputs(run->q);
  bool may_bab = only_relu(run->g), is_sat = false, is_stuck = false;
  double volume, budget = n_free <= 6 ? 8 : 2;
  if (!may_bab) return split_inputs(run, 0, &volume);
  if (!is_split_affordable(run, n_free, box_s)) return ep_sweep_neurons(run, 0, keep, &is_sat, &is_stuck);
  bool split_first = n_free <= 8;
  for (int turn = 0; !ep_ctx_should_stop(run->ctx); turn++) {
    bool do_split = (turn % 2 == 0) == split_first;
    if (do_split)
      EP_TRY(split_inputs(run, budget, &volume));
    else if (!is_stuck)
      EP_TRY(ep_sweep_neurons(run, budget, keep, &is_sat, &is_stuck));
    if (is_over(run, is_sat) || run->result.has_witness) return EP_OK;
    if (turn % 2) budget *= 3;
  }
  return EP_E_STOPPED;
}

static ep_status escalate(ep_run *run, ep_root_keep *keep) {
  bool is_sat = false;
  EP_TRY(attack(run, 32, 10, 1, &is_sat));
  if (is_over(run, is_sat)) return EP_OK;
  EP_TRY(ep_engine_ibp_run(run));
  if (is_over(run, is_sat)) return EP_OK;
  double t0 = ep_time_s();
  EP_TRY(ep_root_sweep(run, EP_ROOT_CROWN, "crown", keep));
  if (is_over(run, is_sat)) return EP_OK;
  double box_s = (ep_time_s() - t0) / run->q->n_box;
  EP_TRY(attack(run, (uint32_t)run->cfg->restarts * 4, (uint32_t)run->cfg->steps, 3, &is_sat));
  if (is_over(run, is_sat)) return EP_OK;
  return search(run, box_s, keep);
}

ep_status ep_engine_auto_run(ep_run *run) {
  ep_root_keep keep = {0};
  ep_status st = escalate(run, &keep);
  ep_status closed = ep_root_close(keep.root, NULL);
  return st == EP_OK ? closed : st;
}
