/* McCormick envelopes of a product of two variables, shared by Mul and MatMul (McCormick 1976). */
#ifndef EP_MODELS_OPS_MCCORMICK_H
#define EP_MODELS_OPS_MCCORMICK_H

#include "kernels/itv.h"

/* A plane below (or with `upper` above) a*c over the box: p*a + q*c + t. Unbounded boxes give p = q = 0 and the
 * interval bound, infinite if need be. @sound outward */
void ep_mccormick_plane(ep_itv a, ep_itv c, bool upper, double *p, double *q, double *t);

#endif
