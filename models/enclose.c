#include "models/enclose.h"

#include <assert.h>

/* g(x) = f(x) - k*x throughout. Subtracting a linear function keeps curvature, so on a convex piece [a,b]
 *   max g = max(g(a), g(b))   and   g(x) >= g(p) + d*(x-p) for every p in [a,b] and subgradient d of g at p,
 * and mirrored on concave pieces. The point p is found by estimates; only the inequality is relied upon. */

/* ---- sums and products that stay exact where they can, so piecewise linear functions lose no ulps ---- */

/* Rounding error of s = a + b (Knuth's TwoSum), exact unless something overflowed (then NaN). */
static double add_error(double a, double b, double s) {
  double bb = s - a;
  return (a - (s - bb)) + (b - bb);
}

static double add_lo(double a, double b) {
  double s = a + b;
  return add_error(a, b, s) >= 0 ? s : ep_dn(s);
}

static double add_hi(double a, double b) { return -add_lo(-a, -b); }

/* The error of a product is a binary64 number unless the product is tiny; 2^-900 leaves ample room. 0 * inf counts as
 * 0: callers use it only for a factor that is exactly zero. */
static double mul_lo(double a, double b) {
  if (a == 0 || b == 0) return 0;
  double p = a * b;
  return fabs(p) >= 0x1p-900 && fma(a, b, -p) >= 0 ? p : ep_dn(p);
}

static double mul_hi(double a, double b) { return -mul_lo(-a, b); }

static ep_itv valid_or_whole(ep_itv a) { return ep_itv_is_valid(a) ? a : ep_itv_whole(); }

static ep_itv hull(ep_itv a, ep_itv b) {
  assert(a.lo == a.lo && a.hi == a.hi && b.lo == b.lo && b.hi == b.hi);
  return (ep_itv){a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
}

/* y - k*x for x in [l,u]; an infinite end meets k = 0 only as the exact product 0. */
static ep_itv minus_kx(ep_itv y, double k, double l, double u) {
  double lo = k >= 0 ? l : u, hi = k >= 0 ? u : l;
  return valid_or_whole((ep_itv){add_lo(y.lo, -mul_hi(k, hi)), add_hi(y.hi, -mul_lo(k, lo))});
}

/* g at the point x (finite). */
static ep_itv at_point(const ep_univar *f, double k, double x) {
  assert(isfinite(x));
  return minus_kx(valid_or_whole(f->enclose(f, x)), k, x, x);
}

/* ---- linear pieces ---- */

/* (slope-k)*x + icpt of piece i, x finite or infinite. */
static ep_itv line_at(const ep_univar *f, uint32_t i, double k, double x) {
  ep_itv d = {add_lo(f->slope[i], -k), add_hi(f->slope[i], -k)};
  ep_itv p = x >= 0 ? (ep_itv){mul_lo(d.lo, x), mul_hi(d.hi, x)} : (ep_itv){mul_lo(d.hi, x), mul_hi(d.lo, x)};
  return valid_or_whole((ep_itv){add_lo(p.lo, f->icpt[i]), add_hi(p.hi, f->icpt[i])});
}

static ep_itv over_line(const ep_univar *f, uint32_t i, double k, double a, double b) {
  return hull(line_at(f, i, k, a), line_at(f, i, k, b));
}

/* ---- curved pieces ---- */

static bool has_jump_at(const ep_univar *f, uint32_t brk) { return f->has_jump && f->jump_lo[brk] != f->jump_hi[brk]; }

/* All values of the tangents of g at p over [a,b]. At a kink that is the fan of both sides' tangents. */
static ep_itv tangent_over(const ep_univar *f, double k, double p, double a, double b) {
  assert(a <= p && p <= b);
  ep_itv d = ep_itv_sub(valid_or_whole(f->enclose_df(f, p)), ep_itv_point(k));
  ep_itv step = {p == a ? 0 : ep_sub_dn(a, p), p == b ? 0 : ep_sub_up(b, p)};
  return valid_or_whole(ep_itv_add(at_point(f, k, p), valid_or_whole(ep_itv_mul(d, step))));
}

/* Where sign*(f'-k), an increasing function on the piece, crosses zero: regula falsi with the Illinois rule, which
 * needs some eight evaluations. a and b are finite. @sound estimate */
static double find_stationary(const ep_univar *f, double k, double sign, double a, double b) {
  /* Just inside the ends, since at a kink f' may be the neighbouring piece's. */
  double h = 0x1p-30 * (b - a), fa = sign * (f->df(f, a + h) - k), fb = sign * (f->df(f, b - h) - k), p = a;
  if (!(fa < 0)) return a;
  if (!(fb > 0)) return b;
  const double enough = 0x1p-32 * fmin(fabs(fa), fabs(fb));
  int side = 0;
  for (int it = 0; it < 60; it++) {
    p = (a * fb - b * fa) / (fb - fa);
    if (it % 4 == 3 || !(p > a && p < b)) p = a + (b - a) / 2; /* a bisection now and then bounds the worst case */
    if (!(p > a && p < b)) return a;
    double fp = sign * (f->df(f, p) - k);
    if (!(fabs(fp) > enough)) return p;
    if (fp < 0) {
      a = p;
      fa = fp;
      if (side < 0) fb /= 2;
      side = -1;
    } else {
      b = p;
      fb = fp;
      if (side > 0) fa /= 2;
      side = 1;
    }
  }
  return p;
}

/* Which side of g's range the tangent bounds: below for convex, above for concave pieces. */
static double tangent_side(const ep_univar *f, double k, bool is_convex, double p, double a, double b) {
  ep_itv t = tangent_over(f, k, p, a, b);
  return is_convex ? t.lo : -t.hi;
}

/* g over [a,b] inside piece i, where f is convex or concave. A jump at an end leaves f(end) apart from the piece's own
 * limit there, hence jump_lo..jump_hi joins the end value, and the tangent point has to be an interior one. */
static ep_itv over_curve(const ep_univar *f, uint32_t i, double k, double a, double b) {
  bool is_convex = f->piece[i] == EP_CONVEX;
  bool jump_a = i > 0 && has_jump_at(f, i - 1) && a <= f->brk[i - 1].hi;
  bool jump_b = i + 1 < f->n_piece && has_jump_at(f, i) && b >= f->brk[i].lo;
  ep_itv r = hull(isfinite(a) ? at_point(f, k, a) : ep_itv_whole(), isfinite(b) ? at_point(f, k, b) : ep_itv_whole());
  if (a == b) return r;
  if (jump_a) r = hull(r, minus_kx(valid_or_whole((ep_itv){f->jump_lo[i - 1], f->jump_hi[i - 1]}), k, a, a));
  if (jump_b) r = hull(r, minus_kx(valid_or_whole((ep_itv){f->jump_lo[i], f->jump_hi[i]}), k, b, b));

  /* Tangents are sought within a finite stretch; what they say holds for all of [a,b]. */
  double far = fmin(2 * (1 + fmin(fabs(a), fabs(b))), 1e6);
  double sa = isfinite(a) ? a : fmin(b, 0) - far, sb = isfinite(b) ? b : fmax(sa, 0) + far;
  double p = find_stationary(f, k, is_convex ? 1 : -1, sa, sb), best = -INFINITY;
  bool at_jump = (p == a && jump_a) || (p == b && jump_b);
  if (!at_jump) best = tangent_side(f, k, is_convex, p, a, b);
  /* At a kink or a vertical tangent the end point's own fan is wide; a point just inside has only its own tangent. */
  ep_itv d = valid_or_whole(f->enclose_df(f, p));
  if ((p == sa || p == sb) && (at_jump || !(d.hi - d.lo <= 1e-9 * (1 + ep_itv_mag(d))))) {
    double q = p + (p == sa ? 0x1p-20 : -0x1p-20) * (sb - sa);
    if (q > a && q < b) best = fmax(best, tangent_side(f, k, is_convex, q, a, b));
  }
  return is_convex ? (ep_itv){best, r.hi} : (ep_itv){r.lo, -best};
}

static ep_itv over_piece(const ep_univar *f, uint32_t i, double k, double a, double b) {
  assert(a <= b);
  return f->piece[i] == EP_LINEAR ? over_line(f, i, k, a, b) : over_curve(f, i, k, a, b);
}

/* ---- around breakpoints ---- */

/* g over [a,b] inside the interval that holds the true breakpoint t between pieces i and i+1: f is like piece i left of
 * t and like i+1 right of it, and t itself is unknown (it may even lie outside [a,b]).
 * Two lines: f is one of them. Otherwise let T_a, T_b be the tangents at the ends. If one side is convex and the other
 * concave, say convex first: on [a,t] g >= T_a and g <= max(g(a), g(t)); on [t,b] g <= T_b and g >= min(g(t), g(b));
 * and T_a(t) <= g(t) <= T_b(t). So g stays within the hull of g(a), g(b), T_a and T_b over [a,b]; mirrored likewise,
 * and a line counts as either. With jump values J around t the two sides come apart and the same hull with J holds for
 * all curvatures. */
static ep_itv over_break(const ep_univar *f, uint32_t i, double k, double a, double b) {
  assert(i + 1 < f->n_piece && a <= b);
  bool jump = has_jump_at(f, i);
  ep_curvature c0 = f->piece[i], c1 = f->piece[i + 1];
  ep_itv r = at_point(f, k, a);
  if (a == b) return r;
  ep_itv j = jump ? minus_kx(valid_or_whole((ep_itv){f->jump_lo[i], f->jump_hi[i]}), k, a, b) : r;
  if (c0 == EP_LINEAR && c1 == EP_LINEAR) return hull(j, hull(over_line(f, i, k, a, b), over_line(f, i + 1, k, a, b)));
  if (c0 == c1 && !jump) {
    if (!f->is_monotone) return ep_itv_whole();
    return minus_kx(valid_or_whole((ep_itv){f->enclose(f, a).lo, f->enclose(f, b).hi}), k, a, b);
  }
  return hull(j, hull(tangent_over(f, k, a, a, b), tangent_over(f, k, b, a, b)));
}

/* The breakpoint itself: needed apart from the pieces only where it is not a single known point of continuity. */
static ep_itv join_break(const ep_univar *f, uint32_t i, double k, double l, double u, ep_itv r) {
  ep_itv z = f->brk[i];
  if (z.lo == z.hi && !has_jump_at(f, i)) return r;
  double a = fmax(l, z.lo), b = fmin(u, z.hi);
  return a <= b ? hull(r, over_break(f, i, k, a, b)) : r;
}

static bool are_breaks_sorted(const ep_univar *f) {
  for (uint32_t i = 0; i + 1 < f->n_piece; i++) {
    if (!ep_itv_is_valid(f->brk[i]) || !isfinite(f->brk[i].lo) || !isfinite(f->brk[i].hi)) return false;
    if (i > 0 && !(f->brk[i - 1].hi <= f->brk[i].lo)) return false;
  }
  return true;
}

ep_itv ep_enclose(const ep_univar *f, double k, double l, double u) {
  assert(f->n_piece >= 1 && f->n_piece <= EP_MAX_PIECES);
  if (!(l <= u) || !isfinite(k) || l == INFINITY || u == -INFINITY) return ep_itv_whole();
  if (l == u) return at_point(f, k, l);
  if (k == 0 && f->is_monotone && isfinite(l) && isfinite(u))
    return valid_or_whole((ep_itv){f->enclose(f, l).lo, f->enclose(f, u).hi});
  if (f->reach > 0 && !(-f->reach <= l && u <= f->reach)) return minus_kx(f->range, k, l, u);
  if (!are_breaks_sorted(f)) return ep_itv_whole();
  ep_itv r = {INFINITY, -INFINITY};
  for (uint32_t i = 0; i < f->n_piece; i++) {
    double a = i > 0 ? fmax(l, f->brk[i - 1].hi) : l, b = i + 1 < f->n_piece ? fmin(u, f->brk[i].lo) : u;
    if (a <= b) r = hull(r, over_piece(f, i, k, a, b));
    if (i + 1 < f->n_piece) r = join_break(f, i, k, l, u, r);
  }
  if (k == 0 && f->is_monotone) { /* one end is infinite; the other still bounds its side */
    if (isfinite(l)) r.lo = fmax(r.lo, valid_or_whole(f->enclose(f, l)).lo);
    if (isfinite(u)) r.hi = fmin(r.hi, valid_or_whole(f->enclose(f, u)).hi);
  }
  return valid_or_whole(r);
}
