/* Back-substitution in float32, for search. */
#include "bounds/backward.h"

#define REAL float
#define FN(name) name##_f32
#define EP_CERT 0
#include "bounds/backward_impl.h"

void ep_backward_concretize_f32(size_t rows, size_t n_x, const float *lin, const float *cst, const uint32_t *dom,
                                const float *lo, const float *hi, float *out) {
  for (size_t r = 0; r < rows; r++) {
    const float *c = lin + r * n_x, *l = lo + (dom ? dom[r] : 0) * n_x, *h = hi + (dom ? dom[r] : 0) * n_x;
    float t = 0;
#pragma omp simd reduction(+ : t)
    for (size_t i = 0; i < n_x; i++) t += c[i] * (c[i] > 0 ? l[i] : h[i]);
    out[r] = t + cst[r];
  }
}
