/* Lane kernels against kernels/conv.h's products, which have tests of their own. */
#include "kernels/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rng.h"
#include "kernels/scratch.h"
#include "tests/ep_test.h"

enum { L = EP_LANES };

static const ep_conv_geom geoms[] = {
    {1, 28, 28, 16, 13, 13, 4, 4, 2, 2, 1, 1, 0, 0, 1}, {3, 9, 8, 5, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {4, 7, 11, 6, 4, 6, 3, 3, 2, 2, 1, 1, 1, 1, 1},     {2, 10, 10, 4, 6, 6, 3, 3, 1, 1, 2, 2, 0, 0, 1},
    {5, 6, 6, 9, 2, 2, 2, 5, 3, 3, 1, 1, 0, 1, 1},      {3, 8, 1, 7, 7, 1, 2, 1, 1, 1, 1, 1, 0, 0, 1},
    {6, 5, 5, 8, 5, 5, 1, 1, 1, 1, 1, 1, 0, 0, 1},      {2, 12, 12, 3, 3, 3, 3, 3, 4, 4, 1, 1, 0, 0, 1},
    {6, 9, 7, 9, 9, 7, 3, 3, 1, 1, 1, 1, 1, 1, 3},      {8, 8, 8, 8, 4, 4, 3, 3, 2, 2, 1, 1, 1, 1, 8},
};

static float *filled(size_t n, uint64_t seed) {
  float *p = malloc(n * sizeof *p);
  ep_rng r;
  ep_rng_seed(&r, seed);
  for (size_t i = 0; i < n; i++) p[i] = (float)(2 * ep_rng_uniform(&r) - 1);
  return p;
}
/* Lane-major v[n][L] to sample-major out[L][n]. */
static void to_samples(size_t n, const float *v, float *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t l = 0; l < L; l++) out[l * n + i] = v[i * L + l];
}
static void assert_near(size_t n, const float *got, const float *want, double tol) {
  for (size_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)want[i]) <= tol)) fail_msg("element %zu: %g, expected %g", i, got[i], want[i]);
}

static void test_conv(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_scratch s;
  ep_scratch_init(&s, ctx);
  for (size_t q = 0; q < sizeof geoms / sizeof *geoms; q++) {
    const ep_conv_geom *g = &geoms[q];
    size_t n_x = (size_t)g->c_in * g->h_in * g->w_in, n_y = (size_t)g->c_out * g->h_out * g->w_out;
    size_t n_k = (size_t)g->c_in / g->groups * g->kh * g->kw, n_w = n_k * g->c_out;
    size_t n_p = (size_t)g->c_in * ep_lanes_padded_h(g) * ep_lanes_padded_w(g);
    float *x = filled(n_x * L, 1), *w = filled(n_w, 2), *gy = filled(n_y * L, 3), *bias = filled(g->c_out, 4);
    float *y = malloc(n_y * L * sizeof *y), *gx = filled(n_x * L, 5), *pad = malloc(n_p * L * sizeof *pad);
    float *packed = malloc(n_w * sizeof *packed), *gw = filled(n_w, 6);
    uint32_t *list = malloc(2 * n_w * sizeof *list + 64);
    float *xs = malloc(n_x * L * sizeof *xs), *ys = malloc(n_y * L * sizeof *ys), *want = malloc(n_y * L * 4);
    float *gxs = malloc(n_x * L * sizeof *gxs), *want_gx = malloc(n_x * L * sizeof *want_gx);
    to_samples(n_x, x, xs);
    /* forward */
    assert_int_equal(ep_conv_forward_f32(g, w, L, xs, want, false, &s), EP_OK);
    for (size_t i = 0; i < n_y * L; i++) want[i] += bias[i % n_y / ((size_t)g->h_out * g->w_out)];
    ep_lanes_pad(g, x, pad);
    ep_lanes_offsets(g, list);
    ep_lanes_pack_forward(g, false, w, packed);
    ep_lanes_conv_forward(g, packed, bias, list, pad, y);
    to_samples(n_y, y, ys);
    assert_near(n_y * L, ys, want, 1e-5);
    /* transpose, accumulating */
    to_samples(n_x, gx, want_gx);
    to_samples(n_y, gy, ys);
    assert_int_equal(ep_conv_backward_f32(g, w, L, ys, want_gx, true, &s), EP_OK);
    ep_lanes_pack_backward(g, false, w, packed);
    ep_lanes_conv_backward(g, packed, gy, gx, true, list);
    to_samples(n_x, gx, gxs);
    assert_near(n_x * L, gxs, want_gx, 1e-5);
    /* weights: <gy, conv_E x> for each unit kernel E */
    float *unit = calloc(n_w, sizeof *unit);
    float *before = malloc(n_w * sizeof *before);
    memcpy(before, gw, n_w * sizeof *gw);
    ep_lanes_conv_weights(g, pad, gy, gw);
    for (size_t k = 0; k < n_w; k += 7) {
      unit[k] = 1;
      assert_int_equal(ep_conv_forward_f32(g, unit, L, xs, want, false, &s), EP_OK);
      double dot = before[k];
      for (size_t i = 0; i < n_y * L; i++) dot += (double)want[i] * (double)ys[i];
      if (!(fabs(dot - (double)gw[k]) <= 1e-3)) fail_msg("geometry %zu, weight %zu: %g, expected %g", q, k, gw[k], dot);
      unit[k] = 0;
    }
    void *all[] = {x, w, gy, bias, y, gx, pad, packed, gw, list, xs, ys, want, gxs, want_gx, unit, before};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  }
  ep_scratch_clear(&s);
  ep_ctx_destroy(ctx);
}

static void test_absolute(void **state) {
  (void)state;
  const ep_conv_geom *g = &geoms[8]; /* three groups */
  size_t n = (size_t)g->c_out * g->c_in / g->groups * g->kh * g->kw;
  float *w = filled(n, 9), *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b), *abs = malloc(n * sizeof *abs);
  for (size_t i = 0; i < n; i++) abs[i] = fabsf(w[i]);
  void (*const packs[])(const ep_conv_geom *, bool, const float *, float *) = {ep_lanes_pack_forward,
                                                                               ep_lanes_pack_backward};
  for (int k = 0; k < 2; k++) {
    packs[k](g, true, w, a);
    packs[k](g, false, abs, b);
    assert_memory_equal(a, b, n * sizeof *a);
  }
  free(w), free(a), free(b), free(abs);
}

/* Every number of rows, with and without lists of rows. */
static void test_rows(void **state) {
  (void)state;
  enum { K = 5, STEP = 40 };
  float *src = filled(K * L, 1), *w = filled((K + 1) * STEP, 2), *dst = malloc(STEP * L * sizeof *dst);
  const uint32_t off[K] = {3 * L, 0, L, 4 * L, 2 * L}, row[K] = {5, 1, 0, 2, 2};
  for (size_t n = 1; n <= 23; n++)
    for (int has_row = 0; has_row < 2; has_row++) {
      ep_lanes_sum s = {n, K, off, has_row ? row : NULL, src, w, NULL, dst, STEP, L, false};
      ep_lanes_run(&s);
      for (size_t r = 0; r < n; r++)
        for (size_t l = 0; l < L; l++) {
          double t = 0;
          for (size_t k = 0; k < K; k++) t += (double)w[(has_row ? row[k] : k) * STEP + r] * (double)src[off[k] + l];
          if (!(fabs(t - (double)dst[r * L + l]) < 1e-5)) fail_msg("%zu rows: row %zu lane %zu", n, r, l);
        }
    }
  free(src), free(w), free(dst);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv), cmocka_unit_test(test_absolute),
                                     cmocka_unit_test(test_rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
