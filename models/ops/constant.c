/* Operators that make or convert constants: Shape (a constant, as shapes are static), Cast, ConstantOfShape. */
#include <math.h>

#include "models/op_util.h"

static ep_status fold_shape(ep_op_build *b, ep_tensor *out) {
  const ep_shape *s = &b->in[0].shape;
  int64_t lo = ep_attrs_int(&b->attrs, "start", 0), hi = ep_attrs_int(&b->attrs, "end", s->rank);
  if (lo < 0) lo += s->rank;
  if (hi < 0) hi += s->rank;
  lo = lo < 0 ? 0 : lo > s->rank ? s->rank : lo;
  hi = hi < lo ? lo : hi > s->rank ? s->rank : hi;
  ep_shape shape = {.rank = 1, .dim = {hi - lo}};
  double *f;
  int64_t *v;
  EP_TRY(ep_op_tensor(b, EP_DT_I64, &shape, out, &f, &v));
  for (int64_t i = lo; i < hi; i++) v[i - lo] = s->dim[i];
  return EP_OK;
}

/* ONNX TensorProto.DataType -> ours. */
static bool dtype_of(int64_t onnx, ep_dtype *out) {
  switch (onnx) {
  case 1:
    *out = EP_DT_F32;
    return true;
  case 11:
    *out = EP_DT_F64;
    return true;
  case 6:
    *out = EP_DT_I32;
    return true;
  case 7:
    *out = EP_DT_I64;
    return true;
  case 9:
    *out = EP_DT_BOOL;
    return true;
  default:
    return false;
  }
}

static ep_status cast_type(ep_op_build *b, ep_dtype *to) {
  if (!dtype_of(ep_attrs_int(&b->attrs, "to", 0), to)) return OP_FAIL(b, EP_E_UNSUPPORTED, "target type");
  b->out_shape = b->in[0].shape;
  b->out_dtype = *to;
  return EP_OK;
}

static ep_status build_cast(ep_op_build *b) {
  ep_dtype to;
  EP_TRY(cast_type(b, &to));
  /* A change of precision changes the function: only the identity is a variable's cast. */
  if (to != b->in[0].dtype)
    return OP_FAIL(b, EP_E_UNSUPPORTED, "cast of a variable from %s to %s", ep_dtype_text(b->in[0].dtype),
                   ep_dtype_text(to));
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  EP_TRY(ep_linop_id(b->arena, (uint32_t)ep_shape_count(&b->out_shape), A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

static ep_status fold_cast(ep_op_build *b, ep_tensor *out) {
  ep_dtype to;
  double *f;
  int64_t *v;
  const ep_tensor *t = b->in[0].constant;
  EP_TRY(cast_type(b, &to));
  EP_TRY(ep_op_tensor(b, to, &b->out_shape, out, &f, &v));
  for (size_t i = 0; i < t->n; i++) {
    double x = t->f64 ? t->f64[i] : (double)t->i64[i];
    if (f)
      f[i] = to == EP_DT_F32 ? (double)(float)x : x;
    else if (to == EP_DT_BOOL)
      v[i] = x != 0;
    else if (t->i64)
      v[i] = to == EP_DT_I32 ? (int32_t)t->i64[i] : t->i64[i];
    else if (fabs(x) < 0x1p62)
      v[i] = (int64_t)x;
    else
      return OP_FAIL(b, EP_E_UNSUPPORTED, "value out of range");
  }
  return EP_OK;
}

static ep_status fold_fill(ep_op_build *b, ep_tensor *out) {
  const ep_attr *a = ep_attrs_find(&b->attrs, "value");
  const int64_t *dim;
  size_t n;
  EP_TRY(ep_op_ints(b, 0, NULL, &dim, &n));
  if (n == SIZE_MAX || n > EP_MAX_RANK) return OP_FAIL(b, EP_E_SYNTAX, "bad shape");
  ep_shape shape = {.rank = (uint32_t)n};
  for (size_t i = 0; i < n; i++) shape.dim[i] = dim[i];
  if (ep_shape_count(&shape) >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "too large");
  if (a && (a->type != EP_ATTR_TENSOR || a->t->n != 1)) return OP_FAIL(b, EP_E_SYNTAX, "value must be one number");
  double *f;
  int64_t *v;
  EP_TRY(ep_op_tensor(b, a ? a->t->dtype : EP_DT_F32, &shape, out, &f, &v));
  for (size_t i = 0; a && i < out->n; i++) {
    if (f)
      f[i] = a->t->f64[0];
    else
      v[i] = a->t->i64[0];
  }
  return EP_OK;
}

static ep_status refuse(ep_op_build *b) { return OP_FAIL(b, EP_E_UNSUPPORTED, "the input must be constant"); }

extern const ep_op ep_op_shape, ep_op_cast, ep_op_constant_of_shape;
const ep_op ep_op_shape = {"Shape", 1, 1, refuse, fold_shape};
const ep_op ep_op_cast = {"Cast", 1, 1, build_cast, fold_cast};
const ep_op ep_op_constant_of_shape = {"ConstantOfShape", 1, 1, refuse, fold_fill};
