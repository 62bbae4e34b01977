/* The property: VNN-LIB 1.0, or 2 for one network, as a disjunction of conjunctions, in the order that certificates
 * count in. Numbers become the tightest intervals of doubles that contain them; in a query of type float32 they are the
 * nearest float32 number. */
#include <ctype.h>
#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"

enum { MAX_DEPTH = 200, MAX_CONJUNCTS = 1 << 20, MAX_NUMBER = 400, MAX_RANK = 8, MAX_ELEMENTS = 1 << 24 };

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

/* VNN-LIB 2: a declared tensor. */
typedef struct tensor {
  char name[MAX_NUMBER + 1];
  uint32_t rank, dim[MAX_RANK];
} tensor;

typedef struct parser {
  ck *c;
  const char *p;
  unsigned long long line;
  char tok[MAX_NUMBER + 1]; /* a bracket, a comma or a word; "" = the end */
  uint32_t n[2];            /* inputs, outputs declared */
  bool is_v2, is_f32;       /* VNN-LIB 2, of type float32 */
  tensor t[2];              /* its input, its output */
} parser;

#define REFUSE(p, ...) ck_bad_input((p)->c, "property, " __VA_ARGS__)
#define REFUSE_HERE(p, what) REFUSE(p, "line %llu: " what ", found '%.40s'", (p)->line, (p)->tok)

/* ---- intervals ---- */

/* a + b rounded towards `to`, unless it is exact (Knuth's two-sum tells). */
static double add_towards(double a, double b, double to) {
  double s = a + b, t = s - a;
  return (a - (s - t)) + (b - t) == 0 ? s : nextafter(s, to);
}

static itv itv_add(itv a, itv b) {
  return (itv){add_towards(a.lo, b.lo, -INFINITY), add_towards(a.hi, b.hi, INFINITY)};
}

/* The same for a product, whose error fma tells unless it underflows. */
static double mul_towards(double a, double b, double to) {
  double p = a * b;
  bool is_plain = a == 0 || b == 0 || fabs(a) == 1 || fabs(b) == 1;
  return is_plain || (fabs(p) > 0x1p-900 && fma(a, b, -p) == 0) ? p : nextafter(p, to);
}

static itv itv_mul(itv a, itv b) {
  double lo = -INFINITY, hi = INFINITY;
  return (itv){fmin(fmin(mul_towards(a.lo, b.lo, lo), mul_towards(a.lo, b.hi, lo)),
                    fmin(mul_towards(a.hi, b.lo, lo), mul_towards(a.hi, b.hi, lo))),
               fmax(fmax(mul_towards(a.lo, b.lo, hi), mul_towards(a.lo, b.hi, hi)),
                    fmax(mul_towards(a.hi, b.lo, hi), mul_towards(a.hi, b.hi, hi)))};
}

/* [+-]digits[.digits][e[+-]digits]; strtod rounds correctly in every mode. */
static bool number(const parser *p, itv *out) {
  const char *t = p->tok, *s = t + (*t == '-' || *t == '+');
  char *end;
  if (!isdigit((unsigned char)s[*s == '.']) || s[strspn(s, "0123456789.eE+-")]) return false;
  fesetround(FE_DOWNWARD);
  out->lo = strtod(t, &end);
  fesetround(FE_UPWARD);
  out->hi = strtod(t, NULL);
  fesetround(FE_TONEAREST);
  if (p->is_f32) out->lo = out->hi = (double)strtof(t, NULL);
  return !*end && isfinite(out->lo) && isfinite(out->hi);
}

/* ---- words ---- */

static void next(parser *p) {
  for (;; p->p++) {
    if (*p->p == ';') p->p += strcspn(p->p, "\n");
    if (*p->p == '\n') p->line++;
    if (!isspace((unsigned char)*p->p)) break;
  }
  size_t n = *p->p && strchr("()[],", *p->p) ? 1 : strcspn(p->p, "()[],; \t\r\n\f\v");
  if (n > MAX_NUMBER) REFUSE(p, "line %llu: a word of %zu letters", p->line, n);
  memcpy(p->tok, p->p, n);
  p->tok[n] = 0;
  p->p += n;
}

static bool is_word(const parser *p, const char *w) { return !strcmp(p->tok, w); }

static void expect(parser *p, const char *w) {
  if (!is_word(p, w)) REFUSE(p, "line %llu: expected '%s', found '%.40s'", p->line, w, p->tok);
  next(p);
}

static uint32_t whole_number(parser *p) {
  char *end;
  unsigned long v = strtoul(p->tok, &end, 10);
  if (!isdigit((unsigned char)p->tok[0]) || *end || v > MAX_ELEMENTS) REFUSE_HERE(p, "expected a whole number");
  next(p);
  return (uint32_t)v;
}

/* NAME[i,j,..]: all indices, row-major. */
static bool element(parser *p, uint32_t *v) {
  bool is_y = is_word(p, p->t[1].name);
  const tensor *t = &p->t[is_y];
  if (!is_word(p, t->name)) return false;
  next(p);
  *v = 0;
  for (uint32_t k = 0, i; k < t->rank; k++) {
    expect(p, k ? "," : "[");
    if ((i = whole_number(p)) >= t->dim[k])
      REFUSE(p, "line %llu: index %u of %.40s is out of range", p->line, i, t->name);
    *v = *v * t->dim[k] + i;
  }
  if (t->rank) expect(p, "]");
  *v = 2 * *v + is_y;
  return true;
}

static bool variable(parser *p, uint32_t *v) {
  char *end;
  if (p->is_v2) return element(p, v);
  if ((p->tok[0] != 'X' && p->tok[0] != 'Y') || p->tok[1] != '_' || !isdigit((unsigned char)p->tok[2])) return false;
  unsigned long i = strtoul(p->tok + 2, &end, 10);
  bool is_y = p->tok[0] == 'Y';
  if (*end || i >= p->n[is_y]) return false;
  *v = (uint32_t)(2 * i + is_y);
  next(p);
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
  linear out = {0};
  uint32_t v;
  if (depth > MAX_DEPTH) REFUSE_HERE(p, "nested too deeply");
  if (!is_word(p, "(")) {
    if (variable(p, &v)) {
      add_scaled(p, &out, &(linear){1, &v, &(itv){1, 1}, {0, 0}}, (itv){1, 1});
      return out;
    }
    if (!number(p, &out.c)) REFUSE_HERE(p, "expected a declared variable or a number");
    next(p);
    return out;
  }
  next(p);
  char op = p->tok[0];
  if (p->tok[0] == 0 || p->tok[1] || !strchr("+-*", op)) REFUSE_HERE(p, "unknown operation");
  next(p);
  linear x = term(p, depth + 1);
  bool is_negation = op == '-' && is_word(p, ")");
  add_scaled(p, &out, &x, (itv){is_negation ? -1 : 1, is_negation ? -1 : 1});
  while (!is_word(p, ")")) {
    x = term(p, depth + 1);
    linear t = {0};
    if (p->is_f32) REFUSE_HERE(p, "operations of type float32 are not supported");
    if (op == '*' && out.n && x.n) REFUSE_HERE(p, "a product of variables");
    if (op == '*') add_scaled(p, &t, out.n ? &out : &x, out.n ? x.c : out.c);
    if (op == '*') out = t;
    if (op != '*') add_scaled(p, &out, &x, op == '+' ? (itv){1, 1} : (itv){-1, -1});
  }
  next(p);
  return out;
}

/* ---- formulas ---- */

static void add_conj(parser *p, dnf *d, conj c) {
  if (d->n >= MAX_CONJUNCTS) REFUSE(p, "too many disjuncts in normal form");
  d->c = ck_grow(p->c, d->c, d->n, sizeof *d->c);
  d->c[d->n++] = c;
}

static dnf join(parser *p, dnf d, dnf e) {
  dnf r = {0};
  for (size_t i = 0; i < d.n * e.n; i++) {
    conj a = d.c[i / e.n], b = e.c[i % e.n], c = {a.n + b.n, CK_NEW(p->c, const atom *, a.n + b.n)};
    if (a.n) memcpy(c.a, a.a, a.n * sizeof *c.a);
    if (b.n) memcpy(c.a + a.n, b.a, b.n * sizeof *c.a);
    add_conj(p, &r, c);
  }
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
  if (depth > MAX_DEPTH) REFUSE_HERE(p, "nested too deeply");
  expect(p, "(");
  bool is_and = is_word(p, "and"), is_or = is_word(p, "or");
  if (is_and || is_or) {
    next(p);
    if (is_word(p, ")")) REFUSE_HERE(p, "'and' or 'or' without arguments");
    if (is_and) add_conj(p, &out, (conj){0});
    while (!is_word(p, ")")) {
      dnf d = formula(p, depth + 1);
      if (is_and) out = join(p, out, d);
      for (size_t i = 0; is_or && i < d.n; i++) add_conj(p, &out, d.c[i]);
    }
    next(p);
    return out;
  }
  static const char *const cmp[] = {"<=", "<", ">=", ">", "=", "==", "!="}; /* the last two in version 2 */
  size_t at = 0, n_cmp = p->is_v2 ? 7 : 5;
  while (at < n_cmp && !is_word(p, cmp[at])) at++;
  if (at == n_cmp) REFUSE_HERE(p, "expected a formula");
  char op = p->tok[0];
  bool is_unequal = op == '!', is_strict = is_unequal || (!p->tok[1] && op != '=');
  next(p);
  linear a = term(p, depth), b = term(p, depth);
  conj c = {0, CK_NEW(p->c, const atom *, 2)};
  if (op != '>') c.a[c.n++] = make_atom(p, &a, &b, is_strict);
  if (op != '<') c.a[c.n++] = make_atom(p, &b, &a, is_strict);
  expect(p, ")");
  if (is_unequal) add_conj(p, &out, (conj){1, c.a++}); /* a < b or a > b */
  c.n -= is_unequal;
  add_conj(p, &out, c);
  return out;
}

/* ---- normal form ---- */

static bool bounds_input(const atom *a) {
  return a->l.n == 1 && !(a->l.var[0] & 1) && (a->l.coef[0].lo > 0 || a->l.coef[0].hi < 0);
}

/* c + coef x <= 0 narrows x; only coefficients +-1 without rounding, others step outward. */
static void narrow(ck_box *b, const atom *a) {
  itv k = a->l.coef[0];
  double c = a->l.c.lo, v = k.lo > 0 ? fmax(-c / k.lo, -c / k.hi) : fmin(-c / k.lo, -c / k.hi);
  double *end = k.lo > 0 ? &b->hi[a->l.var[0] / 2] : &b->lo[a->l.var[0] / 2];
  if (k.lo != k.hi || fabs(k.lo) != 1) v = nextafter(v, k.lo > 0 ? INFINITY : -INFINITY);
  *end = k.lo > 0 ? fmin(*end, v) : fmax(*end, v);
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

/* Assertions with one conjunct hold everywhere, the others are distributed over each other. */
static void build(parser *p, ck_query *q, const dnf *assert, size_t n_assert) {
  uint32_t n_x = p->n[0];
  ck_box box = {CK_NEW(p->c, double, n_x), CK_NEW(p->c, double, n_x), false, 0, NULL};
  conj of[2] = {{0}}; /* everywhere, of one disjunct */
  dnf all = {0};
  add_conj(p, &all, (conj){0});
  for (size_t i = 0; i < n_assert; i++) {
    if (assert[i].n != 1) all = join(p, all, assert[i]);
    for (size_t k = 0; assert[i].n == 1 && k < assert[i].c[0].n; k++) {
      of[0].a = ck_grow(p->c, of[0].a, of[0].n, sizeof *of[0].a);
      of[0].a[of[0].n++] = assert[i].c[0].a[k];
    }
  }
  for (size_t i = 0; i < all.n; i++) {
    bool is_dead = false;
    of[1] = all.c[i];
    for (uint32_t j = 0; j < n_x; j++) box.lo[j] = -INFINITY, box.hi[j] = INFINITY;
    for (int side = 0; side < 2; side++)
      for (size_t k = 0; k < of[side].n; k++) {
        is_dead |= decide(of[side].a[k]) == 0;
        if (bounds_input(of[side].a[k])) narrow(&box, of[side].a[k]);
      }
    for (uint32_t j = 0; j < n_x; j++)
      if (!isfinite(box.lo[j]) || !isfinite(box.hi[j])) REFUSE(p, "input %u is not bounded", j);
    if (is_dead) continue;
    ck_box *b = find_box(p, q, &box);
    b->poly = ck_grow(p->c, b->poly, b->n_poly, sizeof *b->poly);
    ck_poly *poly = &b->poly[b->n_poly++];
    *poly = (ck_poly){0};
    for (int side = 0; side < 2; side++)
      for (size_t k = 0; k < of[side].n; k++)
        if (!bounds_input(of[side].a[k])) add_row(p, poly, of[side].a[k]);
  }
}

static void declare(parser *p) {
  char want[16];
  next(p);
  bool is_y = p->tok[0] == 'Y';
  snprintf(want, sizeof want, "%c_%u", is_y ? 'Y' : 'X', p->n[is_y]++);
  expect(p, want);
  expect(p, "Real");
  expect(p, ")");
}

/* VNN-LIB 2: (declare-input NAME TYPE SHAPE), or the same for the output. */
static void declare_tensor(parser *p, bool is_y) {
  tensor *t = &p->t[is_y];
  uint64_t n = 1;
  expect(p, "(");
  expect(p, is_y ? "declare-output" : "declare-input");
  if (!isalpha((unsigned char)p->tok[0]) || is_word(p, p->t[0].name)) REFUSE_HERE(p, "expected a new name");
  memcpy(t->name, p->tok, sizeof t->name);
  next(p);
  bool is_f32 = is_word(p, "float32"), is_real = is_word(p, "real") || is_word(p, "Real");
  if (!(is_f32 || is_real) || (is_y && is_f32 != p->is_f32)) REFUSE_HERE(p, "expected one type, real or float32");
  p->is_f32 = is_f32;
  next(p);
  for (expect(p, "["); !is_word(p, "]"); n *= t->dim[t->rank++]) {
    if (t->rank) expect(p, ",");
    uint32_t d = whole_number(p);
    if (!d || n * d > MAX_ELEMENTS || t->rank == MAX_RANK) REFUSE_HERE(p, "empty or too large");
    t->dim[t->rank] = d;
  }
  next(p);
  expect(p, ")");
  p->n[is_y] = (uint32_t)n;
}

static void read_network(parser *p) {
  next(p);
  if (!is_word(p, "<2.0>") && !is_word(p, "<2.1>")) REFUSE(p, "VNN-LIB version %.40s is not supported", p->tok);
  static const char *const words[] = {")", "(", "declare-network"}; /* then its name */
  next(p);
  for (size_t i = 0; i < 3; i++) expect(p, words[i]);
  next(p);
  declare_tensor(p, false);
  declare_tensor(p, true);
  expect(p, ")");
  p->is_v2 = true;
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
    if (!p->is_v2 && is_word(p, "declare-const")) {
      declare(p);
    } else if (!p->n[0] && !p->n[1] && !n_assert && is_word(p, "vnnlib-version")) {
      read_network(p);
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
