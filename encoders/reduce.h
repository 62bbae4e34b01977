/* A smaller problem with the solutions of a given one, and a little more: variables that a row defines as a sum of
 * others, and that no disjunction reads, are replaced by that sum everywhere. What is left of a network are its inputs
 * and its unstable neurons, each tied to inputs and earlier unstable neurons by one row, which solvers like far better
 * than a chain of layers.
 *
 * Coefficients are computed to nearest; their errors, and what rounding them to a few bits takes (numbers that an exact
 * solver can multiply through for long), are charged to the rows' ends over the variables' bounds. Bounds of variables
 * that are gone are dropped. So the result is a relaxation: no solution there, none in the problem. Goals, disjunctions
 * and choices keep their numbers. Part of the trusted base. */
#ifndef EP_ENCODERS_REDUCE_H
#define EP_ENCODERS_REDUCE_H

#include "encoders/prob.h"
#include "kernels/scratch.h"

/* Reduces p, which has no Boolean part; variables with stays[v] are not replaced (NULL = none asked for). Coefficients
 * and ends of rows keep `bits` bits (2..52) below the row's largest, 0 = all of a double. map[p->n_var] receives the
 * new numbers, EP_NO_VAR for variables replaced; inputs always keep one. *out = NULL when it would not be smaller, or
 * no bounds are known to charge errors over. @sound outward */
ep_status ep_prob_reduce(const ep_prob *p, const bool *stays, int bits, ep_scratch *s, uint32_t *map, ep_prob **out);

#endif
