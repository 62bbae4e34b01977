/* Query model: the *unsafe* set of a verification question in normal form. `sat` = some input of some box drives the
 * network into one of that box's polytopes (a counterexample); `unsat` = none does, the property holds.
 *
 * Normal form: a union of input boxes, each with a disjunction (DNF) of polytopes over outputs and inputs. Literals are
 * decimal numbers, hence not always doubles: boxes are kept rounded outward (for proofs) and inward (for
 * counterexamples), right-hand sides as enclosing intervals. */
#ifndef EP_VERIFIER_QUERY_H
#define EP_VERIFIER_QUERY_H

#include "kernels/itv.h"
#include "models/graph.h"

/* sum_k coef[k] * var[k] <= rhs, or < rhs when strict. Variables 0..n_y-1 are outputs, n_y + i is input i. */
typedef struct ep_row {
  uint32_t n;
  const uint32_t *var;
  const double *coef;
  double coef_rel_err; /* |true - coef| <= coef_rel_err*|coef|; 0 when all are exact (the usual +-1) */
  ep_itv rhs;          /* encloses the true right-hand side */
  bool is_strict;
} ep_row;

/* A conjunction of rows. No rows = always true (any input of the box is a counterexample). */
typedef struct ep_polytope {
  uint32_t n_row;
  const ep_row *row;
} ep_polytope;

typedef struct ep_input_box {
  const double *lo, *hi;       /* [n_x] outward: contain the exact set */
  const double *lo_in, *hi_in; /* [n_x] inward; the nearest double where the exact interval holds no double */
  bool is_empty;               /* contradictory bounds: contributes nothing */
  bool is_proof_only;          /* lo_in > hi_in somewhere (a double stands in): no point of it may be called sat */
  uint32_t n_poly;
  const ep_polytope *poly;
} ep_input_box;

/* A tensor that a VNN-LIB 2 property declares: its elements, in row-major order, are the inputs (or outputs). */
typedef struct ep_query_tensor {
  const char *name;
  ep_shape shape;
} ep_query_tensor;
typedef struct ep_query_declared {
  const char *network;
  ep_query_tensor x, y;
  bool is_float32; /* type float32: the property is about float32 executions; else real */
} ep_query_declared;

typedef struct ep_query {
  ep_ctx *ctx;
  ep_arena arena;
  uint32_t n_x, n_y;
  uint32_t n_box;
  const ep_input_box *box;
  bool is_empty;    /* every box is empty, or no disjunct: trivially unsat, reported with a warning */
  char sha256[65];  /* of the property file's uncompressed bytes, or of the canonical text of a flag-built query */
  const char *name; /* path, or a description */
  const ep_query_declared *declared; /* of a VNN-LIB 2 file, else NULL */
} ep_query;

void ep_query_destroy(ep_query *q);

/* Builds one by code. `row` data is copied. Robustness and other flag-built queries use these, and so do tests. */
typedef struct ep_query_builder ep_query_builder;
ep_status ep_query_builder_create(ep_ctx *ctx, uint32_t n_x, uint32_t n_y, ep_query_builder **out);
void ep_query_builder_destroy(ep_query_builder *b);
/* Opens a box: bounds as doubles taken exactly. */
ep_status ep_query_builder_box(ep_query_builder *b, const double *lo, const double *hi);
/* The same with separate outward (lo, hi) and inward (lo_in, hi_in) roundings of the exact bounds. */
ep_status ep_query_builder_box4(ep_query_builder *b, const double *lo, const double *hi, const double *lo_in,
                                const double *hi_in);
/* Opens a polytope in the current box, then rows are added to it. */
ep_status ep_query_builder_polytope(ep_query_builder *b);
ep_status ep_query_builder_row(ep_query_builder *b, uint32_t n, const uint32_t *var, const double *coef, double rhs,
                               bool is_strict);
/* The same for a right-hand side known as an enclosure and coefficients off by at most coef_rel_err. */
ep_status ep_query_builder_row_itv(ep_query_builder *b, uint32_t n, const uint32_t *var, const double *coef,
                                   double coef_rel_err, ep_itv rhs, bool is_strict);
ep_status ep_query_builder_finish(ep_query_builder *b, const char *name, ep_query **out);

/* How far outputs y and input x are from the nearest polytope of box `box`: the smallest over its polytopes of their
 * largest row value minus right-hand side; <= 0 = inside one. @sound estimate */
double ep_query_distance(const ep_query *q, uint32_t box, const double *y, const double *x);

/* Are there two boxes with the same outward bounds? They differ in inward ones then: in strictness, or in how a literal
 * that is no double lies. */
ep_status ep_query_has_twin_boxes(ep_ctx *ctx, const ep_query *q, bool *has_twins);

/* Refuses (EP_E_SHAPE, one line) a query whose n_x or n_y, or declared shapes, differ from the network's, and one of
 * type float32 about a network whose input or output is not. */
ep_status ep_query_check(const ep_query *q, const ep_graph *g);

#endif
