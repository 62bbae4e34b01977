/* Attacks on networks where the nearest other class is known, and properties that all attacks must keep. */
#include "verifier/adversary.h"

#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "tests/ep_test.h"
#include "tests/support/netlang.h"

/* Three affine scores of two inputs; boundaries are lines, so distances are exact. */
static ep_status affine(ep_ctx *ctx, ep_graph **g) {
  ep_builder *b;
  static const double w[6] = {3, 4, 0, 0, -8, 6}, c[3] = {0, 1, -9}; /* rows: classes */
  ep_shape in = {2, {1, 2}}, sw = {2, {3, 2}}, sc = {1, {3}};
  ep_tensor tw = {EP_DT_F32, sw, 6, w, NULL}, tc = {EP_DT_F32, sc, 3, c, NULL};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st;
  EP_GOTO(ep_builder_input(b, "x", EP_DT_F32, &in));
  EP_GOTO(ep_builder_constant(b, "w", &tw));
  EP_GOTO(ep_builder_constant(b, "c", &tc));
  EP_GOTO(ep_builder_node(b, "Gemm", "g", 3, (const char *const[]){"x", "w", "c"}, "y", &attrs));
  st = ep_builder_finish(b, "y", g);
done:
  ep_builder_destroy(b);
  return st;
}

static ep_adversary_opt options(ep_norm norm, double epsilon) {
  return (ep_adversary_opt){.norm = norm,
                            .epsilon = epsilon,
                            .clip_lo = -INFINITY,
                            .clip_hi = INFINITY,
                            .steps = 50,
                            .restarts = 4,
                            .overshoot = 0.02,
                            .seed = 1};
}

static ep_adversary_result attack(ep_ctx *ctx, const ep_graph *g, const char *name, const ep_adversary_opt *o,
                                  const float *x, uint32_t label, float *adv) {
  ep_pool *pool;
  ep_adversary_result r;
  assert_int_equal(ep_pool_create(ctx, 1, &pool), EP_OK);
  assert_int_equal(ep_adversary_run(ep_attack_kind_find(name), g, o, 1, x, &label, pool, adv, &r), EP_OK);
  ep_pool_destroy(pool);
  return r;
}

/* At (1, 1) class 0 scores 7, class 1 scores 1: 6 / |(3,4)|_2 = 1.2 and 6 / |(3,4)|_1 = 6/7 away; class 2 (-11) is 18 /
 * |(11,-2)| = 1.61 away. */
static void test_distances(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  const float x[2] = {1, 1};
  float adv[2];
  assert_int_equal(affine(ctx, &g), EP_OK);
  ep_adversary_opt o = options(EP_NORM_L2, -1);
  ep_adversary_result r = attack(ctx, g, "deepfool", &o, x, 0, adv);
  assert_true(r.is_found && r.fooled == 1 && fabs(r.l2 - 1.2 * 1.02) < 1e-3);
  o.norm = EP_NORM_LINF;
  r = attack(ctx, g, "deepfool", &o, x, 0, adv);
  assert_true(r.is_found && fabs(r.linf - 6.0 / 7 * 1.02) < 1e-3);
  o.norm = EP_NORM_L2;
  o.steps = 300;
  r = attack(ctx, g, "ddn", &o, x, 0, adv);
  assert_true(r.is_found && r.l2 < 1.2 * 1.05 && r.l2 >= 1.2 - 1e-5);
  o.norm = EP_NORM_LINF;
  r = attack(ctx, g, "fgsm", &o, x, 0, adv);
  assert_true(r.is_found && fabs(r.linf - 6.0 / 7) < 1e-4);
  static const char *const in_ball[] = {"pgd", "apgd-ce", "apgd-dlr", "fgsm"};
  for (size_t k = 0; k < 4; k++)
    for (int is_l2 = 0; is_l2 < 2; is_l2++) {
      double far = is_l2 ? 1.2 : 6.0 / 7;
      o = options(is_l2 ? EP_NORM_L2 : EP_NORM_LINF, far * 1.01);
      r = attack(ctx, g, in_ball[k], &o, x, 0, adv);
      if (!r.is_found) fail_msg("%s misses a point at 0.99 of the radius", in_ball[k]);
      assert_true((is_l2 ? r.l2 : r.linf) <= o.epsilon + 1e-6);
      o.epsilon = far * 0.99;
      r = attack(ctx, g, in_ball[k], &o, x, 0, adv);
      if (r.is_found) fail_msg("%s found a point that does not exist", in_ball[k]);
      assert_true(adv[0] == x[0] && adv[1] == x[1]);
    }
  r = attack(ctx, g, "pgd", &o, x, 1, adv); /* misclassified already */
  assert_true(r.is_wrong && !r.is_found && r.predicted == 0 && r.n_grad == 0);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* On random networks: results are what they claim, in range and in the ball, the same for any number of threads. */
static void test_properties(void **state) {
  (void)state;
  enum { N = 12, SIDE = 8 };
  for (size_t k = 0; k < ep_n_attack_kinds; k++)
    for (int is_l2 = 0; is_l2 < 2; is_l2++) {
      ep_ctx *ctx = ep_ctx_create();
      ep_graph *g;
      ep_pool *pool[2];
      ep_scratch s;
      ep_rng rng;
      static float x[N * SIDE], adv[2][N * SIDE];
      uint32_t label[N], n_found = 0;
      ep_adversary_result r[2][N];
      ep_rng_seed(&rng, 3);
      ep_scratch_init(&s, ctx);
      assert_int_equal(
          netlang_make(ctx, "x:1,8; a = Gemm x c16,8 c16 transB=1; b = Relu a; y = Gemm b c4,16 c4 transB=1", 7, &g),
          EP_OK);
      ep_trace_f32 t;
      for (size_t i = 0; i < N * SIDE; i++) x[i] = (float)ep_rng_uniform(&rng);
      assert_int_equal(ep_eval_f32(g, N, x, &s, &t), EP_OK);
      for (size_t i = 0; i < N; i++) {
        label[i] = 0;
        for (uint32_t j = 1; j < 4; j++)
          if (t.v[g->output][i * 4 + j] > t.v[g->output][i * 4 + label[i]]) label[i] = j;
      }
      ep_adversary_opt o = options(is_l2 ? EP_NORM_L2 : EP_NORM_LINF, 0.4);
      o.clip_lo = 0;
      o.clip_hi = 1;
      for (unsigned q = 0; q < 2; q++) {
        assert_int_equal(ep_pool_create(ctx, q ? 3 : 1, &pool[q]), EP_OK);
        assert_int_equal(ep_adversary_run(&ep_attack_kinds[k], g, &o, N, x, label, pool[q], adv[q], r[q]), EP_OK);
        ep_pool_destroy(pool[q]);
      }
      assert_memory_equal(adv[0], adv[1], sizeof adv[0]);
      for (size_t i = 0; i < N; i++) {
        const ep_adversary_result *a = &r[0][i];
        assert_false(a->is_wrong);
        n_found += a->is_found;
        for (size_t c = 0; c < SIDE; c++) assert_true(adv[0][i * SIDE + c] >= 0 && adv[0][i * SIDE + c] <= 1);
        if (!a->is_found) continue;
        assert_int_equal(ep_eval_f32(g, 1, adv[0] + i * SIDE, &s, &t), EP_OK);
        assert_true(t.v[g->output][a->fooled] >= t.v[g->output][label[i]] && a->fooled != label[i]);
        if (!ep_attack_kinds[k].is_minimal) assert_true((is_l2 ? a->l2 : a->linf) <= 0.4 + 1e-6);
      }
      if (n_found < 3) fail_msg("%s, l%s: %u of %d found", ep_attack_kinds[k].name, is_l2 ? "2" : "inf", n_found, N);
      ep_scratch_clear(&s);
      ep_graph_destroy(g);
      ep_ctx_destroy(ctx);
    }
}

/* The gradients of both losses against finite differences. */
static void test_losses(void **state) {
  (void)state;
  float y[5] = {0.3f, 1.2f, -0.7f, 2.0f, 1.9f}, gy[5], other[5];
  ep_adversary_loss const losses[] = {ep_adversary_cross_entropy, ep_adversary_dlr};
  for (size_t k = 0; k < 2; k++)
    for (uint32_t label = 0; label < 5; label++) {
      ep_adversary a = {.n_class = 5, .label = label};
      losses[k](&a, y, gy);
      for (size_t j = 0; j < 5; j++) {
        const float h = 1e-2f;
        float z[5];
        memcpy(z, y, sizeof z);
        z[j] = y[j] + h;
        double up = (double)losses[k](&a, z, other);
        z[j] = y[j] - h;
        double slope = (up - (double)losses[k](&a, z, other)) / (2 * (double)h);
        if (fabs(slope - (double)gy[j]) > 2e-3)
          fail_msg("loss %zu, label %u: %g, slope %g", k, label, (double)gy[j], slope);
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_distances), cmocka_unit_test(test_properties),
                                     cmocka_unit_test(test_losses)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
