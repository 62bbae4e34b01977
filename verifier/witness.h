/* Counterexample files: the VNN-COMP text form ((X_0 v) ... (Y_0 v) ...) and NumPy's .npy for the input alone. */
#ifndef EP_VERIFIER_WITNESS_H
#define EP_VERIFIER_WITNESS_H

#include <stdio.h>

#include "verifier/replay.h"

/* Writes the text form with 17 significant digits, so that reading it gives the very same numbers. */
ep_status ep_witness_print(ep_ctx *ctx, FILE *f, const ep_query *q, const ep_witness *w);
/* The VNN-LIB standard's form: for the query's input, then its output, a line "NAME TYPE SHAPE" and a line per element,
 * decimals without exponent that name the very same number. Names are X and Y where the query declares none. */
ep_status ep_witness_print_assignment(ep_ctx *ctx, FILE *f, const ep_query *q, const ep_witness *w);
/* The same as tensors (ONNX TensorProto) in files DIR/NAME.pb; makes the folder when it is not there. */
ep_status ep_witness_serialise(ep_ctx *ctx, const char *dir, const ep_query *q, const ep_witness *w);
/* Writes `path`: .npy by suffix, the text form otherwise. */
ep_status ep_witness_write(ep_ctx *ctx, const char *path, const ep_query *q, const ep_witness *w);
/* Reads the text form into x[n_x] and y[n_y]; every variable must be there once, nothing else. */
ep_status ep_witness_read(ep_ctx *ctx, const char *path, uint32_t n_x, uint32_t n_y, double *x, double *y);

/* What a witness satisfies, exactly: the box that holds x (slack 0), and a polytope of it that (x, y) satisfies.
 * Box index or UINT32_MAX. @sound exact */
uint32_t ep_witness_check(const ep_query *q, const double *x, const double *y);

#endif
