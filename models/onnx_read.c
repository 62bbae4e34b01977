/* ONNX import: protobuf structures -> builder calls, in dependency order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/sha256.h"
#include "models/onnx.h"
#include "models/onnx_bytes.h"
#include "models/onnx_wire.h"

typedef struct reader {
  ep_ctx *ctx;
  const char *name, *dir;
  const Onnx__GraphProto *g;
  ep_builder *b;
  ep_arena tmp;
} reader;

static const char *label(const Onnx__NodeProto *nd) { return nd->name ? nd->name : ""; }

/* Prefixes the message of a failing builder call with the file. */
static ep_status in_file(reader *r, ep_status st) {
  if (st == EP_OK) return st;
  ep_error e = ep_ctx_error(r->ctx);
  if (e.code == EP_OK || !strncmp(e.text, r->name, strlen(r->name))) return st;
  ep_ctx_clear_error(r->ctx);
  return ep_fail_at(r->ctx, e.file, e.line, e.code, "%s: %s", r->name, e.text);
}

static ep_status check_opset(reader *r, const Onnx__ModelProto *m, int64_t *opset) {
  *opset = 0;
  for (size_t i = 0; i < m->n_opset_import; i++) {
    const char *d = m->opset_import[i]->domain;
    if (!d || !*d || !strcmp(d, "ai.onnx")) *opset = m->opset_import[i]->version > *opset ? m->opset_import[i]->version : *opset;
  }
  if (*opset < 1 || *opset > 24)
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: opset %lld (8 to 20 are supported)", r->name, (long long)*opset);
  return EP_OK;
}

/* All unsupported operators in one line. */
static ep_status check_operators(reader *r) {
  char list[320] = "";
  size_t n = 0, at = 0;
  for (size_t i = 0; i < r->g->n_node; i++) {
    const Onnx__NodeProto *nd = r->g->node[i];
    const char *op = nd->op_type ? nd->op_type : "";
    bool foreign = nd->domain && *nd->domain && strcmp(nd->domain, "ai.onnx") != 0;
    bool known = !foreign && (ep_op_find(op) || !strcmp(op, "Constant"));
    if (known) continue;
    n++;
    char one[80];
    snprintf(one, sizeof one, " %.60s%s", op, foreign ? " (foreign domain)" : "");
    if (strstr(list, one) || at + strlen(one) + 1 >= sizeof list) continue;
    memcpy(list + at, one, strlen(one) + 1);
    at += strlen(one);
  }
  if (!n) return EP_OK;
  return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: %zu nodes use operators that are not supported:%s", r->name, n, list);
}

static bool is_initializer(const reader *r, const char *name) {
  for (size_t i = 0; i < r->g->n_initializer; i++)
    if (r->g->initializer[i]->name && !strcmp(r->g->initializer[i]->name, name)) return true;
  return false;
}

static ep_status read_input(reader *r) {
  const Onnx__ValueInfoProto *in = NULL;
  size_t n = 0;
  for (size_t i = 0; i < r->g->n_input; i++) {
    const Onnx__ValueInfoProto *v = r->g->input[i];
    if (!v->name || is_initializer(r, v->name)) continue;
    in = v;
    n++;
  }
  if (n != 1 || !in)
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: %zu inputs (%s, ...), expected one", r->name, n, in ? in->name : "none");
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
  return in_file(r, ep_builder_input(r->b, in->name, dtype, &s));
}

static ep_status read_initializers(reader *r) {
  for (size_t i = 0; i < r->g->n_initializer; i++) {
    const Onnx__TensorProto *t = r->g->initializer[i];
    ep_arena a;
    ep_arena_init(&a, r->ctx);
    ep_tensor out;
    ep_status st = ep_onnx_wire_tensor(&a, r->name, r->dir, t, &out);
    if (st == EP_OK) st = in_file(r, ep_builder_constant(r->b, t->name ? t->name : "", &out));
    ep_arena_clear(&a);
    EP_TRY(st);
  }
  return EP_OK;
}

static ep_status read_attr(reader *r, const Onnx__AttributeProto *a, ep_attr *out) {
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
    if (!t || !a->t) return t ? EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: empty tensor attribute", r->name) : EP_E_NOMEM;
    out->type = EP_ATTR_TENSOR;
    out->t = t;
    return ep_onnx_wire_tensor(&r->tmp, r->name, r->dir, a->t, t);
  }
  default:
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: attribute '%s' of an unsupported kind", r->name, out->name);
  }
}

static ep_status read_attrs(reader *r, const Onnx__NodeProto *nd, ep_attrs *out) {
  ep_attr *a = EP_ARENA(&r->tmp, ep_attr, nd->n_attribute + 1);
  if (!a) return EP_E_NOMEM;
  for (size_t i = 0; i < nd->n_attribute; i++) EP_TRY(read_attr(r, nd->attribute[i], &a[i]));
  *out = (ep_attrs){nd->n_attribute, a};
  return EP_OK;
}

/* Constant: `value`, or one of the scalar and list forms. */
static ep_status read_constant(reader *r, const Onnx__NodeProto *nd, const ep_attrs *attrs) {
  if (attrs->n != 1) return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s' (Constant): expected one value", r->name, label(nd));
  const ep_attr *a = &attrs->attr[0];
  ep_tensor t = {.shape = {0}, .n = 1};
  switch (a->type) {
  case EP_ATTR_TENSOR: t = *a->t; break;
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
  case EP_ATTR_FLOATS: t = (ep_tensor){EP_DT_F32, {1, {(int64_t)a->n}}, a->n, a->floats, NULL}; break;
  default: return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s' (Constant): string value", r->name, label(nd));
  }
  return in_file(r, ep_builder_constant(r->b, nd->output[0], &t));
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
    bool is_used = !may;
    for (size_t i = 0; i < r->g->n_node && !is_used; i++)
      for (size_t j = 0; j < r->g->node[i]->n_input; j++)
        is_used |= r->g->node[i]->input[j] && !strcmp(r->g->node[i]->input[j], o);
    if (is_used)
      return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s' (%s): output '%s' is not supported", r->name, label(nd),
                     nd->op_type, o);
  }
  return EP_OK;
}

static ep_status read_node(reader *r, const Onnx__NodeProto *nd, size_t index) {
  char made_up[32];
  snprintf(made_up, sizeof made_up, "#%zu", index);
  const char *name = nd->name && *nd->name ? nd->name : made_up;
  ep_attrs attrs;
  EP_TRY(check_outputs(r, nd));
  EP_TRY(read_attrs(r, nd, &attrs));
  if (!strcmp(nd->op_type, "Constant")) return read_constant(r, nd, &attrs);
  if (nd->n_input > 65536) return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: node '%s': too many inputs", r->name, name);
  return in_file(r, ep_builder_node(r->b, nd->op_type, name, (uint32_t)nd->n_input, (const char *const *)nd->input,
                                    nd->output[0], &attrs));
}

/* ---- order: nodes may come unsorted ---- */

typedef struct producer {
  const char *name;
  size_t node;
} producer;

static int by_name(const void *a, const void *b) {
  return strcmp(((const producer *)a)->name, ((const producer *)b)->name);
}

/* Depth-first topological order with an explicit stack; `state`: 0 new, 1 open, 2 done. */
static ep_status sort_nodes(reader *r, size_t *order) {
  size_t n = r->g->n_node, n_prod = 0, n_order = 0, top = 0;
  for (size_t i = 0; i < n; i++) n_prod += r->g->node[i]->n_output;
  producer *p = EP_ARENA(&r->tmp, producer, n_prod + 1);
  uint8_t *state = EP_ARENA(&r->tmp, uint8_t, n + 1);
  size_t *stack = EP_ARENA(&r->tmp, size_t, n + 1), *next = EP_ARENA(&r->tmp, size_t, n + 1);
  if (!p || !state || !stack || !next) return EP_E_NOMEM;
  n_prod = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < r->g->node[i]->n_output; k++)
      if (r->g->node[i]->output[k] && *r->g->node[i]->output[k]) p[n_prod++] = (producer){r->g->node[i]->output[k], i};
  qsort(p, n_prod, sizeof *p, by_name);
  for (size_t root = 0; root < n; root++) {
    if (state[root]) continue;
    stack[top++] = root;
    state[root] = 1;
    while (top) {
      size_t i = stack[top - 1];
      const Onnx__NodeProto *nd = r->g->node[i];
      if (next[i] == nd->n_input) {
        state[i] = 2;
        order[n_order++] = i;
        top--;
        continue;
      }
      producer key = {nd->input[next[i]] ? nd->input[next[i]] : "", 0};
      next[i]++;
      const producer *hit = bsearch(&key, p, n_prod, sizeof *p, by_name);
      if (!hit || state[hit->node] == 2) continue;
      if (state[hit->node] == 1)
        return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: node '%s' (%s) is part of a cycle", r->name, label(nd), nd->op_type);
      state[hit->node] = 1;
      stack[top++] = hit->node;
    }
  }
  return EP_OK;
}

static ep_status read_graph(reader *r, ep_graph **out) {
  EP_TRY(check_operators(r));
  if (r->g->n_output != 1 || !r->g->output[0]->name)
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: %zu outputs, expected one", r->name, r->g->n_output);
  EP_TRY(read_input(r));
  EP_TRY(read_initializers(r));
  size_t *order = EP_ARENA(&r->tmp, size_t, r->g->n_node + 1);
  if (!order) return EP_E_NOMEM;
  EP_TRY(sort_nodes(r, order));
  for (size_t i = 0; i < r->g->n_node; i++) EP_TRY(read_node(r, r->g->node[order[i]], order[i]));
  return in_file(r, ep_builder_finish(r->b, r->g->output[0]->name, out));
}

static ep_status read_plain(ep_ctx *ctx, const char *name, const char *dir, const uint8_t *data, size_t n,
                            ep_graph **out) {
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
  EP_GOTO(check_opset(&r, m, &opset));
  EP_GOTO(ep_builder_create(ctx, opset, &r.b));
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
  EP_TRY(ep_onnx_bytes_inflate(ctx, name, data, n, EP_ONNX_MAX_BYTES, &plain, &n_plain));
  ep_status st = read_plain(ctx, name, dir, plain ? plain : data, plain ? n_plain : n, out);
  ep_free(ctx, plain);
  return st;
}

ep_status ep_onnx_read(ep_ctx *ctx, const char *path, ep_graph **out) {
  uint8_t *data;
  size_t n;
  *out = NULL;
  EP_TRY(ep_onnx_bytes_read(ctx, path, EP_ONNX_MAX_BYTES, &data, &n));
  const char *slash = strrchr(path, '/');
  size_t len = slash ? (size_t)(slash - path) : 1;
  char *dir = ep_alloc(ctx, len + 1);
  ep_status st = dir ? EP_OK : EP_E_NOMEM;
  if (dir) {
    memcpy(dir, slash ? path : ".", len);
    dir[len] = 0;
    st = read_plain(ctx, path, dir, data, n, out);
  }
  ep_free(ctx, dir);
  ep_free(ctx, data);
  return st;
}
