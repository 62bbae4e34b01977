/* CROWN for every layer: certified bounds of all values over a batch of boxes, layer by layer. Each pre-activation
 * starts from interval propagation intersected with inherited bounds (a parent's are valid for its children); neurons
 * that are still nonlinear there are bounded again by certified back-substitution down to the input.
 * Zhang et al. 2018 (CROWN); Singh et al. 2019 (DeepPoly). */
#ifndef EP_BOUNDS_CROWN_H
#define EP_BOUNDS_CROWN_H

#include "bounds/backward.h"

typedef struct ep_crown_opt {
  ep_relax_rule rule;
  bool is_interval_only; /* no back-substitution of intermediate layers */
  ep_pool *pool;         /* rows are shared out over it when not NULL */
  /* If not NULL, [n_val] of [batch x n_v x n_x] or NULL: receives for every neuron that was bounded again the share of
   * each input in its range, |coefficient| * width scaled to sum 1 (estimate; splits are chosen by it). */
  float **influence;
} ep_crown_opt;

/* Allocates a table of `batch` boxes for every value from `s`, all bounds [-inf, inf]. */
ep_status ep_crown_table(const ep_plan *plan, size_t batch, ep_scratch *s, ep_trace_itv *out);
/* Fills `bounds` for the boxes stored at its input value; what the table's pre-activations hold on entry is taken as
 * certified prior knowledge. `relax` (same batch) receives certified lines for all nonlinear nodes; its GENERAL parts
 * live in `arena`. @sound outward */
ep_status ep_crown_run(const ep_plan *plan, const ep_crown_opt *opt, ep_trace_itv *bounds, ep_relax_f64 *relax,
                       ep_arena *arena, ep_scratch *s);
/* The step of ep_crown_run for pre-activation `v`, whose ancestors have their lines in `relax`: bounds its still
 * nonlinear neurons again. @sound outward */
ep_status ep_crown_value(const ep_plan *plan, const ep_crown_opt *opt, ep_vid v, ep_trace_itv *bounds,
                         const ep_relax_f64 *relax, ep_scratch *s);
/* Certified bounds of the pre-activation `v` again with given per-row slopes: rows 2i and 2i+1 are the lower and upper
 * row of pair i = (dom[i], neuron[i]); improves bounds in place. alpha as in ep_backward_f64, or NULL; influence
 * as in ep_crown_opt for this value, or NULL.
 * @sound outward */
ep_status ep_crown_tighten(const ep_plan *plan, const ep_relax_f64 *relax, ep_vid v, size_t n_pair, const uint32_t *dom,
                           const uint32_t *neuron, double *const *alpha, float *influence, ep_trace_itv *bounds,
                           ep_scratch *s);
/* One node's share of ep_crown_run from the bounds of its inputs as they stand: interval step, lines, relaxation.
 * @sound outward */
ep_status ep_crown_node(const ep_plan *plan, uint32_t k, ep_relax_rule rule, ep_trace_itv *bounds, ep_relax_f64 *relax,
                        ep_arena *arena, ep_scratch *s);
/* Lists the (domain, neuron) pairs of pre-activation v whose reader is still nonlinear on their bounds; returns how
 * many. dom and neuron have room for batch * n_v. */
uint32_t ep_crown_unstable(const ep_plan *plan, ep_vid v, const ep_trace_itv *bounds, uint32_t *dom, uint32_t *neuron);
/* Rows of a back-substitution handled at once: bounded so that the coefficients stay near the cache. */
size_t ep_crown_chunk(const ep_plan *plan);

#endif
