/* alpha/beta-CROWN: gradient ascent on the lower slopes (alpha) of unstable ReLUs and on the multipliers (beta) of
 * decided ones, in float32. Untrusted: what it finds are only slopes and multipliers, any value of which is sound;
 * bounds that count are recomputed by the certified pass.
 *
 * No tape: with x* the box corner that minimises a row, pushed *forward through the lines the row chose* to
 * pre-activations z, dL/dalpha_i = max(coef_i,0) z_i and dL/dbeta = -+z. One iteration = one backward and one forward
 * chain. Xu et al. 2021 (alpha-CROWN), Wang et al. 2021 (beta-CROWN). */
#ifndef EP_BOUNDS_ALPHA_H
#define EP_BOUNDS_ALPHA_H

#include "bounds/crown.h"

typedef struct ep_alpha_opt {
  uint32_t iterations; /* 0 = only evaluate */
  float rate, beta_rate, decay;
} ep_alpha_opt;
/* 20 steps of Adam at rate 0.1 (beta 0.05), decay 0.98. */
ep_alpha_opt ep_alpha_default(void);

typedef struct ep_alpha_job {
  const ep_plan *plan;
  const ep_relax_f32 *relax;
  const float *x_lo, *x_hi; /* [relax->batch x n_x] */
  ep_vid from;
  size_t rows;
  const uint32_t *dom, *neuron; /* as in ep_backward_f32 */
  const int8_t *sign;
  const float *coef, *coef_x;
  float **alpha;         /* [n_node] of [rows x n] for ReLU nodes: start on entry, best found on return */
  ep_decision *decision; /* [n_decision], sorted; beta: start on entry, best on return */
  size_t n_decision;
  const float *target; /* [rows] a row whose bound exceeds it counts as done; NULL = none */
  const uint32_t
      *group;   /* [rows] ascending: rows of a group are done when any of them is (a conjunction); NULL = own */
  float *best;  /* [rows] best bound found (estimate) */
  float *lin;   /* [rows x n_x] coefficients of the last evaluation, or NULL */
  float **kept; /* as in ep_backward_f32: coefficients at ReLU outputs of the last evaluation, or NULL */
} ep_alpha_job;

/* @sound estimate */
ep_status ep_alpha_run(const ep_alpha_job *job, const ep_alpha_opt *opt, ep_scratch *s);

/* Float tables [rows x n] for every ReLU node that `from` depends on, filled with the lines' lower slopes of each row's
 * domain. NULL elsewhere. Memory from `s`. */
ep_status ep_alpha_tables(const ep_plan *plan, const ep_relax_f32 *relax, ep_vid from, size_t rows, const uint32_t *dom,
                          ep_scratch *s, float ***out);
/* Copies to float64 tables for the certified pass. */
ep_status ep_alpha_to_f64(const ep_plan *plan, float *const *alpha, size_t rows, ep_scratch *s, double ***out);

/* Optimised bounds of all layers of one box (batch 1): like ep_crown_run, then for each pre-activation in order the
 * still unstable neurons' own lower and upper rows are optimised and certified. @sound outward */
ep_status ep_alpha_bounds(const ep_plan *plan, const ep_crown_opt *crown, const ep_alpha_opt *opt, ep_trace_itv *bounds,
                          ep_relax_f64 *relax, ep_arena *arena, ep_scratch *s);

#endif
