/* Float32 semantics: what any IEEE binary32 execution of the network can compute, operator by operator, rounded to
 * nearest, with the sums in any order, with or without FMA (docs/soundness.md). Every value then is a float32 number,
 * exact but for affine outputs, which are off from A x + b (x the float32 inputs) by at most ep_float32_error. All
 * certified passes charge that; the values they bound are those of the executions. Part of the trusted base. */
#ifndef EP_MODELS_FLOAT32_H
#define EP_MODELS_FLOAT32_H

#include "models/simplify.h"

/* How float32 semantics covers an operator: its results are exact; where it is affine, with weights as stored; the
 * same, but its weights are quotients that must be powers of two to count as stored; not at all. */
typedef enum ep_float32_cover {
  EP_FLOAT32_EXACT,
  EP_FLOAT32_AFFINE,
  EP_FLOAT32_PARTLY,
  EP_FLOAT32_NONE
} ep_float32_cover;
ep_float32_cover ep_float32_cover_of(const char *onnx);

/* Counts the roundings of every affine node. EP_E_UNSUPPORTED, naming the node, for operators whose float32 results are
 * not covered: other nonlinear ones than Relu, Abs, Clip, Sign and MaxPool (which are exact), BatchNormalization,
 * weights that are computed (Gemm's alpha, quotients, means of other than a power of two), and what is not float32. */
ep_status ep_float32_prepare(ep_draft *d);

/* Relative part of the error: gamma_n = n u / (1 - n u), u = 2^-24, rounded up; 0 for n_round = 0. */
double ep_float32_gamma(uint32_t n_round);
/* What underflow adds to an output's error, n_round * 2^-149; INFINITY when a sum might overflow on the way, by
 * scaled_mass >= gamma * (sum |A||x| + |b|). @sound outward */
double ep_float32_underflow(uint32_t n_round, double scaled_mass);
/* The whole error, for mass >= sum |A||x| + |b|. @sound outward */
double ep_float32_error(uint32_t n_round, double mass);

#endif
