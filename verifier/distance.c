#include "verifier/distance.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/round.h"
#include "verifier/robust.h"

enum { MOST_QUERIES = 60, MOST_OPEN = 4 };

typedef struct search {
  ep_ctx *ctx;
  const ep_graph *g;
  const float *x;
  uint32_t label;
  double clip_lo, clip_hi, tolerance;
  const ep_config *cfg;
  ep_pool *pool;
  /* What stayed undecided: proved <= open_lo <= open_hi <= refuted; open_lo > open_hi = none. */
  double open_lo, open_hi;
  ep_distance *d;
} search;

/* Distance of a counterexample, rounded up. */
static double distance_of(const search *s, const double *w) {
  double most = 0;
  for (uint32_t i = 0; i < s->g->val[s->g->input].n; i++) most = fmax(most, ep_up(fabs(w[i] - (double)s->x[i])));
  return most;
}

static double farthest_of(const search *s, const float *point) {
  double most = 0;
  for (uint32_t i = 0; i < s->g->val[s->g->input].n; i++)
    most = fmax(most, ep_up(fabs((double)point[i] - (double)s->x[i])));
  return most;
}

static ep_status query_of(const search *s, double radius, ep_query **q) {
  return ep_robust_sample_query(s->ctx, s->g->val[s->g->input].n, s->x, s->g->val[s->g->output].n, s->label, radius,
                                s->clip_lo, s->clip_hi, q);
}

/* An attack's point refutes what is accepted by replay: the point itself, or, as it may lie on the boundary to the last
 * bit, one a little further from the sample. */
static ep_status replay(search *s, const float *point) {
  uint32_t n = s->g->val[s->g->input].n;
  ep_scratch *t = ep_pool_scratch(s->pool);
  ep_scratch_mark m = ep_scratch_save(t);
  double *x = EP_SCRATCH(t, double, n), longer = 0;
  ep_status st = x ? EP_OK : EP_E_NOMEM;
  for (int k = 0; k < 6 && st == EP_OK && !(s->d->refuted < INFINITY); k++, longer = k == 1 ? 1e-6 : 4 * longer) {
    ep_query *q = NULL;
    ep_run run = {0};
    bool is_sat = false;
    for (uint32_t i = 0; i < n; i++) x[i] = (double)s->x[i] + (1 + longer) * ((double)point[i] - (double)s->x[i]);
    st = query_of(s, (1 + longer) * farthest_of(s, point), &q);
    if (st == EP_OK) st = ep_run_init(&run, s->ctx, s->g, q, s->cfg, s->pool);
    if (st == EP_OK) st = ep_run_witness(&run, 0, x, t, &is_sat);
    if (st == EP_OK && is_sat) s->d->refuted = distance_of(s, run.result.witness.x);
    ep_run_clear(&run);
    ep_query_destroy(q);
  }
  ep_scratch_restore(t, m);
  return st;
}

/* What is decided at one radius moves an end of the bracket. */
static ep_status ask(search *s, double radius) {
  ep_query *q;
  ep_run run = {0};
  ep_distance *d = s->d;
  EP_TRY(query_of(s, radius, &q));
  if (s->cfg->timeout > 0) ep_ctx_set_deadline(s->ctx, ep_time_s() + s->cfg->timeout);
  ep_status st = ep_run_init(&run, s->ctx, s->g, q, s->cfg, s->pool);
  if (st == EP_OK) st = ep_run_engine(&run, ep_engine_find(s->cfg->engine));
  ep_verdict verdict = st == EP_OK ? run.result.verdict : EP_UNKNOWN;
  d->n_query++;
  if (verdict == EP_UNSAT) d->proved = fmax(d->proved, radius);
  if (verdict == EP_SAT) d->refuted = fmin(d->refuted, fmin(radius, distance_of(s, run.result.witness.x)));
  if (st == EP_OK && verdict != EP_SAT && verdict != EP_UNSAT) {
    d->n_open++;
    s->open_lo = fmin(s->open_lo, radius);
    s->open_hi = fmax(s->open_hi, radius);
    if (ep_ctx_was_interrupted(s->ctx)) st = EP_E_STOPPED;
  }
  bool is_settled = d->proved >= s->open_hi || d->refuted <= s->open_lo;
  s->open_lo = is_settled ? INFINITY : fmax(s->open_lo, d->proved);
  s->open_hi = is_settled ? -INFINITY : fmin(s->open_hi, d->refuted);
  ep_run_clear(&run);
  ep_query_destroy(q);
  ep_ctx_set_deadline(s->ctx, 0);
  return st;
}

/* The next radius: in the middle, or of the larger part beside what stayed undecided; 0 = the bracket is closed. */
static double next_radius(const search *s) {
  const ep_distance *d = s->d;
  double least = s->tolerance * d->refuted;
  if (s->open_lo > s->open_hi) return d->refuted - d->proved > least ? 0.5 * (d->proved + d->refuted) : 0;
  double below = s->open_lo - d->proved, above = d->refuted - s->open_hi;
  if (fmax(below, above) <= least || d->n_open >= MOST_OPEN) return 0;
  return below > above ? 0.5 * (d->proved + s->open_lo) : 0.5 * (s->open_hi + d->refuted);
}

ep_status ep_distance_enclose(ep_ctx *ctx, const ep_graph *g, const float *x, uint32_t label, double clip_lo,
                              double clip_hi, const float *point, double tolerance, const ep_config *cfg, ep_pool *pool,
                              ep_distance *out) {
  *out = (ep_distance){.refuted = INFINITY};
  search s = {.ctx = ctx,
              .g = g,
              .x = x,
              .label = label,
              .clip_lo = clip_lo,
              .clip_hi = clip_hi,
              .tolerance = tolerance,
              .cfg = cfg,
              .pool = pool,
              .open_lo = INFINITY,
              .open_hi = -INFINITY,
              .d = out};
  assert(tolerance > 0);
  double all = clip_hi - clip_lo, far = point ? farthest_of(&s, point) : all < INFINITY ? all : 1;
  if (point) EP_TRY(replay(&s, point));
  /* Where that was refused (a tie, say) or there was nothing, search as far, and further, up to all that is valid. */
  for (double at = far * (1 + 1e-6); !(out->refuted < INFINITY) && out->n_query < MOST_OPEN && at < 2 * all; at *= 2)
    EP_TRY(ask(&s, at));
  if (!(out->refuted < INFINITY)) return EP_OK;
  /* Attacks are often all but exact: try that first. */
  EP_TRY(ask(&s, out->refuted * (1 - 0.9 * tolerance)));
  for (double at; out->n_query < MOST_QUERIES && (at = next_radius(&s)) > 0;) EP_TRY(ask(&s, at));
  return EP_OK;
}

ep_status ep_distance_attack(const ep_attack_kind *kind, const ep_graph *g, const ep_adversary_opt *opt, const float *x,
                             uint32_t label, double farthest, ep_pool *pool, float *point, double *distance,
                             uint64_t *n_grad) {
  ep_adversary_opt o = *opt;
  ep_adversary_result r;
  uint32_t n = g->val[g->input].n;
  bool is_l2 = o.norm == EP_NORM_L2;
  float *adv = ep_alloc(g->ctx, (n + 1u) * sizeof *adv);
  double lo = 0, hi = INFINITY;
  ep_status st = adv ? EP_OK : EP_E_NOMEM;
  *distance = INFINITY;
  *n_grad = 0;
  o.epsilon = kind->is_minimal ? -1 : 1.0 / 256;
  while (st == EP_OK && o.epsilon <= farthest) {
    st = ep_adversary_run(kind, g, &o, 1, x, &label, pool, adv, &r);
    if (st != EP_OK) break;
    *n_grad += r.n_grad;
    if (r.is_found) {
      *distance = is_l2 ? r.l2 : r.linf;
      memcpy(point, adv, n * sizeof *adv);
      hi = fmin(o.epsilon, *distance);
    } else {
      lo = o.epsilon;
    }
    if (kind->is_minimal || (hi < INFINITY && hi - lo <= 0.01 * hi)) break;
    o.epsilon = hi < INFINITY ? 0.5 * (lo + hi) : 2 * o.epsilon;
  }
  ep_free(g->ctx, adv);
  return st;
}
