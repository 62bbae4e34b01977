/* Engine `sat`: binarised networks as clauses, decided by PicoSAT box by box. `unsat` rests on the encoding and on
 * PicoSAT, whose proof --proof writes. Candidates are first looked for with every pixel off its threshold, where they
 * survive rounding; only then with pixels exactly on it, which usually no double can replay. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "encoders/backend.h"
#include "verifier/binary_goal.h"
#include "verifier/boxes.h"

ep_status ep_engine_sat_run(ep_run *run);

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
done:
  ep_cnf_destroy(cnf);
  return st;
}

static ep_status solve(ep_run *run, uint32_t box, ep_binary *b, attempt *a, ep_lit no_zero, bool *is_sat) {
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, run->q->n_x + 1u);
  ep_assume off_threshold = {.n = 1, .lit = &no_zero};
  ep_answer_kind answer = EP_ANSWER_UNKNOWN;
  ep_status st = x ? EP_OK : EP_E_NOMEM;
  for (int pass = 0; pass < 2 && st == EP_OK && !*is_sat; pass++) {
    st = a->be->check(a->solver, pass == 0 ? &off_threshold : NULL, &answer);
    if (st != EP_OK || answer != EP_ANSWER_SAT) continue;
    ep_binary_input(b, value_of, a, x);
    st = ep_run_witness(run, box, x, s, is_sat);
  }
  if (st == EP_OK && answer == EP_ANSWER_UNSAT && !*is_sat)
    for (uint32_t p = 0; p < run->q->box[box].n_poly; p++) ep_run_mark_refuted_by_solver(run, box, p);
  ep_scratch_restore(s, m);
  return st;
}

static ep_status solve_box(void *be, ep_run *run, uint32_t box, uint32_t n_left, ep_phase *ph, bool *is_sat) {
  ep_binary *b = NULL;
  FILE *proof = NULL;
  attempt a = {.be = be};
  ep_lit no_zero;
  (void)n_left;
  EP_TRY(ep_binary_goal_create(run->ctx, run->g, run->q, box, run, ep_pool_scratch(run->pool), &b));
  ep_status st;
  EP_GOTO(ep_binary_no_zero(b, &no_zero));
  EP_GOTO(make_solver(run, box, b, &a, &proof));
  st = solve(run, box, b, &a, no_zero, is_sat);
  ph->domains++;
done:
  if (a.solver) a.be->destroy(a.solver);
  if (proof) {
    ep_status closed = close_file(run, proof);
    if (st == EP_OK) st = closed;
  }
  ep_binary_destroy(b);
  return st;
}

ep_status ep_engine_sat_run(ep_run *run) {
  const ep_backend *be;
  bool is_sat;
  EP_TRY(ep_backend_find(run->ctx, "picosat", &be));
  return ep_boxes_sweep(run, "sat", solve_box, (void *)(uintptr_t)be, &is_sat);
}
