/* The query builder: what is put in comes out, copies are its own, and what no query can mean is refused. */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "tests/support/nets.h"
#include "verifier/query.h"

static ep_query_builder *builder(ep_ctx *ctx, uint32_t n_x, uint32_t n_y) {
  ep_query_builder *b = NULL;
  assert_int_equal(ep_query_builder_create(ctx, n_x, n_y, &b), EP_OK);
  return b;
}

static void boxes_polytopes_and_rows(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query_builder *b = builder(ctx, 2, 3);
  uint32_t var[2];
  double coef[2], lo[2], hi[2];
  for (uint32_t i = 0; i < 20; i++) { /* past the first growth of every array */
    lo[0] = i, hi[0] = i + 1, lo[1] = -1.0 * i, hi[1] = i;
    assert_int_equal(ep_query_builder_box(b, lo, hi), EP_OK);
    for (uint32_t p = 0; p < i; p++) {
      assert_int_equal(ep_query_builder_polytope(b), EP_OK);
      for (uint32_t r = 0; r < p; r++) {
        var[0] = r % 5, var[1] = (r + 1) % 5, coef[0] = i, coef[1] = p;
        assert_int_equal(ep_query_builder_row(b, r % 3, var, coef, r, r & 1), EP_OK);
        var[0] = var[1] = 77, coef[0] = coef[1] = -5; /* the builder has its own copy */
      }
    }
  }
  ep_query *q = NULL;
  assert_int_equal(ep_query_builder_finish(b, "name", &q), EP_OK);
  ep_query_builder_destroy(b);
  assert_string_equal(q->name, "name");
  assert_int_equal(strlen(q->sha256), 64);
  assert_true(q->n_x == 2 && q->n_y == 3 && q->n_box == 20 && !q->is_empty);
  for (uint32_t i = 0; i < 20; i++) {
    const ep_input_box *x = &q->box[i];
    assert_true(x->lo[0] == i && x->hi[0] == i + 1 && x->lo_in[1] == -1.0 * i && x->hi_in[1] == i);
    assert_true(!x->is_empty && !x->is_proof_only);
    assert_int_equal(x->n_poly, i);
    for (uint32_t p = 0; p < i; p++) {
      assert_int_equal(x->poly[p].n_row, p);
      for (uint32_t r = 0; r < p; r++) {
        const ep_row *row = &x->poly[p].row[r];
        assert_true(row->n == r % 3 && row->rhs.lo == r && row->rhs.hi == r && row->is_strict == (r & 1));
        if (row->n > 1) assert_true(row->var[1] == (r + 1) % 5 && row->coef[0] == i && row->coef[1] == p);
        assert_true(row->coef_rel_err == 0);
      }
    }
  }
  ep_query_destroy(q);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

static void names_depend_on_content(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  char first[65] = "";
  for (int i = 0; i < 5; i++) {
    ep_query_builder *b = builder(ctx, 1, 1);
    ep_query *q = NULL;
    double lo = i == 1 ? -1 : 0, hi = 1, coef = i == 2 ? -1 : 1;
    uint32_t var = 0;
    assert_int_equal(ep_query_builder_box(b, &lo, &hi), EP_OK);
    assert_int_equal(ep_query_builder_polytope(b), EP_OK);
    assert_int_equal(ep_query_builder_row(b, 1, &var, &coef, 0, i == 3), EP_OK);
    assert_int_equal(ep_query_builder_finish(b, "t", &q), EP_OK);
    if (i == 0) memcpy(first, q->sha256, sizeof first);
    assert_int_equal(strcmp(first, q->sha256) == 0, i == 0 || i == 4);
    ep_query_destroy(q);
    ep_query_builder_destroy(b);
  }
  ep_ctx_destroy(ctx);
}

static void empty_queries(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  for (int i = 0; i < 4; i++) { /* no box; contradictory box; box without polytope; a real one */
    ep_query_builder *b = builder(ctx, 1, 1);
    ep_query *q = NULL;
    double lo = i == 1 ? 2 : 0, hi = 1;
    if (i) assert_int_equal(ep_query_builder_box(b, &lo, &hi), EP_OK);
    if (i == 1 || i == 3) assert_int_equal(ep_query_builder_polytope(b), EP_OK);
    assert_int_equal(ep_query_builder_finish(b, "t", &q), EP_OK);
    assert_int_equal(q->is_empty, i != 3);
    if (i == 3) assert_int_equal(q->box[0].poly[0].n_row, 0); /* always true */
    ep_query_destroy(q);
    ep_query_builder_destroy(b);
  }
  ep_ctx_destroy(ctx);
}

static void bad_data_is_refused(void **state) {
  (void)state;
  double inf = (double)INFINITY, nan = (double)NAN, zero = 0, one = 1;
  const double *bounds[][2] = {{&zero, &inf}, {&nan, &one}, {&zero, &nan}};
  for (size_t i = 0; i < 3; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query_builder *b = builder(ctx, 1, 1);
    assert_int_equal(ep_query_builder_box(b, bounds[i][0], bounds[i][1]), EP_E_SYNTAX);
    assert_non_null(strstr(ep_ctx_error(ctx).text, "X_0"));
    ep_query_builder_destroy(b);
    ep_ctx_destroy(ctx);
  }
  ep_ctx *ctx = ep_ctx_create();
  ep_query_builder *b = builder(ctx, 1, 1);
  uint32_t far = 2, near = 1;
  assert_int_equal(ep_query_builder_box(b, &zero, &one), EP_OK);
  assert_int_equal(ep_query_builder_polytope(b), EP_OK);
  assert_int_equal(ep_query_builder_row(b, 1, &far, &one, 0, false), EP_E_SHAPE);
  assert_int_equal(ep_query_builder_row(b, 1, &near, &nan, 0, false), EP_E_SYNTAX);
  assert_int_equal(ep_query_builder_row(b, 1, &near, &inf, 0, false), EP_E_SYNTAX);
  ep_query_builder_destroy(b);
  ep_ctx_destroy(ctx);
}

/* Inward bounds that cross: a finite point for searches, marked so that nobody calls it a counterexample. */
static void crossing_inward_bounds(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query_builder *b = builder(ctx, 1, 1);
  ep_query *q = NULL;
  double lo = 1, hi = nextafter(1, 2);
  assert_int_equal(ep_query_builder_box4(b, &lo, &hi, &hi, &lo), EP_OK);
  assert_int_equal(ep_query_builder_box4(b, &lo, &hi, &lo, &lo), EP_OK);
  assert_int_equal(ep_query_builder_finish(b, "t", &q), EP_OK);
  assert_true(q->box[0].is_proof_only && !q->box[0].is_empty && !q->box[1].is_proof_only);
  assert_true(q->box[0].lo_in[0] == q->box[0].hi_in[0] && q->box[0].lo_in[0] >= lo && q->box[0].hi_in[0] <= hi);
  ep_query_destroy(q);
  ep_query_builder_destroy(b);
  ep_ctx_destroy(ctx);
}

static void shapes_are_compared(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  net_opt o = {.n_x = 2, .n_y = 3, .n_layer = 1, .width = 4, .activation = "Relu", .scale = 1};
  assert_int_equal(net_make(ctx, 1, &o, &g), EP_OK);
  for (uint32_t i = 0; i < 3; i++) {
    ep_query_builder *b = builder(ctx, i == 1 ? 3 : 2, i == 2 ? 2 : 3);
    ep_query *q = NULL;
    assert_int_equal(ep_query_builder_finish(b, "prop", &q), EP_OK);
    ep_ctx_clear_error(ctx);
    assert_int_equal(ep_query_check(q, g), i ? EP_E_SHAPE : EP_OK);
    if (i) assert_non_null(strstr(ep_ctx_error(ctx).text, i == 1 ? "3 inputs" : "2 outputs"));
    ep_query_destroy(q);
    ep_query_builder_destroy(b);
  }
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

static ep_status build_one(ep_ctx *ctx, ep_query **q) {
  ep_query_builder *b;
  double lo[2] = {0, 0}, hi[2] = {1, 1}, coef = 1;
  uint32_t var = 0;
  EP_TRY(ep_query_builder_create(ctx, 2, 1, &b));
  ep_status st = ep_query_builder_box(b, lo, hi);
  for (int p = 0; p < 20 && st == EP_OK; p++) {
    st = ep_query_builder_polytope(b);
    for (int r = 0; r < 20 && st == EP_OK; r++) st = ep_query_builder_row(b, 1, &var, &coef, 0, false);
  }
  if (st == EP_OK) st = ep_query_builder_finish(b, "t", q);
  ep_query_builder_destroy(b);
  return st;
}

static void allocation_failures_are_clean(void **state) {
  (void)state;
  for (uint64_t k = 1; k < 1000; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = build_one(ctx, &q);
    assert_true(st == EP_OK ? q != NULL : st == EP_E_NOMEM && q == NULL);
    ep_query_destroy(q);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
    if (st == EP_OK) {
      assert_true(k > 3);
      return;
    }
  }
  fail_msg("the builder allocates without end");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(boxes_polytopes_and_rows),
      cmocka_unit_test(names_depend_on_content),
      cmocka_unit_test(empty_queries),
      cmocka_unit_test(bad_data_is_refused),
      cmocka_unit_test(crossing_inward_bounds),
      cmocka_unit_test(shapes_are_compared),
      cmocka_unit_test(allocation_failures_are_clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
