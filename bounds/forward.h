/* Forward linear bounds: every value gets a lower and an upper linear function of the network input, pushed from layer
 * to layer. Cheaper than back-substitution for few inputs and wide layers (cost per layer: 2*(n_x+1) products with the
 * matrix, however many neurons are unstable), and looser. Also known as symbolic interval propagation.
 * Wang et al. 2018 (ReluVal, Neurify); Singh et al. 2018 (zonotopes) for the mid/deviation form. */
#ifndef EP_BOUNDS_FORWARD_H
#define EP_BOUNDS_FORWARD_H

#include "bounds/crown.h"

/* Like ep_crown_run: fills `bounds` for the boxes stored at its input value, from whatever prior knowledge the table
 * holds, and `relax` with certified lines. @sound outward */
ep_status ep_forward_run(const ep_plan *plan, ep_relax_rule rule, ep_trace_itv *bounds, ep_relax_f64 *relax,
                         ep_arena *arena, ep_scratch *s);

#endif
