/* Every kind of linear operator against the dense matrix that ep_linop_rows_f64 writes, and those rows against an
 * independent definition (naive loops over the operator's meaning). */
#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "kernels/round.h"
#include "tests/support/linop_bench.h"

enum { MAX_DIM = 1400 };

/* ---- operators to test, each with its reference matrix ---- */

typedef struct sample_op {
  const char *name;
  ep_linop A;
  double *ref; /* [n_out x n_in], float64 */
} sample_op;

static double *numbers(bench *b, size_t n) {
  double *w = EP_ARENA(&b->arena, double, n + 1);
  assert_non_null(w);
  for (size_t i = 0; i < n; i++) w[i] = ep_rng_normal(&b->rng);
  return w;
}
static double *zeros(bench *b, size_t n) {
  double *w = EP_ARENA(&b->arena, double, n + 1);
  assert_non_null(w);
  return w;
}

static sample_op make_id(bench *b, uint32_t n) {
  sample_op t = {.name = "id", .ref = zeros(b, (size_t)n * n)};
  assert_int_equal(ep_linop_id(&b->arena, n, &t.A), EP_OK);
  for (uint32_t i = 0; i < n; i++) t.ref[(size_t)i * n + i] = 1;
  return t;
}

static sample_op make_diag(bench *b, uint32_t n) {
  sample_op t = {.name = "diag", .ref = zeros(b, (size_t)n * n)};
  double *w = numbers(b, n);
  assert_int_equal(ep_linop_diag(&b->arena, n, w, 0, &t.A), EP_OK);
  for (uint32_t i = 0; i < n; i++) t.ref[(size_t)i * n + i] = w[i];
  return t;
}

static sample_op make_map(bench *b, uint32_t n_out, uint32_t n_in) {
  sample_op t = {.name = "map", .ref = zeros(b, (size_t)n_out * n_in)};
  int32_t *src = EP_ARENA(&b->arena, int32_t, n_out + 1);
  for (uint32_t i = 0; i < n_out; i++) {
    src[i] = (int32_t)ep_rng_below(&b->rng, n_in + 2) - 2; /* sources repeat, some outputs are 0 */
    if (src[i] >= 0) t.ref[(size_t)i * n_in + (uint32_t)src[i]] = 1;
  }
  assert_int_equal(ep_linop_map(&b->arena, n_out, n_in, src, &t.A), EP_OK);
  return t;
}

static sample_op make_dense(bench *b, uint32_t n_out, uint32_t n_in) {
  sample_op t = {.name = "dense", .ref = numbers(b, (size_t)n_out * n_in)};
  assert_int_equal(ep_linop_dense(&b->arena, n_out, n_in, t.ref, 0, &t.A), EP_OK);
  return t;
}

static sample_op make_sparse(bench *b, uint32_t n_out, uint32_t n_in) {
  sample_op t = {.name = "sparse dense", .ref = zeros(b, (size_t)n_out * n_in)};
  for (size_t i = 0; i < (size_t)n_out * n_in; i++)
    if (ep_rng_below(&b->rng, 20) == 0) t.ref[i] = ep_rng_normal(&b->rng);
  assert_int_equal(ep_linop_dense(&b->arena, n_out, n_in, t.ref, 0, &t.A), EP_OK);
  return t;
}

/* Rows of 0 to 4 entries, with columns that repeat inside a row. */
static sample_op make_csr(bench *b, uint32_t n_out, uint32_t n_in) {
  sample_op t = {.name = "csr", .ref = zeros(b, (size_t)n_out * n_in)};
  uint32_t *ptr = EP_ARENA(&b->arena, uint32_t, n_out + 1), *col = EP_ARENA(&b->arena, uint32_t, 4 * n_out + 1), n = 0;
  double *w = numbers(b, 4 * (size_t)n_out);
  for (uint32_t i = 0; i < n_out; i++) {
    for (uint32_t k = (uint32_t)ep_rng_below(&b->rng, 5); k > 0; k--, n++) {
      col[n] = (uint32_t)ep_rng_below(&b->rng, n_in);
      t.ref[(size_t)i * n_in + col[n]] += w[n];
    }
    ptr[i + 1] = n;
  }
  assert_int_equal(ep_linop_csr(&b->arena, n_out, n_in, ptr, col, w, 0, &t.A), EP_OK);
  return t;
}

/* y[co][oh][ow] += w[co][ci][kh][kw] * x[c][oh*sh + kh*dh - pt][ow*sw + kw*dw - pl], as the standard says. */
static sample_op make_conv(bench *b, ep_conv_geom g, bool transpose) {
  uint32_t ci = g.c_in / g.groups, co = g.c_out / g.groups;
  uint32_t n_img = g.c_in * g.h_in * g.w_in, n_map = g.c_out * g.h_out * g.w_out;
  double *w = numbers(b, (size_t)g.c_out * ci * g.kh * g.kw);
  sample_op t = {.name = transpose ? "conv transpose" : "conv", .ref = zeros(b, (size_t)n_img * n_map)};
  assert_true(n_img <= MAX_DIM && n_map <= MAX_DIM);
  for (uint32_t o = 0; o < g.c_out; o++)
    for (uint32_t c = 0; c < ci; c++)
      for (uint32_t kh = 0; kh < g.kh; kh++)
        for (uint32_t kw = 0; kw < g.kw; kw++)
          for (uint32_t oh = 0; oh < g.h_out; oh++)
            for (uint32_t ow = 0; ow < g.w_out; ow++) {
              int h = (int)(oh * g.stride_h + kh * g.dil_h) - (int)g.pad_top;
              int v = (int)(ow * g.stride_w + kw * g.dil_w) - (int)g.pad_left;
              if (h < 0 || v < 0 || h >= (int)g.h_in || v >= (int)g.w_in) continue;
              uint32_t in = ((o / co * ci + c) * g.h_in + (uint32_t)h) * g.w_in + (uint32_t)v;
              uint32_t out = (o * g.h_out + oh) * g.w_out + ow;
              double value = w[((o * ci + c) * g.kh + kh) * g.kw + kw];
              t.ref[transpose ? (size_t)in * n_map + out : (size_t)out * n_img + in] += value;
            }
  assert_int_equal(ep_linop_conv(&b->arena, &g, transpose, w, 0, &t.A), EP_OK);
  return t;
}

static const ep_conv_geom geoms[] = {
    /* c_in h_in w_in  c_out h_out w_out  kh kw  sh sw  dh dw  pt pl  groups */
    {3, 8, 8, 4, 4, 4, 3, 3, 2, 2, 1, 1, 1, 1, 1},     /* a usual layer */
    {2, 7, 5, 3, 7, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1},     /* same size, not square */
    {4, 6, 9, 6, 3, 4, 2, 3, 2, 2, 1, 1, 0, 0, 2},     /* groups */
    {5, 5, 5, 5, 5, 5, 3, 3, 1, 1, 1, 1, 1, 1, 5},     /* depthwise */
    {3, 6, 6, 4, 6, 6, 1, 1, 1, 1, 1, 1, 0, 0, 1},     /* pointwise */
    {4, 20, 17, 2, 20, 17, 1, 1, 1, 1, 1, 1, 0, 0, 2}, /* pointwise, wide enough to go without columns, groups */
    {3, 7, 7, 4, 4, 4, 1, 1, 2, 2, 1, 1, 0, 0, 1},     /* 1x1 with stride */
    {3, 1, 1, 7, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1},     /* one pixel */
    {2, 10, 11, 2, 4, 4, 3, 3, 2, 2, 2, 3, 1, 2, 1},   /* dilation, uneven */
    {2, 9, 1, 3, 5, 1, 3, 1, 2, 1, 1, 1, 1, 0, 1},     /* 1-D */
    {2, 4, 4, 2, 6, 7, 3, 3, 1, 1, 1, 1, 2, 3, 1},     /* windows that lie wholly in the padding */
    {1, 3, 3, 2, 1, 1, 3, 3, 1, 1, 1, 1, 0, 0, 1},     /* kernel = image */
    {1, 2, 2, 1, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1},     /* 1x1 in padding only at the rim */
    {2, 5, 5, 1, 2, 2, 2, 2, 3, 3, 1, 1, 0, 0, 1},     /* stride beyond the kernel: pixels unseen */
    {1, 17, 17, 1, 17, 17, 1, 1, 1, 1, 1, 1, 1, 0, 1}, /* 1x1 that shifts the image down */
    {1, 17, 19, 2, 17, 19, 3, 3, 1, 1, 1, 1, 1, 1, 1}, /* more than 256 pixels: one sample per product */
};
enum { N_GEOM = sizeof geoms / sizeof *geoms, N_OTHER = 13, N_OP = N_OTHER + 2 * N_GEOM };

static sample_op make(bench *b, size_t i) {
  switch (i) {
  case 0:
    return make_id(b, 13);
  case 1:
    return make_diag(b, 29);
  case 2:
    return make_map(b, 17, 9);
  case 3:
    return make_map(b, 5, 40);
  case 4:
    return make_dense(b, 11, 37);
  case 5:
    return make_dense(b, 1, 50);
  case 6:
    return make_dense(b, 50, 1);
  case 7:
    return make_sparse(b, 90, 80);
  case 8:
    return make_csr(b, 60, 33);
  case 9:
    return make_csr(b, 3, 200);
  case 10:
    return make_dense(b, 0, 5);
  case 11:
    return make_dense(b, 5, 0);
  case 12:
    return make_csr(b, 4, 4);
  default:
    return make_conv(b, geoms[(i - N_OTHER) / 2], (i - N_OTHER) % 2 != 0);
  }
}

/* ---- tests ---- */

static void rows_equal_definition(void **state) {
  bench *b = *state;
  for (size_t i = 0; i < N_OP; i++) {
    sample_op t = make(b, i);
    size_t n = (size_t)t.A.n_out * t.A.n_in;
    double *d = numbers(b, n), *before = zeros(b, n);
    float *f = EP_ARENA(&b->arena, float, n + 1);
    memcpy(before, d, n * sizeof *d);
    uint32_t *idx = EP_ARENA(&b->arena, uint32_t, t.A.n_out + 1);
    for (uint32_t j = 0; j < t.A.n_out; j++) idx[j] = t.A.n_out - 1 - j;
    ep_linop_rows_f64(&t.A, t.A.n_out, idx, d, true);
    for (uint32_t j = 0; j < t.A.n_out; j++)
      for (size_t c = 0; c < t.A.n_in; c++) {
        size_t at = j * (size_t)t.A.n_in + c, from = idx[j] * (size_t)t.A.n_in + c;
        assert_true(fabs(d[at] - before[at] - t.ref[from]) <= 1e-14 * (1 + fabs(before[at])));
      }
    ep_linop_rows_f64(&t.A, t.A.n_out, idx, d, false);
    ep_linop_rows_f32(&t.A, t.A.n_out, idx, f, false);
    for (uint32_t j = 0; j < t.A.n_out; j++)
      for (size_t c = 0; c < t.A.n_in; c++) {
        size_t at = j * (size_t)t.A.n_in + c, from = idx[j] * (size_t)t.A.n_in + c;
        bool may_round = t.A.kind == EP_LINOP_CSR || t.A.kind == EP_LINOP_CONV;
        assert_true(fabs(d[at] - t.ref[from]) <= (may_round ? 1e-14 : 0));
        assert_true(fabs((double)f[at] - t.ref[from]) <= 1e-6);
      }
  }
}

/* One product in long double: value and sum of magnitudes. */
static long double dot(const double *row, size_t stride, const double *x, size_t n, long double *mag) {
  long double s = 0, m = 0;
  for (size_t j = 0; j < n; j++) {
    s += (long double)row[j * stride] * x[j];
    m += fabsl((long double)row[j * stride] * x[j]);
  }
  *mag = m;
  return s;
}

typedef enum direction { FORWARD, ABSOLUTE, BACKWARD } direction;

static void check(bench *b, const sample_op *t, direction dir, size_t rows, bool accumulate) {
  const ep_linop *A = &t->A;
  size_t n_x = dir == BACKWARD ? A->n_out : A->n_in, n_y = dir == BACKWARD ? A->n_in : A->n_out;
  double *x = numbers(b, rows * n_x), *y = numbers(b, rows * n_y), *old = zeros(b, rows * n_y), *ref = t->ref;
  memcpy(old, y, rows * n_y * sizeof *y);
  if (!accumulate)
    for (size_t i = 0; i < rows * n_y; i++) y[i] = NAN; /* must be overwritten unread */
  float *xf = EP_ARENA(&b->arena, float, rows *n_x + 1), *yf = EP_ARENA(&b->arena, float, rows *n_y + 1);
  for (size_t i = 0; i < rows * n_x; i++) xf[i] = (float)x[i];
  for (size_t i = 0; i < rows * n_y; i++) yf[i] = (float)y[i];
  if (dir == ABSOLUTE) {
    ref = zeros(b, (size_t)A->n_out * A->n_in);
    if (A->kind == EP_LINOP_CSR) { /* entries that repeat add up in magnitude, too: |A| is about the stored weights */
      for (uint32_t i = 0; i < A->n_out; i++)
        for (uint32_t k = A->row_ptr[i]; k < A->row_ptr[i + 1]; k++)
          ref[(size_t)i * A->n_in + A->col[k]] += fabs(A->w64[k]);
    } else {
      for (size_t i = 0; i < (size_t)A->n_out * A->n_in; i++) ref[i] = fabs(t->ref[i]);
    }
    assert_int_equal(ep_linop_apply_abs_f64(A, rows, x, y, accumulate, &b->scratch), EP_OK);
  } else if (dir == FORWARD) {
    assert_int_equal(ep_linop_apply_f64(A, rows, x, y, accumulate, &b->scratch), EP_OK);
    assert_int_equal(ep_linop_apply_f32(A, rows, xf, yf, accumulate, &b->scratch), EP_OK);
  } else {
    assert_int_equal(ep_linop_apply_t_f64(A, rows, x, y, accumulate, &b->scratch), EP_OK);
    assert_int_equal(ep_linop_apply_t_f32(A, rows, xf, yf, accumulate, &b->scratch), EP_OK);
  }
  size_t terms = (dir == BACKWARD ? A->terms_bwd : A->terms_fwd) + 2;
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < n_y; i++) {
      long double mag, want = dir == BACKWARD ? dot(ref + i, A->n_in, x + r * n_x, n_x, &mag)
                                              : dot(ref + i * A->n_in, 1, x + r * n_x, n_x, &mag);
      double base = accumulate ? old[r * n_y + i] : 0;
      want += base;
      mag += fabs(base);
      long double error = fabsl(y[r * n_y + i] - want), slack = 1e-18L * mag;
      if (!(error <= ep_gamma64(terms) * mag + slack + (double)terms * EP_ETA64))
        fail_msg("%s %ux%u, direction %d, %zu rows, output %zu: error %Lg, bound %g", t->name, A->n_out, A->n_in, dir,
                 rows, i, error, ep_gamma64(terms) * (double)mag);
      /* float32: x and w are rounded once each on top */
      if (dir != ABSOLUTE) assert_true(fabsl(yf[r * n_y + i] - want) <= ep_gamma32(terms + 3) * mag + 1e-30L);
    }
}

static void products_within_error_bound(void **state) {
  bench *b = *state;
  for (size_t i = 0; i < N_OP; i++) {
    sample_op t = make(b, i);
    const size_t rows[] = {1, 0, 2, 7, 19, 35};
    for (size_t k = 0; k < 6; k++)
      for (int d = FORWARD; d <= BACKWARD; d++)
        for (int acc = 0; acc < 2; acc++) {
          ep_scratch_mark m = ep_scratch_save(&b->scratch);
          check(b, &t, (direction)d, rows[k], acc);
          ep_scratch_mark now = ep_scratch_save(&b->scratch);
          assert_true(m.used == now.used && m.block == now.block);
        }
    ep_arena_clear(&b->arena);
  }
}

static void adjoint_identity(void **state) {
  bench *b = *state;
  for (size_t i = 0; i < N_OP; i++) {
    sample_op t = make(b, i);
    double *x = numbers(b, t.A.n_in), *y = numbers(b, t.A.n_out), *ax = zeros(b, t.A.n_out), *aty = zeros(b, t.A.n_in);
    assert_int_equal(ep_linop_apply_f64(&t.A, 1, x, ax, false, &b->scratch), EP_OK);
    assert_int_equal(ep_linop_apply_t_f64(&t.A, 1, y, aty, false, &b->scratch), EP_OK);
    double left = 0, right = 0, mag = 0;
    for (size_t j = 0; j < t.A.n_out; j++) left += ax[j] * y[j];
    for (size_t j = 0; j < t.A.n_in; j++) {
      right += x[j] * aty[j];
      mag += fabs(x[j] * aty[j]);
    }
    assert_true(fabs(left - right) <= 1e-12 * (1 + mag));
  }
}

/* terms_fwd and terms_bwd are no less than the non-zeros of any row and column. */
static void term_counts_are_upper_bounds(void **state) {
  bench *b = *state;
  for (size_t i = 0; i < N_OP; i++) {
    sample_op t = make(b, i);
    for (size_t r = 0; r < t.A.n_out; r++) {
      size_t n = 0;
      for (size_t c = 0; c < t.A.n_in; c++) n += t.ref[r * t.A.n_in + c] != 0;
      assert_true(n <= t.A.terms_fwd);
    }
    for (size_t c = 0; c < t.A.n_in; c++) {
      size_t n = 0;
      for (size_t r = 0; r < t.A.n_out; r++) n += t.ref[r * t.A.n_in + c] != 0;
      assert_true(n <= t.A.terms_bwd);
    }
  }
}

static void builders_choose_the_kind(void **state) {
  bench *b = *state;
  ep_linop A;
  const double ones[3] = {1, 1, 1};
  const int32_t same[3] = {0, 1, 2}, other[3] = {0, 2, 1};
  assert_int_equal(ep_linop_diag(&b->arena, 3, ones, 0, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_ID);
  assert_int_equal(ep_linop_diag(&b->arena, 3, ones, 1e-16, &A), EP_OK); /* 1 only nearly: not the identity */
  assert_int_equal(A.kind, EP_LINOP_DIAG);
  assert_true(A.rel_err == 1e-16);
  assert_int_equal(ep_linop_map(&b->arena, 3, 3, same, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_ID);
  assert_int_equal(ep_linop_map(&b->arena, 3, 4, same, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_MAP);
  assert_int_equal(ep_linop_map(&b->arena, 3, 3, other, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_MAP);
  double *w = zeros(b, 4096);
  w[7] = 0.1;
  assert_int_equal(ep_linop_dense(&b->arena, 64, 64, w, 1e-15, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_CSR);
  assert_true(A.rel_err == 1e-15 && A.n_w == 1);
  assert_true(A.w64[0] == 0.1 && A.w32[0] == 0.1f && A.abs64[0] == 0.1);
  assert_int_equal(ep_linop_dense(&b->arena, 63, 64, w, 0, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_DENSE);
  for (size_t i = 0; i < 511; i++) w[i] = -1;
  assert_int_equal(ep_linop_dense(&b->arena, 64, 64, w, 0, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_CSR);
  w[511] = -1;
  assert_int_equal(ep_linop_dense(&b->arena, 64, 64, w, 0, &A), EP_OK);
  assert_int_equal(A.kind, EP_LINOP_DENSE);
  assert_true(A.abs64[3] == 1 && A.w64[3] == -1);
}

/* The memory of every builder and product fails in turn: a clean error, nothing leaked (teardown checks). */
static void every_allocation_may_fail(void **state) {
  bench *b = *state;
  for (size_t i = 0; i < N_OP; i++) {
    ep_arena_clear(&b->arena);
    sample_op t = make(b, i);
    double *x = numbers(b, 20 * (size_t)t.A.n_in), *y = zeros(b, 20 * (size_t)t.A.n_out);
    for (uint64_t k = 1;; k++) {
      ep_scratch_clear(&b->scratch);
      ep_ctx_fail_allocation(b->ctx, k);
      ep_status st = ep_linop_apply_f64(&t.A, 20, x, y, false, &b->scratch);
      if (st == EP_OK) st = ep_linop_apply_t_f64(&t.A, 20, y, x, true, &b->scratch);
      ep_ctx_fail_allocation(b->ctx, 0);
      if (st == EP_OK) break;
      assert_int_equal(st, EP_E_NOMEM);
      assert_int_equal(ep_ctx_error(b->ctx).code, EP_E_NOMEM);
      ep_ctx_clear_error(b->ctx);
    }
  }
  double *w = zeros(b, 5000);
  w[17] = 1;
  for (int kind = 0; kind < 6; kind++)
    for (uint64_t k = 1;; k++) {
      ep_arena fresh;
      ep_linop A;
      const int32_t src[3] = {-1, 0, 0};
      ep_arena_init(&fresh, b->ctx);
      ep_ctx_fail_allocation(b->ctx, k);
      ep_status st = kind == 0   ? ep_linop_dense(&fresh, 70, 70, w, 0, &A) /* becomes CSR through heap blocks */
                     : kind == 1 ? ep_linop_dense(&fresh, 10, 70, w, 0, &A)
                     : kind == 2 ? ep_linop_diag(&fresh, 5000, w, 0, &A)
                     : kind == 3 ? ep_linop_map(&fresh, 3, 3, src, &A)
                     : kind == 4 ? ep_linop_conv(&fresh, &geoms[0], false, w, 0, &A)
                                 : ep_linop_id(&fresh, 3, &A);
      ep_ctx_fail_allocation(b->ctx, 0);
      ep_arena_clear(&fresh);
      ep_ctx_clear_error(b->ctx);
      if (st == EP_OK) break;
      assert_int_equal(st, EP_E_NOMEM);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(rows_equal_definition),        TEST(products_within_error_bound), TEST(adjoint_identity),
      TEST(term_counts_are_upper_bounds), TEST(builders_choose_the_kind),    TEST(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
