/* Replay: the only source of `sat`. A candidate input becomes a counterexample when it lies in an input box exactly and
 * (1) a rigorous interval evaluation of the real network at that very point satisfies every row of one polytope, and
 * (2) the float32 forward pass satisfies them too, so that any ONNX runtime shows the violation.
 * Coordinates are float32 values wherever the box holds one; where it does not (a pinned coordinate such as 0.1) the
 * double nearest to the pinned value is used for (1) and its float32 rounding for (2), and `is_float32` is false. */
#ifndef EP_VERIFIER_REPLAY_H
#define EP_VERIFIER_REPLAY_H

#include "models/eval.h"
#include "verifier/query.h"

typedef struct ep_witness {
  uint32_t box, poly; /* which disjunct is satisfied */
  double *x;          /* [n_x] the input, owned by the caller's buffers */
  double *y;          /* [n_y] float32 outputs of our own forward pass */
  bool is_float32;    /* every x is a float32 value */
} ep_witness;

/* Moves x into the box (clamping to lo_in/hi_in) and onto float32 values inside it where possible. */
void ep_replay_snap(const ep_input_box *box, uint32_t n_x, const double *x, double *snapped, bool *is_float32);
/* Snaps, evaluates and decides for box index `box`; *is_sat tells. w->x and w->y must have room. A candidate that the
 * rigorous evaluation cannot decide is not sat. @sound outward */
ep_status ep_replay(const ep_graph *g, const ep_query *q, uint32_t box, const double *x, ep_scratch *s, ep_witness *w,
                    bool *is_sat);

#endif
