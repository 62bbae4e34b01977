/* Networks written as one line of text, with seeded random weights, built through the public builder:
 *   "x:1,4; a = Gemm x c5,4 c5 transB=1; y = Relu a"
 * An operand is a value's name, a random constant c<shape>, a positive one p<shape>, integers i<values>, or - (absent).
 * Attributes: name=3 (int), name=[1,1] (ints), name=0.5 (float). The value "y" is the output. */
#ifndef EP_TESTS_SUPPORT_NETLANG_H
#define EP_TESTS_SUPPORT_NETLANG_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/graph.h"

/* Every operator that can be exported, in the company that real networks give it. */
static const char *const netlang_cases[] = {
    "x:1,5; a = Gemm x c7,5 c7 transB=1; b = Relu a; y = Gemm b c3,7 c3 transB=1",
    "x:1,6; a = MatMul x c6,8; b = Add a c8; c = Sigmoid b; d = MatMul c c8,8; e = Tanh d; f = Add e c; y = MatMul f "
    "c8,2",
    "x:1,2,8,8; a = Conv x c4,2,3,3 c4 pads=[1,1,1,1] strides=[2,2]; b = Relu a; c = Conv b c6,4,3,3; d = Relu c; "
    "e = Flatten d; y = Gemm e c5,24 c5 transB=1",
    "x:1,4,6,6; a = Conv x c8,2,3,3 c8 group=2 dilations=[2,2]; b = LeakyRelu a alpha=0.125; e = Flatten b; "
    "y = MatMul e c32,3",
    "x:1,2,5,5; a = Conv x c3,2,3,3 c3 pads=[1,1,1,1]; n = BatchNormalization a p3 c3 c3 p3; b = Relu n; "
    "c = Conv b c3,3,3,3 c3 pads=[1,1,1,1]; d = Add c b; e = Relu d; f = GlobalAveragePool e; g = Flatten f; "
    "y = Gemm g c4,3 c4 transB=1",
    "x:1,1,7,7; a = MaxPool x kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1]; b = AveragePool a kernel_shape=[2,2]; "
    "y = Flatten b",
    "x:1,3,4,4; a = ConvTranspose x c3,2,3,3 c2 strides=[2,2] output_padding=[1,1]; b = Relu a; y = Flatten b",
    "x:1,3,10; a = Conv x c4,3,3 c4; b = Relu a; c = Flatten b; y = MatMul c c32,2",
    "x:1,12; a = Reshape x i1,3,4; b = Transpose a perm=[0,2,1]; c = Reshape b i1,12; d = Mul c c12; e = Abs d; y = "
    "Sub e c12",
    "x:1,6; a = Slice x i1 i5 i1; b = Neg a; c = Concat a b axis=1; d = Pad c i0,1,0,2; e = Clip d; y = Relu e",
    "x:1,6; a = Mul x c6; s = Sign a; b = Gemm s c4,6 c4 transB=1; y = Sigmoid b",
    "x:1,4; a = MatMul x c4,6; b = MatMul x c4,6; c = Mul a b; y = MatMul c c6,2",
    "x:1,4; a = MatMul x c4,6; e = Sigmoid a; b = Add e p6; c = Div a b; y = MatMul c c6,2",
    "x:1,12; a = Reshape x i3,4; t = Transpose a perm=[1,0]; m = MatMul a t; y = Flatten m",
    "x:1,8; a = Gather x i3,1,1,7 axis=1; b = ReduceMean x axes=[1] keepdims=1; c = Mul a c1; y = Add c b",
    "x:1,3; y = Identity x",
};
enum { NETLANG_N = sizeof netlang_cases / sizeof *netlang_cases };

typedef struct netlang {
  ep_builder *b;
  ep_rng rng;
  int serial;
} netlang;

static inline ep_shape netlang_shape(const char *s) {
  ep_shape r = {0};
  while (*s) {
    r.dim[r.rank++] = strtol(s, (char **)&s, 10);
    if (*s == ',') s++;
  }
  return r;
}

/* Declares the constant that operand `word` describes; its name goes to name[n]. Values pass through unchanged. */
static inline ep_status netlang_operand(netlang *l, const char *word, char *name, size_t n) {
  bool is_constant = strchr("cpi", word[0]) && word[1] >= '0' && word[1] <= '9';
  snprintf(name, n, "%s", strcmp(word, "-") ? word : "");
  if (!is_constant) return EP_OK;
  snprintf(name, n, "const%d", l->serial++);
  ep_shape s = netlang_shape(word + 1);
  if (word[0] == 'i') {
    ep_tensor t = {EP_DT_I64, {1, {s.rank}}, s.rank, NULL, s.dim};
    return ep_builder_constant(l->b, name, &t);
  }
  size_t count = ep_shape_count(&s);
  double *v = calloc(count + 1, sizeof *v);
  for (size_t i = 0; i < count; i++) {
    double r = (double)(float)(ep_rng_normal(&l->rng) * 0.5);
    v[i] = word[0] == 'p' ? fabs(r) + 0.25 : r;
  }
  ep_tensor t = {EP_DT_F32, s, count, v, NULL};
  ep_status st = ep_builder_constant(l->b, name, &t);
  free(v);
  return st;
}

static inline void netlang_attr(char *word, ep_attr *a, ep_shape *ints) {
  char *value = strchr(word, '=');
  *value++ = 0;
  *a = (ep_attr){.name = word, .type = EP_ATTR_INT, .i = strtol(value, NULL, 10)};
  if (*value == '[') {
    value[strlen(value) - 1] = 0;
    *ints = netlang_shape(value + 1);
    *a = (ep_attr){.name = word, .type = EP_ATTR_INTS, .n = ints->rank, .ints = ints->dim};
  } else if (strchr(value, '.')) {
    *a = (ep_attr){.name = word, .type = EP_ATTR_FLOAT, .f = strtod(value, NULL)};
  }
}

/* "out = Op operands attributes" */
static inline ep_status netlang_node(netlang *l, char *line) {
  char *save = NULL, *out = strtok_r(line, " ", &save);
  strtok_r(NULL, " ", &save);
  char *op = strtok_r(NULL, " ", &save), names[6][32];
  const char *in[6];
  ep_attr attr[6];
  ep_shape ints[6];
  uint32_t n_in = 0;
  size_t n_attr = 0;
  for (char *w; (w = strtok_r(NULL, " ", &save));) {
    if (strchr(w, '=')) {
      netlang_attr(w, &attr[n_attr], &ints[n_attr]);
      n_attr++;
      continue;
    }
    EP_TRY(netlang_operand(l, w, names[n_in], sizeof names[0]));
    in[n_in] = names[n_in];
    n_in++;
  }
  ep_attrs attrs = {n_attr, attr};
  return ep_builder_node(l->b, op, out, n_in, in, out, &attrs);
}

static inline ep_status netlang_make(ep_ctx *ctx, const char *text, uint64_t seed, ep_graph **out) {
  netlang l = {0};
  char copy[1024], *save = NULL;
  ep_rng_seed(&l.rng, seed);
  snprintf(copy, sizeof copy, "%s", text);
  ep_status st = ep_builder_create(ctx, 13, &l.b);
  for (char *part = strtok_r(copy, ";", &save); part && st == EP_OK; part = strtok_r(NULL, ";", &save)) {
    part += strspn(part, " ");
    if (part[1] == ':') {
      ep_shape s = netlang_shape(part + 2);
      part[1] = 0;
      st = ep_builder_input(l.b, part, EP_DT_F32, &s);
    } else {
      st = netlang_node(&l, part);
    }
  }
  if (st == EP_OK) st = ep_builder_finish(l.b, "y", out);
  ep_builder_destroy(l.b);
  return st;
}

#endif
