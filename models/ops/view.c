/* Operators that keep the elements and their order: Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout. They lower
 * to the identity, which the builder turns into an alias. */
#include "models/op_util.h"

static ep_status view(ep_op_build *b) {
  size_t n = ep_shape_count(&b->in[0].shape);
  char from[80], to[80];
  if (ep_shape_count(&b->out_shape) != n)
    return OP_FAIL(b, EP_E_SHAPE, "cannot turn %s into %s", ep_shape_text(&b->in[0].shape, from, sizeof from),
                   ep_shape_text(&b->out_shape, to, sizeof to));
  b->out_dtype = b->in[0].dtype;
  if (b->in[0].constant) return EP_OK;
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  EP_TRY(ep_linop_id(b->arena, (uint32_t)n, A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

static ep_status refold(ep_op_build *b, ep_status (*build)(ep_op_build *), ep_tensor *out) {
  EP_TRY(build(b));
  *out = *b->in[0].constant;
  out->shape = b->out_shape;
  return EP_OK;
}

static ep_status build_reshape(ep_op_build *b) {
  const int64_t *v;
  size_t n;
  EP_TRY(ep_op_ints(b, 1, "shape", &v, &n));
  if (n == SIZE_MAX) return OP_FAIL(b, EP_E_SYNTAX, "no target shape");
  if (n > EP_MAX_RANK) return OP_FAIL(b, EP_E_UNSUPPORTED, "rank %zu", n);
  bool allow_zero = ep_attrs_int(&b->attrs, "allowzero", 0) != 0;
  int64_t unknown = -1;
  size_t known = 1, total = ep_shape_count(&b->in[0].shape);
  b->out_shape = (ep_shape){.rank = (uint32_t)n};
  for (uint32_t i = 0; i < n; i++) {
    int64_t d = v[i];
    if (d == 0 && !allow_zero) {
      if (i >= b->in[0].shape.rank) return OP_FAIL(b, EP_E_SHAPE, "dimension %u copies one that does not exist", i);
      d = b->in[0].shape.dim[i];
    }
    if (d < -1 || (d == -1 && unknown >= 0) || d > INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "bad target shape");
    if (d == -1)
      unknown = i;
    else if (d && known > SIZE_MAX / 2 / (size_t)d)
      return OP_FAIL(b, EP_E_SHAPE, "bad target shape");
    else
      known *= (size_t)d;
    b->out_shape.dim[i] = d;
  }
  if (unknown >= 0) {
    if (!known || total % known)
      return OP_FAIL(b, EP_E_SHAPE, "%zu elements do not divide into the target shape", total);
    b->out_shape.dim[unknown] = (int64_t)(total / known);
  }
  return view(b);
}

static ep_status build_flatten(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape;
  int64_t axis = ep_attrs_int(&b->attrs, "axis", 1);
  if (axis < 0) axis += s->rank;
  if (axis < 0 || axis > (int64_t)s->rank) return OP_FAIL(b, EP_E_SHAPE, "axis out of range");
  b->out_shape = (ep_shape){.rank = 2, .dim = {1, 1}};
  for (uint32_t i = 0; i < s->rank; i++) b->out_shape.dim[i >= axis] *= s->dim[i];
  return view(b);
}

static ep_status build_squeeze(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape;
  const int64_t *v;
  size_t n;
  bool drop[EP_MAX_RANK] = {false};
  EP_TRY(ep_op_ints(b, 1, "axes", &v, &n));
  for (size_t i = 0; n != SIZE_MAX && i < n; i++) {
    uint32_t a;
    EP_TRY(ep_op_axis(b, v[i], s->rank, &a));
    if (s->dim[a] != 1) return OP_FAIL(b, EP_E_SHAPE, "axis %u has length %lld, not 1", a, (long long)s->dim[a]);
    drop[a] = true;
  }
  b->out_shape = (ep_shape){0};
  for (uint32_t i = 0; i < s->rank; i++)
    if (!(n == SIZE_MAX ? s->dim[i] == 1 : drop[i])) b->out_shape.dim[b->out_shape.rank++] = s->dim[i];
  return view(b);
}

static ep_status build_unsqueeze(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape;
  const int64_t *v;
  size_t n;
  EP_TRY(ep_op_ints(b, 1, "axes", &v, &n));
  if (n == SIZE_MAX) return OP_FAIL(b, EP_E_SYNTAX, "no axes");
  if (n > EP_MAX_RANK || s->rank + n > EP_MAX_RANK) return OP_FAIL(b, EP_E_UNSUPPORTED, "rank above %u", EP_MAX_RANK);
  bool is_new[EP_MAX_RANK] = {false};
  uint32_t rank = s->rank + (uint32_t)n, k = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t a;
    EP_TRY(ep_op_axis(b, v[i], rank, &a));
    if (is_new[a]) return OP_FAIL(b, EP_E_SYNTAX, "axis %u twice", a);
    is_new[a] = true;
  }
  b->out_shape = (ep_shape){.rank = rank};
  for (uint32_t i = 0; i < rank; i++) b->out_shape.dim[i] = is_new[i] ? 1 : s->dim[k++];
  return view(b);
}

static ep_status build_identity(ep_op_build *b) {
  b->out_shape = b->in[0].shape;
  return view(b);
}

/* Inference: the input unchanged. A training_mode input must be false. */
static ep_status build_dropout(ep_op_build *b) {
  if (ep_op_has(b, 2)) {
    const ep_tensor *t = b->in[2].constant;
    if (!t || !t->i64 || t->n != 1 || t->i64[0]) return OP_FAIL(b, EP_E_UNSUPPORTED, "training mode");
  }
  return build_identity(b);
}

#define VIEW(id, text, lo, hi)                                                                                         \
  static ep_status fold_##id(ep_op_build *b, ep_tensor *out) { return refold(b, build_##id, out); }                    \
  extern const ep_op ep_op_##id;                                                                                       \
  const ep_op ep_op_##id = {text, lo, hi, build_##id, fold_##id};
VIEW(reshape, "Reshape", 1, 2)
VIEW(flatten, "Flatten", 1, 1)
VIEW(squeeze, "Squeeze", 1, 2)
VIEW(unsqueeze, "Unsqueeze", 1, 2)
VIEW(identity, "Identity", 1, 1)
VIEW(dropout, "Dropout", 1, 3)
