/* Command dlv: layer-by-layer search around an image, the exact answer for the same features beside it, and how far the
 * features can go before the class changes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/log.h"
#include "models/onnx.h"
#include "verifier/cli.h"
#include "verifier/cli_robust.h"
#include "verifier/dlv.h"

typedef struct job {
  ep_cli *cli;
  ep_graph *g;
  ep_pool *pool;
  uint32_t n_x, n_dim, dim[EP_DLV_MAX_FEATURES];
  double *x; /* [n_x] the input in the network's units */
} job;

/* The robustness query of radius `epsilon` in which only the features vary; without features (n_dim = 0), all of it. */
static ep_status region(const job *j, double epsilon, ep_query **out) {
  ep_cli wide = *j->cli, point = *j->cli;
  ep_query *w = NULL, *p = NULL;
  ep_query_builder *b = NULL;
  ep_status st;
  wide.cfg.epsilon = epsilon;
  point.cfg.epsilon = 0;
  EP_TRY(ep_cli_robust_query(&wide, j->g, &w));
  if (!j->n_dim) return *out = w, EP_OK;
  EP_GOTO(ep_cli_robust_query(&point, j->g, &p));
  /* Both belong to this function: the pinned ends are put over the wide box's. */
  const ep_input_box *to = &w->box[0], *from = &p->box[0];
  for (uint32_t i = 0, d; i < j->n_x; i++) {
    for (d = 0; d < j->n_dim && j->dim[d] != i; d++) continue;
    if (d < j->n_dim) continue;
    ((double *)(uintptr_t)to->lo)[i] = from->lo[i];
    ((double *)(uintptr_t)to->hi)[i] = from->hi[i];
    ((double *)(uintptr_t)to->lo_in)[i] = from->lo_in[i];
    ((double *)(uintptr_t)to->hi_in)[i] = from->hi_in[i];
  }
  EP_GOTO(ep_query_builder_create(j->cli->ctx, w->n_x, w->n_y, &b));
  EP_GOTO(ep_query_builder_box4(b, to->lo, to->hi, to->lo_in, to->hi_in));
  for (uint32_t k = 0; k < to->n_poly; k++) {
    EP_GOTO(ep_query_builder_polytope(b));
    for (uint32_t r = 0; r < to->poly[k].n_row; r++) {
      const ep_row *row = &to->poly[k].row[r];
      EP_GOTO(ep_query_builder_row_itv(b, row->n, row->var, row->coef, row->coef_rel_err, row->rhs, row->is_strict));
    }
  }
  st = ep_query_builder_finish(b, w->name, out);
done:
  ep_query_builder_destroy(b);
  ep_query_destroy(w);
  ep_query_destroy(p);
  return st;
}

/* The exact answer for the features within `epsilon`. */
static ep_status decide(const job *j, double epsilon, const char *engine, ep_verdict *v, double *seconds) {
  ep_query *q;
  ep_run run = {0};
  EP_TRY(region(j, epsilon, &q));
  ep_status st = ep_run_init(&run, j->cli->ctx, j->g, q, &j->cli->cfg, j->pool);
  if (st == EP_OK) st = ep_run_engine(&run, ep_engine_find(engine));
  *v = run.result.verdict;
  *seconds = run.result.seconds;
  ep_run_clear(&run);
  ep_query_destroy(q);
  return st;
}

static const char *word(ep_verdict v) {
  return v == EP_UNSAT ? "safe" : v == EP_SAT ? "counterexample" : v == EP_TIMEOUT ? "timeout" : "undecided";
}

/* Does a ball of radius 2 * far hold more than one of radius far, or has --clip cut both to the same region? */
static ep_status grows(const job *j, double far, bool *does) {
  ep_query *small, *large = NULL;
  EP_TRY(region(j, far, &small));
  ep_status st = region(j, 2 * far, &large);
  *does = false;
  for (uint32_t i = 0; i < j->n_x && st == EP_OK; i++)
    *does |= large->box[0].lo[i] < small->box[0].lo[i] || large->box[0].hi[i] > small->box[0].hi[i];
  ep_query_destroy(small);
  ep_query_destroy(large);
  return st;
}

/* Between a radius known to be safe and one with a counterexample; what neither is ends it. *is_all: the safe one is as
 * far as the features can go. Steps are by the golden
 * section: halves of round numbers often meet a bound exactly, which no bound in floating point can prove. */
static ep_status safe_radius(const job *j, double *safe, double *unsafe, bool *is_all) {
  double far = fabs(j->cli->cfg.epsilon), seconds;
  ep_verdict v;
  *safe = 0;
  *unsafe = INFINITY;
  *is_all = false;
  for (int k = 0; k < 12 && !(*unsafe < INFINITY); k++, far *= 2) {
    EP_TRY(decide(j, far, "auto", &v, &seconds));
    if (v == EP_UNSAT) *safe = far;
    if (v == EP_SAT) *unsafe = far;
    if (v != EP_SAT && v != EP_UNSAT) return EP_OK;
    bool does_grow = true;
    if (v == EP_UNSAT) EP_TRY(grows(j, far, &does_grow));
    *is_all = !does_grow;
    if (*is_all) return EP_OK;
  }
  for (int k = 0; k < 22 && *unsafe < INFINITY; k++) {
    double mid = *safe + 0.381966 * (*unsafe - *safe);
    EP_TRY(decide(j, mid, "auto", &v, &seconds));
    if (v == EP_UNSAT) *safe = mid;
    if (v == EP_SAT) *unsafe = mid;
    if (v != EP_SAT && v != EP_UNSAT) return EP_OK;
  }
  return EP_OK;
}

static void print_layers(const job *j, const ep_dlv_result *r) {
  for (uint32_t k = 0; k < r->n_layer; k++) {
    const ep_dlv_layer *l = &r->layer[k];
    printf("layer %u (%s): %u dimensions, %llu %s, %llu inputs run, %llu refuted, %llu empty, %s\n", k,
           j->g->val[l->value].name, l->n_dim, (unsigned long long)l->points, k ? "cells" : "grid points",
           (unsigned long long)l->visited, (unsigned long long)l->refuted, (unsigned long long)l->empty,
           l->is_complete ? "complete" : "not complete");
  }
}

static ep_status search(job *j) {
  const ep_config *cfg = &j->cli->cfg;
  ep_query *q = NULL;
  ep_run run = {0};
  ep_dlv_result r = {0};
  ep_verdict v;
  double t0 = ep_time_s(), seconds, safe, unsafe;
  ep_dlv_opt opt = {
      .n_feature = (uint32_t)cfg->features, .count = (uint32_t)cfg->manipulations, .n_layer = (uint32_t)cfg->layers};
  ep_status st;
  EP_GOTO(region(j, cfg->epsilon, &q));
  EP_GOTO(ep_run_init(&run, j->cli->ctx, j->g, q, cfg, j->pool));
  st = ep_dlv_run(&run, &opt, &r);
  if (st != EP_OK && st != EP_E_STOPPED) goto done;
  puts(r.is_sat ? "counterexample" : r.is_safe ? "safe on the grid" : "no example found");
  printf("features:");
  for (uint32_t d = 0; d < j->n_dim; d++) printf(" %u", j->dim[d]);
  printf(", %lld steps of %g to each side\n", (long long)cfg->manipulations, cfg->epsilon / (double)cfg->manipulations);
  print_layers(j, &r);
  printf("dlv: %.3f s\n", ep_time_s() - t0);
  fflush(stdout);
  if (st != EP_OK) goto done; /* stopped: what was covered is told */
  EP_GOTO(decide(j, cfg->epsilon, "bab", &v, &seconds));
  printf("exact (bab, all inputs of the region): %s, %.3f s\n", word(v), seconds);
  if ((r.is_sat && v == EP_UNSAT)) {
    st = EP_FAIL(j->cli->ctx, EP_E_INTERNAL, "dlv's counterexample contradicts bab");
    goto done;
  }
  bool is_all;
  EP_GOTO(safe_radius(j, &safe, &unsafe, &is_all));
  if (unsafe < INFINITY)
    printf("safe radius of these features: at least %.9g, below %.9g\n", safe, unsafe);
  else
    printf("safe radius of these features: at least %.9g, %s\n", safe,
           is_all ? "the whole valid range" : "no counterexample known");
  if (r.is_sat && cfg->picture) st = ep_cli_robust_picture(j->cli, j->g, run.result.witness.x, cfg->picture);
done:
  ep_run_clear(&run);
  ep_query_destroy(q);
  return st;
}

static ep_status scores(const job *j, const ep_query *q, double *score) {
  if (strcmp(j->cli->cfg.feature_by, "gradient") == 0)
    return ep_dlv_score_gradient(j->g, q, j->x, ep_pool_scratch(j->pool), score);
  ep_dlv_score_value(j->n_x, j->x, score);
  return EP_OK;
}

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  EP_TRY(ep_cli_check_format(cli));
  if (strcmp(cli->cfg.format, "text") != 0) return EP_FAIL(cli->ctx, EP_E_OPTION, "'dlv' prints text only");
  if (strcmp(cli->cfg.semantics, "float32") == 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'dlv' only knows --semantics real");
  if (!(cli->cfg.epsilon > 0))
    return EP_FAIL(cli->ctx, EP_E_OPTION, "dlv needs --epsilon > 0 (how far the features go to each side)");
  EP_TRY(ep_onnx_read(cli->ctx, cli->arg[0], &j->g));
  j->n_x = j->g->val[j->g->input].n;
  EP_TRY(ep_pool_create(cli->ctx, (unsigned)cli->cfg.threads, &j->pool));
  ep_query *q;
  EP_TRY(region(j, cli->cfg.epsilon, &q));
  j->x = ep_calloc(cli->ctx, j->n_x + 1u, sizeof *j->x);
  bool *may_vary = ep_calloc(cli->ctx, j->n_x + 1u, sizeof *may_vary);
  ep_query *point = NULL;
  double *score = ep_calloc(cli->ctx, j->n_x + 1u, sizeof *score);
  ep_status st = j->x && may_vary && score ? region(j, 0, &point) : EP_E_NOMEM;
  for (uint32_t i = 0; st == EP_OK && i < j->n_x; i++) {
    j->x[i] = 0.5 * point->box[0].lo_in[i] + 0.5 * point->box[0].hi_in[i];
    may_vary[i] = q->box[0].lo_in[i] < q->box[0].hi_in[i];
  }
  if (st == EP_OK) st = scores(j, q, score);
  if (st == EP_OK) j->n_dim = ep_dlv_features(j->n_x, score, may_vary, (uint32_t)cli->cfg.features, j->dim);
  if (st == EP_OK && !j->n_dim) st = EP_FAIL(cli->ctx, EP_E_OPTION, "no dimension of the input may vary");
  ep_free(cli->ctx, may_vary);
  ep_free(cli->ctx, score);
  ep_query_destroy(point);
  ep_query_destroy(q);
  return st;
}

ep_status ep_cli_dlv(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  ep_status st = load(&j);
  if (st == EP_OK) st = search(&j);
  if (st == EP_E_STOPPED) {
    puts("stopped: time is up");
    st = EP_OK;
  }
  ep_free(cli->ctx, j.x);
  ep_pool_destroy(j.pool);
  ep_graph_destroy(j.g);
  return st;
}
