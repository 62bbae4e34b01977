#include "verifier/cases.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef enum tri { OPEN, TRUE, FALSE } tri;

typedef struct search {
  ep_run *run;
  uint32_t box;
  const ep_binary *b;
  uint8_t *value; /* [n_bool] a tri */
  uint64_t visits, max_visits;
  double *x;
  ep_cases_stats *stats;
} search;

static tri literal(const search *w, ep_lit l) {
  if (l >= EP_BIT_FALSE) return l == EP_BIT_TRUE ? TRUE : FALSE;
  tri t = (tri)w->value[l / 2];
  return t == OPEN || !(l & 1) ? t : t == TRUE ? FALSE : TRUE;
}

static void set(search *w, ep_lit l, tri t) {
  if (l & 1) t = t == TRUE ? FALSE : t == FALSE ? TRUE : OPEN;
  w->value[l / 2] = (uint8_t)t;
}

/* Counts forward what follows for the heads of cardinalities, which stand in the order of the layers. */
static void count_forward(search *w) {
  const ep_prob *p = w->b->prob;
  for (uint32_t i = 0; i < p->n_card; i++) {
    const ep_prob_card *c = &p->card[i];
    uint32_t n_true = 0, n_false = 0;
    for (uint32_t k = 0; k < c->n; k++) {
      tri t = literal(w, c->lit[k]);
      n_true += t == TRUE;
      n_false += t == FALSE;
    }
    w->visits += c->n;
    assert(c->head != EP_LIT_NO);
    set(w, c->head, n_true >= c->k ? TRUE : c->n - n_false < c->k ? FALSE : OPEN);
  }
}

/* Units of the clauses, once in their order: a goal falls when one of its literals does, the last clause when all
 * goals do. False when a clause cannot hold any more. */
static bool may_hold(search *w) {
  const ep_prob *p = w->b->prob;
  for (uint32_t i = 0; i < p->n_clause; i++) {
    const ep_prob_clause *c = &p->clause[i];
    uint32_t n_open = 0;
    bool is_true = false;
    ep_lit last = 0;
    for (uint32_t k = 0; k < c->n && !is_true; k++) {
      tri t = literal(w, c->lit[k]);
      is_true = t == TRUE;
      if (t == OPEN) n_open++, last = c->lit[k];
    }
    if (is_true) continue;
    if (!n_open) return false;
    if (n_open == 1) set(w, last, TRUE);
  }
  return true;
}

/* Sign -1, 0 or 1 for pixel k; false when the box rules it out. */
static bool decide(search *w, uint32_t k, int sign) {
  ep_bit bit = w->b->pixel[k].bit;
  tri pos = sign > 0 ? TRUE : FALSE, not_neg = sign < 0 ? FALSE : TRUE;
  if (bit.pos >= EP_BIT_FALSE ? literal(w, bit.pos) != pos : false) return false;
  if (bit.not_neg >= EP_BIT_FALSE ? literal(w, bit.not_neg) != not_neg : false) return false;
  if (bit.pos < EP_BIT_FALSE) set(w, bit.pos, pos);
  if (bit.not_neg < EP_BIT_FALSE) set(w, bit.not_neg, not_neg);
  return true;
}

static bool value_of(void *arg, uint32_t var) { return ((const search *)arg)->value[var] == TRUE; }

/* The first n pixels are decided. Booleans behind the pixels are made anew for every case. */
static bool is_reachable(search *w, const int *sign, uint32_t n, bool *is_possible) {
  memset(w->value, OPEN, w->b->prob->n_bool);
  *is_possible = true;
  for (uint32_t k = 0; k < n; k++) *is_possible &= decide(w, k, sign[k]);
  if (!*is_possible) return false;
  w->stats->cases++;
  count_forward(w);
  return may_hold(w);
}

/* Depth first over sign[0..n); each goes 1, 0, -1. */
static ep_status all_cases(search *w, int *sign, ep_goal_outcome *out) {
  uint32_t n = 0;
  bool is_stuck = false, is_found = false, is_possible;
  for (;;) {
    if (ep_ctx_should_stop(w->run->ctx)) return EP_E_STOPPED;
    if (w->visits > w->max_visits) return EP_OK;
    bool is_open = is_reachable(w, sign, n, &is_possible);
    if (is_open && n < w->b->n_pixel) {
      sign[n++] = 1;
      continue;
    }
    if (is_open) {
      ep_binary_input(w->b, value_of, w, w->x);
      EP_TRY(ep_goal_try_input(w->run, w->box, w->x, ep_pool_scratch(w->run->pool), &is_found));
      if (is_found) return *out = EP_GOAL_FOUND, EP_OK;
      is_stuck = true;
    }
    while (n > 0 && sign[n - 1] == -1) n--;
    if (n == 0) break;
    sign[n - 1]--;
  }
  *out = is_stuck ? EP_GOAL_OPEN : EP_GOAL_REFUTED;
  return EP_OK;
}

ep_status ep_cases_decide(ep_run *run, uint32_t box, const ep_binary *b, uint64_t max_visits, double *x,
                          ep_cases_stats *stats, ep_goal_outcome *out) {
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  search w = {.run = run, .box = box, .b = b, .max_visits = max_visits, .x = x, .stats = stats};
  *out = EP_GOAL_OPEN;
  *stats = (ep_cases_stats){0};
  w.value = EP_SCRATCH(s, uint8_t, b->prob->n_bool + 1u);
  int *sign = EP_SCRATCH(s, int, b->n_pixel + 1u);
  ep_status st = w.value && sign ? all_cases(&w, sign, out) : EP_E_NOMEM;
  ep_scratch_restore(s, m);
  return st;
}
