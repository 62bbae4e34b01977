/* Parts of linear operators against the rows and columns of the whole, written out dense; and transposition. */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "kernels/transpose.h"
#include "tests/support/linop_bench.h"

static double *numbers(bench *b, size_t n) {
  double *w = EP_ARENA(&b->arena, double, n + 1);
  for (size_t i = 0; i < n; i++) w[i] = (double)(float)ep_rng_normal(&b->rng);
  return w;
}

enum { N_OP = 8 };

static ep_linop make(bench *b, int i) {
  ep_linop A;
  ep_conv_geom g = {.c_in = 2,
                    .h_in = 7,
                    .w_in = 6,
                    .c_out = 4,
                    .h_out = 4,
                    .w_out = 3,
                    .kh = 3,
                    .kw = 3,
                    .stride_h = 2,
                    .stride_w = 2,
                    .dil_h = 1,
                    .dil_w = 1,
                    .pad_top = 1,
                    .pad_left = 1,
                    .groups = 2};
  int32_t src[30];
  double *w = numbers(b, 64 * 80);
  for (int k = 0; k < 30; k++) src[k] = (int32_t)ep_rng_below(&b->rng, 25) - 1;
  switch (i) {
  case 0:
    assert_int_equal(ep_linop_id(&b->arena, 40, &A), EP_OK);
    break;
  case 1:
    assert_int_equal(ep_linop_diag(&b->arena, 40, w, 0, &A), EP_OK);
    break;
  case 2:
    assert_int_equal(ep_linop_map(&b->arena, 30, 24, src, &A), EP_OK);
    break;
  case 3:
    assert_int_equal(ep_linop_dense(&b->arena, 50, 70, w, 0, &A), EP_OK);
    break;
  case 4: /* becomes CSR */
    for (int k = 0; k < 64 * 80; k++) w[k] = k % 11 ? 0 : w[k];
    assert_int_equal(ep_linop_dense(&b->arena, 64, 80, w, 0, &A), EP_OK);
    assert_int_equal(A.kind, EP_LINOP_CSR);
    break;
  case 5:
    assert_int_equal(ep_linop_conv(&b->arena, &g, false, w, 0, &A), EP_OK);
    break;
  case 6:
    assert_int_equal(ep_linop_conv(&b->arena, &g, true, w, 0, &A), EP_OK);
    break;
  default: /* a convolution with weights of zero */
    for (int k = 0; k < 64 * 80; k++) w[k] = k % 3 ? w[k] : 0;
    assert_int_equal(ep_linop_conv(&b->arena, &g, false, w, 0, &A), EP_OK);
  }
  return A;
}

/* A random choice in random order; NULL for all. */
static uint32_t *choose(bench *b, uint32_t n, uint32_t *n_chosen) {
  uint32_t *all = EP_ARENA(&b->arena, uint32_t, n + 1), kind = (uint32_t)ep_rng_below(&b->rng, 4);
  for (uint32_t i = 0; i < n; i++) all[i] = i;
  for (uint32_t i = n; i-- > 1;) {
    uint32_t j = (uint32_t)ep_rng_below(&b->rng, i + 1), t = all[i];
    all[i] = all[j];
    all[j] = t;
  }
  *n_chosen = kind == 0 ? n : kind == 1 ? (uint32_t)ep_rng_below(&b->rng, n + 1) : n / 2;
  return kind == 0 ? NULL : all;
}

static void check_rows(bench *b, const ep_linop *R, const float *ref, size_t rows) {
  for (int backward = 0; backward < 2; backward++)
    for (int acc = 0; acc < 2; acc++) {
      size_t n_x = backward ? R->n_out : R->n_in, n_y = backward ? R->n_in : R->n_out;
      float *x = EP_ARENA(&b->arena, float, rows *n_x + 1), *y = EP_ARENA(&b->arena, float, rows *n_y + 1);
      float *old = EP_ARENA(&b->arena, float, rows *n_y + 1);
      for (size_t k = 0; k < rows * n_x; k++) x[k] = (float)ep_rng_normal(&b->rng);
      for (size_t k = 0; k < rows * n_y; k++) y[k] = old[k] = (float)ep_rng_normal(&b->rng);
      ep_status st = backward ? ep_linop_apply_t_f32(R, rows, x, y, acc, &b->scratch)
                              : ep_linop_apply_f32(R, rows, x, y, acc, &b->scratch);
      assert_int_equal(st, EP_OK);
      for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n_y; i++) {
          double want = acc ? (double)old[r * n_y + i] : 0, mag = fabs(want) + 1e-30;
          for (size_t j = 0; j < n_x; j++) {
            double t = (double)x[r * n_x + j] * (double)(backward ? ref[j * R->n_in + i] : ref[i * R->n_in + j]);
            want += t;
            mag += fabs(t);
          }
          if (!(fabs((double)y[r * n_y + i] - want) <= 1e-5 * mag))
            fail_msg("kind %d, backward %d, %zu rows, [%zu][%zu]: %g, not %g", (int)R->kind, backward, rows, r, i,
                     (double)y[r * n_y + i], want);
        }
    }
}

static void parts_equal_the_chosen_entries(void **state) {
  bench *b = *state;
  int n_sparse = 0, n_dense = 0;
  for (int t = 0; t < 12 * N_OP; t++) {
    ep_linop A = make(b, t % N_OP), R;
    uint32_t n_row, n_col, *row = choose(b, A.n_out, &n_row), *col = choose(b, A.n_in, &n_col);
    assert_int_equal(ep_linop_restrict_f32(&A, n_row, row, n_col, col, &b->scratch, &R), EP_OK);
    assert_int_equal(R.n_out, n_row);
    assert_int_equal(R.n_in, n_col);
    float *whole = EP_ARENA(&b->arena, float, A.n_in + 1), *ref = EP_ARENA(&b->arena, float, (size_t)n_row *n_col + 1);
    float *own = EP_ARENA(&b->arena, float, n_col + 1);
    for (uint32_t i = 0; i < n_row; i++) {
      uint32_t from = row ? row[i] : i;
      ep_linop_rows_f32(&A, 1, &from, whole, false);
      for (uint32_t j = 0; j < n_col; j++) ref[(size_t)i * n_col + j] = whole[col ? col[j] : j];
      ep_linop_rows_f32(&R, 1, &i, own, false);
      for (uint32_t j = 0; j < n_col; j++) assert_true(own[j] == ref[(size_t)i * n_col + j]);
    }
    n_sparse += R.kind == EP_LINOP_CSR;
    n_dense += R.kind == EP_LINOP_DENSE;
    const size_t rows[] = {1, 3, 4, 16, 17, 32, 37, 70}; /* single vectors, half blocks, blocks, both with a rest */
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) check_rows(b, &R, ref, rows[k]);
    ep_scratch_clear(&b->scratch);
    ep_arena_clear(&b->arena);
  }
  assert_true(n_sparse > N_OP && n_dense > N_OP);
}

/* A vector's result does not depend on how many come with it. */
static void neighbours_do_not_matter(void **state) {
  bench *b = *state;
  ep_linop A = make(b, 5), R;
  uint32_t row[20];
  for (uint32_t i = 0; i < 20; i++) row[i] = 2 * i;
  assert_int_equal(ep_linop_restrict_f32(&A, 20, row, A.n_in, NULL, &b->scratch, &R), EP_OK);
  assert_int_equal(R.kind, EP_LINOP_CSR);
  enum { ROWS = 41 };
  float *x = EP_ARENA(&b->arena, float, ROWS *R.n_in), *y = EP_ARENA(&b->arena, float, ROWS * 20), one[20];
  for (size_t k = 0; k < (size_t)ROWS * R.n_in; k++) x[k] = (float)ep_rng_normal(&b->rng);
  assert_int_equal(ep_linop_apply_f32(&R, ROWS, x, y, false, &b->scratch), EP_OK);
  for (size_t r = 0; r < ROWS; r++) {
    assert_int_equal(ep_linop_apply_f32(&R, 1, x + r * R.n_in, one, false, &b->scratch), EP_OK);
    for (size_t i = 0; i < 20; i++) assert_true(one[i] == y[r * 20 + i]);
  }
}

static void transposition(void **state) {
  bench *b = *state;
  for (size_t n = 0; n < 20; n++)
    for (size_t m = 0; m < 20; m++) {
      float f[20 * 23], ft[20 * 22];
      double d[20 * 23], dt[20 * 22];
      for (size_t i = 0; i < 20 * 23; i++) d[i] = f[i] = (float)ep_rng_normal(&b->rng);
      for (size_t i = 0; i < 20 * 22; i++) dt[i] = ft[i] = -9;
      ep_transpose_f32(n, m, f, 23, ft, 22);
      ep_transpose_f64(n, m, d, 23, dt, 22);
      for (size_t j = 0; j < 20; j++)
        for (size_t i = 0; i < 22; i++) {
          float want = j < m && i < n ? f[i * 23 + j] : -9;
          assert_true(ft[j * 22 + i] == want && dt[j * 22 + i] == (double)want);
        }
    }
}

static void every_allocation_may_fail(void **state) {
  bench *b = *state;
  for (int i = 0; i < N_OP; i++) {
    ep_linop A = make(b, i), R;
    uint32_t row[3] = {0, 2, 5};
    for (uint64_t k = 1;; k++) {
      ep_scratch_clear(&b->scratch);
      ep_ctx_fail_allocation(b->ctx, k);
      ep_status st = ep_linop_restrict_f32(&A, 3, row, A.n_in, NULL, &b->scratch, &R);
      ep_ctx_fail_allocation(b->ctx, 0);
      if (st == EP_OK) break;
      assert_int_equal(st, EP_E_NOMEM);
      ep_ctx_clear_error(b->ctx);
    }
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {TEST(parts_equal_the_chosen_entries), TEST(neighbours_do_not_matter),
                                     TEST(transposition), TEST(every_allocation_may_fail)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
