#include "bounds/proof.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/ascent.h"

/* A leaf as it is kept; all that it points to is the block's. */
typedef struct kept {
  uint32_t key, n_dec;
  uint32_t *dec;       /* flat neuron * 2 + is_active, ascending */
  uint8_t *row, *code; /* as they are written: row or weights; multipliers or prices */
  uint32_t n_row, n_code;
  uint8_t *slope; /* [n_u], NULL = the lines' own, or prices */
  bool has_price;
  ep_proof_block *block;
} kept;

/* One tree for each key, or one polytope's. */
struct ep_proof_block {
  ep_proof *p;
  bool is_poly, is_void, is_closed;
  bool is_direct;   /* leaves are written as they come, one for each key */
  uint32_t subject; /* layer of the lemmas, or polytope */
  uint32_t n_u, *u; /* flat neurons that slopes are about, ascending */
  uint8_t *last;    /* [n_u] slopes of the leaf before */
  size_t n_leaf, cap_leaf;
  kept *leaf;
  ep_arena arena;
  ep_bytes bytes;         /* is_direct: what is there; else of a closed block */
  ep_bytes code;          /* workspace */
  uint32_t n_key;         /* is_direct */
  ep_proof_block *lemmas; /* the open ones of a block inside a step */
  ep_proof_block *outer;  /* the block around it and the decisions that lead to it from there */
  uint32_t n_dec;
  const uint32_t *dec;
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

static uint32_t layer_size(const ep_proof *p, uint32_t l) { return p->g->val[p->g->node[p->layer[l]].out].n; }

/* ---- blocks ---- */

ep_status ep_proof_block_create(ep_proof *p, ep_proof_block **out) {
  ep_proof_block *b = *out = ep_calloc(p->ctx, 1, sizeof *b);
  if (!b) return EP_E_NOMEM;
  b->p = p;
  b->is_poly = true;
  b->bytes.ctx = b->code.ctx = p->ctx;
  ep_arena_init(&b->arena, p->ctx);
  return EP_OK;
}

/* Frees what only an open block needs. */
static void drop_leaves(ep_proof_block *b) {
  for (size_t i = 0; i < b->n_leaf; i++) ep_proof_block_destroy(b->leaf[i].block);
  ep_proof_block_destroy(b->lemmas);
  ep_free(b->p->ctx, b->leaf);
  ep_free(b->p->ctx, b->u);
  ep_bytes_clear(&b->code);
  ep_arena_clear(&b->arena);
  b->lemmas = NULL;
  b->leaf = NULL;
  b->u = NULL;
  b->n_leaf = b->cap_leaf = 0;
}

void ep_proof_block_destroy(ep_proof_block *b) {
  if (!b) return;
  drop_leaves(b);
  ep_bytes_clear(&b->bytes);
  ep_free(b->p->ctx, b);
}

static ep_status write_mask(const ep_proof_block *b, ep_bytes *out) {
  const ep_proof *p = b->p;
  for (uint32_t l = 0, i = 0, first = 0; l < p->n_layer; l++) {
    uint32_t n = layer_size(p, l);
    uint8_t *at;
    EP_TRY(room(out, (n + 7) / 8, &at));
    memset(at, 0, (n + 7) / 8);
    for (; i < b->n_u && b->u[i] < first + n; i++) at[(b->u[i] - first) / 8] |= (uint8_t)(1u << (b->u[i] - first) % 8);
    first += n;
  }
  return EP_OK;
}

/* Closes the lemmas open in b: they go to its bytes. */
static ep_status end_lemmas(ep_proof_block *b) {
  ep_proof_block *l = b->lemmas;
  ep_status st = EP_OK;
  if (l && l->n_key) {
    EP_GOTO(ep_bytes_add_byte(&b->bytes, 'L'));
    EP_GOTO(ep_bytes_add_number(&b->bytes, l->subject));
    EP_GOTO(write_mask(l, &b->bytes));
    EP_GOTO(ep_bytes_add_number(&b->bytes, l->n_key));
    EP_GOTO(ep_bytes_add(&b->bytes, l->bytes.data, l->bytes.n));
  }
done:
  ep_proof_block_destroy(l);
  b->lemmas = NULL;
  return st;
}

static ep_status take_neurons(ep_proof_block *b, uint32_t n_u, const ep_unstable *u) {
  b->n_u = n_u;
  b->u = ep_alloc(b->p->ctx, (n_u + 1) * sizeof *b->u + n_u);
  if (!b->u) return EP_E_NOMEM;
  b->last = (uint8_t *)(b->u + n_u + 1);
  memset(b->last, 0, n_u);
  for (uint32_t i = 0; i < n_u; i++) {
    b->u[i] = ep_proof_flat(b->p, u[i].node, u[i].neuron);
    assert(!i || b->u[i] > b->u[i - 1]);
  }
  return EP_OK;
}

ep_status ep_proof_block_neurons(ep_proof_block *b, uint32_t n_u, const ep_unstable *u) {
  EP_TRY(end_lemmas(b));
  return take_neurons(b, n_u, u);
}

ep_status ep_proof_block_lemmas(ep_proof_block *b, ep_vid v, uint32_t n_u, const ep_unstable *u, ep_proof_block **out) {
  EP_TRY(end_lemmas(b));
  EP_TRY(ep_proof_block_create(b->p, &b->lemmas));
  ep_proof_block *l = *out = b->lemmas;
  l->is_poly = false;
  l->is_direct = true;
  EP_TRY(layer_of(b->p, v, &l->subject));
  return take_neurons(l, n_u, u);
}

ep_status ep_proof_block_set_void(ep_proof_block *b) {
  b->is_void = true;
  return end_lemmas(b);
}

/* ---- leaves ---- */

static uint32_t flat_decision(const ep_proof_block *b, uint32_t d) {
  return d & EP_PROOF_FLAT ? d ^ EP_PROOF_FLAT : 2 * b->u[d / 2] + d % 2;
}

/* n bytes of numbers and floats that are being written. */
static uint8_t *put_number(uint8_t *at, uint32_t v) {
  for (; v >= 128; v >>= 7) *at++ = (uint8_t)(v | 128);
  *at++ = (uint8_t)v;
  return at;
}

static uint8_t *put_float(uint8_t *at, float v, int from_bit) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  for (int k = from_bit; k < 32; k += 8) *at++ = (uint8_t)(bits >> k);
  return at;
}

/* Multipliers that are not 0: how many; for each the gap to the neuron before and its upper 16 bits. At most 5 + 7
 * n_dec bytes. */
static uint8_t *put_multipliers(const ep_proof_block *b, const ep_proof_leaf *f, uint8_t *at) {
  uint32_t n = 0, before = 0;
  for (uint32_t i = 0; i < f->n_dec && f->beta; i++) n += ep_beta_round(f->beta[i]) > 0;
  at = put_number(at, n);
  for (uint32_t i = 0; i < f->n_dec && n; i++) {
    float beta = ep_beta_round(f->beta[i]);
    if (!(beta > 0)) continue;
    uint32_t z = flat_decision(b, f->dec[i]) / 2;
    assert(z >= before);
    at = put_float(put_number(at, z - before), beta, 16);
    before = z;
  }
  return at;
}

static uint8_t *put_prices(const ep_proof_block *b, const ep_proof_leaf *f, uint8_t *at) {
  for (uint32_t i = 0; i < b->n_u; i++) at = put_float(at, isfinite(f->price[i]) ? f->price[i] : 0, 0);
  return put_number(at, 0); /* no multipliers */
}

/* The polytope's row + 1; or 0, how many rows it has and a weight for each. At most 6 + 4 n_weight bytes. */
static uint8_t *put_row(const ep_proof_leaf *f, uint8_t *at) {
  at = put_number(at, f->weight ? 0 : f->row + 1);
  if (f->weight) at = put_number(at, f->n_weight);
  for (uint32_t i = 0; i < f->n_weight && f->weight; i++) at = put_float(at, f->weight[i], 0);
  return at;
}

/* Slopes against those of the leaf before. */
static ep_status write_slopes(ep_proof_block *b, bool has_price, const uint8_t *slope, ep_bytes *out) {
  uint8_t *at;
  size_t n = slope ? b->n_u : 0;
  EP_TRY(room(out, 1 + n, &at));
  *at++ = slope ? 1 : has_price ? 3 : 2;
  for (size_t i = 0; i < n; i++) at[i] = (uint8_t)(slope[i] - b->last[i]);
  if (n) memcpy(b->last, slope, n);
  return EP_OK;
}

/* Row `at` of tables as ep_backward_f64 takes them, as bytes. */
static void pack_slopes(const ep_proof_block *b, double *const *alpha, size_t at, uint8_t *slope) {
  const ep_proof *p = b->p;
  for (uint32_t l = 0, i = 0, first = 0; l < p->n_layer; l++) {
    uint32_t n = layer_size(p, l);
    for (; i < b->n_u && b->u[i] < first + n; i++)
      slope[i] = ep_slope_pack((float)alpha[p->layer[l]][at * n + (b->u[i] - first)]);
    first += n;
  }
}

static ep_status add_direct(ep_proof_block *b, const ep_proof_leaf *f) {
  uint8_t *at;
  EP_TRY(ep_bytes_add_number(&b->bytes, f->key));
  EP_TRY(ep_bytes_add_byte(&b->bytes, 0));
  EP_TRY(write_slopes(b, false, f->slope, &b->bytes));
  size_t most = 5 + 7 * (size_t)f->n_dec;
  EP_TRY(room(&b->bytes, most, &at));
  b->bytes.n -= most - (size_t)(put_multipliers(b, f, at) - at);
  b->n_key++;
  return EP_OK;
}

static ep_status add_leaf(ep_proof_block *b, const ep_proof_leaf *f, double *const *alpha, size_t row) {
  if (b->n_leaf == b->cap_leaf) {
    size_t cap = b->cap_leaf ? 2 * b->cap_leaf : 16;
    kept *t = ep_realloc(b->p->ctx, b->leaf, cap * sizeof *t);
    if (!t) return EP_E_NOMEM;
    b->leaf = t;
    b->cap_leaf = cap;
  }
  uint32_t n_slope = alpha || f->slope ? b->n_u : 0;
  uint8_t *at, *code, *end;
  b->code.n = 0;
  EP_TRY(room(&b->code, 11 + 4 * (size_t)f->n_weight + (f->price ? 4 * (size_t)b->n_u : 7 * (size_t)f->n_dec), &at));
  code = put_row(f, at);
  end = f->price ? put_prices(b, f, code) : put_multipliers(b, f, code);
  kept *l = &b->leaf[b->n_leaf];
  *l = (kept){.key = f->key, .n_dec = f->n_dec, .has_price = f->price, .block = f->block};
  l->n_row = (uint32_t)(code - at);
  l->n_code = (uint32_t)(end - code);
  l->dec = EP_ARENA(&b->arena, uint32_t, f->n_dec + (n_slope + (size_t)(end - at)) / 4 + 1);
  if (!l->dec) return EP_E_NOMEM;
  l->row = (uint8_t *)(l->dec + f->n_dec);
  memcpy(l->row, at, (size_t)(end - at));
  l->code = l->row + l->n_row;
  l->slope = n_slope ? l->code + l->n_code : NULL;
  for (uint32_t i = 0; i < f->n_dec; i++) l->dec[i] = flat_decision(b, f->dec[i]);
  if (n_slope && f->slope) memcpy(l->slope, f->slope, n_slope);
  if (n_slope && !f->slope) pack_slopes(b, alpha, row, l->slope);
  if (f->block) { /* dec lives until this block is closed, and that one is closed before */
    f->block->outer = b;
    f->block->n_dec = l->n_dec;
    f->block->dec = l->dec;
  }
  b->n_leaf++;
  return EP_OK;
}

ep_status ep_proof_block_add(ep_proof_block *b, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  if (b->is_direct) return add_direct(b, leaf); /* one thread's own */
  pthread_mutex_lock(&b->p->lock);
  ep_status st = add_leaf(b, leaf, alpha, at);
  pthread_mutex_unlock(&b->p->lock);
  if (st != EP_OK) ep_proof_block_destroy(leaf->block);
  return st;
}

void ep_proof_round(const ep_proof *p, double *const *alpha, size_t rows) {
  for (uint32_t l = 0; l < p->n_layer; l++) {
    double *a = alpha[p->layer[l]];
    size_t n = rows * layer_size(p, l);
    for (size_t i = 0; a && i < n; i++)
      a[i] = a[i] > 0 ? a[i] < 1 ? (double)ep_slope_unpack(ep_slope_pack((float)a[i])) : 1 : 0;
  }
}

/* ---- from leaves to bytes ---- */

static int compare_leaves(const void *a, const void *b) {
  const kept *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  for (uint32_t i = 0; i < x->n_dec && i < y->n_dec; i++)
    if (x->dec[i] != y->dec[i]) return x->dec[i] < y->dec[i] ? -1 : 1;
  return (x->n_dec > y->n_dec) - (x->n_dec < y->n_dec);
}

/* While a block's trees are written. */
typedef struct path {
  bool *is_on;     /* [n_flat] decided on the way from the step's root */
  uint32_t *count; /* [n_flat] zero between uses */
} path;

static ep_status write_leaf(ep_proof_block *b, const kept *f) {
  ep_bytes *out = &b->bytes;
  EP_TRY(ep_bytes_add_number(out, f->block ? 1 : 0));
  if (f->block) {
    EP_TRY(ep_proof_block_close(f->block));
    return ep_bytes_add(out, f->block->bytes.data, f->block->bytes.n);
  }
  if (b->is_poly) EP_TRY(ep_bytes_add(out, f->row, f->n_row));
  EP_TRY(write_slopes(b, f->has_price, f->slope, out));
  return ep_bytes_add(out, f->code, f->n_code);
}

/* A neuron that every one of the leaves decides and that is not on the path yet. The first split of a tree is one, so
 * there is always one when there is more than one leaf. */
static uint32_t common_neuron(const path *w, const kept *f, size_t n) {
  uint32_t z = UINT32_MAX;
  for (size_t k = 0; k < n; k++)
    for (uint32_t i = 0; i < f[k].n_dec; i++) w->count[f[k].dec[i] / 2]++;
  for (uint32_t i = 0; n && i < f[0].n_dec && z == UINT32_MAX; i++)
    if (!w->is_on[f[0].dec[i] / 2] && w->count[f[0].dec[i] / 2] == n) z = f[0].dec[i] / 2;
  for (size_t k = 0; k < n; k++)
    for (uint32_t i = 0; i < f[k].n_dec; i++) w->count[f[k].dec[i] / 2] = 0;
  return z;
}

static bool is_active(const kept *f, uint32_t z) {
  uint32_t i = 0;
  while (f->dec[i] / 2 != z) i++;
  return f->dec[i] & 1;
}

/* Place of flat neuron z in the block's list, n_u when it is not there. */
static uint32_t place_of(const ep_proof_block *b, uint32_t z) {
  uint32_t lo = 0, hi = b->n_u;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (b->u[mid] < z)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < b->n_u && b->u[lo] == z ? lo : b->n_u;
}

static ep_status write_tree(ep_proof_block *b, const path *w, kept *f, size_t n) {
  uint32_t z = common_neuron(w, f, n);
  if (n == 1 && z == UINT32_MAX) return write_leaf(b, f);
  uint32_t place = z == UINT32_MAX ? b->n_u : place_of(b, z);
  if (place == b->n_u) return EP_FAIL(b->p->ctx, EP_E_INTERNAL, "the leaves of a search do not form a tree");
  size_t n_low = 0;
  for (size_t i = 0; i < n; i++) { /* those with z <= 0 to the front */
    if (is_active(&f[i], z)) continue;
    kept t = f[i];
    f[i] = f[n_low];
    f[n_low++] = t;
  }
  EP_TRY(ep_bytes_add_number(&b->bytes, place + 2));
  w->is_on[z] = true;
  EP_TRY(write_tree(b, w, f, n_low));
  EP_TRY(write_tree(b, w, f + n_low, n - n_low));
  w->is_on[z] = false;
  return EP_OK;
}

/* Lemmas, or the one tree of a polytope: neurons first, then trees. */
static ep_status write_trees(ep_proof_block *b, const path *w) {
  uint32_t n_key = 0;
  qsort(b->leaf, b->n_leaf, sizeof *b->leaf, compare_leaves);
  for (size_t i = 0; i < b->n_leaf; i++) n_key += !i || b->leaf[i].key != b->leaf[i - 1].key;
  EP_TRY(write_mask(b, &b->bytes));
  if (!b->is_poly) EP_TRY(ep_bytes_add_number(&b->bytes, n_key));
  for (size_t i = 0, n; i < b->n_leaf; i += n) {
    for (n = 1; i + n < b->n_leaf && b->leaf[i + n].key == b->leaf[i].key;) n++;
    if (!b->is_poly) EP_TRY(ep_bytes_add_number(&b->bytes, b->leaf[i].key));
    EP_TRY(write_tree(b, w, b->leaf + i, n));
  }
  return EP_OK;
}

/* What is decided on the way to the block is on the path from the start. */
static ep_status close_trees(ep_proof_block *b) {
  ep_ctx *ctx = b->p->ctx;
  path w = {ep_calloc(ctx, b->p->n_flat + 1u, sizeof *w.is_on), ep_calloc(ctx, b->p->n_flat + 1u, sizeof *w.count)};
  ep_status st = EP_E_NOMEM;
  if (!w.is_on || !w.count) goto done;
  for (const ep_proof_block *o = b; o->outer; o = o->outer)
    for (uint32_t i = 0; i < o->n_dec; i++) w.is_on[o->dec[i] / 2] = true;
  st = write_trees(b, &w);
done:
  ep_free(ctx, w.is_on);
  ep_free(ctx, w.count);
  return st;
}

ep_status ep_proof_block_close(ep_proof_block *b) {
  if (b->is_closed) return EP_OK;
  b->is_closed = true;
  bool is_inside = b != b->p->step;
  if (is_inside) EP_TRY(ep_bytes_add_byte(&b->bytes, b->is_void ? 'X' : 'T'));
  if (!b->is_void) EP_TRY(close_trees(b));
  drop_leaves(b);
  return EP_OK;
}

const ep_bytes *ep_proof_block_bytes(const ep_proof_block *b) {
  assert(b->is_closed);
  return &b->bytes;
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
  return take_neurons(p->step, n_u, u);
}

ep_status ep_proof_begin_poly(ep_proof *p, uint32_t poly, uint32_t n_u, const ep_unstable *u) {
  EP_TRY(begin(p, true, poly));
  return take_neurons(p->step, n_u, u);
}

/* Takes the neurons whose lower slope is 1; the lines' own slopes are 0 or 1. */
static ep_status take_lines(ep_proof *p, const ep_relax_f64 *lines) {
  uint32_t n = 0;
  ep_unstable *u = ep_calloc(p->ctx, p->n_flat + 1u, sizeof *u);
  if (!u) return EP_E_NOMEM;
  for (uint32_t l = 0; l < p->n_layer; l++)
    for (uint32_t i = 0; i < layer_size(p, l); i++)
      if (lines->lines[p->layer[l]].sl[i] > 0.5) u[n++] = (ep_unstable){.node = p->layer[l], .neuron = i};
  ep_status st = take_neurons(p->step, n, u);
  ep_free(p->ctx, u);
  return st;
}

ep_status ep_proof_begin_poly_lines(ep_proof *p, uint32_t poly, const ep_relax_f64 *lines) {
  EP_TRY(begin(p, true, poly));
  return take_lines(p, lines);
}

ep_status ep_proof_layer(ep_proof *p, ep_vid v, const ep_relax_f64 *lines) {
  uint32_t l;
  EP_TRY(layer_of(p, v, &l));
  EP_TRY(begin(p, false, l));
  EP_TRY(take_lines(p, lines));
  EP_TRY(ep_bytes_add_byte(&p->bytes, 'C'));
  EP_TRY(ep_bytes_add_number(&p->bytes, l));
  EP_TRY(write_mask(p->step, &p->bytes));
  ep_proof_abort(p);
  return EP_OK;
}

ep_status ep_proof_add_leaf(ep_proof *p, const ep_proof_leaf *leaf, double *const *alpha, size_t at) {
  return ep_proof_block_add(p->step, leaf, alpha, at);
}

static ep_status write_step(ep_proof *p) {
  ep_proof_block *b = p->step;
  EP_TRY(ep_proof_block_close(b));
  EP_TRY(ep_bytes_add_byte(&p->bytes, b->is_poly ? 'P' : 'L'));
  EP_TRY(ep_bytes_add_number(&p->bytes, b->subject));
  EP_TRY(ep_bytes_add(&p->bytes, b->bytes.data, b->bytes.n));
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
}
