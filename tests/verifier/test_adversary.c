/* Attacks on networks where the nearest other class is known, and properties that all attacks must keep. */
#include "verifier/adversary.h"

#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "tests/ep_test.h"
#include "tests/support/affine.h"
#include "tests/support/netlang.h"

/* One input x, scores x * x and 4. */
static ep_status parabola(ep_ctx *ctx, ep_graph **g) {
  ep_builder *b;
  static const double w[2] = {1, 0}, c[2] = {0, 4};
  ep_shape in = {2, {1, 1}}, sw = {2, {1, 2}}, sc = {2, {1, 2}};
  ep_tensor tw = {EP_DT_F32, sw, 2, w, NULL}, tc = {EP_DT_F32, sc, 2, c, NULL};
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st;
  EP_GOTO(ep_builder_input(b, "x", EP_DT_F32, &in));
  EP_GOTO(ep_builder_constant(b, "w", &tw));
  EP_GOTO(ep_builder_constant(b, "c", &tc));
  EP_GOTO(ep_builder_node(b, "Mul", "m", 2, (const char *const[]){"x", "x"}, "q", NULL));
  EP_GOTO(ep_builder_node(b, "MatMul", "g", 2, (const char *const[]){"q", "w"}, "h", NULL));
  EP_GOTO(ep_builder_node(b, "Add", "a", 2, (const char *const[]){"h", "c"}, "y", NULL));
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

static void test_distances(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  const float x[2] = {1, 1};
  float adv[2];
  assert_int_equal(affine3(ctx, &g), EP_OK);
  ep_adversary_opt o = options(EP_NORM_L2, -1);
  ep_adversary_result r = attack(ctx, g, "deepfool", &o, x, 0, adv);
  assert_true(r.is_found && r.fooled == 1 && fabs(r.l2 - 1.2 * 1.02) < 1e-3);
  assert_true(fabs((double)adv[0] - 1 + 1.02 * 0.72) < 1e-3 && fabs((double)adv[1] - 1 + 1.02 * 0.96) < 1e-3);
  assert_int_equal(r.n_grad, 3); /* one linearisation suffices */
  o.norm = EP_NORM_LINF;
  r = attack(ctx, g, "deepfool", &o, x, 0, adv);
  assert_true(r.is_found && fabs(r.linf - 6.0 / 7 * 1.02) < 1e-3);
  assert_true(fabs((double)(adv[0] - adv[1])) < 1e-6 && adv[0] < 1);
  o.overshoot = 0.5;
  r = attack(ctx, g, "deepfool", &o, x, 0, adv);
  assert_true(fabs(r.linf - 6.0 / 7 * 1.5) < 1e-3);
  o.overshoot = 0.02;
  o.n_rival = 1; /* of (1, 1) the better rival */
  r = attack(ctx, g, "deepfool", &o, x, 0, adv);
  assert_true(r.fooled == 1 && r.n_grad == 2);
  o.n_rival = 0;
  o.norm = EP_NORM_L2;
  o.steps = 300;
  r = attack(ctx, g, "ddn", &o, x, 0, adv);
  assert_true(r.is_found && r.l2 < 1.2 * 1.05 && r.l2 >= 1.2 - 1e-5);
  o.norm = EP_NORM_LINF;
  r = attack(ctx, g, "fgsm", &o, x, 0, adv);
  assert_true(r.is_found && fabs(r.linf - 6.0 / 7) < 1e-4);
  for (int is_l2 = 0; is_l2 < 2; is_l2++) {
    double far = is_l2 ? 1.2 : 6.0 / 7;
    o = options(is_l2 ? EP_NORM_L2 : EP_NORM_LINF, -1);
    r = attack(ctx, g, "fab", &o, x, 0, adv);
    assert_true(r.is_found && r.fooled == 1 && fabs((is_l2 ? r.l2 : r.linf) - far) < 1e-3 * far);
    /* (1, 0.25) must lose 3 = 3 d + 4 e, and e has room for 0.25 only: d = 2/3. */
    const float edge[2] = {1, 0.25f};
    o.clip_lo = 0;
    o.clip_hi = 1;
    far = is_l2 ? sqrt(4.0 / 9 + 1.0 / 16) : 2.0 / 3;
    r = attack(ctx, g, "fab", &o, edge, 0, adv);
    assert_true(r.is_found && adv[1] >= 0 && fabs((is_l2 ? r.l2 : r.linf) - far) < 3e-3 * far);
  }
  static const char *const in_ball[] = {"pgd", "apgd-ce", "apgd-dlr", "apgd-t", "fgsm", "fgsm-p"};
  for (size_t k = 0; k < 6; k++)
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
  o = options(EP_NORM_L2, -1);
  o.is_own_class = true; /* the network's class is attacked all the same */
  r = attack(ctx, g, "deepfool", &o, x, 1, adv);
  assert_true(r.is_wrong && r.is_found && r.fooled == 1 && fabs(r.l2 - 1.2 * 1.02) < 1e-3);
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

/* Two classes that a parabola divides: y_1 - y_0 = 4 - x^2 (as x^2 = x * x). From x = 5 Newton's method on x^2 = 4 goes
 * to 2.9, 2.13964, 2.00456, ..; without overshoot DeepFool takes the same steps. */
static void test_binary(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  const float x = 5;
  float adv;
  assert_int_equal(parabola(ctx, &g), EP_OK);
  ep_adversary_opt o = options(EP_NORM_L2, -1);
  o.overshoot = 0;
  ep_adversary_result r = attack(ctx, g, "deepfool", &o, &x, 0, &adv);
  assert_true(r.is_found && fabs((double)adv - 2) < 1e-3 && adv <= 2);
  assert_true(r.n_grad >= 4 * 2 && r.n_grad <= 5 * 2);
  o.steps = 2;
  r = attack(ctx, g, "deepfool", &o, &x, 0, &adv);
  assert_true(!r.is_found && r.n_grad == 4);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* Of four pixels at 0, the pair (0, 2) has the largest product of gain and loss for class 1: 2.2 * 1.2; nothing helps
 * class 2. (With the signs of the losses turned it would be (0, 1).) */
static void test_jsma(void **state) {
  (void)state;
  static const double w[12] = {-1, 2, -0.2, -1, 2, 1, 0.2, -1, 0, 0, 0, 0}, c[3] = {1, 0, -100};
  static const float want[4] = {1, 0, 1, 0};
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  const float x[4] = {0};
  float adv[4];
  assert_int_equal(affine_net(ctx, 4, 3, w, c, &g), EP_OK);
  ep_adversary_opt o = options(EP_NORM_LINF, -1);
  o.clip_lo = 0;
  o.clip_hi = 1;
  ep_adversary_result r = attack(ctx, g, "jsma", &o, x, 0, adv);
  assert_true(r.is_found && r.fooled == 1 && r.l0 == 2);
  assert_memory_equal(adv, want, sizeof adv);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* A budget is kept by every attack, and used up by those that find nothing. */
static void test_budget(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  const float x[2] = {1, 1};
  float adv[2];
  assert_int_equal(affine3(ctx, &g), EP_OK);
  for (size_t k = 0; k < ep_n_attack_kinds; k++) {
    ep_adversary_opt o = options(EP_NORM_LINF, 0.1);
    o.clip_lo = 0.9; /* nothing is to be found in this box */
    o.clip_hi = 1.1;
    ep_adversary_result all = attack(ctx, g, ep_attack_kinds[k].name, &o, x, 0, adv);
    assert_false(all.is_found);
    o.budget = 13;
    ep_adversary_result r = attack(ctx, g, ep_attack_kinds[k].name, &o, x, 0, adv);
    uint64_t least = all.n_grad < 13 ? all.n_grad : 13 - 6;
    if (r.is_found || r.n_grad > 13 || r.n_grad < least)
      fail_msg("%s: %d, %d gradients of 13, %d without a limit", ep_attack_kinds[k].name, r.is_found, (int)r.n_grad,
               (int)all.n_grad);
  }
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* The gradients of the losses against finite differences. */
static void test_losses(void **state) {
  (void)state;
  float y[5] = {0.3f, 1.2f, -0.7f, 2.0f, 1.9f}, gy[5], other[5];
  ep_adversary_loss const losses[] = {ep_adversary_cross_entropy, ep_adversary_dlr, ep_adversary_dlr_targeted};
  for (size_t k = 0; k < 3; k++)
    for (uint32_t label = 0; label < 5; label++) {
      const uint32_t rank[5] = {(label + 1) % 5, (label + 2) % 5, (label + 3) % 5, (label + 4) % 5, label};
      ep_adversary a = {.n_class = 5, .label = label, .rank = rank};
      losses[k](&a, label, y, gy);
      for (size_t j = 0; j < 5; j++) {
        const float h = 1e-2f;
        float z[5];
        memcpy(z, y, sizeof z);
        z[j] = y[j] + h;
        double up = (double)losses[k](&a, label, z, other);
        z[j] = y[j] - h;
        double slope = (up - (double)losses[k](&a, label, z, other)) / (2 * (double)h);
        if (fabs(slope - (double)gy[j]) > 2e-3)
          fail_msg("loss %zu, label %u: %g, slope %g", k, label, (double)gy[j], slope);
      }
    }
}

/* Scores 60 apart: the label's probability is 1 to the last bit, and the loss still leads away from it. */
static void test_sure_networks(void **state) {
  (void)state;
  const float y[3] = {-30, 30, -40};
  float gy[3];
  ep_adversary a = {.n_class = 3, .label = 1};
  float v = ep_adversary_cross_entropy(&a, 0, y, gy);
  assert_true(v < 0 && v > -1e-25f);
  assert_true(gy[0] < 0 && gy[2] < 0 && gy[1] > 0 && fabsf(gy[0] + gy[1] + gy[2]) <= 1e-6f * gy[1]);
  const float row[2] = {25, 0};
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  static const double w[4] = {1, 0, 0, 1}, c[2] = {0, 0};
  float adv[2];
  assert_int_equal(affine_net(ctx, 2, 2, w, c, &g), EP_OK);
  ep_adversary_opt o = options(EP_NORM_LINF, 13); /* 12.5 makes a tie */
  assert_true(attack(ctx, g, "fgsm", &o, row, 0, adv).is_found);
  assert_false(attack(ctx, g, "fgsm-p", &o, row, 0, adv).is_found); /* p - 1 = 0: x_0 is not touched */
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  a.label = 2; /* and 70 behind: the gap is the loss */
  assert_true(fabsf(ep_adversary_cross_entropy(&a, 0, y, gy) + 70) < 1e-4f && fabsf(gy[2] - 1) < 1e-6f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_distances), cmocka_unit_test(test_properties),
                                     cmocka_unit_test(test_losses),    cmocka_unit_test(test_sure_networks),
                                     cmocka_unit_test(test_binary),    cmocka_unit_test(test_budget),
                                     cmocka_unit_test(test_jsma)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
