/* BatchNormalization at inference: y = scale/sqrt(var + eps) * (x - mean) + bias per channel. Lowered to a diagonal;
 * the rounding of the folded scale and shift is recorded, so certified passes still bound the exact function. */
#include <math.h>

#include "models/op_util.h"

static ep_status build(ep_op_build *b) {
  const ep_shape *s = &b->in[0].shape;
  const double *scale, *shift, *mean, *var;
  if (s->rank < 2) return OP_FAIL(b, EP_E_SHAPE, "input of rank %u", s->rank);
  if (ep_attrs_int(&b->attrs, "training_mode", 0)) return OP_FAIL(b, EP_E_UNSUPPORTED, "training mode");
  size_t n_ch = (size_t)s->dim[1], n = ep_shape_count(s), per = n ? n / n_ch / (size_t)s->dim[0] : 0;
  EP_TRY(ep_op_floats(b, 1, n_ch, &scale));
  EP_TRY(ep_op_floats(b, 2, n_ch, &shift));
  EP_TRY(ep_op_floats(b, 3, n_ch, &mean));
  EP_TRY(ep_op_floats(b, 4, n_ch, &var));
  if (!scale || !shift || !mean || !var) return OP_FAIL(b, EP_E_SYNTAX, "missing parameters");
  double eps = (float)ep_attrs_float(&b->attrs, "epsilon", 1e-5f);
  double *w = EP_ARENA(b->arena, double, n + 1), *c = EP_ARENA(b->arena, double, n + 1);
  double *err = EP_ARENA(b->arena, double, n + 1);
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!w || !c || !err || !A) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    size_t ch = i / per % n_ch;
    if (!(var[ch] + eps > 0)) return OP_FAIL(b, EP_E_SYNTAX, "variance %g of channel %zu is not positive", var[ch], ch);
    /* Three roundings: the sum (halved by the root), the root, the quotient: below 4u relative. */
    w[i] = scale[ch] / sqrt(var[ch] + eps);
    if (!ep_op_is_normal(w[i], scale[ch])) return OP_FAIL(b, EP_E_UNSUPPORTED, "scale %g underflows", scale[ch]);
    /* The shift: product with the rounded scale (5u relative) and one subtraction. */
    c[i] = shift[ch] - w[i] * mean[ch];
    err[i] = 8 * EP_U64 * (fabs(shift[ch]) + fabs(w[i] * mean[ch])) + EP_ETA64;
  }
  EP_TRY(ep_linop_diag(b->arena, (uint32_t)n, w, 4 * EP_U64, A));
  b->out_shape = *s;
  b->out_dtype = b->in[0].dtype;
  return ep_op_affine(b, 1, A, c, err);
}

extern const ep_op ep_op_batch_norm;
const ep_op ep_op_batch_norm = {"BatchNormalization", 5, 5, build, NULL};
