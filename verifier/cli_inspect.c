/* Command inspect: what a network and a property contain. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/onnx.h"
#include "verifier/cli.h"
#include "verifier/inspect.h"
#include "verifier/json_out.h"
#include "verifier/vnnlib.h"
#include "verifier/witness.h"

/* Stored weights and biases of a node; piecewise and general operators have none that matter here. */
size_t ep_inspect_parameters(const ep_node *n) {
  if (n->low.cls != EP_AFFINE) return 0;
  const ep_affine *a = &n->low.is.affine;
  size_t total = 0;
  for (uint32_t k = 0; k < a->n_terms; k++) total += a->A[k].n_w;
  for (uint32_t i = 0; a->bias && a->n_terms && i < a->A[0].n_out; i++) total += a->bias[i] != 0;
  return total;
}

const char *ep_inspect_class(ep_op_class c) {
  return c == EP_AFFINE ? "affine" : c == EP_UNIVAR ? "univar" : "general";
}

ep_inspect_totals ep_inspect_count(const ep_graph *g) {
  ep_inspect_totals t = {0};
  for (uint32_t k = 0; k < g->n_node; k++) {
    t.parameters += ep_inspect_parameters(&g->node[k]);
    uint32_t n = g->val[g->node[k].out].n;
    if (g->node[k].low.cls == EP_UNIVAR) t.univar += n;
    if (g->node[k].low.cls == EP_GENERAL) t.general += n;
  }
  return t;
}

static void print_network(const ep_graph *g, const char *path) {
  char shape[128];
  const ep_value *x = &g->val[g->input], *y = &g->val[g->output];
  ep_inspect_totals t = ep_inspect_count(g);
  printf("network: %s\nsha256: %s\nopset: %lld\n", path, g->sha256, (long long)g->opset);
  printf("input: %s %s %s, %" PRIu32 " values\n", x->name, g->input_dtype == EP_DT_F64 ? "float64" : "float32",
         ep_shape_text(&x->shape, shape, sizeof shape), x->n);
  printf("output: %s %s, %" PRIu32 " values\n", y->name, ep_shape_text(&y->shape, shape, sizeof shape), y->n);
  printf("parameters: %zu\nnonlinear neurons: %" PRIu32 " (%" PRIu32 " univariate, %" PRIu32 " general)\n\n",
         t.parameters, t.univar + t.general, t.univar, t.general);
  printf("%4s  %-20s %-8s %-16s %8s %10s  %s\n", "#", "operator", "class", "output shape", "neurons", "parameters",
         "name");
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *n = &g->node[k];
    printf("%4" PRIu32 "  %-20s %-8s %-16s %8" PRIu32 " %10zu  %s\n", k, n->op->onnx, ep_inspect_class(n->low.cls),
           ep_shape_text(&n->out_shape, shape, sizeof shape), g->val[n->out].n, ep_inspect_parameters(n), n->name);
  }
}

uint32_t ep_inspect_rows(const ep_input_box *box) {
  uint32_t n = 0;
  for (uint32_t p = 0; p < box->n_poly; p++) n += box->poly[p].n_row;
  return n;
}

static void print_box(const ep_query *q, uint32_t b) {
  const ep_input_box *box = &q->box[b];
  uint32_t n_free = 0, n_row = ep_inspect_rows(box);
  double widest = 0;
  for (uint32_t i = 0; i < q->n_x; i++) {
    n_free += box->hi[i] > box->lo[i];
    widest = fmax(widest, box->hi[i] - box->lo[i]);
  }
  printf("box %" PRIu32 ": %" PRIu32 " of %" PRIu32 " inputs free, widest %.6g, %" PRIu32 " disjuncts, %" PRIu32
         " rows%s\n",
         b, n_free, q->n_x, widest, box->n_poly, n_row, box->is_empty ? ", EMPTY" : "");
}

static void print_property(const ep_query *q) {
  enum { SHOWN = 20 };
  printf("\nproperty: %s\nsha256: %s\ninputs: %" PRIu32 ", outputs: %" PRIu32 ", boxes: %" PRIu32 "%s\n", q->name,
         q->sha256, q->n_x, q->n_y, q->n_box, q->is_empty ? " (no input satisfies it)" : "");
  for (uint32_t b = 0; b < q->n_box && b < SHOWN; b++) print_box(q, b);
  if (q->n_box > SHOWN) printf("... and %" PRIu32 " more boxes\n", q->n_box - SHOWN);
}

/* A counterexample from elsewhere, judged by its own numbers: inputs inside a box and outputs in one of its disjuncts,
 * without any slack. That the network computes those outputs is not checked here. */
static ep_status check_witness(ep_cli *cli, const ep_query *q, int *exit_code) {
  double *v = ep_calloc(cli->ctx, (size_t)q->n_x + q->n_y, sizeof *v);
  if (!v) return EP_E_NOMEM;
  ep_status st = ep_witness_read(cli->ctx, cli->cfg.check, q->n_x, q->n_y, v, v + q->n_x);
  if (st == EP_OK) {
    uint32_t box = ep_witness_check(q, v, v + q->n_x);
    *exit_code = box == UINT32_MAX ? EP_EXIT_UNKNOWN : EP_EXIT_SAT;
    if (box == UINT32_MAX)
      printf("%s: does not violate %s\n", cli->cfg.check, q->name);
    else
      printf("%s: violates %s (input box %" PRIu32 ")\n", cli->cfg.check, q->name, box);
  }
  ep_free(cli->ctx, v);
  return st;
}

ep_status ep_cli_inspect(ep_cli *cli, int *exit_code) {
  ep_graph *g = NULL;
  ep_query *q = NULL;
  ep_status st;
  *exit_code = 0;
  EP_GOTO(ep_cli_check_format(cli));
  if (cli->cfg.check && cli->n_arg < 2)
    EP_GOTO(
        EP_FAIL(cli->ctx, EP_E_OPTION, "--check needs a property: epsproof inspect NET.onnx PROP.vnnlib --check FILE"));
  EP_GOTO(ep_onnx_read(cli->ctx, cli->arg[0], &g));
  if (cli->n_arg > 1) {
    EP_GOTO(ep_vnnlib_read(cli->ctx, cli->arg[1], &q));
    EP_GOTO(ep_query_check(q, g));
  }
  if (cli->cfg.check) {
    st = check_witness(cli, q, exit_code);
  } else if (strcmp(cli->cfg.format, "json") == 0) {
    st = ep_json_out_inspect(cli->arg[0], g, q, stdout);
  } else {
    print_network(g, cli->arg[0]);
    if (q) print_property(q);
  }
done:
  ep_query_destroy(q);
  ep_graph_destroy(g);
  return st;
}
