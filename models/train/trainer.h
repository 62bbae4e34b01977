/* Training from a data set: schedules, batches, epochs, checkpoints. Same network, data, options and seed: the same
 * weights bit for bit, whatever the number of threads, and also when the run was stopped anywhere and resumed. */
#ifndef EP_MODELS_TRAIN_TRAINER_H
#define EP_MODELS_TRAIN_TRAINER_H

#include "models/data.h"
#include "models/train/batch.h"
#include "models/train/optim.h"

typedef struct ep_train_opt {
  const ep_method *method;
  const ep_loss *loss;
  ep_init_kind init;
  ep_optim_opt optim;
  double rate;
  double epochs, ramp_from, ramp_to; /* epsilon grows from 0, kappa falls from 1, between these epochs */
  double decay_at[8], decay;         /* the rate is multiplied by `decay` at each of these epochs */
  uint32_t n_decay;
  double freeze_norm; /* epoch from which BatchNormalization's statistics stay; INFINITY = never */
  double epsilon, kappa, mix, crown, box_ratio, attack_rate, warmup, clip_lo,
      clip_hi; /* kappa, crown: at the end of the ramp, from 1 */
  double eval_epsilon;
  uint32_t batch, attack_steps, shift;
  bool is_flipped;
  double validation; /* share of the training set that is held back */
  uint64_t seed;
} ep_train_opt;

/* What an epoch reports. Certified numbers are estimates by interval propagation in float32. */
typedef struct ep_train_report {
  uint32_t epoch; /* finished ones */
  double rate, epsilon, kappa, loss, seconds, images_per_s, gradient_norm;
  ep_batch_sums train, valid;
} ep_train_report;

typedef struct ep_trainer ep_trainer;
/* `net` and `data` are borrowed. EP_E_SHAPE when they do not fit each other. Weights are initialised here unless
 * keep_weights. */
ep_status ep_trainer_create(ep_net *net, const ep_data *data, const ep_train_opt *opt, bool keep_weights, ep_pool *pool,
                            ep_trainer **out);
void ep_trainer_destroy(ep_trainer *t);
uint32_t ep_trainer_epoch(const ep_trainer *t); /* finished ones */
uint32_t ep_trainer_steps(const ep_trainer *t); /* done of the epoch under way */
size_t ep_trainer_n_valid(const ep_trainer *t);
/* Called after each step with the share of the epoch that is done, the running sums and images per second. */
typedef void (*ep_train_tick)(void *user, uint32_t epoch, double done, const ep_batch_sums *sums, double rate);
/* One epoch, or what is left of it, and the validation after it. EP_E_STOPPED when the context says so, between two
 * steps: the state can be saved there, and running on later gives the same as running through. A loss or gradient that
 * is not finite is EP_E_UNSUPPORTED with epoch and step. */
ep_status ep_trainer_run(ep_trainer *t, ep_train_tick tick, void *user, ep_train_report *out);
/* Accuracy on other data (test sets), as in reports. */
ep_status ep_trainer_evaluate(ep_trainer *t, const ep_data *data, ep_batch_sums *out);

/* Checkpoints: everything that the next step depends on, replaced as a whole (models/replace.h). `note` (64 bytes) is
 * the caller's. Loading refuses files of other networks or options (EP_E_OPTION), and damaged ones (EP_E_SYNTAX). */
ep_status ep_trainer_save(const ep_trainer *t, const char *path, const uint8_t note[64]);
ep_status ep_trainer_load(ep_trainer *t, const char *path, uint8_t note[64]);

#endif
