/* Status codes, the context that every call shares, and checked allocation.
 *
 * A context (`ep_ctx`) counts and limits memory, keeps the first error, carries the log sink, and knows when to stop
 * (deadline or interrupt). It is shared by all threads of one run: counters and the stop flag are atomic, the error
 * record is written under a lock and the first failure wins.
 *
 * Every call that can fail returns `ep_status` and hands results back through trailing pointers. Libraries never
 * print, exit or abort on input. */
#ifndef EP_KERNELS_STATUS_H
#define EP_KERNELS_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ep_status {
  EP_OK = 0,
#define EP_ERROR(name, exit_code, text) EP_E_##name,
#include "kernels/errors.def"
#undef EP_ERROR
  EP_N_STATUS
} ep_status;

typedef struct ep_ctx ep_ctx;

/* What went wrong first. `text` is one line without a trailing newline, meant for the user. */
typedef struct ep_error {
  ep_status code;
  const char *file; /* source file and line of the failing check, for -v */
  int line;
  char text[512];
} ep_error;

/* Creates a context without memory limit, deadline or log sink. NULL when the C library is out of memory. */
ep_ctx *ep_ctx_create(void);
/* Destroys it (NULL is fine). Asserts in debug builds that every allocation was freed. */
void ep_ctx_destroy(ep_ctx *ctx);

/* Records a failure (the first one is kept) and returns `code`. Use through EP_FAIL. */
ep_status ep_fail_at(ep_ctx *ctx, const char *file, int line, ep_status code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
#define EP_FAIL(ctx, code, ...) ep_fail_code((code), ep_fail_at((ctx), __FILE__, __LINE__, (code), __VA_ARGS__))
/* Lets compilers and analysers see that a failure is never EP_OK. */
static inline ep_status ep_fail_code(ep_status code, ep_status recorded) {
  (void)recorded;
  return code;
}

/* Propagates a failure to the caller. In functions that own something use EP_GOTO with a single `done:` label and a
 * local `ep_status st`. */
#define EP_TRY(call)                                                                                                   \
  do {                                                                                                                 \
    ep_status ep_try_st_ = (call);                                                                                     \
    if (ep_try_st_ != EP_OK) return ep_try_st_;                                                                        \
  } while (0)
#define EP_GOTO(call)                                                                                                  \
  do {                                                                                                                 \
    st = (call);                                                                                                       \
    if (st != EP_OK) goto done;                                                                                        \
  } while (0)

/* The first failure since creation or the last ep_ctx_clear_error; code EP_OK when there is none. */
ep_error ep_ctx_error(const ep_ctx *ctx);
void ep_ctx_clear_error(ep_ctx *ctx);
const char *ep_status_text(ep_status st);
int ep_status_exit_code(ep_status st);

/* Memory. All blocks are 64-byte aligned (for SIMD kernels). NULL on failure, which is recorded as EP_E_NOMEM (or
 * EP_E_LIMIT beyond the memory limit). Freed blocks must come from the same context. n*size overflow is a failure. */
void *ep_alloc(ep_ctx *ctx, size_t bytes);
void *ep_calloc(ep_ctx *ctx, size_t n, size_t size);
void *ep_realloc(ep_ctx *ctx, void *block, size_t bytes);
void ep_free(ep_ctx *ctx, void *block);
/* Room for one more element behind the n that are there: doubles *array (elements of `size` bytes, *cap of them) when
 * it is full. After a failure both are as they were. */
ep_status ep_reserve(ep_ctx *ctx, void **array, size_t *cap, size_t n, size_t size);
char *ep_strdup(ep_ctx *ctx, const char *s);
/* Limit in bytes over all live blocks; 0 = none. */
void ep_ctx_set_memory_limit(ep_ctx *ctx, size_t bytes);
size_t ep_ctx_memory_limit(const ep_ctx *ctx);
size_t ep_ctx_memory_used(const ep_ctx *ctx);
size_t ep_ctx_memory_peak(const ep_ctx *ctx);
/* Makes the k-th allocation from now on fail (k >= 1; 0 switches off): allocation torture in tests. */
void ep_ctx_fail_allocation(ep_ctx *ctx, uint64_t k);

/* Stopping. `ep_ctx_interrupt` is async-signal-safe. Long loops poll `ep_ctx_should_stop` (cheap enough to be called
 * every millisecond of work) and return EP_E_STOPPED without recording an error. */
void ep_ctx_set_deadline(ep_ctx *ctx, double monotonic_s); /* 0 = none */
double ep_ctx_deadline(const ep_ctx *ctx);
void ep_ctx_interrupt(ep_ctx *ctx);
bool ep_ctx_should_stop(const ep_ctx *ctx);
bool ep_ctx_was_interrupted(const ep_ctx *ctx);
double ep_time_s(void); /* monotonic clock, seconds */

/* What rigour costs: CPU time of the certified passes, over all threads, for reports. */
double ep_thread_cpu_s(void); /* of the calling thread */
void ep_ctx_add_certify_s(ep_ctx *ctx, double seconds);
double ep_ctx_certify_s(const ep_ctx *ctx);

#endif
