/* Evaluation of a graph on concrete inputs, batched: float32 as ONNX Runtime computes it (up to summation order),
 * float64, rigorous intervals; and reverse-mode gradients. All are written once per operator class.
 *
 * A trace holds the values of all nodes for `batch` samples: value v is v_data[v][batch x n_v], row-major. */
#ifndef EP_MODELS_EVAL_H
#define EP_MODELS_EVAL_H

#include "models/graph.h"

/* Memory for one evaluation, taken from `s` and valid until its mark is restored; v[input] is a copy of `x`. */
typedef struct ep_trace_f32 {
  size_t batch;
  float **v; /* [n_val] */
} ep_trace_f32;
typedef struct ep_trace_f64 {
  size_t batch;
  double **v;
} ep_trace_f64;
/* lo/hi per value, [batch x n_v]. @sound outward */
typedef struct ep_trace_itv {
  size_t batch;
  double **lo, **hi;
} ep_trace_itv;

/* x[batch x n_input]. The trace's value arrays come from `s`. @sound estimate */
ep_status ep_eval_f32(const ep_graph *g, size_t batch, const float *x, ep_scratch *s, ep_trace_f32 *out);
ep_status ep_eval_f64(const ep_graph *g, size_t batch, const double *x, ep_scratch *s, ep_trace_f64 *out);
/* Boxes lo/hi[batch x n_input] of real inputs; every exact real value lies in the trace (interval propagation with
 * rigorous rounding). NaN or overflow gives [-inf, inf]. @sound outward */
ep_status ep_eval_itv(const ep_graph *g, size_t batch, const double *lo, const double *hi, ep_scratch *s,
                      ep_trace_itv *out);
/* One AFFINE node: box of the output from boxes of its inputs (lo[k], hi[k]: [batch x n_k]); used by ep_eval_itv and by
 * the bound engines. Computes mid and radius to nearest plus the a-priori error term; points whose sums need no
 * rounding stay points. @sound outward */
ep_status ep_affine_box(const ep_affine *a, uint32_t n_out, size_t batch, const double *const *lo,
                        const double *const *hi, double *ylo, double *yhi, ep_scratch *s);

/* Gradient of sum_i gy_i * y_i with respect to the input: gx[batch x n_input] from gy[batch x n_output] and a trace of
 * the same inputs. Sign, whose derivative is 0 and leads nowhere, passes gradients straight through (Bengio et al.
 * 2013).
 * @sound estimate */
ep_status ep_grad_f32(const ep_graph *g, const ep_trace_f32 *t, const float *gy, float *gx, ep_scratch *s);
ep_status ep_grad_f64(const ep_graph *g, const ep_trace_f64 *t, const double *gy, double *gx, ep_scratch *s);
/* `many` gradients at each sample of the trace (rows of a Jacobian) from one evaluation: row r of gy[batch*many x
 * n_output] and gx[batch*many x n_input] belongs to sample r / many. @sound estimate */
ep_status ep_grad_many_f32(const ep_graph *g, const ep_trace_f32 *t, size_t many, const float *gy, float *gx,
                           ep_scratch *s);
ep_status ep_grad_many_f64(const ep_graph *g, const ep_trace_f64 *t, size_t many, const double *gy, double *gx,
                           ep_scratch *s);

#endif
