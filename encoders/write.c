#include "encoders/write.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { NAME_MAX_CHARS = 48, PER_LINE = 6 };

/* Comment lines, each with its mark. */
static void comment_lines(FILE *out, const char *mark, const char *text) {
  while (*text) {
    size_t n = strcspn(text, "\n");
    fprintf(out, "%s%.*s\n", mark, (int)n, text);
    text += n + (text[n] == '\n');
  }
}

static ep_status finish(const ep_prob *p, FILE *out) {
  return fflush(out) != 0 || ferror(out) ? EP_FAIL(p->ctx, EP_E_IO, "cannot write the encoding") : EP_OK;
}

/* ---- SMT-LIB ---- */

static void smt_number(FILE *out, double x) {
  char text[EP_DECIMAL_MAX];
  ep_prob_decimal(fabs(x), text, sizeof text);
  fprintf(out, x < 0 ? "(- %s)" : "%s", text);
}

static void smt_sum(const ep_prob *p, const ep_prob_row *r, FILE *out) {
  char name[NAME_MAX_CHARS];
  if (!r->n) fputs("0.0", out);
  if (r->n > 1) fputs("(+", out);
  for (uint32_t k = 0; k < r->n; k++) {
    if (r->n > 1) fputc(' ', out);
    if (r->coef[k] == 1) {
      fputs(ep_prob_var_name(p, r->var[k], name, sizeof name), out);
      continue;
    }
    fputs("(* ", out);
    smt_number(out, r->coef[k]);
    fprintf(out, " %s)", ep_prob_var_name(p, r->var[k], name, sizeof name));
  }
  if (r->n > 1) fputc(')', out);
}

static void smt_side(const ep_prob *p, const ep_prob_row *r, const char *relation, double end, FILE *out) {
  fprintf(out, "(%s ", relation);
  smt_sum(p, r, out);
  fputc(' ', out);
  smt_number(out, end);
  fputc(')', out);
}

static void smt_row(const ep_prob *p, const ep_prob_row *r, FILE *out) {
  bool has_lo = r->lo > -INFINITY, has_hi = r->hi < INFINITY;
  if (r->lo == INFINITY || r->hi == -INFINITY)
    fputs("false", out);
  else if (r->lo == r->hi && !r->is_lo_strict && !r->is_hi_strict)
    smt_side(p, r, "=", r->lo, out);
  else if (!has_lo && !has_hi)
    fputs("true", out);
  else {
    if (has_lo && has_hi) fputs("(and ", out);
    if (has_lo) smt_side(p, r, r->is_lo_strict ? ">" : ">=", r->lo, out);
    if (has_lo && has_hi) fputc(' ', out);
    if (has_hi) smt_side(p, r, r->is_hi_strict ? "<" : "<=", r->hi, out);
    if (has_lo && has_hi) fputc(')', out);
  }
}

static void smt_disjunction(const ep_prob *p, const ep_prob_disj *d, FILE *out) {
  fputs("(assert (or", out);
  for (uint32_t c = 0; c < d->n; c++) {
    const ep_prob_choice *ch = &p->choice[d->first + c];
    fputs("\n  (and true", out);
    for (uint32_t k = ch->first; k < ch->first + ch->n; k++) {
      fputc(' ', out);
      smt_row(p, &p->choice_row[k], out);
    }
    fputc(')', out);
  }
  fputs("))\n", out);
}

ep_status ep_write_smt2(const ep_prob *p, const char *comment, FILE *out) {
  char name[NAME_MAX_CHARS];
  assert(!p->n_goal);
  comment_lines(out, "; ", comment);
  fputs("(set-logic QF_LRA)\n", out);
  for (uint32_t v = 0; v < p->n_var; v++) {
    ep_prob_row r = {.n = 1, .var = &v, .coef = (const double[]){1}, .lo = p->lo[v], .hi = p->hi[v]};
    fprintf(out, "(declare-fun %s () Real)\n(assert ", ep_prob_var_name(p, v, name, sizeof name));
    smt_row(p, &r, out);
    fputs(")\n", out);
  }
  for (uint32_t i = 0; i < p->n_row; i++) {
    fputs("(assert ", out);
    smt_row(p, &p->row[i], out);
    fputs(")\n", out);
  }
  for (uint32_t d = 0; d < p->n_disj; d++) smt_disjunction(p, &p->disj[d], out);
  fputs("(check-sat)\n", out);
  return finish(p, out);
}

/* ---- CPLEX LP ---- */

static bool is_binary(const ep_prob *p, uint32_t v) { return p->origin_value[v] == EP_ORIGIN_BINARY; }

static void lp_side(const ep_prob *p, uint32_t i, const char *relation, double end, FILE *out) {
  const ep_prob_row *r = &p->row[i];
  char name[NAME_MAX_CHARS];
  fprintf(out, " r%u%s:", i, *relation == '>' ? "l" : *relation == '<' ? "u" : "");
  for (uint32_t k = 0; k < r->n; k++)
    fprintf(out, "%s %c %.17g %s", k && k % PER_LINE == 0 ? "\n  " : "", r->coef[k] < 0 ? '-' : '+', fabs(r->coef[k]),
            ep_prob_var_name(p, r->var[k], name, sizeof name));
  fprintf(out, " %s %.17g\n", relation, end);
}

/* Rows without variables hold or they do not: LP files have no place for them, only for a contradiction. */
static bool is_trivial(const ep_prob_row *r) { return !r->n && r->lo <= 0 && r->hi >= 0; }

ep_status ep_write_lp(const ep_prob *p, const char *comment, FILE *out) {
  char name[NAME_MAX_CHARS];
  assert(!p->n_goal && !p->n_disj && p->n_var);
  comment_lines(out, "\\ ", comment);
  fprintf(out, "Minimize\n obj: 0 %s\nSubject To\n", ep_prob_var_name(p, 0, name, sizeof name));
  for (uint32_t i = 0; i < p->n_row; i++) {
    const ep_prob_row *r = &p->row[i];
    if (is_trivial(r)) continue;
    if (!r->n) { /* 0 >= 1, said of some variable */
      fprintf(out, " r%u: 0 %s >= 1\n", i, ep_prob_var_name(p, 0, name, sizeof name));
      continue;
    }
    if (r->lo == r->hi) {
      lp_side(p, i, "=", r->lo, out);
      continue;
    }
    if (r->lo > -INFINITY) lp_side(p, i, ">=", r->lo, out);
    if (r->hi < INFINITY) lp_side(p, i, "<=", r->hi, out);
  }
  fputs("Bounds\n", out);
  for (uint32_t v = 0; v < p->n_var; v++) {
    if (is_binary(p, v)) continue;
    fprintf(out, " %.17g <= %s <= %.17g\n", p->lo[v], ep_prob_var_name(p, v, name, sizeof name), p->hi[v]);
  }
  fputs("Binary\n", out);
  for (uint32_t v = 0; v < p->n_var; v++)
    if (is_binary(p, v)) fprintf(out, " %s\n", ep_prob_var_name(p, v, name, sizeof name));
  fputs("End\n", out);
  return finish(p, out);
}

/* ---- free MPS ---- */

/* The columns' entries: the transpose of the rows. */
typedef struct columns {
  size_t *first; /* [n_var + 1] */
  uint32_t *row;
  double *coef;
} columns;

static ep_status transpose(const ep_prob *p, ep_arena *a, columns *out) {
  size_t n = 0;
  for (uint32_t i = 0; i < p->n_row; i++) n += p->row[i].n;
  *out = (columns){EP_ARENA(a, size_t, p->n_var + 2u), EP_ARENA(a, uint32_t, n + 1), EP_ARENA(a, double, n + 1)};
  if (!out->first || !out->row || !out->coef) return EP_E_NOMEM;
  for (uint32_t i = 0; i < p->n_row; i++)
    for (uint32_t k = 0; k < p->row[i].n; k++) out->first[p->row[i].var[k] + 2]++;
  for (uint32_t v = 0; v < p->n_var; v++) out->first[v + 2] += out->first[v + 1];
  for (uint32_t i = 0; i < p->n_row; i++)
    for (uint32_t k = 0; k < p->row[i].n; k++) {
      size_t at = out->first[p->row[i].var[k] + 1]++;
      out->row[at] = i;
      out->coef[at] = p->row[i].coef[k];
    }
  return EP_OK;
}

static char mps_kind(const ep_prob_row *r) {
  if (r->lo == r->hi) return 'E';
  return r->lo > -INFINITY ? 'G' : r->hi < INFINITY ? 'L' : 'N';
}

static void mps_bounds(const ep_prob *p, FILE *out) {
  char name[NAME_MAX_CHARS];
  fputs("BOUNDS\n", out);
  for (uint32_t v = 0; v < p->n_var; v++) {
    ep_prob_var_name(p, v, name, sizeof name);
    if (is_binary(p, v)) {
      fprintf(out, " BV BND %s\n", name);
      continue;
    }
    if (p->lo[v] > -INFINITY)
      fprintf(out, " LO BND %s %.17g\n", name, p->lo[v]);
    else
      fprintf(out, " MI BND %s\n", name);
    if (p->hi[v] < INFINITY) fprintf(out, " UP BND %s %.17g\n", name, p->hi[v]);
  }
}

static void mps_columns(const ep_prob *p, const columns *c, FILE *out) {
  char name[NAME_MAX_CHARS];
  bool is_integer = false;
  fputs("COLUMNS\n", out);
  for (uint32_t v = 0; v < p->n_var; v++) {
    if (is_binary(p, v) != is_integer) {
      is_integer = !is_integer;
      fprintf(out, " M%u 'MARKER' '%s'\n", v, is_integer ? "INTORG" : "INTEND");
    }
    ep_prob_var_name(p, v, name, sizeof name);
    fprintf(out, " %s obj 0\n", name);
    for (size_t k = c->first[v]; k < c->first[v + 1]; k++) fprintf(out, " %s r%u %.17g\n", name, c->row[k], c->coef[k]);
  }
  if (is_integer) fputs(" Mend 'MARKER' 'INTEND'\n", out);
}

ep_status ep_write_mps(const ep_prob *p, const char *comment, FILE *out) {
  assert(!p->n_goal && !p->n_disj && p->n_var);
  ep_arena a;
  columns c;
  ep_arena_init(&a, p->ctx);
  ep_status st = transpose(p, &a, &c);
  if (st == EP_OK) {
    comment_lines(out, "* ", comment);
    fputs("NAME epsproof\nROWS\n N obj\n", out);
    for (uint32_t i = 0; i < p->n_row; i++) fprintf(out, " %c r%u\n", mps_kind(&p->row[i]), i);
    mps_columns(p, &c, out);
    fputs("RHS\n", out);
    for (uint32_t i = 0; i < p->n_row; i++) {
      double end = mps_kind(&p->row[i]) == 'L' ? p->row[i].hi : p->row[i].lo;
      if (mps_kind(&p->row[i]) != 'N' && end != 0) fprintf(out, " RHS r%u %.17g\n", i, end);
    }
    fputs("RANGES\n", out);
    for (uint32_t i = 0; i < p->n_row; i++) /* G rows: lo <= a x <= lo + range */
      if (mps_kind(&p->row[i]) == 'G' && p->row[i].hi < INFINITY)
        fprintf(out, " RNG r%u %.17g\n", i, ep_sub_up(p->row[i].hi, p->row[i].lo));
    mps_bounds(p, out);
    fputs("ENDATA\n", out);
    st = finish(p, out);
  }
  ep_arena_clear(&a);
  return st;
}
