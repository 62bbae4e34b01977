/* Local robustness as a query: within the L-infinity ball of radius epsilon around an input (cut to the valid range),
 * no other class scores at least as high as the label. Ties count as violations. One polytope per other class.
 *
 * The ball lives in units after `scale` (raw / scale); the network sees (v - mean) / std per channel. The box of
 * network inputs is rounded outward for proofs and inward for counterexamples. */
#ifndef EP_VERIFIER_ROBUST_H
#define EP_VERIFIER_ROBUST_H

#include "verifier/query.h"

typedef struct ep_robust {
  size_t n;        /* values of the input */
  const double *x; /* raw */
  uint32_t n_y, label;
  int64_t target;                          /* the only other class that counts, -1 = any */
  double epsilon, scale, clip_lo, clip_hi; /* clip: -inf, inf = none */
  uint32_t n_channel;                      /* of mean and std, n divisible by it */
  const double *mean, *std;                /* [n_channel] */
} ep_robust;

ep_status ep_robust_query(ep_ctx *ctx, const ep_robust *r, const char *name, ep_query **out);
/* The same for a sample of a data set, x[n] in the network's own units: any other class within `epsilon` cut to
 * [clip_lo, clip_hi]. */
ep_status ep_robust_sample_query(ep_ctx *ctx, size_t n, const float *x, uint32_t n_y, uint32_t label, double epsilon,
                                 double clip_lo, double clip_hi, ep_query **out);

#endif
