/* One backward pass of a batch of rows through a search net (float32). A row is a linear function of one value's
 * elements; what comes out is a linear function of the input that is not above it wherever the row's decisions hold. */
#ifndef EP_BOUNDS_SPASS_H
#define EP_BOUNDS_SPASS_H

#include "bounds/snet.h"

/* Decided neurons of a set of rows, layer by layer within each row: those of row r in layer l are entries
 * ptr[r*(n_layer+1)+l] .. ptr[r*(n_layer+1)+l+1]-1. A decided neuron follows its exact line, and `beta` >= 0 times the
 * decided inequality is subtracted from the row. */
typedef struct ep_phases {
  const uint32_t *ptr;
  const uint32_t *at; /* index among the layer's unstable neurons */
  const uint8_t *is_active;
  float *beta;
} ep_phases;

enum { EP_SPASS_TOP = -1 };

typedef struct ep_spass {
  const ep_snet *net;
  size_t n; /* rows */
  /* Seeds over net->from, row r takes number seed[r] (NULL = r): dense coef[. x n_from], or +-unit rows. */
  const uint32_t *seed;
  const float *coef;
  const uint32_t *neuron;
  const int8_t *sign;
  const float *coef_x; /* [. x net->n_x] added at the input, or NULL */
  /* Slopes of layer l for row r: alpha[l] + slope_row[r]*n_u (NULL = r). */
  float *const *alpha;
  const uint32_t *slope_row;
  const ep_phases *phases; /* NULL = none; row r has those of phase_row[r] (NULL = r) */
  const uint32_t *phase_row;
  const uint32_t *extra; /* [n] one more decision without multiplier: unstable neuron * 2 + is_active; NULL = none */
  /* Rows that enter on the way: row r starts at cut layer join[r] (descending over r; EP_SPASS_TOP rows come first)
   * with the coefficients cut[join[r]] + slope_row[r]*n and the constant cut_cst[join[r]][slope_row[r]]. NULL = none.
   */
  const int32_t *join;
  /* Kept for the caller where not NULL: coefficients of unstable neurons [n_layer] of [n x n_u]; all coefficients and
   * constants at the cut layers (written when `join` is NULL, read otherwise). */
  float **coef_u;
  float **cut, **cut_cst;
  float *lin;   /* [n x n_x] */
  float *bound; /* [n] minimum over the box. @sound estimate */
} ep_spass;

ep_status ep_spass_run(const ep_spass *p, ep_scratch *s);

#endif
