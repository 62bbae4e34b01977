/* Grouped sparse rows against sums written out, for every number of vectors around the block sizes, with and without
 * accumulation; what is grouped and what is not. Seen to fail when: a group's second row takes the first one's weights,
 * the last rows of a block are left out, accumulation overwrites. */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "kernels/csr_group.h"
#include "tests/support/linop_bench.h"

enum { N_IN = 70, N_OUT = 53, MAX_ROWS = 70, PER_ROW = 12 };

typedef struct matrix {
  uint32_t ptr[N_OUT + 1], col[N_OUT * PER_ROW];
  float w[N_OUT * PER_ROW];
} matrix;

/* Rows i and i + stride, i + 2 stride, ... read the same columns; one row is empty. */
static void make(bench *b, uint32_t stride, matrix *m) {
  m->ptr[0] = 0;
  for (uint32_t i = 0; i < N_OUT; i++) {
    uint32_t n = i == 7 ? 0 : PER_ROW - i % stride % 3;
    for (uint32_t k = 0; k < n; k++) {
      m->col[m->ptr[i] + k] = (i % stride * 11 + k * 5) % N_IN;
      m->w[m->ptr[i] + k] = (float)ep_rng_normal(&b->rng);
    }
    m->ptr[i + 1] = m->ptr[i] + n;
  }
}

static void check_product(bench *b, const matrix *m, const ep_csr_groups *g, size_t rows, bool accumulate) {
  static float x[MAX_ROWS * N_IN], y[MAX_ROWS * N_OUT + 1], old[MAX_ROWS * N_OUT];
  for (size_t i = 0; i < rows * N_IN; i++) x[i] = (float)ep_rng_normal(&b->rng);
  for (size_t i = 0; i < rows * N_OUT; i++) y[i] = old[i] = (float)ep_rng_normal(&b->rng);
  y[rows * N_OUT] = 12345;
  assert_int_equal(ep_csr_groups_apply(g, rows, x, y, accumulate, &b->scratch), EP_OK);
  assert_true(y[rows * N_OUT] == 12345);
  for (size_t r = 0; r < rows; r++)
    for (uint32_t i = 0; i < N_OUT; i++) {
      double t = accumulate ? old[r * N_OUT + i] : 0;
      for (uint32_t k = m->ptr[i]; k < m->ptr[i + 1]; k++) t += (double)m->w[k] * x[r * N_IN + m->col[k]];
      assert_true(fabs(t - y[r * N_OUT + i]) < 1e-4);
    }
}

static void products_are_sums(void **state) {
  bench *b = *state;
  matrix m;
  const ep_csr_groups *g;
  for (uint32_t stride = 1; stride <= 13; stride += 4) {
    make(b, stride, &m);
    assert_int_equal(ep_csr_groups_make(N_OUT, N_IN, m.ptr, m.col, m.w, &b->scratch, &g), EP_OK);
    assert_non_null(g);
    for (size_t rows = 0; rows <= MAX_ROWS; rows++) check_product(b, &m, g, rows, rows % 2);
  }
}

static void every_row_is_in_one_group_with_its_columns(void **state) {
  bench *b = *state;
  matrix m;
  const ep_csr_groups *g;
  uint32_t n_seen[N_OUT] = {0};
  make(b, 9, &m);
  assert_int_equal(ep_csr_groups_make(N_OUT, N_IN, m.ptr, m.col, m.w, &b->scratch, &g), EP_OK);
  assert_non_null(g);
  assert_true(g->n_group < N_OUT / 2);
  for (uint32_t i = 0; i < g->n_group * EP_CSR_GROUP; i++) {
    uint32_t r = g->row[i], at = g->ptr[i / EP_CSR_GROUP], n = g->ptr[i / EP_CSR_GROUP + 1] - at;
    if (r == UINT32_MAX) continue;
    n_seen[r]++;
    assert_int_equal(n, m.ptr[r + 1] - m.ptr[r]);
    assert_memory_equal(g->col + at, m.col + m.ptr[r], n * sizeof(uint32_t));
  }
  for (uint32_t i = 0; i < N_OUT; i++) assert_int_equal(n_seen[i], 1);
}

static void rows_that_share_nothing_are_left_alone(void **state) {
  bench *b = *state;
  matrix m;
  const ep_csr_groups *g;
  make(b, N_OUT, &m);
  assert_int_equal(ep_csr_groups_make(N_OUT, N_IN, m.ptr, m.col, m.w, &b->scratch, &g), EP_OK);
  assert_null(g);
  assert_int_equal(ep_csr_groups_make(0, N_IN, m.ptr, m.col, m.w, &b->scratch, &g), EP_OK);
  assert_null(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(products_are_sums, setup, teardown),
      cmocka_unit_test_setup_teardown(every_row_is_in_one_group_with_its_columns, setup, teardown),
      cmocka_unit_test_setup_teardown(rows_that_share_nothing_are_left_alone, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
