/* The joint convex hull of several ReLUs over a polytope of their arguments,
 *
 *     H = conv { (s, relu(z_1(s)), .., relu(z_k(s))) : A s <= c },   z_i affine,
 *
 * found exactly: within every cell of the arrangement z_i = 0 the map is affine, so H is the hull of the images of the
 * cells' vertices, which are finitely many rational points. Inequalities are found by separation: a point outside H is
 * cut off by a facet, the optimal vertex of the polar's linear program in exact arithmetic (encoders/exact_lp.h).
 * Whatever its coefficients, a cut is valid once its right-hand side is the largest value over the points, and that is
 * a finite exact check.
 * Singh et al. 2019 (kPoly); Mueller et al. 2022 (PRIMA); Mao et al. 2026 (multi-neuron relaxations). */
#ifndef EP_ENCODERS_HULL_H
#define EP_ENCODERS_HULL_H

#include "encoders/exact_lp.h"

/* Most vertex candidates (choices of n_src hyperplanes) that ep_hull_create looks at: beyond it EP_E_LIMIT. */
#define EP_HULL_MAX_CANDIDATES 100000

typedef struct ep_hull {
  ep_ctx *ctx;
  uint32_t n_src, n_relu, dim, n_point; /* dim = n_src + n_relu */
  mpq_t *point;                         /* [n_point x dim]; none when the region is empty */
} ep_hull;

/* Region: rows a[n_row x n_src].s <= c[n_row], which must bound it. ReLU i has the argument w[i].s + t[i], w[n_relu x
 * n_src]. @sound exact */
ep_status ep_hull_create(ep_ctx *ctx, uint32_t n_src, uint32_t n_row, mpq_t *a, mpq_t *c, uint32_t n_relu, mpq_t *w,
                         mpq_t *t, ep_hull **out);
void ep_hull_destroy(ep_hull *h);
/* Largest value of normal[dim].p over the hull, which must not be empty. @sound exact */
void ep_hull_max(const ep_hull *h, mpq_t *normal, mpq_t out);
/* Is p[dim] in the hull? If not, normal.x <= rhs holds for the hull and not for p; it touches the hull, in a facet
 * when the hull has full dimension. The hull must not be empty. @sound exact */
ep_status ep_hull_separate(const ep_hull *h, mpq_t *p, mpq_t *normal, mpq_t rhs, bool *is_inside);
/* The same for doubles: a facet's normal rounded to doubles (largest 1) and its right-hand side, found exactly and
 * rounded up. *is_cut: p violates it by more than `tolerance`. normal[dim] @sound outward */
ep_status ep_hull_cut(const ep_hull *h, const double *p, double tolerance, double *normal, double *rhs, bool *is_cut);

#endif
