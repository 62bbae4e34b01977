/* The network as the search sees it: one box with certified bounds, float32, reduced to what still matters.
 *
 * Neurons that are dead over the box leave the matrices, inputs without room become part of the biases, and every ReLU
 * layer lists its unstable neurons; only those have slopes to optimise and phases to decide. Between affine nodes the
 * unstable neurons come first in their layer, so that the loops over them are contiguous; what is left of a convolution
 * or a residual sum there is a sparse matrix. Nothing here is trusted: the certified pass works on the graph itself.
 *
 * Values keep the graph's ids. Which buffer holds which value's coefficients (backward) or numbers (forward) is planned
 * once, when the net is made. */
#ifndef EP_BOUNDS_SNET_H
#define EP_BOUNDS_SNET_H

#include "bounds/lines.h"

typedef enum ep_snet_kind { EP_SNET_AFFINE, EP_SNET_RELU, EP_SNET_LINES, EP_SNET_GENERAL } ep_snet_kind;

typedef struct ep_snet_node {
  ep_snet_kind kind;
  ep_vid out;
  uint32_t n_in;
  const ep_vid *in;
  bool *has_old;              /* [n_in] going backward, in[j]'s buffer already holds coefficients */
  bool is_moved;              /* backward: the output's buffer becomes the input's */
  bool is_moved_fwd;          /* forward: the input's buffer becomes the output's */
  const ep_linop *A;          /* AFFINE [n_in] */
  const float *bias;          /* AFFINE [n_out], NULL = 0 */
  uint32_t layer;             /* RELU */
  ep_lines_f32 lines;         /* LINES [n] */
  const ep_linear_pair *pair; /* GENERAL */
} ep_snet_node;

typedef struct ep_snet_layer {
  uint32_t node; /* of the graph */
  ep_vid z, y;
  uint32_t n, n_u;           /* neurons, unstable ones */
  uint32_t first;            /* the layer's place among all unstable neurons */
  const uint32_t *at;        /* [n_u] places of the unstable neurons; NULL = 0..n_u-1 and all others are active */
  const float *stable;       /* [n] slope of stable neurons, anything for unstable ones; NULL with `at` */
  const float *su, *tu, *sl; /* [n_u] upper line, first lower slope */
  bool is_cut;               /* going backward, nothing but y's coefficients is pending here */
} ep_snet_layer;

/* An unstable neuron. */
typedef struct ep_unstable {
  uint32_t layer, at;    /* snet layer, index among its unstable neurons */
  uint32_t node, neuron; /* ReLU node of the graph, neuron there */
  float lo, hi, bias;    /* certified bounds; bias of the pre-activation's affine node, 0 when there is none */
} ep_unstable;

typedef struct ep_snet {
  const ep_plan *plan;
  ep_vid from;
  uint32_t n_node, n_layer, n_u, n_x;
  ep_snet_node *node;
  ep_snet_layer *layer;         /* in graph order */
  ep_unstable *u;               /* [n_u] layer by layer */
  uint32_t *x_at;               /* [n_x] the graph's input each of ours is */
  float *x_lo, *x_hi;           /* [n_x] */
  uint32_t *val_n;              /* [n_val] elements */
  uint32_t *coef_buf, *num_buf; /* [n_val] buffer of a value's coefficients / numbers; UINT32_MAX = none */
  uint32_t n_coef_buf, n_num_buf;
  size_t *coef_size, *num_size; /* elements per row of each buffer */
  size_t max_n;                 /* largest buffer */
} ep_snet;

/* Reduces the part of the graph that `from` depends on, for batch-1 certified bounds and their lines. `from` itself
 * keeps all its elements. `bounds` may end below `from`. All memory from `s`; shares the graph's weights. */
ep_status ep_snet_init(ep_snet *net, const ep_plan *plan, const ep_trace_itv *bounds, const ep_relax_f64 *relax,
                       ep_vid from, ep_scratch *s);

/* Slope tables as the certified pass takes them, [n_node] of [rows x n]: unstable neurons from alpha[rows x n_u],
 * stable ones from `relax`. */
ep_status ep_snet_slopes(const ep_snet *net, const ep_relax_f64 *relax, size_t rows, const float *const *alpha,
                         ep_scratch *s, double ***out);

#endif
