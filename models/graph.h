/* Graph IR: SSA values with 32-bit ids, nodes in topological order, immutable once finished. Analysis state (boxes,
 * slopes, splits) never lives here but in side tables indexed by value id, so workers share one const graph.
 *
 * Only variable values exist: constants are folded or absorbed into nodes while the graph is built. One input and one
 * output value (flattened as VNN-LIB does); a batch dimension of 1 is part of the shapes. */
#ifndef EP_MODELS_GRAPH_H
#define EP_MODELS_GRAPH_H

#include "models/op.h"

typedef struct ep_value {
  const char *name;
  ep_dtype dtype;
  ep_shape shape;
  uint32_t n;        /* elements */
  uint32_t producer; /* index of the node, UINT32_MAX for the input */
} ep_value;

typedef struct ep_graph {
  ep_ctx *ctx;
  ep_arena arena;
  uint32_t n_node, n_val;
  const ep_node *node; /* topological order */
  const ep_value *val;
  ep_vid input, output;
  int64_t opset;
  ep_dtype input_dtype, output_dtype; /* of the file, usually float32 */
  ep_shape output_shape;              /* of the file; val[output] may be seen under another one */
  bool is_float32; /* values are those of any float32 execution (models/float32.h), not of the real function */
  char sha256[65]; /* of the model file's (uncompressed) bytes; "" when built in memory */
} ep_graph;

void ep_graph_destroy(ep_graph *g);

/* ---- building (what the importer and tests call) ---- */
typedef struct ep_builder ep_builder;
ep_status ep_builder_create(ep_ctx *ctx, int64_t opset, ep_builder **out);
void ep_builder_destroy(ep_builder *b);
/* The graph is to mean every float32 execution of the network. Before the first node. */
void ep_builder_set_float32(ep_builder *b);
/* Declares the network input. Names must be new. */
ep_status ep_builder_input(ep_builder *b, const char *name, ep_dtype dtype, const ep_shape *shape);
/* Declares a named constant; the data is copied. NaN or infinite weights are refused. */
ep_status ep_builder_constant(ep_builder *b, const char *name, const ep_tensor *t);
/* What a name stands for so far; false when it is not defined. The constant (NULL for a variable) lives in the graph.
 */
bool ep_builder_find(const ep_builder *b, const char *name, ep_shape *shape, const ep_tensor **constant);
/* Adds a node: inputs and the output by name ("" = absent optional input); inputs must be known already. Constant
 * subexpressions are folded here. */
ep_status ep_builder_node(ep_builder *b, const char *op_type, const char *node_name, uint32_t n_in,
                          const char *const *in, const char *out, const ep_attrs *attrs);
/* Names the output, drops dead nodes, simplifies, checks all invariants and hands the graph over. */
ep_status ep_builder_finish(ep_builder *b, const char *output, ep_graph **out);

/* What building and finishing simplify (models/simplify.h), all exactly or with the rounding recorded: constants are
 * folded; reshapes, Identity, Dropout and other identities become aliases of their input; picks of picks (Slice of
 * Transpose) become one; a diagonal scale (BatchNormalization, Mul) joins the weights of the affine node before it, its
 * rounding in rel_err and bias_err; so does an added constant; dead nodes go. Matrices are never multiplied together.
 */

#endif
