/* Binarised networks in two halves (Narodytska et al., Verifying properties of binarized deep neural networks, AAAI
 * 2018): one solver proposes what the input box can make of a hidden layer's signs, another says whether the unsafe set
 * follows; where it does not, the few signs it needed for that are excluded from further proposals. */
#ifndef EP_VERIFIER_GUIDED_H
#define EP_VERIFIER_GUIDED_H

#include "encoders/backend.h"
#include "verifier/binary_goal.h"
#include "verifier/goal.h"

typedef struct ep_guided_stats {
  uint64_t proposals;
  double core; /* mean share of the layer's open signs in an exclusion */
} ep_guided_stats;

/* `b` as made by ep_binary_goal_create, goals included; `no_zero` from ep_binary_no_zero: proposals are first sought
 * with every pixel off its threshold, where they survive rounding. An input found is in x[n_x]; a proposal that leads
 * to the unsafe set but does not survive replay leaves the box open. EP_GOAL_OPEN as well when the network has no
 * hidden layer of Signs, or at until_s (0 = never). */
ep_status ep_guided_decide(ep_run *run, uint32_t box, const ep_binary *b, ep_lit no_zero, const ep_backend *be,
                           double until_s, double *x, ep_guided_stats *stats, ep_goal_outcome *out);

#endif
