#include "models/train/net.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/ops/window.h"

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

bool ep_net_is_binary(const ep_net *net) {
  for (uint32_t i = 0; i < net->n_layer; i++)
    if (net->layer[i].is_binary) return true;
  return false;
}

void ep_net_make_latent(const ep_net *net, ep_rng *rng, float *latent) {
  memcpy(latent, net->param, net->n_param * sizeof *latent);
  for (uint32_t i = 0; i < net->n_layer; i++) {
    const ep_layer *l = &net->layer[i];
    for (size_t k = l->w; l->is_binary && k < l->w + l->n_w; k++)
      latent[k] = copysignf(0.1f * (float)ep_rng_uniform(rng), net->param[k]);
  }
}

void ep_net_take_latent(ep_net *net, float *latent) {
  size_t at = 0;
  for (uint32_t i = 0; i < net->n_layer; i++) {
    const ep_layer *l = &net->layer[i];
    assert(l->w == at);
    at = l->b + l->n_b;
    for (size_t k = l->w; k < at; k++) {
      if (l->is_binary && k < l->b) {
        latent[k] = fminf(fmaxf(latent[k], -1), 1);
        net->param[k] = copysignf(net->param[k], latent[k]);
      } else {
        net->param[k] = latent[k];
      }
    }
  }
}

ep_pooling_lists ep_net_lists(const ep_net *net, const ep_layer *l) {
  assert(l->kind == EP_LAYER_MAX_POOL);
  return (ep_pooling_lists){l->n_out, net->list + l->list, net->list + l->list + l->n_out + 1};
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
  return ep_net_conv_groups(net, at, c_out, k, stride, pad, 1);
}

ep_status ep_net_conv_groups(ep_net *net, ep_net_image *at, uint32_t c_out, uint32_t k, uint32_t stride, uint32_t pad,
                             uint32_t groups) {
  assert(at->c % groups == 0 && c_out % groups == 0);
  if (at->h + 2 * pad < k || at->w + 2 * pad < k)
    return EP_FAIL(net->ctx, EP_E_SHAPE, "an image of %u x %u is too small for this architecture (kernel %u)", at->h,
                   at->w, k);
  uint32_t ho = (at->h + 2 * pad - k) / stride + 1, wo = (at->w + 2 * pad - k) / stride + 1;
  ep_layer l = {.kind = EP_LAYER_CONV,
                .in = {at->value, 0},
                .n_in = at->c * at->h * at->w,
                .n_out = c_out * ho * wo,
                .conv = {at->c, at->h, at->w, c_out, ho, wo, k, k, stride, stride, 1, 1, pad, pad, groups},
                .n_w = (size_t)c_out * (at->c / groups) * k * k,
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

void ep_net_binarise(ep_net *net, float c) {
  ep_layer *l = &net->layer[net->n_layer - 1];
  assert(c > 0 && (l->kind == EP_LAYER_DENSE || l->kind == EP_LAYER_CONV));
  l->is_binary = true;
  for (size_t k = l->w; k < l->b; k++) net->param[k] = c;
}

static ep_layer same_size(const ep_net_image *at, ep_layer_kind kind) {
  uint32_t n = at->c * at->h * at->w;
  return (ep_layer){.kind = kind, .in = {at->value, 0}, .n_in = n, .n_out = n};
}

ep_status ep_net_relu(ep_net *net, ep_net_image *at) {
  ep_layer l = same_size(at, EP_LAYER_RELU);
  return append(net, &l, &at->value);
}

ep_status ep_net_sign(ep_net *net, ep_net_image *at) {
  ep_layer l = same_size(at, EP_LAYER_SIGN);
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

ep_status ep_net_fixed_norm(ep_net *net, ep_net_image *at, float mean, float deviation) {
  EP_TRY(ep_net_batch_norm(net, at));
  ep_layer *l = &net->layer[net->n_layer - 1];
  l->is_fixed = true;
  for (uint32_t c = 0; c < l->n_ch; c++) {
    net->stat[l->stat + c] = mean;
    net->stat[l->stat + l->n_ch + c] = deviation * deviation - EP_BATCH_NORM_EPSILON;
  }
  return EP_OK;
}

/* Appends a MAX_POOL layer that reads value `in`; the lists are copied. */
static ep_status max_layer(ep_net *net, uint32_t in, uint32_t n_in, const ep_pooling_lists *w, uint32_t *v) {
  size_t n = w->n + 1u + w->ptr[w->n];
  uint32_t *t = ep_realloc(net->ctx, net->list, (net->n_list + n) * sizeof *t);
  if (!t) return EP_E_NOMEM;
  net->list = t;
  memcpy(t + net->n_list, w->ptr, (w->n + 1u) * sizeof *t);
  memcpy(t + net->n_list + w->n + 1, w->col, w->ptr[w->n] * sizeof *t);
  ep_layer l = {.kind = EP_LAYER_MAX_POOL, .in = {in, 0}, .n_in = n_in, .n_out = w->n, .list = net->n_list};
  net->n_list += n;
  return append(net, &l, v);
}

ep_status ep_net_max_pool(ep_net *net, ep_net_image *at, uint32_t k, uint32_t stride) {
  if (at->h < k || at->w < k)
    return EP_FAIL(net->ctx, EP_E_SHAPE, "an image of %u x %u is too small for pooling by %u", at->h, at->w, k);
  uint32_t ho = (at->h - k) / stride + 1, wo = (at->w - k) / stride + 1, n = at->c * ho * wo, o = 0, i = 0;
  uint32_t *ptr = ep_calloc(net->ctx, n + 1u, sizeof *ptr), *col = ep_calloc(net->ctx, (size_t)n * k * k, sizeof *col);
  ep_status st = ptr && col ? EP_OK : EP_E_NOMEM;
  for (uint32_t c = 0; st == EP_OK && c < at->c; c++)
    for (uint32_t h = 0; h < ho; h++)
      for (uint32_t v = 0; v < wo; v++) {
        for (uint32_t t = 0; t < k * k; t++) col[i++] = (c * at->h + h * stride + t / k) * at->w + v * stride + t % k;
        ptr[++o] = i;
      }
  if (st == EP_OK) {
    const ep_pooling_lists w = {n, ptr, col};
    uint32_t n_in = at->c * at->h * at->w, in = at->value;
    *at = (ep_net_image){0, at->c, ho, wo};
    st = max_layer(net, in, n_in, &w, &at->value);
  }
  ep_free(net->ctx, ptr);
  ep_free(net->ctx, col);
  return st;
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
  ep_free(ctx, net->list);
  ep_free(ctx, net);
}

void ep_net_init(ep_net *net, ep_init_kind kind, ep_rng *rng) {
  for (uint32_t i = 0; i < net->n_layer; i++) {
    const ep_layer *l = &net->layer[i];
    if (l->kind != EP_LAYER_DENSE && l->kind != EP_LAYER_CONV) continue;
    double fan_in = (double)l->n_w / (double)l->n_b;
    double deviation = kind == EP_INIT_IBP ? sqrt(6.283185307179586) / fan_in : sqrt(2 / fan_in);
    for (size_t k = l->w; k < l->w + l->n_w; k++) {
      float x = (float)(deviation * ep_rng_normal(rng));
      net->param[k] = l->is_binary ? copysignf(net->param[k], x) : x;
    }
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

/* What a value of the graph is here: a value of the network, or chosen elements of one (which only maxima read). */
typedef struct source {
  uint32_t value;
  const int32_t *map;
} source;

static ep_status no_rule(const ep_net *net, const ep_node *nd, const char *why) {
  return EP_FAIL(net->ctx, EP_E_UNSUPPORTED, "node '%s' (%s)%s has no training rule", nd->name, nd->op->onnx, why);
}

/* Elements of its input, moved about: nothing to train. */
static bool is_choice(const ep_affine *a) {
  bool is_map = a->n_terms == 1 && a->A[0].kind == EP_LINOP_MAP && !a->bias;
  for (uint32_t i = 0; is_map && i < a->A[0].n_out; i++) is_map = a->A[0].map[i] >= 0;
  return is_map;
}

/* y = A x + b with weights that can be trained: dense, or a convolution whose bias is one number per channel. */
static ep_status take_affine(ep_net *net, const ep_graph *g, const ep_node *nd, const source *value, uint32_t *v) {
  const ep_affine *a = &nd->low.is.affine;
  const ep_linop *A = &a->A[0];
  uint32_t n = g->val[nd->out].n;
  ep_layer l = {.in = {value[nd->in[0]].value, 0}, .n_in = A->n_in, .n_out = n, .n_w = A->n_w};
  if (a->n_terms == 2 && !a->bias && A[0].kind == EP_LINOP_ID && A[1].kind == EP_LINOP_ID) {
    l.kind = EP_LAYER_ADD;
    l.in[1] = value[nd->in[1]].value;
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
  if (a->n_terms != 1 || (!is_dense && !is_conv)) return no_rule(net, nd, "");
  uint32_t per = is_conv ? A->conv.h_out * A->conv.w_out : 1;
  l.kind = is_conv ? EP_LAYER_CONV : EP_LAYER_DENSE;
  if (is_conv) l.conv = A->conv;
  l.n_b = n / per;
  for (uint32_t i = 0; a->bias && i < n; i++)
    if (a->bias32[i] != a->bias32[i / per * per]) return no_rule(net, nd, " with a bias per pixel");
  EP_TRY(append(net, &l, v));
  const ep_layer *made = &net->layer[net->n_layer - 1];
  memcpy(net->param + made->w, A->w32, made->n_w * sizeof *net->param);
  for (size_t i = 0; a->bias && i < made->n_b; i++) net->param[made->b + i] = a->bias32[i * per];
  return EP_OK;
}

static ep_status take_max(ep_net *net, const ep_graph *g, const ep_node *nd, const source *from, uint32_t *v) {
  const ep_max_windows *p = nd->param;
  uint32_t *col = ep_alloc(net->ctx, (p->ptr[p->n] + 1u) * sizeof *col);
  if (!col) return EP_E_NOMEM;
  for (uint32_t k = 0; k < p->ptr[p->n]; k++) col[k] = from->map ? (uint32_t)from->map[p->col[k]] : p->col[k];
  const ep_pooling_lists w = {g->val[nd->out].n, p->ptr, col};
  assert(w.n == p->n);
  ep_status st = max_layer(net, from->value, ep_net_size(net, from->value), &w, v);
  ep_free(net->ctx, col);
  return st;
}

static ep_status take_univar(ep_net *net, const ep_graph *g, const ep_node *nd, uint32_t in, uint32_t *v) {
  const ep_univar *u = &nd->low.is.univar;
  bool is_leaky = !strcmp(u->name, "LeakyRelu") && u->param[0] >= 0 && u->param[0] < 1;
  bool is_sign = !strcmp(u->name, "Sign");
  if (strcmp(u->name, "Relu") != 0 && !is_leaky && !is_sign) return no_rule(net, nd, "");
  uint32_t n = g->val[nd->out].n;
  ep_layer l = {.kind = is_sign ? EP_LAYER_SIGN : EP_LAYER_RELU,
                .in = {in, 0},
                .n_in = n,
                .n_out = n,
                .slope = is_leaky ? (float)u->param[0] : 0};
  return append(net, &l, v);
}

static ep_status take_node(ep_net *net, const ep_graph *g, const ep_node *nd, const source *value, source *out) {
  const source *in = &value[nd->in[0]];
  bool is_max = nd->low.cls == EP_GENERAL && !strcmp(nd->op->onnx, "MaxPool");
  if (is_max) return take_max(net, g, nd, in, &out->value);
  for (uint32_t k = 0; k < nd->n_in; k++)
    if (value[nd->in[k]].map) return no_rule(net, nd, " on chosen elements");
  if (nd->low.cls == EP_AFFINE && is_choice(&nd->low.is.affine)) {
    *out = (source){in->value, nd->low.is.affine.A[0].map};
    return EP_OK;
  }
  if (nd->low.cls == EP_AFFINE) return take_affine(net, g, nd, value, &out->value);
  if (nd->low.cls == EP_UNIVAR) return take_univar(net, g, nd, in->value, &out->value);
  return no_rule(net, nd, "");
}

/* In a network with signs, layers whose rows are +-c are binary and stay so. */
static void find_binary(ep_net *net) {
  bool has_sign = false;
  for (uint32_t i = 0; i < net->n_layer; i++) has_sign = has_sign || net->layer[i].kind == EP_LAYER_SIGN;
  for (uint32_t i = 0; has_sign && i < net->n_layer; i++) {
    ep_layer *l = &net->layer[i];
    bool has_weights = l->kind == EP_LAYER_DENSE || l->kind == EP_LAYER_CONV;
    size_t per = has_weights ? l->n_w / l->n_b : 1;
    l->is_binary = per > 1;
    for (size_t k = 0; l->is_binary && k < l->n_w; k++) {
      float c = fabsf(net->param[l->w + k / per * per]);
      l->is_binary = c > 0 && fabsf(net->param[l->w + k]) == c; /* NOLINT: stored weights, nothing was computed */
    }
  }
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
  source *value = ep_calloc(g->ctx, g->n_val, sizeof *value);
  ep_status st = value ? EP_OK : EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node && st == EP_OK; k++)
    st = take_node(*out, g, &g->node[k], value, &value[g->node[k].out]);
  if (st == EP_OK && (!g->n_node || value[g->output].map || value[g->output].value != (*out)->n_layer))
    st = EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "the network's output is not its last node");
  ep_free(g->ctx, value);
  if (st == EP_OK) find_binary(*out);
  if (st == EP_OK) return EP_OK;
  ep_net_destroy(*out);
  *out = NULL;
  return st;
}
