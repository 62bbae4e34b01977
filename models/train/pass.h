/* Forward and backward passes over one group of EP_LANES samples: points, and boxes as midpoint and radius (interval
 * propagation of Gowal et al. 2018: W mid + b, |W| rad), both differentiated in reverse mode. Lane layout of
 * kernels/lanes.h. Float32 without any rounding care: for training, never for a verdict. @sound estimate */
#ifndef EP_MODELS_TRAIN_PASS_H
#define EP_MODELS_TRAIN_PASS_H

#include "kernels/lanes.h"
#include "models/train/net.h"

typedef enum ep_stream { EP_POINT, EP_MID, EP_RAD, EP_N_STREAM } ep_stream;
enum { EP_HAS_POINT = 1, EP_HAS_BOX = 2 };

/* The weights in the orders that kernels read, made anew after each step; shared by all passes. */
typedef struct ep_layer_weights {
  float *fwd[2], *bwd[2]; /* [0] w, [1] |w|; bwd[0] of a dense layer is the parameter vector itself */
  uint32_t *off;          /* CONV: offsets of a window */
} ep_layer_weights;
typedef struct ep_weights {
  const ep_net *net;
  ep_arena arena;
  ep_layer_weights *layer;
  uint32_t *lane;    /* 0, L, 2L, .. as far as any layer needs */
  float *mean, *var; /* [n_stat / 2] statistics that BatchNormalization uses now */
  size_t pad_max, list_max;
} ep_weights;
ep_status ep_weights_create(const ep_net *net, ep_weights **out);
void ep_weights_destroy(ep_weights *w);
/* Copies the parameters into all orders. */
ep_status ep_weights_update(ep_weights *w, ep_pool *pool);
/* BatchNormalization from the running statistics (evaluation, attacks). */
void ep_weights_use_running(ep_weights *w);

/* Values, gradients and parameter gradients of one group. */
typedef struct ep_pass {
  const ep_weights *w;
  ep_arena arena;
  float **val[EP_N_STREAM], **grad[EP_N_STREAM]; /* [n_layer + 1] */
  bool *is_set[EP_N_STREAM];                     /* gradient of the value holds something already */
  float *gparam;                                 /* [n_param]; dense weights only where ep_pass_backward says so */
  float *pad, *gw;
  uint32_t *list;
  bool is_frozen; /* statistics of BatchNormalization are constants for the point stream too */
  double *sum;    /* [2 * n_stat]: BatchNormalization's sums over this group */
} ep_pass;
ep_status ep_pass_create(const ep_weights *w, ep_pass **out);
void ep_pass_destroy(ep_pass *p);

/* Layers from..to-1, streams as in `streams`. The input values are the caller's to fill. */
void ep_pass_forward(ep_pass *p, int streams, uint32_t from, uint32_t to);
/* Forgets all gradients; with is_training also the parameters'. */
void ep_pass_clear(ep_pass *p, bool is_training);
/* What a backward pass is for. */
typedef enum ep_backward {
  EP_FOR_PARAMS, /* parameter gradients (not of dense weights: those come from whole batches) and inner values */
  EP_FOR_INPUT   /* the input's gradient only; BatchNormalization as a constant map */
} ep_backward;
/* Layers to-1 down to from, starting from grad[.][to], which the caller filled and marked in is_set. A stream whose
 * gradient is not set is left out. */
void ep_pass_backward(ep_pass *p, ep_backward what, uint32_t from, uint32_t to);
/* BatchNormalization layer i: per-channel sums over the group, of x and x^2 (forward) or of g and g*xhat (backward,
 * points only), to sum[2*stat..]. */
void ep_pass_sums(ep_pass *p, uint32_t i, bool is_backward);
/* grad[s][v], marked as set; zero-filled when it was not set before. */
float *ep_pass_grad(ep_pass *p, ep_stream s, uint32_t v);

#endif
