/* Affine classifiers, where boundaries are planes and distances are exact. */
#ifndef EP_TESTS_SUPPORT_AFFINE_H
#define EP_TESTS_SUPPORT_AFFINE_H

#include "models/graph.h"

/* y = W x + c with w[n_out][n_in]. */
static inline ep_status affine_net(ep_ctx *ctx, uint32_t n_in, uint32_t n_out, const double *w, const double *c,
                                   ep_graph **g) {
  ep_builder *b;
  ep_shape in = {2, {1, n_in}}, sw = {2, {n_out, n_in}}, sc = {1, {n_out}};
  ep_tensor tw = {EP_DT_F32, sw, (size_t)n_out * n_in, w, NULL}, tc = {EP_DT_F32, sc, n_out, c, NULL};
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

/* Three scores of two inputs. At (1, 1) class 0 scores 7, class 1 scores 1: 6 / |(3,4)|_2 = 1.2 and 6 / |(3,4)|_1 = 6/7
 * away; class 2 (-11) is 18 / |(11,-2)| = 1.61 away. */
static inline ep_status affine3(ep_ctx *ctx, ep_graph **g) {
  static const double w[6] = {3, 4, 0, 0, -8, 6}, c[3] = {0, 1, -9};
  return affine_net(ctx, 2, 3, w, c, g);
}

#endif
