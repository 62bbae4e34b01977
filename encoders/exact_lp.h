/* Small linear programs in exact rational arithmetic:
 *
 *     maximise b.y   subject to   a_j.y <= c_j  (j = 0..n_row-1),   y free,
 *
 * solved through the dual (minimise c.z, sum_j z_j a_j = b, z >= 0), a tableau with one row per variable: cheap for
 * few variables and many constraints, which is what convex hulls and relaxations of small networks give. Integer
 * pivoting (Edmonds 1967; Avis, lrs) keeps all entries integers over one common denominator; the largest reduced cost
 * enters at first, Bland's rule (1977) later, so that it ends. */
#ifndef EP_ENCODERS_EXACT_LP_H
#define EP_ENCODERS_EXACT_LP_H

#include "encoders/rational.h"

typedef enum ep_exact_answer {
  EP_EXACT_OPTIMAL,
  EP_EXACT_UNBOUNDED, /* or infeasible as well: the objective does not lie in the cone of the constraints' normals */
  EP_EXACT_INFEASIBLE
} ep_exact_answer;

typedef struct ep_exact_lp {
  ep_ctx *ctx;
  uint32_t n_var, n_row, cap;
  uint32_t n_used; /* only the first n_used variables matter: no constraint or objective has others. n_var at first */
  mpq_t *row;      /* [cap x (n_var + 1)]: a_j, c_j */
} ep_exact_lp;

void ep_exact_lp_init(ep_exact_lp *lp, ep_ctx *ctx, uint32_t n_var);
void ep_exact_lp_clear(ep_exact_lp *lp);
/* Adds coef[n_var].y <= rhs (copied). */
ep_status ep_exact_lp_add(ep_exact_lp *lp, const mpq_t *coef, const mpq_t rhs);
/* Drops the constraints after the first n. */
void ep_exact_lp_cut_back(ep_exact_lp *lp, uint32_t n);
/* at[n_used]: an optimal vertex, or for UNBOUNDED a direction d with a_j.d <= 0 for all j and objective.d > 0. `value`:
 * objective.at. Both belong to the caller. EP_E_STOPPED when the context says so. @sound exact */
ep_status ep_exact_lp_maximise(ep_exact_lp *lp, const mpq_t *objective, ep_exact_answer *answer, mpq_t value,
                               mpq_t *at);

#endif
