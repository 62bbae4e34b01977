/* VNN-LIB 1.0: parse every assertion into a small tree, then let vnnlib_dnf.c bring all of them together
 * into normal form. */
#include "verifier/vnnlib.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/decimal.h"
#include "verifier/vnnlib_dnf.h"

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

typedef struct parser {
  ep_ctx *ctx;
  ep_lex lex;
  ep_vnn_store store;
  uint32_t n_x, n_y;
  uint8_t *seen[2]; /* declared X and Y indices */
  size_t cap_seen[2];
  uint32_t n_seen[2];
  dnf *asserts; /* one per assertion */
  size_t n_assert, cap_assert;
} parser;

#define FAIL(p, ...) ep_lex_fail(&(p)->lex, EP_E_SYNTAX, __VA_ARGS__)

static ep_status next(parser *p) { return ep_lex_next(&p->lex); }

static const char *found(const parser *p) { return p->lex.tok == EP_TOK_END ? "end of file" : p->lex.text; }

static ep_status expect(parser *p, ep_token tok, const char *what) {
  if (p->lex.tok != tok) return FAIL(p, "expected %s, found '%.60s'", what, found(p));
  return next(p);
}

static bool is_atom(const parser *p, const char *text) {
  return p->lex.tok == EP_TOK_ATOM && !strcmp(p->lex.text, text);
}

/* X_12 -> 24, Y_3 -> 7. */
static bool variable(const char *s, uint32_t *v) {
  if ((s[0] != 'X' && s[0] != 'Y') || s[1] != '_' || !isdigit((unsigned char)s[2]) || strlen(s) > 12) return false;
  if (s[2] == '0' && s[3]) return false;
  char *end;
  unsigned long k = strtoul(s + 2, &end, 10);
  if (*end || k >= EP_VNNLIB_MAX_VARS) return false;
  *v = (uint32_t)k * 2 + (s[0] == 'Y');
  return true;
}

static bool is_declared(const parser *p, uint32_t v) { return v / 2 < p->cap_seen[v & 1] && p->seen[v & 1][v / 2]; }

static ep_status declare(parser *p) {
  uint32_t v;
  EP_TRY(next(p));
  if (p->lex.tok != EP_TOK_ATOM || !variable(p->lex.text, &v))
    return FAIL(p, "expected a variable X_i or Y_i, found '%.60s'", found(p));
  if (is_declared(p, v)) return FAIL(p, "'%s' is declared twice", p->lex.text);
  uint32_t k = v & 1, i = v / 2;
  if (i >= p->cap_seen[k]) {
    size_t cap = p->cap_seen[k] ? p->cap_seen[k] : 256;
    while (cap <= i) cap *= 2;
    uint8_t *t = ep_realloc(p->ctx, p->seen[k], cap);
    if (!t) return EP_E_NOMEM;
    memset(t + p->cap_seen[k], 0, cap - p->cap_seen[k]);
    p->seen[k] = t;
    p->cap_seen[k] = cap;
  }
  p->seen[k][i] = 1;
  p->n_seen[k]++;
  if (i + 1 > *(k ? &p->n_y : &p->n_x)) *(k ? &p->n_y : &p->n_x) = i + 1;
  EP_TRY(next(p));
  if (p->lex.tok == EP_TOK_OPEN) { /* declare-fun X_0 () Real */
    EP_TRY(next(p));
    EP_TRY(expect(p, EP_TOK_CLOSE, "')'"));
  }
  if (!is_atom(p, "Real")) return FAIL(p, "expected 'Real', found '%.60s'", found(p));
  return next(p);
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

static ep_status compound_term(parser *p, unsigned depth, linear *out) {
  char op = p->lex.text[0];
  bool is_op = p->lex.tok == EP_TOK_ATOM && strchr("+-*/", op) && op && !p->lex.text[1];
  if (!is_op) return FAIL(p, "expected '+', '-', '*' or '/', found '%.60s'", found(p));
  EP_TRY(next(p));
  uint32_t k = 0;
  for (; p->lex.tok != EP_TOK_CLOSE; k++) {
    linear t;
    EP_TRY(term(p, depth, &t));
    if (k == 0) {
      *out = t;
    } else if (op == '+' || op == '-') {
      EP_TRY(add_scaled(p, out, &t, ep_itv_point(op == '+' ? 1 : -1)));
    } else if (op == '*') {
      if (out->n && t.n) return FAIL(p, "product of two variables: only linear terms are supported");
      ep_itv factor = t.n ? out->c : t.c;
      if (t.n) *out = t;
      scale(out, factor);
    } else {
      if (t.n || (t.c.lo <= 0 && t.c.hi >= 0)) return FAIL(p, "division by a variable or zero");
      if (out->n)
        scale(out, ep_decimal_div(ep_itv_point(1), t.c));
      else
        out->c = ep_decimal_div(out->c, t.c);
    }
  }
  if (!k) return FAIL(p, "'%c' without arguments", op);
  if (op == '/' && k == 1) return FAIL(p, "'/' needs two arguments");
  if (op == '-' && k == 1) {
    scale(out, ep_itv_point(-1));
    if (out->literal) EP_TRY(negated(p, out->literal, &out->literal));
  } else if (k > 1) {
    out->literal = NULL;
  }
  return expect(p, EP_TOK_CLOSE, "')'");
}

static ep_status term(parser *p, unsigned depth, linear *out) {
  uint32_t v;
  *out = (linear){0};
  if (depth >= EP_VNNLIB_MAX_DEPTH) return FAIL(p, "nested deeper than %u", EP_VNNLIB_MAX_DEPTH);
  if (p->lex.tok == EP_TOK_OPEN) {
    EP_TRY(next(p));
    return compound_term(p, depth + 1, out);
  }
  if (p->lex.tok != EP_TOK_ATOM) return FAIL(p, "expected a term, found '%.60s'", found(p));
  if (variable(p->lex.text, &v)) {
    if (!is_declared(p, v)) return FAIL(p, "'%s' is not declared", p->lex.text);
    EP_TRY(add_var(p, out, v, ep_itv_point(1)));
  } else if (!ep_decimal_parse(p->lex.text, &out->c)) {
    return FAIL(p, "expected a variable or a number, found '%.60s'", found(p));
  } else if (out->c.lo != out->c.hi) {
    out->literal = ep_arena_strdup(&p->store.arena, p->lex.text);
    if (!out->literal) return EP_E_NOMEM;
  }
  return next(p);
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

static ep_status comparison(parser *p, unsigned depth, dnf *out) {
  char op[3] = {p->lex.text[0], p->lex.text[1], 0};
  linear a, b;
  atom t;
  conj c = {0};
  EP_TRY(next(p));
  EP_TRY(term(p, depth, &a));
  EP_TRY(term(p, depth, &b));
  bool is_strict = op[0] != '=' && op[1] != '=';
  if (op[0] != '>') {
    EP_TRY(atom_of(p, &a, &b, is_strict, &t));
    EP_TRY(ep_vnn_dnf_add_atom(&p->store, &c, &t));
  }
  if (op[0] != '<') {
    EP_TRY(atom_of(p, &b, &a, is_strict, &t));
    EP_TRY(ep_vnn_dnf_add_atom(&p->store, &c, &t));
  }
  EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &c));
  if (p->lex.tok != EP_TOK_CLOSE) return FAIL(p, "expected ')' after two arguments, found '%.60s'", found(p));
  return next(p);
}

static ep_status formula(parser *p, unsigned depth, dnf *out) {
  *out = (dnf){0};
  if (depth >= EP_VNNLIB_MAX_DEPTH) return FAIL(p, "nested deeper than %u", EP_VNNLIB_MAX_DEPTH);
  EP_TRY(expect(p, EP_TOK_OPEN, "'('"));
  static const char *const cmp[] = {"<=", "<", ">=", ">", "="};
  for (size_t i = 0; i < 5; i++)
    if (is_atom(p, cmp[i])) return comparison(p, depth + 1, out);
  bool is_and = is_atom(p, "and"), is_or = is_atom(p, "or");
  if (!is_and && !is_or)
    return FAIL(p, "expected 'and', 'or' or a comparison (<=, <, >=, >, =), found '%.60s'", found(p));
  EP_TRY(next(p));
  conj empty = {0};
  if (is_and) EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &empty));
  if (p->lex.tok == EP_TOK_CLOSE) return FAIL(p, "'%s' without arguments", is_and ? "and" : "or");
  while (p->lex.tok != EP_TOK_CLOSE) {
    dnf d;
    EP_TRY(formula(p, depth + 1, &d));
    if (is_and) EP_TRY(ep_vnn_dnf_join(&p->store, out, &d));
    for (uint32_t i = 0; is_or && i < d.n; i++) EP_TRY(ep_vnn_dnf_add_conj(&p->store, out, &d.c[i]));
  }
  return next(p);
}

/* ---- commands ---- */

static ep_status skip_command(parser *p) {
  for (unsigned depth = 1; depth;) {
    EP_TRY(next(p));
    if (p->lex.tok == EP_TOK_END) return FAIL(p, "expected ')', found end of file");
    depth += p->lex.tok == EP_TOK_OPEN;
    depth -= p->lex.tok == EP_TOK_CLOSE;
  }
  return next(p);
}

static ep_status command(parser *p) {
  EP_TRY(expect(p, EP_TOK_OPEN, "'('"));
  if (is_atom(p, "declare-const") || is_atom(p, "declare-fun")) {
    EP_TRY(declare(p));
    return expect(p, EP_TOK_CLOSE, "')'");
  }
  if (is_atom(p, "assert")) {
    EP_TRY(next(p));
    if (p->n_assert == p->cap_assert) {
      size_t cap = p->cap_assert ? 2 * p->cap_assert : 256;
      dnf *t = ep_realloc(p->ctx, p->asserts, cap * sizeof *t);
      if (!t) return EP_E_NOMEM;
      p->asserts = t;
      p->cap_assert = cap;
    }
    EP_TRY(formula(p, 0, &p->asserts[p->n_assert]));
    p->n_assert++;
    return expect(p, EP_TOK_CLOSE, "')'");
  }
  static const char *const tolerated[] = {"set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"};
  for (size_t i = 0; i < sizeof tolerated / sizeof *tolerated; i++)
    if (is_atom(p, tolerated[i])) return skip_command(p);
  if (is_atom(p, "vnnlib-version"))
    return ep_lex_fail(&p->lex, EP_E_UNSUPPORTED, "VNN-LIB 2 is not supported yet, only VNN-LIB 1.0");
  return FAIL(p, "expected declare-const or assert, found '%.60s'", found(p));
}

static ep_status parse(parser *p, ep_query **out) {
  EP_TRY(next(p));
  while (p->lex.tok != EP_TOK_END) EP_TRY(command(p));
  if (!p->n_x || !p->n_y || p->n_seen[0] != p->n_x || p->n_seen[1] != p->n_y)
    return EP_FAIL(p->ctx, EP_E_SYNTAX, "%s: expected declarations X_0.. and Y_0.. without gaps", p->lex.name);
  ep_query_builder *qb;
  EP_TRY(ep_query_builder_create(p->ctx, p->n_x, p->n_y, &qb));
  ep_status st = ep_vnn_dnf_build(&p->store, p->asserts, p->n_assert, p->n_x, p->n_y, qb);
  if (st == EP_OK) st = ep_query_builder_finish(qb, p->lex.name, out);
  ep_query_builder_destroy(qb);
  EP_TRY(st);
  uint8_t digest[32];
  ep_sha256_final(&p->lex.sha, digest);
  ep_sha256_hex(digest, (*out)->sha256);
  return EP_OK;
}

static ep_status run(parser *p, ep_status opened, ep_query **out) {
  *out = NULL;
  p->store.lex = &p->lex;
  ep_arena_init(&p->store.arena, p->ctx);
  ep_status st = opened == EP_OK ? parse(p, out) : opened;
  ep_lex_close(&p->lex);
  ep_arena_clear(&p->store.arena);
  ep_free(p->ctx, p->seen[0]);
  ep_free(p->ctx, p->seen[1]);
  ep_free(p->ctx, p->asserts);
  return st;
}

ep_status ep_vnnlib_read(ep_ctx *ctx, const char *path, ep_query **out) {
  parser *p = ep_calloc(ctx, 1, sizeof *p);
  if (!p) return EP_E_NOMEM;
  p->ctx = ctx;
  ep_status st = run(p, ep_lex_open_file(&p->lex, ctx, path), out);
  ep_free(ctx, p);
  return st;
}

ep_status ep_vnnlib_read_bytes(ep_ctx *ctx, const char *name, const void *data, size_t n, ep_query **out) {
  parser *p = ep_calloc(ctx, 1, sizeof *p);
  if (!p) return EP_E_NOMEM;
  p->ctx = ctx;
  ep_status st = run(p, ep_lex_open_bytes(&p->lex, ctx, name, data, n), out);
  ep_free(ctx, p);
  return st;
}
