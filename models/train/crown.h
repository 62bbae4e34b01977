/* Linear lower bounds of margins, back-substituted from the last layer to the input with interval bounds in between
 * (CROWN-IBP, Zhang et al. 2020), and their gradient. A margin's bound is
 *   L = min over the box of coef_0 x + const,
 * and with the minimising corner pushed forward through the lines that were chosen (z),
 *   dL/dW = coef_out z_in^T,  dL/db = coef_out,  dL/du = coef- (-l)(z-l)/(u-l)^2,  dL/dl = coef- u(z-u)/(u-l)^2
 * for an unstable neuron bounded by its chord; the last two go on through interval propagation. Lower lines of unstable
 * neurons have slope 1 when u > -l, else the activation's own slope. @sound estimate */
#ifndef EP_MODELS_TRAIN_CROWN_H
#define EP_MODELS_TRAIN_CROWN_H

#include "models/train/pass.h"

/* Workspace of one group. EP_E_UNSUPPORTED for networks with signs. */
typedef struct ep_crown ep_crown;
ep_status ep_crown_create(const ep_weights *w, ep_crown **out);
void ep_crown_destroy(ep_crown *c);
/* m[n_class][EP_LANES] from the box that p holds (its MID and RAD values below the last layer). */
void ep_crown_margins(ep_crown *c, const ep_pass *p, const uint32_t *label, float *m);
/* Gradients of sum g m: adds the weights' (of all layers, dense ones too) to gparam[n_param] and the bounds' to p's MID
 * and RAD gradients. */
void ep_crown_gradient(ep_crown *c, ep_pass *p, const uint32_t *label, const float *g, float *gparam);

#endif
