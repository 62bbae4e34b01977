#include "models/float32.h"

#include <math.h>
#include <string.h>

#include "kernels/round.h"

#define SLACK (1 + 0x1p-16)

double ep_float32_gamma(uint32_t n_round) { return ep_gamma32(n_round) * SLACK; }

double ep_float32_underflow(uint32_t n_round, double scaled_mass) {
  double mass = scaled_mass / ep_gamma32(n_round) * SLACK;
  /* Written so that NaN overflows. Products that underflow lose at most half of the smallest subnormal number each. */
  return mass + scaled_mass < 0x1.fffffep127 ? (double)n_round * 0x1p-149 : INFINITY;
}

double ep_float32_error(uint32_t n_round, double mass) {
  if (!n_round) return 0;
  double scaled = ep_float32_gamma(n_round) * mass, rest = ep_float32_underflow(n_round, scaled);
  return rest < INFINITY ? scaled + rest : INFINITY;
}

/* Are all weights 1 or -1, so that products are exact? */
static bool is_unit(const ep_affine *a) {
  for (uint32_t j = 0; j < a->n_terms; j++) {
    const ep_linop *A = &a->A[j];
    if (A->kind != EP_LINOP_ID && A->kind != EP_LINOP_MAP && A->kind != EP_LINOP_DIAG) return false;
    for (uint32_t i = 0; A->kind == EP_LINOP_DIAG && i < A->n_out; i++)
      if (fabs(A->w64[i]) != 1) return false;
  }
  return true;
}

/* A term is rounded once as a product and once in every sum: with the other terms and the bias, in whatever order. */
static uint32_t count_roundings(const ep_node *nd) {
  const ep_affine *a = &nd->low.is.affine;
  uint64_t n = a->bias != NULL;
  for (uint32_t j = 0; j < a->n_terms; j++) n += a->A[j].terms_fwd;
  if (is_unit(a)) n = strcmp(nd->op->onnx, "Concat") != 0 ? n - 1 : 0; /* Concat's maps do not meet */
  return n < 1u << 22 ? (uint32_t)n : 1u << 24;
}

/* Weights that the program computes, such as the reciprocal of a divisor, are not those of an execution. */
static bool has_computed_weights(const ep_affine *a) {
  bool is_computed = a->bias_err != NULL;
  for (uint32_t j = 0; j < a->n_terms; j++) is_computed |= a->A[j].rel_err > 0;
  return is_computed;
}

ep_float32_cover ep_float32_cover_of(const char *onnx) {
  static const struct {
    const char *onnx;
    ep_float32_cover cover;
  } others[] = {{"Abs", EP_FLOAT32_EXACT},
                {"AveragePool", EP_FLOAT32_PARTLY},
                {"BatchNormalization", EP_FLOAT32_NONE},
                {"Clip", EP_FLOAT32_EXACT},
                {"Cos", EP_FLOAT32_NONE},
                {"Div", EP_FLOAT32_PARTLY},
                {"GlobalAveragePool", EP_FLOAT32_PARTLY},
                {"LeakyRelu", EP_FLOAT32_NONE},
                {"MaxPool", EP_FLOAT32_EXACT},
                {"ReduceMean", EP_FLOAT32_PARTLY},
                {"Relu", EP_FLOAT32_EXACT},
                {"Sigmoid", EP_FLOAT32_NONE},
                {"Sign", EP_FLOAT32_EXACT},
                {"Sin", EP_FLOAT32_NONE},
                {"Softmax", EP_FLOAT32_NONE},
                {"Tanh", EP_FLOAT32_NONE}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (!strcmp(onnx, others[i].onnx)) return others[i].cover;
  return EP_FLOAT32_AFFINE;
}

static bool is_covered(const ep_node *nd) {
  ep_float32_cover cover = ep_float32_cover_of(nd->op->onnx);
  if (nd->low.cls != EP_AFFINE) return cover == EP_FLOAT32_EXACT;
  return cover != EP_FLOAT32_NONE && !has_computed_weights(&nd->low.is.affine);
}

ep_status ep_float32_prepare(ep_draft *d) {
  ep_graph *g = d->g;
  for (uint32_t v = 0; v < g->n_val; v++)
    if (d->val[v].dtype != EP_DT_F32)
      return EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "value '%s' is not float32: no float32 semantics", d->val[v].name);
  for (uint32_t k = 0; k < g->n_node; k++) {
    ep_node *nd = &d->node[k];
    if (!is_covered(nd))
      return EP_FAIL(g->ctx, EP_E_UNSUPPORTED, "node '%s' (%s): no float32 semantics", nd->name, nd->op->onnx);
    if (nd->low.cls == EP_AFFINE) nd->low.is.affine.n_round = count_roundings(nd);
  }
  return EP_OK;
}
