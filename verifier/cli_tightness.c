/* Command tightness: how tightly intervals propagate through a network, over the samples of a data set. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/tightness.h"
#include "kernels/pool.h"
#include "models/data.h"
#include "models/onnx.h"
#include "verifier/cli.h"

typedef struct job {
  ep_cli *cli;
  ep_graph *g;
  ep_data data;
  ep_pool *pool;
  size_t first, n;
  double *tau[2]; /* [n]: means over the margins of a sample; local, linear */
} job;

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_cli_check_format(cli));
  EP_TRY(ep_onnx_read(cli->ctx, cli->arg[0], &j->g));
  EP_TRY(ep_data_load(cli->ctx, cfg->data, cfg->labels, strcmp(cfg->part, "train") ? EP_DATA_TEST : EP_DATA_TRAIN,
                      &j->data));
  if (j->data.n_in != j->g->val[j->g->input].n || j->data.n_class > j->g->val[j->g->output].n)
    return EP_FAIL(cli->ctx, EP_E_SHAPE, "data of %zu values and %u classes, a network of %u inputs and %u outputs",
                   j->data.n_in, j->data.n_class, j->g->val[j->g->input].n, j->g->val[j->g->output].n);
  if (j->g->val[j->g->output].n < 2) return EP_FAIL(cli->ctx, EP_E_SHAPE, "a classifier needs at least two outputs");
  j->first = (size_t)cfg->first;
  if (j->first >= j->data.n)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--first %zu: there are %zu samples", j->first, j->data.n);
  j->n = j->data.n - j->first;
  if (cfg->count > 0 && (size_t)cfg->count < j->n) j->n = (size_t)cfg->count;
  for (int k = 0; k < 2; k++)
    if (!(j->tau[k] = ep_alloc(cli->ctx, j->n * sizeof(double)))) return EP_E_NOMEM;
  return ep_pool_create(cli->ctx, (unsigned)cfg->threads, &j->pool);
}

static ep_status one(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  const job *j = arg;
  size_t n = j->data.n_in, n_y = j->g->val[j->g->output].n;
  double eps = j->cli->cfg.epsilon >= 0 ? j->cli->cfg.epsilon : 1e-6;
  (void)worker;
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, n), *rad = EP_SCRATCH(s, double, n), *tau = EP_SCRATCH(s, double, n_y);
  if (!x || !rad || !tau) return EP_E_NOMEM;
  for (size_t k = 0; k < n; k++) { /* the pattern is the sample's own; the widths are those of the clipped ball */
    x[k] = (double)j->data.x[(j->first + i) * n + k];
    rad[k] = 0.5 * (fmin(x[k] + eps, 1) - fmax(x[k] - eps, 0));
  }
  for (int k = 0; k < 2; k++) {
    uint32_t label = j->data.label[j->first + i];
    EP_TRY(ep_tightness_at(j->g, x, rad, label, k == 1, s, tau));
    j->tau[k][i] = 0;
    for (uint32_t c = 0; c < n_y; c++)
      if (c != label) j->tau[k][i] += tau[c] / (double)(n_y - 1);
  }
  ep_scratch_restore(s, m);
  return EP_OK;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void tell(job *j) {
  double mean[2] = {0, 0};
  for (int k = 0; k < 2; k++) {
    for (size_t i = 0; i < j->n; i++) mean[k] += j->tau[k][i] / (double)j->n;
    qsort(j->tau[k], j->n, sizeof(double), by_size);
  }
  const double *t = j->tau[0], *u = j->tau[1];
  size_t lo = j->n / 10, mid = j->n / 2, hi = j->n - 1 - j->n / 10;
  if (!strcmp(j->cli->cfg.format, "json"))
    printf(
        "{\"network_sha256\": \"%s\", \"samples\": %zu, \"local\": {\"mean\": %.9g, \"p10\": %.9g, \"median\": %.9g, "
        "\"p90\": %.9g}, \"linear\": {\"mean\": %.9g, \"median\": %.9g}}\n",
        j->g->sha256, j->n, mean[0], t[lo], t[mid], t[hi], mean[1], u[mid]);
  else
    printf("samples: %zu\nlocal tightness: mean %.4g, 10 %% below %.4g, median %.4g, 10 %% above %.4g\n"
           "of the same weights without activations: mean %.4g, median %.4g\n",
           j->n, mean[0], t[lo], t[mid], t[hi], mean[1], u[mid]);
}

ep_status ep_cli_tightness(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  ep_status st;
  EP_GOTO(load(&j));
  EP_GOTO(ep_pool_run(j.pool, j.n, one, &j));
  tell(&j);
done:
  for (int k = 0; k < 2; k++) ep_free(cli->ctx, j.tau[k]);
  ep_pool_destroy(j.pool);
  ep_graph_destroy(j.g);
  ep_data_clear(&j.data);
  return st;
}
