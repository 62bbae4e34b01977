/* Linear programmes' duals as certificates hold them: a price for every unstable neuron, which is the coefficient that
 * its pre-activation gets when rows are substituted back (docs/certificate.md). Of a dual solution the multipliers of
 * the rows that define pre-activations are these prices; those of triangles, decisions and bounds follow from them,
 * since for given prices every neuron's best constant is known: min over its range of c relu(z) - price z.
 *
 * Nothing here is trusted: what counts for the verdict is encoders/dual.h, for a certificate the checker. Networks of
 * affine nodes and ReLUs only. Wong and Kolter 2018 for the dual network. */
#ifndef EP_VERIFIER_PRICE_H
#define EP_VERIFIER_PRICE_H

#include "encoders/dual.h"
#include "encoders/network.h"
#include "verifier/root.h"

typedef struct ep_prices {
  const ep_root *root;
  const ep_prob *prob;
  uint32_t n_u;
  ep_unstable *u;   /* [n_u] the neurons of the problem's disjunctions, in their order */
  uint32_t *of_var; /* [n_var] which of them has this pre-activation, EP_NO_VAR = none */
  uint32_t *flat;   /* [n_node] place of a ReLU node's neurons in `at` */
  uint32_t *at;     /* which of them a neuron is, EP_NO_VAR = stable */
  double *sum;      /* [n_u] workspace */
  float *price;     /* [n_u] */
  uint8_t *phase;   /* [n_u] 0 open, 1 inactive, 2 active: of the case whose bound is asked for */
} ep_prices;

/* For a net encoded over root's bounds. Widens the bounds of variables that prices cannot speak of (the programme gets
 * wider, never wrong), so it must come before the solver is made. Memory is the problem's. */
ep_status ep_prices_init(ep_prices *p, const ep_root *root, ep_network *net);
/* Prices of multipliers y in the problem's order, for the objective sum coef*var and the rows of `goal` (EP_NO_GOAL).
 * All is divided by `scale` > 0. */
void ep_prices_take(ep_prices *p, const double *y, uint32_t n, const uint32_t *var, const double *coef, uint32_t goal,
                    double scale);
/* The price of a neuron, 0 when it has none. */
float ep_prices_of(const ep_prices *p, const ep_unstable *u);
/* What the replay will find, about: the bound of sum coef * value `from` (+ coef_x * input, or NULL) by these prices
 * and phases, less its slack for rounding. @sound estimate */
ep_status ep_prices_bound(const ep_prices *p, ep_vid from, const double *coef, const double *coef_x, ep_scratch *s,
                          double *bound);

#endif
