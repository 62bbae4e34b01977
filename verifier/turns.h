/* Splitting inputs in turn with another way to decide what is open, each with a budget that grows while neither
 * finishes: which of them suits a query shows only while it runs. */
#ifndef EP_VERIFIER_TURNS_H
#define EP_VERIFIER_TURNS_H

#include "verifier/input_split.h"

/* Works on all open polytopes for about budget_s seconds (0 = to the end). *is_stuck: there is nothing left that it
 * could do. */
typedef ep_status ep_turn(void *arg, ep_run *run, double budget_s, bool *is_sat, bool *is_stuck);

typedef struct ep_turns {
  double box_s;                  /* what bounding one box once takes: many inputs of a large network are not split */
  const ep_box_decider *decider; /* of the input split's boxes, NULL = its own */
  ep_turn *other;                /* NULL = inputs are split to the end */
  void *arg;                     /* of `other` */
  /* `other` goes first; where it is stuck nothing can help (a tie that no replay can show). */
  bool is_other_exact;
} ep_turns;

/* Can the time left pay for as many boxes as splitting the free inputs takes? */
bool ep_turns_can_split(const ep_run *run, double box_s);
/* Without `other`, and where inputs cannot be split either, it returns at once. */
ep_status ep_turns_run(ep_run *run, const ep_turns *turns);

#endif
