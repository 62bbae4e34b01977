#include "verifier/cli_data.h"

#include <string.h>
#include <unistd.h>

#include "models/onnx.h"

ep_status ep_cli_data_load(ep_cli *cli, ep_cli_samples *out) {
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_onnx_read(cli->ctx, cli->arg[0], &out->g));
  EP_TRY(ep_data_load(cli->ctx, cfg->data, cfg->labels, strcmp(cfg->part, "train") ? EP_DATA_TEST : EP_DATA_TRAIN,
                      &out->data));
  uint32_t n_in = out->g->val[out->g->input].n, n_out = out->g->val[out->g->output].n;
  if (out->data.n_in != n_in || out->data.n_class > n_out)
    return EP_FAIL(cli->ctx, EP_E_SHAPE, "data of %zu values and %u classes, a network of %u inputs and %u outputs",
                   out->data.n_in, out->data.n_class, n_in, n_out);
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
