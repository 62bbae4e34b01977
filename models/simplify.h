/* Simplification of a graph under construction: exact, or with the rounding recorded in rel_err and bias_err. Part of
 * the trusted base. */
#ifndef EP_MODELS_SIMPLIFY_H
#define EP_MODELS_SIMPLIFY_H

#include "models/graph.h"

/* Nodes and values by their ids while they may still change; `g` gives counts, input, output and the arena. */
typedef struct ep_draft {
  ep_graph *g;
  ep_node *node; /* [g->n_node], topological */
  ep_value *val; /* [g->n_val] */
} ep_draft;

/* Merges movers, scales and biases into the affine nodes before them and marks nodes that nothing needs any more in
 * is_gone[n_node] (false on entry). Ids stay; a node that took over its reader's place produces the reader's value. */
ep_status ep_simplify(ep_draft *d, bool *is_gone);

#endif
