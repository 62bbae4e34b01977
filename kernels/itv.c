#include "kernels/itv.h"

/* Infinite or NaN corner products carry no information about their side. */
static ep_itv checked(double lo, double hi) { return (ep_itv){lo == lo ? lo : -INFINITY, hi == hi ? hi : INFINITY}; }

ep_itv ep_itv_add(ep_itv a, ep_itv b) { return checked(ep_add_dn(a.lo, b.lo), ep_add_up(a.hi, b.hi)); }
ep_itv ep_itv_sub(ep_itv a, ep_itv b) { return checked(ep_sub_dn(a.lo, b.hi), ep_sub_up(a.hi, b.lo)); }

ep_itv ep_itv_mul(ep_itv a, ep_itv b) {
  double p[4] = {a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi};
  double lo = p[0], hi = p[0];
  for (int i = 0; i < 4; i++) {
    if (p[i] != p[i]) return ep_itv_whole();
    if (p[i] < lo) lo = p[i];
    if (p[i] > hi) hi = p[i];
  }
  return checked(ep_dn(lo), ep_up(hi));
}

ep_itv ep_itv_div(ep_itv a, ep_itv b) {
  if (!(b.lo > 0 || b.hi < 0)) return ep_itv_whole();
  double p[4] = {a.lo / b.lo, a.lo / b.hi, a.hi / b.lo, a.hi / b.hi};
  double lo = p[0], hi = p[0];
  for (int i = 0; i < 4; i++) {
    if (p[i] != p[i]) return ep_itv_whole();
    if (p[i] < lo) lo = p[i];
    if (p[i] > hi) hi = p[i];
  }
  return checked(ep_dn(lo), ep_up(hi));
}
