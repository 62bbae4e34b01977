/* Terms and formulas of VNN-LIB assertions, as both versions of the language have them: linear terms with +, -, * (in
 * version 1 also /), comparisons, and, or. What names a variable is the version's own business, see `variable`. */
#ifndef EP_VERIFIER_VNNLIB_EXPR_H
#define EP_VERIFIER_VNNLIB_EXPR_H

#include "verifier/vnnlib_dnf.h"

typedef struct ep_vnn_parser ep_vnn_parser;
struct ep_vnn_parser {
  ep_ctx *ctx;
  ep_lex lex;
  ep_vnn_store store;
  uint32_t n_x, n_y;
  ep_vnn_dnf *asserts; /* one per assertion */
  size_t n_assert, cap_assert;
  /* Does the current token name a variable (even = X, odd = Y)? Then it is taken and *v is it. */
  ep_status (*variable)(ep_vnn_parser *p, bool *is_variable, uint32_t *v);
  void *names;      /* what `variable` looks into */
  bool is_v2;       /* VNN-LIB 2: ==, !=, no quotients, and a comparison must hold a variable */
  bool is_float32;  /* 2: variables of type float32, hence numbers and operations as well */
  uint32_t n_round; /* of the comparison under way: float32 operations */
};

/* Before the lexer is opened; frees everything, the lexer included. */
void ep_vnn_parser_init(ep_vnn_parser *p, ep_ctx *ctx);
void ep_vnn_parser_clear(ep_vnn_parser *p);

#define EP_VNN_FAIL(p, ...) ep_lex_fail(&(p)->lex, EP_E_SYNTAX, __VA_ARGS__)
static inline ep_status ep_vnn_next(ep_vnn_parser *p) { return ep_lex_next(&p->lex); }
/* The current token as text for messages. */
const char *ep_vnn_found(const ep_vnn_parser *p);
bool ep_vnn_is_atom(const ep_vnn_parser *p, const char *text);
/* Takes the current token; EP_E_SYNTAX "expected WHAT" when it is another. */
ep_status ep_vnn_expect(ep_vnn_parser *p, ep_token tok, const char *what);
/* From "assert" to its closing bracket, both included: appends to p->asserts. */
ep_status ep_vnn_assertion(ep_vnn_parser *p);

#endif
