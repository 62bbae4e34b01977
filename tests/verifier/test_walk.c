/* Steps: projected where they belong, downhill, and with momentum back from the best point. Seen to fail when: the
 * direction is turned, the ball's projection is left out, checkpoints never come, the best point is not returned to. */
#include "verifier/walk.h"

#include <math.h>
#include <string.h>

#include "tests/ep_test.h"

static const double lo[2] = {0, 0}, hi[2] = {4, 1};

static void linf_steps_follow_signs_in_the_box(void **state) {
  (void)state;
  const float width[2] = {4, 1}, g[2] = {-0.001f, 7};
  const ep_walk w = {.n = 2, .lo = lo, .hi = hi, .width = width};
  float x[2] = {1, 0.5f};
  ep_walk_step(&w, 0.25f, g, x);
  assert_true(x[0] == 2 && x[1] == 0.25f);
  ep_walk_step(&w, 0.75f, g, x);
  assert_true(x[0] == 4 && x[1] == 0);
  const float flat[2] = {0, 0};
  ep_walk_step(&w, 1, flat, x);
  assert_true(x[0] == 4 && x[1] == 0);
}

/* Steps from (2, 0.5) in a ball of radius 2: half a ball's width along (-3, -4)/5, cut by the box. */
static void l2_steps_are_along_the_gradient_in_ball_and_box(void **state) {
  (void)state;
  const float centre[2] = {2, 0.5f}, g[2] = {30, 40};
  const ep_walk w = {.n = 2, .lo = lo, .hi = hi, .centre = centre, .radius = 2};
  float x[2] = {2, 0.5f};
  ep_walk_step(&w, 0.1f, g, x); /* 0.4 long */
  assert_true(fabs((double)x[0] - (2 - 0.24)) < 1e-6 && fabs((double)x[1] - (0.5 - 0.32)) < 1e-6);
  ep_walk_step(&w, 1, g, x); /* 4 long: to the ball's edge, then into the box */
  double far = hypot((double)x[0] - 2, (double)x[1] - 0.5);
  assert_true(far <= 2 + 1e-6 && x[1] == 0 && x[0] < 1.2f && x[0] > 0);
  float out[2] = {12, 0.5f};
  ep_walk_project(&w, out);
  assert_true(fabs((double)out[0] - 4) < 1e-6 && out[1] == 0.5f);
}

/* |x - c| for c where no sum of full steps leads: only shorter steps from the best point come near. */
static double least_with_momentum(float c, uint32_t steps, float *last_step) {
  ep_ctx *ctx = ep_ctx_create();
  ep_scratch s;
  ep_scratch_init(&s, ctx);
  const double from = 0, to = 1;
  const float width = 1;
  const ep_walk w = {.n = 1, .lo = &from, .hi = &to, .width = &width};
  ep_walk_momentum m;
  float x = 0.5f, step, last = INFINITY, least = INFINITY;
  assert_int_equal(ep_walk_momentum_init(&m, &w, 1, steps, &step, &s), EP_OK);
  assert_true(step == 1);
  for (uint32_t i = 0; i < steps; i++) {
    float loss = fabsf(x - c), g = x > c ? 1 : -1;
    least = fminf(least, loss);
    ep_walk_momentum_note(&m, &w, &x, &loss, &last);
    last = loss;
    bool is_back = m.is_back[0];
    float top = m.top[0];
    ep_walk_momentum_step(&m, 0, &w, &g, &x);
    if (is_back) assert_true(m.old[0] == top && fabsf(x - top) <= step + 1e-6f);
    assert_true(x >= 0 && x <= 1);
    assert_true(m.top_loss[0] == least && fabsf(fabsf(m.top[0] - c) - least) < 1e-6f);
  }
  *last_step = step;
  ep_scratch_clear(&s);
  ep_ctx_destroy(ctx);
  return (double)least;
}

static void momentum_shortens_steps_from_the_best_point(void **state) {
  (void)state;
  float step;
  for (int k = 0; k < 8; k++) {
    double least = least_with_momentum(0.031f + 0.11f * (float)k, 100, &step);
    assert_true(step < 0.01f);
    assert_true(least < 0.02);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(linf_steps_follow_signs_in_the_box),
                                     cmocka_unit_test(l2_steps_are_along_the_gradient_in_ball_and_box),
                                     cmocka_unit_test(momentum_shortens_steps_from_the_best_point)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
