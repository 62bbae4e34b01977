#include "models/onnx_order.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
  const ep_onnx_name *x = a, *y = b;
  int c = strcmp(x->name, y->name);
  return c ? c : (x->index > y->index) - (x->index < y->index);
}

size_t ep_onnx_order_find(const ep_onnx_names *t, const char *name) {
  if (!name || !*name) return SIZE_MAX;
  size_t lo = 0, hi = t->n;
  assert(t->v);
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (strcmp(t->v[mid].name, name) < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < t->n && !strcmp(t->v[lo].name, name) ? t->v[lo].index : SIZE_MAX;
}

static void add(ep_onnx_names *t, const char *name, size_t index) {
  if (name && *name) t->v[t->n++] = (ep_onnx_name){name, index};
}

ep_status ep_onnx_order_initializers(ep_arena *arena, const Onnx__GraphProto *g, ep_onnx_names *out) {
  *out = (ep_onnx_names){0, EP_ARENA(arena, ep_onnx_name, g->n_initializer + 1)};
  if (!out->v) return EP_E_NOMEM;
  for (size_t i = 0; i < g->n_initializer; i++) add(out, g->initializer[i]->name, i);
  qsort(out->v, out->n, sizeof *out->v, by_name);
  return EP_OK;
}

ep_status ep_onnx_order_uses(ep_arena *arena, const Onnx__GraphProto *g, ep_onnx_names *out) {
  size_t n = g->n_output;
  for (size_t i = 0; i < g->n_node; i++) n += g->node[i]->n_input;
  *out = (ep_onnx_names){0, EP_ARENA(arena, ep_onnx_name, n + 1)};
  if (!out->v) return EP_E_NOMEM;
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; k < g->node[i]->n_input; k++) add(out, g->node[i]->input[k], i);
  for (size_t i = 0; i < g->n_output; i++) add(out, g->output[i]->name, g->n_node);
  assert(out->n <= n);
  qsort(out->v, out->n, sizeof *out->v, by_name);
  return EP_OK;
}

static ep_status producers(ep_arena *arena, const Onnx__GraphProto *g, ep_onnx_names *out) {
  size_t n = 0;
  for (size_t i = 0; i < g->n_node; i++) n += g->node[i]->n_output;
  *out = (ep_onnx_names){0, EP_ARENA(arena, ep_onnx_name, n + 1)};
  if (!out->v) return EP_E_NOMEM;
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; k < g->node[i]->n_output; k++) add(out, g->node[i]->output[k], i);
  qsort(out->v, out->n, sizeof *out->v, by_name);
  return EP_OK;
}

/* Depth-first with an explicit stack, as deep as the graph is long; `state`: 0 new, 1 open, 2 done. */
ep_status ep_onnx_order_nodes(ep_arena *arena, const char *file, const Onnx__GraphProto *g, size_t *order) {
  size_t n = g->n_node, n_order = 0, top = 0;
  ep_onnx_names made;
  EP_TRY(producers(arena, g, &made));
  uint8_t *state = EP_ARENA(arena, uint8_t, n + 1);
  size_t *stack = EP_ARENA(arena, size_t, n + 1), *next = EP_ARENA(arena, size_t, n + 1);
  if (!state || !stack || !next) return EP_E_NOMEM;
  for (size_t root = 0; root < n; root++) {
    if (state[root]) continue;
    stack[top++] = root;
    state[root] = 1;
    while (top) {
      size_t i = stack[top - 1];
      const Onnx__NodeProto *nd = g->node[i];
      if (next[i] == nd->n_input) {
        state[i] = 2;
        order[n_order++] = i;
        top--;
        continue;
      }
      size_t p = ep_onnx_order_find(&made, nd->input[next[i]++]);
      if (p == SIZE_MAX || state[p] == 2) continue;
      if (state[p] == 1)
        return EP_FAIL(arena->ctx, EP_E_SYNTAX, "%s: node '%s' (%s) is part of a cycle", file, nd->name ? nd->name : "",
                       nd->op_type ? nd->op_type : "");
      state[p] = 1;
      assert(top < n);
      stack[top++] = p;
    }
  }
  assert(n_order == n);
  return EP_OK;
}
