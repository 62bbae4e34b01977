/* Joint hulls of neurons for a query box: what --relaxation multi-neuron adds to the linear programs of the engines lp
 * and milp, and to what `encode` writes. */
#ifndef EP_VERIFIER_CUTS_H
#define EP_VERIFIER_CUTS_H

#include "encoders/relaxed.h"
#include "verifier/goal.h"

/* The relaxation that the configuration names; TRIANGLE when it names none. EP_E_OPTION for unknown names, for those
 * that are no linear programs, and for what cannot go into a certificate. */
ep_status ep_cuts_relaxation(ep_ctx *ctx, const ep_config *cfg, ep_convex *out);
/* The joint groups of all layers over root's box; until `until_s` (monotonic, 0 = no programs at all) root's bounds are
 * improved on the way. `out` is initialised here. @sound outward */
ep_status ep_cuts_join(ep_root *root, double until_s, ep_joints *out);
/* Adds to the goals' problem the rows that the optima of their relaxations violate, until they violate none or the
 * rounds are used up. Every row holds for the network. @sound outward */
ep_status ep_cuts_add(ep_goals *goals, const ep_joints *joints);

#endif
