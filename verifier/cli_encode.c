/* Command encode: network and property as a file for another solver. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "encoders/cnf.h"
#include "encoders/write.h"
#include "kernels/log.h"
#include "models/onnx.h"
#include "verifier/binary_goal.h"
#include "verifier/cli.h"
#include "verifier/cuts.h"
#include "verifier/goal.h"
#include "verifier/vnnlib.h"

typedef struct job {
  ep_cli *cli;
  ep_graph *graph;
  ep_query *query, *single; /* single: the query with one box, see one_box; may be `query` itself */
  ep_pool *pool;
  ep_run run;
  ep_root *root;
  ep_goals goals;
  ep_prob *flat;     /* the mixed-integer form */
  ep_binary *binary; /* cnf, opb: network and property as clauses and cardinalities */
} job;

/* The rows lo <= X_i <= hi of a box, where it is smaller than the hull. */
static ep_status box_rows(ep_query_builder *b, const ep_query *q, const ep_input_box *box, const double *lo,
                          const double *hi) {
  for (uint32_t i = 0; i < q->n_x; i++) {
    uint32_t var = q->n_y + i;
    if (box->lo[i] > lo[i]) EP_TRY(ep_query_builder_row(b, 1, &var, (const double[]){-1}, -box->lo[i], false));
    if (box->hi[i] < hi[i]) EP_TRY(ep_query_builder_row(b, 1, &var, (const double[]){1}, box->hi[i], false));
  }
  return EP_OK;
}

static ep_status merge_boxes(const ep_query *q, ep_query_builder *b, double *lo, double *hi) {
  bool is_first = true;
  for (uint32_t k = 0; k < q->n_box; k++) {
    if (q->box[k].is_empty) continue;
    for (uint32_t i = 0; i < q->n_x; i++) {
      lo[i] = is_first ? q->box[k].lo[i] : fmin(lo[i], q->box[k].lo[i]);
      hi[i] = is_first ? q->box[k].hi[i] : fmax(hi[i], q->box[k].hi[i]);
    }
    is_first = false;
  }
  for (uint32_t i = 0; is_first && i < q->n_x; i++) lo[i] = hi[i] = 0; /* nothing but empty boxes: no polytope either */
  EP_TRY(ep_query_builder_box(b, lo, hi));
  for (uint32_t k = 0; k < q->n_box; k++)
    for (uint32_t p = 0; !q->box[k].is_empty && p < q->box[k].n_poly; p++) {
      EP_TRY(ep_query_builder_polytope(b));
      EP_TRY(box_rows(b, q, &q->box[k], lo, hi));
      for (uint32_t r = 0; r < q->box[k].poly[p].n_row; r++) {
        const ep_row *w = &q->box[k].poly[p].row[r];
        EP_TRY(ep_query_builder_row_itv(b, w->n, w->var, w->coef, w->coef_rel_err, w->rhs, w->is_strict));
      }
    }
  return EP_OK;
}

/* Several boxes become one, their hull; each box's limits join its polytopes' rows. */
static ep_status one_box(job *j) {
  const ep_query *q = j->query;
  j->single = j->query;
  if (q->n_box == 1 && !q->box[0].is_empty) return EP_OK;
  ep_query_builder *b = NULL;
  ep_status st = EP_E_NOMEM;
  double *v = ep_alloc(q->ctx, 2 * ((size_t)q->n_x + 1) * sizeof *v);
  j->single = NULL;
  if (!v) return st;
  EP_GOTO(ep_query_builder_create(q->ctx, q->n_x, q->n_y, &b));
  EP_GOTO(merge_boxes(q, b, v, v + q->n_x));
  st = ep_query_builder_finish(b, q->name, &j->single);
done:
  ep_query_builder_destroy(b);
  ep_free(q->ctx, v);
  return st;
}

static bool is_boolean(const job *j) {
  return strcmp(j->cli->cfg.to, "cnf") == 0 || strcmp(j->cli->cfg.to, "opb") == 0;
}

static ep_status encode_binary(job *j) {
  if (j->query->n_box != 1 || j->query->box[0].is_empty)
    return EP_FAIL(j->cli->ctx, EP_E_UNSUPPORTED, "%s: --to %s takes a property with one (non-empty) input box",
                   j->query->name, j->cli->cfg.to);
  return ep_binary_goal_create(j->cli->ctx, j->graph, j->query, 0, NULL, ep_pool_scratch(j->pool), &j->binary);
}

/* The goals over the linear relaxation of the network that is asked for, with half of the time for better bounds
 * (multi-neuron). Only a property of several disjuncts will keep a choice. */
static ep_status relaxed_goals(job *j) {
  ep_ctx *ctx = j->cli->ctx;
  ep_scratch *s = ep_pool_scratch(j->pool);
  double now_s = ep_time_s(), deadline_s = ep_ctx_deadline(ctx);
  ep_joints joints = {0};
  ep_convex c;
  EP_TRY(ep_cuts_relaxation(ctx, &j->cli->cfg, &c));
  ep_status st = EP_OK;
  if (c == EP_CONVEX_MULTI_NEURON)
    st = ep_cuts_join(j->root, now_s + 0.5 * (deadline_s > 0 ? fmax(0, deadline_s - now_s) : 60), &joints);
  if (st == EP_OK) st = ep_goals_create(j->root, true, s, &j->goals);
  if (st == EP_OK) ep_prob_relax(j->goals.net->prob);
  if (st == EP_OK && joints.n) st = ep_cuts_add(&j->goals, &joints);
  ep_joints_clear(&joints);
  return st;
}

/* Loads, bounds, encodes. */
static ep_status encode(job *j) {
  ep_ctx *ctx = j->cli->ctx;
  EP_TRY(ep_onnx_read(ctx, j->cli->arg[0], &j->graph));
  EP_TRY(ep_vnnlib_read(ctx, j->cli->arg[1], &j->query));
  EP_TRY(ep_query_check(j->query, j->graph));
  if (j->query->declared && j->query->declared->is_float32)
    ep_log(ctx, 1, "warning: the query is about float32 executions, the encoding is of the real function");
  EP_TRY(ep_pool_create(ctx, (unsigned)j->cli->cfg.threads, &j->pool));
  if (is_boolean(j) && j->cli->cfg.relaxation)
    return EP_FAIL(ctx, EP_E_OPTION, "--relaxation: --to %s has no linear relaxation", j->cli->cfg.to);
  if (is_boolean(j)) return encode_binary(j);
  EP_TRY(ep_network_check(ctx, j->graph));
  EP_TRY(one_box(j));
  EP_TRY(ep_run_init(&j->run, ctx, j->graph, j->single, &j->cli->cfg, j->pool));
  EP_TRY(ep_root_create(&j->run, 0, &j->root));
  ep_ascent_opt opt = ep_ascent_default();
  EP_TRY(ep_root_bound(j->root, EP_ROOT_CROWN, &opt));
  if (j->cli->cfg.relaxation)
    EP_TRY(relaxed_goals(j));
  else
    EP_TRY(ep_goals_create(j->root, true, ep_pool_scratch(j->pool), &j->goals));
  ep_prob *p = j->goals.net->prob;
  ep_log(ctx, 2, "%u variables, %u rows, %u unstable neurons, %u pool windows", p->n_var, p->n_row,
         j->goals.net->n_unstable, j->goals.net->n_pool);
  if (!p->is_exact)
    ep_log(ctx, 1, "warning: weights or literals that are not exact were widened: 'sat' of the file may be spurious");
  return ep_prob_close_goals(p);
}

static ep_status write_binary(const job *j, const char *comment, FILE *out) {
  if (strcmp(j->cli->cfg.to, "opb") == 0) return ep_write_opb(j->binary->prob, comment, out);
  ep_cnf *cnf;
  EP_TRY(ep_cnf_create(j->binary->prob, EP_CARD_AUTO, &cnf));
  ep_status st = ep_write_cnf(cnf, comment, out);
  ep_cnf_destroy(cnf);
  return st;
}

static ep_status write_to(job *j, FILE *out) {
  const char *to = j->cli->cfg.to;
  char comment[1024];
  uint32_t n_strict;
  snprintf(comment, sizeof comment, "epsproof %s, network %s (%.12s), property %s (%.12s)\n%s", ep_cli_version(),
           j->cli->arg[0], j->graph->sha256, j->cli->arg[1], j->query->sha256,
           j->cli->cfg.relaxation ? "infeasible = unsat (a relaxation)" : "feasible = sat");
  if (j->binary) return write_binary(j, comment, out);
  if (strcmp(to, "smt2") == 0) return ep_write_smt2(j->goals.net->prob, comment, out);
  EP_TRY(ep_prob_big_m(j->goals.net->prob, &j->flat, &n_strict));
  if (n_strict)
    ep_log(j->cli->ctx, 1,
           "warning: %u strict rows became non-strict: a feasible program may only touch the unsafe set", n_strict);
  return strcmp(to, "lp") == 0 ? ep_write_lp(j->flat, comment, out) : ep_write_mps(j->flat, comment, out);
}

/* Half an encoding would be another problem. Only what is a plain file goes: never a device or a pipe. */
static void remove_file(const char *path) {
  struct stat st;
  if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) remove(path);
}

static ep_status write_file(job *j) {
  ep_ctx *ctx = j->cli->ctx;
  const char *path = j->cli->cfg.output;
  if (!path) return write_to(j, stdout);
  FILE *out = fopen(path, "w");
  if (!out) return EP_FAIL(ctx, EP_E_IO, "cannot write %s", path);
  ep_status st = write_to(j, out);
  if (fclose(out) != 0 && st == EP_OK) st = EP_FAIL(ctx, EP_E_IO, "cannot write %s", path);
  if (st != EP_OK) remove_file(path);
  return st;
}

ep_status ep_cli_encode(ep_cli *cli, int *exit_code) {
  job j = {.cli = cli};
  *exit_code = 0;
  if (strcmp(cli->cfg.format, "text") != 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'encode' has no --format, only --to smt2, lp, mps, cnf or opb");
  ep_status st = encode(&j);
  if (st == EP_OK) st = write_file(&j);
  if (st == EP_E_STOPPED) st = EP_FAIL(cli->ctx, EP_E_LIMIT, "time limit reached before the encoding was written");
  ep_binary_destroy(j.binary);
  ep_prob_destroy(j.flat);
  ep_goals_clear(&j.goals);
  ep_root_destroy(j.root);
  ep_run_clear(&j.run);
  ep_pool_destroy(j.pool);
  if (j.single != j.query) ep_query_destroy(j.single);
  ep_query_destroy(j.query);
  ep_graph_destroy(j.graph);
  return st;
}
