/* GLPK: the linear relaxation in double precision, warm started. Columns are the problem's variables and one elastic
 * variable that all goal rows share; rows are the problem's, the choices' (free until chosen) and the goals' (free
 * until asked for). One-variable rows of choices become column bounds. Disjunctions themselves are only seen through
 * their implied rows.
 *
 * GLPK aborts on what it takes for misuse or when memory runs out: its error hook jumps back here, the environment is
 * given up, and the call fails with EP_E_BACKEND. Simplex runs in slices, between which stopping is polled and the
 * number of iterations limited, so that cycling ends. One environment per thread; used by one thread only. */
#include <assert.h>
#include <glpk.h>
#include <math.h>
#include <setjmp.h>
#include <string.h>

#include "encoders/backend.h"

enum { SLICE = 100, MAX_STEPS = 2000000 };

/* What push remembers: bounds as they were. col >= 1 for columns, row <= -1 for rows. */
typedef struct undo {
  int at;
  double lo, hi;
} undo;

struct ep_solver {
  ep_ctx *ctx;
  const ep_prob *p;
  glp_prob *lp;
  int elastic;             /* column */
  double *lo, *hi;         /* [n_var] column bounds in force */
  double *row_lo, *row_hi; /* [n_rows] row bounds in force */
  size_t n_rows;
  int *ind; /* work space for one row of the matrix or the tableau */
  double *val;
  int method; /* simplex variant that suits what changed last */
  undo *log;
  uint32_t n_log, *level, n_level;
  size_t cap_log, cap_level;
  bool is_dead; /* GLPK gave up: the environment is gone */
  bool is_infeasible;
  uint64_t checks, steps;
  ep_effort effort;
  jmp_buf escape;
};

static void on_abort(void *info) {
  ep_solver *s = info;
  s->is_dead = true;
  longjmp(s->escape, 1);
}

static int silent(void *info, const char *text) {
  (void)info;
  (void)text;
  return 1; /* handled: nothing is printed */
}

/* Every entry into GLPK that may abort stands between guard_enter and guard_leave of one function. */
#define GUARD(s)                                                                                                       \
  if ((s)->is_dead) return EP_FAIL((s)->ctx, EP_E_BACKEND, "glpk stopped working");                                    \
  if (setjmp((s)->escape)) return abandon(s);                                                                          \
  glp_error_hook(on_abort, s)

static ep_status abandon(ep_solver *s) {
  /* After an abort only the whole environment can be thrown away. */
  s->lp = NULL;
  glp_error_hook(NULL, NULL);
  glp_free_env();
  glp_term_hook(silent, NULL);
  return EP_FAIL(s->ctx, EP_E_BACKEND, "glpk aborted (out of memory, or a numerical breakdown)");
}

static int kind_of(double lo, double hi) {
  if (lo > -INFINITY && hi < INFINITY) return lo == hi ? GLP_FX : GLP_DB;
  return lo > -INFINITY ? GLP_LO : hi < INFINITY ? GLP_UP : GLP_FR;
}

static void set_col(ep_solver *s, uint32_t v, double lo, double hi) {
  s->method = GLP_DUALP;
  s->lo[v] = lo;
  s->hi[v] = hi;
  s->is_infeasible |= lo > hi;
  if (lo <= hi) glp_set_col_bnds(s->lp, (int)v + 1, kind_of(lo, hi), lo, hi);
}

static void set_row(ep_solver *s, size_t r, double lo, double hi) {
  s->row_lo[r] = lo;
  s->row_hi[r] = hi;
  if (lo <= hi) glp_set_row_bnds(s->lp, (int)r + 1, kind_of(lo, hi), lo, hi);
}

/* A row's coefficients; goal rows also get the elastic column: upper sides may be exceeded by it. */
static void load_row(ep_solver *s, size_t at, const ep_prob_row *r, bool is_elastic) {
  int n = 0, *ind = s->ind;
  double *val = s->val;
  for (uint32_t k = 0; k < r->n; k++) {
    ind[++n] = (int)r->var[k] + 1;
    val[n] = r->coef[k];
  }
  if (is_elastic) {
    ind[++n] = s->elastic;
    val[n] = r->hi < INFINITY ? -1 : 1;
  }
  glp_set_mat_row(s->lp, (int)at + 1, n, ind, val);
}

static void load(ep_solver *s) {
  const ep_prob *p = s->p;
  const ep_prob_row *part[3] = {p->row, p->choice_row, p->goal_row};
  uint32_t count[3] = {p->n_row, p->n_choice_row, p->n_goal_row};
  size_t n = 0;
  for (int k = 0; k < 3; k++)
    for (uint32_t i = 0; i < count[k]; i++, n++) {
      const ep_prob_row *r = &part[k][i];
      if (k != 1 || r->n > 1) load_row(s, n, r, k == 2);
      set_row(s, n, k ? -INFINITY : r->lo, k ? INFINITY : r->hi);
    }
}

static ep_status build(ep_solver *s) {
  GUARD(s);
  const ep_prob *p = s->p;
  size_t limit = ep_ctx_memory_limit(s->ctx) >> 20;
  glp_term_hook(silent, NULL);
  if (limit) glp_mem_limit(limit < INT32_MAX ? (int)limit : INT32_MAX);
  s->lp = glp_create_prob();
  glp_set_obj_dir(s->lp, GLP_MIN);
  if (s->n_rows) glp_add_rows(s->lp, (int)s->n_rows);
  glp_add_cols(s->lp, (int)p->n_var + 1);
  s->elastic = (int)p->n_var + 1;
  for (uint32_t v = 0; v < p->n_var; v++) set_col(s, v, p->lo[v], p->hi[v]);
  glp_set_col_bnds(s->lp, s->elastic, GLP_FX, 0, 0);
  load(s);
  return EP_OK;
}

static void glpk_destroy(ep_solver *s) {
  if (!s) return;
  if (s->lp) glp_delete_prob(s->lp);
  glp_error_hook(NULL, NULL);
  void *owned[] = {s->lo, s->hi, s->row_lo, s->row_hi, s->log, s->level, s->ind, s->val};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) ep_free(s->ctx, owned[i]);
  ep_free(s->ctx, s);
}

static ep_status glpk_create(ep_ctx *ctx, const ep_prob *p, ep_solver **out) {
  *out = NULL;
  ep_solver *s = ep_calloc(ctx, 1, sizeof *s);
  if (!s) return EP_E_NOMEM;
  s->ctx = ctx;
  s->p = p;
  s->n_rows = (size_t)p->n_row + p->n_choice_row + p->n_goal_row;
  s->lo = ep_calloc(ctx, p->n_var + 1u, sizeof *s->lo);
  s->hi = ep_calloc(ctx, p->n_var + 1u, sizeof *s->hi);
  s->row_lo = ep_calloc(ctx, s->n_rows + 1, sizeof *s->row_lo);
  s->row_hi = ep_calloc(ctx, s->n_rows + 1, sizeof *s->row_hi);
  size_t longest = s->n_rows + p->n_var + 4;
  s->ind = ep_calloc(ctx, longest, sizeof *s->ind);
  s->val = ep_calloc(ctx, longest, sizeof *s->val);
  s->method = GLP_DUALP;
  bool is_ok = s->lo && s->hi && s->row_lo && s->row_hi && s->ind && s->val;
  ep_status st = is_ok ? build(s) : EP_E_NOMEM;
  if (st != EP_OK)
    glpk_destroy(s);
  else
    *out = s;
  return st;
}

static ep_status remember(ep_solver *s, int at, double lo, double hi) {
  EP_TRY(ep_reserve(s->ctx, (void **)&s->log, &s->cap_log, s->n_log, sizeof *s->log));
  s->log[s->n_log++] = (undo){at, lo, hi};
  return EP_OK;
}

static ep_status glpk_push(ep_solver *s) {
  EP_TRY(ep_reserve(s->ctx, (void **)&s->level, &s->cap_level, s->n_level, sizeof *s->level));
  s->level[s->n_level++] = s->n_log;
  return EP_OK;
}

static void glpk_pop(ep_solver *s) {
  assert(s->n_level);
  uint32_t to = s->level[--s->n_level];
  s->is_infeasible = false; /* bounds were consistent before the level that broke them */
  while (s->n_log > to) {
    undo u = s->log[--s->n_log];
    if (s->is_dead) continue;
    if (u.at > 0)
      set_col(s, (uint32_t)u.at - 1, u.lo, u.hi);
    else if (u.at < 0)
      set_row(s, (size_t)-u.at - 1, u.lo, u.hi);
    else
      glp_set_col_bnds(s->lp, s->elastic, u.lo == u.hi ? GLP_FX : GLP_FR, 0, 0);
  }
}

static ep_status glpk_bound(ep_solver *s, uint32_t v, double lo, double hi) {
  if (s->is_dead) return EP_FAIL(s->ctx, EP_E_BACKEND, "glpk stopped working");
  if (lo <= s->lo[v] && hi >= s->hi[v]) return EP_OK;
  EP_TRY(remember(s, (int)v + 1, s->lo[v], s->hi[v]));
  set_col(s, v, fmax(lo, s->lo[v]), fmin(hi, s->hi[v]));
  return EP_OK;
}

static ep_status require_row(ep_solver *s, size_t at, double lo, double hi) {
  EP_TRY(remember(s, -(int)at - 1, s->row_lo[at], s->row_hi[at]));
  set_row(s, at, lo, hi);
  return EP_OK;
}

static ep_status glpk_choose(ep_solver *s, uint32_t d, uint32_t choice) {
  const ep_prob *p = s->p;
  const ep_prob_choice *c = &p->choice[p->disj[d].first + choice];
  if (s->is_dead) return EP_FAIL(s->ctx, EP_E_BACKEND, "glpk stopped working");
  for (uint32_t k = c->first; k < c->first + c->n; k++) {
    const ep_prob_row *r = &p->choice_row[k];
    if (r->n == 1) {
      double a = r->lo / r->coef[0], b = r->hi / r->coef[0];
      EP_TRY(glpk_bound(s, r->var[0], fmin(a, b), fmax(a, b)));
    } else {
      EP_TRY(require_row(s, (size_t)p->n_row + k, r->lo, r->hi));
    }
  }
  return EP_OK;
}

static ep_status glpk_goal(ep_solver *s, uint32_t g, double margin) {
  const ep_prob *p = s->p;
  const ep_prob_choice *c = &p->goal[g];
  if (s->is_dead) return EP_FAIL(s->ctx, EP_E_BACKEND, "glpk stopped working");
  for (uint32_t k = c->first; k < c->first + c->n; k++) {
    const ep_prob_row *r = &p->goal_row[k];
    EP_TRY(require_row(s, (size_t)p->n_row + p->n_choice_row + k, r->lo + margin, r->hi - margin));
  }
  EP_TRY(remember(s, 0, 0, 0));
  for (uint32_t v = 0; v <= p->n_var; v++) glp_set_obj_coef(s->lp, (int)v + 1, v == p->n_var);
  glp_set_col_bnds(s->lp, s->elastic, c->n ? GLP_FR : GLP_FX, 0, 0);
  return EP_OK;
}

static ep_status glpk_minimise(ep_solver *s, uint32_t n, const uint32_t *var, const double *coef) {
  if (s->is_dead) return EP_FAIL(s->ctx, EP_E_BACKEND, "glpk stopped working");
  for (uint32_t v = 0; v <= s->p->n_var; v++) glp_set_obj_coef(s->lp, (int)v + 1, 0);
  for (uint32_t k = 0; k < n; k++) glp_set_obj_coef(s->lp, (int)var[k] + 1, coef[k]);
  s->method = GLP_PRIMAL; /* the basis stays feasible, only no longer optimal */
  return EP_OK;
}

static void glpk_limit(ep_solver *s, const ep_effort *effort) { s->effort = *effort; }

/* Simplex in slices until it ends by itself, a stop, the limit, or far too many steps. */
static ep_status simplex(ep_solver *s, int method, int *ret) {
  glp_smcp parm;
  glp_init_smcp(&parm);
  parm.msg_lev = GLP_MSG_OFF;
  parm.meth = method;
  parm.it_lim = SLICE;
  parm.presolve = GLP_OFF;
  uint64_t most = s->effort.steps && s->effort.steps < MAX_STEPS ? s->effort.steps : MAX_STEPS;
  for (uint64_t used = 0;; used += SLICE) {
    if (ep_ctx_should_stop(s->ctx)) return EP_E_STOPPED;
    *ret = GLP_EITLIM;
    if (s->effort.until_s > 0 && ep_time_s() > s->effort.until_s) return EP_OK;
    int before = glp_get_it_cnt(s->lp);
    *ret = glp_simplex(s->lp, &parm);
    s->steps += (uint64_t)(glp_get_it_cnt(s->lp) - before);
    if (*ret != GLP_EITLIM || used >= most) return EP_OK;
  }
}

static ep_status glpk_check(ep_solver *s, ep_assume *assume, ep_answer_kind *out) {
  (void)assume;
  *out = EP_ANSWER_UNKNOWN;
  if (s->is_infeasible) {
    *out = EP_ANSWER_UNSAT;
    return EP_OK;
  }
  GUARD(s);
  int ret = 0;
  s->checks++;
  EP_TRY(simplex(s, s->method, &ret));
  if (ret == GLP_EBADB || ret == GLP_ESING || ret == GLP_ECOND || ret == GLP_EFAIL) {
    glp_std_basis(s->lp); /* the warm start broke down: once more from the beginning */
    EP_TRY(simplex(s, GLP_DUALP, &ret));
  }
  int status = ret == 0 ? glp_get_status(s->lp) : GLP_UNDEF;
  if (status == GLP_OPT) *out = EP_ANSWER_SAT;
  if (status == GLP_NOFEAS) *out = EP_ANSWER_UNSAT;
  return EP_OK;
}

static double glpk_value(ep_solver *s, uint32_t var) {
  return s->is_dead ? NAN : glp_get_col_prim(s->lp, (int)var + 1);
}

static double glpk_objective(ep_solver *s) { return s->is_dead ? NAN : glp_get_obj_val(s->lp); }

/* The row of the simplex tableau whose basic variable cannot be brought within its bounds: x_k - sum alpha_j x_j = 0.
 */
static void ray(ep_solver *s, double *y) {
  int k = glp_get_unbnd_ray(s->lp), m = glp_get_num_rows(s->lp);
  if (k < 1 || !glp_bf_exists(s->lp)) return;
  bool is_basic = k <= m ? glp_get_row_stat(s->lp, k) == GLP_BS : glp_get_col_stat(s->lp, k - m) == GLP_BS;
  if (!is_basic) return;
  int len = glp_eval_tab_row(s->lp, k, s->ind, s->val);
  if (k <= m) y[k - 1] = 1;
  for (int i = 1; i <= len; i++)
    if (s->ind[i] <= m) y[s->ind[i] - 1] = -s->val[i];
}

static ep_status glpk_duals(ep_solver *s, double *y) {
  for (size_t i = 0; i < s->n_rows; i++) y[i] = 0;
  if (s->is_infeasible) return EP_OK; /* the box alone is empty: no multipliers needed */
  GUARD(s);
  if (glp_get_status(s->lp) == GLP_NOFEAS)
    ray(s, y);
  else
    for (size_t i = 0; i < s->n_rows; i++) y[i] = glp_get_row_dual(s->lp, (int)i + 1);
  return EP_OK;
}

static void glpk_stats(const ep_solver *s, ep_solver_stats *out) {
  *out = (ep_solver_stats){.checks = s->checks, .steps = s->steps};
}

extern const ep_backend ep_backend_glpk;
const ep_backend ep_backend_glpk = {
    .name = "glpk",
    .caps = EP_CAP_LINEAR,
    .create = glpk_create,
    .destroy = glpk_destroy,
    .push = glpk_push,
    .pop = glpk_pop,
    .goal = glpk_goal,
    .choose = glpk_choose,
    .minimise = glpk_minimise,
    .bound = glpk_bound,
    .limit = glpk_limit,
    .check = glpk_check,
    .value = glpk_value,
    .objective = glpk_objective,
    .duals = glpk_duals,
    .stats = glpk_stats,
};
