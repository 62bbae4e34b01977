/* FAB (Croce & Hein 2020): minimal-norm attack, l2 and linf. Each round linearises the nearest boundary, projects both
 * the point and the sample onto it within the valid range, and goes on from a mean of the two, biased towards the
 * sample; points that fool are drawn back towards it. At last, halving along the line from the sample to the nearest
 * point found. */
#include <math.h>
#include <string.h>

#include "verifier/adversary.h"

enum { STALE = 3, HALVINGS = 12 };

typedef struct fab {
  float *w;            /* [n] of the hyperplane w.(z - at) + gap = 0 */
  float *to_at, *to_x; /* [n] the steps of both projections */
  float *line;         /* [n] the point that the last search starts from */
  double before;       /* nearest distance when this restart began */
  double lo, hi;       /* the last search's bracket along `line` */
  uint32_t it, restart, n_stale, n_halved;
} fab;

/* The shortest step d[n] from p, in the norm, after which w.d = need (> 0) within the box: coordinate i moves by
 * min(t * a_i, r_i) in the direction of w_i, with a_i = 1 (linf) or |w_i| (l2) and r_i the room that is left. The sum
 * of |w_i| times the moves is concave and piecewise linear in t, so Newton's method from 0 climbs to its solution in a
 * finite number of steps. When there is none, all room is used. */
static void project(const ep_adversary *a, const float *p, const float *w, double need, float *d) {
  bool is_l2 = a->opt->norm == EP_NORM_L2;
  double sign = need < 0 ? -1 : 1, t = 0;
  for (;;) {
    double fixed = 0, slope = 0, next;
    for (uint32_t i = 0; i < a->n; i++) {
      double v = sign * (double)w[i], size = fabs(v), rate = is_l2 ? size : 1;
      double room = v > 0 ? a->opt->clip_hi - (double)p[i] : (double)p[i] - a->opt->clip_lo;
      if (t * rate < room)
        slope += size * rate;
      else if (size > 0)
        fixed += size * fmax(room, 0);
    }
    next = slope > 0 ? (sign * need - fixed) / slope : INFINITY;
    if (!(next > t * (1 + 1e-12))) break;
    t = next;
    if (!(t < INFINITY)) break;
  }
  for (uint32_t i = 0; i < a->n; i++) {
    double v = sign * (double)w[i], rate = is_l2 ? fabs(v) : 1;
    double room = v > 0 ? a->opt->clip_hi - (double)p[i] : (double)p[i] - a->opt->clip_lo;
    double move = v != 0 ? fmin(t * rate, fmax(room, 0)) : 0;
    d[i] = (float)(v > 0 ? move : -move);
  }
}

static double norm_of(const ep_adversary *a, const float *d) {
  double sum = 0, most = 0;
  for (uint32_t i = 0; i < a->n; i++) {
    sum += (double)d[i] * (double)d[i];
    most = fmax(most, fabs((double)d[i]));
  }
  return a->opt->norm == EP_NORM_L2 ? sqrt(sum) : most;
}

/* at <- (1 - alpha) (at + 1.05 to_at) + alpha (x + 1.05 to_x). */
static bool fab_move(ep_adversary *a) {
  const double eta = 1.05, most = 0.1;
  fab *f = a->state;
  double size, gap, shift = 0;
  const float *row = ep_adversary_nearest(a, &size, &gap), *own = a->grad + (size_t)a->n_rival * a->n;
  if (!row) return false;
  for (uint32_t i = 0; i < a->n; i++) f->w[i] = row[i] - own[i];
  for (uint32_t i = 0; i < a->n; i++) shift += (double)f->w[i] * ((double)a->x[i] - (double)a->at[i]);
  project(a, a->at, f->w, -gap, f->to_at);
  project(a, a->x, f->w, -gap - shift, f->to_x);
  double far = norm_of(a, f->to_at), far_x = norm_of(a, f->to_x);
  double alpha = far + far_x > 0 ? fmin(far / (far + far_x), most) : 0;
  for (uint32_t i = 0; i < a->n; i++) {
    double z = (double)a->at[i] + eta * (double)f->to_at[i], u = (double)a->x[i] + eta * (double)f->to_x[i];
    a->at[i] = (float)((1 - alpha) * z + alpha * u);
  }
  ep_adversary_clip(a, a->at);
  return true;
}

/* A start at random within half the distance known. */
static void fab_restart(ep_adversary *a) {
  fab *f = a->state;
  bool is_l2 = a->opt->norm == EP_NORM_L2;
  double radius = a->is_found ? a->distance : is_l2 ? 1 : 0.1;
  if (a->opt->epsilon >= 0) radius = fmin(radius, a->opt->epsilon);
  for (uint32_t i = 0; i < a->n; i++)
    f->w[i] = (float)(is_l2 ? ep_rng_normal(&a->rng) : 2 * ep_rng_uniform(&a->rng) - 1);
  double part = 0.5 * radius / (norm_of(a, f->w) + 1e-30);
  for (uint32_t i = 0; i < a->n; i++) a->at[i] = a->x[i] + (float)(part * (double)f->w[i]);
  ep_adversary_clip(a, a->at);
  f->it = 0;
  f->before = a->is_found ? a->distance : INFINITY;
}

static void fab_line_step(ep_adversary *a) {
  fab *f = a->state;
  if (f->n_halved) *(ep_adversary_is_fooled(a, a->y) ? &f->hi : &f->lo) = 0.5 * (f->lo + f->hi);
  a->is_done = f->n_halved++ == HALVINGS;
  float part = (float)(0.5 * (f->lo + f->hi));
  for (uint32_t i = 0; i < a->n; i++) a->at[i] = a->x[i] + part * (f->line[i] - a->x[i]);
}

/* Restarts until as many as were asked for are done, or some in a row brought less than a thousandth. */
static void fab_end_of_restart(ep_adversary *a) {
  fab *f = a->state;
  f->n_stale = a->is_found && a->distance < 0.999 * f->before ? 0 : f->n_stale + 1;
  a->want = EP_WANT_SCORES;
  if (++f->restart < a->opt->restarts && f->n_stale < STALE) {
    fab_restart(a);
    return;
  }
  a->is_done = !a->is_found;
  if (a->is_done) return;
  memcpy(f->line, a->best, a->n * sizeof *f->line);
  a->step = fab_line_step;
  fab_line_step(a);
}

/* Points are looked at first; gradients are taken where the next round starts from: at the point itself, or, when it
 * fools, a tenth of the way from the sample less far. */
static void fab_step(ep_adversary *a) {
  fab *f = a->state;
  if (a->want == EP_WANT_SCORES) {
    if (f->it == a->opt->steps) {
      fab_end_of_restart(a);
      return;
    }
    if (ep_adversary_is_fooled(a, a->y))
      for (uint32_t i = 0; i < a->n; i++) a->at[i] = 0.1f * a->x[i] + 0.9f * a->at[i];
    a->want = EP_WANT_JACOBIAN;
    return;
  }
  f->it++;
  a->want = EP_WANT_SCORES;
  if (!fab_move(a)) f->it = a->opt->steps;
}

ep_status ep_adversary_fab(ep_adversary *a, ep_scratch *s) {
  size_t n = a->n;
  fab *f = EP_SCRATCH(s, fab, 1);
  float *room = EP_SCRATCH(s, float, 5 * n);
  if (!f || !room) return EP_E_NOMEM;
  a->at = room;
  *f = (fab){
      .w = room + n, .to_at = room + 2 * n, .to_x = room + 3 * n, .line = room + 4 * n, .before = INFINITY, .hi = 1};
  memcpy(a->at, a->x, n * sizeof *a->at);
  a->state = f;
  a->n_row = 1;
  a->want = EP_WANT_JACOBIAN;
  a->step = fab_step;
  return EP_OK;
}
