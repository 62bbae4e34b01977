#include "bounds/snet.h"

#include <assert.h>
#include <string.h>

/* What building keeps beside the net. */
typedef struct make {
  ep_snet *net;
  const ep_graph *g;
  const ep_trace_itv *bounds;
  const ep_relax_f64 *relax;
  ep_scratch *s;
  bool *is_anc;       /* [n_val] */
  uint32_t *n_reader; /* [n_val] reading nodes among the ancestors */
  uint32_t **live;    /* [n_val] elements kept, NULL = all */
  float **fixed;      /* at the input: values of the elements not kept */
} make;

static ep_status mark_ancestors(make *m) {
  const ep_graph *g = m->g;
  m->is_anc = EP_SCRATCH(m->s, bool, g->n_val);
  m->n_reader = EP_SCRATCH(m->s, uint32_t, g->n_val);
  m->live = EP_SCRATCH(m->s, uint32_t *, g->n_val);
  if (!m->is_anc || !m->n_reader || !m->live) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) {
    m->is_anc[v] = v == m->net->from;
    m->n_reader[v] = 0;
    m->live[v] = NULL;
  }
  for (uint32_t k = g->n_node; k-- > 0;)
    if (m->is_anc[g->node[k].out])
      for (uint32_t j = 0; j < g->node[k].n_in; j++) {
        m->is_anc[g->node[k].in[j]] = true;
        m->n_reader[g->node[k].in[j]]++;
      }
  return EP_OK;
}

/* Do only affine nodes read v? Then elements of no use can leave it. */
static bool only_affine_readers(const make *m, ep_vid v) {
  if (v == m->net->from) return false;
  for (uint32_t k = 0; k < m->g->n_node; k++) {
    const ep_node *nd = &m->g->node[k];
    if (!m->is_anc[nd->out] || nd->low.cls == EP_AFFINE) continue;
    for (uint32_t j = 0; j < nd->n_in; j++)
      if (nd->in[j] == v) return false;
  }
  return true;
}

static bool is_affine(const make *m, ep_vid v) {
  uint32_t k = m->g->val[v].producer;
  return k != UINT32_MAX && m->g->node[k].low.cls == EP_AFFINE;
}

/* Inputs with room come in, the others are numbers. */
static ep_status reduce_input(make *m) {
  ep_snet *net = m->net;
  ep_vid v = m->g->input;
  uint32_t n = m->g->val[v].n;
  const double *lo = m->bounds->lo[v], *hi = m->bounds->hi[v];
  bool may = only_affine_readers(m, v);
  net->x_at = EP_SCRATCH(m->s, uint32_t, n + 1);
  net->x_lo = EP_SCRATCH(m->s, float, n + 1);
  net->x_hi = EP_SCRATCH(m->s, float, n + 1);
  if (!net->x_at || !net->x_lo || !net->x_hi) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    if (may && lo[i] == hi[i]) continue;
    net->x_at[net->n_x] = i;
    net->x_lo[net->n_x] = (float)lo[i];
    net->x_hi[net->n_x++] = (float)hi[i];
  }
  net->val_n[v] = net->n_x;
  if (net->n_x < n) m->live[v] = net->x_at;
  return EP_OK;
}

/* One ReLU layer: which neurons stay, which are unstable, in which order. */
static ep_status reduce_relu(make *m, uint32_t k, ep_snet_layer *l) {
  const ep_node *nd = &m->g->node[k];
  ep_vid z = nd->in[0], y = nd->out;
  uint32_t n = m->g->val[z].n, n_live = 0;
  const double *lo = m->bounds->lo[z], *hi = m->bounds->hi[z];
  bool may = m->n_reader[z] == 1 && is_affine(m, z) && only_affine_readers(m, y);
  uint32_t *live = EP_SCRATCH(m->s, uint32_t, n + 1), *at = EP_SCRATCH(m->s, uint32_t, n + 1);
  float *stable = EP_SCRATCH(m->s, float, n + 1);
  if (!live || !at || !stable) return EP_E_NOMEM;
  *l = (ep_snet_layer){.node = k, .z = z, .y = y, .n = n, .first = m->net->n_u};
  for (uint32_t i = 0; i < n; i++) {
    stable[i] = hi[i] > 0 ? 1 : 0;
    if (lo[i] < 0 && hi[i] > 0) {
      at[l->n_u++] = i;
      live[n_live++] = i;
    }
  }
  if (!may) {
    l->at = at;
    l->stable = stable;
    return EP_OK;
  }
  for (uint32_t i = 0; i < n; i++)
    if (lo[i] >= 0 && hi[i] > 0) live[n_live++] = i;
  m->live[z] = m->live[y] = live;
  m->net->val_n[z] = m->net->val_n[y] = l->n = n_live;
  return EP_OK;
}

/* Upper lines and the list of unstable neurons. */
static ep_status list_unstable(make *m, ep_snet_layer *l) {
  ep_snet *net = m->net;
  const ep_graph *g = m->g;
  uint32_t pr = g->val[l->z].producer;
  const double *bias = pr != UINT32_MAX && g->node[pr].low.cls == EP_AFFINE ? g->node[pr].low.is.affine.bias : NULL;
  float *t = EP_SCRATCH(m->s, float, 3 * (size_t)l->n_u + 1);
  if (!t) return EP_E_NOMEM;
  l->su = t;
  l->tu = t + l->n_u;
  l->sl = t + 2 * (size_t)l->n_u;
  for (uint32_t i = 0; i < l->n_u; i++) {
    uint32_t e = l->at ? l->at[i] : m->live[l->z][i];
    t[i] = (float)m->relax->lines[l->node].su[e];
    t[l->n_u + i] = (float)m->relax->lines[l->node].tu[e];
    t[2 * (size_t)l->n_u + i] = (float)m->relax->lines[l->node].sl[e];
    net->u[net->n_u++] = (ep_unstable){.layer = (uint32_t)(l - net->layer),
                                       .at = i,
                                       .node = l->node,
                                       .neuron = e,
                                       .lo = (float)m->bounds->lo[l->z][e],
                                       .hi = (float)m->bounds->hi[l->z][e],
                                       .bias = bias ? (float)bias[e] : 0};
  }
  return EP_OK;
}

/* A node that hands its only input on as it is. */
static bool is_alias(const ep_node *nd) {
  return nd->low.cls == EP_AFFINE && nd->n_in == 1 && nd->low.is.affine.A[0].kind == EP_LINOP_ID;
}

static void take_live(make *m, ep_vid v, ep_vid like) {
  m->live[v] = m->live[like];
  m->net->val_n[v] = m->net->val_n[like];
}

/* What left a ReLU's output leaves the reshapes behind it ... */
static void reduce_alias(make *m, const ep_node *nd) {
  if (nd->in[0] != m->g->input && m->live[nd->in[0]] && only_affine_readers(m, nd->out))
    take_live(m, nd->out, nd->in[0]);
}

/* ... and what left a pre-activation leaves the terms of its sum. */
static void reduce_terms(make *m, const ep_node *nd) {
  for (uint32_t j = 0; nd->low.cls == EP_AFFINE && m->live[nd->out] && j < nd->n_in; j++) {
    ep_vid v = nd->in[j];
    if (nd->low.is.affine.A[j].kind == EP_LINOP_ID && !m->live[v] && m->n_reader[v] == 1 && is_affine(m, v))
      take_live(m, v, nd->out);
  }
}

static ep_status reduce_layers(make *m) {
  ep_snet *net = m->net;
  const ep_graph *g = m->g;
  net->layer = EP_SCRATCH(m->s, ep_snet_layer, g->n_node + 1);
  net->u = EP_SCRATCH(m->s, ep_unstable, net->plan->n_relu + 1);
  if (!net->layer || !net->u) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    if (!m->is_anc[g->node[k].out]) continue;
    if (is_alias(&g->node[k])) reduce_alias(m, &g->node[k]);
    if (!net->plan->is_relu[k]) continue;
    ep_snet_layer *l = &net->layer[net->n_layer++];
    EP_TRY(reduce_relu(m, k, l));
    EP_TRY(list_unstable(m, l));
  }
  for (uint32_t k = g->n_node; k-- > 0;)
    if (m->is_anc[g->node[k].out]) reduce_terms(m, &g->node[k]);
  return EP_OK;
}

/* The kept rows and columns of one term; numbers at fixed inputs join the bias. */
static ep_status reduce_term(const make *m, const ep_linop *A, ep_vid in, ep_vid out, float *bias, ep_linop *r) {
  const uint32_t *row = m->live[out], *col = m->live[in];
  *r = *A;
  if (A->kind == EP_LINOP_ID && row == col) {
    r->n_in = r->n_out = m->net->val_n[in];
    return EP_OK;
  }
  EP_TRY(ep_linop_restrict_f32(A, m->net->val_n[out], row, m->net->val_n[in], col, m->s, r));
  if (in != m->g->input || !col) return EP_OK;
  float *x = EP_SCRATCH(m->s, float, A->n_in + A->n_out + 1u), *y = x ? x + A->n_in : NULL;
  if (!x) return EP_E_NOMEM;
  for (uint32_t i = 0; i < A->n_in; i++) x[i] = (float)m->bounds->lo[in][i];
  for (uint32_t i = 0; i < m->net->n_x; i++) x[m->net->x_at[i]] = 0;
  EP_TRY(ep_linop_apply_f32(A, 1, x, y, false, m->s));
  for (uint32_t i = 0; i < m->net->val_n[out]; i++) bias[i] += y[row ? row[i] : i];
  return EP_OK;
}

static ep_status make_affine(make *m, const ep_node *nd, ep_snet_node *o) {
  const ep_affine *a = &nd->low.is.affine;
  uint32_t n = m->net->val_n[nd->out];
  ep_linop *A = EP_SCRATCH(m->s, ep_linop, a->n_terms + 1);
  float *bias = EP_SCRATCH(m->s, float, n + 1);
  if (!A || !bias) return EP_E_NOMEM;
  const uint32_t *row = m->live[nd->out];
  for (uint32_t i = 0; i < n; i++) bias[i] = a->bias32 ? a->bias32[row ? row[i] : i] : 0;
  bool has_fixed = false;
  for (uint32_t j = 0; j < a->n_terms; j++) {
    EP_TRY(reduce_term(m, &a->A[j], nd->in[j], nd->out, bias, &A[j]));
    has_fixed |= nd->in[j] == m->g->input && m->live[nd->in[j]];
  }
  o->kind = EP_SNET_AFFINE;
  o->A = A;
  o->bias = a->bias32 || has_fixed ? bias : NULL;
  return EP_OK;
}

static ep_status make_lines(make *m, uint32_t k, ep_snet_node *o) {
  size_t n = m->g->val[o->out].n;
  float *t = EP_SCRATCH(m->s, float, 4 * n + 1);
  if (!t) return EP_E_NOMEM;
  const ep_lines_f64 *l = &m->relax->lines[k];
  for (size_t i = 0; i < n; i++) {
    t[i] = (float)l->sl[i];
    t[n + i] = (float)l->tl[i];
    t[2 * n + i] = (float)l->su[i];
    t[3 * n + i] = (float)l->tu[i];
  }
  o->kind = EP_SNET_LINES;
  o->lines = (ep_lines_f32){t, t + n, t + 2 * n, t + 3 * n};
  return EP_OK;
}

static ep_status make_nodes(make *m) {
  ep_snet *net = m->net;
  const ep_graph *g = m->g;
  uint32_t layer = 0;
  net->node = EP_SCRATCH(m->s, ep_snet_node, g->n_node + 1);
  if (!net->node) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (!m->is_anc[nd->out]) continue;
    ep_snet_node *o = &net->node[net->n_node++];
    *o = (ep_snet_node){.out = nd->out, .n_in = nd->n_in, .in = nd->in};
    o->has_old = EP_SCRATCH(m->s, bool, nd->n_in + 1);
    if (!o->has_old) return EP_E_NOMEM;
    if (nd->low.cls == EP_AFFINE) {
      EP_TRY(make_affine(m, nd, o));
    } else if (net->plan->is_relu[k]) {
      o->kind = EP_SNET_RELU;
      o->layer = layer++;
    } else if (nd->low.cls == EP_UNIVAR) {
      EP_TRY(make_lines(m, k, o));
    } else {
      o->kind = EP_SNET_GENERAL;
      o->pair = m->relax->general[k];
    }
  }
  return EP_OK;
}

/* ---- buffers ---- */

typedef struct pool {
  uint32_t n;
  size_t *size;
  bool *is_used;
} pool;

/* The free buffer that fits `n` elements best, grown when none does. */
static uint32_t pool_take(pool *p, size_t n) {
  uint32_t best = UINT32_MAX;
  for (uint32_t i = 0; i < p->n; i++) {
    if (p->is_used[i]) continue;
    if (best == UINT32_MAX) best = i;
    bool fits = p->size[i] >= n, best_fits = p->size[best] >= n;
    if (fits ? !best_fits || p->size[i] < p->size[best] : !best_fits && p->size[i] > p->size[best]) best = i;
  }
  if (best == UINT32_MAX) {
    best = p->n++;
    p->size[best] = 0;
  }
  if (p->size[best] < n) p->size[best] = n;
  p->is_used[best] = true;
  return best;
}

static bool is_plain_id(const ep_snet_node *o) {
  return o->kind == EP_SNET_AFFINE && o->n_in == 1 && o->A[0].kind == EP_LINOP_ID;
}

static void plan_backward(ep_snet *net, pool *p, uint32_t n_val) {
  uint32_t *buf = net->coef_buf, n_pending = 1;
  for (uint32_t v = 0; v < n_val; v++) buf[v] = UINT32_MAX;
  buf[net->from] = pool_take(p, net->val_n[net->from]);
  /* A buffer is given back when its value's producer has been passed, but ids stay in buf[] for the run; `is_live`
   * is what has_old needs, so a value's entry is only read while live. */
  for (uint32_t k = net->n_node; k-- > 0;) {
    ep_snet_node *o = &net->node[k];
    uint32_t own = buf[o->out];
    assert(own != UINT32_MAX);
    if (o->kind == EP_SNET_RELU) net->layer[o->layer].is_cut = n_pending == 1;
    for (uint32_t j = 0; j < o->n_in; j++) {
      o->has_old[j] = buf[o->in[j]] != UINT32_MAX;
      if (o->has_old[j]) continue;
      n_pending++;
      bool is_line = o->kind == EP_SNET_RELU || o->kind == EP_SNET_LINES || is_plain_id(o);
      o->is_moved = is_line;
      buf[o->in[j]] = is_line ? own : pool_take(p, net->val_n[o->in[j]]);
    }
    if (!o->is_moved) p->is_used[own] = false;
    n_pending--;
  }
}

static void plan_forward(ep_snet *net, pool *p, const uint32_t *n_reader, uint32_t *left, uint32_t n_val,
                         ep_vid input) {
  uint32_t *buf = net->num_buf;
  for (uint32_t v = 0; v < n_val; v++) {
    buf[v] = UINT32_MAX;
    left[v] = n_reader[v];
  }
  buf[input] = pool_take(p, net->val_n[input]);
  for (uint32_t k = 0; k < net->n_node; k++) {
    ep_snet_node *o = &net->node[k];
    bool is_line = o->kind == EP_SNET_RELU || o->kind == EP_SNET_LINES || is_plain_id(o);
    if (o->out == net->from) break; /* its numbers are never asked for */
    o->is_moved_fwd = is_line && left[o->in[0]] == 1;
    buf[o->out] = o->is_moved_fwd ? buf[o->in[0]] : pool_take(p, net->val_n[o->out]);
    for (uint32_t j = 0; j < o->n_in; j++)
      if (!--left[o->in[j]] && !o->is_moved_fwd) p->is_used[buf[o->in[j]]] = false;
  }
}

static ep_status plan_buffers(make *m) {
  ep_snet *net = m->net;
  uint32_t n_val = m->g->n_val;
  pool p[2];
  for (int i = 0; i < 2; i++) {
    p[i] = (pool){.size = EP_SCRATCH(m->s, size_t, n_val + 1), .is_used = EP_SCRATCH(m->s, bool, n_val + 1)};
    if (!p[i].size || !p[i].is_used) return EP_E_NOMEM;
    memset(p[i].is_used, 0, (n_val + 1) * sizeof(bool));
  }
  net->coef_buf = EP_SCRATCH(m->s, uint32_t, n_val);
  net->num_buf = EP_SCRATCH(m->s, uint32_t, n_val);
  uint32_t *left = EP_SCRATCH(m->s, uint32_t, n_val);
  if (!net->coef_buf || !net->num_buf || !left) return EP_E_NOMEM;
  plan_backward(net, &p[0], n_val);
  plan_forward(net, &p[1], m->n_reader, left, n_val, m->g->input);
  net->coef_size = p[0].size;
  net->n_coef_buf = p[0].n;
  net->num_size = p[1].size;
  net->n_num_buf = p[1].n;
  for (int i = 0; i < 2; i++)
    for (uint32_t j = 0; j < p[i].n; j++) net->max_n = p[i].size[j] > net->max_n ? p[i].size[j] : net->max_n;
  return EP_OK;
}

ep_status ep_snet_init(ep_snet *net, const ep_plan *plan, const ep_trace_itv *bounds, const ep_relax_f64 *relax,
                       ep_vid from, ep_scratch *s) {
  assert(bounds->batch == 1 && relax->batch == 1);
  *net = (ep_snet){.plan = plan, .from = from};
  make m = {.net = net, .g = plan->g, .bounds = bounds, .relax = relax, .s = s};
  EP_TRY(mark_ancestors(&m));
  net->val_n = EP_SCRATCH(s, uint32_t, m.g->n_val);
  if (!net->val_n) return EP_E_NOMEM;
  for (uint32_t v = 0; v < m.g->n_val; v++) net->val_n[v] = m.g->val[v].n;
  EP_TRY(reduce_input(&m));
  EP_TRY(reduce_layers(&m));
  EP_TRY(make_nodes(&m));
  return plan_buffers(&m);
}

ep_status ep_snet_slopes(const ep_snet *net, const ep_relax_f64 *relax, size_t rows, const float *const *alpha,
                         ep_scratch *s, double ***out) {
  const ep_graph *g = net->plan->g;
  double **t = EP_SCRATCH(s, double *, g->n_node + 1);
  if (!t) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) t[k] = NULL;
  for (uint32_t l = 0; l < net->n_layer; l++) {
    const ep_snet_layer *la = &net->layer[l];
    size_t n = g->val[la->z].n;
    double *a = t[la->node] = EP_SCRATCH(s, double, rows *n + 1);
    if (!a) return EP_E_NOMEM;
    for (size_t r = 0; r < rows; r++) {
      memcpy(a + r * n, relax->lines[la->node].sl, n * sizeof *a);
      for (uint32_t i = 0; i < la->n_u; i++) a[r * n + net->u[la->first + i].neuron] = alpha[r][la->first + i];
    }
  }
  *out = t;
  return EP_OK;
}
