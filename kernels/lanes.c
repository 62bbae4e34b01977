#include "kernels/lanes.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* This file is compiled with contraction into fused multiply-adds (CMakeLists.txt). */
#ifdef __AVX512F__
#define VEC_BYTES 64
enum { ROWS = 8 }; /* 16 sums in flight: enough to hide the latency, few enough for 32 registers */
#else
#define VEC_BYTES 32
enum { ROWS = 4 };
#endif
typedef float vec __attribute__((vector_size(VEC_BYTES)));
enum { VEC = VEC_BYTES / sizeof(float), PAIR = 2 * VEC, TAPS = 4 };

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) {
  vec v;
  memcpy(&v, p, sizeof v);
  return v;
}
INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec splat(float x) { return x - (vec){0}; }

/* `n` <= ROWS rows of a sum, n known to the compiler, on one pair of registers of lanes. */
INLINE void rows_of(const size_t n, const ep_lanes_sum *s, size_t r0, size_t lane) {
  vec a[ROWS], b[ROWS];
  const float *src = s->src + lane, *w = s->w + r0;
  float *dst = s->dst + r0 * s->dst_step + lane;
  for (size_t r = 0; r < n; r++) {
    a[r] = b[r] = splat(s->init ? s->init[r0 + r] : 0);
    if (!s->accumulate) continue;
    a[r] += load(dst + r * s->dst_step);
    b[r] += load(dst + r * s->dst_step + VEC);
  }
  for (size_t k = 0; k < s->n_term; k++) {
    const float *x = src + s->off[k], *wk = w + (s->row ? s->row[k] : k) * s->w_step;
    vec x0 = load(x), x1 = load(x + VEC);
#pragma GCC unroll 8
    for (size_t r = 0; r < n; r++) {
      a[r] += wk[r] * x0;
      b[r] += wk[r] * x1;
    }
  }
  for (size_t r = 0; r < n; r++) {
    store(dst + r * s->dst_step, a[r]);
    store(dst + r * s->dst_step + VEC, b[r]);
  }
}

void ep_lanes_run(const ep_lanes_sum *s) {
  for (size_t lane = 0; lane < EP_LANES; lane += PAIR) {
    size_t r = 0;
    for (; r + ROWS <= s->n_row; r += ROWS) rows_of(ROWS, s, r, lane);
    for (; r + 4 <= s->n_row; r += 4) rows_of(4, s, r, lane);
    for (; r + 2 <= s->n_row; r += 2) rows_of(2, s, r, lane);
    if (r < s->n_row) rows_of(1, s, r, lane);
  }
}

/* ---- convolution ---- */

static uint32_t padded(uint32_t n_in, uint32_t n_out, uint32_t k, uint32_t stride, uint32_t dil, uint32_t pad) {
  uint32_t read = (n_out - 1) * stride + (k - 1) * dil + 1;
  return read > n_in + pad ? read : n_in + pad;
}
uint32_t ep_lanes_padded_h(const ep_conv_geom *g) {
  return padded(g->h_in, g->h_out, g->kh, g->stride_h, g->dil_h, g->pad_top);
}
uint32_t ep_lanes_padded_w(const ep_conv_geom *g) {
  return padded(g->w_in, g->w_out, g->kw, g->stride_w, g->dil_w, g->pad_left);
}

void ep_lanes_pad(const ep_conv_geom *g, const float *x, float *out) {
  size_t hp = ep_lanes_padded_h(g), wp = ep_lanes_padded_w(g), row = (size_t)g->w_in * EP_LANES;
  memset(out, 0, g->c_in * hp * wp * EP_LANES * sizeof *out);
  for (size_t c = 0; c < g->c_in; c++)
    for (size_t h = 0; h < g->h_in; h++, x += row)
      memcpy(out + ((c * hp + h + g->pad_top) * wp + g->pad_left) * EP_LANES, x, row * sizeof *out);
}

/* One group of a convolution's channels: groups lie one behind the other in images, features and weights. */
static ep_conv_geom group_of(const ep_conv_geom *g) {
  ep_conv_geom one = *g;
  assert(g->c_in % g->groups == 0 && g->c_out % g->groups == 0);
  one.c_in /= g->groups;
  one.c_out /= g->groups;
  one.groups = 1;
  return one;
}
static size_t group_weights(const ep_conv_geom *one) { return (size_t)one->c_out * one->c_in * one->kh * one->kw; }

void ep_lanes_offsets(const ep_conv_geom *g, uint32_t *off) {
  uint32_t hp = ep_lanes_padded_h(g), wp = ep_lanes_padded_w(g);
  assert((uint64_t)g->c_in * hp * wp * EP_LANES < UINT32_MAX);
  for (uint32_t c = 0; c < g->c_in / g->groups; c++)
    for (uint32_t kh = 0; kh < g->kh; kh++)
      for (uint32_t kw = 0; kw < g->kw; kw++) *off++ = ((c * hp + kh * g->dil_h) * wp + kw * g->dil_w) * EP_LANES;
}

void ep_lanes_pack_forward(const ep_conv_geom *g, bool is_abs, const float *w, float *out) {
  const ep_conv_geom one = group_of(g);
  size_t n_k = (size_t)one.c_in * g->kh * g->kw;
  for (size_t q = 0; q < g->groups; q++, out += group_weights(&one))
    for (size_t co = 0; co < one.c_out; co++)
      for (size_t k = 0; k < n_k; k++, w++) out[k * one.c_out + co] = is_abs ? fabsf(*w) : *w;
}

/* [groups][kh*kw][c_out][c_in] */
void ep_lanes_pack_backward(const ep_conv_geom *g, bool is_abs, const float *w, float *out) {
  const ep_conv_geom one = group_of(g);
  size_t taps = (size_t)g->kh * g->kw;
  for (size_t q = 0; q < g->groups; q++, out += group_weights(&one))
    for (size_t co = 0; co < one.c_out; co++)
      for (size_t ci = 0; ci < one.c_in; ci++)
        for (size_t t = 0; t < taps; t++, w++) out[(t * one.c_out + co) * one.c_in + ci] = is_abs ? fabsf(*w) : *w;
}

static void forward_group(const ep_conv_geom *g, const float *packed, const float *bias, const uint32_t *off,
                          const float *x, float *y) {
  size_t wp = ep_lanes_padded_w(g), plane = (size_t)g->h_out * g->w_out;
  ep_lanes_sum s = {.n_row = g->c_out,
                    .n_term = (size_t)g->c_in * g->kh * g->kw,
                    .off = off,
                    .w = packed,
                    .init = bias,
                    .w_step = g->c_out,
                    .dst_step = plane * EP_LANES};
  for (size_t h = 0; h < g->h_out; h++)
    for (size_t v = 0; v < g->w_out; v++) {
      s.src = x + (h * g->stride_h * wp + v * g->stride_w) * EP_LANES;
      s.dst = y + (h * g->w_out + v) * EP_LANES;
      ep_lanes_run(&s);
    }
}

void ep_lanes_conv_forward(const ep_conv_geom *g, const float *packed, const float *bias, const uint32_t *off,
                           const float *x, float *y) {
  const ep_conv_geom one = group_of(g);
  size_t n_x = (size_t)one.c_in * ep_lanes_padded_h(g) * ep_lanes_padded_w(g) * EP_LANES;
  size_t n_y = (size_t)one.c_out * g->h_out * g->w_out * EP_LANES;
  for (size_t q = 0; q < g->groups; q++)
    forward_group(&one, packed + q * group_weights(&one), bias ? bias + q * one.c_out : NULL, off, x + q * n_x,
                  y + q * n_y);
}

/* The taps k with (at + pad - k*dil) a multiple of the stride and inside 0..n_out-1, as a bit set. */
static uint64_t taps_at(uint32_t at, uint32_t n_out, uint32_t k, uint32_t stride, uint32_t dil, uint32_t pad) {
  uint64_t set = 0;
  assert(k <= 64);
  for (uint32_t t = 0; t < k; t++) {
    int64_t o = (int64_t)at + pad - (int64_t)t * dil;
    if (o >= 0 && o % stride == 0 && o / stride < n_out) set |= (uint64_t)1 << t;
  }
  return set;
}

/* Sources (outputs of the windows that hold image position (h, v)) relative to the first such output. */
static size_t backward_list(const ep_conv_geom *g, uint32_t h, uint32_t v, uint64_t in_h, uint64_t in_w, uint32_t *off,
                            uint32_t *row, size_t *base) {
  size_t n = 0, plane = (size_t)g->h_out * g->w_out, at[2] = {0, 0};
  for (uint32_t kh = 0; kh < g->kh; kh++)
    if (in_h >> kh & 1) at[0] = (h + g->pad_top - kh * g->dil_h) / g->stride_h; /* last = lowest output row */
  for (uint32_t kw = 0; kw < g->kw; kw++)
    if (in_w >> kw & 1) at[1] = (v + g->pad_left - kw * g->dil_w) / g->stride_w;
  *base = at[0] * g->w_out + at[1];
  for (uint32_t kh = 0; kh < g->kh; kh++)
    for (uint32_t kw = 0; kw < g->kw; kw++) {
      if (!(in_h >> kh & 1) || !(in_w >> kw & 1)) continue;
      size_t oh = (h + g->pad_top - kh * g->dil_h) / g->stride_h, ow = (v + g->pad_left - kw * g->dil_w) / g->stride_w;
      for (uint32_t c = 0; c < g->c_out; c++, n++) {
        off[n] = (uint32_t)((c * plane + oh * g->w_out + ow - *base) * EP_LANES);
        row[n] = (kh * g->kw + kw) * g->c_out + c;
      }
    }
  return n;
}

static void backward_group(const ep_conv_geom *g, const float *packed, const float *y, float *x, bool accumulate,
                           uint32_t *list) {
  uint32_t *off = list, *row = list + (size_t)g->c_out * g->kh * g->kw;
  ep_lanes_sum s = {.n_row = g->c_in,
                    .off = off,
                    .row = row,
                    .w = packed,
                    .w_step = g->c_in,
                    .dst_step = (size_t)g->h_in * g->w_in * EP_LANES,
                    .accumulate = accumulate};
  /* Positions of one class (same taps) have the same list but for where it starts: column by column of classes. */
  for (uint32_t h = 0; h < g->h_in; h++) {
    uint64_t in_h = taps_at(h, g->h_out, g->kh, g->stride_h, g->dil_h, g->pad_top);
    for (uint32_t phase = 0; phase < g->stride_w && phase < g->w_in; phase++) {
      uint64_t last = 0;
      bool has_list = false;
      size_t base = 0;
      for (uint32_t v = phase; v < g->w_in; v += g->stride_w) {
        uint64_t in_w = taps_at(v, g->w_out, g->kw, g->stride_w, g->dil_w, g->pad_left);
        if (has_list && in_w == last)
          base++; /* the next window */
        else
          s.n_term = backward_list(g, h, v, in_h, in_w, off, row, &base);
        has_list = true;
        last = in_w;
        s.src = y + base * EP_LANES;
        s.dst = x + ((size_t)h * g->w_in + v) * EP_LANES;
        ep_lanes_run(&s);
      }
    }
  }
}

void ep_lanes_conv_backward(const ep_conv_geom *g, const float *packed, const float *y, float *x, bool accumulate,
                            uint32_t *list) {
  const ep_conv_geom one = group_of(g);
  size_t n_x = (size_t)one.c_in * g->h_in * g->w_in * EP_LANES,
         n_y = (size_t)one.c_out * g->h_out * g->w_out * EP_LANES;
  for (size_t q = 0; q < g->groups; q++)
    backward_group(&one, packed + q * group_weights(&one), y + q * n_y, x + q * n_x, accumulate, list);
}

static float total(vec v) {
  float sum = 0;
  for (size_t i = 0; i < VEC; i++) sum += v[i];
  return sum;
}

/* `n` output channels times `m` taps of one kernel row: both known to the compiler. */
INLINE void weights_of(const size_t n, const size_t m, const ep_conv_geom *g, const float *x, const float *gy,
                       float *gw, size_t gw_step) {
  size_t wp = ep_lanes_padded_w(g), plane = (size_t)g->h_out * g->w_out * EP_LANES;
  size_t step_h = g->stride_h * wp * EP_LANES, step_w = (size_t)g->stride_w * EP_LANES;
  size_t tap = (size_t)g->dil_w * EP_LANES;
  vec acc[4][TAPS];
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < m; j++) acc[i][j] = splat(0);
  for (size_t h = 0; h < g->h_out; h++)
    for (size_t v = 0; v < g->w_out; v++) {
      const float *px = x + h * step_h + v * step_w, *py = gy + (h * g->w_out + v) * EP_LANES;
      for (size_t lane = 0; lane < EP_LANES; lane += VEC) {
        vec xs[TAPS];
#pragma GCC unroll 4
        for (size_t j = 0; j < m; j++) xs[j] = load(px + j * tap + lane);
#pragma GCC unroll 4
        for (size_t i = 0; i < n; i++) {
          vec yv = load(py + i * plane + lane);
#pragma GCC unroll 4
          for (size_t j = 0; j < m; j++) acc[i][j] += yv * xs[j];
        }
      }
    }
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < m; j++) gw[i * gw_step + j] += total(acc[i][j]);
}

static void weights_group(const ep_conv_geom *g, const float *x, const float *gy, float *gw) {
  size_t hp = ep_lanes_padded_h(g), wp = ep_lanes_padded_w(g), plane = (size_t)g->h_out * g->w_out * EP_LANES;
  size_t step = (size_t)g->c_in * g->kh * g->kw;
  for (size_t co = 0, n; co < g->c_out; co += n) {
    n = g->c_out - co >= 4 ? 4 : 1;
    for (size_t ci = 0; ci < g->c_in; ci++)
      for (size_t kh = 0; kh < g->kh; kh++)
        for (size_t kw = 0, m; kw < g->kw; kw += m) {
          m = g->kw - kw >= 4 ? 4 : g->kw - kw == 3 ? 3 : 1;
          const float *px = x + ((ci * hp + kh * g->dil_h) * wp + kw * g->dil_w) * EP_LANES, *py = gy + co * plane;
          float *to = gw + co * step + (ci * g->kh + kh) * g->kw + kw;
          if (n == 4 && m == 4)
            weights_of(4, 4, g, px, py, to, step);
          else if (n == 4 && m == 3)
            weights_of(4, 3, g, px, py, to, step);
          else if (n == 4)
            weights_of(4, 1, g, px, py, to, step);
          else if (m == 4)
            weights_of(1, 4, g, px, py, to, step);
          else if (m == 3)
            weights_of(1, 3, g, px, py, to, step);
          else
            weights_of(1, 1, g, px, py, to, step);
        }
  }
}

void ep_lanes_conv_weights(const ep_conv_geom *g, const float *x, const float *gy, float *gw) {
  const ep_conv_geom one = group_of(g);
  size_t n_x = (size_t)one.c_in * ep_lanes_padded_h(g) * ep_lanes_padded_w(g) * EP_LANES;
  size_t n_y = (size_t)one.c_out * g->h_out * g->w_out * EP_LANES;
  for (size_t q = 0; q < g->groups; q++) weights_group(&one, x + q * n_x, gy + q * n_y, gw + q * group_weights(&one));
}
