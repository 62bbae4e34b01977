/* Binarised networks as clauses and cardinalities: affine and Sign layers in turn, every hidden weight of a neuron +-c
 * for one c. Narodytska et al., Verifying properties of binarized deep neural networks, AAAI 2018.
 *
 * A hidden neuron is +1 when an integer sum of +-1 inputs reaches a threshold, which is found with directed rounding; a
 * network whose threshold falls on a reachable integer (up to rounding) is refused, because Sign(0) = 0 there. Input
 * pixels that cross their threshold within the box are three-valued (real inputs may hit the threshold exactly, Sign
 * gives 0): two Booleans, "+1" and "not -1". Over the reals the encoding is exact for one Sign per input; several Signs
 * on one input are encoded independently, a superset. Part of the trusted base of engine `sat`. */
#ifndef EP_ENCODERS_BINARY_H
#define EP_ENCODERS_BINARY_H

#include "encoders/prob.h"
#include "kernels/scratch.h"
#include "models/graph.h"

/* Value of one element: s = [pos] + [not_neg] - 1. pos == not_neg for two-valued ones. Constants: EP_BIT_TRUE/FALSE. */
#define EP_BIT_TRUE (UINT32_MAX - 1)
#define EP_BIT_FALSE (UINT32_MAX - 2)
typedef struct ep_bit {
  ep_lit pos, not_neg;
} ep_bit;

/* sum coef*output <= rhs, or < rhs. `coef_err` bounds the error of the whole sum. */
typedef struct ep_binary_row {
  uint32_t n;
  const uint32_t *output;
  const double *coef;
  double rhs, coef_err;
  bool is_strict;
} ep_binary_row;

/* One Sign over an input element. */
typedef struct ep_binary_pixel {
  uint32_t input;
  bool is_falling; /* its pre-activation falls in the input */
  ep_bit bit;
} ep_binary_pixel;

/* What the problem held when a layer of Signs was complete: constraints before it say how the layer depends on the
 * input, those behind it what follows from the layer. */
typedef struct ep_binary_cut {
  uint32_t value; /* of the Signs */
  uint32_t n_clause, n_card;
} ep_binary_cut;

typedef struct ep_binary {
  const ep_graph *g;
  ep_prob *prob;
  const double *lo, *hi; /* the input box (borrowed) */
  ep_bit **bits;         /* [n_val] of Sign values */
  uint32_t *affine;      /* [n_val] node whose output a value is, over bits or inputs; UINT32_MAX = none */
  uint32_t **input_of;   /* [n_val] for copies of the input: which element */
  uint32_t n_pixel;
  ep_binary_pixel *pixel; /* those that are not constant over the box */
  uint32_t n_cut;
  ep_binary_cut *cut; /* of every layer of Signs over bits, from the input on */
} ep_binary;

/* Encodes the network over the box lo/hi[n_x]. EP_E_UNSUPPORTED with one line naming the node that does not fit.
 * @sound exact, or a superset (see above) */
ep_status ep_binary_create(ep_ctx *ctx, const ep_graph *g, const double *lo, const double *hi, ep_scratch *s,
                           ep_binary **out);
void ep_binary_destroy(ep_binary *b);
/* A literal that is true exactly when the row holds; may be constant. */
ep_status ep_binary_row_literal(ep_binary *b, const ep_binary_row *row, ep_scratch *s, ep_lit *out);
/* Adds "one of these conjunctions holds": goal k is literal[first[k]..first[k+1]). */
ep_status ep_binary_require(ep_binary *b, uint32_t n_goal, const uint32_t *first, const ep_lit *literal);
/* A literal to assume: no pixel sits exactly on its threshold. */
ep_status ep_binary_no_zero(ep_binary *b, ep_lit *out);
/* An input with the pixels' signs that value(b) tells, as far from the thresholds as the box allows. */
void ep_binary_input(const ep_binary *b, bool (*value)(void *arg, uint32_t var), void *arg, double *x);

#endif
