/* A query of one box as a VNN-LIB 1.0 file, for what was asked by flags: every number is written exactly, so that what
 * reads it has the same outward box and the same polytopes in the same order. */
#ifndef EP_VERIFIER_VNNLIB_WRITE_H
#define EP_VERIFIER_VNNLIB_WRITE_H

#include "bounds/proof.h"
#include "verifier/query.h"

/* Appends the text. EP_E_UNSUPPORTED for several boxes, rows of more than two terms or with numbers that are no
 * doubles.
 * @sound outward (the box is the query's outward one) */
ep_status ep_vnnlib_write(const ep_query *q, ep_bytes *out);

#endif
