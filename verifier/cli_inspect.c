/* Command inspect: what a network and a property contain. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "models/onnx.h"
#include "verifier/cli.h"
#include "verifier/vnnlib.h"

/* Stored weights and biases of a node; piecewise and general operators have none that matter here. */
static size_t parameters(const ep_node *n) {
  if (n->low.cls != EP_AFFINE) return 0;
  const ep_affine *a = &n->low.is.affine;
  size_t total = 0;
  for (uint32_t k = 0; k < a->n_terms; k++) total += a->A[k].n_w;
  for (uint32_t i = 0; a->bias && a->n_terms && i < a->A[0].n_out; i++) total += a->bias[i] != 0;
  return total;
}

static const char *class_name(ep_op_class c) {
  return c == EP_AFFINE ? "affine" : c == EP_UNIVAR ? "univar" : "general";
}

typedef struct totals {
  size_t parameters;
  uint32_t univar, general; /* neurons */
} totals;

static totals count(const ep_graph *g) {
  totals t = {0};
  for (uint32_t k = 0; k < g->n_node; k++) {
    t.parameters += parameters(&g->node[k]);
    uint32_t n = g->val[g->node[k].out].n;
    if (g->node[k].low.cls == EP_UNIVAR) t.univar += n;
    if (g->node[k].low.cls == EP_GENERAL) t.general += n;
  }
  return t;
}

static void print_network(const ep_graph *g, const char *path) {
  char shape[128];
  const ep_value *x = &g->val[g->input], *y = &g->val[g->output];
  totals t = count(g);
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
    printf("%4" PRIu32 "  %-20s %-8s %-16s %8" PRIu32 " %10zu  %s\n", k, n->op->onnx, class_name(n->low.cls),
           ep_shape_text(&n->out_shape, shape, sizeof shape), g->val[n->out].n, parameters(n), n->name);
  }
}

static void print_box(const ep_query *q, uint32_t b) {
  const ep_input_box *box = &q->box[b];
  uint32_t n_free = 0, n_row = 0;
  double widest = 0;
  for (uint32_t i = 0; i < q->n_x; i++) {
    n_free += box->hi[i] > box->lo[i];
    widest = fmax(widest, box->hi[i] - box->lo[i]);
  }
  for (uint32_t p = 0; p < box->n_poly; p++) n_row += box->poly[p].n_row;
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

static json_t *network_json(const ep_graph *g, const char *path) {
  totals t = count(g);
  json_t *nodes = json_array();
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *n = &g->node[k];
    json_t *shape = json_array();
    for (uint32_t i = 0; i < n->out_shape.rank; i++) json_array_append_new(shape, json_integer(n->out_shape.dim[i]));
    json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:o, s:i, s:I}", "name", n->name, "operator", n->op->onnx,
                                           "class", class_name(n->low.cls), "shape", shape, "neurons",
                                           (int)g->val[n->out].n, "parameters", (json_int_t)parameters(n)));
  }
  return json_pack("{s:s, s:s, s:I, s:i, s:i, s:I, s:i, s:o}", "path", path, "sha256", g->sha256, "opset",
                   (json_int_t)g->opset, "inputs", (int)g->val[g->input].n, "outputs", (int)g->val[g->output].n,
                   "parameters", (json_int_t)t.parameters, "nonlinear_neurons", (int)(t.univar + t.general), "nodes",
                   nodes);
}

static json_t *property_json(const ep_query *q) {
  json_t *boxes = json_array();
  for (uint32_t b = 0; b < q->n_box; b++) {
    const ep_input_box *box = &q->box[b];
    uint32_t n_row = 0;
    for (uint32_t p = 0; p < box->n_poly; p++) n_row += box->poly[p].n_row;
    json_array_append_new(boxes, json_pack("{s:i, s:i, s:b}", "disjuncts", (int)box->n_poly, "rows", (int)n_row,
                                           "is_empty", box->is_empty));
  }
  return json_pack("{s:s, s:s, s:i, s:i, s:b, s:o}", "path", q->name, "sha256", q->sha256, "inputs", (int)q->n_x,
                   "outputs", (int)q->n_y, "is_empty", q->is_empty, "boxes", boxes);
}

static ep_status print_json(ep_cli *cli, const ep_graph *g, const ep_query *q) {
  json_t *o = json_object();
  json_object_set_new(o, "network", network_json(g, cli->arg[0]));
  json_object_set_new(o, "property", q ? property_json(q) : json_null());
  int failed = json_dumpf(o, stdout, JSON_INDENT(1));
  json_decref(o);
  if (failed || puts("") == EOF) return EP_FAIL(cli->ctx, EP_E_IO, "cannot write the JSON result");
  return EP_OK;
}

ep_status ep_cli_inspect(ep_cli *cli, int *exit_code) {
  ep_graph *g = NULL;
  ep_query *q = NULL;
  ep_status st;
  *exit_code = 0;
  EP_GOTO(ep_cli_check_format(cli));
  EP_GOTO(ep_onnx_read(cli->ctx, cli->arg[0], &g));
  if (cli->n_arg > 1) {
    EP_GOTO(ep_vnnlib_read(cli->ctx, cli->arg[1], &q));
    EP_GOTO(ep_query_check(q, g));
  }
  if (strcmp(cli->cfg.format, "json") == 0) {
    st = print_json(cli, g, q);
  } else {
    print_network(g, cli->arg[0]);
    if (q) print_property(q);
  }
done:
  ep_query_destroy(q);
  ep_graph_destroy(g);
  return st;
}
