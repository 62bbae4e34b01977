#include "models/train/trainer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/sha256.h"
#include "models/onnx_bytes.h"

struct ep_trainer {
  ep_ctx *ctx;
  ep_net *net;
  const ep_data *data;
  ep_train_opt opt;
  ep_pool *pool;
  ep_batch *step;
  ep_optim optim;
  uint32_t *order; /* the split: training samples first */
  size_t n_train, n_valid;
  uint32_t epoch;
  /* of one batch */
  float *staged;
  const float **x;
  uint32_t *label, *shuffled;
};

uint32_t ep_trainer_epoch(const ep_trainer *t) { return t->epoch; }
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
  t->order = ep_calloc(t->ctx, d->n + 1, sizeof *t->order);
  t->shuffled = ep_calloc(t->ctx, d->n + 1, sizeof *t->shuffled);
  t->staged = ep_calloc(t->ctx, t->opt.batch * d->n_in, sizeof *t->staged);
  t->x = ep_calloc(t->ctx, t->opt.batch, sizeof *t->x);
  t->label = ep_calloc(t->ctx, t->opt.batch, sizeof *t->label);
  if (!t->optim.m || !t->optim.v || !t->order || !t->shuffled || !t->staged || !t->x || !t->label) return EP_E_NOMEM;
  ep_rng rng;
  ep_rng_seed_stream(&rng, t->opt.seed, 1);
  ep_data_shuffle(t->order, d->n, &rng);
  t->n_valid = (size_t)(t->opt.validation * (double)d->n);
  t->n_train = d->n - t->n_valid;
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
  void *blocks[] = {t->optim.m, t->optim.v, t->order, t->shuffled, t->staged, (void *)t->x, t->label, t};
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
                        .eval_epsilon = o->eval_epsilon};
}

/* ---- epochs ---- */

static ep_status one_step(ep_trainer *t, uint32_t k, uint32_t n_step, ep_rng *rng, ep_train_report *r) {
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
    ep_data_augment(d, from, t->opt.shift, t->opt.is_flipped, rng, t->staged + i * d->n_in);
  }
  EP_TRY(ep_batch_run(t->step, &o, t->opt.batch, t->x, t->label, &r->train));
  r->rate = rate_at(&t->opt, at);
  r->epsilon = o.epsilon;
  r->kappa = 1 - o.share;
  EP_TRY(ep_optim_step(&t->optim, r->rate, t->net->param, ep_batch_gradient(t->step), t->pool, &r->gradient_norm));
  if (!isfinite(r->gradient_norm) || !isfinite(r->train.loss))
    return EP_FAIL(t->ctx, EP_E_UNSUPPORTED,
                   "epoch %u, step %u: the loss or its gradient is not finite (a smaller --rate may help)",
                   t->epoch + 1, k + 1);
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

ep_status ep_trainer_run(ep_trainer *t, ep_train_tick tick, void *user, ep_train_report *out) {
  uint32_t n_step = (uint32_t)(t->n_train / t->opt.batch);
  double start = ep_time_s();
  ep_rng rng;
  *out = (ep_train_report){0};
  ep_rng_seed_stream(&rng, t->opt.seed, 2 + (uint64_t)t->epoch);
  ep_data_shuffle(t->shuffled, t->n_train, &rng);
  for (uint32_t k = 0; k < n_step; k++) {
    if (ep_ctx_should_stop(t->ctx)) return EP_E_STOPPED;
    EP_TRY(one_step(t, k, n_step, &rng, out));
    double s = ep_time_s() - start;
    if (tick) tick(user, t->epoch, (k + 1.0) / n_step, &out->train, s > 0 ? (double)out->train.n / s : 0);
  }
  out->images_per_s = (double)out->train.n / (ep_time_s() - start);
  out->loss = out->train.loss / (double)out->train.n;
  EP_TRY(evaluate(t, t->data, t->order + t->n_train, t->n_valid, &out->valid));
  out->epoch = ++t->epoch;
  out->seconds = ep_time_s() - start;
  return EP_OK;
}

/* ---- checkpoints ---- */

static const char magic[8] = "EPTRAIN1";

/* Names everything that the rest of a run depends on. */
static void identity(const ep_trainer *t, uint8_t digest[32]) {
  ep_train_opt o;
  ep_sha256 h;
  memset(&o, 0, sizeof o); /* padding must not count */
  o = t->opt;
  const uint64_t sizes[] = {t->net->n_param, t->net->n_stat, t->data->n,   t->data->n_in, o.seed,       o.batch,
                            o.attack_steps,  o.shift,        o.is_flipped, o.init,        o.optim.kind, o.n_decay};
  const double reals[] = {
      o.rate,     o.epochs,      o.ramp_from,  o.ramp_to,        o.decay,       o.epsilon,
      o.kappa,    o.mix,         o.crown,      o.box_ratio,      o.attack_rate, o.warmup,
      o.clip_lo,  o.clip_hi,     o.validation, o.optim.momentum, o.optim.clip,  o.optim.weight_decay,
      o.optim.l1, o.eval_epsilon};
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

/* The file: magic, identity, epoch, optimiser steps, note, parameters, statistics, moments; then a SHA-256 of it all.
 */
static size_t parts(const ep_trainer *t, uint8_t *id, uint64_t *epoch, uint64_t *steps, uint8_t *note, part *p) {
  size_t n = t->net->n_param * sizeof(float), total = 0;
  const part list[N_PART] = {{(void *)(uintptr_t)magic, sizeof magic},
                             {id, 32},
                             {epoch, sizeof *epoch},
                             {steps, sizeof *steps},
                             {note, 64},
                             {t->net->param, n},
                             {t->net->stat, t->net->n_stat * sizeof(float)},
                             {t->optim.m, n},
                             {t->optim.v, n}};
  memcpy(p, list, sizeof list);
  for (int i = 0; i < N_PART; i++) total += p[i].n;
  return total;
}

static bool sync_folder(const char *path) {
  char folder[4096];
  const char *slash = strrchr(path, '/');
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
  int fd = open(folder, O_RDONLY | O_DIRECTORY);
  bool is_ok = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  return is_ok;
}

bool ep_trainer_may_replace(const char *path) {
  struct stat st;
  return lstat(path, &st) != 0 || S_ISREG(st.st_mode);
}

ep_status ep_trainer_save(const ep_trainer *t, const char *path, const uint8_t note[64]) {
  uint8_t id[32], digest[32], kept[64];
  uint64_t epoch = t->epoch, steps = t->optim.t;
  part p[N_PART];
  char temp[4096];
  ep_sha256 h;
  if (!ep_trainer_may_replace(path)) return EP_FAIL(t->ctx, EP_E_IO, "%s: not a plain file", path);
  identity(t, id);
  memcpy(kept, note, sizeof kept);
  parts(t, id, &epoch, &steps, kept, p);
  snprintf(temp, sizeof temp, "%.4000s.new", path);
  FILE *f = fopen(temp, "wb");
  bool is_ok = f != NULL;
  ep_sha256_init(&h);
  for (int i = 0; i < N_PART && is_ok; i++) {
    if (p[i].n) ep_sha256_update(&h, p[i].data, p[i].n);
    is_ok = !p[i].n || fwrite(p[i].data, 1, p[i].n, f) == p[i].n;
  }
  ep_sha256_final(&h, digest);
  is_ok = is_ok && fwrite(digest, 1, sizeof digest, f) == sizeof digest && fflush(f) == 0 && fsync(fileno(f)) == 0;
  int error = errno;
  if (f) {
    is_ok = fclose(f) == 0 && is_ok;
    if (is_ok) is_ok = rename(temp, path) == 0 && sync_folder(path);
    error = is_ok ? 0 : error ? error : errno;
    if (!is_ok) unlink(temp);
  }
  return is_ok ? EP_OK : EP_FAIL(t->ctx, EP_E_IO, "%s: cannot be saved: %s", path, strerror(error));
}

ep_status ep_trainer_load(ep_trainer *t, const char *path, uint8_t note[64]) {
  uint8_t id[32], want[32], digest[32], *bytes;
  uint64_t epoch, steps;
  part p[N_PART];
  size_t n, total = parts(t, id, &epoch, &steps, note, p);
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
  t->epoch = (uint32_t)epoch;
  t->optim.t = steps;
  return ep_batch_update(t->step);
}
