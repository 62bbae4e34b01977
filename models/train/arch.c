/* Architectures by name. Gowal et al. 2018 (DM-small), Shi et al. 2021 and CTBench (CNN7 with BatchNormalization);
 * binarised: Narodytska et al. 2018 (bnn-mlp), Jia & Rinard 2020 (bnn-small). */
#include <math.h>
#include <string.h>

#include "models/train/net.h"

static ep_status dense_relu(ep_net *net, ep_net_image *at, uint32_t n) {
  EP_TRY(ep_net_dense(net, at, n));
  return ep_net_relu(net, at);
}

static ep_status conv_relu(ep_net *net, ep_net_image *at, uint32_t c, uint32_t k, uint32_t stride, uint32_t pad) {
  EP_TRY(ep_net_conv(net, at, c, k, stride, pad));
  return ep_net_relu(net, at);
}

static ep_status conv_bn_relu(ep_net *net, ep_net_image *at, uint32_t c, uint32_t k, uint32_t stride, uint32_t pad) {
  EP_TRY(ep_net_conv(net, at, c, k, stride, pad));
  EP_TRY(ep_net_batch_norm(net, at));
  return ep_net_relu(net, at);
}

static ep_status dense_bn_relu(ep_net *net, ep_net_image *at, uint32_t n) {
  EP_TRY(ep_net_dense(net, at, n));
  EP_TRY(ep_net_batch_norm(net, at));
  return ep_net_relu(net, at);
}

static ep_status fc(ep_net *net, uint32_t n_hidden, const uint32_t *hidden, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  for (uint32_t i = 0; i < n_hidden; i++) EP_TRY(dense_relu(net, &at, hidden[i]));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_fc_2x256(ep_net *net, uint32_t n_class) { return fc(net, 2, (uint32_t[]){256, 256}, n_class); }
static ep_status arch_fc_4x256(ep_net *net, uint32_t n_class) {
  return fc(net, 4, (uint32_t[]){256, 256, 256, 256}, n_class);
}
static ep_status arch_fc_500_150(ep_net *net, uint32_t n_class) { return fc(net, 2, (uint32_t[]){500, 150}, n_class); }
static ep_status arch_fc_tiny(ep_net *net, uint32_t n_class) { return fc(net, 2, (uint32_t[]){32, 32}, n_class); }

static ep_status arch_cnn_tiny(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_relu(net, &at, 8, 4, 2, 0));
  EP_TRY(conv_relu(net, &at, 16, 4, 2, 0));
  EP_TRY(dense_relu(net, &at, 64));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_cnn_small(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_relu(net, &at, 16, 4, 2, 0));
  EP_TRY(conv_relu(net, &at, 32, 4, 1, 0));
  EP_TRY(dense_relu(net, &at, 100));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_cnn3(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_bn_relu(net, &at, 64, 3, 1, 1));
  EP_TRY(conv_bn_relu(net, &at, 128, 3, 2, 1));
  EP_TRY(dense_bn_relu(net, &at, 512));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_cnn5(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_bn_relu(net, &at, 64, 3, 1, 1));
  EP_TRY(conv_bn_relu(net, &at, 64, 3, 1, 1));
  EP_TRY(conv_bn_relu(net, &at, 128, 3, 2, 1));
  EP_TRY(dense_bn_relu(net, &at, 512));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_cnn7(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_bn_relu(net, &at, 64, 3, 1, 1));
  EP_TRY(conv_bn_relu(net, &at, 64, 3, 1, 1));
  EP_TRY(conv_bn_relu(net, &at, 128, 3, 2, 1));
  EP_TRY(conv_bn_relu(net, &at, 128, 3, 1, 1));
  EP_TRY(conv_bn_relu(net, &at, 128, 3, 1, 1));
  EP_TRY(dense_bn_relu(net, &at, 512));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_lenet(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_relu(net, &at, 20, 5, 1, 0));
  EP_TRY(ep_net_avg_pool(net, &at, 2));
  EP_TRY(conv_relu(net, &at, 50, 5, 1, 0));
  EP_TRY(ep_net_avg_pool(net, &at, 2));
  EP_TRY(dense_relu(net, &at, 500));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_resnet_tiny(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_relu(net, &at, 16, 4, 2, 1));
  for (int block = 0; block < 2; block++) {
    ep_net_image skip = at;
    EP_TRY(conv_relu(net, &at, 16, 3, 1, 1));
    EP_TRY(ep_net_conv(net, &at, 16, 3, 1, 1));
    EP_TRY(ep_net_add(net, &at, &skip));
    EP_TRY(ep_net_relu(net, &at));
  }
  EP_TRY(ep_net_avg_pool(net, &at, 2));
  EP_TRY(dense_relu(net, &at, 64));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_lenet_max(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_relu(net, &at, 20, 5, 1, 0));
  EP_TRY(ep_net_max_pool(net, &at, 2, 2));
  EP_TRY(conv_relu(net, &at, 50, 5, 1, 0));
  EP_TRY(ep_net_max_pool(net, &at, 2, 2));
  EP_TRY(dense_relu(net, &at, 500));
  return ep_net_dense(net, &at, n_class);
}

/* Depthwise-separable blocks (Howard et al. 2017): each channel on its own, then all of them at each place. */
static ep_status arch_mobile_tiny(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(conv_relu(net, &at, 16, 4, 2, 1));
  for (uint32_t block = 0; block < 2; block++) {
    EP_TRY(ep_net_conv_groups(net, &at, at.c, 3, 1 + block, 1, at.c));
    EP_TRY(ep_net_relu(net, &at));
    EP_TRY(conv_relu(net, &at, 32, 1, 1, 0));
  }
  EP_TRY(dense_relu(net, &at, 64));
  return ep_net_dense(net, &at, n_class);
}

/* The input's sign behind one trained threshold per channel, which starts in the middle of the range of pixels. */
static ep_status binary_input(ep_net *net, ep_net_image *at) {
  EP_TRY(ep_net_fixed_norm(net, at, 0.5f, 0.5f));
  return ep_net_sign(net, at);
}

static ep_status norm_sign(ep_net *net, ep_net_image *at) {
  ep_net_binarise(net, 1);
  EP_TRY(ep_net_batch_norm(net, at));
  return ep_net_sign(net, at);
}

/* Scores are sums of +-c; c brings their deviation near 1 at the start, as a power of two. */
static ep_status binary_output(ep_net *net, ep_net_image *at, uint32_t n_class) {
  float n_in = (float)at->c * (float)at->h * (float)at->w;
  EP_TRY(ep_net_dense(net, at, n_class));
  ep_net_binarise(net, exp2f(-roundf(0.5f * log2f(n_in))));
  return EP_OK;
}

static ep_status bnn_dense(ep_net *net, uint32_t n_hidden, const uint32_t *hidden, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(binary_input(net, &at));
  for (uint32_t i = 0; i < n_hidden; i++) {
    EP_TRY(ep_net_dense(net, &at, hidden[i]));
    EP_TRY(norm_sign(net, &at));
  }
  return binary_output(net, &at, n_class);
}

static ep_status arch_bnn_tiny(ep_net *net, uint32_t n_class) {
  return bnn_dense(net, 2, (uint32_t[]){64, 32}, n_class);
}
static ep_status arch_bnn_mlp(ep_net *net, uint32_t n_class) {
  return bnn_dense(net, 4, (uint32_t[]){200, 100, 100, 100}, n_class);
}

static ep_status arch_bnn_small(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(binary_input(net, &at));
  EP_TRY(ep_net_conv(net, &at, 16, 4, 2, 0));
  EP_TRY(norm_sign(net, &at));
  EP_TRY(ep_net_conv(net, &at, 32, 4, 2, 0));
  EP_TRY(norm_sign(net, &at));
  EP_TRY(ep_net_dense(net, &at, 100));
  EP_TRY(norm_sign(net, &at));
  return binary_output(net, &at, n_class);
}

const ep_arch ep_archs[] = {
#define EP_ARCH(id, name, help) {name, help, arch_##id},
#include "models/train/archs.def"
#undef EP_ARCH
};
const size_t ep_n_archs = sizeof ep_archs / sizeof *ep_archs;

const ep_arch *ep_arch_find(const char *name) {
  for (size_t i = 0; i < ep_n_archs; i++)
    if (!strcmp(ep_archs[i].name, name)) return &ep_archs[i];
  return NULL;
}
