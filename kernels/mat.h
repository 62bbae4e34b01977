/* Matrix layer over OpenBLAS, row-major, float32 and float64. The only file that includes cblas.h. BLAS runs with one
 * thread per caller (set once, at first use); parallelism comes from ep_pool.
 *
 * Soundness: results are round-to-nearest in an unspecified summation order, with or without FMA; for a dot product of
 * length n the error is at most gamma_n*|a||b| + n*eta (Higham 2002, ch. 3), see kernels/round.h. Rounding modes are
 * never touched. @sound estimate, unless the caller adds that bound. */
#ifndef EP_KERNELS_MAT_H
#define EP_KERNELS_MAT_H

#include <stdbool.h>
#include <stddef.h>

/* C[m x n] = alpha*op(A)*op(B) + beta*C, all row-major with leading dimensions lda, ldb, ldc.
 * beta = 0 overwrites C without reading it. m, n or k may be 0. */
void ep_sgemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc);
void ep_dgemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
              const double *b, size_t ldb, double beta, double *c, size_t ldc);

#endif
