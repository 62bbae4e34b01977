/* Sign: -1, 0, 1; discontinuous at 0, where the value is 0. */
#include "models/op_util.h"

static double f(const ep_univar *u, double x) { return (void)u, (x > 0) - (x < 0); }
static float f32(const ep_univar *u, float x) { return (void)u, (float)((x > 0) - (x < 0)); }
static double df(const ep_univar *u, double x) { return (void)u, (void)x, 0; }
static ep_itv enclose(const ep_univar *u, double x) { return ep_itv_point(f(u, x)); }
static ep_itv enclose_df(const ep_univar *u, double x) { return (void)u, x == 0 ? ep_itv_whole() : ep_itv_point(0); }

static ep_status build(ep_op_build *b) {
  ep_univar u = {.name = "Sign",
                 .f = f,
                 .f32 = f32,
                 .df = df,
                 .enclose = enclose,
                 .enclose_df = enclose_df,
                 .n_piece = 2,
                 .piece = {EP_LINEAR, EP_LINEAR},
                 .icpt = {-1, 1},
                 .has_jump = true,
                 .jump_lo = {-1},
                 .jump_hi = {1},
                 .is_monotone = true};
  return ep_op_univar(b, &u);
}

extern const ep_op ep_op_sign;
const ep_op ep_op_sign = {"Sign", 1, 1, build, NULL};
