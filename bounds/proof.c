#include "bounds/proof.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/ascent.h"

ep_status ep_bytes_add(ep_bytes *b, const void *data, size_t n) {
  if (b->n + n > b->cap) {
    size_t cap = 2 * (b->n + n) + 64;
    uint8_t *t = ep_realloc(b->ctx, b->data, cap);
    if (!t) return EP_E_NOMEM;
    b->data = t;
    b->cap = cap;
  }
  if (n) memcpy(b->data + b->n, data, n);
  b->n += n;
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

static bool is_relu(const ep_lowered *low) {
  const ep_univar *f = &low->is.univar;
  return low->cls == EP_UNIVAR && f->n_piece == 2 && !f->has_jump && f->slope[0] == 0 && f->slope[1] == 1 &&
         f->icpt[0] == 0 && f->icpt[1] == 0 && f->brk[0].lo == 0 && f->brk[0].hi == 0;
}

ep_status ep_proof_check(const ep_graph *g) {
  for (uint32_t k = 0; k < g->n_node; k++)
    if (g->node[k].low.cls != EP_AFFINE && !is_relu(&g->node[k].low))
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
  for (uint32_t k = 0; p->layer && k < g->n_node; k++)
    if (is_relu(&g->node[k].low)) p->layer[p->n_layer++] = k;
  if (p->layer) return EP_OK;
  ep_proof_destroy(p);
  *out = NULL;
  return EP_E_NOMEM;
}

void ep_proof_destroy(ep_proof *p) {
  if (!p) return;
  ep_proof_abort(p);
  ep_bytes_clear(&p->bytes);
  ep_free(p->ctx, p->layer);
  ep_free(p->ctx, p->leaf);
  pthread_mutex_destroy(&p->lock);
  ep_free(p->ctx, p);
}

/* The ReLU layer that reads v. */
static ep_status layer_of(const ep_proof *p, ep_vid v, uint32_t *out) {
  for (uint32_t l = 0; l < p->n_layer; l++)
    if (p->g->node[p->layer[l]].in[0] == v) {
      *out = l;
      return EP_OK;
    }
  return EP_FAIL(p->ctx, EP_E_INTERNAL, "no ReLU reads the value that was bounded");
}

static ep_status begin(ep_proof *p, uint32_t n_u, const ep_unstable *u) {
  assert(!p->n_leaf);
  ep_arena_clear(&p->arena);
  p->n_u = n_u;
  p->u_node = EP_ARENA(&p->arena, uint32_t, n_u + 1u);
  p->u_neuron = EP_ARENA(&p->arena, uint32_t, n_u + 1u);
  if (!p->u_node || !p->u_neuron) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_u; i++) {
    p->u_node[i] = u[i].node;
    p->u_neuron[i] = u[i].neuron;
    assert(!i || u[i].node > u[i - 1].node || (u[i].node == u[i - 1].node && u[i].neuron > u[i - 1].neuron));
  }
  return EP_OK;
}

ep_status ep_proof_begin_lemmas(ep_proof *p, ep_vid v, uint32_t n_u, const ep_unstable *u) {
  p->is_poly = false;
  EP_TRY(layer_of(p, v, &p->subject));
  return begin(p, n_u, u);
}

ep_status ep_proof_begin_poly(ep_proof *p, uint32_t poly, uint32_t n_u, const ep_unstable *u) {
  p->is_poly = true;
  p->subject = poly;
  return begin(p, n_u, u);
}

/* Takes the neurons whose lower slope is 1; the lines' own slopes are 0 or 1. */
static ep_status begin_lines(ep_proof *p, const ep_relax_f64 *lines) {
  uint32_t n = 0;
  for (uint32_t l = 0; l < p->n_layer; l++) n += p->g->val[p->g->node[p->layer[l]].out].n;
  ep_unstable *u = ep_calloc(p->ctx, n + 1u, sizeof *u);
  if (!u) return EP_E_NOMEM;
  n = 0;
  for (uint32_t l = 0; l < p->n_layer; l++)
    for (uint32_t i = 0; i < p->g->val[p->g->node[p->layer[l]].out].n; i++)
      if (lines->lines[p->layer[l]].sl[i] > 0.5) u[n++] = (ep_unstable){.node = p->layer[l], .neuron = i};
  ep_status st = begin(p, n, u);
  ep_free(p->ctx, u);
  return st;
}

ep_status ep_proof_begin_poly_lines(ep_proof *p, uint32_t poly, const ep_relax_f64 *lines) {
  p->is_poly = true;
  p->subject = poly;
  return begin_lines(p, lines);
}

static ep_status add_leaf(ep_proof *p, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  if (p->n_leaf == p->cap_leaf) {
    size_t cap = p->cap_leaf ? 2 * p->cap_leaf : 64;
    ep_proof_leaf *t = ep_realloc(p->ctx, p->leaf, cap * sizeof *t);
    if (!t) return EP_E_NOMEM;
    p->leaf = t;
    p->cap_leaf = cap;
  }
  ep_proof_leaf *f = &p->leaf[p->n_leaf];
  bool has_slopes = alpha || leaf->slope;
  *f = *leaf;
  f->dec = EP_ARENA(&p->arena, uint32_t, leaf->n_dec + 1u);
  f->beta = EP_ARENA(&p->arena, float, leaf->n_dec + 1u);
  f->slope = has_slopes ? EP_ARENA(&p->arena, uint8_t, p->n_u + 1u) : NULL;
  if (!f->dec || !f->beta || (has_slopes && !f->slope)) return EP_E_NOMEM;
  for (uint32_t i = 0; i < leaf->n_dec; i++) {
    f->dec[i] = leaf->dec[i];
    f->beta[i] = leaf->beta[i] > 0 && leaf->beta[i] < INFINITY ? leaf->beta[i] : 0;
  }
  for (uint32_t i = 0; i < p->n_u && has_slopes; i++) {
    uint32_t node = p->u_node[i], n = p->g->val[p->g->node[node].out].n;
    f->slope[i] = leaf->slope ? leaf->slope[i] : ep_slope_pack((float)alpha[node][at * n + p->u_neuron[i]]);
  }
  p->n_leaf++;
  return EP_OK;
}

ep_status ep_proof_add_leaf(ep_proof *p, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  pthread_mutex_lock(&p->lock);
  ep_status st = add_leaf(p, leaf, alpha, at);
  pthread_mutex_unlock(&p->lock);
  return st;
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

static ep_status write_mask(ep_proof *p) {
  for (uint32_t l = 0, i = 0; l < p->n_layer; l++) {
    uint32_t n = p->g->val[p->g->node[p->layer[l]].out].n;
    for (uint32_t k = 0; k < (n + 7) / 8; k++) {
      uint8_t bits = 0;
      for (; i < p->n_u && p->u_node[i] == p->layer[l] && p->u_neuron[i] < 8 * (k + 1); i++)
        bits = (uint8_t)(bits | 1u << (p->u_neuron[i] - 8 * k));
      EP_TRY(ep_bytes_add_byte(&p->bytes, bits));
    }
  }
  return EP_OK;
}

ep_status ep_proof_layer(ep_proof *p, ep_vid v, const ep_relax_f64 *lines) {
  uint32_t l;
  EP_TRY(layer_of(p, v, &l));
  EP_TRY(begin_lines(p, lines));
  EP_TRY(ep_bytes_add_byte(&p->bytes, 'C'));
  EP_TRY(ep_bytes_add_number(&p->bytes, l));
  return write_mask(p);
}

typedef struct writer {
  ep_proof *p;
  uint8_t *last;  /* [n_u] slopes of the leaf before */
  uint32_t *path; /* neurons decided so far */
} writer;

static ep_status write_leaf(writer *w, const ep_proof_leaf *f, uint32_t depth) {
  ep_bytes *b = &w->p->bytes;
  EP_TRY(ep_bytes_add_number(b, 0));
  if (w->p->is_poly) EP_TRY(ep_bytes_add_number(b, f->row));
  EP_TRY(ep_bytes_add_byte(b, f->slope ? 1 : 2));
  for (uint32_t i = 0; f->slope && i < w->p->n_u; i++) {
    EP_TRY(ep_bytes_add_byte(b, (uint8_t)(f->slope[i] - w->last[i])));
    w->last[i] = f->slope[i];
  }
  assert(depth == f->n_dec);
  for (uint32_t i = 0; i < depth; i++) {
    uint32_t bits;
    memcpy(&bits, &f->beta[find_dec(f, w->path[i])], sizeof bits);
    uint8_t t[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    EP_TRY(ep_bytes_add(b, t, 4));
  }
  return EP_OK;
}

/* A neuron that every one of the leaves decides and that is not on the path yet. The first split of a tree is one, so
 * there is always one when there is more than one leaf. */
static uint32_t common_neuron(const writer *w, const ep_proof_leaf *f, size_t n, uint32_t depth) {
  for (uint32_t i = 0; i < f[0].n_dec; i++) {
    uint32_t z = f[0].dec[i] / 2;
    bool is_common = true;
    for (uint32_t k = 0; k < depth; k++) is_common &= w->path[k] != z;
    for (size_t k = 1; k < n && is_common; k++) is_common = find_dec(&f[k], z) != UINT32_MAX;
    if (is_common) return z;
  }
  return UINT32_MAX;
}

static ep_status write_tree(writer *w, ep_proof_leaf *f, size_t n, uint32_t depth) {
  if (n == 1 && f[0].n_dec == depth) return write_leaf(w, f, depth);
  uint32_t z = n ? common_neuron(w, f, n, depth) : UINT32_MAX;
  if (z == UINT32_MAX) return EP_FAIL(w->p->ctx, EP_E_INTERNAL, "the leaves of a search do not form a tree");
  size_t n_low = 0;
  for (size_t i = 0; i < n; i++) { /* those with z <= 0 to the front */
    if (f[i].dec[find_dec(&f[i], z)] & 1) continue;
    ep_proof_leaf t = f[i];
    f[i] = f[n_low];
    f[n_low++] = t;
  }
  EP_TRY(ep_bytes_add_number(&w->p->bytes, z + 1));
  w->path[depth] = z;
  EP_TRY(write_tree(w, f, n_low, depth + 1));
  return write_tree(w, f + n_low, n - n_low, depth + 1);
}

static ep_status write_step(ep_proof *p) {
  ep_bytes *b = &p->bytes;
  uint32_t max_dec = 0, n_key = 0;
  qsort(p->leaf, p->n_leaf, sizeof *p->leaf, compare_leaves);
  for (size_t i = 0; i < p->n_leaf; i++) {
    max_dec = p->leaf[i].n_dec > max_dec ? p->leaf[i].n_dec : max_dec;
    n_key += !i || p->leaf[i].key != p->leaf[i - 1].key;
  }
  writer w = {p, EP_ARENA(&p->arena, uint8_t, p->n_u + 1u), EP_ARENA(&p->arena, uint32_t, max_dec + 1u)};
  if (!w.last || !w.path) return EP_E_NOMEM;
  EP_TRY(ep_bytes_add_byte(b, p->is_poly ? 'P' : 'L'));
  EP_TRY(ep_bytes_add_number(b, p->subject));
  EP_TRY(write_mask(p));
  if (!p->is_poly) EP_TRY(ep_bytes_add_number(b, n_key));
  for (size_t i = 0, n; i < p->n_leaf; i += n) {
    for (n = 1; i + n < p->n_leaf && p->leaf[i + n].key == p->leaf[i].key;) n++;
    if (!p->is_poly) EP_TRY(ep_bytes_add_number(b, p->leaf[i].key));
    EP_TRY(write_tree(&w, p->leaf + i, n, 0));
  }
  if (p->is_poly) p->n_useful = b->n;
  return EP_OK;
}

ep_status ep_proof_commit(ep_proof *p) {
  ep_status st = p->n_leaf ? write_step(p) : EP_OK;
  ep_proof_abort(p);
  return st;
}

void ep_proof_abort(ep_proof *p) {
  p->n_leaf = 0;
  ep_arena_clear(&p->arena);
}
