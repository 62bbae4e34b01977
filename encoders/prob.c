#include "encoders/prob.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

ep_status ep_prob_create(ep_ctx *ctx, ep_prob **out) {
  *out = ep_calloc(ctx, 1, sizeof **out);
  if (!*out) return EP_E_NOMEM;
  (*out)->ctx = ctx;
  (*out)->is_exact = true;
  (*out)->input_value = (*out)->output_value = UINT32_MAX;
  ep_arena_init(&(*out)->arena, ctx);
  return EP_OK;
}

void ep_prob_destroy(ep_prob *p) {
  if (!p) return;
  ep_ctx *ctx = p->ctx;
  void *owned[] = {p->lo,       p->hi,     p->row,  p->choice_row,   p->choice,         p->disj, p->goal,
                   p->goal_row, p->clause, p->card, p->origin_value, p->origin_element, p->mark};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) ep_free(ctx, owned[i]);
  ep_arena_clear(&p->arena);
  ep_free(ctx, p);
}

/* Makes room for one more element in the arrays that share a capacity. */
static ep_status grow(ep_ctx *ctx, void **array, size_t *cap, size_t n, size_t size) {
  if (n < *cap) return EP_OK;
  if (n >= INT32_MAX / 2) return EP_FAIL(ctx, EP_E_LIMIT, "the encoding has more than 2^30 parts");
  return ep_reserve(ctx, array, cap, n, size);
}

ep_status ep_prob_var(ep_prob *p, double lo, double hi, uint32_t value, uint32_t element, uint32_t *out) {
  size_t cap[5] = {p->cap_var, p->cap_var, p->cap_var, p->cap_var, p->cap_var};
  EP_TRY(grow(p->ctx, (void **)&p->lo, &cap[0], p->n_var, sizeof *p->lo));
  EP_TRY(grow(p->ctx, (void **)&p->hi, &cap[1], p->n_var, sizeof *p->hi));
  EP_TRY(grow(p->ctx, (void **)&p->origin_value, &cap[2], p->n_var, sizeof *p->origin_value));
  EP_TRY(grow(p->ctx, (void **)&p->origin_element, &cap[3], p->n_var, sizeof *p->origin_element));
  EP_TRY(grow(p->ctx, (void **)&p->mark, &cap[4], p->n_var, sizeof *p->mark));
  p->cap_var = cap[0];
  /* NaN bounds carry no information. */
  p->lo[p->n_var] = lo == lo ? lo : -INFINITY;
  p->hi[p->n_var] = hi == hi ? hi : INFINITY;
  p->origin_value[p->n_var] = value;
  p->origin_element[p->n_var] = element;
  p->mark[p->n_var] = 0;
  *out = p->n_var++;
  return EP_OK;
}

/* a + b when that is a double exactly (TwoSum's error is zero). */
static bool is_exact_sum(double a, double b, double *sum) {
  *sum = a + b;
  double t = *sum - a;
  return *sum - *sum == 0 && (a - (*sum - t)) + (b - t) == 0;
}

static ep_status put_row(ep_prob *p, ep_prob_place place, const ep_prob_row *row) {
  if (place == EP_PLACE_ALWAYS) {
    EP_TRY(grow(p->ctx, (void **)&p->row, &p->cap_row, p->n_row, sizeof *p->row));
    p->row[p->n_row++] = *row;
  } else if (place == EP_PLACE_CHOICE) {
    assert(p->n_choice);
    EP_TRY(grow(p->ctx, (void **)&p->choice_row, &p->cap_choice_row, p->n_choice_row, sizeof *p->choice_row));
    p->choice_row[p->n_choice_row++] = *row;
    p->choice[p->n_choice - 1].n++;
  } else {
    assert(p->n_goal);
    EP_TRY(grow(p->ctx, (void **)&p->goal_row, &p->cap_goal_row, p->n_goal_row, sizeof *p->goal_row));
    p->goal_row[p->n_goal_row++] = *row;
    p->goal[p->n_goal - 1].n++;
  }
  return EP_OK;
}

/* Merges repeated variables of a row in place; returns the new length through *n. p->mark holds, during the call, one
 * more than the place in the new row at which a variable stands. */
static ep_status merge(ep_prob *p, uint32_t *n, uint32_t *var, double *coef) {
  uint32_t k = 0, used = 0;
  ep_status st = EP_OK;
  for (uint32_t i = 0; i < *n; i++) {
    if (coef[i] == 0) continue;
    uint32_t v = var[i], at = p->mark[v];
    double sum = 0;
    if (at && is_exact_sum(coef[at - 1], coef[i], &sum)) {
      coef[at - 1] = sum;
      continue;
    }
    double c = coef[i];
    if (at) { /* a copy of the variable takes the coefficient that does not fit */
      uint32_t pair[2] = {0, v};
      EP_GOTO(ep_prob_var(p, p->lo[v], p->hi[v], EP_ORIGIN_COPY, p->n_var, &pair[0]));
      ep_prob_row same = {.n = 2, .var = pair, .coef = (const double[]){1, -1}};
      EP_GOTO(put_row(p, EP_PLACE_ALWAYS, &same));
      v = pair[0];
    }
    var[k] = v;
    coef[k] = c;
    p->mark[v] = ++k;
  }
done:
  for (uint32_t i = 0; i < k; i++) p->mark[var[i]] = 0;
  for (uint32_t i = 0; i < k; i++) {
    if (coef[i] == 0) continue;
    var[used] = var[i];
    coef[used++] = coef[i];
  }
  *n = used;
  return st;
}

ep_status ep_prob_add(ep_prob *p, ep_prob_place place, const ep_prob_row *row) {
  uint32_t n = row->n;
  uint32_t *var = EP_ARENA(&p->arena, uint32_t, n + 1u);
  double *coef = EP_ARENA(&p->arena, double, n + 1u);
  if (!var || !coef) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    assert(row->var[i] < p->n_var && row->coef[i] - row->coef[i] == 0);
    var[i] = row->var[i];
    coef[i] = row->coef[i];
  }
  EP_TRY(merge(p, &n, var, coef));
  ep_prob_row r = *row;
  r.n = n;
  r.var = var;
  r.coef = coef;
  return put_row(p, place, &r);
}

ep_status ep_prob_open_disj(ep_prob *p, uint32_t arg, uint32_t out, uint32_t value, uint32_t element) {
  EP_TRY(grow(p->ctx, (void **)&p->disj, &p->cap_disj, p->n_disj, sizeof *p->disj));
  p->disj[p->n_disj++] = (ep_prob_disj){p->n_choice, 0, arg, out, value, element};
  return EP_OK;
}

ep_status ep_prob_open_choice(ep_prob *p) {
  assert(p->n_disj);
  EP_TRY(grow(p->ctx, (void **)&p->choice, &p->cap_choice, p->n_choice, sizeof *p->choice));
  p->choice[p->n_choice++] = (ep_prob_choice){p->n_choice_row, 0};
  p->disj[p->n_disj - 1].n++;
  return EP_OK;
}

ep_status ep_prob_open_goal(ep_prob *p) {
  EP_TRY(grow(p->ctx, (void **)&p->goal, &p->cap_goal, p->n_goal, sizeof *p->goal));
  p->goal[p->n_goal++] = (ep_prob_choice){p->n_goal_row, 0};
  return EP_OK;
}

uint32_t ep_prob_bool(ep_prob *p) { return p->n_bool++; }

static const ep_lit *copy_literals(ep_prob *p, uint32_t n, const ep_lit *lit) {
  ep_lit *l = EP_ARENA(&p->arena, ep_lit, n + 1u);
  if (!l) return NULL;
  for (uint32_t i = 0; i < n; i++) {
    assert(lit[i] / 2 < p->n_bool);
    l[i] = lit[i];
  }
  return l;
}

ep_status ep_prob_clause_add(ep_prob *p, uint32_t n, const ep_lit *lit) {
  EP_TRY(grow(p->ctx, (void **)&p->clause, &p->cap_clause, p->n_clause, sizeof *p->clause));
  const ep_lit *l = copy_literals(p, n, lit);
  if (!l) return EP_E_NOMEM;
  p->clause[p->n_clause++] = (ep_prob_clause){n, l};
  return EP_OK;
}

ep_status ep_prob_card_add(ep_prob *p, ep_lit head, uint32_t n, const ep_lit *lit, uint32_t k) {
  assert(k > 0 && k <= n);
  EP_TRY(grow(p->ctx, (void **)&p->card, &p->cap_card, p->n_card, sizeof *p->card));
  const ep_lit *l = copy_literals(p, n, lit);
  if (!l) return EP_E_NOMEM;
  p->card[p->n_card++] = (ep_prob_card){head, n, k, l};
  return EP_OK;
}

const char *ep_prob_var_name(const ep_prob *p, uint32_t var, char *buf, size_t n) {
  uint32_t value = p->origin_value[var], element = p->origin_element[var];
  if (value == EP_ORIGIN_COPY)
    snprintf(buf, n, "c%u", element);
  else if (value == EP_ORIGIN_BINARY)
    snprintf(buf, n, "b%u", element);
  else if (value == p->input_value)
    snprintf(buf, n, "X_%u", element);
  else if (value == p->output_value)
    snprintf(buf, n, "Y_%u", element);
  else
    snprintf(buf, n, "v%u_%u", value, element);
  return buf;
}

ep_itv ep_prob_row_range(const ep_prob *p, const ep_prob_row *row) {
  ep_itv sum = ep_itv_point(0);
  for (uint32_t i = 0; i < row->n; i++) {
    ep_itv x = {p->lo[row->var[i]], p->hi[row->var[i]]}, c = ep_itv_point(row->coef[i]);
    /* The ends are products of the same two numbers: 0 * inf cannot occur, coefficients are not 0. */
    sum = ep_itv_add(sum, ep_itv_mul(c, x));
    if (!ep_itv_is_valid(sum)) return ep_itv_whole();
  }
  return sum;
}

size_t ep_prob_decimal(double x, char *buf, size_t n) {
  assert(x - x == 0);
  /* A double is a multiple of 2^-1074, so 1074 places hold every one of them; the C library prints them exactly. */
  int len = snprintf(buf, n, "%.1074f", x);
  assert(len > 0 && (size_t)len < n);
  while (buf[len - 1] == '0' && buf[len - 2] != '.') len--;
  buf[len] = 0;
  return (size_t)len;
}
