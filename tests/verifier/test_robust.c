/* Robustness queries from flags: the box contains the exact ball, witnesses stay inside it, one polytope per class. */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "verifier/robust.h"

static void ball_is_cut_normalised_and_rounded_both_ways(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  double x[4] = {0, 255, 51, 128}, mean[2] = {0.1, 0.5}, std[2] = {0.3, -0.25};
  ep_robust r = {.n = 4,
                 .x = x,
                 .n_y = 3,
                 .label = 1,
                 .target = -1,
                 .epsilon = 0.1,
                 .scale = 255,
                 .clip_lo = 0,
                 .clip_hi = 1,
                 .n_channel = 2,
                 .mean = mean,
                 .std = std};
  ep_query *q;
  assert_int_equal(ep_robust_query(ctx, &r, "t", &q), EP_OK);
  const ep_input_box *b = &q->box[0];
  for (int i = 0; i < 4; i++) {
    long double v = (long double)x[i] / 255, eps = r.epsilon, lo = fmaxl(v - eps, 0), hi = fminl(v + eps, 1);
    long double m = mean[i / 2], s = std[i / 2], a = (lo - m) / s, z = (hi - m) / s;
    if (s < 0) {
      long double t = a;
      a = z;
      z = t;
    }
    assert_true(b->lo[i] <= a + 1e-18L && b->lo_in[i] >= a - 1e-18L && fabs(b->lo_in[i] - b->lo[i]) < 1e-14);
    assert_true(b->hi[i] >= z - 1e-18L && b->hi_in[i] <= z + 1e-18L && b->lo_in[i] < b->hi_in[i]);
  }
  assert_int_equal(b->n_poly, 2);
  /* Y_1 - Y_0 <= 0: a tie is a violation. */
  assert_int_equal(b->poly[0].row[0].var[0], 1);
  assert_int_equal(b->poly[0].row[0].var[1], 0);
  assert_true(b->poly[0].row[0].coef[0] == 1 && b->poly[0].row[0].coef[1] == -1 && !b->poly[0].row[0].is_strict);
  ep_query_destroy(q);
  r.target = 2;
  assert_int_equal(ep_robust_query(ctx, &r, "t", &q), EP_OK);
  assert_int_equal(q->box[0].n_poly, 1);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

/* Radius 0 around 37/255, which is no double: its neighbour stands in; after a normalisation that rounds more than once
 * none does, and no counterexample may be named. */
static void points_without_doubles(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  double x[3] = {37, 51, 0}, mean = 0, std = 1;
  ep_robust r = {.n = 3,
                 .x = x,
                 .n_y = 2,
                 .label = 0,
                 .target = -1,
                 .epsilon = 0,
                 .scale = 255,
                 .clip_lo = 0,
                 .clip_hi = 1,
                 .n_channel = 1,
                 .mean = &mean,
                 .std = &std};
  ep_query *q;
  assert_int_equal(ep_robust_query(ctx, &r, "t", &q), EP_OK);
  const ep_input_box *b = &q->box[0];
  assert_true(!b->is_empty && !b->is_proof_only);
  for (int i = 0; i < 3; i++) {
    assert_true(b->lo_in[i] == x[i] / 255 && b->hi_in[i] == x[i] / 255);
    assert_true(b->lo[i] <= b->lo_in[i] && b->hi[i] >= b->lo_in[i] && b->hi[i] <= ep_up(b->lo[i]));
  }
  ep_query_destroy(q);
  mean = 0.1307;
  std = 0.3081;
  assert_int_equal(ep_robust_query(ctx, &r, "t", &q), EP_OK);
  assert_true(q->box[0].is_proof_only && !q->box[0].is_empty);
  ep_query_destroy(q);
  /* The valid range begins beyond the ball, by less than doubles can tell: nothing may stand in. */
  mean = 0;
  std = 1;
  r.n = 1;
  r.epsilon = 1e-30;
  r.clip_lo = x[0] / 255;
  if ((long double)r.clip_lo * 255 <= (long double)x[0]) r.clip_lo = nextafter(r.clip_lo, 1);
  assert_int_equal(ep_robust_query(ctx, &r, "t", &q), EP_OK);
  assert_true(q->box[0].is_proof_only);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static void nonsense_is_refused(void **state) {
  (void)state;
  double x[2] = {0.5, 2}, zero = 0, one = 1;
  const ep_robust good = {.n = 2,
                          .x = x,
                          .n_y = 2,
                          .label = 0,
                          .target = -1,
                          .epsilon = 0.1,
                          .scale = 1,
                          .clip_lo = -INFINITY,
                          .clip_hi = INFINITY,
                          .n_channel = 1,
                          .mean = &zero,
                          .std = &one};
  double nan = (double)NAN;
  ep_robust bad[10] = {good, good, good, good, good, good, good, good, good, good};
  bad[0].epsilon = -1;
  bad[1].label = 2;
  bad[2].target = 0;
  bad[3].std = &zero;
  bad[4].clip_hi = 1; /* x[1] lies outside */
  bad[5].n_y = 1;
  bad[6].scale = 0;
  bad[7].mean = &nan;
  bad[8].x = &nan;
  bad[8].n = 1;
  bad[9].clip_lo = 3;
  bad[9].clip_hi = 0;
  for (int i = 0; i < 10; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    assert_int_not_equal(ep_robust_query(ctx, &bad[i], "t", &q), EP_OK);
    assert_null(q);
    assert_true(ep_ctx_error(ctx).text[0]);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ball_is_cut_normalised_and_rounded_both_ways),
      cmocka_unit_test(points_without_doubles),
      cmocka_unit_test(nonsense_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
