#include "tests/ep_test.h"

#include <string.h>

#include "kernels/arena.h"
#include "kernels/rng.h"

static void arena_blocks_are_zeroed_aligned_and_apart(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_arena a;
  ep_arena_init(&a, ctx);
  enum { N = 400 };
  unsigned char *p[N];
  size_t n[N];
  ep_rng r;
  ep_rng_seed(&r, 1);
  for (int i = 0; i < N; i++) {
    n[i] = ep_rng_below(&r, i % 20 == 0 ? 200000 : 300);
    p[i] = ep_arena_alloc(&a, n[i], 1);
    assert_non_null(p[i]);
    assert_int_equal((uintptr_t)p[i] % (n[i] >= 64 ? 64 : 16), 0);
    for (size_t j = 0; j < n[i]; j++) assert_int_equal(p[i][j], 0);
    memset(p[i], i & 255, n[i]);
  }
  for (int i = 0; i < N; i++)
    for (size_t j = 0; j < n[i]; j++) assert_int_equal(p[i][j], i & 255);
  assert_string_equal(ep_arena_strdup(&a, "name"), "name");
  assert_null(ep_arena_alloc(&a, SIZE_MAX / 2, 4));
  assert_int_equal(ep_ctx_error(ctx).code, EP_E_NOMEM);
  ep_arena_clear(&a);
  ep_arena_clear(&a);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  for (int i = 0; i < 300; i++) { /* usable again, and zeroed although the C library hands out used memory */
    unsigned char *again = ep_arena_alloc(&a, 1000, 1);
    assert_non_null(again);
    for (size_t j = 0; j < 1000; j++) assert_int_equal(again[j], 0);
  }
  ep_arena_clear(&a);
  ep_ctx_destroy(ctx);
}

/* Returns the first failure of a fixed sequence of requests. */
static ep_status requests(ep_arena *a) {
  for (size_t n = 1; n < 1000000; n *= 3)
    if (!ep_arena_alloc(a, n, 1) || !ep_arena_strdup(a, "x")) return EP_E_NOMEM;
  return EP_OK;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  uint64_t k = 1;
  for (;; k++) {
    ep_arena a;
    ep_arena_init(&a, ctx);
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = requests(&a);
    ep_ctx_fail_allocation(ctx, 0);
    assert_int_equal(ep_ctx_error(ctx).code, st);
    if (st != EP_OK) assert_int_equal(requests(&a), EP_OK); /* still usable afterwards */
    ep_arena_clear(&a);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_clear_error(ctx);
    if (st == EP_OK) break;
  }
  assert_true(k > 3);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_blocks_are_zeroed_aligned_and_apart),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
