/* Building graphs: names, errors with one clear line, constant folding and shape arithmetic, aliases, dead nodes, and
 * what happens when memory runs out at any point. */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "models/eval.h"

typedef struct fixture {
  ep_ctx *ctx;
  ep_builder *b;
} fixture;

static int open_fixture(void **state) {
  fixture *f = test_calloc(1, sizeof *f);
  f->ctx = ep_ctx_create();
  assert_int_equal(ep_builder_create(f->ctx, 13, &f->b), EP_OK);
  *state = f;
  return 0;
}
static int close_fixture(void **state) {
  fixture *f = *state;
  ep_builder_destroy(f->b);
  ep_ctx_destroy(f->ctx);
  test_free(f);
  return 0;
}

/* The call fails with that code and its message holds `text`. */
static void expect(fixture *f, ep_status st, ep_status want, const char *text) {
  ep_error e = ep_ctx_error(f->ctx);
  if (st != want || e.code != want || !strstr(e.text, text) || strchr(e.text, '\n'))
    fail_msg("status %d (%s), expected %d and '%s'", st, e.text, want, text);
  ep_ctx_clear_error(f->ctx);
}
static ep_status input(fixture *f, int64_t n) { return ep_builder_input(f->b, "x", EP_DT_F32, &(ep_shape){2, {1, n}}); }
static ep_status floats(fixture *f, const char *name, ep_shape s, const double *v) {
  return ep_builder_constant(f->b, name, &(ep_tensor){EP_DT_F32, s, ep_shape_count(&s), v, NULL});
}
static ep_status ints(fixture *f, const char *name, int64_t n, const int64_t *v) {
  return ep_builder_constant(f->b, name, &(ep_tensor){EP_DT_I64, {1, {n}}, (size_t)n, NULL, v});
}
static ep_status node(fixture *f, const char *op, const char *out, const char *a, const char *b, const ep_attr *attr) {
  const char *in[2] = {a, b};
  ep_attrs as = {attr ? 1 : 0, attr};
  return ep_builder_node(f->b, op, out, b ? 2 : a ? 1 : 0, in, out, &as);
}
static void ok(fixture *f, ep_status st) {
  if (st != EP_OK) fail_msg("%s", ep_ctx_error(f->ctx).text);
}

static void names(void **state) {
  fixture *f = *state;
  double v[2] = {1, 2};
  ok(f, input(f, 2));
  expect(f, input(f, 2), EP_E_UNSUPPORTED, "more than one input");
  ok(f, floats(f, "c", (ep_shape){1, {2}}, v));
  expect(f, floats(f, "c", (ep_shape){1, {2}}, v), EP_E_SYNTAX, "'c' is defined twice");
  expect(f, floats(f, "x", (ep_shape){1, {2}}, v), EP_E_SYNTAX, "'x' is defined twice");
  expect(f, node(f, "Relu", "r", "nowhere", NULL, NULL), EP_E_SYNTAX, "node 'r' (Relu): input 'nowhere'");
  ok(f, node(f, "Relu", "r", "x", NULL, NULL));
  expect(f, node(f, "Relu", "r", "x", NULL, NULL), EP_E_SYNTAX, "'r' is defined twice");
  ep_graph *g;
  expect(f, ep_builder_finish(f->b, "missing", &g), EP_E_SYNTAX, "'missing'");
  assert_null(g);
  expect(f, ep_builder_finish(f->b, "c", &g), EP_E_UNSUPPORTED, "'c' does not depend on the input");
}

static void refusals(void **state) {
  fixture *f = *state;
  double bad[3] = {1, NAN, 3}, inf[1] = {INFINITY}, two[4] = {1, 2, 3, 4}, zero[2] = {1, 0};
  int64_t shape[2] = {5, 5};
  ok(f, input(f, 2));
  expect(f, floats(f, "weights", (ep_shape){1, {3}}, bad), EP_E_SYNTAX, "'weights' holds nan at element 1");
  expect(f, floats(f, "w2", (ep_shape){0}, inf), EP_E_SYNTAX, "'w2' holds inf");
  expect(f, node(f, "Foo", "n", "x", NULL, NULL), EP_E_UNSUPPORTED, "node 'n': operator 'Foo' is not supported");
  expect(f, node(f, "Relu", "n", "x", "x", NULL), EP_E_SYNTAX, "node 'n' (Relu): 2 inputs, expected 1");
  expect(f, node(f, "Relu", "n", NULL, NULL, NULL), EP_E_SYNTAX, "0 inputs");
  expect(f, node(f, "Add", "n", "", "x", NULL), EP_E_SYNTAX, "input 0 is missing");
  ok(f, floats(f, "m", (ep_shape){2, {2, 2}}, two));
  ok(f, floats(f, "v3", (ep_shape){1, {3}}, (double[]){1, 2, 3}));
  ok(f, floats(f, "zero", (ep_shape){1, {2}}, zero));
  ok(f, ints(f, "five", 2, shape));
  expect(f, node(f, "Add", "n", "x", "v3", NULL), EP_E_SHAPE, "[1,2] and [3] do not broadcast");
  expect(f, node(f, "MatMul", "n", "x", "v3", NULL), EP_E_SHAPE, "inner dimensions 2 and 3");
  expect(f, node(f, "Reshape", "n", "x", "five", NULL), EP_E_SHAPE, "cannot turn [1,2] into [5,5]");
  expect(f, node(f, "Div", "n", "x", "zero", NULL), EP_E_UNSUPPORTED, "division by zero");
  expect(f, node(f, "Conv", "n", "x", "m", NULL), EP_E_UNSUPPORTED, "input of rank 2");
  expect(f, node(f, "Cast", "n", "x", NULL, &(ep_attr){.name = "to", .type = EP_ATTR_INT, .i = 7}), EP_E_UNSUPPORTED,
         "cast of a variable");
  expect(f, node(f, "Concat", "n", "x", "v3", NULL), EP_E_SYNTAX, "no axis");
  expect(f,
         node(f, "Transpose", "n", "x", NULL,
              &(ep_attr){.name = "perm", .type = EP_ATTR_INTS, .n = 2, .ints = (int64_t[]){0, 0}}),
         EP_E_SYNTAX, "not a permutation");
}

/* Shapes are as hostile as the file they came from. */
static void hostile_sizes(void **state) {
  fixture *f = *state;
  ok(f, input(f, 4));
  int64_t huge[3] = {INT64_MAX, INT64_MAX, 2}, big[2] = {1 << 30, 1 << 30}, lo[2] = {INT64_MIN, INT64_MIN},
          one[1] = {1};
  ok(f, ints(f, "huge", 3, huge));
  ok(f, ints(f, "big", 2, big));
  ok(f, ints(f, "lo", 2, lo));
  ok(f, ints(f, "one", 1, one));
  expect(f, node(f, "Reshape", "n", "x", "huge", NULL), EP_E_SHAPE, "bad target shape");
  expect(f, node(f, "Expand", "n", "x", "huge", NULL), EP_E_SHAPE, "");
  expect(f, node(f, "Expand", "n", "x", "big", NULL), EP_E_SHAPE, "");
  expect(f, node(f, "ConstantOfShape", "n", "big", NULL, NULL), EP_E_SHAPE, "too large");
  expect(f, node(f, "Gather", "n", "x", "lo", NULL), EP_E_SHAPE, "outside");
  expect(f, node(f, "Pad", "n", "x", "lo", NULL), EP_E_SHAPE, "");
  const char *in[5] = {"x", "lo", "huge", "", "huge"};
  ep_status st = ep_builder_node(f->b, "Slice", "n", 5, in, "n", NULL);
  expect(f, st, EP_E_SYNTAX, "differ in length");
  expect(f, ep_builder_input(f->b, "y", EP_DT_F32, &(ep_shape){2, {-1, 3}}), EP_E_UNSUPPORTED, "");
  double empty = 0;
  ok(f, floats(f, "none", (ep_shape){2, {0, 3}}, &empty));
  for (int k = 0; k < 4; k++)
    ok(f, floats(f, (const char *[]){"p", "q", "r", "s"}[k], (ep_shape){1, {3}}, (double[]){1, 1, 1}));
  st = ep_builder_node(f->b, "BatchNormalization", "bn", 5, (const char *const[]){"none", "p", "q", "r", "s"}, "bn",
                       NULL);
  assert_true(st == EP_OK || ep_ctx_error(f->ctx).code == st); /* an empty constant: no crash */
}

static void slices_twice_and_far(void **state) {
  fixture *f = *state;
  ok(f, input(f, 4));
  int64_t start[2] = {0, 1}, end[2] = {1, 3}, axes[2] = {1, -1}, far_step[1] = {INT64_MAX}, s[1] = {0},
          e[1] = {INT64_MAX}, a[1] = {1};
  ok(f, ints(f, "start", 2, start));
  ok(f, ints(f, "end", 2, end));
  ok(f, ints(f, "axes", 2, axes));
  const char *in[5] = {"x", "start", "end", "axes"};
  expect(f, ep_builder_node(f->b, "Slice", "n", 4, in, "n", NULL), EP_E_SYNTAX, "axis 1 twice");
  ok(f, ints(f, "s", 1, s));
  ok(f, ints(f, "e", 1, e));
  ok(f, ints(f, "a", 1, a));
  ok(f, ints(f, "step", 1, far_step));
  const char *far_in[5] = {"x", "s", "e", "a", "step"};
  ok(f, ep_builder_node(f->b, "Slice", "far", 5, far_in, "far", NULL));
  ep_graph *g;
  ok(f, ep_builder_finish(f->b, "far", &g));
  assert_int_equal(g->val[g->output].n, 1);
  ep_graph_destroy(g);
}

/* PyTorch's x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, arithmetic and Reshape, all but the last folded.
 */
static void shape_arithmetic(void **state) {
  fixture *f = *state;
  ok(f, ep_builder_input(f->b, "x", EP_DT_F32, &(ep_shape){4, {1, 3, 4, 2}}));
  int64_t first = 0, minus = -1, two = 2;
  ep_attr axes = {.name = "axes", .type = EP_ATTR_INTS, .n = 1, .ints = &first},
          axis = {.name = "axis", .type = EP_ATTR_INT};
  ok(f, ep_builder_constant(f->b, "i", &(ep_tensor){EP_DT_I64, {0}, 1, NULL, &first}));
  ok(f, ints(f, "rest", 1, &minus));
  ok(f, ints(f, "two", 1, &two));
  ok(f, node(f, "Shape", "shape", "x", NULL, NULL));
  ok(f, node(f, "Gather", "n", "shape", "i", NULL));
  ok(f, node(f, "Unsqueeze", "n1", "n", NULL, &axes));
  ok(f, node(f, "Mul", "n2", "n1", "two", NULL));
  ok(f, node(f, "Concat", "target", "n2", "rest", &axis));
  ok(f, node(f, "Reshape", "flat", "x", "target", NULL));
  double w[12 * 2];
  for (int i = 0; i < 24; i++) w[i] = i;
  ok(f, floats(f, "w", (ep_shape){2, {12, 2}}, w));
  ok(f, node(f, "MatMul", "y", "flat", "w", NULL));
  ep_graph *g;
  ok(f, ep_builder_finish(f->b, "y", &g));
  assert_int_equal(g->n_node, 1);
  assert_true(ep_shape_equal(&g->node[0].in_shape[0], &(ep_shape){2, {2, 12}}));
  assert_true(ep_shape_equal(&g->val[g->output].shape, &(ep_shape){2, {2, 2}}));
  ep_graph_destroy(g);
}

/* Constants fold as a float32 runtime would compute them; ConstantOfShape, Cast and operators without a rule of their
 * own included. */
static void constants_fold(void **state) {
  fixture *f = *state;
  ok(f, input(f, 3));
  double a[3] = {1, -2, 0.1f}, fill = 2.5;
  int64_t three = 3, k[1] = {7};
  ep_tensor value = {EP_DT_F32, {1, {1}}, 1, &fill, NULL};
  ok(f, floats(f, "a", (ep_shape){1, {3}}, a));
  ok(f, ints(f, "three", 1, &three));
  ok(f, ints(f, "seven", 1, k));
  ok(f, node(f, "ConstantOfShape", "fill", "three", NULL,
             &(ep_attr){.name = "value", .type = EP_ATTR_TENSOR, .t = &value}));
  ok(f, node(f, "Relu", "ra", "a", NULL, NULL));
  ok(f, node(f, "Add", "sum", "ra", "fill", NULL));
  ok(f, node(f, "Cast", "seven32", "seven", NULL, &(ep_attr){.name = "to", .type = EP_ATTR_INT, .i = 1}));
  ok(f, node(f, "Div", "q", "sum", "seven32", NULL));
  ok(f, node(f, "Mul", "y", "x", "q", NULL));
  ep_graph *g;
  ok(f, ep_builder_finish(f->b, "y", &g));
  assert_int_equal(g->n_node, 1);
  const ep_linop *A = &g->node[0].low.is.affine.A[0];
  assert_true(A->kind == EP_LINOP_DIAG && A->rel_err == 0);
  for (int i = 0; i < 3; i++) {
    float want = ((a[i] > 0 ? (float)a[i] : 0) + 2.5f) / 7.0f;
    assert_true(A->w64[i] == (double)want);
  }
  ep_graph_destroy(g);
}

static void aliases_and_dead_nodes(void **state) {
  fixture *f = *state;
  double w[4] = {1, 2, 3, 4};
  ok(f, input(f, 2));
  ok(f, floats(f, "w", (ep_shape){2, {2, 2}}, w));
  ok(f, node(f, "Identity", "i", "x", NULL, NULL));
  ok(f, node(f, "Flatten", "fl", "i", NULL, NULL));
  ok(f, node(f, "MatMul", "y", "fl", "w", NULL));
  ok(f, node(f, "Relu", "dead", "y", NULL, NULL));
  ok(f, node(f, "MatMul", "deader", "dead", "w", NULL));
  ok(f, node(f, "Dropout", "out", "y", NULL, NULL));
  ep_graph *g;
  ok(f, ep_builder_finish(f->b, "out", &g));
  assert_int_equal(g->n_node, 1);
  assert_int_equal(g->n_val, 2);
  assert_string_equal(g->node[0].op->onnx, "MatMul");
  assert_int_equal(g->val[g->output].producer, 0);
  assert_int_equal(g->val[g->input].producer, UINT32_MAX);
  ep_graph_destroy(g);
}

/* The identity network has no node at all. */
static void identity_network(void **state) {
  fixture *f = *state;
  ok(f, input(f, 2));
  ok(f, node(f, "Identity", "y", "x", NULL, NULL));
  ep_graph *g;
  ok(f, ep_builder_finish(f->b, "y", &g));
  assert_int_equal(g->n_node, 0);
  assert_int_equal(g->input, g->output);
  ep_scratch s;
  ep_trace_f64 t;
  double x[2] = {3, 4}, gy[2] = {5, 6}, gx[2];
  ep_scratch_init(&s, f->ctx);
  ok(f, ep_eval_f64(g, 1, x, &s, &t));
  assert_true(t.v[g->output][1] == 4);
  ok(f, ep_grad_f64(g, &t, gy, gx, &s));
  assert_true(gx[0] == 5 && gx[1] == 6);
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
}

/* A small network with everything in it, evaluated; used by the allocation sweep. */
static ep_status build_and_run(ep_ctx *ctx) {
  ep_builder *b = NULL;
  ep_graph *g = NULL;
  ep_scratch s;
  ep_trace_f64 t;
  ep_trace_itv box;
  double w[72], x[18] = {0}, gy[16] = {1}, gx[18], row[4] = {1, 2, 3, 4};
  int64_t flat[2] = {1, -1};
  for (int i = 0; i < 72; i++) w[i] = i % 7 - 3;
  ep_scratch_init(&s, ctx);
  ep_status st;
  EP_GOTO(ep_builder_create(ctx, 13, &b));
  EP_GOTO(ep_builder_input(b, "x", EP_DT_F32, &(ep_shape){4, {1, 2, 3, 3}}));
  EP_GOTO(ep_builder_constant(b, "w", &(ep_tensor){EP_DT_F32, {4, {4, 2, 2, 2}}, 32, w, NULL}));
  EP_GOTO(ep_builder_constant(b, "row", &(ep_tensor){EP_DT_F32, {3, {4, 1, 1}}, 4, row, NULL}));
  EP_GOTO(ep_builder_constant(b, "flat", &(ep_tensor){EP_DT_I64, {1, {2}}, 2, NULL, flat}));
  EP_GOTO(ep_builder_node(b, "Conv", "c", 2, (const char *const[]){"x", "w"}, "c", NULL));
  EP_GOTO(ep_builder_node(b, "Mul", "m", 2, (const char *const[]){"c", "row"}, "m", NULL));
  EP_GOTO(ep_builder_node(b, "Add", "a", 2, (const char *const[]){"m", "row"}, "a", NULL));
  EP_GOTO(ep_builder_node(b, "Relu", "r", 1, (const char *const[]){"a"}, "r", NULL));
  EP_GOTO(ep_builder_node(b, "Mul", "q", 2, (const char *const[]){"r", "a"}, "q", NULL));
  EP_GOTO(ep_builder_node(b, "Reshape", "f", 2, (const char *const[]){"q", "flat"}, "f", NULL));
  EP_GOTO(ep_builder_node(b, "LogSoftmax", "never", 0, NULL, "never", NULL) == EP_OK ? EP_E_INTERNAL : EP_OK);
  if (ep_ctx_error(ctx).code == EP_E_UNSUPPORTED) ep_ctx_clear_error(ctx);
  EP_GOTO(ep_builder_finish(b, "f", &g));
  EP_GOTO(ep_eval_f64(g, 1, x, &s, &t));
  EP_GOTO(ep_grad_f64(g, &t, gy, gx, &s));
  EP_GOTO(ep_eval_itv(g, 1, x, x, &s, &box));
done:
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_builder_destroy(b);
  return st;
}

static void memory_runs_out(void **state) {
  fixture *f = *state;
  uint64_t k = 1;
  for (;; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = build_and_run(ctx);
    bool is_done = st == EP_OK;
    if (!is_done) {
      assert_int_equal(st, EP_E_NOMEM);
      assert_int_equal(ep_ctx_error(ctx).code, EP_E_NOMEM);
    }
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
    if (is_done) break;
  }
  assert_true(k > 10);
  assert_non_null(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(names),
      TEST(refusals),
      TEST(hostile_sizes),
      TEST(slices_twice_and_far),
      TEST(shape_arithmetic),
      TEST(constants_fold),
      TEST(memory_runs_out),
      TEST(aliases_and_dead_nodes),
      TEST(identity_network),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
