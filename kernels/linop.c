#include "kernels/linop.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/mat.h"
#include "kernels/transpose.h"

/* Stores weights in all three forms. */
static ep_status store(ep_arena *arena, ep_linop *A, size_t n, const double *w64, double rel_err) {
  double *w = EP_ARENA(arena, double, n + 1), *a = EP_ARENA(arena, double, n + 1);
  float *f = EP_ARENA(arena, float, n + 1);
  if (!w || !a || !f) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    w[i] = w64[i];
    a[i] = fabs(w64[i]);
    f[i] = (float)w64[i];
  }
  A->n_w = n;
  A->w64 = w;
  A->abs64 = a;
  A->w32 = f;
  A->rel_err = rel_err;
  return EP_OK;
}

ep_status ep_linop_id(ep_arena *arena, uint32_t n, ep_linop *out) {
  (void)arena;
  *out = (ep_linop){.kind = EP_LINOP_ID, .n_in = n, .n_out = n, .terms_fwd = 1, .terms_bwd = 1};
  return EP_OK;
}

ep_status ep_linop_diag(ep_arena *arena, uint32_t n, const double *w64, double rel_err, ep_linop *out) {
  bool is_id = rel_err == 0;
  for (uint32_t i = 0; i < n && is_id; i++) is_id = w64[i] == 1;
  if (is_id) return ep_linop_id(arena, n, out);
  *out = (ep_linop){.kind = EP_LINOP_DIAG, .n_in = n, .n_out = n, .terms_fwd = 1, .terms_bwd = 1};
  return store(arena, out, n, w64, rel_err);
}

ep_status ep_linop_map(ep_arena *arena, uint32_t n_out, uint32_t n_in, const int32_t *src, ep_linop *out) {
  bool is_id = n_out == n_in;
  for (uint32_t i = 0; i < n_out && is_id; i++) is_id = src[i] == (int32_t)i;
  if (is_id) return ep_linop_id(arena, n_in, out);
  int32_t *map = EP_ARENA(arena, int32_t, n_out + 1);
  uint32_t *uses = EP_ARENA(arena, uint32_t, n_in + 1), most = 1;
  if (!map || !uses) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_out; i++) {
    assert(src[i] < (int64_t)n_in);
    map[i] = src[i] < 0 ? -1 : src[i];
    if (src[i] >= 0 && ++uses[src[i]] > most) most = uses[src[i]];
  }
  *out = (ep_linop){.kind = EP_LINOP_MAP, .n_in = n_in, .n_out = n_out, .terms_fwd = 1, .terms_bwd = most, .map = map};
  return EP_OK;
}

static size_t count_nonzero(size_t n, const double *w) {
  size_t nnz = 0;
  for (size_t i = 0; i < n; i++) nnz += w[i] != 0;
  return nnz;
}

static ep_status dense_to_csr(ep_arena *arena, uint32_t n_out, uint32_t n_in, const double *w, size_t nnz,
                              double rel_err, ep_linop *out) {
  uint32_t *ptr = ep_calloc(arena->ctx, n_out + 1, sizeof *ptr), *col = ep_calloc(arena->ctx, nnz + 1, sizeof *col);
  double *val = ep_calloc(arena->ctx, nnz + 1, sizeof *val);
  ep_status st = EP_E_NOMEM;
  if (ptr && col && val) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < n_out; i++) {
      for (uint32_t j = 0; j < n_in; j++) {
        double x = w[(size_t)i * n_in + j];
        if (x == 0) continue;
        col[k] = j;
        val[k++] = x;
      }
      ptr[i + 1] = k;
    }
    st = ep_linop_csr(arena, n_out, n_in, ptr, col, val, rel_err, out);
  }
  ep_free(arena->ctx, ptr);
  ep_free(arena->ctx, col);
  ep_free(arena->ctx, val);
  return st;
}

ep_status ep_linop_dense(ep_arena *arena, uint32_t n_out, uint32_t n_in, const double *w64, double rel_err,
                         ep_linop *out) {
  size_t n = (size_t)n_out * n_in, nnz = count_nonzero(n, w64);
  if (n >= 4096 && nnz < n / 8) return dense_to_csr(arena, n_out, n_in, w64, nnz, rel_err, out);
  *out = (ep_linop){.kind = EP_LINOP_DENSE, .n_in = n_in, .n_out = n_out, .terms_fwd = n_in, .terms_bwd = n_out};
  return store(arena, out, n, w64, rel_err);
}

uint32_t ep_csr_transpose(uint32_t n_out, uint32_t n_in, const uint32_t *row_ptr, const uint32_t *col,
                          uint32_t *t_row_ptr, uint32_t *t_col, uint32_t *t_pos) {
  uint32_t most = 0;
  memset(t_row_ptr, 0, (n_in + 2u) * sizeof *t_row_ptr);
  for (uint32_t k = 0; k < row_ptr[n_out]; k++) {
    assert(col[k] < n_in);
    t_row_ptr[col[k] + 2]++;
  }
  for (uint32_t j = 0; j < n_in; j++) {
    if (t_row_ptr[j + 2] > most) most = t_row_ptr[j + 2];
    t_row_ptr[j + 2] += t_row_ptr[j + 1];
  }
  for (uint32_t i = 0; i < n_out; i++)
    for (uint32_t k = row_ptr[i]; k < row_ptr[i + 1]; k++) {
      uint32_t at = t_row_ptr[col[k] + 1]++;
      t_col[at] = i;
      t_pos[at] = k;
    }
  return most;
}

ep_status ep_linop_csr(ep_arena *arena, uint32_t n_out, uint32_t n_in, const uint32_t *row_ptr, const uint32_t *col,
                       const double *w64, double rel_err, ep_linop *out) {
  uint32_t nnz = row_ptr[n_out];
  uint32_t *rp = EP_ARENA(arena, uint32_t, n_out + 1u), *c = EP_ARENA(arena, uint32_t, nnz + 1u);
  uint32_t *tp = EP_ARENA(arena, uint32_t, n_in + 2u), *tc = EP_ARENA(arena, uint32_t, nnz + 1u);
  uint32_t *pos = EP_ARENA(arena, uint32_t, nnz + 1u);
  *out = (ep_linop){.kind = EP_LINOP_CSR, .n_in = n_in, .n_out = n_out};
  if (!rp || !c || !tp || !tc || !pos) return EP_E_NOMEM;
  memcpy(rp, row_ptr, (n_out + 1u) * sizeof *rp);
  memcpy(c, col, nnz * sizeof *c);
  assert(rp[0] == 0);
  for (uint32_t i = 0; i < n_out; i++) {
    assert(rp[i] <= rp[i + 1]);
    if (rp[i + 1] - rp[i] > out->terms_fwd) out->terms_fwd = rp[i + 1] - rp[i];
  }
  out->terms_bwd = ep_csr_transpose(n_out, n_in, rp, c, tp, tc, pos);
  out->row_ptr = rp;
  out->col = c;
  out->t_row_ptr = tp;
  out->t_col = tc;
  out->t_pos = pos;
  return store(arena, out, nnz, w64, rel_err);
}

ep_status ep_linop_conv(ep_arena *arena, const ep_conv_geom *g, bool transpose, const double *w64, double rel_err,
                        ep_linop *out) {
  assert(g->groups >= 1 && g->c_in % g->groups == 0 && g->c_out % g->groups == 0 && g->kh >= 1 && g->kw >= 1);
  assert(g->stride_h >= 1 && g->stride_w >= 1 && g->dil_h >= 1 && g->dil_w >= 1);
  uint32_t n_img = g->c_in * g->h_in * g->w_in, n_map = g->c_out * g->h_out * g->w_out;
  uint32_t taps = g->kh * g->kw, into = g->c_in / g->groups * taps, from = g->c_out / g->groups * taps;
  *out = (ep_linop){.kind = EP_LINOP_CONV, .conv = *g, .conv_transpose = transpose};
  out->n_in = transpose ? n_map : n_img;
  out->n_out = transpose ? n_img : n_map;
  out->terms_fwd = transpose ? from : into;
  out->terms_bwd = transpose ? into : from;
  return store(arena, out, (size_t)g->c_out * into, w64, rel_err);
}

#define REAL float
#define FN(name) name##_f32
#define GEMM ep_sgemm
#define WEIGHTS(A) ((A)->w32)
#include "kernels/linop_impl.h"
#undef REAL
#undef FN
#undef GEMM
#undef WEIGHTS

#define REAL double
#define FN(name) name##_f64
#define GEMM ep_dgemm
#define WEIGHTS(A) ((A)->w64)
#include "kernels/linop_impl.h"

ep_status ep_linop_apply_abs_f64(const ep_linop *A, size_t rows, const double *x, double *y, bool accumulate,
                                 ep_scratch *s) {
  return apply_f64(A, A->abs64, rows, x, y, accumulate, s);
}
