#include "verifier/descent.h"

#include <assert.h>
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
  if (d->has_x_rows) memset(gx_row, 0, n_x * sizeof *gx_row);
  for (uint32_t k = 0; row && k < row->n; k++) {
    assert(row->var[k] < n_y || gx_row);
    *(row->var[k] < n_y ? &gy[row->var[k]] : &gx_row[row->var[k] - n_y]) += (float)row->coef[k];
  }
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

static bool names_inputs(const ep_input_box *b, uint32_t n_y) {
  for (uint32_t p = 0; p < b->n_poly; p++)
    for (uint32_t r = 0; r < b->poly[p].n_row; r++)
      for (uint32_t k = 0; k < b->poly[p].row[r].n; k++)
        if (b->poly[p].row[r].var[k] >= n_y) return true;
  return false;
}

ep_status ep_descent_init(ep_descent *d, const ep_run *run, uint32_t box, uint32_t poly, size_t n,
                          uint32_t momentum_steps, ep_scratch *s) {
  size_t n_x = run->q->n_x, n_y = run->q->n_y;
  *d = (ep_descent){.run = run, .box_id = box, .poly = poly, .box = &run->q->box[box], .n = n};
  d->g = without_softmax(run->g, d->box, run->q->n_y);
  d->has_x_rows = names_inputs(d->box, run->q->n_y);
  float *width = EP_SCRATCH(s, float, n_x + 1);
  d->x = EP_SCRATCH(s, float, n *n_x + 1);
  d->gx = EP_SCRATCH(s, float, n *n_x + 1);
  d->gx_row = d->has_x_rows ? EP_SCRATCH(s, float, n *n_x + 1) : NULL;
  d->gy = EP_SCRATCH(s, float, n *n_y + 1);
  d->step = EP_SCRATCH(s, float, 3 * n + 1);
  if (!width || !d->x || !d->gx || (d->has_x_rows && !d->gx_row) || !d->gy || !d->step) return EP_E_NOMEM;
  for (size_t j = 0; j < n_x; j++) width[j] = (float)(d->box->hi_in[j] - d->box->lo_in[j]);
  d->walk = (ep_walk){.n = n_x, .lo = d->box->lo_in, .hi = d->box->hi_in, .width = width};
  d->loss = d->step + n;
  d->last = d->loss + n;
  for (size_t i = 0; i < n; i++) {
    d->step[i] = 0.25f / (float)(1 + i % 3);
    d->last[i] = INFINITY;
  }
  if (!momentum_steps) return EP_OK;
  d->momentum = EP_SCRATCH(s, ep_walk_momentum, 1);
  return d->momentum ? ep_walk_momentum_init(d->momentum, &d->walk, n, momentum_steps, d->step, s) : EP_E_NOMEM;
}

ep_status ep_descent_diversify(ep_descent *d, ep_rng *rng, uint32_t steps, ep_scratch *s) {
  size_t n_x = d->run->q->n_x, n_y = d->run->q->n_y;
  for (size_t i = 0; i < d->n * n_y; i++) d->gy[i] = (float)(2 * ep_rng_uniform(rng) - 1);
  for (uint32_t k = 0; k < steps; k++) {
    ep_scratch_mark m = ep_scratch_save(s);
    EP_TRY(ep_eval_f32(&d->g, d->n, d->x, s, &d->trace));
    EP_TRY(ep_grad_f32(&d->g, &d->trace, d->gy, d->gx, s));
    for (size_t i = 0; i < d->n; i++) ep_walk_step(&d->walk, 0.5f, d->gx + i * n_x, d->x + i * n_x);
    ep_scratch_restore(s, m);
  }
  return EP_OK;
}

ep_status ep_descent_evaluate(ep_descent *d, ep_scratch *s) {
  size_t n_x = d->run->q->n_x, n_y = d->run->q->n_y;
  EP_TRY(ep_eval_f32(&d->g, d->n, d->x, s, &d->trace));
  const float *y = d->trace.v[d->g.output];
  for (size_t i = 0; i < d->n; i++)
    d->loss[i] = loss_of(d, y + i * n_y, d->x + i * n_x, d->gy + i * n_y, d->has_x_rows ? d->gx_row + i * n_x : NULL);
  if (d->momentum) ep_walk_momentum_note(d->momentum, &d->walk, d->x, d->loss, d->last);
  for (size_t i = 0; i < d->n; i++) {
    if (!d->momentum && !(d->loss[i] < d->last[i])) d->step[i] *= 0.7f;
    d->last[i] = d->loss[i];
  }
  return EP_OK;
}

ep_status ep_descent_move(ep_descent *d, ep_scratch *s) {
  size_t n_x = d->run->q->n_x;
  EP_TRY(ep_grad_f32(&d->g, &d->trace, d->gy, d->gx, s));
  for (size_t k = 0; d->has_x_rows && k < d->n * n_x; k++) d->gx[k] += d->gx_row[k];
  for (size_t i = 0; i < d->n; i++)
    if (d->momentum)
      ep_walk_momentum_step(d->momentum, i, &d->walk, d->gx + i * n_x, d->x + i * n_x);
    else
      ep_walk_step(&d->walk, d->step[i], d->gx + i * n_x, d->x + i * n_x);
  return EP_OK;
}
