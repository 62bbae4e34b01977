#include "verifier/attack.h"

#include <math.h>
#include <string.h>

#include "kernels/rng.h"
#include "verifier/descent.h"

enum { CHUNK = 32, DIVERSIFY_STEPS = 8, JOINT_EVERY = 8 };

/* One chunk of starts against one polytope of one box, or EP_DESCENT_ANY. */
typedef struct target {
  uint32_t box, poly, chunk;
} target;

typedef struct attack {
  ep_run *run;
  const ep_attack_opt *opt;
  const target *targets;
  _Atomic size_t best; /* lowest target index that succeeded */
  double *found;       /* [n_x] its candidate, guarded by the run's lock */
  _Atomic uint64_t samples;
} attack;

/* Starts: centre first, then corners, then uniform points; later chunks are all random. */
static void starts(const ep_input_box *b, uint32_t n_x, uint32_t chunk, ep_rng *rng, float *x) {
  for (uint32_t i = 0; i < CHUNK; i++)
    for (uint32_t j = 0; j < n_x; j++) {
      double u = i == 0 && chunk == 0 ? 0.5 : i % 4 == 1 ? (double)(ep_rng_u64(rng) & 1) : ep_rng_uniform(rng);
      x[(size_t)i * n_x + j] = (float)(b->lo_in[j] + u * (b->hi_in[j] - b->lo_in[j]));
    }
}

static ep_status candidate(attack *a, size_t index, uint32_t box, const float *x, ep_scratch *s, bool *is_done) {
  ep_run *run = a->run;
  ep_scratch_mark m = ep_scratch_save(s);
  double *xd = EP_SCRATCH(s, double, run->q->n_x + 1u), *wx = EP_SCRATCH(s, double, run->q->n_x + 1u);
  double *wy = EP_SCRATCH(s, double, run->q->n_y + 1u);
  ep_status st = xd && wx && wy ? EP_OK : EP_E_NOMEM;
  if (st == EP_OK) {
    for (uint32_t j = 0; j < run->q->n_x; j++) xd[j] = (double)x[j];
    ep_witness w = {.x = wx, .y = wy};
    st = ep_replay(run->g, run->q, box, xd, s, &w, is_done);
  }
  if (st == EP_OK && *is_done) {
    pthread_mutex_lock(&run->lock);
    if (index < atomic_load(&a->best)) {
      atomic_store(&a->best, index);
      memcpy(a->found, xd, run->q->n_x * sizeof *xd);
    }
    pthread_mutex_unlock(&run->lock);
  }
  ep_scratch_restore(s, m);
  return st;
}

/* One gradient step of every start; candidates are replayed as they appear. */
static ep_status iterate(attack *a, size_t index, uint32_t box, ep_descent *d, ep_scratch *s, bool *is_done) {
  EP_TRY(ep_descent_evaluate(d, s));
  atomic_fetch_add(&a->samples, d->n);
  for (size_t i = 0; i < d->n; i++) {
    if (d->loss[i] > 0 || isnan(d->loss[i])) continue;
    EP_TRY(candidate(a, index, box, d->x + i * a->run->q->n_x, s, is_done));
    if (*is_done) return EP_OK;
  }
  return ep_descent_move(d, s);
}

static ep_status run_target(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  attack *a = arg;
  (void)worker;
  const target *t = &a->targets[index];
  ep_run *run = a->run;
  if (index > atomic_load(&a->best)) return EP_OK;
  if (a->opt->deadline_s > 0 && ep_time_s() > a->opt->deadline_s) return EP_OK;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_descent d;
  ep_rng rng;
  ep_rng_seed_stream(&rng, a->opt->seed, ((uint64_t)t->box << 40) ^ ((uint64_t)t->poly << 20) ^ t->chunk);
  ep_status st = ep_descent_init(&d, run, t->box, t->poly, CHUNK, t->chunk % 2 ? a->opt->steps : 0, s);
  if (st == EP_OK) starts(&run->q->box[t->box], run->q->n_x, t->chunk, &rng, d.x);
  if (st == EP_OK && t->chunk % 2) st = ep_descent_diversify(&d, &rng, DIVERSIFY_STEPS, s);
  bool is_done = false;
  for (uint32_t it = 0; it < a->opt->steps && st == EP_OK && !is_done; it++) {
    if (ep_ctx_should_stop(run->ctx)) st = EP_E_STOPPED;
    if (index > atomic_load(&a->best)) break;
    ep_scratch_mark m2 = ep_scratch_save(s);
    if (st == EP_OK) st = iterate(a, index, t->box, &d, s, &is_done);
    ep_scratch_restore(s, m2);
  }
  ep_scratch_restore(s, m);
  return st;
}

static uint32_t n_open_of(const ep_run *run, uint32_t box) {
  uint32_t n = 0;
  for (uint32_t p = 0; p < run->q->box[box].n_poly; p++) n += !ep_run_is_proved(run, box, p);
  return n;
}

/* Chunk by chunk over all open polytopes, so that every polytope gets its first starts early. Where there are many,
 * what they need is mostly to know which of them is near: a chunk towards any comes before every few of them. */
static size_t list_targets(const ep_run *run, uint32_t n_chunk, target *out) {
  size_t n = 0;
  for (uint32_t c = 0; c < n_chunk; c++)
    for (uint32_t i = 0; i < run->q->n_box; i++) {
      uint32_t n_open = run->q->box[i].is_empty ? 0 : n_open_of(run, i), nth = 0;
      uint32_t joint = c * ((n_open + JOINT_EVERY - 1) / JOINT_EVERY);
      for (uint32_t p = 0; p < run->q->box[i].n_poly && n_open; p++) {
        if (ep_run_is_proved(run, i, p)) continue;
        if (n_open >= JOINT_EVERY && nth++ % JOINT_EVERY == 0) {
          if (out) out[n] = (target){i, EP_DESCENT_ANY, joint++};
          n++;
        }
        if (out) out[n] = (target){i, p, c};
        n++;
      }
    }
  return n;
}

ep_status ep_attack_run(ep_run *run, const ep_attack_opt *opt, ep_attack_stats *stats, bool *is_sat) {
  ep_scratch own;
  ep_scratch_init(&own, run->ctx);
  uint32_t n_chunk = (opt->restarts + CHUNK - 1) / CHUNK;
  size_t n = list_targets(run, n_chunk, NULL);
  ep_status st = EP_E_NOMEM;
  *is_sat = false;
  attack a = {.run = run, .opt = opt};
  target *t = EP_SCRATCH(&own, target, n + 1);
  a.found = EP_SCRATCH(&own, double, run->q->n_x + 1u);
  atomic_init(&a.best, n);
  atomic_init(&a.samples, 0);
  if (!t || !a.found) goto done;
  list_targets(run, n_chunk, t);
  a.targets = t;
  st = ep_pool_run(run->pool, n, run_target, &a);
  size_t best = atomic_load(&a.best);
  if (best < n && (st == EP_OK || st == EP_E_STOPPED))
    st = ep_run_witness(run, t[best].box, a.found, ep_pool_scratch(run->pool), is_sat);
done:
  stats->samples = atomic_load(&a.samples);
  ep_scratch_clear(&own);
  return st;
}

ep_status ep_attack_polish(const ep_run *run, uint32_t box, uint32_t poly, uint32_t steps, size_t n, float *x,
                           float *loss, ep_scratch *s) {
  size_t n_x = run->q->n_x;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_descent d;
  ep_status st = ep_descent_init(&d, run, box, poly, n, 0, s);
  if (st == EP_OK) memcpy(d.x, x, n * n_x * sizeof *x);
  for (size_t i = 0; i < n; i++) loss[i] = INFINITY;
  for (uint32_t it = 0; it <= steps && st == EP_OK; it++) {
    ep_scratch_mark m2 = ep_scratch_save(s);
    st = ep_descent_evaluate(&d, s);
    for (size_t i = 0; i < n && st == EP_OK; i++) {
      if (!(d.loss[i] < loss[i])) continue;
      loss[i] = d.loss[i];
      memcpy(x + i * n_x, d.x + i * n_x, n_x * sizeof *x);
    }
    if (st == EP_OK && it < steps) st = ep_descent_move(&d, s);
    ep_scratch_restore(s, m2);
  }
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_attack_phase(ep_run *run, uint32_t restarts, uint32_t steps, double budget_s, bool *is_sat) {
  double t0 = ep_time_s();
  ep_attack_opt opt = {restarts, steps, t0 + budget_s, (uint64_t)run->cfg->seed + restarts};
  ep_attack_stats stats = {0};
  atomic_store(&run->progress.phase, "attack");
  ep_status st = ep_attack_run(run, &opt, &stats, is_sat);
  ep_phase ph = {.name = "attack", .seconds = ep_time_s() - t0, .domains = stats.samples, .worst_bound = NAN};
  ep_run_phase(run, &ph);
  return st;
}
