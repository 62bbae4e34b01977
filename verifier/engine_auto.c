/* Engine `auto`: escalates from cheap to dear: a quick attack, intervals, one CROWN pass, a fuller attack, optimised
 * bounds, then branch and bound. Binarised networks go to engine `sat` after intervals; what is left when nothing can
 * be split (ties over a single point) is put to the exact solver. Inputs are split when few of them are free and a box
 * is cheap to bound (the CROWN pass tells), neurons when there are ReLUs; with both possible each gets turns with
 * growing budgets. Where neither is, attacks go on to the end. */
#include "verifier/attack.h"
#include "verifier/root.h"
#include "verifier/smt.h"
#include "verifier/sweep.h"
#include "verifier/turns.h"

ep_status ep_engine_auto_run(ep_run *run);
ep_status ep_engine_ibp_run(ep_run *run);
ep_status ep_engine_sat_run(ep_run *run);

/* Is there a neuron to split? */
static bool has_relu(const ep_graph *g) {
  for (uint32_t k = 0; k < g->n_node; k++)
    if (ep_op_is_relu(&g->node[k].low)) return true;
  return false;
}

static ep_status neurons(void *arg, ep_run *run, double budget_s, bool *is_sat, bool *is_stuck) {
  return ep_sweep_neurons(run, budget_s, arg, is_sat, is_stuck);
}

/* Engine `sat`, where it can answer for this run: *is_taken. */
static ep_status clauses(ep_run *run, bool *is_taken) {
  bool has_sign = false;
  *is_taken = false;
  for (uint32_t k = 0; k < run->g->n_node; k++)
    has_sign |= run->g->node[k].low.cls == EP_UNIVAR && run->g->node[k].low.is.univar.has_jump;
  if (!has_sign || run->certificate || run->g->is_float32) return EP_OK;
  ep_status st = ep_engine_sat_run(run);
  *is_taken = st == EP_OK;
  if (st != EP_E_UNSUPPORTED) return st;
  ep_log(run->ctx, 2, "not for engine sat: %s", ep_ctx_error(run->ctx).text);
  ep_ctx_clear_error(run->ctx);
  return EP_OK;
}

/* The exact solver on what is stuck, where there is one for this run. */
static ep_status exactly(ep_run *run) {
  bool is_sat, is_stuck;
  if (run->certificate || run->g->is_float32 || run->result.has_witness || !ep_run_n_open(run)) return EP_OK;
  ep_status st = ep_smt_sweep(NULL, run, 0, &is_sat, &is_stuck);
  if (st != EP_E_UNSUPPORTED) return st;
  ep_ctx_clear_error(run->ctx);
  return EP_OK;
}

static bool is_over(const ep_run *run, bool is_sat) { return is_sat || !ep_run_n_open(run); }

/* Attacks with ever more restarts, each round twice as long as all before. */
static ep_status attack_on(ep_run *run) {
  bool is_sat = run->result.has_witness;
  uint32_t restarts = 8 * (uint32_t)run->cfg->restarts;
  for (double budget_s = 8; !is_over(run, is_sat); budget_s *= 2, restarts *= restarts < 1u << 24 ? 2 : 1) {
    if (ep_ctx_should_stop(run->ctx)) return EP_E_STOPPED;
    EP_TRY(ep_attack_phase(run, restarts, (uint32_t)run->cfg->steps, budget_s, &is_sat));
  }
  return EP_OK;
}

static ep_status escalate(ep_run *run, ep_root_keep *keep) {
  bool is_sat = false;
  EP_TRY(ep_attack_phase(run, 32, 10, 1, &is_sat));
  if (is_over(run, is_sat)) return EP_OK;
  EP_TRY(ep_engine_ibp_run(run));
  if (is_over(run, is_sat)) return EP_OK;
  bool is_binary;
  EP_TRY(clauses(run, &is_binary));
  if (is_binary) return EP_OK;
  double t0 = ep_time_s();
  EP_TRY(ep_root_sweep(run, EP_ROOT_CROWN, "crown", keep));
  if (is_over(run, is_sat)) return EP_OK;
  double box_s = (ep_time_s() - t0) / run->q->n_box;
  EP_TRY(ep_attack_phase(run, (uint32_t)run->cfg->restarts * 4, (uint32_t)run->cfg->steps, 3, &is_sat));
  if (is_over(run, is_sat)) return EP_OK;
  ep_turns turns = {.box_s = box_s, .other = has_relu(run->g) ? neurons : NULL, .arg = keep};
  EP_TRY(ep_turns_run(run, &turns));
  EP_TRY(exactly(run));
  return turns.other || ep_turns_can_split(run, box_s) ? EP_OK : attack_on(run);
}

ep_status ep_engine_auto_run(ep_run *run) {
  ep_root_keep keep = {0};
  ep_status st = escalate(run, &keep);
  ep_status closed = ep_root_close(keep.root, NULL);
  return st == EP_OK ? closed : st;
}
