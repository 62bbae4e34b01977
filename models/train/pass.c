#include "models/train/pass.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/transpose.h"

enum { L = EP_LANES };

static bool has_weights(const ep_layer *l) { return l->kind == EP_LAYER_DENSE || l->kind == EP_LAYER_CONV; }

/* ---- weights ---- */

static ep_status make_layer(ep_weights *w, uint32_t i) {
  const ep_layer *l = &w->net->layer[i];
  ep_layer_weights *m = &w->layer[i];
  if (!has_weights(l)) return EP_OK;
  for (int k = 0; k < 2; k++) {
    m->fwd[k] = EP_ARENA(&w->arena, float, l->n_w);
    m->bwd[k] = l->kind == EP_LAYER_DENSE && !k ? NULL : EP_ARENA(&w->arena, float, l->n_w);
    if (!m->fwd[k] || (!m->bwd[k] && (k || l->kind == EP_LAYER_CONV))) return EP_E_NOMEM;
  }
  if (l->kind == EP_LAYER_DENSE) return EP_OK;
  size_t pad = (size_t)l->conv.c_in * ep_lanes_padded_h(&l->conv) * ep_lanes_padded_w(&l->conv);
  size_t list = 2 * (size_t)l->conv.c_out * l->conv.kh * l->conv.kw;
  if (pad > w->pad_max) w->pad_max = pad;
  if (list > w->list_max) w->list_max = list;
  m->off = EP_ARENA(&w->arena, uint32_t, l->n_w / l->n_b + 1);
  if (!m->off) return EP_E_NOMEM;
  ep_lanes_offsets(&l->conv, m->off);
  return EP_OK;
}

ep_status ep_weights_create(const ep_net *net, ep_weights **out) {
  ep_weights *w = ep_calloc(net->ctx, 1, sizeof *w);
  *out = w;
  if (!w) return EP_E_NOMEM;
  w->net = net;
  ep_arena_init(&w->arena, net->ctx);
  uint32_t most = ep_net_size(net, 0);
  for (uint32_t i = 0; i < net->n_layer; i++)
    if (net->layer[i].n_out > most) most = net->layer[i].n_out;
  ep_status st = EP_E_NOMEM;
  w->layer = EP_ARENA(&w->arena, ep_layer_weights, net->n_layer + 1u);
  w->lane = EP_ARENA(&w->arena, uint32_t, most + 1u);
  w->mean = EP_ARENA(&w->arena, float, net->n_stat / 2 + 1);
  w->var = EP_ARENA(&w->arena, float, net->n_stat / 2 + 1);
  if (w->layer && w->lane && w->mean && w->var) st = EP_OK;
  for (uint32_t i = 0; st == EP_OK && i < most; i++) w->lane[i] = i * L;
  for (uint32_t i = 0; st == EP_OK && i < net->n_layer; i++) st = make_layer(w, i);
  if (st == EP_OK) {
    ep_weights_use_running(w);
    return EP_OK;
  }
  ep_weights_destroy(w);
  *out = NULL;
  return st;
}

void ep_weights_destroy(ep_weights *w) {
  if (!w) return;
  ep_arena_clear(&w->arena);
  ep_free(w->net->ctx, w);
}

static ep_status update_layer(void *arg, size_t i, unsigned worker, ep_scratch *scratch) {
  const ep_weights *w = arg;
  const ep_layer *l = &w->net->layer[i];
  const ep_layer_weights *m = &w->layer[i];
  const float *p = w->net->param + l->w;
  (void)worker;
  (void)scratch;
  if (l->kind == EP_LAYER_CONV)
    for (int k = 0; k < 2; k++) {
      ep_lanes_pack_forward(&l->conv, k, p, m->fwd[k]);
      ep_lanes_pack_backward(&l->conv, k, p, m->bwd[k]);
    }
  if (l->kind == EP_LAYER_DENSE) {
    ep_transpose_f32(l->n_out, l->n_in, p, l->n_in, m->fwd[0], l->n_out);
    for (size_t k = 0; k < l->n_w; k++) m->fwd[1][k] = fabsf(m->fwd[0][k]);
    for (size_t k = 0; k < l->n_w; k++) m->bwd[1][k] = fabsf(p[k]);
  }
  return EP_OK;
}

ep_status ep_weights_update(ep_weights *w, ep_pool *pool) {
  return ep_pool_run(pool, w->net->n_layer, update_layer, w);
}

void ep_weights_use_running(ep_weights *w) {
  for (uint32_t i = 0; i < w->net->n_layer; i++) {
    const ep_layer *l = &w->net->layer[i];
    if (l->kind != EP_LAYER_BATCH_NORM) continue;
    memcpy(w->mean + l->stat / 2, w->net->stat + l->stat, l->n_ch * sizeof(float));
    memcpy(w->var + l->stat / 2, w->net->stat + l->stat + l->n_ch, l->n_ch * sizeof(float));
  }
}

/* ---- passes ---- */

ep_status ep_pass_create(const ep_weights *w, ep_pass **out) {
  const ep_net *net = w->net;
  ep_pass *p = ep_calloc(net->ctx, 1, sizeof *p);
  *out = p;
  if (!p) return EP_E_NOMEM;
  p->w = w;
  ep_arena_init(&p->arena, net->ctx);
  size_t gw = 1;
  for (uint32_t i = 0; i < net->n_layer; i++)
    if (net->layer[i].kind == EP_LAYER_CONV && net->layer[i].n_w > gw) gw = net->layer[i].n_w;
  bool is_ok = true;
  for (int s = 0; s < EP_N_STREAM && is_ok; s++) {
    p->val[s] = EP_ARENA(&p->arena, float *, net->n_layer + 1u);
    p->grad[s] = EP_ARENA(&p->arena, float *, net->n_layer + 1u);
    p->is_set[s] = EP_ARENA(&p->arena, bool, net->n_layer + 1u);
    is_ok = p->val[s] && p->grad[s] && p->is_set[s];
    for (uint32_t v = 0; v <= net->n_layer && is_ok; v++) {
      size_t n = (size_t)ep_net_size(net, v) * L;
      p->val[s][v] = EP_ARENA(&p->arena, float, n);
      p->grad[s][v] = EP_ARENA(&p->arena, float, n);
      is_ok = p->val[s][v] && p->grad[s][v];
    }
  }
  p->gparam = EP_ARENA(&p->arena, float, net->n_param + 1);
  p->pad = EP_ARENA(&p->arena, float, w->pad_max *L + 1);
  p->gw = EP_ARENA(&p->arena, float, gw);
  p->list = EP_ARENA(&p->arena, uint32_t, w->list_max + 1);
  p->sum = EP_ARENA(&p->arena, double, 2 * net->n_stat + 1);
  if (is_ok && p->gparam && p->pad && p->gw && p->list && p->sum) return EP_OK;
  ep_pass_destroy(p);
  *out = NULL;
  return EP_E_NOMEM;
}

void ep_pass_destroy(ep_pass *p) {
  if (!p) return;
  ep_ctx *ctx = p->w->net->ctx;
  ep_arena_clear(&p->arena);
  ep_free(ctx, p);
}

/* The image of a convolution with its border; the value itself when there is none. */
static const float *with_border(const ep_pass *p, const ep_conv_geom *g, const float *x) {
  if (!g->pad_top && !g->pad_left && ep_lanes_padded_h(g) == g->h_in && ep_lanes_padded_w(g) == g->w_in) return x;
  ep_lanes_pad(g, x, p->pad);
  return p->pad;
}

static void forward_affine(ep_pass *p, uint32_t i, ep_stream s) {
  const ep_layer *l = &p->w->net->layer[i];
  const ep_layer_weights *m = &p->w->layer[i];
  const float *x = p->val[s][l->in[0]], *bias = s == EP_RAD ? NULL : p->w->net->param + l->b;
  float *y = p->val[s][i + 1];
  const float *w = m->fwd[s == EP_RAD];
  if (l->kind == EP_LAYER_CONV) {
    ep_lanes_conv_forward(&l->conv, w, bias, m->off, with_border(p, &l->conv, x), y);
    return;
  }
  ep_lanes_sum sum = {.n_row = l->n_out,
                      .n_term = l->n_in,
                      .off = p->w->lane,
                      .src = x,
                      .w = w,
                      .init = bias,
                      .dst = y,
                      .w_step = l->n_out,
                      .dst_step = L};
  ep_lanes_run(&sum);
}

static void forward_relu(const ep_pass *p, uint32_t i, int streams) {
  const ep_layer *l = &p->w->net->layer[i];
  size_t n = (size_t)l->n_out * L;
  const float slope = l->slope;
  if (streams & EP_HAS_POINT) {
    const float *restrict x = p->val[EP_POINT][l->in[0]];
    float *restrict y = p->val[EP_POINT][i + 1];
    for (size_t k = 0; k < n; k++) y[k] = x[k] > 0 ? x[k] : slope * x[k];
  }
  if (streams & EP_HAS_BOX) {
    const float *restrict m = p->val[EP_MID][l->in[0]], *restrict r = p->val[EP_RAD][l->in[0]];
    float *restrict ym = p->val[EP_MID][i + 1], *restrict yr = p->val[EP_RAD][i + 1];
    for (size_t k = 0; k < n; k++) {
      float lo = m[k] - r[k], hi = m[k] + r[k];
      lo = lo > 0 ? lo : slope * lo;
      hi = hi > 0 ? hi : slope * hi;
      ym[k] = 0.5f * (lo + hi);
      yr[k] = 0.5f * (hi - lo);
    }
  }
}

static float scale_of(const ep_pass *p, const ep_layer *l, uint32_t c) {
  return p->w->net->param[l->w + c] / sqrtf(p->w->var[l->stat / 2 + c] + EP_BATCH_NORM_EPSILON);
}

static void forward_batch_norm(const ep_pass *p, uint32_t i, ep_stream s) {
  const ep_layer *l = &p->w->net->layer[i];
  size_t n = (size_t)l->n_out / l->n_ch * L;
  for (uint32_t c = 0; c < l->n_ch; c++) {
    const float *restrict x = p->val[s][l->in[0]] + c * n;
    float *restrict y = p->val[s][i + 1] + c * n;
    float a = scale_of(p, l, c), b = p->w->net->param[l->b + c] - a * p->w->mean[l->stat / 2 + c];
    if (s == EP_RAD) {
      a = fabsf(a);
      b = 0;
    }
    for (size_t k = 0; k < n; k++) y[k] = a * x[k] + b;
  }
}

static float sign(float x) { return (float)((x > 0) - (x < 0)); }

static void forward_sign(const ep_pass *p, uint32_t i, int streams) {
  const ep_layer *l = &p->w->net->layer[i];
  size_t n = (size_t)l->n_out * L;
  for (size_t k = 0; k < n && streams & EP_HAS_POINT; k++)
    p->val[EP_POINT][i + 1][k] = sign(p->val[EP_POINT][l->in[0]][k]);
  const float *m = p->val[EP_MID][l->in[0]], *r = p->val[EP_RAD][l->in[0]];
  for (size_t k = 0; k < n && streams & EP_HAS_BOX; k++) {
    float lo = sign(m[k] - r[k]), hi = sign(m[k] + r[k]);
    p->val[EP_MID][i + 1][k] = 0.5f * (lo + hi);
    p->val[EP_RAD][i + 1][k] = 0.5f * (hi - lo);
  }
}

static void forward_max(const ep_pass *p, uint32_t i, int streams) {
  const ep_layer *l = &p->w->net->layer[i];
  const ep_pooling_lists w = ep_net_lists(p->w->net, l);
  if (streams & EP_HAS_POINT) ep_pooling_max(&w, p->val[EP_POINT][l->in[0]], p->val[EP_POINT][i + 1]);
  if (streams & EP_HAS_BOX)
    ep_pooling_max_box(&w, p->val[EP_MID][l->in[0]], p->val[EP_RAD][l->in[0]], p->val[EP_MID][i + 1],
                       p->val[EP_RAD][i + 1]);
}

/* Layers that treat the two halves of a box together. */
static bool forward_ends(const ep_pass *p, uint32_t i, int streams) {
  switch (p->w->net->layer[i].kind) {
  case EP_LAYER_RELU:
    forward_relu(p, i, streams);
    return true;
  case EP_LAYER_SIGN:
    forward_sign(p, i, streams);
    return true;
  case EP_LAYER_MAX_POOL:
    forward_max(p, i, streams);
    return true;
  default:
    return false;
  }
}

void ep_pass_forward(ep_pass *p, int streams, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    const ep_layer *l = &p->w->net->layer[i];
    if (forward_ends(p, i, streams)) continue;
    for (ep_stream s = EP_POINT; s < EP_N_STREAM; s++) {
      if (!(streams & (s == EP_POINT ? EP_HAS_POINT : EP_HAS_BOX))) continue;
      float *y = p->val[s][i + 1];
      if (has_weights(l)) forward_affine(p, i, s);
      if (l->kind == EP_LAYER_BATCH_NORM) forward_batch_norm(p, i, s);
      if (l->kind == EP_LAYER_AVG_POOL) ep_pooling_average(&l->conv, p->val[s][l->in[0]], y);
      if (l->kind == EP_LAYER_ADD)
        for (size_t k = 0; k < (size_t)l->n_out * L; k++) y[k] = p->val[s][l->in[0]][k] + p->val[s][l->in[1]][k];
    }
  }
}

/* ---- backward ---- */

void ep_pass_clear(ep_pass *p, bool is_training) {
  const ep_net *net = p->w->net;
  for (int s = 0; s < EP_N_STREAM; s++) memset(p->is_set[s], 0, net->n_layer + 1u);
  for (uint32_t i = 0; i < net->n_layer && is_training; i++) {
    const ep_layer *l = &net->layer[i];
    bool is_elsewhere = l->kind == EP_LAYER_DENSE && i + 1 < net->n_layer;
    if (!is_elsewhere) memset(p->gparam + l->w, 0, l->n_w * sizeof(float));
    memset(p->gparam + l->b, 0, l->n_b * sizeof(float));
  }
}

float *ep_pass_grad(ep_pass *p, ep_stream s, uint32_t v) {
  if (!p->is_set[s][v]) memset(p->grad[s][v], 0, (size_t)ep_net_size(p->w->net, v) * L * sizeof(float));
  p->is_set[s][v] = true;
  return p->grad[s][v];
}

static void add_bias_gradient(ep_pass *p, const ep_layer *l, const float *gy) {
  size_t n = (size_t)l->n_out / l->n_b * L;
  for (size_t c = 0; c < l->n_b; c++, gy += n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t k = 0; k < n; k++) sum += gy[k];
    p->gparam[l->b + c] += sum;
  }
}

/* |W| rad depends on W through its absolute value: the gradient gains W's sign. (Of a binary layer it is a constant.)
 */
static void conv_weights(ep_pass *p, const ep_layer *l, ep_stream s, const float *x, const float *gy) {
  float *gw = p->gparam + l->w;
  const float *w = p->w->net->param + l->w;
  if (l->is_binary && s == EP_RAD) return;
  x = with_border(p, &l->conv, x);
  if (s != EP_RAD) {
    ep_lanes_conv_weights(&l->conv, x, gy, gw);
    return;
  }
  memset(p->gw, 0, l->n_w * sizeof *p->gw);
  ep_lanes_conv_weights(&l->conv, x, gy, p->gw);
  for (size_t k = 0; k < l->n_w; k++) gw[k] += w[k] > 0 ? p->gw[k] : w[k] < 0 ? -p->gw[k] : 0;
}

static void backward_affine(ep_pass *p, uint32_t i, ep_stream s, ep_backward what) {
  const ep_net *net = p->w->net;
  const ep_layer *l = &net->layer[i];
  const ep_layer_weights *m = &p->w->layer[i];
  const float *gy = p->grad[s][i + 1];
  uint32_t in = l->in[0];
  if (what == EP_FOR_PARAMS) {
    if (s != EP_RAD) add_bias_gradient(p, l, gy);
    if (l->kind == EP_LAYER_CONV) conv_weights(p, l, s, p->val[s][in], gy);
    if (in == 0) return;
  }
  float *gx = p->grad[s][in];
  bool accumulate = p->is_set[s][in];
  p->is_set[s][in] = true;
  if (l->kind == EP_LAYER_CONV) {
    ep_lanes_conv_backward(&l->conv, m->bwd[s == EP_RAD], gy, gx, accumulate, p->list);
    return;
  }
  ep_lanes_sum sum = {.n_row = l->n_in,
                      .n_term = l->n_out,
                      .off = p->w->lane,
                      .src = gy,
                      .w = s == EP_RAD ? m->bwd[1] : net->param + l->w,
                      .dst = gx,
                      .w_step = l->n_in,
                      .dst_step = L,
                      .accumulate = accumulate};
  ep_lanes_run(&sum);
}

/* A box's ends go through the function one by one: mid' and rad' are half sum and half difference of f(lo), f(hi). */
static void backward_relu(ep_pass *p, uint32_t i) {
  const ep_layer *l = &p->w->net->layer[i];
  size_t n = (size_t)l->n_out * L;
  uint32_t in = l->in[0];
  const float slope = l->slope;
  if (p->is_set[EP_POINT][i + 1]) {
    const float *restrict x = p->val[EP_POINT][in], *restrict gy = p->grad[EP_POINT][i + 1];
    float *restrict gx = ep_pass_grad(p, EP_POINT, in);
    for (size_t k = 0; k < n; k++) gx[k] += x[k] > 0 ? gy[k] : slope * gy[k];
  }
  if (p->is_set[EP_MID][i + 1]) {
    const float *restrict m = p->val[EP_MID][in], *restrict r = p->val[EP_RAD][in];
    const float *restrict gm = p->grad[EP_MID][i + 1], *restrict gr = p->grad[EP_RAD][i + 1];
    float *restrict xm = ep_pass_grad(p, EP_MID, in), *restrict xr = ep_pass_grad(p, EP_RAD, in);
    for (size_t k = 0; k < n; k++) {
      float hi = 0.5f * (gm[k] + gr[k]), lo = 0.5f * (gm[k] - gr[k]);
      hi = m[k] + r[k] > 0 ? hi : slope * hi;
      lo = m[k] - r[k] > 0 ? lo : slope * lo;
      xm[k] += hi + lo;
      xr[k] += hi - lo;
    }
  }
}

/* Straight-through: as if each end had been clipped to [-1, 1]. */
static void backward_sign(ep_pass *p, uint32_t i) {
  const ep_layer *l = &p->w->net->layer[i];
  size_t n = (size_t)l->n_out * L;
  uint32_t in = l->in[0];
  if (p->is_set[EP_POINT][i + 1]) {
    const float *x = p->val[EP_POINT][in], *gy = p->grad[EP_POINT][i + 1];
    float *gx = ep_pass_grad(p, EP_POINT, in);
    for (size_t k = 0; k < n; k++) gx[k] += fabsf(x[k]) <= 1 ? gy[k] : 0;
  }
  if (p->is_set[EP_MID][i + 1]) {
    const float *m = p->val[EP_MID][in], *r = p->val[EP_RAD][in];
    const float *gm = p->grad[EP_MID][i + 1], *gr = p->grad[EP_RAD][i + 1];
    float *xm = ep_pass_grad(p, EP_MID, in), *xr = ep_pass_grad(p, EP_RAD, in);
    for (size_t k = 0; k < n; k++) {
      float hi = fabsf(m[k] + r[k]) <= 1 ? 0.5f * (gm[k] + gr[k]) : 0;
      float lo = fabsf(m[k] - r[k]) <= 1 ? 0.5f * (gm[k] - gr[k]) : 0;
      xm[k] += hi + lo;
      xr[k] += hi - lo;
    }
  }
}

static void backward_max(ep_pass *p, uint32_t i) {
  const ep_layer *l = &p->w->net->layer[i];
  const ep_pooling_lists w = ep_net_lists(p->w->net, l);
  uint32_t in = l->in[0];
  if (p->is_set[EP_POINT][i + 1])
    ep_pooling_max_back(&w, p->val[EP_POINT][in], p->grad[EP_POINT][i + 1], ep_pass_grad(p, EP_POINT, in));
  if (p->is_set[EP_MID][i + 1])
    ep_pooling_max_box_back(&w, p->val[EP_MID][in], p->val[EP_RAD][in], p->grad[EP_MID][i + 1], p->grad[EP_RAD][i + 1],
                            ep_pass_grad(p, EP_MID, in), ep_pass_grad(p, EP_RAD, in));
}

static bool backward_ends(ep_pass *p, uint32_t i) {
  switch (p->w->net->layer[i].kind) {
  case EP_LAYER_RELU:
    backward_relu(p, i);
    return true;
  case EP_LAYER_SIGN:
    backward_sign(p, i);
    return true;
  case EP_LAYER_MAX_POOL:
    backward_max(p, i);
    return true;
  default:
    return false;
  }
}

void ep_pass_sums(ep_pass *p, uint32_t i, bool is_backward) {
  const ep_layer *l = &p->w->net->layer[i];
  size_t n = (size_t)l->n_out / l->n_ch * L;
  double *sum = p->sum + 2 * l->stat;
  for (uint32_t c = 0; c < l->n_ch; c++) {
    const float *x = p->val[EP_POINT][l->in[0]] + c * n, *g = p->grad[EP_POINT][i + 1] + c * n;
    float mean = p->w->mean[l->stat / 2 + c], inv = 1 / sqrtf(p->w->var[l->stat / 2 + c] + EP_BATCH_NORM_EPSILON);
    double a = 0, b = 0;
    for (size_t k = 0; k < n; k++) {
      double u = is_backward ? (double)g[k] : (double)x[k];
      a += u;
      b += u * (is_backward ? (double)((x[k] - mean) * inv) : u);
    }
    sum[2 * c] = a;
    sum[2 * c + 1] = b;
  }
}

/* Points: statistics depend on the batch (unless they are frozen), whose sums of g and g*xhat are in p->sum by now,
 * divided by the number of terms. Boxes, and attacks: statistics are constants. */
static void backward_batch_norm(ep_pass *p, uint32_t i, ep_stream s, ep_backward what) {
  const ep_net *net = p->w->net;
  const ep_layer *l = &net->layer[i];
  size_t n = (size_t)l->n_out / l->n_ch * L;
  float *all = ep_pass_grad(p, s, l->in[0]);
  for (uint32_t c = 0; c < l->n_ch; c++) {
    const float *restrict x = p->val[s][l->in[0]] + c * n, *restrict gy = p->grad[s][i + 1] + c * n;
    float *restrict gx = all + c * n;
    float mean = p->w->mean[l->stat / 2 + c], inv = 1 / sqrtf(p->w->var[l->stat / 2 + c] + EP_BATCH_NORM_EPSILON);
    float gamma = net->param[l->w + c], a = s == EP_RAD ? fabsf(gamma) * inv : gamma * inv;
    double scale = 0, shift = 0;
    float mean_g = 0, mean_gx = 0;
    if (s == EP_POINT && what == EP_FOR_PARAMS && !l->is_fixed && !p->is_frozen) {
      mean_g = (float)p->sum[2 * (l->stat + c)];
      mean_gx = (float)p->sum[2 * (l->stat + c) + 1];
    }
    for (size_t k = 0; k < n; k++) {
      float hat = s == EP_RAD ? x[k] * inv : (x[k] - mean) * inv;
      gx[k] += a * (gy[k] - mean_g - hat * mean_gx);
      scale += (double)(gy[k] * hat);
      shift += (double)gy[k];
    }
    if (what != EP_FOR_PARAMS) continue;
    p->gparam[l->w + c] += (float)(s == EP_RAD && gamma < 0 ? -scale : scale);
    if (s != EP_RAD) p->gparam[l->b + c] += (float)shift;
  }
}

void ep_pass_backward(ep_pass *p, ep_backward what, uint32_t from, uint32_t to) {
  for (uint32_t i = to; i-- > from;) {
    const ep_layer *l = &p->w->net->layer[i];
    if (backward_ends(p, i)) continue;
    for (ep_stream s = EP_POINT; s < EP_N_STREAM; s++) {
      if (!p->is_set[s][i + 1]) continue;
      if (has_weights(l)) backward_affine(p, i, s, what);
      if (l->kind == EP_LAYER_BATCH_NORM) backward_batch_norm(p, i, s, what);
      if (l->kind == EP_LAYER_AVG_POOL)
        ep_pooling_average_back(&l->conv, p->grad[s][i + 1], ep_pass_grad(p, s, l->in[0]));
      for (int k = 0; k < 2 && l->kind == EP_LAYER_ADD; k++) {
        float *gx = ep_pass_grad(p, s, l->in[k]);
        for (size_t j = 0; j < (size_t)l->n_out * L; j++) gx[j] += p->grad[s][i + 1][j];
      }
    }
  }
}
