/* Sin and Cos. Pieces between inflections are listed around 0, as far as there is room for them; beyond, all that is
 * said is [-1, 1] (ep_univar.reach). libm's sin and cos are assumed accurate to EP_LIBM_ULP ulp, near zeros as well. */
#include <math.h>

#include "models/op_util.h"

#define WIDEN ((2 * EP_LIBM_ULP + 8) * EP_U64)

static ep_itv around(double y) {
  double e = fabs(y) * WIDEN + 0x1p-1060;
  return isfinite(y) ? (ep_itv){fmax(ep_dn(y - e), -1), fmin(ep_up(y + e), 1)} : (ep_itv){-1, 1};
}

static double sin_f(const ep_univar *u, double x) { return (void)u, sin(x); }
static double cos_f(const ep_univar *u, double x) { return (void)u, cos(x); }
static double cos_df(const ep_univar *u, double x) { return (void)u, -sin(x); }
static float sin_f32(const ep_univar *u, float x) { return (void)u, sinf(x); }
static float cos_f32(const ep_univar *u, float x) { return (void)u, cosf(x); }
static ep_itv sin_enclose(const ep_univar *u, double x) { return (void)u, around(sin(x)); }
static ep_itv cos_enclose(const ep_univar *u, double x) { return (void)u, around(cos(x)); }
static ep_itv cos_enclose_df(const ep_univar *u, double x) { return (void)u, around(-sin(x)); }

/* k * pi / 2. The double M_PI_2 is below pi/2 by less than half an ulp. */
static ep_itv quarter_turns(int k) {
  double x = k * M_PI_2; /* rounded once more: within one ulp */
  return k == 0 ? ep_itv_point(0) : (ep_itv){ep_dn(ep_dn(x)), ep_up(ep_up(x))};
}

/* Inflections at first, first+2, .. quarter turns, n pieces; `reach` ends within the outermost ones. */
static ep_status build(ep_op_build *b, ep_univar u, int first, uint32_t n, ep_curvature leftmost) {
  ep_curvature other = leftmost == EP_CONVEX ? EP_CONCAVE : EP_CONVEX;
  u.n_piece = n;
  for (uint32_t k = 0; k < n; k++) {
    u.piece[k] = k % 2 ? other : leftmost;
    if (k + 1 < n) u.brk[k] = quarter_turns(first + 2 * (int)k);
  }
  u.reach = ep_dn(-quarter_turns(first - 2).hi);
  u.range = (ep_itv){-1, 1};
  return ep_op_univar(b, &u);
}

/* sin is concave from 0 to pi: from -4 pi on convex, concave by turns of pi. */
static ep_status build_sin(ep_op_build *b) {
  ep_univar u = {
      .name = "Sin", .f = sin_f, .f32 = sin_f32, .df = cos_f, .enclose = sin_enclose, .enclose_df = cos_enclose};
  return build(b, u, -6, 8, EP_CONCAVE);
}

/* cos is concave from -pi/2 to pi/2, and from -7/2 pi to -5/2 pi convex. */
static ep_status build_cos(ep_op_build *b) {
  ep_univar u = {
      .name = "Cos", .f = cos_f, .f32 = cos_f32, .df = cos_df, .enclose = cos_enclose, .enclose_df = cos_enclose_df};
  return build(b, u, -5, 7, EP_CONVEX);
}

extern const ep_op ep_op_sin, ep_op_cos;
const ep_op ep_op_sin = {"Sin", 1, 1, build_sin, NULL};
const ep_op ep_op_cos = {"Cos", 1, 1, build_cos, NULL};
