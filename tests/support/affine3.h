#ifndef EP_TESTS_SUPPORT_AFFINE3_H
#define EP_TESTS_SUPPORT_AFFINE3_H

#include "models/graph.h"

/* Three affine scores of two inputs; boundaries are lines, so distances are exact. */
static inline ep_status affine3(ep_ctx *ctx, ep_graph **g) {
  ep_builder *b;
  static const double w[6] = {3, 4, 0, 0, -8, 6}, c[3] = {0, 1, -9}; /* rows: classes */
  ep_shape in = {2, {1, 2}}, sw = {2, {3, 2}}, sc = {1, {3}};
  ep_tensor tw = {EP_DT_F32, sw, 6, w, NULL}, tc = {EP_DT_F32, sc, 3, c, NULL};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st;
  EP_GOTO(ep_builder_input(b, "x", EP_DT_F32, &in));
  EP_GOTO(ep_builder_constant(b, "w", &tw));
  EP_GOTO(ep_builder_constant(b, "c", &tc));
  EP_GOTO(ep_builder_node(b, "Gemm", "g", 3, (const char *const[]){"x", "w", "c"}, "y", &attrs));
  st = ep_builder_finish(b, "y", g);
done:
  ep_builder_destroy(b);
  return st;
}

#endif
