/* Descents stay in the box, reach the optimum of a linear network with either step rule, and polishing returns the best
 * point seen with its true loss. Seen to fail when: the step's sign is turned, clamping is left out, the loss returned
 * is the last one instead of the best. */
#include "tests/ep_test.h"

#include <stdlib.h>

#include "tests/support/rootbox.h"
#include "verifier/attack.h"
#include "verifier/descent.h"

enum { N = 12, DIM = 6 };

static const net_opt linear = {.n_x = DIM, .n_y = 2, .n_layer = 0, .width = 8, .activation = "Relu", .scale = 1};
static const net_opt deep = {.n_x = DIM, .n_y = 2, .n_layer = 3, .width = 12, .activation = "Relu", .scale = 1};

static void fill(ep_descent *d, ep_rng *r) {
  for (size_t i = 0; i < (size_t)N * DIM; i++)
    d->x[i] = (float)(d->box->lo_in[i % DIM] + ep_rng_uniform(r) * (d->box->hi_in[i % DIM] - d->box->lo_in[i % DIM]));
}

static void assert_in_box(const ep_descent *d) {
  for (size_t i = 0; i < (size_t)N * DIM; i++) {
    assert_true(d->x[i] >= (float)d->box->lo_in[i % DIM]); /* to the nearest float; replay goes the last ulp */
    assert_true(d->x[i] <= (float)d->box->hi_in[i % DIM]);
  }
}

/* Runs `steps` steps; returns the smallest loss of the last evaluation. */
static float descend(const fixture *f, uint32_t momentum, uint32_t steps, bool is_diverse, ep_rng *r) {
  ep_scratch *s = ep_pool_scratch(f->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_descent d;
  float least = INFINITY;
  assert_int_equal(ep_descent_init(&d, &f->run, 0, 0, N, momentum, s), EP_OK);
  fill(&d, r);
  if (is_diverse) {
    float before = d.x[0] + d.x[DIM + 1];
    assert_int_equal(ep_descent_diversify(&d, r, 8, s), EP_OK);
    assert_true(d.x[0] + d.x[DIM + 1] != before);
  }
  for (uint32_t it = 0; it <= steps; it++) {
    assert_int_equal(ep_descent_evaluate(&d, s), EP_OK);
    assert_in_box(&d);
    if (it < steps) assert_int_equal(ep_descent_move(&d, s), EP_OK);
  }
  for (size_t i = 0; i < N; i++) least = fminf(least, d.loss[i]);
  ep_scratch_restore(s, m);
  return least;
}

static void linear_optima_are_reached(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 6; seed++) {
    fixture f;
    ep_rng r;
    open_box(&f, &linear, seed, 0.5, 0, 1);
    ep_rng_seed(&r, seed);
    /* The smallest Y_0 over the box, from its row of weights. */
    const ep_affine *a = &f.g->node[0].low.is.affine;
    double row[DIM], least = a->bias[0];
    uint32_t zero = 0;
    assert_int_equal(f.g->n_node, 1);
    ep_linop_rows_f64(&a->A[0], 1, &zero, row, false);
    for (uint32_t j = 0; j < DIM; j++) least += row[j] * (row[j] > 0 ? f.q->box[0].lo_in[j] : f.q->box[0].hi_in[j]);
    for (int rule = 0; rule < 3; rule++) {
      float loss = descend(&f, rule == 1 ? 30 : 0, 30, rule == 2, &r);
      assert_true(fabs(loss - least) < 1e-4 * (1 + fabs(least)));
    }
    close_box(&f);
  }
}

static void polishing_returns_the_best_point_with_its_loss(void **state) {
  (void)state;
  uint32_t n_better = 0;
  for (uint64_t seed = 0; seed < 8; seed++) {
    fixture f;
    ep_rng r;
    open_box(&f, &deep, seed, 0.5, 0, 1);
    ep_rng_seed(&r, seed);
    ep_scratch *s = ep_pool_scratch(f.pool);
    ep_scratch_mark m = ep_scratch_save(s);
    ep_descent d;
    float x[N * DIM], loss[N];
    assert_int_equal(ep_descent_init(&d, &f.run, 0, 0, N, 0, s), EP_OK);
    fill(&d, &r);
    memcpy(x, d.x, sizeof x);
    assert_int_equal(ep_descent_evaluate(&d, s), EP_OK);
    float before[N];
    memcpy(before, d.loss, sizeof before);
    assert_int_equal(ep_attack_polish(&f.run, 0, 0, 8, N, x, loss, s), EP_OK);
    memcpy(d.x, x, sizeof x);
    assert_in_box(&d);
    assert_int_equal(ep_descent_evaluate(&d, s), EP_OK);
    for (size_t i = 0; i < N; i++) {
      assert_true(loss[i] <= before[i]);
      assert_true(fabsf(loss[i] - d.loss[i]) <= 1e-5f * (1 + fabsf(loss[i])));
      n_better += loss[i] < before[i];
    }
    ep_scratch_restore(s, m);
    close_box(&f);
  }
  assert_true(n_better > 4 * N);
}

/* ---- towards any polytope, and through Softmax ---- */

typedef struct contest {
  ep_ctx *ctx;
  ep_graph *g;
  ep_query *q;
  ep_config cfg;
  ep_pool *pool;
  ep_run run;
} contest;

/* Can Y_1, or Y_2, or Y_3 reach Y_0 (plus `lead`)? Logits are large: the probabilities are 0 and 1 in float32. */
static void open_contest(contest *c, bool has_softmax, double lead, uint64_t seed) {
  const net_opt o = {
      .n_x = DIM, .n_y = 4, .n_layer = 1, .width = 12, .activation = "Relu", .scale = 30, .softmax = has_softmax};
  double lo[DIM], hi[DIM];
  ep_query_builder *b;
  memset(c, 0, sizeof *c);
  c->ctx = ep_ctx_create();
  assert_int_equal(net_make(c->ctx, seed, &o, &c->g), EP_OK);
  for (int j = 0; j < DIM; j++) lo[j] = -(hi[j] = 1);
  assert_int_equal(ep_query_builder_create(c->ctx, DIM, 4, &b), EP_OK);
  assert_int_equal(ep_query_builder_box(b, lo, hi), EP_OK);
  for (uint32_t k = 1; k < 4; k++) {
    const uint32_t var[2] = {0, k};
    const double coef[2] = {1, -1};
    assert_int_equal(ep_query_builder_polytope(b), EP_OK);
    assert_int_equal(ep_query_builder_row(b, 2, var, coef, lead, false), EP_OK);
  }
  assert_int_equal(ep_query_builder_finish(b, "contest", &c->q), EP_OK);
  ep_query_builder_destroy(b);
  ep_config_default(&c->cfg);
  assert_int_equal(ep_pool_create(c->ctx, 1, &c->pool), EP_OK);
  assert_int_equal(ep_run_init(&c->run, c->ctx, c->g, c->q, &c->cfg, c->pool), EP_OK);
}

static void close_contest(contest *c) {
  ep_run_clear(&c->run);
  ep_pool_destroy(c->pool);
  ep_query_destroy(c->q);
  ep_graph_destroy(c->g);
  ep_ctx_destroy(c->ctx);
}

static void losses(const contest *c, uint32_t poly, const float *x, float *loss, bool *moves) {
  ep_scratch *s = ep_pool_scratch(c->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_descent d;
  assert_int_equal(ep_descent_init(&d, &c->run, 0, poly, N, 0, s), EP_OK);
  memcpy(d.x, x, N * DIM * sizeof *x);
  assert_int_equal(ep_descent_evaluate(&d, s), EP_OK);
  memcpy(loss, d.loss, N * sizeof *loss);
  assert_int_equal(ep_descent_move(&d, s), EP_OK);
  for (size_t i = 0; i < N; i++) moves[i] = memcmp(d.x + i * DIM, x + i * DIM, DIM * sizeof *x) != 0;
  ep_scratch_restore(s, m);
}

/* The loss towards any polytope is the least of the open ones'; with a final Softmax it is the logits' own, and there
 * is a gradient where probabilities have none; a row with another right-hand side is about probabilities. */
static void any_polytope_and_softmax(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    contest plain, soft, led;
    ep_rng r;
    float x[N * DIM], own[3][N], any[N], through[N];
    bool moves[N];
    ep_rng_seed(&r, seed);
    for (int i = 0; i < N * DIM; i++) x[i] = (float)(1.8 * ep_rng_uniform(&r) - 0.9);
    open_contest(&plain, false, 0, seed);
    open_contest(&soft, true, 0, seed);
    open_contest(&led, true, 0.5, seed);
    for (uint32_t p = 0; p < 3; p++) losses(&plain, p, x, own[p], moves);
    losses(&plain, EP_DESCENT_ANY, x, any, moves);
    losses(&soft, EP_DESCENT_ANY, x, through, moves);
    for (int i = 0; i < N; i++) {
      assert_true(any[i] == fminf(own[0][i], fminf(own[1][i], own[2][i])));
      assert_true(through[i] == any[i] && moves[i]);
    }
    losses(&led, EP_DESCENT_ANY, x, through, moves);
    for (int i = 0; i < N; i++) assert_true(through[i] >= -1.5f && through[i] <= 0.5f);
    ep_run_mark_proved(&plain.run, 0, 1);
    losses(&plain, EP_DESCENT_ANY, x, any, moves);
    for (int i = 0; i < N; i++) assert_true(any[i] == fminf(own[0][i], own[2][i]));
    close_contest(&plain);
    close_contest(&soft);
    close_contest(&led);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(linear_optima_are_reached),
                                     cmocka_unit_test(any_polytope_and_softmax),
                                     cmocka_unit_test(polishing_returns_the_best_point_with_its_loss)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
