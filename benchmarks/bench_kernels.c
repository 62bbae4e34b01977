/* Speed of the kernels on one thread, as GFLOP/s and as a share of what sgemm (or dgemm) of size 512 reaches in the
 * same run, so that numbers from different machines can be compared.
 * Usage: bench_kernels [seconds per measurement, default 0.2 [only operators whose name begins so]]
 *
 * flop counts are those of the operator (2 per stored weight and use), whatever the implementation does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linop.h"
#include "kernels/mat.h"
#include "kernels/rng.h"

typedef struct run {
  ep_ctx *ctx;
  ep_arena arena;
  ep_scratch scratch;
  ep_rng rng;
  double seconds, ref_f32, ref_f64;
  const char *only; /* prefix of operator names, "" = all */
} run;

static double *numbers(run *b, size_t n) {
  double *w = EP_ARENA(&b->arena, double, n);
  if (!w) exit(3);
  for (size_t i = 0; i < n; i++) w[i] = ep_rng_normal(&b->rng);
  return w;
}

static float *numbers_f32(run *b, size_t n) {
  float *w = EP_ARENA(&b->arena, float, n);
  if (!w) exit(3);
  for (size_t i = 0; i < n; i++) w[i] = (float)ep_rng_normal(&b->rng);
  return w;
}

/* Repeats CALL for b->seconds (after one warm-up) and sets OUT to the best GFLOP/s of five stretches. */
#define MEASURE(b, flop, OUT, CALL)                                                                                    \
  do {                                                                                                                 \
    CALL;                                                                                                              \
    OUT = 0;                                                                                                           \
    for (int stretch_ = 0; stretch_ < 5; stretch_++) {                                                                 \
      double t0_ = ep_time_s(), t_;                                                                                    \
      long n_ = 0;                                                                                                     \
      do {                                                                                                             \
        CALL;                                                                                                          \
        n_++;                                                                                                          \
        t_ = ep_time_s() - t0_;                                                                                        \
      } while (t_ < (b)->seconds / 5);                                                                                 \
      double rate_ = (double)n_ * (flop) / t_ * 1e-9;                                                                  \
      if (rate_ > OUT) OUT = rate_;                                                                                    \
    }                                                                                                                  \
  } while (0)

static void gemm(run *b, size_t n) {
  float *a = numbers_f32(b, n * n), *x = numbers_f32(b, n * n), *y = numbers_f32(b, n * n);
  double *ad = numbers(b, n * n), *xd = numbers(b, n * n), *yd = numbers(b, n * n), f32, f64;
  double flop = 2.0 * (double)n * (double)n * (double)n;
  MEASURE(b, flop, f32, ep_sgemm(false, false, n, n, n, 1, a, n, x, n, 0, y, n));
  MEASURE(b, flop, f64, ep_dgemm(false, false, n, n, n, 1, ad, n, xd, n, 0, yd, n));
  printf("gemm %-34zu sgemm %7.2f          dgemm %7.2f\n", n, f32, f64);
  if (n == 512) {
    b->ref_f32 = f32;
    b->ref_f64 = f64;
  }
  ep_arena_clear(&b->arena);
}

static void check(ep_status st) {
  if (st != EP_OK) exit(3);
}

static void linop(run *b, const char *name, const ep_linop *A, size_t rows, double flop_row) {
  if (strncmp(name, b->only, strlen(b->only)) != 0) return;
  float *x = numbers_f32(b, rows * A->n_in), *y = numbers_f32(b, rows * A->n_out);
  double *xd = numbers(b, rows * A->n_in), *yd = numbers(b, rows * A->n_out), flop = flop_row * (double)rows, r[5];
  MEASURE(b, flop, r[0], check(ep_linop_apply_f32(A, rows, x, y, false, &b->scratch)));
  MEASURE(b, flop, r[1], check(ep_linop_apply_t_f32(A, rows, y, x, false, &b->scratch)));
  MEASURE(b, flop, r[2], check(ep_linop_apply_f64(A, rows, xd, yd, false, &b->scratch)));
  MEASURE(b, flop, r[3], check(ep_linop_apply_t_f64(A, rows, yd, xd, false, &b->scratch)));
  MEASURE(b, flop, r[4], check(ep_linop_apply_abs_f64(A, rows, xd, yd, false, &b->scratch)));
  printf("%-28s %4zu rows", name, rows);
  const char *const what[] = {"f32", "f32^T", "f64", "f64^T", "abs"};
  for (int i = 0; i < 5; i++)
    printf("  %s %6.2f (%3.0f%%)", what[i], r[i], 100 * r[i] / (i < 2 ? b->ref_f32 : b->ref_f64));
  printf("\n");
}

static void dense(run *b, uint32_t n_out, uint32_t n_in, size_t rows) {
  ep_linop A;
  char name[64];
  check(ep_linop_dense(&b->arena, n_out, n_in, numbers(b, (size_t)n_out * n_in), 0, &A));
  snprintf(name, sizeof name, "dense %ux%u", n_out, n_in);
  linop(b, name, &A, rows, 2.0 * n_out * n_in);
  ep_arena_clear(&b->arena);
}

static void conv(run *b, ep_conv_geom g, size_t rows) {
  ep_linop A;
  char name[64];
  double *w = numbers(b, (size_t)g.c_out * (g.c_in / g.groups) * g.kh * g.kw);
  check(ep_linop_conv(&b->arena, &g, false, w, 0, &A));
  snprintf(name, sizeof name, "conv %ux%ux%u->%ux%ux%u k%u s%u", g.c_in, g.h_in, g.w_in, g.c_out, g.h_out, g.w_out,
           g.kh, g.stride_h);
  linop(b, name, &A, rows, 2.0 * g.c_out * g.h_out * g.w_out * (g.c_in / g.groups) * g.kh * g.kw);
  ep_arena_clear(&b->arena);
}

static void sparse(run *b, uint32_t n_out, uint32_t n_in, uint32_t per_row, size_t rows) {
  uint32_t *ptr = EP_ARENA(&b->arena, uint32_t, n_out + 1), *col = EP_ARENA(&b->arena, uint32_t, n_out * per_row);
  if (!ptr || !col) exit(3);
  for (uint32_t i = 0; i < n_out * per_row; i++) {
    col[i] = (uint32_t)ep_rng_below(&b->rng, n_in);
    ptr[i / per_row + 1] = i + 1;
  }
  ep_linop A;
  char name[64];
  check(ep_linop_csr(&b->arena, n_out, n_in, ptr, col, numbers(b, (size_t)n_out * per_row), 0, &A));
  snprintf(name, sizeof name, "csr %ux%u, %u a row", n_out, n_in, per_row);
  linop(b, name, &A, rows, 2.0 * n_out * per_row);
  ep_arena_clear(&b->arena);
}

int main(int argc, char **argv) {
  run b = {.ctx = ep_ctx_create(), .seconds = argc > 1 ? atof(argv[1]) : 0.2, .only = argc > 2 ? argv[2] : ""};
  if (!b.ctx || !(b.seconds > 0)) return 1;
  ep_arena_init(&b.arena, b.ctx);
  ep_scratch_init(&b.scratch, b.ctx);
  ep_rng_seed(&b.rng, 1);
  for (size_t n = 64; n <= 1024; n *= 2) gemm(&b, n);
  const size_t rows[] = {1, 32, 500};
  for (int i = 0; i < 3; i++) {
    dense(&b, 256, 784, rows[i]);
    dense(&b, 50, 50, rows[i]);
    /* CIFAR-10 nets of the verification competitions */
    conv(&b, (ep_conv_geom){3, 32, 32, 8, 16, 16, 4, 4, 2, 2, 1, 1, 1, 1, 1}, rows[i]);
    conv(&b, (ep_conv_geom){8, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1, 1, 1}, rows[i]);
    conv(&b, (ep_conv_geom){16, 8, 8, 16, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}, rows[i]);
    conv(&b, (ep_conv_geom){32, 16, 16, 32, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1}, rows[i]);
    conv(&b, (ep_conv_geom){32, 16, 16, 16, 16, 16, 1, 1, 1, 1, 1, 1, 0, 0, 1}, rows[i]);
    sparse(&b, 4096, 2048, 2, rows[i]);
  }
  ep_scratch_clear(&b.scratch);
  ep_ctx_destroy(b.ctx);
  return 0;
}
