/* Data sets: CIFAR-10 batches, PNG folders, .npy and .csv with labels, augmentation. (IDX: tests/cli/test_train.sh.) */
#include "models/data.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/ep_test.h"

static char root[64];

static int setup(void **state) {
  (void)state;
  snprintf(root, sizeof root, "/tmp/ep_test_data_XXXXXX");
  return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", root);
  return system(command);
}

static const char *in(const char *name) {
  static char path[4][256];
  static int k;
  k = (k + 1) % 4;
  snprintf(path[k], sizeof path[k], "%s/%s", root, name);
  return path[k];
}

static void put(const char *name, const void *data, size_t n) {
  FILE *f = fopen(in(name), "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
}

static void put_png(const char *name, uint32_t w, uint32_t h, const uint8_t *grey) {
  png_image image = {.version = PNG_IMAGE_VERSION, .width = w, .height = h, .format = PNG_FORMAT_GRAY};
  assert_true(png_image_write_to_file(&image, in(name), 0, grey, 0, NULL));
}

static void test_cifar(void **state) {
  (void)state;
  static uint8_t batch[2 * 3073];
  ep_ctx *ctx = ep_ctx_create();
  ep_data d;
  batch[0] = 3;
  batch[1] = 255;
  batch[3073] = 7;
  batch[2 * 3073 - 1] = 51;
  for (int k = 1; k <= 5; k++) {
    char name[32];
    snprintf(name, sizeof name, "data_batch_%d.bin", k);
    put(name, batch, sizeof batch);
  }
  put("test_batch.bin", batch, 3073);
  assert_int_equal(ep_data_load(ctx, root, NULL, EP_DATA_TRAIN, &d), EP_OK);
  assert_int_equal(d.n, 10);
  assert_int_equal(d.c, 3);
  assert_int_equal(d.n_in, 3072);
  assert_int_equal(d.n_class, 8);
  assert_int_equal(d.label[9], 7);
  assert_true(d.x[0] == 1 && d.x[2 * 3072 - 1] == 51.0f / 255.0f);
  ep_data_clear(&d);
  assert_int_equal(ep_data_load(ctx, root, NULL, EP_DATA_TEST, &d), EP_OK);
  assert_int_equal(d.n, 1);
  ep_data_clear(&d);
  put("test_batch.bin", batch, 3072);
  assert_int_equal(ep_data_load(ctx, root, NULL, EP_DATA_TEST, &d), EP_E_SYNTAX);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "test_batch.bin"));
  ep_ctx_destroy(ctx);
}

static void test_png_folders(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_data d;
  const uint8_t a[6] = {0, 51, 102, 153, 204, 255}, b[4] = {1, 2, 3, 4};
  mkdir(in("train"), 0700);
  mkdir(in("train/cat"), 0700);
  mkdir(in("train/ant"), 0700);
  put_png("train/cat/1.png", 3, 2, a);
  put_png("train/ant/1.png", 3, 2, a);
  put_png("train/ant/2.png", 3, 2, a);
  put("train/ant/notes.txt", "x", 1);
  assert_int_equal(ep_data_load(ctx, root, NULL, EP_DATA_TRAIN, &d), EP_OK);
  assert_int_equal(d.n, 3);
  assert_int_equal(d.h, 2);
  assert_int_equal(d.w, 3);
  assert_int_equal(d.label[0], 0); /* ant before cat */
  assert_int_equal(d.label[2], 1);
  assert_true(d.x[1] == 51.0f / 255.0f);
  ep_data_clear(&d);
  put_png("train/cat/2.png", 2, 2, b);
  assert_int_equal(ep_data_load(ctx, root, NULL, EP_DATA_TRAIN, &d), EP_E_SHAPE);
  ep_ctx_clear_error(ctx);
  put("train/cat/2.png", "no image", 8);
  assert_int_equal(ep_data_load(ctx, root, NULL, EP_DATA_TRAIN, &d), EP_E_SYNTAX);
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_data_load(ctx, in("train/cat"), NULL, EP_DATA_TEST, &d), EP_E_SYNTAX);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "no data set"));
  ep_ctx_destroy(ctx);
}

static void test_csv(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_data d;
  static const char x[] = "0.5,1,0.25,0\n1,2,3,4\n", y[] = "0\n3\n", bad[] = "0\n0.5\n", few[] = "0\n1\n2\n";
  put("x.csv", x, sizeof x - 1);
  put("y.csv", y, sizeof y - 1);
  assert_int_equal(ep_data_load(ctx, in("x.csv"), in("y.csv"), EP_DATA_TRAIN, &d), EP_OK);
  assert_int_equal(d.n, 2);
  assert_int_equal(d.h * d.w, 4);
  assert_int_equal(d.h, 2);
  assert_true(d.x[4] == 1 && d.x[2] == 0.25f);
  assert_int_equal(d.n_class, 4);
  ep_data_clear(&d);
  put("y.csv", bad, sizeof bad - 1);
  assert_int_equal(ep_data_load(ctx, in("x.csv"), in("y.csv"), EP_DATA_TRAIN, &d), EP_E_SYNTAX);
  ep_ctx_clear_error(ctx);
  put("y.csv", few, sizeof few - 1);
  assert_int_equal(ep_data_load(ctx, in("x.csv"), in("y.csv"), EP_DATA_TRAIN, &d), EP_E_SHAPE);
  ep_ctx_clear_error(ctx);
  put("x.csv", "1,two\n", 6);
  assert_int_equal(ep_data_load(ctx, in("x.csv"), in("y.csv"), EP_DATA_TRAIN, &d), EP_E_SYNTAX);
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_data_load(ctx, in("x.csv"), NULL, EP_DATA_TRAIN, &d), EP_E_OPTION);
  ep_ctx_destroy(ctx);
}

/* All shifts and mirrors of one pixel are seen, each where it belongs. */
static void test_augment(void **state) {
  (void)state;
  float x[9] = {0, 0, 0, 0, 0, 2, 0, 0, 0}, out[9]; /* row 1, column 2 */
  ep_data d = {.n = 1, .n_in = 9, .c = 1, .h = 3, .w = 3, .x = x};
  ep_rng rng;
  int seen[9] = {0}, gone = 0;
  ep_rng_seed(&rng, 2);
  for (int k = 0; k < 500; k++) {
    ep_data_augment(&d, 0, 1, true, &rng, out);
    int at = -1;
    for (int i = 0; i < 9; i++)
      if (out[i] > 0) at = i;
    if (at < 0)
      gone++;
    else
      seen[at]++;
  }
  for (int i = 0; i < 9; i++) assert_true(seen[i] > 0);
  assert_true(gone > 0);
  ep_data_augment(&d, 0, 0, false, &rng, out);
  assert_memory_equal(x, out, sizeof x);
}

static void test_shuffle(void **state) {
  (void)state;
  uint32_t order[100], again[100];
  bool seen[100] = {false};
  ep_rng rng;
  ep_rng_seed(&rng, 1);
  ep_data_shuffle(order, 100, &rng);
  ep_rng_seed(&rng, 1);
  ep_data_shuffle(again, 100, &rng);
  assert_memory_equal(order, again, sizeof order);
  int moved = 0;
  for (uint32_t i = 0; i < 100; i++) {
    assert_false(seen[order[i]]);
    seen[order[i]] = true;
    moved += order[i] != i;
  }
  assert_true(moved > 80);
}

/* The split by seed, and the samples that it holds back. */
static void test_split(void **state) {
  (void)state;
  enum { N = 50 };
  ep_ctx *ctx = ep_ctx_create();
  ep_data d = {.ctx = ctx, .n = N, .n_in = 2, .c = 1, .h = 1, .w = 2, .n_class = N};
  uint32_t order[N], other[N];
  d.x = ep_alloc(ctx, N * 2 * sizeof *d.x);
  d.label = ep_alloc(ctx, N * sizeof *d.label);
  for (uint32_t i = 0; i < N; i++) {
    d.x[2 * i] = (float)i;
    d.x[2 * i + 1] = -(float)i;
    d.label[i] = i;
  }
  assert_int_equal(ep_data_split(N, 0.3, 6, order), 35);
  assert_int_equal(ep_data_split(N, 0, 6, other), N);
  assert_memory_equal(order, other, sizeof order); /* the share only says where it is cut */
  ep_data_split(N, 0.3, 7, other);
  assert_memory_not_equal(order, other, sizeof order);
  assert_int_equal(ep_data_keep(&d, order + 35, 15), EP_OK);
  assert_int_equal(d.n, 15);
  assert_int_equal(d.n_in, 2);
  for (size_t i = 0; i < 15; i++) {
    assert_int_equal(d.label[i], order[35 + i]);
    assert_true(d.x[2 * i] == (float)order[35 + i] && d.x[2 * i + 1] == -d.x[2 * i]);
  }
  ep_data_clear(&d);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_cifar, setup, teardown),
      cmocka_unit_test_setup_teardown(test_png_folders, setup, teardown),
      cmocka_unit_test_setup_teardown(test_csv, setup, teardown),
      cmocka_unit_test(test_augment),
      cmocka_unit_test(test_shuffle),
      cmocka_unit_test(test_split),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
