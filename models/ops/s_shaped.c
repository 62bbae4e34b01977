/* Sigmoid and Tanh: convex left of 0, concave right of it. libm's exp and tanh are assumed accurate to EP_LIBM_ULP ulp;
 * enclosures widen by that and by the rounding of the formula around them. */
#include <math.h>

#include "models/op_util.h"

/* Relative widening that covers EP_LIBM_ULP ulps of a libm call and four more roundings. */
#define WIDEN ((2 * EP_LIBM_ULP + 8) * EP_U64)

static ep_itv around(double y, double lo, double hi) {
  double e = fabs(y) * WIDEN + 0x1p-1060;
  return (ep_itv){fmax(ep_dn(y - e), lo), fmin(ep_up(y + e), hi)};
}

static double sigmoid(const ep_univar *u, double x) {
  (void)u;
  double e = exp(-fabs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
static float sigmoid32(const ep_univar *u, float x) { return (void)u, 1.0f / (1.0f + expf(-x)); }
static double sigmoid_df(const ep_univar *u, double x) {
  (void)u;
  double e = exp(-fabs(x));
  return e / ((1 + e) * (1 + e));
}
static ep_itv sigmoid_enclose(const ep_univar *u, double x) { return around(sigmoid(u, x), 0, 1); }
static ep_itv sigmoid_enclose_df(const ep_univar *u, double x) { return around(sigmoid_df(u, x), 0, 0.25); }

static double tanh_f(const ep_univar *u, double x) { return (void)u, tanh(x); }
static float tanh32(const ep_univar *u, float x) { return (void)u, tanhf(x); }
/* 1 - tanh^2 = 4 e / (1 + e)^2 with e = exp(-2|x|): no cancellation. */
static double tanh_df(const ep_univar *u, double x) {
  (void)u;
  double e = exp(-2 * fabs(x));
  return 4 * e / ((1 + e) * (1 + e));
}
static ep_itv tanh_enclose(const ep_univar *u, double x) { return around(tanh_f(u, x), -1, 1); }
static ep_itv tanh_enclose_df(const ep_univar *u, double x) { return around(tanh_df(u, x), 0, 1); }

static ep_status build_sigmoid(ep_op_build *b) {
  ep_univar u = {.name = "Sigmoid",
                 .f = sigmoid,
                 .f32 = sigmoid32,
                 .df = sigmoid_df,
                 .enclose = sigmoid_enclose,
                 .enclose_df = sigmoid_enclose_df,
                 .n_piece = 2,
                 .piece = {EP_CONVEX, EP_CONCAVE},
                 .is_monotone = true};
  return ep_op_univar(b, &u);
}

static ep_status build_tanh(ep_op_build *b) {
  ep_univar u = {.name = "Tanh",
                 .f = tanh_f,
                 .f32 = tanh32,
                 .df = tanh_df,
                 .enclose = tanh_enclose,
                 .enclose_df = tanh_enclose_df,
                 .n_piece = 2,
                 .piece = {EP_CONVEX, EP_CONCAVE},
                 .is_monotone = true};
  return ep_op_univar(b, &u);
}

extern const ep_op ep_op_sigmoid, ep_op_tanh;
const ep_op ep_op_sigmoid = {"Sigmoid", 1, 1, build_sigmoid, NULL};
const ep_op ep_op_tanh = {"Tanh", 1, 1, build_tanh, NULL};
