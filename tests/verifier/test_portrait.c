/* Portraits: values lie where they belong, what the change did adds up, nothing out of range is drawn. Seen to fail
 * when: channels are not brought first, gradients are taken at one end only, the sign of the margin is turned, the
 * range is not checked. */
#include "verifier/portrait.h"

#include <math.h>
#include <string.h>

#include "models/eval.h"
#include "tests/ep_test.h"
#include "tests/support/netlang.h"

static void assert_layout(ep_shape shape, uint32_t n_colour, uint32_t c, uint32_t h, uint32_t w, bool is_last) {
  ep_portrait_layout l = ep_portrait_layout_of(&shape, (uint32_t)ep_shape_count(&shape), n_colour);
  if (l.c != c || l.h != h || l.w != w || l.is_channel_last != is_last)
    fail_msg("%u %u %u %d, expected %u %u %u %d", l.c, l.h, l.w, l.is_channel_last, c, h, w, is_last);
}

static void layouts(void **state) {
  (void)state;
  assert_layout((ep_shape){4, {1, 3, 6, 8}}, 0, 3, 6, 8, false);
  assert_layout((ep_shape){4, {1, 6, 8, 3}}, 0, 3, 6, 8, true);
  assert_layout((ep_shape){3, {1, 6, 8}}, 0, 1, 6, 8, false);
  assert_layout((ep_shape){2, {6, 8}}, 0, 1, 6, 8, false);
  assert_layout((ep_shape){2, {1, 784}}, 0, 1, 28, 28, false);
  assert_layout((ep_shape){4, {1, 784, 1, 1}}, 0, 1, 28, 28, false);
  assert_layout((ep_shape){2, {1, 3072}}, 0, 3, 32, 32, false);
  assert_layout((ep_shape){2, {1, 5}}, 0, 1, 1, 5, false);
  assert_layout((ep_shape){2, {1, 27}}, 3, 3, 3, 3, false);
  assert_layout((ep_shape){2, {1, 36}}, 3, 3, 1, 12, false); /* 36 is square, but the caller knows better */
}

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_scratch s;
  double x[27], adv[27];
} fixture;

static void open(fixture *f, const char *net) {
  ep_rng rng;
  f->ctx = ep_ctx_create();
  ep_scratch_init(&f->s, f->ctx);
  ep_rng_seed(&rng, 9);
  for (size_t i = 0; i < 27; i++) {
    f->x[i] = (double)(float)ep_rng_uniform(&rng);
    f->adv[i] = (double)(float)ep_rng_uniform(&rng);
  }
  assert_int_equal(netlang_make(f->ctx, net, 3, &f->g), EP_OK);
}

static void close(fixture *f) {
  ep_scratch_clear(&f->s);
  ep_graph_destroy(f->g);
  ep_ctx_destroy(f->ctx);
}

static void saliency_adds_up(void **state) {
  (void)state;
  fixture f;
  open(&f, "x:1,27; a = Gemm x c20,27 c20 transB=1; b = Relu a; y = Gemm b c4,20 c4 transB=1");
  const float coef[4] = {0, -1, 0, 1};
  double part[27], sum = 0, most = 0, change[2];
  assert_int_equal(ep_portrait_saliency(f.g, f.x, f.adv, coef, &f.s, part), EP_OK);
  for (int k = 0; k < 2; k++) {
    float v[27];
    ep_trace_f32 t;
    for (size_t i = 0; i < 27; i++) v[i] = (float)(k ? f.adv[i] : f.x[i]);
    assert_int_equal(ep_eval_f32(f.g, 1, v, &f.s, &t), EP_OK);
    change[k] = (double)t.v[f.g->output][3] - (double)t.v[f.g->output][1];
  }
  for (size_t i = 0; i < 27; i++) {
    sum += part[i];
    most = fmax(most, fabs(part[i]));
  }
  assert_true(most > 0.1);
  assert_true(fabs(sum - (change[1] - change[0])) < 0.02 * most);
  close(&f);
}

static const uint8_t *at(const ep_picture *p, uint32_t x, uint32_t y) { return p->rgb + ((size_t)y * p->w + x) * 3; }

static void pixels_lie_where_they_belong(void **state) {
  (void)state;
  fixture f;
  open(&f, "x:1,3,3,3; f = Flatten x; y = Gemm f c4,27 c4 transB=1");
  const double mean[3] = {0.5, 0.25, 0}, std[3] = {2, 1, 0.5};
  double x[27], adv[27];
  ep_portrait p = {.g = f.g,
                   .x = x,
                   .adv = adv,
                   .layout = {3, 3, 3, false},
                   .hi = 1,
                   .n_channel = 3,
                   .mean = mean,
                   .std = std,
                   .label = 2,
                   .epsilon = 0.5};
  ep_picture drawn;
  for (size_t i = 0; i < 27; i++) {
    x[i] = (f.x[i] - mean[i / 9]) / std[i / 9];
    adv[i] = (f.adv[i] - mean[i / 9]) / std[i / 9];
  }
  assert_int_equal(ep_portrait_draw(f.ctx, &p, &drawn), EP_OK);
  uint32_t zoom = 224 / 3, step = (drawn.w - 6) / 4;
  for (uint32_t k = 0; k < 3; k++) { /* pixel (1, 2) */
    assert_int_equal(at(&drawn, 6 + 2 * zoom + 5, 6 + zoom + 5)[k], lround(255 * f.x[k * 9 + 5]));
    assert_int_equal(at(&drawn, step + 6 + 2 * zoom + 5, 6 + zoom + 5)[k], lround(255 * f.adv[k * 9 + 5]));
  }
  ep_picture_clear(&drawn);
  p.layout.is_channel_last = true;
  p.n_channel = 0;
  p.x = f.x;
  p.adv = f.adv;
  assert_int_equal(ep_portrait_draw(f.ctx, &p, &drawn), EP_OK);
  for (uint32_t k = 0; k < 3; k++)
    assert_int_equal(at(&drawn, 6 + 2 * zoom + 5, 6 + zoom + 5)[k], lround(255 * f.x[5 * 3 + k]));
  ep_picture_clear(&drawn);
  p.lo = -1; /* -1 is black, 1 white */
  assert_int_equal(ep_portrait_draw(f.ctx, &p, &drawn), EP_OK);
  assert_int_equal(at(&drawn, 11, 11)[0], lround(255 * (f.x[0] + 1) / 2));
  ep_picture_clear(&drawn);
  p.lo = 0;
  f.adv[13] = 1.001;
  assert_int_equal(ep_portrait_draw(f.ctx, &p, &drawn), EP_E_OPTION);
  ep_picture_clear(&drawn);
  close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(layouts), cmocka_unit_test(saliency_adds_up),
                                     cmocka_unit_test(pixels_lie_where_they_belong)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
