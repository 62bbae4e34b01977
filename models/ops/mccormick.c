#include "models/ops/mccormick.h"

/* Planes of a*c touch at two corners: lower: c.lo a + a.lo c - a.lo c.lo; upper: c.hi a + a.lo c - a.lo c.hi. The
 * constant is not derived from those formulas but recomputed in interval arithmetic from the slopes: a c - p a - q c is
 * bilinear, so its extremes over the box are at corners. */
void ep_mccormick_plane(ep_itv a, ep_itv c, bool upper, double *p, double *q, double *t) {
  double best = upper ? -INFINITY : INFINITY;
  bool is_known = isfinite(a.lo) && isfinite(a.hi) && isfinite(c.lo) && isfinite(c.hi) && a.lo <= a.hi && c.lo <= c.hi;
  if (!is_known) {
    ep_itv y = ep_itv_mul(a, c);
    *p = *q = 0;
    *t = upper ? y.hi : y.lo;
    if (!ep_itv_is_valid(y)) *t = upper ? INFINITY : -INFINITY;
    return;
  }
  *p = upper ? c.hi : c.lo;
  *q = a.lo;
  for (int k = 0; k < 4; k++) {
    ep_itv x = ep_itv_point(k & 1 ? a.hi : a.lo), y = ep_itv_point(k & 2 ? c.hi : c.lo);
    ep_itv r =
        ep_itv_sub(ep_itv_sub(ep_itv_mul(x, y), ep_itv_mul(ep_itv_point(*p), x)), ep_itv_mul(ep_itv_point(*q), y));
    best = upper ? fmax(best, r.hi) : fmin(best, r.lo);
    is_known = is_known && ep_itv_is_valid(r); /* an overflow that became NaN says nothing */
  }
  *t = is_known ? best : upper ? INFINITY : -INFINITY;
}
