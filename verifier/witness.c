#include "verifier/witness.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/rowcheck.h"
#include "verifier/vnnlib_lex.h"

/* 17 digits identify a double, hence also a float32: fewer would name a nearby number, maybe outside the box. */
static void print_value(FILE *f, char name, uint32_t i, double v) { fprintf(f, "(%c_%u %.17g)", name, i, v); }

ep_status ep_witness_print(ep_ctx *ctx, FILE *f, const ep_query *q, const ep_witness *w) {
  for (uint32_t i = 0; i < q->n_x; i++) {
    fputs(i ? "\n" : "(", f);
    print_value(f, 'X', i, w->x[i]);
  }
  for (uint32_t i = 0; i < q->n_y; i++) {
    fputc('\n', f);
    print_value(f, 'Y', i, w->y[i]);
  }
  fputs(")\n", f);
  return ferror(f) ? EP_FAIL(ctx, EP_E_IO, "cannot write the witness: %s", strerror(errno)) : EP_OK;
}

/* Version 1.0: magic, header padded to a multiple of 64, little-endian float64 (or float32 when exact). */
static void print_npy(FILE *f, const ep_query *q, const ep_witness *w) {
  char dict[96];
  int len = snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (%u,), }",
                     w->is_float32 ? "<f4" : "<f8", q->n_x);
  int total = (10 + len + 1 + 63) / 64 * 64 - 10;
  fwrite("\x93NUMPY\x01\x00", 1, 8, f);
  fputc(total & 255, f);
  fputc(total >> 8, f);
  fprintf(f, "%-*s\n", total - 1, dict);
  for (uint32_t i = 0; i < q->n_x; i++) {
    float x = (float)w->x[i];
    if (w->is_float32)
      fwrite(&x, sizeof x, 1, f);
    else
      fwrite(&w->x[i], sizeof w->x[i], 1, f);
  }
}

ep_status ep_witness_write(ep_ctx *ctx, const char *path, const ep_query *q, const ep_witness *w) {
  size_t n = strlen(path);
  FILE *f = fopen(path, "wb");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  ep_status st = EP_OK;
  if (n > 4 && !strcmp(path + n - 4, ".npy"))
    print_npy(f, q, w);
  else
    st = ep_witness_print(ctx, f, q, w);
  bool is_bad = ferror(f) != 0;
  if (fclose(f) != 0 || is_bad)
    if (st == EP_OK) st = EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  return st;
}

static ep_status read_pair(ep_lex *l, uint32_t n_x, uint32_t n_y, double *x, double *y) {
  char *end;
  EP_TRY(ep_lex_next(l));
  bool is_x = l->text[0] == 'X', is_var = l->tok == EP_TOK_ATOM && (is_x || l->text[0] == 'Y') && l->text[1] == '_';
  is_var = is_var && isdigit((unsigned char)l->text[2]);
  unsigned long i = is_var ? strtoul(l->text + 2, &end, 10) : 0;
  if (!is_var || *end || i >= (is_x ? n_x : n_y))
    return ep_lex_fail(l, EP_E_SYNTAX, "expected a variable of the property, found '%.40s'", l->text);
  double *at = (is_x ? x : y) + i;
  if (*at == *at) return ep_lex_fail(l, EP_E_SYNTAX, "'%.40s' is given twice", l->text);
  EP_TRY(ep_lex_next(l));
  *at = strtod(l->text, &end);
  if (l->tok != EP_TOK_ATOM || end == l->text || *end || !isfinite(*at))
    return ep_lex_fail(l, EP_E_SYNTAX, "expected a number, found '%.40s'", l->text);
  EP_TRY(ep_lex_next(l));
  return l->tok == EP_TOK_CLOSE ? EP_OK : ep_lex_fail(l, EP_E_SYNTAX, "expected ')', found '%.40s'", l->text);
}

static ep_status read_all(ep_lex *l, uint32_t n_x, uint32_t n_y, double *x, double *y) {
  for (uint32_t i = 0; i < n_x; i++) x[i] = (double)NAN;
  for (uint32_t i = 0; i < n_y; i++) y[i] = (double)NAN;
  EP_TRY(ep_lex_next(l));
  if (l->tok != EP_TOK_OPEN) return ep_lex_fail(l, EP_E_SYNTAX, "expected '('");
  EP_TRY(ep_lex_next(l));
  while (l->tok == EP_TOK_OPEN) {
    EP_TRY(read_pair(l, n_x, n_y, x, y));
    EP_TRY(ep_lex_next(l));
  }
  if (l->tok != EP_TOK_CLOSE) return ep_lex_fail(l, EP_E_SYNTAX, "expected '(' or ')', found '%.40s'", l->text);
  EP_TRY(ep_lex_next(l));
  if (l->tok != EP_TOK_END) return ep_lex_fail(l, EP_E_SYNTAX, "expected the end of the file, found '%.40s'", l->text);
  for (uint32_t i = 0; i < n_x + n_y; i++) {
    double v = i < n_x ? x[i] : y[i - n_x];
    if (v != v) return ep_lex_fail(l, EP_E_SYNTAX, "%c_%u is missing", i < n_x ? 'X' : 'Y', i < n_x ? i : i - n_x);
  }
  return EP_OK;
}

ep_status ep_witness_read(ep_ctx *ctx, const char *path, uint32_t n_x, uint32_t n_y, double *x, double *y) {
  ep_lex *l = ep_calloc(ctx, 1, sizeof *l);
  if (!l) return EP_E_NOMEM;
  ep_status st = ep_lex_open_file(l, ctx, path);
  if (st == EP_OK) st = read_all(l, n_x, n_y, x, y);
  ep_lex_close(l);
  ep_free(ctx, l);
  return st;
}

uint32_t ep_witness_check(const ep_query *q, const double *x, const double *y) {
  for (uint32_t i = 0; i < q->n_box; i++) {
    const ep_input_box *b = &q->box[i];
    bool is_in = !b->is_empty && !b->is_proof_only;
    for (uint32_t j = 0; j < q->n_x && is_in; j++) is_in = x[j] >= b->lo_in[j] && x[j] <= b->hi_in[j];
    for (uint32_t p = 0; p < b->n_poly && is_in; p++) {
      bool holds = true;
      for (uint32_t r = 0; r < b->poly[p].n_row && holds; r++)
        holds = ep_row_is_satisfied(&b->poly[p].row[r], ep_row_range(&b->poly[p].row[r], q->n_y, y, y, x, x));
      if (holds) return i;
    }
  }
  return UINT32_MAX;
}
