/* Command bound: certified bounds of the outputs over input boxes, by one or all of the one-shot methods. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bounds/ascent.h"
#include "bounds/forward.h"
#include "encoders/relaxed.h"
#include "kernels/log.h"
#include "models/onnx.h"
#include "verifier/cli.h"
#include "verifier/decimal.h"
#include "verifier/json_out.h"
#include "verifier/vnnlib.h"

typedef enum method { IBP, FORWARD, CROWN, ALPHA, N_METHOD } method;
static const char *const method_names[N_METHOD] = {"ibp", "forward", "crown", "alpha-crown"};
/* Behind them: N_METHOD + c is relaxation c of encoders/relaxations.def. */
enum { N_ALL = N_METHOD + EP_N_CONVEX };
static const char *name_of(unsigned m) {
  return m < N_METHOD ? method_names[m] : ep_convex_name((ep_convex)(m - N_METHOD));
}

typedef struct job {
  ep_cli *cli;
  ep_graph *graph;
  ep_query *query;
  ep_pool *pool;
  bool is_json;
  ep_arena arena; /* the results, kept for JSON */
  ep_bound_result *result;
  size_t n_result;
} job;

/* Outputs as +unit and -unit rows: row 2j is Y_j from below, row 2j+1 is -Y_j from below. */
typedef struct rows {
  size_t n;
  uint32_t *neuron;
  int8_t *sign;
} rows;

static ep_status unit_rows(uint32_t n_y, ep_scratch *s, rows *out) {
  out->n = 2u * (size_t)n_y;
  out->neuron = EP_SCRATCH(s, uint32_t, out->n);
  out->sign = EP_SCRATCH(s, int8_t, out->n);
  if (!out->neuron || !out->sign) return EP_E_NOMEM;
  for (size_t r = 0; r < out->n; r++) {
    out->neuron[r] = (uint32_t)(r / 2);
    out->sign[r] = r % 2 ? -1 : 1;
  }
  return EP_OK;
}

/* The certified pass from the outputs back to the input; bounds are only ever improved. */
static ep_status back_substitute(const job *j, const ep_plan *plan, const ep_relax_f64 *relax, const double *lo,
                                 const double *hi, const rows *r, double *const *alpha, ep_bound_result *out,
                                 ep_scratch *s) {
  double *lin = EP_SCRATCH(s, double, r->n * plan->n_x + 1), *cst = EP_SCRATCH(s, double, 3 * r->n + 1);
  if (!lin || !cst) return EP_E_NOMEM;
  double *err = cst + r->n, *low = err + r->n;
  ep_backward_f64 b = {.plan = plan,
                       .relax = relax,
                       .from = j->graph->output,
                       .rows = r->n,
                       .neuron = r->neuron,
                       .sign = r->sign,
                       .alpha = alpha,
                       .lin = lin,
                       .cst = cst,
                       .err = err};
  EP_TRY(ep_backward_run_f64(&b, s));
  ep_backward_concretize_f64(r->n, plan->n_x, lin, cst, err, NULL, lo, hi, low);
  for (uint32_t i = 0; i < plan->n_y; i++) {
    out->lo[i] = fmax(out->lo[i], low[2 * i]);
    out->hi[i] = fmin(out->hi[i], -low[2 * i + 1]);
  }
  return EP_OK;
}

/* Programs may use as much of the time limit for the layers between as for the outputs. */
static ep_status bound_relaxed(const job *j, ep_plan *plan, ep_convex c, const double *lo, const double *hi,
                               ep_bound_result *out, ep_arena *arena, ep_scratch *s) {
  double now_s = ep_time_s(), deadline_s = ep_ctx_deadline(j->cli->ctx);
  ep_relaxed_opt opt = {.group = (uint32_t)j->cli->cfg.joint,
                        .tightens = true,
                        .until_s = deadline_s > 0 ? now_s + 0.5 * fmax(0, deadline_s - now_s) : 0,
                        .pool = j->pool};
  EP_TRY(ep_relaxed_bounds(plan, c, &opt, lo, hi, out->lo, out->hi, arena, s));
  if (ep_convex_is_program(c) && ep_ctx_should_stop(j->cli->ctx))
    ep_log(j->cli->ctx, 1, "warning: %s: stopped, these are the bounds found so far", ep_convex_name(c));
  return EP_OK;
}

static ep_status bound_with(const job *j, ep_plan *plan, method m, const double *lo, const double *hi,
                            ep_bound_result *out, ep_arena *arena, ep_scratch *s) {
  const ep_graph *g = j->graph;
  ep_trace_itv bounds;
  ep_relax_f64 relax;
  EP_TRY(ep_crown_table(plan, 1, s, &bounds));
  EP_TRY(ep_relax_init_f64(plan, 1, s, &relax));
  memcpy(bounds.lo[g->input], lo, plan->n_x * sizeof *lo);
  memcpy(bounds.hi[g->input], hi, plan->n_x * sizeof *hi);
  ep_crown_opt copt = {.rule = EP_RELAX_ADAPTIVE, .is_interval_only = m == IBP, .pool = j->pool};
  ep_ascent_opt aopt = ep_ascent_default();
  aopt.iterations = (uint32_t)j->cli->cfg.iterations;
  if (m == ALPHA)
    EP_TRY(ep_alpha_bounds(plan, &copt, &aopt, &bounds, &relax, arena, s));
  else if (m == FORWARD)
    EP_TRY(ep_forward_run(plan, copt.rule, &bounds, &relax, arena, s));
  else
    EP_TRY(ep_crown_run(plan, &copt, &bounds, &relax, arena, s));
  memcpy(out->lo, bounds.lo[g->output], plan->n_y * sizeof *lo);
  memcpy(out->hi, bounds.hi[g->output], plan->n_y * sizeof *hi);
  if (m == IBP) return EP_OK;
  EP_TRY(ep_plan_refine(plan, &bounds, s));
  rows r;
  double **alpha = NULL;
  EP_TRY(unit_rows(plan->n_y, s, &r));
  ep_snet net;
  if (m == ALPHA) {
    EP_TRY(ep_snet_init(&net, plan, &bounds, &relax, g->output, s));
    ep_ascent a = {.net = &net, .n = r.n, .neuron = r.neuron, .sign = r.sign};
    EP_TRY(ep_ascent_slopes(&a, &aopt, &relax, s, &alpha));
  }
  return back_substitute(j, plan, &relax, lo, hi, &r, alpha, out, s);
}

double ep_bound_mean_width(const ep_bound_result *r, uint32_t n_y) {
  double sum = 0;
  for (uint32_t i = 0; i < n_y; i++) sum += r->hi[i] - r->lo[i];
  return n_y ? sum / n_y : 0;
}

/* 17 digits are within half an ulp of the double: one step outward keeps the printed number on the safe side. */
static void print_text(const ep_bound_result *r, uint32_t n_y) {
  printf("%s, box %" PRIu32 ": mean width %.6g, %.3f s\n", r->method, r->box, ep_bound_mean_width(r, n_y), r->seconds);
  for (uint32_t i = 0; i < n_y; i++) printf("  Y_%" PRIu32 " in [%.17g, %.17g]\n", i, ep_dn(r->lo[i]), ep_up(r->hi[i]));
}

static ep_status bound_method(job *j, uint32_t box, unsigned m) {
  const ep_input_box *b = &j->query->box[box];
  ep_scratch *s = ep_pool_scratch(j->pool);
  ep_scratch_mark mark = ep_scratch_save(s);
  ep_arena arena;
  ep_arena_init(&arena, j->cli->ctx);
  ep_plan *plan = NULL;
  uint32_t n_y = j->query->n_y;
  ep_bound_result *r = &j->result[j->n_result];
  r->box = box;
  r->method = name_of(m);
  r->lo = EP_ARENA(&j->arena, double, n_y + 1u);
  r->hi = EP_ARENA(&j->arena, double, n_y + 1u);
  double t0 = ep_time_s();
  ep_status st = EP_E_NOMEM;
  if (!r->lo || !r->hi) goto done;
  EP_GOTO(ep_plan_create(j->cli->ctx, j->graph, b->lo, b->hi, s, &plan));
  if (m < N_METHOD)
    EP_GOTO(bound_with(j, plan, (method)m, b->lo, b->hi, r, &arena, s));
  else
    EP_GOTO(bound_relaxed(j, plan, (ep_convex)(m - N_METHOD), b->lo, b->hi, r, &arena, s));
  r->seconds = ep_time_s() - t0;
  j->n_result++;
  if (!j->is_json) print_text(r, n_y);
done:
  ep_plan_destroy(plan);
  ep_arena_clear(&arena);
  ep_scratch_restore(s, mark);
  return st;
}

/* "all" are the one-shot methods, "relaxations" those of the registry; a name that both have is the former. */
static bool is_wanted(const char *wanted, unsigned m) {
  if (strcmp(wanted, "all") == 0) return m < N_METHOD;
  if (strcmp(wanted, "relaxations") == 0) return m >= N_METHOD;
  if (strcmp(wanted, name_of(m)) != 0) return false;
  for (unsigned k = 0; k < m; k++)
    if (strcmp(name_of(k), name_of(m)) == 0) return false;
  return true;
}

static ep_status wanted_methods(const job *j, bool *is_in) {
  const ep_config *cfg = &j->cli->cfg;
  ep_convex c;
  bool has_any = false;
  if (cfg->method && cfg->relaxation)
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "'bound' takes either --method or --relaxation");
  if (cfg->relaxation && !ep_convex_find(cfg->relaxation, &c))
    return EP_FAIL(j->cli->ctx, EP_E_OPTION, "--relaxation: '%s' is not one of 'epsproof help relaxations'",
                   cfg->relaxation);
  const char *wanted = cfg->relaxation ? cfg->relaxation : cfg->method ? cfg->method : "all";
  for (unsigned m = 0; m < N_ALL; m++) has_any |= is_in[m] = is_wanted(wanted, m);
  if (has_any) return EP_OK;
  return EP_FAIL(j->cli->ctx, EP_E_OPTION,
                 "--method: '%s' is not one of all|ibp|forward|crown|alpha-crown|relaxations|deeppoly-0|deeppoly-1|"
                 "triangle|multi-neuron",
                 wanted);
}

static ep_status bound_all(job *j) {
  bool is_in[N_ALL];
  EP_TRY(wanted_methods(j, is_in));
  j->result = EP_ARENA(&j->arena, ep_bound_result, (size_t)j->query->n_box * N_ALL + 1);
  if (!j->result) return EP_E_NOMEM;
  for (uint32_t box = 0; box < j->query->n_box; box++) {
    if (j->query->box[box].is_empty) {
      if (!j->is_json) printf("box %" PRIu32 ": empty\n", box);
      continue;
    }
    for (unsigned m = 0; m < N_ALL; m++)
      if (is_in[m]) EP_TRY(bound_method(j, box, m));
  }
  return EP_OK;
}

/* One range for all inputs, from --box. */
static ep_status box_query(job *j) {
  ep_ctx *ctx = j->cli->ctx;
  const char *text = j->cli->cfg.box, *comma = strchr(text, ',');
  uint32_t n_x = j->graph->val[j->graph->input].n, n_y = j->graph->val[j->graph->output].n;
  char low[64];
  ep_itv lo, hi;
  if (!comma || (size_t)(comma - text) >= sizeof low)
    return EP_FAIL(ctx, EP_E_OPTION, "--box: '%s' is not of the form LO,HI", text);
  snprintf(low, sizeof low, "%.*s", (int)(comma - text), text);
  if (!ep_decimal_parse(low, &lo) || !ep_decimal_parse(comma + 1, &hi) || lo.lo > hi.hi)
    return EP_FAIL(ctx, EP_E_OPTION, "--box: '%s' is not a range of numbers LO,HI", text);
  ep_query_builder *b = NULL;
  double *v = ep_alloc(ctx, 2 * (size_t)n_x * sizeof *v);
  ep_status st = EP_E_NOMEM;
  if (!v) return st;
  for (uint32_t i = 0; i < n_x; i++) {
    v[i] = lo.lo;
    v[n_x + i] = hi.hi;
  }
  EP_GOTO(ep_query_builder_create(ctx, n_x, n_y, &b));
  EP_GOTO(ep_query_builder_box(b, v, v + n_x));
  EP_GOTO(ep_query_builder_polytope(b));
  st = ep_query_builder_finish(b, "--box", &j->query);
done:
  ep_query_builder_destroy(b);
  ep_free(ctx, v);
  return st;
}

static ep_status load(job *j) {
  ep_cli *cli = j->cli;
  EP_TRY(ep_cli_check_format(cli));
  if ((cli->n_arg == 2) == (cli->cfg.box != NULL))
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'bound' needs either a property or --box LO,HI");
  EP_TRY(ep_onnx_read(cli->ctx, cli->arg[0], &j->graph));
  EP_TRY(cli->cfg.box ? box_query(j) : ep_vnnlib_read(cli->ctx, cli->arg[1], &j->query));
  EP_TRY(ep_query_check(j->query, j->graph));
  return ep_pool_create(cli->ctx, (unsigned)cli->cfg.threads, &j->pool);
}

ep_status ep_cli_bound(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli, .is_json = strcmp(cli->cfg.format, "json") == 0};
  *exit_code = 0;
  ep_arena_init(&j.arena, cli->ctx);
  ep_status st;
  EP_GOTO(load(&j));
  EP_GOTO(bound_all(&j));
  if (j.is_json) st = ep_json_out_bound(cli->arg[0], j.graph, j.query, j.n_result, j.result, stdout);
done:
  ep_arena_clear(&j.arena);
  ep_pool_destroy(j.pool);
  ep_query_destroy(j.query);
  ep_graph_destroy(j.graph);
  return st;
}
