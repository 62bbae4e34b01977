#include "verifier/flips.h"

#include <math.h>
#include <string.h>

#include "kernels/rng.h"
#include "models/eval.h"

/* Rounds of one walk; how long an input that was moved stays; candidates evaluated at once. */
enum { ROUNDS = 40, STAYS = 8, BATCH = 64, WALKS = 64 };

typedef struct search {
  ep_run *run;
  uint32_t box, n;
  const uint32_t *input;
  double until_s;
  ep_scratch *s;
  ep_rng rng;
  double *x;            /* [n_x] where the walk is */
  double *batch;        /* [BATCH x n_x] */
  uint32_t *free_round; /* [n] first round in which an input may move again */
  uint64_t moves;
} search;

/* Where input k goes: to the other end of its range. */
static double other_end(search *w, uint32_t k) {
  const ep_input_box *b = &w->run->q->box[w->box];
  uint32_t j = w->input[k];
  double mid = 0.5 * b->lo_in[j] + 0.5 * b->hi_in[j];
  if (w->x[j] != mid) return w->x[j] < mid ? b->hi_in[j] : b->lo_in[j];
  return ep_rng_u64(&w->rng) & 1 ? b->hi_in[j] : b->lo_in[j];
}

/* Evaluates the inputs in w->batch; value[n]. */
static ep_status evaluate(search *w, uint32_t n, double *value) {
  const ep_query *q = w->run->q;
  ep_scratch_mark m = ep_scratch_save(w->s);
  ep_trace_f64 t;
  ep_status st = ep_eval_f64(w->run->g, n, w->batch, w->s, &t);
  for (uint32_t i = 0; i < n && st == EP_OK; i++)
    value[i] = ep_query_distance(q, w->box, t.v[w->run->g->output] + (size_t)i * q->n_y, w->batch + (size_t)i * q->n_x);
  w->moves += n;
  ep_scratch_restore(w->s, m);
  return st;
}

/* The best single move of this round, ties at random; w->x becomes it. Candidates are replayed as they appear. */
static ep_status step(search *w, uint32_t round, bool *is_sat) {
  uint32_t n_x = w->run->q->n_x, which[BATCH], best = UINT32_MAX, n_tied = 0;
  double value[BATCH], to[BATCH], least = INFINITY, best_to = 0;
  for (uint32_t k = 0; k < w->n;) {
    uint32_t n = 0;
    for (; k < w->n && n < BATCH; k++) {
      if (w->free_round[k] > round) continue;
      which[n] = k;
      to[n] = other_end(w, k);
      memcpy(w->batch + (size_t)n * n_x, w->x, n_x * sizeof(double));
      w->batch[(size_t)n * n_x + w->input[k]] = to[n];
      n++;
    }
    EP_TRY(evaluate(w, n, value));
    for (uint32_t i = 0; i < n && !*is_sat; i++) {
      if (value[i] <= 0) EP_TRY(ep_run_witness(w->run, w->box, w->batch + (size_t)i * n_x, w->s, is_sat));
      if (value[i] > least) continue;
      n_tied = value[i] < least ? 1 : n_tied + 1;
      least = value[i];
      if (ep_rng_below(&w->rng, n_tied)) continue;
      best = which[i];
      best_to = to[i];
    }
  }
  if (best == UINT32_MAX) return EP_OK;
  w->x[w->input[best]] = best_to;
  w->free_round[best] = round + 1 + STAYS;
  return EP_OK;
}

/* From the middle of the box, later walks from a few random moves on. */
static ep_status walk(search *w, uint32_t number, bool *is_sat) {
  const ep_input_box *b = &w->run->q->box[w->box];
  for (uint32_t j = 0; j < w->run->q->n_x; j++) w->x[j] = 0.5 * b->lo_in[j] + 0.5 * b->hi_in[j];
  for (uint32_t k = 0; k < w->n; k++) w->free_round[k] = 0;
  for (uint32_t k = 0; k < number && k < w->n; k++) {
    uint32_t i = (uint32_t)ep_rng_below(&w->rng, w->n);
    w->x[w->input[i]] = other_end(w, i);
  }
  for (uint32_t round = 0; round < ROUNDS && !*is_sat; round++) {
    if (ep_ctx_should_stop(w->run->ctx)) return EP_E_STOPPED;
    if (ep_time_s() > w->until_s) break;
    EP_TRY(step(w, round, is_sat));
  }
  return EP_OK;
}

ep_status ep_flips_run(ep_run *run, uint32_t box, uint32_t n, const uint32_t *input, double budget_s, uint64_t *moves,
                       bool *is_sat) {
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  search w = {.run = run, .box = box, .n = n, .input = input, .until_s = ep_time_s() + budget_s, .s = s};
  w.x = EP_SCRATCH(s, double, run->q->n_x + 1u);
  w.batch = EP_SCRATCH(s, double, (size_t)BATCH * run->q->n_x + 1);
  w.free_round = EP_SCRATCH(s, uint32_t, n + 1u);
  ep_rng_seed(&w.rng, (uint64_t)run->cfg->seed);
  ep_status st = w.x && w.batch && w.free_round ? EP_OK : EP_E_NOMEM;
  for (uint32_t k = 0; k < WALKS && st == EP_OK && !*is_sat && ep_time_s() < w.until_s; k++) st = walk(&w, k, is_sat);
  *moves += w.moves;
  ep_scratch_restore(s, m);
  return st;
}
