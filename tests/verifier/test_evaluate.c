/* Samples with known outcomes, and the exact confidence interval against tabulated values. */
#include "verifier/evaluate.h"

#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "tests/ep_test.h"
#include "tests/support/netlang.h"

static void test_interval(void **state) {
  (void)state;
  /* R's binom.test: (k, n) -> ends */
  static const struct {
    uint64_t k, n;
    double lo, hi;
  } known[] = {{0, 10, 0, 0.3084971},
               {10, 10, 0.6915029, 1},
               {5, 10, 0.1870860, 0.8129140},
               {90, 100, 0.8237774, 0.9509953},
               {1, 1000, 0.00002531, 0.0055589}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    double lo, hi;
    ep_evaluate_interval(known[i].k, known[i].n, 0.05, &lo, &hi);
    if (fabs(lo - known[i].lo) > 2e-6 || fabs(hi - known[i].hi) > 2e-6) fail_msg("case %zu: %.7f %.7f", i, lo, hi);
  }
  double lo, hi;
  ep_evaluate_interval(0, 0, 0.05, &lo, &hi);
  assert_true(lo <= 0 && hi >= 1);
  ep_evaluate_interval(9700, 10000, 0.05, &lo, &hi);
  assert_true(lo > 0.9664 && lo < 0.9667 && hi > 0.9732 && hi < 0.9734);
}

/* Two scores that are the two inputs (through a ReLU, so that every stage has something to do). */
static ep_status two(ep_ctx *ctx, ep_graph **g) {
  ep_builder *b;
  static const double eye[4] = {1, 0, 0, 1};
  ep_shape in = {2, {1, 2}}, w = {2, {2, 2}};
  ep_tensor t = {EP_DT_F32, w, 4, eye, NULL};
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st;
  EP_GOTO(ep_builder_input(b, "x", EP_DT_F32, &in));
  EP_GOTO(ep_builder_constant(b, "w", &t));
  EP_GOTO(ep_builder_node(b, "MatMul", "m", 2, (const char *const[]){"x", "w"}, "h", NULL));
  EP_GOTO(ep_builder_node(b, "Relu", "r", 1, (const char *const[]){"h"}, "y", NULL));
  st = ep_builder_finish(b, "y", g);
done:
  ep_builder_destroy(b);
  return st;
}

static void test_outcomes(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  ep_pool *pool;
  ep_config cfg;
  ep_config_default(&cfg);
  assert_int_equal(two(ctx, &g), EP_OK);
  assert_int_equal(ep_pool_create(ctx, 1, &pool), EP_OK);
  static const struct {
    float x[2];
    uint32_t label;
    double epsilon;
    bool is_wrong, is_proved;
  } cases[] = {{{0.25f, 0.75f}, 1, 0.24, false, true}, {{0.25f, 0.75f}, 1, 0.26, false, false},
               {{0.25f, 0.75f}, 0, 0.1, true, false},  {{0.5f, 0.5f}, 0, 0.1, true, false}, /* a tie wins nothing */
               {{0.0f, 1.0f}, 1, 0.499, false, true},  {{0.9f, 1.0f}, 1, 0.2, false, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ep_eval_outcome o;
    cfg.epsilon = cases[i].epsilon;
    assert_int_equal(ep_evaluate_sample(ctx, g, cases[i].x, cases[i].label, 0, 1, &cfg, pool, &o), EP_OK);
    bool is_ok = cases[i].is_wrong    ? o == EP_EVAL_WRONG
                 : cases[i].is_proved ? ep_evaluate_is_proved(o)
                                      : ep_evaluate_is_refuted(o);
    if (!is_ok) fail_msg("case %zu: %s", i, ep_evaluate_text(o));
  }
  ep_pool_destroy(pool);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* Small random networks, whose smallest margin over a fine grid of the ball is close to the truth: no proof above it,
 * no refutation below. */
static void test_against_grid(void **state) {
  (void)state;
  enum { GRID = 41 };
  static int seen[EP_N_EVAL_OUTCOME];
  for (uint64_t seed = 1; seed <= 25; seed++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g;
    ep_pool *pool;
    ep_scratch s;
    ep_config cfg;
    ep_config_default(&cfg);
    cfg.epsilon = 0.02 * (double)seed;
    cfg.timeout = 5;
    assert_int_equal(netlang_make(ctx,
                                  "x:1,2; a = Gemm x c12,2 c12 transB=1; b = Relu a; c = Gemm b c8,12 c8 transB=1; "
                                  "d = Relu c; y = Gemm d c3,8 c3 transB=1",
                                  seed, &g),
                     EP_OK);
    assert_int_equal(ep_pool_create(ctx, 2, &pool), EP_OK);
    ep_scratch_init(&s, ctx);
    const float x[2] = {0.5f, 0.4f};
    uint32_t label;
    ep_eval_outcome o;
    assert_int_equal(ep_evaluate_predict(g, x, &s, &label), EP_OK);
    assert_int_equal(ep_evaluate_sample(ctx, g, x, label, 0, 1, &cfg, pool, &o), EP_OK);
    seen[o]++;
    double worst = INFINITY;
    for (int i = 0; i < GRID * GRID; i++) {
      double at[2] = {0.5 + cfg.epsilon * (2.0 * (i / GRID) / (GRID - 1) - 1),
                      0.4f + cfg.epsilon * (2.0 * (i % GRID) / (GRID - 1) - 1)};
      ep_trace_f64 t;
      for (int k = 0; k < 2; k++) at[k] = fmin(fmax(at[k], 0), 1);
      ep_scratch_mark m = ep_scratch_save(&s);
      assert_int_equal(ep_eval_f64(g, 1, at, &s, &t), EP_OK);
      for (uint32_t j = 0; j < 3; j++)
        if (j != label) worst = fmin(worst, t.v[g->output][label] - t.v[g->output][j]);
      ep_scratch_restore(&s, m);
    }
    if (ep_evaluate_is_proved(o) && worst < 0) fail_msg("seed %d: proved, but a margin of %g", (int)seed, worst);
    if (ep_evaluate_is_refuted(o) && worst > 0.1) fail_msg("seed %d: refuted, worst margin %g", (int)seed, worst);
    assert_int_not_equal(o, EP_EVAL_OPEN);
    ep_scratch_clear(&s);
    ep_pool_destroy(pool);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
  assert_true(seen[EP_EVAL_IBP] > 0 && seen[EP_EVAL_ATTACKED] > 0);
}

static void test_names(void **state) {
  (void)state;
  for (ep_eval_outcome o = EP_EVAL_WRONG; o < EP_N_EVAL_OUTCOME; o++)
    assert_int_equal(ep_evaluate_parse(ep_evaluate_text(o), strlen(ep_evaluate_text(o))), o);
  assert_int_equal(ep_evaluate_parse("proven", 6), EP_N_EVAL_OUTCOME);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_interval), cmocka_unit_test(test_outcomes),
                                     cmocka_unit_test(test_against_grid), cmocka_unit_test(test_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
