/* ONNX's own operator cases (Debian package libonnx-testdata) through importer and evaluator. A case has a one-node
 * model, inputs and the expected output; one float input at a time stays variable, the others become initialisers.
 * Prints how many cases ran; any mismatch fails. The folder comes from CMake, EPSPROOF_ONNX_TESTDATA overrides it,
 * EPSPROOF_VERBOSE=1 says why a case is not supported. */
#include "tests/ep_test.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnx/onnx.pb-c.h>

#include "models/eval.h"
#include "models/onnx.h"

enum { MAX_IN = 16, MAX_OPS = 256 };

static uint8_t *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  long len = ftell(f);
  rewind(f);
  uint8_t *p = malloc((size_t)len + 1);
  *n = fread(p, 1, (size_t)len, f);
  fclose(f);
  return p;
}

static Onnx__TensorProto *read_tensor(const char *dir, const char *kind, size_t i) {
  char *path = NULL;
  size_t n;
  assert_true(asprintf(&path, "%s/test_data_set_0/%s_%zu.pb", dir, kind, i) > 0);
  uint8_t *p = slurp(path, &n);
  free(path);
  Onnx__TensorProto *t = p ? onnx__tensor_proto__unpack(NULL, n, p) : NULL;
  free(p);
  return t;
}

/* Float32 values of a tensor; count in *n. */
static float *floats(const Onnx__TensorProto *t, size_t *n) {
  *n = 1;
  for (size_t i = 0; i < t->n_dims; i++) *n *= (size_t)t->dims[i];
  float *f = calloc(*n + 1, sizeof *f);
  for (size_t i = 0; i < *n; i++) {
    if (t->data_type == 11) {
      double d;
      if (t->has_raw_data)
        memcpy(&d, t->raw_data.data + 8 * i, 8);
      else
        d = t->double_data[i];
      f[i] = (float)d;
    } else if (t->has_raw_data) {
      memcpy(&f[i], t->raw_data.data + 4 * i, 4);
    } else {
      f[i] = t->float_data[i];
    }
  }
  return f;
}

/* The model with input `var` variable and all others as initialisers, packed. */
static uint8_t *specialise(Onnx__ModelProto *m, Onnx__TensorProto **in, size_t n_in, size_t var, size_t *n) {
  Onnx__GraphProto *g = m->graph;
  Onnx__TensorProto *init[MAX_IN], **old = g->initializer;
  char *own_name[MAX_IN];
  size_t n_old = g->n_initializer, k = 0;
  for (size_t i = 0; i < n_in; i++) {
    if (i == var || !in[i]) continue;
    own_name[i] = in[i]->name;
    in[i]->name = g->input[i]->name;
    init[k++] = in[i];
  }
  g->initializer = init;
  g->n_initializer = k;
  *n = onnx__model_proto__get_packed_size(m);
  uint8_t *buf = malloc(*n + 1);
  onnx__model_proto__pack(m, buf);
  g->initializer = old;
  g->n_initializer = n_old;
  for (size_t i = 0; i < n_in; i++)
    if (in[i] && i != var) in[i]->name = own_name[i];
  return buf;
}

typedef enum outcome { PASSED, UNSUPPORTED, FAILED } outcome;

static outcome compare(const char *dir, const ep_graph *g, ep_ctx *ctx, const Onnx__TensorProto *x,
                       const Onnx__TensorProto *y) {
  size_t n_x, n_y;
  float *xf = floats(x, &n_x), *want = floats(y, &n_y);
  ep_scratch s;
  ep_scratch_init(&s, ctx);
  ep_trace_f32 t;
  outcome r = FAILED;
  if (n_x == g->val[g->input].n && n_y == g->val[g->output].n && ep_eval_f32(g, 1, xf, &s, &t) == EP_OK) {
    r = PASSED;
    for (size_t i = 0; i < n_y && r == PASSED; i++) {
      float got = t.v[g->output][i];
      if (fabsf(got - want[i]) > 1e-7f + 1e-3f * fabsf(want[i]) && !(isnan(got) && isnan(want[i])) && got != want[i]) {
        print_message("%s: output %zu is %g, expected %g\n", dir, i, (double)got, (double)want[i]);
        r = FAILED;
      }
    }
  } else {
    print_message("%s: sizes %zu -> %zu, expected %u -> %u\n", dir, n_x, n_y, g->val[g->input].n, g->val[g->output].n);
  }
  ep_scratch_clear(&s);
  free(xf);
  free(want);
  return r;
}

static outcome run_variant(const char *dir, Onnx__ModelProto *m, Onnx__TensorProto **in, size_t n_in, size_t var,
                           const Onnx__TensorProto *y) {
  size_t n;
  uint8_t *bytes = specialise(m, in, n_in, var, &n);
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  ep_status st = ep_onnx_read_bytes(ctx, dir, NULL, bytes, n, &g);
  outcome r = UNSUPPORTED;
  if (st == EP_OK) {
    r = compare(dir, g, ctx, in[var], y);
  } else if (st != EP_E_UNSUPPORTED) {
    print_message("%s: refused: %s\n", dir, ep_ctx_error(ctx).text);
    r = FAILED;
  } else if (getenv("EPSPROOF_VERBOSE")) {
    print_message("%s\n", ep_ctx_error(ctx).text);
  }
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  free(bytes);
  return r;
}

static bool is_float(const Onnx__TensorProto *t) { return t->data_type == 1 || t->data_type == 11; }
/* Tensors without elements are not supported: a dimension 0 means "any batch" in models. */
static bool is_empty(const Onnx__TensorProto *t) {
  for (size_t i = 0; i < t->n_dims; i++)
    if (t->dims[i] == 0) return true;
  return false;
}

/* The case with each of its float inputs in turn as the variable one; a single failure fails it. */
static outcome run_model(const char *dir, Onnx__ModelProto *m) {
  Onnx__TensorProto *in[MAX_IN] = {NULL}, *y = read_tensor(dir, "output", 0);
  size_t n_in = m->graph->n_input;
  bool is_fit = y && !is_empty(y) && is_float(y) && n_in <= MAX_IN;
  outcome r = UNSUPPORTED;
  for (size_t i = 0; i < n_in && is_fit; i++) {
    in[i] = read_tensor(dir, "input", i);
    is_fit = !in[i] || !is_empty(in[i]);
  }
  for (size_t var = 0; var < n_in && is_fit && r != FAILED; var++) {
    if (!in[var] || !is_float(in[var])) continue;
    outcome one = run_variant(dir, m, in, n_in, var, y);
    if (one != UNSUPPORTED) r = one;
  }
  for (size_t i = 0; i < n_in && i < MAX_IN; i++)
    if (in[i]) onnx__tensor_proto__free_unpacked(in[i], NULL);
  if (y) onnx__tensor_proto__free_unpacked(y, NULL);
  return r;
}

typedef struct tally {
  int n_passed, n_failed, n_unsupported, n_op;
  char op[MAX_OPS][48]; /* operators of unsupported cases */
  int count[MAX_OPS];
} tally;

static void count_unsupported(tally *t, const char *op) {
  int k = 0;
  while (k < t->n_op && strcmp(t->op[k], op) != 0) k++;
  if (k == MAX_OPS) return;
  if (k == t->n_op) snprintf(t->op[t->n_op++], sizeof t->op[k], "%s", op);
  t->count[k]++;
}

static void run_case(const char *dir, tally *t) {
  char *path = NULL;
  size_t n;
  assert_true(asprintf(&path, "%s/model.onnx", dir) > 0);
  uint8_t *p = slurp(path, &n);
  Onnx__ModelProto *m = p ? onnx__model_proto__unpack(NULL, n, p) : NULL;
  free(path);
  free(p);
  if (!m || !m->graph || !m->graph->n_node) {
    if (m) onnx__model_proto__free_unpacked(m, NULL);
    return;
  }
  outcome r = run_model(dir, m);
  t->n_passed += r == PASSED;
  t->n_failed += r == FAILED;
  t->n_unsupported += r == UNSUPPORTED;
  /* Expanded functions are named by their first node, which tells little: by the case instead. */
  if (r == UNSUPPORTED) count_unsupported(t, m->graph->n_node == 1 ? m->graph->node[0]->op_type : "(several)");
  onnx__model_proto__free_unpacked(m, NULL);
}

static void operator_cases_pass(void **state) {
  (void)state;
  const char *root = getenv("EPSPROOF_ONNX_TESTDATA");
  if (!root) root = EP_ONNX_TESTDATA;
  DIR *d = opendir(root);
  if (!d) {
    print_message("skipped: no ONNX operator cases in '%s' (apt-get install libonnx-testdata)\n", root);
    skip();
  }
  tally t = {0};
  for (struct dirent *e; (e = readdir(d));) {
    char *dir = NULL;
    if (strncmp(e->d_name, "test_", 5) != 0) continue;
    assert_true(asprintf(&dir, "%s/%s", root, e->d_name) > 0);
    run_case(dir, &t);
    free(dir);
  }
  closedir(d);
  print_message("ONNX operator cases: %d run, %d passed, %d not supported:", t.n_passed + t.n_failed, t.n_passed,
                t.n_unsupported);
  for (int k = 0; k < t.n_op; k++) print_message(" %s %d%s", t.op[k], t.count[k], k + 1 < t.n_op ? "," : "\n");
  assert_int_equal(t.n_failed, 0);
  assert_true(t.n_passed > 150);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(operator_cases_pass)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
