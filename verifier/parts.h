/* Solvers on parts of a query box: deciders for the input split (verifier/box_neurons.h) that put a part with few
 * unstable neurons to branch and bound over linear programs, or to the exact solver. A part is small: its certified
 * bounds leave few cases, which is what makes solvers fast. */
#ifndef EP_VERIFIER_PARTS_H
#define EP_VERIFIER_PARTS_H

#include "verifier/turns.h"

/* What the deciders' `arg` points at. */
typedef struct ep_parts {
  _Atomic uint64_t tried, refuted; /* parts (polytopes of them) */
  _Atomic uint64_t by_exact;       /* refuted on the word of an exact solver */
} ep_parts;

/* `parts` is borrowed and counts. */
ep_box_decider ep_parts_by_milp(ep_parts *parts);
ep_box_decider ep_parts_by_exact(ep_parts *parts);

/* The engines `smt` and `milp`: an attack, one CROWN pass over every box, then the solver on whole boxes (`whole`) in
 * turn with the input split, whose parts go to the decider. EP_E_UNSUPPORTED when the network has no exact encoding or
 * the build lacks back end `solver`. */
ep_status ep_parts_search(ep_run *run, const char *solver, ep_box_decider (*decider)(ep_parts *), ep_turn *whole);

#endif
