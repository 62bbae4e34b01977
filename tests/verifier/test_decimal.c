/* Decimal literals against exact rational arithmetic: the enclosure is the tightest one, and a point only when the
 * literal is a double. */
#include "tests/ep_test.h"

#include <float.h>
#include <gmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rng.h"
#include "verifier/decimal.h"

/* The literal as a rational: digits without the point over a power of ten. */
static void exact_of(const char *text, mpq_t out) {
  char digits[8192];
  size_t n = 0;
  long scale = 0;
  const char *s = text;
  bool after = false;
  if (*s == '+' || *s == '-') s++;
  for (; *s && *s != 'e' && *s != 'E'; s++) {
    if (*s == '.') {
      after = true;
      continue;
    }
    digits[n++] = *s;
    scale -= after;
  }
  digits[n] = 0;
  if (*s) scale += strtol(s + 1, NULL, 10);
  mpz_t power;
  mpz_init(power);
  mpz_ui_pow_ui(power, 10, (unsigned long)labs(scale));
  mpq_set_ui(out, 1, 1);
  mpz_set_str(mpq_numref(out), digits, 10);
  if (scale >= 0)
    mpz_mul(mpq_numref(out), mpq_numref(out), power);
  else
    mpz_set(mpq_denref(out), power);
  mpq_canonicalize(out);
  if (*text == '-') mpq_neg(out, out);
  mpz_clear(power);
}

static int compare(mpq_t exact, double d) {
  mpq_t t;
  mpq_init(t);
  mpq_set_d(t, d);
  int c = mpq_cmp(exact, t);
  mpq_clear(t);
  return c;
}

static void check_literal(const char *text) {
  ep_itv v;
  mpq_t exact;
  if (!ep_decimal_parse(text, &v)) fail_msg("%.60s is refused", text);
  mpq_init(exact);
  exact_of(text, exact);
  bool is_ok = v.lo == v.hi ? compare(exact, v.lo) == 0
                            : compare(exact, v.lo) > 0 && compare(exact, v.hi) < 0 && nextafter(v.lo, INFINITY) == v.hi;
  if (!is_ok) fail_msg("%.60s read as [%.17g, %.17g]", text, v.lo, v.hi);
  mpq_clear(exact);
}

static void notable_literals(void **state) {
  (void)state;
  static const char *const text[] = {
      "0",
      "-0.0",
      "+1",
      "0.5",
      "0.1",
      "-0.1",
      "1e22",
      "1e23",
      "9007199254740993",
      "-9007199254740993",
      "1e-5",
      "1e308",
      /* Digits far behind the point decide; a cut literal would look exact. */
      "1.0000000000000000000001",
      "-1.0000000000000000000001",
      "0.9999999999999999999999",
      "0.50000000000000000000000001",
      /* One half ulp above 1: a tie, which strtod sends down. */
      "1.00000000000000011102230246251565404236316680908203125",
      "1.00000000000000011102230246251565404236316680908203126",
      /* Subnormal, half of the smallest double, and below. */
      "4.9e-324",
      "2.4703282292062327e-324",
      "1e-323",
      "2.2250738585072011e-308",
      "1.7976931348623157e308",
      ".5",
      "5.",
      "000.500",
      "1E+2",
      "-0.30353115613746867",
      "0.3999999999999999500",
      /* Too many digits for 128-bit integers. */
      "1234567890123456789012345678901234567890123",
      "-340282366920938463463374607431768211457",
      "12345678901234567890123e25",
      "12345678901234567890e25",
  };
  for (size_t i = 0; i < sizeof text / sizeof *text; i++) check_literal(text[i]);
}

static void random_literals(void **state) {
  (void)state;
  ep_rng r;
  char text[128];
  ep_rng_seed(&r, 7);
  for (int t = 0; t < 40000; t++) {
    double d = ep_rng_normal(&r) * ldexp(1, (int)ep_rng_below(&r, 200) - 100);
    switch (ep_rng_below(&r, 5)) {
    case 0:
      snprintf(text, sizeof text, "%.17g", d);
      break;
    case 1:
      snprintf(text, sizeof text, "%.*g", 1 + (int)ep_rng_below(&r, 40), d);
      break;
    case 2:
      snprintf(text, sizeof text, "%.*e", (int)ep_rng_below(&r, 22), (double)(float)d);
      break;
    case 3:
      snprintf(text, sizeof text, "%.*f", (int)ep_rng_below(&r, 24), ep_rng_normal(&r));
      break;
    default:
      snprintf(text, sizeof text, "%d.%05d", (int)ep_rng_below(&r, 300), (int)ep_rng_below(&r, 100000));
    }
    check_literal(text);
  }
}

/* A double printed in full is exact; with its last digit moved it is not, on the right side. */
static void last_digit_decides(void **state) {
  (void)state;
  ep_rng r;
  char text[1200];
  ep_itv v;
  ep_rng_seed(&r, 8);
  for (int t = 0; t < 200; t++) {
    double d = fabs(ep_rng_normal(&r)) * ldexp(1, (int)ep_rng_below(&r, 300) - 150);
    snprintf(text, sizeof text, "%.800f", d);
    size_t n = strlen(text);
    assert_true(ep_decimal_parse(text, &v) && v.lo == d && v.hi == d);
    assert_int_equal(text[n - 1], '0');
    text[n - 1] = '1';
    assert_true(ep_decimal_parse(text, &v) && v.lo == d && v.hi == nextafter(d, INFINITY));
    check_literal(text);
  }
}

static void not_literals(void **state) {
  (void)state;
  static const char *const text[] = {"", "-", ".", "e5", "1e", "1e+", "0x10", "nan", "inf", "1.2.3", "1 ", "--1", "1f"};
  ep_itv v;
  for (size_t i = 0; i < sizeof text / sizeof *text; i++) assert_false(ep_decimal_parse(text[i], &v));
  assert_false(ep_decimal_parse("1e309", &v));
  assert_false(ep_decimal_parse("-1e99999999999999999999", &v));
  assert_true(ep_decimal_parse("0.001e-9223372036854775808", &v) && v.lo == 0 && v.hi == 0x1p-1074);
  assert_true(ep_decimal_parse("-1e-99999999999999999999", &v) && v.lo == -0x1p-1074 && v.hi == 0);
}

static void literals_are_ordered(void **state) {
  (void)state;
  static const struct {
    const char *a, *b;
    int c;
  } t[] = {{"0.1", "0.10", 0},  {"1e-1", "+0.1", 0}, {"0.1", "0.1000000000000000000001", -1},
           {"-0.1", "0.1", -1}, {"-0.1", "-0.2", 1}, {"0", "-0.0", 0},
           {"100", "1e2", 0},   {"99", "1e2", -1},   {"0", "1e-400", -1},
           {"-1e-400", "0", -1}};
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    assert_int_equal(ep_decimal_compare(t[i].a, t[i].b), t[i].c);
    assert_int_equal(ep_decimal_compare(t[i].b, t[i].a), -t[i].c);
  }
}

static bool encloses(ep_itv v, mpq_t exact, bool is_double) {
  if (v.lo == v.hi) return compare(exact, v.lo) == 0;
  return !is_double && compare(exact, v.lo) > 0 && compare(exact, v.hi) < 0 && nextafter(v.lo, INFINITY) == v.hi;
}

static void sums_products_and_quotients(void **state) {
  (void)state;
  ep_rng r;
  mpq_t x, y, e;
  mpq_inits(x, y, e, NULL);
  ep_rng_seed(&r, 9);
  for (int t = 0; t < 20000; t++) {
    bool is_small = ep_rng_below(&r, 2); /* small integers: exact results, which must stay points */
    double a = is_small ? (double)ep_rng_below(&r, 50) - 25 : ep_rng_normal(&r) * ldexp(1, (int)ep_rng_below(&r, 40));
    double b = is_small ? (double)(1u << ep_rng_below(&r, 5)) : ep_rng_normal(&r);
    if (ep_rng_below(&r, 2)) b = -b;
    mpq_set_d(x, a);
    mpq_set_d(y, b);
    mpq_add(e, x, y);
    assert_true(encloses(ep_decimal_add(ep_itv_point(a), ep_itv_point(b)), e, is_small));
    mpq_mul(e, x, y);
    assert_true(encloses(ep_decimal_mul(ep_itv_point(a), ep_itv_point(b)), e, is_small));
    mpq_div(e, x, y);
    assert_true(encloses(ep_decimal_div(ep_itv_point(a), ep_itv_point(b)), e, is_small));
  }
  /* Where remainders underflow nothing is taken for exact. */
  for (int t = 0; t < 1000; t++) {
    double a = (3 + ep_rng_normal(&r) * 0.1) * 1e-308, b = (3 + ep_rng_normal(&r) * 0.1) * 1e-10;
    mpq_set_d(x, a);
    mpq_set_d(y, b);
    mpq_div(e, x, y);
    ep_itv v = ep_decimal_div(ep_itv_point(a), ep_itv_point(b));
    assert_true(v.lo < v.hi && compare(e, v.lo) > 0 && compare(e, v.hi) < 0);
    mpq_mul(e, x, y);
    v = ep_decimal_mul(ep_itv_point(a), ep_itv_point(b));
    assert_true(v.lo < v.hi && compare(e, v.lo) > 0 && compare(e, v.hi) < 0);
  }
  mpq_clears(x, y, e, NULL);
}

/* Infinite ends mean "unbounded": zero times such an interval is zero. NaN carries no information. */
static void ends_without_numbers(void **state) {
  (void)state;
  ep_itv whole = ep_itv_whole(), zero = ep_itv_point(0), v = ep_decimal_mul(zero, whole);
  assert_true(v.lo == 0 && v.hi == 0);
  v = ep_decimal_mul(whole, zero);
  assert_true(v.lo == 0 && v.hi == 0);
  v = ep_decimal_mul((ep_itv){1, INFINITY}, (ep_itv){-1, 0});
  assert_true(v.lo == -INFINITY && v.hi == 0);
  v = ep_decimal_mul(zero, (ep_itv){0, (double)NAN});
  assert_true(v.lo == -INFINITY && v.hi == INFINITY);
  v = ep_decimal_mul(ep_itv_point((double)NAN), ep_itv_point(2));
  assert_true(v.lo == -INFINITY && v.hi == INFINITY);
  /* A sum beyond all doubles still has a finite end on the near side. */
  v = ep_decimal_add(ep_itv_point(DBL_MAX), ep_itv_point(DBL_MAX));
  assert_true(v.lo == DBL_MAX && v.hi == INFINITY);
  v = ep_decimal_add(ep_itv_point(-DBL_MAX), ep_itv_point(-DBL_MAX));
  assert_true(v.lo == -INFINITY && v.hi == -DBL_MAX);
  v = ep_decimal_add((ep_itv){DBL_MAX, INFINITY}, (ep_itv){-INFINITY, -DBL_MAX});
  assert_true(v.lo == -INFINITY && v.hi == INFINITY);
  /* Signs and ones are exact however small the number. */
  v = ep_decimal_mul(ep_itv_point(-1), ep_itv_point(4.9e-324));
  assert_true(v.lo == -4.9e-324 && v.hi == -4.9e-324);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(notable_literals),     cmocka_unit_test(random_literals),
      cmocka_unit_test(last_digit_decides),   cmocka_unit_test(not_literals),
      cmocka_unit_test(literals_are_ordered), cmocka_unit_test(sums_products_and_quotients),
      cmocka_unit_test(ends_without_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
