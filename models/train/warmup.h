/* Warm-up regularisers of Shi et al. 2021 ("Fast certified robust training with short warmup"): boxes should not widen
 * from layer to layer, and active and inactive neurons should balance, while epsilon grows. Ratios are taken over one
 * group of samples. @sound estimate */
#ifndef EP_MODELS_TRAIN_WARMUP_H
#define EP_MODELS_TRAIN_WARMUP_H

#include "models/train/pass.h"

/* Adds `weight` times the regularisers' gradient at the input of ReLU layer i (one of n_relu) to the group's gradients
 * there; returns their value. */
double ep_warmup_add(ep_pass *p, uint32_t i, uint32_t n_relu, double weight);

#endif
