#include "kernels/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

typedef struct worker {
  pthread_t thread;
  ep_pool *pool;
  unsigned id;
  ep_scratch scratch;
} worker;

struct ep_pool {
  ep_ctx *ctx;
  unsigned n, n_started;
  worker *w;
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  uint64_t round;
  unsigned n_busy;
  bool is_quitting, is_running;
  /* the job of the current round */
  ep_pool_fn fn;
  void *arg;
  size_t n_task;
  _Atomic size_t next, failed_at; /* failed_at: lowest failing index so far, n_task = none */
  ep_status status;
};

static void work(worker *w) {
  ep_pool *p = w->pool;
  for (;;) {
    size_t i = atomic_fetch_add(&p->next, 1);
    if (i >= p->n_task || i > atomic_load(&p->failed_at)) return;
    ep_status st = p->fn(p->arg, i, w->id, &w->scratch);
    if (st == EP_OK) continue;
    pthread_mutex_lock(&p->lock);
    if (i < atomic_load(&p->failed_at)) {
      atomic_store(&p->failed_at, i);
      p->status = st;
    }
    pthread_mutex_unlock(&p->lock);
  }
}

static void *thread_main(void *arg) {
  worker *w = arg;
  ep_pool *p = w->pool;
  uint64_t seen = 0;
  pthread_mutex_lock(&p->lock);
  for (;;) {
    while (p->round == seen && !p->is_quitting) pthread_cond_wait(&p->wake, &p->lock);
    if (p->is_quitting) break;
    seen = p->round;
    pthread_mutex_unlock(&p->lock);
    work(w);
    pthread_mutex_lock(&p->lock);
    if (--p->n_busy == 0) pthread_cond_signal(&p->done);
  }
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

static unsigned cpus(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int n = CPU_COUNT(&set);
  return n < 1 ? 1 : (unsigned)n;
}

ep_status ep_pool_create(ep_ctx *ctx, unsigned n_threads, ep_pool **out) {
  *out = NULL;
  ep_pool *p = ep_calloc(ctx, 1, sizeof *p);
  if (!p) return EP_E_NOMEM;
  p->ctx = ctx;
  p->n = n_threads ? n_threads : cpus();
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  p->w = ep_calloc(ctx, p->n, sizeof *p->w);
  if (!p->w) {
    ep_pool_destroy(p);
    return EP_E_NOMEM;
  }
  for (unsigned i = 0; i < p->n; i++) {
    p->w[i].pool = p;
    p->w[i].id = i;
    ep_scratch_init(&p->w[i].scratch, ctx);
  }
  *out = p;
  return EP_OK;
}

/* Threads start with the first round that can use them: short runs never pay for them. */
static ep_status start_threads(ep_pool *p) {
  for (unsigned i = p->n_started + 1; i < p->n; i++) {
    if (pthread_create(&p->w[i].thread, NULL, thread_main, &p->w[i]))
      return EP_FAIL(p->ctx, EP_E_INTERNAL, "cannot start a thread");
    p->n_started = i;
  }
  return EP_OK;
}

void ep_pool_destroy(ep_pool *p) {
  if (!p) return;
  ep_ctx *ctx = p->ctx;
  pthread_mutex_lock(&p->lock);
  p->is_quitting = true;
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  for (unsigned i = 1; i <= p->n_started; i++) pthread_join(p->w[i].thread, NULL);
  for (unsigned i = 0; p->w && i < p->n; i++) ep_scratch_clear(&p->w[i].scratch);
  pthread_cond_destroy(&p->done);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->lock);
  ep_free(ctx, p->w);
  ep_free(ctx, p);
}

unsigned ep_pool_size(const ep_pool *p) { return p->n; }
ep_ctx *ep_pool_ctx(const ep_pool *p) { return p->ctx; }

/* The worker that the calling thread is. Threads are only ever started before a round begins, so a worker that asks
 * sees them all; whoever is not one of them is the caller, worker 0. */
static worker *self(ep_pool *p) {
  for (unsigned i = 1; i <= p->n_started; i++)
    if (pthread_equal(p->w[i].thread, pthread_self())) return &p->w[i];
  return &p->w[0];
}

ep_scratch *ep_pool_scratch(ep_pool *p) { return &self(p)->scratch; }

static ep_status run_serial(worker *w, size_t n, ep_pool_fn fn, void *arg) {
  for (size_t i = 0; i < n; i++) EP_TRY(fn(arg, i, w->id, &w->scratch));
  return EP_OK;
}

ep_status ep_pool_run(ep_pool *p, size_t n, ep_pool_fn fn, void *arg) {
  assert(fn);
  worker *w = self(p);
  if (w->id > 0 || p->is_running || p->n == 1 || n <= 1) return run_serial(w, n, fn, arg);
  EP_TRY(start_threads(p));
  pthread_mutex_lock(&p->lock);
  p->fn = fn;
  p->arg = arg;
  p->n_task = n;
  p->status = EP_OK;
  p->is_running = true;
  atomic_store(&p->next, 0);
  atomic_store(&p->failed_at, n);
  assert(p->n_busy == 0);
  p->n_busy = p->n_started;
  p->round++;
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  work(&p->w[0]);
  pthread_mutex_lock(&p->lock);
  while (p->n_busy) pthread_cond_wait(&p->done, &p->lock);
  p->is_running = false;
  ep_status st = p->status;
  pthread_mutex_unlock(&p->lock);
  return st;
}
