/* max(x_1, .., x_d) over [0,1]^d: one multi-neuron problem whose size grows with d, against the leaves that branch and
 * bound over neurons needs with DeepPoly's lines. The network takes one input after the other, m <- x_k + relu(m -
 * x_k). Leaves depend on the order of the splits: first layer first doubles them with every input; last layer first
 * closes one side of every split at once. What the program's own engine `bab` needs stands beside them. */
#include <stdlib.h>
#include <string.h>

#include "benchmarks/expressivity/study.h"
#include "benchmarks/plot.h"
#include "encoders/relaxed.h"
#include "verifier/engine.h"

enum { MAX_DIM = 24, MAX_EXACT = 8, MOST_LEAVES = 1 << 20 };
/* What trees have to prove: max < 1 + MARGIN. The search's own float32 arithmetic needs some room. */
#define MARGIN 1e-3

static ep_status layer(ep_builder *b, const char *in, const char *out, uint32_t n_out, uint32_t n_in, double *w) {
  char name[24];
  ep_tensor t = {EP_DT_F32, {2, {n_out, n_in}}, (size_t)n_out * n_in, w, NULL};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  snprintf(name, sizeof name, "w_%s", out);
  EP_TRY(ep_builder_constant(b, name, &t));
  return ep_builder_node(b, "Gemm", out, 2, (const char *[]){in, name}, out, &(ep_attrs){1, &trans});
}

/* Layer k: (m - x_{k+1}, x_{k+1}, .., x_d), ReLU; m = x_1 at first, then the sum of the first two values. */
static ep_status make_max(ep_ctx *ctx, uint32_t d, ep_graph **out) {
  ep_builder *b;
  ep_shape s = {.rank = 2, .dim = {1, d}};
  char in[16] = "x", z[16], a[16];
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st = ep_builder_input(b, "x", EP_DT_F32, &s);
  for (uint32_t k = 1; k < d && st == EP_OK; k++) {
    double w[(MAX_DIM + 1) * (MAX_DIM + 1)] = {0};
    uint32_t more = k > 1, n_out = d - k + 1, n_in = n_out + more;
    w[0] = w[more] = 1;
    w[more + 1] = -1;
    for (uint32_t i = 1; i < n_out; i++) w[i * n_in + i + more] = 1;
    snprintf(z, sizeof z, "z%u", k);
    snprintf(a, sizeof a, "a%u", k);
    st = layer(b, in, z, n_out, n_in, w);
    if (st == EP_OK) st = ep_builder_node(b, "Relu", a, 1, (const char *[]){z}, a, &(ep_attrs){0});
    memcpy(in, a, sizeof in);
  }
  if (st == EP_OK) st = layer(b, in, "y", 1, 2, (double[]){1, 1});
  if (st == EP_OK) st = ep_builder_finish(b, "y", out);
  ep_builder_destroy(b);
  return st;
}

typedef struct work {
  ep_ctx *ctx;
  ep_graph *g;
  ep_scratch s;
  ep_arena arena;
  ep_plan *plan;
  uint32_t d;
  double lo[MAX_DIM], hi[MAX_DIM];
  int phase[MAX_DIM]; /* of the ReLU of layer k: 0 open, 1 active, -1 inactive */
  bool is_forward;
  uint64_t leaves;
} work;

/* DeepPoly-0's upper bound with the phases decided so far: a decided neuron's bounds are cut at 0. */
static ep_status upper_with_phases(work *w, double *upper) {
  ep_trace_itv b;
  ep_relax_f64 relax;
  uint32_t zero = 0;
  ep_scratch_mark m = ep_scratch_save(&w->s);
  EP_TRY(ep_crown_table(w->plan, 1, &w->s, &b));
  EP_TRY(ep_relax_init_f64(w->plan, 1, &w->s, &relax));
  memcpy(b.lo[w->g->input], w->lo, w->d * sizeof *w->lo);
  memcpy(b.hi[w->g->input], w->hi, w->d * sizeof *w->hi);
  for (uint32_t i = 0; i < w->plan->n_z; i++) {
    if (w->phase[i] > 0) b.lo[w->plan->z_val[i]][0] = 0;
    if (w->phase[i] < 0) b.hi[w->plan->z_val[i]][0] = 0;
  }
  ep_crown_opt opt = {.rule = EP_RELAX_ZERO};
  EP_TRY(ep_crown_run(w->plan, &opt, &b, &relax, &w->arena, &w->s));
  EP_TRY(ep_crown_tighten(w->plan, &relax, w->g->output, 1, &zero, &zero, NULL, NULL, &b, &w->s));
  *upper = b.hi[w->g->output][0];
  ep_scratch_restore(&w->s, m);
  return EP_OK;
}

/* Leaves of the tree that proves max <= 1 + MARGIN. */
static ep_status count_leaves(work *w) {
  double upper;
  EP_TRY(upper_with_phases(w, &upper));
  uint32_t n = w->d - 1, k = w->is_forward ? 0 : n - 1;
  while (k < n && w->phase[k]) w->is_forward ? k++ : k--; /* k wraps: none left */
  if (upper <= 1 + MARGIN || k >= n || w->leaves >= MOST_LEAVES) {
    w->leaves++;
    return EP_OK;
  }
  for (int phase = 1; phase >= -1; phase -= 2) {
    w->phase[k] = phase;
    EP_TRY(count_leaves(w));
  }
  w->phase[k] = 0;
  return EP_OK;
}

/* Domains that the engine `bab` looks at for "max > 1 + MARGIN is impossible", and whether it says so. */
static ep_status run_bab(work *w, uint64_t *domains, bool *is_proved) {
  ep_query_builder *b = NULL;
  ep_query *q = NULL;
  ep_pool *pool = NULL;
  ep_run run = {0};
  ep_config cfg;
  uint32_t y = 0;
  const double minus = -1;
  ep_status st;
  ep_config_default(&cfg);
  EP_GOTO(ep_query_builder_create(w->ctx, w->d, 1, &b));
  EP_GOTO(ep_query_builder_box(b, w->lo, w->hi));
  EP_GOTO(ep_query_builder_polytope(b));
  EP_GOTO(ep_query_builder_row(b, 1, &y, &minus, -1 - MARGIN, false));
  EP_GOTO(ep_query_builder_finish(b, "max", &q));
  EP_GOTO(ep_pool_create(w->ctx, 1, &pool));
  EP_GOTO(ep_run_init(&run, w->ctx, w->g, q, &cfg, pool));
  ep_ctx_set_deadline(w->ctx, ep_time_s() + 60);
  EP_GOTO(ep_run_engine(&run, ep_engine_find("bab")));
  *domains = 0;
  for (uint32_t i = 0; i < run.result.n_phase; i++) *domains += run.result.phase[i].domains;
  *is_proved = run.result.verdict == EP_UNSAT;
done:
  ep_ctx_set_deadline(w->ctx, 0);
  ep_run_clear(&run);
  ep_pool_destroy(pool);
  ep_query_destroy(q);
  ep_query_builder_destroy(b);
  return st;
}

/* The exact analyser: upper bound, constraints of its problem, seconds. */
static ep_status run_exactly(work *w, mpq_t upper, uint32_t *rows, double *seconds) {
  ep_exact *a;
  double t0 = ep_time_s();
  mpq_t *lo = ep_rational_create(w->ctx, w->d), *hi = ep_rational_create(w->ctx, w->d);
  for (uint32_t i = 0; i < w->d; i++) mpq_set_ui(hi[i], 1, 1);
  ep_status st = ep_exact_create(w->ctx, w->g, EP_CONVEX_MULTI_NEURON, lo, hi, &a);
  if (st == EP_OK) st = ep_exact_output(a, 0, true, upper, NULL);
  if (st == EP_OK) *rows = a->lp.n_row;
  ep_exact_destroy(a);
  *seconds = ep_time_s() - t0;
  ep_rational_destroy(w->ctx, lo, w->d);
  ep_rational_destroy(w->ctx, hi, w->d);
  return st;
}

typedef struct lines {
  plot_series rows, forward, backward, bab;
} lines;

static ep_status one_dimension(study *s, work *w, FILE *csv, lines *l) {
  ep_relaxed_opt opt = {.group = 3, .tightens = true};
  double lower, joint, triangle, t0 = ep_time_s(), seconds, exact_s = 0;
  uint64_t leaves[2], domains = 0;
  uint32_t rows = 0;
  bool is_proved = false, is_exact = w->d <= MAX_EXACT;
  mpq_t upper;
  mpq_init(upper);
  ep_status st;
  EP_GOTO(ep_relaxed_bounds(w->plan, EP_CONVEX_MULTI_NEURON, &opt, w->lo, w->hi, &lower, &joint, &w->arena, &w->s));
  seconds = ep_time_s() - t0;
  EP_GOTO(ep_relaxed_bounds(w->plan, EP_CONVEX_TRIANGLE, &opt, w->lo, w->hi, &lower, &triangle, &w->arena, &w->s));
  if (is_exact) EP_GOTO(run_exactly(w, upper, &rows, &exact_s));
  for (int order = 0; order < 2; order++) {
    w->is_forward = order == 0;
    w->leaves = 0;
    EP_GOTO(count_leaves(w));
    leaves[order] = w->leaves;
  }
  EP_GOTO(run_bab(w, &domains, &is_proved));
  bool is_tight = joint >= 1 && joint < 1 + 1e-6 && (!is_exact || mpq_cmp_ui(upper, 1, 1) == 0);
  s->unexpected += !is_tight;
  printf("  d = %2u: triangle %.6g, joint hulls %.17g (%.3f s)", w->d, triangle, joint, seconds);
  if (is_exact) gmp_printf(", exactly %Qd with %u constraints (%.3f s)", upper, rows, exact_s);
  printf("; leaves first layer first %llu%s, last first %llu; bab %llu domains%s\n", (unsigned long long)leaves[0],
         leaves[0] >= MOST_LEAVES ? " (stopped)" : "", (unsigned long long)leaves[1], (unsigned long long)domains,
         is_proved ? "" : " (not proved)");
  fprintf(csv, "%u,%.9g,%.17g,%.6f,%u,%.6f,%llu,%llu,%llu,%d\n", w->d, triangle, joint, seconds, rows, exact_s,
          (unsigned long long)leaves[0], (unsigned long long)leaves[1], (unsigned long long)domains, is_proved);
  if (rows) plot_add(&l->rows, w->d, rows);
  plot_add(&l->forward, w->d, (double)leaves[0]);
  plot_add(&l->backward, w->d, (double)leaves[1]);
  plot_add(&l->bab, w->d, (double)(domains ? domains : 1));
done:
  mpq_clear(upper);
  return st;
}

static ep_status with_dimension(study *s, uint32_t d, FILE *csv, lines *l) {
  work w = {.ctx = s->ctx, .d = d};
  for (uint32_t i = 0; i < d; i++) w.hi[i] = 1;
  EP_TRY(make_max(s->ctx, d, &w.g));
  ep_scratch_init(&w.s, s->ctx);
  ep_arena_init(&w.arena, s->ctx);
  ep_status st = ep_plan_create(s->ctx, w.g, w.lo, w.hi, &w.s, &w.plan);
  if (st == EP_OK) st = one_dimension(s, &w, csv, l);
  ep_plan_destroy(w.plan);
  ep_arena_clear(&w.arena);
  ep_scratch_clear(&w.s);
  ep_graph_destroy(w.g);
  return st;
}

ep_status study_dimension(study *s) {
  lines l = {.rows = {.name = "constraints of the joint problem"},
             .forward = {.name = "leaves, first layer first"},
             .backward = {.name = "leaves, last layer first"},
             .bab = {.name = "domains of engine bab"}};
  FILE *csv = plot_table(s->folder, "dimension.csv",
                         "d,triangle,multi_neuron,seconds,constraints,exact_seconds,leaves_first_layer_first,"
                         "leaves_last_layer_first,bab_domains,bab_proved");
  char path[4096];
  ep_status st = EP_OK;
  printf("max over [0,1]^d:\n");
  for (uint32_t d = 2; d <= s->dims && d <= MAX_DIM && st == EP_OK; d++) {
    st = with_dimension(s, d, csv, &l);
    fflush(stdout);
  }
  snprintf(path, sizeof path, "%.4000s/dimension.svg", s->folder);
  const plot_series series[4] = {l.rows, l.forward, l.backward, l.bab};
  const plot_axes axes = {"max over [0,1]^d: one joint problem or a tree", "inputs", false, true};
  if (fclose(csv) != 0 && st == EP_OK) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write dimension.csv");
  if (st == EP_OK && plot_write(path, &axes, 4, series) != 0) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write %s", path);
  return st;
}
