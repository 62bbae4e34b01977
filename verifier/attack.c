#include "verifier/attack.h"

#include <math.h>
#include <string.h>

#include "kernels/rng.h"

enum { CHUNK = 32 };

/* One chunk of starts against one polytope of one box. */
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

/* float32 view of a polytope's rows. */
typedef struct rows32 {
  uint32_t n_row, n_y, n_x;
  const ep_polytope *p;
} rows32;

static float row_value(const rows32 *rw, uint32_t r, const float *y, const float *x) {
  const ep_row *row = &rw->p->row[r];
  double t = -row->rhs.lo;
  for (uint32_t k = 0; k < row->n; k++)
    t += row->coef[k] * (double)(row->var[k] < rw->n_y ? y[row->var[k]] : x[row->var[k] - rw->n_y]);
  return (float)t;
}

/* Loss = the largest row value (<= 0: the polytope is reached); the worst row's gradient seeds gy and gx_row. */
static float loss_of(const rows32 *rw, const float *y, const float *x, float *gy, float *gx_row) {
  uint32_t worst = 0;
  float top = -INFINITY;
  for (uint32_t r = 0; r < rw->n_row; r++) {
    float v = row_value(rw, r, y, x);
    if (!(v <= top)) {
      top = v;
      worst = r;
    }
  }
  memset(gy, 0, rw->n_y * sizeof *gy);
  memset(gx_row, 0, rw->n_x * sizeof *gx_row);
  if (!rw->n_row) return -1;
  const ep_row *row = &rw->p->row[worst];
  for (uint32_t k = 0; k < row->n; k++)
    *(row->var[k] < rw->n_y ? &gy[row->var[k]] : &gx_row[row->var[k] - rw->n_y]) += (float)row->coef[k];
  return top;
}

/* Starts: centre first, then corners, then uniform points; later chunks are all random. */
static void starts(const ep_input_box *b, uint32_t n_x, uint32_t chunk, ep_rng *rng, float *x) {
  for (uint32_t i = 0; i < CHUNK; i++)
    for (uint32_t j = 0; j < n_x; j++) {
      double u = i == 0 && chunk == 0 ? 0.5 : i % 4 == 1 ? (double)(ep_rng_u64(rng) & 1) : ep_rng_uniform(rng);
      x[(size_t)i * n_x + j] = (float)(b->lo_in[j] + u * (b->hi_in[j] - b->lo_in[j]));
    }
}

static void clamp(const ep_input_box *b, uint32_t n_x, float *x) {
  for (uint32_t j = 0; j < n_x; j++) {
    double v = (double)x[j];
    if (v < b->lo_in[j]) x[j] = (float)b->lo_in[j];
    if (v > b->hi_in[j]) x[j] = (float)b->hi_in[j];
  }
}

typedef struct descent {
  float *x, *y, *gy, *gx, *gx_row, *step, *last;
} descent;

static ep_status descent_init(descent *d, uint32_t n_x, uint32_t n_y, ep_scratch *s) {
  d->x = EP_SCRATCH(s, float, (size_t)CHUNK *n_x + 1);
  d->gx = EP_SCRATCH(s, float, (size_t)CHUNK *n_x + 1);
  d->gx_row = EP_SCRATCH(s, float, (size_t)CHUNK *n_x + 1);
  d->gy = EP_SCRATCH(s, float, (size_t)CHUNK *n_y + 1);
  d->step = EP_SCRATCH(s, float, CHUNK);
  d->last = EP_SCRATCH(s, float, CHUNK);
  return d->x && d->gx && d->gx_row && d->gy && d->step && d->last ? EP_OK : EP_E_NOMEM;
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
static ep_status iterate(attack *a, size_t index, const target *t, descent *d, uint32_t it, ep_scratch *s,
                         bool *is_done) {
  ep_run *run = a->run;
  const ep_input_box *b = &run->q->box[t->box];
  uint32_t n_x = run->q->n_x, n_y = run->q->n_y;
  rows32 rw = {b->poly[t->poly].n_row, n_y, n_x, &b->poly[t->poly]};
  ep_trace_f32 tr;
  EP_TRY(ep_eval_f32(run->g, CHUNK, d->x, s, &tr));
  atomic_fetch_add(&a->samples, CHUNK);
  for (uint32_t i = 0; i < CHUNK; i++) {
    const float *y = tr.v[run->g->output] + (size_t)i * n_y;
    float loss = loss_of(&rw, y, d->x + (size_t)i * n_x, d->gy + (size_t)i * n_y, d->gx_row + (size_t)i * n_x);
    if (loss <= 0) {
      EP_TRY(candidate(a, index, t->box, d->x + (size_t)i * n_x, s, is_done));
      if (*is_done) return EP_OK;
    }
    /* No progress: halve this start's step. */
    if (it && !(loss < d->last[i])) d->step[i] *= 0.7f;
    d->last[i] = loss;
  }
  EP_TRY(ep_grad_f32(run->g, &tr, d->gy, d->gx, s));
  for (uint32_t i = 0; i < CHUNK; i++) {
    float *x = d->x + (size_t)i * n_x;
    for (uint32_t j = 0; j < n_x; j++) {
      float g = d->gx[(size_t)i * n_x + j] + d->gx_row[(size_t)i * n_x + j];
      float w = (float)(b->hi_in[j] - b->lo_in[j]) * d->step[i];
      x[j] -= g > 0 ? w : g < 0 ? -w : 0;
    }
    clamp(b, n_x, x);
  }
  return EP_OK;
}

static ep_status run_target(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  attack *a = arg;
  (void)worker;
  const target *t = &a->targets[index];
  ep_run *run = a->run;
  if (index > atomic_load(&a->best)) return EP_OK;
  if (a->opt->deadline_s > 0 && ep_time_s() > a->opt->deadline_s) return EP_OK;
  ep_scratch_mark m = ep_scratch_save(s);
  descent d;
  ep_rng rng;
  ep_rng_seed_stream(&rng, a->opt->seed, ((uint64_t)t->box << 40) ^ ((uint64_t)t->poly << 20) ^ t->chunk);
  ep_status st = descent_init(&d, run->q->n_x, run->q->n_y, s);
  if (st == EP_OK) {
    starts(&run->q->box[t->box], run->q->n_x, t->chunk, &rng, d.x);
    for (uint32_t i = 0; i < CHUNK; i++) d.step[i] = 0.25f / (float)(1 + i % 3);
  }
  bool is_done = false;
  for (uint32_t it = 0; it < a->opt->steps && st == EP_OK && !is_done; it++) {
    if (ep_ctx_should_stop(run->ctx)) st = EP_E_STOPPED;
    if (index > atomic_load(&a->best)) break;
    ep_scratch_mark m2 = ep_scratch_save(s);
    if (st == EP_OK) st = iterate(a, index, t, &d, it, s, &is_done);
    ep_scratch_restore(s, m2);
  }
  ep_scratch_restore(s, m);
  return st;
}

/* Chunk by chunk over all open polytopes, so that every polytope gets its first starts early. */
static size_t list_targets(const ep_run *run, uint32_t n_chunk, target *out) {
  size_t n = 0;
  for (uint32_t c = 0; c < n_chunk; c++)
    for (uint32_t i = 0; i < run->q->n_box; i++)
      for (uint32_t p = 0; p < run->q->box[i].n_poly; p++) {
        if (ep_run_is_proved(run, i, p) || run->q->box[i].is_empty) continue;
        if (out) out[n] = (target){i, p, c};
        n++;
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
