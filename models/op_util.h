/* What operator files share: messages, constant inputs, and constructors of lowered forms. */
#ifndef EP_MODELS_OP_UTIL_H
#define EP_MODELS_OP_UTIL_H

#include "models/op.h"

#define OP_FAIL(b, code, ...) ep_fail_code((code), ep_op_fail((b), __FILE__, __LINE__, (code), __VA_ARGS__))
/* "node 'x' (Conv): ..." */
ep_status ep_op_fail(const ep_op_build *b, const char *file, int line, ep_status code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Whether relative error bounds hold for `result`, computed from the weight `w`: finite, and not gone subnormal unless
 * w was zero. */
static inline bool ep_op_is_normal(double result, double w) {
  return w == 0 ? result == 0 : fabs(result) >= 0x1p-1000 && fabs(result) < INFINITY;
}

static inline bool ep_op_has(const ep_op_build *b, uint32_t i) { return i < b->n_in && !b->in[i].is_absent; }

/* The int64 values of constant input i, else of attribute `attr` (NULL = none); *n = SIZE_MAX when both are absent.
 * Fails when input i is variable. */
ep_status ep_op_ints(const ep_op_build *b, uint32_t i, const char *attr, const int64_t **v, size_t *n);
/* Axis in 0..rank-1 from one that may be negative. */
ep_status ep_op_axis(const ep_op_build *b, int64_t axis, uint32_t rank, uint32_t *out);
/* Constant input i as float64 values of exactly n elements (n = SIZE_MAX: any). */
ep_status ep_op_floats(const ep_op_build *b, uint32_t i, size_t n, const double **v);

/* Lowers to an affine form: terms A[n_terms] for the variable inputs in order (arena memory), bias and its error may be
 * NULL. Fills bias32. */
ep_status ep_op_affine(ep_op_build *b, uint32_t n_terms, const ep_linop *A, const double *bias, const double *bias_err);
/* One variable input 0, moved by src[n_out] (-1 = `fill`); also works when that input is constant (fold). */
ep_status ep_op_map(ep_op_build *b, const int32_t *src, double fill);
/* Constant folding by the same map: out takes b->out_shape and the input's dtype. */
ep_status ep_op_map_fold(ep_op_build *b, const int32_t *src, double fill, ep_tensor *out);
/* The same univariate function on every element. */
ep_status ep_op_univar(ep_op_build *b, const ep_univar *f);
/* A tensor with room for its shape's elements, from the build's arena. */
ep_status ep_op_tensor(ep_op_build *b, ep_dtype dtype, const ep_shape *shape, ep_tensor *out, double **f, int64_t **i);

#endif
