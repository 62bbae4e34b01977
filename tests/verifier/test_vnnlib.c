/* The VNN-LIB reader: normal form, exact literals, strictness, and one clear line for everything it refuses. */
#include "tests/ep_test.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "verifier/vnnlib.h"

#define DECLARE "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)"
#define BOX "(assert (>= X_0 0))(assert (<= X_0 1))(assert (>= X_1 -2))(assert (<= X_1 2))"

static ep_query *read_ok(ep_ctx *ctx, const char *text) {
  ep_query *q = NULL;
  ep_status st = ep_vnnlib_read_bytes(ctx, "t", text, strlen(text), &q);
  if (st != EP_OK) fail_msg("refused: %s", ep_ctx_error(ctx).text);
  return q;
}

static void simple_query(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_ok(ctx, "; comment\n" DECLARE BOX "(assert (<= Y_0 Y_1))(assert (< 0.5 Y_1))");
  assert_int_equal(q->n_x, 2);
  assert_int_equal(q->n_y, 2);
  assert_int_equal(q->n_box, 1);
  assert_true(q->box[0].lo[1] == -2 && q->box[0].hi[0] == 1 && q->box[0].lo_in[1] == -2);
  assert_int_equal(q->box[0].n_poly, 1);
  const ep_polytope *p = &q->box[0].poly[0];
  assert_int_equal(p->n_row, 2);
  assert_false(p->row[0].is_strict);
  assert_int_equal(p->row[0].n, 2);
  assert_true(p->row[0].rhs.lo == 0 && p->row[0].rhs.hi == 0 && p->row[0].coef_rel_err == 0);
  assert_true(p->row[1].is_strict);
  assert_int_equal(p->row[1].n, 1);
  assert_int_equal(p->row[1].var[0], 1);
  assert_true(p->row[1].coef[0] == -1 && p->row[1].rhs.hi == -0.5);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static void disjunctions_are_grouped_by_box(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_ok(ctx, DECLARE "(assert (or (and (<= X_0 1) (>= X_0 0)) (and (<= X_0 3) (>= X_0 2))))"
                                     "(assert (<= X_1 1))(assert (>= X_1 0))"
                                     "(assert (or (<= Y_0 0) (and (>= Y_0 1) (>= Y_1 1)) (>= Y_1 5)))");
  assert_int_equal(q->n_box, 2);
  assert_int_equal(q->box[0].n_poly, 3);
  assert_int_equal(q->box[1].n_poly, 3);
  assert_int_equal(q->box[0].poly[1].n_row, 2);
  assert_true(q->box[1].lo[0] == 2 && q->box[1].hi[0] == 3 && q->box[1].hi[1] == 1);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static void literals_are_enclosed(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q =
      read_ok(ctx, DECLARE "(assert (>= X_0 0.1))(assert (<= X_0 0.3))(assert (>= X_1 0.1))(assert (<= X_1 0.1))"
                           "(assert (>= Y_0 (/ 1 3)))");
  const ep_input_box *b = &q->box[0];
  /* 0.1 and 0.3 are not doubles: the double 0.1 lies above, 0.3 below the decimal. */
  assert_true(b->lo[0] == nextafter(0.1, 0) && b->lo_in[0] == 0.1);
  assert_true(b->hi_in[0] == 0.3 - 0.0 && b->hi[0] == nextafter(0.3, 1));
  /* No double inside [0.1, 0.1]: the nearest one stands in. */
  assert_true(b->lo_in[1] == b->hi_in[1] && b->lo[1] <= b->lo_in[1] && b->hi[1] >= b->lo_in[1]);
  assert_false(b->is_empty);
  ep_itv r = b->poly[0].row[0].rhs;
  assert_true(r.lo < r.hi && (long double)r.lo < -1.0L / 3 && (long double)r.hi > -1.0L / 3);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static void strict_inputs_exclude_the_end_for_witnesses(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_ok(ctx, DECLARE
                        "(assert (> X_0 0))(assert (< X_0 1))(assert (>= X_1 0))(assert (<= X_1 1))(assert (= Y_0 1))");
  const ep_input_box *b = &q->box[0];
  assert_true(b->lo[0] == 0 && b->lo_in[0] > 0 && b->hi[0] == 1 && b->hi_in[0] < 1);
  assert_int_equal(b->poly[0].n_row, 2); /* equality = two rows */
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static void mixed_and_several_inputs_become_rows(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q =
      read_ok(ctx, DECLARE BOX "(assert (<= (+ X_0 (* 2 X_1)) 1))(assert (>= (- Y_0 (* X_0 3)) 0))(assert (<= 1 2))");
  const ep_polytope *p = &q->box[0].poly[0];
  assert_int_equal(p->n_row, 2);
  assert_int_equal(p->row[0].n, 2);
  assert_int_equal(p->row[0].var[0], 2); /* inputs come after the two outputs */
  assert_true(p->row[0].coef[1] == 2 && p->row[1].coef[0] == -1 && p->row[1].coef[1] == 3);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

/* Every form of arithmetic, as exact rows. */
static void arithmetic_is_exact(void **state) {
  (void)state;
  static const struct {
    const char *text;
    double coef, rhs;
  } t[] = {
      {"(<= Y_0 (* 2 3))", 1, 6},
      {"(<= Y_0 (* 1 2 3))", 1, 6},
      {"(<= (* 3 Y_0) 6)", 3, 6},
      {"(<= (* Y_0 3) 6)", 3, 6},
      {"(<= (* 0.5 Y_0 6) (+ 1 2 3))", 3, 6},
      {"(<= Y_0 (/ 12 2))", 1, 6},
      {"(<= Y_0 (/ 24 2 2))", 1, 6},
      {"(<= (/ Y_0 0.5) (- 20 8))", 2, 12},
      {"(<= (- (- Y_0)) (- 10 3 1))", 1, 6},
      {"(<= (- (* 4 Y_0) Y_0 1) 5)", 3, 6},
      {"(<= 0 (- 6 (* 3 Y_0)))", 3, 6},
      {"(>= (* -2 3) (- 0 Y_0 (* 2 Y_0)))", -3, -6},
      {"(>= 6 (+ Y_0))", 1, 6},
      {"(<= (* (+ Y_0 1 Y_0) 2) 14)", 4, 12},
      {"(<= (+ Y_0 (* 0 Y_1)) 6)", 1, 6},
      {"(<= (+ Y_0 Y_1) (+ Y_1 6))", 1, 6},
  };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    char text[512];
    ep_ctx *ctx = ep_ctx_create();
    snprintf(text, sizeof text, "%s(assert %s)", DECLARE BOX, t[i].text);
    ep_query *q = read_ok(ctx, text);
    const ep_row *r = &q->box[0].poly[0].row[0];
    if (q->box[0].poly[0].n_row != 1 || r->n != 1 || r->var[0] != 0 || r->coef[0] != t[i].coef ||
        r->coef_rel_err != 0 || r->rhs.lo != t[i].rhs || r->rhs.hi != t[i].rhs || r->is_strict)
      fail_msg("%s", t[i].text);
    ep_query_destroy(q);
    ep_ctx_destroy(ctx);
  }
}

static void empty_sets_are_seen(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_ok(ctx, DECLARE BOX "(assert (<= X_0 -1))(assert (<= Y_0 0))");
  assert_true(q->is_empty && q->box[0].is_empty);
  ep_query_destroy(q);
  q = read_ok(ctx, DECLARE BOX "(assert (<= 2 1))(assert (<= Y_0 0))");
  assert_true(q->is_empty);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

/* Comparisons of numbers alone decide disjuncts, at equality by their strictness. */
static void numbers_are_compared(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint32_t n_poly; /* disjuncts left */
  } t[] = {{"(<= 1 1)", 1},
           {"(< 1 1)", 0},
           {"(>= 2 1)", 1},
           {"(> 1 1)", 0},
           {"(= 1 1)", 1},
           {"(= 1 2)", 0},
           {"(< 1 1.0000000000000000000001)", 1},
           {"(>= 1 1.0000000000000000000001)", 0},
           {"(or (< 1 1) (<= 2 1) (<= Y_0 0) (and (<= 1 1) (<= Y_1 0)))", 2},
           {"(or (and (<= Y_0 0) (< 1 1)) (<= Y_0 1))", 1}};
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    char text[512];
    ep_ctx *ctx = ep_ctx_create();
    snprintf(text, sizeof text, "%s(assert (<= Y_1 9))(assert %s)", DECLARE BOX, t[i].text);
    ep_query *q = read_ok(ctx, text);
    uint32_t n = q->n_box ? q->box[0].n_poly : 0;
    if (n != t[i].n_poly || q->is_empty != !n) fail_msg("%s leaves %u", t[i].text, n);
    for (uint32_t p = 0; p < n; p++)
      for (uint32_t r = 0; r < q->box[0].poly[p].n_row; r++) assert_true(q->box[0].poly[p].row[r].n > 0);
    ep_query_destroy(q);
    ep_ctx_destroy(ctx);
  }
}

/* 0.1 as a coefficient: the double and the distance that it may be off by. */
static void inexact_coefficients_say_how_inexact(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_ok(ctx, DECLARE BOX "(assert (<= (+ (* 0.1 Y_0) (* 0.5 Y_1)) 1))");
  const ep_row *r = &q->box[0].poly[0].row[0];
  assert_true(r->n == 2 && fabs(r->coef[0] - 0.1) < 1e-16 && r->coef[1] == 0.5);
  assert_true(r->coef_rel_err > 0 && r->coef_rel_err < 0x1p-51);
  assert_true(fabsl((long double)r->coef[0] - 0.1L) <= (long double)r->coef_rel_err * r->coef[0]);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

static const struct {
  const char *text, *says;
} bad[] = {
    {"(declare-const X_0 Real)(assert (<= X_0 1)", "expected ')'"},
    {"(declare-const X_0 Int)", "t:1:20: expected 'Real'"},
    {"(declare-const Z Real)", "expected a variable"},
    {DECLARE "(assert (<= X_7 1))", "'X_7' is not declared"},
    {DECLARE "(assert (not (<= X_0 1)))", "found 'not'"},
    {DECLARE "(assert (<= (* X_0 X_1) 1))", "product of two variables"},
    {DECLARE "(assert (<= X_0 abc))", "expected a variable or a number"},
    {DECLARE "(assert (<= X_0 1 2))", "expected ')' after two arguments"},
    {DECLARE "(assert (or))", "'or' without arguments"},
    {DECLARE "(assert (>= X_0 0))(assert (<= X_0 1))(assert (>= X_1 0))(assert (<= Y_0 0))", "X_1 has no upper bound"},
    {"(declare-const X_1 Real)(declare-const Y_0 Real)", "without gaps"},
    {"(declare-const X_0 Real)(declare-const Y_1 Real)", "without gaps"},
    {"(declare-const X_0 Real)", "without gaps"},
    {DECLARE "(assert (<= X_0 0))(assert (>= X_1 0))(assert (<= X_1 1))(assert (<= Y_0 0))", "X_0 has no lower bound"},
    {"(declare-const X_0 Real)(declare-const X_0 Real)", "declared twice"},
    {DECLARE "(vnnlib-version <2.0>)", "expected declare-const or assert, found 'vnnlib-version'"},
    {"", "expected declarations"},
    {"(assert", "expected '('"},
    {DECLARE "(assert (<= X_0 1e999))", "expected a variable or a number"},
    {DECLARE ")", "expected '('"},
    {DECLARE "(assert (<= X_0 \x01))", "byte 0x01"},
    {DECLARE "(assert (<= X_0 (/ 3)))", "'/' needs two arguments"},
    {DECLARE "(assert (<= X_0 (/ 3 0)))", "division by a variable or zero"},
    {DECLARE "(assert (<= X_0 (/ 3 X_1)))", "division by a variable or zero"},
    {DECLARE "(set-info :source \"no end)", "expected closing \""},
    {DECLARE "(assert (<= X_0 \"1\n\"))", "expected a variable or a number"},
    {DECLARE BOX "(assert (<= (- (* 0.1 Y_0) (* 0.1 Y_0)) 1))", "coefficient of Y_0 cannot be told from zero"},
};

static void bad_input_gets_one_line(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    ep_status st = ep_vnnlib_read_bytes(ctx, "t", bad[i].text, strlen(bad[i].text), &q);
    ep_error e = ep_ctx_error(ctx);
    assert_int_not_equal(st, EP_OK);
    assert_null(q);
    assert_int_equal(ep_status_exit_code(st), 2);
    if (!strstr(e.text, bad[i].says) || strchr(e.text, '\n'))
      fail_msg("case %zu says '%s', expected '%s'", i, e.text, bad[i].says);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
}

/* Brackets and comments inside quotes are not assertions. */
static void quoted_text_is_skipped(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = read_ok(ctx, "(set-info :source |a ) ; (assert (<= 1 0))|)" DECLARE BOX
                             "(set-info :notes \"x) (assert (<= Y_1 0))\")(assert (<= Y_0 0))");
  assert_int_equal(q->n_box, 1);
  assert_int_equal(q->box[0].poly[0].n_row, 1);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
}

/* Plain, gzipped and in-memory text give the same query under the same name; a cut archive is refused. */
static void files_plain_and_gzipped(void **state) {
  (void)state;
  static const char text[] = DECLARE BOX "(assert (<= Y_0 0))";
  static const char *const path[] = {"test_vnnlib.tmp", "test_vnnlib.tmp.gz", "test_vnnlib.cut.gz"};
  ep_ctx *ctx = ep_ctx_create();
  FILE *f = fopen(path[0], "wb");
  assert_int_equal(fwrite(text, 1, sizeof text - 1, f), sizeof text - 1);
  fclose(f);
  gzFile gz = gzopen(path[1], "wb");
  assert_int_equal(gzwrite(gz, text, sizeof text - 1), sizeof text - 1);
  gzclose(gz);
  char packed[4096];
  f = fopen(path[1], "rb");
  size_t n = fread(packed, 1, sizeof packed, f);
  fclose(f);
  f = fopen(path[2], "wb");
  assert_int_equal(fwrite(packed, 1, n - 12, f), n - 12);
  fclose(f);
  ep_query *q[3] = {read_ok(ctx, text), NULL, NULL}, *cut = NULL;
  assert_int_equal(ep_vnnlib_read(ctx, path[0], &q[1]), EP_OK);
  assert_int_equal(ep_vnnlib_read(ctx, path[1], &q[2]), EP_OK);
  for (int i = 0; i < 3; i++) {
    assert_string_equal(q[i]->sha256, q[0]->sha256);
    assert_true(q[i]->n_box == 1 && q[i]->box[0].hi[1] == 2 && q[i]->box[0].poly[0].n_row == 1);
  }
  for (int i = 0; i < 3; i++) ep_query_destroy(q[i]);
  assert_int_equal(ep_vnnlib_read(ctx, path[2], &cut), EP_E_SYNTAX);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "truncated gzip"));
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_vnnlib_read(ctx, "no_such_file", &cut), EP_E_IO);
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_vnnlib_read(ctx, ".", &cut), EP_E_IO);
  assert_null(cut);
  for (int i = 0; i < 3; i++) remove(path[i]);
  ep_ctx_destroy(ctx);
}

/* Two assertions of 1025 disjuncts each pass the cap; the message names it. */
static void too_many_disjuncts_are_refused(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  char *text = malloc(200000), *p = text;
  p += sprintf(p, "%s", DECLARE BOX);
  for (int k = 0; k < 2; k++) {
    p += sprintf(p, "(assert (or");
    for (int i = 0; i < 1025; i++) p += sprintf(p, "(<= Y_%d %d)", k, i);
    p += sprintf(p, "))");
  }
  ep_query *q = NULL;
  assert_int_equal(ep_vnnlib_read_bytes(ctx, "t", text, (size_t)(p - text), &q), EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "1048576 disjuncts"));
  free(text);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* A wide disjunction and one long conjunction are small apart and immense together: refused before memory is taken,
 * whether the conjunction stands alone or in a disjunction. */
static void too_many_comparisons_are_refused(void **state) {
  (void)state;
  for (int form = 0; form < 2; form++) {
    ep_ctx *ctx = ep_ctx_create();
    char *text = malloc(1u << 20), *p = text;
    p += sprintf(p, "%s(assert (and (or", DECLARE BOX);
    for (int i = 0; i < 8192; i++) p += sprintf(p, "(<= Y_0 %d)", i);
    p += sprintf(p, form == 0 ? ")(and " : ")(or (and ");
    for (int i = 0; i < 5000; i++) p += sprintf(p, "(<= Y_1 %d)", i);
    p += sprintf(p, form == 0 ? ")))" : ") (<= Y_1 0))))");
    ep_query *q = NULL;
    assert_int_equal(ep_vnnlib_read_bytes(ctx, "t", text, (size_t)(p - text), &q), EP_E_UNSUPPORTED);
    assert_non_null(strstr(ep_ctx_error(ctx).text, "33554432 comparisons"));
    assert_true(ep_ctx_memory_peak(ctx) < 16 << 20);
    free(text);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
}

/* Sums that name each input twice, in opposite orders, from short to long: one coefficient per input. */
static void check_sum(int n) {
  ep_ctx *ctx = ep_ctx_create();
  char *text = malloc(200000), *p = text;
  p += sprintf(p, "(declare-const Y_0 Real)");
  for (int i = 0; i < n; i++)
    p += sprintf(p, "(declare-const X_%d Real)(assert (>= X_%d 0))(assert (<= X_%d 1))", i, i, i);
  p += sprintf(p, "(assert (<= (+ ");
  for (int i = 0; i < n; i++) p += sprintf(p, "(* %d X_%d) ", i + 1, i);
  p += sprintf(p, "Y_0) (* 2 (+ 1 ");
  for (int i = n - 1; i >= 0; i--) p += sprintf(p, "(* %d X_%d) ", i % 2 ? i : i + 1, i);
  p += sprintf(p, "))))(assert (<= Y_0 (- (+ 0 ");
  for (int i = 0; i < n; i++) p += sprintf(p, "X_%d ", i);
  p += sprintf(p, ") (+ 0 ");
  for (int i = 0; i < n; i++) p += sprintf(p, "X_%d ", i);
  p += sprintf(p, "))))(assert (<= (+ ");
  for (int i = 0; i < n; i++) p += sprintf(p, "X_%d ", i);
  p += sprintf(p, "X_0 X_%d) 9))", n - 1);
  ep_query *q = read_ok(ctx, text);
  assert_int_equal(q->box[0].poly[0].n_row, 3);
  assert_int_equal(q->box[0].poly[0].row[2].n, n);
  const ep_row *row = &q->box[0].poly[0].row[0];
  double coef[501] = {0};
  assert_int_equal(row->n, n); /* Y_0 joins, X_1 cancels */
  for (uint32_t k = 0; k < row->n; k++) coef[row->var[k]] += row->coef[k];
  assert_true(coef[0] == 1 && row->rhs.lo == 2 && row->rhs.hi == 2 && row->coef_rel_err == 0);
  for (int i = 0; i < n; i++) assert_true(coef[1 + i] == (i + 1) - 2 * (i % 2 ? i : i + 1));
  assert_int_equal(q->box[0].poly[0].row[1].n, 1); /* all inputs cancel */
  ep_query_destroy(q);
  free(text);
  ep_ctx_destroy(ctx);
}

static void long_terms_are_merged(void **state) {
  (void)state;
  static const int n[] = {3, 31, 32, 33, 40, 500};
  for (size_t i = 0; i < sizeof n / sizeof *n; i++) check_sum(n[i]);
}

/* Reading ends when time is up, without an error of its own. */
static void a_stop_is_obeyed(void **state) {
  (void)state;
  static const char text[] = DECLARE BOX "(assert (<= Y_0 0))";
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = NULL;
  ep_ctx_interrupt(ctx);
  assert_int_equal(ep_vnnlib_read_bytes(ctx, "t", text, sizeof text - 1, &q), EP_E_STOPPED);
  assert_null(q);
  assert_int_equal(ep_ctx_error(ctx).code, EP_OK);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* Every property of the benchmarks: read, bounded, with something to decide in each box. */
static void benchmark_properties_are_read(void **state) {
  (void)state;
  const char *shared = getenv("EPSPROOF_SHARED");
  if (!shared) {
    print_message("EPSPROOF_SHARED is not set: no benchmark properties\n");
    skip();
  }
  char pattern[1024];
  glob_t files;
  snprintf(pattern, sizeof pattern, "%s/vnncomp/*/vnnlib/*.gz", shared);
  assert_int_equal(glob(pattern, 0, NULL, &files), 0);
  for (size_t i = 0; i < files.gl_pathc; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    if (ep_vnnlib_read(ctx, files.gl_pathv[i], &q) != EP_OK) fail_msg("%s", ep_ctx_error(ctx).text);
    assert_true(q->n_x && q->n_y && q->n_box && !q->is_empty);
    for (uint32_t b = 0; b < q->n_box; b++) {
      assert_true(q->box[b].n_poly && !q->box[b].is_empty && !q->box[b].is_proof_only);
      for (uint32_t p = 0; p < q->box[b].n_poly; p++) assert_true(q->box[b].poly[p].n_row > 0);
    }
    ep_query_destroy(q);
    ep_ctx_destroy(ctx);
  }
  print_message("%zu properties read\n", files.gl_pathc);
  globfree(&files);
}

static void deep_nesting_is_refused(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  size_t n = 100000;
  char *text = malloc(n * 5 + 200), *p = text;
  p += sprintf(p, "%s(assert ", DECLARE);
  for (size_t i = 0; i < n; i++) p += sprintf(p, "(and ");
  ep_query *q = NULL;
  assert_int_equal(ep_vnnlib_read_bytes(ctx, "t", text, (size_t)(p - text), &q), EP_E_SYNTAX);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "nested deeper"));
  free(text);
  ep_ctx_destroy(ctx);
}

/* Every prefix and every byte flipped: never a crash, a leak or an error without a message. */
static void damaged_text_is_safe(void **state) {
  (void)state;
  static const char text[] = DECLARE BOX "(assert (or (and (<= Y_0 (+ 1 (* 2 X_0))) (> Y_1 -0.5e1)) (>= Y_0 (/ 1 3))))";
  char copy[sizeof text];
  for (size_t i = 0; i < 2 * sizeof text; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    memcpy(copy, text, sizeof text);
    size_t n = i < sizeof text ? i : sizeof text - 1;
    if (i >= sizeof text) copy[i - sizeof text] ^= 0x15;
    ep_status st = ep_vnnlib_read_bytes(ctx, "t", copy, n, &q);
    assert_true((st == EP_OK) == (q != NULL));
    assert_true(st == EP_OK || ep_ctx_error(ctx).text[0]);
    ep_query_destroy(q);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
}

static void allocation_failures_are_clean(void **state) {
  (void)state;
  static const char text[] = DECLARE BOX "(assert (or (<= Y_0 0) (and (>= Y_0 1) (>= Y_1 1))))";
  for (uint64_t k = 1; k < 200; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_query *q = NULL;
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = ep_vnnlib_read_bytes(ctx, "t", text, sizeof text - 1, &q);
    assert_true(st == EP_OK || st == EP_E_NOMEM);
    ep_query_destroy(q);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
    if (st == EP_OK) return;
  }
  fail_msg("the reader allocates without end");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(simple_query),
      cmocka_unit_test(disjunctions_are_grouped_by_box),
      cmocka_unit_test(literals_are_enclosed),
      cmocka_unit_test(strict_inputs_exclude_the_end_for_witnesses),
      cmocka_unit_test(mixed_and_several_inputs_become_rows),
      cmocka_unit_test(arithmetic_is_exact),
      cmocka_unit_test(empty_sets_are_seen),
      cmocka_unit_test(numbers_are_compared),
      cmocka_unit_test(inexact_coefficients_say_how_inexact),
      cmocka_unit_test(bad_input_gets_one_line),
      cmocka_unit_test(quoted_text_is_skipped),
      cmocka_unit_test(files_plain_and_gzipped),
      cmocka_unit_test(too_many_disjuncts_are_refused),
      cmocka_unit_test(too_many_comparisons_are_refused),
      cmocka_unit_test(long_terms_are_merged),
      cmocka_unit_test(a_stop_is_obeyed),
      cmocka_unit_test(benchmark_properties_are_read),
      cmocka_unit_test(deep_nesting_is_refused),
      cmocka_unit_test(damaged_text_is_safe),
      cmocka_unit_test(allocation_failures_are_clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
