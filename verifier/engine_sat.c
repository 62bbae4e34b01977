/* Engine `sat`: binarised networks as clauses, decided by PicoSAT box by box. `unsat` rests on the encoding and on
 * PicoSAT, whose proof --proof writes. Candidates are first looked for with every pixel off its threshold, where they
 * survive rounding; only then with pixels exactly on it, which usually no double can replay. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "encoders/backend.h"
#include "verifier/binary_goal.h"
#include "verifier/boxes.h"
#include "verifier/cases.h"
#include "verifier/flips.h"
#include "verifier/guided.h"

ep_status ep_engine_sat_run(ep_run *run);

/* For single moves of pixels, before clauses are made. */
static const double FLIPS_S = 5, FLIPS_SHARE = 0.2;
/* Literals counted in cases of the pixels: a few seconds. */
static const uint64_t MOST_VISITS = 4000000000;

typedef struct attempt {
  const ep_backend *be;
  ep_solver *solver;
} attempt;

static bool value_of(void *arg, uint32_t var) {
  const attempt *a = arg;
  return a->be->bool_value(a->solver, var);
}

/* Opens PATH[.boxN].SUFFIX. */
static ep_status open_file(ep_run *run, uint32_t box, const char *suffix, FILE **out) {
  char path[1024], at[32] = "";
  if (run->q->n_box > 1) snprintf(at, sizeof at, ".box%u", box);
  snprintf(path, sizeof path, "%s%s.%s", run->cfg->proof, at, suffix);
  *out = fopen(path, "w");
  return *out ? EP_OK : EP_FAIL(run->ctx, EP_E_IO, "cannot write %s: %s", path, strerror(errno));
}

static ep_status close_file(ep_run *run, FILE *f) {
  if (!f) return EP_OK;
  bool is_bad = ferror(f) != 0;
  return fclose(f) != 0 || is_bad ? EP_FAIL(run->ctx, EP_E_IO, "cannot write the proof") : EP_OK;
}

static ep_status make_solver(ep_run *run, uint32_t box, const ep_binary *b, attempt *a, FILE **proof) {
  ep_cnf *cnf;
  EP_TRY(ep_cnf_create(b->prob, EP_CARD_AUTO, &cnf));
  ep_log(run->ctx, 2,
         "sat: box %u: %u pixels cross, %u cardinalities (%u counters, %u totalizers, %u adders), %u variables, %llu "
         "clauses",
         box, b->n_pixel, b->prob->n_card, cnf->n_by[EP_CARD_COUNTER], cnf->n_by[EP_CARD_TOTALIZER],
         cnf->n_by[EP_CARD_ADDER], cnf->n_var, (unsigned long long)cnf->n_clause);
  FILE *f = NULL;
  ep_status st = EP_OK;
  if (run->cfg->proof) {
    EP_GOTO(open_file(run, box, "cnf", &f));
    st = ep_write_cnf(cnf, "one box of a query over a binarised network; unsatisfiable = unsat", f);
    ep_status closed = close_file(run, f);
    if (st == EP_OK) st = closed;
    if (st == EP_OK) st = open_file(run, box, "rup", proof);
  }
  if (st == EP_OK) st = a->be->create_proving(run->ctx, b->prob, cnf, *proof, &a->solver);
  for (uint32_t k = 0; st == EP_OK && k < b->n_pixel; k++) {
    ep_bit x = b->pixel[k].bit; /* everything else follows from the pixels */
    if (x.pos < EP_BIT_FALSE) a->be->decide_first(a->solver, 1, &x.pos);
    if (x.not_neg < EP_BIT_FALSE) a->be->decide_first(a->solver, 1, &x.not_neg);
  }
done:
  ep_cnf_destroy(cnf);
  return st;
}

/* The whole network at once. */
static ep_status solve_whole(ep_run *run, uint32_t box, ep_binary *b, attempt *a, ep_lit no_zero, double *x,
                             ep_goal_outcome *out) {
  ep_assume off_threshold = {.n = 1, .lit = &no_zero};
  bool is_found = false;
  for (int pass = 0; pass < 2; pass++) {
    ep_answer_kind answer;
    *out = EP_GOAL_OPEN;
    EP_TRY(a->be->check(a->solver, pass == 0 ? &off_threshold : NULL, &answer));
    if (answer == EP_ANSWER_UNSAT) *out = EP_GOAL_REFUTED;
    if (answer != EP_ANSWER_SAT) continue;
    ep_binary_input(b, value_of, a, x);
    EP_TRY(ep_goal_try_input(run, box, x, ep_pool_scratch(run->pool), &is_found));
    if (is_found) return *out = EP_GOAL_FOUND, EP_OK;
  }
  return EP_OK;
}

/* All inputs that decide something, each once. */
static uint32_t crossing_inputs(const ep_binary *b, uint32_t *input) {
  uint32_t n = 0;
  for (uint32_t k = 0; k < b->n_pixel; k++) {
    bool is_new = true;
    for (uint32_t i = 0; i < n && is_new; i++) is_new = input[i] != b->pixel[k].input;
    if (is_new) input[n++] = b->pixel[k].input;
  }
  return n;
}

static ep_status flips(ep_run *run, uint32_t box, const ep_binary *b, ep_phase *ph, bool *is_sat) {
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t *input = EP_SCRATCH(s, uint32_t, b->n_pixel + 1u);
  double deadline_s = ep_ctx_deadline(run->ctx), left_s = deadline_s > 0 ? deadline_s - ep_time_s() : FLIPS_S;
  ep_status st = EP_E_NOMEM;
  if (input)
    st = ep_flips_run(run, box, crossing_inputs(b, input), input, fmin(FLIPS_S, FLIPS_SHARE * left_s), &ph->domains,
                      is_sat);
  ep_scratch_restore(s, m);
  return st;
}

static ep_status cases(ep_run *run, uint32_t box, const ep_binary *b, double *x, ep_phase *ph, ep_goal_outcome *out) {
  ep_cases_stats stats;
  ep_status st = ep_cases_decide(run, box, b, MOST_VISITS, x, &stats, out);
  ph->domains += stats.cases;
  ep_log(run->ctx, 2, "sat: box %u: %u crossing pixels, %llu cases: %s", box, b->n_pixel,
         (unsigned long long)stats.cases, *out == EP_GOAL_OPEN ? "open" : "decided");
  return st;
}

static ep_status whole(ep_run *run, uint32_t box, ep_binary *b, const ep_backend *be, ep_lit no_zero, double *x,
                       ep_goal_outcome *out) {
  attempt a = {.be = be};
  FILE *proof = NULL;
  ep_status st = make_solver(run, box, b, &a, &proof);
  if (st == EP_OK) st = solve_whole(run, box, b, &a, no_zero, x, out);
  if (a.solver) a.be->destroy(a.solver);
  ep_status closed = close_file(run, proof);
  return st == EP_OK ? closed : st;
}

static ep_status guided(ep_run *run, uint32_t box, const ep_binary *b, const ep_backend *be, ep_lit no_zero, double *x,
                        ep_phase *ph, ep_goal_outcome *out) {
  ep_guided_stats stats;
  ep_status st = ep_guided_decide(run, box, b, no_zero, be, 0, x, &stats, out);
  ph->domains += stats.proposals;
  ep_log(run->ctx, 2, "sat: box %u: %llu proposals, %.1f %% of the layer's signs in an exclusion", box,
         (unsigned long long)stats.proposals, 100 * stats.core);
  return st;
}

static ep_status solve_box(void *be, ep_run *run, uint32_t box, uint32_t n_left, ep_phase *ph, bool *is_sat) {
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, run->q->n_x + 1u);
  ep_binary *b = NULL;
  ep_goal_outcome outcome = EP_GOAL_OPEN;
  ep_lit no_zero;
  ep_status st = x ? EP_OK : EP_E_NOMEM;
  (void)n_left;
  if (st == EP_OK) st = ep_binary_goal_create(run->ctx, run->g, run->q, box, run, s, &b);
  if (st != EP_OK) goto done;
  EP_GOTO(flips(run, box, b, ph, is_sat));
  if (*is_sat) goto done;
  if (!run->cfg->proof) EP_GOTO(cases(run, box, b, x, ph, &outcome));
  if (outcome != EP_GOAL_OPEN) goto settle;
  EP_GOTO(ep_binary_no_zero(b, &no_zero));
  bool is_guided = !run->cfg->proof && b->n_cut > 0;
  st = is_guided ? guided(run, box, b, be, no_zero, x, ph, &outcome) : whole(run, box, b, be, no_zero, x, &outcome);
settle:
  if (st == EP_OK && outcome == EP_GOAL_FOUND) st = ep_run_witness(run, box, x, s, is_sat);
  for (uint32_t p = 0; p < run->q->box[box].n_poly && st == EP_OK && outcome == EP_GOAL_REFUTED; p++)
    ep_run_mark_refuted_by_solver(run, box, p);
  ph->domains++;
done:
  ep_binary_destroy(b);
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_engine_sat_run(ep_run *run) {
  const ep_backend *be;
  bool is_sat;
  EP_TRY(ep_backend_find(run->ctx, "picosat", &be));
  return ep_boxes_sweep(run, "sat", solve_box, (void *)(uintptr_t)be, &is_sat);
}
