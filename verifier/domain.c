#include "verifier/domain.h"

#include <assert.h>

ep_domain *ep_domain_create(ep_ctx *ctx, size_t n_row, size_t n_u, uint32_t n_dec) {
  size_t n = sizeof(ep_domain) + n_dec * sizeof(uint32_t) + n_row * n_dec * sizeof(float) + n_row * n_u;
  ep_domain *d = ep_alloc(ctx, n);
  if (!d) return NULL;
  d->margin = 0;
  d->serial = 0;
  d->seed = 0;
  d->n_dec = n_dec;
  d->n_branch = 0;
  d->dec = (uint32_t *)(d + 1);
  d->beta = (float *)(d->dec + n_dec);
  d->slope = (uint8_t *)(d->beta + n_row * n_dec);
  return d;
}

static bool before(const ep_domain *a, const ep_domain *b) {
  return a->margin < b->margin || (a->margin == b->margin && a->serial < b->serial);
}

ep_status ep_queue_push(ep_ctx *ctx, ep_queue *q, ep_domain *d) {
  ep_status st = ep_reserve(ctx, (void **)&q->heap, &q->cap, q->n, sizeof *q->heap);
  if (st != EP_OK) {
    ep_free(ctx, d);
    return st;
  }
  size_t i = q->n++;
  for (; i > 0 && before(d, q->heap[(i - 1) / 2]); i = (i - 1) / 2) q->heap[i] = q->heap[(i - 1) / 2];
  q->heap[i] = d;
  return EP_OK;
}

ep_domain *ep_queue_pop(ep_queue *q) {
  assert(q->n);
  ep_domain *top = q->heap[0], *last = q->heap[--q->n];
  size_t i = 0;
  for (;;) {
    size_t c = 2 * i + 1;
    if (c >= q->n) break;
    if (c + 1 < q->n && before(q->heap[c + 1], q->heap[c])) c++;
    if (!before(q->heap[c], last)) break;
    q->heap[i] = q->heap[c];
    i = c;
  }
  if (q->n) q->heap[i] = last;
  return top;
}

void ep_queue_clear(ep_ctx *ctx, ep_queue *q) {
  for (size_t i = 0; i < q->n; i++) ep_free(ctx, q->heap[i]);
  ep_free(ctx, q->heap);
  *q = (ep_queue){0};
}
