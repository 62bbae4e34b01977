#include "models/op_util.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

ep_status ep_op_fail(const ep_op_build *b, const char *file, int line, ep_status code, const char *fmt, ...) {
  char text[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return ep_fail_at(b->ctx, file, line, code, "node '%s' (%s): %s", b->node_name, b->op_type, text);
}

ep_status ep_op_ints(const ep_op_build *b, uint32_t i, const char *attr, const int64_t **v, size_t *n) {
  const ep_attr *a = attr ? ep_attrs_find(&b->attrs, attr) : NULL;
  *v = NULL;
  *n = SIZE_MAX;
  if (ep_op_has(b, i)) {
    const ep_tensor *t = b->in[i].constant;
    if (!t) return OP_FAIL(b, EP_E_UNSUPPORTED, "input %u must be constant", i);
    if (!t->i64) return OP_FAIL(b, EP_E_SYNTAX, "input %u must hold integers", i);
    *v = t->i64;
    *n = t->n;
  } else if (a) {
    if (a->type == EP_ATTR_INT) {
      *v = &a->i;
      *n = 1;
      return EP_OK;
    }
    if (a->type != EP_ATTR_INTS) return OP_FAIL(b, EP_E_SYNTAX, "attribute '%s' must hold integers", attr);
    *v = a->ints;
    *n = a->n;
  }
  return EP_OK;
}

ep_status ep_op_axis(const ep_op_build *b, int64_t axis, uint32_t rank, uint32_t *out) {
  if (axis < -(int64_t)rank || axis >= (int64_t)rank)
    return OP_FAIL(b, EP_E_SHAPE, "axis %lld outside a tensor of rank %u", (long long)axis, rank);
  *out = (uint32_t)(axis < 0 ? axis + rank : axis);
  return EP_OK;
}

ep_status ep_op_floats(const ep_op_build *b, uint32_t i, size_t n, const double **v) {
  *v = NULL;
  if (!ep_op_has(b, i)) return EP_OK;
  const ep_tensor *t = b->in[i].constant;
  if (!t) return OP_FAIL(b, EP_E_UNSUPPORTED, "input %u must be constant", i);
  if (!t->f64) return OP_FAIL(b, EP_E_SYNTAX, "input %u must hold floating-point numbers", i);
  if (n != SIZE_MAX && t->n != n) return OP_FAIL(b, EP_E_SHAPE, "input %u has %zu elements, expected %zu", i, t->n, n);
  *v = t->f64;
  return EP_OK;
}

ep_status ep_op_affine(ep_op_build *b, uint32_t n_terms, const ep_linop *A, const double *bias,
                       const double *bias_err) {
  size_t n = ep_shape_count(&b->out_shape);
  assert(n_terms > 0 && n < INT32_MAX && (bias || !bias_err));
  for (uint32_t k = 0; k < n_terms; k++) assert(A[k].n_out == n && A[k].rel_err >= 0);
  float *b32 = bias ? EP_ARENA(b->arena, float, n + 1) : NULL;
  if (bias && !b32) return EP_E_NOMEM;
  for (size_t i = 0; bias && i < n; i++) b32[i] = (float)bias[i];
  b->low.cls = EP_AFFINE;
  b->low.is.affine = (ep_affine){.n_terms = n_terms, .A = A, .bias = bias, .bias_err = bias_err, .bias32 = b32};
  return EP_OK;
}

ep_status ep_op_map(ep_op_build *b, const int32_t *src, double fill) {
  size_t n = ep_shape_count(&b->out_shape), n_in = ep_shape_count(&b->in[0].shape);
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  EP_TRY(ep_linop_map(b->arena, (uint32_t)n, (uint32_t)n_in, src, A));
  double *bias = NULL;
  if (fill != 0) {
    bias = EP_ARENA(b->arena, double, n + 1);
    if (!bias) return EP_E_NOMEM;
    for (size_t i = 0; i < n; i++) bias[i] = src[i] < 0 ? fill : 0;
  }
  return ep_op_affine(b, 1, A, bias, NULL);
}

ep_status ep_op_tensor(ep_op_build *b, ep_dtype dtype, const ep_shape *shape, ep_tensor *out, double **f, int64_t **i) {
  size_t n = ep_shape_count(shape);
  double *df = NULL;
  int64_t *di = NULL;
  *out = (ep_tensor){.dtype = dtype, .shape = *shape, .n = n};
  if (ep_dtype_is_float(dtype))
    out->f64 = df = EP_ARENA(b->arena, double, n + 1);
  else
    out->i64 = di = EP_ARENA(b->arena, int64_t, n + 1);
  if (!df && !di) return EP_E_NOMEM;
  *f = df;
  *i = di;
  return EP_OK;
}

ep_status ep_op_map_fold(ep_op_build *b, const int32_t *src, double fill, ep_tensor *out) {
  const ep_tensor *t = b->in[0].constant;
  double *f;
  int64_t *v;
  EP_TRY(ep_op_tensor(b, t->dtype, &b->out_shape, out, &f, &v));
  for (size_t i = 0; i < out->n; i++) {
    if (f)
      f[i] = src[i] < 0 ? fill : t->f64[src[i]];
    else
      v[i] = src[i] < 0 ? (int64_t)fill : t->i64[src[i]];
  }
  return EP_OK;
}

ep_status ep_op_univar(ep_op_build *b, const ep_univar *f) {
  if (!ep_dtype_is_float(b->in[0].dtype)) return OP_FAIL(b, EP_E_UNSUPPORTED, "integer input");
  b->out_shape = b->in[0].shape;
  b->out_dtype = b->in[0].dtype;
  assert(f->n_piece >= 1 && f->n_piece <= EP_MAX_PIECES && f->f && f->f32 && f->df && f->enclose && f->enclose_df);
  b->low.cls = EP_UNIVAR;
  b->low.is.univar = *f;
  return EP_OK;
}
