#include "verifier/decimal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_literal(const char *s) {
  if (*s == '+' || *s == '-') s++;
  int digits = 0;
  for (; isdigit((unsigned char)*s); s++) digits++;
  if (*s == '.')
    for (s++; isdigit((unsigned char)*s); s++) digits++;
  if (!digits) return false;
  if (*s == 'e' || *s == 'E') {
    s++;
    if (*s == '+' || *s == '-') s++;
    if (!isdigit((unsigned char)*s)) return false;
    while (isdigit((unsigned char)*s)) s++;
  }
  return !*s;
}

/* Significant digits without leading and trailing zeros, and the exponent of the first one: 0.d1 d2 ... * 10^exp. */
static size_t normalise(const char *s, char *digits, size_t room, long *exp10) {
  size_t n = 0;
  long point = 0;
  bool after = false, started = false;
  for (; *s && *s != 'e' && *s != 'E'; s++) {
    if (*s == '.') {
      after = true;
      continue;
    }
    if (!isdigit((unsigned char)*s)) continue;
    if (*s != '0') started = true;
    if (started && n < room) digits[n++] = *s;
    if (!after && started) point++;
    if (after && !started) point--;
  }
  long e = *s ? strtol(s + 1, NULL, 10) : 0;
  while (n && digits[n - 1] == '0') n--;
  *exp10 = n ? point + e : 0;
  return n;
}

enum { MAX_LITERAL = 4096, MAX_EXPANSION = 1200 };

/* Sign of |literal| - |d|, by comparing the literal with the double's full decimal expansion (which printf gives
 * exactly: no double needs more than 767 significant digits). */
static int compare_magnitude(const char *s, double d) {
  char lit[MAX_LITERAL], expansion[MAX_EXPANSION], dbl[MAX_EXPANSION];
  snprintf(expansion, sizeof expansion, "%.1100e", fabs(d));
  long e1, e2;
  size_t n1 = normalise(s, lit, sizeof lit, &e1), n2 = normalise(expansion, dbl, sizeof dbl, &e2);
  int c = n1 && n2 ? (e1 > e2) - (e1 < e2) : (n1 > 0) - (n2 > 0);
  if (!c) c = memcmp(lit, dbl, n1 < n2 ? n1 : n2);
  if (!c) c = (n1 > n2) - (n1 < n2);
  return (c > 0) - (c < 0);
}

bool ep_decimal_parse(const char *text, ep_itv *out) {
  if (strlen(text) > MAX_LITERAL || !is_literal(text)) return false;
  double d = strtod(text, NULL);
  if (!isfinite(d)) return false;
  *out = ep_itv_point(d);
  /* The extended-precision value is within half an ulp (2^-64 relative) of the literal: a difference beyond that has a
   * certain sign. Differences of neighbours are exact. */
  long double x = strtold(text, NULL), diff = x - (long double)d;
  int side;
  if (fabsl(diff) > fabsl(x) * 0x1p-62L && d != 0) {
    side = diff > 0 ? 1 : -1;
  } else {
    int c = compare_magnitude(text, d);
    side = *text == '-' ? -c : c;
  }
  if (side > 0) out->hi = ep_up(d);
  if (side < 0) out->lo = ep_dn(d);
  return true;
}

/* a + b rounded towards `dir`; exact sums are kept (two-sum error term). */
static double add_dir(double a, double b, double dir) {
  double s = a + b, t = s - a, err = (a - (s - t)) + (b - t);
  return err == 0 && isfinite(s) ? s : nextafter(s, dir);
}

static double mul_dir(double a, double b, double dir) {
  double p = a * b;
  /* fma gives the exact error away from underflow. */
  return (a == 0 || b == 0 || (fabs(p) > 1e-280 && isfinite(p) && fma(a, b, -p) == 0)) ? p : nextafter(p, dir);
}

ep_itv ep_decimal_add(ep_itv a, ep_itv b) {
  return (ep_itv){add_dir(a.lo, b.lo, -INFINITY), add_dir(a.hi, b.hi, INFINITY)};
}

ep_itv ep_decimal_mul(ep_itv a, ep_itv b) {
  ep_itv r = {INFINITY, -INFINITY};
  double x[2] = {a.lo, a.hi}, y[2] = {b.lo, b.hi};
  for (int i = 0; i < 4; i++) {
    r.lo = fmin(r.lo, mul_dir(x[i & 1], y[i >> 1], -INFINITY));
    r.hi = fmax(r.hi, mul_dir(x[i & 1], y[i >> 1], INFINITY));
  }
  return r;
}

ep_itv ep_decimal_div(ep_itv a, ep_itv b) {
  if (a.lo == a.hi && b.lo == b.hi && b.lo != 0) {
    double q = a.lo / b.lo;
    if (isfinite(q) && (a.lo == 0 || (fabs(q) > 1e-280 && fma(q, b.lo, -a.lo) == 0))) return ep_itv_point(q);
  }
  return ep_itv_div(a, b);
}
