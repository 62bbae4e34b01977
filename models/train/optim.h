/* Optimisers: SGD with momentum and Adam (Kingma & Ba 2015), with clipping of the gradient's norm, weight decay (added
 * to the gradient) and L1. Sums run in a fixed order: same bits for any number of threads. @sound estimate */
#ifndef EP_MODELS_TRAIN_OPTIM_H
#define EP_MODELS_TRAIN_OPTIM_H

#include "kernels/pool.h"

typedef enum ep_optim_kind { EP_OPTIM_ADAM, EP_OPTIM_SGD } ep_optim_kind;
typedef struct ep_optim_opt {
  ep_optim_kind kind;
  double momentum;               /* SGD, in [0, 1) */
  double clip, weight_decay, l1; /* clip 0 = off */
} ep_optim_opt;

/* State: m[n], v[n] (moments, or velocity), number of steps. Plain data: checkpoints store it as it is. */
typedef struct ep_optim {
  ep_optim_opt opt;
  size_t n;
  float *m, *v; /* the caller's memory */
  uint64_t t;
} ep_optim;

/* One step against the gradient, which is changed (clipping, decay). *norm = its norm before clipping; not finite: the
 * parameters are left alone. */
ep_status ep_optim_step(ep_optim *o, double rate, float *param, float *grad, ep_pool *pool, double *norm);

#endif
