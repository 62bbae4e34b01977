#include "verifier/query.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/sha256.h"

void ep_query_destroy(ep_query *q) {
  if (!q) return;
  ep_ctx *ctx = q->ctx;
  ep_arena_clear(&q->arena);
  ep_free(ctx, q);
}

/* Boxes, polytopes and rows grow as arena arrays that are copied when full: simple, and freed as a whole. */
struct ep_query_builder {
  ep_ctx *ctx;
  ep_query *q;
  ep_input_box *box;
  ep_polytope *poly;
  ep_row *row;
  size_t cap_box, cap_poly, cap_row;
  uint32_t n_box, n_poly, n_row; /* of the current box and polytope */
  ep_sha256 sha;
};

ep_status ep_query_builder_create(ep_ctx *ctx, uint32_t n_x, uint32_t n_y, ep_query_builder **out) {
  *out = NULL;
  ep_query_builder *b = ep_calloc(ctx, 1, sizeof *b);
  ep_query *q = b ? ep_calloc(ctx, 1, sizeof *q) : NULL;
  if (!q) {
    ep_free(ctx, b);
    return EP_E_NOMEM;
  }
  q->ctx = b->ctx = ctx;
  q->n_x = n_x;
  q->n_y = n_y;
  ep_arena_init(&q->arena, ctx);
  b->q = q;
  ep_sha256_init(&b->sha);
  ep_sha256_update(&b->sha, &n_x, sizeof n_x);
  ep_sha256_update(&b->sha, &n_y, sizeof n_y);
  *out = b;
  return EP_OK;
}

void ep_query_builder_destroy(ep_query_builder *b) {
  if (!b) return;
  ep_query_destroy(b->q);
  ep_free(b->ctx, b->box);
  ep_free(b->ctx, b->poly);
  ep_free(b->ctx, b->row);
  ep_free(b->ctx, b);
}

static ep_status close_polytope(ep_query_builder *b) {
  if (!b->n_poly) return EP_OK;
  ep_row *rows = EP_ARENA(&b->q->arena, ep_row, b->n_row + 1u);
  if (!rows) return EP_E_NOMEM;
  if (b->n_row) memcpy(rows, b->row, b->n_row * sizeof *rows);
  b->poly[b->n_poly - 1] = (ep_polytope){b->n_row, rows};
  b->n_row = 0;
  return EP_OK;
}

static ep_status close_box(ep_query_builder *b) {
  if (!b->n_box) return EP_OK;
  EP_TRY(close_polytope(b));
  ep_polytope *poly = EP_ARENA(&b->q->arena, ep_polytope, b->n_poly + 1u);
  if (!poly) return EP_E_NOMEM;
  if (b->n_poly) memcpy(poly, b->poly, b->n_poly * sizeof *poly);
  b->box[b->n_box - 1].n_poly = b->n_poly;
  b->box[b->n_box - 1].poly = poly;
  b->n_poly = 0;
  return EP_OK;
}

ep_status ep_query_builder_box4(ep_query_builder *b, const double *lo, const double *hi, const double *lo_in,
                                const double *hi_in) {
  size_t n = b->q->n_x;
  EP_TRY(close_box(b));
  EP_TRY(ep_reserve(b->ctx, (void **)&b->box, &b->cap_box, b->n_box, sizeof *b->box));
  double *m = EP_ARENA(&b->q->arena, double, 4 * n + 1);
  if (!m) return EP_E_NOMEM;
  memcpy(m, lo, n * sizeof *m);
  memcpy(m + n, hi, n * sizeof *m);
  memcpy(m + 2 * n, lo_in, n * sizeof *m);
  memcpy(m + 3 * n, hi_in, n * sizeof *m);
  ep_input_box box = {.lo = m, .hi = m + n, .lo_in = m + 2 * n, .hi_in = m + 3 * n};
  for (size_t i = 0; i < n; i++) {
    if (!(fabs(lo[i]) < INFINITY && fabs(hi[i]) < INFINITY))
      return EP_FAIL(b->ctx, EP_E_SYNTAX, "input X_%zu is not bounded on both sides", i);
    box.is_empty |= lo[i] > hi[i];
    /* No double inside, and not known to hold any number: searches get a finite point, but never a counterexample. */
    if (m[2 * n + i] > m[3 * n + i]) {
      box.is_proof_only = true;
      double mid = 0.5 * lo[i] + 0.5 * hi[i];
      m[2 * n + i] = m[3 * n + i] = mid < lo[i] ? lo[i] : mid > hi[i] ? hi[i] : mid;
    }
  }
  ep_sha256_update(&b->sha, "box", 3);
  ep_sha256_update(&b->sha, lo, n * sizeof *lo);
  ep_sha256_update(&b->sha, hi, n * sizeof *hi);
  b->box[b->n_box++] = box;
  return EP_OK;
}

ep_status ep_query_builder_box(ep_query_builder *b, const double *lo, const double *hi) {
  return ep_query_builder_box4(b, lo, hi, lo, hi);
}

ep_status ep_query_builder_polytope(ep_query_builder *b) {
  assert(b->n_box > 0);
  EP_TRY(close_polytope(b));
  EP_TRY(ep_reserve(b->ctx, (void **)&b->poly, &b->cap_poly, b->n_poly, sizeof *b->poly));
  b->poly[b->n_poly++] = (ep_polytope){0};
  ep_sha256_update(&b->sha, "poly", 4);
  return EP_OK;
}

ep_status ep_query_builder_row_itv(ep_query_builder *b, uint32_t n, const uint32_t *var, const double *coef,
                                   double coef_rel_err, ep_itv rhs, bool is_strict) {
  assert(b->n_poly > 0);
  EP_TRY(ep_reserve(b->ctx, (void **)&b->row, &b->cap_row, b->n_row, sizeof *b->row));
  uint32_t *v = EP_ARENA(&b->q->arena, uint32_t, n + 1u);
  double *c = EP_ARENA(&b->q->arena, double, n + 1u);
  if (!v || !c) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    if (var[i] >= b->q->n_x + b->q->n_y) return EP_FAIL(b->ctx, EP_E_SHAPE, "row reads variable %u", var[i]);
    if (!(fabs(coef[i]) < INFINITY)) return EP_FAIL(b->ctx, EP_E_SYNTAX, "coefficient is not finite");
    v[i] = var[i];
    c[i] = coef[i];
  }
  b->row[b->n_row++] = (ep_row){n, v, c, coef_rel_err, rhs, is_strict};
  ep_sha256_update(&b->sha, is_strict ? "<" : "[", 1);
  ep_sha256_update(&b->sha, var, n * sizeof *var);
  ep_sha256_update(&b->sha, coef, n * sizeof *coef);
  ep_sha256_update(&b->sha, &rhs, sizeof rhs);
  return EP_OK;
}

ep_status ep_query_builder_row(ep_query_builder *b, uint32_t n, const uint32_t *var, const double *coef, double rhs,
                               bool is_strict) {
  return ep_query_builder_row_itv(b, n, var, coef, 0, ep_itv_point(rhs), is_strict);
}

ep_status ep_query_builder_finish(ep_query_builder *b, const char *name, ep_query **out) {
  *out = NULL;
  EP_TRY(close_box(b));
  ep_query *q = b->q;
  ep_input_box *boxes = EP_ARENA(&q->arena, ep_input_box, b->n_box + 1u);
  q->name = ep_arena_strdup(&q->arena, name);
  if (!boxes || !q->name) return EP_E_NOMEM;
  if (b->n_box) memcpy(boxes, b->box, b->n_box * sizeof *boxes);
  q->box = boxes;
  q->n_box = b->n_box;
  q->is_empty = true;
  for (uint32_t i = 0; i < q->n_box; i++) q->is_empty &= boxes[i].is_empty || !boxes[i].n_poly;
  uint8_t digest[32];
  ep_sha256_final(&b->sha, digest);
  ep_sha256_hex(digest, q->sha256);
  b->q = NULL;
  *out = q;
  return EP_OK;
}

static ep_status check_declared(const ep_query *q, const ep_query_tensor *t, const char *what, const ep_shape *shape,
                                ep_dtype dtype) {
  char a[128], b[128];
  if (!ep_shape_equal(&t->shape, shape))
    return EP_FAIL(q->ctx, EP_E_SHAPE, "%s: '%s' is declared as %s, the network's %s is %s", q->name, t->name,
                   ep_shape_text(&t->shape, a, sizeof a), what, ep_shape_text(shape, b, sizeof b));
  if (q->declared->is_float32 && dtype != EP_DT_F32)
    return EP_FAIL(q->ctx, EP_E_SHAPE, "%s: '%s' is declared as float32, the network's %s is %s", q->name, t->name,
                   what, ep_dtype_text(dtype));
  return EP_OK;
}

ep_status ep_query_check(const ep_query *q, const ep_graph *g) {
  uint32_t n_x = g->val[g->input].n, n_y = g->val[g->output].n;
  if (q->n_x != n_x)
    return EP_FAIL(q->ctx, EP_E_SHAPE, "%s: the property has %u inputs, the network %u", q->name, q->n_x, n_x);
  if (q->n_y != n_y)
    return EP_FAIL(q->ctx, EP_E_SHAPE, "%s: the property has %u outputs, the network %u", q->name, q->n_y, n_y);
  if (!q->declared) return EP_OK;
  EP_TRY(check_declared(q, &q->declared->x, "input", &g->val[g->input].shape, g->input_dtype));
  return check_declared(q, &q->declared->y, "output", &g->output_shape, g->output_dtype);
}

double ep_query_distance(const ep_query *q, uint32_t box, const double *y, const double *x) {
  const ep_input_box *b = &q->box[box];
  double best = INFINITY;
  for (uint32_t p = 0; p < b->n_poly; p++) {
    double worst = -INFINITY;
    for (uint32_t r = 0; r < b->poly[p].n_row; r++) {
      const ep_row *row = &b->poly[p].row[r];
      double v = -row->rhs.lo;
      for (uint32_t k = 0; k < row->n; k++)
        v += row->coef[k] * (row->var[k] < q->n_y ? y[row->var[k]] : x[row->var[k] - q->n_y]);
      worst = fmax(worst, v);
    }
    best = fmin(best, worst);
  }
  return best;
}

static int by_outward_bounds(const void *a, const void *b, void *n_x) {
  const ep_input_box *x = *(const ep_input_box *const *)a, *y = *(const ep_input_box *const *)b;
  size_t n = *(const uint32_t *)n_x * sizeof(double);
  int order = memcmp(x->lo, y->lo, n);
  return order ? order : memcmp(x->hi, y->hi, n);
}

ep_status ep_query_has_twin_boxes(ep_ctx *ctx, const ep_query *q, bool *has_twins) {
  uint32_t n_x = q->n_x;
  const ep_input_box **box = ep_calloc(ctx, q->n_box + 1u, sizeof *box);
  *has_twins = false;
  if (!box) return EP_E_NOMEM;
  for (uint32_t i = 0; i < q->n_box; i++) box[i] = &q->box[i];
  qsort_r(box, q->n_box, sizeof *box, by_outward_bounds, &n_x);
  for (uint32_t i = 1; i < q->n_box && !*has_twins; i++)
    *has_twins = by_outward_bounds(&box[i - 1], &box[i], &n_x) == 0;
  ep_free(ctx, box);
  return EP_OK;
}
