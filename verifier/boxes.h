/* One box of the query after the other, as one phase: the loop that engines on solvers share. */
#ifndef EP_VERIFIER_BOXES_H
#define EP_VERIFIER_BOXES_H

#include "verifier/engine.h"

/* Works on box `box`, which has open polytopes; n_left boxes with some are still to come, this one among them. Adds to
 * phase->domains, lowers phase->worst_bound to the smallest certified margin it leaves open. */
typedef ep_status ep_box_solve(void *arg, ep_run *run, uint32_t box, uint32_t n_left, ep_phase *phase, bool *is_sat);

/* Every box with open polytopes until a counterexample is accepted; appends the phase `name`, also when stopped. */
ep_status ep_boxes_sweep(ep_run *run, const char *name, ep_box_solve *solve, void *arg, bool *is_sat);

#endif
