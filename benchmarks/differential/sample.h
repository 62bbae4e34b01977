/* Random small networks and queries for differential testing, in a form that can be made smaller piece by piece:
 * explicit layers and weights instead of a seed. All values between layers are flat vectors. */
#ifndef EP_BENCHMARKS_DIFFERENTIAL_SAMPLE_H
#define EP_BENCHMARKS_DIFFERENTIAL_SAMPLE_H

#include "kernels/rng.h"
#include "verifier/query.h"

enum {
  MAX_LAYERS = 12,
  MAX_WIDTH = 24,
  MAX_WEIGHTS = MAX_WIDTH * MAX_WIDTH,
  MAX_BOXES = 2,
  MAX_POLYS = 2,
  MAX_ROWS = 2,
  MAX_TERMS = 3
};

typedef enum layer_kind { DENSE, CONV, ACTIVATION, MAX_POOL, SKIP, N_LAYER_KINDS } layer_kind;

typedef struct layer {
  layer_kind kind;
  uint32_t n_in, n_out;
  /* DENSE: w[n_out x n_in], b[n_out]. CONV: c_in x side x side image, w[c_out x c_in x 2 x 2], b[c_out]. MAX_POOL: 2x2
   * windows over that image, stride 1. */
  uint32_t c_in, c_out, side;
  float w[MAX_WEIGHTS], b[MAX_WIDTH];
  const char *activation; /* ONNX name */
  float param;            /* LeakyRelu's slope, Clip's half width */
  uint32_t from;          /* SKIP: adds the value before layer `from` (same width) */
} layer;

typedef struct row {
  uint32_t n, var[MAX_TERMS]; /* 0..n_y-1 outputs, then inputs */
  float coef[MAX_TERMS];
  double rhs;
  bool is_strict;
} row;
typedef struct poly {
  uint32_t n;
  row row[MAX_ROWS];
} poly;
typedef struct box {
  float lo[MAX_WIDTH], hi[MAX_WIDTH];
  uint32_t n;
  poly poly[MAX_POLYS];
} box;

typedef struct sample {
  uint32_t n_x, n_y, n_layer, n_box;
  layer layer[MAX_LAYERS];
  box box[MAX_BOXES];
} sample;

/* A fresh sample; its thresholds lie near values that the network takes. */
ep_status sample_make(ep_ctx *ctx, uint64_t seed, sample *out);
ep_status sample_graph(ep_ctx *ctx, const sample *s, ep_graph **out);
ep_status sample_query(ep_ctx *ctx, const sample *s, ep_query **out);
/* Writes STEM.onnx and STEM.vnnlib. */
ep_status sample_write(ep_ctx *ctx, const sample *s, const char *stem);

/* Does the defect still show? */
typedef bool (*sample_test)(const sample *s, void *arg);
/* Removes boxes, polytopes, rows, layers and neurons, rounds and zeroes weights, as long as `test` holds; returns the
 * number of steps that were kept. */
uint32_t sample_shrink(sample *s, sample_test test, void *arg);

#endif
