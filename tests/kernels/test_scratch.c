#include "tests/ep_test.h"

#include <string.h>

#include "kernels/rng.h"
#include "kernels/scratch.h"

static void scratch_marks_give_back(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_scratch s;
  ep_scratch_init(&s, ctx);
  ep_rng r;
  size_t settled = 0;
  for (int round = 0; round < 5; round++) {
    ep_rng_seed(&r, 3); /* the same requests every round */
    ep_scratch_mark outer = ep_scratch_save(&s);
    unsigned char *keep = ep_scratch_alloc(&s, 1000, 1);
    memset(keep, 7, 1000);
    for (int i = 0; i < 200; i++) {
      ep_scratch_mark m = ep_scratch_save(&s);
      for (int j = 0; j < 4; j++) {
        size_t n = ep_rng_below(&r, i % 9 == 0 ? 300000 : 2000);
        unsigned char *p = ep_scratch_alloc(&s, n, 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, j, n);
      }
      ep_scratch_restore(&s, m);
    }
    for (int j = 0; j < 1000; j++) assert_int_equal(keep[j], 7);
    ep_scratch_restore(&s, outer);
    if (round == 0) settled = ep_ctx_memory_used(ctx);
    assert_int_equal(ep_ctx_memory_used(ctx), settled); /* the steady state allocates nothing */
  }
  assert_null(ep_scratch_alloc(&s, SIZE_MAX / 2, 4));
  assert_int_equal(ep_ctx_error(ctx).code, EP_E_NOMEM);
  ep_scratch_clear(&s);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* Returns the first failure of a fixed sequence of requests. */
static ep_status requests(ep_scratch *a) {
  for (size_t n = 1; n < 1000000; n *= 3)
    if (!ep_scratch_alloc(a, n, 1)) return EP_E_NOMEM;
  return EP_OK;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  uint64_t k = 1;
  for (;; k++) {
    ep_scratch a;
    ep_scratch_init(&a, ctx);
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = requests(&a);
    ep_ctx_fail_allocation(ctx, 0);
    assert_int_equal(ep_ctx_error(ctx).code, st);
    if (st != EP_OK) assert_int_equal(requests(&a), EP_OK); /* still usable afterwards */
    ep_scratch_clear(&a);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_clear_error(ctx);
    if (st == EP_OK) break;
  }
  assert_true(k > 3);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scratch_marks_give_back),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
