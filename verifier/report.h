/* What a query command tells its user: verdict, witness and figures, as text, JSON or in VNN-COMP's form.
 *
 * A session is what is known so far. Its pointers are published atomically by the main thread as they come into being,
 * and what they point to does not change afterwards, so that the watchdog (watch.h) can report when an engine does not
 * return in time. Whoever claims the session first prints; the other stays silent. */
#ifndef EP_VERIFIER_REPORT_H
#define EP_VERIFIER_REPORT_H

#include "verifier/engine.h"

typedef struct ep_session {
  ep_ctx *ctx;
  const ep_config *cfg;
  const char *command, *network;
  const char *property; /* path, or NULL for a query made from flags */
  double start_s;       /* process start, monotonic */
  _Atomic(const ep_graph *) graph;
  _Atomic(const ep_query *) query;
  _Atomic(ep_run *) run;
  _Atomic unsigned threads;
  atomic_bool is_claimed;
} ep_session;

/* The answer to be told: a settled result, or what the watchdog could gather. */
typedef struct ep_answer {
  const char *verdict; /* "unsat", "sat", "unknown", "timeout", "error" */
  const char *reason;  /* "" = none; the message of an error */
  uint32_t n_phase;
  const ep_phase *phase;
  const ep_witness *witness; /* NULL = none */
  double engine_s;
  uint64_t certificate_bytes; /* of the file written, 0 = none */
  bool is_partial;            /* told by the watchdog while the engine was running */
} ep_answer;

/* "real" or "float32": as --semantics says, else the property's type as far as it is known, else real. */
const char *ep_report_semantics(const ep_session *s);
const char *ep_report_verdict(ep_verdict v);
int ep_report_exit_code(ep_verdict v);
/* True for the first caller only. */
bool ep_report_claim(ep_session *s);
/* Refuses --output and --witness paths that cannot be written, before any work is spent. */
ep_status ep_report_check_paths(const ep_session *s);
/* Prints the answer: verdict first, then --output and --witness files. EP_E_IO when a file cannot be written. */
ep_status ep_report_write(const ep_session *s, const ep_answer *a);
/* Name of the phase that brought the verdict; "" when there was none. */
const char *ep_report_decided_by(const ep_answer *a);
/* Largest resident set of this process so far, KiB. */
long ep_report_peak_rss_kib(void);
double ep_report_cpu_s(void);

#endif
