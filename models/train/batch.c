#include "models/train/batch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/transpose.h"
#include "models/train/crown.h"
#include "models/train/warmup.h"

enum { L = EP_LANES };

/* Inputs and output gradients of one dense layer for the whole batch, sample by sample: x[3][batch][ld],
 * gy[3][batch][n_out], streams in the order of ep_stream. */
typedef struct dense {
  uint32_t layer;
  size_t ld, n_block; /* blocks of L columns */
  float *x, *gy;
} dense;

typedef struct group {
  ep_pass *pass;
  ep_crown *crown;             /* NULL until a step needs it */
  float *crown_m, *crown_grad; /* its margins; its gradients of dense weights, which passes leave to the batch */
  uint32_t label[L], n;        /* n lanes are in use, the others repeat lane 0 */
  float *clean;                /* the unperturbed input */
  float *m[2], *g[2];          /* margins and their gradients: points, boxes */
  float loss[L], *scratch;
  double warmup;
} group;

struct ep_batch {
  ep_net *net;
  ep_pool *pool;
  ep_weights *w;
  ep_arena arena;
  uint32_t n_group, batch;
  group *group;
  uint32_t n_dense;
  dense *dense;
  uint32_t n_segment, *segment; /* bounds of runs of layers: each starts at 0 or at a BatchNormalization */
  uint32_t n_relu;
  size_t n_job; /* of the reduction: column blocks of dense layers, then one per layer */
  float *grad;
  uint32_t *row; /* 0,1,2,.. below 3 * batch */
  /* the step under way */
  const ep_batch_opt *opt;
  const float *const *x;
  uint32_t n_used, n_samples, seg;
  int streams;
  bool has_gradient[2]; /* of points, of boxes */
};

ep_status ep_batch_update(ep_batch *s) { return ep_weights_update(s->w, s->pool); }
float *ep_batch_gradient(const ep_batch *s) { return s->grad; }

/* ---- set-up ---- */

static ep_status make_group(ep_batch *s, group *g) {
  size_t n = (size_t)ep_net_n_class(s->net) * L;
  EP_TRY(ep_pass_create(s->w, &g->pass));
  g->clean = EP_ARENA(&s->arena, float, (size_t)ep_net_size(s->net, 0) * L);
  g->scratch = EP_ARENA(&s->arena, float, 2 * (n + L));
  bool is_ok = g->clean && g->scratch;
  for (int k = 0; k < 2; k++) {
    g->m[k] = EP_ARENA(&s->arena, float, n);
    g->g[k] = EP_ARENA(&s->arena, float, n);
    is_ok = is_ok && g->m[k] && g->g[k];
  }
  return is_ok ? EP_OK : EP_E_NOMEM;
}

static ep_status make_dense(ep_batch *s, uint32_t layer) {
  const ep_layer *l = &s->net->layer[layer];
  dense *d = &s->dense[s->n_dense++];
  d->layer = layer;
  d->n_block = (l->n_in + L - 1) / L;
  d->ld = d->n_block * L;
  if (3 * (uint64_t)s->batch * d->ld >= UINT32_MAX)
    return EP_FAIL(s->net->ctx, EP_E_LIMIT, "a batch of %u is too large for this network", s->batch);
  d->x = EP_ARENA(&s->arena, float, 3 * s->batch * d->ld);
  d->gy = EP_ARENA(&s->arena, float, 3 * (size_t)s->batch * l->n_out);
  s->n_job += d->n_block;
  return d->x && d->gy ? EP_OK : EP_E_NOMEM;
}

static ep_status make(ep_batch *s) {
  ep_net *net = s->net;
  EP_TRY(ep_weights_create(net, &s->w));
  s->group = EP_ARENA(&s->arena, group, s->n_group);
  s->dense = EP_ARENA(&s->arena, dense, net->n_layer + 1u);
  s->segment = EP_ARENA(&s->arena, uint32_t, net->n_layer + 2u);
  s->grad = EP_ARENA(&s->arena, float, net->n_param + 1);
  s->row = EP_ARENA(&s->arena, uint32_t, 3 * (size_t)s->batch);
  if (!s->group || !s->dense || !s->segment || !s->grad || !s->row) return EP_E_NOMEM;
  for (uint32_t k = 0; k < 3 * s->batch; k++) s->row[k] = k;
  for (uint32_t k = 0; k < s->n_group; k++) EP_TRY(make_group(s, &s->group[k]));
  for (uint32_t i = 0; i < net->n_layer; i++) {
    const ep_layer *l = &net->layer[i];
    if (l->kind == EP_LAYER_DENSE) EP_TRY(make_dense(s, i));
    bool has_statistics = l->kind == EP_LAYER_BATCH_NORM && !l->is_fixed;
    assert(i || !has_statistics);
    if (i == 0 || has_statistics) s->segment[s->n_segment++] = i;
    s->n_relu += l->kind == EP_LAYER_RELU;
  }
  s->segment[s->n_segment] = net->n_layer;
  s->n_job += net->n_layer;
  return ep_batch_update(s);
}

ep_status ep_batch_create(ep_net *net, uint32_t batch, ep_pool *pool, ep_batch **out) {
  *out = NULL;
  assert(batch && batch % L == 0);
  if (net->layer[net->n_layer - 1].kind != EP_LAYER_DENSE)
    return EP_FAIL(net->ctx, EP_E_UNSUPPORTED, "the network's last layer is not dense, training needs that");
  if (ep_net_n_class(net) < 2) return EP_FAIL(net->ctx, EP_E_SHAPE, "a classifier needs at least two outputs");
  ep_batch *s = ep_calloc(net->ctx, 1, sizeof *s);
  if (!s) return EP_E_NOMEM;
  s->net = net;
  s->pool = pool;
  s->batch = batch;
  s->n_group = batch / L;
  ep_arena_init(&s->arena, net->ctx);
  ep_status st = make(s);
  if (st != EP_OK) {
    ep_batch_destroy(s);
    return st;
  }
  *out = s;
  return EP_OK;
}

void ep_batch_destroy(ep_batch *s) {
  if (!s) return;
  ep_ctx *ctx = s->net->ctx;
  for (uint32_t k = 0; s->group && k < s->n_group; k++) {
    ep_pass_destroy(s->group[k].pass);
    ep_crown_destroy(s->group[k].crown);
  }
  ep_weights_destroy(s->w);
  ep_arena_clear(&s->arena);
  ep_free(ctx, s);
}

/* ---- margins ---- */

static void point_margins(const ep_batch *s, group *g) {
  uint32_t n = ep_net_n_class(s->net);
  const float *z = g->pass->val[EP_POINT][s->net->n_layer];
  for (uint32_t j = 0; j < n; j++)
    for (size_t l = 0; l < L; l++) g->m[0][j * L + l] = z[g->label[l] * L + l] - z[j * L + l];
}

/* Gradient of the scores from that of the margins g. */
static void point_gradient(const ep_batch *s, group *g) {
  uint32_t n = ep_net_n_class(s->net);
  float *gz = ep_pass_grad(g->pass, EP_POINT, s->net->n_layer);
  for (uint32_t j = 0; j < n; j++)
    for (size_t l = 0; l < L; l++) {
      gz[j * L + l] -= g->g[0][j * L + l];
      gz[g->label[l] * L + l] += g->g[0][j * L + l];
    }
}

/* Lower bounds of the margins, the last layer merged into the difference of scores:
 * (w_y - w_j) mid - |w_y - w_j| rad + b_y - b_j. */
static void box_margins(const ep_batch *s, group *g) {
  const ep_layer *l = &s->net->layer[s->net->n_layer - 1];
  const float *w = s->net->param + l->w, *b = s->net->param + l->b;
  const float *mid = g->pass->val[EP_MID][l->in[0]], *rad = g->pass->val[EP_RAD][l->in[0]];
  size_t n_in = l->n_in;
  for (uint32_t j = 0; j < l->n_out; j++)
    for (size_t k = 0; k < L; k++) g->m[1][j * L + k] = b[g->label[k]] - b[j];
  for (size_t i = 0; i < n_in; i++) {
    float own[L];
    for (size_t k = 0; k < L; k++) own[k] = w[g->label[k] * n_in + i];
    for (uint32_t j = 0; j < l->n_out; j++) {
      float *restrict m = g->m[1] + j * L;
      for (size_t k = 0; k < L; k++) {
        float d = own[k] - w[j * n_in + i];
        m[k] += d * mid[i * L + k] - fabsf(d) * rad[i * L + k];
      }
    }
  }
}

static void box_gradient(const ep_batch *s, group *g) {
  const ep_layer *l = &s->net->layer[s->net->n_layer - 1];
  const float *w = s->net->param + l->w;
  ep_pass *p = g->pass;
  const float *mid = p->val[EP_MID][l->in[0]], *rad = p->val[EP_RAD][l->in[0]];
  float *gm = ep_pass_grad(p, EP_MID, l->in[0]), *gr = ep_pass_grad(p, EP_RAD, l->in[0]);
  float *gw = p->gparam + l->w, *gb = p->gparam + l->b;
  size_t n_in = l->n_in;
  for (uint32_t j = 0; j < l->n_out; j++)
    for (size_t k = 0; k < L; k++) {
      gb[j] -= g->g[1][j * L + k];
      gb[g->label[k]] += g->g[1][j * L + k];
    }
  for (size_t i = 0; i < n_in; i++) {
    float own[L], sum[L] = {0};
    for (size_t k = 0; k < L; k++) own[k] = w[g->label[k] * n_in + i];
    for (uint32_t j = 0; j < l->n_out; j++) {
      const float *restrict q = g->g[1] + j * L;
      float all = 0, t[L];
      for (size_t k = 0; k < L; k++) {
        float d = own[k] - w[j * n_in + i], r = rad[i * L + k];
        gm[i * L + k] += q[k] * d;
        gr[i * L + k] -= q[k] * fabsf(d);
        t[k] = q[k] * (mid[i * L + k] - (d > 0 ? r : d < 0 ? -r : 0));
        sum[k] += t[k];
      }
#pragma omp simd reduction(+ : all)
      for (size_t k = 0; k < L; k++) all += t[k];
      gw[j * n_in + i] -= all;
    }
    for (size_t k = 0; k < L; k++) gw[g->label[k] * n_in + i] += sum[k];
  }
}

/* ---- inputs ---- */

static void load_group(ep_batch *s, size_t k, float *stage, const uint32_t *label) {
  group *g = &s->group[k];
  size_t n = ep_net_size(s->net, 0), first = k * L;
  g->n = s->n_samples - first < L ? (uint32_t)(s->n_samples - first) : L;
  for (size_t l = 0; l < L; l++) {
    size_t at = first + (l < g->n ? l : 0);
    g->label[l] = label[at];
    memcpy(stage + l * n, s->x[at], n * sizeof *stage);
  }
  ep_transpose_f32(L, n, stage, n, g->clean, L);
}

/* Projected sign-gradient ascent of the loss from a random start within the ball; the point is left as the point
 * stream's input. */
static void attack(ep_batch *s, size_t k) {
  group *g = &s->group[k];
  ep_pass *p = g->pass;
  size_t n = (size_t)ep_net_size(s->net, 0) * L;
  const float eps = (float)s->opt->epsilon, lo = (float)s->opt->clip_lo, hi = (float)s->opt->clip_hi;
  const float rate = (float)(s->opt->attack_rate * s->opt->epsilon);
  float *restrict x = p->val[EP_POINT][0];
  ep_rng rng;
  ep_rng_seed_stream(&rng, s->opt->seed, k);
  for (size_t i = 0; i < n; i++) {
    float v = g->clean[i] + eps * (float)(2 * ep_rng_uniform(&rng) - 1);
    x[i] = fminf(fmaxf(v, lo), hi);
  }
  for (uint32_t step = 0; step < s->opt->attack_steps; step++) {
    ep_pass_clear(p, false);
    ep_pass_forward(p, EP_HAS_POINT, 0, s->net->n_layer);
    point_margins(s, g);
    s->opt->loss->run(ep_net_n_class(s->net), g->label, g->m[0], g->loss, g->g[0]);
    point_gradient(s, g);
    ep_pass_backward(p, EP_FOR_INPUT, 0, s->net->n_layer);
    const float *restrict gx = p->grad[EP_POINT][0], *restrict c = g->clean;
    for (size_t i = 0; i < n; i++) {
      float v = x[i] + (gx[i] > 0 ? rate : gx[i] < 0 ? -rate : 0);
      v = v < c[i] - eps ? c[i] - eps : v > c[i] + eps ? c[i] + eps : v;
      x[i] = v < lo ? lo : v > hi ? hi : v;
    }
  }
}

/* The box stream's input: the ball, or a small box around the attacked point that stays within it; valid range only. */
static void fill_box(const ep_batch *s, group *g, float eps, bool is_small) {
  ep_pass *p = g->pass;
  size_t n = (size_t)ep_net_size(s->net, 0) * L;
  const float lo = (float)s->opt->clip_lo, hi = (float)s->opt->clip_hi;
  const float r = is_small ? (float)s->opt->box_ratio * eps : eps;
  const float *x = p->val[EP_POINT][0];
  for (size_t i = 0; i < n; i++) {
    float c = g->clean[i], at = c;
    if (is_small) at = fminf(fmaxf(x[i], c - (eps - r)), c + (eps - r));
    float a = fmaxf(at - r, lo), b = fminf(at + r, hi);
    p->val[EP_MID][0][i] = 0.5f * (a + b);
    p->val[EP_RAD][0][i] = 0.5f * (b - a);
  }
}

static void make_inputs(ep_batch *s, size_t k) {
  group *g = &s->group[k];
  const ep_method *m = s->opt->method;
  size_t bytes = (size_t)ep_net_size(s->net, 0) * L * sizeof(float);
  float *x = g->pass->val[EP_POINT][0];
  if (s->opt->is_evaluation) {
    memcpy(x, g->clean, bytes);
    fill_box(s, g, (float)s->opt->eval_epsilon, false);
    return;
  }
  bool is_attacked = ep_method_attacks(m) && s->opt->epsilon > 0;
  if (is_attacked)
    attack(s, k);
  else
    memcpy(x, g->clean, bytes);
  if (m->box != EP_METHOD_BOX_NONE) fill_box(s, g, (float)s->opt->epsilon, m->box == EP_METHOD_BOX_SMALL);
  if (m->point != EP_METHOD_POINT_ATTACKED && is_attacked)
    memcpy(x, g->clean, bytes); /* statistics are of clean data */
}

/* ---- one step ---- */

typedef struct start_arg {
  ep_batch *s;
  const uint32_t *label;
} start_arg;

static ep_status start(void *arg, size_t k, unsigned worker, ep_scratch *scratch) {
  const start_arg *a = arg;
  (void)worker;
  ep_scratch_mark mark = ep_scratch_save(scratch);
  float *stage = EP_SCRATCH(scratch, float, (size_t)ep_net_size(a->s->net, 0) * L);
  if (!stage) return EP_E_NOMEM;
  load_group(a->s, k, stage, a->label);
  ep_scratch_restore(scratch, mark);
  make_inputs(a->s, k);
  a->s->group[k].pass->is_frozen = a->s->opt->is_norm_frozen;
  ep_pass_clear(a->s->group[k].pass, !a->s->opt->is_evaluation);
  return EP_OK;
}

/* The box of the last layer's input is all that margins need. */
static void forward_segment(const ep_batch *s, ep_pass *p) {
  uint32_t from = s->segment[s->seg], to = s->segment[s->seg + 1], last = s->net->n_layer - 1;
  if (to <= last) {
    ep_pass_forward(p, s->streams, from, to);
    return;
  }
  ep_pass_forward(p, s->streams, from, last);
  if (s->streams & EP_HAS_POINT) ep_pass_forward(p, EP_HAS_POINT, last, to);
}

static bool has_crown(const ep_batch *s) {
  return s->opt->method->box == EP_METHOD_BOX_CROWN && s->opt->crown > 0 && !s->opt->is_evaluation;
}

/* Margins are mixed: (1-c) m_ibp + c m_crown. */
static void mix_crown(const ep_batch *s, group *g) {
  const float c = (float)s->opt->crown;
  size_t n = (size_t)ep_net_n_class(s->net) * L;
  ep_crown_margins(g->crown, g->pass, g->label, g->crown_m);
  for (size_t i = 0; i < n; i++) g->m[1][i] = (1 - c) * g->m[1][i] + c * g->crown_m[i];
}

static void crown_gradient(const ep_batch *s, group *g) {
  const float c = (float)s->opt->crown;
  size_t n = (size_t)ep_net_n_class(s->net) * L;
  for (size_t i = 0; i < n; i++) {
    g->crown_m[i] = c * g->g[1][i];
    g->g[1][i] *= 1 - c;
  }
  memset(g->crown_grad, 0, s->net->n_param * sizeof *g->crown_grad);
  ep_crown_gradient(g->crown, g->pass, g->label, g->crown_m, g->crown_grad);
}

/* Gradients of the loss at the outputs. */
static void losses(ep_batch *s, group *g) {
  uint32_t n_class = ep_net_n_class(s->net);
  bool has_point = s->has_gradient[0], has_box = s->has_gradient[1];
  if (s->streams & EP_HAS_POINT) point_margins(s, g);
  if (s->streams & EP_HAS_BOX) box_margins(s, g);
  if (has_crown(s)) mix_crown(s, g);
  ep_loss_combine(s->opt->loss, s->opt->method->combine, has_box ? has_point ? (float)s->opt->share : 1 : 0, n_class,
                  g->label, has_point ? g->m[0] : NULL, has_box ? g->m[1] : NULL, g->loss, g->g[0], g->g[1],
                  g->scratch);
  if (s->opt->is_evaluation) return;
  const float part = 1.0f / (float)s->n_samples;
  for (size_t i = 0; i < (size_t)n_class * L; i++) {
    g->g[0][i] *= part;
    g->g[1][i] *= part;
  }
  if (has_point) point_gradient(s, g);
  if (has_crown(s)) crown_gradient(s, g);
  if (has_box) box_gradient(s, g);
}

static ep_status forward_task(void *arg, size_t k, unsigned worker, ep_scratch *scratch) {
  ep_batch *s = arg;
  ep_pass *p = s->group[k].pass;
  (void)worker;
  (void)scratch;
  forward_segment(s, p);
  uint32_t to = s->segment[s->seg + 1];
  if (to < s->net->n_layer) {
    if (!s->opt->is_evaluation) ep_pass_sums(p, to, false);
  } else {
    losses(s, &s->group[k]);
  }
  return EP_OK;
}

/* Sample-major copies of what the gradient of dense layer d needs. */
static void keep_dense(ep_batch *s, size_t k, const dense *d) {
  const ep_layer *l = &s->net->layer[d->layer];
  const ep_pass *p = s->group[k].pass;
  for (ep_stream t = EP_POINT; t < EP_N_STREAM; t++) {
    if (!p->is_set[t][d->layer + 1]) continue;
    size_t row = (size_t)t * s->batch + k * L;
    ep_transpose_f32(l->n_in, L, p->val[t][l->in[0]], L, d->x + row * d->ld, d->ld);
    ep_transpose_f32(l->n_out, L, p->grad[t][d->layer + 1], L, d->gy + row * l->n_out, l->n_out);
  }
}

static ep_status backward_task(void *arg, size_t k, unsigned worker, ep_scratch *scratch) {
  ep_batch *s = arg;
  group *g = &s->group[k];
  uint32_t from = s->segment[s->seg], to = s->segment[s->seg + 1];
  (void)worker;
  (void)scratch;
  /* A BatchNormalization starts its segment, so its output's gradient is whole only after the layers behind it. */
  for (uint32_t i = to; i-- > from;) {
    if (i == from && s->seg > 0) break;
    if (s->opt->warmup > 0 && s->has_gradient[1] && s->net->layer[i].kind == EP_LAYER_RELU)
      g->warmup += ep_warmup_add(g->pass, i, s->n_relu, s->opt->warmup / s->n_used);
    ep_pass_backward(g->pass, EP_FOR_PARAMS, i, i + 1);
  }
  if (s->seg > 0 && g->pass->is_set[EP_POINT][from + 1]) ep_pass_sums(g->pass, from, true);
  for (uint32_t d = 0; d < s->n_dense; d++)
    if (s->dense[d].layer >= from && s->dense[d].layer < to) keep_dense(s, k, &s->dense[d]);
  return EP_OK;
}

static ep_status backward_norm(void *arg, size_t k, unsigned worker, ep_scratch *scratch) {
  ep_batch *s = arg;
  (void)worker;
  (void)scratch;
  ep_pass_backward(s->group[k].pass, EP_FOR_PARAMS, s->segment[s->seg], s->segment[s->seg] + 1);
  return EP_OK;
}

/* Terms of a channel's sum over the batch. */
static size_t n_terms(const ep_batch *s, const ep_layer *l) { return (size_t)(l->n_out / l->n_ch) * L * s->n_used; }

/* Adds up the groups' sums for BatchNormalization layer i; out[2 * n_ch], divided by the number of terms. */
static void gather_sums(const ep_batch *s, uint32_t i, double *out) {
  const ep_layer *l = &s->net->layer[i];
  double n = (double)n_terms(s, l);
  for (uint32_t c = 0; c < 2 * l->n_ch; c++) {
    out[c] = 0;
    for (uint32_t k = 0; k < s->n_used; k++) out[c] += s->group[k].pass->sum[2 * l->stat + c];
    out[c] /= n;
  }
}

/* Statistics of the batch, and the running ones (momentum 0.1, unbiased variance, as elsewhere). */
static void set_statistics(ep_batch *s, uint32_t i, double *sums) {
  const ep_layer *l = &s->net->layer[i];
  double n = (double)n_terms(s, l);
  gather_sums(s, i, sums);
  for (uint32_t c = 0; c < l->n_ch; c++) {
    double mean = sums[2 * c], var = fmax(sums[2 * c + 1] - mean * mean, 0);
    float *run = s->net->stat + l->stat + c;
    s->w->mean[l->stat / 2 + c] = (float)mean;
    s->w->var[l->stat / 2 + c] = (float)var;
    run[0] = (float)(0.9 * (double)run[0] + 0.1 * mean);
    run[l->n_ch] = (float)(0.9 * (double)run[l->n_ch] + 0.1 * var * n / (n - 1));
  }
}

static void spread_sums(ep_batch *s, uint32_t i, double *sums) {
  const ep_layer *l = &s->net->layer[i];
  gather_sums(s, i, sums);
  for (uint32_t k = 0; k < s->n_used; k++)
    memcpy(s->group[k].pass->sum + 2 * l->stat, sums, 2 * l->n_ch * sizeof *sums);
}

/* ---- sums over the batch ---- */

/* Columns block*L.. of a dense layer's gradient: gy^T x over all samples of the streams in use. */
static void dense_block(const ep_batch *s, const dense *d, size_t block, float *out, ep_stream first, ep_stream last,
                        uint32_t *off, uint32_t *row) {
  const ep_layer *l = &s->net->layer[d->layer];
  uint32_t n = 0;
  for (ep_stream t = first; t <= last; t++) {
    if (!s->group[0].pass->is_set[t][d->layer + 1]) continue;
    for (uint32_t b = 0; b < s->n_used * L; b++, n++) {
      row[n] = (uint32_t)t * s->batch + b;
      off[n] = (uint32_t)(row[n] * d->ld + block * L);
    }
  }
  ep_lanes_sum sum = {.n_row = l->n_out,
                      .n_term = n,
                      .off = off,
                      .row = row,
                      .src = d->x,
                      .w = d->gy,
                      .dst = out,
                      .w_step = l->n_out,
                      .dst_step = L};
  ep_lanes_run(&sum);
}

static ep_status reduce_dense(const ep_batch *s, const dense *d, size_t block, ep_scratch *scratch) {
  const ep_layer *l = &s->net->layer[d->layer];
  ep_scratch_mark mark = ep_scratch_save(scratch);
  float *point = EP_SCRATCH(scratch, float, (size_t)l->n_out *L),
        *rad = EP_SCRATCH(scratch, float, (size_t)l->n_out *L);
  uint32_t *off = EP_SCRATCH(scratch, uint32_t, 3 * (size_t)s->batch);
  uint32_t *row = EP_SCRATCH(scratch, uint32_t, 3 * (size_t)s->batch);
  if (!point || !rad || !off || !row) return EP_E_NOMEM;
  dense_block(s, d, block, point, EP_POINT, EP_MID, off, row);
  dense_block(s, d, block, rad, EP_RAD, EP_RAD, off, row);
  bool is_last = d->layer + 1 == s->net->n_layer;
  for (size_t o = 0; o < l->n_out; o++)
    for (size_t k = 0; k < L && block * L + k < l->n_in; k++) {
      size_t at = l->w + o * l->n_in + block * L + k;
      float w = s->net->param[at], r = l->is_binary ? 0 : rad[o * L + k]; /* |w| of a binary layer is a constant */
      s->grad[at] = point[o * L + k] + (w > 0 ? r : w < 0 ? -r : 0);
      for (uint32_t q = 0; q < s->n_used && is_last; q++) s->grad[at] += s->group[q].pass->gparam[at];
      for (uint32_t q = 0; q < s->n_used && has_crown(s); q++) s->grad[at] += s->group[q].crown_grad[at];
    }
  ep_scratch_restore(scratch, mark);
  return EP_OK;
}

static ep_status reduce_task(void *arg, size_t i, unsigned worker, ep_scratch *scratch) {
  ep_batch *s = arg;
  (void)worker;
  for (uint32_t d = 0; d < s->n_dense; d++) {
    if (i < s->dense[d].n_block) return reduce_dense(s, &s->dense[d], i, scratch);
    i -= s->dense[d].n_block;
  }
  const ep_layer *l = &s->net->layer[i];
  size_t from = l->kind == EP_LAYER_DENSE ? l->b : l->w, to = l->b + l->n_b;
  for (size_t k = from; k < to; k++) {
    s->grad[k] = 0;
    for (uint32_t q = 0; q < s->n_used; q++) s->grad[k] += s->group[q].pass->gparam[k];
    for (uint32_t q = 0; q < s->n_used && has_crown(s); q++) s->grad[k] += s->group[q].crown_grad[k];
  }
  return EP_OK;
}

static void count(const ep_batch *s, ep_batch_sums *sums) {
  uint32_t n_class = ep_net_n_class(s->net);
  for (uint32_t k = 0; k < s->n_used; k++) {
    const group *g = &s->group[k];
    for (uint32_t l = 0; l < g->n; l++) {
      bool is_right[2] = {s->streams & EP_HAS_POINT, s->streams & EP_HAS_BOX};
      for (uint32_t j = 0; j < n_class; j++)
        for (int q = 0; q < 2; q++)
          if (j != g->label[l] && is_right[q]) is_right[q] = g->m[q][j * L + l] > 0;
      sums->n++;
      sums->loss += (double)g->loss[l];
      sums->n_correct += is_right[0];
      sums->n_certified += is_right[1];
    }
    sums->loss += g->warmup * s->n_samples;
  }
}

static ep_status backward(ep_batch *s, double *sums) {
  for (s->seg = s->n_segment; s->seg-- > 0;) {
    EP_TRY(ep_pool_run(s->pool, s->n_used, backward_task, s));
    if (!s->seg) break;
    if (s->has_gradient[0]) spread_sums(s, s->segment[s->seg], sums);
    EP_TRY(ep_pool_run(s->pool, s->n_used, backward_norm, s));
  }
  return ep_pool_run(s->pool, s->n_job, reduce_task, s);
}

/* What a step propagates, and where gradients start. */
static void choose_streams(ep_batch *s) {
  const ep_method *m = s->opt->method;
  bool has_norm = s->n_segment > 1;
  s->has_gradient[0] = m->point != EP_METHOD_POINT_NONE;
  s->has_gradient[1] = m->box != EP_METHOD_BOX_NONE;
  if (s->opt->is_evaluation) {
    s->has_gradient[0] = true; /* the loss that is told is the points' */
    s->has_gradient[1] = false;
    s->streams = EP_HAS_POINT | EP_HAS_BOX;
    return;
  }
  s->streams = (s->has_gradient[0] || has_norm ? EP_HAS_POINT : 0) | (s->has_gradient[1] ? EP_HAS_BOX : 0);
}

static ep_status need_crown(ep_batch *s, group *g) {
  if (g->crown) return EP_OK;
  g->crown_m = EP_ARENA(&s->arena, float, (size_t)ep_net_n_class(s->net) * L);
  g->crown_grad = EP_ARENA(&s->arena, float, s->net->n_param + 1);
  if (!g->crown_m || !g->crown_grad) return EP_E_NOMEM;
  return ep_crown_create(s->w, &g->crown);
}

ep_status ep_batch_run(ep_batch *s, const ep_batch_opt *opt, uint32_t n, const float *const *x, const uint32_t *label,
                       ep_batch_sums *sums) {
  assert(n && n <= s->batch && (opt->is_evaluation || n % L == 0));
  s->opt = opt;
  s->x = x;
  s->n_samples = n;
  s->n_used = (n + L - 1) / L;
  choose_streams(s);
  for (uint32_t k = 0; k < s->n_used; k++) s->group[k].warmup = 0;
  for (uint32_t k = 0; k < s->n_group && has_crown(s); k++) EP_TRY(need_crown(s, &s->group[k]));
  ep_weights_use_running(s->w); /* for the attack, and all of an evaluation */
  start_arg a = {s, label};
  EP_TRY(ep_pool_run(s->pool, s->n_used, start, &a));
  double *norm = ep_alloc(s->net->ctx, (2 * s->net->n_stat + 1) * sizeof *norm);
  ep_status st = norm ? EP_OK : EP_E_NOMEM;
  for (s->seg = 0; s->seg < s->n_segment && st == EP_OK; s->seg++) {
    if (s->seg && !opt->is_evaluation && !opt->is_norm_frozen) set_statistics(s, s->segment[s->seg], norm);
    st = ep_pool_run(s->pool, s->n_used, forward_task, s);
  }
  if (st == EP_OK && !opt->is_evaluation) st = backward(s, norm);
  if (st == EP_OK) count(s, sums);
  ep_free(s->net->ctx, norm);
  return st;
}
