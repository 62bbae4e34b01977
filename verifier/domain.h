/* Domains of branch and bound and their queue. A domain is a set of decided neurons of a search net, with what its
 * bound is to start from: slopes of every row and multipliers of every decision. One memory block each. */
#ifndef EP_VERIFIER_DOMAIN_H
#define EP_VERIFIER_DOMAIN_H

#include "kernels/status.h"

enum { EP_MAX_WAYS = 4 }; /* neurons that one step may decide at once */

typedef struct ep_domain {
  double margin;   /* estimated margin of its best row: the queue's key */
  uint64_t serial; /* ties in order of creation */
  uint32_t seed;   /* first row's seed; the others follow */
  uint32_t n_dec;
  uint32_t n_branch, branch[EP_MAX_WAYS]; /* unstable neurons to decide next, best first; none yet: n_branch = 0 */
  uint32_t *dec;                          /* [n_dec] unstable neuron * 2 + is_active, ascending */
  float *beta;                            /* [n_row x n_dec] */
  uint8_t *slope;                         /* [n_row x n_u] in 1/255 */
} ep_domain;

/* Uninitialised but for its arrays; NULL when memory runs out (recorded in `ctx`). Freed with ep_free. */
ep_domain *ep_domain_create(ep_ctx *ctx, size_t n_row, size_t n_u, uint32_t n_dec);

/* Smallest margin first. */
typedef struct ep_queue {
  ep_domain **heap;
  size_t n, cap;
} ep_queue;

/* Takes the domain over, also when it fails. */
ep_status ep_queue_push(ep_ctx *ctx, ep_queue *q, ep_domain *d);
ep_domain *ep_queue_pop(ep_queue *q);
/* Frees the domains left and the queue's memory. */
void ep_queue_clear(ep_ctx *ctx, ep_queue *q);

#endif
