/* Octahedra of up to three numbers: a range for each, and upper bounds of the signed sums of any two. Where such a
 * region comes from floating-point bounds, its faces miss each other's corners by a hair; joint hulls over it then have
 * facets as thin as the hair, which stall linear programs and blow up their rounding errors. ep_octahedron_tidy moves
 * faces outward by that much. */
#ifndef EP_ENCODERS_OCTAHEDRON_H
#define EP_ENCODERS_OCTAHEDRON_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { EP_OCTAHEDRON_MAX = 3 };

typedef struct ep_octahedron {
  uint32_t n;
  double lo[EP_OCTAHEDRON_MAX], hi[EP_OCTAHEDRON_MAX]; /* finite */
  /* Of pair 0 = (0, 1), 1 = (0, 2), 2 = (1, 2): sign * x_i + sign * x_j <= sum[pair][q]; INFINITY = nothing is known.
   * The sign of x_i is negative when q & 1, that of x_j when q & 2. */
  double sum[EP_OCTAHEDRON_MAX][4];
} ep_octahedron;

static inline int ep_octahedron_pair(uint32_t i, uint32_t j) { return (int)(i + j) - 1; } /* i < j */
static inline double ep_octahedron_sign(int q, int second) { return q & (second ? 2 : 1) ? -1 : 1; }
/* Moves all ends outward: to multiples of 2^-40 of the largest number, then by at most a few 2^-24 of it so that faces
 * that nearly meet in a corner, or where a number is 0, meet exactly; faces that hardly cut anything off are dropped.
 * @sound outward: the result contains the region */
void ep_octahedron_tidy(ep_octahedron *o);

#endif
