/* alpha/beta-CROWN: gradient ascent on the lower slopes (alpha) of unstable ReLUs and on the multipliers (beta) of
 * decided ones, in float32 over a search net. Untrusted: what it finds are only slopes and multipliers, any value of
 * which is sound; bounds that count are recomputed by the certified pass.
 *
 * No tape: with x* the box corner that minimises a row, pushed *forward through the lines the row chose* to
 * pre-activations z, dL/dalpha_i = max(coef_i,0) z_i and dL/dbeta = -+z. One iteration = one backward and one forward
 * chain; the forward one steps alpha as it goes. Rows whose group has reached its target leave the batch.
 * Xu et al. 2021 (alpha-CROWN), Wang et al. 2021 (beta-CROWN). */
#ifndef EP_BOUNDS_ASCENT_H
#define EP_BOUNDS_ASCENT_H

#include "bounds/crown.h"
#include "bounds/spass.h"

typedef struct ep_ascent_opt {
  uint32_t iterations; /* 0 = only evaluate */
  float rate, beta_rate, decay;
} ep_ascent_opt;
/* 20 steps of Adam at rate 0.1 (beta 0.5 of the coefficient at the neuron), decay 0.98. */
ep_ascent_opt ep_ascent_default(void);

typedef struct ep_ascent {
  const ep_snet *net;
  size_t n; /* rows */
  /* Seeds over net->from, as in ep_spass. */
  const float *coef, *coef_x;
  const uint32_t *neuron;
  const int8_t *sign;
  const uint32_t *seed; /* [n] row r takes seed number seed[r]; NULL = r */
  const uint8_t *const
      *start;              /* [n] slopes to start from, [n_u] of 1/255; NULL (the array or one row) = the lines' own */
  const ep_phases *phases; /* of the n rows, or NULL; beta: start on entry, that of the best bound on return */
  const float *target;     /* [n] a row whose bound exceeds it is done; NULL = none */
  const uint32_t *group;   /* [n] ascending: rows of a group are done with the first of them; NULL = each its own */
  /* Decisions at `from` itself, the same for all rows (`from` an affine node's value; not together with `seed`): neuron
   * own[i] is decided own_is_active[i], and own_beta[r*n_own+i] >= 0 times that inequality is subtracted from row r. */
  size_t n_own;
  const uint32_t *own;
  const bool *own_is_active;
  float *own_beta; /* start on entry, that of the best bound on return */
  bool keep_left;  /* evaluate the rows left at their best: fills the tables below */
  /* Results, the caller's. */
  float *best;   /* [n] best bound found. @sound estimate */
  float **alpha; /* [n] of [n_u]: slopes of the best bound */
  bool *is_done; /* [n] */
  /* With keep_left, from the scratch given to ep_ascent_run: the rows that are not done, as evaluated at their best. */
  size_t n_left;
  uint32_t *id;             /* [n_left] row each place of the tables below holds, ascending */
  float **slopes, **coef_u; /* [n_layer] of [n_left x n_u] */
  float **cut, **cut_cst;   /* [n_layer] as in ep_spass */
  float *lin;               /* [n_left x n_x] */
} ep_ascent;

/* Memory is taken from `s` and not given back. @sound estimate */
ep_status ep_ascent_run(ep_ascent *a, const ep_ascent_opt *opt, ep_scratch *s);

/* The plain use: optimises the rows of `a` (seeds, target, group; the results may be NULL) and hands their slopes on as
 * tables for the certified pass. Memory from `s`. @sound estimate */
ep_status ep_ascent_slopes(ep_ascent *a, const ep_ascent_opt *opt, const ep_relax_f64 *relax, ep_scratch *s,
                           double ***out);

/* Optimised bounds of all layers of one box (batch 1): like ep_crown_run, but the lower and upper rows of each
 * pre-activation's unstable neurons are optimised before they are certified. @sound outward */
ep_status ep_alpha_bounds(const ep_plan *plan, const ep_crown_opt *crown, const ep_ascent_opt *opt,
                          ep_trace_itv *bounds, ep_relax_f64 *relax, ep_arena *arena, ep_scratch *s);
/* The step of ep_alpha_bounds for pre-activation `v`, whose ancestors have their lines in `relax`. @sound outward */
ep_status ep_alpha_value(const ep_plan *plan, ep_vid v, const ep_ascent_opt *opt, ep_trace_itv *bounds,
                         const ep_relax_f64 *relax, ep_pool *pool, ep_scratch *s);

/* Slopes in [0,1] as domains store them and `start` takes them. */
static inline uint8_t ep_slope_pack(float a) { return (uint8_t)(a * 255 + 0.5f); }
static inline float ep_slope_unpack(uint8_t a) { return (float)a * (1.0f / 255); }

#endif
