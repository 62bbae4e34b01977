/* The Boolean part of a neutral problem as clauses only (DIMACS literals): cardinalities become one of three encodings,
 * each an equivalence with its head.
 *
 *   sequential counter   Sinz 2005: 4 clauses per literal and count, propagates fully; n*k
 *   totalizer            Bailleux & Boufkhad 2003, cut at k: propagates fully; n*k*log n clauses or less
 *   adder                parallel counter and comparator (Sinz 2005, Warners 1998): about 14 n clauses, propagates
 * little
 *
 * EP_CARD_AUTO takes, per cardinality, the counter or totalizer with fewer clauses while that stays below a limit, else
 * the adder. "At least k of n" is turned into "fewer than n-k+1 of the negated ones" when that k is smaller. */
#ifndef EP_ENCODERS_CNF_H
#define EP_ENCODERS_CNF_H

#include <stdio.h>

#include "encoders/prob.h"

typedef enum ep_card_encoding { EP_CARD_AUTO, EP_CARD_COUNTER, EP_CARD_TOTALIZER, EP_CARD_ADDER } ep_card_encoding;

typedef struct ep_cnf {
  ep_ctx *ctx;
  uint32_t n_var;    /* DIMACS variables 1..n_var; 1 + b is Boolean b of the problem */
  uint64_t n_clause; /* clauses in lit, each ended by 0 */
  size_t n_lit;
  int32_t *lit;
  size_t cap;
  uint32_t n_by[4]; /* cardinalities per encoding used (index EP_CARD_AUTO unused) */
} ep_cnf;

/* EP_E_LIMIT beyond 2^30 variables. @sound exact */
ep_status ep_cnf_create(const ep_prob *p, ep_card_encoding encoding, ep_cnf **out);
void ep_cnf_destroy(ep_cnf *cnf);
static inline int32_t ep_cnf_literal(ep_lit l) { return l & 1 ? -(int32_t)(l / 2 + 1) : (int32_t)(l / 2 + 1); }

/* DIMACS; OPB (pseudo-Boolean competition format) keeps cardinalities as they are. */
ep_status ep_write_cnf(const ep_cnf *cnf, const char *comment, FILE *out);
ep_status ep_write_opb(const ep_prob *p, const char *comment, FILE *out);

#endif
