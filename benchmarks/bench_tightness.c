/* Propagation tightness at initialisation against width and depth: two-layer linear networks beside their closed form,
 * deep ReLU networks, the sign condition. usage: bench_tightness DIR   (writes width.csv, depth.csv and .svg of both)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "benchmarks/plot.h"
#include "bounds/tightness.h"
#include "models/train/net.h"

enum { N_IN = 64, N_OUT = 10, N_POINT = 8 };

static void normal(ep_rng *rng, size_t n, double *out) {
  for (size_t i = 0; i < n; i++) out[i] = ep_rng_normal(rng);
}

/* Mean exact width over mean interval width of V W with Gaussian entries, and the share of sign-pure pairs. */
static void two_layers(size_t d, ep_rng *rng, double *ratio, double *pure) {
  double *V = malloc(N_OUT * d * sizeof *V), *W = malloc(N_IN * d * sizeof *W), num = 0, den = 0;
  if (!V || !W) exit(1);
  *pure = 0;
  for (int round = 0; round < 20; round++) {
    normal(rng, N_OUT * d, V);
    normal(rng, N_IN * d, W);
    *pure += ep_tightness_same_sign(N_OUT, d, N_IN, V, W) / 20;
    for (size_t i = 0; i < N_OUT; i++)
      for (size_t j = 0; j < N_IN; j++) {
        double sum = 0, abs = 0;
        for (size_t k = 0; k < d; k++) {
          sum += V[i * d + k] * W[k * N_IN + j];
          abs += fabs(V[i * d + k] * W[k * N_IN + j]);
        }
        num += fabs(sum);
        den += abs;
      }
  }
  *ratio = num / den;
  free(V);
  free(W);
}

/* Mean local tightness of a network of `depth` affine layers of `width` at its start. (Scale plays no part in it, so
 * all Gaussian initialisers are alike.) */
static double at_start(ep_ctx *ctx, uint32_t depth, uint32_t width, bool is_linear, uint64_t seed) {
  const ep_arch *arch = ep_arch_find("fc-tiny");
  ep_net *net;
  ep_graph *g;
  ep_rng rng;
  ep_scratch s;
  double x[N_IN], rad[N_IN], tau[N_OUT], sum = 0;
  if (ep_net_create(ctx, arch, 1, 1, N_IN, N_OUT, &net) != EP_OK) exit(1);
  net->n_layer = 0; /* the architecture's own layers are not wanted */
  net->n_param = 0;
  ep_net_image at = ep_net_input(net);
  for (uint32_t k = 1; k < depth; k++)
    if (ep_net_dense(net, &at, width) != EP_OK || ep_net_relu(net, &at) != EP_OK) exit(1);
  if (ep_net_dense(net, &at, N_OUT) != EP_OK) exit(1);
  ep_rng_seed(&rng, seed);
  ep_net_init(net, EP_INIT_KAIMING, &rng);
  if (ep_net_export(net, &g) != EP_OK) exit(1);
  ep_scratch_init(&s, ctx);
  for (int p = 0; p < N_POINT; p++) {
    for (size_t i = 0; i < N_IN; i++) {
      x[i] = ep_rng_uniform(&rng);
      rad[i] = 1e-6;
    }
    if (ep_tightness_at(g, x, rad, 0, is_linear, &s, tau) != EP_OK) exit(1);
    for (size_t c = 1; c < N_OUT; c++) sum += tau[c] / (N_OUT - 1) / N_POINT;
  }
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_net_destroy(net);
  return sum;
}

static void widths(ep_ctx *ctx, const char *folder) {
  static const uint32_t d[] = {2, 5, 10, 20, 50, 100, 200, 400};
  plot_series s[3] = {{.name = "two linear layers"}, {.name = "closed form"}, {.name = "ReLU, 4 layers"}};
  FILE *f = plot_table(folder, "width.csv", "width,linear2,closed_form,sign_pure,relu4");
  ep_rng rng;
  char path[4096];
  ep_rng_seed(&rng, 1);
  for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
    double ratio, pure, closed = ep_tightness_gaussian(d[i]), relu = 0;
    two_layers(d[i], &rng, &ratio, &pure);
    for (uint64_t k = 0; k < 5; k++) relu += at_start(ctx, 4, d[i], false, k) / 5;
    const double y[3] = {ratio, closed, relu};
    for (int k = 0; k < 3; k++) plot_add(&s[k], d[i], y[k]);
    printf("width %4u: two linear layers %.4f, closed form %.4f, sign-pure pairs %.4f, ReLU 4 layers %.5f\n", d[i],
           ratio, closed, pure, relu);
    fprintf(f, "%u,%.6g,%.6g,%.6g,%.6g\n", d[i], ratio, closed, pure, relu);
  }
  fclose(f);
  snprintf(path, sizeof path, "%.4000s/width.svg", folder);
  const plot_axes axes = {"Tightness at the start against width", "width", true, true};
  if (plot_write(path, &axes, 3, s) != 0) exit(1);
}

static void depths(ep_ctx *ctx, const char *folder) {
  plot_series s[2] = {{.name = "ReLU"}, {.name = "linear"}};
  FILE *f = plot_table(folder, "depth.csv", "depth,relu,linear");
  char path[4096];
  for (uint32_t depth = 2; depth <= 12; depth += 2) {
    double y[2] = {0, 0};
    for (uint64_t k = 0; k < 5; k++) {
      y[0] += at_start(ctx, depth, 64, false, k) / 5;
      y[1] += at_start(ctx, depth, 64, true, k) / 5;
    }
    for (int k = 0; k < 2; k++) plot_add(&s[k], depth, y[k]);
    printf("depth %2u: ReLU %.3g, linear %.3g, ratio %.3g\n", depth, y[0], y[1], y[0] / y[1]);
    fprintf(f, "%u,%.6g,%.6g\n", depth, y[0], y[1]);
  }
  fclose(f);
  snprintf(path, sizeof path, "%.4000s/depth.svg", folder);
  const plot_axes axes = {"Tightness at the start against depth, width 64", "depth", true, true};
  if (plot_write(path, &axes, 2, s) != 0) exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fputs("usage: bench_tightness DIR\n", stderr);
    return 1;
  }
  ep_ctx *ctx = ep_ctx_create();
  if (!ctx) return 1;
  widths(ctx, argv[1]);
  depths(ctx, argv[1]);
  ep_ctx_destroy(ctx);
  return 0;
}
