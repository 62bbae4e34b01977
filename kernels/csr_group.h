/* Sparse rows that share their columns, four at a time: what restriction leaves of a convolution, where all channels at
 * one place read the same inputs. Each index and each input loaded then serves four rows. Float32, for the search only.
 * @sound estimate */
#ifndef EP_KERNELS_CSR_GROUP_H
#define EP_KERNELS_CSR_GROUP_H

#include <stdbool.h>

#include "kernels/scratch.h"

enum { EP_CSR_GROUP = 4 };

typedef struct ep_csr_groups {
  uint32_t n_out, n_in, n_group;
  const uint32_t *row; /* [4 n_group] rows of each group, UINT32_MAX where it has fewer */
  const uint32_t *ptr; /* [n_group + 1] into col */
  const uint32_t *col;
  const float *w; /* [4] per entry of col, zeros for missing rows */
} ep_csr_groups;

/* Groups the rows of a sparse matrix; every row is in one group. *out = NULL when too few rows share their columns for
 * it to pay. Memory from `s`. */
ep_status ep_csr_groups_make(uint32_t n_out, uint32_t n_in, const uint32_t *row_ptr, const uint32_t *col,
                             const float *w, ep_scratch *s, const ep_csr_groups **out);
/* y[rows x n_out] (+)= x[rows x n_in] A^T. A vector's result does not depend on its neighbours. */
ep_status ep_csr_groups_apply(const ep_csr_groups *g, size_t rows, const float *x, float *y, bool accumulate,
                              ep_scratch *s);

#endif
