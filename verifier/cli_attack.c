#include "verifier/cli_attack.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/log.h"
#include "models/dataset.h"
#include "verifier/adversary.h"
#include "verifier/cli_data.h"
#include "verifier/portrait.h"
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
  bool is_searched = cfg->fool > 0;
  if (is_searched && (j->kind->is_minimal || cfg->epsilon >= 0))
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--fool is for attacks within a ball, instead of --epsilon");
  if (cfg->epsilon < 0 && !is_searched && !j->kind->is_minimal && strncmp(name, "fgsm", 4) != 0)
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "attack %s needs --epsilon E", name);
  size_t n = cfg->points ? strlen(cfg->points) : 0;
  if (n && (n < 5 || n > 4000 || strcmp(cfg->points + n - 4, ".npy") != 0))
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--points: '%.80s' does not end in .npy", cfg->points);
  if (cfg->picture) return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--picture is for properties; data sets take --out DIR");
  if (cfg->unclipped && cfg->out) return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--unclipped has no pictures (--out)");
  j->opt = (ep_adversary_opt){.norm = strcmp(cfg->norm, "l2") ? EP_NORM_LINF : EP_NORM_L2,
                              .epsilon = cfg->epsilon,
                              .clip_lo = cfg->unclipped ? -INFINITY : 0,
                              .clip_hi = cfg->unclipped ? INFINITY : 1,
                              .steps = (uint32_t)cfg->steps,
                              .restarts = (uint32_t)cfg->restarts,
                              .n_rival = (uint32_t)cfg->rivals,
                              .budget = (uint64_t)cfg->budget,
                              .overshoot = cfg->overshoot,
                              .is_own_class = cfg->own_class,
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
  enum { PIECE = 256 };
  double start = ep_time_s();
  size_t n_in = j->in.data.n_in, todo = j->in.n;
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
    ep_cli_data_tick(j->cli, j->in.n < todo ? todo : i + n, todo, start);
  }
  return EP_OK;
}

/* Share of the samples that are misclassified in the end. */
static double fooled(const job *j) {
  size_t n = 0;
  for (size_t i = 0; i < j->in.n; i++) n += j->result[i].is_found || (j->result[i].is_wrong && !j->opt.is_own_class);
  return (double)n / (double)j->in.n;
}

/* The smallest radius for all samples together that leaves the wanted share misclassified: doubled until it does, then
 * halved to 1 %. (How FGSM was measured in the paper on DeepFool, with a share of 0.9.) */
static ep_status attack_at_smallest(job *j) {
  const size_t n = j->in.n;
  double lo = 0, hi = 1.0 / 256, share = 0;
  for (; hi <= 256; lo = hi, hi *= 2) {
    j->opt.epsilon = hi;
    EP_TRY(attack_all(j));
    share = fooled(j);
    if (j->in.n < n || share >= j->cli->cfg.fool) break;
  }
  if (j->in.n == n && share < j->cli->cfg.fool)
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--fool: no radius up to 256 leaves a share of %g misclassified",
                   j->cli->cfg.fool);
  while (j->in.n == n && hi - lo > 0.01 * hi) {
    j->opt.epsilon = 0.5 * (lo + hi);
    EP_TRY(attack_all(j));
    if (fooled(j) >= j->cli->cfg.fool)
      hi = j->opt.epsilon;
    else
      lo = j->opt.epsilon;
  }
  if (j->in.n < n || !(j->opt.epsilon < hi)) return EP_OK; /* interrupted, or the last run was at hi */
  j->opt.epsilon = hi;
  return attack_all(j);
}

static ep_status attack(job *j) {
  double start = ep_time_s();
  EP_TRY(j->cli->cfg.fool > 0 ? attack_at_smallest(j) : attack_all(j));
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
  size_t n_right, n_attacked, n_found;
  double l0, l1, l2, linf, rho2, rho_inf, gradients; /* means over the points found (gradients: over all attacked) */
  double rho2_centred;                               /* over the length of the sample less the mean of all */
  double median2, median_inf, most90_inf;
} summary;

/* Length of sample `i` (of the data) less the mean of all samples, mean[n_in]. */
static double centred_norm(const ep_data *d, size_t i, const double *mean) {
  double sum = 0;
  for (size_t k = 0; k < d->n_in; k++) {
    double v = (double)d->x[i * d->n_in + k] - mean[k];
    sum += v * v;
  }
  return sqrt(sum);
}

static void mean_sample(const ep_data *d, double *mean) {
  memset(mean, 0, d->n_in * sizeof *mean);
  for (size_t i = 0; i < d->n; i++)
    for (size_t k = 0; k < d->n_in; k++) mean[k] += (double)d->x[i * d->n_in + k] / (double)d->n;
}

static ep_status summarise(const job *j, summary *s) {
  const ep_data *d = &j->in.data;
  double *l2 = ep_alloc(j->cli->ctx, (2 * j->in.n + d->n_in + 1) * sizeof *l2);
  if (!l2) return EP_E_NOMEM;
  double *linf = l2 + j->in.n, *mean = linf + j->in.n;
  mean_sample(d, mean);
  *s = (summary){0};
  for (size_t i = 0; i < j->in.n; i++) {
    const ep_adversary_result *r = &j->result[i];
    s->n_right += !r->is_wrong;
    s->n_attacked += !r->is_wrong || j->opt.is_own_class;
    s->gradients += (double)r->n_grad;
    if (!r->is_found) continue;
    double centred = centred_norm(d, j->in.first + i, mean);
    s->l0 += r->l0;
    s->l1 += r->l1;
    s->l2 += r->l2;
    s->linf += r->linf;
    s->rho2 += r->norm2 > 0 ? r->l2 / r->norm2 : 0;
    s->rho2_centred += centred > 0 ? r->l2 / centred : 0;
    s->rho_inf += r->norm_inf > 0 ? r->linf / r->norm_inf : 0;
    l2[s->n_found] = r->l2;
    linf[s->n_found++] = r->linf;
  }
  double n = s->n_found ? (double)s->n_found : 1;
  double *const means[] = {&s->l0, &s->l1, &s->l2, &s->linf, &s->rho2, &s->rho2_centred, &s->rho_inf};
  for (size_t k = 0; k < sizeof means / sizeof *means; k++) *means[k] /= n;
  s->gradients /= s->n_attacked ? (double)s->n_attacked : 1;
  s->median2 = quantile(l2, s->n_found, 0.5);
  s->median_inf = quantile(linf, s->n_found, 0.5);
  s->most90_inf = quantile(linf, s->n_found, 0.9);
  ep_free(j->cli->ctx, l2);
  return EP_OK;
}

static void tell_json(const job *j, const summary *s) {
  printf("{\"network_sha256\": \"%s\", \"attack\": \"%s\", \"norm\": \"%s\", \"epsilon\": ", j->in.g->sha256,
         j->kind->name, j->cli->cfg.norm);
  if (j->opt.epsilon >= 0)
    printf("%.9g", j->opt.epsilon);
  else
    printf("null");
  printf(", \"samples\": %zu, \"right\": %zu, \"attacked\": %zu, \"found\": %zu, \"mean_l0\": %.9g, \"mean_l1\": %.9g, "
         "\"mean_l2\": %.9g, \"mean_linf\": %.9g, \"rho_l2\": %.9g, \"rho_l2_centred\": %.9g, \"rho_linf\": %.9g, "
         "\"mean_gradients\": %.9g, \"seconds\": %.3f}\n",
         j->in.n, s->n_right, s->n_attacked, s->n_found, s->l0, s->l1, s->l2, s->linf, s->rho2, s->rho2_centred,
         s->rho_inf, s->gradients, j->seconds);
}

static ep_status tell(const job *j) {
  summary s;
  EP_TRY(summarise(j, &s));
  if (!strcmp(j->cli->cfg.format, "json")) {
    tell_json(j, &s);
    return EP_OK;
  }
  double n = (double)j->in.n;
  printf("attack: %s, norm %s\nsamples: %zu, classified rightly %zu (%.2f %%)\n", j->kind->name, j->cli->cfg.norm,
         j->in.n, s.n_right, 100 * (double)s.n_right / n);
  if (j->cli->cfg.fool > 0)
    printf("epsilon: %.6g, the smallest that leaves %.2f %% misclassified\n", j->opt.epsilon, 100 * fooled(j));
  printf("found: %zu (%.2f %% of those%s)", s.n_found,
         s.n_attacked ? 100 * (double)s.n_found / (double)s.n_attacked : 0,
         j->opt.is_own_class ? " whose class was attacked" : "");
  if (!j->opt.is_own_class) printf(", accuracy under attack %.2f %%", 100 * (double)(s.n_right - s.n_found) / n);
  puts("");
  if (s.n_found) {
    printf("l2: mean %.4f, median %.4f; linf: mean %.5f, median %.5f, 90 %% below %.5f; l1: mean %.3f; pixels: mean "
           "%.1f\n",
           s.l2, s.median2, s.linf, s.median_inf, s.most90_inf, s.l1, s.l0);
    printf(
        "rho (mean length of the change over that of the sample): l2 %.4f, linf %.4f; l2 over that of the sample less "
        "the mean sample: %.4f\n",
        s.rho2, s.rho_inf, s.rho2_centred);
  }
  printf("gradients per sample: %.1f\nseconds: %.2f\n", s.gradients, j->seconds);
  return EP_OK;
}

/* Points as one .npy array of float32 [samples, c, h, w], their labels as a second one beside it: a data set. */
static ep_status write_points(job *j) {
  const char *path = j->cli->cfg.points;
  const float by = (float)j->cli->cfg.magnify;
  const ep_data *d = &j->in.data;
  char beside[4096];
  size_t stem = path ? strlen(path) : 0, n = j->in.n * d->n_in;
  if (!path) return EP_OK;
  const float *x = d->x + j->in.first * d->n_in;
  for (size_t i = 0; i < n && by != 1; i++) {
    float v = x[i] + by * (j->adv[i] - x[i]);
    j->adv[i] = j->cli->cfg.unclipped ? v : fminf(fmaxf(v, 0), 1);
  }
  const uint32_t shape[4] = {(uint32_t)j->in.n, d->c, d->h, d->w};
  EP_TRY(ep_dataset_write_npy(j->cli->ctx, path, 4, shape, j->adv));
  for (size_t i = 0; i < j->in.n; i++) j->adv[i] = (float)d->label[j->in.first + i];
  snprintf(beside, sizeof beside, "%.*s.labels.npy", (int)(stem - strlen(".npy")), path);
  return ep_dataset_write_npy(j->cli->ctx, beside, 1, shape, j->adv);
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

static ep_status one_picture(const job *j, size_t i, ep_picture *out) {
  size_t at = j->in.first + i, n = j->in.data.n_in;
  double *x = ep_alloc(j->cli->ctx, 2 * n * sizeof *x);
  if (!x) return EP_E_NOMEM;
  for (size_t k = 0; k < n; k++) {
    x[k] = (double)j->in.data.x[at * n + k];
    x[n + k] = (double)j->adv[i * n + k];
  }
  uint32_t label = j->opt.is_own_class ? j->result[i].predicted : j->in.data.label[at];
  ep_portrait p = {.g = j->in.g,
                   .x = x,
                   .adv = x + n,
                   .layout = {j->in.data.c, j->in.data.h, j->in.data.w, false},
                   .hi = 1,
                   .label = label,
                   .epsilon = j->opt.epsilon};
  ep_status st = ep_portrait_draw(j->cli->ctx, &p, out);
  ep_free(j->cli->ctx, x);
  return st;
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
  if (st == EP_OK && n) st = ep_picture_sheet(j->cli->ctx, n, p, 2, &sheet);
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
  EP_GOTO(attack(&j));
  EP_GOTO(write_records(&j));
  EP_GOTO(draw(&j));
  EP_GOTO(write_points(&j)); /* the last use of the points: it overwrites them */
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
