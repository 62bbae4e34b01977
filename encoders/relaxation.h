/* The convex relaxations of a whole network (registry encoders/relaxations.def), from intervals to joint hulls of
 * several neurons, and the certified output bounds that each gives. encoders/exact_bounds.h has their counterpart in
 * exact arithmetic for small networks; bounds/relaxations.def are the rules behind single lines.
 * Baader et al. 2024 (Expressivity of ReLU-networks under convex relaxations) for the comparison. */
#ifndef EP_ENCODERS_RELAXATION_H
#define EP_ENCODERS_RELAXATION_H

#include "kernels/status.h"

typedef enum ep_convex {
#define EP_CONVEX(ID, name, is_program, help) EP_CONVEX_##ID,
#include "encoders/relaxations.def"
#undef EP_CONVEX
  EP_N_CONVEX
} ep_convex;

const char *ep_convex_name(ep_convex c);
const char *ep_convex_help(ep_convex c);
/* Bounds come from linear programs. */
bool ep_convex_is_program(ep_convex c);
/* By name; false when there is none. */
bool ep_convex_find(const char *name, ep_convex *out);

#endif
