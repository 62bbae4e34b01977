/* 2-D convolution and its transpose by columns and matrix products (im2col, col2im); 1-D is H x 1. Groups, strides,
 * dilation and one-sided padding are supported; several samples share one product where images are small.
 *
 * Images are x[c_in][h_in][w_in], feature maps y[c_out][h_out][w_out], kernels w[c_out][c_in/groups][kh][kw].
 * Rounding: forward sums c_in/groups*kh*kw products; backward sums c_out/groups of them in a product and then at most
 * kh*kw such sums, and c + t <= c*t + 1, so kernels/linop.h's gamma_{terms+2} covers both, accumulating or not. */
#ifndef EP_KERNELS_CONV_H
#define EP_KERNELS_CONV_H

#include "kernels/scratch.h"

/* Geometry of y = conv(x). Bottom and right padding follow from h_out, w_out: whatever a window reads outside the image
 * is 0. All fields >= 1 except the paddings; c_in and c_out are multiples of groups. */
typedef struct ep_conv_geom {
  uint32_t c_in, h_in, w_in, c_out, h_out, w_out, kh, kw, stride_h, stride_w, dil_h, dil_w, pad_top, pad_left, groups;
} ep_conv_geom;

/* y[rows] = conv(x[rows]), or y += with `accumulate`; rows >= 1. Fails only when scratch runs out. @sound estimate */
ep_status ep_conv_forward_f32(const ep_conv_geom *g, const float *w, size_t rows, const float *x, float *y,
                              bool accumulate, ep_scratch *s);
ep_status ep_conv_forward_f64(const ep_conv_geom *g, const double *w, size_t rows, const double *x, double *y,
                              bool accumulate, ep_scratch *s);
/* x[rows] = conv^T(y[rows]), the transpose as a linear map. @sound estimate */
ep_status ep_conv_backward_f32(const ep_conv_geom *g, const float *w, size_t rows, const float *y, float *x,
                               bool accumulate, ep_scratch *s);
ep_status ep_conv_backward_f64(const ep_conv_geom *g, const double *w, size_t rows, const double *y, double *x,
                               bool accumulate, ep_scratch *s);
/* Adds row `i` (output element i, flat) of conv, or of its transpose, to out[inputs]. */
void ep_conv_row_f32(const ep_conv_geom *g, bool transpose, const float *w, uint32_t i, float *out);
void ep_conv_row_f64(const ep_conv_geom *g, bool transpose, const double *w, uint32_t i, double *out);
/* Lists the same row: input indices (none twice) and weights. Returns how many; room for linop's terms_fwd. */
size_t ep_conv_entries_f32(const ep_conv_geom *g, bool transpose, const float *w, uint32_t i, uint32_t *at,
                           float *value);
size_t ep_conv_entries_f64(const ep_conv_geom *g, bool transpose, const double *w, uint32_t i, uint32_t *at,
                           double *value);

#endif
