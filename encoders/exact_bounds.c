#include "encoders/exact_bounds.h"

#include <assert.h>

static uint32_t width(const ep_exact *a) { return a->e.width; }
static bool is_program(const ep_exact *a) { return ep_convex_is_program(a->relaxation); }

/* ---- bounds of one function ---- */

/* Range end of a function of inputs only. */
static void concretize(ep_exact *a, mpq_t *f, bool is_upper, mpq_t value) {
  mpq_set(value, f[width(a) - 1]);
  for (uint32_t j = 0; j < a->n_x; j++) {
    bool takes_hi = (mpq_sgn(f[j]) > 0) == is_upper;
    ep_rational_add_mul(value, f[j], takes_hi ? a->hi[j] : a->lo[j], a->t);
  }
}

/* Back-substitution: every base variable gives way to its line, the latest first. */
static void substitute(ep_exact *a, mpq_t *f, bool is_upper, mpq_t value) {
  ep_expr_copy(a->row, f, width(a));
  for (uint32_t b = a->n_base; b-- > a->n_x;) {
    int sign = mpq_sgn(a->row[b]);
    if (!sign) continue;
    mpq_t *line = ((sign > 0) == is_upper ? a->above : a->below) + (size_t)b * width(a);
    mpq_set(a->u, a->row[b]);
    mpq_set_ui(a->row[b], 0, 1);
    ep_expr_add_mul(a->row, a->u, line, width(a), a->t);
  }
  concretize(a, a->row, is_upper, value);
}

/* normal.(sources, ReLUs) <= rhs as a constraint on the base variables. */
static ep_status add_cut(ep_exact *a, const ep_exact_group *g, mpq_t *normal, mpq_t rhs) {
  uint32_t n_src = g->hull->n_src;
  mpq_t *row = ep_rational_create(a->ctx, width(a));
  if (!row) return EP_E_NOMEM;
  for (uint32_t j = 0; j < n_src; j++) ep_expr_add_mul(row, normal[j], g->src + (size_t)j * width(a), width(a), a->t);
  for (uint32_t k = 0; k < g->hull->n_relu; k++) mpq_add(row[g->relu[k]], row[g->relu[k]], normal[n_src + k]);
  mpq_sub(rhs, rhs, row[width(a) - 1]);
  ep_status st = ep_exact_lp_add(&a->lp, row, rhs);
  ep_rational_destroy(a->ctx, row, width(a));
  return st;
}

/* Cuts off a->at if it lies outside the group's hull. */
static ep_status separate(ep_exact *a, const ep_exact_group *g, bool *is_inside) {
  uint32_t n_src = g->hull->n_src, dim = g->hull->dim;
  mpq_t *p = ep_rational_create(a->ctx, dim), *normal = ep_rational_create(a->ctx, dim), rhs;
  mpq_init(rhs);
  ep_status st = p && normal ? EP_OK : EP_E_NOMEM;
  for (uint32_t j = 0; j < dim && st == EP_OK; j++) {
    mpq_t *f = g->src + (size_t)j * width(a);
    mpq_set(p[j], j < n_src ? f[width(a) - 1] : a->at[g->relu[j - n_src]]);
    for (uint32_t b = 0; b < a->n_base && j < n_src; b++) ep_rational_add_mul(p[j], f[b], a->at[b], a->t);
  }
  if (st == EP_OK) st = ep_hull_separate(g->hull, p, normal, rhs, is_inside);
  if (st == EP_OK && !*is_inside) st = add_cut(a, g, normal, rhs);
  mpq_clear(rhs);
  ep_rational_destroy(a->ctx, p, dim);
  ep_rational_destroy(a->ctx, normal, dim);
  return st;
}

/* The program's optimum, cut until no hull is violated. Facets are finitely many, so this ends. */
static ep_status optimise(ep_exact *a, mpq_t *f, bool is_upper, mpq_t value) {
  ep_exact_answer answer;
  for (bool is_final = false; !is_final;) {
    for (uint32_t j = 0; j < width(a); j++) is_upper ? mpq_set(a->row[j], f[j]) : mpq_neg(a->row[j], f[j]);
    EP_TRY(ep_exact_lp_maximise(&a->lp, a->row, &answer, value, a->at));
    assert(answer == EP_EXACT_OPTIMAL); /* the network's own behaviour is feasible, and everything is bounded */
    mpq_add(value, value, a->row[width(a) - 1]);
    is_final = true;
    for (uint32_t k = 0; k < a->n_live; k++) {
      bool is_inside;
      EP_TRY(separate(a, &a->group[k], &is_inside));
      is_final &= is_inside;
    }
  }
  if (!is_upper) mpq_neg(value, value);
  return EP_OK;
}

static ep_status bound(ep_exact *a, mpq_t *f, bool is_upper, mpq_t value) {
  bool is_of_inputs = true;
  for (uint32_t b = a->n_x; b < a->n_base; b++) is_of_inputs &= mpq_sgn(f[b]) == 0;
  if (is_program(a) && !is_of_inputs) return optimise(a, f, is_upper, value);
  /* The relaxation's inputs range over the whole box. */
  substitute(a, f, is_upper, value);
  return EP_OK;
}

/* ---- joint hulls ---- */

/* Rows of the octahedron of n functions: their ranges, and where they say more than these, the ranges of sums and
 * differences. a[rows x n].s <= c; returns the number of rows through *n_row. */
static ep_status octahedron(ep_exact *a, uint32_t n, mpq_t *src, mpq_t *coef, mpq_t *rhs, uint32_t *n_row) {
  mpq_t *f = ep_rational_create(a->ctx, width(a)), sum;
  uint32_t r = 0;
  ep_status st = f ? EP_OK : EP_E_NOMEM;
  mpq_init(sum);
  for (uint32_t i = 0; i < n && st == EP_OK; i++)
    for (int sign = 1; sign >= -1 && st == EP_OK; sign -= 2, r++) {
      st = bound(a, src + (size_t)i * width(a), sign > 0, rhs[r]);
      if (sign < 0) mpq_neg(rhs[r], rhs[r]);
      mpq_set_si(coef[(size_t)r * n + i], sign, 1);
    }
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = i + 1; j < n; j++)
      for (int q = 0; q < 4 && st == EP_OK; q++) {
        int si = q & 1 ? -1 : 1, sj = q & 2 ? -1 : 1;
        mpq_t c;
        mpq_init(c);
        ep_expr_set_zero(f, width(a));
        mpq_set_si(c, si, 1);
        ep_expr_add_mul(f, c, src + (size_t)i * width(a), width(a), a->t);
        mpq_set_si(c, sj, 1);
        ep_expr_add_mul(f, c, src + (size_t)j * width(a), width(a), a->t);
        mpq_clear(c);
        st = bound(a, f, true, rhs[r]);
        mpq_add(sum, rhs[2 * i + (q & 1)], rhs[2 * j + (q >> 1)]);
        if (mpq_cmp(rhs[r], sum) >= 0) continue;
        mpq_set_si(coef[(size_t)r * n + i], si, 1);
        mpq_set_si(coef[(size_t)r * n + j], sj, 1);
        r++;
      }
  mpq_clear(sum);
  ep_rational_destroy(a->ctx, f, width(a));
  *n_row = r;
  return st;
}

static ep_exact_group *new_group(ep_exact *a, uint32_t n_src, uint32_t n_relu) {
  if (a->n_group == a->cap_group) {
    uint32_t want = a->cap_group ? 2 * a->cap_group : 8;
    ep_exact_group *more = ep_realloc(a->ctx, a->group, want * sizeof *more);
    if (!more) return NULL;
    a->group = more;
    a->cap_group = want;
  }
  ep_exact_group *g = &a->group[a->n_group];
  *g = (ep_exact_group){.src = ep_rational_create(a->ctx, (size_t)n_src * width(a)),
                        .relu = ep_calloc(a->ctx, n_relu + 1u, sizeof *g->relu)};
  if (g->src && g->relu) return g;
  ep_rational_destroy(a->ctx, g->src, (size_t)n_src * width(a));
  ep_free(a->ctx, g->relu);
  return NULL;
}

static void drop_group(ep_exact *a, ep_exact_group *g, uint32_t n_src) {
  ep_hull_destroy(g->hull);
  ep_rational_destroy(a->ctx, g->src, (size_t)n_src * width(a));
  ep_free(a->ctx, g->relu);
}

/* Completes the group that new_group gave: its sources are set, ReLU k is base variable relu[k] with the argument
 * w[k x n_src].s + t[k]. */
static ep_status finish_group(ep_exact *a, ep_exact_group *g, uint32_t n_src, uint32_t n_relu, mpq_t *w, mpq_t *t) {
  uint32_t most = 2 * n_src * n_src, n_row = 0;
  mpq_t *coef = ep_rational_create(a->ctx, (size_t)most * n_src), *rhs = ep_rational_create(a->ctx, most + 1u);
  ep_status st = coef && rhs ? octahedron(a, n_src, g->src, coef, rhs, &n_row) : EP_E_NOMEM;
  if (st == EP_OK) st = ep_hull_create(a->ctx, n_src, n_row, coef, rhs, n_relu, w, t, &g->hull);
  assert(st != EP_OK || g->hull->n_point);
  ep_rational_destroy(a->ctx, coef, (size_t)most * n_src);
  ep_rational_destroy(a->ctx, rhs, most + 1u);
  if (st == EP_OK)
    a->n_group++;
  else
    drop_group(a, g, n_src);
  return st;
}

/* An unstable neuron: its pre-activation, and the base variable of its output. */
typedef struct unstable {
  uint32_t element, base;
} unstable;

/* All unstable neurons over the base variables src[n_src] that their arguments depend on. */
static ep_status group_by_sources(ep_exact *a, ep_vid z, uint32_t n, const unstable *u, uint32_t n_src,
                                  const uint32_t *src) {
  mpq_t *w = ep_rational_create(a->ctx, (size_t)n * n_src), *t = ep_rational_create(a->ctx, n);
  ep_exact_group *g = new_group(a, n_src, n);
  ep_status st = w && t && g ? EP_OK : EP_E_NOMEM;
  for (uint32_t j = 0; j < n_src && st == EP_OK; j++) mpq_set_ui(g->src[(size_t)j * width(a) + src[j]], 1, 1);
  for (uint32_t k = 0; k < n && st == EP_OK; k++) {
    mpq_t *f = ep_exprs_at(&a->e, z, u[k].element);
    g->relu[k] = u[k].base;
    for (uint32_t j = 0; j < n_src; j++) mpq_set(w[(size_t)k * n_src + j], f[src[j]]);
    mpq_set(t[k], f[width(a) - 1]);
  }
  if (st == EP_OK)
    st = finish_group(a, g, n_src, n, w, t);
  else if (g)
    drop_group(a, g, n_src);
  ep_rational_destroy(a->ctx, w, (size_t)n * n_src);
  ep_rational_destroy(a->ctx, t, n);
  return st;
}

/* Pre-activations i (unstable, base variable base_i) and j (base_j, or 0 when stable). */
static ep_status group_pair(ep_exact *a, ep_vid z, const uint32_t element[2], const uint32_t base[2]) {
  uint32_t n = 0;
  mpq_t *w = ep_rational_create(a->ctx, 4), *t = ep_rational_create(a->ctx, 2);
  ep_exact_group *g = new_group(a, 2, 2);
  ep_status st = w && t && g ? EP_OK : EP_E_NOMEM;
  for (uint32_t j = 0; j < 2 && st == EP_OK; j++) {
    ep_expr_copy(g->src + (size_t)j * width(a), ep_exprs_at(&a->e, z, element[j]), width(a));
    if (!base[j]) continue;
    g->relu[n] = base[j];
    mpq_set_ui(w[2 * n++ + j], 1, 1);
  }
  if (st == EP_OK)
    st = finish_group(a, g, 2, n, w, t);
  else if (g)
    drop_group(a, g, 2);
  ep_rational_destroy(a->ctx, w, 4);
  ep_rational_destroy(a->ctx, t, 2);
  return st;
}

static bool is_constant(const ep_exact *a, mpq_t *f) {
  for (uint32_t b = 0; b < a->n_base; b++)
    if (mpq_sgn(f[b])) return false;
  return true;
}

static ep_status make_groups(ep_exact *a, ep_vid z, uint32_t n, const unstable *u) {
  uint32_t n_src = 0, src[EP_EXACT_MAX_SOURCES];
  bool is_few = n > 0;
  for (uint32_t b = 0; b < a->n_base && is_few; b++) {
    bool is_read = false;
    for (uint32_t k = 0; k < n; k++) is_read |= mpq_sgn(ep_exprs_at(&a->e, z, u[k].element)[b]) != 0;
    if (!is_read) continue;
    is_few = n_src < EP_EXACT_MAX_SOURCES;
    if (is_few) src[n_src++] = b;
  }
  if (is_few) return group_by_sources(a, z, n, u, n_src, src);
  for (uint32_t k = 0; k < n; k++)
    for (uint32_t j = 0, q = 0; j < a->g->val[z].n; j++) {
      bool is_unstable = q < n && u[q].element == j;
      uint32_t base_j = is_unstable ? u[q++].base : 0;
      bool is_twice = is_unstable && j <= u[k].element; /* itself, or seen from the other side */
      if (is_twice || is_constant(a, ep_exprs_at(&a->e, z, j))) continue;
      EP_TRY(group_pair(a, z, (const uint32_t[2]){u[k].element, j}, (const uint32_t[2]){u[k].base, base_j}));
    }
  return EP_OK;
}

/* ---- layers ---- */

/* Lines of a new base variable y = relu(z), l < 0 < u: y <= u (z - l) / (u - l), and y >= 0 or y >= z. */
static void set_lines(ep_exact *a, uint32_t b, mpq_t *z, mpq_t l, mpq_t u) {
  mpq_t *above = a->above + (size_t)b * width(a), *below = a->below + (size_t)b * width(a);
  mpq_sub(a->u, u, l);
  mpq_div(a->u, u, a->u);
  ep_expr_add_mul(above, a->u, z, width(a), a->t);
  mpq_mul(a->u, a->u, l);
  mpq_sub(above[width(a) - 1], above[width(a) - 1], a->u);
  if (a->relaxation == EP_CONVEX_DEEPPOLY_1) ep_expr_copy(below, z, width(a));
}

/* sign * y + f <= 0 as a constraint. */
static ep_status add_line(ep_exact *a, uint32_t b, int sign, mpq_t *f, int f_sign) {
  mpq_set_si(a->u, sign, 1);
  for (uint32_t j = 0; j < width(a); j++)
    f_sign > 0 ? mpq_set(a->row[j], f[j]) : f_sign < 0 ? mpq_neg(a->row[j], f[j]) : mpq_set_ui(a->row[j], 0, 1);
  mpq_add(a->row[b], a->row[b], a->u);
  mpq_neg(a->u, a->row[width(a) - 1]);
  return ep_exact_lp_add(&a->lp, a->row, a->u);
}

static ep_status add_triangle(ep_exact *a, uint32_t b, mpq_t *z) {
  EP_TRY(add_line(a, b, -1, NULL, 0));
  EP_TRY(add_line(a, b, -1, z, 1));
  return add_line(a, b, 1, a->above + (size_t)b * width(a), -1);
}

static ep_status relu_layer(ep_exact *a, const ep_node *nd, unstable *list) {
  uint32_t n = 0, base = a->n_base;
  ep_vid in = nd->in[0];
  mpq_t l, u;
  mpq_inits(l, u, NULL);
  ep_status st = EP_OK;
  for (uint32_t i = 0; i < a->g->val[in].n && st == EP_OK; i++) {
    mpq_t *z = ep_exprs_at(&a->e, in, i), *y = ep_exprs_at(&a->e, nd->out, i);
    ep_expr_set_zero(y, width(a));
    st = bound(a, z, false, l);
    if (st == EP_OK) st = bound(a, z, true, u);
    if (st != EP_OK || mpq_sgn(u) <= 0) continue;
    if (mpq_sgn(l) >= 0) {
      ep_expr_copy(y, z, width(a));
      continue;
    }
    assert(base < a->cap);
    list[n++] = (unstable){i, base};
    set_lines(a, base, z, l, u);
    mpq_set_ui(y[base++], 1, 1);
  }
  mpq_clears(l, u, NULL);
  /* The hulls' regions are those of the layers before: the new variables come into the programs afterwards. */
  if (st == EP_OK && a->relaxation == EP_CONVEX_MULTI_NEURON) st = make_groups(a, in, n, list);
  a->n_base = a->lp.n_used = base;
  a->n_live = a->n_group;
  for (uint32_t k = 0; k < n && st == EP_OK && is_program(a); k++)
    st = add_triangle(a, list[k].base, ep_exprs_at(&a->e, in, list[k].element));
  return st;
}

static ep_status by_lines(ep_exact *a) {
  unstable *list = ep_alloc(a->ctx, (a->cap + 1u) * sizeof *list);
  if (!list) return EP_E_NOMEM;
  ep_status st = EP_OK;
  for (uint32_t i = 0; i < a->n_x; i++) {
    mpq_t *x = ep_exprs_at(&a->e, a->g->input, i);
    mpq_set_ui(x[i], 1, 1);
    EP_GOTO(ep_exact_lp_add(&a->lp, x, a->hi[i]));
    mpq_neg(a->u, a->lo[i]);
    mpq_set_si(a->row[i], -1, 1);
    EP_GOTO(ep_exact_lp_add(&a->lp, a->row, a->u));
    mpq_set_ui(a->row[i], 0, 1);
  }
  for (uint32_t k = 0; k < a->g->n_node && st == EP_OK; k++) {
    const ep_node *nd = &a->g->node[k];
    st = nd->low.cls == EP_AFFINE ? ep_exprs_affine(&a->e, nd) : relu_layer(a, nd, list);
  }
done:
  ep_free(a->ctx, list);
  return st;
}

/* ---- intervals ---- */

typedef struct sink {
  ep_exact *a;
  ep_vid in, out;
  uint32_t i;
} sink;

static void add_interval(void *arg, uint32_t j, double weight) {
  sink *s = arg;
  ep_exact *a = s->a;
  mpq_set_d(a->u, weight);
  mpq_t *lo = &a->vlo[s->in][j], *hi = &a->vhi[s->in][j];
  ep_rational_add_mul(a->vlo[s->out][s->i], a->u, weight > 0 ? *lo : *hi, a->t);
  ep_rational_add_mul(a->vhi[s->out][s->i], a->u, weight > 0 ? *hi : *lo, a->t);
}

static ep_status interval_node(ep_exact *a, const ep_node *nd) {
  for (uint32_t i = 0; i < a->g->val[nd->out].n; i++) {
    mpq_t *lo = &a->vlo[nd->out][i], *hi = &a->vhi[nd->out][i];
    if (nd->low.cls != EP_AFFINE) {
      if (mpq_sgn(a->vlo[nd->in[0]][i]) > 0) mpq_set(*lo, a->vlo[nd->in[0]][i]);
      if (mpq_sgn(a->vhi[nd->in[0]][i]) > 0) mpq_set(*hi, a->vhi[nd->in[0]][i]);
      continue;
    }
    const ep_affine *f = &nd->low.is.affine;
    if (f->bias) mpq_set_d(*lo, f->bias[i]);
    mpq_set(*hi, *lo);
    for (uint32_t k = 0; k < f->n_terms; k++)
      EP_TRY(ep_exact_weights(a->ctx, &f->A[k], i, add_interval, &(sink){a, nd->in[k], nd->out, i}));
  }
  return EP_OK;
}

static ep_status by_intervals(ep_exact *a) {
  const ep_graph *g = a->g;
  a->vlo = ep_calloc(a->ctx, g->n_val, sizeof *a->vlo);
  a->vhi = ep_calloc(a->ctx, g->n_val, sizeof *a->vhi);
  if (!a->vlo || !a->vhi) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) {
    a->vlo[v] = ep_rational_create(a->ctx, g->val[v].n);
    a->vhi[v] = ep_rational_create(a->ctx, g->val[v].n);
    if (!a->vlo[v] || !a->vhi[v]) return EP_E_NOMEM;
  }
  for (uint32_t i = 0; i < a->n_x; i++) {
    mpq_set(a->vlo[g->input][i], a->lo[i]);
    mpq_set(a->vhi[g->input][i], a->hi[i]);
  }
  for (uint32_t k = 0; k < g->n_node; k++) EP_TRY(interval_node(a, &g->node[k]));
  return EP_OK;
}

/* ---- the whole ---- */

static ep_status fill(ep_exact *a, mpq_t *lo, mpq_t *hi) {
  ep_ctx *ctx = a->ctx;
  uint32_t relus = 0;
  for (uint32_t k = 0; k < a->g->n_node; k++)
    if (a->g->node[k].low.cls == EP_UNIVAR) relus += a->g->val[a->g->node[k].out].n;
  if (relus > EP_EXACT_MAX_RELU)
    return EP_FAIL(ctx, EP_E_LIMIT, "exact relaxations take networks of at most %d ReLUs, this one has %u",
                   EP_EXACT_MAX_RELU, relus);
  a->n_base = a->n_x;
  a->cap = a->n_x + relus;
  EP_TRY(ep_exprs_init(&a->e, ctx, a->g, a->cap));
  size_t lines = (size_t)a->cap * width(a);
  a->lo = ep_rational_create(ctx, a->n_x);
  a->hi = ep_rational_create(ctx, a->n_x);
  a->below = ep_rational_create(ctx, lines);
  a->above = ep_rational_create(ctx, lines);
  a->row = ep_rational_create(ctx, width(a));
  a->at = ep_rational_create(ctx, width(a));
  if (!a->lo || !a->hi || !a->below || !a->above || !a->row || !a->at) return EP_E_NOMEM;
  for (uint32_t i = 0; i < a->n_x; i++) {
    mpq_set(a->lo[i], lo[i]);
    mpq_set(a->hi[i], hi[i]);
  }
  ep_exact_lp_init(&a->lp, ctx, a->cap);
  a->lp.n_used = a->n_x;
  return a->relaxation == EP_CONVEX_IBP ? by_intervals(a) : by_lines(a);
}

ep_status ep_exact_create(ep_ctx *ctx, const ep_graph *g, ep_convex relaxation, mpq_t *lo, mpq_t *hi, ep_exact **out) {
  *out = NULL;
  EP_TRY(ep_exact_check(ctx, g));
  ep_exact *a = ep_calloc(ctx, 1, sizeof *a);
  if (!a) return EP_E_NOMEM;
  *a = (ep_exact){.ctx = ctx, .g = g, .relaxation = relaxation, .n_x = g->val[g->input].n};
  mpq_inits(a->t, a->u, NULL);
  ep_status st = fill(a, lo, hi);
  if (st != EP_OK)
    ep_exact_destroy(a);
  else
    *out = a;
  return st;
}

void ep_exact_destroy(ep_exact *a) {
  if (!a) return;
  ep_ctx *ctx = a->ctx;
  size_t lines = (size_t)a->cap * width(a);
  for (uint32_t k = 0; k < a->n_group; k++) drop_group(a, &a->group[k], a->group[k].hull->n_src);
  ep_free(ctx, a->group);
  for (uint32_t v = 0; v < a->g->n_val; v++) {
    if (a->vlo) ep_rational_destroy(ctx, a->vlo[v], a->g->val[v].n);
    if (a->vhi) ep_rational_destroy(ctx, a->vhi[v], a->g->val[v].n);
  }
  ep_free(ctx, a->vlo);
  ep_free(ctx, a->vhi);
  ep_rational_destroy(ctx, a->lo, a->n_x);
  ep_rational_destroy(ctx, a->hi, a->n_x);
  ep_rational_destroy(ctx, a->below, lines);
  ep_rational_destroy(ctx, a->above, lines);
  ep_rational_destroy(ctx, a->row, width(a));
  ep_rational_destroy(ctx, a->at, width(a));
  if (a->lp.ctx) ep_exact_lp_clear(&a->lp);
  ep_exprs_clear(&a->e);
  mpq_clears(a->t, a->u, NULL);
  ep_free(ctx, a);
}

ep_status ep_exact_output(ep_exact *a, uint32_t i, bool is_upper, mpq_t value, mpq_t *at) {
  ep_vid y = a->g->output;
  if (a->relaxation == EP_CONVEX_IBP) {
    mpq_set(value, is_upper ? a->vhi[y][i] : a->vlo[y][i]);
    return EP_OK;
  }
  mpq_t *f = ep_exprs_at(&a->e, y, i);
  if (!is_program(a) || !at) return bound(a, f, is_upper, value);
  EP_TRY(optimise(a, f, is_upper, value));
  for (uint32_t b = 0; b < a->cap; b++) b < a->n_base ? mpq_set(at[b], a->at[b]) : mpq_set_ui(at[b], 0, 1);
  return EP_OK;
}
