#include "bounds/proof.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/ascent.h"

/* One tree for each key, or one polytope's. */
struct ep_proof_block {
  ep_proof *p;
  bool is_poly, is_void;
  uint32_t subject; /* layer of the lemmas, or polytope */
  uint32_t n_u, *u_node, *u_neuron;
  size_t n_leaf, cap_leaf;
  ep_proof_leaf *leaf;                       /* decisions in flat neurons */
  ep_proof_block *lemma, *last_lemma, *next; /* of a block inside a step, in order */
};

/* n bytes to be filled in at once. */
static ep_status room(ep_bytes *b, size_t n, uint8_t **out) {
  if (b->n + n > b->cap) {
    size_t cap = 2 * (b->n + n) + 64;
    uint8_t *t = ep_realloc(b->ctx, b->data, cap);
    if (!t) return EP_E_NOMEM;
    b->data = t;
    b->cap = cap;
  }
  *out = b->data + b->n;
  b->n += n;
  return EP_OK;
}

ep_status ep_bytes_add(ep_bytes *b, const void *data, size_t n) {
  uint8_t *at;
  EP_TRY(room(b, n, &at));
  if (n) memcpy(at, data, n);
  return EP_OK;
}

ep_status ep_bytes_add_byte(ep_bytes *b, uint8_t byte) { return ep_bytes_add(b, &byte, 1); }

ep_status ep_bytes_add_number(ep_bytes *b, uint32_t v) {
  uint8_t t[5];
  size_t n = 0;
  for (; v >= 128; v >>= 7) t[n++] = (uint8_t)(v | 128);
  t[n++] = (uint8_t)v;
  return ep_bytes_add(b, t, n);
}

void ep_bytes_clear(ep_bytes *b) {
  ep_free(b->ctx, b->data);
  *b = (ep_bytes){.ctx = b->ctx};
}

ep_status ep_proof_check(const ep_graph *g) {
  for (uint32_t k = 0; k < g->n_node; k++)
    if (g->node[k].low.cls != EP_AFFINE && !ep_op_is_relu(&g->node[k].low))
      return EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): certificates cover affine nodes and Relu only",
                     g->node[k].name, g->node[k].op->onnx);
  return EP_OK;
}

ep_status ep_proof_create(ep_ctx *ctx, const ep_graph *g, ep_proof **out) {
  ep_proof *p = *out = ep_calloc(ctx, 1, sizeof *p);
  if (!p) return EP_E_NOMEM;
  p->ctx = p->bytes.ctx = ctx;
  p->g = g;
  pthread_mutex_init(&p->lock, NULL);
  ep_arena_init(&p->arena, ctx);
  p->layer = ep_calloc(ctx, g->n_node + 1u, sizeof *p->layer);
  p->flat = ep_calloc(ctx, g->n_node + 1u, sizeof *p->flat);
  if (!p->layer || !p->flat) {
    ep_proof_destroy(p);
    *out = NULL;
    return EP_E_NOMEM;
  }
  for (uint32_t k = 0; k < g->n_node; k++) {
    if (!ep_op_is_relu(&g->node[k].low)) continue;
    p->flat[k] = p->n_flat;
    p->n_flat += g->val[g->node[k].out].n;
    p->layer[p->n_layer++] = k;
  }
  return EP_OK;
}

void ep_proof_destroy(ep_proof *p) {
  if (!p) return;
  ep_proof_abort(p);
  ep_bytes_clear(&p->bytes);
  ep_free(p->ctx, p->layer);
  ep_free(p->ctx, p->flat);
  pthread_mutex_destroy(&p->lock);
  ep_free(p->ctx, p);
}

uint32_t ep_proof_flat(const ep_proof *p, uint32_t node, uint32_t neuron) { return p->flat[node] + neuron; }

/* The ReLU layer that reads v. */
static ep_status layer_of(const ep_proof *p, ep_vid v, uint32_t *out) {
  for (uint32_t l = 0; l < p->n_layer; l++)
    if (p->g->node[p->layer[l]].in[0] == v) {
      *out = l;
      return EP_OK;
    }
  return EP_FAIL(p->ctx, EP_E_INTERNAL, "no ReLU reads the value that was bounded");
}

/* ---- blocks ---- */

ep_status ep_proof_block_create(ep_proof *p, ep_proof_block **out) {
  ep_proof_block *b = *out = ep_calloc(p->ctx, 1, sizeof *b);
  if (!b) return EP_E_NOMEM;
  b->p = p;
  return EP_OK;
}

void ep_proof_block_destroy(ep_proof_block *b) {
  if (!b) return;
  for (size_t i = 0; i < b->n_leaf; i++) ep_proof_block_destroy(b->leaf[i].block);
  for (ep_proof_block *l = b->lemma, *next; l; l = next) {
    next = l->next;
    ep_proof_block_destroy(l);
  }
  ep_ctx *ctx = b->p->ctx;
  ep_free(ctx, b->leaf);
  ep_free(ctx, b);
}

ep_status ep_proof_block_neurons(ep_proof_block *b, uint32_t n_u, const ep_unstable *u) {
  b->n_u = n_u;
  pthread_mutex_lock(&b->p->lock);
  b->u_node = EP_ARENA(&b->p->arena, uint32_t, n_u + 1u);
  b->u_neuron = EP_ARENA(&b->p->arena, uint32_t, n_u + 1u);
  pthread_mutex_unlock(&b->p->lock);
  if (!b->u_node || !b->u_neuron) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_u; i++) {
    b->u_node[i] = u[i].node;
    b->u_neuron[i] = u[i].neuron;
    assert(!i || u[i].node > u[i - 1].node || (u[i].node == u[i - 1].node && u[i].neuron > u[i - 1].neuron));
  }
  return EP_OK;
}

ep_status ep_proof_block_lemmas(ep_proof_block *b, ep_vid v, uint32_t n_u, const ep_unstable *u, ep_proof_block **out) {
  ep_proof_block *l;
  EP_TRY(ep_proof_block_create(b->p, &l));
  *(b->last_lemma ? &b->last_lemma->next : &b->lemma) = l;
  b->last_lemma = l;
  *out = l;
  EP_TRY(layer_of(b->p, v, &l->subject));
  return ep_proof_block_neurons(l, n_u, u);
}

void ep_proof_block_set_void(ep_proof_block *b) { b->is_void = true; }

static ep_status add_leaf(ep_proof_block *b, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  ep_proof *p = b->p;
  if (b->n_leaf == b->cap_leaf) {
    size_t cap = b->cap_leaf ? 2 * b->cap_leaf : 16;
    ep_proof_leaf *t = ep_realloc(p->ctx, b->leaf, cap * sizeof *t);
    if (!t) return EP_E_NOMEM;
    b->leaf = t;
    b->cap_leaf = cap;
  }
  ep_proof_leaf *f = &b->leaf[b->n_leaf];
  bool has_slopes = alpha || leaf->slope;
  *f = *leaf;
  f->dec = EP_ARENA(&p->arena, uint32_t, 2 * (size_t)leaf->n_dec + (b->n_u + 7) / 4);
  if (!f->dec) return EP_E_NOMEM;
  f->beta = (float *)(f->dec + leaf->n_dec);
  f->slope = has_slopes ? (uint8_t *)(f->beta + leaf->n_dec) : NULL;
  for (uint32_t i = 0; i < leaf->n_dec; i++) {
    uint32_t d = leaf->dec[i];
    f->dec[i] =
        d & EP_PROOF_FLAT ? d ^ EP_PROOF_FLAT : 2 * ep_proof_flat(p, b->u_node[d / 2], b->u_neuron[d / 2]) + d % 2;
    f->beta[i] = leaf->beta && leaf->beta[i] > 0 && leaf->beta[i] < INFINITY ? leaf->beta[i] : 0;
  }
  for (uint32_t i = 0; i < b->n_u && has_slopes; i++) {
    uint32_t node = b->u_node[i], n = p->g->val[p->g->node[node].out].n;
    f->slope[i] = leaf->slope ? leaf->slope[i] : ep_slope_pack((float)alpha[node][at * n + b->u_neuron[i]]);
  }
  b->n_leaf++;
  return EP_OK;
}

ep_status ep_proof_block_add(ep_proof_block *b, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  pthread_mutex_lock(&b->p->lock);
  ep_status st = add_leaf(b, leaf, alpha, at);
  pthread_mutex_unlock(&b->p->lock);
  if (st != EP_OK) ep_proof_block_destroy(leaf->block);
  return st;
}

/* ---- steps ---- */

static ep_status begin(ep_proof *p, bool is_poly, uint32_t subject) {
  assert(!p->step);
  EP_TRY(ep_proof_block_create(p, &p->step));
  p->step->is_poly = is_poly;
  p->step->subject = subject;
  return EP_OK;
}

ep_status ep_proof_begin_lemmas(ep_proof *p, ep_vid v, uint32_t n_u, const ep_unstable *u) {
  uint32_t l;
  EP_TRY(layer_of(p, v, &l));
  EP_TRY(begin(p, false, l));
  return ep_proof_block_neurons(p->step, n_u, u);
}

ep_status ep_proof_begin_poly(ep_proof *p, uint32_t poly, uint32_t n_u, const ep_unstable *u) {
  EP_TRY(begin(p, true, poly));
  return ep_proof_block_neurons(p->step, n_u, u);
}

/* Takes the neurons whose lower slope is 1; the lines' own slopes are 0 or 1. */
static ep_status take_lines(ep_proof *p, const ep_relax_f64 *lines) {
  uint32_t n = 0;
  ep_unstable *u = ep_calloc(p->ctx, p->n_flat + 1u, sizeof *u);
  if (!u) return EP_E_NOMEM;
  for (uint32_t l = 0; l < p->n_layer; l++)
    for (uint32_t i = 0; i < p->g->val[p->g->node[p->layer[l]].out].n; i++)
      if (lines->lines[p->layer[l]].sl[i] > 0.5) u[n++] = (ep_unstable){.node = p->layer[l], .neuron = i};
  ep_status st = ep_proof_block_neurons(p->step, n, u);
  ep_free(p->ctx, u);
  return st;
}

ep_status ep_proof_begin_poly_lines(ep_proof *p, uint32_t poly, const ep_relax_f64 *lines) {
  EP_TRY(begin(p, true, poly));
  return take_lines(p, lines);
}

ep_status ep_proof_add_leaf(ep_proof *p, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  return ep_proof_block_add(p->step, leaf, alpha, at);
}

void ep_proof_round(const ep_proof *p, double *const *alpha, size_t rows) {
  for (uint32_t l = 0; l < p->n_layer; l++) {
    double *a = alpha[p->layer[l]];
    size_t n = rows * p->g->val[p->g->node[p->layer[l]].out].n;
    for (size_t i = 0; a && i < n; i++)
      a[i] = a[i] > 0 ? a[i] < 1 ? (double)ep_slope_unpack(ep_slope_pack((float)a[i])) : 1 : 0;
  }
}

/* ---- from leaves to bytes ---- */

static int compare_leaves(const void *a, const void *b) {
  const ep_proof_leaf *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  for (uint32_t i = 0; i < x->n_dec && i < y->n_dec; i++)
    if (x->dec[i] != y->dec[i]) return x->dec[i] < y->dec[i] ? -1 : 1;
  return (x->n_dec > y->n_dec) - (x->n_dec < y->n_dec);
}

static uint32_t find_dec(const ep_proof_leaf *f, uint32_t neuron) {
  for (uint32_t i = 0; i < f->n_dec; i++)
    if (f->dec[i] / 2 == neuron) return i;
  return UINT32_MAX;
}

static ep_status write_mask(const ep_proof_block *b) {
  const ep_proof *p = b->p;
  for (uint32_t l = 0, i = 0; l < p->n_layer; l++) {
    uint32_t n = p->g->val[p->g->node[p->layer[l]].out].n;
    for (uint32_t k = 0; k < (n + 7) / 8; k++) {
      uint8_t bits = 0;
      for (; i < b->n_u && b->u_node[i] == p->layer[l] && b->u_neuron[i] < 8 * (k + 1); i++)
        bits = (uint8_t)(bits | 1u << (b->u_neuron[i] - 8 * k));
      EP_TRY(ep_bytes_add_byte(&b->p->bytes, bits));
    }
  }
  return EP_OK;
}

ep_status ep_proof_layer(ep_proof *p, ep_vid v, const ep_relax_f64 *lines) {
  uint32_t l;
  EP_TRY(layer_of(p, v, &l));
  EP_TRY(begin(p, false, l));
  EP_TRY(take_lines(p, lines));
  EP_TRY(ep_bytes_add_byte(&p->bytes, 'C'));
  EP_TRY(ep_bytes_add_number(&p->bytes, l));
  EP_TRY(write_mask(p->step));
  ep_proof_abort(p);
  return EP_OK;
}

/* The way from the step's root to where writing is: decided flat neurons. */
typedef struct path {
  uint32_t *z, n;
  bool *is_on; /* [n_flat] */
} path;

static ep_status write_block(ep_proof_block *b, path *w);

/* Place of flat neuron z in the block's list, which is in order. */
static uint32_t place_of(const ep_proof_block *b, uint32_t z) {
  uint32_t lo = 0, hi = b->n_u;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (ep_proof_flat(b->p, b->u_node[mid], b->u_neuron[mid]) < z)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static ep_status write_leaf(ep_proof_block *b, path *w, const ep_proof_leaf *f, uint8_t *last) {
  ep_bytes *out = &b->p->bytes;
  EP_TRY(ep_bytes_add_number(out, f->block ? 1 : 0));
  if (f->block) return write_block(f->block, w);
  if (b->is_poly) EP_TRY(ep_bytes_add_number(out, f->row));
  uint8_t *at;
  size_t n_slope = f->slope ? b->n_u : 0;
  EP_TRY(room(out, 1 + n_slope + 4 * (size_t)w->n, &at));
  *at++ = f->slope ? 1 : 2;
  for (size_t i = 0; i < n_slope; i++) at[i] = (uint8_t)(f->slope[i] - last[i]);
  if (n_slope) memcpy(last, f->slope, n_slope);
  at += n_slope;
  for (uint32_t i = 0; i < w->n; i++, at += 4) {
    uint32_t bits = 0, dec = find_dec(f, w->z[i]);
    if (dec != UINT32_MAX) memcpy(&bits, &f->beta[dec], sizeof bits);
    for (int k = 0; k < 4; k++) at[k] = (uint8_t)(bits >> (8 * k));
  }
  return EP_OK;
}

/* A neuron that every one of the leaves decides and that is not on the path yet. The first split of a tree is one, so
 * there is always one when there is more than one leaf. */
static uint32_t common_neuron(const path *w, const ep_proof_leaf *f, size_t n) {
  for (uint32_t i = 0; n && i < f[0].n_dec; i++) {
    uint32_t z = f[0].dec[i] / 2;
    bool is_common = !w->is_on[z];
    for (size_t k = 1; k < n && is_common; k++) is_common = find_dec(&f[k], z) != UINT32_MAX;
    if (is_common) return z;
  }
  return UINT32_MAX;
}

static ep_status write_tree(ep_proof_block *b, path *w, ep_proof_leaf *f, size_t n, uint8_t *last) {
  uint32_t z = common_neuron(w, f, n);
  if (n == 1 && z == UINT32_MAX) return write_leaf(b, w, f, last);
  uint32_t place = z == UINT32_MAX ? b->n_u : place_of(b, z);
  if (place >= b->n_u || ep_proof_flat(b->p, b->u_node[place], b->u_neuron[place]) != z)
    return EP_FAIL(b->p->ctx, EP_E_INTERNAL, "the leaves of a search do not form a tree");
  size_t n_low = 0;
  for (size_t i = 0; i < n; i++) { /* those with z <= 0 to the front */
    if (f[i].dec[find_dec(&f[i], z)] & 1) continue;
    ep_proof_leaf t = f[i];
    f[i] = f[n_low];
    f[n_low++] = t;
  }
  EP_TRY(ep_bytes_add_number(&b->p->bytes, place + 2));
  w->is_on[z] = true;
  w->z[w->n++] = z;
  EP_TRY(write_tree(b, w, f, n_low, last));
  EP_TRY(write_tree(b, w, f + n_low, n - n_low, last));
  w->is_on[z] = false;
  w->n--;
  return EP_OK;
}

/* Lemmas, or the one tree of a polytope: neurons first, then trees. */
static ep_status write_trees(ep_proof_block *b, path *w) {
  ep_bytes *out = &b->p->bytes;
  uint32_t n_key = 0;
  qsort(b->leaf, b->n_leaf, sizeof *b->leaf, compare_leaves);
  for (size_t i = 0; i < b->n_leaf; i++) n_key += !i || b->leaf[i].key != b->leaf[i - 1].key;
  uint8_t *last = EP_ARENA(&b->p->arena, uint8_t, b->n_u + 1u);
  if (!last) return EP_E_NOMEM;
  EP_TRY(write_mask(b));
  if (!b->is_poly) EP_TRY(ep_bytes_add_number(out, n_key));
  for (size_t i = 0, n; i < b->n_leaf; i += n) {
    for (n = 1; i + n < b->n_leaf && b->leaf[i + n].key == b->leaf[i].key;) n++;
    if (!b->is_poly) EP_TRY(ep_bytes_add_number(out, b->leaf[i].key));
    EP_TRY(write_tree(b, w, b->leaf + i, n, last));
  }
  return EP_OK;
}

/* A block inside a polytope's tree. */
static ep_status write_block(ep_proof_block *b, path *w) {
  ep_bytes *out = &b->p->bytes;
  for (ep_proof_block *l = b->lemma; l; l = l->next) {
    if (!l->n_leaf) continue;
    EP_TRY(ep_bytes_add_byte(out, 'L'));
    EP_TRY(ep_bytes_add_number(out, l->subject));
    EP_TRY(write_trees(l, w));
  }
  EP_TRY(ep_bytes_add_byte(out, b->is_void ? 'X' : 'T'));
  b->is_poly = true;
  return b->is_void ? EP_OK : write_trees(b, w);
}

static ep_status write_step(ep_proof *p) {
  ep_proof_block *b = p->step;
  path w = {EP_ARENA(&b->p->arena, uint32_t, p->n_flat + 1u), 0, EP_ARENA(&b->p->arena, bool, p->n_flat + 1u)};
  if (!w.z || !w.is_on) return EP_E_NOMEM;
  EP_TRY(ep_bytes_add_byte(&p->bytes, b->is_poly ? 'P' : 'L'));
  EP_TRY(ep_bytes_add_number(&p->bytes, b->subject));
  EP_TRY(write_trees(b, &w));
  if (b->is_poly) p->n_useful = p->bytes.n;
  return EP_OK;
}

ep_status ep_proof_commit(ep_proof *p) {
  ep_status st = p->step && p->step->n_leaf ? write_step(p) : EP_OK;
  ep_proof_abort(p);
  return st;
}

void ep_proof_abort(ep_proof *p) {
  ep_proof_block_destroy(p->step);
  p->step = NULL;
  ep_arena_clear(&p->arena);
}
