/* How far the nearest input of another class is from a sample, in linf: enclosed by bisection over robustness queries
 * (robust.h). One end is proved, the other has a replayed counterexample, so that attacks can be measured against it.
 */
#ifndef EP_VERIFIER_DISTANCE_H
#define EP_VERIFIER_DISTANCE_H

#include "verifier/adversary.h"
#include "verifier/engine.h"

typedef struct ep_distance {
  double proved;  /* within this radius no other class ties or wins: certified. @sound outward */
  double refuted; /* a counterexample that was replayed is no further away than this; infinite = none. @sound outward */
  uint32_t n_query, n_open; /* n_open: queries that their time limit left undecided */
} ep_distance;

/* x[n_input] must be classified as `label`. point[n_input]: a counterexample that an attack found, to be replayed
 * first; NULL = none. The bracket is closed until refuted - proved <= tolerance * refuted, or undecided radii forbid
 * it; each query has cfg->timeout seconds of cfg->engine. EP_E_STOPPED when interrupted. */
ep_status ep_distance_enclose(ep_ctx *ctx, const ep_graph *g, const float *x, uint32_t label, double clip_lo,
                              double clip_hi, const float *point, double tolerance, const ep_config *cfg, ep_pool *pool,
                              ep_distance *out);

/* The distance at which an attack finds the sample misclassified: what a minimal attack finds; for one within a ball,
 * the smallest radius up to `farthest` at which it finds something, by doubling and halving to 1 %. Infinite when it
 * finds nothing. *n_grad gets the gradients spent in all. @sound estimate */
ep_status ep_distance_attack(const ep_attack_kind *kind, const ep_graph *g, const ep_adversary_opt *opt, const float *x,
                             uint32_t label, double farthest, ep_pool *pool, float *point, double *distance,
                             uint64_t *n_grad);

#endif
