#include "verifier/evaluate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "verifier/robust.h"

static const char *const outcome_text[EP_N_EVAL_OUTCOME] = {"wrong",       "ibp",    "crown",   "attacked",
                                                            "alpha-crown", "proved", "refuted", "open"};

const char *ep_evaluate_text(ep_eval_outcome o) {
  assert(o < EP_N_EVAL_OUTCOME);
  return outcome_text[o];
}

ep_eval_outcome ep_evaluate_parse(const char *text, size_t n) {
  ep_eval_outcome o = EP_EVAL_WRONG;
  while (o < EP_N_EVAL_OUTCOME && (strlen(outcome_text[o]) != n || memcmp(outcome_text[o], text, n) != 0)) o++;
  return o;
}

ep_status ep_evaluate_predict(const ep_graph *g, const float *x, ep_scratch *s, uint32_t *predicted) {
  ep_scratch_mark m = ep_scratch_save(s);
  ep_trace_f32 t;
  EP_TRY(ep_eval_f32(g, 1, x, s, &t));
  const float *y = t.v[g->output];
  uint32_t best = 0, n = g->val[g->output].n;
  for (uint32_t j = 1; j < n; j++)
    if (y[j] > y[best]) best = j;
  *predicted = best;
  for (uint32_t j = 0; j < n; j++)
    if (j != best && !(y[j] < y[best])) *predicted = EP_NO_CLASS;
  ep_scratch_restore(s, m);
  return EP_OK;
}

/* One engine on one query; a limit or a stop leaves the verdict open. */
static ep_status ask(ep_ctx *ctx, const ep_graph *g, const ep_query *q, const ep_config *cfg, ep_pool *pool,
                     const char *engine, ep_verdict *verdict) {
  ep_run run = {0};
  ep_status st = ep_run_init(&run, ctx, g, q, cfg, pool);
  if (st == EP_OK) st = ep_run_engine(&run, ep_engine_find(engine));
  if (st == EP_OK) *verdict = run.result.verdict;
  ep_run_clear(&run);
  if (st == EP_OK && ep_ctx_was_interrupted(ctx) && *verdict != EP_SAT && *verdict != EP_UNSAT) st = EP_E_STOPPED;
  return st;
}

/* Cheap proofs first: optimised slopes cost a fraction of an attack's restarts, and what they prove no attack refutes.
 */
static ep_status stages(ep_ctx *ctx, const ep_graph *g, const ep_query *q, const ep_config *cfg, ep_pool *pool,
                        ep_eval_outcome *out) {
  static const struct {
    const char *engine;
    ep_eval_outcome proved, refuted;
  } stage[] = {{"ibp", EP_EVAL_IBP, EP_EVAL_REFUTED},
               {"crown", EP_EVAL_CROWN, EP_EVAL_REFUTED},
               {"alpha-crown", EP_EVAL_ALPHA, EP_EVAL_REFUTED},
               {"attack", EP_EVAL_PROVED, EP_EVAL_ATTACKED},
               {NULL, EP_EVAL_PROVED, EP_EVAL_REFUTED}};
  if (cfg->timeout > 0) ep_ctx_set_deadline(ctx, ep_time_s() + cfg->timeout);
  *out = EP_EVAL_OPEN;
  for (size_t i = 0; i < sizeof stage / sizeof *stage && *out == EP_EVAL_OPEN; i++) {
    ep_verdict v = EP_UNKNOWN;
    EP_TRY(ask(ctx, g, q, cfg, pool, stage[i].engine ? stage[i].engine : cfg->engine, &v));
    if (v == EP_UNSAT) *out = stage[i].proved;
    if (v == EP_SAT) *out = stage[i].refuted;
  }
  return EP_OK;
}

ep_status ep_evaluate_sample(ep_ctx *ctx, const ep_graph *g, const float *x, uint32_t label, double clip_lo,
                             double clip_hi, const ep_config *cfg, ep_pool *pool, ep_eval_outcome *out) {
  uint32_t n = g->val[g->input].n, predicted;
  EP_TRY(ep_evaluate_predict(g, x, ep_pool_scratch(pool), &predicted));
  *out = EP_EVAL_WRONG;
  if (predicted != label) return EP_OK;
  ep_query *q;
  EP_TRY(ep_robust_sample_query(ctx, n, x, g->val[g->output].n, label, cfg->epsilon, clip_lo, clip_hi, &q));
  ep_status st = stages(ctx, g, q, cfg, pool, out);
  ep_ctx_set_deadline(ctx, 0);
  ep_query_destroy(q);
  return st;
}

/* P(X >= k) for X binomial(n, p), by the terms' logarithms. */
static double tail(uint64_t k, uint64_t n, double p) {
  if (k == 0) return 1;
  if (p <= 0 || p >= 1) return p >= 1;
  double sum = 0, at = lgamma((double)n + 1);
  for (uint64_t i = k; i <= n; i++) {
    double term =
        at - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + (double)i * log(p) + (double)(n - i) * log1p(-p);
    sum += exp(term);
    if (i > k && (double)i > (double)n * p && term < -745) break; /* beyond the mode terms only fall */
  }
  return fmin(sum, 1);
}

/* The p at which P(X >= k) is `want`: it grows with p. */
static double solve(uint64_t k, uint64_t n, double want) {
  double lo = 0, hi = 1;
  for (int i = 0; i < 60; i++) {
    double mid = 0.5 * (lo + hi);
    if (tail(k, n, mid) < want)
      lo = mid;
    else
      hi = mid;
  }
  return 0.5 * (lo + hi);
}

void ep_evaluate_interval(uint64_t k, uint64_t n, double alpha, double *lo, double *hi) {
  assert(k <= n);
  *lo = k && n ? solve(k, n, alpha / 2) : 0;
  *hi = k < n ? solve(k + 1, n, 1 - alpha / 2) : 1;
}
