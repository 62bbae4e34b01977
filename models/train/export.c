/* A trained network as a graph. BatchNormalization after a dense layer or a convolution is folded into it, in float32;
 * elsewhere it becomes a node of its own. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "models/train/net.h"

typedef struct exporter {
  const ep_net *net;
  ep_builder *b;
  ep_arena arena;
} exporter;

static void value_name(uint32_t v, char *name) { snprintf(name, 32, v ? "v%u" : "input", v); }

static ep_status constant(exporter *e, const char *name, const ep_shape *shape, const double *f) {
  ep_tensor t = {.dtype = EP_DT_F32, .shape = *shape, .n = ep_shape_count(shape), .f64 = f};
  return ep_builder_constant(e->b, name, &t);
}

/* Brings a value of any shape into the one given. */
static ep_status reshaped(exporter *e, uint32_t v, const char *for_what, uint32_t rank, const int64_t *dim,
                          char *name) {
  char from[32], shape[64];
  value_name(v, from);
  snprintf(name, 64, "%.31s_%.20s", from, for_what);
  snprintf(shape, sizeof shape, "%.48s_shape", name);
  ep_tensor t = {.dtype = EP_DT_I64, .shape = {.rank = 1, .dim = {rank}}, .n = rank, .i64 = dim};
  EP_TRY(ep_builder_constant(e->b, shape, &t));
  return ep_builder_node(e->b, "Reshape", name, 2, (const char *const[]){from, shape}, name, NULL);
}

/* Weights and bias of layer i with the BatchNormalization `norm` behind it (NULL = none), rounded to float32. */
static ep_status folded(exporter *e, const ep_layer *l, const ep_layer *norm, double **w, double **b) {
  const float *p = e->net->param;
  *w = EP_ARENA(&e->arena, double, l->n_w);
  *b = EP_ARENA(&e->arena, double, l->n_b);
  if (!*w || !*b) return EP_E_NOMEM;
  for (size_t o = 0; o < l->n_b; o++) {
    double scale = 1, shift = 0, per = (double)l->n_w / (double)l->n_b;
    if (norm) {
      size_t c = o / (l->n_b / norm->n_ch);
      scale = (double)p[norm->w + c] /
              sqrt((double)e->net->stat[norm->stat + norm->n_ch + c] + (double)EP_BATCH_NORM_EPSILON);
      shift = (double)p[norm->b + c] - scale * (double)e->net->stat[norm->stat + c];
    }
    for (size_t k = 0; k < (size_t)per; k++)
      (*w)[o * (size_t)per + k] = (double)(float)(scale * (double)p[l->w + o * (size_t)per + k]);
    (*b)[o] = (double)(float)(scale * (double)p[l->b + o] + shift);
  }
  return EP_OK;
}

static ep_status conv_node(exporter *e, const ep_conv_geom *g, const double *w, const double *bias, uint32_t from,
                           const char *out) {
  int64_t image[4] = {1, g->c_in, g->h_in, g->w_in};
  int64_t end_h = ((int64_t)g->h_out - 1) * g->stride_h + (int64_t)(g->kh - 1) * g->dil_h + 1 - g->pad_top - g->h_in;
  int64_t end_w = ((int64_t)g->w_out - 1) * g->stride_w + (int64_t)(g->kw - 1) * g->dil_w + 1 - g->pad_left - g->w_in;
  int64_t pads[4] = {g->pad_top, g->pad_left, end_h > 0 ? end_h : 0, end_w > 0 ? end_w : 0};
  int64_t strides[2] = {g->stride_h, g->stride_w}, dilations[2] = {g->dil_h, g->dil_w};
  char in[64], wn[64], bn[64];
  EP_TRY(reshaped(e, from, out, 4, image, in));
  snprintf(wn, sizeof wn, "%.48s_weight", out);
  snprintf(bn, sizeof bn, "%.48s_bias", out);
  ep_shape sw = {.rank = 4, .dim = {g->c_out, g->c_in / g->groups, g->kh, g->kw}};
  ep_shape sb = {.rank = 1, .dim = {g->c_out}};
  EP_TRY(constant(e, wn, &sw, w));
  if (bias) EP_TRY(constant(e, bn, &sb, bias));
  ep_attr a[] = {{.name = "pads", .type = EP_ATTR_INTS, .n = 4, .ints = pads},
                 {.name = "strides", .type = EP_ATTR_INTS, .n = 2, .ints = strides},
                 {.name = "dilations", .type = EP_ATTR_INTS, .n = 2, .ints = dilations},
                 {.name = "group", .type = EP_ATTR_INT, .i = g->groups}};
  ep_attrs attrs = {4, a};
  return ep_builder_node(e->b, "Conv", out, 3, (const char *const[]){in, wn, bias ? bn : ""}, out, &attrs);
}

static ep_status dense_node(exporter *e, const ep_layer *l, const double *w, const double *b, const char *out) {
  int64_t flat[2] = {1, l->n_in};
  char in[64], wn[64], bn[64];
  EP_TRY(reshaped(e, l->in[0], out, 2, flat, in));
  snprintf(wn, sizeof wn, "%.48s_weight", out);
  snprintf(bn, sizeof bn, "%.48s_bias", out);
  ep_shape sw = {.rank = 2, .dim = {l->n_out, l->n_in}}, sb = {.rank = 1, .dim = {l->n_out}};
  EP_TRY(constant(e, wn, &sw, w));
  EP_TRY(constant(e, bn, &sb, b));
  ep_attr a = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &a};
  return ep_builder_node(e->b, "Gemm", out, 3, (const char *const[]){in, wn, bn}, out, &attrs);
}

/* Average pooling as a convolution of each channel on its own: it stays one small kernel in every later step. */
static ep_status pool_node(exporter *e, const ep_layer *l, const char *out) {
  ep_conv_geom g = l->conv;
  size_t taps = (size_t)g.kh * g.kw;
  g.groups = g.c_in;
  double *w = EP_ARENA(&e->arena, double, g.c_in *taps);
  if (!w) return EP_E_NOMEM;
  for (size_t k = 0; k < g.c_in * taps; k++) w[k] = (double)(1.0f / (float)taps);
  return conv_node(e, &g, w, NULL, l->in[0], out);
}

/* Maxima of lists: their elements side by side, short lists filled up with their first one, then windows of a line. */
static ep_status max_node(exporter *e, const ep_layer *l, const char *out) {
  const ep_pooling_lists w = ep_net_lists(e->net, l);
  int64_t taps = 1, line[3] = {1, 1, 0}, flat[2] = {1, l->n_in}, *index;
  char in[64], name[4][64];
  static const char *const what[4] = {"index", "elements", "line", "line_shape"};
  for (uint32_t i = 0; i < w.n; i++)
    if (w.ptr[i + 1] - w.ptr[i] > taps) taps = w.ptr[i + 1] - w.ptr[i];
  line[2] = w.n * taps;
  for (int k = 0; k < 4; k++) snprintf(name[k], sizeof name[k], "%.40s_%s", out, what[k]);
  if (!(index = EP_ARENA(&e->arena, int64_t, line[2]))) return EP_E_NOMEM;
  for (int64_t k = 0; k < line[2]; k++) {
    uint32_t from = w.ptr[k / taps], to = w.ptr[k / taps + 1];
    index[k] = w.col[from + k % taps < to ? from + k % taps : from];
  }
  ep_tensor list = {.dtype = EP_DT_I64, .shape = {.rank = 1, .dim = {line[2]}}, .n = (size_t)line[2], .i64 = index};
  ep_tensor shape = {.dtype = EP_DT_I64, .shape = {.rank = 1, .dim = {3}}, .n = 3, .i64 = line};
  ep_attr axis = {.name = "axis", .type = EP_ATTR_INT, .i = 1};
  ep_attr window[] = {{.name = "kernel_shape", .type = EP_ATTR_INTS, .n = 1, .ints = &taps},
                      {.name = "strides", .type = EP_ATTR_INTS, .n = 1, .ints = &taps}};
  const ep_attrs gather = {1, &axis}, pool = {2, window};
  EP_TRY(reshaped(e, l->in[0], out, 2, flat, in));
  EP_TRY(ep_builder_constant(e->b, name[0], &list));
  EP_TRY(ep_builder_constant(e->b, name[3], &shape));
  EP_TRY(ep_builder_node(e->b, "Gather", name[1], 2, (const char *const[]){in, name[0]}, name[1], &gather));
  EP_TRY(ep_builder_node(e->b, "Reshape", name[2], 2, (const char *const[]){name[1], name[3]}, name[2], NULL));
  return ep_builder_node(e->b, "MaxPool", out, 1, (const char *const[]){name[2]}, out, &pool);
}

/* A BatchNormalization that follows nothing it could be folded into: a convolution of each channel on its own. */
static ep_status norm_node(exporter *e, const ep_layer *l, const char *out) {
  uint32_t per = l->n_out / l->n_ch;
  ep_layer unit = {.n_w = l->n_ch, .n_b = l->n_ch};
  ep_conv_geom g = {l->n_ch, per, 1, l->n_ch, per, 1, 1, 1, 1, 1, 1, 1, 0, 0, l->n_ch};
  double *w, *b;
  unit.w = l->w;
  unit.b = l->b;
  EP_TRY(folded(e, &unit, NULL, &w, &b));
  for (uint32_t c = 0; c < l->n_ch; c++) {
    double var = (double)e->net->stat[l->stat + l->n_ch + c];
    w[c] = (double)(float)(w[c] / sqrt(var + (double)EP_BATCH_NORM_EPSILON));
    b[c] = (double)(float)(b[c] - w[c] * (double)e->net->stat[l->stat + c]);
  }
  return conv_node(e, &g, w, b, l->in[0], out);
}

/* The BatchNormalization that alone reads layer i, or NULL. */
static const ep_layer *norm_behind(const ep_net *net, uint32_t i) {
  const ep_layer *norm = NULL;
  for (uint32_t k = i + 1; k < net->n_layer; k++) {
    const ep_layer *l = &net->layer[k];
    bool reads = l->in[0] == i + 1 || (l->kind == EP_LAYER_ADD && l->in[1] == i + 1);
    if (!reads) continue;
    if (norm || l->kind != EP_LAYER_BATCH_NORM) return NULL;
    norm = l;
  }
  return norm;
}

static ep_status add_layer(exporter *e, uint32_t i) {
  const ep_net *net = e->net;
  const ep_layer *l = &net->layer[i];
  bool is_affine = l->kind == EP_LAYER_DENSE || l->kind == EP_LAYER_CONV;
  const ep_layer *norm = is_affine ? norm_behind(net, i) : NULL;
  char out[64], in[2][64];
  double *w, *b;
  value_name(norm ? (uint32_t)(norm - net->layer) + 1 : i + 1, out);
  value_name(l->in[0], in[0]);
  if (is_affine) {
    EP_TRY(folded(e, l, norm, &w, &b));
    return l->kind == EP_LAYER_CONV ? conv_node(e, &l->conv, w, b, l->in[0], out) : dense_node(e, l, w, b, out);
  }
  if (l->kind == EP_LAYER_BATCH_NORM) {
    const ep_layer *before = l->in[0] ? &net->layer[l->in[0] - 1] : NULL;
    bool is_folded = before && (before->kind == EP_LAYER_DENSE || before->kind == EP_LAYER_CONV) &&
                     norm_behind(net, l->in[0] - 1) == l;
    return is_folded ? EP_OK : norm_node(e, l, out);
  }
  if (l->kind == EP_LAYER_AVG_POOL) return pool_node(e, l, out);
  if (l->kind == EP_LAYER_MAX_POOL) return max_node(e, l, out);
  if (l->kind == EP_LAYER_SIGN) return ep_builder_node(e->b, "Sign", out, 1, (const char *const[]){in[0]}, out, NULL);
  if (l->kind == EP_LAYER_ADD) {
    int64_t flat[2] = {1, l->n_in};
    char tag[2][16];
    for (int k = 0; k < 2; k++) {
      snprintf(tag[k], sizeof tag[k], "a%u_%d", i, k);
      EP_TRY(reshaped(e, l->in[k], tag[k], 2, flat, in[k]));
    }
    return ep_builder_node(e->b, "Add", out, 2, (const char *const[]){in[0], in[1]}, out, NULL);
  }
  ep_attr alpha = {.name = "alpha", .type = EP_ATTR_FLOAT, .f = (double)l->slope};
  ep_attrs attrs = {1, &alpha};
  bool is_leaky = l->slope > 0;
  return ep_builder_node(e->b, is_leaky ? "LeakyRelu" : "Relu", out, 1, (const char *const[]){in[0]}, out,
                         is_leaky ? &attrs : NULL);
}

ep_status ep_net_export(const ep_net *net, ep_graph **out) {
  exporter e = {.net = net};
  char name[32];
  ep_status st;
  *out = NULL;
  ep_arena_init(&e.arena, net->ctx);
  EP_GOTO(ep_builder_create(net->ctx, 13, &e.b));
  ep_shape shape = {.rank = 2, .dim = {1, ep_net_size(net, 0)}};
  EP_GOTO(ep_builder_input(e.b, "input", EP_DT_F32, &shape));
  for (uint32_t i = 0; i < net->n_layer; i++) EP_GOTO(add_layer(&e, i));
  value_name(net->n_layer, name);
  EP_GOTO(ep_builder_finish(e.b, name, out));
done:
  ep_builder_destroy(e.b);
  ep_arena_clear(&e.arena);
  return st;
}
