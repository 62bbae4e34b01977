/* Piecewise linear functions of one variable on [-4, 4], and the ReLU networks that represent them: what the study of
 * Baader, Mueller, Mao and Vechev (ICLR 2024) is about. Kinks and slopes are multiples of 1/4, so that all weights are
 * float32 numbers and all networks exact. */
#ifndef EP_BENCHMARKS_EXPRESSIVITY_FUNCTIONS_H
#define EP_BENCHMARKS_EXPRESSIVITY_FUNCTIONS_H

#include "encoders/exact_bounds.h"
#include "kernels/rng.h"

enum { MAX_KINKS = 12, DOMAIN = 4 };

typedef enum function_class { CPWL, MONOTONE, CONVEX, MONOTONE_CONVEX, N_CLASS } function_class;
extern const char *const class_name[N_CLASS];

/* Slope slope[i] between kink[i-1] and kink[i] (the ends of the domain outside), value at_left at -4. */
typedef struct function {
  uint32_t n;
  double kink[MAX_KINKS], slope[MAX_KINKS + 1], at_left;
} function;

function function_random(ep_rng *r, function_class c, uint32_t n_kink);
/* @sound exact (small multiples of 1/16) */
double function_at(const function *f, double x);
/* Smallest and largest value over [lo, hi]. @sound exact */
void function_range(const function *f, mpq_t lo, mpq_t hi, mpq_t out_lo, mpq_t out_hi);

/* Ways to write a function as a network of affine layers and ReLUs. One layer: each kink is g relu(x - t) or
 * g relu(t - x), g the change of slope; what is linear passes through a ReLU that never switches. */
typedef enum encoding {
  STEPS,          /* slopes times clip(x - t_i, 0, width): w - relu(w - relu(x - t)), two layers */
  STEPS_MIRRORED, /* the same with every relu(z) written z + relu(-z) */
  FROM_MINIMUM,   /* one layer, kinks turned away from the minimiser: right of it relu(x - t), left of it relu(t - x) */
  TO_MINIMUM,     /* one layer, the other way round */
  ONE_WAY,        /* one layer, all relu(x - t) */
  ANY_WAY,        /* one layer, directions by the bits of `turns` */
  N_ENCODING
} encoding;
extern const char *const encoding_name[N_ENCODING];

ep_status function_network(ep_ctx *ctx, const function *f, encoding e, uint32_t turns, ep_graph **out);

#endif
