/* The tree of boxes of one input split, as certificates hold it: which axis each box was cut along, and which polytopes
 * ended there. Boxes are numbered as they come into being. Not trusted (docs/certificate.md). */
#ifndef EP_VERIFIER_SPLIT_RECORD_H
#define EP_VERIFIER_SPLIT_RECORD_H

#include "bounds/proof.h"

typedef struct ep_split_node {
  uint32_t low;  /* number of the lower half, the upper one is low + 1; 0 = a leaf */
  uint32_t axis; /* of a leaf: one more than the number of what its neurons decided, 0 = they did not */
  double at;     /* where along the axis */
} ep_split_node;

/* A box that its neurons decided. */
typedef struct ep_split_neurons {
  uint8_t *is_open; /* [n_poly] polytopes that were left to them */
  ep_bytes trees;   /* one for each of these */
} ep_split_neurons;

typedef struct ep_split_record {
  ep_ctx *ctx;
  uint32_t n_poly;
  uint32_t n, cap;
  ep_split_node *node;
  uint8_t *is_open; /* [n x n_poly] polytopes open when the box came into being */
  uint32_t n_neurons;
  ep_split_neurons *neurons;
} ep_split_record;

/* The root box is number 0. */
ep_status ep_split_record_init(ep_split_record *r, ep_ctx *ctx, uint32_t n_poly, const bool *is_open);
void ep_split_record_clear(ep_split_record *r);
/* Box `id` was cut along `axis` at `at` with is_open left; *low = the lower half's number, the upper half's is *low
 * + 1. */
ep_status ep_split_record_cut(ep_split_record *r, uint32_t id, uint32_t axis, double at, const bool *is_open,
                              uint32_t *low);
/* Box `id` was decided: polytopes without is_open by its bounds, the others by the cases in `trees`, which is taken
 * over. */
ep_status ep_split_record_neurons(ep_split_record *r, uint32_t id, const bool *is_open, ep_bytes *trees);
/* Appends the tree in preorder. */
ep_status ep_split_record_write(const ep_split_record *r, ep_bytes *out);

#endif
