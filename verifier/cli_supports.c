/* Command supports: what queries and networks are read, in the words of the VNN-LIB standard's solver interface. Types,
 * versions and operators come from the tables that the readers themselves go by. */
#include <stdio.h>
#include <string.h>

#include "models/float32.h"
#include "models/onnx.h"
#include "verifier/cli.h"
#include "verifier/vnnlib2.h"

static void print_opsets(void) { printf("%d\n%d\n", EP_ONNX_MIN_OPSET, EP_ONNX_MAX_OPSET); }

static void print_types(void) {
  for (size_t i = 0; ep_vnnlib2_types[i]; i++) puts(ep_vnnlib2_types[i]);
}

/* Without a type after it, an operator is there for all types. */
static void print_operators(void) {
  for (size_t i = 0; i < ep_n_ops; i++) {
    ep_float32_cover cover = ep_float32_cover_of(ep_ops[i]->onnx);
    printf("%s%s\n", ep_ops[i]->onnx, cover == EP_FLOAT32_NONE || cover == EP_FLOAT32_PARTLY ? " real" : "");
  }
  for (size_t i = 0; ep_onnx_replaced[i]; i++) puts(ep_onnx_replaced[i]);
}

/* The oldest is VNN-LIB 1.0, which has no version line. */
static void print_versions(void) {
  const char *last = "1.0";
  printf("%s\n", last);
  for (size_t i = 0; ep_vnnlib2_versions[i]; i++) last = ep_vnnlib2_versions[i];
  puts(last);
}

typedef struct capability {
  const char *flag;
  const char *text; /* the answer, or NULL: `print` */
  void (*print)(void);
} capability;

static const capability capabilities[] = {
    {"--onnx-opset-versions", NULL, print_opsets},
    {"--onnx-element-types", NULL, print_types},
    {"--onnx-operators", NULL, print_operators},
    {"--vnnlib-versions", NULL, print_versions},
    {"--hidden-node-theories", "NH", NULL},
    {"--multiple-input-output-theories", "SIO", NULL},
    {"--multiple-network-theories", "SNET", NULL},
    {"--multiple-node-comparison-theories", "SNC\nMNC", NULL},
    {"--arithmetic-complexity-theories", "BND\nOUTC\nLIN", NULL},
    {"--optimised-disjunctive-reasoning", "false", NULL},
    {"--serialise-assignments", "true", NULL},
    {"--unsat-proofs", "false", NULL}, /* certificates are not in the standard's proof format */
};
enum { N_CAPABILITIES = sizeof capabilities / sizeof *capabilities };

ep_status ep_cli_supports(ep_cli *cli, int *exit_code) {
  *exit_code = 0;
  char list[640] = "";
  for (size_t i = 0; i < N_CAPABILITIES; i++) {
    const capability *c = &capabilities[i];
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", c->flag);
    if (strcmp(cli->arg[0], c->flag) != 0) continue;
    if (c->text)
      puts(c->text);
    else
      c->print();
    return EP_OK;
  }
  return EP_FAIL(cli->ctx, EP_E_OPTION, "unknown capability '%s', known are: %s", cli->arg[0], list);
}
