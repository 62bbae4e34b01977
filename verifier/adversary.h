/* Attacks on single samples of a classifier, for study and for pictures: a registry (attacks.def), float32 gradients,
 * budgets counted in gradients. They look for a point that the network puts into another class; nothing here is a
 * verdict (replay.h is), but what is found is a float32 input in the valid range whose class was evaluated. */
#ifndef EP_VERIFIER_ADVERSARY_H
#define EP_VERIFIER_ADVERSARY_H

#include "kernels/pool.h"
#include "kernels/rng.h"
#include "models/graph.h"

typedef enum ep_norm { EP_NORM_LINF, EP_NORM_L2 } ep_norm;

typedef struct ep_adversary_opt {
  ep_norm norm;
  double epsilon;          /* < 0: none given (only minimal attacks, and fgsm) */
  double clip_lo, clip_hi; /* valid range; infinite = none */
  uint32_t steps, restarts;
  double overshoot; /* deepfool: the perturbation is lengthened by this part */
  uint64_t seed;
} ep_adversary_opt;

/* One sample under attack. */
typedef struct ep_adversary {
  const ep_graph *g;
  const ep_adversary_opt *opt;
  const float *x; /* [n] */
  uint32_t n, n_class, label;
  ep_scratch *s;
  ep_rng rng;
  uint64_t n_grad; /* gradients taken so far */
  float *best;     /* [n]: where the result goes */
  bool is_found;
} ep_adversary;

typedef struct ep_attack_kind {
  const char *name, *help;
  bool is_minimal;
  ep_status (*run)(ep_adversary *a);
} ep_attack_kind;
extern const ep_attack_kind ep_attack_kinds[];
extern const size_t ep_n_attack_kinds;
const ep_attack_kind *ep_attack_kind_find(const char *name);

/* What became of one sample. Distances are those of `adv` from the sample; 0 when nothing was found. */
typedef struct ep_adversary_result {
  bool is_wrong, is_found; /* misclassified without any attack: not attacked */
  uint32_t predicted, fooled;
  uint64_t n_grad;
  double l0, l1, l2, linf, norm2, norm_inf; /* the last two: of the sample itself */
} ep_adversary_result;

/* Attacks samples x[count][n] with labels, spread over the pool; adv[count][n] gets the points found (else copies of
 * the samples). The results do not depend on the number of threads. */
ep_status ep_adversary_run(const ep_attack_kind *kind, const ep_graph *g, const ep_adversary_opt *opt, size_t count,
                           const float *x, const uint32_t *label, ep_pool *pool, float *adv, ep_adversary_result *out);

/* ---- for attacks ---- */

/* Losses whose ascent leads away from the label: value and gradient in the scores y[n_class]. */
typedef float (*ep_adversary_loss)(const ep_adversary *a, const float *y, float *gy);
float ep_adversary_cross_entropy(const ep_adversary *a, const float *y, float *gy);
float ep_adversary_dlr(const ep_adversary *a, const float *y, float *gy); /* difference of logits ratio */
/* Scores y[batch][n_class] (may be NULL), losses and gradients gx[batch][n] at x[batch][n]. */
ep_status ep_adversary_ascend(ep_adversary *a, size_t batch, const float *x, ep_adversary_loss loss, float *y,
                              float *value, float *gx);
/* Scores y[n_class] and the gradients of all of them, gx[n_class][n], at one point. */
ep_status ep_adversary_jacobian(ep_adversary *a, const float *x, float *y, float *gx);
ep_status ep_adversary_scores(ep_adversary *a, size_t batch, const float *x, float *y);
/* Does another class score at least as high as the label? */
bool ep_adversary_is_fooled(const ep_adversary *a, const float *y);
/* Keeps x as the result. */
void ep_adversary_keep(ep_adversary *a, const float *x);
/* Brings x into the ball of the norm and radius around the sample, and into the valid range. */
void ep_adversary_project(const ep_adversary *a, double radius, float *x);
double ep_adversary_distance(const ep_adversary *a, const float *x);

#define EP_ATTACK(id, name, is_minimal, help) ep_status ep_adversary_##id(ep_adversary *a);
#include "verifier/attacks.def"
#undef EP_ATTACK

#endif
