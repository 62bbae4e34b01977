/* Interval arithmetic over binary64, outward rounded. An interval with a NaN or with lo > hi carries no information;
 * ep_itv_is_valid tells. */
#ifndef EP_KERNELS_ITV_H
#define EP_KERNELS_ITV_H

#include <stdbool.h>

#include "kernels/round.h"

typedef struct ep_itv {
  double lo, hi;
} ep_itv;

static inline bool ep_itv_is_valid(ep_itv a) { return a.lo <= a.hi; }
static inline ep_itv ep_itv_point(double x) { return (ep_itv){x, x}; }
static inline ep_itv ep_itv_whole(void) { return (ep_itv){-INFINITY, INFINITY}; }
/* Largest absolute value in a. */
static inline double ep_itv_mag(ep_itv a) { return fmax(fabs(a.lo), fabs(a.hi)); }
static inline ep_itv ep_itv_hull(ep_itv a, ep_itv b) { return (ep_itv){fmin(a.lo, b.lo), fmax(a.hi, b.hi)}; }

/* @sound outward: contain every result over members of the operands. */
ep_itv ep_itv_add(ep_itv a, ep_itv b);
ep_itv ep_itv_sub(ep_itv a, ep_itv b);
ep_itv ep_itv_mul(ep_itv a, ep_itv b);
/* Whole line when b contains 0. */
ep_itv ep_itv_div(ep_itv a, ep_itv b);

#endif
