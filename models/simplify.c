#include "models/simplify.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Covers the rounding of the few operations that compute an error bound. */
#define SLACK (1 + 0x1p-40)

static ep_affine *affine_of(ep_node *nd) { return nd->low.cls == EP_AFFINE ? &nd->low.is.affine : NULL; }

/* The affine node that makes value v, NULL when there is none. */
static ep_node *affine_producer(const ep_draft *d, ep_vid v) {
  uint32_t k = d->val[v].producer;
  return k != UINT32_MAX && affine_of(&d->node[k]) ? &d->node[k] : NULL;
}

/* ---- moves of moves ---- */

/* y = P x with P only picking elements, read through another pick: y = P Q x'. Reads x' directly; exact. */
static ep_status merge_move(ep_draft *d, ep_node *nd, uint32_t j) {
  ep_linop *outer = (ep_linop *)&nd->low.is.affine.A[j];
  const ep_node *src = affine_producer(d, nd->in[j]);
  if (!src || (outer->kind != EP_LINOP_MAP && outer->kind != EP_LINOP_ID)) return EP_OK;
  const ep_affine *q = &src->low.is.affine;
  if (q->n_terms != 1 || q->bias || q->A[0].kind != EP_LINOP_MAP) return EP_OK;
  int32_t *map = EP_ARENA(&d->g->arena, int32_t, outer->n_out + 1u);
  if (!map) return EP_E_NOMEM;
  for (uint32_t i = 0; i < outer->n_out; i++) {
    int32_t mid = outer->kind == EP_LINOP_ID ? (int32_t)i : outer->map[i];
    map[i] = mid < 0 ? -1 : q->A[0].map[mid];
  }
  EP_TRY(ep_linop_map(&d->g->arena, outer->n_out, q->A[0].n_in, map, outer));
  ((ep_vid *)nd->in)[j] = src->in[0];
  ((ep_shape *)nd->in_shape)[j] = src->in_shape[0];
  return EP_OK;
}

/* ---- scales ---- */

/* A scale per output of A that A's storage can take: per element, or per channel of a convolution. scale[k] multiplies
 * stored weight k. */
static bool scale_of_weights(const ep_linop *A, const double *d, double *scale) {
  size_t n_ch, per_ch;
  switch (A->kind) {
  case EP_LINOP_DIAG:
    memcpy(scale, d, A->n_out * sizeof *d);
    return true;
  case EP_LINOP_DENSE:
    for (size_t k = 0; k < A->n_w; k++) scale[k] = d[k / A->n_in];
    return true;
  case EP_LINOP_CSR:
    for (uint32_t i = 0; i < A->n_out; i++)
      for (uint32_t k = A->row_ptr[i]; k < A->row_ptr[i + 1]; k++) scale[k] = d[i];
    return true;
  case EP_LINOP_CONV:
    n_ch = A->conv_transpose ? A->conv.c_in : A->conv.c_out;
    per_ch = A->n_out / n_ch;
    for (uint32_t i = 0; i < A->n_out; i++)
      if (d[i] != d[i / per_ch * per_ch]) return false;
    for (size_t k = 0; k < A->n_w; k++) { /* weights are [c_out][c_in/groups][kh*kw] */
      const ep_conv_geom *g = &A->conv;
      size_t taps = (size_t)g->kh * g->kw, ci = g->c_in / g->groups, co = g->c_out / g->groups;
      size_t out = k / (ci * taps), in = out / co * ci + k / taps % ci;
      scale[k] = d[(A->conv_transpose ? in : out) * per_ch];
    }
    return true;
  default:
    return false;
  }
}

/* diag(d) A with |true d - d| <= r_d |d|: stored weights fl(s w), whose error is r_d and A's own compounded, and u for
 * the product: with w' = fl(s w), |s w| <= |w'|/(1-u), so rel = (r_d + r_A + r_d r_A + u)/(1-u). */
static ep_status scaled(ep_draft *d, const ep_linop *A, const ep_linop *D, ep_linop *out, bool *is_done) {
  ep_arena *ar = &d->g->arena;
  *is_done = false;
  if (A->kind == EP_LINOP_ID) {
    *out = *D;
    *is_done = true;
    return EP_OK;
  }
  double *w = EP_ARENA(ar, double, A->n_w + 1);
  if (!w) return EP_E_NOMEM;
  if (!A->w64 || !scale_of_weights(A, D->w64, w)) return EP_OK;
  for (size_t k = 0; k < A->n_w; k++) {
    double p = w[k] * A->w64[k];
    if (w[k] != 0 && A->w64[k] != 0 && !(fabs(p) >= 0x1p-1000 && isfinite(p))) return EP_OK; /* leave it unmerged */
    w[k] = p;
  }
  double rel = (D->rel_err + A->rel_err + D->rel_err * A->rel_err + EP_U64) * SLACK;
  *is_done = true;
  switch (A->kind) {
  case EP_LINOP_DIAG:
    return ep_linop_diag(ar, A->n_out, w, rel, out);
  case EP_LINOP_DENSE:
    return ep_linop_dense(ar, A->n_out, A->n_in, w, rel, out);
  case EP_LINOP_CSR:
    return ep_linop_csr(ar, A->n_out, A->n_in, A->row_ptr, A->col, w, rel, out);
  default:
    assert(A->kind == EP_LINOP_CONV);
    return ep_linop_conv(ar, &A->conv, A->conv_transpose, w, rel, out);
  }
}

/* d*b for a bias b with its error: |D B - fl(d b)| <= |d| (1+r) e_b + r |d b| + u |fl(d b)|. */
static ep_status scaled_bias(ep_draft *d, const ep_linop *D, ep_affine *p) {
  if (!p->bias) return EP_OK;
  double *b = EP_ARENA(&d->g->arena, double, D->n_out + 1u), *e = EP_ARENA(&d->g->arena, double, D->n_out + 1u);
  float *b32 = EP_ARENA(&d->g->arena, float, D->n_out + 1u);
  if (!b || !e || !b32) return EP_E_NOMEM;
  for (uint32_t i = 0; i < D->n_out; i++) {
    double s = fabs(D->w64[i]), eb = p->bias_err ? p->bias_err[i] : 0;
    b[i] = D->w64[i] * p->bias[i];
    e[i] = (s * (1 + D->rel_err) * eb + (D->rel_err + 2 * EP_U64) * fabs(b[i])) * SLACK + EP_ETA64;
    b32[i] = (float)b[i];
  }
  p->bias = b;
  p->bias_err = e;
  p->bias32 = b32;
  return EP_OK;
}

/* y = A x + b, z = D y + c with y used once: z = (D A) x + (D b + c). */
static ep_status merge_scale(ep_draft *d, ep_affine *p, const ep_affine *q, bool *is_done) {
  const ep_linop *D = &q->A[0];
  assert(D->kind == EP_LINOP_DIAG);
  ep_linop *A = EP_ARENA(&d->g->arena, ep_linop, p->n_terms);
  if (!A) return EP_E_NOMEM;
  for (uint32_t j = 0; j < p->n_terms; j++) {
    EP_TRY(scaled(d, &p->A[j], D, &A[j], is_done));
    if (!*is_done) return EP_OK;
  }
  p->A = A;
  return scaled_bias(d, D, p);
}

/* ---- biases ---- */

/* y = A x + b, z = y + c: z = A x + (b + c). The sum's rounding joins bias_err. */
static ep_status merge_bias(ep_draft *d, ep_affine *p, const ep_affine *q, uint32_t n) {
  if (!q->bias) return EP_OK;
  if (!p->bias) {
    p->bias = q->bias;
    p->bias_err = q->bias_err;
    p->bias32 = q->bias32;
    return EP_OK;
  }
  double *sum = EP_ARENA(&d->g->arena, double, n + 1u), *err = EP_ARENA(&d->g->arena, double, n + 1u);
  float *sum32 = EP_ARENA(&d->g->arena, float, n + 1u);
  if (!sum || !err || !sum32) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    sum[i] = p->bias[i] + q->bias[i];
    double own = (p->bias_err ? p->bias_err[i] : 0) + (q->bias_err ? q->bias_err[i] : 0);
    err[i] = (own + EP_U64 * fabs(sum[i])) * SLACK;
    sum32[i] = (float)sum[i];
  }
  p->bias = sum;
  p->bias_err = err;
  p->bias32 = sum32;
  return EP_OK;
}

/* Folds node k into the affine node before it when k only scales or shifts and is that node's only reader. */
static ep_status merge_into_producer(ep_draft *d, uint32_t k, const uint32_t *uses, bool *is_gone) {
  ep_node *nd = &d->node[k], *before;
  const ep_affine *q = affine_of(nd);
  if (!q || q->n_terms != 1 || (q->A[0].kind != EP_LINOP_ID && q->A[0].kind != EP_LINOP_DIAG)) return EP_OK;
  before = affine_producer(d, nd->in[0]);
  if (!before || uses[nd->in[0]] != 1) return EP_OK;
  ep_affine *p = affine_of(before);
  bool is_done = true;
  /* A float32 execution rounds scaled numbers, not scaled weights; and two biases may cancel in our sum. */
  if (d->g->is_float32 && (q->A[0].kind == EP_LINOP_DIAG || (p->bias && q->bias))) return EP_OK;
  if (q->A[0].kind == EP_LINOP_DIAG) EP_TRY(merge_scale(d, p, q, &is_done));
  if (!is_done) return EP_OK;
  EP_TRY(merge_bias(d, p, q, d->val[nd->out].n));
  p->n_round += q->n_round;
  d->val[nd->out].producer = d->val[nd->in[0]].producer;
  before->out = nd->out;
  before->out_shape = nd->out_shape;
  is_gone[k] = true;
  return EP_OK;
}

/* Merges moves; what turns out to move nothing becomes another name for its input. */
static ep_status merge_moves(ep_draft *d, bool *is_gone) {
  ep_vid *same = ep_calloc(d->g->ctx, d->g->n_val, sizeof *same);
  if (!same) return EP_E_NOMEM;
  for (ep_vid v = 0; v < d->g->n_val; v++) same[v] = v;
  ep_status st = EP_OK;
  for (uint32_t k = 0; k < d->g->n_node && st == EP_OK; k++) {
    ep_node *nd = &d->node[k];
    const ep_affine *a = affine_of(nd);
    for (uint32_t j = 0; j < nd->n_in && st == EP_OK; j++) {
      ((ep_vid *)nd->in)[j] = same[nd->in[j]];
      if (a) st = merge_move(d, nd, j);
    }
    is_gone[k] = a && a->n_terms == 1 && !a->bias && a->A[0].kind == EP_LINOP_ID;
    if (is_gone[k]) same[nd->out] = nd->in[0];
  }
  d->g->output = same[d->g->output];
  ep_free(d->g->ctx, same);
  return st;
}

ep_status ep_simplify(ep_draft *d, bool *is_gone) {
  ep_graph *g = d->g;
  EP_TRY(merge_moves(d, is_gone));
  uint32_t *uses = ep_calloc(g->ctx, g->n_val, sizeof *uses);
  if (!uses) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++)
    for (uint32_t j = 0; !is_gone[k] && j < d->node[k].n_in; j++) uses[d->node[k].in[j]]++;
  uses[g->output]++;
  ep_status st = EP_OK;
  for (uint32_t k = 0; k < g->n_node && st == EP_OK; k++)
    if (!is_gone[k]) st = merge_into_producer(d, k, uses, is_gone);
  ep_free(g->ctx, uses);
  return st;
}
