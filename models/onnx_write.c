/* ONNX export (opset 13). Every value is written flattened to [1, n]; operators that need an image reshape around
 * themselves. Weights become float32. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnx/onnx.pb-c.h>

#include "models/onnx.h"
#include "models/ops/window.h"

enum { ONNX_FLOAT = 1, ONNX_INT64 = 7, ONNX_DOUBLE = 11, OPSET = 13 };

typedef struct writer {
  ep_ctx *ctx;
  ep_arena arena;
  const ep_graph *g;
  Onnx__GraphProto *out;
  size_t cap_node, cap_init;
  uint32_t serial; /* of made-up names */
} writer;

static char *name_of(writer *w, const char *prefix) {
  char t[48];
  snprintf(t, sizeof t, "%s_%u", prefix, w->serial++);
  return ep_arena_strdup(&w->arena, t);
}

static char *value_name(writer *w, ep_vid v) {
  char t[32];
  snprintf(t, sizeof t, "v%u", v);
  return ep_arena_strdup(&w->arena, v == w->g->input ? "input" : v == w->g->output ? "output" : t);
}

/* Appends to a pointer array that lives in the arena. */
static ep_status append(writer *w, void ***array, size_t *n, size_t *cap, void *item) {
  if (*n == *cap) {
    size_t want = *cap ? 2 * *cap : 64;
    void **t = EP_ARENA(&w->arena, void *, want);
    if (!t) return EP_E_NOMEM;
    if (*n) memcpy(t, *array, *n * sizeof *t);
    *array = t;
    *cap = want;
  }
  (*array)[(*n)++] = item;
  return EP_OK;
}

static ep_status tensor(writer *w, const char *prefix, uint32_t rank, const int64_t *dim, const float *f,
                        const int64_t *i, char **name) {
  assert(f || i);
  Onnx__TensorProto *t = EP_ARENA(&w->arena, Onnx__TensorProto, 1);
  int64_t *d = EP_ARENA(&w->arena, int64_t, rank + 1u);
  *name = name_of(w, prefix);
  if (!t || !d || !*name) return EP_E_NOMEM;
  onnx__tensor_proto__init(t);
  size_t n = 1;
  for (uint32_t k = 0; k < rank; k++) {
    d[k] = dim[k];
    n *= (size_t)dim[k];
  }
  size_t bytes = n * (f ? sizeof *f : sizeof *i);
  t->raw_data.data = ep_arena_alloc(&w->arena, bytes + 1, 1);
  if (!t->raw_data.data) return EP_E_NOMEM;
  memcpy(t->raw_data.data, f ? (const void *)f : (const void *)i, bytes);
  t->raw_data.len = bytes;
  t->has_raw_data = t->has_data_type = 1;
  t->data_type = f ? ONNX_FLOAT : ONNX_INT64;
  t->n_dims = rank;
  t->dims = d;
  t->name = *name;
  return append(w, (void ***)&w->out->initializer, &w->out->n_initializer, &w->cap_init, t);
}

static ep_status node(writer *w, const char *op, uint32_t n_in, char *const *in, char *out, Onnx__NodeProto **made) {
  assert(op && in);
  Onnx__NodeProto *nd = EP_ARENA(&w->arena, Onnx__NodeProto, 1);
  char **ins = EP_ARENA(&w->arena, char *, n_in + 1u), **outs = EP_ARENA(&w->arena, char *, 1);
  if (!nd || !ins || !outs || !out) return EP_E_NOMEM;
  onnx__node_proto__init(nd);
  memcpy(ins, in, n_in * sizeof *ins);
  outs[0] = out;
  nd->op_type = ep_arena_strdup(&w->arena, op);
  nd->name = name_of(w, op);
  nd->n_input = n_in;
  nd->input = ins;
  nd->n_output = 1;
  nd->output = outs;
  if (!nd->op_type || !nd->name) return EP_E_NOMEM;
  if (made) *made = nd;
  return append(w, (void ***)&w->out->node, &w->out->n_node, &w->cap_node, nd);
}

static ep_status attribute(writer *w, Onnx__NodeProto *nd, const char *name, Onnx__AttributeProto **out) {
  Onnx__AttributeProto *a = EP_ARENA(&w->arena, Onnx__AttributeProto, 1);
  Onnx__AttributeProto **list = EP_ARENA(&w->arena, Onnx__AttributeProto *, nd->n_attribute + 1);
  if (!a || !list) return EP_E_NOMEM;
  onnx__attribute_proto__init(a);
  a->name = ep_arena_strdup(&w->arena, name);
  a->has_type = 1;
  if (nd->n_attribute) memcpy(list, nd->attribute, nd->n_attribute * sizeof *list);
  list[nd->n_attribute++] = a;
  nd->attribute = list;
  *out = a;
  return a->name ? EP_OK : EP_E_NOMEM;
}

static ep_status attr_ints(writer *w, Onnx__NodeProto *nd, const char *name, size_t n, const int64_t *v) {
  Onnx__AttributeProto *a;
  EP_TRY(attribute(w, nd, name, &a));
  a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  a->ints = EP_ARENA(&w->arena, int64_t, n);
  if (!a->ints) return EP_E_NOMEM;
  memcpy(a->ints, v, n * sizeof *v);
  a->n_ints = n;
  return EP_OK;
}

static ep_status attr_int(writer *w, Onnx__NodeProto *nd, const char *name, int64_t v) {
  Onnx__AttributeProto *a;
  EP_TRY(attribute(w, nd, name, &a));
  a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  a->has_i = 1;
  a->i = v;
  return EP_OK;
}

static ep_status reshape(writer *w, char *in, uint32_t rank, const int64_t *dim, char *out) {
  int64_t n = rank;
  char *ins[2] = {in, NULL};
  EP_TRY(tensor(w, "shape", 1, &n, NULL, dim, &ins[1]));
  return node(w, "Reshape", 2, ins, out, NULL);
}

/* W^T as [n_in, n_out] for DENSE and CSR. */
static ep_status write_matrix(writer *w, const ep_linop *A, char *in, char *out) {
  float *t = EP_ARENA(&w->arena, float, (size_t)A->n_in * A->n_out + 1),
        *row = EP_ARENA(&w->arena, float, A->n_in + 1u);
  int64_t dim[2] = {A->n_in, A->n_out};
  char *ins[2] = {in, NULL};
  if (!t || !row) return EP_E_NOMEM;
  for (uint32_t i = 0; i < A->n_out; i++) {
    ep_linop_rows_f32(A, 1, &i, row, false);
    for (uint32_t j = 0; j < A->n_in; j++) t[(size_t)j * A->n_out + i] = row[j];
  }
  EP_TRY(tensor(w, "W", 2, dim, t, NULL, &ins[1]));
  return node(w, "MatMul", 2, ins, out, NULL);
}

/* Gather from the input with a zero appended where the map has holes. */
static ep_status write_map(writer *w, const ep_linop *A, char *in, char *out) {
  int64_t n = A->n_out, one[2] = {1, 1};
  int64_t *idx = EP_ARENA(&w->arena, int64_t, A->n_out + 1u);
  bool has_hole = false;
  if (!idx) return EP_E_NOMEM;
  for (uint32_t i = 0; i < A->n_out; i++) {
    has_hole |= A->map[i] < 0;
    idx[i] = A->map[i] < 0 ? (int64_t)A->n_in : A->map[i];
  }
  Onnx__NodeProto *nd;
  char *ins[2] = {in, NULL};
  if (has_hole) {
    float zero = 0;
    char *padded = name_of(w, "padded");
    EP_TRY(tensor(w, "zero", 2, one, &zero, NULL, &ins[1]));
    EP_TRY(node(w, "Concat", 2, ins, padded, &nd));
    EP_TRY(attr_int(w, nd, "axis", 1));
    ins[0] = padded;
  }
  EP_TRY(tensor(w, "index", 1, &n, NULL, idx, &ins[1]));
  EP_TRY(node(w, "Gather", 2, ins, out, &nd));
  return attr_int(w, nd, "axis", 1);
}

/* bias: one number per channel, or NULL. */
static ep_status write_conv(writer *w, const ep_linop *A, const float *bias, char *in, char *out) {
  const ep_conv_geom *g = &A->conv;
  assert(A->kind == EP_LINOP_CONV && A->n_w == (size_t)g->c_out * (g->c_in / g->groups) * g->kh * g->kw);
  int64_t image[4] = {1, g->c_in, g->h_in, g->w_in}, map[4] = {1, g->c_out, g->h_out, g->w_out};
  int64_t dim[4] = {g->c_out, g->c_in / g->groups, g->kh, g->kw}, flat[2] = {1, A->n_out}, n_bias = g->c_out;
  /* End padding follows from the sizes; a negative one (unused rows at the end) is cut off by the stride anyway. */
  int64_t end_h = ((int64_t)g->h_out - 1) * g->stride_h + (int64_t)(g->kh - 1) * g->dil_h + 1 - g->pad_top - g->h_in;
  int64_t end_w = ((int64_t)g->w_out - 1) * g->stride_w + (int64_t)(g->kw - 1) * g->dil_w + 1 - g->pad_left - g->w_in;
  int64_t pads[4] = {g->pad_top, g->pad_left, end_h > 0 ? end_h : 0, end_w > 0 ? end_w : 0};
  int64_t stride[2] = {g->stride_h, g->stride_w}, dil[2] = {g->dil_h, g->dil_w};
  int64_t extra[2] = {end_h < 0 ? -end_h : 0, end_w < 0 ? -end_w : 0};
  char *ins[3] = {name_of(w, "image"), NULL, NULL}, *res = name_of(w, "conv");
  Onnx__NodeProto *nd;
  EP_TRY(reshape(w, in, 4, A->conv_transpose ? map : image, ins[0]));
  EP_TRY(tensor(w, "K", 4, dim, A->w32, NULL, &ins[1]));
  if (bias) EP_TRY(tensor(w, "bias", 1, &n_bias, bias, NULL, &ins[2]));
  EP_TRY(node(w, A->conv_transpose ? "ConvTranspose" : "Conv", bias ? 3 : 2, ins, res, &nd));
  EP_TRY(attr_ints(w, nd, "pads", 4, pads));
  EP_TRY(attr_ints(w, nd, "strides", 2, stride));
  EP_TRY(attr_ints(w, nd, "dilations", 2, dil));
  if (A->conv_transpose) EP_TRY(attr_ints(w, nd, "output_padding", 2, extra));
  EP_TRY(attr_int(w, nd, "group", g->groups));
  return reshape(w, res, 2, flat, out);
}

static ep_status write_term(writer *w, const ep_linop *A, char *in, char *out) {
  int64_t dim[2] = {1, A->n_out};
  char *ins[2] = {in, NULL};
  switch (A->kind) {
  case EP_LINOP_ID:
    return node(w, "Identity", 1, ins, out, NULL);
  case EP_LINOP_DIAG:
    EP_TRY(tensor(w, "scale", 2, dim, A->w32, NULL, &ins[1]));
    return node(w, "Mul", 2, ins, out, NULL);
  case EP_LINOP_MAP:
    return write_map(w, A, in, out);
  case EP_LINOP_CONV:
    return write_conv(w, A, NULL, in, out);
  default:
    return write_matrix(w, A, in, out);
  }
}

/* A convolution whose bias is one number per channel: *bias gets those (arena memory), else NULL. */
static ep_status channel_bias(writer *w, const ep_affine *a, const float **bias) {
  const ep_linop *A = &a->A[0];
  *bias = NULL;
  if (a->n_terms != 1 || A->kind != EP_LINOP_CONV || A->conv_transpose || !a->bias) return EP_OK;
  uint32_t per = A->n_out / A->conv.c_out;
  for (uint32_t i = 0; i < A->n_out; i++)
    if (a->bias32[i] != a->bias32[i / per * per]) return EP_OK;
  float *b = EP_ARENA(&w->arena, float, A->conv.c_out);
  if (!b) return EP_E_NOMEM;
  for (uint32_t c = 0; c < A->conv.c_out; c++) b[c] = a->bias32[(size_t)c * per];
  *bias = b;
  return EP_OK;
}

static ep_status write_affine(writer *w, const ep_node *nd, char *out) {
  const ep_affine *a = &nd->low.is.affine;
  int64_t dim[2] = {1, w->g->val[nd->out].n};
  char *sum = NULL;
  assert(a->n_terms == nd->n_in);
  const float *per_channel;
  EP_TRY(channel_bias(w, a, &per_channel));
  if (per_channel) return write_conv(w, &a->A[0], per_channel, value_name(w, nd->in[0]), out);
  for (uint32_t k = 0; k < a->n_terms; k++) {
    bool is_last = k + 1 == a->n_terms && !a->bias;
    char *part = is_last && !sum ? out : name_of(w, "part");
    EP_TRY(write_term(w, &a->A[k], value_name(w, nd->in[k]), part));
    if (!sum) {
      sum = part;
      continue;
    }
    char *ins[2] = {sum, part};
    sum = is_last ? out : name_of(w, "sum");
    EP_TRY(node(w, "Add", 2, ins, sum, NULL));
  }
  if (!a->bias) return EP_OK;
  char *ins[2] = {sum, NULL};
  EP_TRY(tensor(w, "bias", 2, dim, a->bias32, NULL, &ins[1]));
  return node(w, "Add", 2, ins, out, NULL);
}

static ep_status write_univar(writer *w, const ep_node *nd, char *out) {
  const ep_univar *u = &nd->low.is.univar;
  assert(nd->n_in == 1);
  char *ins[3] = {value_name(w, nd->in[0]), ep_arena_strdup(&w->arena, ""), ep_arena_strdup(&w->arena, "")};
  uint32_t n_in = 1;
  Onnx__NodeProto *made;
  bool is_clip = !strcmp(u->name, "Clip"), is_leaky = !strcmp(u->name, "LeakyRelu");
  if (!is_clip && !is_leaky && (u->param[0] != 0 || u->param[1] != 0))
    return EP_FAIL(w->ctx, EP_E_UNSUPPORTED, "node '%s' (%s) cannot be exported", nd->name, u->name);
  if (is_clip)
    for (uint32_t k = 0; k < 2; k++) {
      float limit = (float)u->param[k];
      if (!(limit > -INFINITY && limit < INFINITY)) continue;
      EP_TRY(tensor(w, "limit", 0, NULL, &limit, NULL, &ins[k + 1]));
      n_in = k + 2;
    }
  EP_TRY(node(w, u->name, n_in, ins, out, &made));
  if (!is_leaky) return EP_OK;
  Onnx__AttributeProto *a;
  EP_TRY(attribute(w, made, "alpha", &a));
  a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
  a->has_f = 1;
  a->f = (float)u->param[0];
  return EP_OK;
}

/* MaxPool of any windows: gathered side by side, short ones filled up with their first element, then a 1-D pool. */
static ep_status write_max(writer *w, const ep_node *nd, char *out) {
  const ep_max_windows *p = nd->param;
  int64_t taps = 1, flat[2] = {1, (int64_t)p->n};
  for (size_t i = 0; i < p->n; i++) {
    assert(p->ptr[i + 1] > p->ptr[i]);
    if (p->ptr[i + 1] - p->ptr[i] > taps) taps = p->ptr[i + 1] - p->ptr[i];
  }
  int64_t n = (int64_t)p->n * taps, line[3] = {1, 1, n};
  int64_t *idx = EP_ARENA(&w->arena, int64_t, n);
  if (!idx) return EP_E_NOMEM;
  for (size_t i = 0; i < p->n; i++)
    for (int64_t k = 0; k < taps; k++) {
      bool is_in = p->ptr[i] + k < p->ptr[i + 1];
      idx[(int64_t)i * taps + k] = p->col[p->ptr[i] + (is_in ? k : 0)];
    }
  Onnx__NodeProto *made;
  char *ins[2] = {value_name(w, nd->in[0]), NULL}, *all = name_of(w, "windows"), *image = name_of(w, "image"),
       *res = name_of(w, "max");
  EP_TRY(tensor(w, "index", 1, &n, NULL, idx, &ins[1]));
  EP_TRY(node(w, "Gather", 2, ins, all, &made));
  EP_TRY(attr_int(w, made, "axis", 1));
  EP_TRY(reshape(w, all, 3, line, image));
  EP_TRY(node(w, "MaxPool", 1, &image, res, &made));
  EP_TRY(attr_ints(w, made, "kernel_shape", 1, &taps));
  EP_TRY(attr_ints(w, made, "strides", 1, &taps));
  return reshape(w, res, 2, flat, out);
}

/* Products of two variables under their own shapes. */
static ep_status write_pair(writer *w, const ep_node *nd, char *out) {
  int64_t flat[2] = {1, w->g->val[nd->out].n};
  char *ins[2], *res = name_of(w, "product");
  assert(nd->n_in == 2);
  for (uint32_t k = 0; k < 2; k++) {
    ins[k] = name_of(w, "operand");
    EP_TRY(reshape(w, value_name(w, nd->in[k]), nd->in_shape[k].rank, nd->in_shape[k].dim, ins[k]));
  }
  EP_TRY(node(w, nd->op->onnx, 2, ins, res, NULL));
  return reshape(w, res, 2, flat, out);
}

static ep_status write_general(writer *w, const ep_node *nd, char *out) {
  const char *op = nd->op->onnx;
  if (!strcmp(op, "MaxPool")) return write_max(w, nd, out);
  if (nd->n_in == 2 && (!strcmp(op, "Mul") || !strcmp(op, "Div") || !strcmp(op, "MatMul")))
    return write_pair(w, nd, out);
  return EP_FAIL(w->ctx, EP_E_UNSUPPORTED, "node '%s' (%s) cannot be exported", nd->name, op);
}

static ep_status value_info(writer *w, ep_vid v, Onnx__ValueInfoProto **out) {
  Onnx__ValueInfoProto *i = EP_ARENA(&w->arena, Onnx__ValueInfoProto, 1);
  Onnx__TypeProto *t = EP_ARENA(&w->arena, Onnx__TypeProto, 1);
  Onnx__TypeProto__Tensor *tt = EP_ARENA(&w->arena, Onnx__TypeProto__Tensor, 1);
  Onnx__TensorShapeProto *s = EP_ARENA(&w->arena, Onnx__TensorShapeProto, 1);
  Onnx__TensorShapeProto__Dimension *d = EP_ARENA(&w->arena, Onnx__TensorShapeProto__Dimension, 2);
  Onnx__TensorShapeProto__Dimension **list = EP_ARENA(&w->arena, Onnx__TensorShapeProto__Dimension *, 2);
  if (!i || !t || !tt || !s || !d || !list) return EP_E_NOMEM;
  onnx__value_info_proto__init(i);
  onnx__type_proto__init(t);
  onnx__type_proto__tensor__init(tt);
  onnx__tensor_shape_proto__init(s);
  for (int k = 0; k < 2; k++) {
    onnx__tensor_shape_proto__dimension__init(&d[k]);
    d[k].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    d[k].dim_value = k ? w->g->val[v].n : 1;
    list[k] = &d[k];
  }
  s->n_dim = 2;
  s->dim = list;
  tt->has_elem_type = 1;
  tt->elem_type = ONNX_FLOAT;
  tt->shape = s;
  t->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  t->tensor_type = tt;
  i->name = value_name(w, v);
  i->type = t;
  *out = i;
  return i->name ? EP_OK : EP_E_NOMEM;
}

static ep_status write_graph(writer *w) {
  const ep_graph *g = w->g;
  if (g->output == g->input) {
    char *in = value_name(w, g->input);
    return node(w, "Identity", 1, &in, ep_arena_strdup(&w->arena, "output"), NULL);
  }
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    char *out = value_name(w, nd->out);
    if (nd->low.cls == EP_AFFINE)
      EP_TRY(write_affine(w, nd, out));
    else if (nd->low.cls == EP_UNIVAR)
      EP_TRY(write_univar(w, nd, out));
    else
      EP_TRY(write_general(w, nd, out));
  }
  return EP_OK;
}

static ep_status save(ep_ctx *ctx, const char *path, const ProtobufCMessage *m) {
  size_t n = protobuf_c_message_get_packed_size(m);
  uint8_t *buf = ep_alloc(ctx, n + 1);
  if (!buf) return EP_E_NOMEM;
  protobuf_c_message_pack(m, buf);
  FILE *f = fopen(path, "wb");
  bool is_ok = f && fwrite(buf, 1, n, f) == n;
  if (f) is_ok = fclose(f) == 0 && is_ok;
  ep_free(ctx, buf);
  return is_ok ? EP_OK : EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
}

ep_status ep_onnx_write(const ep_graph *g, const char *path) {
  writer w = {.ctx = g->ctx, .g = g};
  Onnx__ModelProto m;
  Onnx__GraphProto gp;
  Onnx__OperatorSetIdProto op, *ops = &op;
  Onnx__ValueInfoProto *in, *out;
  ep_arena_init(&w.arena, g->ctx);
  onnx__model_proto__init(&m);
  onnx__graph_proto__init(&gp);
  onnx__operator_set_id_proto__init(&op);
  w.out = &gp;
  char graph_name[] = "epsproof", domain[] = "";
  op.domain = domain;
  op.has_version = m.has_ir_version = 1;
  op.version = OPSET;
  m.ir_version = 7;
  m.producer_name = gp.name = graph_name;
  m.n_opset_import = 1;
  m.opset_import = &ops;
  m.graph = &gp;
  ep_status st;
  EP_GOTO(write_graph(&w));
  EP_GOTO(value_info(&w, g->input, &in));
  EP_GOTO(value_info(&w, g->output, &out));
  gp.n_input = gp.n_output = 1;
  gp.input = &in;
  gp.output = &out;
  if (g->output == g->input) out->name = ep_arena_strdup(&w.arena, "output");
  st = save(g->ctx, path, &m.base);
done:
  ep_arena_clear(&w.arena);
  return st;
}

ep_status ep_onnx_write_tensor(ep_ctx *ctx, const char *path, const char *name, const ep_tensor *t) {
  assert(ep_dtype_is_float(t->dtype) && ep_shape_count(&t->shape) == t->n);
  bool is_float32 = t->dtype == EP_DT_F32;
  Onnx__TensorProto out;
  onnx__tensor_proto__init(&out);
  int64_t dim[EP_MAX_RANK];
  memcpy(dim, t->shape.dim, sizeof dim);
  void *data = ep_alloc(ctx, t->n * sizeof(double) + 1);
  char *own_name = ep_strdup(ctx, name);
  ep_status st = data && own_name ? EP_OK : EP_E_NOMEM;
  for (size_t i = 0; st == EP_OK && i < t->n; i++) {
    if (is_float32)
      ((float *)data)[i] = (float)t->f64[i];
    else
      ((double *)data)[i] = t->f64[i];
  }
  out.n_dims = t->shape.rank;
  out.dims = dim;
  out.has_data_type = out.has_raw_data = 1;
  out.data_type = is_float32 ? ONNX_FLOAT : ONNX_DOUBLE;
  out.raw_data.len = t->n * (is_float32 ? sizeof(float) : sizeof(double));
  out.raw_data.data = data;
  out.name = own_name;
  if (st == EP_OK) st = save(ctx, path, &out.base);
  ep_free(ctx, own_name);
  ep_free(ctx, data);
  return st;
}
