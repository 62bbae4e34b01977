#include "kernels/conv.h"

#include <assert.h>
#include <string.h>

#include "kernels/mat.h"

/* 1x1, stride 1, no padding: the image itself is the column matrix. */
static bool is_pointwise(const ep_conv_geom *g) {
  return g->kh == 1 && g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 && g->pad_top == 0 && g->pad_left == 0 &&
         g->h_in == g->h_out && g->w_in == g->w_out;
}

/* Samples per product: small maps are put side by side until the product is some 256 columns wide, which is where a
 * product's fixed cost no longer shows; beyond that columns would only leave the cache. */
static size_t samples_at_once(const ep_conv_geom *g, size_t rows) {
  size_t hw = (size_t)g->h_out * g->w_out, n = hw < 256 ? (256 + hw - 1) / hw : 1;
  return n < rows ? n : rows;
}

typedef struct range {
  uint32_t lo, hi; /* lo <= hi */
} range;

/* Output positions o in [lo,hi) whose tap reads inside the image: 0 <= o*stride + tap - pad < n_in. */
static range inside(uint32_t n_in, uint32_t n_out, uint32_t stride, uint32_t tap, uint32_t pad) {
  int64_t first = (int64_t)pad - tap, last = (int64_t)n_in - 1 + pad - tap;
  int64_t lo = first <= 0 ? 0 : (first + stride - 1) / stride, hi = last < 0 ? 0 : last / stride + 1;
  if (hi > n_out) hi = n_out;
  if (lo > hi) lo = hi;
  assert(lo >= 0 && lo <= hi);
  return (range){(uint32_t)lo, (uint32_t)hi};
}

/* Position in the image that output 0 reads through a tap, as an offset that may be negative. */
static ptrdiff_t origin(uint32_t tap, uint32_t pad) { return (ptrdiff_t)tap - (ptrdiff_t)pad; }

#define REAL float
#define FN(name) name##_f32
#define GEMM ep_sgemm
#include "kernels/conv_impl.h"
#undef REAL
#undef FN
#undef GEMM

#define REAL double
#define FN(name) name##_f64
#define GEMM ep_dgemm
#include "kernels/conv_impl.h"
