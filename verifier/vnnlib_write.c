#include "verifier/vnnlib_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "encoders/prob.h"

static ep_status put(ep_bytes *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static ep_status put(ep_bytes *out, const char *format, ...) {
  char line[2 * EP_DECIMAL_MAX + 64];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  return ep_bytes_add(out, line, (size_t)n);
}

static ep_status put_bound(ep_bytes *out, const char *relation, uint32_t i, double x) {
  char number[EP_DECIMAL_MAX];
  ep_prob_decimal(x, number, sizeof number);
  return put(out, "(assert (%s X_%u %s))\n", relation, i, number);
}

static void name_of(const ep_query *q, uint32_t var, char *buf, size_t n) {
  snprintf(buf, n, "%c_%u", var < q->n_y ? 'Y' : 'X', var < q->n_y ? var : var - q->n_y);
}

/* v <= rhs, -v <= rhs or v - w <= 0. */
static ep_status put_row(const ep_query *q, const ep_row *r, ep_bytes *out) {
  char a[24], b[24], number[EP_DECIMAL_MAX];
  bool is_exact = r->coef_rel_err == 0 && r->rhs.lo == r->rhs.hi;
  bool is_single = r->n == 1 && fabs(r->coef[0]) == 1;
  bool is_pair = r->n == 2 && fabs(r->coef[0]) == 1 && r->coef[1] == -r->coef[0] && r->rhs.hi == 0;
  if (!is_exact || (!is_single && !is_pair))
    return EP_FAIL(q->ctx, EP_E_UNSUPPORTED, "this query cannot be written as VNN-LIB 1.0");
  const char *relation = r->coef[0] > 0 ? r->is_strict ? "<" : "<=" : r->is_strict ? ">" : ">=";
  name_of(q, r->var[0], a, sizeof a);
  if (is_pair) name_of(q, r->var[1], b, sizeof b);
  ep_prob_decimal(r->coef[0] > 0 ? r->rhs.hi : -r->rhs.hi, number, sizeof number);
  return put(out, " (%s %s %s)", relation, a, is_pair ? b : number);
}

ep_status ep_vnnlib_write(const ep_query *q, ep_bytes *out) {
  if (q->n_box != 1 || !q->box[0].n_poly)
    return EP_FAIL(q->ctx, EP_E_UNSUPPORTED, "a query of %u input boxes cannot be written", q->n_box);
  const ep_input_box *b = &q->box[0];
  EP_TRY(put(out, "; %.1500s\n", q->name));
  for (uint32_t i = 0; i < q->n_x; i++) EP_TRY(put(out, "(declare-const X_%u Real)\n", i));
  for (uint32_t i = 0; i < q->n_y; i++) EP_TRY(put(out, "(declare-const Y_%u Real)\n", i));
  for (uint32_t i = 0; i < q->n_x; i++) {
    EP_TRY(put_bound(out, ">=", i, b->lo[i]));
    EP_TRY(put_bound(out, "<=", i, b->hi[i]));
  }
  EP_TRY(put(out, "(assert (or\n"));
  for (uint32_t p = 0; p < b->n_poly; p++) {
    EP_TRY(put(out, "  (and"));
    for (uint32_t k = 0; k < b->poly[p].n_row; k++) EP_TRY(put_row(q, &b->poly[p].row[k], out));
    EP_TRY(put(out, ")\n"));
  }
  return put(out, "))\n");
}
