/* One step of branch and bound: the children of a few domains are bounded together, those that a certified bound closes
 * are dropped, and every other one learns which neuron to decide next. */
#ifndef EP_VERIFIER_EXPAND_H
#define EP_VERIFIER_EXPAND_H

#include "verifier/branching.h"
#include "verifier/domain.h"
#include "verifier/root.h"

enum { EP_MAX_PARENTS = 128 };

/* What all steps of one polytope's search share, read only. */
typedef struct ep_tree {
  const ep_root *root;
  const ep_snet *net;
  const ep_branching *rule;
  ep_ascent_opt ascent; /* per child */
  uint32_t n_row;
  uint32_t *row_id; /* [n_row] rows of the spec */
  float *coef;      /* [n_row x n_y] their seeds ... */
  float *coef_x;    /* ... [n_row x net->n_x] or NULL ... */
  double *rhs;      /* ... and right-hand sides */
  float *target;    /* [n_row] bounds that count as proved before they are certified */
  int32_t *join;    /* [net->n_layer] where rows that differ in this layer may start (ep_spass) */
  float *x_fixed;   /* [spec.n_x] the box's lower corner */
} ep_tree;

/* Memory from `s`. `rows` is polytope `poly` of the root's spec. */
ep_status ep_tree_init(ep_tree *t, const ep_root *root, uint32_t poly, ep_scratch *s);

typedef struct ep_step {
  const ep_tree *tree;
  size_t n_parent;
  ep_domain *parent[EP_MAX_PARENTS]; /* stay the caller's; one without a branch is bounded itself */
  /* Results. Children are the caller's to take over, also after a failure. */
  size_t n_child;
  ep_domain *child[2 * EP_MAX_PARENTS];
  bool *has_candidate;                      /* [2*EP_MAX_PARENTS] the child's corner looks like a counterexample: */
  float *corner;                            /* [2*EP_MAX_PARENTS x n_x] */
  uint64_t n_bounded, n_certified, n_stuck; /* stuck: open with every neuron decided */
} ep_step;

ep_status ep_step_init(ep_step *e, const ep_tree *t, ep_scratch *s);
ep_status ep_step_run(ep_step *e, ep_scratch *s);

#endif
