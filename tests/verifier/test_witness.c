/* Witness files: values survive to the last bit, and files that do not give every variable exactly once are refused. */
#include "tests/ep_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/witness.h"

static const char *const path = "test_witness.tmp";

static void write_text(const char *text) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void values_survive(void **state) {
  (void)state;
  double x[5] = {0.1, (double)0.1f, -0x1p-1074, 0x1.fffffffffffffp1023, -0.0}, y[2] = {(double)-3.3e-38f, 1e30};
  double rx[5], ry[2];
  ep_ctx *ctx = ep_ctx_create();
  ep_query q = {.n_x = 5, .n_y = 2};
  ep_witness w = {.x = x, .y = y, .is_float32 = false};
  assert_int_equal(ep_witness_write(ctx, path, &q, &w), EP_OK);
  assert_int_equal(ep_witness_read(ctx, path, 5, 2, rx, ry), EP_OK);
  assert_memory_equal(x, rx, sizeof x);
  assert_memory_equal(y, ry, sizeof y);
  remove(path);
  ep_ctx_destroy(ctx);
}

/* The whole file, as NumPy's format version 1.0 lays it out. */
static void check_npy(bool is_float32, const char *descr, size_t size) {
  double x[3] = {1.5, -2, (double)0.1f}, y[1] = {0};
  ep_ctx *ctx = ep_ctx_create();
  ep_query q = {.n_x = 3, .n_y = 1};
  ep_witness w = {.x = x, .y = y, .is_float32 = is_float32};
  assert_int_equal(ep_witness_write(ctx, "test_witness.npy", &q, &w), EP_OK);
  unsigned char b[512];
  FILE *f = fopen("test_witness.npy", "rb");
  assert_non_null(f);
  size_t n = fread(b, 1, sizeof b, f), head = 10 + b[8] + 256u * b[9];
  fclose(f);
  remove("test_witness.npy");
  assert_memory_equal(b, "\x93NUMPY\x01\x00", 8);
  assert_int_equal(head % 64, 0);
  assert_int_equal(n, head + 3 * size);
  assert_int_equal(b[head - 1], '\n');
  b[head - 1] = 0;
  assert_non_null(strstr((char *)b + 10, descr));
  assert_non_null(strstr((char *)b + 10, "'fortran_order': False"));
  assert_non_null(strstr((char *)b + 10, "'shape': (3,)"));
  for (size_t i = 0; i < 3; i++) {
    float v;
    double d;
    memcpy(&v, b + head + 4 * i, sizeof v);
    memcpy(&d, b + head + 8 * i, sizeof d);
    assert_true((is_float32 ? (double)v : d) == x[i]);
  }
  ep_ctx_destroy(ctx);
}

static void npy_layout(void **state) {
  (void)state;
  check_npy(true, "'descr': '<f4'", 4);
  check_npy(false, "'descr': '<f8'", 8);
}

static const struct {
  const char *text, *says;
} bad[] = {
    {"", "expected '('"},
    {"((X_0 1)", "found ''"},
    {"((X_0 1) (Y_0 2)", "found ''"},
    {"((X_0 1))", "Y_0 is missing"},
    {"((Y_0 1))", "X_0 is missing"},
    {"((X_0 1) (X_0 1) (Y_0 2))", "'X_0' is given twice"},
    {"((X_0 1) (X_1 1) (Y_0 2))", "found 'X_1'"},
    {"((X_ 1) (Y_0 2))", "found 'X_'"},
    {"((X_+0 1) (Y_0 2))", "found 'X_+0'"},
    {"((Z_0 1) (Y_0 2))", "found 'Z_0'"},
    {"((X_0 one) (Y_0 2))", "found 'one'"},
    {"((X_0 nan) (Y_0 2))", "found 'nan'"},
    {"((X_0 1e999) (Y_0 2))", "found '1e999'"},
    {"((X_0 1 2) (Y_0 2))", "expected ')', found '2'"},
    {"((X_0 1) (Y_0 2)) (X_0 3)", "expected the end of the file"},
    {"((X_0 1) (Y_0 2)))", "expected the end of the file"},
};

static void bad_files_get_one_line(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ep_ctx *ctx = ep_ctx_create();
    double x, y;
    write_text(bad[i].text);
    assert_int_equal(ep_witness_read(ctx, path, 1, 1, &x, &y), EP_E_SYNTAX);
    ep_error e = ep_ctx_error(ctx);
    if (!strstr(e.text, bad[i].says) || !strstr(e.text, path) || strchr(e.text, '\n'))
      fail_msg("case %zu says '%s', expected '%s'", i, e.text, bad[i].says);
    ep_ctx_destroy(ctx);
  }
  remove(path);
}

/* The standard's form: names and shapes as declared, numbers without exponent that read back the same. */
static void assignments_read_back(void **state) {
  (void)state;
  double x[6] = {(double)0.1f, -0x1p-149, 0x1.fffffep127, -0.0, 3, (double)1e-3f}, y[2] = {0.1, 0x1p-1074};
  ep_ctx *ctx = ep_ctx_create();
  ep_witness w = {.x = x, .y = y, .is_float32 = true};
  ep_query_declared d = {.network = "f", .x = {"in", {3, {1, 2, 3}}}, .y = {"out", {1, {2}}}};
  for (int is_float32 = 0; is_float32 < 2; is_float32++) {
    ep_query q = {.n_x = 6, .n_y = 2, .declared = &d};
    char line[2048], *end;
    const char *type = is_float32 ? "float32" : "real";
    d.is_float32 = is_float32;
    FILE *f = tmpfile();
    assert_non_null(f);
    y[1] = is_float32 ? 0.5 : 0x1p-1074;
    y[0] = is_float32 ? (double)0.1f : 0.1;
    assert_int_equal(ep_witness_print_assignment(ctx, f, &q, &w), EP_OK);
    rewind(f);
    for (uint32_t i = 0; i < 10; i++) {
      char want[64];
      assert_non_null(fgets(line, sizeof line, f));
      snprintf(want, sizeof want, i ? "out %s [2]\n" : "in %s [1,2,3]\n", type);
      if (i == 0 || i == 7) {
        assert_string_equal(line, want);
        continue;
      }
      double v = i < 7 ? x[i - 1] : y[i - 8], got = is_float32 ? (double)strtof(line, &end) : strtod(line, &end);
      if (got != v || *end != '\n' || strpbrk(line, "eExX")) fail_msg("%.17g is printed as %s", v, line);
      if (is_float32 && i == 1) assert_string_equal(line, "0.1\n");
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
  }
  ep_query old = {.n_x = 6, .n_y = 2};
  FILE *f = tmpfile();
  char line[64];
  assert_int_equal(ep_witness_print_assignment(ctx, f, &old, &w), EP_OK);
  rewind(f);
  assert_string_equal(fgets(line, sizeof line, f), "X real [6]\n");
  fclose(f);
  ep_ctx_destroy(ctx);
}

static void unwritable_paths(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  double x = 1, y = 1;
  ep_query q = {.n_x = 1, .n_y = 1};
  ep_witness w = {.x = &x, .y = &y};
  assert_int_equal(ep_witness_write(ctx, "no_such_folder/w.txt", &q, &w), EP_E_IO);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "no_such_folder/w.txt"));
  ep_ctx_clear_error(ctx);
  FILE *full = fopen("/dev/full", "wb"); /* a device where every write fails for lack of room */
  if (full) {
    fclose(full);
    assert_int_equal(ep_witness_write(ctx, "/dev/full", &q, &w), EP_E_IO);
  }
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_witness_serialise(ctx, "no_such_folder/below", &q, &w), EP_E_IO);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "no_such_folder/below"));
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_survive),         cmocka_unit_test(npy_layout),
      cmocka_unit_test(bad_files_get_one_line), cmocka_unit_test(assignments_read_back),
      cmocka_unit_test(unwritable_paths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
