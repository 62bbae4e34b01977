#include "kernels/scratch.h"

#include <assert.h>

struct ep_scratch_block {
  ep_scratch_block *next;
  size_t size, used; /* bytes of data, which follow the 64-byte header */
};
enum { HEADER = 64, FIRST_BLOCK = 1 << 16 };

static char *data(ep_scratch_block *b) { return (char *)b + HEADER; }

void ep_scratch_init(ep_scratch *s, ep_ctx *ctx) { *s = (ep_scratch){.ctx = ctx}; }

void ep_scratch_clear(ep_scratch *s) {
  for (ep_scratch_block *b = s->first, *next; b; b = next) {
    next = b->next;
    ep_free(s->ctx, b);
  }
  s->first = s->cur = NULL;
}

ep_scratch_mark ep_scratch_save(const ep_scratch *s) { return (ep_scratch_mark){s->cur, s->cur ? s->cur->used : 0}; }

void ep_scratch_restore(ep_scratch *s, ep_scratch_mark m) {
  if (m.block) {
    assert(m.used <= m.block->used); /* marks are restored in reverse order */
    m.block->used = m.used;
  }
  s->cur = m.block;
}

void *ep_scratch_alloc(ep_scratch *s, size_t n, size_t size) {
  static const size_t max = SIZE_MAX / 4;
  if (size && n > max / size) {
    EP_FAIL(s->ctx, EP_E_NOMEM, "out of memory (%zu x %zu bytes)", n, size);
    return NULL;
  }
  size_t need = (n * size + 63) / 64 * 64;
  /* Next block in the chain that is large enough; smaller ones in between stay for smaller requests after a restore. */
  ep_scratch_block *b = s->cur, **link = b ? &b->next : &s->first;
  if (b && b->size - b->used >= need) {
    void *p = data(b) + b->used;
    b->used += need;
    return p;
  }
  while (*link && (*link)->size < need) link = &(*link)->next;
  if (!*link) {
    size_t size_new = b ? 2 * b->size : FIRST_BLOCK;
    if (size_new > ((size_t)1 << 26)) size_new = (size_t)1 << 26;
    if (size_new < need) size_new = need;
    b = ep_alloc(s->ctx, HEADER + size_new);
    if (!b) return NULL;
    *b = (ep_scratch_block){.size = size_new};
    *link = b;
  }
  b = *link;
  b->used = need;
  s->cur = b;
  return data(b);
}
