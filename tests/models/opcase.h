/* Operator cases written as text, and graphs made from them. Shared by the operator suites.
 *
 * Inputs: "v1,2,5,5 | c3,2,3,3 | p3 | i1,2 | -": a variable, a random constant, a positive random constant, int64
 * values, an absent input; "v" or "c" alone is a scalar. All variables are parts of one network input. Attributes: "is
 * pads 1 1 1 1; i group 2; f alpha .5; s auto_pad SAME_UPPER". */
#ifndef EP_TESTS_MODELS_OPCASE_H
#define EP_TESTS_MODELS_OPCASE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/eval.h"

enum { MAX_IN = 6, MAX_ATTR = 8, MAX_INTS = 16 };

typedef struct tens {
  char kind; /* v, c, p, i, - */
  ep_shape shape;
  size_t n;
  double *v;
  int64_t *i;
} tens;

typedef struct opcase opcase;
typedef struct inst inst;
struct opcase {
  const char *op;
  int opset;
  const char *in, *attrs, *out_shape;
  void (*ref)(const inst *t, tens *out); /* fills out->v from the inputs, independently of models/ */
  bool has_kinks;                        /* gradients are compared only where the function is smooth nearby */
};

struct inst {
  const opcase *c;
  uint32_t n_in, n_attr, n_x;
  tens in[MAX_IN];
  ep_attr attr[MAX_ATTR];
  int64_t ints[MAX_ATTR][MAX_INTS];
  char names[MAX_ATTR][64], strings[MAX_ATTR][64];
  ep_graph *g;
};

static inline ep_shape shape_of(const char *s) {
  ep_shape r = {0};
  while (*s && *s != ' ' && *s != '|') {
    r.dim[r.rank++] = strtol(s, (char **)&s, 10);
    if (*s == ',') s++;
  }
  return r;
}

static inline void fill(tens *t, ep_rng *r) {
  t->n = ep_shape_count(&t->shape);
  t->v = calloc(t->n + 1, sizeof *t->v);
  for (size_t k = 0; k < t->n; k++) {
    t->v[k] = (double)(float)(2 * ep_rng_uniform(r) - 1);
    if (t->kind == 'p') t->v[k] = (double)(float)(0.5 + fabs(t->v[k]));
  }
}

static inline void parse_inputs(inst *t, ep_rng *r) {
  for (const char *s = t->c->in; *s;) {
    while (*s == ' ' || *s == '|') s++;
    tens *x = &t->in[t->n_in++];
    x->kind = *s++;
    x->shape = shape_of(s);
    if (x->kind == 'i') {
      ep_shape values = x->shape;
      x->n = values.rank;
      x->i = calloc(x->n + 1, sizeof *x->i);
      for (size_t k = 0; k < x->n; k++) x->i[k] = values.dim[k];
      x->shape = (ep_shape){1, {(int64_t)x->n}};
    } else if (x->kind != '-') {
      fill(x, r);
    }
    if (x->kind == 'v') t->n_x += (uint32_t)x->n;
    while (*s && *s != '|') s++;
  }
}

static inline void parse_attrs(inst *t) {
  char buf[256];
  snprintf(buf, sizeof buf, "%s", t->c->attrs ? t->c->attrs : "");
  char *outer = NULL;
  for (char *one = strtok_r(buf, ";", &outer); one; one = strtok_r(NULL, ";", &outer)) {
    char *inner = NULL, *type = strtok_r(one, " ", &inner), *name = strtok_r(NULL, " ", &inner);
    uint32_t k = t->n_attr++;
    ep_attr *a = &t->attr[k];
    snprintf(t->names[k], 64, "%s", name);
    a->name = t->names[k];
    a->ints = t->ints[k];
    for (char *w = strtok_r(NULL, " ", &inner); w; w = strtok_r(NULL, " ", &inner)) {
      a->i = t->ints[k][a->n++] = strtol(w, NULL, 10);
      a->f = (double)strtof(w, NULL);
      snprintf(t->strings[k], 64, "%s", w);
    }
    a->s = t->strings[k];
    a->type = !strcmp(type, "is") ? EP_ATTR_INTS
              : *type == 'i'      ? EP_ATTR_INT
              : *type == 'f'      ? EP_ATTR_FLOAT
                                  : EP_ATTR_STRING;
  }
}

/* The operator under test, its variables cut out of the network input "x" by Slice and Reshape. */
static inline ep_status build_case(inst *t, ep_ctx *ctx) {
  static const char *const name[MAX_IN] = {"a0", "a1", "a2", "a3", "a4", "a5"};
  const char *in[MAX_IN];
  ep_builder *b = NULL;
  ep_status st = ep_builder_create(ctx, t->c->opset, &b);
  if (st != EP_OK) return st;
  ep_shape xs = {1, {t->n_x}};
  if (st == EP_OK) st = ep_builder_input(b, "x", EP_DT_F32, &xs);
  int64_t at = 0;
  for (uint32_t k = 0; k < t->n_in && st == EP_OK; k++) {
    tens *x = &t->in[k];
    in[k] = x->kind == '-' ? "" : name[k];
    if (x->kind == 'i') {
      ep_tensor c = {EP_DT_I64, x->shape, x->n, NULL, x->i};
      st = ep_builder_constant(b, name[k], &c);
    } else if (x->kind == 'c' || x->kind == 'p') {
      ep_tensor c = {EP_DT_F32, x->shape, x->n, x->v, NULL};
      st = ep_builder_constant(b, name[k], &c);
    } else if (x->kind == 'v') {
      int64_t lo = at, hi = at + (int64_t)x->n, zero = 0;
      char part[24], target[24];
      snprintf(part, sizeof part, "part%u", k);
      snprintf(target, sizeof target, "target%u", k);
      ep_attr cut[3] = {{.name = "starts", .type = EP_ATTR_INTS, .n = 1, .ints = &lo},
                        {.name = "ends", .type = EP_ATTR_INTS, .n = 1, .ints = &hi},
                        {.name = "axes", .type = EP_ATTR_INTS, .n = 1, .ints = &zero}};
      ep_attrs as = {3, cut};
      ep_tensor c = {EP_DT_I64, {1, {x->shape.rank}}, x->shape.rank, NULL, x->shape.dim};
      st = ep_builder_node(b, "Slice", "cut", 1, (const char *const[]){"x"}, part, &as);
      if (st == EP_OK) st = ep_builder_constant(b, target, &c);
      if (st == EP_OK)
        st = ep_builder_node(b, "Reshape", "shape", 2, (const char *const[]){part, target}, name[k], NULL);
      at = hi;
    }
  }
  ep_attrs attrs = {t->n_attr, t->attr};
  if (st == EP_OK) st = ep_builder_node(b, t->c->op, "node", t->n_in, in, "y", &attrs);
  if (st == EP_OK) st = ep_builder_finish(b, "y", &t->g);
  ep_builder_destroy(b);
  return st;
}

static inline void inst_clear(inst *t) {
  for (uint32_t k = 0; k < t->n_in; k++) {
    free(t->in[k].v);
    free(t->in[k].i);
  }
  ep_graph_destroy(t->g);
}

/* Parses and builds; the message of a failure goes to stderr. */
static inline ep_status inst_init(inst *t, const opcase *c, ep_ctx *ctx, uint64_t seed) {
  ep_rng r;
  memset(t, 0, sizeof *t);
  t->c = c;
  ep_rng_seed(&r, seed);
  parse_inputs(t, &r);
  parse_attrs(t);
  return build_case(t, ctx);
}

/* The network input that holds the instance's own variable values. */
static inline void inst_x(const inst *t, double *x) {
  for (uint32_t k = 0; k < t->n_in; k++)
    if (t->in[k].kind == 'v') {
      memcpy(x, t->in[k].v, t->in[k].n * sizeof *x);
      x += t->in[k].n;
    }
}

static inline const ep_attr *attr(const inst *t, const char *name) {
  for (uint32_t k = 0; k < t->n_attr; k++)
    if (!strcmp(t->attr[k].name, name)) return &t->attr[k];
  return NULL;
}
static inline int64_t attr_i(const inst *t, const char *name, int64_t dflt) {
  const ep_attr *a = attr(t, name);
  return a ? a->i : dflt;
}
static inline double attr_f(const inst *t, const char *name, double dflt) {
  const ep_attr *a = attr(t, name);
  return a ? a->f : dflt;
}
static inline int64_t attr_is(const inst *t, const char *name, size_t k, int64_t dflt) {
  const ep_attr *a = attr(t, name);
  return a ? a->ints[k] : dflt;
}

/* Coordinates of a flat index, and back. */
static inline void coords(const ep_shape *s, size_t flat, int64_t *at) {
  for (uint32_t k = s->rank; k-- > 0;) {
    at[k] = (int64_t)(flat % (size_t)s->dim[k]);
    flat /= (size_t)s->dim[k];
  }
}
static inline size_t flat_of(const ep_shape *s, const int64_t *at) {
  size_t f = 0;
  for (uint32_t k = 0; k < s->rank; k++) f = f * (size_t)s->dim[k] + (size_t)at[k];
  return f;
}

#endif
