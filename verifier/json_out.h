/* JSON documents, documented in docs/json.md: UTF-8, keys in a fixed order, a final newline. NaN and infinities, which
 * JSON does not have, become null. The only place that knows the JSON library. */
#ifndef EP_VERIFIER_JSON_OUT_H
#define EP_VERIFIER_JSON_OUT_H

#include <stdio.h>

#include "verifier/evaluate.h"
#include "verifier/report.h"

/* Commands verify, robust and attack. */
ep_status ep_json_out_answer(const ep_session *s, const ep_answer *a, FILE *out);

/* Command inspect; `q` may be NULL. */
ep_status ep_json_out_inspect(const char *path, const ep_graph *g, const ep_query *q, FILE *out);

/* Command bound: output bounds lo/hi[n_y] of one box by one method. Results of a box follow one another. */
typedef struct ep_bound_result {
  uint32_t box;
  const char *method;
  double seconds;
  double *lo, *hi;
} ep_bound_result;
double ep_bound_mean_width(const ep_bound_result *r, uint32_t n_y);
ep_status ep_json_out_bound(const char *path, const ep_graph *g, const ep_query *q, size_t n,
                            const ep_bound_result *results, FILE *out);

/* Command eval: all samples and those of each class. */
ep_status ep_json_out_eval(const char *path, const ep_graph *g, const ep_config *cfg, const ep_eval_counts *all,
                           uint32_t n_class, const ep_eval_counts *by_class, double seconds, FILE *out);

#endif
