#include "verifier/witness.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/dataset.h"
#include "models/onnx.h"
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

/* What the query declares, or made-up names for the flattened tensors of other queries. */
static ep_query_declared declared(const ep_query *q) {
  if (q->declared) return *q->declared;
  return (ep_query_declared){.x = {"X", {1, {q->n_x}}}, .y = {"Y", {1, {q->n_y}}}};
}

/* As few decimals as name the number. */
static void print_decimal(FILE *f, double v, bool is_float32) {
  enum { MAX_DECIMALS = 1100 }; /* the smallest doubles take 1074 */
  char t[MAX_DECIMALS + 400];
  for (int n = 1; n <= MAX_DECIMALS; n++) {
    snprintf(t, sizeof t, "%.*f", n, v);
    if (is_float32 ? (double)strtof(t, NULL) == v : strtod(t, NULL) == v) break;
  }
  fprintf(f, "%s\n", t);
}

static void print_tensor(FILE *f, const ep_query_tensor *t, bool is_float32, const double *v, uint32_t n) {
  char shape[128];
  fprintf(f, "%s %s %s\n", t->name, is_float32 ? "float32" : "real", ep_shape_text(&t->shape, shape, sizeof shape));
  for (uint32_t i = 0; i < n; i++) print_decimal(f, v[i], is_float32);
}

ep_status ep_witness_print_assignment(ep_ctx *ctx, FILE *f, const ep_query *q, const ep_witness *w) {
  ep_query_declared d = declared(q);
  print_tensor(f, &d.x, d.is_float32, w->x, q->n_x);
  print_tensor(f, &d.y, d.is_float32, w->y, q->n_y);
  return ferror(f) ? EP_FAIL(ctx, EP_E_IO, "cannot write the assignment: %s", strerror(errno)) : EP_OK;
}

static ep_status serialise(ep_ctx *ctx, const char *dir, const ep_query_tensor *t, const double *v, bool is_float32) {
  size_t n = strlen(dir) + strlen(t->name) + sizeof "/.pb";
  char *path = ep_alloc(ctx, n);
  if (!path) return EP_E_NOMEM;
  snprintf(path, n, "%s/%s.pb", dir, t->name);
  ep_tensor tensor = {
      .dtype = is_float32 ? EP_DT_F32 : EP_DT_F64, .shape = t->shape, .n = ep_shape_count(&t->shape), .f64 = v};
  ep_status st = ep_onnx_write_tensor(ctx, path, t->name, &tensor);
  ep_free(ctx, path);
  return st;
}

ep_status ep_witness_serialise(ep_ctx *ctx, const char *dir, const ep_query *q, const ep_witness *w) {
  ep_query_declared d = declared(q);
  if (mkdir(dir, 0777) != 0 && errno != EEXIST) return EP_FAIL(ctx, EP_E_IO, "%s: %s", dir, strerror(errno));
  /* real has no element type of its own: float64 holds what float32 does not */
  EP_TRY(serialise(ctx, dir, &d.x, w->x, d.is_float32 || w->is_float32));
  return serialise(ctx, dir, &d.y, w->y, true);
}

/* Float32 when that is exact. */
static void print_npy(FILE *f, const ep_query *q, const ep_witness *w) {
  ep_dataset_npy_head(f, w->is_float32 ? "<f4" : "<f8", 1, &q->n_x);
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
