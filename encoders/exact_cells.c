#include "encoders/exact_cells.h"

#include <assert.h>

typedef struct walk {
  ep_exprs e; /* over the inputs */
  ep_exact_lp region;
  mpq_t value;
  mpq_t *at, *neg; /* work space: a point, a row */
  ep_exact_visit visit;
  void *arg;
} walk;

static ep_status neuron(walk *w, uint32_t k, uint32_t i);

/* From node k on, everything before being decided. */
static ep_status node(walk *w, uint32_t k) {
  const ep_graph *g = w->e.g;
  for (; k < g->n_node; k++) {
    if (g->node[k].low.cls != EP_AFFINE) return neuron(w, k, 0);
    EP_TRY(ep_exprs_affine(&w->e, &g->node[k]));
  }
  return w->visit(w->arg, &w->region, w->e.of[g->output]);
}

/* The largest value of +-e over the region; the region is bounded and not empty. */
static ep_status largest(walk *w, mpq_t *e, bool is_negated, mpq_t value) {
  ep_exact_answer answer;
  uint32_t n_x = w->region.n_var;
  for (uint32_t j = 0; j <= n_x; j++) is_negated ? mpq_neg(w->neg[j], e[j]) : mpq_set(w->neg[j], e[j]);
  EP_TRY(ep_exact_lp_maximise(&w->region, w->neg, &answer, value, w->at));
  assert(answer == EP_EXACT_OPTIMAL);
  mpq_add(value, value, w->neg[n_x]);
  return EP_OK;
}

/* Goes on with neuron i + 1 where +-z <= 0. */
static ep_status branch(walk *w, uint32_t k, uint32_t i, mpq_t *z, bool is_active) {
  uint32_t n_x = w->region.n_var, n_row = w->region.n_row;
  mpq_t *y = ep_exprs_at(&w->e, w->e.g->node[k].out, i);
  for (uint32_t j = 0; j <= n_x; j++) is_active ? mpq_neg(w->neg[j], z[j]) : mpq_set(w->neg[j], z[j]);
  mpq_neg(w->value, w->neg[n_x]);
  EP_TRY(ep_exact_lp_add(&w->region, w->neg, w->value));
  if (is_active)
    ep_expr_copy(y, z, n_x + 1);
  else
    ep_expr_set_zero(y, n_x + 1);
  ep_status st = neuron(w, k, i + 1);
  ep_exact_lp_cut_back(&w->region, n_row);
  return st;
}

static ep_status neuron(walk *w, uint32_t k, uint32_t i) {
  const ep_node *nd = &w->e.g->node[k];
  for (; i < w->e.g->val[nd->out].n; i++) {
    mpq_t *z = ep_exprs_at(&w->e, nd->in[0], i), *y = ep_exprs_at(&w->e, nd->out, i);
    EP_TRY(largest(w, z, false, w->value));
    if (mpq_sgn(w->value) <= 0) {
      ep_expr_set_zero(y, w->e.width);
      continue;
    }
    EP_TRY(largest(w, z, true, w->value));
    if (mpq_sgn(w->value) <= 0) {
      ep_expr_copy(y, z, w->e.width);
      continue;
    }
    EP_TRY(branch(w, k, i, z, true));
    return branch(w, k, i, z, false);
  }
  return node(w, k + 1);
}

static ep_status start(walk *w, mpq_t *lo, mpq_t *hi) {
  const ep_graph *g = w->e.g;
  uint32_t n_x = w->region.n_var;
  for (uint32_t i = 0; i < n_x; i++) {
    mpq_t *x = ep_exprs_at(&w->e, g->input, i);
    mpq_set_ui(x[i], 1, 1);
    EP_TRY(ep_exact_lp_add(&w->region, x, hi[i]));
    mpq_set_si(w->neg[i], -1, 1);
    mpq_neg(w->value, lo[i]);
    EP_TRY(ep_exact_lp_add(&w->region, w->neg, w->value));
    mpq_set_ui(w->neg[i], 0, 1);
  }
  return node(w, 0);
}

ep_status ep_exact_cells(ep_ctx *ctx, const ep_graph *g, mpq_t *lo, mpq_t *hi, ep_exact_visit visit, void *arg) {
  EP_TRY(ep_exact_check(ctx, g));
  uint32_t n_x = g->val[g->input].n;
  walk w = {.visit = visit, .arg = arg};
  ep_exact_lp_init(&w.region, ctx, n_x);
  mpq_init(w.value);
  w.at = ep_rational_create(ctx, n_x);
  w.neg = ep_rational_create(ctx, n_x + 1);
  ep_status st = w.at && w.neg ? ep_exprs_init(&w.e, ctx, g, n_x) : EP_E_NOMEM;
  if (st == EP_OK) st = start(&w, lo, hi);
  ep_exprs_clear(&w.e);
  ep_rational_destroy(ctx, w.at, n_x);
  ep_rational_destroy(ctx, w.neg, n_x + 1);
  mpq_clear(w.value);
  ep_exact_lp_clear(&w.region);
  return st;
}

typedef struct range {
  uint32_t n_y;
  bool has_any;
  mpq_t *lo, *hi, *row, *at, value;
} range;

static ep_status widen(void *arg, ep_exact_lp *region, mpq_t *out) {
  range *r = arg;
  uint32_t n_x = region->n_var;
  ep_exact_answer answer;
  for (uint32_t i = 0; i < 2 * r->n_y; i++) {
    mpq_t *e = out + (size_t)(i / 2) * (n_x + 1), *best = i % 2 ? r->hi : r->lo;
    for (uint32_t j = 0; j <= n_x; j++) i % 2 ? mpq_set(r->row[j], e[j]) : mpq_neg(r->row[j], e[j]);
    EP_TRY(ep_exact_lp_maximise(region, r->row, &answer, r->value, r->at));
    assert(answer == EP_EXACT_OPTIMAL);
    mpq_add(r->value, r->value, r->row[n_x]);
    if (i % 2 == 0) mpq_neg(r->value, r->value);
    int c = mpq_cmp(r->value, best[i / 2]);
    if (!r->has_any || (i % 2 ? c > 0 : c < 0)) mpq_set(best[i / 2], r->value);
  }
  r->has_any = true;
  return EP_OK;
}

ep_status ep_exact_range(ep_ctx *ctx, const ep_graph *g, mpq_t *lo, mpq_t *hi, mpq_t *out_lo, mpq_t *out_hi) {
  uint32_t n_x = g->val[g->input].n;
  range r = {.n_y = g->val[g->output].n,
             .lo = out_lo,
             .hi = out_hi,
             .row = ep_rational_create(ctx, n_x + 1),
             .at = ep_rational_create(ctx, n_x)};
  mpq_init(r.value);
  ep_status st = r.row && r.at ? ep_exact_cells(ctx, g, lo, hi, widen, &r) : EP_E_NOMEM;
  ep_rational_destroy(ctx, r.row, n_x + 1);
  ep_rational_destroy(ctx, r.at, n_x);
  mpq_clear(r.value);
  return st;
}
