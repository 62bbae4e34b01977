#include "models/op.h"

#include <string.h>

#define EP_OPERATOR(id, onnx) extern const ep_op ep_op_##id;
#include "models/ops.def"
#undef EP_OPERATOR

const ep_op *const ep_ops[] = {
#define EP_OPERATOR(id, onnx) &ep_op_##id,
#include "models/ops.def"
#undef EP_OPERATOR
};
const size_t ep_n_ops = sizeof ep_ops / sizeof *ep_ops;

const ep_op *ep_op_find(const char *onnx) {
  for (size_t i = 0; i < ep_n_ops; i++)
    if (!strcmp(ep_ops[i]->onnx, onnx)) return ep_ops[i];
  return NULL;
}

const ep_attr *ep_attrs_find(const ep_attrs *a, const char *name) {
  for (size_t i = 0; i < a->n; i++)
    if (!strcmp(a->attr[i].name, name)) return &a->attr[i];
  return NULL;
}

int64_t ep_attrs_int(const ep_attrs *a, const char *name, int64_t dflt) {
  const ep_attr *t = ep_attrs_find(a, name);
  return t && t->type == EP_ATTR_INT ? t->i : dflt;
}

double ep_attrs_float(const ep_attrs *a, const char *name, double dflt) {
  const ep_attr *t = ep_attrs_find(a, name);
  return t && t->type == EP_ATTR_FLOAT ? t->f : dflt;
}
