#include "verifier/engine.h"

#include <math.h>
#include <string.h>

#define EP_ENGINE(id, name, can_sat, can_unsat, can_certify, knows_float32, help)                                      \
  ep_status ep_engine_##id##_run(ep_run *run);
#include "verifier/engines.def"
#undef EP_ENGINE

const ep_engine ep_engines[] = {
#define EP_ENGINE(id, name, can_sat, can_unsat, can_certify, knows_float32, help)                                      \
  {name, help, can_sat, can_unsat, can_certify, knows_float32, ep_engine_##id##_run},
#include "verifier/engines.def"
#undef EP_ENGINE
};
const size_t ep_n_engines = sizeof ep_engines / sizeof *ep_engines;

const ep_engine *ep_engine_find(const char *name) {
  for (size_t i = 0; i < ep_n_engines; i++)
    if (!strcmp(ep_engines[i].name, name)) return &ep_engines[i];
  return NULL;
}

ep_status ep_run_init(ep_run *run, ep_ctx *ctx, const ep_graph *g, const ep_query *q, const ep_config *cfg,
                      ep_pool *pool) {
  EP_TRY(ep_query_check(q, g));
  *run = (ep_run){.ctx = ctx, .g = g, .q = q, .cfg = cfg, .pool = pool};
  atomic_init(&run->progress.phase, "start");
  atomic_init(&run->progress.domains, 0);
  atomic_init(&run->progress.open, 0);
  atomic_init(&run->progress.worst_bound, NAN);
  run->result.reason = "";
  pthread_mutex_init(&run->lock, NULL);
  uint32_t *base = ep_calloc(ctx, q->n_box + 1u, sizeof *base);
  run->poly_base = base;
  if (!base) return EP_E_NOMEM;
  for (uint32_t i = 0; i < q->n_box; i++) base[i + 1] = base[i] + q->box[i].n_poly;
  run->n_poly = base[q->n_box];
  run->is_proved = ep_calloc(ctx, run->n_poly + 1u, sizeof *run->is_proved);
  run->result.witness.x = ep_calloc(ctx, q->n_x + 1u, sizeof(double));
  run->result.witness.y = ep_calloc(ctx, q->n_y + 1u, sizeof(double));
  if (!run->is_proved || !run->result.witness.x || !run->result.witness.y) return EP_E_NOMEM;
  /* An empty box holds no input, hence no counterexample. */
  for (uint32_t i = 0; i < q->n_box; i++)
    for (uint32_t p = 0; p < q->box[i].n_poly; p++) run->is_proved[base[i] + p] = q->box[i].is_empty;
  return EP_OK;
}

void ep_run_clear(ep_run *run) {
  if (!run->ctx) return;
  ep_free(run->ctx, (void *)(uintptr_t)run->poly_base);
  ep_free(run->ctx, run->is_proved);
  ep_free(run->ctx, run->result.witness.x);
  ep_free(run->ctx, run->result.witness.y);
  pthread_mutex_destroy(&run->lock);
  *run = (ep_run){0};
}

void ep_run_mark_proved(ep_run *run, uint32_t box, uint32_t poly) { run->is_proved[run->poly_base[box] + poly] = true; }

void ep_run_mark_refuted_by_solver(ep_run *run, uint32_t box, uint32_t poly) {
  if (!ep_run_is_proved(run, box, poly)) run->result.n_by_solver++;
  ep_run_mark_proved(run, box, poly);
}

bool ep_run_is_proved(const ep_run *run, uint32_t box, uint32_t poly) {
  return run->is_proved[run->poly_base[box] + poly];
}

uint32_t ep_run_n_open(const ep_run *run) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < run->n_poly; i++) n += !run->is_proved[i];
  return n;
}

bool ep_run_is_box_open(const ep_run *run, uint32_t box) {
  for (uint32_t p = 0; p < run->q->box[box].n_poly; p++)
    if (!ep_run_is_proved(run, box, p)) return true;
  return false;
}

void ep_run_phase(ep_run *run, const ep_phase *phase) {
  ep_result *r = &run->result;
  pthread_mutex_lock(&run->lock); /* the watchdog may be reading the phases so far */
  if (r->n_phase < EP_MAX_PHASES) r->phase[r->n_phase++] = *phase;
  pthread_mutex_unlock(&run->lock);
  ep_log(run->ctx, 2, "%s: %.3f s, %llu domains, %u proved, %u open, worst bound %g", phase->name, phase->seconds,
         (unsigned long long)phase->domains, phase->proved, ep_run_n_open(run), phase->worst_bound);
}

ep_status ep_run_witness(ep_run *run, uint32_t box, const double *x, ep_scratch *s, bool *is_sat) {
  ep_scratch_mark m = ep_scratch_save(s);
  ep_witness w = {.x = EP_SCRATCH(s, double, run->q->n_x + 1u), .y = EP_SCRATCH(s, double, run->q->n_y + 1u)};
  ep_status st = w.x && w.y ? ep_replay(run->g, run->q, box, x, s, &w, is_sat) : EP_E_NOMEM;
  if (st == EP_OK && *is_sat) {
    pthread_mutex_lock(&run->lock);
    ep_result *r = &run->result;
    if (!r->has_witness) {
      memcpy(r->witness.x, w.x, run->q->n_x * sizeof(double));
      memcpy(r->witness.y, w.y, run->q->n_y * sizeof(double));
      r->witness.box = w.box;
      r->witness.poly = w.poly;
      r->witness.is_float32 = w.is_float32;
      r->has_witness = true;
    }
    pthread_mutex_unlock(&run->lock);
  }
  ep_scratch_restore(s, m);
  return st;
}

/* A stop or the memory limit is an answer; the error record of the limit has done its duty. */
static ep_status settle(ep_run *run, const ep_engine *engine, ep_status st) {
  ep_result *r = &run->result;
  if (r->has_witness) {
    r->verdict = EP_SAT;
    r->reason = "counterexample";
    if (st == EP_E_STOPPED) st = EP_OK;
  } else if (!ep_run_n_open(run)) {
    r->verdict = EP_UNSAT;
    r->reason = run->q->is_empty ? "empty input set" : r->n_by_solver ? "proved by an exact solver" : "proved";
    if (st == EP_E_STOPPED) st = EP_OK;
  } else if (st == EP_E_STOPPED) {
    r->verdict = ep_ctx_was_interrupted(run->ctx) ? EP_UNKNOWN : EP_TIMEOUT;
    r->reason = r->verdict == EP_TIMEOUT ? "timeout" : "interrupted";
    st = EP_OK;
  } else if (st == EP_E_LIMIT) {
    r->verdict = EP_UNKNOWN;
    r->reason = "memory limit";
    ep_ctx_clear_error(run->ctx);
    st = EP_OK;
  } else {
    r->verdict = EP_UNKNOWN;
    r->reason = !engine->can_unsat ? "no counterexample found" : !engine->can_sat ? "bounds too loose" : "undecided";
  }
  return st;
}

ep_status ep_run_engine(ep_run *run, const ep_engine *engine) {
  double t0 = ep_time_s();
  if (run->q->is_empty) ep_log(run->ctx, 1, "warning: the property's input set is empty; it holds trivially (unsat)");
  ep_status st = ep_run_n_open(run) ? engine->run(run) : EP_OK;
  if (st != EP_OK && st != EP_E_STOPPED && st != EP_E_LIMIT) {
    ep_error e = ep_ctx_error(run->ctx);
    if (e.code == EP_E_LIMIT) st = EP_E_LIMIT; /* scratch and arena report a failed limit as NULL */
  }
  st = settle(run, engine, st);
  run->result.seconds = ep_time_s() - t0;
  return st;
}
