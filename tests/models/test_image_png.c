/* PNG samples come back exactly as stored, channels first; damaged or unsuitable files get one line. */
#include "tests/ep_test.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/dataset.h"
#include "models/image_png.h"

enum { W = 5, H = 3 };

typedef struct kind {
  int type, bits, channels;
  bool is_interlaced;
} kind;

static const kind kinds[] = {
    {PNG_COLOR_TYPE_GRAY, 8, 1, false}, {PNG_COLOR_TYPE_GRAY, 16, 1, false}, {PNG_COLOR_TYPE_RGB, 8, 3, false},
    {PNG_COLOR_TYPE_RGB, 16, 3, false}, {PNG_COLOR_TYPE_RGB, 8, 3, true},    {PNG_COLOR_TYPE_GRAY, 16, 1, true},
};

static unsigned sample(const kind *k, unsigned y, unsigned x, unsigned c) {
  unsigned v = y * 7919u + x * 104729u + c * 31337u + 13;
  return k->bits == 16 ? v & 65535 : v & 255;
}

/* An image in a file, with a gamma that a viewer would apply and a reader of samples must not. */
static void write_image(const char *path, const kind *k) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, f);
  png_set_IHDR(png, info, W, H, k->bits, k->type, k->is_interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_gAMA(png, info, 1.0);
  png_write_info(png, info);
  uint8_t row[H][W * 4 * 2], *rows[H];
  memset(row, 0, sizeof row);
  for (unsigned y = 0; y < H; y++) {
    uint8_t *p = rows[y] = row[y];
    for (unsigned x = 0; x < W; x++)
      for (unsigned c = 0; c < (unsigned)k->channels; c++) {
        unsigned v = sample(k, y, x, c);
        if (k->bits == 16) *p++ = (uint8_t)(v >> 8);
        *p++ = (uint8_t)v;
      }
  }
  png_write_image(png, rows);
  png_write_end(png, NULL);
  png_destroy_write_struct(&png, &info);
  fclose(f);
}

static size_t slurp(const char *path, uint8_t *out, size_t room) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  size_t n = fread(out, 1, room, f);
  assert_true(n > 0 && n < room);
  fclose(f);
  return n;
}

static void samples_are_as_stored(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const kind *k = &kinds[i];
    ep_ctx *ctx = ep_ctx_create();
    ep_sample s;
    write_image("t_image.png", k);
    if (ep_dataset_read(ctx, "t_image.png", 0, (size_t)(W * H * k->channels), &s) != EP_OK)
      fail_msg("%s", ep_ctx_error(ctx).text);
    assert_int_equal(s.channels, k->channels);
    for (unsigned c = 0; c < s.channels; c++)
      for (unsigned y = 0; y < H; y++)
        for (unsigned x = 0; x < W; x++) assert_true(s.x[(c * H + y) * W + x] == sample(k, y, x, c));
    ep_free(ctx, s.x);
    assert_int_equal(ep_dataset_read(ctx, "t_image.png", 1, 0, &s), EP_E_OPTION);
    ep_ctx_clear_error(ctx);
    assert_int_equal(ep_dataset_read(ctx, "t_image.png", 0, 4, &s), EP_E_SHAPE);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
  remove("t_image.png");
}

static void transparency_is_refused(void **state) {
  (void)state;
  static const kind alpha = {PNG_COLOR_TYPE_RGBA, 8, 4, false};
  ep_ctx *ctx = ep_ctx_create();
  ep_sample s;
  write_image("t_alpha.png", &alpha);
  assert_int_equal(ep_dataset_read(ctx, "t_alpha.png", 0, 0, &s), EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "t_alpha.png: image with transparency"));
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  remove("t_alpha.png");
  ep_ctx_destroy(ctx);
}

/* Every truncation that loses samples and every changed byte: an image or one line, never a crash or a leak. */
static void damaged_images_are_safe(void **state) {
  (void)state;
  uint8_t file[4096];
  size_t refused = 0;
  write_image("t_damaged.png", &kinds[4]);
  size_t n = slurp("t_damaged.png", file, sizeof file);
  remove("t_damaged.png");
  for (size_t i = 0; i < 2 * n; i++) {
    ep_ctx *ctx = ep_ctx_create();
    double *x;
    uint32_t c, h, w;
    if (i >= n) file[i - n] ^= 0x55;
    ep_status st = ep_image_png_decode(ctx, "t", file, i < n ? i : n, &x, &c, &h, &w);
    if (i >= n) file[i - n] ^= 0x55;
    assert_true(i >= n || st == EP_E_SYNTAX);
    assert_true((st == EP_OK) == (x != NULL));
    if (st != EP_OK) {
      refused++;
      assert_true(!strncmp(ep_ctx_error(ctx).text, "t: ", 3) && !strchr(ep_ctx_error(ctx).text, '\n'));
    }
    ep_free(ctx, x);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
  assert_true(refused > n + n / 2); /* checksums catch nearly all */
}

/* A header that promises 2^31 x 2^31 pixels costs nothing. */
static void huge_images_are_refused(void **state) {
  (void)state;
  uint8_t file[4096];
  write_image("t_huge.png", &kinds[0]);
  size_t n = slurp("t_huge.png", file, sizeof file);
  remove("t_huge.png");
  memset(file + 16, 0x0f, 8);
  ep_ctx *ctx = ep_ctx_create();
  double *x;
  uint32_t c, h, w;
  assert_int_not_equal(ep_image_png_decode(ctx, "t", file, n, &x, &c, &h, &w), EP_OK);
  assert_true(ep_ctx_memory_peak(ctx) < 1 << 20);
  ep_ctx_destroy(ctx);
}

static void allocation_failures_are_clean(void **state) {
  (void)state;
  uint8_t file[4096];
  write_image("t_torture.png", &kinds[2]);
  size_t n = slurp("t_torture.png", file, sizeof file);
  remove("t_torture.png");
  for (uint64_t k = 1; k < 20; k++) {
    ep_ctx *ctx = ep_ctx_create();
    double *x;
    uint32_t c, h, w;
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = ep_image_png_decode(ctx, "t", file, n, &x, &c, &h, &w);
    assert_true(st == EP_OK || st == EP_E_NOMEM);
    ep_free(ctx, x);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
    if (st == EP_OK) return;
  }
  fail_msg("decoding allocates without end");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_are_as_stored),         cmocka_unit_test(transparency_is_refused),
      cmocka_unit_test(damaged_images_are_safe),       cmocka_unit_test(huge_images_are_refused),
      cmocka_unit_test(allocation_failures_are_clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
