/* Building a graph node by node: names, constant folding, aliases of identities, and the final clean-up. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "models/float32.h"
#include "models/graph.h"
#include "models/simplify.h"

/* A name: a constant, or a variable value seen under a shape (reshapes make new names for the same value). */
typedef struct entry {
  const char *name;
  uint64_t hash;
  const ep_tensor *constant;
  ep_vid vid;
  ep_dtype dtype;
  ep_shape shape;
} entry;

struct ep_builder {
  ep_ctx *ctx;
  ep_graph *g; /* owns the arena everything lives in */
  entry *slot;
  size_t n_slot, n_used; /* n_slot is a power of two */
  ep_node *node;
  ep_value *val;
  size_t cap_node, cap_val;
  bool has_input;
};

static uint64_t hash_of(const char *s) {
  uint64_t h = 1469598103934665603u;
  for (; *s; s++) h = (h ^ (uint8_t)*s) * 1099511628211u;
  return h;
}

static entry *find_slot(entry *slot, size_t n, const char *name, uint64_t hash) {
  size_t i = hash & (n - 1);
  while (slot[i].name && (slot[i].hash != hash || strcmp(slot[i].name, name) != 0)) i = (i + 1) & (n - 1);
  return &slot[i];
}

static const entry *lookup(const ep_builder *b, const char *name) {
  const entry *e = find_slot(b->slot, b->n_slot, name, hash_of(name));
  return e->name ? e : NULL;
}

bool ep_builder_find(const ep_builder *b, const char *name, ep_shape *shape, const ep_tensor **constant) {
  const entry *e = lookup(b, name);
  if (!e) return false;
  *shape = e->shape;
  *constant = e->constant;
  return true;
}

static ep_status grow_names(ep_builder *b) {
  size_t n = b->n_slot ? 2 * b->n_slot : 256;
  entry *t = ep_calloc(b->ctx, n, sizeof *t);
  if (!t) return EP_E_NOMEM;
  for (size_t i = 0; i < b->n_slot; i++)
    if (b->slot[i].name) *find_slot(t, n, b->slot[i].name, b->slot[i].hash) = b->slot[i];
  ep_free(b->ctx, b->slot);
  b->slot = t;
  b->n_slot = n;
  return EP_OK;
}

static ep_status declare(ep_builder *b, const char *name, entry e) {
  if (2 * (b->n_used + 1) > b->n_slot) EP_TRY(grow_names(b));
  e.hash = hash_of(name);
  entry *at = find_slot(b->slot, b->n_slot, name, e.hash);
  if (at->name) return EP_FAIL(b->ctx, EP_E_SYNTAX, "the name '%s' is defined twice", name);
  e.name = ep_arena_strdup(&b->g->arena, name);
  if (!e.name) return EP_E_NOMEM;
  *at = e;
  b->n_used++;
  return EP_OK;
}

ep_status ep_builder_create(ep_ctx *ctx, int64_t opset, ep_builder **out) {
  *out = NULL;
  ep_builder *b = ep_calloc(ctx, 1, sizeof *b);
  if (!b) return EP_E_NOMEM;
  b->ctx = ctx;
  b->g = ep_calloc(ctx, 1, sizeof *b->g);
  if (!b->g || grow_names(b) != EP_OK) {
    ep_builder_destroy(b);
    return EP_E_NOMEM;
  }
  b->g->ctx = ctx;
  b->g->opset = opset;
  ep_arena_init(&b->g->arena, ctx);
  *out = b;
  return EP_OK;
}

void ep_graph_destroy(ep_graph *g) {
  if (!g) return;
  ep_ctx *ctx = g->ctx;
  ep_arena_clear(&g->arena);
  ep_free(ctx, g);
}

void ep_builder_destroy(ep_builder *b) {
  if (!b) return;
  if (b->g && b->g->ctx)
    ep_graph_destroy(b->g);
  else
    ep_free(b->ctx, b->g);
  ep_free(b->ctx, b->slot);
  ep_free(b->ctx, b->node);
  ep_free(b->ctx, b->val);
  ep_free(b->ctx, b);
}

static ep_status new_value(ep_builder *b, const char *name, ep_dtype dtype, const ep_shape *shape, uint32_t producer,
                           ep_vid *out) {
  char text[96];
  size_t n = ep_shape_count(shape);
  if (n >= INT32_MAX)
    return EP_FAIL(b->ctx, EP_E_SHAPE, "value '%s' of shape %s is too large", name, ep_shape_text(shape, text, 96));
  if (n == 0)
    return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "value '%s' of shape %s is empty", name, ep_shape_text(shape, text, 96));
  EP_TRY(ep_reserve(b->ctx, (void **)&b->val, &b->cap_val, b->g->n_val, sizeof *b->val));
  const char *copy = ep_arena_strdup(&b->g->arena, name);
  if (!copy) return EP_E_NOMEM;
  *out = b->g->n_val++;
  b->val[*out] = (ep_value){copy, dtype, *shape, (uint32_t)n, producer};
  return EP_OK;
}

void ep_builder_set_float32(ep_builder *b) { b->g->is_float32 = true; }

ep_status ep_builder_input(ep_builder *b, const char *name, ep_dtype dtype, const ep_shape *shape) {
  if (b->has_input) return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "more than one input");
  if (!ep_dtype_is_float(dtype))
    return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "input '%s' of type %s", name, ep_dtype_text(dtype));
  ep_vid v;
  EP_TRY(new_value(b, name, dtype, shape, UINT32_MAX, &v));
  b->has_input = true;
  b->g->input = v;
  b->g->input_dtype = dtype;
  return declare(b, name, (entry){.vid = v, .dtype = dtype, .shape = *shape});
}

static ep_status check_finite(ep_builder *b, const char *name, const ep_tensor *t) {
  for (size_t i = 0; t->f64 && i < t->n; i++)
    if (!isfinite(t->f64[i]))
      return EP_FAIL(b->ctx, EP_E_SYNTAX, "constant '%s' holds %g at element %zu", name, t->f64[i], i);
  return EP_OK;
}

ep_status ep_builder_constant(ep_builder *b, const char *name, const ep_tensor *t) {
  EP_TRY(check_finite(b, name, t));
  ep_tensor *c = EP_ARENA(&b->g->arena, ep_tensor, 1);
  if (!c) return EP_E_NOMEM;
  *c = *t;
  assert(ep_shape_count(&t->shape) == t->n);
  void *data = ep_arena_alloc(&b->g->arena, t->n + 1, 8);
  if (!data) return EP_E_NOMEM;
  memcpy(data, t->f64 ? (const void *)t->f64 : (const void *)t->i64, t->n * 8);
  *(t->f64 ? (const void **)&c->f64 : (const void **)&c->i64) = data;
  return declare(b, name, (entry){.constant = c, .vid = EP_NO_VALUE, .dtype = t->dtype, .shape = t->shape});
}

/* Folds a node with no constant rule of its own: built with its first floating-point input as the variable, then
 * evaluated; float32 results are rounded as a float32 runtime would round them. */
static ep_status fold_by_evaluation(ep_builder *b, const ep_op *op, ep_op_build *ob, ep_tensor *out) {
  ep_op_in *in = (ep_op_in *)ob->in;
  const ep_tensor *x = NULL;
  for (uint32_t i = 0; i < ob->n_in && !x; i++) {
    if (in[i].is_absent || !in[i].constant->f64) continue;
    x = in[i].constant;
    in[i].constant = NULL;
  }
  if (!x) return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): integer arithmetic", ob->node_name, ob->op_type);
  EP_TRY(op->build(ob));
  ep_vid zero = 0;
  ep_node node = {.op = op,
                  .name = ob->node_name,
                  .param = ob->param,
                  .n_in = 1,
                  .in = &zero,
                  .in_shape = &x->shape,
                  .out = 1,
                  .out_shape = ob->out_shape,
                  .low = ob->low};
  size_t n = ep_shape_count(&ob->out_shape);
  if (n >= INT32_MAX) return EP_FAIL(b->ctx, EP_E_SHAPE, "node '%s' (%s): too large", ob->node_name, ob->op_type);
  ep_value val[2] = {{.n = (uint32_t)x->n, .shape = x->shape}, {.n = (uint32_t)n, .shape = ob->out_shape}};
  ep_graph g = {.ctx = b->ctx, .n_node = 1, .n_val = 2, .node = &node, .val = val, .input = 0, .output = 1};
  ep_scratch s;
  ep_scratch_init(&s, b->ctx);
  ep_trace_f64 t;
  ep_status st = ep_eval_f64(&g, 1, x->f64, &s, &t);
  double *f = st == EP_OK ? EP_ARENA(ob->arena, double, n + 1) : NULL;
  if (st == EP_OK && !f) st = EP_E_NOMEM;
  for (size_t i = 0; st == EP_OK && i < n; i++) f[i] = x->dtype == EP_DT_F32 ? (double)(float)t.v[1][i] : t.v[1][i];
  *out = (ep_tensor){.dtype = x->dtype, .shape = ob->out_shape, .n = n, .f64 = f};
  ep_scratch_clear(&s);
  return st;
}

static ep_status fold(ep_builder *b, const ep_op *op, ep_op_build *ob, const char *out_name) {
  ep_tensor *t = EP_ARENA(&b->g->arena, ep_tensor, 1);
  if (!t) return EP_E_NOMEM;
  if (op->fold)
    EP_TRY(op->fold(ob, t));
  else
    EP_TRY(fold_by_evaluation(b, op, ob, t));
  EP_TRY(check_finite(b, out_name, t));
  return declare(b, out_name, (entry){.constant = t, .vid = EP_NO_VALUE, .dtype = t->dtype, .shape = t->shape});
}

static bool is_alias(const ep_lowered *low) {
  return low->cls == EP_AFFINE && low->is.affine.n_terms == 1 && low->is.affine.A[0].kind == EP_LINOP_ID &&
         !low->is.affine.bias;
}

static ep_status add_node(ep_builder *b, const ep_op *op, const ep_op_build *ob, const ep_vid *vid, const char *out) {
  EP_TRY(ep_reserve(b->ctx, (void **)&b->node, &b->cap_node, b->g->n_node, sizeof *b->node));
  uint32_t n_var = 0;
  ep_vid *in = EP_ARENA(&b->g->arena, ep_vid, ob->n_in + 1u);
  ep_shape *shape = EP_ARENA(&b->g->arena, ep_shape, ob->n_in + 1u);
  if (!in || !shape) return EP_E_NOMEM;
  for (uint32_t i = 0; i < ob->n_in; i++) {
    if (ob->in[i].is_absent || ob->in[i].constant) continue;
    in[n_var] = vid[i];
    shape[n_var++] = ob->in[i].shape;
  }
  if (ob->low.cls == EP_AFFINE ? ob->low.is.affine.n_terms != n_var : n_var == 0)
    return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): a variable where a constant is expected", ob->node_name,
                   ob->op_type);
  ep_vid v;
  EP_TRY(new_value(b, out, ob->out_dtype, &ob->out_shape, b->g->n_node, &v));
  b->node[b->g->n_node++] = (ep_node){.op = op,
                                      .name = ob->node_name,
                                      .param = ob->param,
                                      .n_in = n_var,
                                      .in = in,
                                      .in_shape = shape,
                                      .out = v,
                                      .out_shape = ob->out_shape,
                                      .low = ob->low};
  return declare(b, out, (entry){.vid = v, .dtype = ob->out_dtype, .shape = ob->out_shape});
}

/* Resolves input names; *n_var = how many are variables. */
static ep_status resolve(ep_builder *b, const char *node_name, const char *op_type, uint32_t n_in,
                         const char *const *in, ep_op_in *ins, ep_vid *vid, uint32_t *n_var) {
  *n_var = 0;
  for (uint32_t i = 0; i < n_in; i++) {
    ins[i].is_absent = !in[i] || !*in[i];
    vid[i] = EP_NO_VALUE;
    if (ins[i].is_absent) continue;
    const entry *e = lookup(b, in[i]);
    if (!e)
      return EP_FAIL(b->ctx, EP_E_SYNTAX, "node '%s' (%s): input '%s' is not defined before it", node_name, op_type,
                     in[i]);
    ins[i] = (ep_op_in){.dtype = e->dtype, .shape = e->shape, .constant = e->constant};
    vid[i] = e->vid;
    *n_var += !e->constant;
  }
  return EP_OK;
}

ep_status ep_builder_node(ep_builder *b, const char *op_type, const char *node_name, uint32_t n_in,
                          const char *const *in, const char *out, const ep_attrs *attrs) {
  const ep_op *op = ep_op_find(op_type);
  if (!op) return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "node '%s': operator '%s' is not supported", node_name, op_type);
  while (n_in && (!in[n_in - 1] || !*in[n_in - 1])) n_in--; /* trailing absent inputs */
  if (n_in < op->min_in || n_in > op->max_in)
    return EP_FAIL(b->ctx, EP_E_SYNTAX, "node '%s' (%s): %u inputs, expected %u to %u", node_name, op_type, n_in,
                   op->min_in, op->max_in);
  ep_arena *ar = &b->g->arena;
  ep_op_in *ins = EP_ARENA(ar, ep_op_in, n_in + 1u);
  ep_vid *vid = EP_ARENA(ar, ep_vid, n_in + 1u);
  const char *name = ep_arena_strdup(ar, node_name);
  if (!ins || !vid || !name) return EP_E_NOMEM;
  uint32_t n_var;
  EP_TRY(resolve(b, node_name, op_type, n_in, in, ins, vid, &n_var));
  for (uint32_t i = 0; i < op->min_in; i++)
    if (ins[i].is_absent)
      return EP_FAIL(b->ctx, EP_E_SYNTAX, "node '%s' (%s): input %u is missing", node_name, op_type, i);
  ep_op_build ob = {.ctx = b->ctx,
                    .arena = ar,
                    .node_name = name,
                    .op_type = op->onnx,
                    .opset = b->g->opset,
                    .attrs = attrs ? *attrs : (ep_attrs){0},
                    .n_in = n_in,
                    .in = ins};
  /* Shape of a variable is a constant too: shapes are static. */
  if (n_var == 0 || !strcmp(op_type, "Shape")) return fold(b, op, &ob, out);
  for (uint32_t i = 0; i < n_in; i++)
    if (!ins[i].is_absent && !ins[i].constant && !ep_dtype_is_float(ins[i].dtype))
      return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): integer variable", node_name, op_type);
  EP_TRY(op->build(&ob));
  if (is_alias(&ob.low) && n_var == 1) {
    for (uint32_t i = 0; i < n_in; i++)
      if (vid[i] != EP_NO_VALUE)
        return declare(b, out, (entry){.vid = vid[i], .dtype = ob.out_dtype, .shape = ob.out_shape});
  }
  return add_node(b, op, &ob, vid, out);
}

/* ---- finishing ---- */

/* Copies live nodes and values to the graph with new ids. A merged node keeps the place of the producer it joined,
 * which is before every reader of its output. */
static ep_status compact(ep_builder *b, const bool *is_gone) {
  ep_graph *g = b->g;
  ep_status st = EP_E_NOMEM;
  bool *is_live = ep_calloc(b->ctx, g->n_val + 1u, sizeof *is_live);
  ep_vid *id = ep_calloc(b->ctx, g->n_val + 1u, sizeof *id);
  ep_node *node = EP_ARENA(&g->arena, ep_node, g->n_node + 1u);
  ep_value *val = EP_ARENA(&g->arena, ep_value, g->n_val + 1u);
  if (!is_live || !id || !node || !val) goto done;
  is_live[g->output] = is_live[g->input] = true;
  for (uint32_t k = g->n_node; k-- > 0;)
    for (uint32_t j = 0; j < b->node[k].n_in && !is_gone[k] && is_live[b->node[k].out]; j++)
      is_live[b->node[k].in[j]] = true;
  uint32_t n_val = 0, n_node = 0;
  id[g->input] = n_val;
  val[n_val++] = b->val[g->input];
  for (uint32_t k = 0; k < g->n_node; k++) {
    ep_node *nd = &b->node[k];
    if (is_gone[k] || !is_live[nd->out]) continue;
    id[nd->out] = n_val;
    val[n_val] = b->val[nd->out];
    val[n_val++].producer = n_node;
    for (uint32_t j = 0; j < nd->n_in; j++) ((ep_vid *)nd->in)[j] = id[nd->in[j]];
    node[n_node] = *nd;
    node[n_node++].out = id[nd->out];
  }
  g->output = id[g->output];
  g->input = 0;
  g->n_val = n_val;
  g->n_node = n_node;
  g->val = val;
  g->node = node;
  st = EP_OK;
done:
  ep_free(b->ctx, is_live);
  ep_free(b->ctx, id);
  return st;
}

/* The invariants that every pass relies on. */
static ep_status check(const ep_graph *g) {
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    bool is_ok = g->val[nd->out].producer == k && nd->n_in > 0 && ep_shape_count(&nd->out_shape) == g->val[nd->out].n;
    for (uint32_t j = 0; j < nd->n_in && is_ok; j++) {
      uint32_t p = g->val[nd->in[j]].producer;
      is_ok = (p == UINT32_MAX || p < k) && ep_shape_count(&nd->in_shape[j]) == g->val[nd->in[j]].n;
      if (nd->low.cls == EP_AFFINE)
        is_ok = is_ok && nd->low.is.affine.A[j].n_in == g->val[nd->in[j]].n &&
                nd->low.is.affine.A[j].n_out == g->val[nd->out].n;
    }
    if (nd->low.cls == EP_AFFINE) is_ok = is_ok && nd->low.is.affine.n_terms == nd->n_in;
    if (nd->low.cls == EP_UNIVAR) is_ok = is_ok && nd->n_in == 1 && g->val[nd->in[0]].n == g->val[nd->out].n;
    if (!is_ok)
      return EP_FAIL(g->ctx, EP_E_INTERNAL, "node '%s' (%s) breaks a graph invariant", nd->name, nd->op->onnx);
  }
  return EP_OK;
}

ep_status ep_builder_finish(ep_builder *b, const char *output, ep_graph **out) {
  *out = NULL;
  const entry *e = lookup(b, output);
  if (!e) return EP_FAIL(b->ctx, EP_E_SYNTAX, "output '%s' is not defined", output);
  if (e->constant) return EP_FAIL(b->ctx, EP_E_UNSUPPORTED, "output '%s' does not depend on the input", output);
  ep_graph *g = b->g;
  g->output = e->vid;
  g->output_shape = e->shape;
  g->output_dtype = e->dtype;
  bool *is_gone = ep_calloc(b->ctx, g->n_node + 1u, sizeof *is_gone);
  if (!is_gone) return EP_E_NOMEM;
  ep_draft draft = {g, b->node, b->val};
  ep_status st = g->is_float32 ? ep_float32_prepare(&draft) : EP_OK;
  if (st == EP_OK) st = ep_simplify(&draft, is_gone);
  if (st == EP_OK) st = compact(b, is_gone);
  ep_free(b->ctx, is_gone);
  EP_TRY(st);
  EP_TRY(check(g));
  *out = g;
  b->g = NULL;
  return EP_OK;
}
