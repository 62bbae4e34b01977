#include "verifier/vnnlib2.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/vnnlib.h"

typedef ep_vnn_parser parser;

#define FAIL(p, ...) EP_VNN_FAIL(p, __VA_ARGS__)
#define REFUSE(p, ...) ep_lex_fail(&(p)->lex, EP_E_UNSUPPORTED, __VA_ARGS__)

const char *const ep_vnnlib2_versions[] = {"2.0", "2.1", NULL};
enum { REAL, FLOAT32 };
const char *const ep_vnnlib2_types[] = {[REAL] = "real", [FLOAT32] = "float32", NULL};

/* ---- words ---- */

/* letter (letter | digit | _)* */
static bool is_name(const parser *p) {
  const char *s = p->lex.text;
  if (p->lex.tok != EP_TOK_ATOM || !isalpha((unsigned char)*s)) return false;
  while (isalnum((unsigned char)*s) || *s == '_') s++;
  return !*s;
}

static ep_status keep(parser *p, const char **out) {
  *out = ep_arena_strdup(&p->store.arena, p->lex.text);
  return *out ? ep_vnn_next(p) : EP_E_NOMEM;
}

static ep_status new_name(parser *p, const ep_vnnlib2_header *h, const char **out) {
  if (!is_name(p)) return FAIL(p, "expected a name, found '%.60s'", ep_vnn_found(p));
  const char *const taken[] = {h->network, h->x.name, h->y.name};
  for (size_t i = 0; i < 3; i++)
    if (taken[i] && ep_vnn_is_atom(p, taken[i])) return FAIL(p, "the name '%.60s' is taken already", p->lex.text);
  return keep(p, out);
}

static ep_status take_atom(parser *p, const char *text) {
  if (!ep_vnn_is_atom(p, text)) return FAIL(p, "expected '%s', found '%.60s'", text, ep_vnn_found(p));
  return ep_vnn_next(p);
}

/* "[" numbers "]", at most `max` of them. */
static ep_status dimensions(parser *p, uint32_t max, uint32_t *n, int64_t *out) {
  *n = 0;
  EP_TRY(take_atom(p, "["));
  while (!ep_vnn_is_atom(p, "]") || *n) {
    const char *s = p->lex.text;
    size_t len = strspn(s, "0123456789");
    if (p->lex.tok != EP_TOK_ATOM || !len || s[len] || len > 9)
      return FAIL(p, "expected a whole number, found '%.60s'", ep_vnn_found(p));
    if (*n == max) return FAIL(p, "expected ']' after %u numbers, found '%.60s'", max, s);
    out[(*n)++] = strtol(s, NULL, 10);
    EP_TRY(ep_vnn_next(p));
    if (!ep_vnn_is_atom(p, ",")) break;
    EP_TRY(ep_vnn_next(p));
  }
  return take_atom(p, "]");
}

/* ---- declarations ---- */

static ep_status element_type(parser *p, bool is_first, bool *is_float32) {
  size_t type = 0;
  while (ep_vnnlib2_types[type] && !ep_vnn_is_atom(p, ep_vnnlib2_types[type])) type++;
  if (ep_vnn_is_atom(p, "Real")) type = REAL; /* so the standard's text has it, though not its grammar */
  if (!ep_vnnlib2_types[type])
    return is_name(p) ? REFUSE(p, "element type '%.60s' is not supported, only real and float32", p->lex.text)
                      : FAIL(p, "expected an element type, found '%.60s'", ep_vnn_found(p));
  bool is_f32 = type == FLOAT32;
  if (!is_first && is_f32 != *is_float32) return REFUSE(p, "the types real and float32 together are not supported");
  *is_float32 = is_f32;
  return ep_vnn_next(p);
}

/* NAME TYPE SHAPE ")", after declare-input or declare-output. */
static ep_status tensor(parser *p, ep_vnnlib2_header *h, bool is_first, ep_query_tensor *out, uint32_t *n) {
  EP_TRY(ep_vnn_next(p));
  EP_TRY(new_name(p, h, &out->name));
  EP_TRY(element_type(p, is_first, &h->is_float32));
  EP_TRY(dimensions(p, EP_MAX_RANK, &out->shape.rank, out->shape.dim));
  size_t count = ep_shape_count(&out->shape);
  if (!count || count > EP_VNNLIB_MAX_VARS)
    return FAIL(p, "a tensor of %zu elements (1 to %u are read)", count, EP_VNNLIB_MAX_VARS);
  *n = (uint32_t)count;
  if (ep_vnn_is_atom(p, "initialized")) return REFUSE(p, "initialized inputs are not supported");
  return ep_vnn_expect(p, EP_TOK_CLOSE, "')'");
}

/* What can only be told about a declaration that is not supported. */
static ep_status refuse_declaration(parser *p, const char *what) {
  EP_TRY(ep_vnn_next(p));
  return REFUSE(p, "%s ('%.60s') are not supported", what, ep_vnn_found(p));
}

/* "(declare-network NAME (declare-input ..) (declare-output ..))" after its opening bracket. */
static ep_status network(parser *p, ep_vnnlib2_header *h) {
  EP_TRY(take_atom(p, "declare-network"));
  EP_TRY(new_name(p, h, &h->network));
  while (p->lex.tok != EP_TOK_CLOSE) {
    EP_TRY(ep_vnn_expect(p, EP_TOK_OPEN, h->y.name ? "')'" : "'('"));
    if (ep_vnn_is_atom(p, "equal-to") || ep_vnn_is_atom(p, "isomorphic-to"))
      return refuse_declaration(p, "relations to other networks");
    if (ep_vnn_is_atom(p, "declare-hidden")) return refuse_declaration(p, "hidden tensors");
    bool is_input = ep_vnn_is_atom(p, "declare-input"), is_output = ep_vnn_is_atom(p, "declare-output");
    if (!is_input && !is_output)
      return FAIL(p, "expected declare-input or declare-output, found '%.60s'", ep_vnn_found(p));
    if (is_output && !h->x.name) return FAIL(p, "expected declare-input before declare-output");
    if (is_input && h->y.name) return FAIL(p, "expected ')': inputs are declared before outputs");
    if (is_input && h->x.name) return refuse_declaration(p, "several inputs");
    if (is_output && h->y.name) return refuse_declaration(p, "several outputs");
    EP_TRY(tensor(p, h, is_input, is_input ? &h->x : &h->y, is_input ? &p->n_x : &p->n_y));
  }
  if (!h->y.name) return FAIL(p, "expected %s, found ')'", h->x.name ? "declare-output" : "declare-input");
  return ep_vnn_next(p);
}

/* ---- elements ---- */

/* NAME or NAME[i,j,..], full rank, row-major. */
static ep_status element(parser *p, bool *is_variable, uint32_t *v) {
  const ep_vnnlib2_header *h = p->names;
  *is_variable = is_name(p);
  if (!*is_variable) return EP_OK;
  bool is_y = ep_vnn_is_atom(p, h->y.name);
  if (!is_y && !ep_vnn_is_atom(p, h->x.name)) return FAIL(p, "'%.60s' is not declared", p->lex.text);
  const ep_query_tensor *t = is_y ? &h->y : &h->x;
  char text[128];
  int64_t index[EP_MAX_RANK];
  uint32_t rank = 0, flat = 0;
  EP_TRY(ep_vnn_next(p));
  if (t->shape.rank || ep_vnn_is_atom(p, "[")) EP_TRY(dimensions(p, EP_MAX_RANK, &rank, index));
  if (rank != t->shape.rank)
    return FAIL(p, "'%s' has %u indices, its shape is %s", t->name, rank, ep_shape_text(&t->shape, text, sizeof text));
  for (uint32_t k = 0; k < rank; k++) {
    if (index[k] >= t->shape.dim[k])
      return FAIL(p, "index %lld of '%s' is out of range, its shape is %s", (long long)index[k], t->name,
                  ep_shape_text(&t->shape, text, sizeof text));
    flat = flat * (uint32_t)t->shape.dim[k] + (uint32_t)index[k];
  }
  *v = 2 * flat + is_y;
  return EP_OK;
}

/* ---- the whole ---- */

static ep_status version(parser *p) {
  EP_TRY(ep_vnn_next(p));
  const char *s = p->lex.text;
  size_t n = strlen(s);
  if (p->lex.tok != EP_TOK_ATOM || n < 3 || *s != '<' || s[n - 1] != '>')
    return FAIL(p, "expected a version such as <2.0>, found '%.60s'", ep_vnn_found(p));
  bool is_known = false;
  for (size_t i = 0; ep_vnnlib2_versions[i]; i++)
    is_known |= strlen(ep_vnnlib2_versions[i]) == n - 2 && !memcmp(s + 1, ep_vnnlib2_versions[i], n - 2);
  if (!is_known)
    return REFUSE(p, "VNN-LIB version %.60s is not supported, only <2.0> and <2.1> (1.0 has no such line)", s);
  p->lex.has_lists = true; /* from here on [ ] , are tokens */
  EP_TRY(ep_vnn_next(p));
  return ep_vnn_expect(p, EP_TOK_CLOSE, "')'");
}

ep_status ep_vnnlib2_parse(parser *p, ep_vnnlib2_header *h) {
  *h = (ep_vnnlib2_header){0};
  p->is_v2 = true;
  EP_TRY(version(p));
  EP_TRY(ep_vnn_expect(p, EP_TOK_OPEN, "'(' of declare-network"));
  EP_TRY(network(p, h));
  p->names = h;
  p->store.declared = h;
  p->variable = element;
  p->is_float32 = h->is_float32;
  while (p->lex.tok != EP_TOK_END) {
    EP_TRY(ep_vnn_expect(p, EP_TOK_OPEN, "'('"));
    if (ep_vnn_is_atom(p, "declare-network")) return refuse_declaration(p, "several networks");
    if (!ep_vnn_is_atom(p, "assert")) return FAIL(p, "expected assert, found '%.60s'", ep_vnn_found(p));
    EP_TRY(ep_vnn_assertion(p));
  }
  return p->n_assert ? EP_OK : FAIL(p, "expected an assertion, found end of file");
}

static ep_status copy_name(ep_query *q, const char *name, const char **out) {
  *out = ep_arena_strdup(&q->arena, name);
  return *out ? EP_OK : EP_E_NOMEM;
}

ep_status ep_vnnlib2_attach(const ep_vnnlib2_header *h, ep_query *q) {
  ep_query_declared *d = EP_ARENA(&q->arena, ep_query_declared, 1);
  if (!d) return EP_E_NOMEM;
  *d = *h;
  EP_TRY(copy_name(q, h->network, &d->network));
  EP_TRY(copy_name(q, h->x.name, &d->x.name));
  EP_TRY(copy_name(q, h->y.name, &d->y.name));
  q->declared = d;
  return EP_OK;
}
