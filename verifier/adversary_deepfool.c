/* DeepFool (Moosavi-Dezfooli et al. 2016) and DDN (Rony et al. 2019): short ways to misclassified points. */
#include <math.h>
#include <string.h>

#include "verifier/adversary.h"

/* ---- DeepFool ---- */

typedef struct deepfool {
  float *r; /* [n] the perturbation without overshoot */
  uint32_t it;
} deepfool;

/* The step onto the nearest linearised boundary, added to r[n]: its distance times w/|w|_2 (l2) or sign(w) (linf). The
 * authors' code adds 1e-4 to the distance, which lands beyond the boundary also where the gap is tiny. */
static bool deepfool_add(const ep_adversary *a, float *r) {
  const float *own = a->grad + (size_t)a->n_rival * a->n;
  bool is_l2 = a->opt->norm == EP_NORM_L2;
  double size, gap;
  const float *row = ep_adversary_nearest(a, &size, &gap);
  if (!row) return false;
  double far = fabs(gap) / size + 1e-4;
  for (uint32_t i = 0; i < a->n; i++) {
    double w = (double)row[i] - (double)own[i];
    r[i] += (float)(far * (is_l2 ? w / size : (double)(w > 0) - (double)(w < 0)));
  }
  return true;
}

/* The label stays the original class throughout; overshoot applies to the total perturbation. */
static void deepfool_step(ep_adversary *a) {
  deepfool *d = a->state;
  a->is_done = d->it++ == a->opt->steps || !deepfool_add(a, d->r);
  if (a->is_done) return;
  if (d->it == a->opt->steps) a->want = EP_WANT_SCORES;
  for (uint32_t i = 0; i < a->n; i++) a->at[i] = a->x[i] + (float)(1 + a->opt->overshoot) * d->r[i];
  ep_adversary_clip(a, a->at);
}

ep_status ep_adversary_deepfool(ep_adversary *a, ep_scratch *s) {
  deepfool *d = EP_SCRATCH(s, deepfool, 1);
  a->at = EP_SCRATCH(s, float, a->n);
  if (!d || !a->at) return EP_E_NOMEM;
  *d = (deepfool){.r = EP_SCRATCH(s, float, a->n)};
  if (!d->r) return EP_E_NOMEM;
  memset(d->r, 0, a->n * sizeof *d->r);
  memcpy(a->at, a->x, a->n * sizeof *a->at);
  a->state = d;
  a->n_row = 1;
  a->want = EP_WANT_JACOBIAN;
  a->step = deepfool_step;
  a->ends_when_found = true;
  return EP_OK;
}

/* ---- DDN: decoupled direction and norm ---- */

typedef struct ddn {
  float *d; /* [n] from the sample to the point */
  double radius;
  uint32_t it;
} ddn;

static void ddn_step(ep_adversary *a) {
  const double gamma = 0.05, pi = 3.141592653589793;
  ddn *p = a->state;
  a->is_done = p->it == a->opt->steps;
  if (a->is_done) return;
  double norm = 0, length = 0;
  double rate = 0.01 + 0.5 * (1 - 0.01) * (1 + cos(pi * p->it++ / a->opt->steps));
  p->radius *= ep_adversary_is_fooled(a, a->y) ? 1 - gamma : 1 + gamma;
  for (uint32_t i = 0; i < a->n; i++) norm += (double)a->grad[i] * (double)a->grad[i];
  for (uint32_t i = 0; i < a->n; i++) {
    p->d[i] -= norm > 0 ? (float)(rate * (double)a->grad[i] / sqrt(norm)) : (float)ep_rng_normal(&a->rng) * 1e-3f;
    length += (double)p->d[i] * (double)p->d[i];
  }
  float part = (float)(p->radius / (sqrt(length) + 1e-30));
  for (uint32_t i = 0; i < a->n; i++) a->at[i] = a->x[i] + part * p->d[i];
  ep_adversary_clip(a, a->at);
  for (uint32_t i = 0; i < a->n; i++) p->d[i] = a->at[i] - a->x[i];
  if (p->it == a->opt->steps) a->want = EP_WANT_SCORES;
}

ep_status ep_adversary_ddn(ep_adversary *a, ep_scratch *s) {
  ddn *p = EP_SCRATCH(s, ddn, 1);
  a->at = EP_SCRATCH(s, float, a->n);
  if (!p || !a->at) return EP_E_NOMEM;
  *p = (ddn){.d = EP_SCRATCH(s, float, a->n), .radius = 1};
  if (!p->d) return EP_E_NOMEM;
  memset(p->d, 0, a->n * sizeof *p->d);
  memcpy(a->at, a->x, a->n * sizeof *a->at);
  a->state = p;
  a->n_row = 1;
  a->want = EP_WANT_GRADIENT;
  a->loss = ep_adversary_cross_entropy;
  a->step = ddn_step;
  return EP_OK;
}
