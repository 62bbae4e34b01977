/* Matrix products and convolutions over groups of EP_LANES samples, for training. A value of n elements is
 * v[n][EP_LANES]: element by element, the samples side by side, so that one SIMD register holds one element of several
 * samples and a weight is a scalar that is broadcast. Neither columns nor packing are needed, every stride and padding
 * runs at the speed of a matrix product, and a product's order of sums depends on nothing but its shape (not on
 * threads). Float32, fused multiply-adds wherever the CPU has them. Nothing here is used in a proof. @sound estimate */
#ifndef EP_KERNELS_LANES_H
#define EP_KERNELS_LANES_H

#include "kernels/conv.h"

#define EP_LANES 32u

/* dst[r*dst_step + l] (+)= init[r] + sum_k w[row[k]*w_step + r] * src[off[k] + l] for r < n_row, l < EP_LANES.
 * row NULL = 0,1,2,..; init NULL = 0. */
typedef struct ep_lanes_sum {
  size_t n_row, n_term;
  const uint32_t *off, *row;
  const float *src, *w, *init;
  float *dst;
  size_t w_step, dst_step;
  bool accumulate;
} ep_lanes_sum;
void ep_lanes_run(const ep_lanes_sum *sum);

/* Height and width of an image with the zeros that a convolution reads around it. */
uint32_t ep_lanes_padded_h(const ep_conv_geom *g);
uint32_t ep_lanes_padded_w(const ep_conv_geom *g);
/* Copies x[c_in][h_in][w_in][L] into out[c_in][padded_h][padded_w][L] with zeros around. */
void ep_lanes_pad(const ep_conv_geom *g, const float *x, float *out);
/* Offsets of a window's c_in/groups*kh*kw elements in the padded image of one group. */
void ep_lanes_offsets(const ep_conv_geom *g, uint32_t *off);
/* Weights w[c_out][c_in/groups][kh][kw] (or their absolute values) in the orders that the two directions read. */
void ep_lanes_pack_forward(const ep_conv_geom *g, bool is_abs, const float *w, float *out);
void ep_lanes_pack_backward(const ep_conv_geom *g, bool is_abs, const float *w, float *out);
/* y[c_out][h_out][w_out][L] = conv(padded x) + bias (per channel, or NULL); off from ep_lanes_offsets. */
void ep_lanes_conv_forward(const ep_conv_geom *g, const float *packed, const float *bias, const uint32_t *off,
                           const float *x, float *y);
/* x[c_in][h_in][w_in][L] (+)= conv^T(y). `list` has room for 2*c_out*kh*kw numbers. */
void ep_lanes_conv_backward(const ep_conv_geom *g, const float *packed, const float *y, float *x, bool accumulate,
                            uint32_t *list);
/* gw[c_out][c_in/groups][kh][kw] += sum over samples of gy x^T: the gradient of the weights, from the padded x. */
void ep_lanes_conv_weights(const ep_conv_geom *g, const float *x, const float *gy, float *gw);

#endif
