/* JSMA (Papernot et al. 2016): few pixels. Every other class is a target, all of them side by side; the one that needs
 * the fewest pixels is the result. */
#include <math.h>
#include <string.h>

#include "verifier/adversary.h"

typedef struct target {
  uint32_t class, n_use;
  uint32_t *use; /* [n_use] pixels that are not raised yet */
} target;

typedef struct jsma {
  target *target;                 /* [n_row], beside a->at */
  float *gain, *others, *al, *be; /* [n] each */
  float top;
  uint32_t it;
} jsma;

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

/* The pair of unused pixels with the largest -alpha*beta, alpha = gain of the target, beta = gain of all others (alpha
 * > 0 > beta); false when there is none. */
static bool best_pair(const jsma *m, const target *t, uint32_t pair[2]) {
  float best = 0, *restrict al = m->al, *restrict be = m->be;
  uint32_t n = t->n_use;
  for (uint32_t i = 0; i < n; i++) {
    al[i] = m->gain[t->use[i]];
    be[i] = m->others[t->use[i]];
  }
  for (uint32_t p = 0; p + 1 < n; p++) {
    const float ap = al[p], bp = be[p];
    float top = best_partner(ap, bp, n - p - 1, al + p + 1, be + p + 1);
    if (!(top > best)) continue;
    for (uint32_t q = p + 1; q < n; q++)
      if (ap + al[q] > 0 && bp + be[q] < 0 && -(ap + al[q]) * (bp + be[q]) > best) {
        best = -(ap + al[q]) * (bp + be[q]);
        pair[0] = p;
        pair[1] = q;
      }
  }
  return best > 0;
}

/* Raises one pair of pixels of point r for its target; false when none would help. */
static bool raise_pair(ep_adversary *a, uint32_t r) {
  jsma *m = a->state;
  target *t = &m->target[r];
  size_t n = a->n, k = a->n_class;
  const float *J = a->grad + r * k * n;
  uint32_t pair[2] = {0, 0};
  memset(m->others, 0, n * sizeof *m->others);
  for (uint32_t j = 0; j < k; j++) {
    if (a->rank[j] == t->class)
      memcpy(m->gain, J + j * n, n * sizeof *m->gain);
    else
      for (size_t i = 0; i < n; i++) m->others[i] += J[j * n + i];
  }
  if (!best_pair(m, t, pair)) return false;
  for (int q = 1; q >= 0; q--) { /* the later one first: places stay right */
    a->at[r * n + t->use[pair[q]]] = m->top;
    t->use[pair[q]] = t->use[--t->n_use];
  }
  return true;
}

/* Targets that nothing helps drop out; the last one takes their place. */
static void jsma_step(ep_adversary *a) {
  jsma *m = a->state;
  a->is_done = m->it++ == a->opt->steps;
  uint32_t n_left = 0;
  for (uint32_t r = 0; r < a->n_row && !a->is_done; r++) {
    if (!raise_pair(a, r)) continue;
    target keep = m->target[n_left];
    m->target[n_left] = m->target[r];
    m->target[r] = keep;
    if (n_left != r) memcpy(a->at + (size_t)n_left * a->n, a->at + (size_t)r * a->n, a->n * sizeof *a->at);
    n_left++;
  }
  a->n_row = n_left;
  a->is_done |= !n_left;
  if (m->it == a->opt->steps) a->want = EP_WANT_SCORES;
}

ep_status ep_adversary_jsma(ep_adversary *a, ep_scratch *s) {
  size_t n = a->n;
  jsma *m = EP_SCRATCH(s, jsma, 1);
  a->n_row = a->n_rival = a->n_class - 1;
  a->at = EP_SCRATCH(s, float, a->n_row *n);
  if (!m || !a->at) return EP_E_NOMEM;
  *m = (jsma){.target = EP_SCRATCH(s, target, a->n_row),
              .gain = EP_SCRATCH(s, float, 4 * n),
              .top = isfinite(a->opt->clip_hi) ? (float)a->opt->clip_hi : 1};
  if (!m->target || !m->gain) return EP_E_NOMEM;
  m->others = m->gain + n;
  m->al = m->others + n;
  m->be = m->al + n;
  for (uint32_t r = 0; r < a->n_row; r++) {
    m->target[r] = (target){.class = a->rank[r], .use = EP_SCRATCH(s, uint32_t, n)};
    if (!m->target[r].use) return EP_E_NOMEM;
    memcpy(a->at + r * n, a->x, n * sizeof *a->at);
    for (uint32_t i = 0; i < n; i++)
      if (a->x[i] < m->top) m->target[r].use[m->target[r].n_use++] = i;
  }
  a->state = m;
  a->want = EP_WANT_JACOBIAN;
  a->step = jsma_step;
  a->ends_when_found = true;
  return EP_OK;
}
