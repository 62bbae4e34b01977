/* Networks by name: sizes, exports that read back to the same bits, and networks taken from graphs. */
#include "models/train/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/eval.h"
#include "models/onnx.h"
#include "tests/ep_test.h"
#include "tests/support/netlang.h"

static void temp_path(char *path, size_t n) { snprintf(path, n, "/tmp/ep_test_net_%d.onnx", (int)getpid()); }

static void random_statistics(ep_net *net, ep_rng *rng) {
  for (size_t i = 0; i < net->n_stat; i++) net->stat[i] = 0.5f + (float)ep_rng_uniform(rng);
  for (size_t i = 0; i < net->n_param; i++) net->param[i] += 0.01f * (float)ep_rng_normal(rng);
}

static void assert_same_function(ep_ctx *ctx, const ep_graph *a, const ep_graph *b, bool is_exact) {
  uint32_t n = a->val[a->input].n, n_y = a->val[a->output].n;
  ep_scratch s;
  ep_trace_f32 ta, tb;
  ep_rng rng;
  ep_rng_seed(&rng, 8);
  assert_int_equal(b->val[b->input].n, n);
  assert_int_equal(b->val[b->output].n, n_y);
  ep_scratch_init(&s, ctx);
  float *x = EP_SCRATCH(&s, float, 3 * (size_t)n);
  for (size_t i = 0; i < 3 * (size_t)n; i++) x[i] = (float)ep_rng_uniform(&rng);
  assert_int_equal(ep_eval_f32(a, 3, x, &s, &ta), EP_OK);
  assert_int_equal(ep_eval_f32(b, 3, x, &s, &tb), EP_OK);
  for (size_t i = 0; i < 3 * (size_t)n_y; i++) {
    float u = ta.v[a->output][i], v = tb.v[b->output][i];
    if (is_exact ? u != v : fabsf(u - v) > 1e-4f * (1 + fabsf(u)))
      fail_msg("output %zu: %.9g, %.9g", i, (double)u, (double)v);
  }
  ep_scratch_clear(&s);
}

/* Every architecture: written, read back, the same bits; taken back for training, the same function. */
static void test_round_trip(void **state) {
  (void)state;
  char path[64];
  temp_path(path, sizeof path);
  for (size_t i = 0; i < ep_n_archs; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_net *net, *back;
    ep_graph *g, *h, *k;
    ep_rng rng;
    ep_rng_seed(&rng, i);
    uint32_t side = !strncmp(ep_archs[i].name, "cnn", 3) && strcmp(ep_archs[i].name, "cnn-small") ? 12 : 28;
    assert_int_equal(ep_net_create(ctx, &ep_archs[i], 1, side, side, 10, &net), EP_OK);
    ep_net_init(net, EP_INIT_KAIMING, &rng);
    random_statistics(net, &rng);
    assert_int_equal(ep_net_export(net, &g), EP_OK);
    assert_int_equal(ep_onnx_write(g, path), EP_OK);
    assert_int_equal(ep_onnx_read(ctx, path, &h), EP_OK);
    assert_same_function(ctx, g, h, true);
    assert_int_equal(ep_net_from_graph(h, &back), EP_OK);
    assert_int_equal(ep_net_export(back, &k), EP_OK);
    assert_same_function(ctx, g, k, true);
    ep_graph_destroy(g);
    ep_graph_destroy(h);
    ep_graph_destroy(k);
    ep_net_destroy(net);
    ep_net_destroy(back);
    ep_ctx_destroy(ctx);
  }
  unlink(path);
}

static void test_init(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_net *net;
  ep_rng rng;
  ep_rng_seed(&rng, 1);
  assert_int_equal(ep_net_create(ctx, ep_arch_find("fc-2x256"), 1, 28, 28, 10, &net), EP_OK);
  for (int kind = 0; kind < 2; kind++) {
    ep_net_init(net, kind ? EP_INIT_IBP : EP_INIT_KAIMING, &rng);
    double square = 0, want = kind ? 2 * 3.141592653589793 / (784.0 * 784) : 2 / 784.0;
    for (size_t k = 0; k < net->layer[0].n_w; k++) square += (double)net->param[k] * (double)net->param[k];
    assert_true(fabs(square / (double)net->layer[0].n_w / want - 1) < 0.02);
  }
  ep_net_destroy(net);
  ep_ctx_destroy(ctx);
}

/* Binary layers: weights of one size whatever the numbers behind them do, signs from these. */
static void test_binary(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_net *net, *plain;
  ep_rng rng;
  ep_rng_seed(&rng, 3);
  assert_int_equal(ep_net_create(ctx, ep_arch_find("bnn-tiny"), 1, 5, 5, 3, &net), EP_OK);
  assert_int_equal(ep_net_create(ctx, ep_arch_find("fc-tiny"), 1, 5, 5, 3, &plain), EP_OK);
  assert_true(ep_net_is_binary(net));
  assert_false(ep_net_is_binary(plain));
  ep_net_init(net, EP_INIT_KAIMING, &rng);
  const ep_layer *l = &net->layer[net->n_layer - 1];
  float *latent = ep_alloc(ctx, net->n_param * sizeof *latent), *kept = ep_alloc(ctx, net->n_param * sizeof *kept);
  int n_up = 0;
  for (size_t k = 0; k < l->n_w; k++) {
    assert_true(fabsf(net->param[l->w + k]) == exp2f(-3)); /* 32 inputs: 1/8 is near 1/sqrt(32) */
    n_up += net->param[l->w + k] > 0;
  }
  assert_true(n_up > 20 && n_up < (int)l->n_w - 20);
  memcpy(kept, net->param, net->n_param * sizeof *kept);
  ep_net_make_latent(net, &rng, latent);
  ep_net_take_latent(net, latent);
  assert_memory_equal(kept, net->param, net->n_param * sizeof *kept);
  latent[l->w] = -7;
  latent[l->w + 1] = 0.01f;
  latent[l->b] = 2.5f;
  ep_net_take_latent(net, latent);
  assert_true(latent[l->w] == -1 && net->param[l->w] == -0.125f && net->param[l->w + 1] == 0.125f);
  assert_true(net->param[l->b] == 2.5f);
  ep_free(ctx, latent);
  ep_free(ctx, kept);
  ep_net_destroy(net);
  ep_net_destroy(plain);
  ep_ctx_destroy(ctx);
}

/* A binarised network and one with maxima, taken back from their files, are still that. */
static void test_taken_back(void **state) {
  (void)state;
  static const char *const arch[] = {"bnn-small", "lenet-max"};
  for (int i = 0; i < 2; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_net *net, *back;
    ep_graph *g;
    ep_rng rng;
    ep_rng_seed(&rng, 4);
    assert_int_equal(ep_net_create(ctx, ep_arch_find(arch[i]), 1, 28, 28, 10, &net), EP_OK);
    ep_net_init(net, EP_INIT_KAIMING, &rng);
    assert_int_equal(ep_net_export(net, &g), EP_OK);
    assert_int_equal(ep_net_from_graph(g, &back), EP_OK);
    uint32_t n_binary = 0, n_max = 0;
    for (uint32_t k = 0; k < back->n_layer; k++) {
      n_binary += back->layer[k].is_binary;
      n_max += back->layer[k].kind == EP_LAYER_MAX_POOL;
    }
    assert_int_equal(n_binary, i ? 0 : 4);
    assert_int_equal(n_max, i ? 2 : 0);
    ep_graph_destroy(g);
    ep_net_destroy(net);
    ep_net_destroy(back);
    ep_ctx_destroy(ctx);
  }
}

static void test_refused(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_net *net;
  ep_graph *g;
  assert_int_equal(ep_net_create(ctx, ep_arch_find("cnn-small"), 1, 3, 3, 10, &net), EP_E_SHAPE);
  assert_null(net);
  ep_ctx_clear_error(ctx);
  assert_int_equal(netlang_make(ctx, "x:1,6; a = Mul x c6; s = Abs a; y = Gemm s c4,6 c4 transB=1", 3, &g), EP_OK);
  assert_int_equal(ep_net_from_graph(g, &net), EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "no training rule"));
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_init),
                                     cmocka_unit_test(test_binary), cmocka_unit_test(test_taken_back),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
