/* Readers of inputs: values, order, entries, and one line for files that do not fit. */
#include "tests/ep_test.h"

#include <stdio.h>
#include <string.h>

#include "models/dataset.h"

static void put(const char *path, const void *data, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
}

static void idx_entries(void **state) {
  (void)state;
  static const uint8_t idx[] = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 250, 251, 252};
  ep_ctx *ctx = ep_ctx_create();
  ep_sample s;
  uint32_t label;
  put("t.idx", idx, sizeof idx);
  assert_int_equal(ep_dataset_read(ctx, "t.idx", 1, 3, &s), EP_OK);
  assert_true(s.n == 3 && s.x[0] == 250 && s.x[2] == 252);
  ep_free(ctx, s.x);
  assert_int_equal(ep_dataset_read(ctx, "t.idx", 2, 3, &s), EP_E_OPTION);
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_dataset_read(ctx, "t.idx", 0, 4, &s), EP_E_SHAPE);
  for (size_t n = 0; n < sizeof idx; n++) { /* every truncation */
    ep_ctx_clear_error(ctx);
    put("t.idx", idx, n);
    assert_int_equal(ep_dataset_read(ctx, "t.idx", 1, 3, &s), EP_E_SYNTAX);
  }
  static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 9};
  static const uint8_t negative[] = {0, 0, 9, 1, 0, 0, 0, 1, 255};
  ep_ctx_clear_error(ctx);
  put("t.idx", negative, sizeof negative);
  assert_int_equal(ep_dataset_label(ctx, "t.idx", 0, &label), EP_E_SYNTAX);
  ep_ctx_clear_error(ctx);
  put("t.idx", labels, sizeof labels);
  assert_int_equal(ep_dataset_label(ctx, "t.idx", 1, &label), EP_OK);
  assert_int_equal(label, 9);
  remove("t.idx");
  assert_int_equal(ep_dataset_read(ctx, "t.idx", 0, 3, &s), EP_E_IO);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

static void csv_lines(void **state) {
  (void)state;
  static const char csv[] = "1,2.5,-3e-1\n4,5,6\n7,x,9\n";
  ep_ctx *ctx = ep_ctx_create();
  ep_sample s;
  put("t.csv", csv, strlen(csv));
  assert_int_equal(ep_dataset_read(ctx, "t.csv", 0, 3, &s), EP_OK);
  assert_true(s.x[1] == 2.5 && s.x[2] == -0.3);
  ep_free(ctx, s.x);
  assert_int_equal(ep_dataset_read(ctx, "t.csv", 2, 3, &s), EP_E_SYNTAX);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "t.csv:3: field 2"));
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_dataset_read(ctx, "t.csv", 3, 3, &s), EP_E_OPTION);
  static const char *const odd[] = {"1,\n2,3\n", "1,2,\n", ",2,3\n", "1,nan,3\n", "1 2,3,4\n", "1,2,3;\n"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    ep_ctx_clear_error(ctx);
    put("t.csv", odd[i], strlen(odd[i]));
    assert_int_equal(ep_dataset_read(ctx, "t.csv", 0, 0, &s), EP_E_SYNTAX);
  }
  put("t.csv", " 1 ,\t2, 3 \r\n", 12);
  assert_int_equal(ep_dataset_read(ctx, "t.csv", 0, 3, &s), EP_OK);
  assert_true(s.x[0] == 1 && s.x[1] == 2 && s.x[2] == 3);
  ep_free(ctx, s.x);
  uint32_t label;
  put("t.csv", "1.5\n7\n", 6);
  assert_int_equal(ep_dataset_label(ctx, "t.csv", 1, &label), EP_OK);
  assert_int_equal(label, 7);
  assert_int_equal(ep_dataset_label(ctx, "t.csv", 0, &label), EP_E_SYNTAX);
  remove("t.csv");
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

static void npy_arrays(void **state) {
  (void)state;
  uint8_t file[128 + 16] = "\x93NUMPY\x01";
  static const char dict[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
  const float v[4] = {1, -2, 0.5f, 8};
  file[8] = 118;
  memset(file + 10, ' ', 117);
  memcpy(file + 10, dict, sizeof dict - 1);
  file[127] = '\n';
  memcpy(file + 128, v, sizeof v);
  ep_ctx *ctx = ep_ctx_create();
  ep_sample s;
  put("t.npy", file, sizeof file);
  assert_int_equal(ep_dataset_read(ctx, "t.npy", 1, 2, &s), EP_OK);
  assert_true(s.x[0] == 0.5 && s.x[1] == 8);
  ep_free(ctx, s.x);
  assert_int_equal(ep_dataset_read(ctx, "t.npy", 0, 3, &s), EP_E_SHAPE);
  ep_ctx_clear_error(ctx);
  put("t.npy", file, 40);
  assert_int_equal(ep_dataset_read(ctx, "t.npy", 0, 2, &s), EP_E_SYNTAX);
  for (size_t n = 0; n < sizeof file; n++) { /* every truncation */
    ep_ctx_clear_error(ctx);
    put("t.npy", file, n);
    assert_int_equal(ep_dataset_read(ctx, "t.npy", 0, 2, &s), EP_E_SYNTAX);
  }
  static const char *const odd[] = {"'<i8'", "'>f4'"};
  for (int i = 0; i < 2; i++) {
    ep_ctx_clear_error(ctx);
    memcpy(file + 20, odd[i], 5);
    put("t.npy", file, sizeof file);
    assert_int_equal(ep_dataset_read(ctx, "t.npy", 0, 2, &s), EP_E_UNSUPPORTED);
  }
  ep_ctx_clear_error(ctx);
  memcpy(file + 20, "'|u1'", 5);
  memcpy(strstr((char *)file + 10, "(2, 2)"), "(4, 4)", 6);
  file[140] = 200;
  put("t.npy", file, sizeof file);
  assert_int_equal(ep_dataset_read(ctx, "t.npy", 3, 4, &s), EP_OK);
  assert_true(s.x[0] == 200 && s.x[1] == 0);
  ep_free(ctx, s.x);
  remove("t.npy");
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(idx_entries),
      cmocka_unit_test(csv_lines),
      cmocka_unit_test(npy_arrays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
