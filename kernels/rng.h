/* Seeded pseudo-random numbers (xoshiro256**, seeded by splitmix64): same seed, same stream, on every machine. */
#ifndef EP_KERNELS_RNG_H
#define EP_KERNELS_RNG_H

#include <stdint.h>

typedef struct ep_rng {
  uint64_t s[4];
} ep_rng;

void ep_rng_seed(ep_rng *r, uint64_t seed);
/* An independent stream for work item `stream` of a run with the given seed. */
void ep_rng_seed_stream(ep_rng *r, uint64_t seed, uint64_t stream);
uint64_t ep_rng_u64(ep_rng *r);
uint64_t ep_rng_below(ep_rng *r, uint64_t n); /* uniform in 0..n-1, unbiased; n >= 1 */
double ep_rng_uniform(ep_rng *r);             /* [0,1) */
double ep_rng_normal(ep_rng *r);              /* mean 0, deviation 1 */

#endif
