/* The property: VNN-LIB 1.0 as a disjunction of conjunctions, in the order that certificates count in. Numbers become
 * intervals of doubles that contain them; GMP says which literals are doubles. */
#include <ctype.h>
#include <gmp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"

enum { MAX_DEPTH = 200, MAX_CONJUNCTS = 1 << 20, MAX_NUMBER = 400 };

typedef struct itv {
  double lo, hi;
} itv;

/* sum coef var + c. Variables: even = input v/2, odd = output v/2. */
typedef struct linear {
  uint32_t n;
  uint32_t *var;
  itv *coef, c;
} linear;
typedef struct atom { /* l <= 0, or < 0 */
  linear l;
  bool is_strict;
} atom;
typedef struct conj {
  size_t n;
  const atom **a;
} conj;
typedef struct dnf {
  size_t n;
  conj *c;
} dnf;

typedef struct parser {
  ck *c;
  const char *p;
  uint64_t line;
  char tok[MAX_NUMBER + 1]; /* "(" ")" or a word; "" = the end */
  uint32_t n[2];            /* inputs, outputs declared */
} parser;

#define REFUSE(p, ...) ck_bad_input((p)->c, "property, " __VA_ARGS__)

/* ---- intervals ---- */

static itv itv_add(itv a, itv b) {
  itv s = {a.lo + b.lo, a.hi + b.hi};
  if (a.lo != 0 && b.lo != 0) s.lo = nextafter(s.lo, -INFINITY);
  if (a.hi != 0 && b.hi != 0) s.hi = nextafter(s.hi, INFINITY);
  return s;
}

static itv itv_mul(itv a, itv b) {
  double v[4] = {a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi};
  bool is_exact = (fabs(a.lo) == 1 && a.lo == a.hi) || (fabs(b.lo) == 1 && b.lo == b.hi) || (a.lo == 0 && a.hi == 0) ||
                  (b.lo == 0 && b.hi == 0);
  itv s = {v[0], v[0]};
  for (int i = 1; i < 4; i++) {
    s.lo = fmin(s.lo, v[i]);
    s.hi = fmax(s.hi, v[i]);
  }
  if (is_exact) return s;
  return (itv){nextafter(s.lo, -INFINITY), nextafter(s.hi, INFINITY)};
}

/* digits[.digits][e[+-]digits] as the tightest interval of doubles. */
static bool number(const char *t, itv *out) {
  char digits[MAX_NUMBER + 1];
  size_t n = 0;
  long scale = 0;
  const char *s = t + (*t == '-' || *t == '+');
  bool has_dot = false;
  for (; isdigit((unsigned char)*s) || (*s == '.' && !has_dot); s++) {
    has_dot |= *s == '.';
    if (*s == '.') continue;
    digits[n++] = *s;
    scale -= has_dot;
  }
  digits[n] = 0;
  if (!n) return false;
  if (*s == 'e' || *s == 'E') {
    char *end;
    scale += strtol(s + 1, &end, 10);
    if (end == s + 1) return false;
    s = end;
  }
  if (*s || scale < -2000 || scale > 2000) return false;
  double d = strtod(t, NULL);
  if (!isfinite(d)) return false;
  mpq_t exact, near;
  mpq_inits(exact, near, NULL);
  mpz_t ten;
  mpz_init(ten);
  mpz_set_str(mpq_numref(exact), digits, 10);
  mpz_ui_pow_ui(ten, 10, (unsigned long)labs(scale));
  if (scale > 0)
    mpz_mul(mpq_numref(exact), mpq_numref(exact), ten);
  else
    mpz_set(mpq_denref(exact), ten);
  mpq_canonicalize(exact);
  if (*t == '-') mpq_neg(exact, exact);
  mpq_set_d(near, d);
  int order = mpq_cmp(near, exact);
  *out = (itv){order > 0 ? nextafter(d, -INFINITY) : d, order < 0 ? nextafter(d, INFINITY) : d};
  mpq_clears(exact, near, NULL);
  mpz_clear(ten);
  return true;
}

/* ---- words ---- */

static void next(parser *p) {
  for (;; p->p++) {
    if (*p->p == ';') p->p += strcspn(p->p, "\n");
    if (*p->p == '\n') p->line++;
    if (!isspace((unsigned char)*p->p)) break;
  }
  size_t n = *p->p == '(' || *p->p == ')' ? 1 : strcspn(p->p, "(); \t\r\n\f\v");
  if (n > MAX_NUMBER) REFUSE(p, "line %llu: a word of %zu letters", (unsigned long long)p->line, n);
  memcpy(p->tok, p->p, n);
  p->tok[n] = 0;
  p->p += n;
}

static bool is_word(const parser *p, const char *w) { return !strcmp(p->tok, w); }

static void expect(parser *p, const char *w) {
  if (!is_word(p, w)) REFUSE(p, "line %llu: expected '%s', found '%.40s'", (unsigned long long)p->line, w, p->tok);
  next(p);
}

static bool variable(const parser *p, uint32_t *v) {
  char *end;
  if ((p->tok[0] != 'X' && p->tok[0] != 'Y') || p->tok[1] != '_' || !isdigit((unsigned char)p->tok[2])) return false;
  unsigned long i = strtoul(p->tok + 2, &end, 10);
  bool is_y = p->tok[0] == 'Y';
  if (*end || i >= p->n[is_y]) return false;
  *v = (uint32_t)(2 * i + is_y);
  return true;
}

/* ---- terms ---- */

/* a += k b */
static void add_scaled(parser *p, linear *a, const linear *b, itv k) {
  for (uint32_t i = 0; i < b->n; i++) {
    itv x = itv_mul(k, b->coef[i]);
    uint32_t at = 0;
    while (at < a->n && a->var[at] != b->var[i]) at++;
    if (at < a->n) {
      a->coef[at] = itv_add(a->coef[at], x);
      continue;
    }
    a->var = ck_grow(p->c, a->var, a->n, sizeof *a->var);
    a->coef = ck_grow(p->c, a->coef, a->n, sizeof *a->coef);
    a->var[a->n] = b->var[i];
    a->coef[a->n++] = x;
  }
  a->c = itv_add(a->c, itv_mul(k, b->c));
}

static linear term(parser *p, int depth) {
  linear out = {0}, x;
  uint32_t v;
  if (depth > MAX_DEPTH) REFUSE(p, "line %llu: nested too deeply", (unsigned long long)p->line);
  if (!is_word(p, "(")) {
    if (variable(p, &v)) {
      linear one = {1, &v, &(itv){1, 1}, {0, 0}};
      add_scaled(p, &out, &one, (itv){1, 1});
    } else if (!number(p->tok, &out.c)) {
      REFUSE(p, "line %llu: expected a declared variable or a number, found '%.40s'", (unsigned long long)p->line,
             p->tok);
    }
    next(p);
    return out;
  }
  next(p);
  char op = p->tok[0];
  if (p->tok[0] == 0 || p->tok[1] || !strchr("+-*", op))
    REFUSE(p, "line %llu: unknown operation '%.40s'", (unsigned long long)p->line, p->tok);
  next(p);
  int n = 0;
  for (; !is_word(p, ")"); n++) {
    linear t = {0};
    x = term(p, depth + 1);
    if (n == 0) {
      out = x;
    } else if (op == '*') {
      if (out.n && x.n) REFUSE(p, "line %llu: a product of variables", (unsigned long long)p->line);
      add_scaled(p, &t, out.n ? &out : &x, out.n ? x.c : out.c);
      out = t;
    } else {
      add_scaled(p, &out, &x, op == '+' ? (itv){1, 1} : (itv){-1, -1});
    }
  }
  x = (linear){0};
  if (!n) REFUSE(p, "line %llu: '%c' without arguments", (unsigned long long)p->line, op);
  if (op != '-' || n > 1) x = out;
  if (op == '-' && n == 1) add_scaled(p, &x, &out, (itv){-1, -1});
  next(p);
  return x;
}

/* ---- formulas ---- */

static void add_conj(parser *p, dnf *d, conj c) {
  if (d->n >= MAX_CONJUNCTS) REFUSE(p, "too many disjuncts in normal form");
  d->c = ck_grow(p->c, d->c, d->n, sizeof *d->c);
  d->c[d->n++] = c;
}

static conj both(parser *p, conj a, conj b) {
  conj c = {a.n + b.n, CK_NEW(p->c, const atom *, a.n + b.n)};
  if (a.n) memcpy(c.a, a.a, a.n * sizeof *c.a);
  if (b.n) memcpy(c.a + a.n, b.a, b.n * sizeof *c.a);
  return c;
}

static dnf join(parser *p, dnf d, dnf e) {
  dnf r = {0};
  for (size_t i = 0; i < d.n; i++)
    for (size_t j = 0; j < e.n; j++) add_conj(p, &r, both(p, d.c[i], e.c[j]));
  return r;
}

static const atom *make_atom(parser *p, const linear *a, const linear *b, bool is_strict) {
  atom *t = CK_NEW(p->c, atom, 1);
  add_scaled(p, &t->l, a, (itv){1, 1});
  add_scaled(p, &t->l, b, (itv){-1, -1});
  t->is_strict = is_strict;
  uint32_t n = 0; /* what cancelled goes */
  for (uint32_t i = 0; i < t->l.n; i++) {
    if (t->l.coef[i].lo == 0 && t->l.coef[i].hi == 0) continue;
    t->l.var[n] = t->l.var[i];
    t->l.coef[n++] = t->l.coef[i];
  }
  t->l.n = n;
  return t;
}

static dnf formula(parser *p, int depth) {
  dnf out = {0};
  if (depth > MAX_DEPTH) REFUSE(p, "line %llu: nested too deeply", (unsigned long long)p->line);
  expect(p, "(");
  bool is_and = is_word(p, "and"), is_or = is_word(p, "or");
  if (is_and || is_or) {
    next(p);
    if (is_word(p, ")")) REFUSE(p, "line %llu: 'and' or 'or' without arguments", (unsigned long long)p->line);
    if (is_and) add_conj(p, &out, (conj){0});
    while (!is_word(p, ")")) {
      dnf d = formula(p, depth + 1);
      if (is_and) out = join(p, out, d);
      for (size_t i = 0; is_or && i < d.n; i++) add_conj(p, &out, d.c[i]);
    }
    next(p);
    return out;
  }
  char op = p->tok[0];
  bool is_strict = !p->tok[1];
  if (!is_word(p, "<=") && !is_word(p, "<") && !is_word(p, ">=") && !is_word(p, ">") && !is_word(p, "="))
    REFUSE(p, "line %llu: expected a formula, found '%.40s'", (unsigned long long)p->line, p->tok);
  next(p);
  linear a = term(p, depth), b = term(p, depth);
  conj c = {0, CK_NEW(p->c, const atom *, 2)};
  if (op != '>') c.a[c.n++] = make_atom(p, &a, &b, is_strict && op != '=');
  if (op != '<') c.a[c.n++] = make_atom(p, &b, &a, is_strict && op != '=');
  expect(p, ")");
  add_conj(p, &out, c);
  return out;
}

/* ---- normal form ---- */

static bool bounds_input(const atom *a) {
  return a->l.n == 1 && !(a->l.var[0] & 1) && (a->l.coef[0].lo > 0 || a->l.coef[0].hi < 0);
}

/* c + coef x <= 0 narrows x; only coefficients +-1 without rounding, others step outward. */
static void narrow(ck_box *b, const atom *a) {
  uint32_t i = a->l.var[0] / 2;
  itv k = a->l.coef[0], c = a->l.c;
  bool is_unit = k.lo == k.hi && fabs(k.lo) == 1;
  if (k.lo > 0) {
    double v = fmax(-c.lo / k.lo, -c.lo / k.hi);
    if (!is_unit) v = nextafter(v, INFINITY);
    if (v < b->hi[i]) b->hi[i] = v;
  } else {
    double v = fmin(c.lo / -k.lo, c.lo / -k.hi); /* x >= c/|k| */
    if (!is_unit) v = nextafter(v, -INFINITY);
    if (v > b->lo[i]) b->lo[i] = v;
  }
}

/* 1 always true, 0 always false, -1 neither known. */
static int decide(const atom *a) {
  if (a->l.n) return -1;
  if (a->l.c.hi < 0 || (a->l.c.hi == 0 && !a->is_strict)) return 1;
  if (a->l.c.lo > 0 || (a->l.c.lo == 0 && a->is_strict)) return 0;
  return -1;
}

static void add_row(parser *p, ck_poly *poly, const atom *a) {
  if (decide(a) == 1) return;
  poly->row = ck_grow(p->c, poly->row, poly->n_row, sizeof *poly->row);
  ck_row *r = &poly->row[poly->n_row++];
  *r = (ck_row){.n = a->l.n, .rhs = -a->l.c.lo, .is_strict = a->is_strict};
  r->var = CK_NEW(p->c, uint32_t, r->n);
  r->coef = CK_NEW(p->c, double, r->n);
  r->err = CK_NEW(p->c, double, r->n);
  for (uint32_t i = 0; i < r->n; i++) {
    itv k = a->l.coef[i];
    r->var[i] = a->l.var[i] & 1 ? a->l.var[i] / 2 : p->n[1] + a->l.var[i] / 2;
    r->coef[i] = k.lo;
    r->err[i] = k.hi > k.lo ? nextafter(k.hi - k.lo, INFINITY) : 0;
  }
}

/* The box of the conjunct: one that exists already, if it is the same. */
static ck_box *find_box(parser *p, ck_query *q, const ck_box *b) {
  size_t n = p->n[0] * sizeof(double);
  for (uint32_t i = 0; i < q->n_box; i++)
    if (!memcmp(q->box[i].lo, b->lo, n) && !memcmp(q->box[i].hi, b->hi, n)) return &q->box[i];
  q->box = ck_grow(p->c, q->box, q->n_box, sizeof *q->box);
  ck_box *out = &q->box[q->n_box++];
  *out = (ck_box){CK_NEW(p->c, double, p->n[0]), CK_NEW(p->c, double, p->n[0]), false, 0, NULL};
  memcpy(out->lo, b->lo, n);
  memcpy(out->hi, b->hi, n);
  for (uint32_t i = 0; i < p->n[0]; i++) out->is_empty |= b->lo[i] > b->hi[i];
  return out;
}

static void build(parser *p, ck_query *q, const dnf *assert, size_t n_assert) {
  uint32_t n_x = p->n[0];
  ck_box base = {CK_NEW(p->c, double, n_x), CK_NEW(p->c, double, n_x), false, 0, NULL};
  ck_box box = {CK_NEW(p->c, double, n_x), CK_NEW(p->c, double, n_x), false, 0, NULL};
  for (uint32_t i = 0; i < n_x; i++) {
    base.lo[i] = -INFINITY;
    base.hi[i] = INFINITY;
  }
  conj shared = {0};
  dnf all = {0};
  bool is_false = false;
  add_conj(p, &all, (conj){0});
  for (size_t i = 0; i < n_assert; i++) {
    if (assert[i].n != 1) {
      all = join(p, all, assert[i]);
      continue;
    }
    for (size_t k = 0; k < assert[i].c[0].n; k++) {
      const atom *a = assert[i].c[0].a[k];
      is_false |= decide(a) == 0;
      if (bounds_input(a))
        narrow(&base, a);
      else
        shared = both(p, shared, (conj){1, &a});
    }
  }
  for (size_t i = 0; i < all.n && !is_false; i++) {
    bool is_dead = false;
    memcpy(box.lo, base.lo, n_x * sizeof *box.lo);
    memcpy(box.hi, base.hi, n_x * sizeof *box.hi);
    for (size_t k = 0; k < all.c[i].n; k++) {
      is_dead |= decide(all.c[i].a[k]) == 0;
      if (bounds_input(all.c[i].a[k])) narrow(&box, all.c[i].a[k]);
    }
    for (uint32_t j = 0; j < n_x; j++)
      if (!isfinite(box.lo[j]) || !isfinite(box.hi[j])) REFUSE(p, "input X_%u is not bounded", j);
    if (is_dead) continue;
    ck_box *b = find_box(p, q, &box);
    b->poly = ck_grow(p->c, b->poly, b->n_poly, sizeof *b->poly);
    ck_poly *poly = &b->poly[b->n_poly++];
    *poly = (ck_poly){0};
    for (size_t k = 0; k < shared.n; k++) add_row(p, poly, shared.a[k]);
    for (size_t k = 0; k < all.c[i].n; k++)
      if (!bounds_input(all.c[i].a[k])) add_row(p, poly, all.c[i].a[k]);
  }
}

static void declare(parser *p) {
  char *end;
  next(p);
  bool is_y = p->tok[0] == 'Y';
  if ((p->tok[0] != 'X' && !is_y) || p->tok[1] != '_' || strtoul(p->tok + 2, &end, 10) != p->n[is_y] || *end)
    REFUSE(p, "line %llu: expected %c_%u, found '%.40s'", (unsigned long long)p->line, is_y ? 'Y' : 'X', p->n[is_y],
           p->tok);
  p->n[is_y]++;
  next(p);
  expect(p, "Real");
  expect(p, ")");
}

ck_query *ck_read_query(ck *c, const uint8_t *data, size_t n) {
  parser *p = CK_NEW(c, parser, 1);
  *p = (parser){.c = c, .p = (const char *)data, .line = 1};
  dnf *assert = NULL;
  size_t n_assert = 0;
  if (memchr(data, 0, n)) REFUSE(p, "not a text file");
  next(p);
  while (*p->tok) {
    expect(p, "(");
    if (is_word(p, "declare-const")) {
      declare(p);
    } else {
      expect(p, "assert");
      assert = ck_grow(c, assert, n_assert, sizeof *assert);
      assert[n_assert++] = formula(p, 0);
      expect(p, ")");
    }
  }
  if (!p->n[0] || !p->n[1]) REFUSE(p, "no inputs or no outputs are declared");
  ck_query *q = CK_NEW(c, ck_query, 1);
  build(p, q, assert, n_assert);
  q->n_x = p->n[0];
  q->n_y = p->n[1];
  return q;
}
