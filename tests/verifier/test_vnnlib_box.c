/* Input sets without a double: contradictory ones hold nothing, pinned ones get the nearest double, and where neither
 * is certain no counterexample may be named. */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "verifier/vnnlib.h"
#include "verifier/witness.h"

#define DECLARE "(declare-const X_0 Real)(declare-const Y_0 Real)"
#define UNSAFE "(assert (<= Y_0 1))"

enum kind { EMPTY, PINNED, PROOF_ONLY, PLAIN };

static const struct {
  const char *text;
  enum kind kind;
  double x; /* the double that stands in */
} cases[] = {
    {"(assert (< X_0 0.5))(assert (>= X_0 0.5))", EMPTY, 0},
    {"(assert (<= X_0 0.5))(assert (> X_0 0.5))", EMPTY, 0},
    {"(assert (<= X_0 0.1))(assert (> X_0 0.1))", EMPTY, 0},
    {"(assert (< X_0 0.1))(assert (>= X_0 0.10))", EMPTY, 0},
    /* The same two neighbouring doubles enclose both literals. */
    {"(assert (<= X_0 0.1))(assert (>= X_0 0.1000000000000000000001))", EMPTY, 0},
    {"(assert (<= X_0 -0.1000000000000000000001))(assert (>= X_0 (- 0.1)))", EMPTY, 0},
    {"(assert (<= X_0 0.5))(assert (>= X_0 0.5000000000000000000001))", EMPTY, 0},
    {"(assert (= X_0 0.1))(assert (= X_0 0.1000000000000000000001))", EMPTY, 0},
    {"(assert (<= X_0 1))(assert (<= X_0 0.1))(assert (>= X_0 0.1))(assert (< X_0 0.1))", EMPTY, 0},
    {"(assert (= X_0 0.1))", PINNED, 0.1},
    {"(assert (<= X_0 0.1))(assert (>= X_0 0.10))", PINNED, 0.1},
    {"(assert (>= 0.1 X_0))(assert (<= 1e-1 X_0))", PINNED, 0.1},
    {"(assert (= X_0 (- 0.1)))(assert (>= X_0 -0.1))", PINNED, -0.1},
    {"(assert (<= X_0 0.3))(assert (>= X_0 0.1))(assert (<= X_0 0.1))", PINNED, 0.1},
    {"(assert (<= X_0 0.1000000000000000000001))(assert (>= X_0 0.1))", PINNED, 0.1},
    /* Pinned at a quotient, whose text nobody knows; and an open interval without doubles. */
    {"(assert (<= (* 3 X_0) 1))(assert (>= (* 3 X_0) 1))", PROOF_ONLY, 0},
    {"(assert (< X_0 0.1000000000000000000001))(assert (> X_0 0.1))", PROOF_ONLY, 0},
    /* The tighter of two upper bounds is not known: here the strict one empties the set. */
    {"(assert (<= X_0 0.1))(assert (>= X_0 0.1))(assert (< (* 3 X_0) 0.3))", PROOF_ONLY, 0},
    /* The text of a number is the bound only where nothing is computed with it. */
    {"(assert (<= X_0 0.1))(assert (>= (* 2 X_0) 0.2))", PROOF_ONLY, 0},
    {"(assert (<= X_0 0.1))(assert (>= (+ X_0 0) (* 0.1 1)))", PROOF_ONLY, 0},
    {"(assert (<= X_0 0.3))(assert (>= X_0 (+ 0.1 0.2)))", PROOF_ONLY, 0},
    /* A coefficient a hair below 1 (above 1) is not 1. */
    {"(assert (<= (* 0.99999999999999999999 X_0) 0.1))(assert (>= X_0 0.1))", PROOF_ONLY, 0},
    {"(assert (<= (* 1.00000000000000000001 X_0) 0.1))(assert (>= X_0 0.1))", PROOF_ONLY, 0},
    {"(assert (<= X_0 0.5))(assert (>= X_0 0.5))", PLAIN, 0.5},
    {"(assert (<= (* 2 X_0) 1))(assert (>= X_0 (/ 2 4)))", PLAIN, 0.5},
};

static void sets_without_doubles(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[512];
    snprintf(text, sizeof text, "%s%s%s", DECLARE, cases[i].text, UNSAFE);
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    if (ep_vnnlib_read_bytes(ctx, "t", text, strlen(text), &q) != EP_OK) fail_msg("%s", ep_ctx_error(ctx).text);
    const ep_input_box *b = &q->box[0];
    bool is_usable = cases[i].kind == PINNED || cases[i].kind == PLAIN;
    double x = is_usable ? cases[i].x : b->lo_in[0], y = 0;
    if (b->is_empty != (cases[i].kind == EMPTY) || q->is_empty != b->is_empty) fail_msg("emptiness of %s", text);
    if (is_usable == (b->is_empty || b->is_proof_only)) fail_msg("use of %s", text);
    if (is_usable && !(b->lo_in[0] == x && b->hi_in[0] == x && b->lo[0] <= x && x <= b->hi[0])) fail_msg("%s", text);
    if (ep_witness_check(q, &x, &y) != (is_usable ? 0 : UINT32_MAX)) fail_msg("counterexample in %s", text);
    ep_query_destroy(q);
    ep_ctx_destroy(ctx);
  }
}

/* Each disjunct narrows a copy of what all share. */
static void disjuncts_do_not_see_each_other(void **state) {
  (void)state;
  static const char text[] = DECLARE "(assert (<= X_0 0.5))(assert (>= X_0 0.5))"
                                     "(assert (or (and (< X_0 0.5) (<= Y_0 1)) (and (<= X_0 0.5) (<= Y_0 2))))";
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = NULL;
  assert_int_equal(ep_vnnlib_read_bytes(ctx, "t", text, sizeof text - 1, &q), EP_OK);
  double x = 0.5, y = 0;
  assert_int_equal(q->n_box, 2);
  assert_true(q->box[0].is_empty && !q->box[1].is_empty && !q->box[1].is_proof_only && !q->is_empty);
  assert_int_equal(ep_witness_check(q, &x, &y), 1);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sets_without_doubles),
      cmocka_unit_test(disjuncts_do_not_see_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
