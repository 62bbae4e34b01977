/* ONNX import: protobuf structures -> builder calls, in dependency order. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/sha256.h"
#include "models/onnx.h"
#include "models/onnx_bytes.h"
#include "models/onnx_order.h"
#include "models/onnx_wire.h"

typedef struct reader {
  ep_ctx *ctx;
  const char *name, *dir;
  const Onnx__GraphProto *g;
  ep_builder *b;
  ep_arena tmp;
  ep_onnx_names init, uses;
} reader;

static const char *label(const Onnx__NodeProto *nd) { return nd->name ? nd->name : ""; }

static bool is_onnx_domain(const char *d) { return !d || !*d || !strcmp(d, "ai.onnx"); }

/* Before opset 7 broadcasting meant something else, and what later versions may change is not known. */
static ep_status check_opset(reader *r, const Onnx__ModelProto *m, int64_t *opset) {
  *opset = 0;
  for (size_t i = 0; i < m->n_opset_import; i++)
    if (is_onnx_domain(m->opset_import[i]->domain) && m->opset_import[i]->version > *opset)
      *opset = m->opset_import[i]->version;
  if (!*opset) return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: the model does not say which opset it uses", r->name);
  if (*opset < EP_ONNX_MIN_OPSET || *opset > EP_ONNX_MAX_OPSET)
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: opset %lld (%d to %d are supported)", r->name, (long long)*opset,
                   EP_ONNX_MIN_OPSET, EP_ONNX_MAX_OPSET);
  for (size_t i = 0; i < m->n_functions; i++)
    if (is_onnx_domain(m->functions[i]->domain))
      return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: the model redefines the operator '%s'", r->name,
                     m->functions[i]->name ? m->functions[i]->name : "");
  return EP_OK;
}

/* Appends " word" unless it is there already or no longer fits; then " ..." says so, once. */
static void append_operator(char *list, size_t n, const char *word) {
  size_t len = strlen(word);
  for (const char *p = list; (p = strstr(p, word)) != NULL; p += len)
    if (p[len] == ' ' || !p[len]) return;
  size_t at = strlen(list);
  bool is_full = at + len + sizeof " ..." > n;
  if (!is_full)
    memcpy(list + at, word, len + 1);
  else if (at < 4 || strcmp(list + at - 4, " ...") != 0)
    memcpy(list + at, " ...", 5);
}

const char *const ep_onnx_replaced[] = {"Constant", "Split", NULL};

static bool is_read(const char *op) {
  for (size_t i = 0; ep_onnx_replaced[i]; i++)
    if (!strcmp(op, ep_onnx_replaced[i])) return true;
  return ep_op_find(op) != NULL;
}

/* All unsupported operators in one line. */
static ep_status check_operators(reader *r) {
  char list[320] = "";
  size_t n = 0;
  for (size_t i = 0; i < r->g->n_node; i++) {
    const Onnx__NodeProto *nd = r->g->node[i];
    const char *op = nd->op_type ? nd->op_type : "";
    bool is_foreign = !is_onnx_domain(nd->domain);
    if (!is_foreign && is_read(op)) continue;
    n++;
    char one[96];
    if (is_foreign)
      snprintf(one, sizeof one, " %.40s (domain %.40s)", op, nd->domain);
    else
      snprintf(one, sizeof one, " %.60s", op);
    append_operator(list, sizeof list, one);
  }
  if (!n) return EP_OK;
  return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: %zu of %zu nodes use unsupported operators:%s", r->name, n,
                 r->g->n_node, list);
}

/* "'a', 'b', ..." into list[n]. */
static void append_name(char *list, size_t n, const char *name) {
  size_t at = strlen(list);
  snprintf(list + at, n - at, "%s'%s'", at ? ", " : "", name ? name : "");
}

static ep_status check_outputs_of_graph(reader *r) {
  if (r->g->n_output == 1 && r->g->output[0]->name) return EP_OK;
  char list[200] = "";
  for (size_t i = 0; i < r->g->n_output; i++) append_name(list, sizeof list, r->g->output[i]->name);
  return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: %zu outputs (%s), expected one", r->name, r->g->n_output, list);
}

static ep_status read_input(reader *r) {
  const Onnx__ValueInfoProto *in = NULL;
  char list[200] = "";
  size_t n = 0;
  for (size_t i = 0; i < r->g->n_input; i++) {
    const Onnx__ValueInfoProto *v = r->g->input[i];
    if (!v->name || ep_onnx_order_find(&r->init, v->name) != SIZE_MAX) continue;
    append_name(list, sizeof list, v->name);
    in = v;
    n++;
  }
  if (n != 1 || !in) return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: %zu inputs (%s), expected one", r->name, n, list);
  const Onnx__TypeProto__Tensor *t =
      in->type && in->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? in->type->tensor_type : NULL;
  ep_dtype dtype;
  if (!t || !t->shape || !ep_onnx_wire_dtype(t->elem_type, &dtype))
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: input '%s' is not a float tensor with a shape", r->name, in->name);
  if (t->shape->n_dim > EP_MAX_RANK)
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: input '%s' of rank %zu", r->name, in->name, t->shape->n_dim);
  ep_shape s = {.rank = (uint32_t)t->shape->n_dim};
  for (uint32_t i = 0; i < s.rank; i++) {
    const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
    bool is_fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    /* Symbolic dimensions, and the zero or negative ones some exporters write for "any batch", are one sample. */
    s.dim[i] = is_fixed && d->dim_value > 0 ? d->dim_value : 1;
  }
  return ep_builder_input(r->b, in->name, dtype, &s);
}

static ep_status read_initializers(reader *r) {
  if (r->g->n_sparse_initializer) return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: sparse initialisers", r->name);
  for (size_t i = 0; i < r->g->n_initializer; i++) {
    const Onnx__TensorProto *t = r->g->initializer[i];
    ep_arena a;
    ep_arena_init(&a, r->ctx);
    ep_tensor out;
    ep_status st = ep_onnx_wire_tensor(&a, r->name, r->dir, t, &out);
    if (st == EP_OK) st = ep_builder_constant(r->b, t->name ? t->name : "", &out);
    ep_arena_clear(&a);
    EP_TRY(st);
  }
  return EP_OK;
}

static ep_status read_attr(reader *r, const Onnx__NodeProto *nd, const Onnx__AttributeProto *a, ep_attr *out) {
  *out = (ep_attr){.name = a->name ? a->name : ""};
  switch ((int)a->type) {
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    out->type = EP_ATTR_INT;
    out->i = a->i;
    return EP_OK;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    out->type = EP_ATTR_FLOAT;
    out->f = a->f;
    return EP_OK;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING: {
    char *s = ep_arena_alloc(&r->tmp, a->s.len + 1, 1);
    if (!s) return EP_E_NOMEM;
    if (a->s.len) memcpy(s, a->s.data, a->s.len);
    out->type = EP_ATTR_STRING;
    out->s = s;
    return EP_OK;
  }
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
    out->type = EP_ATTR_INTS;
    out->n = a->n_ints;
    out->ints = a->ints;
    return EP_OK;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS: {
    double *f = EP_ARENA(&r->tmp, double, a->n_floats + 1);
    if (!f) return EP_E_NOMEM;
    for (size_t i = 0; i < a->n_floats; i++) f[i] = a->floats[i];
    out->type = EP_ATTR_FLOATS;
    out->n = a->n_floats;
    out->floats = f;
    return EP_OK;
  }
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR: {
    ep_tensor *t = EP_ARENA(&r->tmp, ep_tensor, 1);
    if (!t || !a->t)
      return t ? EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s': empty tensor", r->name, label(nd)) : EP_E_NOMEM;
    out->type = EP_ATTR_TENSOR;
    out->t = t;
    return ep_onnx_wire_tensor(&r->tmp, r->name, r->dir, a->t, t);
  }
  default:
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s' (%s): attribute '%s' of an unsupported kind", r->name,
                   label(nd), nd->op_type, out->name);
  }
}

static ep_status read_attrs(reader *r, const Onnx__NodeProto *nd, ep_attrs *out) {
  ep_attr *a = EP_ARENA(&r->tmp, ep_attr, nd->n_attribute + 1);
  if (!a) return EP_E_NOMEM;
  for (size_t i = 0; i < nd->n_attribute; i++) EP_TRY(read_attr(r, nd, nd->attribute[i], &a[i]));
  *out = (ep_attrs){nd->n_attribute, a};
  return EP_OK;
}

/* Constant: `value`, or one of the scalar and list forms. */
static ep_status read_constant(reader *r, const Onnx__NodeProto *nd, const ep_attrs *attrs) {
  if (attrs->n != 1)
    return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s' (Constant): expected one value", r->name, label(nd));
  const ep_attr *a = &attrs->attr[0];
  ep_tensor t = {.shape = {0}, .n = 1};
  switch (a->type) {
  case EP_ATTR_TENSOR:
    t = *a->t;
    break;
  case EP_ATTR_INT:
    t.dtype = EP_DT_I64;
    t.i64 = &a->i;
    break;
  case EP_ATTR_FLOAT:
    t.dtype = EP_DT_F32;
    t.f64 = &a->f;
    break;
  case EP_ATTR_INTS:
    t = (ep_tensor){EP_DT_I64, {1, {(int64_t)a->n}}, a->n, NULL, a->ints};
    if (!a->n) t.i64 = &a->i;
    break;
  case EP_ATTR_FLOATS:
    t = (ep_tensor){EP_DT_F32, {1, {(int64_t)a->n}}, a->n, a->floats, NULL};
    break;
  default:
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s' (Constant): string value", r->name, label(nd));
  }
  return ep_builder_constant(r->b, nd->output[0], &t);
}

/* Outputs beyond the first may only be the unused mask of Dropout or BatchNormalization's training results. */
static ep_status check_outputs(reader *r, const Onnx__NodeProto *nd) {
  bool may = nd->op_type && (!strcmp(nd->op_type, "Dropout") || !strcmp(nd->op_type, "BatchNormalization") ||
                             !strcmp(nd->op_type, "MaxPool"));
  if (!nd->n_output || !nd->output[0] || !*nd->output[0])
    return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s' (%s): no output", r->name, label(nd), nd->op_type);
  for (size_t k = 1; k < nd->n_output; k++) {
    const char *o = nd->output[k];
    if (!o || !*o) continue;
    bool is_used = !may || ep_onnx_order_find(&r->uses, o) != SIZE_MAX;
    if (is_used)
      return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s' (%s): output '%s' is not supported", r->name, label(nd),
                     nd->op_type, o);
  }
  return EP_OK;
}

/* Sizes of Split's parts: attribute, second input, or equal parts of which the last may be smaller. */
static ep_status split_sizes(reader *r, const Onnx__NodeProto *nd, const ep_attrs *attrs, int64_t dim, int64_t *size) {
  const ep_attr *a = ep_attrs_find(attrs, "split");
  size_t n = nd->n_output, n_given = a && a->type == EP_ATTR_INTS ? a->n : 0;
  const int64_t *given = n_given ? a->ints : NULL;
  if (nd->n_input > 1 && *nd->input[1]) {
    const ep_tensor *t = NULL;
    ep_shape s;
    if (!ep_builder_find(r->b, nd->input[1], &s, &t) || !t || !t->i64)
      return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s' (Split): the sizes must be constant integers", r->name,
                     label(nd));
    n_given = t->n;
    given = t->i64;
  }
  assert(n > 0);
  int64_t left = dim, part = (dim + (int64_t)n - 1) / (int64_t)n;
  bool is_ok = !given || n_given == n;
  for (size_t k = 0; k < n && is_ok; k++) {
    size[k] = given ? given[k] : part < left ? part : left;
    is_ok = size[k] > 0 && size[k] <= left;
    left -= size[k];
  }
  if (is_ok && !left) return EP_OK;
  return EP_FAIL(r->ctx, EP_E_SHAPE, "%s: node '%s' (Split): the sizes do not add up to %lld", r->name, label(nd),
                 (long long)dim);
}

/* One Slice per part. */
static ep_status read_split(reader *r, const Onnx__NodeProto *nd, const char *name, const ep_attrs *attrs) {
  const ep_tensor *t;
  ep_shape s;
  if (!nd->n_output) return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s' (Split): no output", r->name, name);
  if (!nd->n_input || !ep_builder_find(r->b, nd->input[0], &s, &t))
    return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s' (Split): input '%s' is not defined", r->name, name,
                   nd->n_input ? nd->input[0] : "");
  int64_t axis = ep_attrs_int(attrs, "axis", 0), from = 0;
  if (axis < 0) axis += s.rank;
  if (axis < 0 || axis >= s.rank)
    return EP_FAIL(r->ctx, EP_E_SHAPE, "%s: node '%s' (Split): no such axis", r->name, name);
  int64_t *size = EP_ARENA(&r->tmp, int64_t, nd->n_output);
  if (!size) return EP_E_NOMEM;
  EP_TRY(split_sizes(r, nd, attrs, s.dim[axis], size));
  for (size_t k = 0; k < nd->n_output; k++) {
    int64_t to = from + size[k];
    ep_attr cut[3] = {{.name = "starts", .type = EP_ATTR_INTS, .n = 1, .ints = &from},
                      {.name = "ends", .type = EP_ATTR_INTS, .n = 1, .ints = &to},
                      {.name = "axes", .type = EP_ATTR_INTS, .n = 1, .ints = &axis}};
    ep_attrs as = {3, cut};
    const char *in[1] = {nd->input[0]};
    if (*nd->output[k]) EP_TRY(ep_builder_node(r->b, "Slice", name, 1, in, nd->output[k], &as));
    from = to;
  }
  return EP_OK;
}

static ep_status read_node(reader *r, const Onnx__NodeProto *nd, size_t index) {
  char made_up[32];
  snprintf(made_up, sizeof made_up, "#%zu", index);
  const char *name = nd->name && *nd->name ? nd->name : made_up;
  ep_attrs attrs;
  if (strcmp(nd->op_type, "Split") != 0) EP_TRY(check_outputs(r, nd));
  EP_TRY(read_attrs(r, nd, &attrs));
  if (!strcmp(nd->op_type, "Split")) return read_split(r, nd, name, &attrs);
  if (!strcmp(nd->op_type, "Constant")) return read_constant(r, nd, &attrs);
  assert(nd->n_output > 0 && nd->output[0]);
  if (nd->n_input > 65536) return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s': too many inputs", r->name, name);
  return ep_builder_node(r->b, nd->op_type, name, (uint32_t)nd->n_input, (const char *const *)nd->input, nd->output[0],
                         &attrs);
}

static ep_status read_graph(reader *r, ep_graph **out) {
  EP_TRY(check_outputs_of_graph(r));
  EP_TRY(ep_onnx_order_initializers(&r->tmp, r->g, &r->init));
  EP_TRY(ep_onnx_order_uses(&r->tmp, r->g, &r->uses));
  EP_TRY(read_input(r));
  EP_TRY(read_initializers(r));
  size_t *order = EP_ARENA(&r->tmp, size_t, r->g->n_node + 1);
  if (!order) return EP_E_NOMEM;
  EP_TRY(ep_onnx_order_nodes(&r->tmp, r->name, r->g, order));
  for (size_t i = 0; i < r->g->n_node; i++) EP_TRY(read_node(r, r->g->node[order[i]], order[i]));
  return ep_builder_finish(r->b, r->g->output[0]->name, out);
}

/* Puts the file before messages that came from the builder, the operators or the allocator. */
static ep_status in_file(ep_ctx *ctx, const char *name, ep_status st) {
  ep_error e = ep_ctx_error(ctx);
  if (st == EP_OK || e.code == EP_OK || !strncmp(e.text, name, strlen(name))) return st;
  ep_ctx_clear_error(ctx);
  return ep_fail_at(ctx, e.file, e.line, e.code, "%s: %s", name, e.text);
}

static ep_status read_plain(ep_ctx *ctx, const char *name, const char *dir, const uint8_t *data, size_t n,
                            bool is_float32, ep_graph **out) {
  reader r = {.ctx = ctx, .name = name, .dir = dir};
  Onnx__ModelProto *m = NULL;
  int64_t opset;
  *out = NULL;
  ep_arena_init(&r.tmp, ctx);
  ep_status st;
  EP_GOTO(ep_onnx_wire_unpack(ctx, name, data, n, &m));
  if (!m->graph) {
    st = EP_FAIL(ctx, EP_E_SYNTAX, "%s: the model holds no graph", name);
    goto done;
  }
  r.g = m->graph;
  EP_GOTO(check_operators(&r));
  EP_GOTO(check_opset(&r, m, &opset));
  EP_GOTO(ep_builder_create(ctx, opset, &r.b));
  if (is_float32) ep_builder_set_float32(r.b);
  EP_GOTO(read_graph(&r, out));
  ep_sha256 s;
  uint8_t digest[32];
  ep_sha256_init(&s);
  ep_sha256_update(&s, data, n);
  ep_sha256_final(&s, digest);
  ep_sha256_hex(digest, (*out)->sha256);
done:
  ep_builder_destroy(r.b);
  ep_arena_clear(&r.tmp);
  ep_onnx_wire_free(ctx, m);
  return st;
}

ep_status ep_onnx_read_bytes(ep_ctx *ctx, const char *name, const char *dir, const void *data, size_t n,
                             ep_graph **out) {
  uint8_t *plain;
  size_t n_plain;
  *out = NULL;
  ep_status st = ep_onnx_bytes_inflate(ctx, name, data, n, EP_ONNX_MAX_BYTES, &plain, &n_plain);
  if (st == EP_OK) st = read_plain(ctx, name, dir, plain ? plain : data, plain ? n_plain : n, false, out);
  ep_free(ctx, plain);
  return in_file(ctx, name, st);
}

static ep_status read_file(ep_ctx *ctx, const char *path, bool is_float32, ep_graph **out) {
  uint8_t *data = NULL;
  char *dir = NULL;
  size_t n;
  *out = NULL;
  ep_status st;
  EP_GOTO(ep_onnx_bytes_read(ctx, path, EP_ONNX_MAX_BYTES, &data, &n));
  const char *slash = strrchr(path, '/');
  dir = ep_strdup(ctx, slash ? path : ".");
  if (!dir) {
    st = EP_E_NOMEM;
    goto done;
  }
  if (slash) dir[slash - path] = 0;
  st = read_plain(ctx, path, dir, data, n, is_float32, out);
done:
  ep_free(ctx, dir);
  ep_free(ctx, data);
  return in_file(ctx, path, st);
}

ep_status ep_onnx_read(ep_ctx *ctx, const char *path, ep_graph **out) { return read_file(ctx, path, false, out); }

ep_status ep_onnx_read_float32(ep_ctx *ctx, const char *path, ep_graph **out) {
  return read_file(ctx, path, true, out);
}
