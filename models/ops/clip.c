/* Clip: min(max(x, lo), hi), either limit may be absent. With lo > hi ONNX gives hi everywhere. */
#include "models/op_util.h"

static double f(const ep_univar *u, double x) {
  double y = x < u->param[0] ? u->param[0] : x;
  return y > u->param[1] ? u->param[1] : y;
}
static float f32(const ep_univar *u, float x) { return (float)f(u, (double)x); }
static double df(const ep_univar *u, double x) { return x >= u->param[0] && x <= u->param[1]; }
static ep_itv enclose(const ep_univar *u, double x) { return ep_itv_point(f(u, x)); }
static ep_itv enclose_df(const ep_univar *u, double x) {
  bool in = x > u->param[0] && x < u->param[1], edge = x == u->param[0] || x == u->param[1];
  return (ep_itv){in, in || edge};
}

static ep_status limit(ep_op_build *b, uint32_t i, const char *attr, double dflt, double *out) {
  const double *v;
  *out = ep_attrs_float(&b->attrs, attr, dflt);
  EP_TRY(ep_op_floats(b, i, 1, &v));
  if (v) *out = *v;
  return *out == *out ? EP_OK : OP_FAIL(b, EP_E_SYNTAX, "limit is not a number");
}

static ep_status build(ep_op_build *b) {
  double lo, hi;
  EP_TRY(limit(b, 1, "min", -INFINITY, &lo));
  EP_TRY(limit(b, 2, "max", INFINITY, &hi));
  if (lo > hi) lo = hi;
  ep_univar u = {.name = "Clip",
                 .param = {lo, hi},
                 .f = f,
                 .f32 = f32,
                 .df = df,
                 .enclose = enclose,
                 .enclose_df = enclose_df,
                 .is_monotone = true};
  if (lo > -INFINITY) {
    u.icpt[u.n_piece] = lo;
    u.brk[u.n_piece++] = ep_itv_point(lo);
  }
  u.slope[u.n_piece++] = 1;
  if (hi < INFINITY) {
    u.brk[u.n_piece - 1] = ep_itv_point(hi);
    u.icpt[u.n_piece++] = hi;
  }
  return ep_op_univar(b, &u);
}

extern const ep_op ep_op_clip;
const ep_op ep_op_clip = {"Clip", 1, 3, build, NULL};
