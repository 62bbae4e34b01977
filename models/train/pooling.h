/* Pooling over one group of samples in lane layout (kernels/lanes.h): averages over windows of an image, maxima over
 * any lists of elements; points, and boxes as midpoint and radius (the largest of intervals is the interval between
 * the largest ends). @sound estimate */
#ifndef EP_MODELS_TRAIN_POOLING_H
#define EP_MODELS_TRAIN_POOLING_H

#include "kernels/lanes.h"

/* y = average of x over the geometry's windows; and its transpose, which adds to gx. */
void ep_pooling_average(const ep_conv_geom *g, const float *x, float *y);
void ep_pooling_average_back(const ep_conv_geom *g, const float *gy, float *gx);

/* Output i is the largest of the elements col[ptr[i]..ptr[i+1]), never an empty list. */
typedef struct ep_pooling_lists {
  uint32_t n;
  const uint32_t *ptr, *col;
} ep_pooling_lists;
void ep_pooling_max(const ep_pooling_lists *w, const float *x, float *y);
void ep_pooling_max_box(const ep_pooling_lists *w, const float *mid, const float *rad, float *y_mid, float *y_rad);
/* Adds the gradients to gx (to g_mid and g_rad): all of it to the first element that is largest. */
void ep_pooling_max_back(const ep_pooling_lists *w, const float *x, const float *gy, float *gx);
void ep_pooling_max_box_back(const ep_pooling_lists *w, const float *mid, const float *rad, const float *gy_mid,
                             const float *gy_rad, float *g_mid, float *g_rad);

/* Linear bounds of output i in one lane, elements as positions in the lane-major arrays: it is at least the element
 * `low`, and at most that element again (is_sure: none of the others can exceed it) or the upper end of `high`. */
typedef struct ep_pooling_bound {
  size_t low, high;
  bool is_sure;
} ep_pooling_bound;
ep_pooling_bound ep_pooling_max_bound(const ep_pooling_lists *w, uint32_t i, size_t lane, const float *mid,
                                      const float *rad);

#endif
