/* Arena: many small blocks that live and die together (a graph, a query, one encoding). */
#ifndef EP_KERNELS_ARENA_H
#define EP_KERNELS_ARENA_H

#include "kernels/status.h"

typedef struct ep_arena_chunk ep_arena_chunk;
typedef struct ep_arena {
  ep_ctx *ctx;
  ep_arena_chunk *head;
} ep_arena;

void ep_arena_init(ep_arena *a, ep_ctx *ctx);
void ep_arena_clear(ep_arena *a);
/* 64-byte aligned when n*size >= 64, else 16; zeroed; NULL (recorded) when memory runs out or n*size overflows. */
void *ep_arena_alloc(ep_arena *a, size_t n, size_t size);
char *ep_arena_strdup(ep_arena *a, const char *s);
#define EP_ARENA(a, type, n) ((type *)ep_arena_alloc((a), (size_t)(n), sizeof(type)))

#endif
