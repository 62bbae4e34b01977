/* Speed of training steps: images per second and GFLOP/s for each method on an architecture, beside OpenBLAS' sgemm.
 * usage: bench_training [ARCH [BATCH [THREADS]]]   (cnn-small 128 0) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/mat.h"
#include "models/train/batch.h"

/* Multiplications and additions of one pass through the network for one image. */
static double flops(const ep_net *net) {
  double sum = 0;
  for (uint32_t i = 0; i < net->n_layer; i++) {
    const ep_layer *l = &net->layer[i];
    if (l->kind == EP_LAYER_DENSE) sum += 2.0 * (double)l->n_w;
    if (l->kind == EP_LAYER_CONV) sum += 2.0 * (double)l->n_w * (l->n_out / (double)l->conv.c_out);
  }
  return sum;
}

static double sgemm_gflops(void) {
  enum { N = 512 };
  static float a[N * N], b[N * N], c[N * N];
  double best = 0;
  for (int k = 0; k < 10; k++) {
    double t = ep_time_s();
    ep_sgemm(false, false, N, N, N, 1, a, N, b, N, 0, c, N);
    t = ep_time_s() - t;
    if (2.0 * N * N * N / t > best) best = 2.0 * N * N * N / t;
  }
  return best * 1e-9;
}

int main(int argc, char **argv) {
  const ep_arch *arch = ep_arch_find(argc > 1 ? argv[1] : "cnn-small");
  uint32_t batch = argc > 2 ? (uint32_t)atoi(argv[2]) : 128;
  ep_ctx *ctx = ep_ctx_create();
  ep_pool *pool;
  ep_net *net;
  ep_batch *b;
  ep_rng rng;
  if (!arch || ep_pool_create(ctx, argc > 3 ? (unsigned)atoi(argv[3]) : 0, &pool) != EP_OK) return 1;
  if (ep_net_create(ctx, arch, 1, 28, 28, 10, &net) != EP_OK) return 1;
  ep_rng_seed(&rng, 1);
  ep_net_init(net, EP_INIT_KAIMING, &rng);
  if (ep_batch_create(net, batch, pool, &b) != EP_OK) return 1;
  size_t n_in = ep_net_size(net, 0);
  float *data = malloc(batch * n_in * sizeof *data);
  const float **x = malloc(batch * sizeof *x);
  uint32_t *label = malloc(batch * sizeof *label);
  if (!data || !x || !label) return 1;
  for (size_t i = 0; i < batch * n_in; i++) data[i] = (float)ep_rng_uniform(&rng);
  for (uint32_t i = 0; i < batch; i++) {
    x[i] = data + i * n_in;
    label[i] = i % 10;
  }
  printf("%s, batch %u, %u threads, sgemm %.1f GFLOP/s per thread\n", arch->name, batch, ep_pool_size(pool),
         sgemm_gflops());
  static const char *const methods[] = {"natural", "ibp", "pgd", "sabr", "mtl-ibp"};
  /* Passes per step: forward, gradients of inputs and of weights; an IBP step runs points, midpoints and radii, each
   * step of an attack a forward and a backward pass. */
  static const double passes[] = {3, 9, 3 + 16, 6 + 16, 9 + 16};
  for (size_t m = 0; m < 5; m++) {
    ep_batch_opt o = {.method = ep_method_find(methods[m]),
                      .loss = ep_loss_find("cross-entropy"),
                      .epsilon = 0.1,
                      .share = !strcmp(methods[m], "sabr") ? 1 : 0.5,
                      .box_ratio = 0.4,
                      .clip_hi = 1,
                      .attack_steps = 8,
                      .attack_rate = 0.25};
    double best = 1e9;
    for (int k = 0; k < 30; k++) {
      ep_batch_sums s = {0};
      double t = ep_time_s();
      if (ep_batch_run(b, &o, batch, x, label, &s) != EP_OK || ep_batch_update(b) != EP_OK) return 1;
      t = ep_time_s() - t;
      if (t < best) best = t;
    }
    printf("%-8s %8.2f ms a step %9.0f images/s %8.1f GFLOP/s\n", methods[m], best * 1e3, batch / best,
           flops(net) * passes[m] * batch / best * 1e-9);
  }
  free(data);
  free(x);
  free(label);
  ep_batch_destroy(b);
  ep_net_destroy(net);
  ep_pool_destroy(pool);
  ep_ctx_destroy(ctx);
  return 0;
}
