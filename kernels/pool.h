/* Thread pool: fork-join over an index range; each worker owns a scratch stack and calls BLAS single-threaded.
 * Results must not depend on which worker runs which index (deterministic by construction of the tasks). */
#ifndef EP_KERNELS_POOL_H
#define EP_KERNELS_POOL_H

#include "kernels/scratch.h"

typedef struct ep_pool ep_pool;
/* `worker` in 0..n_workers-1 (0 is the calling thread); a status other than EP_OK ends the run early. */
typedef ep_status (*ep_pool_fn)(void *arg, size_t index, unsigned worker, ep_scratch *scratch);

/* n_threads 0 = number of CPUs this process may use. */
ep_status ep_pool_create(ep_ctx *ctx, unsigned n_threads, ep_pool **out);
void ep_pool_destroy(ep_pool *pool);
unsigned ep_pool_size(const ep_pool *pool);
ep_ctx *ep_pool_ctx(const ep_pool *pool);
/* The calling thread's own scratch (worker 0). Not to be used while ep_pool_run is under way elsewhere. */
ep_scratch *ep_pool_scratch(ep_pool *pool);
/* Runs fn for every index in 0..n-1, dynamically handed out; returns the status of the lowest failing index. Called
 * from within a task it runs serially in that worker. */
ep_status ep_pool_run(ep_pool *pool, size_t n, ep_pool_fn fn, void *arg);

#endif
