/* Signs in passes: values, ends of boxes, and the straight-through gradient. (Everything with a gradient of its own:
 * tests/models/test_batch.c.) */
#include "models/train/pass.h"

#include <math.h>

#include "tests/ep_test.h"

enum { L = EP_LANES, N = 5 };

static ep_status arch_sign(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_sign(net, &at));
  return ep_net_dense(net, &at, n_class);
}

static void test_sign(void **state) {
  (void)state;
  const ep_arch arch = {"test", "", arch_sign};
  /* Per element: point, box, and what comes out. */
  static const float x[N] = {-2, -0.5f, 0, 0.25f, 1.5f}, mid[N] = {-2, -0.5f, 0.2f, 0.75f, 1.5f},
                     rad[N] = {0.5f, 0.25f, 0.5f, 0.5f, 0.25f};
  static const float y[N] = {-1, -1, 0, 1, 1}, y_mid[N] = {-1, -1, 0, 1, 1}, y_rad[N] = {0, 0, 1, 0, 0};
  static const float g[N] = {1, 2, 3, 4, 5}, g_rad[N] = {0.5f, 0.5f, -1, 0.5f, 0.5f};
  /* Points pass within [-1, 1]; of a box (gm + gr)/2 goes back through the upper end, (gm - gr)/2 through the lower
   * one. */
  static const float gx[N] = {0, 2, 3, 4, 0};
  static const float gm[N] = {0, 2, 3, 1.75f, 0}, gr[N] = {0, 0.5f, -1, -1.75f, 0};
  ep_ctx *ctx = ep_ctx_create();
  ep_net *net;
  ep_weights *w;
  ep_pass *p;
  assert_int_equal(ep_net_create(ctx, &arch, 1, 1, N, 2, &net), EP_OK);
  assert_int_equal(ep_weights_create(net, &w), EP_OK);
  assert_int_equal(ep_pass_create(w, &p), EP_OK);
  for (size_t i = 0; i < N; i++)
    for (size_t l = 0; l < L; l++) {
      p->val[EP_POINT][0][i * L + l] = x[i];
      p->val[EP_MID][0][i * L + l] = mid[i];
      p->val[EP_RAD][0][i * L + l] = rad[i];
    }
  ep_pass_forward(p, EP_HAS_POINT | EP_HAS_BOX, 0, 1);
  ep_pass_clear(p, true);
  for (size_t i = 0; i < N; i++)
    for (size_t l = 0; l < L; l++) {
      assert_true(p->val[EP_POINT][1][i * L + l] == y[i]);
      assert_true(p->val[EP_MID][1][i * L + l] == y_mid[i]);
      assert_true(p->val[EP_RAD][1][i * L + l] == y_rad[i]);
      ep_pass_grad(p, EP_POINT, 1)[i * L + l] = g[i];
      ep_pass_grad(p, EP_MID, 1)[i * L + l] = g[i];
      ep_pass_grad(p, EP_RAD, 1)[i * L + l] = g_rad[i];
    }
  ep_pass_backward(p, EP_FOR_PARAMS, 0, 1);
  for (size_t i = 0; i < N; i++)
    for (size_t l = 0; l < L; l++) {
      assert_true(p->grad[EP_POINT][0][i * L + l] == gx[i]);
      assert_true(p->grad[EP_MID][0][i * L + l] == gm[i]);
      assert_true(p->grad[EP_RAD][0][i * L + l] == gr[i]);
    }
  ep_pass_destroy(p);
  ep_weights_destroy(w);
  ep_net_destroy(net);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sign)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
