/* Solver back ends: one const table of calls each, registry encoders/backends.def. A solver is created for one neutral
 * problem; goals, choices and bounds are then added and taken back in levels (push, pop). What a back end cannot do is
 * NULL in its table, and `caps` says what it is good for.
 *
 * Trust: `unsat` of an EXACT back end is a proof by that solver. A FLOAT back end's answers are estimates; its duals
 * become proofs only through encoders/dual.h. A model is never more than a candidate.
 *
 * Stopping: solvers poll ep_ctx_should_stop and answer EP_E_STOPPED within a fraction of a second; memory beyond the
 * context's limit (solvers allocate by themselves) is EP_E_LIMIT. Aborts of a library end in EP_E_BACKEND. */
#ifndef EP_ENCODERS_BACKEND_H
#define EP_ENCODERS_BACKEND_H

#include "encoders/cnf.h"

enum {
  EP_CAP_EXACT = 1,       /* rationals or Booleans: no rounding anywhere */
  EP_CAP_LINEAR = 2,      /* rows over reals */
  EP_CAP_INTEGER = 4,     /* integer variables */
  EP_CAP_BOOL = 8,        /* clauses */
  EP_CAP_DISJUNCTION = 16 /* decides disjunctions itself; without it they are relaxed until chosen */
};

typedef enum ep_answer_kind { EP_ANSWER_UNKNOWN, EP_ANSWER_SAT, EP_ANSWER_UNSAT } ep_answer_kind;

typedef struct ep_solver ep_solver; /* each back end has its own */

/* Literals of the Boolean part that a check assumes; `failed` (room for n) receives those of an unsat core. */
typedef struct ep_assume {
  uint32_t n;
  const ep_lit *lit;
  uint32_t n_failed;
  ep_lit *failed;
} ep_assume;

/* What checks may take before they answer UNKNOWN. `steps` are the solver's own units (Z3 resources, simplex
 * iterations, decisions), so that where it gives up does not depend on the clock. */
typedef struct ep_effort {
  double until_s; /* monotonic; 0 = no limit */
  double cpu_s;   /* of the calling thread, per check; 0 = no limit. Only Z3 heeds it: its own count hardly moves while
                     its rationals grow */
  uint64_t steps; /* per check; 0 = no limit */
} ep_effort;

/* Numbers behind a check, for logs. */
typedef struct ep_solver_stats {
  uint64_t checks, steps; /* steps: decisions, simplex iterations, Z3 resources */
} ep_solver_stats;

typedef struct ep_backend {
  const char *name;
  unsigned caps;
  /* `p` is borrowed and must not change while the solver lives. */
  ep_status (*create)(ep_ctx *ctx, const ep_prob *p, ep_solver **out);
  /* BOOL: the same from ready clauses, writing the proof of every refutation (RUP: learnt clauses, the empty one last)
   * to `proof`, which may be NULL and stays open. */
  ep_status (*create_proving)(ep_ctx *ctx, const ep_prob *p, const ep_cnf *cnf, FILE *proof, ep_solver **out);
  void (*destroy)(ep_solver *s);
  ep_status (*push)(ep_solver *s);
  void (*pop)(ep_solver *s);
  /* Requires the rows of goal g, tightened by `margin` >= 0 (for candidates that survive rounding). For a FLOAT back
   * end they become elastic: it minimises the largest violation (negative = slack). */
  ep_status (*goal)(ep_solver *s, uint32_t g, double margin);
  /* Requires choice `choice` (0..n-1) of disjunction d. */
  ep_status (*choose)(ep_solver *s, uint32_t d, uint32_t choice);
  /* LINEAR without goal: minimise sum coef*var. */
  ep_status (*minimise)(ep_solver *s, uint32_t n, const uint32_t *var, const double *coef);
  /* LINEAR: intersects a variable's bounds. */
  ep_status (*bound)(ep_solver *s, uint32_t var, double lo, double hi);
  /* Limits the checks to come; none at first. */
  void (*limit)(ep_solver *s, const ep_effort *effort);
  /* FLOAT: UNSAT = infeasible, SAT = optimum found. `assume` may be NULL. */
  ep_status (*check)(ep_solver *s, ep_assume *assume, ep_answer_kind *out);
  /* After SAT. @sound estimate (a rational rounded to nearest) */
  double (*value)(ep_solver *s, uint32_t var);
  bool (*bool_value)(ep_solver *s, uint32_t b);
  /* FLOAT after SAT: objective (largest violation or minimum). @sound estimate */
  double (*objective)(ep_solver *s);
  /* FLOAT: multipliers of the problem's rows after a check: of row[] then choice_row[] then goal_row[]; from the
   * optimal dual, or from a ray when the answer was UNSAT. To be certified by ep_dual_bound. @sound estimate */
  ep_status (*duals)(ep_solver *s, double *y);
  /* BOOL: one more clause, for good. */
  ep_status (*add_clause)(ep_solver *s, uint32_t n, const ep_lit *lit);
  /* BOOL: decides these literals' variables before all others. */
  void (*decide_first)(ep_solver *s, uint32_t n, const ep_lit *lit);
  /* EXACT with named requirements, after UNSAT: which goals' rows and which chosen disjunctions the refutation used:
   * disj[0..*n_disj), room for p->n_disj. */
  ep_status (*core)(ep_solver *s, uint32_t *disj, uint32_t *n_disj);
  void (*stats)(const ep_solver *s, ep_solver_stats *out);
} ep_backend;

/* The registry. A back end that was not compiled in is NULL here. */
extern const ep_backend *const ep_backends[];
extern const size_t ep_n_backends;
/* By name. EP_E_UNSUPPORTED with one line (which package, how to configure) when this build has none. */
ep_status ep_backend_find(ep_ctx *ctx, const char *name, const ep_backend **out);

#endif
