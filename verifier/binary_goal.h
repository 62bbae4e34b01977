/* A query box of a binarised network as clauses: network, open polytopes, "one of them holds". */
#ifndef EP_VERIFIER_BINARY_GOAL_H
#define EP_VERIFIER_BINARY_GOAL_H

#include "encoders/binary.h"
#include "verifier/engine.h"

/* Encodes box `box` with the polytopes that are open in `run` (all when run is NULL). EP_E_UNSUPPORTED, naming the
 * node, when the network is not binarised; also for rows that read inputs. @sound exact, or a superset
 * (encoders/binary.h) */
ep_status ep_binary_goal_create(ep_ctx *ctx, const ep_graph *g, const ep_query *q, uint32_t box, const ep_run *run,
                                ep_scratch *s, ep_binary **out);

#endif
