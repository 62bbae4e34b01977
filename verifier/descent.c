#include "verifier/descent.h"

#include <math.h>
#include <string.h>

#include "models/ops/softmax.h"

static float row_value(const ep_row *row, uint32_t n_y, const float *y, const float *x) {
  double t = -row->rhs.lo;
  for (uint32_t k = 0; k < row->n; k++)
    t += row->coef[k] * (double)(row->var[k] < n_y ? y[row->var[k]] : x[row->var[k] - n_y]);
  return (float)t;
}

/* The largest row value of a polytope, and its row; NULL for a polytope without rows, where every point counts. */
static float polytope_loss(const ep_polytope *p, uint32_t n_y, const float *y, const float *x, const ep_row **worst) {
  float top = p->n_row ? -INFINITY : -1;
  *worst = NULL;
  for (uint32_t r = 0; r < p->n_row; r++) {
    float v = row_value(&p->row[r], n_y, y, x);
    if (!(v <= top)) {
      top = v;
      *worst = &p->row[r];
    }
  }
  return top;
}

/* Loss = the largest row value, of the nearest polytope when there is a choice; the worst row's gradient seeds gy and
 * gx_row. */
static float loss_of(const ep_descent *d, const float *y, const float *x, float *gy, float *gx_row) {
  uint32_t n_y = d->run->q->n_y, n_x = d->run->q->n_x;
  bool is_any = d->poly == EP_DESCENT_ANY;
  const ep_row *row = NULL;
  float least = INFINITY;
  for (uint32_t p = is_any ? 0 : d->poly; p < (is_any ? d->box->n_poly : d->poly + 1); p++) {
    const ep_row *worst;
    if (is_any && ep_run_is_proved(d->run, d->box_id, p)) continue;
    float v = polytope_loss(&d->box->poly[p], n_y, y, x, &worst);
    if (row && v >= least) continue;
    least = v;
    row = worst;
  }
  memset(gy, 0, n_y * sizeof *gy);
  memset(gx_row, 0, n_x * sizeof *gx_row);
  for (uint32_t k = 0; row && k < row->n; k++)
    *(row->var[k] < n_y ? &gy[row->var[k]] : &gx_row[row->var[k] - n_y]) += (float)row->coef[k];
  return least;
}

/* Does every row ask c*(Y_i - Y_j) <= 0? */
static bool only_compares(const ep_input_box *b, uint32_t n_y) {
  for (uint32_t p = 0; p < b->n_poly; p++)
    for (uint32_t r = 0; r < b->poly[p].n_row; r++) {
      const ep_row *row = &b->poly[p].row[r];
      bool is_pair = row->n == 2 && row->var[0] < n_y && row->var[1] < n_y && row->coef[0] == -row->coef[1];
      if (!is_pair || row->rhs.lo != 0 || row->rhs.hi != 0) return false;
    }
  return true;
}

/* Softmax keeps the order of its inputs and flattens the way to a change of it. */
static ep_graph without_softmax(const ep_graph *g, const ep_input_box *b, uint32_t n_y) {
  ep_graph view = *g;
  const ep_node *last = g->n_node ? &g->node[g->n_node - 1] : NULL;
  if (!last || last->out != g->output || !ep_softmax_is_whole(last) || !only_compares(b, n_y)) return view;
  view.n_node--;
  view.output = last->in[0];
  return view;
}

static float clamp(const ep_input_box *b, size_t j, float x) {
  double v = (double)x;
  return v < b->lo_in[j] ? (float)b->lo_in[j] : v > b->hi_in[j] ? (float)b->hi_in[j] : x;
}

/* ---- momentum ---- */

/* Checkpoints come at 22 % of the steps, then at intervals that shrink by 3 % each, not below 6 %. */
static uint32_t first_interval(uint32_t steps) { return (uint32_t)ceilf(0.22f * (float)steps); }
static uint32_t next_interval(uint32_t len, uint32_t steps) {
  return (uint32_t)ceilf(fmaxf((float)len - 0.03f * (float)steps, 0.06f * (float)steps));
}

static ep_status momentum_init(ep_descent *d, uint32_t steps, ep_scratch *s) {
  size_t n = d->n, n_x = d->run->q->n_x;
  ep_descent_momentum *m = d->momentum = EP_SCRATCH(s, ep_descent_momentum, 1);
  if (!m) return EP_E_NOMEM;
  *m = (ep_descent_momentum){.steps = steps, .check_at = first_interval(steps), .check_len = first_interval(steps)};
  m->old = EP_SCRATCH(s, float, n *n_x + 1);
  m->top = EP_SCRATCH(s, float, n *n_x + 1);
  m->top_loss = EP_SCRATCH(s, float, 2 * n + 1);
  m->n_better = EP_SCRATCH(s, uint32_t, n + 1);
  m->was_cut = EP_SCRATCH(s, bool, 2 * n + 1);
  if (!m->old || !m->top || !m->top_loss || !m->n_better || !m->was_cut) return EP_E_NOMEM;
  m->check_loss = m->top_loss + n;
  m->is_back = m->was_cut + n;
  for (size_t i = 0; i < n; i++) {
    d->step[i] = 1;
    m->top_loss[i] = m->check_loss[i] = INFINITY;
    m->n_better[i] = 0;
    m->was_cut[i] = m->is_back[i] = false;
  }
  return EP_OK;
}

/* Keeps the best; at checkpoints, points that rarely improved or stand still go back to it with half the step. */
static void momentum_check(ep_descent *d) {
  ep_descent_momentum *m = d->momentum;
  size_t n_x = d->run->q->n_x;
  for (size_t i = 0; i < d->n; i++) {
    m->n_better[i] += d->loss[i] < d->last[i];
    if (!(d->loss[i] < m->top_loss[i])) continue;
    m->top_loss[i] = d->loss[i];
    memcpy(m->top + i * n_x, d->x + i * n_x, n_x * sizeof(float));
  }
  if (m->it++ < m->check_at) return;
  for (size_t i = 0; i < d->n; i++) {
    bool is_slow = (float)m->n_better[i] < 0.75f * (float)m->check_len;
    bool is_still = !m->was_cut[i] && !(m->top_loss[i] < m->check_loss[i]);
    m->was_cut[i] = m->is_back[i] = is_slow || is_still;
    m->n_better[i] = 0;
    m->check_loss[i] = m->top_loss[i];
    if (m->was_cut[i]) d->step[i] /= 2;
  }
  m->check_len = next_interval(m->check_len, m->steps);
  m->check_at += m->check_len;
}

/* x + 0.75 (z - x) + 0.25 (x - old) with z the plain step's end. */
static void momentum_move(ep_descent *d, size_t i) {
  ep_descent_momentum *m = d->momentum;
  size_t n_x = d->run->q->n_x;
  float *x = d->x + i * n_x, *old = m->old + i * n_x;
  const float *gx = d->gx + i * n_x, *gx_row = d->gx_row + i * n_x;
  if (m->is_back[i]) {
    memcpy(x, m->top + i * n_x, n_x * sizeof *x);
    memcpy(old, x, n_x * sizeof *x);
    m->is_back[i] = false;
    return;
  }
  bool is_first = m->it == 1;
  for (size_t j = 0; j < n_x; j++) {
    float g = gx[j] + gx_row[j], w = (float)(d->box->hi_in[j] - d->box->lo_in[j]) * d->step[i], now = x[j];
    float z = clamp(d->box, j, now - (g > 0 ? w : g < 0 ? -w : 0));
    float last = is_first ? now : old[j];
    x[j] = is_first ? z : clamp(d->box, j, now + 0.75f * (z - now) + 0.25f * (now - last));
    old[j] = now;
  }
}

/* ---- plain steps ---- */

static void plain_move(ep_descent *d, size_t i, float step) {
  size_t n_x = d->run->q->n_x;
  float *x = d->x + i * n_x;
  for (size_t j = 0; j < n_x; j++) {
    float g = d->gx[i * n_x + j] + d->gx_row[i * n_x + j];
    float w = (float)(d->box->hi_in[j] - d->box->lo_in[j]) * step;
    x[j] = clamp(d->box, j, x[j] - (g > 0 ? w : g < 0 ? -w : 0));
  }
}

/* ---- both ---- */

ep_status ep_descent_init(ep_descent *d, const ep_run *run, uint32_t box, uint32_t poly, size_t n,
                          uint32_t momentum_steps, ep_scratch *s) {
  size_t n_x = run->q->n_x, n_y = run->q->n_y;
  *d = (ep_descent){.run = run, .box_id = box, .poly = poly, .box = &run->q->box[box], .n = n};
  d->g = without_softmax(run->g, d->box, run->q->n_y);
  d->x = EP_SCRATCH(s, float, n *n_x + 1);
  d->gx = EP_SCRATCH(s, float, n *n_x + 1);
  d->gx_row = EP_SCRATCH(s, float, n *n_x + 1);
  d->gy = EP_SCRATCH(s, float, n *n_y + 1);
  d->step = EP_SCRATCH(s, float, 3 * n + 1);
  if (!d->x || !d->gx || !d->gx_row || !d->gy || !d->step) return EP_E_NOMEM;
  d->loss = d->step + n;
  d->last = d->loss + n;
  for (size_t i = 0; i < n; i++) {
    d->step[i] = 0.25f / (float)(1 + i % 3);
    d->last[i] = INFINITY;
  }
  return momentum_steps ? momentum_init(d, momentum_steps, s) : EP_OK;
}

ep_status ep_descent_diversify(ep_descent *d, ep_rng *rng, uint32_t steps, ep_scratch *s) {
  size_t n_x = d->run->q->n_x, n_y = d->run->q->n_y;
  for (size_t i = 0; i < d->n * n_y; i++) d->gy[i] = (float)(2 * ep_rng_uniform(rng) - 1);
  memset(d->gx_row, 0, d->n * n_x * sizeof *d->gx_row);
  for (uint32_t k = 0; k < steps; k++) {
    ep_scratch_mark m = ep_scratch_save(s);
    EP_TRY(ep_eval_f32(&d->g, d->n, d->x, s, &d->trace));
    EP_TRY(ep_grad_f32(&d->g, &d->trace, d->gy, d->gx, s));
    for (size_t i = 0; i < d->n; i++) plain_move(d, i, 0.5f);
    ep_scratch_restore(s, m);
  }
  return EP_OK;
}

ep_status ep_descent_evaluate(ep_descent *d, ep_scratch *s) {
  size_t n_x = d->run->q->n_x, n_y = d->run->q->n_y;
  EP_TRY(ep_eval_f32(&d->g, d->n, d->x, s, &d->trace));
  const float *y = d->trace.v[d->g.output];
  for (size_t i = 0; i < d->n; i++)
    d->loss[i] = loss_of(d, y + i * n_y, d->x + i * n_x, d->gy + i * n_y, d->gx_row + i * n_x);
  if (d->momentum) momentum_check(d);
  for (size_t i = 0; i < d->n; i++) {
    if (!d->momentum && !(d->loss[i] < d->last[i])) d->step[i] *= 0.7f;
    d->last[i] = d->loss[i];
  }
  return EP_OK;
}

ep_status ep_descent_move(ep_descent *d, ep_scratch *s) {
  EP_TRY(ep_grad_f32(&d->g, &d->trace, d->gy, d->gx, s));
  for (size_t i = 0; i < d->n; i++)
    if (d->momentum)
      momentum_move(d, i);
    else
      plain_move(d, i, d->step[i]);
  return EP_OK;
}
