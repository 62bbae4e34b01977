/* PicoSAT: the Boolean part of a problem. Clauses come from encoders/cnf.h; memory goes through the context, so that it
 * is counted and limited; a callback asks the context whether to stop.
 *
 * PicoSAT aborts when an allocation fails. The allocator jumps out of it instead; the solver is then never touched
 * again, and its blocks, which are kept in a list, are freed one by one. The proof is PicoSAT's incremental RUP file.
 */
#include <assert.h>
#include <picosat/picosat.h>
#include <setjmp.h>
#include <string.h>

#include "encoders/backend.h"
#include "encoders/cnf.h"

/* Before every block of PicoSAT's. */
typedef struct block {
  struct block *prev, *next;
} block;
enum { HEADER = 64 }; /* keeps the alignment of ep_alloc */

struct ep_solver {
  ep_ctx *ctx;
  const ep_prob *p;
  PicoSAT *sat;
  block blocks; /* ring of PicoSAT's memory */
  uint64_t checks;
  ep_effort effort;
  bool is_dead;
  jmp_buf escape;
};

static void link_in(ep_solver *s, block *b) {
  b->next = s->blocks.next;
  b->prev = &s->blocks;
  s->blocks.next->prev = b;
  s->blocks.next = b;
}

static void *take(void *state, size_t bytes) {
  ep_solver *s = state;
  block *b = bytes <= SIZE_MAX - HEADER ? ep_alloc(s->ctx, bytes + HEADER) : NULL;
  if (!b) longjmp(s->escape, 1);
  link_in(s, b);
  return (char *)b + HEADER;
}

static void give(void *state, void *p, size_t bytes) {
  ep_solver *s = state;
  (void)bytes;
  if (!p) return;
  block *b = (block *)(void *)((char *)p - HEADER);
  b->prev->next = b->next;
  b->next->prev = b->prev;
  ep_free(s->ctx, b);
}

static void *retake(void *state, void *p, size_t old_bytes, size_t bytes) {
  void *q = take(state, bytes);
  if (p) memcpy(q, p, old_bytes < bytes ? old_bytes : bytes);
  give(state, p, old_bytes);
  return q;
}

static bool is_out_of_time(const ep_solver *s) { return s->effort.until_s > 0 && ep_time_s() > s->effort.until_s; }

static int is_interrupted(void *state) {
  const ep_solver *s = state;
  return ep_ctx_should_stop(s->ctx) || is_out_of_time(s);
}

/* Every function that enters PicoSAT begins with this. */
#define GUARD(s)                                                                                                       \
  if ((s)->is_dead || setjmp((s)->escape)) return out_of_memory(s)

static ep_status out_of_memory(ep_solver *s) {
  s->is_dead = true;
  return ep_ctx_error(s->ctx).code == EP_E_LIMIT ? EP_E_LIMIT : EP_E_NOMEM;
}

static ep_status load(ep_solver *s, const ep_cnf *cnf, FILE *proof) {
  GUARD(s);
  s->sat = picosat_minit(s, take, retake, give);
  picosat_set_interrupt(s->sat, s, is_interrupted);
  picosat_adjust(s->sat, (int)cnf->n_var);
  if (proof) picosat_set_incremental_rup_file(s->sat, proof, (int)cnf->n_var, (int)cnf->n_clause);
  for (size_t i = 0; i < cnf->n_lit; i++) {
    picosat_add(s->sat, cnf->lit[i]);
    if (i % 65536 == 65535 && ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED;
  }
  return EP_OK;
}

static void picosat_destroy(ep_solver *s) {
  if (!s) return;
  if (s->sat && !s->is_dead && !setjmp(s->escape)) picosat_reset(s->sat);
  while (s->blocks.next != &s->blocks) give(s, (char *)s->blocks.next + HEADER, 0);
  ep_free(s->ctx, s);
}

static ep_status picosat_create_proving(ep_ctx *ctx, const ep_prob *p, const ep_cnf *cnf, FILE *proof,
                                        ep_solver **out) {
  *out = NULL;
  ep_solver *s = ep_calloc(ctx, 1, sizeof *s);
  if (!s) return EP_E_NOMEM;
  s->ctx = ctx;
  s->p = p;
  s->blocks.prev = s->blocks.next = &s->blocks;
  ep_status st = load(s, cnf, proof);
  if (st != EP_OK)
    picosat_destroy(s);
  else
    *out = s;
  return st;
}

static ep_status picosat_create(ep_ctx *ctx, const ep_prob *p, ep_solver **out) {
  ep_cnf *cnf;
  *out = NULL;
  EP_TRY(ep_cnf_create(p, EP_CARD_AUTO, &cnf));
  ep_status st = picosat_create_proving(ctx, p, cnf, NULL, out);
  ep_cnf_destroy(cnf);
  return st;
}

static void picosat_limit(ep_solver *s, const ep_effort *effort) { s->effort = *effort; }

static ep_status picosat_check(ep_solver *s, ep_assume *assume, ep_answer_kind *out) {
  *out = EP_ANSWER_UNKNOWN;
  if (ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED;
  GUARD(s);
  s->checks++;
  for (uint32_t i = 0; assume && i < assume->n; i++) picosat_assume(s->sat, ep_cnf_literal(assume->lit[i]));
  bool is_limited = s->effort.steps > 0 && s->effort.steps < INT32_MAX;
  int r = picosat_sat(s->sat, is_limited ? (int)s->effort.steps : -1);
  if (r == PICOSAT_UNKNOWN) return ep_ctx_should_stop(s->ctx) ? EP_E_STOPPED : EP_OK;
  *out = r == PICOSAT_SATISFIABLE ? EP_ANSWER_SAT : EP_ANSWER_UNSAT;
  if (r == PICOSAT_UNSATISFIABLE && assume && assume->failed) {
    assume->n_failed = 0;
    for (uint32_t i = 0; i < assume->n; i++)
      if (picosat_failed_assumption(s->sat, ep_cnf_literal(assume->lit[i])))
        assume->failed[assume->n_failed++] = assume->lit[i];
  }
  return EP_OK;
}

static ep_status picosat_add_clause(ep_solver *s, uint32_t n, const ep_lit *lit) {
  GUARD(s);
  for (uint32_t i = 0; i < n; i++) picosat_add(s->sat, ep_cnf_literal(lit[i]));
  picosat_add(s->sat, 0);
  return EP_OK;
}

static void picosat_decide_first(ep_solver *s, uint32_t n, const ep_lit *lit) {
  for (uint32_t i = 0; i < n && !s->is_dead; i++) picosat_set_more_important_lit(s->sat, ep_cnf_literal(lit[i]));
}

static bool picosat_bool_value(ep_solver *s, uint32_t b) {
  return !s->is_dead && picosat_deref(s->sat, (int)b + 1) > 0;
}

static void picosat_numbers(const ep_solver *s, ep_solver_stats *out) {
  *out = (ep_solver_stats){.checks = s->checks, .steps = s->is_dead ? 0 : picosat_decisions(s->sat)};
}

extern const ep_backend ep_backend_picosat;
const ep_backend ep_backend_picosat = {
    .name = "picosat",
    .caps = EP_CAP_EXACT | EP_CAP_BOOL,
    .create = picosat_create,
    .create_proving = picosat_create_proving,
    .destroy = picosat_destroy,
    .limit = picosat_limit,
    .check = picosat_check,
    .bool_value = picosat_bool_value,
    .add_clause = picosat_add_clause,
    .decide_first = picosat_decide_first,
    .stats = picosat_numbers,
};
