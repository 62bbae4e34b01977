#include "kernels/rng.h"

#include <assert.h>
#include <math.h>

static uint64_t splitmix(uint64_t *x) {
  uint64_t z = (*x += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void ep_rng_seed(ep_rng *r, uint64_t seed) {
  for (int i = 0; i < 4; i++) r->s[i] = splitmix(&seed);
}

void ep_rng_seed_stream(ep_rng *r, uint64_t seed, uint64_t stream) {
  uint64_t x = stream;
  ep_rng_seed(r, seed ^ splitmix(&x));
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t ep_rng_u64(ep_rng *r) {
  uint64_t *s = r->s, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return out;
}

uint64_t ep_rng_below(ep_rng *r, uint64_t n) {
  assert(n >= 1);
  /* Reject the incomplete last range, so every residue is equally likely. */
  uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
  do x = ep_rng_u64(r);
  while (x >= limit);
  return x % n;
}

double ep_rng_uniform(ep_rng *r) { return (double)(ep_rng_u64(r) >> 11) * 0x1p-53; }

double ep_rng_normal(ep_rng *r) {
  double u = 1 - ep_rng_uniform(r), v = ep_rng_uniform(r);
  return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}
