#include "encoders/reduce.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Numbers in the replaced variables' sums, beyond which the problem is not reduced. */
static const size_t MOST_NUMBERS = (size_t)1 << 23;

/* sum coef[k] * (kept variable k) + cst, for one variable of the given problem or one row of it. */
typedef struct form {
  double *coef; /* [n_kept] */
  ep_itv cst;
} form;

typedef struct reduction {
  const ep_prob *p;
  ep_prob *out;
  int bits;
  uint32_t n_kept;
  uint32_t *map;     /* [p->n_var] */
  uint32_t *old;     /* [n_kept] the variables of p that stay */
  uint32_t *row_of;  /* [p->n_var] row that defines a replaced variable, EP_NO_VAR otherwise */
  bool *is_used;     /* [p->n_row] rows that became definitions */
  const form **sums; /* [p->n_var] of replaced variables */
  form sum;          /* of the row under way, with the masses that errors are proportional to */
  double *mass;
  uint32_t *var; /* the new row */
  double *coef;
} reduction;

/* ---- which variables stay ---- */

static void keep_read(const ep_prob *p, bool *is_kept) {
  for (uint32_t d = 0; d < p->n_disj; d++) {
    if (p->disj[d].arg != EP_NO_VAR) is_kept[p->disj[d].arg] = true;
    if (p->disj[d].out != EP_NO_VAR) is_kept[p->disj[d].out] = true;
  }
  for (uint32_t i = 0; i < p->n_choice_row; i++)
    for (uint32_t k = 0; k < p->choice_row[i].n; k++) is_kept[p->choice_row[i].var[k]] = true;
  for (uint32_t v = 0; v < p->n_var; v++)
    is_kept[v] |= p->origin_value[v] == p->input_value || p->origin_value[v] == EP_ORIGIN_BINARY;
}

/* The one variable of row i that it can define: not kept, coefficient +-1, everything else known by then. */
static uint32_t defined_by(const reduction *r, uint32_t i, const bool *is_kept) {
  const ep_prob_row *w = &r->p->row[i];
  uint32_t found = EP_NO_VAR;
  if (!(w->lo > -INFINITY && w->hi < INFINITY)) return EP_NO_VAR;
  for (uint32_t k = 0; k < w->n; k++) {
    uint32_t v = w->var[k];
    if (is_kept[v] || r->row_of[v] != EP_NO_VAR) continue;
    if (found != EP_NO_VAR || fabs(w->coef[k]) != 1) return EP_NO_VAR;
    found = v;
  }
  return found;
}

/* Fills row_of, is_used, map and old; false when reducing does not pay or errors cannot be charged. */
static bool choose(reduction *r, const bool *stays, bool *is_kept) {
  const ep_prob *p = r->p;
  uint32_t n_gone = 0;
  for (uint32_t v = 0; v < p->n_var; v++) {
    is_kept[v] = stays && stays[v];
    r->row_of[v] = EP_NO_VAR;
  }
  keep_read(p, is_kept);
  for (uint32_t i = 0; i < p->n_row; i++) {
    uint32_t v = defined_by(r, i, is_kept);
    r->is_used[i] = v != EP_NO_VAR;
    if (v == EP_NO_VAR) continue;
    r->row_of[v] = i;
    n_gone++;
  }
  for (uint32_t v = 0; v < p->n_var; v++) {
    r->map[v] = r->row_of[v] == EP_NO_VAR ? r->n_kept : EP_NO_VAR;
    if (r->map[v] == EP_NO_VAR) continue;
    if (!(fabs(p->lo[v]) < INFINITY && fabs(p->hi[v]) < INFINITY)) return false;
    r->old[r->n_kept++] = v;
  }
  return n_gone > 0 && (size_t)n_gone * r->n_kept <= MOST_NUMBERS;
}

/* ---- sums ---- */

/* r->sum = the row's sum over kept variables. `skip` (EP_NO_VAR = none) is left out.
 * Per coefficient: n products and sums to nearest, |error| <= gamma_(n+1) * mass; times |x| into the constant. */
static void add_up(reduction *r, const ep_prob_row *w, uint32_t skip) {
  const ep_prob *p = r->p;
  memset(r->sum.coef, 0, r->n_kept * sizeof(double));
  memset(r->mass, 0, r->n_kept * sizeof(double));
  r->sum.cst = ep_itv_point(0);
  for (uint32_t t = 0; t < w->n; t++) {
    uint32_t v = w->var[t];
    double c = w->coef[t];
    if (v == skip) continue;
    const form *f = r->sums[v];
    if (!f) {
      r->sum.coef[r->map[v]] += c;
      r->mass[r->map[v]] += fabs(c);
      continue;
    }
    for (uint32_t k = 0; k < r->n_kept; k++) {
      double q = c * f->coef[k];
      r->sum.coef[k] += q;
      r->mass[k] += fabs(q);
    }
    r->sum.cst = ep_itv_add(r->sum.cst, ep_itv_mul(ep_itv_point(c), f->cst));
  }
  double err = 0;
  for (uint32_t k = 0; k < r->n_kept; k++) {
    if (r->mass[k] == 0) continue;
    double x = fmax(fabs(p->lo[r->old[k]]), fabs(p->hi[r->old[k]]));
    double e = ep_add_up(ep_mul_up(ep_gamma64(w->n + 2u), ep_sum_up(r->mass[k], w->n)), w->n * EP_ETA64);
    err = ep_add_up(err, ep_mul_up(e, x));
  }
  if (err > 0) r->sum.cst = ep_itv_add(r->sum.cst, (ep_itv){-err, err});
}

/* The definition of v, solved for it: v = -c (others - [lo,hi]), c = its coefficient, +-1. */
static ep_status define(reduction *r, uint32_t v, ep_scratch *s) {
  const ep_prob_row *w = &r->p->row[r->row_of[v]];
  double c = 0;
  for (uint32_t k = 0; k < w->n; k++) c = w->var[k] == v ? w->coef[k] : c;
  form *f = EP_SCRATCH(s, form, 1);
  double *coef = EP_SCRATCH(s, double, r->n_kept + 1u);
  if (!f || !coef) return EP_E_NOMEM;
  add_up(r, w, v);
  for (uint32_t k = 0; k < r->n_kept; k++) coef[k] = -c * r->sum.coef[k];
  ep_itv rest = ep_itv_add((ep_itv){w->lo, w->hi}, ep_itv_mul(ep_itv_point(-1), r->sum.cst));
  *f = (form){coef, ep_itv_mul(ep_itv_point(c), rest)};
  r->sums[v] = f;
  return EP_OK;
}

/* ---- rows ---- */

/* x on a grid of spacing 2^e, downwards or upwards. */
static double on_grid(double x, int e, bool is_up) {
  double t = ldexp(x, -e);
  if (!(fabs(t) < 0x1p53)) return x; /* so large that it is on it, or infinite */
  return ldexp(is_up ? ceil(t) : floor(t), e);
}

/* Moves the row's coefficients onto the grid; what that changes goes into the constant. */
static void coarsen(reduction *r, int e) {
  const ep_prob *p = r->p;
  for (uint32_t k = 0; k < r->n_kept; k++) {
    double c = r->sum.coef[k], to = ldexp(rint(ldexp(c, -e)), e);
    if (c == to) continue;
    ep_itv d = {ep_sub_dn(c, to), ep_sub_up(c, to)}, x = {p->lo[r->old[k]], p->hi[r->old[k]]};
    r->sum.cst = ep_itv_add(r->sum.cst, ep_itv_mul(d, x));
    r->sum.coef[k] = to;
  }
}

static ep_status add_row(reduction *r, ep_prob_place place, const ep_prob_row *w) {
  static const ep_prob_row nothing = {.lo = -INFINITY, .hi = INFINITY};
  uint32_t n = 0;
  double most = 0;
  add_up(r, w, EP_NO_VAR);
  for (uint32_t k = 0; k < r->n_kept; k++) {
    if (!(r->mass[k] < INFINITY)) return ep_prob_add(r->out, place, &nothing);
    most = fmax(most, fabs(r->sum.coef[k]));
    n += r->sum.coef[k] != 0;
  }
  int e = most > 0 ? ilogb(most) - r->bits : 0;
  bool is_coarse = r->bits > 0 && n > 1 && e > -900;
  if (is_coarse) coarsen(r, e);
  n = 0;
  for (uint32_t k = 0; k < r->n_kept; k++) {
    if (r->sum.coef[k] == 0) continue;
    r->var[n] = k;
    r->coef[n++] = r->sum.coef[k];
  }
  ep_itv c = r->sum.cst;
  bool is_point = c.lo == 0 && c.hi == 0;
  ep_prob_row to = *w;
  to.n = n;
  to.var = r->var;
  to.coef = r->coef;
  if (!is_point) {
    to.lo = ep_sub_dn(w->lo, c.hi);
    to.hi = ep_sub_up(w->hi, c.lo);
  }
  if (!(to.lo == to.lo)) to.lo = -INFINITY;
  if (!(to.hi == to.hi)) to.hi = INFINITY;
  if (is_coarse && !is_point) {
    to.lo = on_grid(to.lo, e, false);
    to.hi = on_grid(to.hi, e, true);
  }
  r->out->is_exact &= is_point;
  return ep_prob_add(r->out, place, &to);
}

static ep_status add_variables(reduction *r) {
  const ep_prob *p = r->p;
  for (uint32_t k = 0; k < r->n_kept; k++) {
    uint32_t v = r->old[k], id;
    double lo = p->lo[v], hi = p->hi[v], most = fmax(fabs(lo), fabs(hi));
    if (r->bits > 0 && most > 0) {
      int e = ilogb(most) - r->bits;
      lo = on_grid(lo, e, false);
      hi = on_grid(hi, e, true);
    }
    EP_TRY(ep_prob_var(r->out, lo, hi, p->origin_value[v], p->origin_element[v], &id));
    assert(id == k);
  }
  return EP_OK;
}

static ep_status add_rows(reduction *r) {
  const ep_prob *p = r->p;
  for (uint32_t i = 0; i < p->n_row; i++)
    if (!r->is_used[i]) EP_TRY(add_row(r, EP_PLACE_ALWAYS, &p->row[i]));
  for (uint32_t d = 0; d < p->n_disj; d++) {
    const ep_prob_disj *q = &p->disj[d];
    uint32_t arg = q->arg == EP_NO_VAR ? EP_NO_VAR : r->map[q->arg],
             out = q->out == EP_NO_VAR ? EP_NO_VAR : r->map[q->out];
    EP_TRY(ep_prob_open_disj(r->out, arg, out, q->value, q->element));
    for (uint32_t c = q->first; c < q->first + q->n; c++) {
      EP_TRY(ep_prob_open_choice(r->out));
      for (uint32_t k = 0; k < p->choice[c].n; k++)
        EP_TRY(add_row(r, EP_PLACE_CHOICE, &p->choice_row[p->choice[c].first + k]));
    }
  }
  for (uint32_t g = 0; g < p->n_goal; g++) {
    EP_TRY(ep_prob_open_goal(r->out));
    for (uint32_t k = 0; k < p->goal[g].n; k++) EP_TRY(add_row(r, EP_PLACE_GOAL, &p->goal_row[p->goal[g].first + k]));
  }
  return EP_OK;
}

static ep_status reduce(reduction *r, ep_scratch *s) {
  const ep_prob *p = r->p;
  r->sums = EP_SCRATCH(s, const form *, p->n_var + 1u);
  r->sum.coef = EP_SCRATCH(s, double, r->n_kept + 1u);
  r->mass = EP_SCRATCH(s, double, r->n_kept + 1u);
  r->var = EP_SCRATCH(s, uint32_t, r->n_kept + 1u);
  r->coef = EP_SCRATCH(s, double, r->n_kept + 1u);
  if (!r->sums || !r->sum.coef || !r->mass || !r->var || !r->coef) return EP_E_NOMEM;
  for (uint32_t v = 0; v < p->n_var; v++) r->sums[v] = NULL;
  EP_TRY(ep_prob_create(p->ctx, &r->out));
  r->out->input_value = p->input_value;
  r->out->output_value = p->output_value;
  EP_TRY(add_variables(r));
  for (uint32_t i = 0; i < p->n_row; i++) { /* in the order of rows a definition reads only earlier ones */
    for (uint32_t k = 0; r->is_used[i] && k < p->row[i].n; k++)
      if (r->row_of[p->row[i].var[k]] == i) EP_TRY(define(r, p->row[i].var[k], s));
    if (i % 64 == 63 && ep_ctx_should_stop(p->ctx)) return EP_E_STOPPED;
  }
  r->out->is_exact = p->is_exact;
  return add_rows(r);
}

ep_status ep_prob_reduce(const ep_prob *p, const bool *stays, int bits, ep_scratch *s, uint32_t *map, ep_prob **out) {
  ep_scratch_mark m = ep_scratch_save(s);
  reduction r = {.p = p, .bits = bits, .map = map};
  ep_status st = EP_E_NOMEM;
  *out = NULL;
  assert(!p->n_bool && bits >= 0 && bits <= 52 && bits != 1);
  r.old = EP_SCRATCH(s, uint32_t, p->n_var + 1u);
  r.row_of = EP_SCRATCH(s, uint32_t, p->n_var + 1u);
  r.is_used = EP_SCRATCH(s, bool, p->n_row + 1u);
  bool *is_kept = EP_SCRATCH(s, bool, p->n_var + 1u);
  if (!r.old || !r.row_of || !r.is_used || !is_kept) goto done;
  st = choose(&r, stays, is_kept) ? reduce(&r, s) : EP_OK;
  if (st != EP_OK)
    ep_prob_destroy(r.out);
  else
    *out = r.out;
done:
  ep_scratch_restore(s, m);
  return st;
}
