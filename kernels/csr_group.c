#include "kernels/csr_group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/transpose.h"

enum { BLOCK = 32, LANE = BLOCK / 2, G = EP_CSR_GROUP };
static const double MIN_FILL = 0.6; /* of the groups' places: below, the zeros cost more than the sharing saves */

typedef float lane __attribute__((vector_size(64)));

/* ---- grouping ---- */

typedef struct row_key {
  uint64_t hash; /* of its columns */
  uint32_t row, n;
} row_key;

static uint64_t hash_columns(const uint32_t *col, uint32_t n) {
  uint64_t h = 1469598103934665603u; /* FNV-1a by words */
  for (uint32_t k = 0; k < n; k++) h = (h ^ col[k]) * 1099511628211u;
  return h;
}

static int by_columns(const void *pa, const void *pb) {
  const row_key *a = pa, *b = pb;
  if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
  if (a->n != b->n) return a->n < b->n ? -1 : 1;
  return a->row < b->row ? -1 : a->row > b->row;
}

/* A group on its way to its place. */
typedef struct group {
  uint32_t first; /* column */
  uint32_t row[G];
} group;

static int by_place(const void *pa, const void *pb) {
  const group *a = pa, *b = pb;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return a->row[0] < b->row[0] ? -1 : a->row[0] > b->row[0];
}

typedef struct source {
  const uint32_t *row_ptr, *col;
  const float *w;
} source;

static bool same_columns(const source *a, uint32_t r, uint32_t q) {
  uint32_t n = a->row_ptr[r + 1] - a->row_ptr[r];
  return n == a->row_ptr[q + 1] - a->row_ptr[q] &&
         !memcmp(a->col + a->row_ptr[r], a->col + a->row_ptr[q], n * sizeof *a->col);
}

/* Rows of equal columns in groups. Groups that read the same inputs follow each other, so that these stay in the cache.
 */
static ep_status list_groups(const source *a, uint32_t n_out, ep_scratch *s, uint32_t **out, uint32_t *n_group) {
  row_key *key = EP_SCRATCH(s, row_key, n_out + 1u);
  group *g = EP_SCRATCH(s, group, n_out + 1u);
  uint32_t n = 0, used = 0;
  if (!key || !g) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_out; i++) {
    uint32_t len = a->row_ptr[i + 1] - a->row_ptr[i];
    key[i] = (row_key){hash_columns(a->col + a->row_ptr[i], len), i, len};
  }
  qsort(key, n_out, sizeof *key, by_columns);
  for (uint32_t i = 0; i < n_out; i++) {
    uint32_t r = key[i].row;
    if (!n || used == G || !same_columns(a, g[n - 1].row[0], r)) {
      g[n++] = (group){key[i].n ? a->col[a->row_ptr[r]] : 0, {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}};
      used = 0;
    }
    assert(used < G);
    g[n - 1].row[used++] = r; /* cppcheck-suppress arrayIndexOutOfBounds ; a full group was followed by a new one */
  }
  qsort(g, n, sizeof *g, by_place);
  uint32_t *row = *out = EP_SCRATCH(s, uint32_t, (size_t)G * n + 1);
  if (!row) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) memcpy(row + (size_t)G * i, g[i].row, sizeof g[i].row);
  *n_group = n;
  return EP_OK;
}

static ep_status fill(const source *a, ep_csr_groups *g, ep_scratch *s) {
  size_t n = 0;
  for (uint32_t i = 0; i < g->n_group; i++) n += a->row_ptr[g->row[G * i] + 1] - a->row_ptr[g->row[G * i]];
  uint32_t *ptr = EP_SCRATCH(s, uint32_t, g->n_group + 1u), *col = EP_SCRATCH(s, uint32_t, n + 1);
  float *w = EP_SCRATCH(s, float, G *n + 1);
  if (!ptr || !col || !w) return EP_E_NOMEM;
  memset(w, 0, G * n * sizeof *w);
  ptr[0] = 0;
  for (uint32_t i = 0; i < g->n_group; i++) {
    const uint32_t *row = g->row + G * i;
    uint32_t from = a->row_ptr[row[0]], len = a->row_ptr[row[0] + 1] - from, to = ptr[i];
    memcpy(col + to, a->col + from, len * sizeof *col);
    for (uint32_t r = 0; r < G && row[r] != UINT32_MAX; r++)
      for (uint32_t k = 0; k < len; k++) w[G * (size_t)(to + k) + r] = a->w[a->row_ptr[row[r]] + k];
    ptr[i + 1] = to + len;
  }
  g->ptr = ptr;
  g->col = col;
  g->w = w;
  return EP_OK;
}

ep_status ep_csr_groups_make(uint32_t n_out, uint32_t n_in, const uint32_t *row_ptr, const uint32_t *col,
                             const float *w, ep_scratch *s, const ep_csr_groups **out) {
  source a = {row_ptr, col, w};
  uint32_t *row, n_group;
  *out = NULL;
  EP_TRY(list_groups(&a, n_out, s, &row, &n_group));
  size_t places = 0;
  for (uint32_t i = 0; i < n_group; i++) places += (size_t)G * (row_ptr[row[G * i] + 1] - row_ptr[row[G * i]]);
  if (!n_out || (double)row_ptr[n_out] < MIN_FILL * (double)places) return EP_OK;
  ep_csr_groups *g = EP_SCRATCH(s, ep_csr_groups, 1);
  if (!g) return EP_E_NOMEM;
  *g = (ep_csr_groups){.n_out = n_out, .n_in = n_in, .n_group = n_group, .row = row};
  EP_TRY(fill(&a, g, s));
  *out = g;
  return EP_OK;
}

/* ---- the product ---- */

/* b = BLOCK or LANE vectors side by side: xt[n_in x b] -> yt[n_out x b]. */
static inline __attribute__((always_inline)) void product(const ep_csr_groups *g, const size_t b, const float *xt,
                                                          float *yt) {
  for (uint32_t i = 0; i < g->n_group; i++) {
    lane t[G][2] = {{{0}}};
    for (uint32_t k = g->ptr[i]; k < g->ptr[i + 1]; k++) {
      const float *x = xt + (size_t)g->col[k] * b, *w = g->w + G * (size_t)k;
      lane x0, x1;
      memcpy(&x0, x, sizeof x0);
      for (int r = 0; r < G; r++) t[r][0] += w[r] * x0;
      if (b == LANE) continue;
      memcpy(&x1, x + LANE, sizeof x1);
      for (int r = 0; r < G; r++) t[r][1] += w[r] * x1;
    }
    for (int r = 0; r < G; r++) {
      uint32_t row = g->row[G * i + (uint32_t)r];
      if (row == UINT32_MAX) break;
      memcpy(yt + row * b, &t[r][0], sizeof t[r][0]);
      if (b > LANE) memcpy(yt + row * b + LANE, &t[r][1], sizeof t[r][1]);
    }
  }
}

/* y[have x n] (+)= yt^T in tiles. */
static void turn_back(size_t b, size_t have, size_t n, const float *yt, float *y, bool accumulate) {
  float own[BLOCK * BLOCK];
  if (!accumulate) {
    ep_transpose_f32(n, have, yt, b, y, n);
    return;
  }
  for (size_t j0 = 0; j0 < n; j0 += BLOCK) {
    size_t m = n - j0 < BLOCK ? n - j0 : BLOCK;
    ep_transpose_f32(m, have, yt + j0 * b, b, own, BLOCK);
    for (size_t i = 0; i < have; i++)
      for (size_t j = 0; j < m; j++) y[i * n + j0 + j] += own[i * BLOCK + j];
  }
}

ep_status ep_csr_groups_apply(const ep_csr_groups *g, size_t rows, const float *x, float *y, bool accumulate,
                              ep_scratch *s) {
  size_t n_in = g->n_in, n_out = g->n_out;
  ep_scratch_mark m = ep_scratch_save(s);
  float *xt = EP_SCRATCH(s, float, n_in *BLOCK + 1), *yt = EP_SCRATCH(s, float, n_out *BLOCK + 1);
  if (!xt || !yt) return EP_E_NOMEM;
  for (size_t r = 0, have; r < rows; r += have) {
    size_t b = rows - r > LANE ? BLOCK : LANE;
    have = rows - r < b ? rows - r : b;
    ep_transpose_f32(have, n_in, x + r * n_in, n_in, xt, b);
    for (size_t j = 0; j < n_in && have < b; j++) memset(xt + j * b + have, 0, (b - have) * sizeof *xt);
    if (b == BLOCK)
      product(g, BLOCK, xt, yt);
    else
      product(g, LANE, xt, yt);
    turn_back(b, have, n_out, yt, y + r * n_out, accumulate);
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}
