/* Command distance: how far attacks are from the truth. For samples of a data set, the distance to the nearest input of
 * another class, enclosed by proofs and counterexamples, beside what each attack finds. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "kernels/log.h"
#include "verifier/branching.h"
#include "verifier/cli_data.h"
#include "verifier/distance.h"
#include "verifier/evaluate.h"
#include "verifier/watch.h"

enum { MOST_ATTACKS = 16 };

/* What one attack found over all samples. */
typedef struct tally {
  const ep_attack_kind *kind;
  size_t n_found, n_near;       /* n_near: within 1 % of the nearest counterexample */
  double distance, ratio, most; /* sums of distances and of their ratios to it; the largest ratio */
  uint64_t n_grad;
} tally;

typedef struct job {
  ep_cli *cli;
  ep_cli_samples in;
  ep_pool *pool;
  ep_adversary_opt opt;
  size_t n_attack;
  tally attack[MOST_ATTACKS];
  float *point; /* [n_attack][n_in] what each found for the sample under way */
  FILE *records;
  size_t n_seen, n_right, n_closed, n_refuted; /* n_closed: to the tolerance */
  double proved, refuted;                      /* sums over the refuted */
} job;

/* "a,b,c" of --method. */
static ep_status choose(job *j) {
  const char *at = j->cli->cfg.method ? j->cli->cfg.method : "fgsm,deepfool,fab,pgd,apgd-ce,apgd-dlr,apgd-t";
  char name[32];
  for (size_t n; *at; at += n + (at[n] == ',')) {
    n = strcspn(at, ",");
    snprintf(name, sizeof name, "%.*s", (int)(n < 31 ? n : 31), at);
    const ep_attack_kind *kind = ep_attack_kind_find(name);
    if (!kind)
      return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--method: unknown attack '%s' (see 'epsproof help methods')", name);
    if (j->n_attack == MOST_ATTACKS)
      return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--method: at most %d attacks", MOST_ATTACKS);
    j->attack[j->n_attack++].kind = kind;
  }
  if (!j->n_attack) return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--method: no attack is named");
  return EP_OK;
}

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_cli_check_format(cli));
  EP_TRY(choose(j));
  if (!ep_engine_find(cfg->engine)) return EP_FAIL(cli->ctx, EP_E_OPTION, "--engine: unknown name '%s'", cfg->engine);
  if (!ep_branching_find(cfg->branching))
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--branching: unknown name '%s'", cfg->branching);
  if (strcmp(cfg->norm, "linf") != 0) return EP_FAIL(cli->ctx, EP_E_OPTION, "distance takes --norm linf only");
  if (strcmp(cfg->semantics, "float32") == 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--semantics: distance knows real semantics only");
  j->opt = (ep_adversary_opt){.norm = EP_NORM_LINF,
                              .epsilon = -1,
                              .clip_lo = 0,
                              .clip_hi = 1,
                              .steps = (uint32_t)cfg->steps,
                              .restarts = (uint32_t)cfg->restarts,
                              .n_rival = (uint32_t)cfg->rivals,
                              .budget = (uint64_t)cfg->budget,
                              .overshoot = cfg->overshoot,
                              .seed = (uint64_t)cfg->seed};
  EP_TRY(ep_cli_data_load(cli, &j->in));
  if (cfg->records && !(j->records = fopen(cfg->records, "wb")))
    return EP_FAIL(cli->ctx, EP_E_IO, "%s: %s", cfg->records, strerror(errno));
  j->point = ep_alloc(cli->ctx, j->n_attack * j->in.data.n_in * sizeof *j->point);
  if (!j->point) return EP_E_NOMEM;
  return ep_pool_create(cli->ctx, (unsigned)cfg->threads, &j->pool);
}

static void head(const job *j) {
  if (!j->records) return;
  fputs("index,label,proved,refuted,queries,undecided,seconds", j->records);
  for (size_t k = 0; k < j->n_attack; k++) fprintf(j->records, ",%s", j->attack[k].kind->name);
  fputc('\n', j->records);
}

static ep_status record(const job *j, size_t i, const ep_distance *d, const double *found, double seconds) {
  if (!j->records) return EP_OK;
  fprintf(j->records, "%zu,%u,%.9g,%.9g,%u,%u,%.3f", i, j->in.data.label[i], d->proved, d->refuted, d->n_query,
          d->n_open, seconds);
  for (size_t k = 0; k < j->n_attack; k++) fprintf(j->records, ",%.9g", found[k]);
  fputc('\n', j->records);
  if (fflush(j->records) != 0) return EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", j->cli->cfg.records, strerror(errno));
  return EP_OK;
}

static void count(job *j, const ep_distance *d, const double *found) {
  if (!(d->refuted < INFINITY)) return;
  j->n_refuted++;
  j->proved += d->proved;
  j->refuted += d->refuted;
  j->n_closed += d->refuted - d->proved <= j->cli->cfg.tolerance * d->refuted * (1 + 1e-9);
  for (size_t k = 0; k < j->n_attack; k++) {
    tally *t = &j->attack[k];
    if (!(found[k] < INFINITY)) continue;
    double ratio = found[k] / d->refuted;
    t->n_found++;
    t->n_near += ratio <= 1.01;
    t->distance += found[k];
    t->ratio += ratio;
    t->most = fmax(t->most, ratio);
  }
}

static ep_status one(job *j, size_t i) {
  const ep_cli *cli = j->cli;
  const float *x = j->in.data.x + i * j->in.data.n_in;
  uint32_t label = j->in.data.label[i], predicted;
  double found[MOST_ATTACKS], start = ep_time_s();
  const float *nearest = NULL;
  size_t best = 0;
  EP_TRY(ep_evaluate_predict(j->in.g, x, ep_pool_scratch(j->pool), &predicted));
  j->n_seen++;
  if (predicted != label) return EP_OK;
  j->n_right++;
  for (size_t k = 0; k < j->n_attack; k++) {
    uint64_t n_grad;
    float *point = j->point + k * j->in.data.n_in;
    EP_TRY(ep_distance_attack(j->attack[k].kind, j->in.g, &j->opt, x, label, 1, j->pool, point, &found[k], &n_grad));
    j->attack[k].n_grad += n_grad;
    if (!(found[k] < INFINITY) || (nearest && found[k] >= found[best])) continue;
    nearest = point;
    best = k;
  }
  ep_distance d;
  EP_TRY(ep_distance_enclose(cli->ctx, j->in.g, x, label, 0, 1, nearest, cli->cfg.tolerance, &cli->cfg, j->pool, &d));
  count(j, &d, found);
  ep_log(cli->ctx, 2, "sample %zu: proved below %.6g, refuted at %.6g (%u queries)", i, d.proved, d.refuted, d.n_query);
  return record(j, i, &d, found, ep_time_s() - start);
}

static void tell_json(const job *j, double seconds) {
  double n = j->n_refuted ? (double)j->n_refuted : 1;
  printf("{\"network_sha256\": \"%s\", \"samples\": %zu, \"right\": %zu, \"refuted\": %zu, \"closed\": %zu, "
         "\"tolerance\": "
         "%.9g, \"mean_proved\": %.9g, \"mean_refuted\": %.9g, \"seconds\": %.3f, \"attacks\": [",
         j->in.g->sha256, j->n_seen, j->n_right, j->n_refuted, j->n_closed, j->cli->cfg.tolerance, j->proved / n,
         j->refuted / n, seconds);
  for (size_t k = 0; k < j->n_attack; k++) {
    const tally *t = &j->attack[k];
    double m = t->n_found ? (double)t->n_found : 1;
    printf("%s{\"attack\": \"%s\", \"found\": %zu, \"mean_distance\": %.9g, \"mean_ratio\": %.9g, \"largest_ratio\": "
           "%.9g, "
           "\"within_1_percent\": %zu, \"mean_gradients\": %.9g}",
           k ? ", " : "", t->kind->name, t->n_found, t->distance / m, t->ratio / m, t->most, t->n_near,
           (double)t->n_grad / (j->n_right ? (double)j->n_right : 1));
  }
  puts("]}");
}

static void tell(const job *j, double seconds) {
  double n = j->n_refuted ? (double)j->n_refuted : 1;
  if (!strcmp(j->cli->cfg.format, "json")) {
    tell_json(j, seconds);
    return;
  }
  printf("samples: %zu, classified rightly %zu, distance bracketed for %zu, of these to %g %% for %zu\n", j->n_seen,
         j->n_right, j->n_refuted, 100 * j->cli->cfg.tolerance, j->n_closed);
  printf("linf distance to another class, mean: proved above %.6f, counterexample at %.6f\n", j->proved / n,
         j->refuted / n);
  printf("%-10s %7s %10s %12s %12s %11s %12s\n", "attack", "found", "distance", "over exact", "at most", "within 1 %",
         "gradients");
  for (size_t k = 0; k < j->n_attack; k++) {
    const tally *t = &j->attack[k];
    double m = t->n_found ? (double)t->n_found : 1;
    printf("%-10s %7zu %10.6f %12.4f %12.4f %11zu %12.1f\n", t->kind->name, t->n_found, t->distance / m, t->ratio / m,
           t->most, t->n_near, (double)t->n_grad / (j->n_right ? (double)j->n_right : 1));
  }
  printf("seconds: %.2f\n", seconds);
}

ep_status ep_cli_distance(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  double start = ep_time_s();
  *exit_code = 0;
  ep_ctx_set_deadline(cli->ctx, 0); /* --timeout is for queries */
  ep_watch_catch(cli->ctx);
  ep_status st;
  EP_GOTO(load(&j));
  head(&j);
  for (size_t i = 0; i < j.in.n && st == EP_OK; i++) {
    st = one(&j, j.in.first + i);
    ep_cli_data_tick(cli, st == EP_OK ? i + 1 : j.in.n, j.in.n, start);
  }
  if (st == EP_E_STOPPED && j.n_seen) {
    ep_log(cli->ctx, 1, "interrupted in sample %zu of %zu", j.n_seen, j.in.n);
    st = EP_OK;
  }
  if (st == EP_OK) tell(&j, ep_time_s() - start);
done:
  ep_watch_release();
  if (j.records && fclose(j.records) != 0 && st == EP_OK)
    st = EP_FAIL(cli->ctx, EP_E_IO, "%s: %s", cli->cfg.records, strerror(errno));
  ep_free(cli->ctx, j.point);
  ep_pool_destroy(j.pool);
  ep_graph_destroy(j.in.g);
  ep_data_clear(&j.in.data);
  return st;
}
