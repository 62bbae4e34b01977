/* Linear operators: the one representation of every affine layer's matrix (A in y = A x + b).
 *
 * Every AFFINE operator of models/ lowers to one linop per variable input. All passes (evaluation, gradients,
 * interval and linear bound propagation, rows for solvers) are written once against the calls below; convolutions are
 * never densified. Data is row-major; `r` rows are r independent vectors (samples, domains, coefficient rows).
 *
 * Each linop keeps its weights as float64 and as float32. For float32 networks the float64 copy is exact; where the
 * weight itself is the result of rounded arithmetic (BatchNormalization's scale, Gemm's alpha*W, division by a
 * constant) `rel_err` bounds |true - w64| <= rel_err*|w64|, and every certified pass adds it to its error term. The
 * float32 copy is only ever used for search and for float32 evaluation.
 *
 * Rounding: with t = terms_fwd (most terms summed for one output) or t = terms_bwd (for one input), every float64
 * result satisfies |fl - exact| <= gamma_{t+2}*(|A||x|) + t*eta. Those two counts also cover accumulation
 * (`accumulate` = y += A x instead of y = A x), where |y_old| joins the right-hand side. */
#ifndef EP_KERNELS_LINOP_H
#define EP_KERNELS_LINOP_H

#include "kernels/arena.h"
#include "kernels/conv.h"
#include "kernels/csr_group.h"
#include "kernels/scratch.h"

typedef enum ep_linop_kind {
  EP_LINOP_ID,    /* y = x (reshapes, residual adds) */
  EP_LINOP_DIAG,  /* y_i = w_i x_i */
  EP_LINOP_MAP,   /* y_i = x[src_i], or 0 where src_i < 0 (Transpose, Slice, Concat part, Pad, Gather, Expand) */
  EP_LINOP_DENSE, /* w[n_out x n_in] row-major */
  EP_LINOP_CSR,   /* sparse rows */
  EP_LINOP_CONV   /* batched 2-D (or 1-D as H x 1) convolution, or its transpose */
} ep_linop_kind;

typedef struct ep_linop {
  ep_linop_kind kind;
  uint32_t n_in, n_out;
  uint32_t terms_fwd, terms_bwd; /* most non-zeros in a row / in a column */
  double rel_err;                /* |true weight - w64| <= rel_err*|w64|; 0 when weights are exact */
  size_t n_w;                    /* stored weights: n_out (DIAG), n_out*n_in (DENSE), nnz (CSR), kernel size (CONV) */
  const float *w32;
  const double *w64;
  const double *abs64;     /* |w64|, same layout */
  const int32_t *map;      /* MAP: src[n_out] */
  const uint32_t *row_ptr; /* CSR: n_out+1 */
  const uint32_t *col;     /* CSR: n_w */
  /* CSR of the transpose, for the backward direction without scatter conflicts: t_row_ptr[n_in+1], t_col[n_w] (output
   * index), t_pos[n_w] (position in w64/w32). */
  const uint32_t *t_row_ptr, *t_col, *t_pos;
  const float *t_w32;                   /* CSR: w32 in the transpose's order, or NULL (then by t_pos) */
  const ep_csr_groups *group, *t_group; /* CSR: rows and columns in groups, or NULL; float32 calls only */
  ep_conv_geom conv;                    /* CONV: geometry of the plain convolution */
  bool conv_transpose; /* CONV: this operator is the transpose of `conv` (ConvTranspose): n_in = c_out*h_out*w_out */
} ep_linop;

/* Builders; all memory from `arena`, inputs copied. w64 is required and w32 derived by rounding. A dense matrix with
 * less than 1 in 8 non-zeros and at least 4096 entries becomes CSR. DIAG of all ones and MAP of 0..n-1 become ID. */
ep_status ep_linop_id(ep_arena *arena, uint32_t n, ep_linop *out);
ep_status ep_linop_diag(ep_arena *arena, uint32_t n, const double *w64, double rel_err, ep_linop *out);
ep_status ep_linop_map(ep_arena *arena, uint32_t n_out, uint32_t n_in, const int32_t *src, ep_linop *out);
ep_status ep_linop_dense(ep_arena *arena, uint32_t n_out, uint32_t n_in, const double *w64, double rel_err,
                         ep_linop *out);
ep_status ep_linop_csr(ep_arena *arena, uint32_t n_out, uint32_t n_in, const uint32_t *row_ptr, const uint32_t *col,
                       const double *w64, double rel_err, ep_linop *out);
ep_status ep_linop_conv(ep_arena *arena, const ep_conv_geom *geom, bool transpose, const double *w64, double rel_err,
                        ep_linop *out);

/* y[r x n_out] = x[r x n_in] A^T, i.e. every row x_i becomes A x_i. `accumulate` adds to y. Leading dimensions are
 * n_in and n_out. x and y must not overlap. Fails only when scratch runs out. @sound estimate (bound above) */
ep_status ep_linop_apply_f32(const ep_linop *A, size_t rows, const float *x, float *y, bool accumulate, ep_scratch *s);
ep_status ep_linop_apply_f64(const ep_linop *A, size_t rows, const double *x, double *y, bool accumulate,
                             ep_scratch *s);
/* Same with |A| in place of A. */
ep_status ep_linop_apply_abs_f64(const ep_linop *A, size_t rows, const double *x, double *y, bool accumulate,
                                 ep_scratch *s);
/* x[r x n_in] = y[r x n_out] A (transpose direction: gradients and coefficient rows). */
ep_status ep_linop_apply_t_f32(const ep_linop *A, size_t rows, const float *y, float *x, bool accumulate,
                               ep_scratch *s);
ep_status ep_linop_apply_t_f64(const ep_linop *A, size_t rows, const double *y, double *x, bool accumulate,
                               ep_scratch *s);
/* Writes rows idx[0..n_idx-1] of A as dense rows: out[n_idx x n_in] (zero-filled first, or added to when
 * `accumulate`). Exact copies of the stored weights when not accumulating, except CONV and CSR entries that repeat. */
void ep_linop_rows_f32(const ep_linop *A, size_t n_idx, const uint32_t *idx, float *out, bool accumulate);
void ep_linop_rows_f64(const ep_linop *A, size_t n_idx, const uint32_t *idx, double *out, bool accumulate);

/* The transpose of n_out sparse rows as t_row_ptr[n_in+1] (room for n_in+2), t_col, t_pos above. Returns the most
 * entries of a column. */
uint32_t ep_csr_transpose(uint32_t n_out, uint32_t n_in, const uint32_t *row_ptr, const uint32_t *col,
                          uint32_t *t_row_ptr, uint32_t *t_col, uint32_t *t_pos);

/* The part of A at rows row[0..n_row-1] and columns col[0..n_col-1] (ascending or not, none twice; NULL = all, then
 * n_row = n_out, n_col = n_in): DENSE where that is smaller, else CSR. Float32 weights only: the float64 calls do not
 * take it. A whole A is shared. Memory from `s`. @sound estimate */
ep_status ep_linop_restrict_f32(const ep_linop *A, uint32_t n_row, const uint32_t *row, uint32_t n_col,
                                const uint32_t *col, ep_scratch *s, ep_linop *out);

#endif
