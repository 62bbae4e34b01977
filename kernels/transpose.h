/* Transposition of small blocks in registers: what turning batches of vectors for sparse products costs most. */
#ifndef EP_KERNELS_TRANSPOSE_H
#define EP_KERNELS_TRANSPOSE_H

#include <stddef.h>

/* dst[j*ld_dst + i] = src[i*ld_src + j] for i < n_row, j < n_col. */
void ep_transpose_f32(size_t n_row, size_t n_col, const float *src, size_t ld_src, float *dst, size_t ld_dst);
void ep_transpose_f64(size_t n_row, size_t n_col, const double *src, size_t ld_src, double *dst, size_t ld_dst);

#endif
