#include "encoders/octahedron.h"

#include <assert.h>

/* Sweeps over all faces: one that moves may come near another. */
enum { SWEEPS = 4, GRID_BITS = 40, NEAR_BITS = 24 };

/* The largest value of sign * x_i, and the least. */
static double most(const ep_octahedron *o, uint32_t i, double sign) { return sign > 0 ? o->hi[i] : -o->lo[i]; }
static double least(const ep_octahedron *o, uint32_t i, double sign) { return -most(o, i, -sign); }

static void raise(ep_octahedron *o, uint32_t i, double sign, double to) {
  if (sign > 0)
    o->hi[i] = to;
  else
    o->lo[i] = -to;
}

/* The face sum of sx x + sy y and the face sy y = most meet where sx x = at, but for `gap`: the one that is inside goes
 * out to the other. All numbers are multiples of the grid, so that sums are exact. */
static void meet(ep_octahedron *o, double *sum, uint32_t y, double sy, double at, double near) {
  double gap = *sum - at - most(o, y, sy);
  if (gap > 0 && gap < near) raise(o, y, sy, *sum - at);
  if (gap < 0 && gap > -near) *sum -= gap;
}

static void tidy_face(ep_octahedron *o, uint32_t i, uint32_t j, int q, double near) {
  double *sum = &o->sum[ep_octahedron_pair(i, j)][q];
  for (int turn = 0; turn < 2; turn++) {
    uint32_t x = turn ? j : i, y = turn ? i : j;
    double sx = ep_octahedron_sign(q, turn), sy = ep_octahedron_sign(q, !turn);
    if (*sum >= most(o, x, sx) + most(o, y, sy) - near) { /* cuts off less than a hair */
      *sum = INFINITY;
      return;
    }
    meet(o, sum, y, sy, least(o, x, sx), near);
    if (o->lo[x] < -near && o->hi[x] > near) meet(o, sum, y, sy, 0, near); /* 0 is not one of the corners */
  }
}

void ep_octahedron_tidy(ep_octahedron *o) {
  double scale = 0;
  int e;
  for (uint32_t i = 0; i < o->n; i++) scale = fmax(scale, fmax(fabs(o->lo[i]), fabs(o->hi[i])));
  if (!(scale > 0 && scale < 0x1p1000)) return;
  frexp(scale, &e);
  if (e < -900) return;
  double unit = ldexp(1, e - GRID_BITS), near = ldexp(1, e - NEAR_BITS);
  for (uint32_t i = 0; i < o->n; i++) {
    o->lo[i] = floor(o->lo[i] / unit) * unit;
    o->hi[i] = ceil(o->hi[i] / unit) * unit;
    for (uint32_t j = i + 1; j < o->n; j++)
      for (int q = 0; q < 4; q++) {
        double *sum = &o->sum[ep_octahedron_pair(i, j)][q];
        assert(*sum == *sum);
        *sum = *sum < 4 * scale ? ceil(*sum / unit) * unit : INFINITY;
      }
  }
  for (int sweep = 0; sweep < SWEEPS; sweep++)
    for (uint32_t i = 0; i < o->n; i++)
      for (uint32_t j = i + 1; j < o->n; j++)
        for (int q = 0; q < 4; q++) tidy_face(o, i, j, q, near);
}
