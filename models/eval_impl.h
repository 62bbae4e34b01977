/* Evaluation and gradients, included once per precision. REAL, FN(name), BIAS, POINT(u, x) and GENERAL are set by
 * eval.c. */

static ep_status FN(trace_init)(const ep_graph *g, size_t batch, ep_scratch *s, FN(ep_trace) * t) {
  t->batch = batch;
  t->v = EP_SCRATCH(s, REAL *, g->n_val + 1u);
  if (!t->v) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) {
    t->v[v] = EP_SCRATCH(s, REAL, batch * g->val[v].n + 1);
    if (!t->v[v]) return EP_E_NOMEM;
  }
  return EP_OK;
}

static ep_status FN(affine)(const ep_graph *g, const ep_node *nd, FN(ep_trace) * t, ep_scratch *s) {
  const ep_affine *a = &nd->low.is.affine;
  size_t n = g->val[nd->out].n;
  REAL *y = t->v[nd->out];
  assert(a->n_terms == nd->n_in);
  for (uint32_t j = 0; j < a->n_terms; j++)
    EP_TRY(FN(ep_linop_apply)(&a->A[j], t->batch, t->v[nd->in[j]], y, j > 0, s));
  for (size_t r = 0; a->BIAS && r < t->batch; r++)
    for (size_t i = 0; i < n; i++) y[r * n + i] += a->BIAS[i];
  return EP_OK;
}

/* The hot functions have loops of their own, without a call per element, and give the same bits as POINT would. */
static void FN(univar)(const ep_graph *g, const ep_node *nd, FN(ep_trace) * t) {
  const ep_univar *u = &nd->low.is.univar;
  size_t n = g->val[nd->out].n * t->batch;
  const REAL *restrict x = t->v[nd->in[0]];
  REAL *restrict y = t->v[nd->out];
  const REAL p = (REAL)u->param[0], q = (REAL)u->param[1];
  switch (hot_of(u)) {
  case HOT_RELU:
    for (size_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
    break;
  case HOT_LEAKY:
    for (size_t i = 0; i < n; i++) y[i] = x[i] >= 0 ? x[i] : p * x[i];
    break;
  case HOT_CLIP:
    for (size_t i = 0; i < n; i++) {
      REAL v = x[i] < p ? p : x[i];
      y[i] = v > q ? q : v;
    }
    break;
  case HOT_SIGN:
    for (size_t i = 0; i < n; i++) y[i] = (REAL)(x[i] > 0) - (REAL)(x[i] < 0);
    break;
  case HOT_NONE:
    for (size_t i = 0; i < n; i++) y[i] = POINT(u, x[i]);
    break;
  }
}

static void FN(univar_grad)(const ep_univar *u, size_t n, const REAL *restrict x, const REAL *restrict gy,
                            REAL *restrict gx) {
  const REAL p = (REAL)u->param[0], q = (REAL)u->param[1];
  switch (hot_of(u)) {
  case HOT_RELU:
    for (size_t i = 0; i < n; i++) gx[i] += x[i] > 0 ? gy[i] : 0;
    break;
  case HOT_LEAKY:
    for (size_t i = 0; i < n; i++) gx[i] += x[i] >= 0 ? gy[i] : p * gy[i];
    break;
  case HOT_CLIP:
    for (size_t i = 0; i < n; i++) gx[i] += x[i] >= p && x[i] <= q ? gy[i] : 0;
    break;
  case HOT_SIGN: /* straight through: the derivative, 0, leads nowhere */
    for (size_t i = 0; i < n; i++) gx[i] += gy[i];
    break;
  case HOT_NONE:
    for (size_t i = 0; i < n; i++) gx[i] += gy[i] * (REAL)u->df(u, (double)x[i]);
    break;
  }
}

static ep_status FN(general)(const ep_graph *g, const ep_node *nd, FN(ep_trace) * t, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  const REAL **x = EP_SCRATCH(s, const REAL *, nd->n_in);
  if (!x) return EP_E_NOMEM;
  for (size_t r = 0; r < t->batch; r++) {
    for (uint32_t j = 0; j < nd->n_in; j++) x[j] = t->v[nd->in[j]] + r * g->val[nd->in[j]].n;
    nd->low.is.general.GENERAL(nd, x, t->v[nd->out] + r * g->val[nd->out].n);
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

ep_status FN(ep_eval)(const ep_graph *g, size_t batch, const REAL *x, ep_scratch *s, FN(ep_trace) * out) {
  EP_TRY(FN(trace_init)(g, batch, s, out));
  memcpy(out->v[g->input], x, batch * g->val[g->input].n * sizeof *x);
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (nd->low.cls == EP_AFFINE)
      EP_TRY(FN(affine)(g, nd, out, s));
    else if (nd->low.cls == EP_UNIVAR)
      FN(univar)(g, nd, out);
    else
      EP_TRY(FN(general)(g, nd, out, s));
  }
  return EP_OK;
}

/* GENERAL nodes supply a float64 rule only; other precisions go through a copy of the sample. */
static ep_status FN(grad_general)(const ep_graph *g, const ep_node *nd, const FN(ep_trace) * t, size_t many, REAL **gv,
                                  ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  size_t n_y = g->val[nd->out].n;
  double **x = EP_SCRATCH(s, double *, nd->n_in), **gx = EP_SCRATCH(s, double *, nd->n_in);
  double *gy = EP_SCRATCH(s, double, n_y);
  if (!x || !gx || !gy) return EP_E_NOMEM;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    x[j] = EP_SCRATCH(s, double, g->val[nd->in[j]].n);
    gx[j] = EP_SCRATCH(s, double, g->val[nd->in[j]].n);
    if (!x[j] || !gx[j]) return EP_E_NOMEM;
  }
  for (size_t r = 0; r < t->batch * many; r++) {
    for (uint32_t j = 0; j < nd->n_in; j++) {
      size_t n = g->val[nd->in[j]].n;
      for (size_t i = 0; i < n; i++) {
        x[j][i] = (double)t->v[nd->in[j]][r / many * n + i];
        gx[j][i] = 0;
      }
    }
    for (size_t i = 0; i < n_y; i++) gy[i] = (double)gv[nd->out][r * n_y + i];
    nd->low.is.general.backward_f64(nd, (const double *const *)x, gy, gx);
    for (uint32_t j = 0; j < nd->n_in; j++) {
      size_t n = g->val[nd->in[j]].n;
      for (size_t i = 0; i < n; i++) gv[nd->in[j]][r * n + i] += (REAL)gx[j][i];
    }
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

static ep_status FN(grad_node)(const ep_graph *g, const ep_node *nd, const FN(ep_trace) * t, size_t many, REAL **gv,
                               ep_scratch *s) {
  if (nd->low.cls == EP_GENERAL) return FN(grad_general)(g, nd, t, many, gv, s);
  if (nd->low.cls == EP_AFFINE) {
    const ep_affine *a = &nd->low.is.affine;
    for (uint32_t j = 0; j < a->n_terms; j++)
      EP_TRY(FN(ep_linop_apply_t)(&a->A[j], t->batch * many, gv[nd->out], gv[nd->in[j]], true, s));
    return EP_OK;
  }
  const ep_univar *u = &nd->low.is.univar;
  const REAL *x = t->v[nd->in[0]];
  REAL *gy = gv[nd->out], *gx = gv[nd->in[0]];
  size_t n = g->val[nd->out].n;
  if (many == 1) {
    FN(univar_grad)(u, n * t->batch, x, gy, gx);
    return EP_OK;
  }
  for (size_t r = 0; r < t->batch * many; r++) FN(univar_grad)(u, n, x + r / many * n, gy + r * n, gx + r * n);
  return EP_OK;
}

ep_status FN(ep_grad_many)(const ep_graph *g, const FN(ep_trace) * t, size_t many, const REAL *gy, REAL *gx,
                           ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  size_t rows = t->batch * many;
  FN(ep_trace) gt;
  ep_status st = FN(trace_init)(g, rows, s, &gt);
  for (uint32_t v = 0; v < g->n_val && st == EP_OK; v++) memset(gt.v[v], 0, rows * g->val[v].n * sizeof(REAL));
  if (st == EP_OK) memcpy(gt.v[g->output], gy, rows * g->val[g->output].n * sizeof(REAL));
  for (uint32_t k = g->n_node; k-- > 0 && st == EP_OK;) st = FN(grad_node)(g, &g->node[k], t, many, gt.v, s);
  if (st == EP_OK) memcpy(gx, gt.v[g->input], rows * g->val[g->input].n * sizeof(REAL));
  ep_scratch_restore(s, m);
  return st;
}

ep_status FN(ep_grad)(const ep_graph *g, const FN(ep_trace) * t, const REAL *gy, REAL *gx, ep_scratch *s) {
  return FN(ep_grad_many)(g, t, 1, gy, gx, s);
}
