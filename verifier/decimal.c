#include "verifier/decimal.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LITERAL = 4096, MAX_EXPANSION = 1200, MAX_EXPONENT = 100000000 };

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
  /* Beyond any double by far, and the sum with `point` cannot overflow. */
  e = e < -MAX_EXPONENT ? -MAX_EXPONENT : e > MAX_EXPONENT ? MAX_EXPONENT : e;
  while (n && digits[n - 1] == '0') n--;
  *exp10 = n ? point + e : 0;
  return n;
}

/* Sign of the difference of two normalised numbers. */
static int compare_digits(const char *a, size_t na, long ea, const char *b, size_t nb, long eb) {
  int c = na && nb ? (ea > eb) - (ea < eb) : (na > 0) - (nb > 0);
  if (!c) c = memcmp(a, b, na < nb ? na : nb);
  if (!c) c = (na > nb) - (na < nb);
  return (c > 0) - (c < 0);
}

int ep_decimal_compare(const char *a, const char *b) {
  char da[MAX_LITERAL], db[MAX_LITERAL];
  long ea, eb;
  assert(strlen(a) <= MAX_LITERAL && strlen(b) <= MAX_LITERAL);
  size_t na = normalise(a, da, sizeof da, &ea), nb = normalise(b, db, sizeof db, &eb);
  bool neg_a = *a == '-' && na, neg_b = *b == '-' && nb;
  if (neg_a != neg_b) return neg_a ? -1 : 1;
  int c = compare_digits(da, na, ea, db, nb, eb);
  return neg_a ? -c : c;
}

/* Sign of |literal| - |d|, by comparing the literal with the double's full decimal expansion (which printf gives
 * exactly: no double needs more than 767 significant digits). */
static int compare_magnitude(const char *s, double d) {
  char lit[MAX_LITERAL], expansion[MAX_EXPANSION], dbl[MAX_EXPANSION];
  snprintf(expansion, sizeof expansion, "%.1100e", fabs(d));
  long e1, e2;
  size_t n1 = normalise(s, lit, sizeof lit, &e1), n2 = normalise(expansion, dbl, sizeof dbl, &e2);
  return compare_digits(lit, n1, e1, dbl, n2, e2);
}

/* The same in 128-bit integers for literals of at most 19 digits, which are nearly all: with d = M*2^E and the literal
 * m*10^e, compares m*5^e*2^(e-E) with M (powers of five on the other side when e < 0). False when they do not fit. */
static bool compare_short(const char *s, double d, int *out) {
  char lit[MAX_LITERAL]; /* room for all digits: a cut number would look round */
  long point;
  size_t n = normalise(s, lit, sizeof lit, &point);
  *out = 0;
  if (!n) return true; /* zero, and so is d */
  if (n > 19 || d == 0) return false;
  long e10 = point - (long)n;
  if (e10 < -27 || e10 > 27) return false;
  unsigned __int128 left = 0, right;
  for (size_t i = 0; i < n; i++) left = left * 10 + (unsigned)(lit[i] - '0');
  int e2;
  right = (unsigned __int128)(uint64_t)ldexp(frexp(fabs(d), &e2), 53);
  for (long k = 0; k < labs(e10); k++) *(e10 < 0 ? &right : &left) *= 5; /* 64 + 63 bits at most */
  long shift = (long)e2 - 53 - e10;
  unsigned __int128 *up = shift < 0 ? &left : &right;
  for (shift = labs(shift); shift > 0; shift--) {
    if (*up >> 127) return false;
    *up <<= 1;
  }
  *out = (left > right) - (left < right);
  return true;
}

bool ep_decimal_parse(const char *text, ep_itv *out) {
  if (strlen(text) > MAX_LITERAL || !is_literal(text)) return false;
  char *end;
  double d = strtod(text, &end);
  if (*end || !isfinite(d)) return false; /* a locale with another decimal point stops at ours */
  *out = ep_itv_point(d);
  /* The extended-precision value is within half an ulp (2^-64 relative) of the literal: a difference beyond that has a
   * certain sign. Differences of neighbours are exact. */
  int side;
  if (compare_short(text, d, &side)) {
    if (*text == '-') side = -side;
  } else {
    long double x = strtold(text, NULL), diff = x - (long double)d;
    if (fabsl(diff) > fabsl(x) * 0x1p-62L && d != 0) {
      side = diff > 0 ? 1 : -1;
    } else {
      int c = compare_magnitude(text, d);
      side = *text == '-' ? -c : c;
    }
  }
  if (side > 0) out->hi = ep_up(d);
  if (side < 0) out->lo = ep_dn(d);
  return true;
}

/* The double next to `s` on the side of `dir` when the true value s + err lies there, else s itself. */
static double towards(double s, double err, double dir) {
  return err != 0 && (err > 0) == (dir > 0) ? nextafter(s, dir) : s;
}

/* a + b rounded towards `dir`, exactly (two-sum error term) unless it overflows. */
static double add_dir(double a, double b, double dir) {
  double s = a + b, t = s - a, err = (a - (s - t)) + (b - t);
  return towards(s, isfinite(s) ? err : dir, dir);
}

/* fma gives the exact error away from underflow; elsewhere the step is always taken. */
static double mul_dir(double a, double b, double dir) {
  double p = a * b;
  /* An infinite end means "unbounded", and zero times any real is zero. A NaN operand carries no information. */
  if (isnan(p)) return isnan(a) || isnan(b) ? dir : 0;
  if (a == 0 || b == 0 || fabs(a) == 1 || fabs(b) == 1) return p;
  return towards(p, fabs(p) > 1e-280 && isfinite(p) ? fma(a, b, -p) : dir, dir);
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

/* a / b rounded towards `dir`; the residual is exact away from underflow, and a/b - q has the sign of -residual/b. */
static double div_dir(double a, double b, double dir) {
  double q = a / b;
  if (a == 0) return q;
  bool is_known = isfinite(q) && fabs(q) > 1e-280 && fabs(a) > 1e-280;
  return towards(q, is_known ? copysign(1, -b) * fma(q, b, -a) : dir, dir);
}

ep_itv ep_decimal_div(ep_itv a, ep_itv b) {
  if (b.lo != b.hi || b.lo == 0) return ep_itv_div(a, b);
  if (b.lo > 0) return (ep_itv){div_dir(a.lo, b.lo, -INFINITY), div_dir(a.hi, b.lo, INFINITY)};
  return (ep_itv){div_dir(a.hi, b.lo, -INFINITY), div_dir(a.lo, b.lo, INFINITY)};
}
