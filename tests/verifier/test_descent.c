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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(linear_optima_are_reached),
                                     cmocka_unit_test(polishing_returns_the_best_point_with_its_loss)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
