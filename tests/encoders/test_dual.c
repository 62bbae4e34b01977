/* Repaired duals: whatever the multipliers, the bound is not above the objective at any feasible point (quadruple
 * precision), also where everything cancels and only the rounding term pays; with the LP solver's own duals it comes
 * within 1e-6 of the optimum.
 * Seen to fail when: the rounding term is left out, a multiplier takes the other side of its row, the box the other
 * corner, an infinite side counts as 0. */
#include "tests/ep_test.h"

#include "encoders/backend.h"
#include "encoders/dual.h"
#include "kernels/rng.h"

typedef __float128 quad; /* NOLINT */

enum { N = 6, M = 5 };

typedef struct lp {
  ep_ctx *ctx;
  ep_prob *p;
  ep_scratch s;
  double c[N], x[N]; /* x: a feasible point, exactly */
  uint32_t var[N];
} lp;

/* Rows around a point: ranges, one-sided rows, equalities; integer data, so that the point is feasible exactly. */
static void make(lp *l, uint64_t seed, double scale) {
  ep_rng r;
  ep_rng_seed(&r, seed);
  l->ctx = ep_ctx_create();
  ep_scratch_init(&l->s, l->ctx);
  assert_int_equal(ep_prob_create(l->ctx, &l->p), EP_OK);
  for (uint32_t j = 0; j < N; j++) {
    double at = scale * ((double)ep_rng_below(&r, 9) - 4);
    l->x[j] = at;
    l->c[j] = (double)ep_rng_below(&r, 7) - 3;
    assert_int_equal(ep_prob_var(l->p, at - scale * (double)ep_rng_below(&r, 3),
                                 at + scale * (double)ep_rng_below(&r, 3), 0, j, &l->var[j]),
                     EP_OK);
  }
  for (uint32_t i = 0; i < M; i++) {
    double a[N], sum = 0;
    for (uint32_t j = 0; j < N; j++) sum += (a[j] = (double)ep_rng_below(&r, 7) - 3) * l->x[j];
    ep_prob_row row = {.n = N,
                       .var = l->var,
                       .coef = a,
                       .lo = sum - scale * (double)ep_rng_below(&r, 2),
                       .hi = sum + scale * (double)ep_rng_below(&r, 2)};
    if (i % 3 == 1) row.lo = -INFINITY;
    if (i % 3 == 2) row.hi = INFINITY;
    assert_int_equal(ep_prob_add(l->p, EP_PLACE_ALWAYS, &row), EP_OK);
  }
}

static void clear(lp *l) {
  ep_prob_destroy(l->p);
  ep_scratch_clear(&l->s);
  assert_int_equal(ep_ctx_memory_used(l->ctx), 0);
  ep_ctx_destroy(l->ctx);
}

static double bound_with(lp *l, const double *y) {
  ep_case none = {.goal = EP_NO_GOAL};
  double lower;
  assert_int_equal(ep_dual_bound(l->p, &none, N, l->var, l->c, y, &l->s, &lower), EP_OK);
  return lower;
}

static quad objective_at_point(const lp *l) {
  quad v = 0;
  for (uint32_t j = 0; j < N; j++) v += (quad)l->c[j] * (quad)l->x[j];
  return v;
}

static void any_multipliers_are_sound(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 3000; seed++) {
    lp l;
    ep_rng r;
    make(&l, seed, seed % 2 ? 1 : 1e15);
    ep_rng_seed(&r, seed + 9);
    for (int t = 0; t < 4; t++) {
      double y[M];
      for (int i = 0; i < M; i++) y[i] = t == 3 ? NAN : ep_rng_normal(&r) * (t == 2 ? 1e6 : 1);
      assert_true((quad)bound_with(&l, y) <= objective_at_point(&l));
    }
    clear(&l);
  }
}

/* 0.1 x <= -1 twice with multipliers that cancel the objective only up to rounding, on a huge box: the bound must pay
 * for the rounding times the box, or it lies above the truth. */
static void pays_for_cancellation(void **state) {
  (void)state;
  int n_worse = 0;
  for (uint64_t seed = 0; seed < 2000; seed++) {
    ep_rng r;
    ep_rng_seed(&r, seed);
    ep_ctx *ctx = ep_ctx_create();
    ep_scratch s;
    ep_prob *p;
    uint32_t v;
    ep_scratch_init(&s, ctx);
    assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
    double big = 1e18, y[3], a[3], c;
    assert_int_equal(ep_prob_var(p, -big, big, 0, 0, &v), EP_OK);
    quad d = 0, cst = 0;
    for (int i = 0; i < 3; i++) {
      a[i] = ep_rng_normal(&r);
      y[i] = ep_rng_uniform(&r);
      ep_prob_row row = {.n = 1, .var = &v, .coef = &a[i], .lo = -1, .hi = INFINITY};
      assert_int_equal(ep_prob_add(p, EP_PLACE_ALWAYS, &row), EP_OK);
      d += (quad)y[i] * (quad)a[i];
      cst -= (quad)y[i];
    }
    c = (double)d; /* the objective that the multipliers reproduce, rounded */
    quad rest = (quad)c - d, truth = cst - (rest < 0 ? -rest : rest) * (quad)big;
    ep_case none = {.goal = EP_NO_GOAL};
    double lower;
    assert_int_equal(ep_dual_bound(p, &none, 1, &v, &c, y, &s, &lower), EP_OK);
    assert_true((quad)lower <= truth);
    n_worse += truth < cst - 1;
    ep_prob_destroy(p);
    ep_scratch_clear(&s);
    ep_ctx_destroy(ctx);
  }
  assert_true(n_worse > 1000); /* rounding did matter */
}

static void solver_duals_are_tight(void **state) {
  (void)state;
  const ep_backend *be;
  ep_ctx *probe = ep_ctx_create();
  bool has = ep_backend_find(probe, "glpk", &be) == EP_OK;
  ep_ctx_destroy(probe);
  if (!has) skip();
  for (uint64_t seed = 0; seed < 300; seed++) {
    lp l;
    ep_solver *s;
    ep_answer_kind k;
    double y[M];
    make(&l, seed, 1);
    assert_int_equal(be->create(l.ctx, l.p, &s), EP_OK);
    assert_int_equal(be->minimise(s, N, l.var, l.c), EP_OK);
    assert_int_equal(be->check(s, NULL, &k), EP_OK);
    assert_int_equal(k, EP_ANSWER_SAT);
    assert_int_equal(be->duals(s, y), EP_OK);
    double bound = bound_with(&l, y), opt = be->objective(s);
    assert_true(bound <= opt + 1e-7 * (1 + fabs(opt)) && bound >= opt - 1e-6 * (1 + fabs(opt)));
    be->destroy(s);
    clear(&l);
  }
}

/* Two choices that exclude each other, and a goal that needs both: refuted in either choice, not without one. */
static void cases_are_refuted(void **state) {
  (void)state;
  const ep_backend *be;
  ep_ctx *ctx = ep_ctx_create();
  ep_prob *p;
  ep_scratch s;
  ep_solver *solver;
  uint32_t v[2];
  if (ep_backend_find(ctx, "glpk", &be) != EP_OK) {
    ep_ctx_destroy(ctx);
    skip();
  }
  ep_scratch_init(&s, ctx);
  assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
  for (uint32_t i = 0; i < 2; i++) assert_int_equal(ep_prob_var(p, -1, 1, 0, i, &v[i]), EP_OK);
  /* x <= 0 and y = 0, or x >= 0 and y = x - 1/2; goal y >= 3/4. */
  assert_int_equal(ep_prob_open_disj(p, v[0], v[1], 0, 0), EP_OK);
  assert_int_equal(ep_prob_open_choice(p), EP_OK);
  ep_prob_row r1 = {.n = 1, .var = v, .coef = (const double[]){1}, .lo = -INFINITY, .hi = 0};
  ep_prob_row r2 = {.n = 1, .var = v + 1, .coef = (const double[]){1}, .lo = 0, .hi = 0};
  assert_int_equal(ep_prob_add(p, EP_PLACE_CHOICE, &r1), EP_OK);
  assert_int_equal(ep_prob_add(p, EP_PLACE_CHOICE, &r2), EP_OK);
  assert_int_equal(ep_prob_open_choice(p), EP_OK);
  ep_prob_row r3 = {.n = 1, .var = v, .coef = (const double[]){1}, .lo = 0, .hi = INFINITY};
  ep_prob_row r4 = {.n = 2, .var = v, .coef = (const double[]){-1, 1}, .lo = -0.5, .hi = -0.5};
  assert_int_equal(ep_prob_add(p, EP_PLACE_CHOICE, &r3), EP_OK);
  assert_int_equal(ep_prob_add(p, EP_PLACE_CHOICE, &r4), EP_OK);
  assert_int_equal(ep_prob_open_goal(p), EP_OK);
  ep_prob_row goal = {.n = 1, .var = v + 1, .coef = (const double[]){-1}, .lo = -INFINITY, .hi = -0.75};
  assert_int_equal(ep_prob_add(p, EP_PLACE_GOAL, &goal), EP_OK);
  assert_int_equal(be->create(ctx, p, &solver), EP_OK);
  for (uint32_t choice = 0; choice < 3; choice++) { /* 2 = none */
    uint32_t d = 0;
    double y[8];
    bool is_refuted;
    ep_answer_kind k;
    ep_case c = {.n = choice < 2, .disj = &d, .choice = &choice, .goal = 0};
    assert_int_equal(be->push(solver), EP_OK);
    assert_int_equal(be->goal(solver, 0, 0), EP_OK);
    if (choice < 2) assert_int_equal(be->choose(solver, 0, choice), EP_OK);
    assert_int_equal(be->check(solver, NULL, &k), EP_OK);
    assert_int_equal(be->duals(solver, y), EP_OK);
    assert_int_equal(ep_dual_refutes(p, &c, y, &s, &is_refuted), EP_OK);
    assert_int_equal(is_refuted, choice < 2);
    be->pop(solver);
  }
  be->destroy(solver);
  ep_prob_destroy(p);
  ep_scratch_clear(&s);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* A case that a point satisfies, with the point on the edges of the choice's one-variable rows and of the goal: no
 * multipliers refute it. */
static void feasible_cases_are_never_refuted(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 500; seed++) {
    lp l;
    ep_rng r;
    double y[M + 8];
    uint32_t d = 0, choice = 0;
    bool is_refuted;
    make(&l, seed, 1);
    ep_rng_seed(&r, seed + 77);
    assert_int_equal(ep_prob_open_disj(l.p, l.var[0], l.var[1], 0, 0), EP_OK);
    assert_int_equal(ep_prob_open_choice(l.p), EP_OK);
    ep_prob_row below = {.n = 1, .var = l.var, .coef = (const double[]){1}, .lo = -INFINITY, .hi = l.x[0]};
    ep_prob_row above = {.n = 1, .var = l.var + 1, .coef = (const double[]){1}, .lo = l.x[1], .hi = INFINITY};
    assert_int_equal(ep_prob_add(l.p, EP_PLACE_CHOICE, &below), EP_OK);
    assert_int_equal(ep_prob_add(l.p, EP_PLACE_CHOICE, &above), EP_OK);
    assert_int_equal(ep_prob_open_goal(l.p), EP_OK);
    ep_prob_row goal0 = {.n = 1, .var = l.var, .coef = (const double[]){1}, .lo = l.x[0], .hi = INFINITY};
    ep_prob_row goal1 = {.n = 1, .var = l.var + 1, .coef = (const double[]){1}, .lo = -INFINITY, .hi = l.x[1]};
    assert_int_equal(ep_prob_add(l.p, EP_PLACE_GOAL, &goal0), EP_OK);
    assert_int_equal(ep_prob_add(l.p, EP_PLACE_GOAL, &goal1), EP_OK);
    ep_case c = {.n = 1, .disj = &d, .choice = &choice, .goal = 0};
    for (int t = 0; t < 8; t++) {
      for (int i = 0; i < M + 4; i++)
        y[i] = t < 4 && i < M + 2 ? 0 : ep_rng_normal(&r); /* first the goal's rows alone */
      assert_int_equal(ep_dual_refutes(l.p, &c, y, &l.s, &is_refuted), EP_OK);
      assert_false(is_refuted);
    }
    clear(&l);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(feasible_cases_are_never_refuted),
      cmocka_unit_test(any_multipliers_are_sound),
      cmocka_unit_test(pays_for_cancellation),
      cmocka_unit_test(solver_duals_are_tight),
      cmocka_unit_test(cases_are_refuted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
