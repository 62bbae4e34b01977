/* Rows of Jacobians from one evaluation are the gradients that one row at a time gives, for every class of operator. */
#include "models/eval.h"

#include <math.h>
#include <string.h>

#include "kernels/rng.h"
#include "tests/ep_test.h"
#include "tests/support/netlang.h"

static void many_rows_are_single_gradients(void **state) {
  (void)state;
  enum { BATCH = 3, MANY = 4, N = 36 };
  static const char *const nets[] = {
      "x:1,36; a = Gemm x c20,36 c20 transB=1; b = Relu a; c = Gemm b c12,20 c12 transB=1; d = Sigmoid c; y = Gemm d "
      "c5,12 c5 transB=1",
      "x:1,1,6,6; a = Conv x c3,1,3,3 c3; p = MaxPool a kernel_shape=[2,2] strides=[2,2]; f = Flatten p; y = Gemm f "
      "c5,12 "
      "c5 transB=1"};
  for (size_t k = 0; k < 2; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g;
    ep_scratch s;
    ep_rng rng;
    ep_trace_f32 t;
    float x[BATCH * N], gy[BATCH * MANY * 5], gx[BATCH * MANY * N], one[N], largest = 0;
    ep_scratch_init(&s, ctx);
    ep_rng_seed(&rng, 4);
    assert_int_equal(netlang_make(ctx, nets[k], 5, &g), EP_OK);
    for (size_t i = 0; i < BATCH * N; i++) x[i] = (float)ep_rng_normal(&rng);
    for (size_t i = 0; i < BATCH * MANY * 5; i++) gy[i] = (float)ep_rng_normal(&rng);
    assert_int_equal(ep_eval_f32(g, BATCH, x, &s, &t), EP_OK);
    assert_int_equal(ep_grad_many_f32(g, &t, MANY, gy, gx, &s), EP_OK);
    for (size_t r = 0; r < BATCH * MANY; r++) {
      assert_int_equal(ep_eval_f32(g, 1, x + r / MANY * N, &s, &t), EP_OK);
      assert_int_equal(ep_grad_f32(g, &t, gy + r * 5, one, &s), EP_OK);
      for (size_t i = 0; i < N; i++) {
        assert_true(fabsf(one[i] - gx[r * N + i]) < 1e-4f);
        largest = fmaxf(largest, fabsf(one[i]));
      }
    }
    assert_true(largest > 0.05f);
    ep_scratch_clear(&s);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(many_rows_are_single_gradients)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
