/* Pictures: pixels where they belong, written as PNG and read back. */
#include "verifier/picture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/dataset.h"
#include "tests/ep_test.h"

static const uint8_t *at(const ep_picture *p, uint32_t x, uint32_t y) { return p->rgb + ((size_t)y * p->w + x) * 3; }
static void assert_rgb(const uint8_t *p, int r, int g, int b) {
  if (p[0] != r || p[1] != g || p[2] != b) fail_msg("%d %d %d, expected %d %d %d", p[0], p[1], p[2], r, g, b);
}

static void test_triptych(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  const float x[4] = {0, 1, 0.2f, 0.6f}, adv[4] = {0.25f, 1, 0.2f, 0.1f};
  const double saliency[4] = {-3, 0, 1.5, 0};
  ep_picture_case c = {
      1, 2, 2, x, adv, saliency, {{"original", "class 3"}, {"counterexample"}, {"0123456789012345678901234567890123"}}};
  ep_picture p;
  assert_int_equal(ep_picture_panels(ctx, &c, &p), EP_OK);
  uint32_t step = (p.w - 6) / 4, zoom = 112;
  assert_rgb(at(&p, 10, 10), 0, 0, 0);
  assert_rgb(at(&p, 10 + zoom, 10), 255, 255, 255);
  assert_rgb(at(&p, 10, 10 + zoom), 51, 51, 51);
  assert_rgb(at(&p, step + 10, 10), 64, 64, 64);
  assert_rgb(at(&p, 2 * step + 10, 10), 255, 128, 128); /* up by half of the largest */
  assert_rgb(at(&p, 2 * step + 10 + zoom, 10), 255, 255, 255);
  assert_rgb(at(&p, 2 * step + 10 + zoom, 10 + zoom), 0, 0, 255); /* down by the largest */
  assert_rgb(at(&p, 3 * step + 10, 10), 0, 0, 255);               /* saliency: against, by the largest */
  assert_rgb(at(&p, 3 * step + 10, 10 + zoom), 255, 128, 128);
  assert_rgb(at(&p, 3 * step + 10 + zoom, 10), 255, 255, 255);
  size_t dark[4] = {0}; /* captions: none under the last panel, though the third one's is too long */
  for (uint32_t y = 2 * zoom + 12; y < p.h; y++)
    for (uint32_t i = 0; i < 4 * step; i++) dark[i / step] += at(&p, i + 6, y)[0] == 0;
  assert_true(dark[0] > 300 && dark[1] > 300 && dark[2] > 300 && dark[3] == 0);

  /* A sheet of three: the third one starts the second row. */
  ep_picture three[3] = {p, p, p}, sheet;
  assert_int_equal(ep_picture_sheet(ctx, 3, three, 2, &sheet), EP_OK);
  assert_int_equal(sheet.w, 2 * p.w);
  assert_int_equal(sheet.h, 2 * p.h);
  assert_rgb(at(&sheet, 10, p.h + 10 + zoom), 51, 51, 51);
  assert_rgb(at(&sheet, p.w + 10, p.h + 10), 255, 255, 255); /* no fourth */

  char path[64];
  ep_sample back;
  snprintf(path, sizeof path, "/tmp/ep_test_picture_%d.png", (int)getpid());
  assert_int_equal(ep_picture_write(&p, path), EP_OK);
  assert_int_equal(ep_dataset_read(ctx, path, 0, 0, &back), EP_OK);
  assert_int_equal(back.channels, 3);
  assert_int_equal(back.n, (size_t)p.w * p.h * 3);
  for (size_t i = 0; i < (size_t)p.w * p.h; i++)
    for (size_t k = 0; k < 3; k++) assert_true(back.x[k * p.w * p.h + i] == (double)p.rgb[3 * i + k]);
  ep_free(ctx, back.x);
  unlink(path);
  assert_int_equal(ep_picture_write(&p, "/no/such/folder/p.png"), EP_E_IO);
  ep_picture_clear(&p);
  ep_picture_clear(&sheet);
  ep_ctx_destroy(ctx);
}

static void test_colour(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  const float x[3] = {0.2f, 0.4f, 0.6f}, adv[3] = {0.4f, 0.4f, 0.5f};
  ep_picture_case c = {3, 1, 1, x, adv, NULL, {{""}}};
  ep_picture p;
  assert_int_equal(ep_picture_panels(ctx, &c, &p), EP_OK);
  uint32_t step = (p.w - 6) / 3;
  assert_rgb(at(&p, 10, 10), 51, 102, 153);
  assert_rgb(at(&p, step + 10, 10), 102, 102, 128);
  assert_rgb(at(&p, 2 * step + 10, 10), 255, 128, 64);
  ep_picture_clear(&p);
  ep_ctx_destroy(ctx);
}

/* A "1" is two dots wide at the top, in the middle column. */
static void test_text(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_picture p;
  assert_int_equal(ep_picture_create(ctx, 12, 6, &p), EP_OK);
  ep_picture_text(&p, 0, 0, 1, "1l");
  static const char *const want[5] = {" x  x   ", "xx  x   ", " x  x   ", " x  x   ", "xxx xxx "};
  for (uint32_t y = 0; y < 5; y++)
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(at(&p, i, y)[1] == 0, want[y][i] == 'x');
  ep_picture_text(&p, 10, 4, 2, "88888"); /* cut off at the border */
  ep_picture_clear(&p);
  assert_int_equal(ep_picture_create(ctx, 100000, 100000, &p), EP_E_UNSUPPORTED);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_triptych), cmocka_unit_test(test_colour),
                                     cmocka_unit_test(test_text)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
