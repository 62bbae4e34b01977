/* VNN-LIB 1.0: parse every assertion into a small tree, then bring the conjunction of all of them into normal form. */
#include "verifier/vnnlib.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/decimal.h"
#include "verifier/vnnlib_box.h"
#include "verifier/vnnlib_lex.h"

typedef ep_vnn_atom atom;

/* A conjunction: the atoms of one disjunct of one assertion. */
typedef struct conj {
  uint32_t n, cap;
  atom *a;
} conj;

/* Disjunction of conjunctions. */
typedef struct dnf {
  uint32_t n, cap;
  conj *c;
} dnf;

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
  ep_arena arena;
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

/* Doubles an arena array. */
static ep_status grow(parser *p, void **a, uint32_t *cap, uint32_t n, size_t size) {
  if (n < *cap) return EP_OK;
  uint32_t want = *cap ? 2 * *cap : 1; /* most terms have one variable, most formulas one atom */
  void *t = ep_arena_alloc(&p->arena, want, size);
  if (!t) return EP_E_NOMEM;
  if (n) memcpy(t, *a, n * size);
  *a = t;
  *cap = want;
  return EP_OK;
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

static ep_status add_var(parser *p, linear *l, uint32_t var, ep_itv coef) {
  for (uint32_t i = 0; i < l->n; i++)
    if (l->var[i] == var) {
      l->coef[i] = ep_decimal_add(l->coef[i], coef);
      return EP_OK;
    }
  uint32_t cap = l->cap;
  EP_TRY(grow(p, (void **)&l->var, &cap, l->n, sizeof *l->var));
  cap = l->cap;
  EP_TRY(grow(p, (void **)&l->coef, &cap, l->n, sizeof *l->coef));
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

static ep_status negated(parser *p, const char *literal, const char **out) {
  size_t n = strlen(literal);
  char *t = ep_arena_alloc(&p->arena, n + 2, 1);
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
      linear a = out->n ? *out : t, f = out->n ? t : *out;
      *out = (linear){0};
      EP_TRY(add_scaled(p, out, &a, f.c));
    } else {
      if (t.n || (t.c.lo <= 0 && t.c.hi >= 0)) return FAIL(p, "division by a variable or zero");
      if (out->n) {
        linear a = *out;
        *out = (linear){0};
        EP_TRY(add_scaled(p, out, &a, ep_decimal_div(ep_itv_point(1), t.c)));
      } else {
        out->c = ep_decimal_div(out->c, t.c);
      }
    }
  }
  if (!k) return FAIL(p, "'%c' without arguments", op);
  if (op == '/' && k == 1) return FAIL(p, "'/' needs two arguments");
  if (op == '-' && k == 1) {
    linear a = *out;
    *out = (linear){0};
    EP_TRY(add_scaled(p, out, &a, ep_itv_point(-1)));
    if (a.literal) EP_TRY(negated(p, a.literal, &out->literal));
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
    out->literal = ep_arena_strdup(&p->arena, p->lex.text);
    if (!out->literal) return EP_E_NOMEM;
  }
  return next(p);
}

/* ---- formulas ---- */

static ep_status push_atom(parser *p, conj *c, const atom *a) {
  EP_TRY(grow(p, (void **)&c->a, &c->cap, c->n, sizeof *c->a));
  c->a[c->n++] = *a;
  return EP_OK;
}

static ep_status push_conj(parser *p, dnf *d, const conj *c) {
  if (d->n >= EP_VNNLIB_MAX_CONJUNCTS)
    return ep_lex_fail(&p->lex, EP_E_UNSUPPORTED, "more than %u disjuncts in normal form", EP_VNNLIB_MAX_CONJUNCTS);
  EP_TRY(grow(p, (void **)&d->c, &d->cap, d->n, sizeof *d->c));
  d->c[d->n++] = *c;
  return EP_OK;
}

/* a - b <= 0 (or <), as one atom. */
static ep_status atom_of(parser *p, const linear *a, const linear *b, bool is_strict, atom *out) {
  linear l = {0};
  EP_TRY(add_scaled(p, &l, a, ep_itv_point(1)));
  EP_TRY(add_scaled(p, &l, b, ep_itv_point(-1)));
  uint32_t n = 0;
  for (uint32_t i = 0; i < l.n; i++) {
    if (l.coef[i].lo == 0 && l.coef[i].hi == 0) continue;
    l.var[n] = l.var[i];
    l.coef[n++] = l.coef[i];
  }
  /* Only "variable against number" keeps the number's text. */
  const linear *var = a->n ? a : b, *num = a->n ? b : a;
  bool is_plain = n == 1 && !num->n && var->n == 1 && var->coef[0].lo == 1 && var->coef[0].hi == 1 && var->c.lo == 0 &&
                  var->c.hi == 0;
  *out = (atom){n, l.var, l.coef, l.c, is_plain ? num->literal : NULL, is_strict};
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
    EP_TRY(push_atom(p, &c, &t));
  }
  if (op[0] != '<') {
    EP_TRY(atom_of(p, &b, &a, is_strict, &t));
    EP_TRY(push_atom(p, &c, &t));
  }
  EP_TRY(push_conj(p, out, &c));
  if (p->lex.tok != EP_TOK_CLOSE) return FAIL(p, "expected ')' after two arguments, found '%.60s'", found(p));
  return next(p);
}

/* Distributes: every conjunct of d with every one of e. */
static ep_status distribute(parser *p, dnf *d, const dnf *e) {
  if (e->n && d->n > EP_VNNLIB_MAX_CONJUNCTS / e->n)
    return ep_lex_fail(&p->lex, EP_E_UNSUPPORTED, "more than %u disjuncts in normal form", EP_VNNLIB_MAX_CONJUNCTS);
  if (d->n == 1 && !d->c[0].n) { /* "true": takes e over as it is; callers never change e again */
    *d = *e;
    return EP_OK;
  }
  if (e->n == 1) { /* the usual case: atoms join in place */
    for (uint32_t i = 0; i < d->n; i++)
      for (uint32_t k = 0; k < e->c[0].n; k++) EP_TRY(push_atom(p, &d->c[i], &e->c[0].a[k]));
    return EP_OK;
  }
  dnf r = {0};
  for (uint32_t i = 0; i < d->n; i++)
    for (uint32_t j = 0; j < e->n; j++) {
      const conj *l = &d->c[i], *m = &e->c[j];
      conj c = {l->n + m->n, l->n + m->n, EP_ARENA(&p->arena, atom, l->n + m->n)};
      if (!c.a) return EP_E_NOMEM;
      if (l->n) memcpy(c.a, l->a, l->n * sizeof *c.a);
      if (m->n) memcpy(c.a + l->n, m->a, m->n * sizeof *c.a);
      EP_TRY(push_conj(p, &r, &c));
    }
  *d = r;
  return EP_OK;
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
  if (is_and) EP_TRY(push_conj(p, out, &empty));
  if (p->lex.tok == EP_TOK_CLOSE) return FAIL(p, "'%s' without arguments", is_and ? "and" : "or");
  while (p->lex.tok != EP_TOK_CLOSE) {
    dnf d;
    EP_TRY(formula(p, depth + 1, &d));
    if (is_and) EP_TRY(distribute(p, out, &d));
    for (uint32_t i = 0; is_or && i < d.n; i++) EP_TRY(push_conj(p, out, &d.c[i]));
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

/* ---- normal form ---- */

/* Variable-free atoms are decided here: 1 true, 0 false, -1 cannot be told. */
static int decide(const atom *a) {
  if (a->c.hi < 0 || (!a->is_strict && a->c.hi == 0)) return 1;
  if (a->c.lo > 0 || (a->is_strict && a->c.lo == 0)) return 0;
  return -1;
}

static ep_status emit_row(parser *p, ep_query_builder *qb, const atom *a) {
  uint32_t *var = EP_ARENA(&p->arena, uint32_t, a->n + 1u);
  double *coef = EP_ARENA(&p->arena, double, a->n + 1u), rel = 0;
  if (!var || !coef) return EP_E_NOMEM;
  for (uint32_t i = 0; i < a->n; i++) {
    var[i] = a->var[i] & 1 ? a->var[i] / 2 : p->n_y + a->var[i] / 2;
    coef[i] = 0.5 * a->coef[i].lo + 0.5 * a->coef[i].hi;
    if (a->coef[i].lo == a->coef[i].hi) continue;
    if (a->coef[i].lo <= 0 && a->coef[i].hi >= 0)
      return EP_FAIL(p->ctx, EP_E_UNSUPPORTED, "%s: a coefficient of %c_%u cannot be told from zero", p->lex.name,
                     a->var[i] & 1 ? 'Y' : 'X', a->var[i] / 2);
    double off = ep_up(fmax(ep_sub_up(a->coef[i].hi, coef[i]), ep_sub_up(coef[i], a->coef[i].lo)) / fabs(coef[i]));
    rel = fmax(rel, off);
  }
  return ep_query_builder_row_itv(qb, a->n, var, coef, rel, (ep_itv){-a->c.hi, -a->c.lo}, a->is_strict);
}

/* A distinct box and the disjuncts that lie in it, in order of appearance. */
typedef struct group {
  uint64_t hash;
  ep_vnn_box b;
  uint32_t first, last; /* list of conjuncts through `next` */
  uint32_t next_in_slot;
} group;

typedef struct grouping {
  group *g;
  uint32_t n, cap;
  uint32_t *slot; /* hash table of first group index + 1 */
  size_t n_slot;
  uint32_t *next; /* [conjuncts] next conjunct of the same group, UINT32_MAX = last */
} grouping;

static ep_status into_group(parser *p, grouping *gr, const ep_vnn_box *b, uint32_t conjunct) {
  uint64_t h = ep_vnn_box_hash(b);
  uint32_t *slot = &gr->slot[h & (gr->n_slot - 1)];
  gr->next[conjunct] = UINT32_MAX;
  for (uint32_t k = *slot; k; k = gr->g[k - 1].next_in_slot) {
    assert(gr->g && k <= gr->n);
    group *g = &gr->g[k - 1];
    if (g->hash != h || !ep_vnn_box_is_equal(&g->b, b)) continue;
    gr->next[g->last] = conjunct;
    g->last = conjunct;
    return EP_OK;
  }
  EP_TRY(grow(p, (void **)&gr->g, &gr->cap, gr->n, sizeof *gr->g));
  group *g = &gr->g[gr->n++];
  *g = (group){.hash = h, .first = conjunct, .last = conjunct, .next_in_slot = *slot};
  EP_TRY(ep_vnn_box_init(&p->arena, p->n_x, &g->b));
  ep_vnn_box_copy(b, &g->b);
  *slot = gr->n;
  return EP_OK;
}

/* All assertions as one DNF over a base box: assertions of one conjunct narrow the base directly. */
static ep_status combine(parser *p, ep_vnn_box *base, conj *shared, dnf *all, bool *is_false) {
  conj empty = {0};
  EP_TRY(push_conj(p, all, &empty));
  for (size_t i = 0; i < p->n_assert; i++) {
    const dnf *d = &p->asserts[i];
    if (d->n != 1) {
      EP_TRY(distribute(p, all, d));
      continue;
    }
    for (uint32_t k = 0; k < d->c[0].n; k++) {
      const atom *a = &d->c[0].a[k];
      if (a->n == 0 && decide(a) == 0)
        *is_false = true;
      else if (ep_vnn_bounds_input(a))
        ep_vnn_box_narrow(base, a);
      else
        EP_TRY(push_atom(p, shared, a));
    }
  }
  return EP_OK;
}

static ep_status emit_rows(parser *p, ep_query_builder *qb, const conj *c, bool skip_box) {
  for (uint32_t k = 0; k < c->n; k++) {
    const atom *a = &c->a[k];
    if ((skip_box && ep_vnn_bounds_input(a)) || (a->n == 0 && decide(a) == 1)) continue;
    EP_TRY(emit_row(p, qb, a));
  }
  return EP_OK;
}

static ep_status check_bounded(parser *p, const ep_vnn_box *b) {
  for (uint32_t i = 0; i < p->n_x; i++)
    if (b->lo[i] == -INFINITY || b->hi[i] == INFINITY)
      return EP_FAIL(p->ctx, EP_E_SYNTAX, "%s: input X_%u has no %s bound", p->lex.name, i,
                     b->lo[i] == -INFINITY ? "lower" : "upper");
  return EP_OK;
}

static ep_status normalise(parser *p, ep_query_builder *qb) {
  ep_vnn_box base, box;
  conj shared = {0};
  dnf all = {0};
  bool is_false = false;
  EP_TRY(ep_vnn_box_init(&p->arena, p->n_x, &base));
  EP_TRY(ep_vnn_box_init(&p->arena, p->n_x, &box));
  EP_TRY(combine(p, &base, &shared, &all, &is_false));
  grouping gr = {.n_slot = 64};
  while (gr.n_slot < 2 * (size_t)all.n) gr.n_slot *= 2;
  gr.slot = EP_ARENA(&p->arena, uint32_t, gr.n_slot);
  gr.next = EP_ARENA(&p->arena, uint32_t, all.n + 1u);
  if (!gr.slot || !gr.next) return EP_E_NOMEM;
  for (uint32_t i = 0; i < all.n; i++) {
    ep_vnn_box_copy(&base, &box);
    bool is_dead = is_false;
    for (uint32_t k = 0; k < all.c[i].n; k++) {
      const atom *a = &all.c[i].a[k];
      if (a->n == 0 && decide(a) == 0)
        is_dead = true;
      else if (ep_vnn_bounds_input(a))
        ep_vnn_box_narrow(&box, a);
    }
    EP_TRY(check_bounded(p, &box));
    ep_vnn_box_settle(&box);
    if (!is_dead) EP_TRY(into_group(p, &gr, &box, i));
  }
  for (uint32_t k = 0; k < gr.n; k++) {
    EP_TRY(ep_query_builder_box4(qb, gr.g[k].b.lo, gr.g[k].b.hi, gr.g[k].b.lo_in, gr.g[k].b.hi_in));
    for (uint32_t i = gr.g[k].first; i != UINT32_MAX; i = gr.next[i]) {
      EP_TRY(ep_query_builder_polytope(qb));
      EP_TRY(emit_rows(p, qb, &shared, false));
      EP_TRY(emit_rows(p, qb, &all.c[i], true));
    }
  }
  return EP_OK;
}

static ep_status parse(parser *p, ep_query **out) {
  EP_TRY(next(p));
  while (p->lex.tok != EP_TOK_END) EP_TRY(command(p));
  if (!p->n_x || !p->n_y || p->n_seen[0] != p->n_x || p->n_seen[1] != p->n_y)
    return EP_FAIL(p->ctx, EP_E_SYNTAX, "%s: expected declarations X_0.. and Y_0.. without gaps", p->lex.name);
  ep_query_builder *qb;
  EP_TRY(ep_query_builder_create(p->ctx, p->n_x, p->n_y, &qb));
  ep_status st = normalise(p, qb);
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
  ep_arena_init(&p->arena, p->ctx);
  ep_status st = opened == EP_OK ? parse(p, out) : opened;
  ep_lex_close(&p->lex);
  ep_arena_clear(&p->arena);
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
