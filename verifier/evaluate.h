/* Robust accuracy of a classifier on a data set: for one sample, which cheap or complete method settles the question
 * whether another class can win within the ball; for many, counts and an exact confidence interval. Verdicts come from
 * the engines (engine.h), so `unsat` is certified and `sat` replayed. */
#ifndef EP_VERIFIER_EVALUATE_H
#define EP_VERIFIER_EVALUATE_H

#include "verifier/engine.h"

/* How far one sample got. Each stage runs only when those before it left the question open. */
typedef enum ep_eval_outcome {
  EP_EVAL_WRONG,    /* misclassified as it is */
  EP_EVAL_IBP,      /* proved by intervals */
  EP_EVAL_CROWN,    /* proved by one CROWN pass */
  EP_EVAL_ATTACKED, /* refuted by the gradient attack */
  EP_EVAL_ALPHA,    /* proved by optimised slopes */
  EP_EVAL_PROVED,   /* proved by the engine of --engine within the budget */
  EP_EVAL_REFUTED,  /* refuted by it */
  EP_EVAL_OPEN,     /* undecided within the budget */
  EP_N_EVAL_OUTCOME
} ep_eval_outcome;
/* "wrong", "ibp", .. as in records. */
const char *ep_evaluate_text(ep_eval_outcome o);
/* The outcome called `text` (n characters); EP_N_EVAL_OUTCOME when there is none. */
ep_eval_outcome ep_evaluate_parse(const char *text, size_t n);
static inline bool ep_evaluate_is_proved(ep_eval_outcome o) {
  return o == EP_EVAL_IBP || o == EP_EVAL_CROWN || o == EP_EVAL_ALPHA || o == EP_EVAL_PROVED;
}
static inline bool ep_evaluate_is_refuted(ep_eval_outcome o) { return o == EP_EVAL_ATTACKED || o == EP_EVAL_REFUTED; }

/* The network's class for x[n_input]: the largest score, EP_NO_CLASS when two tie for it (nothing wins then). */
#define EP_NO_CLASS UINT32_MAX
ep_status ep_evaluate_predict(const ep_graph *g, const float *x, ep_scratch *s, uint32_t *predicted);
/* Settles one sample: x[n_input] exactly, ball of radius cfg->epsilon in the input's own units, cut to
 * [clip_lo, clip_hi]. The last stage ends after cfg->timeout seconds. EP_E_STOPPED when interrupted. */
ep_status ep_evaluate_sample(ep_ctx *ctx, const ep_graph *g, const float *x, uint32_t label, double clip_lo,
                             double clip_hi, const ep_config *cfg, ep_pool *pool, ep_eval_outcome *out);
/* Counts over samples. Certified ones are cumulative: crown holds those of ibp, and so on. */
typedef struct ep_eval_counts {
  uint64_t n, natural, attacked, ibp, crown, alpha, verified; /* attacked: not refuted by the gradient attack */
  uint64_t outcome[EP_N_EVAL_OUTCOME];
} ep_eval_counts;
/* Exact (Clopper-Pearson) confidence interval for k successes of n at level 1 - alpha; ends are rounded outward by the
 * bisection's last step. n = 0 gives [0, 1]. @sound estimate (about 1e-9) */
void ep_evaluate_interval(uint64_t k, uint64_t n, double alpha, double *lo, double *hi);

#endif
