#include "kernels/status.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/log.h"

/* Every block is preceded by 64 bytes that hold its size, so totals are exact and data stays 64-byte aligned. */
enum { HEADER = 64 };
/* No honest request is larger; the C library, and the sanitizers in place of it, need not be asked. */
#define MAX_BLOCK ((size_t)1 << 39)

struct ep_ctx {
  pthread_mutex_t lock;
  ep_error error;
  _Atomic size_t used, peak, limit;
  _Atomic uint64_t fail_in; /* allocations until a forced failure, 0 = off */
  _Atomic bool is_interrupted;
  _Atomic double deadline_s;
  _Atomic uint64_t certify_ns;
  int log_level;
  ep_log_fn log;
  void *log_user;
};

ep_ctx *ep_ctx_create(void) {
  ep_ctx *ctx = calloc(1, sizeof *ctx);
  if (ctx) pthread_mutex_init(&ctx->lock, NULL);
  return ctx;
}

void ep_ctx_destroy(ep_ctx *ctx) {
  if (!ctx) return;
  assert(atomic_load(&ctx->used) == 0);
  pthread_mutex_destroy(&ctx->lock);
  free(ctx);
}

ep_status ep_fail_at(ep_ctx *ctx, const char *file, int line, ep_status code, const char *fmt, ...) {
  pthread_mutex_lock(&ctx->lock);
  if (ctx->error.code == EP_OK) {
    va_list ap;
    va_start(ap, fmt);
    ctx->error.code = code;
    ctx->error.file = file;
    ctx->error.line = line;
    vsnprintf(ctx->error.text, sizeof ctx->error.text, fmt, ap);
    va_end(ap);
    /* Names come from files: they must not break the line or steer a terminal. */
    for (char *c = ctx->error.text; *c; c++)
      if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
  }
  pthread_mutex_unlock(&ctx->lock);
  return code;
}

ep_error ep_ctx_error(const ep_ctx *ctx) {
  ep_ctx *c = (ep_ctx *)ctx;
  pthread_mutex_lock(&c->lock);
  ep_error e = c->error;
  pthread_mutex_unlock(&c->lock);
  return e;
}

void ep_ctx_clear_error(ep_ctx *ctx) {
  pthread_mutex_lock(&ctx->lock);
  ctx->error = (ep_error){0};
  pthread_mutex_unlock(&ctx->lock);
}

const char *ep_status_text(ep_status st) {
  static const char *const text[] = {
      "ok",
#define EP_ERROR(name, exit_code, words) words,
#include "kernels/errors.def"
#undef EP_ERROR
  };
  return (unsigned)st < EP_N_STATUS ? text[st] : "unknown status";
}

int ep_status_exit_code(ep_status st) {
  static const int code[] = {
      0,
#define EP_ERROR(name, exit_code, words) exit_code,
#include "kernels/errors.def"
#undef EP_ERROR
  };
  return (unsigned)st < EP_N_STATUS ? code[st] : 3;
}

/* Reserves `bytes` against the limit; false (and an error record) when that does not fit or a failure is due. */
static bool reserve(ep_ctx *ctx, size_t bytes) {
  uint64_t k = atomic_load(&ctx->fail_in);
  while (k && !atomic_compare_exchange_weak(&ctx->fail_in, &k, k - 1)) {
  }
  if (k == 1) {
    EP_FAIL(ctx, EP_E_NOMEM, "out of memory (%zu bytes)", bytes);
    return false;
  }
  size_t used = atomic_fetch_add(&ctx->used, bytes) + bytes, limit = atomic_load(&ctx->limit);
  if (limit && used > limit) {
    atomic_fetch_sub(&ctx->used, bytes);
    EP_FAIL(ctx, EP_E_LIMIT, "memory limit of %zu MiB reached", limit >> 20);
    return false;
  }
  size_t peak = atomic_load(&ctx->peak);
  while (used > peak && !atomic_compare_exchange_weak(&ctx->peak, &peak, used)) {
  }
  return true;
}

void *ep_alloc(ep_ctx *ctx, size_t bytes) {
  if (bytes > MAX_BLOCK) {
    EP_FAIL(ctx, EP_E_NOMEM, "out of memory (%zu bytes)", bytes);
    return NULL;
  }
  size_t total = HEADER + (bytes + 63) / 64 * 64;
  if (!reserve(ctx, total)) return NULL;
  char *p = aligned_alloc(64, total);
  if (!p) {
    atomic_fetch_sub(&ctx->used, total);
    EP_FAIL(ctx, EP_E_NOMEM, "out of memory (%zu bytes)", bytes);
    return NULL;
  }
  ((size_t *)p)[0] = total;
  ((size_t *)p)[1] = bytes;
  return p + HEADER;
}

void *ep_calloc(ep_ctx *ctx, size_t n, size_t size) {
  if (size && n > SIZE_MAX / 2 / size) {
    EP_FAIL(ctx, EP_E_NOMEM, "out of memory (%zu x %zu bytes)", n, size);
    return NULL;
  }
  void *p = ep_alloc(ctx, n * size);
  if (p) memset(p, 0, n * size);
  return p;
}

void *ep_realloc(ep_ctx *ctx, void *block, size_t bytes) {
  void *p = ep_alloc(ctx, bytes);
  if (!p || !block) return p;
  size_t old = ((size_t *)((char *)block - HEADER))[1];
  memcpy(p, block, old < bytes ? old : bytes);
  ep_free(ctx, block);
  return p;
}

ep_status ep_reserve(ep_ctx *ctx, void **array, size_t *cap, size_t n, size_t size) {
  if (n < *cap) return EP_OK;
  size_t want = *cap ? 2 * *cap : 64;
  void *grown = ep_realloc(ctx, *array, want * size);
  if (!grown) return EP_E_NOMEM;
  *array = grown;
  *cap = want;
  return EP_OK;
}

void ep_free(ep_ctx *ctx, void *block) {
  if (!block) return;
  char *p = (char *)block - HEADER;
  size_t total = ((size_t *)p)[0];
  assert(atomic_load(&ctx->used) >= total);
  atomic_fetch_sub(&ctx->used, total);
  free(p);
}

char *ep_strdup(ep_ctx *ctx, const char *s) {
  size_t n = strlen(s) + 1;
  char *p = ep_alloc(ctx, n);
  if (p) memcpy(p, s, n);
  return p;
}

void ep_ctx_set_memory_limit(ep_ctx *ctx, size_t bytes) { atomic_store(&ctx->limit, bytes); }
size_t ep_ctx_memory_limit(const ep_ctx *ctx) { return atomic_load(&ctx->limit); }
size_t ep_ctx_memory_used(const ep_ctx *ctx) { return atomic_load(&((ep_ctx *)ctx)->used); }
size_t ep_ctx_memory_peak(const ep_ctx *ctx) { return atomic_load(&((ep_ctx *)ctx)->peak); }
void ep_ctx_fail_allocation(ep_ctx *ctx, uint64_t k) { atomic_store(&ctx->fail_in, k); }

void ep_ctx_set_deadline(ep_ctx *ctx, double monotonic_s) { atomic_store(&ctx->deadline_s, monotonic_s); }

double ep_ctx_deadline(const ep_ctx *ctx) { return atomic_load(&((ep_ctx *)ctx)->deadline_s); }
void ep_ctx_interrupt(ep_ctx *ctx) { atomic_store(&ctx->is_interrupted, true); }
bool ep_ctx_was_interrupted(const ep_ctx *ctx) { return atomic_load(&((ep_ctx *)ctx)->is_interrupted); }
bool ep_ctx_should_stop(const ep_ctx *ctx) {
  double deadline_s = ep_ctx_deadline(ctx);
  return ep_ctx_was_interrupted(ctx) || (deadline_s > 0 && ep_time_s() > deadline_s);
}

double ep_time_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void ep_ctx_set_log(ep_ctx *ctx, int level, ep_log_fn sink, void *user) {
  ctx->log_level = level;
  ctx->log = sink;
  ctx->log_user = user;
}

int ep_ctx_log_level(const ep_ctx *ctx) { return ctx->log_level; }

void ep_log(ep_ctx *ctx, int level, const char *fmt, ...) {
  if (!ctx->log || level > ctx->log_level) return;
  char line[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&ctx->lock);
  ctx->log(ctx->log_user, level, line);
  pthread_mutex_unlock(&ctx->lock);
}

double ep_thread_cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void ep_ctx_add_certify_s(ep_ctx *ctx, double seconds) {
  if (seconds > 0) atomic_fetch_add(&ctx->certify_ns, (uint64_t)(seconds * 1e9));
}

double ep_ctx_certify_s(const ep_ctx *ctx) { return 1e-9 * (double)atomic_load(&ctx->certify_ns); }
