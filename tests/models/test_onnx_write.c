/* Export and import give back the same function, for every operator that can be exported. */
#include "tests/ep_test.h"

#include <unistd.h>

#include "models/eval.h"
#include "models/onnx.h"
#include "tests/support/netlang.h"

static char path[64];

static void same_function(const ep_graph *a, const ep_graph *b, uint64_t seed, ep_ctx *ctx) {
  uint32_t n_x = a->val[a->input].n, n_y = a->val[a->output].n;
  assert_int_equal(b->val[b->input].n, n_x);
  assert_int_equal(b->val[b->output].n, n_y);
  ep_rng r;
  ep_scratch s;
  ep_trace_f32 ta, tb;
  ep_rng_seed(&r, seed);
  ep_scratch_init(&s, ctx);
  float *x = calloc(n_x, sizeof *x);
  for (int k = 0; k < 20; k++) {
    for (uint32_t i = 0; i < n_x; i++) x[i] = (float)(2 * ep_rng_uniform(&r) - 1);
    assert_int_equal(ep_eval_f32(a, 1, x, &s, &ta), EP_OK);
    assert_int_equal(ep_eval_f32(b, 1, x, &s, &tb), EP_OK);
    for (uint32_t i = 0; i < n_y; i++) {
      float u = ta.v[a->output][i], v = tb.v[b->output][i];
      if (fabsf(u - v) > 2e-5f * (1 + fabsf(u))) fail_msg("output %u: %g became %g", i, (double)u, (double)v);
    }
  }
  free(x);
  ep_scratch_clear(&s);
}

static void exported_networks_come_back(void **state) {
  (void)state;
  for (int k = 0; k < 2 * NETLANG_N; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL, *back = NULL;
    ep_status st = netlang_make(ctx, netlang_cases[k / 2], (uint64_t)k, &g);
    if (st == EP_OK) st = ep_onnx_write(g, path);
    if (st == EP_OK) st = ep_onnx_read(ctx, path, &back);
    if (st != EP_OK) fail_msg("%s: %s", netlang_cases[k / 2], ep_ctx_error(ctx).text);
    same_function(g, back, (uint64_t)k, ctx);
    ep_graph_destroy(g);
    ep_graph_destroy(back);
    ep_ctx_destroy(ctx);
  }
}

/* Same weights, same bytes: exported files can be compared and hashed. */
static void export_is_deterministic(void **state) {
  (void)state;
  char sha[2][65];
  for (int k = 0; k < 2; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL, *back = NULL;
    assert_int_equal(netlang_make(ctx, netlang_cases[2], 7, &g), EP_OK);
    assert_int_equal(ep_onnx_write(g, path), EP_OK);
    assert_int_equal(ep_onnx_read(ctx, path, &back), EP_OK);
    memcpy(sha[k], back->sha256, sizeof sha[k]);
    ep_graph_destroy(g);
    ep_graph_destroy(back);
    ep_ctx_destroy(ctx);
  }
  assert_int_equal(strlen(sha[0]), 64);
  assert_string_equal(sha[0], sha[1]);
}

static void what_cannot_be_written_is_said(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  assert_int_equal(netlang_make(ctx, "x:1,9; a = Reshape x i3,3; m = Gemm a a; y = Flatten m", 1, &g), EP_OK);
  assert_int_equal(ep_onnx_write(g, path), EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "(Gemm) cannot be exported"));
  ep_ctx_clear_error(ctx);
  ep_graph_destroy(g);
  assert_int_equal(netlang_make(ctx, netlang_cases[0], 1, &g), EP_OK);
  assert_int_equal(ep_onnx_write(g, "no/such/folder/net.onnx"), EP_E_IO);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "no/such/folder/net.onnx"));
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

/* Every allocation fails once; nothing may leak or crash. */
static void running_out_of_memory_is_survived(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  assert_int_equal(netlang_make(ctx, netlang_cases[5], 3, &g), EP_OK);
  size_t used = ep_ctx_memory_used(ctx);
  ep_status st = EP_E_NOMEM;
  for (uint64_t k = 1; st != EP_OK && k < 10000; k++) {
    ep_ctx_clear_error(ctx);
    ep_ctx_fail_allocation(ctx, k);
    st = ep_onnx_write(g, path);
    assert_true(st == EP_OK || st == EP_E_NOMEM);
    assert_int_equal(ep_ctx_memory_used(ctx), used);
  }
  assert_int_equal(st, EP_OK);
  ep_ctx_fail_allocation(ctx, 0);
  st = EP_E_NOMEM;
  for (uint64_t k = 1; st != EP_OK && k < 10000; k++) {
    ep_graph *back = NULL;
    ep_ctx_clear_error(ctx);
    ep_ctx_fail_allocation(ctx, k);
    st = ep_onnx_read(ctx, path, &back);
    assert_true(st == EP_OK || st == EP_E_NOMEM);
    assert_true(st == EP_OK || !strncmp(ep_ctx_error(ctx).text, path, strlen(path)));
    ep_graph_destroy(back);
    assert_int_equal(ep_ctx_memory_used(ctx), used);
  }
  assert_int_equal(st, EP_OK);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

int main(void) {
  snprintf(path, sizeof path, "test_onnx_write_%d.onnx", (int)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exported_networks_come_back), cmocka_unit_test(export_is_deterministic),
      cmocka_unit_test(what_cannot_be_written_is_said), cmocka_unit_test(running_out_of_memory_is_survived)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove(path);
  return failed;
}
