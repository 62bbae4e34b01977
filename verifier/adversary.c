#include "verifier/adversary.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/eval.h"

/* So many gradients, about, are taken side by side: enough to keep the matrix products busy. And so many values of
 * nodes, about, are kept for it (in float32, times two). */
enum { ROWS = 64, MOST_VALUES = 1 << 25 };

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

/* Minus the cross-entropy: the logarithm of the label's probability, from its differences to the other scores. Nothing
 * is taken from 1, so that neither value nor gradient vanishes where the network is sure to float32's last bit (there
 * the usual p - 1 is 0, and attacks are led astray). */
float ep_adversary_cross_entropy(const ep_adversary *a, uint32_t row, const float *y, float *gy) {
  float top = 0, sum = 0, own = 0;
  (void)row;
  assert(a->n_class >= 2);
  for (uint32_t j = 0; j < a->n_class; j++) top = fmaxf(top, y[j] - y[a->label]);
  for (uint32_t j = 0; j < a->n_class; j++)
    if (j != a->label) sum += gy[j] = expf(y[j] - y[a->label] - top);
  float all = expf(-top) + sum;
  for (uint32_t j = 0; j < a->n_class; j++)
    if (j != a->label) own += gy[j] = -gy[j] / all;
  gy[a->label] = -own;
  return top > 0 ? -top - logf(all) : -log1pf(sum);
}

/* The `n` largest of y in order. */
static void largest(const float *y, uint32_t n_class, uint32_t n, uint32_t *order) {
  for (uint32_t k = 0; k < n; k++) {
    order[k] = UINT32_MAX;
    for (uint32_t j = 0; j < n_class; j++) {
      bool is_taken = false;
      for (uint32_t i = 0; i < k; i++) is_taken |= order[i] == j;
      if (!is_taken && (order[k] == UINT32_MAX || y[j] > y[order[k]])) order[k] = j;
    }
  }
}

/* (y_label - y_rival) / (y_1 - sum of w_i y_i), y_1 the largest score; the weights w[n_w] of the second, third, .. add
 * up to 1. With n_w = 0 the plain difference. */
static float ratio(const ep_adversary *a, uint32_t rival, uint32_t n_w, const float *w, const float *y, float *gy) {
  uint32_t order[4];
  float top = y[a->label] - y[rival], bottom = 1;
  memset(gy, 0, a->n_class * sizeof *gy);
  if (n_w) {
    largest(y, a->n_class, n_w + 1, order);
    bottom = y[order[0]];
    for (uint32_t k = 0; k < n_w; k++) bottom -= w[k] * y[order[k + 1]];
    bottom = fmaxf(bottom, 1e-12f);
    gy[order[0]] -= top / (bottom * bottom);
    for (uint32_t k = 0; k < n_w; k++) gy[order[k + 1]] += w[k] * top / (bottom * bottom);
  }
  gy[a->label] += 1 / bottom;
  gy[rival] -= 1 / bottom;
  return top / bottom;
}

float ep_adversary_dlr(const ep_adversary *a, uint32_t row, const float *y, float *gy) {
  static const float w[2] = {0, 1};
  uint32_t rival = a->label ? 0 : 1;
  (void)row;
  for (uint32_t j = 0; j < a->n_class; j++)
    if (j != a->label && y[j] > y[rival]) rival = j;
  return ratio(a, rival, a->n_class < 3 ? 0 : 2, w, y, gy);
}

float ep_adversary_dlr_targeted(const ep_adversary *a, uint32_t row, const float *y, float *gy) {
  static const float w[3] = {0, 0.5f, 0.5f};
  return ratio(a, a->rank[row % (a->n_class - 1)], a->n_class < 4 ? 0 : 3, w, y, gy);
}

/* ---- what attacks share ---- */

bool ep_adversary_is_fooled(const ep_adversary *a, const float *y) {
  for (uint32_t j = 0; j < a->n_class; j++)
    if (j != a->label && !(y[j] < y[a->label])) return true;
  return false;
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

void ep_adversary_clip(const ep_adversary *a, float *x) {
  const float lo = (float)a->opt->clip_lo, hi = (float)a->opt->clip_hi;
  for (uint32_t i = 0; i < a->n; i++) x[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i];
}

const float *ep_adversary_nearest(const ep_adversary *a, double *size, double *gap) {
  const float *own = a->grad + (size_t)a->n_rival * a->n, *best = NULL;
  bool is_l2 = a->opt->norm == EP_NORM_L2;
  double nearest = INFINITY;
  for (uint32_t k = 0; k < a->n_rival; k++) {
    const float *row = a->grad + (size_t)k * a->n;
    double norm = 0, f = (double)a->y[a->rank[k]] - (double)a->y[a->label];
    for (uint32_t i = 0; i < a->n; i++) {
      double w = (double)row[i] - (double)own[i];
      norm += is_l2 ? w * w : fabs(w);
    }
    if (is_l2) norm = sqrt(norm);
    if (!(norm > 0) || fabs(f) / norm >= nearest) continue;
    nearest = fabs(f) / norm;
    best = row;
    *size = norm;
    *gap = f;
  }
  return best;
}

/* A sample that is itself out of the valid range may stay where it is. */
void ep_adversary_ball_set(const ep_adversary *a, double radius, ep_adversary_ball *ball) {
  double far = ball->width ? radius : INFINITY;
  ball->walk.radius = radius;
  for (uint32_t i = 0; i < a->n; i++) {
    double x = (double)a->x[i];
    ball->lo[i] = fmin(x, fmax(x - far, a->opt->clip_lo));
    ball->hi[i] = fmax(x, fmin(x + far, a->opt->clip_hi));
    if (ball->width) ball->width[i] = (float)(2 * radius);
  }
}

ep_status ep_adversary_ball_init(const ep_adversary *a, double radius, ep_adversary_ball *ball, ep_scratch *s) {
  bool is_l2 = a->opt->norm == EP_NORM_L2;
  ball->lo = EP_SCRATCH(s, double, a->n);
  ball->hi = EP_SCRATCH(s, double, a->n);
  ball->width = is_l2 ? NULL : EP_SCRATCH(s, float, a->n);
  if (!ball->lo || !ball->hi || (!is_l2 && !ball->width)) return EP_E_NOMEM;
  ball->walk = (ep_walk){.n = a->n, .lo = ball->lo, .hi = ball->hi, .width = ball->width, .centre = a->x};
  ep_adversary_ball_set(a, radius, ball);
  return EP_OK;
}

/* ---- groups of samples in lockstep ---- */

typedef struct job {
  const ep_attack_kind *kind;
  const ep_graph *g;
  const ep_adversary_opt *opt;
  size_t count, group;
  const float *x;
  const uint32_t *label;
  float *adv;
  ep_adversary_result *out;
} job;

static uint32_t class_of(const ep_adversary *a, const float *y) {
  uint32_t best = 0;
  for (uint32_t j = 1; j < a->n_class; j++)
    if (y[j] > y[best]) best = j;
  if (best == a->label && ep_adversary_is_fooled(a, y)) /* a tie: the class that draws level */
    for (uint32_t j = 0; j < a->n_class; j++)
      if (j != best && !(y[j] < y[best])) return j;
  return best;
}

/* Keeps the nearest of the points that fool. */
static void judge(ep_adversary *a) {
  for (uint32_t r = 0; r < a->n_row; r++) {
    const float *x = a->at + (size_t)r * a->n;
    if (!ep_adversary_is_fooled(a, a->y + (size_t)r * a->n_class)) continue;
    double d = ep_adversary_distance(a, x);
    if (a->is_found && d >= a->distance) continue;
    memcpy(a->best, x, a->n * sizeof *x);
    a->distance = d;
    a->is_found = true;
  }
  a->is_done |= a->is_found && a->ends_when_found;
}

static uint64_t cost(const ep_adversary *a) {
  return a->want == EP_WANT_SCORES ? 0 : (uint64_t)a->n_row * (a->want == EP_WANT_JACOBIAN ? a->n_rival + 1 : 1);
}

/* Losses and their gradients at all points of the trace; those of samples that need none stay 0. */
static ep_status gradients(ep_adversary *a, size_t n, size_t rows, const ep_trace_f32 *t, ep_scratch *s) {
  size_t n_y = a->n_class, at = 0;
  float *gy = EP_SCRATCH(s, float, rows *n_y), *gx = EP_SCRATCH(s, float, rows * a->n);
  float *value = EP_SCRATCH(s, float, rows);
  if (!gy || !gx || !value) return EP_E_NOMEM;
  memset(gy, 0, rows * n_y * sizeof *gy);
  for (size_t i = 0; i < n; i++) {
    if (!a[i].y) continue;
    a[i].value = value + at;
    a[i].grad = gx + at * a->n;
    for (uint32_t r = 0; r < a[i].n_row; r++, at++)
      if (!a[i].is_done && a[i].want == EP_WANT_GRADIENT)
        value[at] = a[i].loss(&a[i], r, a[i].y + r * n_y, gy + at * n_y);
  }
  return ep_grad_f32(a->g, t, gy, gx, s);
}

static ep_status jacobians(ep_adversary *a, size_t n, size_t rows, size_t many, const ep_trace_f32 *t, ep_scratch *s) {
  size_t n_y = a->n_class, at = 0;
  float *gy = EP_SCRATCH(s, float, rows *many *n_y), *gx = EP_SCRATCH(s, float, rows *many * a->n);
  if (!gy || !gx) return EP_E_NOMEM;
  memset(gy, 0, rows * many * n_y * sizeof *gy);
  for (size_t i = 0; i < n; i++) {
    if (!a[i].y) continue;
    a[i].grad = gx + at * many * a->n;
    for (uint32_t r = 0; r < a[i].n_row; r++, at++)
      for (uint32_t j = 0; j < many; j++) gy[(at * many + j) * n_y + (j + 1 < many ? a[i].rank[j] : a[i].label)] = 1;
  }
  return ep_grad_many_f32(a->g, t, many, gy, gx, s);
}

/* One look at the points of all samples under way, and one step of each. */
static ep_status look(ep_adversary *a, size_t n, ep_scratch *s) {
  size_t rows = 0, at = 0;
  ep_trace_f32 t;
  for (size_t i = 0; i < n; i++) rows += a[i].is_done ? 0 : a[i].n_row;
  float *x = EP_SCRATCH(s, float, rows * a->n + 1);
  if (!x) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    if (a[i].is_done) continue;
    memcpy(x + at * a->n, a[i].at, (size_t)a[i].n_row * a->n * sizeof *x);
    at += a[i].n_row;
  }
  EP_TRY(ep_eval_f32(a->g, rows, x, s, &t));
  ep_adversary_want want = EP_WANT_SCORES;
  size_t many = 0;
  at = 0;
  for (size_t i = 0; i < n; i++) {
    a[i].y = a[i].is_done ? NULL : t.v[a->g->output] + at * a->n_class; /* NULL: has no points in the trace */
    if (a[i].is_done) continue;
    at += a[i].n_row;
    judge(&a[i]);
    a[i].is_done |= a[i].opt->budget && a[i].n_grad + cost(&a[i]) > a[i].opt->budget;
    if (a[i].is_done) continue;
    if (a[i].want > want) want = a[i].want;
    if (a[i].want == EP_WANT_JACOBIAN) many = a[i].n_rival + 1; /* the same for all samples of an attack */
  }
  if (want == EP_WANT_GRADIENT) EP_TRY(gradients(a, n, rows, &t, s));
  if (want == EP_WANT_JACOBIAN) EP_TRY(jacobians(a, n, rows, many, &t, s));
  for (size_t i = 0; i < n; i++) {
    if (a[i].is_done) continue;
    a[i].n_grad += cost(&a[i]);
    a[i].step(&a[i]);
  }
  return EP_OK;
}

/* Scores of one point on its own. */
static ep_status scores(const ep_adversary *a, const float *x, ep_scratch *s, float *y) {
  ep_scratch_mark m = ep_scratch_save(s);
  ep_trace_f32 t;
  ep_status st = ep_eval_f32(a->g, 1, x, s, &t);
  if (st == EP_OK) memcpy(y, t.v[a->g->output], a->n_class * sizeof *y);
  ep_scratch_restore(s, m);
  return st;
}

/* What a batch said must hold for the point on its own: sums run in another order there. Points a hair on the wrong
 * side of a boundary are moved a little further from the sample, minimal ones only. */
static ep_status confirm(ep_adversary *a, ep_scratch *s, float *y, ep_adversary_result *r) {
  double longer = 1e-6;
  for (int k = 0; k < 8 && a->is_found; k++, longer *= 4) {
    EP_TRY(scores(a, a->best, s, y));
    r->is_found = ep_adversary_is_fooled(a, y);
    if (r->is_found || !a->is_minimal) break;
    for (uint32_t i = 0; i < a->n; i++)
      a->best[i] = (float)((double)a->x[i] + (1 + longer) * ((double)a->best[i] - (double)a->x[i]));
    ep_adversary_clip(a, a->best);
  }
  if (r->is_found) r->fooled = class_of(a, y);
  if (!r->is_found) memcpy(a->best, a->x, a->n * sizeof *a->best);
  return EP_OK;
}

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

/* Other classes by score, the label last. */
static void order_classes(const ep_adversary *a, uint32_t *rank) {
  uint32_t n = 0;
  for (uint32_t j = 0; j < a->n_class; j++) {
    if (j == a->label) continue;
    uint32_t k = n++;
    for (; k > 0 && a->y0[j] > a->y0[rank[k - 1]]; k--) rank[k] = rank[k - 1];
    rank[k] = j;
  }
  rank[n] = a->label;
}

static ep_status begin(const job *j, size_t i, ep_adversary *a, ep_scratch *s) {
  ep_adversary_result *r = &j->out[i];
  uint32_t n = j->g->val[j->g->input].n, n_class = j->g->val[j->g->output].n;
  float *y = EP_SCRATCH(s, float, n_class);
  uint32_t *rank = EP_SCRATCH(s, uint32_t, n_class);
  *a = (ep_adversary){.g = j->g,
                      .opt = j->opt,
                      .x = j->x + i * n,
                      .n = n,
                      .n_class = n_class,
                      .label = j->label[i],
                      .y0 = y,
                      .rank = rank,
                      .best = j->adv + i * n,
                      .is_minimal = j->kind->is_minimal,
                      .ends_when_found = !j->kind->is_minimal};
  assert(a->label < a->n_class);
  *r = (ep_adversary_result){0};
  if (!y || !rank) return EP_E_NOMEM;
  memcpy(a->best, a->x, n * sizeof *a->best);
  EP_TRY(scores(a, a->x, s, y));
  r->predicted = r->fooled = class_of(a, y);
  r->is_wrong = ep_adversary_is_fooled(a, y);
  if (j->opt->is_own_class) a->label = r->predicted;
  a->is_done = ep_adversary_is_fooled(a, y); /* wrong, or a tie */
  ep_rng_seed_stream(&a->rng, j->opt->seed, i);
  order_classes(a, rank);
  a->n_rival = n_class - 1;
  if (j->opt->n_rival && j->opt->n_rival < a->n_rival) a->n_rival = j->opt->n_rival;
  return a->is_done ? EP_OK : j->kind->start(a, s);
}

static ep_status one_group(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  const job *j = arg;
  size_t first = index * j->group, n = j->count - first < j->group ? j->count - first : j->group, n_left = n;
  (void)worker;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_adversary *a = EP_SCRATCH(s, ep_adversary, n);
  if (!a) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) EP_TRY(begin(j, first + i, &a[i], s));
  while (n_left) {
    if (ep_ctx_should_stop(j->g->ctx)) return EP_E_STOPPED;
    n_left = 0;
    for (size_t i = 0; i < n; i++) n_left += !a[i].is_done;
    ep_scratch_mark m2 = ep_scratch_save(s);
    if (n_left) EP_TRY(look(a, n, s));
    ep_scratch_restore(s, m2);
  }
  float *y = EP_SCRATCH(s, float, a->n_class);
  if (!y) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    EP_TRY(confirm(&a[i], s, y, &j->out[first + i]));
    j->out[first + i].n_grad = a[i].n_grad;
    measure(&a[i], &j->out[first + i]);
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* Samples per group: by what the first one asks for, and by the memory that the network's values take. */
static ep_status group_size(job *j, ep_scratch *s) {
  ep_adversary a;
  ep_scratch_mark m = ep_scratch_save(s);
  j->group = 1;
  EP_TRY(begin(j, 0, &a, s));
  if (!a.step) EP_TRY(j->kind->start(&a, s)); /* not to be attacked, but alike */
  uint64_t each = cost(&a), values = 0;
  for (uint32_t v = 0; v < j->g->n_val; v++) values += j->g->val[v].n;
  uint64_t rows = values < MOST_VALUES / ROWS ? ROWS : MOST_VALUES / values;
  if (each && each < rows) j->group = (size_t)(rows / each);
  ep_scratch_restore(s, m);
  return EP_OK;
}

ep_status ep_adversary_run(const ep_attack_kind *kind, const ep_graph *g, const ep_adversary_opt *opt, size_t count,
                           const float *x, const uint32_t *label, ep_pool *pool, float *adv, ep_adversary_result *out) {
  job j = {kind, g, opt, count, 1, x, label, adv, out};
  if (!count) return EP_OK;
  EP_TRY(group_size(&j, ep_pool_scratch(pool)));
  return ep_pool_run(pool, (count + j.group - 1) / j.group, one_group, &j);
}
