/* Propagation tightness at initialisation against width and depth: two-layer linear networks beside their closed form,
 * deep ReLU networks, the sign condition. usage: bench_tightness DIR   (writes width.csv, depth.csv and .svg of both)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bounds/tightness.h"
#include "models/train/net.h"

enum { N_IN = 64, N_OUT = 10, N_POINT = 8 };

typedef struct series {
  const char *name;
  size_t n;
  double x[16], y[16];
} series;

/* Both axes logarithmic. */
static int plot(const char *path, const char *title, const char *x_name, size_t n, const series *s) {
  static const char *const colour[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd"};
  double lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
  FILE *f = fopen(path, "wb");
  if (!f) return -1;
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < s[k].n; i++) {
      double v[2] = {log10(s[k].x[i]), log10(s[k].y[i])};
      for (int q = 0; q < 2; q++) {
        lo[q] = fmin(lo[q], v[q]);
        hi[q] = fmax(hi[q], v[q]);
      }
    }
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"560\" height=\"380\" font-family=\"sans-serif\" "
          "font-size=\"12\">\n"
          "<rect width=\"560\" height=\"380\" fill=\"white\"/><text x=\"70\" y=\"20\">%s</text>\n"
          "<path d=\"M70 30V330H540\" fill=\"none\" stroke=\"black\"/>\n"
          "<text x=\"70\" y=\"350\">%s: %g</text><text x=\"500\" y=\"350\">%g</text>\n"
          "<text x=\"5\" y=\"330\">%.2g</text><text x=\"5\" y=\"40\">%.2g</text>\n",
          title, x_name, pow(10, lo[0]), pow(10, hi[0]), pow(10, lo[1]), pow(10, hi[1]));
  for (size_t k = 0; k < n; k++) {
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" points=\"", colour[k % 4]);
    for (size_t i = 0; i < s[k].n; i++)
      fprintf(f, "%.1f,%.1f ", 70 + 460 * (log10(s[k].x[i]) - lo[0]) / (hi[0] - lo[0] + 1e-12),
              330 - 290 * (log10(s[k].y[i]) - lo[1]) / (hi[1] - lo[1] + 1e-12));
    fprintf(f, "\"/><text x=\"400\" y=\"%zu\" fill=\"%s\">%s</text>\n", 40 + 16 * k, colour[k % 4], s[k].name);
  }
  fprintf(f, "</svg>\n");
  return fclose(f);
}

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

static FILE *table(const char *folder, const char *name, const char *head) {
  char path[4096];
  snprintf(path, sizeof path, "%.4000s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  if (!f) {
    perror(path);
    exit(1);
  }
  fprintf(f, "%s\n", head);
  return f;
}

static void widths(ep_ctx *ctx, const char *folder) {
  static const uint32_t d[] = {2, 5, 10, 20, 50, 100, 200, 400};
  series s[3] = {{.name = "two linear layers"}, {.name = "closed form"}, {.name = "ReLU, 4 layers"}};
  FILE *f = table(folder, "width.csv", "width,linear2,closed_form,sign_pure,relu4");
  ep_rng rng;
  char path[4096];
  ep_rng_seed(&rng, 1);
  for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
    double ratio, pure, closed = ep_tightness_gaussian(d[i]), relu = 0;
    two_layers(d[i], &rng, &ratio, &pure);
    for (uint64_t k = 0; k < 5; k++) relu += at_start(ctx, 4, d[i], false, k) / 5;
    const double y[3] = {ratio, closed, relu};
    for (int k = 0; k < 3; k++) {
      s[k].x[s[k].n] = d[i];
      s[k].y[s[k].n++] = y[k];
    }
    printf("width %4u: two linear layers %.4f, closed form %.4f, sign-pure pairs %.4f, ReLU 4 layers %.5f\n", d[i],
           ratio, closed, pure, relu);
    fprintf(f, "%u,%.6g,%.6g,%.6g,%.6g\n", d[i], ratio, closed, pure, relu);
  }
  fclose(f);
  snprintf(path, sizeof path, "%.4000s/width.svg", folder);
  if (plot(path, "Tightness at the start against width", "width", 3, s) != 0) exit(1);
}

static void depths(ep_ctx *ctx, const char *folder) {
  series s[2] = {{.name = "ReLU"}, {.name = "linear"}};
  FILE *f = table(folder, "depth.csv", "depth,relu,linear");
  char path[4096];
  for (uint32_t depth = 2; depth <= 12; depth += 2) {
    double y[2] = {0, 0};
    for (uint64_t k = 0; k < 5; k++) {
      y[0] += at_start(ctx, depth, 64, false, k) / 5;
      y[1] += at_start(ctx, depth, 64, true, k) / 5;
    }
    for (int k = 0; k < 2; k++) {
      s[k].x[s[k].n] = depth;
      s[k].y[s[k].n++] = y[k];
    }
    printf("depth %2u: ReLU %.3g, linear %.3g, ratio %.3g\n", depth, y[0], y[1], y[0] / y[1]);
    fprintf(f, "%u,%.6g,%.6g\n", depth, y[0], y[1]);
  }
  fclose(f);
  snprintf(path, sizeof path, "%.4000s/depth.svg", folder);
  if (plot(path, "Tightness at the start against depth, width 64", "depth", 2, s) != 0) exit(1);
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
