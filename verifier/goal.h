/* A query box as a neutral problem: the network over the box's certified bounds, and one goal per open polytope. */
#ifndef EP_VERIFIER_GOAL_H
#define EP_VERIFIER_GOAL_H

#include "encoders/backend.h"
#include "encoders/network.h"
#include "encoders/reduce.h"
#include "verifier/root.h"

typedef struct ep_goals {
  ep_network *net;
  ep_prob *prob; /* what solvers get: net->prob, or a reduction of it (owned) with the same goals and choices ... */
  uint32_t *map; /* ... in which variable v of net->prob is map[v]; NULL = net->prob */
  uint32_t n;
  uint32_t *poly; /* [n] polytope that goal g asks for */
} ep_goals;

/* Encodes root's graph and box with the bounds found so far; one goal per polytope that is still open (or of all, with
 * with_proved). Rows are relaxed outward where coefficients or right-hand sides are not exact. @sound outward */
ep_status ep_goals_create(const ep_root *root, bool with_proved, ep_scratch *s, ep_goals *out);
/* The same with polytope `poly` as the only goal. @sound outward */
ep_status ep_goals_create_one(const ep_root *root, uint32_t poly, ep_scratch *s, ep_goals *out);
/* Puts a reduction (encoders/reduce.h) in net->prob's place if there is one. @sound outward */
ep_status ep_goals_reduce(ep_goals *goals, int bits, ep_scratch *s);
void ep_goals_clear(ep_goals *goals);

/* What a search for an input that meets a goal came to: there is none, one was found that replay accepts, the search is
 * through without either (there is one, but none that replay could show), or it was given up. */
typedef enum ep_goal_outcome { EP_GOAL_OPEN, EP_GOAL_REFUTED, EP_GOAL_FOUND, EP_GOAL_STUCK } ep_goal_outcome;
/* Would the run accept x as a counterexample in box `box`? Tells nobody (ep_run_witness does). */
ep_status ep_goal_try_input(const ep_run *run, uint32_t box, const double *x, ep_scratch *s, bool *is_sat);
/* The network input of the model of a solver for `p`, which is goals->prob or goals->net->prob. x[n_x]
 * @sound estimate */
void ep_goals_input(const ep_goals *goals, const ep_prob *p, const ep_backend *be, ep_solver *solver, double *x);

#endif
