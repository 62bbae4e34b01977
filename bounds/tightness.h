/* Propagation tightness (Mao, Mueller, Fischer, Vechev, ICLR 2024): how much of the width that interval propagation
 * gives a margin is really there. For a linear network the widths are |W_L..W_1| eps (exact) and |W_L|..|W_1| eps
 * (intervals); their ratio is 1 when the products over all paths between an input and an output share one sign. Local
 * tightness is that ratio for the linear map that the network is at a point (activation pattern of that point); the
 * last layer is merged with the difference of scores, as in training. @sound estimate */
#ifndef EP_BOUNDS_TIGHTNESS_H
#define EP_BOUNDS_TIGHTNESS_H

#include "models/graph.h"

/* tau[n_output]: tightness of the margin of `label` over each class in the box x +- rad; NAN for the label itself, 1
 * where both widths are 0. is_linear: activations are taken as the identity. Needs AFFINE, UNIVAR and MaxPool nodes
 * only and an affine last one (EP_E_UNSUPPORTED). */
ep_status ep_tightness_at(const ep_graph *g, const double *x, const double *rad, uint32_t label, bool is_linear,
                          ep_scratch *s, double *tau);
/* Ratio of expected exact width to expected interval width of a two-layer linear network with Gaussian weights and
 * hidden width d: sqrt(pi) G((d+1)/2) / (d G(d/2)), about sqrt(pi/(2d)). */
double ep_tightness_gaussian(double d);
/* Share of (output, input) pairs of y = V W x, V[n_out][d], W[d][n_in], whose products V[i][k] W[k][j] share one sign
 * over k: the pairs that intervals propagate exactly. */
double ep_tightness_same_sign(size_t n_out, size_t d, size_t n_in, const double *V, const double *W);

#endif
