/* Bodies of the linear operators, included by linop.c once per precision. REAL, FN(name), GEMM and WEIGHTS(A) are set
 * there. */

/* Sparse rows times `rows` dense vectors: y_i (+)= sum_k w[pos(k)] * x[col[k]], pos NULL = in order. For
 * several vectors a block of BLOCK (or half as many) of them is turned to x^T, so that each index loaded serves SIMD
 * registers of vectors. */
enum { FN(BLOCK) = 128 / sizeof(REAL) };

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

/* x[have x n] -> xt[n x b]; missing vectors are zeros. */
static void FN(turn)(size_t b, size_t have, size_t n, const REAL *x, REAL *restrict xt) {
  FN(ep_transpose)(have, n, x, n, xt, b);
  for (size_t j = 0; j < n && have < b; j++)
    for (size_t i = have; i < b; i++) xt[j * b + i] = 0;
}

/* y[have x n] (+)= tile^T at columns j0 .. j0+m-1. */
static void FN(turn_back)(size_t b, size_t have, size_t n, size_t j0, size_t m, const REAL *tile, REAL *y,
                          bool accumulate) {
  REAL own[FN(BLOCK) * FN(BLOCK)];
  if (!accumulate) {
    FN(ep_transpose)(m, have, tile, b, y + j0, n);
    return;
  }
  FN(ep_transpose)(m, have, tile, b, own, b);
  for (size_t i = 0; i < have; i++)
    for (size_t j = 0; j < m; j++) y[i * n + j0 + j] += own[i * b + j];
}

/* One SIMD register (or two halves of one, or four quarters) of vectors. */
typedef REAL FN(lane) __attribute__((vector_size(64)));

/* `have` <= b vectors at once, b = BLOCK or BLOCK/2: two lanes or one. Two hide the latency of the sums. */
static inline __attribute__((always_inline)) void FN(csr_block)(const size_t b, size_t have, size_t n_out,
                                                                const uint32_t *row_ptr, const uint32_t *col,
                                                                const uint32_t *pos, const REAL *w, const REAL *xt,
                                                                REAL *y, bool accumulate) {
  enum { LANE = FN(BLOCK) / 2 };
  REAL tile[FN(BLOCK) * FN(BLOCK)];
  for (size_t i0 = 0; i0 < n_out; i0 += b) {
    size_t m = n_out - i0 < b ? n_out - i0 : b;
    for (size_t i = 0; i < m; i++) {
      FN(lane) t0 = {0}, t1 = {0}, x0, x1;
      for (uint32_t k = row_ptr[i0 + i]; k < row_ptr[i0 + i + 1]; k++) {
        const REAL v = w[pos ? pos[k] : k], *xk = xt + (size_t)col[k] * b;
        memcpy(&x0, xk, sizeof x0);
        t0 += v * x0;
        if (b == LANE) continue;
        memcpy(&x1, xk + LANE, sizeof x1);
        t1 += v * x1;
      }
      memcpy(tile + i * b, &t0, sizeof t0);
      if (b > LANE) memcpy(tile + i * b + LANE, &t1, sizeof t1);
    }
    FN(turn_back)(b, have, n_out, i0, m, tile, y, accumulate);
  }
}

static ep_status FN(csr)(size_t n_out, size_t n_in, const uint32_t *row_ptr, const uint32_t *col, const uint32_t *pos,
                         const REAL *w, size_t rows, const REAL *x, REAL *y, bool accumulate, ep_scratch *s) {
  enum { B = FN(BLOCK), HALF = B / 2, FEW = 3 };
  size_t r = 0;
  if (rows > FEW) {
    ep_scratch_mark m = ep_scratch_save(s);
    REAL *xt = EP_SCRATCH(s, REAL, n_in * B + 1);
    if (!xt) return EP_E_NOMEM;
    for (size_t have; rows - r > FEW; r += have) {
      const REAL *xr = x + r * n_in;
      REAL *yr = y + r * n_out;
      if (rows - r > HALF) {
        have = rows - r < B ? rows - r : B;
        FN(turn)(B, have, n_in, xr, xt);
        FN(csr_block)(B, have, n_out, row_ptr, col, pos, w, xt, yr, accumulate);
      } else {
        have = rows - r;
        FN(turn)(HALF, have, n_in, xr, xt);
        FN(csr_block)(HALF, have, n_out, row_ptr, col, pos, w, xt, yr, accumulate);
      }
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

/* Groups hold float32 weights and pay from a few vectors on. */
#undef USE_GROUPS
#define USE_GROUPS(group, rows) (sizeof(REAL) == sizeof(float) && (group) && (rows) > 3)

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
    if (USE_GROUPS(A->group, rows))
      return ep_csr_groups_apply(A->group, rows, (const void *)x, (void *)y, accumulate, s);
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
    if (USE_GROUPS(A->t_group, rows))
      return ep_csr_groups_apply(A->t_group, rows, (const void *)y, (void *)x, accumulate, s);
    if (sizeof(REAL) == sizeof(float) && A->t_w32)
      return FN(csr)(ni, no, A->t_row_ptr, A->t_col, NULL, (const void *)A->t_w32, rows, y, x, accumulate, s);
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
