/* Relu: max(x, 0). */
#include "models/op_util.h"

static double f(const ep_univar *u, double x) { return (void)u, x > 0 ? x : 0; }
static float f32(const ep_univar *u, float x) { return (void)u, x > 0 ? x : 0; }
static double df(const ep_univar *u, double x) { return (void)u, x > 0; }
static ep_itv enclose(const ep_univar *u, double x) { return ep_itv_point(f(u, x)); }
static ep_itv enclose_df(const ep_univar *u, double x) { return (void)u, (ep_itv){x > 0, x >= 0}; }

static ep_status build(ep_op_build *b) {
  ep_univar u = {.name = "Relu",
                 .f = f,
                 .f32 = f32,
                 .df = df,
                 .enclose = enclose,
                 .enclose_df = enclose_df,
                 .n_piece = 2,
                 .piece = {EP_LINEAR, EP_LINEAR},
                 .slope = {0, 1},
                 .is_monotone = true};
  return ep_op_univar(b, &u);
}

extern const ep_op ep_op_relu;
const ep_op ep_op_relu = {"Relu", 1, 1, build, NULL};
