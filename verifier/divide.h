/* Branch and bound in depth, for small networks: each open domain gets bounds of its own (verifier/rebound.h), a search
 * over its smaller net, and what that leaves open is divided again. Domains are independent tasks: one worker each. */
#ifndef EP_VERIFIER_DIVIDE_H
#define EP_VERIFIER_DIVIDE_H

#include "verifier/expand.h"

typedef struct ep_divide_stats {
  uint64_t domains, certified, stuck, open; /* open: given up at the deadline */
} ep_divide_stats;

/* Does it pay? Bounding every unstable neuron again must not cost more than a search of moderate size. */
bool ep_divide_applies(const ep_tree *t);
/* Works off the queue of a polytope's search; deadline_s = monotonic time, 0 = the run's own. The polytope is proved
 * when nothing is open or stuck afterwards. A witness is accepted like everywhere (*is_sat): of the first domain of
 * the queue that has one. */
ep_status ep_divide_run(const ep_tree *t, ep_queue *queue, double deadline_s, ep_divide_stats *stats, bool *is_sat);

#endif
