/* Conv and ConvTranspose, one or two spatial axes, groups, strides, padding and dilation. */
#include <string.h>

#include "models/ops/window.h"

static ep_status channel_bias(ep_op_build *b, int64_t channels, const double **bias) {
  const double *c;
  *bias = NULL;
  EP_TRY(ep_op_floats(b, 2, (size_t)channels, &c));
  if (!c) return EP_OK;
  size_t n = ep_shape_count(&b->out_shape), per = n / (size_t)channels;
  double *v = EP_ARENA(b->arena, double, n + 1);
  if (!v) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) v[i] = c[i / per];
  *bias = v;
  return EP_OK;
}

static ep_status weights(ep_op_build *b, const ep_shape **sw, const double **w) {
  *sw = &b->in[1].shape;
  if (b->in[0].constant || !b->in[1].constant)
    return OP_FAIL(b, EP_E_UNSUPPORTED, "only a variable input with constant weights");
  if ((*sw)->rank != b->in[0].shape.rank) return OP_FAIL(b, EP_E_SHAPE, "weights and input differ in rank");
  return ep_op_floats(b, 1, SIZE_MAX, w);
}

static ep_status finish(ep_op_build *b, const ep_conv_geom *g, bool transpose, const double *w, int64_t channels) {
  const double *bias;
  if (ep_shape_count(&b->out_shape) >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "output too large");
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  b->out_dtype = b->in[0].dtype;
  EP_TRY(ep_linop_conv(b->arena, g, transpose, w, 0, A));
  EP_TRY(channel_bias(b, channels, &bias));
  return ep_op_affine(b, 1, A, bias, NULL);
}

static ep_status build_conv(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape, *sw;
  const double *w;
  ep_window win;
  EP_TRY(weights(b, &sw, &w));
  EP_TRY(ep_window_read(b, sw->dim + 2, false, &win));
  int64_t groups = ep_attrs_int(&b->attrs, "group", 1), c_in = s->dim[1], c_out = sw->dim[0];
  if (groups < 1 || groups > c_in || c_in % groups || c_out < groups || c_out % groups || sw->dim[1] != c_in / groups)
    return OP_FAIL(b, EP_E_SHAPE, "%lld input channels, weights for %lld, %lld groups", (long long)c_in,
                   (long long)sw->dim[1], (long long)groups);
  b->out_shape = ep_window_shape(b, &win, c_out);
  ep_conv_geom g = {(uint32_t)c_in,          (uint32_t)win.in[0],       (uint32_t)win.in[1],
                    (uint32_t)c_out,         (uint32_t)win.out[0],      (uint32_t)win.out[1],
                    (uint32_t)win.kernel[0], (uint32_t)win.kernel[1],   (uint32_t)win.stride[0],
                    (uint32_t)win.stride[1], (uint32_t)win.dilation[0], (uint32_t)win.dilation[1],
                    (uint32_t)win.pad_lo[0], (uint32_t)win.pad_lo[1],   (uint32_t)groups};
  return finish(b, &g, false, w, c_out);
}

/* Output size of a transposed convolution, from pads or from output_shape. */
static ep_status transposed_size(const ep_op_build *b, ep_window *w) {
  const int64_t *op, *want;
  size_t n, nw;
  EP_TRY(ep_op_ints(b, UINT32_MAX, "output_padding", &op, &n));
  EP_TRY(ep_op_ints(b, UINT32_MAX, "output_shape", &want, &nw));
  const ep_attr *ap = ep_attrs_find(&b->attrs, "auto_pad");
  bool same = ap && ap->type == EP_ATTR_STRING && !strncmp(ap->s, "SAME", 4);
  bool lower = same && !strcmp(ap->s, "SAME_LOWER");
  if ((n != SIZE_MAX && n != w->n_axis) || (nw != SIZE_MAX && nw != w->n_axis))
    return OP_FAIL(b, EP_E_SHAPE, "output_padding or output_shape has the wrong length");
  for (uint32_t i = 0; i < w->n_axis; i++) {
    int64_t extra = n == SIZE_MAX ? 0 : op[i], span = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t full = (w->in[i] - 1) * w->stride[i] + extra + span;
    if (nw != SIZE_MAX || same) {
      int64_t target = nw != SIZE_MAX ? want[i] : w->in[i] * w->stride[i];
      int64_t total = full - target < 0 ? 0 : full - target;
      w->pad_lo[i] = lower ? total - total / 2 : total / 2;
      w->out[i] = target;
    } else {
      w->out[i] = full - w->pad_lo[i] - w->pad_hi[i];
    }
    if (w->out[i] < 1 || w->out[i] > (1 << 20)) return OP_FAIL(b, EP_E_SHAPE, "bad output size");
  }
  return EP_OK;
}

static ep_status build_transpose(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape, *sw;
  const double *w;
  const int64_t *pads;
  size_t n;
  ep_window win;
  EP_TRY(weights(b, &sw, &w));
  /* The window reader checks against a plain convolution's geometry; read attributes through a widened input. */
  ep_op_in wide = b->in[0];
  for (uint32_t i = 2; i < wide.shape.rank; i++) wide.shape.dim[i] += 1 << 20;
  ep_op_build probe = *b;
  probe.in = &wide;
  probe.n_in = 1;
  EP_TRY(ep_window_read(&probe, sw->dim + 2, false, &win));
  EP_TRY(ep_op_ints(b, UINT32_MAX, "pads", &pads, &n));
  for (uint32_t i = 0; i < win.n_axis; i++) {
    win.in[i] = s->dim[i + 2];
    win.pad_lo[i] = n == SIZE_MAX ? 0 : pads[i];
    win.pad_hi[i] = n == SIZE_MAX ? 0 : pads[i + win.n_axis];
  }
  EP_TRY(transposed_size(b, &win));
  int64_t groups = ep_attrs_int(&b->attrs, "group", 1), c_in = s->dim[1], c_out = sw->dim[1] * groups;
  if (groups < 1 || groups > c_in || c_in % groups || sw->dim[0] != c_in || c_out < 1)
    return OP_FAIL(b, EP_E_SHAPE, "%lld input channels, weights for %lld, %lld groups", (long long)c_in,
                   (long long)sw->dim[0], (long long)groups);
  b->out_shape = ep_window_shape(b, &win, c_out);
  /* The plain convolution goes from our output to our input; ONNX stores [c_in][c_out/groups][kh][kw], which is exactly
   * its weight layout. */
  ep_conv_geom g = {(uint32_t)c_out,         (uint32_t)win.out[0],      (uint32_t)win.out[1],
                    (uint32_t)c_in,          (uint32_t)win.in[0],       (uint32_t)win.in[1],
                    (uint32_t)win.kernel[0], (uint32_t)win.kernel[1],   (uint32_t)win.stride[0],
                    (uint32_t)win.stride[1], (uint32_t)win.dilation[0], (uint32_t)win.dilation[1],
                    (uint32_t)win.pad_lo[0], (uint32_t)win.pad_lo[1],   (uint32_t)groups};
  return finish(b, &g, true, w, c_out);
}

extern const ep_op ep_op_conv, ep_op_conv_transpose;
const ep_op ep_op_conv = {"Conv", 2, 3, build_conv, NULL};
const ep_op ep_op_conv_transpose = {"ConvTranspose", 2, 3, build_transpose, NULL};
