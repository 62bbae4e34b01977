/* ONNX's own operator cases (Debian package libonnx-testdata) through importer and evaluator. A case has a one-node
 * model, inputs and the expected output; one float input at a time stays variable, the others become initialisers.
 * Prints how many cases ran; any mismatch fails. The folder comes from CMake, EPSPROOF_ONNX_TESTDATA overrides it. */
#include "tests/ep_test.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnx/onnx.pb-c.h>

#include "models/eval.h"
#include "models/onnx.h"

enum { MAX_IN = 16 };

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
  char path[1024];
  size_t n;
  snprintf(path, sizeof path, "%s/test_data_set_0/%s_%zu.pb", dir, kind, i);
  uint8_t *p = slurp(path, &n);
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
  }
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  free(bytes);
  return r;
}

static outcome run_case(const char *dir) {
  char path[1024];
  size_t n;
  snprintf(path, sizeof path, "%s/model.onnx", dir);
  uint8_t *p = slurp(path, &n);
  Onnx__ModelProto *m = p ? onnx__model_proto__unpack(NULL, n, p) : NULL;
  free(p);
  outcome r = UNSUPPORTED;
  Onnx__TensorProto *in[MAX_IN] = {NULL}, *y = m ? read_tensor(dir, "output", 0) : NULL;
  size_t n_in = m && m->graph ? m->graph->n_input : 0;
  bool is_empty = false; /* tensors without elements are not supported: a dimension 0 means "any batch" in models */
  for (size_t i = 0; y && i < y->n_dims; i++) is_empty |= y->dims[i] == 0;
  for (size_t i = 0; i < n_in && i < MAX_IN; i++) {
    Onnx__TensorProto *t = read_tensor(dir, "input", i);
    for (size_t k = 0; t && k < t->n_dims; k++) is_empty |= t->dims[k] == 0;
    if (t) onnx__tensor_proto__free_unpacked(t, NULL);
  }
  if (y && !is_empty && n_in <= MAX_IN && (y->data_type == 1 || y->data_type == 11)) {
    for (size_t i = 0; i < n_in; i++) in[i] = read_tensor(dir, "input", i);
    for (size_t var = 0; var < n_in && r != FAILED; var++) {
      if (!in[var] || (in[var]->data_type != 1 && in[var]->data_type != 11)) continue;
      outcome one = run_variant(dir, m, in, n_in, var, y);
      if (one != UNSUPPORTED) r = one;
    }
  }
  for (size_t i = 0; i < n_in && i < MAX_IN; i++)
    if (in[i]) onnx__tensor_proto__free_unpacked(in[i], NULL);
  if (y) onnx__tensor_proto__free_unpacked(y, NULL);
  if (m) onnx__model_proto__free_unpacked(m, NULL);
  return r;
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
  int n_passed = 0, n_unsupported = 0, n_failed = 0;
  for (struct dirent *e; (e = readdir(d));) {
    char dir[1024];
    if (strncmp(e->d_name, "test_", 5) != 0) continue;
    snprintf(dir, sizeof dir, "%s/%s", root, e->d_name);
    outcome r = run_case(dir);
    n_passed += r == PASSED;
    n_unsupported += r == UNSUPPORTED;
    n_failed += r == FAILED;
  }
  closedir(d);
  print_message("ONNX operator cases: %d run, %d passed, %d not supported\n", n_passed + n_failed, n_passed,
                n_unsupported);
  assert_int_equal(n_failed, 0);
  assert_true(n_passed > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(operator_cases_pass)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
