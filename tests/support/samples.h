/* A fixture's network at a grid of its box's points, in quadruple precision, and the root domain of a search there. */
#ifndef EP_TESTS_SUPPORT_SAMPLES_H
#define EP_TESTS_SUPPORT_SAMPLES_H

#include "tests/support/rootbox.h"

#include <stdlib.h>

#include "verifier/domain.h"

enum { SAMPLE_STEPS = 40, MAX_VALUES = 64 };

typedef struct samples {
  const fixture *f;
  quad *v[MAX_VALUES];
} samples;

static inline samples samples_open(const fixture *f) {
  samples s = {.f = f};
  for (uint32_t i = 0; i < f->g->n_val; i++) s.v[i] = calloc(f->g->val[i].n, sizeof(quad));
  return s;
}

static inline void samples_close(samples *s) {
  for (uint32_t i = 0; i < s->f->g->n_val; i++) free(s->v[i]);
}

/* Evaluates grid point t of the box, faces included; false after the last one. */
static inline bool samples_at(samples *s, uint32_t t) {
  const ep_input_box *b = &s->f->q->box[0];
  double x[8];
  uint32_t n_x = s->f->root->plan->n_x, at = t;
  for (uint32_t j = 0; j < n_x; j++, at /= SAMPLE_STEPS + 1)
    x[j] = fmin(b->hi[j], b->lo[j] + (b->hi[j] - b->lo[j]) * (at % (SAMPLE_STEPS + 1)) / SAMPLE_STEPS);
  if (at) return false;
  net_eval_quad(s->f->g, x, s->v);
  return true;
}

static inline double sampled_minimum(const fixture *f) {
  samples s = samples_open(f);
  double least = INFINITY;
  for (uint32_t t = 0; samples_at(&s, t); t++) least = fmin(least, (double)s.v[f->g->output][0]);
  samples_close(&s);
  return least;
}

/* No decisions, all slopes one half. */
static inline ep_domain *root_domain(const fixture *f) {
  ep_domain *d = ep_domain_create(f->ctx, 1, f->root->net.n_u, 0);
  assert_non_null(d);
  memset(d->slope, 128, f->root->net.n_u);
  return d;
}

#endif
