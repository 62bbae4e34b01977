/* The exact encoding of what certified bounds leave open, decided by Z3 one polytope at a time: engine `smt`, and what
 * `auto` asks when nothing else can go on. */
#ifndef EP_VERIFIER_SMT_H
#define EP_VERIFIER_SMT_H

#include "verifier/engine.h"

/* Every open box: certified bounds, then the solver. budget_s and *is_stuck as for ep_turn. EP_E_UNSUPPORTED
 * for operators without an exact encoding, or without Z3. */
ep_status ep_smt_sweep(void *unused, ep_run *run, double budget_s, bool *is_sat, bool *is_stuck);

#endif
