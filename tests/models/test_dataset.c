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
