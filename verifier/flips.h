/* Search for counterexamples of networks that see their inputs through thresholds (binarised ones), where gradients say
 * nothing: single inputs are moved to an end of their range, the best move first. */
#ifndef EP_VERIFIER_FLIPS_H
#define EP_VERIFIER_FLIPS_H

#include "verifier/engine.h"

/* Box `box`, whose inputs input[0..n) are worth moving (others stay in the middle of their range), for at most budget_s
 * seconds. Untrusted: what looks like a counterexample goes through ep_run_witness. *moves counts evaluations. */
ep_status ep_flips_run(ep_run *run, uint32_t box, uint32_t n, const uint32_t *input, double budget_s, uint64_t *moves,
                       bool *is_sat);

#endif
