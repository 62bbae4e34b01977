/* Flags of `robust` to a query. */
#include "verifier/cli_robust.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/dataset.h"
#include "models/eval.h"
#include "verifier/portrait.h"
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

ep_status ep_cli_robust_picture(const ep_cli *cli, const ep_graph *g, const double *witness, const char *path) {
  flags f = {.mean = {0}};
  ep_sample sample;
  EP_TRY(ep_dataset_read(cli->ctx, cli->cfg.image, (size_t)cli->cfg.index, g->val[g->input].n, &sample));
  double *x = ep_alloc(cli->ctx, (sample.n + 1) * sizeof *x);
  ep_status st = x ? fill(cli, g, &sample, &f) : EP_E_NOMEM;
  for (size_t i = 0; i < sample.n && st == EP_OK; i++) {
    size_t c = i / (f.r.n / f.r.n_channel);
    x[i] = (f.r.x[i] / f.r.scale - f.mean[c]) / f.std[c];
  }
  const ep_value *in = &g->val[g->input];
  uint32_t n_colour = f.r.n_channel == 3 || (sample.channels == 3 && sample.n % 3 == 0) ? 3 : 0;
  ep_portrait p = {.g = g,
                   .x = x,
                   .adv = witness,
                   .layout = ep_portrait_layout_of(&in->shape, in->n, n_colour),
                   .hi = 1,
                   .n_channel = f.r.n_channel,
                   .mean = f.mean,
                   .std = f.std,
                   .label = f.r.label,
                   .epsilon = f.r.epsilon};
  if (st == EP_OK) st = ep_portrait_write(cli->ctx, &p, path);
  ep_free(cli->ctx, x);
  ep_free(cli->ctx, sample.x);
  return st;
}
