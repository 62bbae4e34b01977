/* ep_enclose against functions evaluated in extended precision at sampled points.
 *
 * Seen to fail, by hand-made mutations of enclose.c, each alone: add_lo or mul_lo returning the rounded result instead
 * of stepping outward; convex and concave swapped; the zone around a breakpoint, a jump's own value, the jump values at
 * a piece's end, or the second tangent of a zone left out; f' estimated instead of enclosed; the tangent not followed
 * to the far end; k*x taken at the wrong end; the order of breakpoints not checked. Swapped curvature and a forgotten
 * breakpoint in the *description* are kept as a test (wrong_description_is_noticed).
 */
#include "tests/ep_test.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/enclose.h"

typedef __float128 quad; /* exact for the sums and products of a few doubles that occur in linear pieces */
typedef struct fun {
  ep_univar u;
  quad (*ref)(const ep_univar *, double x); /* f(x), error at most `slack` relative */
  double slack, df_max;                     /* df_max bounds |f'| where it is finite, for the looseness measure */
  bool is_pl;
} fun;

/* A value computed in long double within 8 of its ulps. */
static ep_itv around(long double y) {
  double d = (double)y;
  return (ep_itv){ep_dn(d), ep_up(d)};
}

/* ---- piecewise linear functions, evaluated from their own description ---- */
static uint32_t piece_of(const ep_univar *f, double x) {
  uint32_t i = 0;
  while (i + 1 < f->n_piece && x > f->param[i]) i++;
  return i;
}
static quad pl_ref(const ep_univar *f, double x) {
  if (f->has_jump)
    for (uint32_t i = 0; i + 1 < f->n_piece; i++)
      if (x == f->param[i]) return ((quad)f->jump_lo[i] + f->jump_hi[i]) / 2;
  uint32_t i = piece_of(f, x);
  return (quad)f->slope[i] * x + f->icpt[i];
}
static double pl_f(const ep_univar *f, double x) { return (double)pl_ref(f, x); }
static double pl_df(const ep_univar *f, double x) { return f->slope[piece_of(f, x)]; }
static ep_itv pl_enclose(const ep_univar *f, double x) {
  quad q = pl_ref(f, x);
  double d = (double)q;
  return (quad)d == q ? ep_itv_point(d) : (ep_itv){ep_dn(d), ep_up(d)};
}
static ep_itv pl_enclose_df(const ep_univar *f, double x) {
  ep_itv d = ep_itv_point(pl_df(f, x));
  for (uint32_t i = 0; i + 1 < f->n_piece; i++)
    if (x == f->param[i]) d = ep_itv_hull(ep_itv_point(f->slope[i]), ep_itv_point(f->slope[i + 1]));
  return d;
}

/* param[] holds the true breakpoints of all test functions; brk[] may be wider. */
#define PL(NAME, N, ...)                                                                                               \
  {                                                                                                                    \
    .u = {.name = NAME,                                                                                                \
          .f = pl_f,                                                                                                   \
          .df = pl_df,                                                                                                 \
          .enclose = pl_enclose,                                                                                       \
          .enclose_df = pl_enclose_df,                                                                                 \
          .n_piece = N,                                                                                                \
          __VA_ARGS__},                                                                                                \
    .ref = pl_ref, .df_max = 1, .is_pl = true                                                                          \
  }
#define AT(x)                                                                                                          \
  { x, x }

/* ---- smooth functions ---- */
#define SMOOTH(fn, EXPR, DEXPR)                                                                                        \
  static quad fn##_ref(const ep_univar *f, double xd) {                                                                \
    long double x = xd;                                                                                                \
    (void)f;                                                                                                           \
    return (EXPR);                                                                                                     \
  }                                                                                                                    \
  static long double fn##_dl(const ep_univar *f, double xd) {                                                          \
    long double x = xd;                                                                                                \
    (void)f;                                                                                                           \
    (void)x;                                                                                                           \
    return (DEXPR);                                                                                                    \
  }                                                                                                                    \
  static double fn##_f(const ep_univar *f, double x) { return (double)fn##_ref(f, x); }                                \
  static double fn##_df(const ep_univar *f, double x) { return (double)fn##_dl(f, x); }                                \
  static ep_itv fn##_enclose(const ep_univar *f, double x) { return around((long double)fn##_ref(f, x)); }             \
  static ep_itv fn##_edf(const ep_univar *f, double x) {                                                               \
    ep_itv d = around(fn##_dl(f, x));                                                                                  \
    for (uint32_t i = 0; i + 1 < f->n_piece; i++) /* a kink: both sides' limits */                                     \
      if (x == f->param[i])                                                                                            \
        d = ep_itv_hull(ep_itv_hull(d, around(fn##_dl(f, nextafter(x, -INFINITY)))),                                   \
                        around(fn##_dl(f, nextafter(x, INFINITY))));                                                   \
    return d;                                                                                                          \
  }
#define CURVED(NAME, fn, DMAX, N, ...)                                                                                 \
  {                                                                                                                    \
    .u = {.name = NAME,                                                                                                \
          .f = fn##_f,                                                                                                 \
          .df = fn##_df,                                                                                               \
          .enclose = fn##_enclose,                                                                                     \
          .enclose_df = fn##_edf,                                                                                      \
          .n_piece = N,                                                                                                \
          __VA_ARGS__},                                                                                                \
    .ref = fn##_ref, .slack = 0x1p-60, .df_max = DMAX                                                                  \
  }

static long double logistic(long double x) { return x >= 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }
SMOOTH(sigmoid, logistic(x), logistic(x) * logistic(-x))
SMOOTH(tanh_, tanhl(x), 1 / (coshl(x) * coshl(x)))
SMOOTH(square, x *x, 2 * x)
SMOOTH(bell, expl(-x *x / 2), -x *expl(-x *x / 2))
SMOOTH(exp_, expl(x), expl(x))
/* Inflection at 0.3125, known to the description only as [0.25, 0.375]. */
SMOOTH(cubic, (x - 0.3125L) * (x - 0.3125L) * (x - 0.3125L), 3 * (x - 0.3125L) * (x - 0.3125L))
/* alpha = 2: concave kink between a convex and a linear piece. */
SMOOTH(elu2, x > 0 ? x : 2 * expm1l(x), x > 0 ? 1 : 2 * expl(x))
SMOOTH(hardswish, x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6, x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6)
SMOOTH(root, x > 0 ? sqrtl(x) : 0, x > 0 ? 0.5L / sqrtl(x) : 0)
/* Jumps from x^2 to 1 - x^2 at 0 (value 0.5 there). */
SMOOTH(split, x<0 ? x * x : x> 0 ? 1 - x *x : 0.5L, x < 0 ? 2 * x : -2 * x)
/* Decreasing on both sides of a jump from -1 to 1, so both one-sided limits are extreme. */
SMOOTH(decay, x<0 ? -expl(x) : x> 0 ? expl(-x) : 0, x < 0 ? -expl(x) : -expl(-x))
/* Described from -2 pi to 2 pi only. */
SMOOTH(sine, sinl(x), cosl(x))
/* Two convex branches that meet in a peak, and two that meet in a rising kink. */
SMOOTH(peak, x < 0 ? (x + 1) * (x + 1) : (x - 1) * (x - 1), x < 0 ? 2 * (x + 1) : 2 * (x - 1))
SMOOTH(bend, x < 0 ? expl(2 * x) : 2 * expl(x / 2) - 1, x < 0 ? 2 * expl(2 * x) : expl(x / 2))

static const fun funs[] = {
    PL("relu", 2, .param = {0}, .slope = {0, 1}, .brk = {AT(0)}, .is_monotone = true),
    PL("leaky", 2, .param = {0}, .slope = {0.01f, 1}, .brk = {AT(0)}, .is_monotone = true),
    PL("negative leaky", 2, .param = {0}, .slope = {-0.3, 1}, .brk = {AT(0)}),
    PL("abs", 2, .param = {0}, .slope = {-1, 1}, .brk = {AT(0)}),
    PL("clip", 3, .param = {-0.7, 1.3}, .slope = {0, 1, 0}, .icpt = {-0.7, 0, 1.3}, .brk = {AT(-0.7), AT(1.3)},
       .is_monotone = true),
    PL("clip to a point", 3, .param = {1, 1}, .slope = {0, 1, 0}, .icpt = {1, 0, 1}, .brk = {AT(1), AT(1)},
       .is_monotone = true),
    PL("sign", 2, .param = {0}, .slope = {0, 0}, .icpt = {-1, 1}, .brk = {AT(0)}, .has_jump = true, .jump_lo = {-1},
       .jump_hi = {1}, .is_monotone = true),
    PL("steps down", 3, .param = {-1, 1}, .slope = {0.5, 0.5, 0.5}, .icpt = {2, 0, -2}, .brk = {AT(-1), AT(1)},
       .has_jump = true, .jump_lo = {-0.5, -1.5}, .jump_hi = {1.5, 0.5}),
    PL("identity", 1, .slope = {1}, .is_monotone = true),
    CURVED("sigmoid", sigmoid, 0.25, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONVEX, EP_CONCAVE},
           .is_monotone = true),
    CURVED("tanh", tanh_, 1, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONVEX, EP_CONCAVE}, .is_monotone = true),
    CURVED("square", square, 20, 1, .piece = {EP_CONVEX}),
    CURVED("exp", exp_, 22026, 1, .piece = {EP_CONVEX}, .is_monotone = true),
    CURVED("bell", bell, 0.7, 3, .param = {-1, 1}, .brk = {AT(-1), AT(1)}, .piece = {EP_CONVEX, EP_CONCAVE, EP_CONVEX}),
    CURVED("elu2", elu2, 2, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONVEX, EP_LINEAR}, .slope = {0, 1},
           .is_monotone = true),
    CURVED("hardswish", hardswish, 1.5, 3, .param = {-3, 3}, .brk = {AT(-3), AT(3)},
           .piece = {EP_LINEAR, EP_CONVEX, EP_LINEAR}, .slope = {0, 0, 1}),
    CURVED("root", root, 1000, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_LINEAR, EP_CONCAVE}, .is_monotone = true),
    CURVED("jump between curves", split, 20, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONVEX, EP_CONCAVE},
           .has_jump = true, .jump_lo = {0}, .jump_hi = {1}),
    PL("spike", 2, .param = {0}, .brk = {AT(0)}, .has_jump = true, .jump_hi = {8}),
    CURVED("jump between exponentials", decay, 1, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONCAVE, EP_CONVEX},
           .has_jump = true, .jump_lo = {-1}, .jump_hi = {1}),
    CURVED("peak", peak, 20, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONVEX, EP_CONVEX}),
    CURVED("bend", bend, 80, 2, .param = {0}, .brk = {AT(0)}, .piece = {EP_CONVEX, EP_CONVEX}, .is_monotone = true),
};
enum { N_FUN = sizeof funs / sizeof *funs };

/* Functions whose breakpoint the description knows only roughly: sound, but loose by as much as the gap allows. */
static const fun vague[] = {
    PL("kink in an interval", 2, .param = {0.328125}, .slope = {-1, 1}, .icpt = {0.328125, -0.328125},
       .brk = {{0.3, 0.35}}),
    PL("jump in an interval", 2, .param = {0.328125}, .slope = {0, 1}, .icpt = {1, 2}, .brk = {{0.3, 0.35}},
       .has_jump = true, .jump_lo = {1}, .jump_hi = {2.328125}, .is_monotone = true),
    CURVED("cubic", cubic, 300, 2, .param = {0.3125}, .brk = {{0.25, 0.375}}, .piece = {EP_CONCAVE, EP_CONVEX},
           .is_monotone = true),
    CURVED("bell", bell, 0.7, 3, .param = {-1, 1}, .brk = {{-1.1, -0.9}, {0.95, 1.05}},
           .piece = {EP_CONVEX, EP_CONCAVE, EP_CONVEX}),
    CURVED("jump between curves", split, 20, 2, .param = {0}, .brk = {{-0.1, 0.05}}, .piece = {EP_CONVEX, EP_CONCAVE},
           .has_jump = true, .jump_lo = {0}, .jump_hi = {1}),
    PL("spike in an interval", 2, .param = {0}, .brk = {{-0.25, 0.125}}, .has_jump = true, .jump_hi = {8}),
    CURVED("peak", peak, 20, 2, .param = {0}, .brk = {{-0.1, 0.05}}, .piece = {EP_CONVEX, EP_CONVEX}),
    CURVED("sine", sine, 1, 4, .param = {-M_PI, 0, M_PI}, .brk = {{-3.1416, -3.1415}, AT(0), {3.1415, 3.1416}},
           .piece = {EP_CONCAVE, EP_CONVEX, EP_CONCAVE, EP_CONVEX}, .reach = 6.28, .range = {-1, 1}),
    CURVED("bend", bend, 80, 2, .param = {0}, .brk = {{-0.1, 0.05}}, .piece = {EP_CONVEX, EP_CONVEX},
           .is_monotone = true),
};
enum { N_VAGUE = sizeof vague / sizeof *vague };

static quad g_ref(const fun *t, double k, double x) { return t->ref(&t->u, x) - (quad)k * x; }

/* Allowed error of the reference itself. */
static quad slack_at(const fun *t, double k, double x) {
  quad fx = t->ref(&t->u, x), kx = (quad)k * x;
  return t->slack * ((fx < 0 ? -fx : fx) + (kx < 0 ? -kx : kx)) + 1e-4000L;
}

typedef struct box {
  double l, u, k;
} box;

/* Random interval (width 2^-30 to 12, often ending at a breakpoint) and slope (0, chord, tangent or any). */
static box random_box(const fun *t, ep_rng *r) {
  double width = ldexp(1 + ep_rng_uniform(r), (int)ep_rng_below(r, 34) - 30), l = 12 * ep_rng_uniform(r) - 6;
  uint32_t n_brk = t->u.n_piece - 1;
  if (n_brk) {
    double b = t->u.param[ep_rng_below(r, n_brk)];
    switch (ep_rng_below(r, 6)) {
    case 0:
      l = b;
      break;
    case 1:
      l = b - width;
      break;
    case 2:
      l = b - width * ep_rng_uniform(r);
      break;
    case 3:
      l = nextafter(b, INFINITY);
      break;
    default:
      break;
    }
  }
  box q = {l, fmin(l + width, 10), 0};
  if (q.u < q.l) q.u = q.l;
  double fl = t->u.f(&t->u, q.l), fu = t->u.f(&t->u, q.u);
  switch (ep_rng_below(r, 5)) {
  case 0:
    q.k = q.u > q.l ? (fu - fl) / (q.u - q.l) : 0;
    break;
  case 1:
    q.k = t->u.df(&t->u, q.l + (q.u - q.l) * ep_rng_uniform(r));
    break;
  case 2:
    q.k = 4 * ep_rng_uniform(r) - 2;
    break;
  case 3:
    q.k = ldexp(ep_rng_uniform(r) - 0.5, (int)ep_rng_below(r, 80) - 70);
    break;
  default:
    break;
  }
  if (!isfinite(q.k)) q.k = 0;
  return q;
}

static double sample(const fun *t, const box *q, ep_rng *r, int i) {
  double x = q->l + (q->u - q->l) * ep_rng_uniform(r);
  if (i == 0) x = q->l;
  if (i == 1) x = q->u;
  if (i >= 2 && i < 2 + (int)t->u.n_piece - 1) x = t->u.param[i - 2];
  if (i % 7 == 6) x = nextafter(q->l, INFINITY);
  return fmin(fmax(x, q->l), q->u);
}

typedef struct tally {
  size_t n, outside, loose;
  double worst_loose;
} tally;

/* Samples `n_box` boxes; counts values outside, and boxes whose enclosure exceeds the sampled range by more than
 * `allowed` x width x slope scale. */
static tally run(const fun *t, size_t n_box, uint64_t seed, double allowed) {
  ep_rng r;
  ep_rng_seed(&r, seed);
  tally c = {0};
  for (size_t b = 0; b < n_box; b++) {
    box q = random_box(t, &r);
    ep_itv e = ep_enclose(&t->u, q.k, q.l, q.u);
    double best_lo = INFINITY, best_hi = -INFINITY, mag = 0;
    enum { N = 60 };
    for (int i = 0; i < N; i++) {
      double x = sample(t, &q, &r, i);
      quad g = g_ref(t, q.k, x), s = slack_at(t, q.k, x);
      c.n++;
      c.outside += !((quad)e.lo <= g + s && g - s <= (quad)e.hi);
      best_lo = fmin(best_lo, (double)g);
      best_hi = fmax(best_hi, (double)g);
      mag = fmax(mag, fabs(t->u.f(&t->u, x)) + fabs(q.k * x));
    }
    /* 60 random points miss an extremum by some 1/30 of the width; quadratic there, linear at a jump (in PL's list). */
    double loose = fmax(best_lo - e.lo, e.hi - best_hi), scale = (q.u - q.l) * (t->df_max + fabs(q.k));
    double excess = (loose - 8 * 0x1p-52 * mag) / (scale + 1e-300);
    if (excess > c.worst_loose) c.worst_loose = excess;
    c.loose += excess > allowed;
  }
  return c;
}

static void sampled_values_inside(void **state) {
  (void)state;
  for (size_t i = 0; i < N_FUN; i++) {
    tally c = run(&funs[i], 4000, 11 + i, funs[i].u.has_jump ? INFINITY : 0.2);
    if (c.outside || c.loose)
      fail_msg("%s: %zu of %zu values outside, %zu boxes loose (worst %g)", funs[i].u.name, c.outside, c.n, c.loose,
               c.worst_loose);
  }
}

static void vague_breakpoints_are_covered(void **state) {
  (void)state;
  for (size_t i = 0; i < N_VAGUE; i++) {
    tally c = run(&vague[i], 4000, 77 + i, INFINITY);
    if (c.outside) fail_msg("%s: %zu of %zu values outside", vague[i].u.name, c.outside, c.n);
  }
}

/* True extremum of g over [l,u] by a dense grid with local refinement. sign +1: max, -1: min. */
static quad extremum(const fun *t, double k, double l, double u, double sign) {
  double best_x = l;
  quad best = (quad)sign * g_ref(t, k, l);
  for (double step = (u - l) / 2000, a = l, b = u; step > (u - l) * 1e-9;
       a = best_x - 2 * step, b = best_x + 2 * step, step /= 40) {
    for (double x = a; x <= b; x += step) {
      double xx = fmin(fmax(x, l), u);
      quad g = (quad)sign * g_ref(t, k, xx);
      if (g > best) {
        best = g;
        best_x = xx;
      }
    }
  }
  return (quad)sign * best;
}

static void smooth_functions_are_tight(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 5);
  for (size_t i = 0; i < N_FUN; i++) {
    const fun *t = &funs[i];
    if (t->is_pl || t->u.has_jump) continue;
    for (int b = 0; b < 60; b++) {
      box q = random_box(t, &r);
      if (q.u - q.l < 1e-6) continue;
      ep_itv e = ep_enclose(&t->u, q.k, q.l, q.u);
      double lo = (double)(extremum(t, q.k, q.l, q.u, -1) - (quad)e.lo);
      double hi = (double)((quad)e.hi - extremum(t, q.k, q.l, q.u, 1));
      double allowed = 1e-4 * (q.u - q.l) * (t->df_max + fabs(q.k)) + 1e-13;
      if (lo > allowed || hi > allowed)
        fail_msg("%s on [%.17g,%.17g], k=%.17g: loose by %g and %g, allowed %g", t->u.name, q.l, q.u, q.k, lo, hi,
                 allowed);
    }
  }
}

/* For continuous piecewise linear functions the extrema sit at ends and breakpoints: within 3 ulps of the operands. */
static void linear_pieces_lose_nothing(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 6);
  for (size_t i = 0; i < N_FUN; i++) {
    const fun *t = &funs[i];
    if (!t->is_pl || t->u.has_jump) continue;
    for (int b = 0; b < 20000; b++) {
      box q = random_box(t, &r);
      ep_itv e = ep_enclose(&t->u, q.k, q.l, q.u);
      quad lo = g_ref(t, q.k, q.l), hi = lo;
      double mag = fmax(fabs(q.l), fabs(q.u)) * (1 + fabs(q.k)) + 1.3;
      for (uint32_t j = 0; j < t->u.n_piece; j++) {
        double x = j + 1 < t->u.n_piece ? t->u.param[j] : q.u;
        if (x < q.l || x > q.u) continue;
        quad g = g_ref(t, q.k, x);
        lo = g < lo ? g : lo;
        hi = g > hi ? g : hi;
      }
      assert_true((quad)e.lo <= lo && hi <= (quad)e.hi);
      assert_true(lo - (quad)e.lo <= 3 * 0x1p-52 * mag && (quad)e.hi - hi <= 3 * 0x1p-52 * mag);
    }
  }
}

static void wrong_description_is_noticed(void **state) {
  (void)state;
  for (size_t i = 0; i < N_FUN; i++) {
    fun flipped = funs[i], merged = funs[i];
    if (!funs[i].is_pl) {
      for (uint32_t j = 0; j < flipped.u.n_piece; j++)
        if (flipped.u.piece[j] != EP_LINEAR)
          flipped.u.piece[j] = flipped.u.piece[j] == EP_CONVEX ? EP_CONCAVE : EP_CONVEX;
      assert_true(run(&flipped, 2000, 3, INFINITY).outside > 0);
    }
    /* The first breakpoint forgotten: the second piece is taken for a continuation of the first. "Clip to a point" has
     * two breakpoints at one place, and root's first piece differs only by its name from the second's start. */
    if (merged.u.n_piece < 2 || merged.u.param[0] == merged.u.param[1]) continue;
    merged.u.n_piece--;
    for (uint32_t j = 0; j < merged.u.n_piece; j++) {
      if (j > 0) {
        merged.u.piece[j] = funs[i].u.piece[j + 1];
        merged.u.slope[j] = funs[i].u.slope[j + 1];
        merged.u.icpt[j] = funs[i].u.icpt[j + 1];
      }
      merged.u.brk[j] = funs[i].u.brk[j + 1];
      merged.u.param[j] = funs[i].u.param[j]; /* the reference keeps its own */
    }
    fun probe = funs[i];
    size_t outside = 0;
    ep_rng r;
    ep_rng_seed(&r, 9);
    for (int b = 0; b < 2000; b++) {
      box q = random_box(&probe, &r);
      ep_itv e = ep_enclose(&merged.u, q.k, q.l, q.u);
      for (int s = 0; s < 40; s++) {
        double x = sample(&probe, &q, &r, s);
        quad g = g_ref(&probe, q.k, x), sl = slack_at(&probe, q.k, x);
        outside += !((quad)e.lo <= g + sl && g - sl <= (quad)e.hi);
      }
    }
    if (!outside) fail_msg("%s without its first breakpoint went unnoticed", probe.u.name);
  }
}

static void infinite_ends(void **state) {
  (void)state;
  const ep_univar *relu = &funs[0].u, *clip = &funs[4].u, *sigmoid = &funs[9].u;
  ep_itv e = ep_enclose_range(relu, -INFINITY, 5);
  assert_true(e.lo == 0 && e.hi == 5);
  e = ep_enclose_range(relu, -3, INFINITY);
  assert_true(e.lo == 0 && e.hi == INFINITY);
  e = ep_enclose(relu, 0.5, -INFINITY, INFINITY);
  assert_true(e.lo <= 0 && e.hi == INFINITY);
  e = ep_enclose(relu, 1, 2, INFINITY);
  assert_true(e.lo == 0 && e.hi == 0);
  e = ep_enclose_range(clip, -INFINITY, INFINITY);
  assert_true(e.lo == -0.7 && e.hi == 1.3);
  e = ep_enclose_range(sigmoid, -INFINITY, 0);
  assert_true(e.hi >= 0.5 && e.hi <= 0.5 + 1e-15 && e.lo <= 0);
  for (size_t i = 0; i < N_FUN; i++)
    for (int s = 0; s < 9; s++) {
      double l = s % 3 == 0 ? -INFINITY : s % 3 == 1 ? -4 : 2, u = s / 3 == 0 ? INFINITY : s / 3 == 1 ? 3 : 9;
      for (double k = -1; k <= 1; k += 0.5) {
        e = ep_enclose(&funs[i].u, k, l, u);
        for (double x = fmax(l, -30); x <= fmin(u, 30); x += 0.25) {
          quad g = g_ref(&funs[i], k, x), sl = slack_at(&funs[i], k, x);
          assert_true((quad)e.lo <= g + sl && g - sl <= (quad)e.hi);
        }
      }
    }
}

static void no_information(void **state) {
  (void)state;
  for (size_t i = 0; i < N_FUN; i++) {
    const double bad[][3] = {{NAN, 0, 1}, {0, NAN, 1}, {0, 0, NAN}, {0, 2, 1}, {INFINITY, 0, 1}};
    for (size_t j = 0; j < 5; j++) {
      ep_itv e = ep_enclose(&funs[i].u, bad[j][0], bad[j][1], bad[j][2]);
      assert_true(e.lo == -INFINITY && e.hi == INFINITY);
    }
  }
  ep_univar disorder = funs[4].u; /* breakpoints in the wrong order */
  disorder.brk[0] = ep_itv_point(2);
  disorder.is_monotone = false;
  ep_itv e = ep_enclose(&disorder, 0, -1, 1);
  assert_true(e.lo == -INFINITY && e.hi == INFINITY);
}

static void points(void **state) {
  (void)state;
  for (size_t i = 0; i < N_FUN; i++)
    for (double x = -4; x <= 4; x += 0.37) {
      ep_itv e = ep_enclose(&funs[i].u, 0.3, x, x);
      quad g = g_ref(&funs[i], 0.3, x), s = slack_at(&funs[i], 0.3, x);
      assert_true((quad)e.lo <= g + s && g - s <= (quad)e.hi);
      assert_true(e.hi - e.lo <= 1e-14 * (1 + fabs(e.hi)) + 1e-14 * funs[i].df_max);
    }
  /* A split at the jump keeps both children as small as they are. */
  const ep_univar *sign = &funs[6].u;
  ep_itv e = ep_enclose(sign, 0, 0, 3);
  assert_true(e.lo == 0 && e.hi == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sampled_values_inside),
      cmocka_unit_test(vague_breakpoints_are_covered),
      cmocka_unit_test(smooth_functions_are_tight),
      cmocka_unit_test(linear_pieces_lose_nothing),
      cmocka_unit_test(wrong_description_is_noticed),
      cmocka_unit_test(infinite_ends),
      cmocka_unit_test(no_information),
      cmocka_unit_test(points),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
