/* Command train: options to a trainer, epochs with progress, checkpoints and log, the trained network as ONNX. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "kernels/log.h"
#include "models/onnx.h"
#include "models/replace.h"
#include "models/train/trainer.h"
#include "verifier/cli.h"
#include "verifier/watch.h"

typedef struct job {
  ep_cli *cli;
  ep_data data, test;
  ep_graph *graph;
  ep_net *net;
  ep_pool *pool;
  ep_trainer *trainer;
  ep_train_opt opt;
  FILE *log;
  bool has_line; /* a progress line stands on the terminal */
  double last_draw_s;
} job;

static ep_status two_numbers(ep_ctx *ctx, const char *flag, const char *text, double *a, double *b) {
  double v[2];
  size_t n;
  EP_TRY(ep_cli_numbers(ctx, flag, text, 2, v, &n));
  if (n != 2 || !(v[0] <= v[1])) return EP_FAIL(ctx, EP_E_OPTION, "--%s takes FROM,TO with FROM <= TO", flag);
  *a = v[0];
  *b = v[1];
  return EP_OK;
}

static ep_status choose_method(const ep_cli *cli, ep_train_opt *o) {
  const ep_config *cfg = &cli->cfg;
  const char *name = cfg->method ? cfg->method : "ibp";
  o->method = ep_method_find(name);
  if (!o->method) return EP_FAIL(cli->ctx, EP_E_OPTION, "--method: unknown '%s' (see 'epsproof help methods')", name);
  o->loss = ep_loss_find(cfg->loss);
  if (!o->loss) return EP_FAIL(cli->ctx, EP_E_OPTION, "--loss: unknown '%s' (see 'epsproof help methods')", cfg->loss);
  bool needs_radius = o->method->box != EP_METHOD_BOX_NONE || ep_method_attacks(o->method);
  if (needs_radius && cfg->epsilon < 0 && cfg->train_epsilon < 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "method %s needs --epsilon E", name);
  return EP_OK;
}

static ep_status fill(const ep_cli *cli, ep_train_opt *o) {
  const ep_config *cfg = &cli->cfg;
  EP_TRY(choose_method(cli, o));
  double epochs = (double)cfg->epochs;
  bool has_box = o->method->box != EP_METHOD_BOX_NONE;
  o->init = !strcmp(cfg->init, "ibp") || (!strcmp(cfg->init, "auto") && has_box) ? EP_INIT_IBP : EP_INIT_KAIMING;
  o->optim = (ep_optim_opt){.kind = !strcmp(cfg->optimiser, "sgd") ? EP_OPTIM_SGD : EP_OPTIM_ADAM,
                            .momentum = cfg->momentum,
                            .clip = cfg->clip_norm,
                            .weight_decay = cfg->weight_decay,
                            .l1 = cfg->l1};
  o->rate = cfg->rate;
  o->epochs = epochs;
  o->ramp_from = 0;
  o->ramp_to = epochs / 2;
  if (cfg->ramp) EP_TRY(two_numbers(cli->ctx, "ramp", cfg->ramp, &o->ramp_from, &o->ramp_to));
  o->decay = 0.2;
  o->n_decay = 2;
  o->decay_at[0] = 0.75 * epochs;
  o->decay_at[1] = 0.9 * epochs;
  size_t n = 2;
  if (cfg->decay) EP_TRY(ep_cli_numbers(cli->ctx, "decay", cfg->decay, 8, o->decay_at, &n));
  o->n_decay = (uint32_t)n;
  o->eval_epsilon = fmax(cfg->epsilon, 0);
  o->epsilon = cfg->train_epsilon >= 0 ? cfg->train_epsilon : o->eval_epsilon;
  o->kappa = cfg->kappa;
  o->mix = cfg->mix;
  o->crown = cfg->crown;
  o->box_ratio = cfg->box_ratio;
  o->attack_steps = (uint32_t)cfg->attack_steps;
  o->attack_rate = cfg->attack_rate;
  o->warmup = has_box ? cfg->warmup : 0;
  o->clip_hi = 1; /* pixels */
  o->batch = (uint32_t)cfg->batch;
  o->shift = (uint32_t)cfg->shift;
  o->is_flipped = cfg->flip;
  o->validation = cfg->validation;
  o->seed = (uint64_t)cfg->seed;
  return EP_OK;
}

static ep_status make_net(job *j) {
  const ep_cli *cli = j->cli;
  const ep_arch *arch = ep_arch_find(cli->cfg.arch);
  if (arch && cli->cfg.keep_weights)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--keep-weights needs --arch FILE.onnx, not an architecture's name");
  if (arch) return ep_net_create(cli->ctx, arch, j->data.c, j->data.h, j->data.w, j->data.n_class, &j->net);
  if (access(cli->cfg.arch, R_OK) != 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION,
                   "--arch: '%s' is neither an architecture ('epsproof help methods') nor a file", cli->cfg.arch);
  EP_TRY(ep_onnx_read(cli->ctx, cli->cfg.arch, &j->graph));
  return ep_net_from_graph(j->graph, &j->net);
}

/* ---- telling ---- */

static bool wants_line(const job *j) {
  const char *when = j->cli->cfg.progress;
  return !strcmp(when, "on") || (!strcmp(when, "auto") && j->cli->cfg.verbosity > 0 && isatty(STDERR_FILENO));
}

static double percent(uint64_t part, uint64_t all) { return all ? 100.0 * (double)part / (double)all : 0; }

static void tick(void *user, uint32_t epoch, double done, const ep_batch_sums *s, double rate) {
  job *j = user;
  double now = ep_time_s(), all = (double)j->cli->cfg.epochs, at = epoch + done;
  if (now - j->last_draw_s < 0.2 || !wants_line(j)) return;
  j->last_draw_s = now;
  j->has_line = true;
  int filled = (int)(20 * done);
  double left = 0;
  if (rate > 0 && done > 0) left = (all - at) * (double)s->n / done / rate;
  fprintf(stderr,
          "\r\x1b[Kepoch %u/%.0f [%.*s%.*s] loss %.4f natural %.2f%% certified %.2f%% %.0f images/s, %.0f s left",
          epoch + 1, all, filled, "####################", 20 - filled, "....................", s->loss / (double)s->n,
          percent(s->n_correct, s->n), percent(s->n_certified, s->n), rate, left);
}

static void tell_epoch(job *j, const ep_train_report *r) {
  if (j->has_line) fputs("\r\x1b[K", stderr);
  j->has_line = false;
  const ep_batch_sums *v = r->valid.n ? &r->valid : &r->train;
  if (j->cli->cfg.verbosity > 0)
    fprintf(stderr,
            "epoch %u/%lld: loss %.4f, %s natural %.2f %%, certified %.2f %% (epsilon %.4g, rate %.3g, %.1f s)\n",
            r->epoch, (long long)j->cli->cfg.epochs, r->loss, r->valid.n ? "validation" : "training",
            percent(v->n_correct, v->n), percent(v->n_certified, v->n), r->epsilon, r->rate, r->seconds);
  if (!j->log) return;
  fprintf(
      j->log,
      "{\"epoch\": %u, \"loss\": %.9g, \"rate\": %.9g, \"epsilon\": %.9g, \"kappa\": %.9g, \"gradient_norm\": %.9g, "
      "\"train_natural\": %.6f, \"train_certified\": %.6f, \"valid_natural\": %.6f, \"valid_certified\": %.6f, "
      "\"seconds\": %.3f, \"images_per_s\": %.1f}\n",
      r->epoch, r->loss, r->rate, r->epsilon, r->kappa, r->gradient_norm, percent(r->train.n_correct, r->train.n) / 100,
      percent(r->train.n_certified, r->train.n) / 100, percent(r->valid.n_correct, r->valid.n) / 100,
      percent(r->valid.n_certified, r->valid.n) / 100, r->seconds, r->images_per_s);
}

/* ---- log and checkpoint ---- */

/* The checkpoint's note holds the length of the log at its time: what came after is written again. */
static ep_status open_log(job *j, uint64_t length) {
  const char *path = j->cli->cfg.log;
  if (!path) return EP_OK;
  j->log = fopen(path, length ? "r+b" : "wb");
  if (!j->log || (length && (ftruncate(fileno(j->log), (off_t)length) != 0 || fseeko(j->log, 0, SEEK_END) != 0)))
    return EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  return EP_OK;
}

static ep_status save(job *j) {
  uint8_t note[64] = {0};
  if (j->log) {
    if (fflush(j->log) != 0 || fsync(fileno(j->log)) != 0)
      return EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", j->cli->cfg.log, strerror(errno));
    uint64_t length = (uint64_t)ftello(j->log);
    memcpy(note, &length, sizeof length);
  }
  return j->cli->cfg.checkpoint ? ep_trainer_save(j->trainer, j->cli->cfg.checkpoint, note) : EP_OK;
}

static ep_status start(job *j) {
  const ep_config *cfg = &j->cli->cfg;
  uint8_t note[64] = {0};
  uint64_t length = 0;
  if (cfg->resume && !cfg->checkpoint) return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--resume needs --checkpoint FILE");
  if (cfg->resume && access(cfg->checkpoint, F_OK) == 0) {
    EP_TRY(ep_trainer_load(j->trainer, cfg->checkpoint, note));
    ep_log(j->cli->ctx, 1, "resumed after epoch %u and %u steps", ep_trainer_epoch(j->trainer),
           ep_trainer_steps(j->trainer));
  }
  memcpy(&length, note, sizeof length);
  return open_log(j, length);
}

static ep_status export(job *j, const char *path) {
  ep_graph *g;
  char temp[EP_REPLACE_MAX_PATH];
  EP_TRY(ep_replace_begin(j->cli->ctx, path, temp));
  EP_TRY(ep_net_export(j->net, &g));
  ep_status st = ep_onnx_write(g, temp);
  ep_graph_destroy(g);
  if (st != EP_OK) unlink(temp);
  EP_TRY(st);
  return ep_replace_end(j->cli->ctx, path, temp);
}

static ep_status tell_end(job *j, const ep_batch_sums *test) {
  const ep_train_opt *o = &j->opt;
  double natural = percent(test->n_correct, test->n), certified = percent(test->n_certified, test->n);
  double s = ep_time_s() - j->cli->start_s;
  if (!strcmp(j->cli->cfg.format, "json"))
    printf("{\"network\": \"%s\", \"method\": \"%s\", \"parameters\": %zu, \"epsilon\": %.9g, \"test_samples\": %llu, "
           "\"test_natural\": %.6f, \"test_certified_ibp_estimate\": %.6f, \"seconds\": %.3f}\n",
           j->cli->arg[0], o->method->name, j->net->n_param, o->eval_epsilon, (unsigned long long)test->n,
           natural / 100, certified / 100, s);
  else
    printf("network: %s\nmethod: %s\nparameters: %zu\ntest samples: %llu\nnatural: %.2f %%\n"
           "certified by intervals (estimate, epsilon %g): %.2f %%\nseconds: %.1f\n",
           j->cli->arg[0], o->method->name, j->net->n_param, (unsigned long long)test->n, natural, o->eval_epsilon,
           certified, s);
  return EP_OK;
}

/* A run that was told to stop, between two steps: its state is saved, one line says how to go on. */
static ep_status stopped(job *j) {
  const char *checkpoint = j->cli->cfg.checkpoint;
  uint32_t epoch = ep_trainer_epoch(j->trainer) + 1, step = ep_trainer_steps(j->trainer);
  if (j->has_line) fputc('\n', stderr);
  j->has_line = false;
  EP_TRY(save(j));
  if (checkpoint)
    ep_log(j->cli->ctx, 0, "interrupted in epoch %u after %u steps; the same command with --resume goes on from %s",
           epoch, step, checkpoint);
  else
    ep_log(j->cli->ctx, 0, "interrupted in epoch %u after %u steps; nothing is kept (--checkpoint FILE would)", epoch,
           step);
  return EP_E_STOPPED;
}

static ep_status epochs(job *j) {
  while (ep_trainer_epoch(j->trainer) < (uint32_t)j->cli->cfg.epochs) {
    ep_train_report r;
    ep_status st = ep_trainer_run(j->trainer, tick, j, &r);
    if (st == EP_E_STOPPED) return stopped(j);
    EP_TRY(st);
    tell_epoch(j, &r);
    EP_TRY(save(j));
  }
  return EP_OK;
}

static ep_status run(job *j) {
  ep_cli *cli = j->cli;
  EP_TRY(ep_cli_check_format(cli));
  EP_TRY(fill(cli, &j->opt));
  EP_TRY(ep_replace_try(cli->ctx, cli->arg[0]));
  if (cli->cfg.checkpoint) EP_TRY(ep_replace_try(cli->ctx, cli->cfg.checkpoint));
  EP_TRY(ep_data_load(cli->ctx, cli->cfg.data, cli->cfg.labels, EP_DATA_TRAIN, &j->data));
  EP_TRY(make_net(j));
  /* Signs of common values flip with a batch's statistics, and all that follows with them. */
  j->opt.freeze_norm = cli->cfg.freeze_norm >= 0  ? cli->cfg.freeze_norm
                       : ep_net_is_binary(j->net) ? j->opt.epochs / 2
                                                  : INFINITY;
  EP_TRY(ep_pool_create(cli->ctx, (unsigned)cli->cfg.threads, &j->pool));
  EP_TRY(ep_trainer_create(j->net, &j->data, &j->opt, cli->cfg.keep_weights, j->pool, &j->trainer));
  EP_TRY(start(j));
  EP_TRY(epochs(j));
  EP_TRY(export(j, cli->arg[0]));
  ep_batch_sums test;
  EP_TRY(ep_data_load(cli->ctx, cli->cfg.data, cli->cfg.labels, EP_DATA_TEST, &j->test));
  ep_status st = ep_trainer_evaluate(j->trainer, &j->test, &test);
  if (st == EP_E_STOPPED)
    ep_log(cli->ctx, 0, "interrupted; %s is whole, its accuracy on the test set was not measured", cli->arg[0]);
  EP_TRY(st);
  return tell_end(j, &test);
}

ep_status ep_cli_train(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  ep_watch_catch(cli->ctx);
  ep_status st = run(&j);
  if (j.has_line) fputc('\n', stderr);
  if (st == EP_E_STOPPED) { /* told; the shell's code for a command that a signal ended */
    *exit_code = 128 + ep_watch_signal();
    st = EP_OK;
  }
  ep_watch_release();
  if (j.log && fclose(j.log) != 0 && st == EP_OK)
    st = EP_FAIL(cli->ctx, EP_E_IO, "%s: %s", cli->cfg.log, strerror(errno));
  ep_trainer_destroy(j.trainer);
  ep_pool_destroy(j.pool);
  ep_net_destroy(j.net);
  ep_graph_destroy(j.graph);
  ep_data_clear(&j.data);
  ep_data_clear(&j.test);
  return st;
}
