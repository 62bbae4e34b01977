/* Propagation tightness (Mao et al. 2024) without data: at initialisation against width and depth (two-layer linear
 * networks beside their closed form, deep dense networks, the CNN series), and linear autoencoders under the usual loss
 * and under intervals. Writes width.csv, depth.csv, cnn.csv, autoencoder.csv and untrained networks of several widths
 * and depths (net_wW_dD.onnx) for tightness.sh. usage: bench_tightness DIR */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/plot.h"
#include "bounds/tightness.h"
#include "models/onnx.h"
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

static ep_net *empty_net(ep_ctx *ctx, uint32_t c, uint32_t h, uint32_t w) {
  ep_net *net;
  if (ep_net_create(ctx, ep_arch_find("fc-tiny"), c, h, w, N_OUT, &net) != EP_OK) exit(1);
  net->n_layer = 0; /* the architecture's own layers are not wanted */
  net->n_param = net->n_stat = 0;
  return net;
}

/* `depth` affine layers, the hidden ones of `width`. */
static ep_net *dense_net(ep_ctx *ctx, uint32_t n_in, uint32_t depth, uint32_t width) {
  ep_net *net = empty_net(ctx, 1, 1, n_in);
  ep_net_image at = ep_net_input(net);
  for (uint32_t k = 1; k < depth; k++)
    if (ep_net_dense(net, &at, width) != EP_OK || ep_net_relu(net, &at) != EP_OK) exit(1);
  if (ep_net_dense(net, &at, N_OUT) != EP_OK) exit(1);
  return net;
}

/* The CNN series on CIFAR's images: depth - 2 convolutions (3 x 3; 64, 64, 128 with stride 2, then 128 channels; a
 * single one has 64 and stride 2), a dense layer of 512, the output. (BatchNormalization is the identity at the start.)
 */
static ep_net *cnn_net(ep_ctx *ctx, uint32_t depth) {
  ep_net *net = empty_net(ctx, 3, 32, 32);
  ep_net_image at = ep_net_input(net);
  for (uint32_t k = 0; k + 2 < depth; k++) {
    bool is_strided = k == 2 || depth == 3;
    if (ep_net_conv(net, &at, k < 2 ? 64 : 128, 3, is_strided ? 2 : 1, 1) != EP_OK) exit(1);
    if (ep_net_relu(net, &at) != EP_OK) exit(1);
  }
  if (ep_net_dense(net, &at, 512) != EP_OK || ep_net_relu(net, &at) != EP_OK) exit(1);
  if (ep_net_dense(net, &at, N_OUT) != EP_OK) exit(1);
  return net;
}

/* Mean tightness of margins over random points of a network at its start, which it destroys: local, and without
 * activations. (Scale plays no part in it, so all Gaussian initialisers are alike.) */
static void at_start(ep_ctx *ctx, ep_net *net, uint32_t n_point, uint64_t seed, double tau[2]) {
  ep_graph *g;
  ep_rng rng;
  ep_scratch s;
  size_t n = ep_net_size(net, 0);
  double *x = malloc(n * sizeof *x), *rad = malloc(n * sizeof *rad), of[N_OUT];
  ep_rng_seed(&rng, seed);
  ep_net_init(net, EP_INIT_KAIMING, &rng);
  if (!x || !rad || ep_net_export(net, &g) != EP_OK) exit(1);
  ep_scratch_init(&s, ctx);
  tau[0] = tau[1] = 0;
  for (uint32_t p = 0; p < n_point; p++) {
    for (size_t i = 0; i < n; i++) {
      x[i] = ep_rng_uniform(&rng);
      rad[i] = 1e-6;
    }
    for (int k = 0; k < 2; k++) {
      if (ep_tightness_at(g, x, rad, 0, k == 1, &s, of) != EP_OK) exit(1);
      for (size_t c = 1; c < N_OUT; c++) tau[k] += of[c] / (N_OUT - 1) / n_point;
    }
  }
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_net_destroy(net);
  free(x);
  free(rad);
}

static void widths(ep_ctx *ctx, const char *folder) {
  static const uint32_t d[] = {2, 5, 10, 20, 50, 100, 200, 400};
  FILE *f = plot_table(folder, "width.csv", "width,two linear layers,closed form,sign-pure pairs,ReLU 4 layers");
  ep_rng rng;
  ep_rng_seed(&rng, 1);
  for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
    double ratio, pure, closed = ep_tightness_gaussian(d[i]), relu = 0, tau[2];
    two_layers(d[i], &rng, &ratio, &pure);
    for (uint64_t k = 0; k < 5; k++) {
      at_start(ctx, dense_net(ctx, N_IN, 4, d[i]), N_POINT, k, tau);
      relu += tau[0] / 5;
    }
    printf("width %4u: two linear layers %.4f, closed form %.4f, sign-pure pairs %.4f, ReLU 4 layers %.5f\n", d[i],
           ratio, closed, pure, relu);
    fprintf(f, "%u,%.6g,%.6g,%.6g,%.6g\n", d[i], ratio, closed, pure, relu);
  }
  fclose(f);
}

static void depths(ep_ctx *ctx, const char *folder) {
  FILE *f = plot_table(folder, "depth.csv", "depth,ReLU,linear");
  for (uint32_t depth = 2; depth <= 12; depth += 2) {
    double y[2] = {0, 0}, tau[2];
    for (uint64_t k = 0; k < 5; k++) {
      at_start(ctx, dense_net(ctx, N_IN, depth, 64), N_POINT, k, tau);
      y[0] += tau[0] / 5;
      y[1] += tau[1] / 5;
    }
    printf("depth %2u: ReLU %.3g, linear %.3g, ratio %.3g\n", depth, y[0], y[1], y[0] / y[1]);
    fprintf(f, "%u,%.6g,%.6g\n", depth, y[0], y[1]);
  }
  fclose(f);
}

static void cnns(ep_ctx *ctx, const char *folder) {
  /* The authors' figures for their networks of these depths on CIFAR-10 (ICLR 2024, published with their code). */
  static const double theirs[6][2] = {{2.5e-2, 1.2e-2},   {3.4e-4, 7.9e-5},   {8.5e-8, 9.9e-9},
                                      {1.9e-10, 1.2e-11}, {4.9e-13, 1.4e-14}, {2.1e-15, 1.6e-17}};
  FILE *f = plot_table(folder, "cnn.csv", "depth,ReLU,linear,ReLU (authors),linear (authors)");
  for (uint32_t depth = 3, k = 0; depth <= 13; depth += 2, k++) {
    double tau[2];
    at_start(ctx, cnn_net(ctx, depth), 2, depth, tau);
    printf("CNN%-2u: ReLU %.3g, linear %.3g (authors: %.3g, %.3g)\n", depth, tau[0], tau[1], theirs[k][0],
           theirs[k][1]);
    fprintf(f, "%u,%.6g,%.6g,%.6g,%.6g\n", depth, tau[0], tau[1], theirs[k][0], theirs[k][1]);
  }
  fclose(f);
}

/* ---- linear autoencoders: data in a K-dimensional subspace of R^D, hidden width w ---- */

enum { D = 16, K = 4, MAX_W = 64, SAMPLES = 32, STEPS = 4000 };

typedef struct autoencoder {
  size_t w;
  double V[D * MAX_W], W[MAX_W * D]; /* D x w, w x D */
  double gV[D * MAX_W], gW[MAX_W * D], m[2][2 * D * MAX_W];
} autoencoder;

/* Gradient of sum_i (|e_i| + r_i)^2 for one sample x, e = V W x - x, r = radius |V| |W| 1 (0: the usual loss). */
static double add_gradient(autoencoder *a, double radius, const double *x) {
  double h[MAX_W], s[MAX_W], loss = 0;
  for (size_t k = 0; k < a->w; k++) {
    h[k] = s[k] = 0;
    for (size_t j = 0; j < D; j++) {
      h[k] += a->W[k * D + j] * x[j];
      s[k] += radius * fabs(a->W[k * D + j]);
    }
  }
  double back[MAX_W] = {0}, wide[MAX_W] = {0};
  for (size_t i = 0; i < D; i++) {
    double e = -x[i], r = 0;
    for (size_t k = 0; k < a->w; k++) {
      e += a->V[i * a->w + k] * h[k];
      r += fabs(a->V[i * a->w + k]) * s[k];
    }
    double all = fabs(e) + r, ge = 2 * all * (e > 0 ? 1 : -1), gr = 2 * all;
    loss += all * all;
    for (size_t k = 0; k < a->w; k++) {
      double v = a->V[i * a->w + k];
      a->gV[i * a->w + k] += ge * h[k] + gr * s[k] * (v > 0 ? 1 : -1);
      back[k] += ge * v;
      wide[k] += gr * fabs(v);
    }
  }
  for (size_t k = 0; k < a->w; k++)
    for (size_t j = 0; j < D; j++)
      a->gW[k * D + j] += back[k] * x[j] + wide[k] * radius * (a->W[k * D + j] > 0 ? 1 : -1);
  return loss;
}

/* Adam, whose rate falls to 0. */
static void move(autoencoder *a, int step) {
  double rate = 0.01 * (1 - (double)step / STEPS), fix1 = 1 - pow(0.9, step + 1), fix2 = 1 - pow(0.999, step + 1);
  size_t n = D * a->w;
  for (size_t k = 0; k < 2 * n; k++) {
    double *p = k < n ? &a->V[k] : &a->W[k - n], g = (k < n ? a->gV[k] : a->gW[k - n]) / SAMPLES;
    a->m[0][k] = 0.9 * a->m[0][k] + 0.1 * g;
    a->m[1][k] = 0.999 * a->m[1][k] + 0.001 * g * g;
    *p -= rate * (a->m[0][k] / fix1) / (sqrt(a->m[1][k] / fix2) + 1e-8);
  }
}

/* Mean over outputs of exact width / interval width. */
static double tightness_of(const autoencoder *a) {
  double tau = 0;
  for (size_t i = 0; i < D; i++) {
    double exact = 0, loose = 0;
    for (size_t j = 0; j < D; j++) {
      double sum = 0;
      for (size_t k = 0; k < a->w; k++) {
        double p = a->V[i * a->w + k] * a->W[k * D + j];
        sum += p;
        loose += fabs(p);
      }
      exact += fabs(sum);
    }
    tau += (loose > 0 ? exact / loose : 1) / D;
  }
  return tau;
}

/* Share of sign-pure pairs when weights below a thousandth of the largest count as 0. */
static double pure_share(autoencoder *a) {
  double *part[2] = {a->V, a->W};
  for (int p = 0; p < 2; p++) {
    double most = 0;
    for (size_t k = 0; k < D * a->w; k++) most = fmax(most, fabs(part[p][k]));
    for (size_t k = 0; k < D * a->w; k++)
      if (fabs(part[p][k]) < 1e-3 * most) part[p][k] = 0;
  }
  return ep_tightness_same_sign(D, a->w, D, a->V, a->W);
}

/* Trains one; *error = mean squared error per unit of data variance. */
static void autoencoder_run(size_t w, double radius, double *tau, double *error, double *pure) {
  static autoencoder a;
  ep_rng rng;
  double basis[D * K];
  memset(&a, 0, sizeof a);
  a.w = w;
  ep_rng_seed(&rng, 7);
  normal(&rng, D * K, basis);
  normal(&rng, D * w, a.V);
  normal(&rng, D * w, a.W);
  for (size_t i = 0; i < D * w; i++) {
    a.V[i] /= sqrt((double)w);
    a.W[i] /= sqrt(D);
  }
  double loss = 0, size = 0;
  for (int step = 0; step < STEPS + 20; step++) { /* the last ones only measure the plain error */
    memset(a.gV, 0, sizeof a.gV);
    memset(a.gW, 0, sizeof a.gW);
    for (int q = 0; q < SAMPLES; q++) {
      double z[K], x[D] = {0};
      normal(&rng, K, z);
      for (size_t i = 0; i < D; i++)
        for (size_t k = 0; k < K; k++) x[i] += basis[i * K + k] * z[k] / sqrt(K);
      double one = add_gradient(&a, step < STEPS ? radius : 0, x);
      for (size_t i = 0; i < D && step >= STEPS; i++) size += x[i] * x[i];
      loss += step >= STEPS ? one : 0;
    }
    if (step < STEPS) move(&a, step);
  }
  *tau = tightness_of(&a);
  *error = loss / size;
  *pure = pure_share(&a);
}

static void autoencoders(const char *folder) {
  static const size_t w[] = {4, 8, 16, 32, 64};
  static const double radius[] = {0, 0.01, 0.1};
  FILE *f = plot_table(
      folder, "autoencoder.csv",
      "width,plain tightness,plain error,plain sign-pure,radius 0.01 tightness,radius 0.01 error,radius 0.01 "
      "sign-pure,radius 0.1 tightness,radius 0.1 error,radius 0.1 sign-pure");
  for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
    fprintf(f, "%zu", w[i]);
    for (size_t k = 0; k < 3; k++) {
      double tau, error, pure;
      autoencoder_run(w[i], radius[k], &tau, &error, &pure);
      printf("autoencoder %d -> %zu (data of %d dimensions), radius %g: tightness %.3f, error %.2g, sign-pure pairs "
             "%.3f\n",
             D, w[i], K, radius[k], tau, error, pure);
      fprintf(f, ",%.6g,%.6g,%.6g", tau, error, pure);
    }
    fputc('\n', f);
  }
  fclose(f);
}

/* Untrained networks on 28 x 28 images, for train --arch. */
static void save_nets(ep_ctx *ctx, const char *folder) {
  static const uint32_t shape[][2] = {{16, 3}, {32, 3}, {64, 3}, {128, 3},
                                      {64, 2}, {64, 4}, {64, 5}}; /* width, depth */
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    char path[4096];
    ep_graph *g;
    ep_net *net = dense_net(ctx, 784, shape[i][1], shape[i][0]);
    ep_rng rng;
    ep_rng_seed(&rng, i);
    ep_net_init(net, EP_INIT_KAIMING, &rng);
    snprintf(path, sizeof path, "%.4000s/net_w%u_d%u.onnx", folder, shape[i][0], shape[i][1]);
    if (ep_net_export(net, &g) != EP_OK || ep_onnx_write(g, path) != EP_OK) {
      fprintf(stderr, "bench_tightness: %s\n", ep_ctx_error(ctx).text);
      exit(1);
    }
    ep_graph_destroy(g);
    ep_net_destroy(net);
  }
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
  cnns(ctx, argv[1]);
  autoencoders(argv[1]);
  save_nets(ctx, argv[1]);
  ep_ctx_destroy(ctx);
  return 0;
}
