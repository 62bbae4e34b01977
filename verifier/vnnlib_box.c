#include "verifier/vnnlib_box.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/decimal.h"

bool ep_vnn_bounds_input(const ep_vnn_atom *a) {
  return a->n == 1 && !(a->var[0] & 1) && (a->coef[0].lo > 0 || a->coef[0].hi < 0);
}

ep_status ep_vnn_box_init(ep_arena *arena, uint32_t n_x, ep_vnn_box *b) {
  size_t n = n_x;
  double *m = EP_ARENA(arena, double, 4 * n + 1);
  const ep_vnn_atom **from = EP_ARENA(arena, const ep_vnn_atom *, 2 * n + 1);
  if (!m || !from) return EP_E_NOMEM;
  *b = (ep_vnn_box){n_x, m, m + n, m + 2 * n, m + 3 * n, from, from + n};
  for (size_t i = 0; i < n; i++) {
    b->lo[i] = b->lo_in[i] = -INFINITY;
    b->hi[i] = b->hi_in[i] = INFINITY;
  }
  return EP_OK;
}

void ep_vnn_box_copy(const ep_vnn_box *from, ep_vnn_box *to) {
  assert(from->n_x == to->n_x);
  memcpy(to->lo, from->lo, 4 * (size_t)from->n_x * sizeof *to->lo);
  memcpy(to->lo_from, from->lo_from, 2 * (size_t)from->n_x * sizeof *to->lo_from);
}

/* The number that the atom bounds its input by. */
static ep_itv bound_of(const ep_vnn_atom *a) {
  ep_itv c = a->c, k = a->coef[0], minus = {-c.hi, -c.lo};
  if (k.lo == 1 && k.hi == 1) return minus; /* no division: it would step outward and lose tightness */
  if (k.lo == -1 && k.hi == -1) return c;
  return ep_decimal_div(minus, k);
}

enum { UNKNOWN = 2 };

/* Order of the exact bounds of two atoms: -1, 0, 1 or UNKNOWN. An enclosure that is not a point holds its number
 * strictly inside, because every rounding that made it stepped away from an inexact result. */
static int compare_bounds(const ep_vnn_atom *a, const ep_vnn_atom *b) {
  ep_itv x = bound_of(a), y = bound_of(b);
  if (x.lo == x.hi && y.lo == y.hi) return (x.lo > y.lo) - (x.lo < y.lo);
  if (x.hi <= y.lo) return -1;
  if (x.lo >= y.hi) return 1;
  return a->literal && b->literal ? ep_decimal_compare(a->literal, b->literal) : UNKNOWN;
}

/* Stands for the tighter of two bounds that cannot be told apart: compares as UNKNOWN with everything. */
static const uint32_t vague_var = 0;
static const ep_itv vague_coef = {1, 1};
static const ep_vnn_atom vague = {1, &vague_var, &vague_coef, {-INFINITY, INFINITY}, NULL, false};

void ep_vnn_box_narrow(ep_vnn_box *b, const ep_vnn_atom *a) {
  assert(ep_vnn_bounds_input(a) && a->var[0] / 2 < b->n_x);
  uint32_t i = a->var[0] / 2;
  ep_itv v = bound_of(a);
  bool is_upper = a->coef[0].lo > 0, is_open = a->is_strict && v.lo == v.hi;
  const ep_vnn_atom **from = is_upper ? &b->hi_from[i] : &b->lo_from[i];
  if (is_upper) { /* x <= v */
    b->hi[i] = fmin(b->hi[i], v.hi);
    b->hi_in[i] = fmin(b->hi_in[i], is_open ? ep_dn(v.lo) : v.lo);
  } else {
    b->lo[i] = fmax(b->lo[i], v.lo);
    b->lo_in[i] = fmax(b->lo_in[i], is_open ? ep_up(v.hi) : v.hi);
  }
  int order = *from ? compare_bounds(a, *from) : is_upper ? -1 : 1;
  if (order == UNKNOWN)
    *from = &vague;
  else if (order == (is_upper ? -1 : 1) || (order == 0 && a->is_strict))
    *from = a;
}

static void settle(ep_vnn_box *b, uint32_t i) {
  const ep_vnn_atom *lo = b->lo_from[i], *hi = b->hi_from[i];
  int order = compare_bounds(lo, hi);
  bool is_strict = lo->is_strict || hi->is_strict;
  if (order == 1 || (order == 0 && is_strict)) { /* contradictory, even if the enclosing doubles do not show it */
    b->lo[i] = b->lo_in[i] = 1;
    b->hi[i] = b->hi_in[i] = 0;
  } else if (order != UNKNOWN && !is_strict) {
    const char *text = lo->literal ? lo->literal : hi->literal;
    double x = text ? strtod(text, NULL) : b->lo[i];
    b->lo_in[i] = b->hi_in[i] = x < b->lo[i] ? b->lo[i] : x > b->hi[i] ? b->hi[i] : x;
  }
}

void ep_vnn_box_settle(ep_vnn_box *b) {
  for (uint32_t i = 0; i < b->n_x; i++)
    if (b->lo_in[i] > b->hi_in[i] && b->lo[i] <= b->hi[i]) settle(b, i);
}

uint64_t ep_vnn_box_hash(const ep_vnn_box *b) {
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < 4 * (size_t)b->n_x; i++) {
    uint64_t w;
    memcpy(&w, &b->lo[i], sizeof w);
    h = (h ^ w) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29; /* the low bits pick the slot and must see all of the word */
  }
  return h;
}

bool ep_vnn_box_is_equal(const ep_vnn_box *a, const ep_vnn_box *b) {
  return memcmp(a->lo, b->lo, 4 * (size_t)a->n_x * sizeof *a->lo) == 0;
}
