/* Goals as a disjunction, disjunctions as binaries. */
#include <assert.h>
#include <math.h>

#include "encoders/write.h"

ep_status ep_prob_close_goals(ep_prob *p) {
  if (!p->n_goal) {
    uint32_t zero;
    EP_TRY(ep_prob_var(p, 0, 0, EP_ORIGIN_COPY, p->n_var, &zero));
    ep_prob_row never = {.n = 1, .var = &zero, .coef = (const double[]){1}, .lo = 1, .hi = INFINITY};
    return ep_prob_add(p, EP_PLACE_ALWAYS, &never);
  }
  if (p->n_goal > 1) EP_TRY(ep_prob_open_disj(p, EP_NO_VAR, EP_NO_VAR, EP_ORIGIN_COPY, 0));
  for (uint32_t g = 0; g < p->n_goal; g++) {
    if (p->n_goal > 1) EP_TRY(ep_prob_open_choice(p));
    for (uint32_t k = p->goal[g].first; k < p->goal[g].first + p->goal[g].n; k++)
      EP_TRY(ep_prob_add(p, p->n_goal > 1 ? EP_PLACE_CHOICE : EP_PLACE_ALWAYS, &p->goal_row[k]));
  }
  p->n_goal = p->n_goal_row = 0;
  return EP_OK;
}

void ep_prob_relax(ep_prob *p) { p->n_disj = p->n_choice = p->n_choice_row = 0; }

/* A row with one more variable, from work arrays with room for it. */
typedef struct wide {
  uint32_t *var;
  double *coef;
} wide;

/* Under the choice's selector s (1 = chosen; inverted: 0 = chosen): a x <= hi becomes a x <= hi + M (1 - s), for both
 * sides of the row. M makes the row hold over the whole box when the choice is not taken. */
static ep_status relaxed_row(const ep_prob *p, ep_prob *q, const ep_prob_row *r, uint32_t selector, bool is_inverted,
                             wide w) {
  ep_itv range = ep_prob_row_range(p, r);
  for (uint32_t k = 0; k < r->n; k++) {
    w.var[k] = r->var[k];
    w.coef[k] = r->coef[k];
  }
  w.var[r->n] = selector;
  for (int side = 0; side < 2; side++) {
    bool is_upper = side;
    double end = is_upper ? r->hi : r->lo;
    if (!(fabs(end) < INFINITY)) continue;
    double m = is_upper ? ep_sub_up(range.hi, end) : ep_sub_up(end, range.lo);
    if (m <= 0) continue; /* holds everywhere */
    if (!(m < INFINITY)) {
      char name[48];
      return EP_FAIL(p->ctx, EP_E_UNSUPPORTED, "%s is unbounded: no mixed-integer encoding (smt2 has one)",
                     r->n ? ep_prob_var_name(p, r->var[0], name, sizeof name) : "a row");
    }
    /* upper: a x + M s <= end + M; inverted a x - M s <= end. lower: mirrored. */
    double sign = is_upper ? 1 : -1;
    w.coef[r->n] = is_inverted ? -sign * m : sign * m;
    double shifted = is_inverted ? end : is_upper ? ep_add_up(end, m) : ep_sub_dn(end, m);
    ep_prob_row row = {.n = r->n + 1,
                       .var = w.var,
                       .coef = w.coef,
                       .lo = is_upper ? -INFINITY : shifted,
                       .hi = is_upper ? shifted : INFINITY};
    EP_TRY(ep_prob_add(q, EP_PLACE_ALWAYS, &row));
  }
  return EP_OK;
}

static ep_status big_m_disj(const ep_prob *p, ep_prob *q, const ep_prob_disj *d, uint32_t *n_binary, wide w,
                            uint32_t *n_strict) {
  uint32_t n = d->n == 2 ? 1 : d->n, first = 0;
  for (uint32_t c = 0; c < n; c++) {
    uint32_t v;
    EP_TRY(ep_prob_var(q, 0, 1, EP_ORIGIN_BINARY, (*n_binary)++, &v));
    if (c == 0) first = v;
    w.var[c] = v;
    w.coef[c] = 1;
  }
  if (n > 1) { /* exactly one: more would only restrict */
    ep_prob_row one = {.n = n, .var = w.var, .coef = w.coef, .lo = 1, .hi = 1};
    EP_TRY(ep_prob_add(q, EP_PLACE_ALWAYS, &one));
  }
  for (uint32_t c = 0; c < d->n; c++) {
    const ep_prob_choice *ch = &p->choice[d->first + c];
    for (uint32_t k = ch->first; k < ch->first + ch->n; k++) {
      *n_strict += p->choice_row[k].is_lo_strict || p->choice_row[k].is_hi_strict;
      EP_TRY(relaxed_row(p, q, &p->choice_row[k], n == 1 ? first : first + c, n == 1 && c == 0, w));
    }
  }
  return EP_OK;
}

ep_status ep_prob_big_m(const ep_prob *p, ep_prob **out, uint32_t *n_strict) {
  assert(!p->n_goal);
  *n_strict = 0;
  *out = NULL;
  ep_prob *q;
  EP_TRY(ep_prob_create(p->ctx, &q));
  uint32_t n_binary = 0, longest = 0;
  for (uint32_t i = 0; i < p->n_choice_row; i++) longest = p->choice_row[i].n > longest ? p->choice_row[i].n : longest;
  for (uint32_t i = 0; i < p->n_disj; i++) longest = p->disj[i].n > longest ? p->disj[i].n : longest;
  wide w = {EP_ARENA(&q->arena, uint32_t, longest + 1u), EP_ARENA(&q->arena, double, longest + 1u)};
  ep_status st = w.var && w.coef ? EP_OK : EP_E_NOMEM;
  q->input_value = p->input_value;
  q->output_value = p->output_value;
  q->is_exact = p->is_exact;
  for (uint32_t v = 0; v < p->n_var && st == EP_OK; v++) {
    uint32_t same;
    st = ep_prob_var(q, p->lo[v], p->hi[v], p->origin_value[v], p->origin_element[v], &same);
    assert(st != EP_OK || same == v);
  }
  for (uint32_t i = 0; i < p->n_row && st == EP_OK; i++) {
    *n_strict += p->row[i].is_lo_strict || p->row[i].is_hi_strict;
    ep_prob_row r = p->row[i];
    r.is_lo_strict = r.is_hi_strict = false;
    st = ep_prob_add(q, EP_PLACE_ALWAYS, &r);
  }
  for (uint32_t i = 0; i < p->n_disj && st == EP_OK; i++) st = big_m_disj(p, q, &p->disj[i], &n_binary, w, n_strict);
  if (st != EP_OK)
    ep_prob_destroy(q);
  else
    *out = q;
  return st;
}
