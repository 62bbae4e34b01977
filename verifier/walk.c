#include "verifier/walk.h"

#include <math.h>
#include <string.h>

static float clamp(const ep_walk *w, size_t j, float x) {
  double v = (double)x;
  return v < w->lo[j] ? (float)w->lo[j] : v > w->hi[j] ? (float)w->hi[j] : x;
}

static double length_of(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t j = 0; j < n; j++) {
    double d = (double)a[j] - (b ? (double)b[j] : 0);
    sum += d * d;
  }
  return sqrt(sum);
}

void ep_walk_project(const ep_walk *w, float *x) {
  if (!w->width) {
    double far = length_of(x, w->centre, w->n);
    float part = far > w->radius ? (float)(w->radius / far) : 1;
    for (size_t j = 0; j < w->n && part < 1; j++) x[j] = w->centre[j] + part * (x[j] - w->centre[j]);
  }
  for (size_t j = 0; j < w->n; j++) x[j] = clamp(w, j, x[j]);
}

void ep_walk_step(const ep_walk *w, float length, const float *g, float *x) {
  if (w->width) {
    for (size_t j = 0; j < w->n; j++) {
      float far = w->width[j] * length;
      x[j] = clamp(w, j, x[j] - (g[j] > 0 ? far : g[j] < 0 ? -far : 0));
    }
    return;
  }
  double size = length_of(g, NULL, w->n);
  float part = size > 0 ? (float)(2 * w->radius * (double)length / size) : 0;
  for (size_t j = 0; j < w->n; j++) x[j] -= part * g[j];
  ep_walk_project(w, x);
}

/* ---- momentum ---- */

/* Checkpoints come at 22 % of the steps, then at intervals that shrink by 3 % each, not below 6 %. */
static uint32_t first_interval(uint32_t steps) { return (uint32_t)ceilf(0.22f * (float)steps); }
static uint32_t next_interval(uint32_t len, uint32_t steps) {
  return (uint32_t)ceilf(fmaxf((float)len - 0.03f * (float)steps, 0.06f * (float)steps));
}

ep_status ep_walk_momentum_init(ep_walk_momentum *m, const ep_walk *w, size_t n, uint32_t steps, float *step,
                                ep_scratch *s) {
  *m = (ep_walk_momentum){
      .steps = steps, .check_at = first_interval(steps), .check_len = first_interval(steps), .n = n, .step = step};
  m->old = EP_SCRATCH(s, float, n * w->n + 1);
  m->top = EP_SCRATCH(s, float, n * w->n + 1);
  m->top_g = EP_SCRATCH(s, float, n * w->n + 1);
  m->room = EP_SCRATCH(s, float, w->n + 1);
  m->top_loss = EP_SCRATCH(s, float, 2 * n + 1);
  m->n_better = EP_SCRATCH(s, uint32_t, n + 1);
  m->was_cut = EP_SCRATCH(s, bool, 3 * n + 1);
  if (!m->old || !m->top || !m->top_g || !m->room || !m->top_loss || !m->n_better || !m->was_cut) return EP_E_NOMEM;
  m->check_loss = m->top_loss + n;
  m->is_back = m->was_cut + n;
  m->is_top = m->is_back + n;
  for (size_t i = 0; i < n; i++) {
    step[i] = 1;
    m->top_loss[i] = m->check_loss[i] = INFINITY;
    m->n_better[i] = 0;
    m->was_cut[i] = m->is_back[i] = m->is_top[i] = false;
  }
  return EP_OK;
}

void ep_walk_momentum_note(ep_walk_momentum *m, const ep_walk *w, const float *x, const float *loss,
                           const float *last) {
  for (size_t i = 0; i < m->n; i++) {
    m->n_better[i] += loss[i] < last[i];
    m->is_top[i] = loss[i] < m->top_loss[i];
    if (!m->is_top[i]) continue;
    m->top_loss[i] = loss[i];
    memcpy(m->top + i * w->n, x + i * w->n, w->n * sizeof *x);
  }
  if (m->it++ < m->check_at) return;
  for (size_t i = 0; i < m->n; i++) {
    bool is_slow = (float)m->n_better[i] < 0.75f * (float)m->check_len;
    bool is_still = !m->was_cut[i] && !(m->top_loss[i] < m->check_loss[i]);
    m->was_cut[i] = m->is_back[i] = is_slow || is_still;
    m->n_better[i] = 0;
    m->check_loss[i] = m->top_loss[i];
    if (m->was_cut[i]) m->step[i] /= 2;
  }
  m->check_len = next_interval(m->check_len, m->steps);
  m->check_at += m->check_len;
}

/* x + 0.75 (z - x) + 0.25 (x - old) with z the plain step's end. Without momentum (the first step, and the one that
 * goes on from the best point) just z. */
void ep_walk_momentum_step(ep_walk_momentum *m, size_t i, const ep_walk *w, const float *g, float *x) {
  size_t n = w->n;
  float *old = m->old + i * n, *top_g = m->top_g + i * n, *z = m->room;
  bool is_plain = m->it == 1;
  if (m->is_top[i]) memcpy(top_g, g, n * sizeof *g);
  if (m->is_back[i] && m->top_loss[i] < INFINITY) {
    memcpy(x, m->top + i * n, n * sizeof *x);
    g = top_g;
    is_plain = true;
  }
  m->is_back[i] = false;
  memcpy(z, x, n * sizeof *z);
  ep_walk_step(w, m->step[i], g, z);
  for (size_t j = 0; j < n; j++) {
    float now = x[j];
    x[j] = is_plain ? z[j] : now + 0.75f * (z[j] - now) + 0.25f * (now - old[j]);
    old[j] = now;
  }
  if (!is_plain) ep_walk_project(w, x);
}
