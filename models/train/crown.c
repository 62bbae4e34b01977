#include "models/train/crown.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/transpose.h"

enum { L = EP_LANES };

struct ep_crown {
  const ep_weights *w;
  ep_arena arena;
  float **coef, **line; /* [n_layer + 1][n * L]: coefficients of a margin, corner through the chosen lines */
  bool *is_set;
  float *by_sample[2], *block, *scaled; /* of a dense layer: inputs and coefficients sample by sample, 32 columns */
  float constant[L];
};

ep_status ep_crown_create(const ep_weights *w, ep_crown **out) {
  const ep_net *net = w->net;
  *out = NULL;
  for (uint32_t i = 0; i < net->n_layer; i++)
    if (net->layer[i].kind == EP_LAYER_SIGN)
      return EP_FAIL(net->ctx, EP_E_UNSUPPORTED, "layer %u is a sign, whose linear bounds have no slope to train", i);
  ep_crown *c = ep_calloc(net->ctx, 1, sizeof *c);
  *out = c;
  if (!c) return EP_E_NOMEM;
  c->w = w;
  ep_arena_init(&c->arena, net->ctx);
  size_t most = 0;
  c->coef = EP_ARENA(&c->arena, float *, net->n_layer + 1u);
  c->line = EP_ARENA(&c->arena, float *, net->n_layer + 1u);
  c->is_set = EP_ARENA(&c->arena, bool, net->n_layer + 1u);
  bool is_ok = c->coef && c->line && c->is_set;
  for (uint32_t v = 0; v <= net->n_layer && is_ok; v++) {
    size_t n = ep_net_size(net, v);
    if (n > most) most = n;
    c->coef[v] = EP_ARENA(&c->arena, float, n *L);
    c->line[v] = EP_ARENA(&c->arena, float, n *L);
    is_ok = c->coef[v] && c->line[v];
  }
  size_t padded = (most + L - 1) / L * L;
  float **const rooms[] = {&c->by_sample[0], &c->by_sample[1], &c->block, &c->scaled};
  for (int k = 0; k < 4 && is_ok; k++) is_ok = (*rooms[k] = EP_ARENA(&c->arena, float, padded *L)) != NULL;
  if (is_ok) return EP_OK;
  ep_crown_destroy(c);
  *out = NULL;
  return EP_E_NOMEM;
}

void ep_crown_destroy(ep_crown *c) {
  if (!c) return;
  ep_ctx *ctx = c->w->net->ctx;
  ep_arena_clear(&c->arena);
  ep_free(ctx, c);
}

/* coef[v], cleared at its first use in a chain. */
static float *coef_of(ep_crown *c, uint32_t v) {
  if (!c->is_set[v]) memset(c->coef[v], 0, (size_t)ep_net_size(c->w->net, v) * L * sizeof(float));
  c->is_set[v] = true;
  return c->coef[v];
}

/* The line that bounds a neuron with coefficient k from below or above: slope and intercept. */
static inline void choose_line(float k, float mid, float rad, float own, float *slope, float *icpt) {
  float l = mid - rad, u = mid + rad;
  *icpt = 0;
  if (l >= 0) {
    *slope = 1;
  } else if (u <= 0) {
    *slope = own;
  } else if (k >= 0) {
    *slope = u > -l ? 1 : own;
  } else { /* the chord of own x + (1 - own) relu(x) */
    float s = u / (u - l);
    *slope = own + (1 - own) * s;
    *icpt = -(1 - own) * s * l;
  }
}

static float norm_scale(const ep_weights *w, const ep_layer *l, size_t c) {
  return w->net->param[l->w + c] / sqrtf(w->var[l->stat / 2 + c] + EP_BATCH_NORM_EPSILON);
}

static void back_relu(ep_crown *c, const ep_pass *p, const ep_layer *l, const float *k, float *into) {
  const float *mid = p->val[EP_MID][l->in[0]], *rad = p->val[EP_RAD][l->in[0]];
  for (size_t i = 0; i < (size_t)l->n_out; i++)
    for (size_t q = 0; q < L; q++) {
      float slope, icpt;
      size_t at = i * L + q;
      choose_line(k[at], mid[at], rad[at], l->slope, &slope, &icpt);
      into[at] += slope * k[at];
      c->constant[q] += icpt * k[at];
    }
}

static void add_bias(ep_crown *c, const ep_layer *l, const float *bias, const float *k) {
  size_t per = l->n_out / l->n_b;
  for (size_t i = 0; i < (size_t)l->n_out; i++)
    for (size_t q = 0; q < L; q++) c->constant[q] += bias[i / per] * k[i * L + q];
}

/* Lines of a maximum: from below the element that is largest for sure, from above the same one or a constant. */
static void back_max(ep_crown *c, const ep_pass *p, const ep_layer *l, const float *k, float *into) {
  const ep_pooling_lists w = ep_net_lists(c->w->net, l);
  const float *mid = p->val[EP_MID][l->in[0]], *rad = p->val[EP_RAD][l->in[0]];
  for (uint32_t i = 0; i < w.n; i++)
    for (size_t q = 0; q < L; q++) {
      float coef = k[(size_t)i * L + q];
      ep_pooling_bound b = ep_pooling_max_bound(&w, i, q, mid, rad);
      if (coef >= 0 || b.is_sure)
        into[b.low] += coef;
      else
        c->constant[q] += coef * (mid[b.high] + rad[b.high]);
    }
}

static void back_affine(ep_crown *c, const ep_pass *p, uint32_t i, const float *k) {
  const ep_layer *l = &c->w->net->layer[i];
  bool accumulate = c->is_set[l->in[0]];
  float *into = c->coef[l->in[0]];
  c->is_set[l->in[0]] = true;
  add_bias(c, l, c->w->net->param + l->b, k);
  if (l->kind == EP_LAYER_CONV) {
    ep_lanes_conv_backward(&l->conv, c->w->layer[i].bwd[0], k, into, accumulate, p->list);
    return;
  }
  ep_lanes_sum sum = {.n_row = l->n_in,
                      .n_term = l->n_out,
                      .off = c->w->lane,
                      .src = k,
                      .w = c->w->net->param + l->w,
                      .dst = into,
                      .w_step = l->n_in,
                      .dst_step = L,
                      .accumulate = accumulate};
  ep_lanes_run(&sum);
}

static void back_layer(ep_crown *c, const ep_pass *p, uint32_t i) {
  const ep_layer *l = &c->w->net->layer[i];
  const float *k = c->coef[i + 1];
  size_t n = (size_t)l->n_out * L, per = l->n_ch ? l->n_out / l->n_ch : 1;
  switch (l->kind) {
  case EP_LAYER_DENSE:
  case EP_LAYER_CONV:
    back_affine(c, p, i, k);
    break;
  case EP_LAYER_RELU:
    back_relu(c, p, l, k, coef_of(c, l->in[0]));
    break;
  case EP_LAYER_BATCH_NORM: {
    float *into = coef_of(c, l->in[0]);
    for (size_t e = 0; e < (size_t)l->n_out; e++) {
      float a = norm_scale(c->w, l, e / per),
            b = c->w->net->param[l->b + e / per] - a * c->w->mean[l->stat / 2 + e / per];
      for (size_t q = 0; q < L; q++) {
        into[e * L + q] += a * k[e * L + q];
        c->constant[q] += b * k[e * L + q];
      }
    }
    break;
  }
  case EP_LAYER_AVG_POOL:
    ep_pooling_average_back(&l->conv, k, coef_of(c, l->in[0]));
    break;
  case EP_LAYER_MAX_POOL:
    back_max(c, p, l, k, coef_of(c, l->in[0]));
    break;
  case EP_LAYER_SIGN: /* refused by ep_crown_create */
    break;
  case EP_LAYER_ADD:
    for (int s = 0; s < 2; s++) {
      float *into = coef_of(c, l->in[s]);
      for (size_t e = 0; e < n; e++) into[e] += k[e];
    }
    break;
  }
}

/* All coefficients of the margin over class j; its lower bound to m[L]. */
static void chain(ep_crown *c, const ep_pass *p, const uint32_t *label, uint32_t j, float *m) {
  const ep_net *net = c->w->net;
  const ep_layer *last = &net->layer[net->n_layer - 1];
  const float *w = net->param + last->w, *b = net->param + last->b;
  memset(c->is_set, 0, net->n_layer + 1u);
  float *top = coef_of(c, last->in[0]);
  for (size_t q = 0; q < L; q++) {
    c->constant[q] = b[label[q]] - b[j];
    for (size_t i = 0; i < last->n_in; i++) top[i * L + q] = w[label[q] * last->n_in + i] - w[j * last->n_in + i];
  }
  for (uint32_t i = net->n_layer - 1; i-- > 0;)
    if (c->is_set[i + 1]) back_layer(c, p, i);
  const float *k = c->coef[0], *mid = p->val[EP_MID][0], *rad = p->val[EP_RAD][0];
  memcpy(m, c->constant, L * sizeof *m);
  for (size_t i = 0; i < ep_net_size(net, 0); i++)
    for (size_t q = 0; q < L; q++) m[q] += k[i * L + q] * mid[i * L + q] - fabsf(k[i * L + q]) * rad[i * L + q];
}

void ep_crown_margins(ep_crown *c, const ep_pass *p, const uint32_t *label, float *m) {
  for (uint32_t j = 0; j < ep_net_n_class(c->w->net); j++) chain(c, p, label, j, m + (size_t)j * L);
}

/* ---- gradient ---- */

/* Gradient of a chord at z in the bounds, through midpoint and radius; scaled by the coefficient and the weight g. */
static void forward_relu(const ep_crown *c, ep_pass *p, uint32_t i, const float *g) {
  const ep_layer *l = &c->w->net->layer[i];
  uint32_t in = l->in[0];
  const float *mid = p->val[EP_MID][in], *rad = p->val[EP_RAD][in], *z = c->line[in], *k = c->coef[i + 1];
  float *gm = ep_pass_grad(p, EP_MID, in), *gr = ep_pass_grad(p, EP_RAD, in), *y = c->line[i + 1];
  for (size_t e = 0; e < (size_t)l->n_out; e++)
    for (size_t q = 0; q < L; q++) {
      size_t at = e * L + q;
      float slope, icpt, lo = mid[at] - rad[at], hi = mid[at] + rad[at];
      choose_line(k[at], mid[at], rad[at], l->slope, &slope, &icpt);
      y[at] = slope * z[at] + icpt;
      if (lo >= 0 || hi <= 0 || k[at] >= 0) continue;
      float f = g[q] * k[at] * (1 - l->slope) / ((hi - lo) * (hi - lo));
      float du = f * -lo * (z[at] - lo), dl = f * hi * (z[at] - hi);
      gm[at] += du + dl;
      gr[at] += du - dl;
    }
}

/* gw[n_out][n_in] += sum over the samples of (g coef) z^T. */
static void dense_weights(ep_crown *c, const ep_layer *l, const float *z, const float *k, float *gw) {
  size_t ld = ((size_t)l->n_in + L - 1) / L * L;
  uint32_t off[L];
  ep_transpose_f32(l->n_in, L, z, L, c->by_sample[0], ld);
  ep_transpose_f32(l->n_out, L, k, L, c->by_sample[1], l->n_out);
  for (size_t at = 0; at < l->n_in; at += L) {
    for (uint32_t b = 0; b < L; b++) off[b] = (uint32_t)(b * ld + at);
    ep_lanes_sum sum = {.n_row = l->n_out,
                        .n_term = L,
                        .off = off,
                        .src = c->by_sample[0],
                        .w = c->by_sample[1],
                        .dst = c->block,
                        .w_step = l->n_out,
                        .dst_step = L};
    ep_lanes_run(&sum);
    size_t n = l->n_in - at < L ? l->n_in - at : L;
    for (size_t o = 0; o < l->n_out; o++)
      for (size_t i = 0; i < n; i++) gw[o * l->n_in + at + i] += c->block[o * L + i];
  }
}

static const float *padded(const ep_pass *p, const ep_conv_geom *g, const float *x) {
  if (!g->pad_top && !g->pad_left && ep_lanes_padded_h(g) == g->h_in && ep_lanes_padded_w(g) == g->w_in) return x;
  ep_lanes_pad(g, x, p->pad);
  return p->pad;
}

/* line[i + 1] from line[in], and the gradients of the layer's parameters. */
static void forward_affine(ep_crown *c, ep_pass *p, uint32_t i, const float *g, float *gparam) {
  const ep_layer *l = &c->w->net->layer[i];
  const ep_layer_weights *m = &c->w->layer[i];
  const float *z = c->line[l->in[0]], *k = c->coef[i + 1], *bias = c->w->net->param + l->b;
  size_t per = l->n_out / l->n_b;
  for (size_t e = 0; e < (size_t)l->n_out; e++)
    for (size_t q = 0; q < L; q++) {
      c->scaled[e * L + q] = g[q] * k[e * L + q];
      gparam[l->b + e / per] += c->scaled[e * L + q];
    }
  if (l->kind == EP_LAYER_CONV) {
    const float *x = padded(p, &l->conv, z);
    ep_lanes_conv_weights(&l->conv, x, c->scaled, gparam + l->w);
    ep_lanes_conv_forward(&l->conv, m->fwd[0], bias, m->off, x, c->line[i + 1]);
    return;
  }
  dense_weights(c, l, z, c->scaled, gparam + l->w);
  ep_lanes_sum sum = {.n_row = l->n_out,
                      .n_term = l->n_in,
                      .off = c->w->lane,
                      .src = z,
                      .w = m->fwd[0],
                      .init = bias,
                      .dst = c->line[i + 1],
                      .w_step = l->n_out,
                      .dst_step = L};
  ep_lanes_run(&sum);
}

static void forward_norm(ep_crown *c, const ep_layer *l, uint32_t i, const float *g, float *gparam) {
  size_t per = l->n_out / l->n_ch;
  for (size_t e = 0; e < (size_t)l->n_out; e++) {
    size_t ch = e / per;
    float a = norm_scale(c->w, l, ch), mean = c->w->mean[l->stat / 2 + ch];
    float inv = 1 / sqrtf(c->w->var[l->stat / 2 + ch] + EP_BATCH_NORM_EPSILON);
    for (size_t q = 0; q < L; q++) {
      float z = c->line[l->in[0]][e * L + q], k = g[q] * c->coef[i + 1][e * L + q];
      c->line[i + 1][e * L + q] = a * (z - mean) + c->w->net->param[l->b + ch];
      gparam[l->w + ch] += k * (z - mean) * inv;
      gparam[l->b + ch] += k;
    }
  }
}

/* A constant upper line moves with the upper end of the element it comes from. */
static void forward_max(const ep_crown *c, ep_pass *p, uint32_t i, const float *g) {
  const ep_layer *l = &c->w->net->layer[i];
  const ep_pooling_lists w = ep_net_lists(c->w->net, l);
  uint32_t in = l->in[0];
  const float *mid = p->val[EP_MID][in], *rad = p->val[EP_RAD][in];
  float *gm = ep_pass_grad(p, EP_MID, in), *gr = ep_pass_grad(p, EP_RAD, in);
  for (uint32_t o = 0; o < w.n; o++)
    for (size_t q = 0; q < L; q++) {
      size_t at = (size_t)o * L + q;
      float coef = c->coef[i + 1][at];
      ep_pooling_bound b = ep_pooling_max_bound(&w, o, q, mid, rad);
      if (coef >= 0 || b.is_sure) {
        c->line[i + 1][at] = c->line[in][b.low];
        continue;
      }
      c->line[i + 1][at] = mid[b.high] + rad[b.high];
      gm[b.high] += g[q] * coef;
      gr[b.high] += g[q] * coef;
    }
}

static void forward_layer(ep_crown *c, ep_pass *p, uint32_t i, const float *g, float *gparam) {
  const ep_layer *l = &c->w->net->layer[i];
  if (l->kind == EP_LAYER_DENSE || l->kind == EP_LAYER_CONV) forward_affine(c, p, i, g, gparam);
  if (l->kind == EP_LAYER_RELU) forward_relu(c, p, i, g);
  if (l->kind == EP_LAYER_BATCH_NORM) forward_norm(c, l, i, g, gparam);
  if (l->kind == EP_LAYER_AVG_POOL) ep_pooling_average(&l->conv, c->line[l->in[0]], c->line[i + 1]);
  if (l->kind == EP_LAYER_MAX_POOL) forward_max(c, p, i, g);
  if (l->kind == EP_LAYER_ADD)
    for (size_t e = 0; e < (size_t)l->n_out * L; e++) c->line[i + 1][e] = c->line[l->in[0]][e] + c->line[l->in[1]][e];
}

static void last_layer(const ep_crown *c, const uint32_t *label, uint32_t j, const float *g, float *gparam) {
  const ep_net *net = c->w->net;
  const ep_layer *l = &net->layer[net->n_layer - 1];
  const float *z = c->line[l->in[0]];
  for (size_t q = 0; q < L; q++) {
    gparam[l->b + label[q]] += g[q];
    gparam[l->b + j] -= g[q];
    for (size_t i = 0; i < l->n_in; i++) {
      gparam[l->w + label[q] * l->n_in + i] += g[q] * z[i * L + q];
      gparam[l->w + (size_t)j * l->n_in + i] -= g[q] * z[i * L + q];
    }
  }
}

void ep_crown_gradient(ep_crown *c, ep_pass *p, const uint32_t *label, const float *g, float *gparam) {
  const ep_net *net = c->w->net;
  const float *mid = p->val[EP_MID][0], *rad = p->val[EP_RAD][0];
  float m[L];
  for (uint32_t j = 0; j < ep_net_n_class(net); j++) {
    const float *gj = g + (size_t)j * L;
    chain(c, p, label, j, m);
    for (size_t i = 0; i < (size_t)ep_net_size(net, 0) * L; i++)
      c->line[0][i] = mid[i] - (c->coef[0][i] > 0 ? rad[i] : c->coef[0][i] < 0 ? -rad[i] : 0);
    for (uint32_t i = 0; i + 1 < net->n_layer; i++)
      if (c->is_set[i + 1]) forward_layer(c, p, i, gj, gparam);
    last_layer(c, label, j, gj, gparam);
  }
}
