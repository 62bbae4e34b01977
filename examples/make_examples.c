/* Writes the example networks and properties of this folder: small, hand-built, with verdicts that are known by
 * construction (README.md explains each). Usage: make_examples FOLDER */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/rng.h"
#include "models/onnx.h"

typedef struct maker {
  ep_ctx *ctx;
  ep_builder *b;
  const char *dir;
  int n_const;
} maker;

static ep_status constant(maker *m, char *name, uint32_t rank, const int64_t *dim, const double *v) {
  ep_tensor t = {.dtype = EP_DT_F32, .shape = {.rank = rank}, .f64 = v};
  for (uint32_t i = 0; i < rank; i++) t.shape.dim[i] = dim[i];
  t.n = ep_shape_count(&t.shape);
  sprintf(name, "c%d", m->n_const++);
  return ep_builder_constant(m->b, name, &t);
}

/* out = in W^T + c, W[n_out x n_in]. */
static ep_status dense(maker *m, const char *in, const char *out, int64_t n_out, int64_t n_in, const double *W,
                       const double *c) {
  char w[16], b[16];
  int64_t dim[2] = {n_out, n_in};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  EP_TRY(constant(m, w, 2, dim, W));
  EP_TRY(constant(m, b, 1, dim, c));
  const char *ins[3] = {in, w, b};
  return ep_builder_node(m->b, "Gemm", out, 3, ins, out, &attrs);
}

static ep_status relu(maker *m, const char *in, const char *out) {
  return ep_builder_node(m->b, "Relu", out, 1, &in, out, NULL);
}

static ep_status start(maker *m, uint32_t rank, const int64_t *dim) {
  ep_shape s = {.rank = rank};
  memcpy(s.dim, dim, rank * sizeof *dim);
  EP_TRY(ep_builder_create(m->ctx, 13, &m->b));
  return ep_builder_input(m->b, "x", EP_DT_F32, &s);
}

static ep_status finish(maker *m, const char *output, const char *file) {
  char path[512];
  ep_graph *g = NULL;
  ep_status st = ep_builder_finish(m->b, output, &g);
  snprintf(path, sizeof path, "%s/onnx/%s.onnx", m->dir, file);
  if (st == EP_OK) st = ep_onnx_write(g, path);
  ep_graph_destroy(g);
  ep_builder_destroy(m->b);
  m->b = NULL;
  return st;
}

/* xor(x0, x1) = relu(x0 + x1) - 2 relu(x0 + x1 - 1): 0 at (0,0) and (1,1), 1 at (0,1) and (1,0). */
static ep_status make_xor(maker *m) {
  EP_TRY(start(m, 2, (int64_t[]){1, 2}));
  EP_TRY(dense(m, "x", "z", 2, 2, (double[]){1, 1, 1, 1}, (double[]){0, -1}));
  EP_TRY(relu(m, "z", "a"));
  EP_TRY(dense(m, "a", "y", 1, 2, (double[]){1, -2}, (double[]){0}));
  return finish(m, "y", "xor");
}

/* |t(|t(x)|)| with t(x) = 2|x| - 1: a saw-tooth on [-1,1] with values in [-1,1]. |x| = relu(x) + relu(-x). */
static ep_status make_saw(maker *m) {
  EP_TRY(start(m, 2, (int64_t[]){1, 1}));
  char in[8] = "x", z[8], a[8];
  for (int k = 0; k < 3; k++) {
    sprintf(z, "z%d", k);
    sprintf(a, "a%d", k);
    if (k == 0)
      EP_TRY(dense(m, in, z, 2, 1, (double[]){1, -1}, (double[]){0, 0}));
    else
      EP_TRY(dense(m, in, z, 2, 2, (double[]){2, 2, -2, -2}, (double[]){-1, 1}));
    EP_TRY(relu(m, z, a));
    strcpy(in, a);
  }
  EP_TRY(dense(m, in, "y", 1, 2, (double[]){2, 2}, (double[]){-1}));
  return finish(m, "y", "saw");
}

/* Three scores on the plane: y_k = 1 - |x - p_k|_1 for three centres: the class is the nearest centre. */
static ep_status make_centres(maker *m) {
  const double p[3][2] = {{-1, 0}, {1, 0}, {0, 1.5}};
  double W[12 * 2] = {0}, c[12], V[3 * 12] = {0}, d[3] = {1, 1, 1};
  for (int k = 0; k < 3; k++)
    for (int j = 0; j < 2; j++)
      for (int s = 0; s < 2; s++) {
        int row = k * 4 + j * 2 + s;
        W[row * 2 + j] = s ? -1 : 1;
        c[row] = s ? p[k][j] : -p[k][j];
        V[k * 12 + row] = -1;
      }
  EP_TRY(start(m, 2, (int64_t[]){1, 2}));
  EP_TRY(dense(m, "x", "z", 12, 2, W, c));
  EP_TRY(relu(m, "z", "a"));
  EP_TRY(dense(m, "a", "y", 3, 12, V, d));
  return finish(m, "y", "centres");
}

/* 6x6 image, one 3x3 horizontal-edge filter each way, relu, mean of each map: (rising, falling) edge strength. */
static ep_status make_edges(maker *m) {
  char k[16], b[16];
  const double kernel[18] = {-1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, -1, -1, -1}, zero[2] = {0, 0};
  int64_t kd[4] = {2, 1, 3, 3}, two = 2;
  EP_TRY(start(m, 4, (int64_t[]){1, 1, 6, 6}));
  EP_TRY(constant(m, k, 4, kd, kernel));
  EP_TRY(constant(m, b, 1, &two, zero));
  EP_TRY(ep_builder_node(m->b, "Conv", "conv", 3, (const char *[]){"x", k, b}, "z", NULL));
  EP_TRY(relu(m, "z", "a"));
  EP_TRY(ep_builder_node(m->b, "GlobalAveragePool", "mean", 1, (const char *[]){"a"}, "p", NULL));
  EP_TRY(ep_builder_node(m->b, "Flatten", "flat", 1, (const char *[]){"p"}, "y", NULL));
  return finish(m, "y", "edges");
}

/* Residual steps x <- x + relu(W x) - relu(-W x) = x + W x with W a small rotation: the relus cancel exactly, which
 * only joint reasoning sees. */
static ep_status make_residual(maker *m) {
  EP_TRY(start(m, 2, (int64_t[]){1, 2}));
  char in[8] = "x", z[8], a[8], d[8], s[8];
  for (int k = 0; k < 3; k++) {
    sprintf(z, "z%d", k);
    sprintf(a, "a%d", k);
    sprintf(d, "d%d", k);
    sprintf(s, "s%d", k);
    EP_TRY(dense(m, in, z, 4, 2, (double[]){0, -0.25, 0.25, 0, 0, 0.25, -0.25, 0}, (double[]){0, 0, 0, 0}));
    EP_TRY(relu(m, z, a));
    EP_TRY(dense(m, a, d, 2, 4, (double[]){1, 0, -1, 0, 0, 1, 0, -1}, (double[]){0, 0}));
    EP_TRY(ep_builder_node(m->b, "Add", s, 2, (const char *[]){d, in}, s, NULL));
    strcpy(in, s);
  }
  return finish(m, in, "residual");
}

static int property(const maker *m, const char *name, int n_x, int n_y, double lo, double hi, const char *output) {
  char path[512];
  snprintf(path, sizeof path, "%s/vnnlib/%s.vnnlib", m->dir, name);
  FILE *f = fopen(path, "w");
  if (!f) return 1;
  for (int i = 0; i < n_x; i++) fprintf(f, "(declare-const X_%d Real)\n", i);
  for (int i = 0; i < n_y; i++) fprintf(f, "(declare-const Y_%d Real)\n", i);
  for (int i = 0; i < n_x; i++) fprintf(f, "(assert (>= X_%d %g))\n(assert (<= X_%d %g))\n", i, lo, i, hi);
  fprintf(f, "; the unsafe outputs\n(assert %s)\n", output);
  return fclose(f) != 0;
}

int main(int argc, char **argv) {
  if (argc != 2) return fputs("usage: make_examples FOLDER\n", stderr), 1;
  maker m = {.ctx = ep_ctx_create(), .dir = argv[1]};
  if (!m.ctx) return 3;
  char folder[512];
  snprintf(folder, sizeof folder, "%s/onnx", argv[1]);
  mkdir(folder, 0777);
  snprintf(folder, sizeof folder, "%s/vnnlib", argv[1]);
  mkdir(folder, 0777);
  ep_status (*const make[])(maker *) = {make_xor, make_saw, make_centres, make_edges, make_residual};
  ep_status st = EP_OK;
  for (size_t i = 0; i < sizeof make / sizeof *make && st == EP_OK; i++) st = make[i](&m);
  int bad = 0;
  bad |= property(&m, "xor_stays_below_1.01", 2, 1, 0, 1, "(>= Y_0 1.01)");
  bad |= property(&m, "xor_can_pass_0.9", 2, 1, 0, 1, "(>= Y_0 0.9)");
  bad |= property(&m, "saw_is_bounded", 1, 1, -1, 1, "(or (> Y_0 1.01) (< Y_0 -1.01))");
  bad |= property(&m, "saw_reaches_zero", 1, 1, -1, 1, "(and (<= Y_0 0.001) (>= Y_0 -0.001))");
  bad |= property(&m, "centres_robust", 2, 3, 0.4, 0.6, "(or (and (>= Y_0 Y_1)) (and (>= Y_2 Y_1)))");
  bad |= property(&m, "centres_not_robust", 2, 3, 0.4, 0.9, "(or (and (>= Y_0 Y_1)) (and (>= Y_2 Y_1)))");
  bad |= property(&m, "edges_bounded", 36, 2, 0, 1, "(or (> Y_0 1.6) (< Y_0 -0.001))");
  bad |= property(&m, "edges_reachable", 36, 2, 0, 1, "(>= Y_0 1)");
  bad |= property(&m, "residual_norm", 2, 2, -1, 1, "(or (>= Y_0 1.7) (<= Y_0 -1.7))");
  bad |= property(&m, "residual_reach", 2, 2, -1, 1, "(>= Y_0 1.4)");
  if (st != EP_OK) fprintf(stderr, "make_examples: %s\n", ep_ctx_error(m.ctx).text);
  ep_ctx_destroy(m.ctx);
  return st != EP_OK ? 3 : bad;
}
