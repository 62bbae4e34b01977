#include "models/train/optim.h"

#include <math.h>

enum { CHUNK = 16384, MAX_CHUNKS = 4096 };

typedef struct job {
  ep_optim *o;
  float *param, *grad;
  double *square;
  size_t chunk;
  float rate, clip, fix1, fix2;
} job;

static void range(const job *j, size_t i, size_t *from, size_t *to) {
  *from = i * j->chunk;
  *to = *from + j->chunk < j->o->n ? *from + j->chunk : j->o->n;
}

static ep_status measure(void *arg, size_t i, unsigned worker, ep_scratch *scratch) {
  job *j = arg;
  size_t from, to;
  double sum = 0;
  (void)worker;
  (void)scratch;
  range(j, i, &from, &to);
  const float decay = (float)j->o->opt.weight_decay, l1 = (float)j->o->opt.l1;
  float *restrict g = j->grad;
  const float *restrict p = j->param;
  if (decay > 0 || l1 > 0)
    for (size_t k = from; k < to; k++) g[k] += decay * p[k] + (p[k] > 0 ? l1 : p[k] < 0 ? -l1 : 0);
#pragma omp simd reduction(+ : sum)
  for (size_t k = from; k < to; k++) sum += (double)g[k] * (double)g[k];
  j->square[i] = sum;
  return EP_OK;
}

static ep_status move(void *arg, size_t i, unsigned worker, ep_scratch *scratch) {
  const job *j = arg;
  size_t from, to;
  (void)worker;
  (void)scratch;
  range(j, i, &from, &to);
  float *restrict p = j->param, *restrict m = j->o->m, *restrict v = j->o->v;
  const float *restrict grad = j->grad;
  const float clip = j->clip, rate = j->rate;
  if (j->o->opt.kind == EP_OPTIM_SGD) {
    const float momentum = (float)j->o->opt.momentum;
    for (size_t k = from; k < to; k++) {
      m[k] = momentum * m[k] + clip * grad[k];
      p[k] -= rate * m[k];
    }
    return EP_OK;
  }
  const float b1 = 0.9f, b2 = 0.999f, fix1 = j->fix1, fix2 = j->fix2;
  for (size_t k = from; k < to; k++) {
    float g = clip * grad[k];
    m[k] = b1 * m[k] + (1 - b1) * g;
    v[k] = b2 * v[k] + (1 - b2) * g * g;
    p[k] -= rate * (m[k] * fix1) / (sqrtf(v[k] * fix2) + 1e-8f);
  }
  return EP_OK;
}

ep_status ep_optim_step(ep_optim *o, double rate, float *param, float *grad, ep_pool *pool, double *norm) {
  double square[MAX_CHUNKS], sum = 0;
  size_t chunk = o->n / MAX_CHUNKS + 1 > CHUNK ? o->n / MAX_CHUNKS + 1 : CHUNK, n = (o->n + chunk - 1) / chunk;
  job j = {.o = o, .param = param, .grad = grad, .square = square, .chunk = chunk, .rate = (float)rate, .clip = 1};
  EP_TRY(ep_pool_run(pool, n, measure, &j));
  for (size_t i = 0; i < n; i++) sum += square[i];
  *norm = sqrt(sum);
  if (!isfinite(*norm)) return EP_OK;
  if (o->opt.clip > 0 && *norm > o->opt.clip) j.clip = (float)(o->opt.clip / *norm);
  o->t++;
  j.fix1 = (float)(1 / (1 - pow(0.9, (double)o->t)));
  j.fix2 = (float)(1 / (1 - pow(0.999, (double)o->t)));
  return ep_pool_run(pool, n, move, &j);
}
