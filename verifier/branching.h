/* Branching rules: which undecided neuron to decide next. Registry: verifier/branchings.def. A rule scores all unstable
 * neurons of a domain from the coefficients its bound left at the ReLU outputs; the search may try the best few of two
 * rules with one cheap bound each and take the winner (filtered smart branching). */
#ifndef EP_VERIFIER_BRANCHING_H
#define EP_VERIFIER_BRANCHING_H

#include "bounds/snet.h"

/* score[i] >= 0 for unstable neuron i; coef[i] is the row's coefficient at its output, larger = better to split. */
typedef void (*ep_branching_fn)(size_t n, const ep_unstable *u, const float *coef, float *score);
typedef struct ep_branching {
  const char *name, *help;
  ep_branching_fn score;
} ep_branching;
extern const ep_branching ep_branchings[];
extern const size_t ep_n_branchings;
const ep_branching *ep_branching_find(const char *name);

#endif
