#include "encoders/dual.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The sum under way: d = c - sum y a per column with the mass that its rounding error is proportional to. */
typedef struct sums {
  double *d, *mass;
  uint32_t *terms;
  double cst; /* sum of y_i times the row's end, rounded down */
} sums;

static void add_multiplier(sums *t, const ep_prob_row *r, double y) {
  double end = y > 0 ? r->lo : r->hi;
  /* An infinite side says nothing; its multiplier is noise. So are NaN and infinite multipliers. */
  if (y == 0 || !(fabs(y) < INFINITY) || !(fabs(end) < INFINITY)) return;
  t->cst = ep_add_dn(t->cst, ep_mul_dn(y, end));
  for (uint32_t k = 0; k < r->n; k++) {
    double w = y * r->coef[k];
    t->d[r->var[k]] -= w;
    t->mass[r->var[k]] += fabs(w);
    t->terms[r->var[k]]++;
  }
}

/* Cuts the box by the one-variable rows of the decided choices; false when it becomes empty. */
static bool cut_box(const ep_prob *p, const ep_case *c, double *lo, double *hi) {
  bool is_empty = false;
  for (uint32_t i = 0; i < c->n; i++) {
    const ep_prob_choice *ch = &p->choice[p->disj[c->disj[i]].first + c->choice[i]];
    for (uint32_t k = ch->first; k < ch->first + ch->n; k++) {
      const ep_prob_row *r = &p->choice_row[k];
      if (r->n != 1) continue;
      uint32_t v = r->var[0];
      ep_itv x = ep_itv_div((ep_itv){r->lo, r->hi}, ep_itv_point(r->coef[0]));
      if (r->coef[0] == 1) x = (ep_itv){r->lo, r->hi};
      if (x.lo > lo[v]) lo[v] = x.lo;
      if (x.hi < hi[v]) hi[v] = x.hi;
      is_empty |= lo[v] > hi[v];
    }
  }
  return !is_empty;
}

/* min of d*x over [lo,hi] for every d within `e` of the one stored. */
static double least_product(double d, double e, double lo, double hi) {
  if (d == 0 && e == 0) return 0;
  ep_itv c = {ep_sub_dn(d, e), ep_add_up(d, e)};
  double worst = INFINITY;
  const double cs[2] = {c.lo, c.hi}, xs[2] = {lo, hi};
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) {
      if (cs[i] == 0) {
        worst = fmin(worst, 0);
        continue;
      }
      double t = ep_mul_dn(cs[i], xs[j]);
      if (!(t == t)) return -INFINITY;
      worst = fmin(worst, t);
    }
  return worst;
}

ep_status ep_dual_bound(const ep_prob *p, const ep_case *c, uint32_t n, const uint32_t *var, const double *coef,
                        const double *y, ep_scratch *s, double *lower) {
  ep_scratch_mark m = ep_scratch_save(s);
  sums t = {.d = EP_SCRATCH(s, double, p->n_var + 1u),
            .mass = EP_SCRATCH(s, double, p->n_var + 1u),
            .terms = EP_SCRATCH(s, uint32_t, p->n_var + 1u)};
  double *lo = EP_SCRATCH(s, double, p->n_var + 1u), *hi = EP_SCRATCH(s, double, p->n_var + 1u);
  *lower = -INFINITY;
  if (!t.d || !t.mass || !t.terms || !lo || !hi) return EP_E_NOMEM;
  memcpy(lo, p->lo, p->n_var * sizeof *lo);
  memcpy(hi, p->hi, p->n_var * sizeof *hi);
  if (!cut_box(p, c, lo, hi)) {
    *lower = INFINITY;
    goto done;
  }
  memset(t.d, 0, p->n_var * sizeof *t.d);
  memset(t.mass, 0, p->n_var * sizeof *t.mass);
  memset(t.terms, 0, p->n_var * sizeof *t.terms);
  for (uint32_t i = 0; i < n; i++) {
    t.d[var[i]] += coef[i];
    t.mass[var[i]] += fabs(coef[i]);
    t.terms[var[i]]++;
  }
  for (uint32_t i = 0; i < p->n_row; i++) add_multiplier(&t, &p->row[i], y[i]);
  for (uint32_t i = 0; i < c->n; i++) {
    const ep_prob_choice *ch = &p->choice[p->disj[c->disj[i]].first + c->choice[i]];
    for (uint32_t k = ch->first; k < ch->first + ch->n; k++) add_multiplier(&t, &p->choice_row[k], y[p->n_row + k]);
  }
  if (c->goal != EP_NO_GOAL) {
    const ep_prob_choice *g = &p->goal[c->goal];
    for (uint32_t k = g->first; k < g->first + g->n; k++)
      add_multiplier(&t, &p->goal_row[k], y[p->n_row + p->n_choice_row + k]);
  }
  double sum = t.cst;
  for (uint32_t v = 0; v < p->n_var; v++) {
    if (!t.terms[v]) continue;
    /* `terms` rounded products summed one by one: gamma of one more, on the mass (itself computed to nearest). */
    double e = ep_mul_up(ep_gamma64(t.terms[v] + 2u), ep_sum_up(t.mass[v], t.terms[v])) + (t.terms[v] + 1) * EP_ETA64;
    sum = ep_add_dn(sum, least_product(t.d[v], e, lo[v], hi[v]));
  }
  if (sum == sum) *lower = sum;
done:
  ep_scratch_restore(s, m);
  return EP_OK;
}

ep_status ep_dual_refutes(const ep_prob *p, const ep_case *c, double *y, ep_scratch *s, bool *is_refuted) {
  size_t n = (size_t)p->n_row + p->n_choice_row + p->n_goal_row;
  double lower;
  EP_TRY(ep_dual_bound(p, c, 0, NULL, NULL, y, s, &lower));
  *is_refuted = lower > 0;
  if (*is_refuted) return EP_OK;
  for (size_t i = 0; i < n; i++) y[i] = -y[i];
  EP_TRY(ep_dual_bound(p, c, 0, NULL, NULL, y, s, &lower));
  *is_refuted = lower > 0;
  return EP_OK;
}
