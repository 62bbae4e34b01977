/* A graph and certified boxes as a neutral problem, written once per operator class: an AFFINE node gives a row per
 * output, a piecewise linear UNIVAR node a disjunction of its pieces, MaxPool a disjunction of its candidates. Pieces
 * that the certified box excludes are left out, so a neuron with one piece left ("stable") costs at most a row. Copies
 * (reshapes, slices, stable ReLUs) share the variable of what they copy.
 *
 * Exactness: every row uses the stored float64 weights as they are. Where the graph says that a weight or bias is only
 * known up to an error (a folded BatchNormalization), the row becomes the range that contains the truth, is_exact of
 * the problem becomes false, and its solutions are a superset of the network's behaviours: "no solution" stays a proof
 * as far as the solver is exact, a solution has to be replayed in any case. Part of the trusted base of `smt` and
 * `milp`. */
#ifndef EP_ENCODERS_NETWORK_H
#define EP_ENCODERS_NETWORK_H

#include "encoders/prob.h"
#include "models/eval.h"

typedef struct ep_network {
  const ep_graph *g;
  ep_prob *prob;
  uint32_t **term;             /* [n_val][n_v] variable of each element; EP_NO_VAR = the constant 0 */
  uint32_t n_unstable, n_pool; /* disjunctions of UNIVAR nodes and of MaxPool nodes */
} ep_network;

/* Is there an exact encoding of every node, and is the graph one of real semantics? EP_E_UNSUPPORTED with one line
 * naming the first node without. */
ep_status ep_network_check(ep_ctx *ctx, const ep_graph *g);
typedef struct ep_network_opt {
  uint32_t n_node; /* only the first nodes of the graph, 0 = all; values behind them have term NULL */
  /* Elements pinned to one number (ranges below 2^-40, as literals that are no doubles have) join the constants of the
   * rows that read them, which become that much wider: a superset, but short. */
  bool folds_pinned;
  const bool
      *is_wanted; /* elements of the last encoded node's output, others have no variable; NULL = all (AFFINE only) */
} ep_network_opt;

/* Encodes the graph. `bounds` (batch 1) are certified boxes of all values for the input box in question; those of the
 * input value are the input box. @sound outward (exact where prob->is_exact) */
ep_status ep_network_create(ep_ctx *ctx, const ep_graph *g, const ep_trace_itv *bounds, const ep_network_opt *opt,
                            ep_scratch *s, ep_network **out);
void ep_network_destroy(ep_network *net);
/* The network's input of a solution: x[n_x] from value(v) of the input variables. */
static inline uint32_t ep_network_input_var(const ep_network *net, uint32_t i) { return net->term[net->g->input][i]; }

#endif
