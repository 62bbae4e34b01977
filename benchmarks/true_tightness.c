/* True tightness of intervals on small networks: the exact range of margins over a ball, enclosed by the complete
 * verifier (bisection: one end proved, the other replayed), over the range that interval propagation gives, beside the
 * local tightness that needs no solver. usage: true_tightness NET.onnx DATA EPSILON [COUNT [MARGINS]]   (10 samples
 * that are classified rightly, 3 margins each: to the classes with the next highest scores) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/tightness.h"
#include "models/data.h"
#include "models/eval.h"
#include "models/onnx.h"
#include "verifier/engine.h"

enum { MAX_CLASS = 64 };
#define TIMEOUT_S 5.0
#define PRECISION 0.01 /* of the interval's width */

typedef struct job {
  ep_ctx *ctx;
  ep_graph *g;
  ep_config cfg;
  ep_pool *pool;
  ep_scratch s;
  uint32_t n, n_y;
  double *x, *rad, *lo, *hi;
} job;

static void must(const job *j, ep_status st) {
  if (st == EP_OK) return;
  fprintf(stderr, "true_tightness: %s\n", ep_ctx_error(j->ctx).text);
  exit(2);
}

/* Is there a point of the box with sign * (score of label - score of c) <= t? *margin = one such value of it. */
static ep_verdict ask(job *j, const double *lo, const double *hi, uint32_t label, uint32_t c, double sign, double t,
                      double *margin) {
  const uint32_t var[2] = {label, c};
  const double coef[2] = {sign, -sign};
  ep_query_builder *b;
  ep_query *q;
  ep_run run;
  must(j, ep_query_builder_create(j->ctx, j->n, j->n_y, &b));
  must(j, ep_query_builder_box(b, lo, hi));
  must(j, ep_query_builder_polytope(b));
  must(j, ep_query_builder_row(b, 2, var, coef, t, false));
  must(j, ep_query_builder_finish(b, "margin", &q));
  ep_query_builder_destroy(b);
  must(j, ep_run_init(&run, j->ctx, j->g, q, &j->cfg, j->pool));
  ep_ctx_set_deadline(j->ctx, ep_time_s() + TIMEOUT_S);
  must(j, ep_run_engine(&run, ep_engine_find("auto")));
  ep_ctx_set_deadline(j->ctx, 0);
  ep_verdict v = run.result.verdict;
  if (v == EP_SAT) *margin = sign * ((double)run.result.witness.y[label] - (double)run.result.witness.y[c]);
  ep_run_clear(&run);
  ep_query_destroy(q);
  return v;
}

/* Smallest value of sign * margin over the box, between what is proved and what was found; false when time ran out. */
static bool smallest(job *j, uint32_t label, uint32_t c, double sign, double proved, double found, double width,
                     double *out) {
  bool is_closed = true;
  while (found - proved > PRECISION * width && is_closed) {
    double at = 0.5 * (proved + found), seen = found;
    switch (ask(j, j->lo, j->hi, label, c, sign, at, &seen)) {
    case EP_UNSAT:
      proved = at;
      break;
    case EP_SAT:
      found = fmin(seen, at);
      break;
    default:
      is_closed = false;
    }
  }
  *out = 0.5 * (proved + found);
  return is_closed;
}

/* Interval of the margin with the last layer merged into the difference of scores. */
static void interval(job *j, const ep_trace_itv *t, uint32_t label, uint32_t c, double *lo, double *hi) {
  const ep_node *last = &j->g->node[j->g->n_node - 1];
  const ep_affine *a = &last->low.is.affine;
  uint32_t n = a->A[0].n_in, rows[2] = {label, c};
  double *w = EP_SCRATCH(&j->s, double, 2 * (size_t)n);
  if (!w) exit(3);
  ep_linop_rows_f64(&a->A[0], 2, rows, w, false);
  *lo = *hi = a->bias ? a->bias[label] - a->bias[c] : 0;
  for (uint32_t i = 0; i < n; i++) {
    double d = w[i] - w[n + i], l = t->lo[last->in[0]][i], h = t->hi[last->in[0]][i];
    *lo += d > 0 ? d * l : d * h;
    *hi += d > 0 ? d * h : d * l;
  }
}

/* Classes other than the label, the highest scores first. */
static void by_score(uint32_t n_y, const double *y, uint32_t label, uint32_t *order) {
  uint32_t n = 0;
  for (uint32_t c = 0; c < n_y; c++) {
    if (c == label) continue;
    uint32_t k = n++;
    for (; k > 0 && y[order[k - 1]] < y[c]; k--) order[k] = order[k - 1];
    order[k] = c;
  }
}

typedef struct sums {
  double exact, local;
  uint32_t n_sample, n_margin, n_open;
} sums;

static void one_sample(job *j, const float *x, uint32_t label, double epsilon, uint32_t n_margin, sums *s) {
  ep_scratch_mark m = ep_scratch_save(&j->s);
  ep_trace_f64 at;
  ep_trace_itv t;
  uint32_t order[MAX_CLASS];
  double tau[MAX_CLASS];
  for (uint32_t i = 0; i < j->n; i++) {
    j->x[i] = (double)x[i];
    j->lo[i] = fmax(j->x[i] - epsilon, 0);
    j->hi[i] = fmin(j->x[i] + epsilon, 1);
    j->rad[i] = 0.5 * (j->hi[i] - j->lo[i]);
  }
  must(j, ep_eval_f64(j->g, 1, j->x, &j->s, &at));
  const double *y = at.v[j->g->output];
  by_score(j->n_y, y, label, order);
  if (y[order[0]] < y[label]) {
    s->n_sample++;
    must(j, ep_eval_itv(j->g, 1, j->lo, j->hi, &j->s, &t));
    must(j, ep_tightness_at(j->g, j->x, j->rad, label, false, &j->s, tau));
    for (uint32_t k = 0; k < n_margin && k + 1 < j->n_y; k++) {
      double lo, hi, low, high, centre = y[label] - y[order[k]];
      interval(j, &t, label, order[k], &lo, &hi);
      bool is_closed = smallest(j, label, order[k], 1, lo, centre, hi - lo, &low);
      is_closed = smallest(j, label, order[k], -1, -hi, -centre, hi - lo, &high) && is_closed;
      s->n_margin++;
      s->n_open += !is_closed;
      s->exact += (-high - low) / (hi - lo);
      s->local += tau[order[k]];
    }
  }
  ep_scratch_restore(&j->s, m);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fputs("usage: true_tightness NET.onnx DATA EPSILON [COUNT [MARGINS]]\n", stderr);
    return 1;
  }
  double epsilon = strtod(argv[3], NULL);
  uint32_t count = argc > 4 ? (uint32_t)atoi(argv[4]) : 10, n_margin = argc > 5 ? (uint32_t)atoi(argv[5]) : 3;
  job j = {.ctx = ep_ctx_create()};
  ep_data d;
  sums s = {0};
  if (!j.ctx) return 3;
  ep_config_default(&j.cfg);
  j.cfg.restarts = 2; /* most answers are near the edge: searching long before proving does not pay */
  j.cfg.steps = 20;
  must(&j, ep_onnx_read(j.ctx, argv[1], &j.g));
  must(&j, ep_data_load(j.ctx, argv[2], NULL, EP_DATA_TEST, &d));
  must(&j, ep_pool_create(j.ctx, 0, &j.pool));
  ep_scratch_init(&j.s, j.ctx);
  j.n = j.g->val[j.g->input].n;
  j.n_y = j.g->val[j.g->output].n;
  if (d.n_in != j.n || d.n_class > j.n_y || j.n_y > MAX_CLASS) {
    fputs("true_tightness: network and data do not fit\n", stderr);
    return 2;
  }
  double **rooms[] = {&j.x, &j.rad, &j.lo, &j.hi};
  for (int k = 0; k < 4; k++)
    if (!(*rooms[k] = ep_alloc(j.ctx, j.n * sizeof(double)))) return 3;
  for (size_t i = 0; i < d.n && s.n_sample < count; i++)
    one_sample(&j, d.x + i * d.n_in, d.label[i], epsilon, n_margin, &s);
  printf("%.4g,%.4g,%u,%u\n", s.exact / s.n_margin, s.local / s.n_margin, s.n_margin, s.n_open);
  for (int k = 0; k < 4; k++) ep_free(j.ctx, *rooms[k]);
  ep_scratch_clear(&j.s);
  ep_pool_destroy(j.pool);
  ep_data_clear(&d);
  ep_graph_destroy(j.g);
  ep_ctx_destroy(j.ctx);
  return 0;
}
