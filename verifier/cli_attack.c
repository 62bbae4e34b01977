#include "verifier/cli_attack.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/log.h"
#include "models/eval.h"
#include "verifier/adversary.h"
#include "verifier/cli_data.h"
#include "verifier/picture.h"
#include "verifier/watch.h"

typedef struct job {
  ep_cli *cli;
  ep_cli_samples in;
  ep_pool *pool;
  const ep_attack_kind *kind;
  ep_adversary_opt opt;
  float *adv;
  ep_adversary_result *result;
  double seconds;
} job;

static ep_status choose(job *j) {
  const ep_config *cfg = &j->cli->cfg;
  const char *name = cfg->method ? cfg->method : "pgd";
  j->kind = ep_attack_kind_find(name);
  if (!j->kind)
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--method: unknown attack '%s' (see 'epsproof help methods')", name);
  if (cfg->epsilon < 0 && !j->kind->is_minimal && strcmp(name, "fgsm") != 0)
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "attack %s needs --epsilon E", name);
  if (cfg->unclipped && cfg->out) return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--unclipped has no pictures (--out)");
  j->opt = (ep_adversary_opt){.norm = strcmp(cfg->norm, "l2") ? EP_NORM_LINF : EP_NORM_L2,
                              .epsilon = cfg->epsilon,
                              .clip_lo = cfg->unclipped ? -INFINITY : 0,
                              .clip_hi = cfg->unclipped ? INFINITY : 1,
                              .steps = (uint32_t)cfg->steps,
                              .restarts = (uint32_t)cfg->restarts,
                              .overshoot = cfg->overshoot,
                              .seed = (uint64_t)cfg->seed};
  return EP_OK;
}

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_cli_check_format(cli));
  EP_TRY(choose(j));
  if (cfg->out && mkdir(cfg->out, 0777) != 0 && errno != EEXIST)
    return EP_FAIL(cli->ctx, EP_E_IO, "%s: %s", cfg->out, strerror(errno));
  if (strcmp(cli->cfg.semantics, "float32") == 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--semantics: attacks on data sets know real semantics only");
  EP_TRY(ep_cli_data_load(cli, &j->in));
  j->adv = ep_alloc(cli->ctx, j->in.n * j->in.data.n_in * sizeof *j->adv);
  j->result = ep_calloc(cli->ctx, j->in.n, sizeof *j->result);
  if (!j->adv || !j->result) return EP_E_NOMEM;
  return ep_pool_create(cli->ctx, (unsigned)cfg->threads, &j->pool);
}

/* In pieces, so that what is done counts when a signal comes; j->in.n is what was attacked. */
static ep_status attack_all(job *j) {
  enum { PIECE = 64 };
  double start = ep_time_s();
  size_t n_in = j->in.data.n_in;
  for (size_t i = 0, n; i < j->in.n; i += n) {
    n = j->in.n - i < PIECE ? j->in.n - i : PIECE;
    ep_adversary_opt o = j->opt;
    o.seed += i; /* streams of pieces differ */
    ep_status st = ep_adversary_run(j->kind, j->in.g, &o, n, j->in.data.x + (j->in.first + i) * n_in,
                                    j->in.data.label + j->in.first + i, j->pool, j->adv + i * n_in, j->result + i);
    if (st == EP_E_STOPPED && i) {
      ep_log(j->cli->ctx, 1, "interrupted: these are the first %zu of %zu samples", i, j->in.n);
      j->in.n = i;
    } else {
      EP_TRY(st);
    }
  }
  j->seconds = ep_time_s() - start;
  return EP_OK;
}

/* ---- telling ---- */

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The value below which `part` of v[n] lies. */
static double quantile(double *v, size_t n, double part) {
  if (!n) return NAN;
  qsort(v, n, sizeof *v, by_size);
  return v[(size_t)(part * (double)(n - 1))];
}

typedef struct summary {
  size_t n_right, n_found;
  double l0, l1, l2, linf, rho2, rho_inf, gradients; /* means over the points found (gradients: over all attacked) */
  double median2, median_inf, most90_inf;
} summary;

static ep_status summarise(const job *j, summary *s) {
  double *l2 = ep_alloc(j->cli->ctx, (2 * j->in.n + 1) * sizeof *l2);
  if (!l2) return EP_E_NOMEM;
  double *linf = l2 + j->in.n;
  *s = (summary){0};
  for (size_t i = 0; i < j->in.n; i++) {
    const ep_adversary_result *r = &j->result[i];
    s->n_right += !r->is_wrong;
    s->gradients += (double)r->n_grad;
    if (!r->is_found) continue;
    s->l0 += r->l0;
    s->l1 += r->l1;
    s->l2 += r->l2;
    s->linf += r->linf;
    s->rho2 += r->norm2 > 0 ? r->l2 / r->norm2 : 0;
    s->rho_inf += r->norm_inf > 0 ? r->linf / r->norm_inf : 0;
    l2[s->n_found] = r->l2;
    linf[s->n_found++] = r->linf;
  }
  double n = s->n_found ? (double)s->n_found : 1;
  double *const means[] = {&s->l0, &s->l1, &s->l2, &s->linf, &s->rho2, &s->rho_inf};
  for (size_t k = 0; k < sizeof means / sizeof *means; k++) *means[k] /= n;
  s->gradients /= s->n_right ? (double)s->n_right : 1;
  s->median2 = quantile(l2, s->n_found, 0.5);
  s->median_inf = quantile(linf, s->n_found, 0.5);
  s->most90_inf = quantile(linf, s->n_found, 0.9);
  ep_free(j->cli->ctx, l2);
  return EP_OK;
}

static ep_status tell(const job *j) {
  summary s;
  EP_TRY(summarise(j, &s));
  double right = s.n_right ? (double)s.n_right : 1, n = (double)j->in.n;
  if (!strcmp(j->cli->cfg.format, "json")) {
    printf("{\"network_sha256\": \"%s\", \"attack\": \"%s\", \"norm\": \"%s\", \"samples\": %zu, \"right\": %zu, "
           "\"found\": %zu, \"mean_l0\": %.9g, \"mean_l1\": %.9g, \"mean_l2\": %.9g, \"mean_linf\": %.9g, "
           "\"rho_l2\": %.9g, \"rho_linf\": %.9g, \"mean_gradients\": %.9g, \"seconds\": %.3f}\n",
           j->in.g->sha256, j->kind->name, j->cli->cfg.norm, j->in.n, s.n_right, s.n_found, s.l0, s.l1, s.l2, s.linf,
           s.rho2, s.rho_inf, s.gradients, j->seconds);
    return EP_OK;
  }
  printf("attack: %s, norm %s\nsamples: %zu, classified rightly %zu (%.2f %%)\n", j->kind->name, j->cli->cfg.norm,
         j->in.n, s.n_right, 100 * (double)s.n_right / n);
  printf("found: %zu (%.2f %% of those), accuracy under attack %.2f %%\n", s.n_found, 100 * (double)s.n_found / right,
         100 * (double)(s.n_right - s.n_found) / n);
  if (s.n_found) {
    printf("l2: mean %.4f, median %.4f; linf: mean %.5f, median %.5f, 90 %% below %.5f; l1: mean %.3f; pixels: mean "
           "%.1f\n",
           s.l2, s.median2, s.linf, s.median_inf, s.most90_inf, s.l1, s.l0);
    printf("rho (mean length of the change over that of the sample): l2 %.4f, linf %.4f\n", s.rho2, s.rho_inf);
  }
  printf("gradients per sample: %.1f\nseconds: %.2f\n", s.gradients, j->seconds);
  return EP_OK;
}

static ep_status write_records(const job *j) {
  const char *path = j->cli->cfg.records;
  FILE *f = path ? fopen(path, "wb") : NULL;
  if (!path) return EP_OK;
  bool is_ok = f && fprintf(f, "index,label,predicted,found,fooled,l0,l1,l2,linf,gradients\n") > 0;
  for (size_t i = 0; i < j->in.n && is_ok; i++) {
    const ep_adversary_result *r = &j->result[i];
    is_ok = fprintf(f, "%zu,%u,%u,%d,%u,%.0f,%.9g,%.9g,%.9g,%" PRIu64 "\n", j->in.first + i,
                    j->in.data.label[j->in.first + i], r->predicted, r->is_found, r->fooled, r->l0, r->l1, r->l2,
                    r->linf, r->n_grad) > 0;
  }
  if (f) is_ok = fclose(f) == 0 && is_ok;
  return is_ok ? EP_OK : EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", path, strerror(errno));
}

/* ---- pictures ---- */

static double confidence(const float *y, uint32_t n, uint32_t class) {
  double sum = 0;
  for (uint32_t k = 0; k < n; k++) sum += exp((double)y[k] - (double)y[class]);
  return 1 / sum;
}

static ep_status one_picture(const job *j, size_t i, ep_picture *out) {
  ep_scratch *s = ep_pool_scratch(j->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  const ep_adversary_result *r = &j->result[i];
  size_t at = j->in.first + i, n = j->in.data.n_in;
  uint32_t n_y = j->in.g->val[j->in.g->output].n;
  const float *x = j->in.data.x + at * n, *adv = j->adv + i * n;
  ep_trace_f32 t[2];
  EP_TRY(ep_eval_f32(j->in.g, 1, x, s, &t[0]));
  EP_TRY(ep_eval_f32(j->in.g, 1, adv, s, &t[1]));
  const float *y = t[0].v[j->in.g->output], *z = t[1].v[j->in.g->output];
  ep_picture_case c = {.c = j->in.data.c,
                       .h = j->in.data.h,
                       .w = j->in.data.w,
                       .x = x,
                       .adv = adv,
                       .label = j->in.data.label[at],
                       .predicted = r->predicted,
                       .fooled = r->fooled,
                       .confidence = confidence(y, n_y, r->predicted),
                       .fooled_confidence = confidence(z, n_y, r->fooled),
                       .margin = (double)z[j->in.data.label[at]] - (double)z[r->fooled],
                       .epsilon = j->cli->cfg.epsilon};
  ep_scratch_restore(s, m);
  return ep_picture_triptych(j->cli->ctx, &c, out);
}

static ep_status draw(const job *j) {
  const ep_config *cfg = &j->cli->cfg;
  size_t most = (size_t)cfg->pictures, n = 0;
  char path[4096];
  if (!cfg->out) return EP_OK;
  if (j->in.data.c != 1 && j->in.data.c != 3)
    return EP_FAIL(j->cli->ctx, EP_E_UNSUPPORTED, "pictures of %u channels", j->in.data.c);
  ep_picture *p = ep_calloc(j->cli->ctx, most < j->in.n ? most : j->in.n, sizeof *p), sheet = {0};
  if (!p) return EP_E_NOMEM;
  ep_status st = EP_OK;
  for (size_t i = 0; i < j->in.n && n < most && st == EP_OK; i++) {
    if (!j->result[i].is_found) continue;
    st = one_picture(j, i, &p[n]);
    snprintf(path, sizeof path, "%.4000s/%s_%zu.png", cfg->out, j->kind->name, j->in.first + i);
    if (st == EP_OK) st = ep_picture_write(&p[n++], path);
  }
  snprintf(path, sizeof path, "%.4000s/%s_sheet.png", cfg->out, j->kind->name);
  if (st == EP_OK && n) st = ep_picture_sheet(j->cli->ctx, n, p, 3, &sheet);
  if (st == EP_OK && n) st = ep_picture_write(&sheet, path);
  ep_picture_clear(&sheet);
  for (size_t i = 0; i < n; i++) ep_picture_clear(&p[i]);
  ep_free(j->cli->ctx, p);
  if (st == EP_OK) ep_log(j->cli->ctx, 2, "%zu pictures in %s", n, cfg->out);
  return st;
}

ep_status ep_cli_attack_data(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  ep_ctx_set_deadline(cli->ctx, 0); /* --timeout is for properties */
  ep_watch_catch(cli->ctx);
  ep_status st;
  EP_GOTO(load(&j));
  EP_GOTO(attack_all(&j));
  EP_GOTO(write_records(&j));
  EP_GOTO(draw(&j));
  st = tell(&j);
done:
  ep_watch_release();
  ep_free(cli->ctx, j.adv);
  ep_free(cli->ctx, j.result);
  ep_pool_destroy(j.pool);
  ep_graph_destroy(j.in.g);
  ep_data_clear(&j.in.data);
  return st;
}
