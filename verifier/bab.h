/* Branch and bound on ReLU phases (beta-CROWN). A domain is a set of decided neurons; deciding a neuron both ways
 * covers its parent. Bounds of children are optimised in float32 with slopes and multipliers inherited from the parent;
 * a domain closes only when the certified float64 pass proves one row of the polytope there. Wang et al. 2021
 * (beta-CROWN); Bunel et al. 2020 (BaBSR); De Palma et al. 2021 (filtered smart branching). */
#ifndef EP_VERIFIER_BAB_H
#define EP_VERIFIER_BAB_H

#include "verifier/root.h"

typedef struct ep_bab_opt {
  double deadline_s;    /* monotonic time to give up at; 0 = the run's own */
  uint64_t max_domains; /* 0 = no limit */
  ep_ascent_opt ascent; /* per child */
} ep_bab_opt;

typedef struct ep_bab_stats {
  uint64_t domains, open, certified, stuck;
  double worst_margin;
} ep_bab_stats;

ep_bab_opt ep_bab_default(const ep_run *run);
/* Works on every open polytope of the root's box in turn; `root` has been through EP_ROOT_ALPHA. Marks polytopes proved
 * or accepts a witness (*is_sat). Running out of its own budget is EP_OK. */
ep_status ep_bab_run(ep_root *root, const ep_bab_opt *opt, ep_bab_stats *stats, bool *is_sat);

#endif
