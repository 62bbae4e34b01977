/* Z3: the neutral problem over exact rationals. Doubles go in as exact decimals; the error handler records instead of
 * exiting; a thread interrupts the solver when the context says stop or when the solver's own memory passes the limit.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <z3.h>

#include "encoders/backend.h"

#define POLL_S 0.02

struct ep_solver {
  ep_ctx *ctx;
  const ep_prob *p;
  Z3_context z;
  Z3_solver s;
  Z3_sort real;
  Z3_ast *var;         /* [n_var] */
  Z3_ast *boolean;     /* [n_bool] */
  Z3_ast *name;        /* requirements under assumption literals, one per choose() still in force ... */
  uint32_t *name_disj; /* ... and the disjunction each belongs to */
  uint32_t n_name, *level, n_level;
  size_t cap_name, cap_level;
  Z3_model model;
  uint64_t checks;
  ep_effort effort;
  clockid_t cpu_clock; /* of the thread that checks */
  double cpu_start;
  bool was_cut; /* the last check was interrupted for the effort's sake */
  /* the watching thread */
  pthread_t watcher;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool is_checking, is_over_memory, is_closing, has_watcher;
  size_t memory_limit;
};

/* Z3's default handler ends the process. Errors are read back with Z3_get_error_code instead. */
static void on_error(Z3_context z, Z3_error_code e) {
  (void)z;
  (void)e;
}

static bool is_over_limit(const ep_solver *s) {
  return s->memory_limit && Z3_get_estimated_alloc_size() > s->memory_limit;
}

static double cpu_of(clockid_t clock) {
  struct timespec t;
  return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

static bool is_out_of_time(const ep_solver *s) {
  return (s->effort.until_s > 0 && ep_time_s() > s->effort.until_s) ||
         (s->effort.cpu_s > 0 && s->is_checking && cpu_of(s->cpu_clock) > s->cpu_start + s->effort.cpu_s);
}

static void *watch_main(void *arg) {
  ep_solver *s = arg;
  pthread_mutex_lock(&s->lock);
  while (!s->is_closing) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (long)(POLL_S * 1e9);
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    if (!s->is_checking) {
      pthread_cond_wait(&s->wake, &s->lock);
      continue;
    }
    pthread_cond_timedwait(&s->wake, &s->lock, &t);
    if (!s->is_checking) continue;
    if (is_over_limit(s)) s->is_over_memory = true;
    if (is_out_of_time(s)) s->was_cut = true;
    if (s->is_over_memory || ep_ctx_should_stop(s->ctx) || s->was_cut) Z3_interrupt(s->z);
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* An error code becomes a status with Z3's own text. */
static ep_status check_error(ep_solver *s, const char *what) {
  Z3_error_code e = Z3_get_error_code(s->z);
  if (e == Z3_OK) return EP_OK;
  if (ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED; /* an interrupted call reports an error of its own */
  if (e == Z3_MEMOUT_FAIL) return EP_FAIL(s->ctx, EP_E_LIMIT, "z3: memory limit reached");
  return EP_FAIL(s->ctx, EP_E_BACKEND, "z3, %s: %s", what, Z3_get_error_msg(s->z, e));
}

static Z3_ast number(ep_solver *s, double x) {
  char text[EP_DECIMAL_MAX];
  ep_prob_decimal(x, text, sizeof text);
  return Z3_mk_numeral(s->z, text, s->real);
}

/* sum coef*var as a term; terms[n + 1] is work space. */
static Z3_ast sum(ep_solver *s, const ep_prob_row *r, Z3_ast *terms) {
  if (!r->n) return number(s, 0);
  for (uint32_t i = 0; i < r->n; i++) {
    Z3_ast v = s->var[r->var[i]];
    if (r->coef[i] == 1)
      terms[i] = v;
    else {
      Z3_ast pair[2] = {number(s, r->coef[i]), v};
      terms[i] = Z3_mk_mul(s->z, 2, pair);
    }
  }
  return r->n == 1 ? terms[0] : Z3_mk_add(s->z, r->n, terms);
}

/* The row as a formula, its finite ends moved inward by `margin`; NULL when it says nothing. */
static ep_status formula(ep_solver *s, const ep_prob_row *r, double margin, Z3_ast *out) {
  Z3_ast *terms = ep_alloc(s->ctx, (r->n + 1u) * sizeof *terms), part[2];
  if (!terms) return EP_E_NOMEM;
  unsigned n = 0;
  Z3_ast lhs = sum(s, r, terms);
  ep_free(s->ctx, terms);
  /* An end at the wrong infinity excludes everything. */
  if (r->lo == INFINITY || r->hi == -INFINITY) {
    *out = Z3_mk_false(s->z);
    return EP_OK;
  }
  if (r->lo == r->hi && !r->is_lo_strict && !r->is_hi_strict && margin == 0) {
    *out = Z3_mk_eq(s->z, lhs, number(s, r->lo));
    return EP_OK;
  }
  if (r->lo > -INFINITY) {
    Z3_ast at = number(s, r->lo + margin);
    part[n++] = r->is_lo_strict ? Z3_mk_gt(s->z, lhs, at) : Z3_mk_ge(s->z, lhs, at);
  }
  if (r->hi < INFINITY) {
    Z3_ast at = number(s, r->hi - margin);
    part[n++] = r->is_hi_strict ? Z3_mk_lt(s->z, lhs, at) : Z3_mk_le(s->z, lhs, at);
  }
  *out = n == 0 ? NULL : n == 1 ? part[0] : Z3_mk_and(s->z, 2, part);
  return EP_OK;
}

static ep_status conjunction(ep_solver *s, uint32_t n, const ep_prob_row *rows, double margin, Z3_ast *out) {
  Z3_ast *part = ep_alloc(s->ctx, (n + 1u) * sizeof *part);
  if (!part) return EP_E_NOMEM;
  unsigned k = 0;
  ep_status st = EP_OK;
  for (uint32_t i = 0; i < n && st == EP_OK; i++) {
    st = formula(s, &rows[i], margin, &part[k]);
    k += st == EP_OK && part[k];
  }
  *out = k ? Z3_mk_and(s->z, k, part) : Z3_mk_true(s->z);
  ep_free(s->ctx, part);
  return st;
}

static ep_status make_variables(ep_solver *s) {
  const ep_prob *p = s->p;
  s->var = ep_calloc(s->ctx, p->n_var + 1u, sizeof *s->var);
  s->boolean = ep_calloc(s->ctx, p->n_bool + 1u, sizeof *s->boolean);
  if (!s->var || !s->boolean) return EP_E_NOMEM;
  for (uint32_t v = 0; v < p->n_var; v++) s->var[v] = Z3_mk_const(s->z, Z3_mk_int_symbol(s->z, (int)(2 * v)), s->real);
  for (uint32_t b = 0; b < p->n_bool; b++)
    s->boolean[b] = Z3_mk_const(s->z, Z3_mk_int_symbol(s->z, (int)(2 * b + 1)), Z3_mk_bool_sort(s->z));
  for (uint32_t v = 0; v < p->n_var; v++) {
    Z3_ast f;
    ep_prob_row r = {.n = 1, .var = &v, .coef = (const double[]){1}, .lo = p->lo[v], .hi = p->hi[v]};
    EP_TRY(formula(s, &r, 0, &f));
    if (f) Z3_solver_assert(s->z, s->s, f);
  }
  return EP_OK;
}

static ep_status make_disjunction(ep_solver *s, const ep_prob_disj *d) {
  const ep_prob *p = s->p;
  Z3_ast *part = ep_alloc(s->ctx, (d->n + 1u) * sizeof *part);
  if (!part) return EP_E_NOMEM;
  ep_status st = EP_OK;
  for (uint32_t c = 0; c < d->n && st == EP_OK; c++) {
    const ep_prob_choice *ch = &p->choice[d->first + c];
    st = conjunction(s, ch->n, p->choice_row + ch->first, 0, &part[c]);
  }
  if (st == EP_OK) Z3_solver_assert(s->z, s->s, Z3_mk_or(s->z, d->n, part));
  ep_free(s->ctx, part);
  return st;
}

static Z3_ast literal(ep_solver *s, ep_lit l) {
  Z3_ast b = s->boolean[l / 2];
  return l & 1 ? Z3_mk_not(s->z, b) : b;
}

static ep_status make_boolean(ep_solver *s) {
  const ep_prob *p = s->p;
  uint32_t most = 0;
  for (uint32_t i = 0; i < p->n_clause; i++) most = p->clause[i].n > most ? p->clause[i].n : most;
  for (uint32_t i = 0; i < p->n_card; i++) most = p->card[i].n > most ? p->card[i].n : most;
  Z3_ast *part = ep_alloc(s->ctx, (most + 1u) * sizeof *part);
  if (!part) return EP_E_NOMEM;
  for (uint32_t i = 0; i < p->n_clause; i++) {
    for (uint32_t k = 0; k < p->clause[i].n; k++) part[k] = literal(s, p->clause[i].lit[k]);
    Z3_solver_assert(s->z, s->s, p->clause[i].n ? Z3_mk_or(s->z, p->clause[i].n, part) : Z3_mk_false(s->z));
  }
  for (uint32_t i = 0; i < p->n_card; i++) {
    const ep_prob_card *c = &p->card[i];
    for (uint32_t k = 0; k < c->n; k++) part[k] = literal(s, c->lit[k]);
    Z3_ast f = Z3_mk_atleast(s->z, c->n, part, c->k);
    Z3_solver_assert(s->z, s->s, c->head == EP_LIT_NO ? f : Z3_mk_iff(s->z, literal(s, c->head), f));
  }
  ep_free(s->ctx, part);
  return EP_OK;
}

static ep_status make_problem(ep_solver *s) {
  const ep_prob *p = s->p;
  EP_TRY(make_variables(s));
  for (uint32_t i = 0; i < p->n_row; i++) {
    Z3_ast f;
    EP_TRY(formula(s, &p->row[i], 0, &f));
    if (f) Z3_solver_assert(s->z, s->s, f);
    if (i % 16 == 15 && ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED;
    if (i % 16 == 15 && is_over_limit(s)) return EP_FAIL(s->ctx, EP_E_LIMIT, "z3: memory limit reached");
  }
  for (uint32_t i = 0; i < p->n_disj; i++) EP_TRY(make_disjunction(s, &p->disj[i]));
  EP_TRY(make_boolean(s));
  return check_error(s, "building the problem");
}

static void z3_destroy(ep_solver *s) {
  if (!s) return;
  if (s->has_watcher) {
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->watcher, NULL);
  }
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->wake);
  if (s->z) {
    if (s->model) Z3_model_dec_ref(s->z, s->model);
    if (s->s) Z3_solver_dec_ref(s->z, s->s);
    Z3_del_context(s->z);
  }
  ep_free(s->ctx, s->var);
  ep_free(s->ctx, s->boolean);
  ep_free(s->ctx, s->name);
  ep_free(s->ctx, s->name_disj);
  ep_free(s->ctx, s->level);
  ep_free(s->ctx, s);
}

/* Z3 would put its own handler of SIGINT over the program's while it solves. */
static void set_parameters(ep_solver *s) {
  Z3_params params = Z3_mk_params(s->z);
  Z3_params_inc_ref(s->z, params);
  Z3_params_set_bool(s->z, params, Z3_mk_string_symbol(s->z, "ctrl_c"), false);
  uint64_t steps = s->effort.steps < UINT32_MAX ? s->effort.steps : 0;
  Z3_params_set_uint(s->z, params, Z3_mk_string_symbol(s->z, "rlimit"), (unsigned)steps);
  Z3_solver_set_params(s->z, s->s, params);
  Z3_params_dec_ref(s->z, params);
}

static ep_status z3_create(ep_ctx *ctx, const ep_prob *p, ep_solver **out) {
  *out = NULL;
  ep_solver *s = ep_calloc(ctx, 1, sizeof *s);
  if (!s) return EP_E_NOMEM;
  s->ctx = ctx;
  s->p = p;
  s->memory_limit = ep_ctx_memory_limit(ctx);
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->wake, &attr);
  pthread_condattr_destroy(&attr);
  Z3_config cfg = Z3_mk_config();
  s->z = Z3_mk_context(cfg); /* plain contexts keep every term until they are deleted: no reference counts to keep */
  Z3_del_config(cfg);
  ep_status st = EP_E_BACKEND;
  if (s->z) {
    Z3_set_error_handler(s->z, on_error);
    s->real = Z3_mk_real_sort(s->z);
    s->s = p->n_bool ? Z3_mk_solver(s->z) : Z3_mk_solver_for_logic(s->z, Z3_mk_string_symbol(s->z, "QF_LRA"));
    Z3_solver_inc_ref(s->z, s->s);
    set_parameters(s);
    st = make_problem(s);
  }
  if (st == EP_OK && pthread_create(&s->watcher, NULL, watch_main, s) != 0)
    st = EP_FAIL(ctx, EP_E_INTERNAL, "cannot start a thread");
  s->has_watcher = st == EP_OK;
  if (st != EP_OK)
    z3_destroy(s);
  else
    *out = s;
  return st;
}

static ep_status z3_push(ep_solver *s) {
  EP_TRY(ep_reserve(s->ctx, (void **)&s->level, &s->cap_level, s->n_level, sizeof *s->level));
  s->level[s->n_level++] = s->n_name;
  Z3_solver_push(s->z, s->s);
  return check_error(s, "push");
}

static void z3_pop(ep_solver *s) {
  assert(s->n_level);
  s->n_name = s->level[--s->n_level];
  Z3_solver_pop(s->z, s->s, 1);
}

static ep_status z3_goal(ep_solver *s, uint32_t g, double margin) {
  Z3_ast f;
  EP_TRY(conjunction(s, s->p->goal[g].n, s->p->goal_row + s->p->goal[g].first, margin, &f));
  Z3_solver_assert(s->z, s->s, f);
  return check_error(s, "goal");
}

/* A chosen piece stands under a literal of its own, so that refutations can name the choices they need. */
static ep_status z3_choose(ep_solver *s, uint32_t d, uint32_t choice) {
  const ep_prob_choice *c = &s->p->choice[s->p->disj[d].first + choice];
  Z3_ast f;
  EP_TRY(conjunction(s, c->n, s->p->choice_row + c->first, 0, &f));
  size_t cap = s->cap_name;
  EP_TRY(ep_reserve(s->ctx, (void **)&s->name, &cap, s->n_name, sizeof *s->name));
  EP_TRY(ep_reserve(s->ctx, (void **)&s->name_disj, &s->cap_name, s->n_name, sizeof *s->name_disj));
  Z3_ast name = Z3_mk_fresh_const(s->z, "choice", Z3_mk_bool_sort(s->z));
  s->name[s->n_name] = name;
  s->name_disj[s->n_name++] = d;
  Z3_solver_assert(s->z, s->s, Z3_mk_implies(s->z, name, f));
  return check_error(s, "choice");
}

static ep_status z3_bound(ep_solver *s, uint32_t var, double lo, double hi) {
  Z3_ast f;
  ep_prob_row r = {.n = 1, .var = &var, .coef = (const double[]){1}, .lo = lo, .hi = hi};
  EP_TRY(formula(s, &r, 0, &f));
  if (f) Z3_solver_assert(s->z, s->s, f);
  return check_error(s, "bound");
}

static void z3_limit(ep_solver *s, const ep_effort *effort) {
  s->effort = *effort; /* the watcher reads it during checks only */
  set_parameters(s);
}

static void set_checking(ep_solver *s, bool is_checking) {
  pthread_mutex_lock(&s->lock);
  s->is_checking = is_checking;
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
}

/* Which assumed literals the core holds. */
static void failed_literals(ep_solver *s, ep_assume *a) {
  Z3_ast_vector core = Z3_solver_get_unsat_core(s->z, s->s);
  Z3_ast_vector_inc_ref(s->z, core);
  a->n_failed = 0;
  for (uint32_t i = 0; i < a->n && a->failed; i++)
    for (unsigned k = 0; k < Z3_ast_vector_size(s->z, core); k++)
      if (Z3_is_eq_ast(s->z, Z3_ast_vector_get(s->z, core, k), literal(s, a->lit[i]))) {
        a->failed[a->n_failed++] = a->lit[i];
        break;
      }
  Z3_ast_vector_dec_ref(s->z, core);
}

static ep_status z3_check(ep_solver *s, ep_assume *assume, ep_answer_kind *out) {
  uint32_t n = s->n_name + (assume ? assume->n : 0);
  *out = EP_ANSWER_UNKNOWN;
  if (ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED;
  if (is_out_of_time(s)) return EP_OK;
  Z3_ast *a = ep_alloc(s->ctx, (n + 1u) * sizeof *a);
  if (!a) return EP_E_NOMEM;
  if (s->n_name) memcpy(a, s->name, s->n_name * sizeof *a);
  for (uint32_t i = 0; assume && i < assume->n; i++) a[s->n_name + i] = literal(s, assume->lit[i]);
  s->checks++;
  s->was_cut = false;
  if (pthread_getcpuclockid(pthread_self(), &s->cpu_clock) != 0) s->cpu_clock = CLOCK_MONOTONIC;
  s->cpu_start = cpu_of(s->cpu_clock);
  set_checking(s, true);
  Z3_lbool r = n ? Z3_solver_check_assumptions(s->z, s->s, n, a) : Z3_solver_check(s->z, s->s);
  set_checking(s, false);
  ep_free(s->ctx, a);
  if (s->model) Z3_model_dec_ref(s->z, s->model);
  s->model = NULL;
  if (s->is_over_memory) return EP_FAIL(s->ctx, EP_E_LIMIT, "z3: memory limit reached");
  if (r == Z3_L_UNDEF) {
    if (ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED;
    return s->effort.steps || s->was_cut ? EP_OK : check_error(s, "check");
  }
  *out = r == Z3_L_TRUE ? EP_ANSWER_SAT : EP_ANSWER_UNSAT;
  if (r == Z3_L_TRUE) {
    s->model = Z3_solver_get_model(s->z, s->s);
    if (!s->model) return check_error(s, "model");
    Z3_model_inc_ref(s->z, s->model);
  } else if (assume) {
    failed_literals(s, assume);
  }
  return EP_OK;
}

/* p/q rounded to nearest (almost: to 40 places, then by the C library). */
static double z3_value(ep_solver *s, uint32_t var) {
  Z3_ast v = NULL;
  assert(s->model);
  if (!Z3_model_eval(s->z, s->model, s->var[var], true, &v) || !v) return NAN;
  const char *text = Z3_get_numeral_decimal_string(s->z, v, 400);
  return text ? strtod(text, NULL) : NAN; /* a trailing "?" marks a cut expansion and ends the number */
}

static bool z3_bool_value(ep_solver *s, uint32_t b) {
  Z3_ast v = NULL;
  assert(s->model);
  return Z3_model_eval(s->z, s->model, s->boolean[b], true, &v) && v && Z3_get_bool_value(s->z, v) == Z3_L_TRUE;
}

static ep_status z3_core(ep_solver *s, uint32_t *disj, uint32_t *n_disj) {
  Z3_ast_vector core = Z3_solver_get_unsat_core(s->z, s->s);
  Z3_ast_vector_inc_ref(s->z, core);
  *n_disj = 0;
  for (uint32_t i = 0; i < s->n_name; i++)
    for (unsigned k = 0; k < Z3_ast_vector_size(s->z, core); k++)
      if (Z3_is_eq_ast(s->z, Z3_ast_vector_get(s->z, core, k), s->name[i])) {
        disj[(*n_disj)++] = s->name_disj[i];
        break;
      }
  Z3_ast_vector_dec_ref(s->z, core);
  return check_error(s, "core");
}

static void z3_stats(const ep_solver *s, ep_solver_stats *out) {
  *out = (ep_solver_stats){.checks = s->checks};
  Z3_stats all = Z3_solver_get_statistics(s->z, s->s);
  if (!all) return;
  Z3_stats_inc_ref(s->z, all);
  for (unsigned i = 0; i < Z3_stats_size(s->z, all); i++)
    if (strcmp(Z3_stats_get_key(s->z, all, i), "rlimit count") == 0 && Z3_stats_is_uint(s->z, all, i))
      out->steps = Z3_stats_get_uint_value(s->z, all, i);
  Z3_stats_dec_ref(s->z, all);
}

extern const ep_backend ep_backend_z3;
const ep_backend ep_backend_z3 = {
    .name = "z3",
    .caps = EP_CAP_EXACT | EP_CAP_LINEAR | EP_CAP_INTEGER | EP_CAP_BOOL | EP_CAP_DISJUNCTION,
    .create = z3_create,
    .destroy = z3_destroy,
    .push = z3_push,
    .pop = z3_pop,
    .goal = z3_goal,
    .choose = z3_choose,
    .bound = z3_bound,
    .limit = z3_limit,
    .check = z3_check,
    .value = z3_value,
    .bool_value = z3_bool_value,
    .core = z3_core,
    .stats = z3_stats,
};
