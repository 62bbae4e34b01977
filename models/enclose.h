/* The one routine that certifies relaxations of univariate functions: a sound enclosure of f(x) - k*x over [l,u].
 * Relaxations only propose slopes k; both intercepts come from here, and k = 0 is interval propagation. Part of the
 * trusted base. Breakpoints, kinks and jumps inside or touching [l,u] are covered; convex and concave pieces use end
 * points on one side and a tangent at an interior point (found by search, used soundly) on the other. */
#ifndef EP_MODELS_ENCLOSE_H
#define EP_MODELS_ENCLOSE_H

#include "models/op.h"

/* { f(x) - k*x : l <= x <= u } is contained in the result. l > u or NaN gives the whole line. l, u may be infinite
 * (then mostly the whole line or half-line comes back). @sound outward */
ep_itv ep_enclose(const ep_univar *f, double k, double l, double u);
/* Range of f over [l,u]; = ep_enclose with k = 0. @sound outward */
static inline ep_itv ep_enclose_range(const ep_univar *f, double l, double u) { return ep_enclose(f, 0, l, u); }

#endif
