/* Attacks within a ball: FGSM, PGD, APGD. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "verifier/adversary.h"

/* ---- FGSM ---- */

typedef struct fgsm {
  ep_adversary_ball ball;
  float *g;
  double at, lo, hi, end; /* the step under way; without a radius: its bracket, hi = 0 while none is known */
  uint32_t n_halved;
} fgsm;

static void fgsm_try(ep_adversary *a, fgsm *f, double length) {
  f->at = length;
  memcpy(a->at, a->x, a->n * sizeof *a->at);
  ep_adversary_ball_set(a, length, &f->ball);
  ep_walk_step(&f->ball.walk, 0.5f, f->g, a->at);
}

/* The shortest step that fools, as far as doubling and halving find it. */
static void fgsm_shorter(ep_adversary *a) {
  enum { HALVINGS = 20 };
  fgsm *f = a->state;
  bool is_fooled = ep_adversary_is_fooled(a, a->y);
  if (a->opt->epsilon >= 0) {
    a->is_done = true;
    return;
  }
  if (is_fooled)
    f->hi = f->at;
  else
    f->lo = f->at;
  a->is_done = f->hi > 0 ? f->n_halved++ == HALVINGS : 2 * f->at > f->end;
  if (!a->is_done) fgsm_try(a, f, f->hi > 0 ? 0.5 * (f->lo + f->hi) : 2 * f->at);
}

static void fgsm_first(ep_adversary *a) {
  fgsm *f = a->state;
  memcpy(f->g, a->grad, a->n * sizeof *f->g);
  a->want = EP_WANT_SCORES;
  a->step = fgsm_shorter;
  fgsm_try(a, f, a->opt->epsilon >= 0 ? a->opt->epsilon : 1.0 / 256);
}

static ep_status fgsm_start(ep_adversary *a, ep_adversary_loss loss, ep_scratch *s) {
  fgsm *f = EP_SCRATCH(s, fgsm, 1);
  a->at = EP_SCRATCH(s, float, a->n);
  if (!f || !a->at) return EP_E_NOMEM;
  *f = (fgsm){.end = a->opt->norm == EP_NORM_L2 ? 2 * sqrt(a->n) : 2, .g = EP_SCRATCH(s, float, a->n)};
  if (!f->g) return EP_E_NOMEM;
  EP_TRY(ep_adversary_ball_init(a, 0, &f->ball, s));
  memcpy(a->at, a->x, a->n * sizeof *a->at);
  a->state = f;
  a->n_row = 1;
  a->want = EP_WANT_GRADIENT;
  a->loss = loss;
  a->step = fgsm_first;
  a->is_minimal = a->opt->epsilon < 0;
  a->ends_when_found = !a->is_minimal;
  return EP_OK;
}

ep_status ep_adversary_fgsm(ep_adversary *a, ep_scratch *s) { return fgsm_start(a, ep_adversary_cross_entropy, s); }

/* The cross-entropy as it is usually computed: probabilities by softmax, and p - 1 for the label, which in float32 is 0
 * once the label leads by about 17. Weaker than ep_adversary_cross_entropy; published figures were measured like this.
 */
static float from_probabilities(const ep_adversary *a, uint32_t row, const float *y, float *gy) {
  float top = y[0], sum = 0;
  (void)row;
  assert(a->n_class >= 2);
  for (uint32_t j = 1; j < a->n_class; j++) top = fmaxf(top, y[j]);
  for (uint32_t j = 0; j < a->n_class; j++) sum += gy[j] = expf(y[j] - top);
  for (uint32_t j = 0; j < a->n_class; j++) gy[j] /= -sum;
  gy[a->label] += 1;
  return y[a->label] - top - logf(sum);
}

ep_status ep_adversary_fgsm_p(ep_adversary *a, ep_scratch *s) { return fgsm_start(a, from_probabilities, s); }

/* ---- PGD and APGD: all restarts side by side, the first `n_still` start at the sample itself ---- */

typedef struct walks {
  ep_adversary_ball ball;
  ep_walk_momentum m;
  float *length, *last;
  uint32_t it;
} walks;

static ep_status start_walks(ep_adversary *a, uint32_t n_still, ep_adversary_loss loss, void (*step)(ep_adversary *),
                             ep_scratch *s) {
  walks *w = EP_SCRATCH(s, walks, 1);
  a->n_row = a->opt->restarts;
  a->at = EP_SCRATCH(s, float, (size_t)a->n_row * a->n);
  if (!w || !a->at) return EP_E_NOMEM;
  *w = (walks){.length = EP_SCRATCH(s, float, a->n_row), .last = EP_SCRATCH(s, float, a->n_row)};
  if (!w->length || !w->last) return EP_E_NOMEM;
  EP_TRY(ep_adversary_ball_init(a, a->opt->epsilon, &w->ball, s));
  for (uint32_t r = 0; r < a->n_row; r++) {
    float *x = a->at + (size_t)r * a->n;
    w->last[r] = INFINITY;
    for (uint32_t i = 0; i < a->n; i++)
      x[i] = a->x[i] + (r < n_still ? 0 : (float)(a->opt->epsilon * (2 * ep_rng_uniform(&a->rng) - 1)));
    if (r >= n_still) ep_walk_project(&w->ball.walk, x);
  }
  a->state = w;
  a->loss = loss;
  a->step = step;
  a->want = EP_WANT_GRADIENT;
  return EP_OK;
}

/* The points after the last step are only looked at. */
static bool is_over(ep_adversary *a, walks *w) {
  a->is_done = w->it++ == a->opt->steps;
  if (w->it == a->opt->steps) a->want = EP_WANT_SCORES;
  return a->is_done;
}

static void pgd_step(ep_adversary *a) {
  walks *w = a->state;
  if (is_over(a, w)) return;
  for (uint32_t r = 0; r < a->n_row; r++)
    ep_walk_step(&w->ball.walk, 1.25f / (float)a->opt->steps, a->grad + (size_t)r * a->n, a->at + (size_t)r * a->n);
}

ep_status ep_adversary_pgd(ep_adversary *a, ep_scratch *s) {
  return start_walks(a, 1, ep_adversary_cross_entropy, pgd_step, s);
}

static void apgd_step(ep_adversary *a) {
  walks *w = a->state;
  if (is_over(a, w)) return;
  ep_walk_momentum_note(&w->m, &w->ball.walk, a->at, a->value, w->last);
  for (uint32_t r = 0; r < a->n_row; r++) {
    w->last[r] = a->value[r];
    ep_walk_momentum_step(&w->m, r, &w->ball.walk, a->grad + (size_t)r * a->n, a->at + (size_t)r * a->n);
  }
}

static ep_status apgd(ep_adversary *a, uint32_t n_still, ep_adversary_loss loss, ep_scratch *s) {
  EP_TRY(start_walks(a, n_still, loss, apgd_step, s));
  walks *w = a->state;
  return ep_walk_momentum_init(&w->m, &w->ball.walk, a->n_row, a->opt->steps, w->length, s);
}

ep_status ep_adversary_apgd_ce(ep_adversary *a, ep_scratch *s) { return apgd(a, 1, ep_adversary_cross_entropy, s); }
ep_status ep_adversary_apgd_dlr(ep_adversary *a, ep_scratch *s) { return apgd(a, 1, ep_adversary_dlr, s); }

/* Each restart has a target of its own, best rivals first: with as many restarts as other classes, each is tried. */
ep_status ep_adversary_apgd_t(ep_adversary *a, ep_scratch *s) {
  return apgd(a, a->n_class - 1, ep_adversary_dlr_targeted, s);
}
