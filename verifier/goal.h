/* A query box as a neutral problem: the network over the box's certified bounds, and one goal per open polytope. */
#ifndef EP_VERIFIER_GOAL_H
#define EP_VERIFIER_GOAL_H

#include "encoders/backend.h"
#include "encoders/network.h"
#include "verifier/root.h"

typedef struct ep_goals {
  ep_network *net;
  uint32_t n;
  uint32_t *poly; /* [n] polytope that goal g asks for */
} ep_goals;

/* Encodes root's graph and box with the bounds found so far; one goal per polytope that is still open (or of all, with
 * with_proved). Rows are relaxed outward where coefficients or right-hand sides are not exact. @sound outward */
ep_status ep_goals_create(const ep_root *root, bool with_proved, ep_scratch *s, ep_goals *out);
void ep_goals_clear(ep_goals *goals);
/* The network input of the solver's model. x[n_x] @sound estimate */
void ep_goals_input(const ep_goals *goals, const ep_backend *be, ep_solver *solver, double *x);

#endif
