/* One step of branch and bound: the children of a few domains are bounded together, those that a certified bound closes
 * are dropped, and every other one learns which neuron to decide next. */
#ifndef EP_VERIFIER_EXPAND_H
#define EP_VERIFIER_EXPAND_H

#include "verifier/branching.h"
#include "verifier/domain.h"
#include "verifier/leaf.h"
#include "verifier/root.h"

enum { EP_MAX_PARENTS = 128, EP_MAX_CHILDREN = 2 * EP_MAX_PARENTS };

/* What all steps of one search share, read only. The rows of a domain are seeds d->seed .. d->seed + n_row-1; proving
 * one of them closes it. */
typedef struct ep_tree {
  ep_ctx *ctx;
  const ep_snet *net;
  const ep_branching *rule;
  ep_ascent_opt ascent; /* per child */
  uint32_t n_row;
  /* Seeds over net->from as in ep_spass, with what a row's bound is compared with, and the bound beyond which it counts
   * as reached before it is certified. */
  const float *coef, *coef_x;
  const uint32_t *neuron;
  const int8_t *sign;
  double *rhs;
  float *target;
  int32_t *join; /* [net->n_layer] where rows that differ in this layer may start (ep_spass) */
  /* The polytope's search; NULL in a search for bounds of neurons, where every child is kept. */
  const ep_root *root;
  uint32_t *row_id;      /* [n_row] rows of the spec behind the seeds */
  float *x_fixed;        /* [spec.n_x] the box's lower corner */
  ep_proof_block *proof; /* where closed domains are recorded; NULL = nowhere */
  ep_leaves *leaves;     /* where leaves go that no bound closes; NULL = nowhere */
} ep_tree;

/* A search over `net`; the caller sets seeds, rule and ascent. Memory from `s`. */
ep_status ep_tree_init(ep_tree *t, const ep_snet *net, ep_scratch *s);
/* Parents of one step: so many that coefficients stay near the cache. */
size_t ep_tree_batch(const ep_tree *t);
/* The search of polytope `poly` of the root's spec. */
ep_status ep_tree_init_polytope(ep_tree *t, const ep_root *root, uint32_t poly, ep_scratch *s);

typedef struct ep_step {
  const ep_tree *tree;
  uint32_t n_way; /* neurons that each parent decides at once: it has up to 2^n_way children; n_parent << n_way must not
                   * exceed EP_MAX_CHILDREN */
  size_t n_parent;
  ep_domain *parent[EP_MAX_PARENTS]; /* stay the caller's; one without a branch is bounded itself */
  /* Results. Children are the caller's to take over, also after a failure. */
  size_t n_child;
  ep_domain *child[EP_MAX_CHILDREN];
  bool *has_candidate;                      /* [EP_MAX_CHILDREN] the child's corner looks like a counterexample: */
  float *corner;                            /* [EP_MAX_CHILDREN x n_x] */
  uint64_t n_bounded, n_certified, n_stuck; /* stuck: open with every neuron decided */
} ep_step;

/* Decisions of the rows row[0..n-1] in the graph's own terms, sorted by node, then row. Returns how many. */
size_t ep_phases_decisions(const ep_snet *net, const ep_phases *phases, size_t n, const size_t *row, ep_decision *out);
/* The phases of n domains' only row (n_row = 1), with their multipliers. Memory from `s`. */
ep_status ep_tree_phases(const ep_tree *t, size_t n, ep_domain *const *d, ep_phases *out, ep_scratch *s);

ep_status ep_step_init(ep_step *e, const ep_tree *t, ep_scratch *s);
ep_status ep_step_run(ep_step *e, ep_scratch *s);
/* Moves the children to the queue, numbered from `serial`, and frees the parents. After a failure `st` frees both and
 * returns it. */
ep_status ep_step_take(ep_step *e, ep_queue *q, uint64_t serial, ep_status st);

#endif
