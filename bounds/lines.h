/* Linear relaxations of univariate nodes: for z in [l,u]
 *
 *     sl*z + tl <= f(z) <= su*z + tu.
 *
 * Heuristics (bounds/relaxations.def) only propose the slopes; both intercepts are certified by ep_enclose (or, for
 * ReLU, by the closed form below), so a bad slope is loose, never wrong.
 *
 * ReLU, l < 0 < u: any su >= 0 is sound with tu = max(-su*l, u - su*u) rounded up; any sl in [0,1] with tl = 0. */
#ifndef EP_BOUNDS_LINES_H
#define EP_BOUNDS_LINES_H

#include "bounds/plan.h"

/* Lines of one UNIVAR node for `batch` domains: arrays [batch x n]. */
typedef struct ep_lines_f64 {
  double *sl, *tl, *su, *tu;
} ep_lines_f64;
typedef struct ep_lines_f32 {
  float *sl, *tl, *su, *tu;
} ep_lines_f32;

/* Relaxations of every nonlinear node for `batch` domains; side tables indexed by node. */
typedef struct ep_relax_f64 {
  size_t batch;
  ep_lines_f64 *lines;      /* [n_node], UNIVAR only */
  ep_linear_pair **general; /* [n_node][batch], GENERAL only */
  /* Under float32 semantics: [n_node] of [batch x n_out] for AFFINE nodes that round, what an execution's output may be
   * off over the domain (models/float32.h); charged like the rounding of (*) in plan.h. INFINITY until the node's
   * inputs have bounds. Other entries are NULL. */
  double **f32_err;
} ep_relax_f64;

typedef enum ep_relax_rule {
#define EP_RELAXATION(id, name, help) EP_RELAX_##id,
#include "bounds/relaxations.def"
#undef EP_RELAXATION
  EP_N_RELAX_RULES
} ep_relax_rule;
const char *ep_lines_rule_name(ep_relax_rule rule);

/* Allocates tables for `batch` domains from `s`; lines are filled by ep_lines_node. */
ep_status ep_relax_init_f64(const ep_plan *plan, size_t batch, ep_scratch *s, ep_relax_f64 *out);
/* Certified lines of UNIVAR node k for domains d0..d0+n_dom-1 from certified bounds lo/hi[n_dom x n] of its input.
 * @sound outward */
void ep_lines_node(const ep_plan *plan, uint32_t k, ep_relax_rule rule, size_t d0, size_t n_dom, const double *lo,
                   const double *hi, ep_relax_f64 *out);
/* Is f one straight line over [l,u] (so that splitting or re-bounding there gains nothing)? */
bool ep_lines_is_linear(const ep_univar *f, double l, double u);

#endif
