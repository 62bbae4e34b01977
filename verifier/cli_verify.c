/* Commands verify, robust and attack: load, run an engine, tell the answer. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/log.h"
#include "kernels/sha256.h"
#include "models/onnx.h"
#include "verifier/branching.h"
#include "verifier/cli.h"
#include "verifier/cli_attack.h"
#include "verifier/cli_robust.h"
#include "verifier/cuts.h"
#include "verifier/portrait.h"
#include "verifier/report.h"
#include "verifier/vnnlib.h"
#include "verifier/vnnlib_write.h"
#include "verifier/watch.h"

/* Everything one query command owns. */
typedef struct job {
  ep_cli *cli;
  ep_session session;
  ep_watch *watch;
  ep_graph *graph;
  ep_query *query;
  ep_pool *pool;
  ep_run run;
  bool has_run;
  ep_certificate *certificate;
  uint64_t certificate_bytes;
  ep_bytes claim; /* what a query from flags asks, as VNN-LIB, when a certificate is wanted */
} job;

static ep_status unknown_name(ep_ctx *ctx, const char *flag, const char *name, size_t n,
                              const char *(*name_of)(size_t)) {
  char list[256] = "";
  for (size_t i = 0; i < n; i++) {
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", name_of(i));
  }
  return EP_FAIL(ctx, EP_E_OPTION, "--%s: unknown name '%s', known are: %s", flag, name, list);
}

static const char *engine_name(size_t i) { return ep_engines[i].name; }
static const char *branching_name(size_t i) { return ep_branchings[i].name; }

static ep_status check_semantics(ep_ctx *ctx, const ep_config *cfg, bool is_float32) {
  if (is_float32 && !ep_engine_find(cfg->engine)->knows_float32)
    return EP_FAIL(ctx, EP_E_OPTION, "--semantics: the engine '%s' knows real semantics only", cfg->engine);
  return EP_OK;
}

static ep_status check_names(ep_ctx *ctx, const ep_config *cfg) {
  if (!ep_engine_find(cfg->engine)) return unknown_name(ctx, "engine", cfg->engine, ep_n_engines, engine_name);
  if (!ep_branching_find(cfg->branching))
    return unknown_name(ctx, "branching", cfg->branching, ep_n_branchings, branching_name);
  EP_TRY(check_semantics(ctx, cfg, strcmp(cfg->semantics, "float32") == 0));
  if (cfg->certificate && !ep_engine_find(cfg->engine)->can_certify)
    return EP_FAIL(ctx, EP_E_OPTION, "--certificate: the engine '%s' writes none (docs/certificate.md says why)%s",
                   cfg->engine, strcmp(cfg->engine, "sat") == 0 ? "; --proof writes the proof of its clauses" : "");
  if (cfg->relaxation && strcmp(cfg->engine, "lp") != 0 && strcmp(cfg->engine, "milp") != 0)
    return EP_FAIL(ctx, EP_E_OPTION, "--relaxation: the engine '%s' has none to choose (lp and milp have)",
                   cfg->engine);
  ep_convex relaxation;
  return ep_cuts_relaxation(ctx, cfg, &relaxation);
}

/* A certificate is about a property file: a query from flags is written as one, beside the certificate. */
static ep_status state_claim(job *j) {
  ep_sha256 sha;
  uint8_t digest[32];
  if (!j->cli->cfg.certificate || j->session.property) return EP_OK;
  EP_TRY(ep_vnnlib_write(j->query, &j->claim));
  ep_sha256_init(&sha);
  ep_sha256_update(&sha, j->claim.data, j->claim.n);
  ep_sha256_final(&sha, digest);
  ep_sha256_hex(digest, j->query->sha256);
  return EP_OK;
}

static ep_status write_claim(const job *j) {
  char path[4200];
  if (!j->claim.n) return EP_OK;
  snprintf(path, sizeof path, "%.4090s.vnnlib", j->cli->cfg.certificate);
  FILE *f = fopen(path, "w");
  bool is_ok = f && fwrite(j->claim.data, 1, j->claim.n, f) == j->claim.n;
  is_ok = f && fclose(f) == 0 && is_ok;
  return is_ok ? EP_OK : EP_FAIL(j->cli->ctx, EP_E_IO, "%s: %s", path, strerror(errno));
}

/* The query's own name for its network must be the one that --network gives a file for. */
static ep_status check_network_name(job *j) {
  const char *given = j->cli->cfg.network;
  const ep_query_declared *d = j->query->declared;
  if (!given || !d) return EP_OK;
  size_t n = strlen(d->network);
  if (!strncmp(given, d->network, n) && given[n] == '=') return EP_OK;
  return EP_FAIL(j->cli->ctx, EP_E_OPTION, "%s declares the network '%s', --network gives a file for '%.*s'",
                 j->query->name, d->network, (int)strcspn(given, "="), given);
}

static ep_status load_query(job *j) {
  ep_cli *cli = j->cli;
  if (j->session.property) {
    EP_TRY(ep_vnnlib_read(cli->ctx, j->session.property, &j->query));
    EP_TRY(check_network_name(j));
  } else {
    EP_TRY(ep_cli_robust_query(cli, j->graph, &j->query));
  }
  atomic_store(&j->session.query, j->query);
  ep_log(cli->ctx, 2, "%s: %u input boxes (%.3f s)", j->query->name, j->query->n_box, ep_time_s() - cli->start_s);
  return EP_OK;
}

static ep_status load_network(job *j, bool is_float32) {
  ep_cli *cli = j->cli;
  const char *path = j->session.network;
  EP_TRY((is_float32 ? ep_onnx_read_float32 : ep_onnx_read)(cli->ctx, path, &j->graph));
  atomic_store(&j->session.graph, j->graph);
  ep_log(cli->ctx, 2, "%s: %u nodes, %u inputs, %u outputs (%.3f s)", path, j->graph->n_node,
         j->graph->val[j->graph->input].n, j->graph->val[j->graph->output].n, ep_time_s() - cli->start_s);
  return EP_OK;
}

static ep_status run_engine(job *j) {
  ep_cli *cli = j->cli;
  ep_session *s = &j->session;
  if (s->property) EP_TRY(load_query(j)); /* its type may choose the semantics */
  bool is_float32 = strcmp(ep_report_semantics(s), "float32") == 0;
  EP_TRY(check_semantics(cli->ctx, &cli->cfg, is_float32));
  EP_TRY(load_network(j, is_float32));
  if (!s->property) EP_TRY(load_query(j));
  EP_TRY(ep_query_check(j->query, j->graph));
  EP_TRY(state_claim(j));
  EP_TRY(ep_pool_create(cli->ctx, (unsigned)cli->cfg.threads, &j->pool));
  atomic_store(&s->threads, ep_pool_size(j->pool));
  j->has_run = true;
  EP_TRY(ep_run_init(&j->run, cli->ctx, j->graph, j->query, &cli->cfg, j->pool));
  if (cli->cfg.certificate) EP_TRY(ep_certificate_create(cli->ctx, j->graph, j->query, is_float32, &j->certificate));
  j->run.certificate = j->certificate;
  atomic_store(&s->run, &j->run);
  EP_TRY(ep_run_engine(&j->run, ep_engine_find(cli->cfg.engine)));
  if (!j->certificate || j->run.result.verdict != EP_UNSAT) return EP_OK;
  EP_TRY(write_claim(j));
  return ep_certificate_write(j->certificate, cli->cfg.certificate, &j->certificate_bytes);
}

/* Running out of the memory that the user granted is an answer, not a failure; what a file asks beyond a reader's own
 * cap is bad input. */
static bool is_memory_limit(ep_ctx *ctx) {
  ep_error e = ep_ctx_error(ctx);
  return e.code == EP_E_LIMIT && strstr(e.text, "memory limit");
}

/* Turns what became of the run into an answer. */
static ep_answer settle(job *j, ep_status st, int *exit_code) {
  const ep_result *r = &j->run.result;
  ep_answer a = {.verdict = "unknown", .reason = "", .engine_s = NAN};
  *exit_code = EP_EXIT_UNKNOWN;
  if (atomic_load(&j->session.run)) {
    a.n_phase = r->n_phase;
    a.phase = r->phase;
    a.engine_s = r->seconds;
  }
  if (atomic_load(&j->session.run) && (st == EP_OK || r->verdict == EP_SAT)) {
    a.verdict = ep_report_verdict(r->verdict);
    a.reason = r->reason ? r->reason : "";
    if (r->verdict == EP_SAT) a.witness = &r->witness;
    *exit_code = ep_report_exit_code(r->verdict);
  } else if (is_memory_limit(j->cli->ctx)) {
    a.reason = "memory limit";
  } else if (st == EP_E_STOPPED) {
    bool is_interrupted = ep_ctx_was_interrupted(j->cli->ctx);
    a.verdict = is_interrupted ? "unknown" : "timeout";
    a.reason = is_interrupted ? "interrupted" : "timeout";
  } else {
    a.verdict = "error";
  }
  return a;
}

/* Errors go to stderr; programs that asked for a document get one as well. */
static ep_status tell_error(job *j, const ep_answer *answer, ep_status st) {
  ep_error e = ep_ctx_error(j->cli->ctx);
  ep_answer a = *answer;
  a.reason = e.code != EP_OK ? e.text : ep_status_text(st);
  if (strcmp(j->cli->cfg.format, "text") != 0 && strcmp(j->cli->cfg.format, "vnnlib") != 0) {
    ep_status told = ep_report_write(&j->session, &a);
    if (told != EP_OK) ep_log(j->cli->ctx, 1, "the result file could not be written either");
  }
  return st;
}

/* A property has no input of its own: the middle of the box that holds the counterexample stands for it. What is valid
 * is not known either: pixels are [0,1] when the whole box lies there, else the box's smallest and largest values. */
static ep_status picture_of_property(job *j, const ep_witness *w) {
  const ep_input_box *b = &j->query->box[w->box];
  uint32_t n = j->query->n_x;
  double lo = INFINITY, hi = -INFINITY, width = 0, *x = ep_alloc(j->cli->ctx, (n + 1u) * sizeof *x);
  if (!x) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    x[i] = b->lo[i] + 0.5 * (b->hi[i] - b->lo[i]);
    lo = fmin(lo, b->lo[i]);
    hi = fmax(hi, b->hi[i]);
    width = fmax(width, b->hi[i] - b->lo[i]);
  }
  bool is_unit = lo >= 0 && hi <= 1;
  ep_portrait p = {.g = j->graph,
                   .x = x,
                   .adv = w->x,
                   .layout = ep_portrait_layout_of(&j->graph->val[j->graph->input].shape, n, 0),
                   .lo = is_unit ? 0 : lo,
                   .hi = is_unit ? 1 : hi,
                   .label = -1,
                   .epsilon = 0.5 * width};
  ep_status st = ep_portrait_write(j->cli->ctx, &p, j->cli->cfg.picture);
  ep_free(j->cli->ctx, x);
  return st;
}

static void job_clear(job *j) {
  ep_watch_stop(j->watch);
  if (j->has_run) ep_run_clear(&j->run);
  ep_certificate_destroy(j->certificate);
  ep_bytes_clear(&j->claim);
  ep_pool_destroy(j->pool);
  ep_query_destroy(j->query);
  ep_graph_destroy(j->graph);
}

static ep_status run_query(ep_cli *cli, const char *network, const char *property, int *exit_code) {
  job j = {.cli = cli,
           .claim = {.ctx = cli->ctx},
           .session = {.ctx = cli->ctx,
                       .cfg = &cli->cfg,
                       .command = cli->command->name,
                       .network = network,
                       .property = property,
                       .start_s = cli->start_s}};
  ep_status st;
  EP_GOTO(check_names(cli->ctx, &cli->cfg));
  EP_GOTO(ep_report_check_paths(&j.session));
  EP_GOTO(ep_watch_start(&j.session, &j.watch));
  st = run_engine(&j);
  if (!ep_report_claim(&j.session)) { /* the watchdog was first: it tells and ends the process */
    for (;;) pause();
  }
  ep_watch_stop(j.watch);
  j.watch = NULL;
  ep_answer a = settle(&j, st, exit_code);
  a.certificate_bytes = j.certificate_bytes;
  if (strcmp(a.verdict, "error") == 0) {
    assert(st != EP_OK);
    st = tell_error(&j, &a, st);
  } else {
    ep_ctx_clear_error(cli->ctx);
    st = ep_report_write(&j.session, &a);
    if (st == EP_OK && a.witness && cli->cfg.picture)
      st = property ? picture_of_property(&j, a.witness)
                    : ep_cli_robust_picture(cli, j.graph, a.witness->x, cli->cfg.picture);
  }
done:
  job_clear(&j);
  return st;
}

ep_status ep_cli_robust(ep_cli *cli, int *exit_code) {
  char path[4200];
  struct stat info;
  const char *folder = cli->cfg.certificate;
  if (folder && stat(folder, &info) == 0 && S_ISDIR(info.st_mode)) { /* a file of its own for every entry */
    snprintf(path, sizeof path, "%.4090s/robust_%lld.cert", folder, (long long)cli->cfg.index);
    cli->cfg.certificate = path;
  }
  ep_status st = run_query(cli, cli->arg[0], NULL, exit_code);
  cli->cfg.certificate = folder;
  return st;
}

/* verify NET PROP, or the standard's verify PROP --network NAME=NET, which prints in the standard's form. */
ep_status ep_cli_verify(ep_cli *cli, int *exit_code) {
  const char *given = cli->cfg.network, *equals = given ? strchr(given, '=') : NULL;
  if (cli->n_arg == 2) {
    if (given) return EP_FAIL(cli->ctx, EP_E_OPTION, "--network: the network is given already as '%s'", cli->arg[0]);
    return run_query(cli, cli->arg[0], cli->arg[1], exit_code);
  }
  if (!given)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'verify' needs more arguments (usage: epsproof verify %s)",
                   cli->command->args);
  if (!equals || equals == given || !equals[1])
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--network: expected NAME=FILE, found '%s'", given);
  if (strcmp(cli->cfg.format, "text") == 0) cli->cfg.format = "vnnlib";
  return run_query(cli, equals + 1, cli->arg[0], exit_code);
}

ep_status ep_cli_attack(ep_cli *cli, int *exit_code) {
  if (cli->n_arg == 1) return ep_cli_attack_data(cli, exit_code);
  if (cli->cfg.out) return EP_FAIL(cli->ctx, EP_E_OPTION, "--out is for data sets; a property's is --picture FILE.png");
  if (strcmp(cli->cfg.engine, "auto") != 0 && strcmp(cli->cfg.engine, "attack") != 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'attack' takes no --engine (use verify)");
  cli->cfg.engine = "attack";
  return run_query(cli, cli->arg[0], cli->arg[1], exit_code);
}
