/* Interval arithmetic and rounding helpers against quad precision. */
#include "tests/ep_test.h"

#include <float.h>
#include <math.h>

#include "kernels/itv.h"
#include "kernels/rng.h"

typedef __float128 quad;

static double any(ep_rng *r) {
  switch (ep_rng_below(r, 8)) {
  case 0:
    return 0;
  case 1:
    return (double)(int)ep_rng_below(r, 7) - 3;
  case 2:
    return ldexp(ep_rng_uniform(r) - 0.5, -1040); /* subnormal */
  case 3:
    return ldexp(ep_rng_uniform(r) - 0.5, 900);
  default:
    return ldexp(ep_rng_uniform(r) - 0.5, (int)ep_rng_below(r, 60) - 30);
  }
}
static ep_itv any_itv(ep_rng *r) {
  double a = any(r), b = ep_rng_below(r, 4) ? any(r) : a;
  return (ep_itv){fmin(a, b), fmax(a, b)};
}
static double member(ep_rng *r, ep_itv a) {
  switch (ep_rng_below(r, 3)) {
  case 0:
    return a.lo;
  case 1:
    return a.hi;
  default:
    return fmin(fmax(a.lo + ep_rng_uniform(r) * (a.hi - a.lo), a.lo), a.hi);
  }
}
static bool holds(ep_itv a, quad x) { return a.lo <= x && x <= a.hi; }

static void operations_contain_results(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 1);
  for (int i = 0; i < 300000; i++) {
    ep_itv a = any_itv(&r), b = any_itv(&r);
    double x = member(&r, a), y = member(&r, b);
    assert_true(holds(ep_itv_add(a, b), (quad)x + y));
    assert_true(holds(ep_itv_sub(a, b), (quad)x - y));
    assert_true(holds(ep_itv_mul(a, b), (quad)x * y));
    if (y != 0) assert_true(holds(ep_itv_div(a, b), (quad)x / y));
    assert_true(holds(ep_itv_hull(a, b), x) && holds(ep_itv_hull(a, b), y));
    assert_true(ep_itv_mag(a) >= fabs(x));
  }
}

static void infinite_and_missing_operands(void **state) {
  (void)state;
  ep_itv whole = ep_itv_whole(), p = ep_itv_point(2), zero = ep_itv_point(0), bad = {NAN, NAN};
  ep_itv all[] = {ep_itv_add(whole, p),    ep_itv_sub(p, whole),     ep_itv_mul(whole, p),
                  ep_itv_mul(whole, zero), ep_itv_div(p, zero),      ep_itv_div(p, (ep_itv){-1, 1}),
                  ep_itv_add(bad, p),      ep_itv_mul(bad, p),       ep_itv_sub(p, bad),
                  ep_itv_div(bad, p),      ep_itv_add(whole, whole), ep_itv_div(p, bad)};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) assert_true(all[i].lo == -INFINITY && all[i].hi == INFINITY);
  assert_false(ep_itv_is_valid(bad));
  assert_false(ep_itv_is_valid((ep_itv){1, 0}));
  ep_itv big = ep_itv_mul(ep_itv_point(1e300), ep_itv_point(1e300)); /* overflow keeps the true value inside */
  assert_true(big.lo <= DBL_MAX && big.hi == INFINITY);
}

static void steps_are_nextafter(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 2);
  const double special[] = {0.0, -0.0, 1, -1, DBL_MAX, -DBL_MAX, DBL_MIN, -DBL_MIN, 0x1p-1074, -0x1p-1074, -INFINITY};
  for (int i = 0; i < 100000; i++) {
    double x = i < 11 ? special[i] : any(&r);
    assert_true(ep_up(x) == nextafter(x, INFINITY));
    if (x != -INFINITY) assert_true(ep_dn(x) == nextafter(x, -INFINITY));
  }
  assert_true(ep_up(INFINITY) == INFINITY && ep_dn(-INFINITY) == -INFINITY && ep_dn(INFINITY) == DBL_MAX);
  assert_true(isnan(ep_up(NAN)) && isnan(ep_dn(NAN)));
}

static void directed_operations(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 3);
  for (int i = 0; i < 200000; i++) {
    double a = any(&r), b = any(&r);
    assert_true(ep_add_dn(a, b) <= (quad)a + b && (quad)a + b <= ep_add_up(a, b));
    assert_true(ep_sub_dn(a, b) <= (quad)a - b && (quad)a - b <= ep_sub_up(a, b));
    assert_true(ep_mul_dn(a, b) <= (quad)a * b && (quad)a * b <= ep_mul_up(a, b));
    if (b != 0) assert_true(ep_div_dn(a, b) <= (quad)a / b && (quad)a / b <= ep_div_up(a, b));
  }
}

static void gamma_is_an_upper_bound(void **state) {
  (void)state;
  for (size_t n = 0; n < 2000000; n = n * 3 / 2 + 1) {
    quad t = (quad)n * EP_U64, f = (quad)n * EP_U32;
    assert_true(ep_gamma64(n) >= t / (1 - t));
    assert_true(ep_gamma32(n) >= f / (1 - f));
    assert_true(ep_gamma64(n) <= (double)n * EP_U64 * 1.001 &&
                (n > 10000 || ep_gamma32(n) <= (double)n * EP_U32 * 1.01));
  }
  assert_true(ep_gamma64((size_t)1 << 60) == INFINITY && ep_gamma32((size_t)1 << 30) == INFINITY);
  assert_true(ep_sum_up(1, 10) > 1 && ep_sum_up(0, 10) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(operations_contain_results), cmocka_unit_test(infinite_and_missing_operands),
      cmocka_unit_test(steps_are_nextafter),        cmocka_unit_test(directed_operations),
      cmocka_unit_test(gamma_is_an_upper_bound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
