/* Distances that are known exactly are enclosed, and attacks measured against them. Seen to fail when: ends of the
 * bracket are swapped, an undecided radius counts as proved, the box is not cut to the valid range. */
#include "verifier/distance.h"

#include <math.h>

#include "tests/ep_test.h"
#include "tests/support/affine.h"

static void config(ep_config *cfg, const char *engine) {
  ep_config_default(cfg);
  cfg->engine = engine;
  cfg->timeout = 20;
}

/* From (1, 1) the nearest other class is 6/7 away; from (1, 0.25) in [0,1] it is 2/3 (test_adversary.c). */
static void known_distances_are_enclosed(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  ep_pool *pool;
  ep_config cfg;
  ep_distance d;
  const float free[2] = {1, 1}, edge[2] = {1, 0.25f};
  assert_int_equal(affine3(ctx, &g), EP_OK);
  assert_int_equal(ep_pool_create(ctx, 1, &pool), EP_OK);
  config(&cfg, "auto");
  /* From points along (-1, -1) that are too near to be any, too far, all but right, and the tie itself. */
  static const double starts[] = {0.3, 5, 6.0 / 7 * 1.0001, 6.0 / 7};
  for (int k = 0; k < 4; k++) {
    const float point[2] = {(float)(1 - starts[k]), (float)(1 - starts[k])};
    assert_int_equal(ep_distance_enclose(ctx, g, free, 0, -INFINITY, INFINITY, point, 1e-3, &cfg, pool, &d), EP_OK);
    assert_true(d.proved <= 6.0 / 7 && d.refuted >= 6.0 / 7 - 1e-9 && d.refuted - d.proved <= 1e-3 * d.refuted);
    if (k >= 2) assert_true(d.n_query == 1 && d.refuted < 6.0 / 7 * 1.00011); /* replay, and one proof just below it */
  }
  assert_int_equal(ep_distance_enclose(ctx, g, edge, 0, 0, 1, NULL, 1e-3, &cfg, pool, &d), EP_OK);
  assert_true(d.proved <= 2.0 / 3 && d.refuted >= 2.0 / 3 - 1e-9 && d.refuted - d.proved <= 1e-3 * d.refuted);
  config(&cfg, "ibp"); /* finds no counterexample: nothing may be claimed from above */
  const float inside[2] = {0.7f, 0.7f};
  assert_int_equal(ep_distance_enclose(ctx, g, free, 0, -INFINITY, INFINITY, inside, 1e-3, &cfg, pool, &d), EP_OK);
  assert_true(d.refuted == INFINITY && d.proved <= 6.0 / 7 && d.proved >= 0.3 && d.n_open > 0);
  ep_pool_destroy(pool);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* Engine `attack` proves nothing: every radius below stays undecided, and ends the search soon. */
static void undecided_radii_are_neither(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  ep_pool *pool;
  ep_config cfg;
  ep_distance d;
  const float x[2] = {1, 1}, point[2] = {-1, -1};
  assert_int_equal(affine3(ctx, &g), EP_OK);
  assert_int_equal(ep_pool_create(ctx, 1, &pool), EP_OK);
  config(&cfg, "attack");
  assert_int_equal(ep_distance_enclose(ctx, g, x, 0, -INFINITY, INFINITY, point, 1e-3, &cfg, pool, &d), EP_OK);
  assert_true(d.proved == 0 && d.refuted >= 6.0 / 7 - 1e-9 && d.refuted <= 2 && d.n_open == 4);
  ep_pool_destroy(pool);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

static void attacks_are_measured(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  ep_pool *pool;
  const float x[2] = {1, 1};
  float point[2];
  double found;
  uint64_t n_grad;
  const ep_adversary_opt o = {.norm = EP_NORM_LINF,
                              .epsilon = -1,
                              .clip_lo = -INFINITY,
                              .clip_hi = INFINITY,
                              .steps = 40,
                              .restarts = 4,
                              .overshoot = 0.02,
                              .seed = 1};
  assert_int_equal(affine3(ctx, &g), EP_OK);
  assert_int_equal(ep_pool_create(ctx, 1, &pool), EP_OK);
  static const char *const names[] = {"fgsm", "pgd", "apgd-ce", "apgd-t", "deepfool", "fab"};
  for (size_t k = 0; k < 6; k++) {
    double over = k < 4 ? 1.011 : k == 4 ? 1.021 : 1.002;
    assert_int_equal(ep_distance_attack(ep_attack_kind_find(names[k]), g, &o, x, 0, 2, pool, point, &found, &n_grad),
                     EP_OK);
    if (!(found >= 6.0 / 7 - 1e-5 && found <= 6.0 / 7 * over && n_grad > 0)) fail_msg("%s: %g", names[k], found);
    assert_true(fabs(fmax(fabs((double)point[0] - 1), fabs((double)point[1] - 1)) - found) < 1e-6);
    assert_int_equal(ep_distance_attack(ep_attack_kind_find(names[k]), g, &o, x, 0, 0.5, pool, point, &found, &n_grad),
                     EP_OK);
    if (k < 4) assert_true(found == INFINITY); /* nothing within 0.5 */
  }
  ep_pool_destroy(pool);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(known_distances_are_enclosed),
                                     cmocka_unit_test(undecided_radii_are_neither),
                                     cmocka_unit_test(attacks_are_measured)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
