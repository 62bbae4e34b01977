/* How points move: steps against a gradient that stay in a box (linf) or a ball and a box (l2), plain or with the
 * momentum and checkpoints of APGD (Croce & Hein 2020). Shared by the search's own attack (descent.h) and the attacks
 * on data sets (adversary.h); both evaluate, this file only moves. All numbers are estimates. */
#ifndef EP_VERIFIER_WALK_H
#define EP_VERIFIER_WALK_H

#include "kernels/scratch.h"

/* Where the points may be and how far a step of length 1 goes. */
typedef struct ep_walk {
  size_t n;
  const double *lo, *hi; /* [n] the box */
  const float *width;    /* [n] linf: how far a step of length 1 moves each coordinate; NULL = l2 */
  const float *centre;   /* [n] l2: the middle of the ball, in the box */
  double radius;         /* l2: of the ball; a step of length 1 goes from one side of it to the other */
} ep_walk;

/* Moves x[n] into the box; l2: into the ball first (the box holds its middle, so that x ends up in both). */
void ep_walk_project(const ep_walk *w, float *x);
/* x <- what a step of this length downhill leads to, projected: linf against the gradient's signs, l2 along it. */
void ep_walk_step(const ep_walk *w, float length, const float *g, float *x);

/* APGD's memory over n points: the points before, the best ones with their gradients and losses, now and at the last
 * checkpoint; progress since. */
typedef struct ep_walk_momentum {
  uint32_t steps, it, check_at, check_len;
  size_t n;
  float *step, *old, *top, *top_g, *room; /* [n]; [n x w->n]; room [w->n] */
  float *top_loss, *check_loss;           /* [n] */
  uint32_t *n_better;
  bool *was_cut, *is_back, *is_top;
} ep_walk_momentum;

/* `steps` are planned. step[n] is the caller's, the length of each point's steps; set to 1 here. */
ep_status ep_walk_momentum_init(ep_walk_momentum *m, const ep_walk *w, size_t n, uint32_t steps, float *step,
                                ep_scratch *s);
/* After each evaluation of all points: loss[n] at x[n x w->n], and what it was before (infinite at first). At
 * checkpoints, points that rarely improved or stand still are to go on from their best with half the step. */
void ep_walk_momentum_note(ep_walk_momentum *m, const ep_walk *w, const float *x, const float *loss, const float *last);
/* Moves point i, once per evaluation: g[w->n] is the gradient at x[w->n]. */
void ep_walk_momentum_step(ep_walk_momentum *m, size_t i, const ep_walk *w, const float *g, float *x);

#endif
