/* Shapes, element types and constant tensors. */
#ifndef EP_MODELS_TENSOR_H
#define EP_MODELS_TENSOR_H

#include "kernels/arena.h"

#define EP_MAX_RANK 8u

typedef enum ep_dtype { EP_DT_F32, EP_DT_F64, EP_DT_I64, EP_DT_I32, EP_DT_BOOL } ep_dtype;

/* dim[i] >= 0; rank 0 is a scalar with one element. Row-major. */
typedef struct ep_shape {
  uint32_t rank;
  int64_t dim[EP_MAX_RANK];
} ep_shape;

/* A constant. Integer and boolean tensors hold their values in `i64`, floating ones in `f64` (exact for float32). */
typedef struct ep_tensor {
  ep_dtype dtype;
  ep_shape shape;
  size_t n;
  const double *f64;  /* EP_DT_F32, EP_DT_F64 */
  const int64_t *i64; /* EP_DT_I64, EP_DT_I32, EP_DT_BOOL */
} ep_tensor;

/* Number of elements; SIZE_MAX when it overflows or a dimension is negative. */
size_t ep_shape_count(const ep_shape *s);
bool ep_shape_equal(const ep_shape *a, const ep_shape *b);
/* Writes e.g. "[1,3,32,32]" into buf and returns buf. */
const char *ep_shape_text(const ep_shape *s, char *buf, size_t n);
/* NumPy broadcasting; false when the shapes do not fit. */
bool ep_shape_broadcast(const ep_shape *a, const ep_shape *b, ep_shape *out);
/* For each element of `out` in row-major order, the flat index of the element of `in` that broadcasting reads. */
void ep_shape_broadcast_map(const ep_shape *in, const ep_shape *out, int32_t *map);
bool ep_dtype_is_float(ep_dtype t);
const char *ep_dtype_text(ep_dtype t);

#endif
