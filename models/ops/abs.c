/* Abs. */
#include <math.h>

#include "models/op_util.h"

static double f(const ep_univar *u, double x) { return (void)u, fabs(x); }
static float f32(const ep_univar *u, float x) { return (void)u, fabsf(x); }
static double df(const ep_univar *u, double x) { return (void)u, x >= 0 ? 1 : -1; }
static ep_itv enclose(const ep_univar *u, double x) { return (void)u, ep_itv_point(fabs(x)); }
static ep_itv enclose_df(const ep_univar *u, double x) { return (void)u, (ep_itv){x > 0 ? 1 : -1, x >= 0 ? 1 : -1}; }

static ep_status build(ep_op_build *b) {
  ep_univar u = {.name = "Abs",
                 .f = f,
                 .f32 = f32,
                 .df = df,
                 .enclose = enclose,
                 .enclose_df = enclose_df,
                 .n_piece = 2,
                 .piece = {EP_LINEAR, EP_LINEAR},
                 .slope = {-1, 1}};
  return ep_op_univar(b, &u);
}

extern const ep_op ep_op_abs;
const ep_op ep_op_abs = {"Abs", 1, 1, build, NULL};
