/* Command eval: accuracy of a classifier on a data set, with records that a later run goes on from. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/log.h"
#include "models/onnx_bytes.h"
#include "verifier/branching.h"
#include "verifier/cli_data.h"
#include "verifier/evaluate.h"
#include "verifier/json_out.h"
#include "verifier/watch.h"

typedef struct job {
  ep_cli *cli;
  ep_cli_samples in;
  ep_pool *pool;
  FILE *records;
  uint8_t *outcome; /* [in.n], EP_N_EVAL_OUTCOME = not known yet */
  size_t n_known;   /* from the records */
  double seconds;   /* of this run */
  bool has_line;
} job;

/* ---- records: a header that names the run, then index,label,outcome,seconds ---- */

static void header(const job *j, char *text, size_t n) {
  const ep_config *cfg = &j->cli->cfg;
  char which[64] = "";
  if (!strcmp(cfg->part, "validation"))
    snprintf(which, sizeof which, " (share %g, seed %lld)", cfg->validation, (long long)cfg->seed);
  snprintf(text, n, "# network %s, epsilon %.17g, %s part%s, %zu samples of %zu values", j->in.g->sha256, cfg->epsilon,
           cfg->part, which, j->in.data.n, j->in.data.n_in);
}

/* "index,label,outcome,..."; false when it is none of this data set. */
static bool parse_record(const job *j, const char *at, size_t *index, ep_eval_outcome *o) {
  char *end;
  *index = (size_t)strtoull(at, &end, 10);
  if (end == at || *end != ',' || *index >= j->in.data.n) return false;
  at = end + 1;
  unsigned long label = strtoul(at, &end, 10);
  if (end == at || *end != ',' || label != j->in.data.label[*index]) return false;
  *o = ep_evaluate_parse(end + 1, strcspn(end + 1, ","));
  return *o < EP_N_EVAL_OUTCOME;
}

/* A torn last line (the run was killed while writing) is dropped. */
static ep_status take_records(job *j, char *text, size_t n, size_t *whole) {
  char want[256], *end = memchr(text, '\n', n);
  header(j, want, sizeof want);
  if (!end || (size_t)(end - text) != strlen(want) || memcmp(text, want, strlen(want)) != 0)
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "%s: records of another network, radius or data set", j->cli->cfg.records);
  size_t line = 1;
  char *at = end + 1;
  for (; (end = memchr(at, '\n', n - (size_t)(at - text))); at = end + 1) {
    size_t index = 0;
    ep_eval_outcome o = EP_N_EVAL_OUTCOME;
    *end = 0;
    line++;
    bool is_title = line == 2 && !strcmp(at, "index,label,outcome,seconds");
    if (!is_title && !parse_record(j, at, &index, &o))
      return EP_FAIL(j->cli->ctx, EP_E_SYNTAX, "%s:%zu: not a record of this data set", j->cli->cfg.records, line);
    if (is_title || index < j->in.first || index >= j->in.first + j->in.n) continue;
    j->n_known += j->outcome[index - j->in.first] == EP_N_EVAL_OUTCOME;
    j->outcome[index - j->in.first] = (uint8_t)o;
  }
  *whole = (size_t)(at - text);
  return EP_OK;
}

static ep_status open_records(job *j) {
  const char *path = j->cli->cfg.records;
  uint8_t *text = NULL;
  size_t n = 0, whole = 0;
  char head[256];
  if (!path) return EP_OK;
  if (access(path, F_OK) == 0) {
    EP_TRY(ep_onnx_bytes_read(j->cli->ctx, path, (size_t)1 << 30, &text, &n));
    ep_status st = n ? take_records(j, (char *)text, n, &whole) : EP_OK;
    ep_free(j->cli->ctx, text);
    EP_TRY(st);
  }
  j->records = fopen(path, whole ? "r+b" : "wb");
  bool is_ok = j->records != NULL;
  if (is_ok && whole) is_ok = ftruncate(fileno(j->records), (off_t)whole) == 0 && fseeko(j->records, 0, SEEK_END) == 0;
  header(j, head, sizeof head);
  if (is_ok && !whole) is_ok = fprintf(j->records, "%s\nindex,label,outcome,seconds\n", head) > 0;
  return is_ok ? EP_OK : EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", path, strerror(errno));
}

static ep_status put_record(job *j, size_t i, double seconds) {
  if (!j->records) return EP_OK;
  size_t at = j->in.first + i;
  fprintf(j->records, "%zu,%" PRIu32 ",%s,%.3f\n", at, j->in.data.label[at], ep_evaluate_text(j->outcome[i]), seconds);
  if (fflush(j->records) == 0) return EP_OK;
  return EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", j->cli->cfg.records, strerror(errno));
}

/* ---- the run ---- */

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  const ep_config *cfg = &cli->cfg;
  EP_TRY(ep_cli_check_format(cli));
  if (cfg->epsilon < 0) return EP_FAIL(cli->ctx, EP_E_OPTION, "eval needs --epsilon E");
  if (!ep_engine_find(cfg->engine) || !ep_branching_find(cfg->branching))
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--engine or --branching: unknown name (see 'epsproof help engines')");
  if (strcmp(cfg->semantics, "float32") == 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--semantics: 'eval' knows real semantics only");
  EP_TRY(ep_cli_data_load(cli, &j->in));
  j->outcome = ep_alloc(cli->ctx, j->in.n);
  if (!j->outcome) return EP_E_NOMEM;
  memset(j->outcome, EP_N_EVAL_OUTCOME, j->in.n);
  EP_TRY(open_records(j));
  return ep_pool_create(cli->ctx, (unsigned)cfg->threads, &j->pool);
}

static void tick(job *j, size_t done, size_t todo, double elapsed) {
  const char *when = j->cli->cfg.progress;
  bool is_wanted = !strcmp(when, "on") || (!strcmp(when, "auto") && j->cli->cfg.verbosity > 0 && isatty(STDERR_FILENO));
  if (!is_wanted) return;
  j->has_line = true;
  fprintf(stderr, "\r\x1b[K%zu of %zu samples, %.1f s, %.1f s left", done, todo, elapsed,
          elapsed / (double)done * (double)(todo - done));
}

static ep_status run_all(job *j) {
  const ep_config *cfg = &j->cli->cfg;
  double start = ep_time_s();
  size_t done = 0, todo = j->in.n - j->n_known;
  if (j->n_known) ep_log(j->cli->ctx, 1, "%zu samples are in the records already", j->n_known);
  for (size_t i = 0; i < j->in.n; i++) {
    if (j->outcome[i] != EP_N_EVAL_OUTCOME) continue;
    if (ep_ctx_should_stop(j->cli->ctx)) return EP_E_STOPPED;
    double t0 = ep_time_s();
    ep_eval_outcome o;
    size_t at = j->in.first + i;
    EP_TRY(ep_evaluate_sample(j->cli->ctx, j->in.g, j->in.data.x + at * j->in.data.n_in, j->in.data.label[at], 0, 1,
                              cfg, j->pool, &o));
    j->outcome[i] = (uint8_t)o;
    EP_TRY(put_record(j, i, ep_time_s() - t0));
    tick(j, ++done, todo, ep_time_s() - start);
  }
  j->seconds = ep_time_s() - start;
  return EP_OK;
}

/* ---- telling ---- */

static void count_class(const job *j, uint32_t class, ep_eval_counts *c) {
  *c = (ep_eval_counts){0};
  for (size_t i = 0; i < j->in.n; i++) {
    if (j->outcome[i] == EP_N_EVAL_OUTCOME || (class != EP_NO_CLASS && j->in.data.label[j->in.first + i] != class))
      continue;
    c->n++;
    c->outcome[j->outcome[i]]++;
  }
  const uint64_t *o = c->outcome;
  c->natural = c->n - o[EP_EVAL_WRONG];
  c->attacked = c->natural - o[EP_EVAL_ATTACKED];
  c->ibp = o[EP_EVAL_IBP];
  c->crown = c->ibp + o[EP_EVAL_CROWN];
  c->alpha = c->crown + o[EP_EVAL_ALPHA];
  c->verified = c->alpha + o[EP_EVAL_PROVED];
}

static void print_line(const char *what, uint64_t k, uint64_t n) {
  double lo, hi;
  ep_evaluate_interval(k, n, 0.05, &lo, &hi);
  printf("%-22s %6.2f %%  (%" PRIu64 " of %" PRIu64 ", 95 %% interval %.2f to %.2f)\n", what,
         n ? 100.0 * (double)k / (double)n : 0, k, n, 100 * lo, 100 * hi);
}

static void print_text(const job *j, const ep_eval_counts *c, const ep_eval_counts *by_class) {
  printf("network: %s\nepsilon: %.15g\nsamples: %" PRIu64 " of %zu\n", j->cli->arg[0], j->cli->cfg.epsilon, c->n,
         j->in.n);
  print_line("natural", c->natural, c->n);
  print_line("attack (PGD)", c->attacked, c->n);
  print_line("certified: intervals", c->ibp, c->n);
  print_line("certified: CROWN", c->crown, c->n);
  print_line("certified: alpha-CROWN", c->alpha, c->n);
  print_line("certified: verified", c->verified, c->n);
  printf("refuted: %" PRIu64 ", open: %" PRIu64 "\n", c->outcome[EP_EVAL_ATTACKED] + c->outcome[EP_EVAL_REFUTED],
         c->outcome[EP_EVAL_OPEN]);
  for (uint32_t k = 0; k < j->in.data.n_class; k++) {
    const ep_eval_counts *b = &by_class[k];
    double n = b->n ? (double)b->n : 1;
    printf("class %u: %" PRIu64 " samples, natural %.2f %%, attack %.2f %%, verified %.2f %%\n", k, b->n,
           100 * (double)b->natural / n, 100 * (double)b->attacked / n, 100 * (double)b->verified / n);
  }
  printf("seconds: %.1f\n", j->seconds);
}

static ep_status tell(job *j) {
  ep_eval_counts all;
  ep_eval_counts *by_class = ep_calloc(j->cli->ctx, j->in.data.n_class, sizeof *by_class);
  if (!by_class) return EP_E_NOMEM;
  count_class(j, EP_NO_CLASS, &all);
  for (uint32_t k = 0; k < j->in.data.n_class; k++) count_class(j, k, &by_class[k]);
  ep_status st = EP_OK;
  if (!strcmp(j->cli->cfg.format, "json"))
    st =
        ep_json_out_eval(j->cli->arg[0], j->in.g, &j->cli->cfg, &all, j->in.data.n_class, by_class, j->seconds, stdout);
  else
    print_text(j, &all, by_class);
  ep_free(j->cli->ctx, by_class);
  return st;
}

ep_status ep_cli_eval(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  ep_ctx_set_deadline(cli->ctx, 0); /* --timeout is per sample */
  ep_watch_catch(cli->ctx);
  double start = ep_time_s();
  ep_status st;
  EP_GOTO(load(&j));
  st = run_all(&j);
  if (j.has_line) fputs("\r\x1b[K", stderr);
  if (st == EP_E_STOPPED) {
    ep_log(cli->ctx, 1, "interrupted: these are the samples so far");
    j.seconds = ep_time_s() - start;
    st = EP_OK;
  }
  if (st == EP_OK) st = tell(&j);
done:
  ep_watch_release();
  if (j.records && fclose(j.records) != 0 && st == EP_OK)
    st = EP_FAIL(cli->ctx, EP_E_IO, "%s: %s", cli->cfg.records, strerror(errno));
  ep_free(cli->ctx, j.outcome);
  ep_pool_destroy(j.pool);
  ep_graph_destroy(j.in.g);
  ep_data_clear(&j.in.data);
  return st;
}
