#include "kernels/mat.h"

#include <cblas.h>
#include <pthread.h>

extern void openblas_set_num_threads(int n);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void single_thread(void) { openblas_set_num_threads(1); }

#define GEMM(NAME, BLAS, REAL)                                                                                         \
  void NAME(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, REAL alpha, const REAL *a, size_t lda,          \
            const REAL *b, size_t ldb, REAL beta, REAL *c, size_t ldc) {                                               \
    if (!m || !n) return;                                                                                              \
    pthread_once(&once, single_thread);                                                                                \
    if (beta == 0)                                                                                                     \
      for (size_t i = 0; i < m && !k; i++)                                                                             \
        for (size_t j = 0; j < n; j++) c[i * ldc + j] = 0;                                                             \
    if (!k) return;                                                                                                    \
    BLAS(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, (int)m, (int)n,      \
         (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);                                                  \
  }
GEMM(ep_sgemm, cblas_sgemm, float)
GEMM(ep_dgemm, cblas_dgemm, double)
