/* A record of how the certified bounds of one input box came about, step by step, so that an independent program can
 * replay them (docs/certificate.md). Steps: a layer bounded with default slopes, bounds of single neurons (lemmas) and
 * refuted polytopes, each by one row or by a tree of cases with a row per leaf. Not trusted: whatever is recorded, the
 * replay computes its own bounds.
 *
 * Only networks of affine nodes and ReLUs. Slopes are recorded as bytes and multipliers as 16 bits, so rows must be
 * certified with slopes rounded by ep_proof_round and multipliers by ep_beta_round. Thread-safe for ep_proof_add_leaf
 * and ep_proof_block_add; what ends up in the record does not depend on the order of calls. A block becomes bytes as
 * soon as it is closed, lemmas without cases as they come.
 */
#ifndef EP_BOUNDS_PROOF_H
#define EP_BOUNDS_PROOF_H

#include <pthread.h>
#include <string.h>

#include "kernels/arena.h"
#include "models/graph.h"

/* Bytes that grow. */
typedef struct ep_bytes {
  ep_ctx *ctx;
  size_t n, cap;
  uint8_t *data;
} ep_bytes;
ep_status ep_bytes_add(ep_bytes *b, const void *data, size_t n);
ep_status ep_bytes_add_byte(ep_bytes *b, uint8_t byte);
/* 7 bits a byte, low ones first, high bit = more follow. */
ep_status ep_bytes_add_number(ep_bytes *b, uint32_t v);
void ep_bytes_clear(ep_bytes *b);

typedef struct ep_proof ep_proof;
typedef struct ep_proof_block ep_proof_block;
struct ep_unstable;  /* bounds/snet.h */
struct ep_relax_f64; /* bounds/lines.h */

/* What one row rests on, or the block that goes on where the decisions hold. */
typedef struct ep_proof_leaf {
  uint32_t key; /* lemma: neuron * 2 + is_upper; polytope: 0 */
  uint32_t row; /* polytope: its row that is refuted */
  uint32_t n_dec;
  const uint32_t *dec;  /* [n_dec] ascending; place in the block's list of neurons * 2 + is_active */
  const float *beta;    /* [n_dec]; NULL with a block or a price */
  const uint8_t *slope; /* [n_u] in 1/255, NULL = the lines' own */
  /* Instead of slopes and multipliers, what a linear programme's duals amount to: the coefficient of every neuron's
   * pre-activation, [n_u]; and weights of all the polytope's rows instead of one row, [n_weight], or NULL. */
  const float *price, *weight;
  uint32_t n_weight;
  ep_proof_block *block;
} ep_proof_leaf;

/* Multipliers as the record holds them: the upper 16 bits of a float. */
static inline float ep_beta_round(float b) {
  uint32_t bits;
  if (!(b > 0 && b < 1e38f)) return 0;
  memcpy(&bits, &b, sizeof bits);
  bits = (bits + 0x8000u) & 0xffff0000u;
  memcpy(&b, &bits, sizeof bits);
  return b;
}

struct ep_proof {
  ep_ctx *ctx;
  const ep_graph *g;
  uint32_t n_layer, *layer; /* ReLU nodes, in graph order */
  uint32_t *flat;           /* [n_node] place of a ReLU node's neurons among all */
  uint32_t n_flat;
  ep_bytes bytes;       /* finished steps */
  size_t n_useful;      /* bytes up to the last refuted polytope */
  ep_proof_block *step; /* under way */
  pthread_mutex_t lock;
};

/* EP_E_UNSUPPORTED, with the node's name, for a network that cannot be recorded. */
ep_status ep_proof_check(const ep_graph *g);
ep_status ep_proof_create(ep_ctx *ctx, const ep_graph *g, ep_proof **out);
void ep_proof_destroy(ep_proof *p);

/* All neurons of pre-activation v whose sign is open were bounded from both sides with the lines' own slopes. */
ep_status ep_proof_layer(ep_proof *p, ep_vid v, const struct ep_relax_f64 *lines);
/* Opens a step: lemmas about pre-activation v, or one polytope. u [n_u]: the ReLU neurons that slopes and cases are
 * about, in graph order, those of a search net; copied. */
ep_status ep_proof_begin_lemmas(ep_proof *p, ep_vid v, uint32_t n_u, const struct ep_unstable *u);
ep_status ep_proof_begin_poly(ep_proof *p, uint32_t poly, uint32_t n_u, const struct ep_unstable *u);
/* The same with the lines' own slopes for every leaf; these have none. */
ep_status ep_proof_begin_poly_lines(ep_proof *p, uint32_t poly, const struct ep_relax_f64 *lines);
/* Copies the leaf into the step under way; slopes may also come from tables as ep_backward_f64 takes them: [n_node] of
 * [rows x n], row `at`. */
ep_status ep_proof_add_leaf(ep_proof *p, const ep_proof_leaf *leaf, double *const *alpha, size_t at);
/* Closes the step: leaves of one key become one tree. Without leaves nothing is recorded. */
ep_status ep_proof_commit(ep_proof *p);
/* Closes the step and forgets it. */
void ep_proof_abort(ep_proof *p);
/* Rounds the slopes of rows 0..rows-1 in tables (as above) to what the record can hold. */
void ep_proof_round(const ep_proof *p, double *const *alpha, size_t rows);

/* Blocks inside a step: what is shown where the decisions of a leaf hold. First lemmas, then either that the decisions
 * contradict each other (is_void), or leaves over a list of neurons of the block's own. */
ep_status ep_proof_block_create(ep_proof *p, ep_proof_block **out);
void ep_proof_block_destroy(ep_proof_block *b);
/* Opens lemmas about v in block b, by single rows; *out takes their leaves until the next of these calls on b, to which
 * it belongs. */
ep_status ep_proof_block_lemmas(ep_proof_block *b, ep_vid v, uint32_t n_u, const struct ep_unstable *u,
                                ep_proof_block **out);
ep_status ep_proof_block_neurons(ep_proof_block *b, uint32_t n_u, const struct ep_unstable *u);
ep_status ep_proof_block_set_void(ep_proof_block *b);
/* As ep_proof_add_leaf. Takes leaf->block over, also when it fails. */
ep_status ep_proof_block_add(ep_proof_block *b, const ep_proof_leaf *leaf, double *const *alpha, size_t at);
/* All leaves are there: turns them into bytes and lets go of them. What adds up to no tree is EP_E_INTERNAL. */
ep_status ep_proof_block_close(ep_proof_block *b);
/* The bytes of a closed block. */
const ep_bytes *ep_proof_block_bytes(const ep_proof_block *b);
/* A decision on a neuron that need not be in the list: (ep_proof_flat * 2 + is_active) | EP_PROOF_FLAT. */
#define EP_PROOF_FLAT 0x80000000u
uint32_t ep_proof_flat(const ep_proof *p, uint32_t node, uint32_t neuron);

#endif
