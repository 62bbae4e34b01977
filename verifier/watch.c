#include "verifier/watch.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verifier/cli.h"
#include "verifier/progress.h"

/* How long after the deadline or a signal the run may take to end by itself; the rest of 0.2 s is for telling. */
#define GRACE_S 0.15
#define TICK_S 0.1

struct ep_watch {
  ep_session *session;
  ep_progress_line *line; /* NULL = no progress line */
  pthread_t thread;
  struct sigaction old_int, old_term;
};

/* A signal handler has no argument, so this is the one place where the program keeps state outside a context. Signals
 * cannot be blocked for sigwait instead: the BLAS library has started threads before main. */
static struct {
  _Atomic(ep_ctx *) ctx;
  atomic_int n_signals, last;
  atomic_bool is_done;
  sem_t wake;
} signals;

static void on_signal(int number) {
  int saved = errno;
  ep_ctx *ctx = atomic_load(&signals.ctx);
  if (ctx) ep_ctx_interrupt(ctx);
  atomic_store(&signals.last, number);
  atomic_fetch_add(&signals.n_signals, 1);
  sem_post(&signals.wake);
  errno = saved;
}

/* Copies what the engine has laid down under its lock; an engine that holds the lock for long is not waited for. */
static void copy_result(ep_run *run, ep_phase *phase, ep_answer *a, ep_witness *w) {
  if (!run) return;
  for (int tries = 0; pthread_mutex_trylock(&run->lock) != 0; tries++) {
    if (tries == 20) return;
    usleep(1000);
  }
  a->n_phase = run->result.n_phase;
  memcpy(phase, run->result.phase, a->n_phase * sizeof *phase);
  if (run->result.has_witness) {
    *w = run->result.witness; /* written once */
    a->witness = w;
  }
  pthread_mutex_unlock(&run->lock);
}

/* Tells what is known and ends the process. Destructors and other threads are none of its business: _exit. */
static void tell_and_exit(ep_session *s) {
  if (!ep_report_claim(s)) return; /* the run has just ended and is telling its answer */
  ep_phase phase[EP_MAX_PHASES];
  ep_witness w;
  bool is_interrupted = atomic_load(&signals.n_signals) > 0;
  ep_answer a = {.verdict = is_interrupted ? "unknown" : "timeout",
                 .reason = is_interrupted ? "interrupted" : "timeout",
                 .phase = phase,
                 .engine_s = NAN,
                 .is_partial = true};
  int exit_code = EP_EXIT_UNKNOWN;
  copy_result(atomic_load(&s->run), phase, &a, &w);
  if (a.witness) { /* accepted by replay, so it counts even though the engine went on */
    a.verdict = ep_report_verdict(EP_SAT);
    a.reason = "counterexample";
    exit_code = EP_EXIT_SAT;
  }
  if (ep_report_write(s, &a) != EP_OK) {
    fprintf(stderr, "epsproof: %s\n", ep_ctx_error(s->ctx).text);
    exit_code = EP_EXIT_INPUT;
  }
  fflush(stdout);
  _exit(exit_code);
}

static void *watch_main(void *arg) {
  ep_watch *w = arg;
  ep_session *s = w->session;
  double limit_s = s->cfg->timeout > 0 ? s->start_s + s->cfg->timeout + GRACE_S : INFINITY;
  int seen = 0;
  while (!atomic_load(&signals.is_done)) {
    double now_s = ep_time_s(), until_s = limit_s;
    int n = atomic_load(&signals.n_signals);
    if (n >= 2) tell_and_exit(s);
    if (n == 1 && seen == 0) limit_s = until_s = fmin(limit_s, now_s + GRACE_S);
    seen = n;
    if (now_s >= limit_s) {
      tell_and_exit(s);
      limit_s = until_s = INFINITY; /* claimed by the main thread, which will end us */
    }
    if (w->line) {
      ep_progress_draw(w->line, s);
      until_s = fmin(until_s, now_s + TICK_S);
    }
    until_s = fmin(until_s, now_s + 1e6); /* fits a time_t whatever the limit */
    struct timespec t = {.tv_sec = (time_t)until_s, .tv_nsec = (long)((until_s - floor(until_s)) * 1e9)};
    sem_clockwait(&signals.wake, CLOCK_MONOTONIC, &t);
  }
  return NULL;
}

static bool wants_progress(const ep_config *cfg) {
  if (strcmp(cfg->progress, "on") == 0) return true;
  return strcmp(cfg->progress, "auto") == 0 && cfg->verbosity > 0 && isatty(STDERR_FILENO);
}

ep_status ep_watch_start(ep_session *s, ep_watch **out) {
  *out = NULL;
  ep_watch *w = ep_calloc(s->ctx, 1, sizeof *w);
  if (!w) return EP_E_NOMEM;
  w->session = s;
  if (wants_progress(s->cfg)) w->line = ep_progress_create(s->ctx);
  assert(!atomic_load(&signals.ctx));
  atomic_store(&signals.n_signals, 0);
  atomic_store(&signals.last, 0);
  atomic_store(&signals.is_done, false);
  sem_init(&signals.wake, 0, 0);
  atomic_store(&signals.ctx, s->ctx);
  struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGINT, &act, &w->old_int);
  sigaction(SIGTERM, &act, &w->old_term);
  if (pthread_create(&w->thread, NULL, watch_main, w) != 0) {
    sigaction(SIGINT, &w->old_int, NULL);
    sigaction(SIGTERM, &w->old_term, NULL);
    atomic_store(&signals.ctx, NULL);
    ep_progress_destroy(w->line);
    ep_free(s->ctx, w);
    return EP_FAIL(s->ctx, EP_E_INTERNAL, "cannot start a thread");
  }
  *out = w;
  return EP_OK;
}

void ep_watch_catch(ep_ctx *ctx) {
  sem_init(&signals.wake, 0, 0);
  atomic_store(&signals.n_signals, 0);
  atomic_store(&signals.last, 0);
  atomic_store(&signals.ctx, ctx);
  struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
}

void ep_watch_release(void) {
  struct sigaction act = {.sa_handler = SIG_DFL};
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
  atomic_store(&signals.ctx, NULL);
}

int ep_watch_signal(void) { return atomic_load(&signals.last); }

void ep_watch_stop(ep_watch *w) {
  if (!w) return;
  ep_ctx *ctx = w->session->ctx;
  atomic_store(&signals.is_done, true);
  sem_post(&signals.wake);
  pthread_join(w->thread, NULL);
  sigaction(SIGINT, &w->old_int, NULL);
  sigaction(SIGTERM, &w->old_term, NULL);
  atomic_store(&signals.ctx, NULL);
  ep_progress_destroy(w->line);
  ep_free(ctx, w);
}
