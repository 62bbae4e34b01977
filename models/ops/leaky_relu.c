/* LeakyRelu: x for x >= 0, alpha*x below. alpha is the float32 attribute, taken exactly. */
#include "models/op_util.h"

static double f(const ep_univar *u, double x) { return x >= 0 ? x : u->param[0] * x; }
static float f32(const ep_univar *u, float x) { return x >= 0 ? x : (float)u->param[0] * x; }
static double df(const ep_univar *u, double x) { return x >= 0 ? 1 : u->param[0]; }
static ep_itv enclose(const ep_univar *u, double x) {
  if (x >= 0) return ep_itv_point(x);
  return (ep_itv){ep_mul_dn(u->param[0], x), ep_mul_up(u->param[0], x)};
}
static ep_itv enclose_df(const ep_univar *u, double x) {
  ep_itv right = ep_itv_point(1), left = ep_itv_point(u->param[0]);
  return x > 0 ? right : x < 0 ? left : ep_itv_hull(left, right);
}

static ep_status build(ep_op_build *b) {
  double a = (float)ep_attrs_float(&b->attrs, "alpha", 0.01f);
  if (!(a > -INFINITY && a < INFINITY)) return OP_FAIL(b, EP_E_SYNTAX, "alpha is not finite");
  ep_univar u = {.name = "LeakyRelu",
                 .param = {a},
                 .f = f,
                 .f32 = f32,
                 .df = df,
                 .enclose = enclose,
                 .enclose_df = enclose_df,
                 .n_piece = 2,
                 .piece = {EP_LINEAR, EP_LINEAR},
                 .slope = {a, 1},
                 .is_monotone = a >= 0};
  return ep_op_univar(b, &u);
}

extern const ep_op ep_op_leaky_relu;
const ep_op ep_op_leaky_relu = {"LeakyRelu", 1, 1, build, NULL};
