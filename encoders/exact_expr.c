#include "encoders/exact_expr.h"

static bool is_exact_affine(const ep_affine *a, uint32_t n_out) {
  for (uint32_t k = 0; k < a->n_terms; k++)
    if (a->A[k].rel_err > 0 || a->A[k].kind == EP_LINOP_CONV) return false;
  for (uint32_t i = 0; a->bias_err && i < n_out; i++)
    if (a->bias_err[i] > 0) return false;
  return true;
}

ep_status ep_exact_check(ep_ctx *ctx, const ep_graph *g) {
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    bool is_known = nd->low.cls == EP_AFFINE ? is_exact_affine(&nd->low.is.affine, g->val[nd->out].n)
                                             : nd->low.cls == EP_UNIVAR && ep_op_is_relu(&nd->low);
    if (!is_known)
      return EP_FAIL(ctx, EP_E_UNSUPPORTED,
                     "node '%s' (%s): exact arithmetic knows ReLU and dense affine layers with exact weights", nd->name,
                     nd->op->onnx);
  }
  return EP_OK;
}

ep_status ep_exprs_init(ep_exprs *e, ep_ctx *ctx, const ep_graph *g, uint32_t n_var) {
  *e = (ep_exprs){.ctx = ctx, .g = g, .width = n_var + 1};
  mpq_inits(e->w, e->t, NULL);
  e->of = ep_calloc(ctx, g->n_val, sizeof *e->of);
  if (!e->of) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) {
    e->of[v] = ep_rational_create(ctx, (size_t)g->val[v].n * e->width);
    if (!e->of[v]) return EP_E_NOMEM;
  }
  return EP_OK;
}

void ep_exprs_clear(ep_exprs *e) {
  if (!e->g) return;
  for (uint32_t v = 0; e->of && v < e->g->n_val; v++)
    ep_rational_destroy(e->ctx, e->of[v], (size_t)e->g->val[v].n * e->width);
  ep_free(e->ctx, e->of);
  mpq_clears(e->w, e->t, NULL);
  *e = (ep_exprs){0};
}

ep_status ep_exact_weights(ep_ctx *ctx, const ep_linop *A, uint32_t i,
                           void (*add)(void *arg, uint32_t j, double weight), void *arg) {
  if (A->kind == EP_LINOP_CSR) { /* from the list: entries may repeat, and their sum need not be a double */
    for (uint32_t t = A->row_ptr[i]; t < A->row_ptr[i + 1]; t++)
      if (A->w64[t] != 0) add(arg, A->col[t], A->w64[t]);
    return EP_OK;
  }
  double *dense = ep_alloc(ctx, (A->n_in + 1u) * sizeof *dense);
  if (!dense) return EP_E_NOMEM;
  ep_linop_rows_f64(A, 1, &i, dense, false);
  for (uint32_t j = 0; j < A->n_in; j++)
    if (dense[j] != 0) add(arg, j, dense[j]);
  ep_free(ctx, dense);
  return EP_OK;
}

typedef struct sink {
  ep_exprs *e;
  ep_vid in;
  mpq_t *out;
} sink;

static void add_weight(void *arg, uint32_t j, double weight) {
  sink *s = arg;
  mpq_set_d(s->e->w, weight);
  ep_expr_add_mul(s->out, s->e->w, ep_exprs_at(s->e, s->in, j), s->e->width, s->e->t);
}

ep_status ep_exprs_affine(ep_exprs *e, const ep_node *nd) {
  const ep_affine *a = &nd->low.is.affine;
  for (uint32_t i = 0; i < e->g->val[nd->out].n; i++) {
    mpq_t *out = ep_exprs_at(e, nd->out, i);
    ep_expr_set_zero(out, e->width);
    if (a->bias) mpq_set_d(out[e->width - 1], a->bias[i]);
    for (uint32_t k = 0; k < a->n_terms; k++)
      EP_TRY(ep_exact_weights(e->ctx, &a->A[k], i, add_weight, &(sink){e, nd->in[k], out}));
  }
  return EP_OK;
}
