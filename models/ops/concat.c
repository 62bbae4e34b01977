/* Concat: each variable input is scattered into its part of the output, constant inputs become bias. */
#include <assert.h>

#include "models/op_util.h"

typedef struct layout {
  size_t outer, inner; /* inner counts the output's elements per outer index */
} layout;

static ep_status concat_shape(ep_op_build *b, uint32_t *axis, layout *l) {
  const ep_shape *s = &b->in[0].shape;
  const ep_attr *a = ep_attrs_find(&b->attrs, "axis");
  if (!a) return OP_FAIL(b, EP_E_SYNTAX, "no axis");
  EP_TRY(ep_op_axis(b, a->i, s->rank, axis));
  b->out_shape = *s;
  b->out_dtype = b->in[0].dtype;
  for (uint32_t k = 1; k < b->n_in; k++) {
    const ep_shape *t = &b->in[k].shape;
    bool fits = t->rank == s->rank && b->in[k].dtype == b->out_dtype;
    for (uint32_t i = 0; i < s->rank && fits; i++) fits = i == *axis || t->dim[i] == s->dim[i];
    if (!fits) return OP_FAIL(b, EP_E_SHAPE, "input %u does not fit input 0", k);
    b->out_shape.dim[*axis] += t->dim[*axis];
  }
  l->outer = l->inner = 1;
  for (uint32_t i = 0; i < s->rank; i++) *(i < *axis ? &l->outer : &l->inner) *= (size_t)b->out_shape.dim[i];
  return EP_OK;
}

static size_t part_of(const ep_op_build *b, uint32_t k, uint32_t axis) {
  size_t n = 1;
  for (uint32_t i = axis; i < b->in[k].shape.rank; i++) n *= (size_t)b->in[k].shape.dim[i];
  return n;
}

static ep_status build(ep_op_build *b) {
  uint32_t axis, n_var = 0;
  layout l;
  EP_TRY(concat_shape(b, &axis, &l));
  size_t n = ep_shape_count(&b->out_shape), at = 0;
  if (n >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "output too large");
  ep_linop *A = EP_ARENA(b->arena, ep_linop, b->n_in);
  double *bias = NULL;
  int32_t *map = EP_ARENA(b->arena, int32_t, n + 1);
  if (!A || !map) return EP_E_NOMEM;
  for (uint32_t k = 0; k < b->n_in; k++) {
    size_t part = part_of(b, k, axis);
    const ep_tensor *c = b->in[k].constant;
    if (c && !bias) bias = EP_ARENA(b->arena, double, n + 1);
    if (c && (!bias || !c->f64)) return bias ? OP_FAIL(b, EP_E_UNSUPPORTED, "integer data") : EP_E_NOMEM;
    for (size_t i = 0; i < n; i++) map[i] = -1;
    for (size_t o = 0; o < l.outer; o++)
      for (size_t i = 0; i < part; i++) {
        if (c)
          bias[o * l.inner + at + i] = c->f64[o * part + i];
        else
          map[o * l.inner + at + i] = (int32_t)(o * part + i);
      }
    if (!c) EP_TRY(ep_linop_map(b->arena, (uint32_t)n, (uint32_t)ep_shape_count(&b->in[k].shape), map, &A[n_var++]));
    at += part;
  }
  assert(at == l.inner);
  return ep_op_affine(b, n_var, A, bias, NULL);
}

static ep_status fold(ep_op_build *b, ep_tensor *out) {
  uint32_t axis;
  layout l;
  double *f;
  int64_t *v;
  size_t at = 0;
  EP_TRY(concat_shape(b, &axis, &l));
  EP_TRY(ep_op_tensor(b, b->out_dtype, &b->out_shape, out, &f, &v));
  for (uint32_t k = 0; k < b->n_in; k++) {
    size_t part = part_of(b, k, axis);
    const ep_tensor *c = b->in[k].constant;
    for (size_t o = 0; o < l.outer; o++)
      for (size_t i = 0; i < part; i++) {
        if (f)
          f[o * l.inner + at + i] = c->f64[o * part + i];
        else
          v[o * l.inner + at + i] = c->i64[o * part + i];
      }
    at += part;
  }
  return EP_OK;
}

extern const ep_op ep_op_concat;
const ep_op ep_op_concat = {"Concat", 1, 1u << 16, build, fold};
