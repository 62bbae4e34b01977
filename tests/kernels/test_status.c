#include "tests/ep_test.h"

#include <string.h>

#include "kernels/log.h"
#include "kernels/status.h"

static void every_status_has_words_and_exit_code(void **state) {
  (void)state;
  for (int st = 0; st < EP_N_STATUS; st++) {
    assert_non_null(ep_status_text((ep_status)st));
    assert_true(strlen(ep_status_text((ep_status)st)) > 0);
    assert_in_range(ep_status_exit_code((ep_status)st), 0, 3);
  }
  assert_int_equal(ep_status_exit_code(EP_OK), 0);
  assert_int_equal(ep_status_exit_code(EP_E_OPTION), 1);
  assert_int_equal(ep_status_exit_code(EP_E_SYNTAX), 2);
  assert_int_equal(ep_status_exit_code(EP_E_INTERNAL), 3);
}

static void first_failure_wins(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  assert_int_equal(ep_ctx_error(ctx).code, EP_OK);
  assert_int_equal(EP_FAIL(ctx, EP_E_SYNTAX, "line %d", 7), EP_E_SYNTAX);
  assert_int_equal(EP_FAIL(ctx, EP_E_IO, "later"), EP_E_IO);
  ep_error e = ep_ctx_error(ctx);
  assert_int_equal(e.code, EP_E_SYNTAX);
  assert_string_equal(e.text, "line 7");
  assert_non_null(strstr(e.file, "test_status.c"));
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_ctx_error(ctx).code, EP_OK);
  char text[2000];
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = 0;
  EP_FAIL(ctx, EP_E_IO, "%s", text); /* cut, not overrun */
  assert_int_equal(strlen(ep_ctx_error(ctx).text), sizeof e.text - 1);
  ep_ctx_destroy(ctx);
  ep_ctx_destroy(NULL);
}

static void memory_is_counted_aligned_and_limited(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_free(ctx, NULL);
  char *p[5];
  const size_t bytes[5] = {0, 1, 63, 64, 100000};
  for (int i = 0; i < 5; i++) {
    p[i] = ep_alloc(ctx, bytes[i]);
    assert_non_null(p[i]);
    assert_int_equal((uintptr_t)p[i] % 64, 0);
    memset(p[i], i, bytes[i]);
  }
  size_t used = ep_ctx_memory_used(ctx);
  assert_true(used >= 100128);
  p[3] = ep_realloc(ctx, p[3], 1000);
  assert_non_null(p[3]);
  for (int i = 0; i < 64; i++) assert_int_equal(p[3][i], 3);
  p[3] = ep_realloc(ctx, p[3], 5);
  assert_int_equal(p[3][4], 3);
  char *s = ep_strdup(ctx, "hello");
  assert_string_equal(s, "hello");
  ep_free(ctx, s);

  ep_ctx_set_memory_limit(ctx, ep_ctx_memory_used(ctx) + 1000);
  assert_null(ep_alloc(ctx, 2000));
  assert_int_equal(ep_ctx_error(ctx).code, EP_E_LIMIT);
  ep_ctx_clear_error(ctx);
  size_t before = ep_ctx_memory_used(ctx);
  assert_null(ep_realloc(ctx, p[3], 5000)); /* the old block survives */
  assert_int_equal(ep_ctx_memory_used(ctx), before);
  assert_int_equal(p[3][4], 3);
  void *fits = ep_alloc(ctx, 500);
  assert_non_null(fits);
  ep_free(ctx, fits);
  ep_ctx_set_memory_limit(ctx, 0);
  ep_ctx_clear_error(ctx);

  for (int i = 0; i < 5; i++) ep_free(ctx, p[i]);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  assert_true(ep_ctx_memory_peak(ctx) >= used);
  ep_ctx_destroy(ctx);
}

static void impossible_sizes_fail_cleanly(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  assert_null(ep_calloc(ctx, SIZE_MAX / 4, 8));
  assert_int_equal(ep_ctx_error(ctx).code, EP_E_NOMEM);
  ep_ctx_clear_error(ctx);
  assert_null(ep_alloc(ctx, SIZE_MAX - 3));
  assert_int_equal(ep_ctx_error(ctx).code, EP_E_NOMEM);
  ep_ctx_clear_error(ctx);
  assert_null(ep_alloc(ctx, (size_t)1 << 41)); /* refused, not counted */
  assert_int_equal(ep_ctx_error(ctx).code, EP_E_NOMEM);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

static void kth_allocation_fails(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_ctx_fail_allocation(ctx, 3);
  void *a = ep_alloc(ctx, 1), *b = ep_calloc(ctx, 1, 1), *c = ep_alloc(ctx, 1), *d = ep_alloc(ctx, 1);
  assert_non_null(a);
  assert_non_null(b);
  assert_null(c);
  assert_non_null(d); /* only that one */
  ep_free(ctx, a);
  ep_free(ctx, b);
  ep_free(ctx, d);
  ep_ctx_destroy(ctx);
}

static void stops_at_deadline_or_interrupt(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  assert_false(ep_ctx_should_stop(ctx));
  ep_ctx_set_deadline(ctx, ep_time_s() + 3600);
  assert_false(ep_ctx_should_stop(ctx));
  ep_ctx_set_deadline(ctx, ep_time_s() - 1);
  assert_true(ep_ctx_should_stop(ctx));
  assert_false(ep_ctx_was_interrupted(ctx));
  ep_ctx_set_deadline(ctx, 0);
  assert_false(ep_ctx_should_stop(ctx));
  ep_ctx_interrupt(ctx);
  assert_true(ep_ctx_should_stop(ctx));
  assert_true(ep_ctx_was_interrupted(ctx));
  assert_int_equal(ep_ctx_error(ctx).code, EP_OK);
  ep_ctx_destroy(ctx);
}

typedef struct sunk {
  int n, level;
  char line[64];
} sunk;
static void sink(void *user, int level, const char *line) {
  sunk *s = user;
  s->n++;
  s->level = level;
  assert_true(strlen(line) < 1024);
  strncpy(s->line, line, sizeof s->line - 1);
}

static void log_reaches_the_sink_by_level(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  sunk s = {0};
  ep_log(ctx, 0, "nobody listens");
  ep_ctx_set_log(ctx, 2, sink, &s);
  assert_int_equal(ep_ctx_log_level(ctx), 2);
  ep_log(ctx, 3, "too chatty");
  assert_int_equal(s.n, 0);
  ep_log(ctx, 2, "node %d", 5);
  assert_int_equal(s.n, 1);
  assert_int_equal(s.level, 2);
  assert_string_equal(s.line, "node 5");
  ep_log(ctx, 1, "%2000d", 1); /* cut, not overrun */
  assert_int_equal(s.n, 2);
  ep_ctx_destroy(ctx);
}

static void reserving_keeps_what_is_there(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  uint32_t *v = NULL;
  size_t cap = 0, n = 0;
  for (; n < 1000; v[n] = (uint32_t)(3 * n), n++) {
    assert_int_equal(ep_reserve(ctx, (void **)&v, &cap, n, sizeof *v), EP_OK);
    assert_true(cap > n);
  }
  uint32_t *was = v;
  ep_ctx_set_memory_limit(ctx, ep_ctx_memory_used(ctx) + 1);
  while (n < cap) v[n] = (uint32_t)(3 * n), n++;
  assert_int_equal(ep_reserve(ctx, (void **)&v, &cap, n, sizeof *v), EP_E_NOMEM);
  assert_true(v == was && cap == n);
  for (size_t i = 0; i < n; i++) assert_int_equal(v[i], 3 * i);
  ep_free(ctx, v);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reserving_keeps_what_is_there),
      cmocka_unit_test(every_status_has_words_and_exit_code),
      cmocka_unit_test(first_failure_wins),
      cmocka_unit_test(memory_is_counted_aligned_and_limited),
      cmocka_unit_test(impossible_sizes_fail_cleanly),
      cmocka_unit_test(kth_allocation_fails),
      cmocka_unit_test(stops_at_deadline_or_interrupt),
      cmocka_unit_test(log_reaches_the_sink_by_level),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
