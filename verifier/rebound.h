/* A domain's own bounds: under the decisions of a domain of branch and bound, the neurons that are still unstable are
 * bounded again, layer by layer, and the search net shrinks to what is unstable there. Decisions count with optimised
 * multipliers, also on neurons of their own layer, so that half-spaces of a first layer cut the box for its other
 * neurons. Zhou et al. 2025 (Clip-and-Verify) clip boxes by the same inequalities; here every bound keeps its own
 * multipliers.
 *
 * Bounds and lines made here hold only where the domain's decisions hold. */
#ifndef EP_VERIFIER_REBOUND_H
#define EP_VERIFIER_REBOUND_H

#include "verifier/expand.h"

typedef struct ep_rebound {
  ep_root root;      /* shares plan and rows with the root it came from; memory from the scratch, never destroyed */
  ep_domain *domain; /* the domain over root.net; the caller's (ep_free). NULL when is_empty */
  bool is_empty;     /* certified: no input of the box satisfies the decisions */
  size_t n_row;      /* rows that were bounded */
} ep_rebound;

/* Only where every nonlinear node is a ReLU. `t` is a polytope's search and `d` one of its domains. Bounds that improve
 * are recorded in `proof` (NULL = nowhere). Memory from `s`.
 * @sound outward */
ep_status ep_rebound_run(const ep_tree *t, const ep_domain *d, const ep_ascent_opt *opt, ep_proof_block *proof,
                         ep_scratch *s, ep_rebound *out);

#endif
