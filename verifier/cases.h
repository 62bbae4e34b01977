/* Binarised networks by cases of their pixels: each pixel that crosses its threshold is +1, 0 or -1, and what is known
 * of every neuron is counted forward after each decision; a case ends when the unsafe set is out of reach. With few
 * crossing pixels this is faster than making clauses. */
#ifndef EP_VERIFIER_CASES_H
#define EP_VERIFIER_CASES_H

#include "verifier/binary_goal.h"
#include "verifier/goal.h"

typedef struct ep_cases_stats {
  uint64_t cases; /* counted forward */
} ep_cases_stats;

/* `b` as made by ep_binary_goal_create, goals included. An input found is in x[n_x]. EP_GOAL_OPEN when max_visits
 * literals were counted (deterministic), or when a case that reaches the unsafe set does not survive replay.
 * @sound exact */
ep_status ep_cases_decide(ep_run *run, uint32_t box, const ep_binary *b, uint64_t max_visits, double *x,
                          ep_cases_stats *stats, ep_goal_outcome *out);

#endif
