#include "models/train/net.h"

#include <assert.h>
#include <math.h>
#include <string.h>

uint32_t ep_net_size(const ep_net *net, uint32_t v) {
  assert(v <= net->n_layer);
  return v ? net->layer[v - 1].n_out : net->c * net->h * net->w;
}

uint32_t ep_net_n_class(const ep_net *net) { return ep_net_size(net, net->n_layer); }

/* Grows a block of floats; new ones are 0. */
static ep_status grow(ep_ctx *ctx, float **p, size_t *n, size_t more) {
  float *t = ep_realloc(ctx, *p, (*n + more + 1) * sizeof *t);
  if (!t) return EP_E_NOMEM;
  memset(t + *n, 0, more * sizeof *t);
  *p = t;
  *n += more;
  return EP_OK;
}

/* Appends a layer with its parameters; returns its value in *v. */
static ep_status append(ep_net *net, ep_layer *l, uint32_t *v) {
  if (net->n_layer == net->cap_layer) {
    uint32_t cap = net->cap_layer ? 2 * net->cap_layer : 16;
    ep_layer *t = ep_realloc(net->ctx, net->layer, cap * sizeof *t);
    if (!t) return EP_E_NOMEM;
    net->layer = t;
    net->cap_layer = cap;
  }
  assert(l->in[0] <= net->n_layer && l->in[1] <= net->n_layer);
  l->w = net->n_param;
  l->b = l->w + l->n_w;
  l->stat = net->n_stat;
  EP_TRY(grow(net->ctx, &net->param, &net->n_param, l->n_w + l->n_b));
  if (l->kind == EP_LAYER_BATCH_NORM) {
    EP_TRY(grow(net->ctx, &net->stat, &net->n_stat, 2 * (size_t)l->n_ch));
    for (uint32_t c = 0; c < l->n_ch; c++) {
      net->param[l->w + c] = 1;
      net->stat[l->stat + l->n_ch + c] = 1;
    }
  }
  net->layer[net->n_layer++] = *l;
  *v = net->n_layer;
  return EP_OK;
}

ep_net_image ep_net_input(const ep_net *net) { return (ep_net_image){0, net->c, net->h, net->w}; }

ep_status ep_net_conv(ep_net *net, ep_net_image *at, uint32_t c_out, uint32_t k, uint32_t stride, uint32_t pad) {
  if (at->h + 2 * pad < k || at->w + 2 * pad < k)
    return EP_FAIL(net->ctx, EP_E_SHAPE, "an image of %u x %u is too small for this architecture (kernel %u)", at->h,
                   at->w, k);
  uint32_t ho = (at->h + 2 * pad - k) / stride + 1, wo = (at->w + 2 * pad - k) / stride + 1;
  ep_layer l = {.kind = EP_LAYER_CONV,
                .in = {at->value, 0},
                .n_in = at->c * at->h * at->w,
                .n_out = c_out * ho * wo,
                .conv = {at->c, at->h, at->w, c_out, ho, wo, k, k, stride, stride, 1, 1, pad, pad, 1},
                .n_w = (size_t)c_out * at->c * k * k,
                .n_b = c_out};
  *at = (ep_net_image){0, c_out, ho, wo};
  return append(net, &l, &at->value);
}

ep_status ep_net_dense(ep_net *net, ep_net_image *at, uint32_t n_out) {
  uint32_t n_in = at->c * at->h * at->w;
  ep_layer l = {.kind = EP_LAYER_DENSE,
                .in = {at->value, 0},
                .n_in = n_in,
                .n_out = n_out,
                .n_w = (size_t)n_out * n_in,
                .n_b = n_out};
  *at = (ep_net_image){0, n_out, 1, 1};
  return append(net, &l, &at->value);
}

static ep_layer same_size(const ep_net_image *at, ep_layer_kind kind) {
  uint32_t n = at->c * at->h * at->w;
  return (ep_layer){.kind = kind, .in = {at->value, 0}, .n_in = n, .n_out = n};
}

ep_status ep_net_relu(ep_net *net, ep_net_image *at) {
  ep_layer l = same_size(at, EP_LAYER_RELU);
  return append(net, &l, &at->value);
}

ep_status ep_net_batch_norm(ep_net *net, ep_net_image *at) {
  ep_layer l = same_size(at, EP_LAYER_BATCH_NORM);
  l.n_ch = at->c;
  l.n_w = l.n_b = at->c;
  return append(net, &l, &at->value);
}

ep_status ep_net_avg_pool(ep_net *net, ep_net_image *at, uint32_t k) {
  if (at->h < k || at->w < k)
    return EP_FAIL(net->ctx, EP_E_SHAPE, "an image of %u x %u is too small for pooling by %u", at->h, at->w, k);
  uint32_t ho = at->h / k, wo = at->w / k;
  ep_layer l = {.kind = EP_LAYER_AVG_POOL,
                .in = {at->value, 0},
                .n_in = at->c * at->h * at->w,
                .n_out = at->c * ho * wo,
                .conv = {at->c, at->h, at->w, at->c, ho, wo, k, k, k, k, 1, 1, 0, 0, 1}};
  *at = (ep_net_image){0, at->c, ho, wo};
  return append(net, &l, &at->value);
}

ep_status ep_net_add(ep_net *net, ep_net_image *at, const ep_net_image *other) {
  assert(at->c == other->c && at->h == other->h && at->w == other->w);
  ep_layer l = same_size(at, EP_LAYER_ADD);
  l.in[1] = other->value;
  return append(net, &l, &at->value);
}

static ep_status new_net(ep_ctx *ctx, uint32_t c, uint32_t h, uint32_t w, ep_net **out) {
  ep_net *net = ep_calloc(ctx, 1, sizeof *net);
  *out = net;
  if (!net) return EP_E_NOMEM;
  *net = (ep_net){.ctx = ctx, .c = c, .h = h, .w = w};
  return EP_OK;
}

ep_status ep_net_create(ep_ctx *ctx, const ep_arch *arch, uint32_t c, uint32_t h, uint32_t w, uint32_t n_class,
                        ep_net **out) {
  EP_TRY(new_net(ctx, c, h, w, out));
  ep_status st = arch->make(*out, n_class);
  assert(st != EP_OK || ep_net_n_class(*out) == n_class);
  if (st == EP_OK) return EP_OK;
  ep_net_destroy(*out);
  *out = NULL;
  return st;
}

void ep_net_destroy(ep_net *net) {
  if (!net) return;
  ep_ctx *ctx = net->ctx;
  ep_free(ctx, net->layer);
  ep_free(ctx, net->param);
  ep_free(ctx, net->stat);
  ep_free(ctx, net);
}

void ep_net_init(ep_net *net, ep_init_kind kind, ep_rng *rng) {
  for (uint32_t i = 0; i < net->n_layer; i++) {
    const ep_layer *l = &net->layer[i];
    if (l->kind != EP_LAYER_DENSE && l->kind != EP_LAYER_CONV) continue;
    double fan_in = (double)l->n_w / (double)l->n_b;
    double deviation = kind == EP_INIT_IBP ? sqrt(6.283185307179586) / fan_in : sqrt(2 / fan_in);
    for (size_t k = 0; k < l->n_w; k++) net->param[l->w + k] = (float)(deviation * ep_rng_normal(rng));
    memset(net->param + l->b, 0, l->n_b * sizeof *net->param);
  }
}

/* ---- from a graph ---- */

/* What the export makes of average pooling: each channel on its own, all weights 1 / taps, windows side by side. */
static bool is_average(const ep_linop *A) {
  const ep_conv_geom *g = &A->conv;
  if (A->kind != EP_LINOP_CONV || A->conv_transpose || g->groups != g->c_in || g->c_in != g->c_out) return false;
  if (g->pad_top || g->pad_left || g->stride_h != g->kh || g->stride_w != g->kw) return false;
  for (size_t k = 0; k < A->n_w; k++)
    if (A->w32[k] != 1.0f / (float)(g->kh * g->kw)) return false;
  return true;
}

/* y = A x + b with weights that can be trained: dense, or a convolution whose bias is one number per channel. */
static ep_status take_affine(ep_net *net, const ep_graph *g, const ep_node *nd, const uint32_t *value, uint32_t *v) {
  const ep_affine *a = &nd->low.is.affine;
  const ep_linop *A = &a->A[0];
  uint32_t n = g->val[nd->out].n;
  ep_layer l = {.in = {value[nd->in[0]], 0}, .n_in = A->n_in, .n_out = n, .n_w = A->n_w};
  if (a->n_terms == 2 && !a->bias && A[0].kind == EP_LINOP_ID && A[1].kind == EP_LINOP_ID) {
    l.kind = EP_LAYER_ADD;
    l.in[1] = value[nd->in[1]];
    l.n_w = 0;
    return append(net, &l, v);
  }
  if (a->n_terms == 1 && is_average(A) && !a->bias) {
    l.kind = EP_LAYER_AVG_POOL;
    l.conv = A->conv;
    l.conv.groups = 1;
    l.n_w = 0;
    return append(net, &l, v);
  }
  bool is_dense = A->kind == EP_LINOP_DENSE, is_conv = A->kind == EP_LINOP_CONV && !A->conv_transpose;
  if (a->n_terms != 1 || (!is_dense && !is_conv) || (is_conv && A->conv.groups != 1))
    return EP_FAIL(net->ctx, EP_E_UNSUPPORTED, "node '%s' (%s) has no training rule", nd->name, nd->op->onnx);
  uint32_t per = is_conv ? A->conv.h_out * A->conv.w_out : 1;
  l.kind = is_conv ? EP_LAYER_CONV : EP_LAYER_DENSE;
  if (is_conv) l.conv = A->conv;
  l.n_b = n / per;
  for (uint32_t i = 0; a->bias && i < n; i++)
    if (a->bias32[i] != a->bias32[i / per * per])
      return EP_FAIL(net->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): a bias per pixel has no training rule", nd->name,
                     nd->op->onnx);
  EP_TRY(append(net, &l, v));
  const ep_layer *made = &net->layer[net->n_layer - 1];
  memcpy(net->param + made->w, A->w32, made->n_w * sizeof *net->param);
  for (size_t i = 0; a->bias && i < made->n_b; i++) net->param[made->b + i] = a->bias32[i * per];
  return EP_OK;
}

static ep_status take_node(ep_net *net, const ep_graph *g, const ep_node *nd, const uint32_t *value, uint32_t *v) {
  if (nd->low.cls == EP_AFFINE) return take_affine(net, g, nd, value, v);
  const ep_univar *u = &nd->low.is.univar;
  bool is_relu = nd->low.cls == EP_UNIVAR && !strcmp(u->name, "Relu");
  bool is_leaky = nd->low.cls == EP_UNIVAR && !strcmp(u->name, "LeakyRelu") && u->param[0] >= 0 && u->param[0] < 1;
  if (!is_relu && !is_leaky)
    return EP_FAIL(net->ctx, EP_E_UNSUPPORTED, "node '%s' (%s) has no training rule", nd->name, nd->op->onnx);
  uint32_t n = g->val[nd->out].n;
  ep_layer l = {.kind = EP_LAYER_RELU,
                .in = {value[nd->in[0]], 0},
                .n_in = n,
                .n_out = n,
                .slope = is_leaky ? (float)u->param[0] : 0};
  return append(net, &l, v);
}

ep_status ep_net_from_graph(const ep_graph *g, ep_net **out) {
  const ep_shape *s = &g->val[g->input].shape;
  uint32_t n = g->val[g->input].n, side = (uint32_t)lround(sqrt((double)n));
  uint32_t c = 1, h = 1, w = n;
  if (s->rank >= 3) { /* the last two axes are the image's */
    h = (uint32_t)s->dim[s->rank - 2];
    w = (uint32_t)s->dim[s->rank - 1];
    c = n / (h * w);
  } else if (g->n_node && g->node[0].low.cls == EP_AFFINE && g->node[0].low.is.affine.A[0].kind == EP_LINOP_CONV) {
    const ep_conv_geom *k = &g->node[0].low.is.affine.A[0].conv;
    c = k->c_in;
    h = k->h_in;
    w = k->w_in;
  } else if (side * side == n) {
    h = w = side;
  }
  EP_TRY(new_net(g->ctx, c, h, w, out));
  uint32_t *value = ep_calloc(g->ctx, g->n_val, sizeof *value);
  ep_status st = value ? EP_OK : EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node && st == EP_OK; k++)
    st = take_node(*out, g, &g->node[k], value, &value[g->node[k].out]);
  if (st == EP_OK && (!g->n_node || value[g->output] != (*out)->n_layer))
    st = EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "the network's output is not its last node");
  ep_free(g->ctx, value);
  if (st == EP_OK) return EP_OK;
  ep_net_destroy(*out);
  *out = NULL;
  return st;
}
