#include "verifier/split_record.h"

#include <string.h>

static ep_status add(ep_split_record *r, const bool *is_open) {
  if (r->n == r->cap) {
    uint32_t cap = r->cap ? 2 * r->cap : 64;
    ep_split_node *t = ep_realloc(r->ctx, r->node, cap * sizeof *t);
    if (!t) return EP_E_NOMEM;
    r->node = t;
    uint8_t *o = ep_realloc(r->ctx, r->is_open, (size_t)cap * r->n_poly + 1);
    if (!o) return EP_E_NOMEM;
    r->is_open = o;
    r->cap = cap;
  }
  r->node[r->n] = (ep_split_node){0};
  for (uint32_t p = 0; p < r->n_poly; p++) r->is_open[(size_t)r->n * r->n_poly + p] = is_open[p];
  r->n++;
  return EP_OK;
}

ep_status ep_split_record_init(ep_split_record *r, ep_ctx *ctx, uint32_t n_poly, const bool *is_open) {
  *r = (ep_split_record){.ctx = ctx, .n_poly = n_poly};
  return add(r, is_open);
}

void ep_split_record_clear(ep_split_record *r) {
  if (!r->ctx) return;
  ep_free(r->ctx, r->node);
  ep_free(r->ctx, r->is_open);
  for (uint32_t i = 0; i < r->n_neurons; i++) {
    ep_free(r->ctx, r->neurons[i].is_open);
    ep_bytes_clear(&r->neurons[i].trees);
  }
  ep_free(r->ctx, r->neurons);
  *r = (ep_split_record){0};
}

ep_status ep_split_record_cut(ep_split_record *r, uint32_t id, uint32_t axis, double at, const bool *is_open,
                              uint32_t *low) {
  *low = r->n;
  r->node[id] = (ep_split_node){r->n, axis, at};
  EP_TRY(add(r, is_open));
  return add(r, is_open);
}

ep_status ep_split_record_neurons(ep_split_record *r, uint32_t id, const bool *is_open, ep_bytes *trees) {
  if (!(r->n_neurons & (r->n_neurons - 1))) { /* full at powers of two */
    ep_split_neurons *t = ep_realloc(r->ctx, r->neurons, (2 * (size_t)r->n_neurons + 1) * sizeof *t);
    if (!t) return EP_E_NOMEM;
    r->neurons = t;
  }
  ep_split_neurons *own = &r->neurons[r->n_neurons];
  own->is_open = ep_alloc(r->ctx, r->n_poly + 1u);
  if (!own->is_open) return EP_E_NOMEM;
  for (uint32_t p = 0; p < r->n_poly; p++) own->is_open[p] = is_open[p];
  own->trees = *trees;
  *trees = (ep_bytes){.ctx = r->ctx};
  r->node[id].axis = ++r->n_neurons;
  return EP_OK;
}

/* Which of the polytopes open before are no longer so, one bit each; only if there is a choice. */
static ep_status write_ended(const ep_split_record *r, const uint8_t *before, const uint8_t *after, ep_bytes *out) {
  uint32_t n_open = 0, k = 0;
  uint8_t bits = 0;
  for (uint32_t p = 0; p < r->n_poly; p++) n_open += before[p];
  for (uint32_t p = 0; p < r->n_poly && n_open > 1; p++) {
    if (!before[p]) continue;
    bits = (uint8_t)(bits | (unsigned)!after[p] << (k % 8));
    if (++k % 8 && k < n_open) continue;
    EP_TRY(ep_bytes_add_byte(out, bits));
    bits = 0;
  }
  return EP_OK;
}

static ep_status write_leaf(const ep_split_record *r, uint32_t id, ep_bytes *out) {
  if (!r->node[id].axis) return ep_bytes_add_number(out, 0);
  const ep_split_neurons *own = &r->neurons[r->node[id].axis - 1];
  EP_TRY(ep_bytes_add_number(out, 1));
  EP_TRY(write_ended(r, r->is_open + (size_t)id * r->n_poly, own->is_open, out));
  return ep_bytes_add(out, own->trees.data, own->trees.n);
}

static ep_status write_box(const ep_split_record *r, uint32_t id, ep_bytes *out) {
  const ep_split_node *nd = &r->node[id];
  if (!nd->low) return write_leaf(r, id, out);
  EP_TRY(ep_bytes_add_number(out, nd->axis + 2));
  uint64_t bits;
  uint8_t at[8];
  memcpy(&bits, &nd->at, sizeof bits);
  for (int i = 0; i < 8; i++) at[i] = (uint8_t)(bits >> (8 * i));
  EP_TRY(ep_bytes_add(out, at, 8));
  EP_TRY(write_ended(r, r->is_open + (size_t)id * r->n_poly, r->is_open + (size_t)nd->low * r->n_poly, out));
  EP_TRY(write_box(r, nd->low, out));
  return write_box(r, nd->low + 1, out);
}

ep_status ep_split_record_write(const ep_split_record *r, ep_bytes *out) { return write_box(r, 0, out); }
