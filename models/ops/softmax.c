/* Softmax: y_i = exp(x_i) / sum_k exp(x_k) over one axis (before opset 13: over all axes from `axis` on). GENERAL; its
 * relaxation is its box, y_i = 1 / (1 + sum_{k != i} exp(x_k - x_i)), which is monotone in every x_k. */
#include "models/ops/softmax.h"

#include <math.h>

#include "models/op_util.h"

typedef struct softmax {
  size_t outer, n, inner; /* element (o, k, i) is at (o*n + k)*inner + i */
} softmax;

/* First element and stride of group g. */
static size_t group_at(const softmax *p, size_t g) { return g / p->inner * p->n * p->inner + g % p->inner; }

static void softmax_f32(const ep_node *nd, const float *const *x, float *y) {
  const softmax *p = nd->param;
  for (size_t g = 0; g < p->outer * p->inner; g++) {
    const float *in = x[0] + group_at(p, g);
    float *out = y + group_at(p, g), top = -INFINITY, sum = 0;
    for (size_t k = 0; k < p->n; k++) top = fmaxf(top, in[k * p->inner]);
    for (size_t k = 0; k < p->n; k++) sum += out[k * p->inner] = expf(in[k * p->inner] - top);
    for (size_t k = 0; k < p->n; k++) out[k * p->inner] /= sum;
  }
}

static void softmax_f64(const ep_node *nd, const double *const *x, double *y) {
  const softmax *p = nd->param;
  for (size_t g = 0; g < p->outer * p->inner; g++) {
    const double *in = x[0] + group_at(p, g);
    double *out = y + group_at(p, g), top = -INFINITY, sum = 0;
    for (size_t k = 0; k < p->n; k++) top = fmax(top, in[k * p->inner]);
    for (size_t k = 0; k < p->n; k++) sum += out[k * p->inner] = exp(in[k * p->inner] - top);
    for (size_t k = 0; k < p->n; k++) out[k * p->inner] /= sum;
  }
}

/* J^T gy = y * (gy - <y, gy>). */
static void softmax_backward(const ep_node *nd, const double *const *x, const double *gy, double *const *gx) {
  const softmax *p = nd->param;
  for (size_t g = 0; g < p->outer * p->inner; g++) {
    size_t at = group_at(p, g);
    double top = -INFINITY, sum = 0, mean = 0;
    for (size_t k = 0; k < p->n; k++) top = fmax(top, x[0][at + k * p->inner]);
    for (size_t k = 0; k < p->n; k++) {
      double e = exp(x[0][at + k * p->inner] - top);
      sum += e;
      mean += e * gy[at + k * p->inner];
    }
    mean /= sum;
    for (size_t k = 0; k < p->n; k++) {
      size_t i = at + k * p->inner;
      gx[0][i] += exp(x[0][i] - top) / sum * (gy[i] - mean);
    }
  }
}

/* exp(d) from above; from below with `down`. */
static double exp_out(double d, bool down) {
  double y = exp(d), e = y * ((2 * EP_LIBM_ULP + 4) * EP_U64);
  return down ? fmax(ep_dn(y - e), 0) : ep_up(y + e) + 0x1p-1000;
}

/* 1 / (1 + sum_{k != i} exp(x_k - x_i)) for x_i = own, x_k = others[k]: from below for upper others, and vice versa.
 * NaN becomes the end of [0, 1]. */
static double share(const softmax *p, size_t at, size_t i, double own, const double *others, bool down) {
  double sum = 1;
  for (size_t k = 0; k < p->n; k++) {
    if (k == i) continue;
    double x = others[at + k * p->inner], d = down ? ep_sub_up(x, own) : ep_sub_dn(x, own);
    sum = down ? ep_add_up(sum, exp_out(d, false)) : ep_add_dn(sum, exp_out(d, true));
  }
  double y = down ? ep_div_dn(1, sum) : ep_div_up(1, sum);
  if (down) return y >= 0 ? y : 0;
  return y <= 1 ? y : 1;
}

static void softmax_box(const ep_node *nd, const double *const *lo, const double *const *hi, double *ylo, double *yhi) {
  const softmax *p = nd->param;
  for (size_t g = 0; g < p->outer * p->inner; g++) {
    size_t at = group_at(p, g);
    for (size_t i = 0; i < p->n; i++) {
      size_t e = at + i * p->inner;
      ylo[e] = share(p, at, i, lo[0][e], hi[0], true);
      yhi[e] = share(p, at, i, hi[0][e], lo[0], false);
    }
  }
}

static ep_status softmax_relax(const ep_node *nd, const double *const *lo, const double *const *hi, ep_arena *arena,
                               ep_linear_pair *out) {
  uint32_t n = (uint32_t)ep_shape_count(&nd->out_shape);
  uint32_t *ptr = EP_ARENA(arena, uint32_t, n + 1u), *col = EP_ARENA(arena, uint32_t, 1);
  double *w = EP_ARENA(arena, double, 1);
  out->lower_c = EP_ARENA(arena, double, n + 1u);
  out->upper_c = EP_ARENA(arena, double, n + 1u);
  if (!ptr || !col || !w || !out->lower_c || !out->upper_c) return EP_E_NOMEM;
  softmax_box(nd, lo, hi, out->lower_c, out->upper_c);
  EP_TRY(ep_linop_csr(arena, n, n, ptr, col, w, 0, &out->lower));
  return ep_linop_csr(arena, n, n, ptr, col, w, 0, &out->upper);
}

static ep_status build_softmax(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape;
  softmax *p = EP_ARENA(b->arena, softmax, 1);
  uint32_t axis;
  if (!p) return EP_E_NOMEM;
  EP_TRY(ep_op_axis(b, ep_attrs_int(&b->attrs, "axis", b->opset < 13 ? 1 : -1), s->rank, &axis));
  *p = (softmax){1, 1, 1};
  for (uint32_t k = 0; k < s->rank; k++) {
    size_t d = (size_t)s->dim[k];
    if (k < axis)
      p->outer *= d;
    else if (k == axis || b->opset < 13)
      p->n *= d;
    else
      p->inner *= d;
  }
  if (!p->outer || !p->n || !p->inner) return OP_FAIL(b, EP_E_SHAPE, "empty tensor");
  b->out_shape = *s;
  b->out_dtype = b->in[0].dtype;
  b->param = p;
  b->low.cls = EP_GENERAL;
  b->low.is.general = (ep_general){softmax_f32, softmax_f64, softmax_backward, softmax_box, softmax_relax};
  return EP_OK;
}

extern const ep_op ep_op_softmax;
const ep_op ep_op_softmax = {"Softmax", 1, 1, build_softmax, NULL};

bool ep_softmax_is_whole(const ep_node *node) {
  const softmax *p = node->param;
  return node->op == &ep_op_softmax && p->outer * p->inner == 1;
}
