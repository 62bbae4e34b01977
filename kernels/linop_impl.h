/* Bodies of the linear operators, included by linop.c once per precision. REAL, FN(name), GEMM and WEIGHTS(A) are set
 * there. */

/* Sparse rows times `rows` dense vectors: y_i (+)= sum_k w[pos(k)] * x[col[k]], pos NULL = in order. For many vectors a
 * block of BLOCK of them is turned to x^T, so that each index loaded serves a whole SIMD register of vectors. */
enum { FN(BLOCK) = 64 / sizeof(REAL) };

static void FN(csr_one)(size_t n_out, const uint32_t *row_ptr, const uint32_t *col, const uint32_t *pos, const REAL *w,
                        const REAL *x, REAL *y, bool accumulate) {
  for (size_t i = 0; i < n_out; i++) {
    REAL t = 0; /* same order of sums as in blocks: a vector's result does not depend on its neighbours */
    if (pos)
      for (uint32_t k = row_ptr[i]; k < row_ptr[i + 1]; k++) t += w[pos[k]] * x[col[k]];
    else
      for (uint32_t k = row_ptr[i]; k < row_ptr[i + 1]; k++) t += w[k] * x[col[k]];
    y[i] = t + (accumulate ? y[i] : 0);
  }
}

/* x[B x n] -> xt[n x B] and back, in tiles of B x B: whole cache lines on both sides, however far apart rows lie. */
static void FN(turn)(size_t n, const REAL *restrict x, REAL *restrict xt) {
  enum { B = FN(BLOCK) };
  for (size_t j0 = 0; j0 < n; j0 += B) {
    size_t m = n - j0 < B ? n - j0 : B;
    for (size_t b = 0; b < B; b++)
      for (size_t j = 0; j < m; j++) xt[(j0 + j) * B + b] = x[b * n + j0 + j];
  }
}

static void FN(turn_back)(size_t n, size_t j0, size_t m, const REAL *restrict tile, REAL *restrict y, bool accumulate) {
  enum { B = FN(BLOCK) };
  for (size_t b = 0; b < B; b++)
    for (size_t j = 0; j < m; j++) {
      REAL *to = y + b * n + j0 + j;
      *to = tile[j * B + b] + (accumulate ? *to : 0);
    }
}

static void FN(csr_block)(size_t n_out, const uint32_t *row_ptr, const uint32_t *col, const uint32_t *pos,
                          const REAL *w, const REAL *xt, REAL *y, bool accumulate) {
  enum { B = FN(BLOCK) };
  REAL tile[B * B];
  for (size_t i0 = 0; i0 < n_out; i0 += B) {
    size_t m = n_out - i0 < B ? n_out - i0 : B;
    for (size_t i = 0; i < m; i++) {
      REAL t[B] = {0};
      for (uint32_t k = row_ptr[i0 + i]; k < row_ptr[i0 + i + 1]; k++) {
        const REAL v = w[pos ? pos[k] : k], *restrict xk = xt + (size_t)col[k] * B;
#pragma omp simd
        for (int b = 0; b < B; b++) t[b] += v * xk[b];
      }
      memcpy(tile + i * B, t, sizeof t);
    }
    FN(turn_back)(n_out, i0, m, tile, y, accumulate);
  }
}

static ep_status FN(csr)(size_t n_out, size_t n_in, const uint32_t *row_ptr, const uint32_t *col, const uint32_t *pos,
                         const REAL *w, size_t rows, const REAL *x, REAL *y, bool accumulate, ep_scratch *s) {
  enum { B = FN(BLOCK) };
  size_t r = 0;
  if (rows >= B) {
    ep_scratch_mark m = ep_scratch_save(s);
    REAL *xt = EP_SCRATCH(s, REAL, n_in * B);
    if (!xt) return EP_E_NOMEM;
    for (; r + B <= rows; r += B) {
      FN(turn)(n_in, x + r * n_in, xt);
      FN(csr_block)(n_out, row_ptr, col, pos, w, xt, y + r * n_out, accumulate);
    }
    ep_scratch_restore(s, m);
  }
  for (; r < rows; r++) FN(csr_one)(n_out, row_ptr, col, pos, w, x + r * n_in, y + r * n_out, accumulate);
  return EP_OK;
}

static void FN(add_or_copy)(size_t n, const REAL *restrict a, REAL *restrict b, bool accumulate) {
  if (accumulate)
    for (size_t i = 0; i < n; i++) b[i] += a[i];
  else
    memcpy(b, a, n * sizeof *b);
}

static void FN(scale_rows)(size_t rows, size_t n, const REAL *restrict w, const REAL *a, REAL *b, bool accumulate) {
  for (size_t r = 0; r < rows; r++) {
    const REAL *restrict ar = a + r * n;
    REAL *restrict br = b + r * n;
    if (accumulate)
      for (size_t i = 0; i < n; i++) br[i] += w[i] * ar[i];
    else
      for (size_t i = 0; i < n; i++) br[i] = w[i] * ar[i];
  }
}

static void FN(map_forward)(const ep_linop *A, size_t rows, const REAL *x, REAL *y, bool accumulate) {
  for (size_t r = 0; r < rows; r++, x += A->n_in, y += A->n_out)
    if (accumulate)
      for (size_t i = 0; i < A->n_out; i++) y[i] += A->map[i] >= 0 ? x[A->map[i]] : 0;
    else
      for (size_t i = 0; i < A->n_out; i++) y[i] = A->map[i] >= 0 ? x[A->map[i]] : 0;
}

/* A source may repeat, so this always accumulates. */
static void FN(map_backward)(const ep_linop *A, size_t rows, const REAL *y, REAL *x, bool accumulate) {
  if (!accumulate) memset(x, 0, rows * A->n_in * sizeof *x);
  for (size_t r = 0; r < rows; r++, x += A->n_in, y += A->n_out)
    for (size_t i = 0; i < A->n_out; i++)
      if (A->map[i] >= 0) x[A->map[i]] += y[i];
}

static ep_status FN(apply)(const ep_linop *A, const REAL *w, size_t rows, const REAL *x, REAL *y, bool accumulate,
                           ep_scratch *s) {
  size_t ni = A->n_in, no = A->n_out;
  assert(x != y || !rows);
  if (!rows) return EP_OK;
  switch (A->kind) {
  case EP_LINOP_ID:
    FN(add_or_copy)(rows * no, x, y, accumulate);
    return EP_OK;
  case EP_LINOP_DIAG:
    FN(scale_rows)(rows, no, w, x, y, accumulate);
    return EP_OK;
  case EP_LINOP_MAP:
    FN(map_forward)(A, rows, x, y, accumulate);
    return EP_OK;
  case EP_LINOP_DENSE:
    GEMM(false, true, rows, no, ni, 1, x, ni, w, ni, accumulate ? 1 : 0, y, no);
    return EP_OK;
  case EP_LINOP_CSR:
    return FN(csr)(no, ni, A->row_ptr, A->col, NULL, w, rows, x, y, accumulate, s);
  case EP_LINOP_CONV:
    return A->conv_transpose ? FN(ep_conv_backward)(&A->conv, w, rows, x, y, accumulate, s)
                             : FN(ep_conv_forward)(&A->conv, w, rows, x, y, accumulate, s);
  }
  return EP_E_INTERNAL;
}

ep_status FN(ep_linop_apply)(const ep_linop *A, size_t rows, const REAL *x, REAL *y, bool accumulate, ep_scratch *s) {
  return FN(apply)(A, WEIGHTS(A), rows, x, y, accumulate, s);
}

ep_status FN(ep_linop_apply_t)(const ep_linop *A, size_t rows, const REAL *y, REAL *x, bool accumulate, ep_scratch *s) {
  size_t ni = A->n_in, no = A->n_out;
  const REAL *w = WEIGHTS(A);
  assert(x != y || !rows);
  if (!rows) return EP_OK;
  switch (A->kind) {
  case EP_LINOP_ID:
    FN(add_or_copy)(rows * ni, y, x, accumulate);
    return EP_OK;
  case EP_LINOP_DIAG:
    FN(scale_rows)(rows, ni, w, y, x, accumulate);
    return EP_OK;
  case EP_LINOP_MAP:
    FN(map_backward)(A, rows, y, x, accumulate);
    return EP_OK;
  case EP_LINOP_DENSE:
    GEMM(false, false, rows, ni, no, 1, y, no, w, ni, accumulate ? 1 : 0, x, ni);
    return EP_OK;
  case EP_LINOP_CSR:
    return FN(csr)(ni, no, A->t_row_ptr, A->t_col, A->t_pos, w, rows, y, x, accumulate, s);
  case EP_LINOP_CONV:
    return A->conv_transpose ? FN(ep_conv_forward)(&A->conv, w, rows, y, x, accumulate, s)
                             : FN(ep_conv_backward)(&A->conv, w, rows, y, x, accumulate, s);
  }
  return EP_E_INTERNAL;
}

void FN(ep_linop_rows)(const ep_linop *A, size_t n_idx, const uint32_t *idx, REAL *out, bool accumulate) {
  size_t ni = A->n_in;
  const REAL *w = WEIGHTS(A);
  for (size_t r = 0; r < n_idx; r++) {
    uint32_t i = idx[r];
    REAL *a = out + r * ni;
    assert(i < A->n_out);
    if (!accumulate) memset(a, 0, ni * sizeof *a);
    switch (A->kind) {
    case EP_LINOP_ID:
      a[i] += 1;
      break;
    case EP_LINOP_DIAG:
      a[i] += w[i];
      break;
    case EP_LINOP_MAP:
      if (A->map[i] >= 0) a[A->map[i]] += 1;
      break;
    case EP_LINOP_DENSE:
      FN(add_or_copy)(ni, w + (size_t)i * ni, a, accumulate);
      break;
    case EP_LINOP_CSR:
      for (uint32_t k = A->row_ptr[i]; k < A->row_ptr[i + 1]; k++) a[A->col[k]] += w[k];
      break;
    case EP_LINOP_CONV:
      FN(ep_conv_row)(&A->conv, A->conv_transpose, w, i, a);
      break;
    }
  }
}
