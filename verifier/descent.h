/* Points on their way towards a polytope by projected sign-gradient steps, batched. Two step rules: plain (PGD, Madry
 * et al. 2018), where every step that fails shortens the next, and with momentum (walk.h). Points are estimates; what
 * looks like a counterexample is for replay to decide. */
#ifndef EP_VERIFIER_DESCENT_H
#define EP_VERIFIER_DESCENT_H

#include "kernels/rng.h"
#include "verifier/engine.h"
#include "verifier/walk.h"

/* Each point towards whichever open polytope of the box is nearest, at every step. */
#define EP_DESCENT_ANY UINT32_MAX

typedef struct ep_descent {
  const ep_run *run;
  ep_graph g; /* the run's graph as the points see it: up to a final Softmax where rows only compare its outputs */
  uint32_t box_id, poly;
  const ep_input_box *box;
  size_t n;
  float *x;    /* [n x n_x] the points, in the box; set by the caller before the first evaluation */
  float *loss; /* [n] largest row value at x: <= 0 looks like a counterexample. @sound estimate */
  float *gy, *gx, *gx_row, *step, *last; /* gx_row: of the rows in inputs, where there are any */
  bool has_x_rows;
  ep_trace_f32 trace;
  ep_walk walk;
  ep_walk_momentum *momentum; /* NULL = plain */
} ep_descent;

/* n points towards polytope `poly` of box `box`, or EP_DESCENT_ANY; `momentum_steps` = planned number of steps with
 * momentum, 0 = plain. Memory from `s`. */
ep_status ep_descent_init(ep_descent *d, const ep_run *run, uint32_t box, uint32_t poly, size_t n,
                          uint32_t momentum_steps, ep_scratch *s);
/* Moves the points `steps` steps along random directions of the output (output-diversified initialisation, Tashiro et
 * al. 2020), so that they leave the plateau that all starts may lie on. */
ep_status ep_descent_diversify(ep_descent *d, ep_rng *rng, uint32_t steps, ep_scratch *s);
/* Losses at the points as they stand. The trace that ep_descent_move needs is taken from `s` and not given back. */
ep_status ep_descent_evaluate(ep_descent *d, ep_scratch *s);
/* One step of every point, within the box. */
ep_status ep_descent_move(ep_descent *d, ep_scratch *s);

#endif
