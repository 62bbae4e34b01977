#include "verifier/adversary.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/eval.h"

const ep_attack_kind ep_attack_kinds[] = {
#define EP_ATTACK(id, name, is_minimal, help) {name, help, is_minimal, ep_adversary_##id},
#include "verifier/attacks.def"
#undef EP_ATTACK
};
const size_t ep_n_attack_kinds = sizeof ep_attack_kinds / sizeof *ep_attack_kinds;

const ep_attack_kind *ep_attack_kind_find(const char *name) {
  for (size_t i = 0; i < ep_n_attack_kinds; i++)
    if (!strcmp(ep_attack_kinds[i].name, name)) return &ep_attack_kinds[i];
  return NULL;
}

/* ---- losses ---- */

float ep_adversary_cross_entropy(const ep_adversary *a, const float *y, float *gy) {
  float top = y[0], sum = 0;
  assert(a->n_class >= 2);
  for (uint32_t j = 1; j < a->n_class; j++) top = fmaxf(top, y[j]);
  for (uint32_t j = 0; j < a->n_class; j++) sum += gy[j] = expf(y[j] - top);
  for (uint32_t j = 0; j < a->n_class; j++) gy[j] /= sum;
  gy[a->label] -= 1;
  return top + logf(sum) - y[a->label];
}

/* -(y_l - max_{j != l} y_j) / (y_1 - y_3), y_1 >= y_2 >= y_3 the largest scores; with two classes the plain
 * difference. */
float ep_adversary_dlr(const ep_adversary *a, const float *y, float *gy) {
  uint32_t order[3] = {0, 0, 0}, n = a->n_class < 3 ? a->n_class : 3, rival = a->label ? 0 : 1;
  memset(gy, 0, a->n_class * sizeof *gy);
  for (uint32_t k = 0; k < n; k++) {
    uint32_t best = UINT32_MAX;
    for (uint32_t j = 0; j < a->n_class; j++) {
      bool is_taken = (k > 0 && j == order[0]) || (k > 1 && j == order[1]);
      if (!is_taken && (best == UINT32_MAX || y[j] > y[best])) best = j;
    }
    order[k] = best;
  }
  for (uint32_t j = 0; j < a->n_class; j++)
    if (j != a->label && y[j] > y[rival]) rival = j;
  float top = y[a->label] - y[rival], bottom = n < 3 ? 1 : fmaxf(y[order[0]] - y[order[2]], 1e-12f);
  gy[a->label] -= 1 / bottom;
  gy[rival] += 1 / bottom;
  if (n == 3) {
    gy[order[0]] += top / (bottom * bottom);
    gy[order[2]] -= top / (bottom * bottom);
  }
  return -top / bottom;
}

/* ---- evaluation ---- */

ep_status ep_adversary_scores(ep_adversary *a, size_t batch, const float *x, float *y) {
  ep_scratch_mark m = ep_scratch_save(a->s);
  ep_trace_f32 t;
  ep_status st = ep_eval_f32(a->g, batch, x, a->s, &t);
  if (st == EP_OK) memcpy(y, t.v[a->g->output], batch * a->n_class * sizeof *y);
  ep_scratch_restore(a->s, m);
  return st;
}

ep_status ep_adversary_ascend(ep_adversary *a, size_t batch, const float *x, ep_adversary_loss loss, float *y,
                              float *value, float *gx) {
  ep_scratch_mark m = ep_scratch_save(a->s);
  ep_trace_f32 t;
  float *gy = EP_SCRATCH(a->s, float, batch * a->n_class);
  ep_status st = gy ? ep_eval_f32(a->g, batch, x, a->s, &t) : EP_E_NOMEM;
  for (size_t b = 0; b < batch && st == EP_OK; b++) {
    float v = loss(a, t.v[a->g->output] + b * a->n_class, gy + b * a->n_class);
    if (value) value[b] = v;
  }
  if (st == EP_OK && y) memcpy(y, t.v[a->g->output], batch * a->n_class * sizeof *y);
  if (st == EP_OK) st = ep_grad_f32(a->g, &t, gy, gx, a->s);
  a->n_grad += batch;
  ep_scratch_restore(a->s, m);
  return st;
}

ep_status ep_adversary_jacobian(ep_adversary *a, const float *x, float *y, float *gx) {
  ep_scratch_mark m = ep_scratch_save(a->s);
  uint32_t k = a->n_class;
  ep_trace_f32 t;
  float *gy = EP_SCRATCH(a->s, float, (size_t)k *k), *all = EP_SCRATCH(a->s, float, (size_t)k * a->n);
  ep_status st = gy && all ? EP_OK : EP_E_NOMEM;
  if (st == EP_OK) {
    memset(gy, 0, (size_t)k * k * sizeof *gy);
    for (uint32_t j = 0; j < k; j++) {
      memcpy(all + (size_t)j * a->n, x, a->n * sizeof *x);
      gy[(size_t)j * k + j] = 1;
    }
    st = ep_eval_f32(a->g, k, all, a->s, &t);
  }
  if (st == EP_OK) memcpy(y, t.v[a->g->output], k * sizeof *y);
  if (st == EP_OK) st = ep_grad_f32(a->g, &t, gy, gx, a->s);
  a->n_grad += k;
  ep_scratch_restore(a->s, m);
  return st;
}

bool ep_adversary_is_fooled(const ep_adversary *a, const float *y) {
  for (uint32_t j = 0; j < a->n_class; j++)
    if (j != a->label && !(y[j] < y[a->label])) return true;
  return false;
}

void ep_adversary_keep(ep_adversary *a, const float *x) {
  memmove(a->best, x, a->n * sizeof *x);
  a->is_found = true;
}

double ep_adversary_distance(const ep_adversary *a, const float *x) {
  double sum = 0, most = 0;
  for (uint32_t i = 0; i < a->n; i++) {
    double d = fabs((double)x[i] - (double)a->x[i]);
    sum += d * d;
    most = fmax(most, d);
  }
  return a->opt->norm == EP_NORM_L2 ? sqrt(sum) : most;
}

void ep_adversary_project(const ep_adversary *a, double radius, float *x) {
  const float r = (float)radius, lo = (float)a->opt->clip_lo, hi = (float)a->opt->clip_hi;
  float part = 1;
  if (a->opt->norm == EP_NORM_L2) {
    double d = ep_adversary_distance(a, x);
    if (d > radius) part = (float)(radius / d);
  }
  for (uint32_t i = 0; i < a->n; i++) {
    float v = x[i];
    if (a->opt->norm == EP_NORM_L2)
      v = part < 1 ? a->x[i] + part * (v - a->x[i]) : v;
    else
      v = v < a->x[i] - r ? a->x[i] - r : v > a->x[i] + r ? a->x[i] + r : v;
    x[i] = v < lo ? lo : v > hi ? hi : v;
  }
}

/* ---- many samples ---- */

typedef struct job {
  const ep_attack_kind *kind;
  const ep_graph *g;
  const ep_adversary_opt *opt;
  const float *x;
  const uint32_t *label;
  float *adv;
  ep_adversary_result *out;
} job;

static void measure(const ep_adversary *a, ep_adversary_result *r) {
  double l2 = 0, n2 = 0;
  for (uint32_t i = 0; i < a->n; i++) {
    double d = fabs((double)a->best[i] - (double)a->x[i]), v = fabs((double)a->x[i]);
    r->l0 += d > 0;
    r->l1 += d;
    l2 += d * d;
    r->linf = fmax(r->linf, d);
    n2 += v * v;
    r->norm_inf = fmax(r->norm_inf, v);
  }
  r->l2 = sqrt(l2);
  r->norm2 = sqrt(n2);
}

static uint32_t class_of(const ep_adversary *a, const float *y) {
  uint32_t best = 0;
  for (uint32_t j = 1; j < a->n_class; j++)
    if (y[j] > y[best]) best = j;
  if (best == a->label && ep_adversary_is_fooled(a, y)) /* a tie: the class that draws level */
    for (uint32_t j = 0; j < a->n_class; j++)
      if (j != best && !(y[j] < y[best])) return j;
  return best;
}

static ep_status one(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  const job *j = arg;
  ep_adversary_result *r = &j->out[i];
  uint32_t n = j->g->val[j->g->input].n;
  (void)worker;
  if (ep_ctx_should_stop(j->g->ctx)) return EP_E_STOPPED;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_adversary a = {.g = j->g,
                    .opt = j->opt,
                    .x = j->x + i * n,
                    .n = n,
                    .n_class = j->g->val[j->g->output].n,
                    .label = j->label[i],
                    .s = s,
                    .best = j->adv + i * n};
  assert(a.label < a.n_class);
  *r = (ep_adversary_result){0};
  float *y = EP_SCRATCH(s, float, a.n_class);
  if (!y) return EP_E_NOMEM;
  memcpy(a.best, a.x, n * sizeof *a.best);
  EP_TRY(ep_adversary_scores(&a, 1, a.x, y));
  r->predicted = r->fooled = class_of(&a, y);
  r->is_wrong = ep_adversary_is_fooled(&a, y);
  ep_rng_seed_stream(&a.rng, j->opt->seed, i);
  if (!r->is_wrong) EP_TRY(j->kind->run(&a));
  if (a.is_found) {
    EP_TRY(ep_adversary_scores(&a, 1, a.best, y));
    r->is_found = ep_adversary_is_fooled(&a, y); /* what a batch said must hold on its own */
    r->fooled = class_of(&a, y);
  }
  if (!r->is_found) memcpy(a.best, a.x, n * sizeof *a.best);
  r->n_grad = a.n_grad;
  measure(&a, r);
  ep_scratch_restore(s, m);
  return EP_OK;
}

ep_status ep_adversary_run(const ep_attack_kind *kind, const ep_graph *g, const ep_adversary_opt *opt, size_t count,
                           const float *x, const uint32_t *label, ep_pool *pool, float *adv, ep_adversary_result *out) {
  job j = {kind, g, opt, x, label, adv, out};
  return ep_pool_run(pool, count, one, &j);
}
