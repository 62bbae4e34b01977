#include "verifier/cli_data.h"

#include <string.h>
#include <unistd.h>

#include "models/onnx.h"

/* What training with the same --seed and --validation held back. */
static ep_status keep_validation(const ep_config *cfg, ep_data *d) {
  uint32_t *order = ep_alloc(d->ctx, (d->n + 1) * sizeof *order);
  if (!order) return EP_E_NOMEM;
  size_t n_train = ep_data_split(d->n, cfg->validation, (uint64_t)cfg->seed, order), n = d->n - n_train;
  ep_status st = n ? ep_data_keep(d, order + n_train, n)
                   : EP_FAIL(d->ctx, EP_E_OPTION, "--part validation: a share of %g of %zu samples is none",
                             cfg->validation, d->n);
  ep_free(d->ctx, order);
  return st;
}

ep_status ep_cli_data_load(ep_cli *cli, ep_cli_samples *out) {
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_onnx_read(cli->ctx, cli->arg[0], &out->g));
  EP_TRY(ep_data_load(cli->ctx, cfg->data, cfg->labels, strcmp(cfg->part, "test") ? EP_DATA_TRAIN : EP_DATA_TEST,
                      &out->data));
  if (!strcmp(cfg->part, "validation")) EP_TRY(keep_validation(cfg, &out->data));
  uint32_t n_in = out->g->val[out->g->input].n, n_out = out->g->val[out->g->output].n;
  if (out->data.n_in != n_in)
    return EP_FAIL(cli->ctx, EP_E_SHAPE, "samples have %zu values, the network takes %u", out->data.n_in, n_in);
  if (out->data.n_class > n_out)
    return EP_FAIL(cli->ctx, EP_E_SHAPE, "label %u in the data, the network has %u outputs", out->data.n_class - 1,
                   n_out);
  if (n_out < 2) return EP_FAIL(cli->ctx, EP_E_SHAPE, "a classifier needs at least two outputs");
  out->first = (size_t)cfg->first;
  if (out->first >= out->data.n)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--first %zu: there are %zu samples", out->first, out->data.n);
  out->n = out->data.n - out->first;
  if (cfg->count > 0 && (size_t)cfg->count < out->n) out->n = (size_t)cfg->count;
  return EP_OK;
}

void ep_cli_data_tick(const ep_cli *cli, size_t done, size_t todo, double start_s) {
  const char *when = cli->cfg.progress;
  double elapsed = ep_time_s() - start_s;
  if (strcmp(when, "on") != 0 && (strcmp(when, "auto") != 0 || cli->cfg.verbosity < 1 || !isatty(STDERR_FILENO)))
    return;
  fputs("\r\x1b[K", stderr);
  if (done < todo)
    fprintf(stderr, "%zu of %zu samples, %.1f s, %.1f s left", done, todo, elapsed,
            done ? elapsed / (double)done * (double)(todo - done) : 0);
}
