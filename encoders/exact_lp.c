#include "encoders/exact_lp.h"

#include <assert.h>

/* The dual in a tableau: row i < m says sum_j z_j a_j[i] + artificial_i = |b_i| (negated where b_i < 0), row m holds
 * the reduced costs of c, row m + 1 those of the sum of the artificials. Columns: z (n), artificials (m), right-hand
 * side. Every entry is an integer over the common denominator den > 0. Each z and the right-hand side are scaled by
 * positive numbers to make them so, which changes neither signs nor the reduced costs of the artificials, where the
 * solution y is read off. */
typedef struct tableau {
  ep_exact_lp *lp;
  uint32_t m, n, width;
  mpz_t *t, den, x, y;
  uint32_t *basis; /* [m] column that is basic in each row */
  int *sign;       /* [m] of b */
} tableau;

static mpz_t *at(const tableau *t, uint32_t row, uint32_t col) { return &t->t[(size_t)row * t->width + col]; }

void ep_exact_lp_init(ep_exact_lp *lp, ep_ctx *ctx, uint32_t n_var) {
  *lp = (ep_exact_lp){.ctx = ctx, .n_var = n_var, .n_used = n_var};
}

void ep_exact_lp_clear(ep_exact_lp *lp) {
  ep_rational_destroy(lp->ctx, lp->row, (size_t)lp->cap * (lp->n_var + 1));
  *lp = (ep_exact_lp){0};
}

void ep_exact_lp_cut_back(ep_exact_lp *lp, uint32_t n) { lp->n_row = n < lp->n_row ? n : lp->n_row; }

ep_status ep_exact_lp_add(ep_exact_lp *lp, const mpq_t *coef, const mpq_t rhs) {
  size_t width = (size_t)lp->n_var + 1;
  if (lp->n_row == lp->cap) {
    uint32_t want = lp->cap ? 2 * lp->cap : 16;
    mpq_t *more = ep_realloc(lp->ctx, lp->row, (want * width + 1) * sizeof *more);
    if (!more) return EP_E_NOMEM;
    for (size_t i = lp->cap * width; i < want * width; i++) mpq_init(more[i]);
    lp->row = more;
    lp->cap = want;
  }
  mpq_t *r = lp->row + lp->n_row++ * width;
  for (uint32_t i = 0; i < lp->n_var; i++) mpq_set(r[i], coef[i]);
  mpq_set(r[lp->n_var], rhs);
  return EP_OK;
}

/* q * scale, which is an integer. */
static void set_scaled(mpz_t out, const mpq_t q, const mpz_t scale) {
  mpz_divexact(out, scale, mpq_denref(q));
  mpz_mul(out, out, mpq_numref(q));
}

static void fill(tableau *t, const mpq_t *objective) {
  uint32_t m = t->m, n = t->n;
  for (uint32_t i = 0; i < m; i++) t->sign[i] = mpq_sgn(objective[i]) < 0 ? -1 : 1;
  for (uint32_t j = 0; j <= n; j++) { /* column n of this loop is the right-hand side */
    const mpq_t *col = j < n ? t->lp->row + (size_t)j * (t->lp->n_var + 1) : objective;
    const mpq_t *cost = j < n ? &col[t->lp->n_var] : NULL;
    uint32_t to = j < n ? j : n + m;
    mpz_set_ui(t->x, 1);
    if (cost) mpz_set(t->x, mpq_denref(*cost));
    for (uint32_t i = 0; i < m; i++) mpz_lcm(t->x, t->x, mpq_denref(col[i]));
    for (uint32_t i = 0; i < m; i++) {
      mpz_t *e = at(t, i, to);
      set_scaled(*e, col[i], t->x);
      if (t->sign[i] < 0) mpz_neg(*e, *e);
      mpz_sub(*at(t, m + 1, to), *at(t, m + 1, to), *e);
    }
    if (cost) set_scaled(*at(t, m, to), *cost, t->x);
  }
  for (uint32_t i = 0; i < m; i++) {
    mpz_set_ui(*at(t, i, n + i), 1);
    t->basis[i] = n + i;
  }
}

/* Column `col` becomes basic in row `row`: every other entry e becomes (e * p - e_col * e_row) / den, p the new
 * denominator. */
static void pivot(tableau *t, uint32_t row, uint32_t col) {
  mpz_set(t->x, *at(t, row, col));
  for (uint32_t i = 0; i < t->m + 2; i++) {
    if (i == row) continue;
    mpz_set(t->y, *at(t, i, col));
    for (uint32_t j = 0; j < t->width; j++) {
      mpz_t *e = at(t, i, j);
      if (mpz_sgn(*e)) mpz_mul(*e, *e, t->x);
      if (mpz_sgn(t->y) && mpz_sgn(*at(t, row, j))) mpz_submul(*e, t->y, *at(t, row, j));
      if (mpz_sgn(*e)) mpz_divexact(*e, *e, t->den);
    }
  }
  mpz_set(t->den, t->x);
  t->basis[row] = col;
  if (mpz_sgn(t->den) < 0) {
    mpz_neg(t->den, t->den);
    for (size_t i = 0; i < (size_t)(t->m + 2) * t->width; i++) mpz_neg(t->t[i], t->t[i]);
  }
}

/* A column of z with a negative reduced cost in row `cost`; n when there is none. */
static uint32_t entering(const tableau *t, uint32_t cost, bool is_bland) {
  uint32_t best = t->n;
  for (uint32_t j = 0; j < t->n; j++) {
    if (mpz_sgn(*at(t, cost, j)) >= 0) continue;
    if (best == t->n || mpz_cmp(*at(t, cost, j), *at(t, cost, best)) < 0) best = j;
    if (is_bland) return j;
  }
  return best;
}

/* The row of the smallest ratio, of several the one whose basic column comes first; m when there is none. */
static uint32_t leaving(tableau *t, uint32_t col) {
  uint32_t best = t->m, rhs = t->n + t->m;
  for (uint32_t i = 0; i < t->m; i++) {
    if (mpz_sgn(*at(t, i, col)) <= 0) continue;
    if (best < t->m) {
      mpz_mul(t->x, *at(t, i, rhs), *at(t, best, col));
      mpz_mul(t->y, *at(t, best, rhs), *at(t, i, col));
      int c = mpz_cmp(t->x, t->y);
      if (c > 0 || (c == 0 && t->basis[i] > t->basis[best])) continue;
    }
    best = i;
  }
  return best;
}

/* Simplex on one row of reduced costs; *is_bounded = false when a column can grow for ever. */
static ep_status simplex(tableau *t, uint32_t cost, bool *is_bounded) {
  *is_bounded = true;
  for (uint32_t k = 0;; k++) {
    if (ep_ctx_should_stop(t->lp->ctx)) return EP_E_STOPPED;
    uint32_t col = entering(t, cost, k > 4 * (t->m + t->n));
    if (col == t->n) return EP_OK;
    uint32_t row = leaving(t, col);
    *is_bounded = row < t->m;
    if (!*is_bounded) return EP_OK;
    pivot(t, row, col);
  }
}

/* Artificials that are still basic (at 0) leave where some z can take their place; elsewhere the row is redundant. */
static void drive_out(tableau *t) {
  for (uint32_t i = 0; i < t->m; i++) {
    if (t->basis[i] < t->n) continue;
    uint32_t j = 0;
    while (j < t->n && mpz_sgn(*at(t, i, j)) == 0) j++;
    if (j < t->n) pivot(t, i, j);
  }
}

/* y_i = cost of artificial i - its reduced cost, and the objective there. */
static void read_off(const tableau *t, uint32_t cost, const mpq_t *objective, mpq_t value, mpq_t *y) {
  mpq_t term;
  mpq_init(term);
  mpq_set_ui(value, 0, 1);
  for (uint32_t i = 0; i < t->m; i++) {
    mpz_neg(mpq_numref(y[i]), *at(t, cost, t->n + i));
    if (cost == t->m + 1) mpz_add(mpq_numref(y[i]), mpq_numref(y[i]), t->den);
    mpz_set(mpq_denref(y[i]), t->den);
    mpq_canonicalize(y[i]);
    if (t->sign[i] < 0) mpq_neg(y[i], y[i]);
    ep_rational_add_mul(value, objective[i], y[i], term);
  }
  mpq_clear(term);
}

static ep_status solve(tableau *t, const mpq_t *objective, ep_exact_answer *answer, mpq_t value, mpq_t *y) {
  bool is_bounded;
  fill(t, objective);
  EP_TRY(simplex(t, t->m + 1, &is_bounded));
  assert(is_bounded); /* a sum of artificials cannot fall below 0 */
  if (mpz_sgn(*at(t, t->m + 1, t->n + t->m)) != 0) {
    *answer = EP_EXACT_UNBOUNDED;
    read_off(t, t->m + 1, objective, value, y);
    assert(mpq_sgn(value) > 0);
    return EP_OK;
  }
  drive_out(t);
  EP_TRY(simplex(t, t->m, &is_bounded));
  *answer = is_bounded ? EP_EXACT_OPTIMAL : EP_EXACT_INFEASIBLE;
  read_off(t, t->m, objective, value, y);
  return EP_OK;
}

ep_status ep_exact_lp_maximise(ep_exact_lp *lp, const mpq_t *objective, ep_exact_answer *answer, mpq_t value,
                               mpq_t *y) {
  uint32_t m = lp->n_used, n = lp->n_row;
  tableau t = {.lp = lp, .m = m, .n = n, .width = n + m + 1};
  size_t size = (size_t)(m + 2) * t.width;
  t.t = ep_alloc(lp->ctx, (size + 1) * sizeof *t.t);
  t.basis = ep_alloc(lp->ctx, (m + 1u) * sizeof *t.basis);
  t.sign = ep_alloc(lp->ctx, (m + 1u) * sizeof *t.sign);
  ep_status st = EP_E_NOMEM;
  if (t.t && t.basis && t.sign) {
    for (size_t i = 0; i < size; i++) mpz_init(t.t[i]);
    mpz_init_set_ui(t.den, 1);
    mpz_inits(t.x, t.y, NULL);
    st = solve(&t, objective, answer, value, y);
    for (size_t i = 0; i < size; i++) mpz_clear(t.t[i]);
    mpz_clears(t.den, t.x, t.y, NULL);
  }
  ep_free(lp->ctx, t.t);
  ep_free(lp->ctx, t.basis);
  ep_free(lp->ctx, t.sign);
  return st;
}
