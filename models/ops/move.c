/* Operators that move elements around: Transpose, Slice, Gather, Pad, Expand. Each is a source index per output element
 * (-1 = a fill value), for variables (a MAP) and constants alike. */
#include <assert.h>
#include <string.h>

#include "models/op_util.h"

/* Row-major strides of a shape. */
static void strides(const ep_shape *s, int64_t *stride) {
  int64_t run = 1;
  for (uint32_t i = s->rank; i-- > 0;) {
    stride[i] = run;
    run *= s->dim[i];
  }
}

static ep_status new_map(ep_op_build *b, int32_t **map) {
  size_t n = ep_shape_count(&b->out_shape);
  char text[80];
  if (n >= INT32_MAX || ep_shape_count(&b->in[0].shape) >= INT32_MAX)
    return OP_FAIL(b, EP_E_SHAPE, "output %s is too large", ep_shape_text(&b->out_shape, text, sizeof text));
  b->out_dtype = b->in[0].dtype;
  *map = EP_ARENA(b->arena, int32_t, n + 1);
  return *map ? EP_OK : EP_E_NOMEM;
}

/* Fills map[out] = offset + sum at_i * step_i over the output shape, or -1 where some index lies outside
 * first..last-1 (NULL = everywhere inside). */
static void walk(const ep_shape *out, int64_t offset, const int64_t *step, const int64_t *first, const int64_t *last,
                 int32_t *map) {
  size_t n = ep_shape_count(out);
  int64_t at[EP_MAX_RANK] = {0};
  assert(n < INT32_MAX && !first == !last);
  for (size_t k = 0; k < n; k++) {
    int64_t flat = offset;
    bool is_in = true;
    for (uint32_t i = 0; i < out->rank; i++) {
      flat += at[i] * step[i];
      is_in = is_in && (!first || (at[i] >= first[i] && at[i] < last[i]));
    }
    map[k] = is_in ? (int32_t)flat : -1;
    for (uint32_t i = out->rank; i-- > 0;) {
      if (++at[i] < out->dim[i]) break;
      at[i] = 0;
    }
  }
}

static ep_status map_transpose(ep_op_build *b, int32_t **map, double *fill) {
  const ep_shape *s = &b->in[0].shape;
  const int64_t *perm;
  size_t n;
  int64_t stride[EP_MAX_RANK], step[EP_MAX_RANK];
  bool seen[EP_MAX_RANK] = {false};
  *fill = 0;
  EP_TRY(ep_op_ints(b, UINT32_MAX, "perm", &perm, &n));
  if (n != SIZE_MAX && n != s->rank) return OP_FAIL(b, EP_E_SHAPE, "perm has %zu entries for rank %u", n, s->rank);
  strides(s, stride);
  b->out_shape = (ep_shape){.rank = s->rank};
  for (uint32_t i = 0; i < s->rank; i++) {
    int64_t p = n == SIZE_MAX ? s->rank - 1 - i : perm[i];
    if (p < 0 || p >= s->rank || seen[p]) return OP_FAIL(b, EP_E_SYNTAX, "perm is not a permutation");
    seen[p] = true;
    b->out_shape.dim[i] = s->dim[p];
    step[i] = stride[p];
  }
  EP_TRY(new_map(b, map));
  walk(&b->out_shape, 0, step, NULL, NULL, *map);
  return EP_OK;
}

static ep_status map_slice(ep_op_build *b, int32_t **map, double *fill) {
  const ep_shape *s = &b->in[0].shape;
  const int64_t *start, *end, *axes, *steps;
  size_t n, ne, na, nt;
  *fill = 0;
  EP_TRY(ep_op_ints(b, 1, "starts", &start, &n));
  EP_TRY(ep_op_ints(b, 2, "ends", &end, &ne));
  EP_TRY(ep_op_ints(b, 3, "axes", &axes, &na));
  EP_TRY(ep_op_ints(b, 4, NULL, &steps, &nt));
  if (n == SIZE_MAX || ne != n || (na != SIZE_MAX && na != n) || (nt != SIZE_MAX && nt != n))
    return OP_FAIL(b, EP_E_SYNTAX, "starts, ends, axes and steps differ in length");
  int64_t stride[EP_MAX_RANK], step[EP_MAX_RANK], offset = 0;
  strides(s, stride);
  memcpy(step, stride, sizeof step);
  b->out_shape = *s;
  bool seen[EP_MAX_RANK] = {false};
  for (size_t k = 0; k < n; k++) {
    uint32_t a;
    EP_TRY(ep_op_axis(b, na == SIZE_MAX ? (int64_t)k : axes[k], s->rank, &a));
    int64_t d = s->dim[a], t = nt == SIZE_MAX ? 1 : steps[k], lo = start[k], hi = end[k];
    if (seen[a]) return OP_FAIL(b, EP_E_SYNTAX, "axis %u twice", a);
    seen[a] = true;
    if (t == 0) return OP_FAIL(b, EP_E_SYNTAX, "step 0");
    t = t > INT32_MAX ? INT32_MAX : t < -INT32_MAX ? -INT32_MAX : t; /* longer than any axis either way */
    if (lo < 0) lo = lo < -d ? -1 : lo + d;
    if (hi < 0) hi = hi < -d ? -1 : hi + d;
    int64_t count;
    if (t > 0) {
      lo = lo < 0 ? 0 : lo > d ? d : lo;
      hi = hi < 0 ? 0 : hi > d ? d : hi;
      count = hi > lo ? (hi - lo - 1) / t + 1 : 0;
    } else {
      lo = lo > d - 1 ? d - 1 : lo < 0 ? 0 : lo;
      hi = hi > d - 1 ? d - 1 : hi;
      count = d && lo > hi ? (lo - hi - 1) / -t + 1 : 0;
    }
    if (!count) lo = 0;
    b->out_shape.dim[a] = count;
    offset += lo * stride[a];
    step[a] = t * stride[a];
  }
  EP_TRY(new_map(b, map));
  walk(&b->out_shape, offset, step, NULL, NULL, *map);
  return EP_OK;
}

static ep_status map_gather(ep_op_build *b, int32_t **map, double *fill) {
  const ep_shape *s = &b->in[0].shape, *is = &b->in[1].shape;
  const int64_t *idx;
  size_t n;
  uint32_t axis;
  *fill = 0;
  EP_TRY(ep_op_ints(b, 1, NULL, &idx, &n));
  if (n == SIZE_MAX) return OP_FAIL(b, EP_E_SYNTAX, "no indices");
  EP_TRY(ep_op_axis(b, ep_attrs_int(&b->attrs, "axis", 0), s->rank, &axis));
  if (s->rank + is->rank > EP_MAX_RANK + 1) return OP_FAIL(b, EP_E_UNSUPPORTED, "rank above %u", EP_MAX_RANK);
  b->out_shape = (ep_shape){.rank = s->rank - 1 + is->rank};
  size_t outer = 1, inner = 1;
  for (uint32_t i = 0; i < axis; i++) {
    b->out_shape.dim[i] = s->dim[i];
    outer *= (size_t)s->dim[i];
  }
  for (uint32_t i = 0; i < is->rank; i++) b->out_shape.dim[axis + i] = is->dim[i];
  for (uint32_t i = axis + 1; i < s->rank; i++) {
    b->out_shape.dim[i - 1 + is->rank] = s->dim[i];
    inner *= (size_t)s->dim[i];
  }
  EP_TRY(new_map(b, map));
  int64_t d = s->dim[axis];
  for (size_t o = 0, k = 0; o < outer; o++)
    for (size_t j = 0; j < n; j++) {
      int64_t at = idx[j] < 0 ? idx[j] + d : idx[j];
      if (at < 0 || at >= d)
        return OP_FAIL(b, EP_E_SHAPE, "index %lld outside 0..%lld", (long long)idx[j], (long long)d - 1);
      for (size_t i = 0; i < inner; i++) (*map)[k++] = (int32_t)((o * (size_t)d + (size_t)at) * inner + i);
    }
  return EP_OK;
}

static ep_status pad_value(ep_op_build *b, double *fill) {
  *fill = ep_attrs_float(&b->attrs, "value", 0);
  if (!ep_op_has(b, 2)) return EP_OK;
  const ep_tensor *t = b->in[2].constant;
  if (!t || t->n != 1) return OP_FAIL(b, EP_E_UNSUPPORTED, "the padding value must be one constant");
  *fill = t->f64 ? t->f64[0] : (double)t->i64[0];
  return EP_OK;
}

static ep_status map_pad(ep_op_build *b, int32_t **map, double *fill) {
  const ep_shape *s = &b->in[0].shape;
  const ep_attr *mode = ep_attrs_find(&b->attrs, "mode");
  const int64_t *pads;
  size_t n;
  if (mode && mode->type == EP_ATTR_STRING && strcmp(mode->s, "constant") != 0)
    return OP_FAIL(b, EP_E_UNSUPPORTED, "mode '%s'", mode->s);
  if (ep_op_has(b, 3)) return OP_FAIL(b, EP_E_UNSUPPORTED, "axes input");
  EP_TRY(ep_op_ints(b, 1, "pads", &pads, &n));
  EP_TRY(pad_value(b, fill));
  if (n != 2 * (size_t)s->rank) return OP_FAIL(b, EP_E_SHAPE, "pads has %zu entries for rank %u", n, s->rank);
  int64_t stride[EP_MAX_RANK], first[EP_MAX_RANK], last[EP_MAX_RANK], offset = 0;
  strides(s, stride);
  b->out_shape = *s;
  for (uint32_t i = 0; i < s->rank; i++) {
    if (pads[i] < -INT32_MAX || pads[i] > INT32_MAX || pads[i + s->rank] < -INT32_MAX || pads[i + s->rank] > INT32_MAX)
      return OP_FAIL(b, EP_E_SHAPE, "padding out of range");
    b->out_shape.dim[i] += pads[i] + pads[i + s->rank];
    if (b->out_shape.dim[i] < 0) return OP_FAIL(b, EP_E_SHAPE, "negative size after padding");
    first[i] = pads[i];
    last[i] = pads[i] + s->dim[i];
    offset -= pads[i] * stride[i];
  }
  EP_TRY(new_map(b, map));
  walk(&b->out_shape, offset, stride, first, last, *map);
  return EP_OK;
}

static ep_status map_expand(ep_op_build *b, int32_t **map, double *fill) {
  const int64_t *v;
  size_t n;
  *fill = 0;
  EP_TRY(ep_op_ints(b, 1, NULL, &v, &n));
  if (n == SIZE_MAX || n > EP_MAX_RANK) return OP_FAIL(b, EP_E_SYNTAX, "bad target shape");
  ep_shape t = {.rank = (uint32_t)n};
  for (size_t i = 0; i < n; i++) t.dim[i] = v[i];
  if (ep_shape_count(&t) == SIZE_MAX || !ep_shape_broadcast(&b->in[0].shape, &t, &b->out_shape))
    return OP_FAIL(b, EP_E_SHAPE, "shapes do not broadcast");
  EP_TRY(new_map(b, map));
  ep_shape_broadcast_map(&b->in[0].shape, &b->out_shape, *map);
  return EP_OK;
}

#define MOVE(id, text, lo, hi)                                                                                         \
  static ep_status build_##id(ep_op_build *b) {                                                                        \
    int32_t *map;                                                                                                      \
    double fill;                                                                                                       \
    EP_TRY(map_##id(b, &map, &fill));                                                                                  \
    return ep_op_map(b, map, fill);                                                                                    \
  }                                                                                                                    \
  static ep_status fold_##id(ep_op_build *b, ep_tensor *out) {                                                         \
    int32_t *map;                                                                                                      \
    double fill;                                                                                                       \
    EP_TRY(map_##id(b, &map, &fill));                                                                                  \
    return ep_op_map_fold(b, map, fill, out);                                                                          \
  }                                                                                                                    \
  extern const ep_op ep_op_##id;                                                                                       \
  const ep_op ep_op_##id = {text, lo, hi, build_##id, fold_##id};
MOVE(transpose, "Transpose", 1, 1)
MOVE(slice, "Slice", 1, 5)
MOVE(gather, "Gather", 2, 2)
MOVE(pad, "Pad", 1, 4)
MOVE(expand, "Expand", 2, 2)
