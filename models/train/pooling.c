#include "models/train/pooling.h"

#include <math.h>
#include <string.h>

enum { L = EP_LANES };

/* First element of window t of channel c's output (h, v). */
static size_t tap(const ep_conv_geom *g, size_t c, size_t h, size_t v, size_t t) {
  return ((c * g->h_in + h * g->stride_h + t / g->kw) * g->w_in + v * g->stride_w + t % g->kw) * L;
}

void ep_pooling_average(const ep_conv_geom *g, const float *x, float *y) {
  const float part = 1.0f / (float)(g->kh * g->kw);
  for (size_t c = 0; c < g->c_in; c++)
    for (size_t h = 0; h < g->h_out; h++)
      for (size_t v = 0; v < g->w_out; v++, y += L) {
        memset(y, 0, L * sizeof *y);
        for (size_t t = 0; t < (size_t)g->kh * g->kw; t++) {
          const float *at = x + tap(g, c, h, v, t);
          for (size_t k = 0; k < L; k++) y[k] += part * at[k];
        }
      }
}

void ep_pooling_average_back(const ep_conv_geom *g, const float *gy, float *gx) {
  const float part = 1.0f / (float)(g->kh * g->kw);
  for (size_t c = 0; c < g->c_in; c++)
    for (size_t h = 0; h < g->h_out; h++)
      for (size_t v = 0; v < g->w_out; v++, gy += L)
        for (size_t t = 0; t < (size_t)g->kh * g->kw; t++) {
          float *at = gx + tap(g, c, h, v, t);
          for (size_t k = 0; k < L; k++) at[k] += part * gy[k];
        }
}

/* Largest value x + side * r (r may be NULL) of output i in a lane, and where it is. */
static inline float largest(const ep_pooling_lists *w, uint32_t i, size_t lane, const float *x, const float *r,
                            float side, size_t *at) {
  float best = 0;
  for (uint32_t k = w->ptr[i]; k < w->ptr[i + 1]; k++) {
    size_t here = (size_t)w->col[k] * L + lane;
    float v = r ? x[here] + side * r[here] : x[here];
    if (k > w->ptr[i] && !(v > best)) continue;
    best = v;
    *at = here;
  }
  return best;
}

void ep_pooling_max(const ep_pooling_lists *w, const float *x, float *y) {
  size_t at;
  for (uint32_t i = 0; i < w->n; i++)
    for (size_t l = 0; l < L; l++) y[(size_t)i * L + l] = largest(w, i, l, x, NULL, 0, &at);
}

void ep_pooling_max_box(const ep_pooling_lists *w, const float *mid, const float *rad, float *y_mid, float *y_rad) {
  size_t at;
  for (uint32_t i = 0; i < w->n; i++)
    for (size_t l = 0; l < L; l++) {
      float lo = largest(w, i, l, mid, rad, -1, &at), hi = largest(w, i, l, mid, rad, 1, &at);
      y_mid[(size_t)i * L + l] = 0.5f * (lo + hi);
      y_rad[(size_t)i * L + l] = 0.5f * (hi - lo);
    }
}

void ep_pooling_max_back(const ep_pooling_lists *w, const float *x, const float *gy, float *gx) {
  for (uint32_t i = 0; i < w->n; i++)
    for (size_t l = 0; l < L; l++) {
      size_t at = 0;
      largest(w, i, l, x, NULL, 0, &at);
      gx[at] += gy[(size_t)i * L + l];
    }
}

void ep_pooling_max_box_back(const ep_pooling_lists *w, const float *mid, const float *rad, const float *gy_mid,
                             const float *gy_rad, float *g_mid, float *g_rad) {
  for (uint32_t i = 0; i < w->n; i++)
    for (size_t l = 0; l < L; l++) {
      float gm = gy_mid[(size_t)i * L + l], gr = gy_rad[(size_t)i * L + l];
      for (int side = -1; side <= 1; side += 2) {
        size_t at = 0;
        float g = 0.5f * (gm + (float)side * gr);
        largest(w, i, l, mid, rad, (float)side, &at);
        g_mid[at] += g;
        g_rad[at] += (float)side * g;
      }
    }
}

ep_pooling_bound ep_pooling_max_bound(const ep_pooling_lists *w, uint32_t i, size_t lane, const float *mid,
                                      const float *rad) {
  ep_pooling_bound b = {.is_sure = true};
  float lo = largest(w, i, lane, mid, rad, -1, &b.low);
  largest(w, i, lane, mid, rad, 1, &b.high);
  for (uint32_t k = w->ptr[i]; k < w->ptr[i + 1]; k++) {
    size_t at = (size_t)w->col[k] * L + lane;
    if (at != b.low && mid[at] + rad[at] > lo) b.is_sure = false;
  }
  return b;
}
