/* Thread pool; meant to be run under the thread sanitizer as well. */
#include "tests/ep_test.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/pool.h"

enum { N = 1000 };
typedef struct job {
  ep_pool *pool;
  int done[N];
  int inner[N];
  size_t fail_from, fail_step; /* indices that fail */
  _Atomic int n_run;
  _Atomic int busy[16]; /* a worker runs one task at a time */
  bool is_nested;
} job;

static ep_status inner_task(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  job *j = arg;
  (void)worker;
  int *tmp = EP_SCRATCH(s, int, 10);
  if (!tmp) return EP_E_NOMEM;
  tmp[9] = 1;
  j->inner[i] += tmp[9];
  return EP_OK;
}

typedef struct slice {
  job *j;
  size_t first;
} slice;
static ep_status inner_slice(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  slice *sl = arg;
  return inner_task(sl->j, sl->first + i, worker, s);
}

static ep_status task(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  job *j = arg;
  assert_true(worker < ep_pool_size(j->pool));
  assert_int_equal(atomic_fetch_add(&j->busy[worker], 1), 0);
  assert_ptr_equal(ep_pool_scratch(j->pool), s);
  ep_scratch_mark m = ep_scratch_save(s);
  unsigned char *p = EP_SCRATCH(s, unsigned char, 5000);
  if (!p) return EP_E_NOMEM;
  memset(p, (int)worker, 5000);
  ep_status st = EP_OK;
  if (j->is_nested && i % 10 == 0) {
    slice sl = {j, i};
    st = ep_pool_run(j->pool, 10, inner_slice, &sl);
  }
  for (int k = 0; k < 5000; k++) assert_int_equal(p[k], worker);
  ep_scratch_restore(s, m);
  j->done[i]++;
  atomic_fetch_add(&j->n_run, 1);
  atomic_fetch_sub(&j->busy[worker], 1);
  if (st != EP_OK) return st;
  return j->fail_step && i >= j->fail_from && (i - j->fail_from) % j->fail_step == 0
             ? EP_FAIL(ep_pool_ctx(j->pool), i == j->fail_from ? EP_E_SHAPE : EP_E_IO, "task %zu", i)
             : EP_OK;
}

static void each_index_runs_once(void **state) {
  (void)state;
  for (unsigned n = 1; n <= 5; n++) {
    ep_ctx *ctx = ep_ctx_create();
    job j = {0};
    assert_int_equal(ep_pool_create(ctx, n, &j.pool), EP_OK);
    assert_int_equal(ep_pool_size(j.pool), n);
    assert_ptr_equal(ep_pool_ctx(j.pool), ctx);
    for (int round = 1; round <= 20; round++) {
      assert_int_equal(ep_pool_run(j.pool, N, task, &j), EP_OK);
      for (int i = 0; i < N; i++) assert_int_equal(j.done[i], round);
    }
    assert_int_equal(ep_pool_run(j.pool, 0, task, &j), EP_OK);
    ep_pool_destroy(j.pool);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
  ep_pool_destroy(NULL);
}

static void nested_runs_are_serial(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  job j = {.is_nested = true};
  assert_int_equal(ep_pool_create(ctx, 3, &j.pool), EP_OK);
  assert_int_equal(ep_pool_run(j.pool, N, task, &j), EP_OK);
  for (int i = 0; i < N; i++) {
    assert_int_equal(j.done[i], 1);
    assert_int_equal(j.inner[i], 1);
  }
  ep_pool_destroy(j.pool);
  ep_ctx_destroy(ctx);
}

static void lowest_failure_is_reported(void **state) {
  (void)state;
  for (unsigned n = 1; n <= 4; n++)
    for (int round = 0; round < 20; round++) {
      ep_ctx *ctx = ep_ctx_create();
      job j = {.fail_from = 40, .fail_step = 1};
      assert_int_equal(ep_pool_create(ctx, n, &j.pool), EP_OK);
      /* 40 fails with EP_E_SHAPE and all after it with EP_E_IO: whoever comes first, 40's status counts */
      assert_int_equal(ep_pool_run(j.pool, N, task, &j), EP_E_SHAPE);
      for (int i = 0; i <= 40; i++) assert_int_equal(j.done[i], 1);
      assert_true(atomic_load(&j.n_run) < N); /* the rest was not begun */
      j.fail_step = 0;
      assert_int_equal(ep_pool_run(j.pool, N, task, &j), EP_OK); /* usable again */
      ep_pool_destroy(j.pool);
      ep_ctx_destroy(ctx);
    }
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  for (uint64_t k = 1;; k++) {
    ep_ctx *ctx = ep_ctx_create();
    job j = {0};
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = ep_pool_create(ctx, 1, &j.pool);
    if (st != EP_OK)
      assert_null(j.pool);
    else
      st = ep_pool_run(j.pool, 3, task, &j);
    if (st == EP_E_NOMEM && j.pool) atomic_store(&j.busy[0], 0);
    ep_pool_destroy(j.pool);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
    if (st == EP_OK) break;
    assert_int_equal(st, EP_E_NOMEM);
  }
}

static void default_size_is_positive(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_pool *pool;
  assert_int_equal(ep_pool_create(ctx, 0, &pool), EP_OK);
  assert_true(ep_pool_size(pool) >= 1);
  ep_pool_destroy(pool);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_index_runs_once),       cmocka_unit_test(nested_runs_are_serial),
      cmocka_unit_test(lowest_failure_is_reported), cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(default_size_is_positive),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
