#include "verifier/vnnlib_expr.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/decimal.h"
#include "verifier/vnnlib.h"

typedef ep_vnn_parser parser;
typedef ep_vnn_atom atom;
typedef ep_vnn_conj conj;
typedef ep_vnn_dnf dnf;

typedef struct linear {
  uint32_t n, cap;
  uint32_t *var;
  ep_itv *coef;
  ep_itv c;
  const char *literal; /* the text of a lone number that is no double */
} linear;

#define FAIL(p, ...) EP_VNN_FAIL(p, __VA_ARGS__)

void ep_vnn_parser_init(parser *p, ep_ctx *ctx) {
  p->ctx = ctx;
  p->store.lex = &p->lex;
  ep_arena_init(&p->store.arena, ctx);
}

void ep_vnn_parser_clear(parser *p) {
  ep_lex_close(&p->lex);
  ep_arena_clear(&p->store.arena);
  ep_free(p->ctx, p->asserts);
}

const char *ep_vnn_found(const parser *p) { return p->lex.tok == EP_TOK_END ? "end of file" : p->lex.text; }

ep_status ep_vnn_expect(parser *p, ep_token tok, const char *what) {
  if (p->lex.tok != tok) return FAIL(p, "expected %s, found '%.60s'", what, ep_vnn_found(p));
  return ep_vnn_next(p);
}

bool ep_vnn_is_atom(const parser *p, const char *text) {
  return p->lex.tok == EP_TOK_ATOM && !strcmp(p->lex.text, text);
}

/* ---- linear terms ---- */

enum { FEW = 32 }; /* longer terms are sorted once they are complete */

static ep_status add_var(parser *p, linear *l, uint32_t var, ep_itv coef) {
  for (uint32_t i = 0; i < l->n && l->n <= FEW; i++)
    if (l->var[i] == var) {
      l->coef[i] = ep_decimal_add(l->coef[i], coef);
      return EP_OK;
    }
  uint32_t cap = l->cap;
  EP_TRY(ep_vnn_dnf_grow(&p->store, (void **)&l->var, &cap, l->n, sizeof *l->var));
  cap = l->cap;
  EP_TRY(ep_vnn_dnf_grow(&p->store, (void **)&l->coef, &cap, l->n, sizeof *l->coef));
  l->cap = cap;
  l->var[l->n] = var;
  l->coef[l->n++] = coef;
  return EP_OK;
}

static ep_status add_scaled(parser *p, linear *l, const linear *m, ep_itv k) {
  for (uint32_t i = 0; i < m->n; i++) EP_TRY(add_var(p, l, m->var[i], ep_decimal_mul(m->coef[i], k)));
  l->c = ep_decimal_add(l->c, ep_decimal_mul(m->c, k));
  return EP_OK;
}

static void scale(linear *l, ep_itv k) {
  for (uint32_t i = 0; i < l->n; i++) l->coef[i] = ep_decimal_mul(l->coef[i], k);
  l->c = ep_decimal_mul(l->c, k);
}

typedef struct summand {
  uint32_t var, at;
  ep_itv coef;
} summand;

static int by_variable(const void *a, const void *b) {
  const summand *s = a, *t = b;
  return s->var != t->var ? (s->var > t->var) - (s->var < t->var) : (s->at > t->at) - (s->at < t->at);
}

/* Merges what a long term says about each variable, and drops what cancels. */
static ep_status collect(parser *p, linear *l) {
  uint32_t n = l->n;
  if (n > FEW) {
    summand *s = EP_ARENA(&p->store.arena, summand, n);
    if (!s) return EP_E_NOMEM;
    for (uint32_t i = 0; i < n; i++) s[i] = (summand){l->var[i], i, l->coef[i]};
    qsort(s, n, sizeof *s, by_variable);
    l->n = 0;
    for (uint32_t i = 0; i < n; i++)
      if (l->n && l->var[l->n - 1] == s[i].var) {
        l->coef[l->n - 1] = ep_decimal_add(l->coef[l->n - 1], s[i].coef);
      } else {
        l->var[l->n] = s[i].var;
        l->coef[l->n++] = s[i].coef;
      }
  }
  n = 0;
  for (uint32_t i = 0; i < l->n; i++) {
    if (l->coef[i].lo == 0 && l->coef[i].hi == 0) continue;
    l->var[n] = l->var[i];
    l->coef[n++] = l->coef[i];
  }
  l->n = n;
  return EP_OK;
}

static ep_status negated(parser *p, const char *literal, const char **out) {
  size_t n = strlen(literal);
  char *t = ep_arena_alloc(&p->store.arena, n + 2, 1);
  if (!t) return EP_E_NOMEM;
  bool is_signed = *literal == '-' || *literal == '+';
  t[0] = *literal == '-' ? '+' : '-';
  memcpy(t + 1, literal + is_signed, n + 1 - is_signed);
  *out = t;
  return EP_OK;
}

static ep_status term(parser *p, unsigned depth, linear *out);

/* One more argument t of an operation that has `out` so far. */
static ep_status apply(parser *p, char op, linear *out, const linear *t) {
  if (op == '+' || op == '-') return add_scaled(p, out, t, ep_itv_point(op == '+' ? 1 : -1));
  if (op == '*') {
    if (out->n && t->n) return FAIL(p, "product of two variables: only linear terms are supported");
    ep_itv factor = t->n ? out->c : t->c;
    if (t->n) *out = *t;
    scale(out, factor);
    return EP_OK;
  }
  if (t->n || (t->c.lo <= 0 && t->c.hi >= 0)) return FAIL(p, "division by a variable or zero");
  if (out->n)
    scale(out, ep_decimal_div(ep_itv_point(1), t->c));
  else
    out->c = ep_decimal_div(out->c, t->c);
  return EP_OK;
}

/* What one float32 operation makes of an exact result: |fl(x) - x| <= 2^-24 |x| + 2^-150, for a sum of two as well. */
static void round_float32(linear *out) {
  scale(out, (ep_itv){1 - 0x1p-24, 1 + 0x1p-24});
  out->c = ep_decimal_add(out->c, (ep_itv){-0x1p-149, 0x1p-149});
}

static ep_status compound_term(parser *p, unsigned depth, linear *out) {
  char op = p->lex.text[0];
  bool is_op = p->lex.tok == EP_TOK_ATOM && strchr(p->is_v2 ? "+-*" : "+-*/", op) && op && !p->lex.text[1];
  if (!is_op)
    return FAIL(p, "expected '+', '-'%s, found '%.60s'", p->is_v2 ? " or '*'" : ", '*' or '/'", ep_vnn_found(p));
  EP_TRY(ep_vnn_next(p));
  uint32_t k = 0;
  for (; p->lex.tok != EP_TOK_CLOSE; k++) {
    linear t;
    EP_TRY(term(p, depth, &t));
    if (k == 0)
      *out = t;
    else
      EP_TRY(apply(p, op, out, &t));
    if (k > 0 && p->is_float32) round_float32(out);
    p->n_round += k > 0 && p->is_float32;
  }
  if (!k) return FAIL(p, "'%c' without arguments", op);
  if (op == '/' && k == 1) return FAIL(p, "'/' needs two arguments");
  if (op == '-' && k == 1) {
    scale(out, ep_itv_point(-1));
    if (out->literal) EP_TRY(negated(p, out->literal, &out->literal));
  } else if (k > 1) {
    out->literal = NULL;
  }
  return ep_vnn_expect(p, EP_TOK_CLOSE, "')'");
}

static ep_status number(parser *p, linear *out) {
  if (!ep_decimal_parse(p->lex.text, &out->c))
    return FAIL(p, "expected a variable or a number, found '%.60s'", ep_vnn_found(p));
  if (p->is_float32) { /* a number in a float32 query is the nearest float32 */
    float f = strtof(p->lex.text, NULL);
    if (!isfinite(f)) return FAIL(p, "'%.60s' is beyond float32", ep_vnn_found(p));
    out->c = ep_itv_point((double)f);
  } else if (out->c.lo != out->c.hi) {
    out->literal = ep_arena_strdup(&p->store.arena, p->lex.text);
    if (!out->literal) return EP_E_NOMEM;
  }
  return ep_vnn_next(p);
}

static ep_status term(parser *p, unsigned depth, linear *out) {
  uint32_t v;
  bool is_variable;
  *out = (linear){0};
  if (depth >= EP_VNNLIB_MAX_DEPTH) return FAIL(p, "nested deeper than %u", EP_VNNLIB_MAX_DEPTH);
  if (p->lex.tok == EP_TOK_OPEN) {
    EP_TRY(ep_vnn_next(p));
    return compound_term(p, depth + 1, out);
  }
  if (p->lex.tok != EP_TOK_ATOM) return FAIL(p, "expected a term, found '%.60s'", ep_vnn_found(p));
  EP_TRY(p->variable(p, &is_variable, &v));
  return is_variable ? add_var(p, out, v, ep_itv_point(1)) : number(p, out);
}

/* ---- formulas ---- */

/* a - b <= 0 (or <), as one atom. */
static ep_status atom_of(parser *p, const linear *a, const linear *b, bool is_strict, atom *out) {
  linear l = {0};
  EP_TRY(add_scaled(p, &l, a, ep_itv_point(1)));
  EP_TRY(add_scaled(p, &l, b, ep_itv_point(-1)));
  EP_TRY(collect(p, &l));
  /* Only "variable against number" keeps the number's text. */
  const linear *var = a->n ? a : b, *num = a->n ? b : a;
  bool is_plain = l.n == 1 && !num->n && var->n == 1 && var->coef[0].lo == 1 && var->coef[0].hi == 1 &&
                  var->c.lo == 0 && var->c.hi == 0;
  *out = (atom){l.n, l.var, l.coef, l.c, is_plain ? num->literal : NULL, is_strict};
  return EP_OK;
}

/* a - b <= 0 (or <) as a conjunct of its own, or added to one. */
static ep_status add_comparison(parser *p, conj *c, const linear *a, const linear *b, bool is_strict) {
  atom t;
  EP_TRY(atom_of(p, a, b, is_strict, &t));
  return ep_vnn_dnf_add_atom(&p->store, c, &t);
}

/* Float32 operations may overflow midway, where enclosures of the exact result say nothing. One operation against a
 * plain variable or number compares the same with an overflow as without. */
static ep_status check_comparison(parser *p, const linear *a, const linear *b) {
  if (p->is_v2 && !a->n && !b->n) return FAIL(p, "a comparison without variables");
  if (p->n_round > 1)
    return ep_lex_fail(&p->lex, EP_E_UNSUPPORTED,
                       "more than one float32 operation in a comparison is not supported: declare the type real");
  return EP_OK;
}

static ep_status comparison(parser *p, unsigned depth, dnf *out) {
  char op[3] = {p->lex.text[0], p->lex.text[1], 0};
  linear a, b;
  conj low = {0}, high = {0};
  EP_TRY(ep_vnn_next(p));
  p->n_round = 0;
  EP_TRY(term(p, depth, &a));
  EP_TRY(term(p, depth, &b));
  EP_TRY(check_comparison(p, &a, &b));
  bool is_strict = op[0] != '=' && op[1] != '=', is_unequal = op[0] == '!';
  if (op[0] != '>') EP_TRY(add_comparison(p, &low, &a, &b, is_strict || is_unequal));
  if (op[0] != '<') EP_TRY(add_comparison(p, is_unequal ? &high : &low, &b, &a, is_strict || is_unequal));
  EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &low));
  if (is_unequal) EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &high));
  if (p->lex.tok != EP_TOK_CLOSE) return FAIL(p, "expected ')' after two arguments, found '%.60s'", ep_vnn_found(p));
  return ep_vnn_next(p);
}

/* Version 2 writes == and has !=; = stands in its text and can mean only one thing. */
static bool is_comparison(const parser *p) {
  static const char *const cmp[] = {"<=", "<", ">=", ">", "=", "==", "!="};
  for (size_t i = 0; i < (p->is_v2 ? 7 : 5); i++)
    if (ep_vnn_is_atom(p, cmp[i])) return true;
  return false;
}

static ep_status formula(parser *p, unsigned depth, dnf *out) {
  *out = (dnf){0};
  if (depth >= EP_VNNLIB_MAX_DEPTH) return FAIL(p, "nested deeper than %u", EP_VNNLIB_MAX_DEPTH);
  EP_TRY(ep_vnn_expect(p, EP_TOK_OPEN, "'('"));
  if (is_comparison(p)) return comparison(p, depth + 1, out);
  bool is_and = ep_vnn_is_atom(p, "and"), is_or = ep_vnn_is_atom(p, "or");
  if (!is_and && !is_or)
    return FAIL(p, "expected 'and', 'or' or a comparison (<=, <, >=, >, %s), found '%.60s'", p->is_v2 ? "==, !=" : "=",
                ep_vnn_found(p));
  EP_TRY(ep_vnn_next(p));
  conj empty = {0};
  if (is_and) EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &empty));
  if (p->lex.tok == EP_TOK_CLOSE) return FAIL(p, "'%s' without arguments", is_and ? "and" : "or");
  while (p->lex.tok != EP_TOK_CLOSE) {
    dnf d;
    EP_TRY(formula(p, depth + 1, &d));
    if (is_and) EP_TRY(ep_vnn_dnf_join(&p->store, out, &d));
    for (uint32_t i = 0; is_or && i < d.n; i++) EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &d.c[i]));
  }
  return ep_vnn_next(p);
}

ep_status ep_vnn_assertion(parser *p) {
  EP_TRY(ep_vnn_next(p));
  EP_TRY(ep_reserve(p->ctx, (void **)&p->asserts, &p->cap_assert, p->n_assert, sizeof *p->asserts));
  EP_TRY(formula(p, 0, &p->asserts[p->n_assert]));
  p->n_assert++;
  return ep_vnn_expect(p, EP_TOK_CLOSE, "')'");
}
