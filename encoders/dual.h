/* Safe bounds from unsafe duals (Neumaier & Shcherbina, Safe bounds in linear and mixed-integer linear programming,
 * Math. Programming 99, 2004). For any multipliers y of rows l_i <= a_i x <= u_i and any objective c,
 *
 *     c x = sum_i y_i (a_i x) + (c - sum_i y_i a_i) x
 *         >= sum_i (y_i > 0 ? y_i l_i : y_i u_i) + min over the box of d x,   d = c - sum_i y_i a_i,
 *
 * evaluated with outward rounding. Whatever the LP solver got wrong only makes the bound worse. A bound > 0 of the
 * objective 0 refutes the rows. This file turns GLPK's answers into proofs; it is part of the trusted base. */
#ifndef EP_ENCODERS_DUAL_H
#define EP_ENCODERS_DUAL_H

#include "encoders/prob.h"
#include "kernels/scratch.h"

#define EP_NO_GOAL UINT32_MAX

/* A case of the problem: decided disjunctions (disj[i] takes choice[i]) and a goal (or EP_NO_GOAL). Its rows are those
 * of the problem, of the decided choices and of the goal; its box the variables' bounds cut by the choices'
 * one-variable rows. */
typedef struct ep_case {
  uint32_t n;
  const uint32_t *disj, *choice;
  uint32_t goal;
} ep_case;

/* Lower bound of sum coef*var over the case's relaxation (rows and box, undecided disjunctions ignored), from
 * multipliers y[n_row + n_choice_row + n_goal_row] in the problem's order. Multipliers of rows that are not in the
 * case, of infinite sides, and NaN count as 0. -inf when nothing is known, +inf when the case's box is empty. @sound
 * outward */
ep_status ep_dual_bound(const ep_prob *p, const ep_case *c, uint32_t n, const uint32_t *var, const double *coef,
                        const double *y, ep_scratch *s, double *lower);
/* Does y, or -y, refute the case? @sound exact */
ep_status ep_dual_refutes(const ep_prob *p, const ep_case *c, double *y, ep_scratch *s, bool *is_refuted);

#endif
