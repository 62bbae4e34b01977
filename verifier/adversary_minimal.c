/* Attacks that look for the nearest misclassified point: DeepFool, DDN, JSMA. */
#include <math.h>
#include <string.h>

#include "verifier/adversary.h"

/* ---- DeepFool ---- */

/* One linearised step: the class k whose boundary f_k = f_label is nearest, and the step onto it, added to r[n]. For
 * the l_p norm with 1/p + 1/q = 1 the distance is |f'|/|w|_q; the step is |f'|/|w|_2^2 w (l2), |f'|/|w|_1 sign(w)
 * (linf). */
static bool deepfool_step(const ep_adversary *a, const float *y, const float *J, float *r) {
  const float *own = J + (size_t)a->label * a->n, *w_best = NULL;
  double nearest = INFINITY, size = 0, gap = 0;
  bool is_l2 = a->opt->norm == EP_NORM_L2;
  for (uint32_t k = 0; k < a->n_class; k++) {
    if (k == a->label) continue;
    const float *w = J + (size_t)k * a->n;
    double norm = 0, f = fabs((double)y[k] - (double)y[a->label]);
    for (uint32_t i = 0; i < a->n; i++) {
      double d = (double)w[i] - (double)own[i];
      norm += is_l2 ? d * d : fabs(d);
    }
    if (is_l2) norm = sqrt(norm);
    if (!(norm > 0) || f / norm >= nearest) continue;
    nearest = f / norm;
    w_best = w;
    size = norm;
    gap = f;
  }
  if (!w_best) return false;
  gap += 1e-4; /* lands beyond the boundary also where it is flat */
  for (uint32_t i = 0; i < a->n; i++) {
    double d = (double)w_best[i] - (double)own[i];
    r[i] += (float)(is_l2 ? gap / (size * size) * d : gap / size * ((double)(d > 0) - (double)(d < 0)));
  }
  return true;
}

/* The label stays the original class throughout; overshoot applies to the total perturbation. */
ep_status ep_adversary_deepfool(ep_adversary *a) {
  float *y = EP_SCRATCH(a->s, float, a->n_class), *J = EP_SCRATCH(a->s, float, (size_t)a->n_class * a->n);
  float *r = EP_SCRATCH(a->s, float, a->n), *x = EP_SCRATCH(a->s, float, a->n);
  const float lo = (float)a->opt->clip_lo, hi = (float)a->opt->clip_hi, longer = (float)(1 + a->opt->overshoot);
  if (!y || !J || !r || !x) return EP_E_NOMEM;
  memset(r, 0, a->n * sizeof *r);
  memcpy(x, a->x, a->n * sizeof *x);
  for (uint32_t step = 0; step < a->opt->steps; step++) {
    EP_TRY(ep_adversary_jacobian(a, x, y, J));
    if (ep_adversary_is_fooled(a, y) || !deepfool_step(a, y, J, r)) break;
    for (uint32_t i = 0; i < a->n; i++) x[i] = fminf(fmaxf(a->x[i] + longer * r[i], lo), hi);
  }
  EP_TRY(ep_adversary_scores(a, 1, x, y));
  if (ep_adversary_is_fooled(a, y)) ep_adversary_keep(a, x);
  return EP_OK;
}

/* ---- DDN: decoupled direction and norm ---- */

ep_status ep_adversary_ddn(ep_adversary *a) {
  float *y = EP_SCRATCH(a->s, float, a->n_class), *g = EP_SCRATCH(a->s, float, a->n);
  float *d = EP_SCRATCH(a->s, float, a->n), *x = EP_SCRATCH(a->s, float, a->n);
  const float lo = (float)a->opt->clip_lo, hi = (float)a->opt->clip_hi;
  const double gamma = 0.05, pi = 3.141592653589793;
  double radius = 1, best = INFINITY;
  if (!y || !g || !d || !x) return EP_E_NOMEM;
  memset(d, 0, a->n * sizeof *d);
  memcpy(x, a->x, a->n * sizeof *x);
  for (uint32_t step = 0; step < a->opt->steps; step++) {
    EP_TRY(ep_adversary_ascend(a, 1, x, ep_adversary_cross_entropy, y, NULL, g));
    bool is_fooled = ep_adversary_is_fooled(a, y);
    double norm = 0, far = 0, length = 0;
    for (uint32_t i = 0; i < a->n; i++) {
      norm += (double)g[i] * (double)g[i];
      far += (double)(x[i] - a->x[i]) * (double)(x[i] - a->x[i]);
    }
    if (is_fooled && sqrt(far) < best) {
      best = sqrt(far);
      ep_adversary_keep(a, x);
    }
    radius *= is_fooled ? 1 - gamma : 1 + gamma;
    double rate = 0.01 + 0.5 * (1 - 0.01) * (1 + cos(pi * step / a->opt->steps));
    for (uint32_t i = 0; i < a->n; i++) {
      d[i] += norm > 0 ? (float)(rate * (double)g[i] / sqrt(norm)) : (float)ep_rng_normal(&a->rng) * 1e-3f;
      length += (double)d[i] * (double)d[i];
    }
    double part = radius / (sqrt(length) + 1e-30);
    for (uint32_t i = 0; i < a->n; i++) {
      x[i] = fminf(fmaxf(a->x[i] + (float)part * d[i], lo), hi);
      d[i] = x[i] - a->x[i];
    }
  }
  return EP_OK;
}

/* ---- JSMA ---- */

/* Largest -alpha*beta of al0 + al[q], be0 + be[q] with alpha > 0 > beta, 0 when there is none: in lanes, so that it
 * runs on whole registers with every compiler. */
static float best_partner(float al0, float be0, uint32_t n, const float *al, const float *be) {
  enum { LANE = 16 };
  float top[LANE] = {0}, best = 0;
  for (uint32_t q = 0; q < n; q += LANE)
    for (uint32_t k = 0; k < LANE; k++) {
      float alpha = q + k < n ? al0 + al[q + k] : 0, beta = q + k < n ? be0 + be[q + k] : 0;
      float v = alpha > 0 && beta < 0 ? -alpha * beta : 0;
      top[k] = v > top[k] ? v : top[k];
    }
  for (uint32_t k = 0; k < LANE; k++) best = top[k] > best ? top[k] : best;
  return best;
}

/* The pair of unused pixels (use[n_use]) with the largest -alpha*beta, alpha = gain of the target, beta = gain of all
 * others (alpha > 0 > beta); false when there is none. al[n_use], be[n_use] are room for their gains. */
static bool best_pair(const float *gain, const float *others, const uint32_t *use, uint32_t n_use, float *restrict al,
                      float *restrict be, uint32_t pair[2]) {
  float best = 0;
  for (uint32_t i = 0; i < n_use; i++) {
    al[i] = gain[use[i]];
    be[i] = others[use[i]];
  }
  for (uint32_t p = 0; p + 1 < n_use; p++) {
    const float ap = al[p], bp = be[p];
    float top = best_partner(ap, bp, n_use - p - 1, al + p + 1, be + p + 1);
    if (!(top > best)) continue;
    for (uint32_t q = p + 1; q < n_use; q++)
      if (ap + al[q] > 0 && bp + be[q] < 0 && -(ap + al[q]) * (bp + be[q]) > best) {
        best = -(ap + al[q]) * (bp + be[q]);
        pair[0] = p;
        pair[1] = q;
      }
  }
  return best > 0;
}

/* Raises pairs of pixels to the top of the valid range until the target class wins. */
static ep_status jsma_target(ep_adversary *a, uint32_t target, double *fewest) {
  size_t n = a->n, k = a->n_class;
  float *y = EP_SCRATCH(a->s, float, k), *J = EP_SCRATCH(a->s, float, k *n), *x = EP_SCRATCH(a->s, float, n);
  float *others = EP_SCRATCH(a->s, float, n), top = isfinite(a->opt->clip_hi) ? (float)a->opt->clip_hi : 1;
  float *al = EP_SCRATCH(a->s, float, n), *be = EP_SCRATCH(a->s, float, n);
  uint32_t *use = EP_SCRATCH(a->s, uint32_t, n), n_use = 0;
  if (!y || !J || !x || !others || !al || !be || !use) return EP_E_NOMEM;
  memcpy(x, a->x, n * sizeof *x);
  for (uint32_t i = 0; i < n; i++)
    if (x[i] < top) use[n_use++] = i;
  for (uint32_t step = 0; step < a->opt->steps && 2.0 * step < *fewest; step++) {
    uint32_t pair[2] = {0, 0};
    EP_TRY(ep_adversary_jacobian(a, x, y, J));
    if (ep_adversary_is_fooled(a, y)) {
      *fewest = 2.0 * step;
      ep_adversary_keep(a, x);
      return EP_OK;
    }
    memset(others, 0, n * sizeof *others);
    for (uint32_t j = 0; j < k; j++)
      for (size_t i = 0; i < n && j != target; i++) others[i] += J[j * n + i];
    if (!best_pair(J + target * n, others, use, n_use, al, be, pair)) return EP_OK;
    for (int q = 1; q >= 0; q--) { /* the later one first: places stay right */
      x[use[pair[q]]] = top;
      use[pair[q]] = use[--n_use];
    }
  }
  return EP_OK;
}

ep_status ep_adversary_jsma(ep_adversary *a) {
  double fewest = INFINITY;
  for (uint32_t target = 0; target < a->n_class; target++) {
    ep_scratch_mark m = ep_scratch_save(a->s);
    if (target != a->label) EP_TRY(jsma_target(a, target, &fewest));
    ep_scratch_restore(a->s, m);
  }
  return EP_OK;
}
