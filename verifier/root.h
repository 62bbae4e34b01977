/* One query box through the one-shot bounds (ibp, crown, alpha-crown), and what branch and bound starts from: certified
 * bounds of all layers, certified lines, margins of all rows, and the spec rows' optimised slopes. */
#ifndef EP_VERIFIER_ROOT_H
#define EP_VERIFIER_ROOT_H

#include "bounds/ascent.h"
#include "verifier/engine.h"
#include "verifier/spec.h"

typedef enum ep_root_method {
  EP_ROOT_IBP,
  EP_ROOT_FORWARD,
  EP_ROOT_CROWN,
  EP_ROOT_ALPHA,
  EP_ROOT_ROWS /* the spec rows alone, optimised over the bounds and lines there are */
} ep_root_method;

typedef struct ep_root {
  ep_run *run;
  uint32_t box;
  ep_plan *plan;
  ep_spec spec;
  ep_trace_itv bounds; /* batch 1, certified */
  ep_relax_f64 relax;  /* certified lines for `bounds` */
  double *margin;      /* [n_row] best certified margin so far, -inf at first */
  ep_snet net;         /* after ALPHA or ROWS: the search net of these bounds ... */
  float **slopes;      /* ... and the spec rows' optimised slopes, [n_row] of [net.n_u], NULL for rows proved before */
  bool has_slopes;     /* both are there */
  uint32_t leaves;     /* of the next refinement (verifier/sweep.c), 0 = none; set with has_slopes */
  ep_arena arena;
  ep_scratch mem;
} ep_root;

/* Sets up plan and rows for box `box` of the run's query. */
ep_status ep_root_create(ep_run *run, uint32_t box, ep_root **out);
void ep_root_destroy(ep_root *root);
/* A root that outlives a phase of a strategy, so that the next one starts from its bounds; {0} = none. Only queries of
 * one box keep theirs. */
typedef struct ep_root_keep {
  ep_root *root;
} ep_root_keep;
/* The kept root of box `box`, or a new one (always when `keep` is NULL); ep_root_close keeps it, or destroys it after
 * what it proved went into the certificate, if one is wanted. */
ep_status ep_root_open(ep_run *run, uint32_t box, ep_root_keep *keep, ep_root **out);
ep_status ep_root_close(ep_root *root, ep_root_keep *keep);
/* Bounds everything with one method (each starts from what earlier ones found), raises the margins, marks polytopes
 * proved in the run. Rows of polytopes already proved are skipped. @sound outward */
ep_status ep_root_bound(ep_root *root, ep_root_method method, const ep_ascent_opt *opt);
/* Smallest over the open polytopes of the box of the largest margin of their rows; INFINITY when none is open. */
double ep_root_worst(const ep_root *root);
/* Bounds all boxes of the query that have open polytopes with one method, one box after the other, and appends the
 * phase. Used by the one-shot engines; `keep` as in ep_root_open. */
ep_status ep_root_sweep(ep_run *run, ep_root_method method, const char *name, ep_root_keep *keep);

#endif
