/* Differential testing: random small networks (dense, convolutional, residual, binarised, all piecewise linear
 * operators) and random queries, decided by several engines that share little; a `sat` next to an `unsat` is a defect,
 * and is shrunk to a small ONNX and VNN-LIB pair. Prints one line per defect and a summary; exit code 1 when there was
 * a defect.
 *
 * usage: differential [--count N] [--seed S] [--timeout S] [--out DIR] [--engines a,b,..] [--dump DIR] [--liar] */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/differential/sample.h"
#include "verifier/engine.h"

enum { MAX_ENGINES = 16 };

typedef struct options {
  uint64_t count, seed;
  double timeout_s;
  const char *out, *dump;
  bool has_liar; /* one more "engine" that calls every network with a Relu safe: tests the machinery itself */
  size_t n_engine;
  const ep_engine *engine[MAX_ENGINES];
} options;

typedef struct tally {
  uint64_t decided[MAX_ENGINES][2], undecided[MAX_ENGINES], n_sat, n_unsat, n_open, n_defect;
} tally;

static int fail_usage(const char *what) {
  fprintf(stderr, "differential: %s\n", what);
  return 1;
}

static bool has_relu(const sample *s) {
  for (uint32_t k = 0; k < s->n_layer; k++)
    if (s->layer[k].kind == ACTIVATION && strcmp(s->layer[k].activation, "Relu") == 0) return true;
  return false;
}

/* Verdict of one engine; EP_UNKNOWN for anything but sat and unsat, failures are reported through *failure. */
static ep_verdict decide(ep_ctx *ctx, const ep_graph *g, const ep_query *q, const ep_engine *e, double timeout_s,
                         ep_pool *pool, const char **failure) {
  ep_config cfg;
  ep_run run = {0};
  ep_config_default(&cfg);
  ep_ctx_set_deadline(ctx, ep_time_s() + timeout_s);
  ep_status st = ep_run_init(&run, ctx, g, q, &cfg, pool);
  if (st == EP_OK) st = ep_run_engine(&run, e);
  ep_verdict v = st == EP_OK ? run.result.verdict : EP_UNKNOWN;
  if (st != EP_OK && st != EP_E_UNSUPPORTED) {
    *failure = e->name;
    fprintf(stderr, "%s: %s\n", e->name, ep_ctx_error(ctx).text);
  }
  ep_run_clear(&run);
  ep_ctx_clear_error(ctx);
  ep_ctx_set_deadline(ctx, 0);
  return v;
}

/* All engines on one sample: v[n_engine]; *failure names an engine that failed. */
static ep_status decide_all(const options *o, const sample *s, ep_verdict *v, const char **failure) {
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  ep_query *q = NULL;
  ep_pool *pool = NULL;
  if (!ctx) return EP_E_NOMEM;
  *failure = NULL;
  ep_status st = sample_graph(ctx, s, &g);
  if (st == EP_OK) st = sample_query(ctx, s, &q);
  if (st == EP_OK) st = ep_pool_create(ctx, 1, &pool);
  for (size_t e = 0; e < o->n_engine && st == EP_OK; e++)
    v[e] = decide(ctx, g, q, o->engine[e], o->timeout_s, pool, failure);
  if (o->has_liar) v[o->n_engine] = has_relu(s) ? EP_UNSAT : EP_UNKNOWN;
  ep_pool_destroy(pool);
  ep_query_destroy(q);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  return st;
}

static bool disagree(size_t n, const ep_verdict *v) {
  bool has[2] = {false, false};
  for (size_t i = 0; i < n; i++) {
    has[0] |= v[i] == EP_SAT;
    has[1] |= v[i] == EP_UNSAT;
  }
  return has[0] && has[1];
}

static bool shows_defect(const sample *s, void *arg) {
  const options *o = arg;
  ep_verdict v[MAX_ENGINES + 1];
  const char *failure = NULL;
  return decide_all(o, s, v, &failure) == EP_OK && (failure || disagree(o->n_engine + o->has_liar, v));
}

static const char *word(ep_verdict v) { return v == EP_SAT ? "sat" : v == EP_UNSAT ? "unsat" : "undecided"; }

static void report(const options *o, sample *s, uint64_t seed) {
  char stem[900];
  ep_verdict v[MAX_ENGINES + 1];
  const char *failure = NULL;
  ep_ctx *ctx = ep_ctx_create();
  uint32_t steps = sample_shrink(s, shows_defect, (void *)(uintptr_t)o);
  snprintf(stem, sizeof stem, "%s/defect_%llu", o->out, (unsigned long long)seed);
  bool is_written = sample_write(ctx, s, stem) == EP_OK;
  printf("DEFECT seed %llu, %u steps smaller: %s.onnx %s.vnnlib%s\n", (unsigned long long)seed, steps, stem, stem,
         is_written ? "" : " (could not be written)");
  if (decide_all(o, s, v, &failure) == EP_OK) {
    for (size_t e = 0; e < o->n_engine; e++) printf("  %s: %s\n", o->engine[e]->name, word(v[e]));
    if (failure) printf("  %s failed\n", failure);
  }
  fflush(stdout);
  ep_ctx_destroy(ctx);
}

static void run_one(const options *o, uint64_t seed, sample *s, tally *t) {
  ep_verdict v[MAX_ENGINES + 1];
  const char *failure = NULL;
  ep_ctx *ctx = ep_ctx_create();
  ep_status st = sample_make(ctx, seed, s);
  bool is_sat = false, is_unsat = false;
  if (st == EP_OK) st = decide_all(o, s, v, &failure);
  if (st != EP_OK || failure || disagree(o->n_engine + o->has_liar, v)) {
    t->n_defect++;
    report(o, s, seed);
    ep_ctx_destroy(ctx);
    return;
  }
  for (size_t e = 0; e < o->n_engine; e++) {
    is_sat |= v[e] == EP_SAT;
    is_unsat |= v[e] == EP_UNSAT;
    if (v[e] == EP_SAT || v[e] == EP_UNSAT)
      t->decided[e][v[e] == EP_UNSAT]++;
    else
      t->undecided[e]++;
  }
  t->n_sat += is_sat;
  t->n_unsat += is_unsat;
  t->n_open += !is_sat && !is_unsat;
  if (o->dump && (is_sat || is_unsat)) {
    char stem[900];
    snprintf(stem, sizeof stem, "%s/%s_%llu", o->dump, is_sat ? "sat" : "unsat", (unsigned long long)seed);
    if (sample_write(ctx, s, stem) != EP_OK) fprintf(stderr, "differential: %s\n", ep_ctx_error(ctx).text);
  }
  ep_ctx_destroy(ctx);
}

static bool parse_engines(options *o, char *list) {
  char *save = NULL;
  o->n_engine = 0;
  for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
    if (o->n_engine == MAX_ENGINES || !(o->engine[o->n_engine] = ep_engine_find(w))) return false;
    o->n_engine++;
  }
  return o->n_engine > 0;
}

static const char *parse(options *o, int argc, char **argv, char *engines, size_t n) {
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strcmp(argv[i], "--liar") == 0) {
      o->has_liar = true;
      continue;
    }
    if (!value) return "every option but --liar takes a value";
    if (strcmp(argv[i], "--count") == 0)
      o->count = strtoull(value, NULL, 10);
    else if (strcmp(argv[i], "--seed") == 0)
      o->seed = strtoull(value, NULL, 10);
    else if (strcmp(argv[i], "--timeout") == 0)
      o->timeout_s = strtod(value, NULL);
    else if (strcmp(argv[i], "--out") == 0)
      o->out = value;
    else if (strcmp(argv[i], "--dump") == 0)
      o->dump = value;
    else if (strcmp(argv[i], "--engines") == 0)
      snprintf(engines, n, "%s", value);
    else
      return "unknown option (--count --seed --timeout --out --engines --dump --liar)";
    i++;
  }
  return parse_engines(o, engines) ? NULL : "--engines: not a list of engines";
}

int main(int argc, char **argv) {
  options o = {.count = 1000, .seed = 1, .timeout_s = 5, .out = "."};
  char engines[256] = "bab,input-split,milp,smt,sat";
  tally t = {0};
  const char *wrong = parse(&o, argc, argv, engines, sizeof engines);
  if (wrong) return fail_usage(wrong);
  sample *s = malloc(sizeof *s);
  if (!s) return fail_usage("out of memory");
  double t0 = ep_time_s();
  for (uint64_t k = 0; k < o.count; k++) {
    run_one(&o, o.seed + k, s, &t);
    if ((k + 1) % 10000 == 0) {
      printf("%llu queries, %llu defects, %.0f s\n", (unsigned long long)(k + 1), (unsigned long long)t.n_defect,
             ep_time_s() - t0);
      fflush(stdout);
    }
  }
  free(s);
  printf("%llu queries from seed %llu: %llu sat, %llu unsat, %llu decided by no engine, %llu defects (%.1f s)\n",
         (unsigned long long)o.count, (unsigned long long)o.seed, (unsigned long long)t.n_sat,
         (unsigned long long)t.n_unsat, (unsigned long long)t.n_open, (unsigned long long)t.n_defect, ep_time_s() - t0);
  for (size_t e = 0; e < o.n_engine; e++)
    printf("  %-12s %llu sat, %llu unsat, %llu undecided\n", o.engine[e]->name, (unsigned long long)t.decided[e][0],
           (unsigned long long)t.decided[e][1], (unsigned long long)t.undecided[e]);
  return t.n_defect ? 1 : 0;
}
