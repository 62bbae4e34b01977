/* Figures about a network that command inspect shows. */
#ifndef EP_VERIFIER_INSPECT_H
#define EP_VERIFIER_INSPECT_H

#include "models/graph.h"
#include "verifier/query.h"

typedef struct ep_inspect_totals {
  size_t parameters;
  uint32_t univar, general; /* neurons of UNIVAR and GENERAL nodes */
} ep_inspect_totals;

ep_inspect_totals ep_inspect_count(const ep_graph *g);
/* Stored weights and non-zero biases of an affine node; 0 for others. */
size_t ep_inspect_parameters(const ep_node *n);
const char *ep_inspect_class(ep_op_class c);
/* Rows of all disjuncts of a box. */
uint32_t ep_inspect_rows(const ep_input_box *box);

#endif
