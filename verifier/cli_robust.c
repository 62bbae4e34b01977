/* Flags of `robust` to a query. */
#include "verifier/cli_robust.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "models/dataset.h"
#include "models/eval.h"
#include "verifier/picture.h"
#include "verifier/robust.h"

enum { MAX_CHANNELS = 64 };

typedef struct flags {
  double mean[MAX_CHANNELS], std[MAX_CHANNELS];
  ep_robust r;
} flags;

/* Both lists are spread over the same number of channels; one value serves all. */
static ep_status read_channels(const ep_cli *cli, flags *f) {
  size_t n_mean = 1, n_std = 1;
  f->mean[0] = 0;
  f->std[0] = 1;
  if (cli->cfg.mean) EP_TRY(ep_cli_numbers(cli->ctx, "mean", cli->cfg.mean, MAX_CHANNELS, f->mean, &n_mean));
  if (cli->cfg.std) EP_TRY(ep_cli_numbers(cli->ctx, "std", cli->cfg.std, MAX_CHANNELS, f->std, &n_std));
  size_t n = n_mean > n_std ? n_mean : n_std;
  if ((n_mean != n && n_mean != 1) || (n_std != n && n_std != 1))
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--mean has %zu values, --std %zu", n_mean, n_std);
  for (size_t i = 1; i < n; i++) {
    if (n_mean == 1) f->mean[i] = f->mean[0];
    if (n_std == 1) f->std[i] = f->std[0];
  }
  f->r.n_channel = (uint32_t)n;
  f->r.mean = f->mean;
  f->r.std = f->std;
  return EP_OK;
}

/* The network's own class of the unperturbed input. */
static ep_status predict(const ep_cli *cli, const ep_graph *g, const flags *f, uint32_t *label) {
  ep_scratch s;
  ep_trace_f32 t;
  ep_scratch_init(&s, cli->ctx);
  float *x = EP_SCRATCH(&s, float, f->r.n + 1);
  ep_status st = x ? EP_OK : EP_E_NOMEM;
  for (size_t i = 0; x && i < f->r.n; i++) {
    size_t c = i / (f->r.n / f->r.n_channel);
    x[i] = (float)((f->r.x[i] / f->r.scale - f->mean[c]) / f->std[c]);
  }
  if (st == EP_OK) st = ep_eval_f32(g, 1, x, &s, &t);
  *label = 0;
  for (uint32_t j = 1; st == EP_OK && j < f->r.n_y; j++)
    if (t.v[g->output][j] > t.v[g->output][*label]) *label = j;
  ep_scratch_clear(&s);
  return st;
}

static ep_status fill(const ep_cli *cli, const ep_graph *g, const ep_sample *sample, flags *f) {
  const ep_config *cfg = &cli->cfg;
  double clip[2];
  size_t n = 0;
  f->r.n = sample->n;
  f->r.x = sample->x;
  f->r.n_y = g->val[g->output].n;
  f->r.target = cfg->target;
  f->r.epsilon = cfg->epsilon;
  f->r.scale = cfg->scale;
  f->r.clip_lo = -INFINITY;
  f->r.clip_hi = INFINITY;
  EP_TRY(read_channels(cli, f));
  if (f->r.n % f->r.n_channel)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "%zu inputs do not divide into %u channels", f->r.n, f->r.n_channel);
  if (cfg->clip) {
    EP_TRY(ep_cli_numbers(cli->ctx, "clip", cfg->clip, 2, clip, &n));
    if (n != 2 || !(clip[0] <= clip[1])) return EP_FAIL(cli->ctx, EP_E_OPTION, "--clip takes LO,HI");
    f->r.clip_lo = clip[0];
    f->r.clip_hi = clip[1];
  }
  if (cfg->label >= 0)
    f->r.label = (uint32_t)cfg->label;
  else if (cfg->labels)
    return ep_dataset_label(cli->ctx, cfg->labels, (size_t)cfg->index, &f->r.label);
  else
    return predict(cli, g, f, &f->r.label);
  return EP_OK;
}

ep_status ep_cli_robust_query(const ep_cli *cli, const ep_graph *g, ep_query **out) {
  const ep_config *cfg = &cli->cfg;
  flags f = {.mean = {0}};
  ep_sample sample;
  char name[300];
  if (!cfg->image) return EP_FAIL(cli->ctx, EP_E_OPTION, "robust needs --image FILE");
  if (strcmp(cfg->norm, "linf") != 0) return EP_FAIL(cli->ctx, EP_E_OPTION, "robust takes --norm linf only");
  EP_TRY(ep_dataset_read(cli->ctx, cfg->image, (size_t)cfg->index, g->val[g->input].n, &sample));
  ep_status st = fill(cli, g, &sample, &f);
  snprintf(name, sizeof name, "%s ball of radius %g around entry %lld of %.200s, label %u", cfg->norm, cfg->epsilon,
           (long long)cfg->index, cfg->image, f.r.label);
  if (st == EP_OK) st = ep_robust_query(cli->ctx, &f.r, name, out);
  ep_free(cli->ctx, sample.x);
  return st;
}

/* The network's scores at x[n] (pixels): predicted class and its confidence, all scores in y. */
static ep_status scores(const ep_cli *cli, const ep_graph *g, const flags *f, const float *x, float *y) {
  ep_scratch s;
  ep_trace_f32 t;
  ep_scratch_init(&s, cli->ctx);
  float *v = EP_SCRATCH(&s, float, f->r.n + 1);
  ep_status st = v ? EP_OK : EP_E_NOMEM;
  for (size_t i = 0; v && i < f->r.n; i++) {
    size_t c = i / (f->r.n / f->r.n_channel);
    v[i] = (float)(((double)x[i] - f->mean[c]) / f->std[c]);
  }
  if (st == EP_OK) st = ep_eval_f32(g, 1, v, &s, &t);
  if (st == EP_OK) memcpy(y, t.v[g->output], f->r.n_y * sizeof *y);
  ep_scratch_clear(&s);
  return st;
}

static uint32_t winner(const float *y, uint32_t n, uint32_t except) {
  uint32_t best = except == 0 ? 1 : 0;
  for (uint32_t j = 0; j < n; j++)
    if (j != except && y[j] > y[best]) best = j;
  return best;
}

static double confidence(const float *y, uint32_t n, uint32_t class) {
  double sum = 0;
  for (uint32_t k = 0; k < n; k++) sum += exp((double)y[k] - (double)y[class]);
  return 1 / sum;
}

/* Pixels of original and counterexample; a hair outside [0,1] (rounding of mean and std) is drawn as its end. */
static ep_status pixels(const ep_cli *cli, const flags *f, const double *witness, float *x, float *adv) {
  for (size_t i = 0; i < f->r.n; i++) {
    size_t c = i / (f->r.n / f->r.n_channel);
    double v[2] = {f->r.x[i] / f->r.scale, witness[i] * f->std[c] + f->mean[c]};
    for (int k = 0; k < 2; k++) {
      if (!(v[k] >= -1e-6 && v[k] <= 1 + 1e-6))
        return EP_FAIL(cli->ctx, EP_E_OPTION, "--out: pixel %zu is %g, pictures need [0,1] (--scale, --clip 0,1)", i,
                       v[k]);
      (k ? adv : x)[i] = (float)fmin(fmax(v[k], 0), 1);
    }
  }
  return EP_OK;
}

static ep_status draw(const ep_cli *cli, const ep_graph *g, const flags *f, uint32_t channels, const double *witness,
                      const char *folder) {
  size_t n = f->r.n, plane = n / channels;
  uint32_t side = (uint32_t)lround(sqrt((double)plane));
  char path[4096];
  float *x = ep_alloc(cli->ctx, 2 * (n + f->r.n_y) * sizeof *x), *adv = x ? x + n : NULL, *y = x ? adv + n : NULL;
  if (!x) return EP_E_NOMEM;
  bool is_square = (size_t)side * side == plane;
  ep_picture_case c = {.c = channels,
                       .h = is_square ? side : 1,
                       .w = is_square ? side : (uint32_t)plane,
                       .x = x,
                       .adv = adv,
                       .label = f->r.label,
                       .epsilon = f->r.epsilon};
  ep_picture p = {0};
  ep_status st;
  EP_GOTO(pixels(cli, f, witness, x, adv));
  EP_GOTO(scores(cli, g, f, x, y));
  c.predicted = winner(y, f->r.n_y, UINT32_MAX);
  c.confidence = confidence(y, f->r.n_y, c.predicted);
  EP_GOTO(scores(cli, g, f, adv, y));
  c.fooled = winner(y, f->r.n_y, f->r.label);
  c.fooled_confidence = confidence(y, f->r.n_y, c.fooled);
  c.margin = (double)y[f->r.label] - (double)y[c.fooled];
  EP_GOTO(ep_picture_triptych(cli->ctx, &c, &p));
  mkdir(folder, 0777); /* a failure shows when the file is written */
  snprintf(path, sizeof path, "%.4000s/counterexample.png", folder);
  st = ep_picture_write(&p, path);
done:
  ep_picture_clear(&p);
  ep_free(cli->ctx, x);
  return st;
}

ep_status ep_cli_robust_picture(const ep_cli *cli, const ep_graph *g, const double *witness, const char *folder) {
  flags f = {.mean = {0}};
  ep_sample sample;
  EP_TRY(ep_dataset_read(cli->ctx, cli->cfg.image, (size_t)cli->cfg.index, g->val[g->input].n, &sample));
  ep_status st = fill(cli, g, &sample, &f);
  uint32_t channels = f.r.n_channel == 3 || (sample.channels == 3 && sample.n % 3 == 0) ? 3 : 1;
  if (st == EP_OK) st = draw(cli, g, &f, channels, witness, folder);
  ep_free(cli->ctx, sample.x);
  return st;
}
