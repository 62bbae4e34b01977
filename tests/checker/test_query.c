/* The checker's property reader against the verifier's, in both versions of VNN-LIB: the same boxes, polytopes and rows
 * in the same order, because certificates count them; literals enclosed alike. Seen to fail when: != keeps one side
 * only, indices are column-major, float32 numbers stay decimal, a strict row becomes weak, disjuncts are reordered. */
#include "tests/ep_test.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"
#include "verifier/vnnlib.h"

/* Sums may be rounded one way or the other, and long sums be in another order. */
static void same_row(const ck_row *a, const ep_row *b) {
  assert_int_equal(a->n, b->n);
  assert_int_equal(a->is_strict, b->is_strict);
  assert_true(a->rhs >= b->rhs.lo && fabs(a->rhs - b->rhs.hi) <= 1e-12 * (1 + fabs(a->rhs)));
  for (uint32_t k = 0, j = 0; k < a->n; k++) {
    for (j = 0; j < b->n && b->var[j] != a->var[k]; j++) continue;
    assert_true(j < b->n);
    double slack = a->err[k] + b->coef_rel_err * fabs(b->coef[j]);
    assert_true(fabs(a->coef[k] - b->coef[j]) <= slack * (1 + 1e-9));
  }
}

typedef enum allowance { NONE, CHECKER_MAY_REFUSE, EITHER_MAY_REFUSE } allowance;

/* Reads text with both; false unless both read it, fails when only one does and may not. */
static bool compare(const char *text, size_t n, allowance may) {
  ep_ctx *ctx = ep_ctx_create();
  ep_query *b = NULL;
  ck c = {.limit = (size_t)1 << 30};
  ep_status st = ep_vnnlib_read_bytes(ctx, "t", text, n, &b);
  char *copy = calloc(n + 1, 1);
  memcpy(copy, text, n);
  const ck_query *volatile a = NULL;
  if (!setjmp(c.env)) a = ck_read_query(&c, (const uint8_t *)copy, n);
  if (a && st != EP_OK && st != EP_E_UNSUPPORTED && may != EITHER_MAY_REFUSE)
    fail_msg("only the checker reads it: %s\n%.*s", ep_ctx_error(ctx).text, (int)n, text);
  if (!a && st == EP_OK && may == NONE) fail_msg("only the verifier reads it: %s\n%.*s", c.why, (int)n, text);
  if (a && b) {
    assert_int_equal(a->n_x, b->n_x);
    assert_int_equal(a->n_y, b->n_y);
    if (a->n_box != b->n_box) fail_msg("%u boxes, the verifier has %u: %.*s", a->n_box, b->n_box, (int)n, text);
    for (uint32_t i = 0; i < a->n_box; i++) {
      const ck_box *x = &a->box[i];
      const ep_input_box *y = &b->box[i];
      for (uint32_t j = 0; j < a->n_x && !x->is_empty && !y->is_empty; j++)
        assert_true(x->lo[j] <= y->lo[j] && x->hi[j] >= y->hi[j] &&
                    x->lo[j] >= y->lo[j] - 1e-12 * (1 + fabs(y->lo[j])) &&
                    x->hi[j] <= y->hi[j] + 1e-12 * (1 + fabs(y->hi[j])));
      assert_true(!x->is_empty || y->is_empty);
      assert_int_equal(x->n_poly, y->n_poly);
      for (uint32_t p = 0; p < x->n_poly; p++) {
        assert_int_equal(x->poly[p].n_row, y->poly[p].n_row);
        for (uint32_t r = 0; r < x->poly[p].n_row; r++) same_row(&x->poly[p].row[r], &y->poly[p].row[r]);
      }
    }
  }
  bool is_read = a && b;
  free(copy);
  ck_clear(&c);
  ep_query_destroy(b);
  ep_ctx_destroy(ctx);
  return is_read;
}

#define V2(type)                                                                                                       \
  "(vnnlib-version <2.0>)(declare-network f (declare-input X " type " [2,2])(declare-output Y " type " [3]))"
#define BOX                                                                                                            \
  "(assert (and (>= X[0,0] 0.1) (<= X[0,0] 1) (>= X[0,1] -0.3) (<= X[0,1] 1)))(assert (>= X[1,0] 2e-1))"               \
  "(assert (<= X[1,0] 7))(assert (== X[1,1] 0.7))"

static void version_2_is_read_alike(void **state) {
  (void)state;
  static const char *const formulas[] = {
      "(<= Y[0] 0.1)",
      "(> Y[2] Y[1])",
      "(== Y[1] 0.1)",
      "(!= Y[1] 0.1)",
      "(!= X[1,0] 3)",
      "(or (<= Y[0] 0.1) (and (> X[0,0] 0.5) (< Y[1] 3)) (>= X[1,0] Y[2]))",
      "(and (or (<= Y[0] 0.1) (<= Y[1] 0.2)) (or (<= X[0,1] 0.5) (<= Y[2] 0.3)))",
      "(<= (- Y[0]) 0.1)",
      "(<= (+ (* 0.1 Y[0]) (* 3 Y[1] 0.7) (- X[0,0] X[0,1] 0.2)) (- 0.3))",
      "(<= (* 3 X[1,0]) 10)",
  };
  for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
    for (int k = 0; k < 2; k++) {
      char text[2048];
      snprintf(text, sizeof text, "%s%s(assert %s)", k ? V2("float32") : V2("real"), BOX, formulas[i]);
      bool is_read = compare(text, strlen(text),
                             k ? CHECKER_MAY_REFUSE : NONE); /* operations of type float32 are the verifier's only */
      assert_true(is_read || (k && strpbrk(formulas[i], "+*")));
    }
}

/* X_0 = literal, Y_0 <= literal. */
static void check_literal(const char *literal) {
  char text[512];
  snprintf(text, sizeof text, "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 %s))(assert (<= Y_0 %s))",
           literal, literal);
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = NULL;
  ck c = {.limit = (size_t)1 << 28};
  if (setjmp(c.env)) fail_msg("%s: %s", literal, c.why);
  assert_int_equal(ep_vnnlib_read_bytes(ctx, "t", text, strlen(text), &q), EP_OK);
  const ck_query *k = ck_read_query(&c, (const uint8_t *)text, strlen(text));
  if (k->box[0].lo[0] != q->box[0].lo[0] || k->box[0].hi[0] != q->box[0].hi[0]) fail_msg("%s", literal);
  ck_clear(&c);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static void literals_are_enclosed_alike(void **state) {
  (void)state;
  uint64_t r = 1;
  for (int i = 0; i < 3000; i++) {
    char literal[64];
    r = r * 6364136223846793005u + 1442695040888963407u;
    int n_digits = 1 + (int)(r >> 40) % 22, exponent = (int)(r >> 33) % 610 - 320;
    if (i % 3)
      snprintf(literal, sizeof literal, "%s%.*f", r >> 63 ? "-" : "", n_digits,
               (double)(r >> 20) / (double)(1 + (r & 4095)));
    else
      snprintf(literal, sizeof literal, "%d.%llue%d", (int)(r >> 60) % 10, (unsigned long long)(r >> 9), exponent);
    check_literal(literal);
  }
}

static void seeds_are_read_alike(void **state) {
  (void)state;
  static const char *const patterns[] = {EP_SOURCE_DIR "/tests/fuzz/corpus/vnnlib/*",
                                         EP_SOURCE_DIR "/tests/fuzz/corpus/property/*",
                                         EP_SOURCE_DIR "/examples/vnnlib*/*"};
  size_t n_read = 0;
  for (size_t p = 0; p < 3; p++) {
    glob_t files;
    assert_int_equal(glob(patterns[p], 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
      static char text[65536];
      FILE *f = fopen(files.gl_pathv[i], "rb");
      assert_non_null(f);
      size_t n = fread(text, 1, sizeof text, f);
      fclose(f);
      n_read += compare(text, n, p ? NONE : CHECKER_MAY_REFUSE); /* the checker knows fewer commands */
    }
    globfree(&files);
  }
  assert_true(n_read >= 20);
}

/* Cut, and with bytes changed, moved and repeated: whatever both read is the same. */
static void damaged_seeds_are_read_alike(void **state) {
  (void)state;
  static const char odd[] = "()<>=!+-*[],.eEXY_0129; \n\"";
  uint64_t r = 1;
  size_t n_read = 0;
  glob_t files;
  assert_int_equal(glob(EP_SOURCE_DIR "/tests/fuzz/corpus/[vp]*/*[v_]2*", 0, NULL, &files), 0);
  for (size_t i = 0; i < files.gl_pathc; i++) {
    static char seed[65536], text[65536];
    FILE *f = fopen(files.gl_pathv[i], "rb");
    assert_non_null(f);
    size_t n = fread(seed, 1, sizeof seed, f);
    fclose(f);
    for (size_t k = 0; k < n; k++) compare(seed, k, EITHER_MAY_REFUSE);
    for (int k = 0; k < 3000; k++) {
      memcpy(text, seed, n);
      for (int m = k % 3; m >= 0; m--) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        size_t at = (r >> 33) % n, from = (r >> 43) % n, len = (r >> 23) % 12;
        if (at + len > n) len = n - at;
        if (from + len > n) len = n - from;
        if (r >> 63)
          text[at] = odd[(r >> 15) % (sizeof odd - 1)];
        else
          memmove(text + at, text + from, len);
      }
      n_read += compare(text, n, EITHER_MAY_REFUSE);
    }
  }
  globfree(&files);
  assert_true(n_read > 500);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(version_2_is_read_alike), cmocka_unit_test(literals_are_enclosed_alike),
      cmocka_unit_test(seeds_are_read_alike), cmocka_unit_test(damaged_seeds_are_read_alike)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
