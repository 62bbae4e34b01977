/* The warm-up regularisers' gradients against finite differences, away from where neurons change sides. */
#include "models/train/warmup.h"

#include <math.h>
#include <string.h>

#include "tests/ep_test.h"

enum { N = 6, L = EP_LANES };

static ep_status arch_one(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_dense(net, &at, N));
  EP_TRY(ep_net_relu(net, &at));
  return ep_net_dense(net, &at, n_class);
}

/* share: how many of N neurons are active; width: of the boxes. */
static void check(int active, float width) {
  const ep_arch arch = {"test", "", arch_one};
  ep_ctx *ctx = ep_ctx_create();
  ep_net *net;
  ep_weights *w;
  ep_pass *p;
  ep_rng rng;
  ep_rng_seed(&rng, 1);
  assert_int_equal(ep_net_create(ctx, &arch, 1, 1, 3, 2, &net), EP_OK);
  assert_int_equal(ep_weights_create(net, &w), EP_OK);
  assert_int_equal(ep_pass_create(w, &p), EP_OK);
  for (size_t k = 0; k < 3 * L; k++) p->val[EP_RAD][0][k] = 0.05f;
  for (size_t k = 0; k < N * L; k++) {
    float side = (int)(k / L) < active ? 1 : -1;
    p->val[EP_RAD][1][k] = width * (0.5f + (float)ep_rng_uniform(&rng));
    p->val[EP_MID][1][k] = side * (0.2f + 2 * width + (float)ep_rng_uniform(&rng));
  }
  ep_pass_clear(p, false);
  double value = ep_warmup_add(p, 1, 1, 3);
  assert_true(value > 0.1);
  float *at[2] = {p->val[EP_MID][1], p->val[EP_RAD][1]}, kept[2][N * L];
  memcpy(kept[0], p->grad[EP_MID][1], sizeof kept[0]);
  memcpy(kept[1], p->grad[EP_RAD][1], sizeof kept[1]);
  for (int s = 0; s < 2; s++)
    for (size_t k = 0; k < N * L; k += 5) {
      float h = 0.01f, x = at[s][k];
      at[s][k] = x + h;
      double up = ep_warmup_add(p, 1, 1, 3);
      at[s][k] = x - h;
      double down = ep_warmup_add(p, 1, 1, 3);
      at[s][k] = x;
      double slope = (up - down) / (2 * (double)h);
      if (!(fabs(slope - (double)kept[s][k]) < 1e-5 + 0.01 * fabs(slope)))
        fail_msg("%d active, %s %zu: gradient %g, slope %g", active, s ? "radius" : "middle", k, (double)kept[s][k],
                 slope);
    }
  ep_pass_destroy(p);
  ep_weights_destroy(w);
  ep_net_destroy(net);
  ep_ctx_destroy(ctx);
}

static void test_slopes(void **state) {
  (void)state;
  check(1, 0.3f);
  check(5, 0.3f);
  check(5, 0.01f);
  check(6, 0.3f); /* nothing inactive: only widths count */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_slopes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
