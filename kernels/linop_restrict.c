#include <assert.h>
#include <string.h>

#include "kernels/linop.h"

enum { DENSE_FACTOR = 3 }; /* a matrix product is worth so many times its non-zeros */

/* Entries of row i: input indices and weights; returns how many (at most terms_fwd). */
static size_t entries(const ep_linop *A, uint32_t i, uint32_t *at, float *w) {
  size_t n = 0;
  switch (A->kind) {
  case EP_LINOP_ID:
  case EP_LINOP_DIAG:
    at[0] = i;
    w[0] = A->kind == EP_LINOP_ID ? 1 : A->w32[i];
    return 1;
  case EP_LINOP_MAP:
    if (A->map[i] < 0) return 0;
    at[0] = (uint32_t)A->map[i];
    w[0] = 1;
    return 1;
  case EP_LINOP_DENSE:
    for (uint32_t j = 0; j < A->n_in; j++) at[j] = j;
    memcpy(w, A->w32 + (size_t)i * A->n_in, A->n_in * sizeof *w);
    return A->n_in;
  case EP_LINOP_CSR:
    n = A->row_ptr[i + 1] - A->row_ptr[i];
    memcpy(at, A->col + A->row_ptr[i], n * sizeof *at);
    memcpy(w, A->w32 + A->row_ptr[i], n * sizeof *w);
    return n;
  case EP_LINOP_CONV:
    return ep_conv_entries_f32(&A->conv, A->conv_transpose, A->w32, i, at, w);
  }
  return 0;
}

/* Row i with the columns' new places; what has none or weighs nothing is left out. */
static size_t chosen(const ep_linop *A, uint32_t i, const uint32_t *place, uint32_t *at, float *w) {
  size_t n = entries(A, i, at, w), k = 0;
  for (size_t e = 0; e < n; e++) {
    if (place[at[e]] == UINT32_MAX || w[e] == 0) continue;
    at[k] = place[at[e]];
    w[k++] = w[e];
  }
  return k;
}

typedef struct restriction {
  const ep_linop *A;
  const uint32_t *row;
  uint32_t *place; /* [n_in] */
  uint32_t *at;    /* one row's entries */
  float *w;
} restriction;

static ep_status dense(const restriction *c, ep_scratch *s, ep_linop *out) {
  size_t n_in = out->n_in;
  float *w = EP_SCRATCH(s, float, out->n_out *n_in + 1);
  if (!w) return EP_E_NOMEM;
  memset(w, 0, out->n_out * n_in * sizeof *w);
  for (uint32_t i = 0; i < out->n_out; i++) {
    size_t n = chosen(c->A, c->row ? c->row[i] : i, c->place, c->at, c->w);
    for (size_t e = 0; e < n; e++) w[i * n_in + c->at[e]] += c->w[e];
  }
  out->kind = EP_LINOP_DENSE;
  out->terms_fwd = out->n_in;
  out->terms_bwd = out->n_out;
  out->n_w = out->n_out * n_in;
  out->w32 = w;
  return EP_OK;
}

static ep_status transpose(ep_linop *out, ep_scratch *s) {
  uint32_t *tp = EP_SCRATCH(s, uint32_t, out->n_in + 2u), *tc = EP_SCRATCH(s, uint32_t, 2 * out->n_w + 1);
  float *w = EP_SCRATCH(s, float, out->n_w + 1);
  if (!tp || !tc || !w) return EP_E_NOMEM;
  uint32_t *pos = tc + out->n_w;
  out->terms_bwd = ep_csr_transpose(out->n_out, out->n_in, out->row_ptr, out->col, tp, tc, pos);
  for (size_t k = 0; k < out->n_w; k++) w[k] = out->w32[pos[k]];
  out->t_row_ptr = tp;
  out->t_col = tc;
  out->t_pos = pos;
  out->t_w32 = w;
  EP_TRY(ep_csr_groups_make(out->n_out, out->n_in, out->row_ptr, out->col, out->w32, s, &out->group));
  return ep_csr_groups_make(out->n_in, out->n_out, tp, tc, w, s, &out->t_group);
}

static ep_status sparse(const restriction *c, size_t nnz, ep_scratch *s, ep_linop *out) {
  uint32_t *ptr = EP_SCRATCH(s, uint32_t, out->n_out + 1u), *col = EP_SCRATCH(s, uint32_t, nnz + 1);
  float *w = EP_SCRATCH(s, float, nnz + 1);
  if (!ptr || !col || !w) return EP_E_NOMEM;
  out->kind = EP_LINOP_CSR;
  ptr[0] = 0;
  for (uint32_t i = 0; i < out->n_out; i++) {
    uint32_t n = (uint32_t)chosen(c->A, c->row ? c->row[i] : i, c->place, c->at, c->w);
    memcpy(col + ptr[i], c->at, n * sizeof *col);
    memcpy(w + ptr[i], c->w, n * sizeof *w);
    ptr[i + 1] = ptr[i] + n;
    if (n > out->terms_fwd) out->terms_fwd = n;
  }
  assert(ptr[out->n_out] == nnz);
  out->n_w = nnz;
  out->row_ptr = ptr;
  out->col = col;
  out->w32 = w;
  return transpose(out, s);
}

ep_status ep_linop_restrict_f32(const ep_linop *A, uint32_t n_row, const uint32_t *row, uint32_t n_col,
                                const uint32_t *col, ep_scratch *s, ep_linop *out) {
  *out = *A;
  if (!row && !col) return EP_OK;
  *out = (ep_linop){.n_in = n_col, .n_out = n_row};
  restriction c = {.A = A, .row = row};
  c.place = EP_SCRATCH(s, uint32_t, A->n_in + 1u);
  c.at = EP_SCRATCH(s, uint32_t, A->terms_fwd + 1u);
  c.w = EP_SCRATCH(s, float, A->terms_fwd + 1u);
  if (!c.place || !c.at || !c.w) return EP_E_NOMEM;
  for (uint32_t j = 0; j < A->n_in; j++) c.place[j] = col ? UINT32_MAX : j;
  for (uint32_t j = 0; col && j < n_col; j++) c.place[col[j]] = j;
  size_t nnz = 0;
  for (uint32_t i = 0; i < n_row; i++) nnz += chosen(A, row ? row[i] : i, c.place, c.at, c.w);
  if (nnz >= UINT32_MAX) return EP_E_UNSUPPORTED;
  return (size_t)n_row * n_col <= DENSE_FACTOR * nnz ? dense(&c, s, out) : sparse(&c, nnz, s, out);
}
