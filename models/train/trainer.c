#include "models/train/trainer.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernels/sha256.h"
#include "models/onnx_bytes.h"
#include "models/replace.h"

struct ep_trainer {
  ep_ctx *ctx;
  ep_net *net;
  const ep_data *data;
  ep_train_opt opt;
  ep_pool *pool;
  ep_batch *step;
  ep_optim optim;
  float *latent;   /* [n_param] what the optimiser moves, when the network has binary layers; NULL = its parameters */
  uint32_t *order; /* the split: training samples first */
  size_t n_train, n_valid;
  uint32_t epoch;
  /* of the epoch under way */
  uint32_t n_done; /* steps */
  ep_rng rng;      /* of what comes after them */
  ep_batch_sums sums;
  double gradient_norm;
  /* of one batch */
  float *staged;
  const float **x;
  uint32_t *label, *shuffled;
};

uint32_t ep_trainer_epoch(const ep_trainer *t) { return t->epoch; }
uint32_t ep_trainer_steps(const ep_trainer *t) { return t->n_done; }
size_t ep_trainer_n_valid(const ep_trainer *t) { return t->n_valid; }

static ep_status check(const ep_net *net, const ep_data *data, const ep_train_opt *opt) {
  if (data->n_in != ep_net_size(net, 0))
    return EP_FAIL(net->ctx, EP_E_SHAPE, "samples have %zu values, the network takes %u", data->n_in,
                   ep_net_size(net, 0));
  if (data->n_class > ep_net_n_class(net))
    return EP_FAIL(net->ctx, EP_E_SHAPE, "label %u in the data, the network has %u classes", data->n_class - 1,
                   ep_net_n_class(net));
  if (!opt->batch || opt->batch % EP_LANES)
    return EP_FAIL(net->ctx, EP_E_OPTION, "a batch of %u, expected a multiple of %u", opt->batch, EP_LANES);
  return EP_OK;
}

static ep_status make(ep_trainer *t) {
  const ep_data *d = t->data;
  size_t n = t->net->n_param + 1;
  t->optim = (ep_optim){.opt = t->opt.optim, .n = t->net->n_param};
  t->optim.m = ep_calloc(t->ctx, n, sizeof(float));
  t->optim.v = ep_calloc(t->ctx, n, sizeof(float));
  if (ep_net_is_binary(t->net)) {
    ep_rng rng;
    if (!(t->latent = ep_calloc(t->ctx, n, sizeof(float)))) return EP_E_NOMEM;
    ep_rng_seed_stream(&rng, t->opt.seed, 0);
    ep_net_make_latent(t->net, &rng, t->latent);
  }
  t->order = ep_calloc(t->ctx, d->n + 1, sizeof *t->order);
  t->shuffled = ep_calloc(t->ctx, d->n + 1, sizeof *t->shuffled);
  t->staged = ep_calloc(t->ctx, t->opt.batch * d->n_in, sizeof *t->staged);
  t->x = ep_calloc(t->ctx, t->opt.batch, sizeof *t->x);
  t->label = ep_calloc(t->ctx, t->opt.batch, sizeof *t->label);
  if (!t->optim.m || !t->optim.v || !t->order || !t->shuffled || !t->staged || !t->x || !t->label) return EP_E_NOMEM;
  t->n_train = ep_data_split(d->n, t->opt.validation, t->opt.seed, t->order);
  t->n_valid = d->n - t->n_train;
  if (t->n_train < t->opt.batch)
    return EP_FAIL(t->ctx, EP_E_OPTION, "%zu training samples are less than one batch of %u", t->n_train, t->opt.batch);
  return ep_batch_create(t->net, t->opt.batch, t->pool, &t->step);
}

ep_status ep_trainer_create(ep_net *net, const ep_data *data, const ep_train_opt *opt, bool keep_weights, ep_pool *pool,
                            ep_trainer **out) {
  *out = NULL;
  EP_TRY(check(net, data, opt));
  if (!keep_weights) {
    ep_rng rng;
    ep_rng_seed_stream(&rng, opt->seed, 0);
    ep_net_init(net, opt->init, &rng);
  }
  ep_trainer *t = ep_calloc(net->ctx, 1, sizeof *t);
  if (!t) return EP_E_NOMEM;
  t->ctx = net->ctx;
  t->net = net;
  t->data = data;
  t->opt = *opt;
  t->pool = pool;
  ep_status st = make(t);
  if (st != EP_OK) {
    ep_trainer_destroy(t);
    return st;
  }
  *out = t;
  return EP_OK;
}

void ep_trainer_destroy(ep_trainer *t) {
  if (!t) return;
  ep_ctx *ctx = t->ctx;
  ep_batch_destroy(t->step);
  void *blocks[] = {t->latent, t->optim.m, t->optim.v, t->order, t->shuffled, t->staged, (void *)t->x, t->label, t};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) ep_free(ctx, blocks[i]);
}

/* ---- schedules ---- */

/* 0 before the ramp, 1 after it. `at` in epochs. */
static double ramp(const ep_train_opt *o, double at) {
  if (at >= o->ramp_to) return 1;
  return at <= o->ramp_from ? 0 : (at - o->ramp_from) / (o->ramp_to - o->ramp_from);
}

static double rate_at(const ep_train_opt *o, double at) {
  double rate = o->rate;
  for (uint32_t i = 0; i < o->n_decay; i++)
    if (at >= o->decay_at[i]) rate *= o->decay;
  return rate;
}

static ep_batch_opt settings(const ep_trainer *t, double at) {
  const ep_train_opt *o = &t->opt;
  double part = ramp(o, at), kappa = 1 - part * (1 - o->kappa);
  return (ep_batch_opt){.method = o->method,
                        .loss = o->loss,
                        .epsilon = part * o->epsilon,
                        .share = o->method->share == EP_METHOD_SHARE_RAMP  ? 1 - kappa
                                 : o->method->share == EP_METHOD_SHARE_ALL ? 1
                                                                           : o->mix,
                        .crown = 1 - part * (1 - o->crown),
                        .box_ratio = o->box_ratio,
                        .clip_lo = o->clip_lo,
                        .clip_hi = o->clip_hi,
                        .attack_steps = o->attack_steps,
                        .attack_rate = o->attack_rate,
                        .warmup = o->warmup * (1 - part),
                        .is_norm_frozen = at >= o->freeze_norm,
                        .eval_epsilon = o->eval_epsilon};
}

/* ---- epochs ---- */

/* Everything that a step depends on is in the trainer's state, so it may be saved between any two. */
static ep_status one_step(ep_trainer *t, uint32_t n_step) {
  uint32_t k = t->n_done;
  const ep_data *d = t->data;
  double at = t->epoch + (double)k / n_step;
  ep_batch_opt o = settings(t, at);
  o.seed = t->opt.seed * 1000003 + (uint64_t)t->epoch * n_step + k + 7;
  for (uint32_t i = 0; i < t->opt.batch; i++) {
    uint32_t from = t->order[t->shuffled[(size_t)k * t->opt.batch + i]];
    t->label[i] = d->label[from];
    t->x[i] = d->x + from * d->n_in;
    if (!t->opt.shift && !t->opt.is_flipped) continue;
    t->x[i] = t->staged + i * d->n_in;
    ep_data_augment(d, from, t->opt.shift, t->opt.is_flipped, &t->rng, t->staged + i * d->n_in);
  }
  EP_TRY(ep_batch_run(t->step, &o, t->opt.batch, t->x, t->label, &t->sums));
  EP_TRY(ep_optim_step(&t->optim, rate_at(&t->opt, at), t->latent ? t->latent : t->net->param,
                       ep_batch_gradient(t->step), t->pool, &t->gradient_norm));
  if (t->latent) ep_net_take_latent(t->net, t->latent);
  if (!isfinite(t->gradient_norm) || !isfinite(t->sums.loss))
    return EP_FAIL(t->ctx, EP_E_UNSUPPORTED,
                   "epoch %u, step %u: the loss or its gradient is not finite (a smaller --rate may help)",
                   t->epoch + 1, k + 1);
  t->n_done++;
  return ep_batch_update(t->step);
}

static ep_status evaluate(ep_trainer *t, const ep_data *d, const uint32_t *order, size_t n, ep_batch_sums *out) {
  ep_batch_opt o = settings(t, t->epoch);
  o.is_evaluation = true;
  *out = (ep_batch_sums){0};
  for (size_t i = 0, m; i < n; i += m) {
    m = n - i < t->opt.batch ? n - i : t->opt.batch;
    for (size_t k = 0; k < m; k++) {
      size_t at = order ? order[i + k] : i + k;
      t->x[k] = d->x + at * d->n_in;
      t->label[k] = d->label[at];
    }
    if (ep_ctx_should_stop(t->ctx)) return EP_E_STOPPED;
    EP_TRY(ep_batch_run(t->step, &o, (uint32_t)m, t->x, t->label, out));
  }
  return EP_OK;
}

ep_status ep_trainer_evaluate(ep_trainer *t, const ep_data *data, ep_batch_sums *out) {
  EP_TRY(check(t->net, data, &t->opt));
  return evaluate(t, data, NULL, data->n, out);
}

/* The order of the epoch's samples, and the random numbers behind it. */
static void begin_epoch(ep_trainer *t) {
  ep_rng_seed_stream(&t->rng, t->opt.seed, 2 + (uint64_t)t->epoch);
  ep_data_shuffle(t->shuffled, t->n_train, &t->rng);
}

ep_status ep_trainer_run(ep_trainer *t, ep_train_tick tick, void *user, ep_train_report *out) {
  uint32_t n_step = (uint32_t)(t->n_train / t->opt.batch), first = t->n_done;
  double start = ep_time_s(), s = 0;
  *out = (ep_train_report){0};
  if (!t->n_done) begin_epoch(t);
  while (t->n_done < n_step) {
    if (ep_ctx_should_stop(t->ctx)) return EP_E_STOPPED;
    EP_TRY(one_step(t, n_step));
    s = ep_time_s() - start;
    out->images_per_s = s > 0 ? (double)(t->n_done - first) * t->opt.batch / s : 0;
    if (tick) tick(user, t->epoch, (double)t->n_done / n_step, &t->sums, out->images_per_s);
  }
  EP_TRY(evaluate(t, t->data, t->order + t->n_train, t->n_valid, &out->valid));
  double last = t->epoch + (n_step - 1.0) / n_step;
  ep_batch_opt o = settings(t, last);
  out->rate = rate_at(&t->opt, last);
  out->epsilon = o.epsilon;
  out->kappa = 1 - o.share;
  out->gradient_norm = t->gradient_norm;
  out->train = t->sums;
  out->loss = t->sums.loss / (double)t->sums.n;
  out->epoch = ++t->epoch;
  out->seconds = ep_time_s() - start;
  t->n_done = 0;
  t->sums = (ep_batch_sums){0};
  return EP_OK;
}

/* ---- checkpoints ---- */

static const char magic[8] = "EPTRAIN2";

/* Names everything that the rest of a run depends on. */
static void identity(const ep_trainer *t, uint8_t digest[32]) {
  ep_train_opt o;
  ep_sha256 h;
  memset(&o, 0, sizeof o); /* padding must not count */
  o = t->opt;
  const uint64_t sizes[] = {t->net->n_param, t->net->n_stat, t->data->n,   t->data->n_in, o.seed,       o.batch,
                            o.attack_steps,  o.shift,        o.is_flipped, o.init,        o.optim.kind, o.n_decay};
  const double reals[] = {
      o.rate,     o.epochs,       o.ramp_from,  o.ramp_to,        o.decay,       o.epsilon,
      o.kappa,    o.mix,          o.crown,      o.box_ratio,      o.attack_rate, o.warmup,
      o.clip_lo,  o.clip_hi,      o.validation, o.optim.momentum, o.optim.clip,  o.optim.weight_decay,
      o.optim.l1, o.eval_epsilon, o.freeze_norm};
  ep_sha256_init(&h);
  ep_sha256_update(&h, sizes, sizeof sizes);
  ep_sha256_update(&h, reals, sizeof reals);
  ep_sha256_update(&h, o.decay_at, o.n_decay * sizeof *o.decay_at);
  ep_sha256_update(&h, o.method->name, strlen(o.method->name));
  ep_sha256_update(&h, o.loss->name, strlen(o.loss->name));
  ep_sha256_update(&h, t->data->label, t->data->n * sizeof *t->data->label);
  for (uint32_t i = 0; i < t->net->n_layer; i++) {
    const ep_layer *l = &t->net->layer[i];
    const uint64_t at[] = {l->kind, l->in[0], l->in[1], l->n_in, l->n_out, l->n_w, l->n_b};
    ep_sha256_update(&h, at, sizeof at);
  }
  ep_sha256_final(&h, digest);
}

typedef struct part {
  void *data;
  size_t n;
} part;
enum { N_PART = 9 };

/* Where a run stands, as it is in the file. */
typedef struct place {
  uint64_t epoch, n_done, optim_steps, n, n_correct, n_certified;
  double loss, gradient_norm;
  ep_rng rng;
} place;

static place place_of(const ep_trainer *t) {
  return (place){.epoch = t->epoch,
                 .n_done = t->n_done,
                 .optim_steps = t->optim.t,
                 .n = t->sums.n,
                 .n_correct = t->sums.n_correct,
                 .n_certified = t->sums.n_certified,
                 .loss = t->sums.loss,
                 .gradient_norm = t->gradient_norm,
                 .rng = t->rng};
}

/* Goes to a place: the order of an epoch under way is drawn again. */
static void go_to(ep_trainer *t, const place *at) {
  t->epoch = (uint32_t)at->epoch;
  t->n_done = (uint32_t)at->n_done;
  t->optim.t = at->optim_steps;
  t->sums = (ep_batch_sums){at->loss, at->n, at->n_correct, at->n_certified};
  t->gradient_norm = at->gradient_norm;
  if (t->n_done) begin_epoch(t);
  t->rng = at->rng;
}

/* The file: magic, identity, place, note, parameters, the numbers behind binary ones, statistics, moments; then a
 * SHA-256 of it all. */
static size_t parts(const ep_trainer *t, uint8_t *id, place *at, uint8_t *note, part *p) {
  size_t n = t->net->n_param * sizeof(float), total = 0;
  const part list[N_PART] = {{(void *)(uintptr_t)magic, sizeof magic},
                             {id, 32},
                             {at, sizeof *at},
                             {note, 64},
                             {t->net->param, n},
                             {t->latent, t->latent ? n : 0},
                             {t->net->stat, t->net->n_stat * sizeof(float)},
                             {t->optim.m, n},
                             {t->optim.v, n}};
  memcpy(p, list, sizeof list);
  for (int i = 0; i < N_PART; i++) total += p[i].n;
  return total;
}

static bool write_parts(FILE *f, const part *p) {
  uint8_t digest[32];
  ep_sha256 h;
  ep_sha256_init(&h);
  for (int i = 0; i < N_PART; i++) {
    if (p[i].n) ep_sha256_update(&h, p[i].data, p[i].n);
    if (p[i].n && fwrite(p[i].data, 1, p[i].n, f) != p[i].n) return false;
  }
  ep_sha256_final(&h, digest);
  return fwrite(digest, 1, sizeof digest, f) == sizeof digest;
}

ep_status ep_trainer_save(const ep_trainer *t, const char *path, const uint8_t note[64]) {
  uint8_t id[32], kept[64];
  place at = place_of(t);
  part p[N_PART];
  char temp[EP_REPLACE_MAX_PATH];
  EP_TRY(ep_replace_begin(t->ctx, path, temp));
  identity(t, id);
  memcpy(kept, note, sizeof kept);
  parts(t, id, &at, kept, p);
  FILE *f = fopen(temp, "wb");
  bool is_ok = f && write_parts(f, p);
  int error = errno;
  if (f && fclose(f) != 0 && is_ok) {
    is_ok = false;
    error = errno;
  }
  if (is_ok) return ep_replace_end(t->ctx, path, temp);
  if (f) unlink(temp);
  return EP_FAIL(t->ctx, EP_E_IO, "%s: cannot be saved: %s", path, strerror(error));
}

ep_status ep_trainer_load(ep_trainer *t, const char *path, uint8_t note[64]) {
  uint8_t id[32], want[32], digest[32], *bytes;
  place where = {0};
  part p[N_PART];
  size_t n, total = parts(t, id, &where, note, p);
  EP_TRY(ep_onnx_bytes_read(t->ctx, path, (size_t)1 << 33, &bytes, &n));
  ep_status st = EP_OK;
  ep_sha256 h;
  ep_sha256_init(&h);
  if (n > 32) ep_sha256_update(&h, bytes, n - 32);
  ep_sha256_final(&h, digest);
  identity(t, want);
  if (n < sizeof magic + 64 || memcmp(bytes, magic, sizeof magic) != 0)
    st = EP_FAIL(t->ctx, EP_E_SYNTAX, "%s: not a training checkpoint", path);
  else if (memcmp(bytes + n - 32, digest, 32) != 0)
    st = EP_FAIL(t->ctx, EP_E_SYNTAX, "%s: damaged checkpoint", path);
  else if (memcmp(bytes + sizeof magic, want, 32) != 0 || n != total + 32)
    st = EP_FAIL(t->ctx, EP_E_OPTION, "%s: from a run with other options, data or network", path);
  size_t at = sizeof magic;
  for (int i = 1; i < N_PART && st == EP_OK; i++) {
    if (p[i].n) memcpy(p[i].data, bytes + at, p[i].n); /* a network without statistics has none to copy */
    at += p[i].n;
  }
  ep_free(t->ctx, bytes);
  EP_TRY(st);
  go_to(t, &where);
  return ep_batch_update(t->step);
}
