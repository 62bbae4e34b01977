/* Neutral problems as files for other solvers. The problem's goals, if any, are alternatives: the file is satisfiable
 * when one of them is reachable (ep_prob_close_goals makes that part of the problem).
 *
 * smt2: SMT-LIB 2, QF_LRA, exact decimals: the same answers as over the problem itself. lp (CPLEX LP) and mps (free
 * MPS): a mixed-integer program with one binary per choice; double-precision decimals, strict rows become non-strict
 * ones (solutions a superset: "infeasible" still means unsat). */
#ifndef EP_ENCODERS_WRITE_H
#define EP_ENCODERS_WRITE_H

#include <stdio.h>

#include "encoders/prob.h"

/* Makes "one of the goals" part of the problem: a disjunction over them, plain rows where there is only one, a
 * contradiction where there is none. */
ep_status ep_prob_close_goals(ep_prob *p);
/* Forgets the disjunctions, of which only the implied rows remain: the linear relaxation, a superset. */
void ep_prob_relax(ep_prob *p);
/* The problem as a mixed-integer program: every disjunction's choices get binaries (one for two choices), their rows a
 * big M from the variables' bounds, rounded up. EP_E_UNSUPPORTED when a variable is unbounded. `*n_strict` counts rows
 * that lost their strictness. @sound outward */
ep_status ep_prob_big_m(const ep_prob *p, ep_prob **out, uint32_t *n_strict);

/* Writers for a problem without goals; lp and mps for one without disjunctions. `comment` (may have several lines) goes
 * on top. EP_E_IO when the stream reports an error. */
ep_status ep_write_smt2(const ep_prob *p, const char *comment, FILE *out);
ep_status ep_write_lp(const ep_prob *p, const char *comment, FILE *out);
ep_status ep_write_mps(const ep_prob *p, const char *comment, FILE *out);

#endif
