#include "verifier/parts.h"

#include "verifier/attack.h"
#include "verifier/exact.h"
#include "verifier/milp.h"

/* How many unstable neurons a part may have at first, and what a solver may take for it: cases, or Z3's resources.
 * What it took counts against the boxes that splitting on would take, as so many domains per case or question. */
enum { MOST_MILP = 24, MAX_CASES = 64, PER_CASE = 8 };
enum { MOST_EXACT = 10, PER_QUESTION = 500 };
static const double QUESTION_S = 0.1;

/* A root of its own in all but name: the plan is only read. */
static ep_root root_of(ep_run *run, uint32_t box, const ep_plan *plan, const ep_spec *spec, const ep_trace_itv *bounds,
                       const ep_relax_f64 *relax) {
  return (ep_root){
      .run = run, .box = box, .plan = (ep_plan *)(uintptr_t)plan, .spec = *spec, .bounds = *bounds, .relax = *relax};
}

static void count(ep_parts *parts, const ep_run *run, ep_goal_outcome outcome, bool is_by_exact, const double *x,
                  ep_box_try *out) {
  atomic_fetch_add(&parts->tried, 1);
  out->is_closed = outcome == EP_GOAL_REFUTED;
  out->has_candidate = outcome == EP_GOAL_FOUND;
  if (out->is_closed) atomic_fetch_add(&parts->refuted, 1);
  if (out->is_closed && is_by_exact) atomic_fetch_add(&parts->by_exact, 1);
  for (uint32_t j = 0; out->has_candidate && j < run->q->n_x; j++) out->corner[j] = x[j];
}

static ep_status by_milp(void *arg, ep_run *run, uint32_t box, const ep_plan *plan, const ep_spec *spec,
                         const ep_trace_itv *bounds, const ep_relax_f64 *relax, uint32_t poly, ep_box_try *out,
                         ep_scratch *s) {
  ep_root root = root_of(run, box, plan, spec, bounds, relax);
  ep_scratch_mark mark = ep_scratch_save(s);
  ep_goal_outcome outcome;
  ep_milp *m = NULL;
  ep_status st;
  EP_GOTO(ep_milp_create_part(&root, poly, s, &m));
  m->max_cases = MAX_CASES;
  EP_GOTO(ep_milp_decide(m, 0, &outcome));
  out->domains += PER_CASE * m->cases;
  count(arg, run, outcome, m->by_exact > 0, m->x, out);
done:
  ep_milp_destroy(m);
  ep_scratch_restore(s, mark);
  return st;
}

static ep_status by_exact(void *arg, ep_run *run, uint32_t box, const ep_plan *plan, const ep_spec *spec,
                          const ep_trace_itv *bounds, const ep_relax_f64 *relax, uint32_t poly, ep_box_try *out,
                          ep_scratch *s) {
  ep_root root = root_of(run, box, plan, spec, bounds, relax);
  ep_scratch_mark mark = ep_scratch_save(s);
  ep_goals goals = {0};
  ep_goal_outcome outcome;
  const ep_backend *be;
  ep_solver *solver = NULL;
  ep_status st = EP_E_NOMEM;
  double *x = EP_SCRATCH(s, double, run->q->n_x + 1u);
  if (!x) goto done;
  EP_GOTO(ep_backend_find(run->ctx, "z3", &be));
  EP_GOTO(ep_goals_create_one(&root, poly, s, &goals));
  EP_GOTO(ep_goals_reduce(&goals, EP_EXACT_BITS, s));
  EP_GOTO(be->create(run->ctx, goals.prob, &solver));
  be->limit(solver, &(ep_effort){.cpu_s = QUESTION_S});
  EP_GOTO(ep_exact_decide(run, box, &goals, goals.prob, 0, be, solver, x, s, &outcome));
  out->domains += PER_QUESTION;
  count(arg, run, outcome, true, x, out);
done:
  if (solver) be->destroy(solver);
  ep_goals_clear(&goals);
  ep_scratch_restore(s, mark);
  return st;
}

ep_box_decider ep_parts_by_milp(ep_parts *parts) {
  return (ep_box_decider){.decide = by_milp, .arg = parts, .most_unstable = MOST_MILP};
}

ep_box_decider ep_parts_by_exact(ep_parts *parts) {
  return (ep_box_decider){.decide = by_exact, .arg = parts, .most_unstable = MOST_EXACT};
}

ep_status ep_parts_search(ep_run *run, const char *solver, ep_box_decider (*decider)(ep_parts *), ep_turn *whole) {
  ep_parts parts = {0};
  ep_box_decider by_solver = decider(&parts);
  const ep_backend *be;
  bool is_sat = false;
  EP_TRY(ep_network_check(run->ctx, run->g));
  EP_TRY(ep_backend_find(run->ctx, solver, &be));
  EP_TRY(ep_attack_phase(run, 32, 10, 1, &is_sat));
  if (is_sat) return EP_OK;
  double t0 = ep_time_s();
  EP_TRY(ep_root_sweep(run, EP_ROOT_CROWN, "crown", NULL));
  double box_s = (ep_time_s() - t0) / run->q->n_box;
  if (!ep_run_n_open(run)) return EP_OK;
  EP_TRY(ep_attack_phase(run, (uint32_t)run->cfg->restarts * 4, (uint32_t)run->cfg->steps, 3, &is_sat));
  if (is_sat) return EP_OK;
  ep_turns turns = {.box_s = box_s, .decider = &by_solver, .other = whole, .is_other_exact = true};
  uint32_t open = ep_run_n_open(run), by_solver_before = run->result.n_by_solver;
  ep_status st = ep_turns_run(run, &turns);
  /* Which polytopes a part's exact refutation went into is not kept: all of these turns count. */
  uint32_t proved = open - ep_run_n_open(run) + by_solver_before;
  if (atomic_load(&parts.by_exact) && proved > run->result.n_by_solver) run->result.n_by_solver = proved;
  ep_log(run->ctx, 2, "parts: %llu tried, %llu refuted, %llu of them by the exact solver",
         (unsigned long long)parts.tried, (unsigned long long)parts.refuted, (unsigned long long)parts.by_exact);
  return st;
}
