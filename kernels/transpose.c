#include "kernels/transpose.h"

#include <string.h>

typedef float v8 __attribute__((vector_size(32)));

/* 8 x 8: pairs of rows, then pairs of pairs, then halves. */
static inline void block8(const float *src, size_t ld_src, float *dst, size_t ld_dst) {
  v8 r[8], t[8];
  for (int i = 0; i < 8; i++) memcpy(&r[i], src + (size_t)i * ld_src, sizeof r[i]);
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int h = 0; h < 2; h++) {
      r[i + 2 * h] = __builtin_shufflevector(t[i + h], t[i + 2 + h], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + 2 * h + 1] = __builtin_shufflevector(t[i + h], t[i + 2 + h], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    t[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    t[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int i = 0; i < 8; i++) memcpy(dst + (size_t)i * ld_dst, &t[i], sizeof t[i]);
}

void ep_transpose_f32(size_t n_row, size_t n_col, const float *src, size_t ld_src, float *dst, size_t ld_dst) {
  size_t r8 = n_row & ~(size_t)7, c8 = n_col & ~(size_t)7;
  for (size_t j = 0; j < c8; j += 8)
    for (size_t i = 0; i < r8; i += 8) block8(src + i * ld_src + j, ld_src, dst + j * ld_dst + i, ld_dst);
  for (size_t i = 0; i < n_row; i++)
    for (size_t j = i < r8 ? c8 : 0; j < n_col; j++) dst[j * ld_dst + i] = src[i * ld_src + j];
}

void ep_transpose_f64(size_t n_row, size_t n_col, const double *src, size_t ld_src, double *dst, size_t ld_dst) {
  for (size_t j0 = 0; j0 < n_col; j0 += 8) /* whole cache lines on both sides */
    for (size_t i = 0; i < n_row; i++)
      for (size_t j = j0; j < n_col && j < j0 + 8; j++) dst[j * ld_dst + i] = src[i * ld_src + j];
}
