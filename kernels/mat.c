#include "kernels/mat.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <pthread.h>

extern void openblas_set_num_threads(int n);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void single_thread(void) { openblas_set_num_threads(1); }

/* C = beta*C; 0 overwrites, whatever was there. */
#define SCALE(NAME, REAL)                                                                                              \
  static void NAME(size_t m, size_t n, REAL beta, REAL *c, size_t ldc) {                                               \
    for (size_t i = 0; i < m && beta != 1; i++)                                                                        \
      for (size_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];                           \
  }
SCALE(scale_f32, float)
SCALE(scale_f64, double)

/* A single row or column goes to GEMV, which packs nothing. GEMV gets beta = 1 on a cleared vector, since not every
 * version of it leaves an uninitialised y unread when beta is 0. */
#define GEMM(NAME, SCALE_NAME, BLAS_MM, BLAS_MV, REAL)                                                                 \
  void NAME(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, REAL alpha, const REAL *a, size_t lda,           \
            const REAL *b, size_t ldb, REAL beta, REAL *c, size_t ldc) {                                               \
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX && lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);        \
    assert(ldc >= n && lda >= (trans_a ? m : k) && ldb >= (trans_b ? k : n));                                          \
    if (!m || !n) return;                                                                                              \
    if (!k || m == 1 || n == 1) SCALE_NAME(m, n, beta, c, ldc);                                                        \
    if (!k) return;                                                                                                    \
    pthread_once(&once, single_thread);                                                                                \
    if (n == 1) /* c = op(A) b */                                                                                      \
      BLAS_MV(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, (int)(trans_a ? k : m), (int)(trans_a ? m : k),      \
              alpha, a, (int)lda, b, trans_b ? 1 : (int)ldb, 1, c, (int)ldc);                                          \
    else if (m == 1) /* c^T = op(B)^T a^T */                                                                           \
      BLAS_MV(CblasRowMajor, trans_b ? CblasNoTrans : CblasTrans, (int)(trans_b ? n : k), (int)(trans_b ? k : n),      \
              alpha, b, (int)ldb, a, trans_a ? (int)lda : 1, 1, c, 1);                                                 \
    else                                                                                                               \
      BLAS_MM(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, (int)m, (int)n, \
              (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);                                             \
  }
GEMM(ep_sgemm, scale_f32, cblas_sgemm, cblas_sgemv, float)
GEMM(ep_dgemm, scale_f64, cblas_dgemm, cblas_dgemv, double)
