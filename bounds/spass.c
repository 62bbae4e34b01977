#include "bounds/spass.h"

#include <assert.h>
#include <string.h>

typedef struct pass {
  const ep_spass *p;
  float **buf; /* [n_coef_buf] */
  float *cst;
  size_t n; /* rows that have entered */
} pass;

static float *coefs(const pass *a, ep_vid v) { return a->buf[a->p->net->coef_buf[v]]; }
static size_t seed_of(const ep_spass *p, size_t r) { return p->seed ? p->seed[r] : r; }

/* ---- seeds ---- */

static void seed_dense(pass *a) {
  const ep_spass *p = a->p;
  size_t n = p->net->val_n[p->net->from];
  float *c = coefs(a, p->net->from);
  for (size_t r = 0; r < a->n; r++) memcpy(c + r * n, p->coef + seed_of(p, r) * n, n * sizeof *c);
}

static void seed_units(pass *a) {
  const ep_spass *p = a->p;
  size_t n = p->net->val_n[p->net->from];
  float *c = coefs(a, p->net->from);
  memset(c, 0, a->n * n * sizeof *c);
  for (size_t r = 0; r < a->n; r++) c[r * n + p->neuron[seed_of(p, r)]] = p->sign[seed_of(p, r)];
}

/* Unit seeds at an AFFINE node: rows of its matrices, without the product with a unit matrix. */
static ep_status seed_rows(pass *a, const ep_snet_node *o, ep_scratch *s) {
  const ep_spass *p = a->p;
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t *idx = EP_SCRATCH(s, uint32_t, a->n + 1);
  if (!idx) return EP_E_NOMEM;
  for (size_t r = 0; r < a->n; r++) idx[r] = p->neuron[seed_of(p, r)];
  for (uint32_t j = 0; j < o->n_in; j++) {
    ep_linop_rows_f32(&o->A[j], a->n, idx, coefs(a, o->in[j]), o->has_old[j]);
  }
  for (uint32_t j = 0; j < o->n_in; j++) {
    size_t n = p->net->val_n[o->in[j]];
    float *c = coefs(a, o->in[j]);
    for (size_t r = 0; r < a->n && !o->has_old[j]; r++)
      for (size_t i = 0; i < n && p->sign[seed_of(p, r)] < 0; i++) c[r * n + i] = -c[r * n + i];
  }
  for (size_t r = 0; r < a->n && o->bias; r++) a->cst[r] += (float)p->sign[seed_of(p, r)] * o->bias[idx[r]];
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* ---- affine nodes ---- */

static ep_status affine(pass *a, const ep_snet_node *o, ep_scratch *s) {
  const ep_snet *net = a->p->net;
  size_t n = net->val_n[o->out];
  const float *c = coefs(a, o->out);
  for (size_t r = 0; o->bias && r < a->n; r++) {
    float t = 0;
    const float *cr = c + r * n;
#pragma omp simd reduction(+ : t)
    for (size_t i = 0; i < n; i++) t += cr[i] * o->bias[i];
    a->cst[r] += t;
  }
  if (o->is_moved) return EP_OK;
  for (uint32_t j = 0; j < o->n_in; j++)
    EP_TRY(ep_linop_apply_t_f32(&o->A[j], a->n, c, coefs(a, o->in[j]), o->has_old[j], s));
  return EP_OK;
}

/* ---- ReLUs ---- */

/* The unstable neurons of one row, in place; returns the constant. */
static float relu_unstable(size_t n, float *restrict c, const float *restrict alpha, const float *restrict su,
                           const float *restrict tu, float *restrict kept) {
  float t = 0;
#pragma omp simd reduction(+ : t)
  for (size_t i = 0; i < n; i++) {
    float x = c[i], pos = x > 0 ? x : 0, neg = x < 0 ? x : 0;
    kept[i] = x;
    c[i] = pos * alpha[i] + neg * su[i];
    t += neg * tu[i];
  }
  return t;
}

/* Puts decided neurons on their exact line; returns what that changes in the constant. */
static float relu_decided(const ep_spass *p, const ep_snet_layer *l, uint32_t layer, size_t r, const float *kept,
                          float *c) {
  float t = 0;
  if (p->phases) {
    size_t row = p->phase_row ? p->phase_row[r] : r;
    const uint32_t *ptr = p->phases->ptr + row * (p->net->n_layer + 1) + layer;
    for (uint32_t e = ptr[0]; e < ptr[1]; e++) {
      uint32_t i = p->phases->at[e];
      if (kept[i] < 0) t -= kept[i] * l->tu[i];
      c[i] = p->phases->is_active[e] ? kept[i] - p->phases->beta[e] : p->phases->beta[e];
    }
  }
  if (p->extra && p->extra[r] / 2 - l->first < l->n_u) {
    uint32_t i = p->extra[r] / 2 - l->first;
    if (kept[i] < 0) t -= kept[i] * l->tu[i];
    c[i] = p->extra[r] % 2 ? kept[i] : 0;
  }
  return t;
}

static void relu_row(const pass *a, const ep_snet_layer *l, uint32_t layer, size_t r, float *c, float *tmp,
                     float *kept) {
  const ep_spass *p = a->p;
  const float *alpha = p->alpha[layer] + (p->slope_row ? p->slope_row[r] : r) * l->n_u;
  float *cu = l->at ? tmp : c;
  for (uint32_t i = 0; l->at && i < l->n_u; i++) cu[i] = c[l->at[i]];
  float t = relu_unstable(l->n_u, cu, alpha, l->su, l->tu, kept);
  t += relu_decided(p, l, layer, r, kept, cu);
  if (l->at) {
    for (uint32_t i = 0; i < l->n; i++) c[i] *= l->stable[i];
    for (uint32_t i = 0; i < l->n_u; i++) c[l->at[i]] = cu[i];
  }
  a->cst[r] += t;
}

/* Rows that start at this layer come in; what others may start from is kept. */
static void cut(pass *a, const ep_snet_layer *l, uint32_t layer) {
  const ep_spass *p = a->p;
  float *c = coefs(a, l->y);
  if (!p->cut || !l->is_cut) return;
  if (!p->join) {
    memcpy(p->cut[layer], c, a->n * l->n * sizeof *c);
    memcpy(p->cut_cst[layer], a->cst, a->n * sizeof *c);
    return;
  }
  for (; a->n < p->n && p->join[a->n] == (int32_t)layer; a->n++) {
    memcpy(c + a->n * l->n, p->cut[layer] + (size_t)p->slope_row[a->n] * l->n, l->n * sizeof *c);
    a->cst[a->n] = p->cut_cst[layer][p->slope_row[a->n]];
  }
}

static ep_status relu(pass *a, const ep_snet_node *o, ep_scratch *s) {
  const ep_spass *p = a->p;
  const ep_snet_layer *l = &p->net->layer[o->layer];
  cut(a, l, o->layer);
  float *c = coefs(a, l->y), *z = coefs(a, l->z);
  ep_scratch_mark m = ep_scratch_save(s);
  float *tmp = EP_SCRATCH(s, float, 2 * (size_t)l->n_u + 1);
  if (!tmp) return EP_E_NOMEM;
  for (size_t r = 0; r < a->n; r++)
    relu_row(a, l, o->layer, r, c + r * l->n, tmp, p->coef_u ? p->coef_u[o->layer] + r * l->n_u : tmp + l->n_u);
  for (size_t i = 0; o->has_old[0] && i < a->n * l->n; i++) z[i] += c[i];
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* ---- other nonlinear nodes: fixed lines and planes ---- */

static void lines(pass *a, const ep_snet_node *o) {
  size_t n = a->p->net->val_n[o->out];
  const ep_lines_f32 *l = &o->lines;
  for (size_t r = 0; r < a->n; r++) {
    float *c = coefs(a, o->out) + r * n, *z = coefs(a, o->in[0]) + r * n, t = 0;
    bool has_old = o->has_old[0];
    for (size_t i = 0; i < n; i++) {
      float pos = c[i] > 0 ? c[i] : 0, neg = c[i] < 0 ? c[i] : 0;
      t += pos * l->tl[i] + neg * l->tu[i];
      z[i] = pos * l->sl[i] + neg * l->su[i] + (has_old ? z[i] : 0);
    }
    a->cst[r] += t;
  }
}

static ep_status planes(pass *a, const ep_snet_node *o, ep_scratch *s) {
  const ep_snet *net = a->p->net;
  size_t n = net->val_n[o->out], n_cat = 0;
  for (uint32_t j = 0; j < o->n_in; j++) {
    n_cat += net->val_n[o->in[j]];
    if (!o->has_old[j]) memset(coefs(a, o->in[j]), 0, a->n * net->val_n[o->in[j]] * sizeof(float));
  }
  ep_scratch_mark m = ep_scratch_save(s);
  float *part = EP_SCRATCH(s, float, n + 1), *cat = EP_SCRATCH(s, float, n_cat + 1);
  if (!part || !cat) return EP_E_NOMEM;
  for (size_t r = 0; r < a->n; r++)
    for (int side = 0; side < 2; side++) {
      const float *c = coefs(a, o->out) + r * n;
      const double *k = side ? o->pair->upper_c : o->pair->lower_c;
      for (size_t i = 0; i < n; i++) {
        part[i] = (side ? c[i] < 0 : c[i] > 0) ? c[i] : 0;
        a->cst[r] += part[i] * (float)k[i];
      }
      EP_TRY(ep_linop_apply_t_f32(side ? &o->pair->upper : &o->pair->lower, 1, part, cat, false, s));
      const float *at = cat;
      for (uint32_t j = 0; j < o->n_in; j++) {
        size_t w = net->val_n[o->in[j]];
        float *dst = coefs(a, o->in[j]) + r * w;
        for (size_t i = 0; i < w; i++) dst[i] += at[i];
        at += w;
      }
    }
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* ---- the pass ---- */

/* Both ends are loaded before one is chosen: a choice between addresses would become a gather. */
static float minimum(size_t n, const float *restrict lin, const float *restrict lo, const float *restrict hi) {
  float t = 0;
#pragma omp simd reduction(+ : t)
  for (size_t i = 0; i < n; i++) {
    float l = lo[i], h = hi[i];
    t += lin[i] * (lin[i] > 0 ? l : h);
  }
  return t;
}

static void concretize(const pass *a) {
  const ep_spass *p = a->p;
  const ep_snet *net = p->net;
  uint32_t b = net->coef_buf[net->plan->g->input];
  for (size_t r = 0; r < p->n; r++) {
    float *lin = p->lin + r * net->n_x;
    if (b != UINT32_MAX)
      memcpy(lin, a->buf[b] + r * net->n_x, net->n_x * sizeof *lin);
    else
      memset(lin, 0, net->n_x * sizeof *lin);
    const float *x = p->coef_x ? p->coef_x + seed_of(p, r) * net->n_x : NULL;
    for (size_t i = 0; x && i < net->n_x; i++) lin[i] += x[i];
    p->bound[r] = a->cst[r] + minimum(net->n_x, lin, net->x_lo, net->x_hi);
  }
}

/* Puts the seeds down; *k = nodes still to be passed. */
static ep_status seed(pass *a, uint32_t *k, ep_scratch *s) {
  const ep_spass *p = a->p;
  const ep_snet *net = p->net;
  *k = net->n_node;
  if (p->coef) {
    seed_dense(a);
  } else if (net->n_node && net->node[net->n_node - 1].kind == EP_SNET_AFFINE && !net->node[net->n_node - 1].is_moved) {
    EP_TRY(seed_rows(a, &net->node[net->n_node - 1], s));
    *k = net->n_node - 1;
  } else {
    seed_units(a);
  }
  return EP_OK;
}

ep_status ep_spass_run(const ep_spass *p, ep_scratch *s) {
  const ep_snet *net = p->net;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  pass a = {.p = p, .n = p->n};
  if (p->join)
    for (a.n = 0; a.n < p->n && p->join[a.n] == EP_SPASS_TOP; a.n++) continue;
  a.buf = EP_SCRATCH(s, float *, net->n_coef_buf + 1);
  a.cst = EP_SCRATCH(s, float, p->n + 1);
  if (!a.buf || !a.cst) goto done;
  for (uint32_t i = 0; i < net->n_coef_buf; i++) {
    a.buf[i] = EP_SCRATCH(s, float, p->n * net->coef_size[i] + 1);
    if (!a.buf[i]) goto done;
  }
  memset(a.cst, 0, p->n * sizeof *a.cst);
  uint32_t k;
  EP_GOTO(seed(&a, &k, s));
  while (k-- > 0) {
    const ep_snet_node *o = &net->node[k];
    if (!a.n && o->kind != EP_SNET_RELU) continue; /* every row enters further down */
    if (o->kind == EP_SNET_AFFINE)
      EP_GOTO(affine(&a, o, s));
    else if (o->kind == EP_SNET_RELU)
      EP_GOTO(relu(&a, o, s));
    else if (o->kind == EP_SNET_LINES)
      lines(&a, o);
    else
      EP_GOTO(planes(&a, o, s));
  }
  assert(a.n == p->n);
  concretize(&a);
  st = EP_OK;
done:
  ep_scratch_restore(s, m);
  return st;
}
