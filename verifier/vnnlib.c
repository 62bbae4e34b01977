/* VNN-LIB 1.0's declarations and commands, and the way from a file of either version to a query. */
#include "verifier/vnnlib.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/vnnlib2.h"
#include "verifier/vnnlib_expr.h"

typedef ep_vnn_parser parser;

/* X_i and Y_j declared so far. */
typedef struct names {
  uint8_t *seen[2];
  size_t cap[2];
  uint32_t n_seen[2];
} names;

#define FAIL(p, ...) EP_VNN_FAIL(p, __VA_ARGS__)

/* X_12 -> 24, Y_3 -> 7. */
static bool parse_variable(const char *s, uint32_t *v) {
  if ((s[0] != 'X' && s[0] != 'Y') || s[1] != '_' || !isdigit((unsigned char)s[2]) || strlen(s) > 12) return false;
  if (s[2] == '0' && s[3]) return false;
  char *end;
  unsigned long k = strtoul(s + 2, &end, 10);
  if (*end || k >= EP_VNNLIB_MAX_VARS) return false;
  *v = (uint32_t)k * 2 + (s[0] == 'Y');
  return true;
}

static bool is_declared(const names *n, uint32_t v) { return v / 2 < n->cap[v & 1] && n->seen[v & 1][v / 2]; }

static ep_status variable(parser *p, bool *is_variable, uint32_t *v) {
  *is_variable = parse_variable(p->lex.text, v);
  if (!*is_variable) return EP_OK;
  if (!is_declared(p->names, *v)) return FAIL(p, "'%s' is not declared", p->lex.text);
  return ep_vnn_next(p);
}

static ep_status declare(parser *p) {
  uint32_t v;
  names *n = p->names;
  EP_TRY(ep_vnn_next(p));
  if (p->lex.tok != EP_TOK_ATOM || !parse_variable(p->lex.text, &v))
    return FAIL(p, "expected a variable X_i or Y_i, found '%.60s'", ep_vnn_found(p));
  if (is_declared(n, v)) return FAIL(p, "'%s' is declared twice", p->lex.text);
  uint32_t k = v & 1, i = v / 2;
  if (i >= n->cap[k]) {
    size_t cap = n->cap[k] ? n->cap[k] : 256;
    while (cap <= i) cap *= 2;
    uint8_t *t = ep_realloc(p->ctx, n->seen[k], cap);
    if (!t) return EP_E_NOMEM;
    memset(t + n->cap[k], 0, cap - n->cap[k]);
    n->seen[k] = t;
    n->cap[k] = cap;
  }
  n->seen[k][i] = 1;
  n->n_seen[k]++;
  if (i + 1 > *(k ? &p->n_y : &p->n_x)) *(k ? &p->n_y : &p->n_x) = i + 1;
  EP_TRY(ep_vnn_next(p));
  if (p->lex.tok == EP_TOK_OPEN) { /* declare-fun X_0 () Real */
    EP_TRY(ep_vnn_next(p));
    EP_TRY(ep_vnn_expect(p, EP_TOK_CLOSE, "')'"));
  }
  if (!ep_vnn_is_atom(p, "Real")) return FAIL(p, "expected 'Real', found '%.60s'", ep_vnn_found(p));
  return ep_vnn_next(p);
}

/* ---- commands ---- */

static ep_status skip_command(parser *p) {
  for (unsigned depth = 1; depth;) {
    EP_TRY(ep_vnn_next(p));
    if (p->lex.tok == EP_TOK_END) return FAIL(p, "expected ')', found end of file");
    depth += p->lex.tok == EP_TOK_OPEN;
    depth -= p->lex.tok == EP_TOK_CLOSE;
  }
  return ep_vnn_next(p);
}

/* One command, after its opening bracket. */
static ep_status command(parser *p) {
  if (ep_vnn_is_atom(p, "declare-const") || ep_vnn_is_atom(p, "declare-fun")) {
    EP_TRY(declare(p));
    return ep_vnn_expect(p, EP_TOK_CLOSE, "')'");
  }
  if (ep_vnn_is_atom(p, "assert")) return ep_vnn_assertion(p);
  static const char *const tolerated[] = {"set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"};
  for (size_t i = 0; i < sizeof tolerated / sizeof *tolerated; i++)
    if (ep_vnn_is_atom(p, tolerated[i])) return skip_command(p);
  return FAIL(p, "expected declare-const or assert, found '%.60s'", ep_vnn_found(p));
}

static ep_status finish(parser *p, ep_query **out) {
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

/* The rest of a file of version 1, whose first command is open already unless the file is empty. */
static ep_status parse_v1(parser *p, bool is_open, ep_query **out) {
  const names *n = p->names;
  p->variable = variable;
  if (is_open) EP_TRY(command(p));
  while (p->lex.tok != EP_TOK_END) {
    EP_TRY(ep_vnn_expect(p, EP_TOK_OPEN, "'('"));
    EP_TRY(command(p));
  }
  if (!p->n_x || !p->n_y || n->n_seen[0] != p->n_x || n->n_seen[1] != p->n_y)
    return EP_FAIL(p->ctx, EP_E_SYNTAX, "%s: expected declarations X_0.. and Y_0.. without gaps", p->lex.name);
  return finish(p, out);
}

/* The first command tells the version. */
static ep_status parse(parser *p, ep_query **out) {
  EP_TRY(ep_vnn_next(p));
  bool is_open = p->lex.tok == EP_TOK_OPEN;
  EP_TRY(is_open ? ep_vnn_next(p) : EP_OK);
  if (!is_open || !ep_vnn_is_atom(p, "vnnlib-version")) return parse_v1(p, is_open, out);
  ep_vnnlib2_header header;
  EP_TRY(ep_vnnlib2_parse(p, &header));
  EP_TRY(finish(p, out));
  return ep_vnnlib2_attach(&header, *out);
}

/* A parser and the names of version 1, which it looks into. */
typedef struct reader {
  parser p;
  names n;
} reader;

static ep_status create(ep_ctx *ctx, reader **out) {
  reader *r = *out = ep_calloc(ctx, 1, sizeof *r);
  if (!r) return EP_E_NOMEM;
  ep_vnn_parser_init(&r->p, ctx);
  r->p.names = &r->n;
  return EP_OK;
}

static ep_status run(reader *r, ep_status opened, ep_query **out) {
  ep_ctx *ctx = r->p.ctx;
  *out = NULL;
  ep_status st = opened == EP_OK ? parse(&r->p, out) : opened;
  if (st != EP_OK) {
    ep_query_destroy(*out);
    *out = NULL;
  }
  ep_free(ctx, r->n.seen[0]);
  ep_free(ctx, r->n.seen[1]);
  ep_vnn_parser_clear(&r->p);
  ep_free(ctx, r);
  return st;
}

ep_status ep_vnnlib_read(ep_ctx *ctx, const char *path, ep_query **out) {
  reader *r;
  EP_TRY(create(ctx, &r));
  return run(r, ep_lex_open_file(&r->p.lex, ctx, path), out);
}

ep_status ep_vnnlib_read_bytes(ep_ctx *ctx, const char *name, const void *data, size_t n, ep_query **out) {
  reader *r;
  EP_TRY(create(ctx, &r));
  return run(r, ep_lex_open_bytes(&r->p.lex, ctx, name, data, n), out);
}
