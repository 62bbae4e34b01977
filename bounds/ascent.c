#include "bounds/ascent.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/mat.h"

ep_ascent_opt ep_ascent_default(void) {
  return (ep_ascent_opt){.iterations = 20, .rate = 0.1f, .beta_rate = 0.5f, .decay = 0.98f};
}

/* Working state: tables have one place per row still in the batch. */
typedef struct work {
  ep_ascent *a;
  const ep_snet *net;
  ep_scratch *s;
  size_t n;                           /* places in use */
  float **m, **v;                     /* Adam's moments, like slopes */
  float *beta_m, *beta_v, *best_beta; /* per entry of phases */
  float **num;                        /* [n_num_buf] forward numbers */
  float *bound;                       /* [places] */
  uint32_t *seed;                     /* [places] */
  float rate, beta_rate, c1, c2;      /* this step's rates and bias corrections */
  size_t n_new;                       /* rows done since the batch was last packed */
  /* Decisions at `from`: rows as dense seeds [n x n_from], multipliers' moments and best ones [n x n_own], and the
   * decided neurons' own rows, per term of the affine node [n_own x n_in]. */
  float *own_coef, *own_m, *own_v, *best_own, **own_row;
} work;

static ep_status tables(work *w, float ***out, bool zero) {
  float **t = EP_SCRATCH(w->s, float *, w->net->n_layer + 1);
  if (!t) return EP_E_NOMEM;
  for (uint32_t l = 0; l < w->net->n_layer; l++) {
    size_t n = w->a->n * w->net->layer[l].n_u;
    t[l] = EP_SCRATCH(w->s, float, n + 1);
    if (!t[l]) return EP_E_NOMEM;
    if (zero) memset(t[l], 0, n * sizeof(float));
  }
  *out = t;
  return EP_OK;
}

static void load_slopes(work *w) {
  for (uint32_t l = 0; l < w->net->n_layer; l++) {
    const ep_snet_layer *la = &w->net->layer[l];
    for (size_t r = 0; r < w->a->n; r++) {
      float *dst = w->a->slopes[l] + r * la->n_u;
      const uint8_t *src = w->a->start ? w->a->start[r] : NULL;
      if (src) src += la->first;
      for (uint32_t i = 0; i < la->n_u; i++) dst[i] = src ? ep_slope_unpack(src[i]) : la->sl[i];
    }
  }
}

static ep_status cut_tables(work *w) {
  ep_ascent *a = w->a;
  a->cut = EP_SCRATCH(w->s, float *, w->net->n_layer + 1);
  a->cut_cst = EP_SCRATCH(w->s, float *, w->net->n_layer + 1);
  if (!a->cut || !a->cut_cst) return EP_E_NOMEM;
  for (uint32_t l = 0; l < w->net->n_layer; l++) {
    a->cut[l] = a->cut_cst[l] = NULL;
    if (!w->net->layer[l].is_cut) continue;
    a->cut[l] = EP_SCRATCH(w->s, float, w->n * w->net->layer[l].n + 1);
    a->cut_cst[l] = EP_SCRATCH(w->s, float, w->n + 1);
    if (!a->cut[l] || !a->cut_cst[l]) return EP_E_NOMEM;
  }
  return EP_OK;
}

/* ---- decisions at `from` itself ---- */

static float *numbers(const work *w, ep_vid v) { return w->num[w->net->num_buf[v]]; }

static const ep_snet_node *last_node(const ep_snet *net) { return &net->node[net->n_node - 1]; }

static ep_status own_init(work *w) {
  ep_ascent *a = w->a;
  if (!a->n_own) return EP_OK;
  assert(!a->seed && w->net->n_node && last_node(w->net)->kind == EP_SNET_AFFINE);
  const ep_snet_node *o = last_node(w->net);
  size_t n = a->n * a->n_own, n_from = w->net->val_n[w->net->from];
  w->own_coef = EP_SCRATCH(w->s, float, a->n *n_from + 1);
  w->own_m = EP_SCRATCH(w->s, float, 3 * n + 1);
  w->own_row = EP_SCRATCH(w->s, float *, o->n_in + 1);
  if (!w->own_coef || !w->own_m || !w->own_row) return EP_E_NOMEM;
  w->own_v = w->own_m + n;
  w->best_own = w->own_v + n;
  memset(w->own_m, 0, 2 * n * sizeof(float));
  memcpy(w->best_own, a->own_beta, n * sizeof(float));
  for (uint32_t j = 0; j < o->n_in; j++) {
    w->own_row[j] = EP_SCRATCH(w->s, float, a->n_own * w->net->val_n[o->in[j]] + 1);
    if (!w->own_row[j]) return EP_E_NOMEM;
    ep_linop_rows_f32(&o->A[j], a->n_own, a->own, w->own_row[j], false);
  }
  return EP_OK;
}

/* The rows as they stand: seeds less the multiples of the decided inequalities. */
static void own_seeds(const work *w) {
  const ep_ascent *a = w->a;
  size_t n = w->net->val_n[w->net->from];
  for (size_t r = 0; r < w->n; r++) {
    uint32_t id = a->id[r];
    float *c = w->own_coef + id * n;
    if (a->coef)
      memcpy(c, a->coef + id * n, n * sizeof *c);
    else
      memset(c, 0, n * sizeof *c);
    if (!a->coef) c[a->neuron[id]] = a->sign[id];
    for (size_t i = 0; i < a->n_own; i++) {
      float beta = a->own_beta[id * a->n_own + i];
      c[a->own[i]] += a->own_is_active[i] ? -beta : beta;
    }
  }
}

static float adam(const work *w, float g, float *m, float *v) {
  *m = 0.9f * *m + 0.1f * g;
  *v = 0.999f * *v + 0.001f * g * g;
  return *m * w->c1 / (sqrtf(*v * w->c2) + 1e-8f);
}

/* Steps the multipliers by the decided neurons' values at the minimising corners; their scale is that of the rows,
 * which are units. */
static ep_status own_step(work *w) {
  const ep_ascent *a = w->a;
  const ep_snet_node *o = last_node(w->net);
  ep_scratch_mark mark = ep_scratch_save(w->s);
  float *z = EP_SCRATCH(w->s, float, w->n * a->n_own + 1);
  if (!z) return EP_E_NOMEM;
  for (size_t i = 0; i < w->n * a->n_own; i++) z[i] = o->bias ? o->bias[a->own[i % a->n_own]] : 0;
  for (uint32_t j = 0; j < o->n_in; j++) {
    size_t k = w->net->val_n[o->in[j]];
    ep_sgemm(false, true, w->n, a->n_own, k, 1, numbers(w, o->in[j]), k, w->own_row[j], k, 1, z, a->n_own);
  }
  for (size_t r = 0; r < w->n; r++)
    for (size_t i = 0; i < a->n_own && !a->is_done[a->id[r]]; i++) {
      size_t e = a->id[r] * a->n_own + i;
      float g = z[r * a->n_own + i];
      float t = a->own_beta[e] + w->beta_rate * adam(w, a->own_is_active[i] ? -g : g, w->own_m + e, w->own_v + e);
      a->own_beta[e] = t > 0 ? t : 0;
    }
  ep_scratch_restore(w->s, mark);
  return EP_OK;
}

/* ---- evaluation ---- */

/* The slopes and multipliers of place r, to where its best ones are kept, or from there. */
static void copy_best(const work *w, size_t r, bool back) {
  const ep_ascent *a = w->a;
  uint32_t id = a->id[r];
  for (uint32_t l = 0; l < w->net->n_layer; l++) {
    const ep_snet_layer *la = &w->net->layer[l];
    float *own = a->slopes[l] + r * la->n_u, *best = a->alpha[id] + la->first;
    memcpy(back ? own : best, back ? best : own, la->n_u * sizeof *own);
  }
  if (a->n_own) {
    float *own = a->own_beta + id * a->n_own, *best = w->best_own + id * a->n_own;
    memcpy(back ? own : best, back ? best : own, a->n_own * sizeof *own);
  }
  if (!a->phases) return;
  const uint32_t *ptr = a->phases->ptr + (size_t)id * (w->net->n_layer + 1);
  uint32_t first = ptr[0], n = ptr[w->net->n_layer] - first;
  float *own = a->phases->beta + first, *best = w->best_beta + first;
  if (n) memcpy(back ? own : best, back ? best : own, n * sizeof *own);
}

static ep_status init(work *w) {
  ep_ascent *a = w->a;
  const ep_snet *net = w->net;
  w->n = a->n;
  a->id = EP_SCRATCH(w->s, uint32_t, a->n + 1);
  a->lin = EP_SCRATCH(w->s, float, a->n * net->n_x + 1);
  w->bound = EP_SCRATCH(w->s, float, a->n + 1);
  w->seed = EP_SCRATCH(w->s, uint32_t, a->n + 1);
  if (!a->id || !a->lin || !w->bound || !w->seed) return EP_E_NOMEM;
  EP_TRY(tables(w, &a->slopes, false));
  EP_TRY(tables(w, &a->coef_u, true));
  load_slopes(w);
  a->cut = a->cut_cst = NULL;
  for (size_t r = 0; r < a->n; r++) {
    a->id[r] = (uint32_t)r;
    a->best[r] = -INFINITY;
    a->is_done[r] = false;
  }
  EP_TRY(tables(w, &w->m, true));
  EP_TRY(tables(w, &w->v, true));
  size_t n_phase = a->phases ? a->phases->ptr[a->n * (net->n_layer + 1)] : 0;
  w->beta_m = EP_SCRATCH(w->s, float, 3 * n_phase + 1);
  w->num = EP_SCRATCH(w->s, float *, net->n_num_buf + 1);
  if (!w->beta_m || !w->num) return EP_E_NOMEM;
  w->beta_v = w->beta_m + n_phase;
  w->best_beta = w->beta_v + n_phase;
  memset(w->beta_m, 0, 2 * n_phase * sizeof(float));
  for (uint32_t i = 0; i < net->n_num_buf; i++) {
    w->num[i] = EP_SCRATCH(w->s, float, a->n * net->num_size[i] + 1);
    if (!w->num[i]) return EP_E_NOMEM;
  }
  EP_TRY(own_init(w));
  for (size_t r = 0; r < a->n; r++) copy_best(w, r, false);
  return EP_OK;
}

/* Keeps what is better than before; groups that have reached their target are done. */
static void settle(work *w) {
  ep_ascent *a = w->a;
  for (size_t r = 0, e; r < w->n; r = e) {
    bool reached = false;
    for (e = r; e < w->n && (e == r || (a->group && a->group[a->id[e]] == a->group[a->id[r]])); e++) {
      uint32_t id = a->id[e];
      if (a->is_done[id] || !(w->bound[e] > a->best[id])) continue;
      a->best[id] = w->bound[e];
      copy_best(w, e, false);
      reached |= a->target && w->bound[e] > a->target[id];
    }
    for (size_t i = r; reached && i < e; i++) {
      copy_best(w, i, true);
      a->is_done[a->id[i]] = true;
      w->n_new++;
    }
  }
}

static ep_status evaluate(work *w) {
  ep_ascent *a = w->a;
  for (size_t r = 0; r < w->n; r++) w->seed[r] = a->seed ? a->seed[a->id[r]] : a->id[r];
  if (a->n_own) own_seeds(w);
  ep_spass p = {.net = w->net,
                .n = w->n,
                .seed = w->seed,
                .coef = a->n_own ? w->own_coef : a->coef,
                .neuron = a->n_own ? NULL : a->neuron,
                .sign = a->sign,
                .coef_x = a->coef_x,
                .alpha = a->slopes,
                .phases = a->phases,
                .phase_row = a->id,
                .coef_u = a->coef_u,
                .cut = a->cut,
                .cut_cst = a->cut_cst,
                .lin = a->lin,
                .bound = w->bound};
  EP_TRY(ep_spass_run(&p, w->s));
  settle(w);
  return EP_OK;
}

/* Closes the gaps that done rows leave, keeping the order. */
static void pack(work *w) {
  ep_ascent *a = w->a;
  const ep_snet *net = w->net;
  size_t to = 0;
  for (size_t r = 0; r < w->n; r++) {
    if (a->is_done[a->id[r]]) continue;
    if (to < r) {
      a->id[to] = a->id[r];
      memcpy(a->lin + to * net->n_x, a->lin + r * net->n_x, net->n_x * sizeof(float));
      for (uint32_t l = 0; l < net->n_layer; l++) {
        size_t n = net->layer[l].n_u;
        float **t[] = {a->slopes, a->coef_u, w->m, w->v};
        for (int i = 0; i < 4; i++) memcpy(t[i][l] + to * n, t[i][l] + r * n, n * sizeof(float));
      }
    }
    to++;
  }
  w->n = to;
  w->n_new = 0;
}

/* ---- one step: the minimising corners, forward through the chosen lines ---- */

static ep_status affine(work *w, const ep_snet_node *o) {
  if (o->is_moved_fwd && !o->bias) return EP_OK;
  size_t n = w->net->val_n[o->out];
  float *y = numbers(w, o->out);
  for (uint32_t j = 0; j < o->n_in && !o->is_moved_fwd; j++)
    EP_TRY(ep_linop_apply_f32(&o->A[j], w->n, numbers(w, o->in[j]), y, j > 0, w->s));
  for (size_t r = 0; o->bias && r < w->n; r++)
    for (size_t i = 0; i < n; i++) y[r * n + i] += o->bias[i];
  return EP_OK;
}

/* One row of a ReLU layer: z becomes the value on the chosen line, alpha takes its step. */
static void relu_step(const work *w, size_t n, float *restrict z, const float *restrict c, float *restrict alpha,
                      float *restrict m, float *restrict v, const float *restrict su, const float *restrict tu) {
  float rate = w->rate * w->c1, c2 = w->c2;
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float g = c[i] > 0 ? c[i] * z[i] : 0, al = alpha[i];
    z[i] = c[i] > 0 ? al * z[i] : su[i] * z[i] + tu[i];
    m[i] = 0.9f * m[i] + 0.1f * g;
    v[i] = 0.999f * v[i] + 0.001f * g * g;
    float t = al + rate * m[i] / (sqrtf(v[i] * c2) + 1e-8f);
    t = t > 0 ? t : 0;
    alpha[i] = t < 1 ? t : 1;
  }
}

/* Steps the multipliers of row r's decided neurons in a layer; afterwards (y not NULL) puts them on their lines. */
static void decided(const work *w, uint32_t layer, size_t r, const float *z, const float *c, float *decided_z,
                    float *y) {
  const ep_phases *p = w->a->phases;
  uint32_t id = w->a->id[r];
  if (!p) return;
  const uint32_t *ptr = p->ptr + (size_t)id * (w->net->n_layer + 1) + layer;
  for (uint32_t e = ptr[0]; e < ptr[1]; e++) {
    uint32_t i = p->at[e];
    if (y) {
      y[i] = p->is_active[e] ? decided_z[e - ptr[0]] : 0;
      continue;
    }
    decided_z[e - ptr[0]] = z[i];
    if (w->a->is_done[id]) continue;
    /* Multipliers live on the scale of the row's coefficient at the neuron. */
    float g = p->is_active[e] ? -z[i] : z[i];
    float t = p->beta[e] + w->beta_rate * fabsf(c[i]) * adam(w, g, w->beta_m + e, w->beta_v + e);
    p->beta[e] = t > 0 ? t : 0;
  }
}

static ep_status relu(work *w, const ep_snet_node *o) {
  const ep_snet_layer *l = &w->net->layer[o->layer];
  ep_scratch_mark mark = ep_scratch_save(w->s);
  float *tmp = EP_SCRATCH(w->s, float, 2 * (size_t)l->n_u + 1);
  if (!tmp) return EP_E_NOMEM;
  float *z = numbers(w, l->z), *y = numbers(w, l->y), *kept_z = tmp + l->n_u;
  if (!o->is_moved_fwd) memcpy(y, z, w->n * l->n * sizeof *y);
  for (size_t r = 0; r < w->n; r++, y += l->n) {
    size_t at = r * l->n_u;
    const float *c = w->a->coef_u[o->layer] + at;
    float *yu = l->at ? tmp : y;
    for (uint32_t i = 0; l->at && i < l->n_u; i++) yu[i] = y[l->at[i]];
    decided(w, o->layer, r, yu, c, kept_z, NULL);
    relu_step(w, l->n_u, yu, c, w->a->slopes[o->layer] + at, w->m[o->layer] + at, w->v[o->layer] + at, l->su, l->tu);
    decided(w, o->layer, r, NULL, c, kept_z, yu);
    if (!l->at) continue;
    for (uint32_t i = 0; i < l->n; i++) y[i] *= l->stable[i];
    for (uint32_t i = 0; i < l->n_u; i++) y[l->at[i]] = yu[i];
  }
  ep_scratch_restore(w->s, mark);
  return EP_OK;
}

/* Other nonlinear nodes only steer the search: the mean of their lines. */
static void lines(const work *w, const ep_snet_node *o) {
  size_t n = w->net->val_n[o->out];
  const ep_lines_f32 *l = &o->lines;
  for (size_t r = 0; r < w->n; r++) {
    const float *z = numbers(w, o->in[0]) + r * n;
    float *y = numbers(w, o->out) + r * n;
    for (size_t i = 0; i < n; i++) y[i] = 0.5f * ((l->sl[i] + l->su[i]) * z[i] + l->tl[i] + l->tu[i]);
  }
}

static ep_status planes(work *w, const ep_snet_node *o) {
  size_t n = w->net->val_n[o->out], n_cat = 0;
  for (uint32_t j = 0; j < o->n_in; j++) n_cat += w->net->val_n[o->in[j]];
  ep_scratch_mark m = ep_scratch_save(w->s);
  float *cat = EP_SCRATCH(w->s, float, n_cat + 1);
  if (!cat) return EP_E_NOMEM;
  for (size_t r = 0; r < w->n; r++) {
    float *at = cat, *y = numbers(w, o->out) + r * n;
    for (uint32_t j = 0; j < o->n_in; j++) {
      size_t k = w->net->val_n[o->in[j]];
      memcpy(at, numbers(w, o->in[j]) + r * k, k * sizeof *at);
      at += k;
    }
    EP_TRY(ep_linop_apply_f32(&o->pair->lower, 1, cat, y, false, w->s));
    EP_TRY(ep_linop_apply_f32(&o->pair->upper, 1, cat, y, true, w->s));
    for (size_t i = 0; i < n; i++) y[i] = 0.5f * (y[i] + (float)o->pair->lower_c[i] + (float)o->pair->upper_c[i]);
  }
  ep_scratch_restore(w->s, m);
  return EP_OK;
}

/* Where the row is smallest. Both ends are loaded before one is chosen: a choice between addresses would be a gather.
 */
static void corner(size_t n, const float *restrict lin, const float *restrict lo, const float *restrict hi,
                   float *restrict x) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float l = lo[i], h = hi[i];
    x[i] = lin[i] > 0 ? l : h;
  }
}

static ep_status step(work *w) {
  const ep_snet *net = w->net;
  ep_vid input = net->plan->g->input;
  float *x = numbers(w, input);
  for (size_t r = 0; r < w->n; r++) corner(net->n_x, w->a->lin + r * net->n_x, net->x_lo, net->x_hi, x + r * net->n_x);
  for (uint32_t k = 0; k < net->n_node; k++) {
    const ep_snet_node *o = &net->node[k];
    if (o->out == net->from) break;
    if (o->kind == EP_SNET_AFFINE)
      EP_TRY(affine(w, o));
    else if (o->kind == EP_SNET_RELU)
      EP_TRY(relu(w, o));
    else if (o->kind == EP_SNET_LINES)
      lines(w, o);
    else
      EP_TRY(planes(w, o));
  }
  return w->a->n_own ? own_step(w) : EP_OK;
}

/* ---- the ascent ---- */

/* The rows that are left go back to their best, and are evaluated there once more for those who read the tables. */
static ep_status finish(work *w) {
  pack(w);
  w->a->n_left = w->n;
  for (size_t r = 0; r < w->n; r++) copy_best(w, r, true);
  if (!w->n || !w->a->keep_left) return EP_OK;
  EP_TRY(cut_tables(w));
  return evaluate(w);
}

ep_status ep_ascent_run(ep_ascent *a, const ep_ascent_opt *opt, ep_scratch *s) {
  work w = {.a = a, .net = a->net, .s = s, .rate = opt->rate, .beta_rate = opt->beta_rate};
  assert((a->coef != NULL) != (a->neuron != NULL));
  EP_TRY(init(&w));
  float p1 = 1, p2 = 1;
  for (uint32_t it = 0;; it++) {
    if (ep_ctx_should_stop(a->net->plan->ctx)) return EP_E_STOPPED;
    EP_TRY(evaluate(&w));
    if (it == opt->iterations || w.n_new == w.n) break;
    if (8 * w.n_new >= w.n) pack(&w);
    p1 *= 0.9f;
    p2 *= 0.999f;
    w.c1 = 1 / (1 - p1);
    w.c2 = 1 / (1 - p2);
    EP_TRY(step(&w));
    w.rate *= opt->decay;
    w.beta_rate *= opt->decay;
  }
  return finish(&w);
}

ep_status ep_ascent_slopes(ep_ascent *a, const ep_ascent_opt *opt, const ep_relax_f64 *relax, ep_scratch *s,
                           double ***out) {
  if (!a->best) a->best = EP_SCRATCH(s, float, a->n + 1);
  if (!a->is_done) a->is_done = EP_SCRATCH(s, bool, a->n + 1);
  if (!a->alpha) {
    float *t = EP_SCRATCH(s, float, a->n * a->net->n_u + 1);
    a->alpha = EP_SCRATCH(s, float *, a->n + 1);
    if (!t || !a->alpha) return EP_E_NOMEM;
    for (size_t r = 0; r < a->n; r++) a->alpha[r] = t + r * a->net->n_u;
  }
  if (!a->best || !a->is_done) return EP_E_NOMEM;
  EP_TRY(ep_ascent_run(a, opt, s));
  return ep_snet_slopes(a->net, relax, a->n, (const float *const *)a->alpha, s, out);
}
