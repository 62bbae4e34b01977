#include "verifier/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "verifier/cli.h"
#include "verifier/json_out.h"
#include "verifier/witness.h"

enum { MAX_SHOWN = 16 }; /* numbers of a witness shown on the terminal */

const char *ep_report_semantics(const ep_session *s) {
  const ep_query *q = atomic_load(&s->query);
  if (strcmp(s->cfg->semantics, "auto") != 0) return s->cfg->semantics;
  return q && q->declared && q->declared->is_float32 ? "float32" : "real";
}

const char *ep_report_verdict(ep_verdict v) {
  switch (v) {
  case EP_SAT:
    return "sat";
  case EP_UNSAT:
    return "unsat";
  case EP_TIMEOUT:
    return "timeout";
  case EP_UNKNOWN:
    break;
  }
  return "unknown";
}

int ep_report_exit_code(ep_verdict v) {
  return v == EP_SAT ? EP_EXIT_SAT : v == EP_UNSAT ? EP_EXIT_UNSAT : EP_EXIT_UNKNOWN;
}

bool ep_report_claim(ep_session *s) { return !atomic_exchange(&s->is_claimed, true); }

long ep_report_peak_rss_kib(void) {
  struct rusage u;
  return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_maxrss : 0;
}

double ep_report_cpu_s(void) {
  struct rusage u;
  if (getrusage(RUSAGE_SELF, &u) != 0) return NAN;
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

const char *ep_report_decided_by(const ep_answer *a) {
  bool is_decided = strcmp(a->verdict, "sat") == 0 || strcmp(a->verdict, "unsat") == 0;
  return is_decided && a->n_phase && !a->is_partial ? a->phase[a->n_phase - 1].name : "";
}

static ep_status check_path(ep_ctx *ctx, const char *flag, const char *path) {
  if (!path) return EP_OK;
  if (access(path, F_OK) == 0) {
    if (access(path, W_OK) == 0) return EP_OK;
  } else {
    char *copy = ep_strdup(ctx, path);
    if (!copy) return EP_E_NOMEM;
    bool is_ok = access(dirname(copy), W_OK | X_OK) == 0;
    ep_free(ctx, copy);
    if (is_ok) return EP_OK;
  }
  return EP_FAIL(ctx, EP_E_IO, "%s: cannot write there (--%s): %s", path, flag, strerror(errno));
}

ep_status ep_report_check_paths(const ep_session *s) {
  EP_TRY(check_path(s->ctx, "output", s->cfg->output));
  EP_TRY(check_path(s->ctx, "certificate", s->cfg->certificate));
  EP_TRY(check_path(s->ctx, "picture", s->cfg->picture));
  return check_path(s->ctx, "witness", s->cfg->witness);
}

static void print_values(FILE *out, const char *name, const double *v, uint32_t n) {
  fprintf(out, "%s:", name);
  for (uint32_t i = 0; i < n && i < MAX_SHOWN; i++) fprintf(out, " %.9g", v[i]);
  if (n > MAX_SHOWN) fprintf(out, " ... (%" PRIu32 " values, --witness FILE writes them all)", n);
  fputc('\n', out);
}

static void write_text(const ep_session *s, const ep_answer *a, FILE *out) {
  const ep_query *q = atomic_load(&s->query);
  uint64_t domains = 0;
  for (uint32_t i = 0; i < a->n_phase; i++) domains += a->phase[i].domains;
  if (*a->reason) fprintf(out, "reason: %s\n", a->reason);
  if (a->witness && q) {
    print_values(out, "input", a->witness->x, q->n_x);
    print_values(out, "output", a->witness->y, q->n_y);
    fprintf(out, "violates: disjunct %" PRIu32 " of input box %" PRIu32 "\n", a->witness->poly, a->witness->box);
  }
  const char *by = ep_report_decided_by(a);
  fprintf(out, "engine: %s%s%s\n", s->cfg->engine, *by ? ", decided by " : "", by);
  fprintf(out, "seconds: %.3f (cpu %.3f, of it certified passes %.3f)\n", ep_time_s() - s->start_s, ep_report_cpu_s(),
          ep_ctx_certify_s(s->ctx));
  fprintf(out, "domains: %" PRIu64 "\n", domains);
  fprintf(out, "memory: %ld KiB\n", ep_report_peak_rss_kib());
  if (a->certificate_bytes)
    fprintf(out, "certificate: %s (%" PRIu64 " bytes)\n", s->cfg->certificate, a->certificate_bytes);
}

/* The VNN-LIB standard has a word of its own for one verdict. */
static const char *verdict_word(const ep_session *s, const ep_answer *a) {
  bool is_timeout = strcmp(a->verdict, "timeout") == 0;
  return is_timeout && strcmp(s->cfg->format, "vnnlib") == 0 ? "timed-out" : a->verdict;
}

/* After "sat" the variables of the query, nothing else on standard output. */
static ep_status write_assignment(const ep_session *s, const ep_answer *a, FILE *out) {
  const ep_query *q = atomic_load(&s->query);
  const char *dir = s->cfg->serialise_assignments ? s->cfg->serialise_assignments : s->cfg->assignments;
  if (!a->witness && *a->reason) ep_log(s->ctx, 2, "%s: %s", a->verdict, a->reason);
  if (!a->witness || !q) return EP_OK;
  return dir ? ep_witness_serialise(s->ctx, dir, q, a->witness)
             : ep_witness_print_assignment(s->ctx, out, q, a->witness);
}

/* Everything after the verdict line of stdout, or the whole of --output. */
static ep_status write_body(const ep_session *s, const ep_answer *a, FILE *out, bool with_verdict) {
  const ep_query *q = atomic_load(&s->query);
  if (strcmp(s->cfg->format, "json") == 0) return ep_json_out_answer(s, a, out);
  if (with_verdict) fprintf(out, "%s\n", verdict_word(s, a));
  if (strcmp(s->cfg->format, "text") == 0)
    write_text(s, a, out);
  else if (strcmp(s->cfg->format, "vnnlib") == 0)
    EP_TRY(write_assignment(s, a, out));
  else if (a->witness && q)
    EP_TRY(ep_witness_print(s->ctx, out, q, a->witness));
  return EP_OK;
}

static ep_status write_output(const ep_session *s, const ep_answer *a) {
  FILE *out = fopen(s->cfg->output, "w");
  if (!out) return EP_FAIL(s->ctx, EP_E_IO, "%s: %s", s->cfg->output, strerror(errno));
  ep_status st = write_body(s, a, out, true);
  bool is_ok = !ferror(out);
  if (fclose(out) != 0 || !is_ok) return EP_FAIL(s->ctx, EP_E_IO, "%s: %s", s->cfg->output, strerror(errno));
  return st;
}

ep_status ep_report_write(const ep_session *s, const ep_answer *a) {
  assert(atomic_load(&s->is_claimed));
  ep_status st = EP_OK, file_st = EP_OK;
  if (s->cfg->output) {
    printf("%s\n", verdict_word(s, a));
    fflush(stdout);
    st = write_output(s, a);
  } else {
    st = write_body(s, a, stdout, true);
  }
  const ep_query *q = atomic_load(&s->query);
  if (s->cfg->witness && a->witness && q) file_st = ep_witness_write(s->ctx, s->cfg->witness, q, a->witness);
  return st != EP_OK ? st : file_st;
}
