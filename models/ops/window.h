/* Sliding windows shared by convolutions and pools: attributes to geometry. */
#ifndef EP_MODELS_OPS_WINDOW_H
#define EP_MODELS_OPS_WINDOW_H

#include "models/op_util.h"

/* Two spatial axes (a 1-D window is H x 1). */
typedef struct ep_window {
  uint32_t n_axis;
  int64_t in[2], out[2], kernel[2], stride[2], dilation[2], pad_lo[2], pad_hi[2];
} ep_window;

/* What a MaxPool node keeps as its param: output i is the largest of x[col[ptr[i]..ptr[i+1])], never an empty list. */
typedef struct ep_max_windows {
  size_t n;
  const uint32_t *ptr, *col;
} ep_max_windows;

/* Reads kernel_shape, strides, dilations, pads, auto_pad and ceil_mode for input 0 of shape [1, C, spatial...].
 * `kernel` (from the weights) replaces kernel_shape when not NULL. */
ep_status ep_window_read(const ep_op_build *b, const int64_t *kernel, bool may_ceil, ep_window *w);
/* Puts batch, channels and w's output size together. */
ep_shape ep_window_shape(const ep_op_build *b, const ep_window *w, int64_t channels);

#endif
