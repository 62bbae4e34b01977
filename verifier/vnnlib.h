/* VNN-LIB 1.0 reader (SMT-LIB subset): X_i, Y_j declared Real; assertions with <=, <, >=, >, =, and, or, nested at
 * will; linear terms with +, -, *, unary minus and decimal or rational literals. Streamed, plain or gzipped, brought
 * into the normal form of query.h. What is not understood is refused with file, line and column; no assertion is ever
 * dropped; strictness is kept. */
#ifndef EP_VERIFIER_VNNLIB_H
#define EP_VERIFIER_VNNLIB_H

#include "verifier/query.h"

/* Caps against hostile input, each reported by name: nesting depth, variables, conjuncts of the DNF, comparisons
 * copied while it is distributed. */
#define EP_VNNLIB_MAX_DEPTH 256u
#define EP_VNNLIB_MAX_VARS (1u << 24)
#define EP_VNNLIB_MAX_CONJUNCTS (1u << 20)
#define EP_VNNLIB_MAX_JOINED (1u << 25)

ep_status ep_vnnlib_read(ep_ctx *ctx, const char *path, ep_query **out);
ep_status ep_vnnlib_read_bytes(ep_ctx *ctx, const char *name, const void *data, size_t n, ep_query **out);

#endif
