/* The neutral problem: what any solver back end gets to see, and all it ever sees. Variables with bounds, linear rows,
 * disjunctions of row sets ("pieces"), goals (row sets tried one at a time), and a Boolean part of clauses and reified
 * cardinalities. encoders/network.h makes one from a graph and certified boxes, encoders/binary.h from a binarised
 * network; a new operator or a new back end never meets the other kind.
 *
 * Real variables and Boolean ones are numbered separately. Numbers are doubles that stand for themselves exactly; where
 * a weight is only known with an error the row is a range that contains the truth, and `is_exact` becomes false. The
 * solutions of the problem then are a superset of the network's behaviours, never less. */
#ifndef EP_ENCODERS_PROB_H
#define EP_ENCODERS_PROB_H

#include "kernels/arena.h"
#include "kernels/itv.h"

#define EP_NO_VAR UINT32_MAX
enum { EP_DECIMAL_MAX = 1400 };

#define EP_ORIGIN_COPY (UINT32_MAX - 1)   /* another name of a variable; element = which */
#define EP_ORIGIN_BINARY (UINT32_MAX - 2) /* 0 or 1 (integer); element = a number of its own */

/* lo <= sum coef*var <= hi; a strict side excludes equality (meaningless for infinite sides). No variable occurs
 * twice, no coefficient is 0. */
typedef struct ep_prob_row {
  uint32_t n;
  const uint32_t *var;
  const double *coef;
  double lo, hi;
  bool is_lo_strict, is_hi_strict;
  bool is_implied; /* follows from the other rows and the disjunctions: for linear relaxations */
} ep_prob_row;

/* Exactly the rows row[first..first+n) hold. */
typedef struct ep_prob_choice {
  uint32_t first, n;
} ep_prob_choice;

/* At least one of the choices holds. For a function of one variable: arg -> out, choices in order of the argument. */
typedef struct ep_prob_disj {
  uint32_t first, n; /* choice[first..first+n) */
  uint32_t arg, out; /* variables it ties together; arg = EP_NO_VAR for a maximum of several */
  uint32_t value, element;
} ep_prob_disj;

/* A literal: 2*b for Boolean variable b, 2*b+1 for its negation. */
typedef uint32_t ep_lit;
#define EP_LIT(b, is_negated) ((ep_lit)(2 * (b) + ((is_negated) ? 1u : 0u)))
#define EP_LIT_NO UINT32_MAX
static inline ep_lit ep_lit_not(ep_lit l) { return l ^ 1u; }

typedef struct ep_prob_clause {
  uint32_t n;
  const ep_lit *lit;
} ep_prob_clause;
/* head <-> (at least k of lit[0..n) are true); head = EP_LIT_NO asserts it. 0 < k <= n. */
typedef struct ep_prob_card {
  ep_lit head;
  uint32_t n, k;
  const ep_lit *lit;
} ep_prob_card;

typedef struct ep_prob {
  ep_ctx *ctx;
  ep_arena arena;
  uint32_t n_var, n_row, n_choice_row, n_choice, n_disj, n_goal, n_goal_row, n_bool, n_clause, n_card;
  double *lo, *hi; /* [n_var] bounds of the variables, certified for the network's values; may be infinite */
  ep_prob_row *row;
  ep_prob_row *choice_row;
  ep_prob_choice *choice;
  ep_prob_disj *disj;
  ep_prob_choice *goal; /* goal g is the rows goal_row[first..first+n) */
  ep_prob_row *goal_row;
  ep_prob_clause *clause;
  ep_prob_card *card;
  bool is_exact; /* no row was widened for an inexact weight */
  /* [n_var] graph value (or EP_ORIGIN_...) and element that a variable stands for; its name in files comes from there.
   */
  uint32_t *origin_value, *origin_element;
  uint32_t input_value, output_value; /* graph values whose elements are called X_i and Y_i */
  uint32_t *mark;                     /* [n_var] work space of ep_prob_add */
  size_t cap_var, cap_row, cap_choice_row, cap_choice, cap_disj, cap_goal, cap_goal_row, cap_clause, cap_card;
} ep_prob;

ep_status ep_prob_create(ep_ctx *ctx, ep_prob **out);
void ep_prob_destroy(ep_prob *p);

/* A new real variable within [lo,hi] that stands for element `element` of graph value `value`. */
ep_status ep_prob_var(ep_prob *p, double lo, double hi, uint32_t value, uint32_t element, uint32_t *out);
/* Where rows go. Rows of a choice or goal belong to the one opened last. */
typedef enum ep_prob_place { EP_PLACE_ALWAYS, EP_PLACE_CHOICE, EP_PLACE_GOAL } ep_prob_place;
/* Adds a row (copied). Repeated variables are merged: where the sum of two coefficients is not a double, a copy of the
 * variable takes the second. @sound exact */
ep_status ep_prob_add(ep_prob *p, ep_prob_place place, const ep_prob_row *row);
/* Opens a disjunction; then per choice ep_prob_open_choice and its rows. */
ep_status ep_prob_open_disj(ep_prob *p, uint32_t arg, uint32_t out, uint32_t value, uint32_t element);
ep_status ep_prob_open_choice(ep_prob *p);
ep_status ep_prob_open_goal(ep_prob *p);
/* Boolean part. */
uint32_t ep_prob_bool(ep_prob *p);
ep_status ep_prob_clause_add(ep_prob *p, uint32_t n, const ep_lit *lit);
ep_status ep_prob_card_add(ep_prob *p, ep_lit head, uint32_t n, const ep_lit *lit, uint32_t k);

/* The variable's name in exported files: X_i, Y_i, v<value>_<element>, c<copy>, b<binary>. Returns buf. */
const char *ep_prob_var_name(const ep_prob *p, uint32_t var, char *buf, size_t n);
/* Range of the row's sum over the variables' bounds. @sound outward */
ep_itv ep_prob_row_range(const ep_prob *p, const ep_prob_row *row);
/* Writes x as an exact decimal number without exponent ("-0.75"); returns its length, below n. EP_DECIMAL_MAX
 * bytes are enough for any double. @sound exact */
size_t ep_prob_decimal(double x, char *buf, size_t n);

#endif
