#include "models/ops/window.h"

#include <string.h>

/* Attribute `name` with `n` entries into v[stride*i], default where absent. */
static ep_status ints(const ep_op_build *b, const char *name, uint32_t n, int64_t dflt, int64_t lo, int64_t *v) {
  const int64_t *a;
  size_t m;
  EP_TRY(ep_op_ints(b, UINT32_MAX, name, &a, &m));
  if (m != SIZE_MAX && m != n) return OP_FAIL(b, EP_E_SHAPE, "'%s' has %zu entries, expected %u", name, m, n);
  for (uint32_t i = 0; i < n; i++) {
    v[i] = m == SIZE_MAX ? dflt : a[i];
    if (v[i] < lo || v[i] > (1 << 20)) return OP_FAIL(b, EP_E_SHAPE, "'%s' out of range", name);
  }
  return EP_OK;
}

static ep_status auto_pad(const ep_op_build *b, ep_window *w, bool *is_auto) {
  const ep_attr *a = ep_attrs_find(&b->attrs, "auto_pad");
  *is_auto = a && a->type == EP_ATTR_STRING && strcmp(a->s, "NOTSET") != 0;
  if (!*is_auto) return EP_OK;
  bool upper = !strcmp(a->s, "SAME_UPPER"), lower = !strcmp(a->s, "SAME_LOWER");
  if (!upper && !lower && strcmp(a->s, "VALID") != 0) return OP_FAIL(b, EP_E_SYNTAX, "auto_pad '%s'", a->s);
  for (uint32_t i = 0; i < w->n_axis; i++) {
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i], total = (out - 1) * w->stride[i] + span - w->in[i];
    if (!upper && !lower) total = 0;
    if (total < 0) total = 0;
    w->pad_lo[i] = lower ? total - total / 2 : total / 2;
    w->pad_hi[i] = total - w->pad_lo[i];
  }
  return EP_OK;
}

ep_status ep_window_read(const ep_op_build *b, const int64_t *kernel, bool may_ceil, ep_window *w) {
  const ep_shape *s = &b->in[0].shape;
  int64_t pads[4];
  bool is_auto;
  if (s->rank < 3 || s->rank > 4)
    return OP_FAIL(b, EP_E_UNSUPPORTED, "input of rank %u (one or two spatial axes are supported)", s->rank);
  if (s->dim[0] != 1) return OP_FAIL(b, EP_E_UNSUPPORTED, "batch of %lld", (long long)s->dim[0]);
  uint32_t n = s->rank - 2;
  *w = (ep_window){.n_axis = n, .in = {1, 1}, .out = {1, 1}, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
  for (uint32_t i = 0; i < n; i++) w->in[i] = s->dim[i + 2];
  EP_TRY(ints(b, "kernel_shape", n, 0, 0, w->kernel));
  for (uint32_t i = 0; i < n; i++) {
    if (kernel && w->kernel[i] && w->kernel[i] != kernel[i])
      return OP_FAIL(b, EP_E_SHAPE, "kernel_shape differs from the weights");
    if (kernel) w->kernel[i] = kernel[i];
    if (w->kernel[i] < 1 || w->kernel[i] > (1 << 20)) return OP_FAIL(b, EP_E_SHAPE, "bad kernel size");
  }
  EP_TRY(ints(b, "strides", n, 1, 1, w->stride));
  EP_TRY(ints(b, "dilations", n, 1, 1, w->dilation));
  EP_TRY(ints(b, "pads", 2 * n, 0, 0, pads));
  EP_TRY(auto_pad(b, w, &is_auto));
  bool is_ceil = may_ceil && ep_attrs_int(&b->attrs, "ceil_mode", 0) != 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!is_auto) {
      w->pad_lo[i] = pads[i];
      w->pad_hi[i] = pads[i + n];
    }
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1, room = w->in[i] + w->pad_lo[i] + w->pad_hi[i] - span;
    if (room < 0) return OP_FAIL(b, EP_E_SHAPE, "the kernel is larger than the padded input");
    w->out[i] = (room + (is_ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
    /* A window that would start in the end padding is dropped. */
    if (is_ceil && (w->out[i] - 1) * w->stride[i] >= w->in[i] + w->pad_lo[i]) w->out[i]--;
  }
  return EP_OK;
}

ep_shape ep_window_shape(const ep_op_build *b, const ep_window *w, int64_t channels) {
  ep_shape s = {.rank = b->in[0].shape.rank, .dim = {b->in[0].shape.dim[0], channels}};
  for (uint32_t i = 0; i < w->n_axis; i++) s.dim[i + 2] = w->out[i];
  return s;
}
