/* Exact linear programs: against all vertices by brute force on random programs with many ties, including those without
 * a solution and those without an optimum; a cycling example; numbers of hundreds of bits.
 * Seen to fail when: the ratio test takes the largest ratio, artificials stay in the basis, the sign of a negative
 * objective entry is lost, a directed conversion truncates. */
#include "tests/ep_test.h"

#include "encoders/exact_lp.h"
#include "kernels/rng.h"

enum { N = 3, MAX_ROW = 12 };

typedef struct program {
  uint32_t n, n_row;
  int a[MAX_ROW][N], c[MAX_ROW], b[N];
} program;

/* Half of the programs lie in a box, so that they are bounded. */
static program make(uint64_t seed) {
  ep_rng r;
  ep_rng_seed(&r, seed);
  program p = {.n = 1 + (uint32_t)ep_rng_below(&r, N)};
  for (uint32_t i = 0; i < p.n; i++) p.b[i] = (int)ep_rng_below(&r, 7) - 3;
  if (ep_rng_below(&r, 2))
    for (uint32_t i = 0; i < 2 * p.n; i++, p.n_row++) {
      p.a[i][i / 2] = i % 2 ? 1 : -1;
      p.c[i] = (int)ep_rng_below(&r, 4);
    }
  for (uint32_t k = (uint32_t)ep_rng_below(&r, 6); k > 0; k--, p.n_row++) {
    for (uint32_t i = 0; i < p.n; i++) p.a[p.n_row][i] = (int)ep_rng_below(&r, 5) - 2;
    p.c[p.n_row] = (int)ep_rng_below(&r, 6) - 2;
  }
  return p;
}

static ep_exact_answer solve(ep_ctx *ctx, const program *p, mpq_t value, mpq_t *y) {
  ep_exact_lp lp;
  ep_exact_answer answer;
  mpq_t *row = ep_rational_create(ctx, N), c;
  mpq_init(c);
  ep_exact_lp_init(&lp, ctx, p->n);
  for (uint32_t k = 0; k < p->n_row; k++) {
    for (uint32_t i = 0; i < p->n; i++) mpq_set_si(row[i], p->a[k][i], 1);
    mpq_set_si(c, p->c[k], 1);
    assert_int_equal(ep_exact_lp_add(&lp, row, c), EP_OK);
  }
  for (uint32_t i = 0; i < p->n; i++) mpq_set_si(row[i], p->b[i], 1);
  assert_int_equal(ep_exact_lp_maximise(&lp, row, &answer, value, y), EP_OK);
  ep_exact_lp_clear(&lp);
  ep_rational_destroy(ctx, row, N);
  mpq_clear(c);
  return answer;
}

/* Determinants of the system of rows pick[0..n): Cramer's rule on integers. */
static long det(uint32_t n, long m[N][N]) {
  if (n == 1) return m[0][0];
  if (n == 2) return m[0][0] * m[1][1] - m[0][1] * m[1][0];
  long d = 0;
  for (int k = 0; k < 3; k++)
    d += m[0][k] * (m[1][(k + 1) % 3] * m[2][(k + 2) % 3] - m[1][(k + 2) % 3] * m[2][(k + 1) % 3]);
  return d;
}

/* Looks at the vertex of three (two, one) rows: numerators num[n] over d > 0; false when there is none or it is
 * infeasible. */
static bool vertex(const program *p, const uint32_t *pick, long *num, long *d) {
  long m[N][N];
  for (uint32_t i = 0; i < p->n; i++)
    for (uint32_t j = 0; j < p->n; j++) m[i][j] = p->a[pick[i]][j];
  *d = det(p->n, m);
  if (!*d) return false;
  for (uint32_t j = 0; j < p->n; j++) {
    for (uint32_t i = 0; i < p->n; i++)
      for (uint32_t q = 0; q < p->n; q++) m[i][q] = q == j ? p->c[pick[i]] : p->a[pick[i]][q];
    num[j] = det(p->n, m) * (*d < 0 ? -1 : 1);
  }
  *d = *d < 0 ? -*d : *d;
  for (uint32_t k = 0; k < p->n_row; k++) {
    long v = 0;
    for (uint32_t j = 0; j < p->n; j++) v += p->a[k][j] * num[j];
    if (v > p->c[k] * *d) return false;
  }
  return true;
}

/* The best value over all vertices as a rational; false when there is no vertex. */
static bool brute(const program *p, mpq_t best) {
  bool has_any = false;
  mpq_t v;
  mpq_init(v);
  uint32_t end = p->n_row, pick[N];
  for (pick[0] = 0; pick[0] < end; pick[0]++)
    for (pick[1] = 0; pick[1] < (p->n > 1 ? end : 1); pick[1]++)
      for (pick[2] = 0; pick[2] < (p->n > 2 ? end : 1); pick[2]++) {
        long num[N], d, sum = 0;
        if (!vertex(p, pick, num, &d)) continue;
        for (uint32_t j = 0; j < p->n; j++) sum += p->b[j] * num[j];
        mpq_set_si(v, sum, (unsigned long)d);
        mpq_canonicalize(v);
        if (!has_any || mpq_cmp(v, best) > 0) mpq_set(best, v);
        has_any = true;
      }
  mpq_clear(v);
  return has_any;
}

/* a_k.y - c_k (or a_k.y) is at most 0 for all rows. */
static void assert_feasible(const program *p, mpq_t *y, bool is_direction) {
  mpq_t v, t;
  mpq_inits(v, t, NULL);
  for (uint32_t k = 0; k < p->n_row; k++) {
    mpq_set_si(v, is_direction ? 0 : -p->c[k], 1);
    for (uint32_t j = 0; j < p->n; j++) {
      mpq_set_si(t, p->a[k][j], 1);
      mpq_mul(t, t, y[j]);
      mpq_add(v, v, t);
    }
    assert_true(mpq_sgn(v) <= 0);
  }
  mpq_clears(v, t, NULL);
}

static void agrees_with_all_vertices(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  int count[3] = {0};
  for (uint64_t seed = 0; seed < 4000; seed++) {
    program p = make(seed);
    mpq_t value, best, *y = ep_rational_create(ctx, N);
    mpq_inits(value, best, NULL);
    ep_exact_answer answer = solve(ctx, &p, value, y);
    count[answer]++;
    bool has_vertex = brute(&p, best);
    if (answer == EP_EXACT_OPTIMAL) {
      assert_feasible(&p, y, false);
      if (has_vertex) assert_true(mpq_equal(value, best));
    } else if (answer == EP_EXACT_UNBOUNDED) {
      assert_feasible(&p, y, true);
      assert_true(mpq_sgn(value) > 0);
    } else {
      assert_false(has_vertex);
    }
    ep_rational_destroy(ctx, y, N);
    mpq_clears(value, best, NULL);
  }
  for (int k = 0; k < 3; k++) assert_true(count[k] > 100);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* Rows a_j.y <= c_j of a cone with its tip in the optimum, over and over: every pivot is degenerate. */
static void ends_on_degenerate_programs(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  for (uint64_t seed = 0; seed < 200; seed++) {
    ep_exact_lp lp;
    ep_exact_answer answer;
    ep_rng r;
    ep_rng_seed(&r, seed);
    mpq_t value, c, *row = ep_rational_create(ctx, 6), *y = ep_rational_create(ctx, 6);
    mpq_inits(value, c, NULL);
    ep_exact_lp_init(&lp, ctx, 6);
    for (int k = 0; k < 40; k++) { /* a sum of positive multiples of these rows is the objective (1, .., 1) */
      for (int j = 0; j < 6; j++) mpq_set_si(row[j], k < 6 ? j == k : (int)ep_rng_below(&r, 5) - 2, 1);
      assert_int_equal(ep_exact_lp_add(&lp, row, c), EP_OK);
    }
    for (int j = 0; j < 6; j++) mpq_set_ui(row[j], 1, 1);
    assert_int_equal(ep_exact_lp_maximise(&lp, row, &answer, value, y), EP_OK);
    assert_int_equal(answer, EP_EXACT_OPTIMAL);
    assert_int_equal(mpq_sgn(value), 0);
    mpq_clears(value, c, NULL);
    ep_rational_destroy(ctx, row, 6);
    ep_rational_destroy(ctx, y, 6);
    ep_exact_lp_clear(&lp);
  }
  ep_ctx_destroy(ctx);
}

/* Doubles with 53-bit mantissas and far apart exponents: y_0 <= tiny, y_1 <= huge, their sum's bound is exact. */
static void keeps_every_bit(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_exact_lp lp;
  ep_exact_answer answer;
  const double bound[2] = {0x1.fffffffffffffp-200, 0x1.0000000000001p+200};
  mpq_t value, want, c, *row = ep_rational_create(ctx, 2), *y = ep_rational_create(ctx, 2);
  mpq_inits(value, want, c, NULL);
  ep_exact_lp_init(&lp, ctx, 2);
  for (int k = 0; k < 2; k++) {
    mpq_set_ui(row[k], 3, 1);
    mpq_set_ui(row[1 - k], 0, 1);
    mpq_set_d(c, bound[k]);
    assert_int_equal(ep_exact_lp_add(&lp, row, c), EP_OK);
    mpq_add(want, want, c);
  }
  mpq_set_ui(row[0], 3, 1);
  assert_int_equal(ep_exact_lp_maximise(&lp, row, &answer, value, y), EP_OK);
  assert_true(mpq_equal(value, want));
  /* Directed conversions enclose the sum, which is no double. */
  assert_true(ep_rational_compare(ep_rational_up(value), value) > 0);
  assert_true(ep_rational_compare(ep_rational_dn(value), value) < 0);
  assert_true(ep_rational_up(value) == nextafter(ep_rational_dn(value), INFINITY));
  mpq_clears(value, want, c, NULL);
  ep_rational_destroy(ctx, row, 2);
  ep_rational_destroy(ctx, y, 2);
  ep_exact_lp_clear(&lp);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_all_vertices),
      cmocka_unit_test(ends_on_degenerate_programs),
      cmocka_unit_test(keeps_every_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
