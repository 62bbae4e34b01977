/* Bodies of the convolution, included by conv.c once per precision. REAL, FN(name) and GEMM are set there. */

/* Constant strides let the compiler use whole SIMD registers. */
static inline void FN(read_strided)(uint32_t n, const REAL *restrict from, uint32_t stride, REAL *restrict to) {
  if (stride == 1)
    for (uint32_t v = 0; v < n; v++) to[v] = from[v];
  else if (stride == 2)
    for (uint32_t v = 0; v < n; v++) to[v] = from[2 * v];
  else
    for (uint32_t v = 0; v < n; v++) to[v] = from[(size_t)v * stride];
}
static inline void FN(add_strided)(uint32_t n, const REAL *restrict from, REAL *restrict to, uint32_t stride) {
  if (stride == 1)
    for (uint32_t v = 0; v < n; v++) to[v] += from[v];
  else if (stride == 2)
    for (uint32_t v = 0; v < n; v++) to[2 * v] += from[v];
  else
    for (uint32_t v = 0; v < n; v++) to[(size_t)v * stride] += from[v];
}

/* Columns of one sample: col[(c,kh,kw)][h_out*w_out], rows `ld` apart. */
static void FN(im2col)(const ep_conv_geom *g, uint32_t channels, const REAL *x, REAL *col, size_t ld) {
  for (uint32_t c = 0; c < channels; c++, x += (size_t)g->h_in * g->w_in)
    for (uint32_t kh = 0; kh < g->kh; kh++) {
      range oh = inside(g->h_in, g->h_out, g->stride_h, kh * g->dil_h, g->pad_top);
      for (uint32_t kw = 0; kw < g->kw; kw++, col += ld) {
        range ow = inside(g->w_in, g->w_out, g->stride_w, kw * g->dil_w, g->pad_left);
        memset(col, 0, (size_t)oh.lo * g->w_out * sizeof *col);
        memset(col + (size_t)oh.hi * g->w_out, 0, (size_t)(g->h_out - oh.hi) * g->w_out * sizeof *col);
        ptrdiff_t left = origin(kw * g->dil_w, g->pad_left), top = origin(kh * g->dil_h, g->pad_top);
        for (uint32_t h = oh.lo; h < oh.hi; h++) {
          REAL *dst = col + (size_t)h * g->w_out;
          const REAL *row = x + (size_t)((ptrdiff_t)h * g->stride_h + top) * g->w_in;
          for (uint32_t v = 0; v < ow.lo; v++) dst[v] = 0;
          FN(read_strided)(ow.hi - ow.lo, row + (ptrdiff_t)ow.lo * g->stride_w + left, g->stride_w, dst + ow.lo);
          for (uint32_t v = ow.hi; v < g->w_out; v++) dst[v] = 0;
        }
      }
    }
}

/* Adds one sample's columns back to the image they came from. */
static void FN(col2im)(const ep_conv_geom *g, uint32_t channels, const REAL *col, size_t ld, REAL *x) {
  for (uint32_t c = 0; c < channels; c++, x += (size_t)g->h_in * g->w_in)
    for (uint32_t kh = 0; kh < g->kh; kh++) {
      range oh = inside(g->h_in, g->h_out, g->stride_h, kh * g->dil_h, g->pad_top);
      for (uint32_t kw = 0; kw < g->kw; kw++, col += ld) {
        range ow = inside(g->w_in, g->w_out, g->stride_w, kw * g->dil_w, g->pad_left);
        ptrdiff_t left = origin(kw * g->dil_w, g->pad_left), top = origin(kh * g->dil_h, g->pad_top);
        for (uint32_t h = oh.lo; h < oh.hi; h++) {
          const REAL *src = col + (size_t)h * g->w_out;
          REAL *row = x + (size_t)((ptrdiff_t)h * g->stride_h + top) * g->w_in;
          FN(add_strided)(ow.hi - ow.lo, src + ow.lo, row + (ptrdiff_t)ow.lo * g->stride_w + left, g->stride_w);
        }
      }
    }
}

/* Sample-major maps y[n][stride] -> one wide matrix m[co][n*hw], and back. */
static void FN(gather)(size_t n, uint32_t co, size_t hw, const REAL *y, size_t stride, REAL *m) {
  for (uint32_t c = 0; c < co; c++)
    for (size_t j = 0; j < n; j++, m += hw) memcpy(m, y + j * stride + c * hw, hw * sizeof *m);
}
static void FN(scatter)(size_t n, uint32_t co, size_t hw, const REAL *m, REAL *y, size_t stride, bool accumulate) {
  for (uint32_t c = 0; c < co; c++)
    for (size_t j = 0; j < n; j++, m += hw) {
      REAL *to = y + j * stride + c * hw;
      if (accumulate)
        for (size_t i = 0; i < hw; i++) to[i] += m[i];
      else
        memcpy(to, m, hw * sizeof *m);
    }
}

ep_status FN(ep_conv_forward)(const ep_conv_geom *g, const REAL *w, size_t rows, const REAL *x, REAL *y,
                              bool accumulate, ep_scratch *s) {
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups, k = ci * g->kh * g->kw;
  size_t hw = (size_t)g->h_out * g->w_out, hw_in = (size_t)g->h_in * g->w_in, x_row = g->c_in * hw_in,
         y_row = g->c_out * hw, most = samples_at_once(g, rows);
  bool is_direct = is_pointwise(g) && most == 1;
  assert(rows > 0 && most >= 1 && most <= rows);
  ep_scratch_mark m = ep_scratch_save(s);
  REAL *col = is_direct ? NULL : EP_SCRATCH(s, REAL, k * hw * most);
  REAL *wide = most > 1 ? EP_SCRATCH(s, REAL, co * hw * most) : NULL;
  bool is_ok = (is_direct || col) && (most <= 1 || wide);
  for (size_t r = 0, n; is_ok && r < rows; r += n) {
    n = most < rows - r ? most : rows - r;
    for (uint32_t q = 0; q < g->groups; q++) {
      const REAL *wq = w + (size_t)q * co * k, *xq = x + r * x_row + (size_t)q * ci * hw_in;
      REAL *yq = y + r * y_row + (size_t)q * co * hw;
      for (size_t j = 0; !is_direct && j < n; j++) FN(im2col)(g, ci, xq + j * x_row, col + j * hw, n * hw);
      if (n == 1) {
        GEMM(false, false, co, hw, k, 1, wq, k, is_direct ? xq : col, hw, accumulate ? 1 : 0, yq, hw);
      } else {
        GEMM(false, false, co, n * hw, k, 1, wq, k, col, n * hw, 0, wide, n * hw);
        FN(scatter)(n, co, hw, wide, yq, y_row, accumulate);
      }
    }
  }
  ep_scratch_restore(s, m);
  return is_ok ? EP_OK : EP_E_NOMEM;
}

ep_status FN(ep_conv_backward)(const ep_conv_geom *g, const REAL *w, size_t rows, const REAL *y, REAL *x,
                               bool accumulate, ep_scratch *s) {
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups, k = ci * g->kh * g->kw;
  size_t hw = (size_t)g->h_out * g->w_out, hw_in = (size_t)g->h_in * g->w_in, x_row = g->c_in * hw_in,
         y_row = g->c_out * hw, most = samples_at_once(g, rows);
  bool is_direct = is_pointwise(g) && most == 1;
  assert(rows > 0 && most >= 1 && most <= rows);
  ep_scratch_mark m = ep_scratch_save(s);
  REAL *col = is_direct ? NULL : EP_SCRATCH(s, REAL, k * hw * most);
  REAL *wide = most > 1 ? EP_SCRATCH(s, REAL, co * hw * most) : NULL;
  bool is_ok = (is_direct || col) && (most <= 1 || wide);
  if (is_ok && !accumulate && !is_direct) memset(x, 0, rows * x_row * sizeof *x);
  for (size_t r = 0, n; is_ok && r < rows; r += n) {
    n = most < rows - r ? most : rows - r;
    for (uint32_t q = 0; q < g->groups; q++) {
      const REAL *wq = w + (size_t)q * co * k, *yq = y + r * y_row + (size_t)q * co * hw;
      REAL *xq = x + r * x_row + (size_t)q * ci * hw_in;
      if (n > 1) FN(gather)(n, co, hw, yq, y_row, wide);
      GEMM(true, false, k, n * hw, co, 1, wq, k, n > 1 ? wide : yq, n * hw, is_direct && accumulate ? 1 : 0,
           is_direct ? xq : col, n * hw);
      for (size_t j = 0; !is_direct && j < n; j++) FN(col2im)(g, ci, col + j * hw, n * hw, xq + j * x_row);
    }
  }
  ep_scratch_restore(s, m);
  return is_ok ? EP_OK : EP_E_NOMEM;
}

/* Where the entries of one row go: added to a dense row, or listed. */
typedef struct FN(sink) {
  REAL *dense;
  uint32_t *at;
  REAL *value;
  size_t n;
} FN(sink);

static inline void FN(put)(FN(sink) * to, size_t at, REAL value) {
  if (to->dense) {
    to->dense[at] += value;
  } else {
    to->at[to->n] = (uint32_t)at;
    to->value[to->n] = value;
  }
  to->n++;
}

/* The kernel laid over output pixel i's window. */
static void FN(forward_row)(const ep_conv_geom *g, const REAL *w, uint32_t i, FN(sink) * to) {
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups, n_pix = g->h_out * g->w_out;
  uint32_t ch = i / n_pix, oh = i % n_pix / g->w_out, ow = i % n_pix % g->w_out;
  size_t hw_in = (size_t)g->h_in * g->w_in, first = (size_t)(ch / co) * ci * hw_in;
  w += (size_t)ch * ci * g->kh * g->kw;
  for (uint32_t c = 0; c < ci; c++)
    for (uint32_t kh = 0; kh < g->kh; kh++)
      for (uint32_t kw = 0; kw < g->kw; kw++, w++) {
        int64_t h = (int64_t)oh * g->stride_h + (int64_t)kh * g->dil_h - g->pad_top;
        int64_t v = (int64_t)ow * g->stride_w + (int64_t)kw * g->dil_w - g->pad_left;
        if (h >= 0 && h < g->h_in && v >= 0 && v < g->w_in)
          FN(put)(to, first + c * hw_in + (size_t)h * g->w_in + (size_t)v, *w);
      }
}

/* All windows that contain image pixel i. */
static void FN(backward_row)(const ep_conv_geom *g, const REAL *w, uint32_t i, FN(sink) * to) {
  uint32_t ci = g->c_in / g->groups, co = g->c_out / g->groups, n_pix = g->h_in * g->w_in, taps = g->kh * g->kw;
  uint32_t ch = i / n_pix, ih = i % n_pix / g->w_in, iw = i % n_pix % g->w_in;
  size_t hw = (size_t)g->h_out * g->w_out, first = (size_t)(ch / ci) * co; /* the group's first output channel */
  for (uint32_t kh = 0; kh < g->kh; kh++)
    for (uint32_t kw = 0; kw < g->kw; kw++) {
      int64_t h = (int64_t)ih + g->pad_top - (int64_t)kh * g->dil_h;
      int64_t v = (int64_t)iw + g->pad_left - (int64_t)kw * g->dil_w;
      if (h < 0 || v < 0 || h % g->stride_h || v % g->stride_w) continue;
      h /= g->stride_h;
      v /= g->stride_w;
      if (h >= g->h_out || v >= g->w_out) continue;
      for (size_t c = first; c < first + co; c++)
        FN(put)(to, c * hw + (size_t)h * g->w_out + (size_t)v, w[(c * ci + ch % ci) * taps + kh * g->kw + kw]);
    }
}

static size_t FN(conv_row)(const ep_conv_geom *g, bool transpose, const REAL *w, uint32_t i, FN(sink) to) {
  if (transpose)
    FN(backward_row)(g, w, i, &to);
  else
    FN(forward_row)(g, w, i, &to);
  return to.n;
}

void FN(ep_conv_row)(const ep_conv_geom *g, bool transpose, const REAL *w, uint32_t i, REAL *out) {
  FN(conv_row)(g, transpose, w, i, (FN(sink)){.dense = out});
}

size_t FN(ep_conv_entries)(const ep_conv_geom *g, bool transpose, const REAL *w, uint32_t i, uint32_t *at,
                           REAL *value) {
  return FN(conv_row)(g, transpose, w, i, (FN(sink)){.at = at, .value = value});
}
