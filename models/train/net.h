/* A network under training: layers in topological order with all parameters in one vector, float32. Made from an
 * architecture's name or from a finished graph (so from any ONNX file whose operators have a rule here), and turned
 * back into a graph, which models/onnx.h writes: what the graph computes is what was trained, with BatchNormalization's
 * population statistics folded into weights and biases. */
#ifndef EP_MODELS_TRAIN_NET_H
#define EP_MODELS_TRAIN_NET_H

#include "kernels/pool.h"
#include "kernels/rng.h"
#include "models/graph.h"
#include "models/train/pooling.h"

typedef enum ep_layer_kind {
  EP_LAYER_DENSE,      /* w[n_out][n_in], b[n_out] */
  EP_LAYER_CONV,       /* w[c_out][c_in/groups][kh][kw], b[c_out] */
  EP_LAYER_BATCH_NORM, /* w = scale, b = shift, per channel; stat = running mean and variance (is_fixed: given ones) */
  EP_LAYER_RELU,       /* x > 0 ? x : slope x; slope in [0, 1) */
  EP_LAYER_SIGN,       /* -1, 0, 1; its gradient is taken for that of x clipped to [-1, 1] (straight-through) */
  EP_LAYER_AVG_POOL,   /* windows and strides of the geometry, no padding, c_in = c_out */
  EP_LAYER_MAX_POOL,   /* largest of lists of elements */
  EP_LAYER_ADD         /* in[0] + in[1] */
} ep_layer_kind;

/* Layer i makes value i + 1; value 0 is the input. Fields that a kind does not use are 0. */
typedef struct ep_layer {
  ep_layer_kind kind;
  uint32_t in[2], n_in, n_out;
  ep_conv_geom conv; /* CONV, AVG_POOL */
  uint32_t n_ch;     /* BATCH_NORM: channels, n_out divisible by it */
  float slope;
  bool is_fixed;         /* BATCH_NORM: its statistics are given, not the data's */
  bool is_binary;        /* DENSE, CONV: all weights of one output are +-c for one c (below) */
  size_t list;           /* MAX_POOL: in ep_net.list, n_out + 1 bounds, then the elements that they cut */
  size_t w, n_w, b, n_b; /* in param */
  size_t stat;           /* BATCH_NORM: in stat, n_ch means then n_ch variances */
} ep_layer;

typedef struct ep_net {
  ep_ctx *ctx;
  uint32_t n_layer, cap_layer;
  ep_layer *layer;
  uint32_t c, h, w; /* of the input image, h = w = 1 when it is a vector */
  size_t n_param, n_stat, n_list;
  float *param, *stat;
  uint32_t *list;
} ep_net;

/* Binarised networks (Hubara et al. 2016). A binary layer's weights are +-c, and each has a real number behind it, in a
 * vector latent[n_param] of the trainer's: that is what optimisers move, by the gradient of the weight itself, and its
 * sign is the weight's. Everything else reads param only. */
bool ep_net_is_binary(const ep_net *net);
/* Numbers behind the weights as they are: small, of the weights' signs; other parameters as they are. */
void ep_net_make_latent(const ep_net *net, ep_rng *rng, float *latent);
/* Cuts numbers of binary layers to [-1, 1] and takes the weights' signs from them; other parameters as they are. */
void ep_net_take_latent(ep_net *net, float *latent);

#define EP_BATCH_NORM_EPSILON 1e-5f

/* How weights start. */
typedef enum ep_init_kind {
  EP_INIT_KAIMING, /* He et al. 2015: normal, deviation sqrt(2 / fan_in), biases 0 */
  EP_INIT_IBP      /* Shi et al. 2021: normal, deviation sqrt(2 pi) / fan_in: boxes keep their width at the start */
} ep_init_kind;

/* Architectures by name: archs.def. */
typedef struct ep_arch {
  const char *name, *help;
  ep_status (*make)(ep_net *net, uint32_t n_class);
} ep_arch;
extern const ep_arch ep_archs[];
extern const size_t ep_n_archs;
const ep_arch *ep_arch_find(const char *name);

ep_status ep_net_create(ep_ctx *ctx, const ep_arch *arch, uint32_t c, uint32_t h, uint32_t w, uint32_t n_class,
                        ep_net **out);
/* Layers and weights of a graph. EP_E_UNSUPPORTED names the node that has no training rule. Sizes c, h, w only say how
 * the input is an image (augmentation). */
ep_status ep_net_from_graph(const ep_graph *g, ep_net **out);
void ep_net_destroy(ep_net *net);
void ep_net_init(ep_net *net, ep_init_kind kind, ep_rng *rng);
/* The network as a graph of Conv, Gemm, Relu/LeakyRelu, Sign, MaxPool and Add. Weights are float32, so writing it as
 * ONNX and reading it back gives the same bits. */
ep_status ep_net_export(const ep_net *net, ep_graph **out);

/* The lists of a MAX_POOL layer. */
ep_pooling_lists ep_net_lists(const ep_net *net, const ep_layer *l);
/* Elements of value v (0 = input). */
uint32_t ep_net_size(const ep_net *net, uint32_t v);
uint32_t ep_net_n_class(const ep_net *net);

/* ---- for architectures: append a layer that reads the last one ---- */
typedef struct ep_net_image {
  uint32_t value, c, h, w;
} ep_net_image;
ep_net_image ep_net_input(const ep_net *net);
ep_status ep_net_conv(ep_net *net, ep_net_image *at, uint32_t c_out, uint32_t k, uint32_t stride, uint32_t pad);
/* Channels in `groups` blocks that do not see each other; both numbers of channels are multiples of it. */
ep_status ep_net_conv_groups(ep_net *net, ep_net_image *at, uint32_t c_out, uint32_t k, uint32_t stride, uint32_t pad,
                             uint32_t groups);
ep_status ep_net_dense(ep_net *net, ep_net_image *at, uint32_t n_out);
/* Makes the last layer, dense or a convolution, binary with weights +-c. */
void ep_net_binarise(ep_net *net, float c);
ep_status ep_net_relu(ep_net *net, ep_net_image *at);
ep_status ep_net_sign(ep_net *net, ep_net_image *at);
ep_status ep_net_batch_norm(ep_net *net, ep_net_image *at);
/* One with statistics that stay; the only one that may stand at the input. */
ep_status ep_net_fixed_norm(ep_net *net, ep_net_image *at, float mean, float deviation);
ep_status ep_net_avg_pool(ep_net *net, ep_net_image *at, uint32_t k);
ep_status ep_net_max_pool(ep_net *net, ep_net_image *at, uint32_t k, uint32_t stride);
ep_status ep_net_add(ep_net *net, ep_net_image *at, const ep_net_image *other);

#endif
