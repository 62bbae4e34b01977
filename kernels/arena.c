#include "kernels/arena.h"

#include <assert.h>
#include <string.h>

struct ep_arena_chunk {
  ep_arena_chunk *next;
  size_t size, used;
};
enum { HEADER = 64, CHUNK = 1 << 16 };

void ep_arena_init(ep_arena *a, ep_ctx *ctx) { *a = (ep_arena){.ctx = ctx}; }

void ep_arena_clear(ep_arena *a) {
  for (ep_arena_chunk *c = a->head, *next; c; c = next) {
    next = c->next;
    ep_free(a->ctx, c);
  }
  a->head = NULL;
}

void *ep_arena_alloc(ep_arena *a, size_t n, size_t size) {
  if (size && n > SIZE_MAX / 4 / size) {
    EP_FAIL(a->ctx, EP_E_NOMEM, "out of memory (%zu x %zu bytes)", n, size);
    return NULL;
  }
  size_t need = n * size, align = need >= 64 ? 64 : 16;
  ep_arena_chunk *c = a->head;
  size_t at = c ? (c->used + align - 1) / align * align : 0;
  if (!c || at + need > c->size) {
    size_t cap = need > CHUNK / 4 ? need : CHUNK;
    c = ep_alloc(a->ctx, HEADER + cap);
    if (!c) return NULL;
    *c = (ep_arena_chunk){.size = cap};
    if (cap == need && a->head) {
      /* A big block of its own goes behind the head, which keeps its free room. */
      c->next = a->head->next;
      a->head->next = c;
    } else {
      c->next = a->head;
      a->head = c;
    }
    at = 0;
  }
  assert(at % align == 0 && at + need <= c->size);
  c->used = at + need;
  void *p = (char *)c + HEADER + at;
  memset(p, 0, need);
  return p;
}

char *ep_arena_strdup(ep_arena *a, const char *s) {
  size_t n = strlen(s) + 1;
  char *p = ep_arena_alloc(a, n, 1);
  if (p) memcpy(p, s, n);
  return p;
}
