/* Attacks within a ball: FGSM, PGD, APGD. */
#include <math.h>
#include <string.h>

#include "verifier/adversary.h"

static const float *at_random(ep_adversary *a, double radius, float *x) {
  for (uint32_t i = 0; i < a->n; i++) x[i] = a->x[i] + (float)(radius * (2 * ep_rng_uniform(&a->rng) - 1));
  ep_adversary_project(a, radius, x);
  return x;
}

/* x += step along the steepest direction of the norm. */
static void move(const ep_adversary *a, double step, const float *gx, float *x) {
  double norm = 0;
  for (uint32_t i = 0; i < a->n; i++) norm += (double)gx[i] * (double)gx[i];
  norm = sqrt(norm) + 1e-30;
  for (uint32_t i = 0; i < a->n; i++) {
    double d = a->opt->norm == EP_NORM_L2 ? (double)gx[i] / norm : (double)(gx[i] > 0) - (double)(gx[i] < 0);
    x[i] += (float)(step * d);
  }
}

static ep_status try_step(ep_adversary *a, double step, const float *gx, float *x, float *y, bool *is_fooled) {
  memcpy(x, a->x, a->n * sizeof *x);
  move(a, step, gx, x);
  ep_adversary_project(a, step, x);
  EP_TRY(ep_adversary_scores(a, 1, x, y));
  *is_fooled = ep_adversary_is_fooled(a, y);
  return EP_OK;
}

ep_status ep_adversary_fgsm(ep_adversary *a) {
  float *gx = EP_SCRATCH(a->s, float, a->n), *x = EP_SCRATCH(a->s, float, a->n),
        *y = EP_SCRATCH(a->s, float, a->n_class);
  bool is_fooled = false;
  if (!gx || !x || !y) return EP_E_NOMEM;
  EP_TRY(ep_adversary_ascend(a, 1, a->x, ep_adversary_cross_entropy, NULL, NULL, gx));
  if (a->opt->epsilon >= 0) {
    EP_TRY(try_step(a, a->opt->epsilon, gx, x, y, &is_fooled));
    if (is_fooled) ep_adversary_keep(a, x);
    return EP_OK;
  }
  /* The shortest step that fools, as far as doubling and halving find it. */
  double lo = 0, hi = 1.0 / 256, end = a->opt->norm == EP_NORM_L2 ? 2 * sqrt(a->n) : 2;
  for (; hi <= end && !is_fooled; hi *= 2) EP_TRY(try_step(a, hi, gx, x, y, &is_fooled));
  if (!is_fooled) return EP_OK;
  hi /= 2;
  for (int k = 0; k < 20; k++) {
    double mid = k ? 0.5 * (lo + hi) : hi;
    EP_TRY(try_step(a, mid, gx, x, y, &is_fooled));
    if (is_fooled) {
      ep_adversary_keep(a, x);
      hi = mid;
    } else {
      lo = mid;
    }
  }
  return EP_OK;
}

/* All restarts side by side; the first starts at the sample itself. */
ep_status ep_adversary_pgd(ep_adversary *a) {
  size_t n = a->n, r = a->opt->restarts;
  double eps = a->opt->epsilon, step = 2.5 * eps / a->opt->steps;
  float *x = EP_SCRATCH(a->s, float, r *n), *gx = EP_SCRATCH(a->s, float, r *n);
  float *y = EP_SCRATCH(a->s, float, r * a->n_class);
  if (!x || !gx || !y) return EP_E_NOMEM;
  memcpy(x, a->x, n * sizeof *x);
  for (size_t k = 1; k < r; k++) at_random(a, eps, x + k * n);
  for (uint32_t i = 0; i <= a->opt->steps; i++) {
    EP_TRY(ep_adversary_ascend(a, r, x, ep_adversary_cross_entropy, y, NULL, gx));
    for (size_t k = 0; k < r; k++) {
      if (!ep_adversary_is_fooled(a, y + k * a->n_class)) continue;
      ep_adversary_keep(a, x + k * n);
      return EP_OK;
    }
    for (size_t k = 0; k < r; k++) {
      move(a, step, gx + k * n, x + k * n);
      ep_adversary_project(a, eps, x + k * n);
    }
  }
  return EP_OK;
}

/* ---- APGD: momentum, and a step that is halved (from the best point so far) when progress stalls ---- */

typedef struct apgd {
  float *x, *before, *z, *g, *best, *best_g;
  float value, best_value, best_at_check;
  double step, step_at_check;
  uint32_t n_better, since, period;
} apgd;

/* Checkpoints: periods of 0.22 N, shrinking by 0.03 N down to 0.06 N; halve when fewer than 3/4 of the steps gained, or
 * neither step nor best value changed since the last check. */
static void check(ep_adversary *a, apgd *p) {
  bool is_slow = p->n_better * 4 < p->since * 3;
  bool is_stuck = p->step >= p->step_at_check && p->best_value <= p->best_at_check;
  double halved = p->step / 2;
  p->step_at_check = p->step;
  p->best_at_check = p->best_value;
  p->n_better = p->since = 0;
  uint32_t less = (uint32_t)(0.03 * a->opt->steps), least = (uint32_t)(0.06 * a->opt->steps);
  p->period = p->period > less + least ? p->period - less : least;
  if (!p->period) p->period = 1;
  if (!is_slow && !is_stuck) return;
  p->step = halved;
  memcpy(p->x, p->best, a->n * sizeof *p->x);
  memcpy(p->before, p->best, a->n * sizeof *p->x);
  memcpy(p->g, p->best_g, a->n * sizeof *p->g);
}

static ep_status apgd_step(ep_adversary *a, apgd *p, ep_adversary_loss loss, float *y, bool is_first) {
  const float alpha = is_first ? 1 : 0.75f;
  memcpy(p->z, p->x, a->n * sizeof *p->z);
  move(a, p->step, p->g, p->z);
  ep_adversary_project(a, a->opt->epsilon, p->z);
  for (uint32_t i = 0; i < a->n; i++) {
    float v = p->x[i] + alpha * (p->z[i] - p->x[i]) + (1 - alpha) * (p->x[i] - p->before[i]);
    p->before[i] = p->x[i];
    p->x[i] = v;
  }
  ep_adversary_project(a, a->opt->epsilon, p->x);
  float last = p->value;
  EP_TRY(ep_adversary_ascend(a, 1, p->x, loss, y, &p->value, p->g));
  p->n_better += p->value > last;
  p->since++;
  if (p->value > p->best_value) {
    p->best_value = p->value;
    memcpy(p->best, p->x, a->n * sizeof *p->best);
    memcpy(p->best_g, p->g, a->n * sizeof *p->best_g);
  }
  return EP_OK;
}

static ep_status apgd_once(ep_adversary *a, ep_adversary_loss loss, bool is_random) {
  apgd p = {0};
  float **const rows[] = {&p.x, &p.before, &p.z, &p.g, &p.best, &p.best_g};
  for (size_t i = 0; i < 6; i++)
    if (!(*rows[i] = EP_SCRATCH(a->s, float, a->n))) return EP_E_NOMEM;
  float *y = EP_SCRATCH(a->s, float, a->n_class);
  if (!y) return EP_E_NOMEM;
  if (is_random)
    at_random(a, a->opt->epsilon, p.x);
  else
    memcpy(p.x, a->x, a->n * sizeof *p.x);
  EP_TRY(ep_adversary_ascend(a, 1, p.x, loss, y, &p.value, p.g));
  memcpy(p.before, p.x, a->n * sizeof *p.x);
  memcpy(p.best, p.x, a->n * sizeof *p.x);
  memcpy(p.best_g, p.g, a->n * sizeof *p.x);
  p.best_value = p.best_at_check = p.value;
  p.step = p.step_at_check = 2 * a->opt->epsilon;
  p.period = (uint32_t)(0.22 * a->opt->steps);
  if (!p.period) p.period = 1;
  for (uint32_t i = 0; i < a->opt->steps && !ep_adversary_is_fooled(a, y); i++) {
    EP_TRY(apgd_step(a, &p, loss, y, i == 0));
    if (p.since == p.period && !ep_adversary_is_fooled(a, y)) check(a, &p);
  }
  if (ep_adversary_is_fooled(a, y)) ep_adversary_keep(a, p.x);
  return EP_OK;
}

static ep_status apgd_run(ep_adversary *a, ep_adversary_loss loss) {
  for (uint32_t r = 0; r < a->opt->restarts && !a->is_found; r++) {
    ep_scratch_mark m = ep_scratch_save(a->s);
    EP_TRY(apgd_once(a, loss, r > 0));
    ep_scratch_restore(a->s, m);
  }
  return EP_OK;
}

ep_status ep_adversary_apgd_ce(ep_adversary *a) { return apgd_run(a, ep_adversary_cross_entropy); }
ep_status ep_adversary_apgd_dlr(ep_adversary *a) { return apgd_run(a, ep_adversary_dlr); }
