/* One training step: a batch through points and boxes, the method's loss, all gradients. The batch is cut into groups
 * of EP_LANES samples, whatever the number of threads; sums over groups run in a fixed order, so the gradients are the
 * same bits for any number of threads. @sound estimate */
#ifndef EP_MODELS_TRAIN_BATCH_H
#define EP_MODELS_TRAIN_BATCH_H

#include "models/train/loss.h"
#include "models/train/pass.h"

/* Settings of one step. */
typedef struct ep_batch_opt {
  const ep_method *method;
  const ep_loss *loss;
  double epsilon;          /* radius of boxes and attacks */
  double share;            /* the box loss's share s (loss.h) */
  double crown;            /* crown boxes: share of the linear bounds in the margins; 0 = off */
  double box_ratio;        /* small boxes: their radius / epsilon */
  double clip_lo, clip_hi; /* valid range of inputs */
  uint32_t attack_steps;
  double attack_rate;  /* step / epsilon */
  double warmup;       /* weight of the warm-up regularisers of Shi et al. 2021; 0 = off */
  uint64_t seed;       /* of this step's random starts */
  bool is_norm_frozen; /* BatchNormalization from the running statistics, which stay as they are */
  bool is_evaluation;  /* no gradients; BatchNormalization from the running statistics */
  double eval_epsilon; /* is_evaluation: radius of the boxes that count as certified */
} ep_batch_opt;

/* Sums over the samples of a step. */
typedef struct ep_batch_sums {
  double loss;
  uint64_t n, n_correct, n_certified; /* certified: smallest interval margin above 0 at the radius used, an estimate */
} ep_batch_sums;

typedef struct ep_batch ep_batch;
/* For batches of up to `batch` samples, a multiple of EP_LANES. Everything is allocated here. The network's last layer
 * must be dense (EP_E_UNSUPPORTED): box margins are taken through it at once (last-layer elision). */
ep_status ep_batch_create(ep_net *net, uint32_t batch, ep_pool *pool, ep_batch **out);
void ep_batch_destroy(ep_batch *s);
/* x[k] points at sample k's input, label[k] < n_class. n <= batch; training needs a multiple of EP_LANES, an evaluation
 * takes any n. `sums` is added to. */
ep_status ep_batch_run(ep_batch *s, const ep_batch_opt *opt, uint32_t n, const float *const *x, const uint32_t *label,
                       ep_batch_sums *sums);
/* The gradient of the mean loss after a training step: [n_param]. */
float *ep_batch_gradient(const ep_batch *s);
/* To be called whenever parameters changed. */
ep_status ep_batch_update(ep_batch *s);

#endif
