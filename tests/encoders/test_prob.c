/* The neutral problem's own promises: repeated variables merge exactly or get a copy, decimals are exact. */
#include "tests/ep_test.h"

#include "encoders/prob.h"
#include "kernels/rng.h"

#include <gmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void repeated_variables_merge_exactly(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_prob *p;
  uint32_t v[3];
  assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
  for (uint32_t i = 0; i < 3; i++) assert_int_equal(ep_prob_var(p, -1, 1, 0, i, &v[i]), EP_OK);
  /* 3 a - 3 a vanishes, 1 b + 2 b is 3 b, 1 c + 2^-60 c is no double: a copy of c takes the small part. */
  uint32_t var[6] = {v[0], v[1], v[2], v[1], v[0], v[2]};
  ep_prob_row r = {.n = 6, .var = var, .coef = (const double[]){3, 1, 1, 2, -3, 0x1p-60}, .lo = 0, .hi = 1};
  assert_int_equal(ep_prob_add(p, EP_PLACE_ALWAYS, &r), EP_OK);
  assert_int_equal(p->n_row, 2);
  assert_int_equal(p->n_var, 4);
  const ep_prob_row *copy = &p->row[0], *row = &p->row[1];
  assert_int_equal(copy->n, 2);
  assert_true(copy->lo == 0 && copy->hi == 0 && copy->coef[0] == -copy->coef[1]);
  assert_int_equal(row->n, 3);
  double want[4] = {0, 3, 1, 0x1p-60};
  for (uint32_t k = 0; k < row->n; k++) assert_true(row->coef[k] == want[row->var[k]]);
  /* The work space is clean again. */
  ep_prob_row again = {.n = 1, .var = v, .coef = (const double[]){5}, .lo = 0, .hi = 1};
  assert_int_equal(ep_prob_add(p, EP_PLACE_ALWAYS, &again), EP_OK);
  assert_true(p->row[2].n == 1 && p->row[2].coef[0] == 5);
  ep_prob_destroy(p);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

static void check_decimal(double x) {
  char text[EP_DECIMAL_MAX], digits[EP_DECIMAL_MAX];
  size_t n = ep_prob_decimal(x, text, sizeof text);
  assert_int_equal(n, strlen(text));
  assert_null(strpbrk(text, "eE"));
  const char *dot = strchr(text, '.');
  assert_non_null(dot);
  snprintf(digits, sizeof digits, "%.*s%s", (int)(dot - text), text, dot + 1);
  mpq_t want, got;
  mpq_inits(want, got, NULL);
  mpq_set_d(want, x);
  assert_int_equal(mpz_set_str(mpq_numref(got), digits, 10), 0);
  mpz_ui_pow_ui(mpq_denref(got), 10, strlen(dot + 1));
  mpq_canonicalize(got);
  assert_true(mpq_equal(want, got));
  mpq_clears(want, got, NULL);
}

static void decimals_are_exact(void **state) {
  (void)state;
  const double edge[] = {0,   -0.0, 1, -1, 0.1, -0.75, 0x1p-1074, -0x1.fffffffffffffp+1023, 0x1.fffffffffffffp-1000,
                         1e22};
  for (size_t i = 0; i < sizeof edge / sizeof *edge; i++) check_decimal(edge[i]);
  ep_rng r;
  ep_rng_seed(&r, 1);
  for (int i = 0; i < 500; i++) check_decimal(ep_rng_normal(&r) * pow(2, (double)ep_rng_below(&r, 200) - 100));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(repeated_variables_merge_exactly),
                                     cmocka_unit_test(decimals_are_exact)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
