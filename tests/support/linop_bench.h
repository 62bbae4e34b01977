/* What tests of linear operators work with: memory and seeded numbers, checked for leaks at the end. */
#ifndef EP_TESTS_SUPPORT_LINOP_BENCH_H
#define EP_TESTS_SUPPORT_LINOP_BENCH_H

#include "kernels/linop.h"
#include "kernels/rng.h"
#include "tests/ep_test.h"

typedef struct bench {
  ep_ctx *ctx;
  ep_arena arena;
  ep_scratch scratch;
  ep_rng rng;
} bench;

static int setup(void **state) {
  static bench b; /* one at a time, per test */
  b.ctx = ep_ctx_create();
  assert_non_null(b.ctx);
  ep_arena_init(&b.arena, b.ctx);
  ep_scratch_init(&b.scratch, b.ctx);
  ep_rng_seed(&b.rng, 42);
  *state = &b;
  return 0;
}
static int teardown(void **state) {
  bench *b = *state;
  ep_arena_clear(&b->arena);
  ep_scratch_clear(&b->scratch);
  assert_int_equal(ep_ctx_memory_used(b->ctx), 0);
  ep_ctx_destroy(b->ctx);
  return 0;
}

#endif
