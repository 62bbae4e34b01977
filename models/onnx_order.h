/* Names in an ONNX graph and the order of its nodes: sorted tables, so that a hostile file costs n log n at most. */
#ifndef EP_MODELS_ONNX_ORDER_H
#define EP_MODELS_ONNX_ORDER_H

#include <onnx/onnx.pb-c.h>

#include "kernels/arena.h"

typedef struct ep_onnx_name {
  const char *name;
  size_t index;
} ep_onnx_name;
/* Sorted by name; entries with equal names keep the order of their indices. */
typedef struct ep_onnx_names {
  size_t n;
  ep_onnx_name *v;
} ep_onnx_names;

/* Index of the first entry of that name, SIZE_MAX when there is none (or name is NULL or ""). */
size_t ep_onnx_order_find(const ep_onnx_names *t, const char *name);
/* Initialisers by name; index = position. */
ep_status ep_onnx_order_initializers(ep_arena *arena, const Onnx__GraphProto *g, ep_onnx_names *out);
/* Everything that some node or the graph's outputs read; index = position of the node, n_node for the outputs. */
ep_status ep_onnx_order_uses(ep_arena *arena, const Onnx__GraphProto *g, ep_onnx_names *out);
/* order[n_node]: positions so that every node comes after the producers of its inputs. Nodes in a valid order keep it.
 * EP_E_SYNTAX on a cycle, naming the file and a node of it. */
ep_status ep_onnx_order_nodes(ep_arena *arena, const char *file, const Onnx__GraphProto *g, size_t *order);

#endif
