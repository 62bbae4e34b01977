/* Attacks on single samples of a classifier, for study and for pictures: a registry (attacks.def), float32 gradients,
 * budgets counted in gradients. They look for a point that the network puts into another class; nothing here is a
 * verdict (replay.h is), but what is found is a float32 input in the valid range whose class was evaluated.
 *
 * An attack is a rule of steps: it says which points it wants to see next and is then told scores and gradients there.
 * Evaluation, batches over many samples, judging and keeping what is found, and the budget are done once, outside. */
#ifndef EP_VERIFIER_ADVERSARY_H
#define EP_VERIFIER_ADVERSARY_H

#include "kernels/pool.h"
#include "kernels/rng.h"
#include "models/graph.h"
#include "verifier/walk.h"

typedef enum ep_norm { EP_NORM_LINF, EP_NORM_L2 } ep_norm;

typedef struct ep_adversary_opt {
  ep_norm norm;
  double epsilon;          /* < 0: none given (only minimal attacks, and fgsm) */
  double clip_lo, clip_hi; /* valid range; infinite = none */
  uint32_t steps, restarts;
  uint32_t n_rival; /* deepfool, fab: only the label and so many classes that score best at the sample are considered */
  uint64_t budget;  /* gradients per sample; 0 = no limit */
  double overshoot; /* deepfool: the perturbation is lengthened by this part */
  bool is_own_class; /* attacks the network's own class of each sample, whatever the label */
  uint64_t seed;
} ep_adversary_opt;

typedef enum ep_adversary_want { EP_WANT_SCORES, EP_WANT_GRADIENT, EP_WANT_JACOBIAN } ep_adversary_want;
typedef struct ep_attack_kind ep_attack_kind;
typedef struct ep_adversary ep_adversary;

/* Losses whose descent leads away from the label: value and gradient in the scores y[n_class] of point `row`. */
typedef float (*ep_adversary_loss)(const ep_adversary *a, uint32_t row, const float *y, float *gy);

/* One sample under attack. */
struct ep_adversary {
  const ep_graph *g;
  const ep_adversary_opt *opt;
  const float *x; /* [n] */
  uint32_t n, n_class, label;
  const float *y0;      /* [n_class] scores at x */
  const uint32_t *rank; /* [n_class] the other classes, best score at x first; the label comes last */
  ep_rng rng;

  /* Set by the attack: at its start, and by each step for the next look. */
  ep_adversary_want want;
  ep_adversary_loss loss; /* for EP_WANT_GRADIENT */
  uint32_t n_rival;       /* for EP_WANT_JACOBIAN: rows are rank[0..n_rival-1], then the label */
  uint32_t n_row;         /* points to be seen, never more than at the start */
  float *at;              /* [n_row][n] */
  void (*step)(ep_adversary *a);
  void *state;
  bool is_minimal;      /* what is found may be lengthened by a hair; else it must stay in the ball */
  bool ends_when_found; /* set to !is_minimal before the start */
  bool is_done;

  /* Told before each step: scores y[n_row][n_class]; value[n_row] and grad[n_row][n] of the loss; or the Jacobian
   * grad[n_row][n_rival + 1][n]. */
  const float *y, *value, *grad;

  /* The result so far: of the points that fool, the nearest in opt->norm. */
  float *best; /* [n] */
  double distance;
  bool is_found;
  uint64_t n_grad;
};

struct ep_attack_kind {
  const char *name, *help;
  bool is_minimal;
  /* Prepares `a` (label, x, y0, rank, rng are set); memory from `s`, which lives as long as the attack. */
  ep_status (*start)(ep_adversary *a, ep_scratch *s);
};
extern const ep_attack_kind ep_attack_kinds[];
extern const size_t ep_n_attack_kinds;
const ep_attack_kind *ep_attack_kind_find(const char *name);

/* What became of one sample. Distances are those of `adv` from the sample; 0 when nothing was found. */
typedef struct ep_adversary_result {
  bool is_wrong, is_found; /* is_wrong: misclassified without any attack, and not attacked unless is_own_class */
  uint32_t predicted, fooled;
  uint64_t n_grad;
  double l0, l1, l2, linf, norm2, norm_inf; /* the last two: of the sample itself */
} ep_adversary_result;

/* Attacks samples x[count][n] with labels, in groups spread over the pool; adv[count][n] gets the points found (else
 * copies of the samples). The results do not depend on the number of threads. Sample i draws from stream i of the seed.
 */
ep_status ep_adversary_run(const ep_attack_kind *kind, const ep_graph *g, const ep_adversary_opt *opt, size_t count,
                           const float *x, const uint32_t *label, ep_pool *pool, float *adv, ep_adversary_result *out);

/* ---- for attacks ---- */

float ep_adversary_cross_entropy(const ep_adversary *a, uint32_t row, const float *y, float *gy);
/* Difference of logits ratio, against the best other class. */
float ep_adversary_dlr(const ep_adversary *a, uint32_t row, const float *y, float *gy);
/* The same against class rank[row % (n_class - 1)], over y_1 - (y_3 + y_4)/2. */
float ep_adversary_dlr_targeted(const ep_adversary *a, uint32_t row, const float *y, float *gy);
/* Does another class score at least as high as the label? */
bool ep_adversary_is_fooled(const ep_adversary *a, const float *y);
double ep_adversary_distance(const ep_adversary *a, const float *x);
/* Brings x into the valid range. */
void ep_adversary_clip(const ep_adversary *a, float *x);
/* Of the rivals' boundaries f_k = f_label, linearised by the Jacobian at point 0, the nearest one in the norm: class
 * k's row. *size = |w|_q of w = that row less the label's, 1/p + 1/q = 1, and *gap = f_k - f_label there, so that it is
 * |gap|/size away. NULL when all are flat. */
const float *ep_adversary_nearest(const ep_adversary *a, double *size, double *gap);
/* Where points may be within a radius of the sample, in opt->norm. A step of length 1 crosses the ball (walk.h). */
typedef struct ep_adversary_ball {
  ep_walk walk;
  double *lo, *hi;
  float *width; /* NULL: l2 */
} ep_adversary_ball;
ep_status ep_adversary_ball_init(const ep_adversary *a, double radius, ep_adversary_ball *ball, ep_scratch *s);
void ep_adversary_ball_set(const ep_adversary *a, double radius, ep_adversary_ball *ball);

#define EP_ATTACK(id, name, is_minimal, help) ep_status ep_adversary_##id(ep_adversary *a, ep_scratch *s);
#include "verifier/attacks.def"
#undef EP_ATTACK

#endif
