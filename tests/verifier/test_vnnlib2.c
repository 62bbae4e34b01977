/* VNN-LIB 2: the same query as its translation to version 1, types and shapes against a network, float32 numbers and
 * operations, and one line for whatever is not supported. */
#include "tests/ep_test.h"

#include <stdio.h>
#include <string.h>

#include "verifier/rowcheck.h"
#include "verifier/vnnlib.h"

#define V1_X "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)(declare-const X_3 Real)"
#define V1 V1_X "(declare-const Y_0 Real)(declare-const Y_1 Real)"
#define HEAD(x, y) "(vnnlib-version <2.0>)(declare-network f (declare-input X " x ")(declare-output Y " y "))"
#define V2 HEAD("real [2,2]", "real [1,2]")
#define BOX1 "(assert (and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (>= X_2 0) (<= X_2 1) (>= X_3 0) (<= X_3 1)))"
#define BOX2                                                                                                           \
  "(assert (and (>= X[0,0] 0) (<= X[0,0] 1) (>= X[0,1] 0) (<= X[0,1] 1) (>= X[1,0] 0) (<= X[1,0] 1) (>= X[1,1] 0) "    \
  "(<= X[1,1] 1)))"
#define F32(assertion)                                                                                                 \
  HEAD("float32 [1]", "float32 [2]") "(assert (>= X[0] -1))(assert (<= X[0] 1))(assert " assertion ")"

static ep_query *read_text(ep_ctx *ctx, const char *text) {
  ep_query *q = NULL;
  if (ep_vnnlib_read_bytes(ctx, "t", text, strlen(text), &q) != EP_OK) fail_msg("%s\n%s", ep_ctx_error(ctx).text, text);
  return q;
}

static void assert_same_row(const ep_row *a, const ep_row *b) {
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->var, b->var, a->n * sizeof *a->var);
  assert_memory_equal(a->coef, b->coef, a->n * sizeof *a->coef);
  assert_true(a->coef_rel_err == b->coef_rel_err && a->rhs.lo == b->rhs.lo && a->rhs.hi == b->rhs.hi);
  assert_int_equal(a->is_strict, b->is_strict);
}

static void assert_same(const ep_query *a, const ep_query *b) {
  assert_int_equal(a->n_x, b->n_x);
  assert_int_equal(a->n_y, b->n_y);
  assert_int_equal(a->n_box, b->n_box);
  for (uint32_t i = 0; i < a->n_box; i++) {
    const ep_input_box *x = &a->box[i], *y = &b->box[i];
    assert_memory_equal(x->lo, y->lo, 4 * a->n_x * sizeof *x->lo); /* lo, hi, lo_in, hi_in are one block */
    assert_int_equal(x->n_poly, y->n_poly);
    for (uint32_t p = 0; p < x->n_poly; p++) {
      assert_int_equal(x->poly[p].n_row, y->poly[p].n_row);
      for (uint32_t r = 0; r < x->poly[p].n_row; r++) assert_same_row(&x->poly[p].row[r], &y->poly[p].row[r]);
    }
  }
}

static void translations_are_the_same_query(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
      {BOX1 "(assert (>= Y_0 Y_1))", BOX2 "(assert (>= Y[0,0] Y[0,1]))"},
      {BOX1 "(assert (or (<= Y_0 0.1) (and (> Y_1 -3) (< X_2 0.5))))",
       BOX2 "(assert (or (<= Y[0,0] 0.1) (and (> Y[0,1] -3) (< X[1,0] 0.5))))"},
      {BOX1 "(assert (= Y_1 2))", BOX2 "(assert (== Y[0,1] 2))"},
      {BOX1 "(assert (= Y_1 2))", BOX2 "(assert (= Y [0, 1] 2))"},
      {BOX1 "(assert (or (< Y_0 2) (> Y_0 2)))", BOX2 "(assert (!= Y[0,0] 2.0))"},
      {BOX1 "(assert (or (< X_3 0.5) (> X_3 0.5)))(assert (<= Y_0 0))",
       BOX2 "(assert (!= X[1,1] 0.5))(assert (<= Y[0,0] 0))"},
      {BOX1 "(assert (<= (+ Y_0 (* 2 3 Y_1) (- X_0) 1.5) (- X_1 X_2 0.25)))",
       BOX2 "(assert (<= (+ Y[0,0] (* 2 3 Y[0,1]) (- X[0,0]) 1.5) (- X[0,1] X[1,0] 0.25)))"},
      {BOX1 "(assert (<= Y_0 1e-3))", "; a comment with ( in it\n" BOX2 "(assert (<= Y[0,0] 0.001))"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char a[2048], b[2048];
    snprintf(a, sizeof a, "%s%s", V1, pairs[i][0]);
    snprintf(b, sizeof b, "%s%s", V2, pairs[i][1]);
    ep_ctx *ctx = ep_ctx_create();
    ep_query *one = read_text(ctx, a), *two = read_text(ctx, b);
    assert_same(one, two);
    assert_null(one->declared);
    assert_non_null(two->declared);
    assert_string_not_equal(one->sha256, two->sha256);
    ep_query_destroy(one);
    ep_query_destroy(two);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
}

static void declarations_are_kept(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_text(ctx, "(vnnlib-version <2.1>)(declare-network net_1 (declare-input in float32 [1,1,2])"
                               "(declare-output out float32 []))(assert (and (>= in[0,0,0] 0)(<= in[0,0,0] 1)))"
                               "(assert (and (>= in[0,0,1] 0)(<= in[0,0,1] 2)(<= out 1)))");
  const ep_query_declared *d = q->declared;
  assert_string_equal(d->network, "net_1");
  assert_string_equal(d->x.name, "in");
  assert_string_equal(d->y.name, "out");
  assert_true(d->is_float32);
  assert_int_equal(d->x.shape.rank, 3);
  assert_int_equal(d->x.shape.dim[2], 2);
  assert_int_equal(d->y.shape.rank, 0);
  assert_int_equal(q->n_y, 1);
  assert_true(q->box[0].hi[1] == 2);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

/* The row of the only polytope. */
static const ep_row *row_of(const ep_query *q) {
  assert_int_equal(q->n_box, 1);
  assert_int_equal(q->box[0].n_poly, 1);
  assert_int_equal(q->box[0].poly[0].n_row, 1);
  return &q->box[0].poly[0].row[0];
}

static void float32_numbers_are_rounded(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_text(ctx, F32("(<= Y[0] 0.1)"));
  assert_true(row_of(q)->rhs.lo == (double)0.1f && row_of(q)->rhs.hi == (double)0.1f);
  ep_query_destroy(q);
  q = read_text(ctx, HEAD("float32 [1]", "float32 [1]") "(assert (== X[0] 0.1))(assert (<= Y[0] 0))");
  assert_true(q->box[0].lo_in[0] == (double)0.1f && q->box[0].hi_in[0] == (double)0.1f && !q->box[0].is_proof_only);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

/* fl(a op b) against c in float32, for random numbers: what the row excludes for sure must be false, what it accepts
 * for sure must be true. */
static void check_operation(const char *text, float (*f)(float, float), float c) {
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_text(ctx, text);
  const ep_row *row = row_of(q);
  uint32_t seed = 7, n_true = 0, n_false = 0;
  for (int i = 0; i < 20000; i++) {
    float y[2];
    for (int k = 0; k < 2; k++) {
      seed = seed * 1664525u + 1013904223u;
      y[k] = c / 2 * (1 + (float)((int32_t)seed >> 8) * 0x1p-44f);
    }
    double v[2] = {(double)y[0], (double)y[1]}, x[1] = {0};
    ep_itv r = ep_row_range(row, q->n_y, v, v, x, x);
    volatile float sum = f(y[0], y[1]);
    bool holds = sum <= c;
    if (ep_row_is_refuted(row, r) && holds) fail_msg("%a %a is excluded but satisfies %s", v[0], v[1], text);
    if (ep_row_is_satisfied(row, r) && !holds) fail_msg("%a %a is accepted but violates %s", v[0], v[1], text);
    n_true += holds;
    n_false += !holds;
  }
  assert_true(n_true > 1000 && n_false > 1000);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static float add(float a, float b) { return a + b; }
static float twice(float a, float b) { return (void)b, 2.0000002f * a; }

static void float32_operations_round(void **state) {
  (void)state;
  check_operation(F32("(<= (+ Y[0] Y[1]) 3)"), add, 3);
  check_operation(F32("(<= (* 2.0000002 Y[0]) 3)"), twice, 3);
}

static const struct {
  const char *text, *says;
} bad[] = {
    {"(vnnlib-version <3.0>)", "t:1:17: VNN-LIB version <3.0> is not supported"},
    {"(vnnlib-version 2.0)", "expected a version such as <2.0>"},
    {"(vnnlib-version <2.0>)", "expected '(' of declare-network"},
    {"(vnnlib-version <2.0>)(assert (<= X[0] 1))", "expected 'declare-network', found 'assert'"},
    {HEAD("real [2]", "real [1]"), "expected an assertion, found end of file"},
    {HEAD("float64 [2]", "float64 [1]"), "t:1:59: element type 'float64' is not supported, only real and float32"},
    {HEAD("real [2]", "float32 [1]"), "types real and float32 together"},
    {HEAD("real [2,0]", "real [1]"), "a tensor of 0 elements"},
    {HEAD("real [5000,5000]", "real [1]"), "a tensor of 25000000 elements"},
    {HEAD("real [-1]", "real [1]"), "expected a whole number, found '-1'"},
    {HEAD("real [1", "real [1]"), "expected ']', found ')'"},
    {HEAD("real [1,]", "real [1]"), "expected a whole number, found ']'"},
    {HEAD("real [1,1,1,1,1,1,1,1,1]", "real [1]"), "expected ']' after 8 numbers"},
    {HEAD("real", "real [1]"), "expected '[', found ')'"},
    {HEAD("real [1] initialized", "real [1]"), "initialized inputs are not supported"},
    {HEAD("real [1] \"name\"", "real [1]"), "expected ')', found '\"name'"},
    {HEAD("real [1])(declare-input Z real [1]", "real [1]"), "several inputs ('Z') are not supported"},
    {HEAD("real [1]", "real [1])(declare-output Z real [1]"), "several outputs ('Z') are not supported"},
    {HEAD("real [1]", "real [1])(declare-input Z real [1]"), "inputs are declared before outputs"},
    {HEAD("real [1])(declare-hidden H real [1] \"h\"", "real [1]"), "hidden tensors ('H') are not supported"},
    {HEAD("real [1]", "real [1]") "(declare-network g", "several networks ('g') are not supported"},
    {"(vnnlib-version <2.0>)(declare-network f (equal-to g)", "relations to other networks ('g') are not supported"},
    {"(vnnlib-version <2.0>)(declare-network f)", "expected declare-input, found ')'"},
    {"(vnnlib-version <2.0>)(declare-network f (declare-input X real [1]))", "expected declare-output, found ')'"},
    {"(vnnlib-version <2.0>)(declare-network f (declare-output Y real [1]))", "declare-input before declare-output"},
    {"(vnnlib-version <2.0>)(declare-network f (declare-input f real [1]))", "the name 'f' is taken already"},
    {"(vnnlib-version <2.0>)(declare-network 1f", "expected a name, found '1f'"},
    {V2 "(assert (<= X[0] 1))", "t:1:117: 'X' has 1 indices, its shape is [2,2]"},
    {V2 "(assert (<= X 1))", "expected '[', found '1'"},
    {V2 "(assert (<= X[0,2] 1))", "index 2 of 'X' is out of range, its shape is [2,2]"},
    {V2 "(assert (<= Z[0,1] 1))", "'Z' is not declared"},
    {V2 "(assert (<= X[0,1] X_0))", "'X_0' is not declared"},
    {V2 "(assert (<= 1 2))", "a comparison without variables"},
    {V2 "(assert (<= X[0,0] (/ 1 2)))", "expected '+', '-' or '*', found '/'"},
    {V2 "(assert (not (<= X[0,0] 1)))", "expected 'and', 'or' or a comparison (<=, <, >=, >, ==, !=), found 'not'"},
    {V2 "(assert (<= (* X[0,0] X[0,1]) 1))", "product of two variables"},
    {V2 "(assert (<= X[0,0] 1))", "input X[0,0] has no lower bound"},
    {V2 "(check-sat)", "expected assert, found 'check-sat'"},
    {F32("(<= (+ Y[0] Y[1] 1) 3)"), "more than one float32 operation"},
    {F32("(<= (+ Y[0] 1) (* 2 Y[1]))"), "more than one float32 operation"},
    {F32("(<= Y[0] 1e39)"), "'1e39' is beyond float32"},
};

static void bad_input_gets_one_line(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    ep_status st = ep_vnnlib_read_bytes(ctx, "t", bad[i].text, strlen(bad[i].text), &q);
    ep_error e = ep_ctx_error(ctx);
    if (st == EP_OK || q || ep_status_exit_code(st) != 2) fail_msg("case %zu is accepted", i);
    if (!strstr(e.text, bad[i].says) || strchr(e.text, '\n'))
      fail_msg("case %zu says '%s', expected '%s'", i, e.text, bad[i].says);
    if (ep_ctx_memory_used(ctx)) fail_msg("case %zu leaks", i);
    ep_ctx_destroy(ctx);
  }
}

static void shapes_and_types_must_fit_the_network(void **state) {
  (void)state;
  static const struct {
    const char *head, *says; /* NULL: fits */
  } cases[] = {
      {HEAD("float32 [1,4]", "float32 [1,2,2]"), NULL},
      {HEAD("real [1,4]", "real [1,2,2]"), NULL},
      {HEAD("real [2,2]", "real [1,2,2]"), "'X' is declared as [2,2], the network's input is [1,4]"},
      {HEAD("real [1,4]", "real [1,4]"), "'Y' is declared as [1,4], the network's output is [1,2,2]"},
      {HEAD("real [1,5]", "real [1,2,2]"), "the property has 5 inputs, the network 4"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int dtype = 0; dtype < 2; dtype++) {
      ep_ctx *ctx = ep_ctx_create();
      ep_builder *b;
      ep_graph *g;
      ep_shape in = {2, {1, 4}};
      const char *args[2] = {"x", "shape"};
      int64_t dims[3] = {1, 2, 2};
      ep_tensor want = {EP_DT_I64, {1, {3}}, 3, NULL, dims};
      ep_attrs none = {0, NULL};
      assert_int_equal(ep_builder_create(ctx, 13, &b), EP_OK);
      assert_int_equal(ep_builder_input(b, "x", dtype ? EP_DT_F64 : EP_DT_F32, &in), EP_OK);
      assert_int_equal(ep_builder_constant(b, "shape", &want), EP_OK);
      assert_int_equal(ep_builder_node(b, "Reshape", "r", 2, args, "y", &none), EP_OK);
      assert_int_equal(ep_builder_finish(b, "y", &g), EP_OK);
      ep_builder_destroy(b);
      char text[4096];
      bool is_two = strstr(cases[i].head, "[2,2]") == strchr(cases[i].head, '[');
      size_t at = (size_t)snprintf(text, sizeof text, "%s", cases[i].head);
      for (int k = 0; k < (strstr(cases[i].head, "[1,5]") ? 5 : 4); k++) {
        int row = is_two ? k / 2 : 0, col = is_two ? k % 2 : k;
        at += (size_t)snprintf(text + at, sizeof text - at, "(assert (and (>= X[%d,%d] 0) (<= X[%d,%d] 1)))", row, col,
                               row, col);
      }
      ep_query *q = read_text(ctx, text);
      ep_status st = ep_query_check(q, g);
      const char *says = cases[i].says;
      if (dtype && !says && q->declared->is_float32)
        says = "'X' is declared as float32, the network's input is float64";
      if (says ? st != EP_E_SHAPE || !strstr(ep_ctx_error(ctx).text, says) : st != EP_OK)
        fail_msg("case %zu says '%s'", i, ep_ctx_error(ctx).text);
      ep_query_destroy(q);
      ep_graph_destroy(g);
      ep_ctx_destroy(ctx);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(translations_are_the_same_query),       cmocka_unit_test(declarations_are_kept),
      cmocka_unit_test(float32_numbers_are_rounded),           cmocka_unit_test(float32_operations_round),
      cmocka_unit_test(shapes_and_types_must_fit_the_network), cmocka_unit_test(bad_input_gets_one_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
