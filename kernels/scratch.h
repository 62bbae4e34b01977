/* Mark/release stack of temporary memory: one per worker, grown in blocks, never shrunk before it is cleared, so the
 * steady state of a search allocates nothing. */
#ifndef EP_KERNELS_SCRATCH_H
#define EP_KERNELS_SCRATCH_H

#include "kernels/status.h"

typedef struct ep_scratch_block ep_scratch_block;
typedef struct ep_scratch {
  ep_ctx *ctx;
  ep_scratch_block *first, *cur; /* chain in allocation order; blocks after `cur` are free for reuse */
} ep_scratch;
typedef struct ep_scratch_mark {
  ep_scratch_block *block;
  size_t used;
} ep_scratch_mark;

void ep_scratch_init(ep_scratch *s, ep_ctx *ctx);
void ep_scratch_clear(ep_scratch *s);
ep_scratch_mark ep_scratch_save(const ep_scratch *s);
/* Gives back everything allocated since `m`. */
void ep_scratch_restore(ep_scratch *s, ep_scratch_mark m);
/* 64-byte aligned, uninitialised; NULL (recorded in the context) when memory runs out or n*size overflows. */
void *ep_scratch_alloc(ep_scratch *s, size_t n, size_t size);
#define EP_SCRATCH(s, type, n) ((type *)ep_scratch_alloc((s), (size_t)(n), sizeof(type)))

#endif
