/* Bodies of the linear operators, included once per precision. REAL, FN(name), GEMM and WEIGHTS(A) are set by linop.c. */
#include "kernels/mat.h"

/* ---- convolution: image x[c_in][h][w] <-> feature map y[c_out][h_out][w_out] through columns ---- */

/* Is the convolution a plain matrix product per pixel (1x1, stride 1, no padding)? */
static bool FN(conv_is_pointwise)(const ep_conv_geom *g) {
  return g->kh == 1 && g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 && g->pad_top == 0 && g->pad_left == 0 &&
         g->h_in == g->h_out && g->w_in == g->w_out;
}

/* Columns of one group: col[(c,kh,kw)][h_out*w_out]. */
static void FN(im2col)(const ep_conv_geom *g, uint32_t channels, const REAL *x, REAL *col) {
  size_t hw_out = (size_t)g->h_out * g->w_out;
  for (uint32_t c = 0; c < channels; c++)
    for (uint32_t kh = 0; kh < g->kh; kh++)
      for (uint32_t kw = 0; kw < g->kw; kw++, col += hw_out)
        for (uint32_t oh = 0; oh < g->h_out; oh++) {
          int64_t ih = (int64_t)oh * g->stride_h + (int64_t)kh * g->dil_h - g->pad_top;
          REAL *dst = col + (size_t)oh * g->w_out;
          if (ih < 0 || ih >= g->h_in) {
            memset(dst, 0, g->w_out * sizeof *dst);
            continue;
          }
          const REAL *src = x + ((size_t)c * g->h_in + (size_t)ih) * g->w_in;
          int64_t iw = (int64_t)kw * g->dil_w - g->pad_left;
          for (uint32_t ow = 0; ow < g->w_out; ow++, iw += g->stride_w) dst[ow] = iw >= 0 && iw < g->w_in ? src[iw] : 0;
        }
}

/* Adds columns back to the image they came from. */
static void FN(col2im)(const ep_conv_geom *g, uint32_t channels, const REAL *col, REAL *x) {
  size_t hw_out = (size_t)g->h_out * g->w_out;
  for (uint32_t c = 0; c < channels; c++)
    for (uint32_t kh = 0; kh < g->kh; kh++)
      for (uint32_t kw = 0; kw < g->kw; kw++, col += hw_out)
        for (uint32_t oh = 0; oh < g->h_out; oh++) {
          int64_t ih = (int64_t)oh * g->stride_h + (int64_t)kh * g->dil_h - g->pad_top;
          if (ih < 0 || ih >= g->h_in) continue;
          const REAL *src = col + (size_t)oh * g->w_out;
          REAL *dst = x + ((size_t)c * g->h_in + (size_t)ih) * g->w_in;
          int64_t iw = (int64_t)kw * g->dil_w - g->pad_left;
          for (uint32_t ow = 0; ow < g->w_out; ow++, iw += g->stride_w)
            if (iw >= 0 && iw < g->w_in) dst[iw] += src[ow];
        }
}

/* y = conv(x), or y += conv(x). */
static ep_status FN(conv_forward)(const ep_conv_geom *g, const REAL *w, size_t rows, const REAL *x, REAL *y,
                                  bool accumulate, ep_scratch *s) {
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups, k = ci * g->kh * g->kw;
  size_t hw = (size_t)g->h_out * g->w_out, hw_in = (size_t)g->h_in * g->w_in;
  bool is_point = FN(conv_is_pointwise)(g);
  ep_scratch_mark m = ep_scratch_save(s);
  REAL *col = is_point ? NULL : EP_SCRATCH(s, REAL, k * hw + 1);
  if (!is_point && !col) return EP_E_NOMEM;
  for (size_t r = 0; r < rows; r++)
    for (uint32_t q = 0; q < g->groups; q++) {
      const REAL *xi = x + (r * g->c_in + (size_t)q * ci) * hw_in;
      if (!is_point) FN(im2col)(g, ci, xi, col);
      GEMM(false, false, co, hw, k, 1, w + (size_t)q * co * k, k, is_point ? xi : col, hw, accumulate ? 1 : 0,
           y + (r * g->c_out + (size_t)q * co) * hw, hw);
    }
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* x = conv^T(y), or x += conv^T(y). */
static ep_status FN(conv_backward)(const ep_conv_geom *g, const REAL *w, size_t rows, const REAL *y, REAL *x,
                                   bool accumulate, ep_scratch *s) {
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups, k = ci * g->kh * g->kw;
  size_t hw = (size_t)g->h_out * g->w_out, hw_in = (size_t)g->h_in * g->w_in;
  bool is_point = FN(conv_is_pointwise)(g);
  ep_scratch_mark m = ep_scratch_save(s);
  REAL *col = is_point ? NULL : EP_SCRATCH(s, REAL, k * hw + 1);
  if (!is_point && !col) return EP_E_NOMEM;
  if (!accumulate && !is_point) memset(x, 0, rows * g->c_in * hw_in * sizeof *x);
  for (size_t r = 0; r < rows; r++)
    for (uint32_t q = 0; q < g->groups; q++) {
      const REAL *yo = y + (r * g->c_out + (size_t)q * co) * hw;
      REAL *xi = x + (r * g->c_in + (size_t)q * ci) * hw_in;
      GEMM(true, false, k, hw, co, 1, w + (size_t)q * co * k, k, yo, hw, is_point && accumulate ? 1 : 0,
           is_point ? xi : col, hw);
      if (!is_point) FN(col2im)(g, ci, col, xi);
    }
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* ---- all kinds ---- */

static ep_status FN(apply)(const ep_linop *A, const REAL *w, size_t rows, const REAL *x, REAL *y, bool accumulate,
                           ep_scratch *s) {
  size_t ni = A->n_in, no = A->n_out;
  if (A->kind == EP_LINOP_DENSE) {
    GEMM(false, true, rows, no, ni, 1, x, ni, w, ni, accumulate ? 1 : 0, y, no);
    return EP_OK;
  }
  if (A->kind == EP_LINOP_CONV)
    return A->conv_transpose ? FN(conv_backward)(&A->conv, w, rows, x, y, accumulate, s)
                             : FN(conv_forward)(&A->conv, w, rows, x, y, accumulate, s);
  for (size_t r = 0; r < rows; r++) {
    const REAL *a = x + r * ni;
    REAL *b = y + r * no;
    if (!accumulate) memset(b, 0, no * sizeof *b);
    switch (A->kind) {
    case EP_LINOP_ID:
      for (size_t i = 0; i < no; i++) b[i] += a[i];
      break;
    case EP_LINOP_DIAG:
      for (size_t i = 0; i < no; i++) b[i] += w[i] * a[i];
      break;
    case EP_LINOP_MAP:
      for (size_t i = 0; i < no; i++)
        if (A->map[i] >= 0) b[i] += a[A->map[i]];
      break;
    default:
      for (size_t i = 0; i < no; i++) {
        REAL t = 0;
        for (uint32_t k = A->row_ptr[i]; k < A->row_ptr[i + 1]; k++) t += w[k] * a[A->col[k]];
        b[i] += t;
      }
    }
  }
  return EP_OK;
}

static ep_status FN(apply_t)(const ep_linop *A, const REAL *w, size_t rows, const REAL *y, REAL *x, bool accumulate,
                             ep_scratch *s) {
  size_t ni = A->n_in, no = A->n_out;
  if (A->kind == EP_LINOP_DENSE) {
    GEMM(false, false, rows, ni, no, 1, y, no, w, ni, accumulate ? 1 : 0, x, ni);
    return EP_OK;
  }
  if (A->kind == EP_LINOP_CONV)
    return A->conv_transpose ? FN(conv_forward)(&A->conv, w, rows, y, x, accumulate, s)
                             : FN(conv_backward)(&A->conv, w, rows, y, x, accumulate, s);
  for (size_t r = 0; r < rows; r++) {
    const REAL *b = y + r * no;
    REAL *a = x + r * ni;
    if (!accumulate) memset(a, 0, ni * sizeof *a);
    switch (A->kind) {
    case EP_LINOP_ID:
      for (size_t i = 0; i < no; i++) a[i] += b[i];
      break;
    case EP_LINOP_DIAG:
      for (size_t i = 0; i < no; i++) a[i] += w[i] * b[i];
      break;
    case EP_LINOP_MAP:
      for (size_t i = 0; i < no; i++)
        if (A->map[i] >= 0) a[A->map[i]] += b[i];
      break;
    default:
      for (size_t j = 0; j < ni; j++) {
        REAL t = 0;
        for (uint32_t k = A->t_row_ptr[j]; k < A->t_row_ptr[j + 1]; k++) t += w[A->t_pos[k]] * b[A->t_col[k]];
        a[j] += t;
      }
    }
  }
  return EP_OK;
}

ep_status FN(ep_linop_apply)(const ep_linop *A, size_t rows, const REAL *x, REAL *y, bool accumulate, ep_scratch *s) {
  return FN(apply)(A, WEIGHTS(A), rows, x, y, accumulate, s);
}

ep_status FN(ep_linop_apply_t)(const ep_linop *A, size_t rows, const REAL *y, REAL *x, bool accumulate,
                               ep_scratch *s) {
  return FN(apply_t)(A, WEIGHTS(A), rows, y, x, accumulate, s);
}

/* Row i of a plain convolution: the kernel laid over output pixel i's window; of a transposed one: all windows that
 * contain image pixel i. */
static void FN(conv_row)(const ep_linop *A, const REAL *w, uint32_t i, REAL *out) {
  const ep_conv_geom *g = &A->conv;
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups;
  size_t hw_in = (size_t)g->h_in * g->w_in, hw_out = (size_t)g->h_out * g->w_out;
  uint32_t n_pix = (uint32_t)(A->conv_transpose ? hw_in : hw_out), width = A->conv_transpose ? g->w_in : g->w_out;
  uint32_t ch = i / n_pix, row = i % n_pix / width, colm = i % n_pix % width;
  for (uint32_t kh = 0; kh < g->kh; kh++)
    for (uint32_t kw = 0; kw < g->kw; kw++) {
      int64_t h, v;
      if (!A->conv_transpose) {
        h = (int64_t)row * g->stride_h + (int64_t)kh * g->dil_h - g->pad_top;
        v = (int64_t)colm * g->stride_w + (int64_t)kw * g->dil_w - g->pad_left;
        if (h < 0 || h >= g->h_in || v < 0 || v >= g->w_in) continue;
        uint32_t q = ch / co;
        for (uint32_t c = 0; c < ci; c++)
          out[((size_t)q * ci + c) * hw_in + (size_t)h * g->w_in + (size_t)v] +=
              w[((size_t)ch * ci + c) * g->kh * g->kw + (size_t)kh * g->kw + kw];
        continue;
      }
      h = (int64_t)row + g->pad_top - (int64_t)kh * g->dil_h;
      v = (int64_t)colm + g->pad_left - (int64_t)kw * g->dil_w;
      if (h < 0 || v < 0 || h % g->stride_h || v % g->stride_w) continue;
      h /= g->stride_h;
      v /= g->stride_w;
      if (h >= g->h_out || v >= g->w_out) continue;
      uint32_t q = ch / ci;
      for (uint32_t c = 0; c < co; c++)
        out[((size_t)q * co + c) * hw_out + (size_t)h * g->w_out + (size_t)v] +=
            w[(((size_t)q * co + c) * ci + ch % ci) * g->kh * g->kw + (size_t)kh * g->kw + kw];
    }
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
    case EP_LINOP_ID: a[i] += 1; break;
    case EP_LINOP_DIAG: a[i] += w[i]; break;
    case EP_LINOP_MAP:
      if (A->map[i] >= 0) a[A->map[i]] += 1;
      break;
    case EP_LINOP_DENSE:
      for (size_t j = 0; j < ni; j++) a[j] += w[(size_t)i * ni + j];
      break;
    case EP_LINOP_CSR:
      for (uint32_t k = A->row_ptr[i]; k < A->row_ptr[i + 1]; k++) a[A->col[k]] += w[k];
      break;
    case EP_LINOP_CONV: FN(conv_row)(A, w, i, a); break;
    }
  }
}
