/* Small seeded networks for tests, built through the public builder, and their evaluation in quadruple precision. */
#ifndef EP_TESTS_SUPPORT_NETS_H
#define EP_TESTS_SUPPORT_NETS_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/graph.h"

typedef __float128 quad; /* NOLINT: 113 bits hold every product and short sum of float32 weights exactly */

typedef struct net_opt {
  uint32_t n_x, n_y, n_layer, width;
  const char *activation; /* ONNX name */
  bool residual;          /* adds each hidden layer's input to its output where widths agree */
  bool concat;            /* the output layer also reads the network input */
  double scale;           /* of weights */
  bool integer;           /* small integer weights: exact ties occur */
  bool no_bias;
  bool softmax; /* at the end */
} net_opt;

static inline double net_weight(ep_rng *r, const net_opt *o) {
  if (o->integer) return (double)(int64_t)ep_rng_below(r, 5) - 2;
  return (double)(float)(o->scale * ep_rng_normal(r));
}

static inline ep_status net_constant(ep_builder *b, ep_rng *r, const net_opt *o, const char *name, int64_t n,
                                     int64_t k) {
  double w[64 * 64];
  ep_tensor t = {EP_DT_F32, {.rank = k ? 2u : 1u, .dim = {n, k}}, (size_t)(k ? n * k : n), w, NULL};
  for (size_t i = 0; i < t.n; i++) w[i] = k || !o->no_bias ? net_weight(r, o) : 0;
  return ep_builder_constant(b, name, &t);
}

static inline ep_status net_gemm(ep_builder *b, ep_rng *r, const net_opt *o, int layer, const char *in, const char *out,
                                 int64_t n_out, int64_t n_in) {
  char w[32], c[32], name[32];
  snprintf(w, sizeof w, "w%d", layer);
  snprintf(c, sizeof c, "c%d", layer);
  snprintf(name, sizeof name, "gemm%d", layer);
  EP_TRY(net_constant(b, r, o, w, n_out, n_in));
  EP_TRY(net_constant(b, r, o, c, n_out, 0));
  int64_t one = 1;
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = one};
  ep_attrs attrs = {1, &trans};
  const char *ins[3] = {in, w, c};
  return ep_builder_node(b, "Gemm", name, 3, ins, out, &attrs);
}

/* x -> (Gemm, activation [, + input]) ... -> Gemm [-> Softmax] -> y */
static inline ep_status net_make(ep_ctx *ctx, uint64_t seed, const net_opt *o, ep_graph **out) {
  ep_rng r;
  ep_builder *b;
  ep_rng_seed(&r, seed);
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_shape s = {.rank = 2, .dim = {1, o->n_x}};
  ep_status st = ep_builder_input(b, "x", EP_DT_F32, &s);
  char in[32] = "x", pre[32], act[32], sum[32];
  int64_t width = o->n_x;
  for (uint32_t l = 0; l < o->n_layer && st == EP_OK; l++) {
    snprintf(pre, sizeof pre, "z%u", l);
    snprintf(act, sizeof act, "a%u", l);
    snprintf(sum, sizeof sum, "s%u", l);
    st = net_gemm(b, &r, o, (int)l, in, pre, o->width, width);
    const char *one[1] = {pre};
    if (st == EP_OK) st = ep_builder_node(b, o->activation, act, 1, one, act, NULL);
    if (st == EP_OK && o->residual && width == o->width) {
      const char *two[2] = {act, in};
      st = ep_builder_node(b, "Add", sum, 2, two, sum, NULL);
      memcpy(act, sum, sizeof act);
    }
    memcpy(in, act, sizeof in);
    width = o->width;
  }
  if (o->concat && st == EP_OK) {
    ep_attr axis = {.name = "axis", .type = EP_ATTR_INT, .i = 1};
    ep_attrs attrs = {1, &axis};
    const char *two[2] = {in, "x"};
    st = ep_builder_node(b, "Concat", "cat", 2, two, "cat", &attrs);
    snprintf(in, sizeof in, "cat");
    width += o->n_x;
  }
  if (st == EP_OK) st = net_gemm(b, &r, o, 99, in, "y", o->n_y, width);
  const char *y[1] = {"y"};
  if (st == EP_OK && o->softmax) st = ep_builder_node(b, "Softmax", "p", 1, y, "p", NULL);
  if (st == EP_OK) st = ep_builder_finish(b, o->softmax ? "p" : "y", out);
  ep_builder_destroy(b);
  return st;
}

/* out = W in, W given [n_out x n_in]. */
static inline ep_status net_matrix(ep_builder *b, const char *in, const char *out, uint32_t n_out, uint32_t n_in,
                                   double *w) {
  char name[32];
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  ep_tensor t = {EP_DT_F32, {2, {n_out, n_in}}, (size_t)n_out * n_in, w, NULL};
  const char *ins[2] = {in, name};
  snprintf(name, sizeof name, "w_%s", out);
  EP_TRY(ep_builder_constant(b, name, &t));
  return ep_builder_node(b, "Gemm", out, 2, ins, out, &attrs);
}

/* max(x_1, .., x_d) for x >= 0 and d <= 8, layer by layer: m = x_k + relu(m - x_k), the x still to come pass through.
 * Layer k sees x_1, .., x_d (k = 1) or relu, x_k, .., x_d, whose first two add up to the maximum so far. */
static inline ep_status net_make_max(ep_ctx *ctx, uint32_t d, ep_graph **out) {
  ep_builder *b;
  ep_shape s = {.rank = 2, .dim = {1, d}};
  char in[16] = "x", z[16], a[16];
  double last[2] = {1, 1};
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st = ep_builder_input(b, "x", EP_DT_F32, &s);
  for (uint32_t k = 1; k < d && st == EP_OK; k++) {
    uint32_t more = k > 1, n_out = d - k + 1, n_in = n_out + more;
    double w[9 * 9] = {0};
    w[0] = w[more] = 1;
    w[more + 1] = -1;
    for (uint32_t i = 1; i < n_out; i++) w[i * n_in + i + more] = 1;
    snprintf(z, sizeof z, "z%u", k);
    snprintf(a, sizeof a, "a%u", k);
    st = net_matrix(b, in, z, n_out, n_in, w);
    const char *one[1] = {z};
    if (st == EP_OK) st = ep_builder_node(b, "Relu", a, 1, one, a, NULL);
    memcpy(in, a, sizeof in);
  }
  if (st == EP_OK) st = net_matrix(b, in, "y", 1, 2, last);
  if (st == EP_OK) st = ep_builder_finish(b, "y", out);
  ep_builder_destroy(b);
  return st;
}

/* Values of all nodes at x in quadruple precision; only piecewise linear activations (Relu, LeakyRelu, Abs). */
static inline void net_eval_quad(const ep_graph *g, const double *x, quad *const *v) {
  for (uint32_t i = 0; i < g->val[g->input].n; i++) v[g->input][i] = x[i];
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    uint32_t n = g->val[nd->out].n;
    quad *y = v[nd->out];
    if (nd->low.cls == EP_AFFINE) {
      const ep_affine *a = &nd->low.is.affine;
      for (uint32_t i = 0; i < n; i++) y[i] = a->bias ? a->bias[i] : 0;
      for (uint32_t t = 0; t < a->n_terms; t++) {
        double row[256];
        for (uint32_t i = 0; i < n; i++) {
          ep_linop_rows_f64(&a->A[t], 1, &i, row, false);
          for (uint32_t j = 0; j < a->A[t].n_in; j++) y[i] += (quad)row[j] * v[nd->in[t]][j];
        }
      }
    } else {
      const ep_univar *u = &nd->low.is.univar;
      for (uint32_t i = 0; i < n; i++) {
        quad z = v[nd->in[0]][i];
        y[i] = z >= 0 ? (quad)u->slope[1] * z : (quad)u->slope[0] * z;
      }
    }
  }
}

#endif
