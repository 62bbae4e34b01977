/* Command tightness: how tightly intervals propagate through a network, over the samples of a data set. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/tightness.h"
#include "kernels/pool.h"
#include "verifier/cli_data.h"

typedef struct job {
  ep_cli *cli;
  ep_cli_samples in;
  ep_pool *pool;
  double *tau[2]; /* [n]: means over the margins of a sample; local, linear */
} job;

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_cli_check_format(cli));
  EP_TRY(ep_cli_data_load(cli, &j->in));
  for (int k = 0; k < 2; k++)
    if (!(j->tau[k] = ep_alloc(cli->ctx, j->in.n * sizeof(double)))) return EP_E_NOMEM;
  return ep_pool_create(cli->ctx, (unsigned)cfg->threads, &j->pool);
}

static ep_status one(void *arg, size_t i, unsigned worker, ep_scratch *s) {
  const job *j = arg;
  size_t n = j->in.data.n_in, n_y = j->in.g->val[j->in.g->output].n;
  double eps = j->cli->cfg.epsilon >= 0 ? j->cli->cfg.epsilon : 1e-6;
  (void)worker;
  ep_scratch_mark m = ep_scratch_save(s);
  double *x = EP_SCRATCH(s, double, n), *rad = EP_SCRATCH(s, double, n), *tau = EP_SCRATCH(s, double, n_y);
  if (!x || !rad || !tau) return EP_E_NOMEM;
  for (size_t k = 0; k < n; k++) { /* the pattern is the sample's own; the widths are those of the clipped ball */
    x[k] = (double)j->in.data.x[(j->in.first + i) * n + k];
    rad[k] = 0.5 * (fmin(x[k] + eps, 1) - fmax(x[k] - eps, 0));
  }
  for (int k = 0; k < 2; k++) {
    uint32_t label = j->in.data.label[j->in.first + i];
    EP_TRY(ep_tightness_at(j->in.g, x, rad, label, k == 1, s, tau));
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
    for (size_t i = 0; i < j->in.n; i++) mean[k] += j->tau[k][i] / (double)j->in.n;
    qsort(j->tau[k], j->in.n, sizeof(double), by_size);
  }
  const double *t = j->tau[0], *u = j->tau[1];
  size_t lo = j->in.n / 10, mid = j->in.n / 2, hi = j->in.n - 1 - j->in.n / 10;
  if (!strcmp(j->cli->cfg.format, "json"))
    printf(
        "{\"network_sha256\": \"%s\", \"samples\": %zu, \"local\": {\"mean\": %.9g, \"p10\": %.9g, \"median\": %.9g, "
        "\"p90\": %.9g}, \"linear\": {\"mean\": %.9g, \"median\": %.9g}}\n",
        j->in.g->sha256, j->in.n, mean[0], t[lo], t[mid], t[hi], mean[1], u[mid]);
  else
    printf("samples: %zu\nlocal tightness: mean %.4g, 10 %% below %.4g, median %.4g, 10 %% above %.4g\n"
           "of the same weights without activations: mean %.4g, median %.4g\n",
           j->in.n, mean[0], t[lo], t[mid], t[hi], mean[1], u[mid]);
}

ep_status ep_cli_tightness(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  ep_status st;
  EP_GOTO(load(&j));
  EP_GOTO(ep_pool_run(j.pool, j.in.n, one, &j));
  tell(&j);
done:
  for (int k = 0; k < 2; k++) ep_free(cli->ctx, j.tau[k]);
  ep_pool_destroy(j.pool);
  ep_graph_destroy(j.in.g);
  ep_data_clear(&j.in.data);
  return st;
}
