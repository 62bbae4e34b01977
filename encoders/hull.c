#include "encoders/hull.h"

#include <assert.h>

/* ---- vertices ---- */

/* The arrangement: hyperplanes e[k].s = f[k], first the region's rows, then the ReLUs' zeros. */
typedef struct search {
  ep_hull *h;
  uint32_t n_row, n_plane, cap;
  mpq_t *e, *f;
  mpq_t *m; /* [n_src x (n_src + 1)] the system under elimination */
  mpq_t *s; /* [n_src] its solution */
  mpq_t x, y;
} search;

/* Solves "plane pick[k] holds with equality for all k"; false when they are not independent. */
static bool intersect(search *q, const uint32_t *pick) {
  uint32_t n = q->h->n_src, w = n + 1;
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t j = 0; j < n; j++) mpq_set(q->m[i * w + j], q->e[(size_t)pick[i] * n + j]);
    mpq_set(q->m[i * w + n], q->f[pick[i]]);
  }
  for (uint32_t k = 0; k < n; k++) {
    uint32_t p = k;
    while (p < n && mpq_sgn(q->m[p * w + k]) == 0) p++;
    if (p == n) return false;
    for (uint32_t j = k; p != k && j <= n; j++) mpq_swap(q->m[p * w + j], q->m[k * w + j]);
    for (uint32_t i = 0; i < n; i++) {
      if (i == k || mpq_sgn(q->m[i * w + k]) == 0) continue;
      mpq_div(q->x, q->m[i * w + k], q->m[k * w + k]);
      mpq_neg(q->x, q->x);
      for (uint32_t j = k; j <= n; j++) ep_rational_add_mul(q->m[i * w + j], q->x, q->m[k * w + j], q->y);
    }
  }
  for (uint32_t k = 0; k < n; k++) mpq_div(q->s[k], q->m[k * w + n], q->m[k * w + k]);
  return true;
}

/* q->x = plane k at the solution, minus f. */
static void plane_value(search *q, uint32_t k) {
  uint32_t n = q->h->n_src;
  mpq_neg(q->x, q->f[k]);
  for (uint32_t j = 0; j < n; j++) ep_rational_add_mul(q->x, q->e[(size_t)k * n + j], q->s[j], q->y);
}

static bool is_in_region(search *q) {
  for (uint32_t k = 0; k < q->n_row; k++) {
    plane_value(q, k);
    if (mpq_sgn(q->x) > 0) return false;
  }
  return true;
}

static bool is_known(const search *q) {
  const ep_hull *h = q->h;
  for (uint32_t i = 0; i < h->n_point; i++) {
    uint32_t j = 0;
    while (j < h->n_src && mpq_equal(h->point[(size_t)i * h->dim + j], q->s[j])) j++;
    if (j == h->n_src) return true;
  }
  return false;
}

static ep_status add_point(search *q) {
  ep_hull *h = q->h;
  if (!is_in_region(q) || is_known(q)) return EP_OK;
  if (h->n_point == q->cap) {
    uint32_t want = q->cap ? 2 * q->cap : 16;
    mpq_t *more = ep_realloc(h->ctx, h->point, ((size_t)want * h->dim + 1) * sizeof *more);
    if (!more) return EP_E_NOMEM;
    h->point = more;
    q->cap = want;
  }
  mpq_t *p = h->point + (size_t)h->n_point++ * h->dim;
  for (uint32_t j = 0; j < h->dim; j++) mpq_init(p[j]);
  for (uint32_t j = 0; j < h->n_src; j++) mpq_set(p[j], q->s[j]);
  for (uint32_t k = 0; k < h->n_relu; k++) {
    plane_value(q, q->n_row + k);
    if (mpq_sgn(q->x) > 0) mpq_set(p[h->n_src + k], q->x);
  }
  return EP_OK;
}

/* The next choice of n out of `of`, ascending; false after the last. */
static bool next_choice(uint32_t n, uint32_t of, uint32_t *pick) {
  uint32_t i = n;
  while (i > 0 && pick[i - 1] == of - n + i - 1) i--;
  if (i == 0) return false;
  pick[i - 1]++;
  for (uint32_t k = i; k < n; k++) pick[k] = pick[k - 1] + 1;
  return true;
}

static ep_status enumerate(search *q) {
  uint32_t n = q->h->n_src, pick[32];
  double candidates = 1;
  for (uint32_t i = 0; i < n; i++) candidates *= (double)(q->n_plane - i) / (i + 1);
  if (n > sizeof pick / sizeof *pick || candidates > EP_HULL_MAX_CANDIDATES)
    return EP_FAIL(q->h->ctx, EP_E_LIMIT, "joint hull: %u hyperplanes in %u dimensions are too many", q->n_plane, n);
  for (uint32_t i = 0; i < n; i++) pick[i] = i;
  uint32_t k = 0;
  do {
    if (++k % 256 == 0 && ep_ctx_should_stop(q->h->ctx)) return EP_E_STOPPED;
    if (intersect(q, pick)) EP_TRY(add_point(q));
  } while (next_choice(n, q->n_plane, pick));
  return EP_OK;
}

ep_status ep_hull_create(ep_ctx *ctx, uint32_t n_src, uint32_t n_row, mpq_t *a, mpq_t *c, uint32_t n_relu, mpq_t *w,
                         mpq_t *t, ep_hull **out) {
  assert(n_src && n_row >= n_src);
  *out = NULL;
  ep_hull *h = ep_calloc(ctx, 1, sizeof *h);
  if (!h) return EP_E_NOMEM;
  *h = (ep_hull){.ctx = ctx, .n_src = n_src, .n_relu = n_relu, .dim = n_src + n_relu};
  search q = {.h = h, .n_row = n_row, .n_plane = n_row + n_relu};
  size_t n_e = (size_t)q.n_plane * n_src, n_m = (size_t)n_src * (n_src + 1);
  q.e = ep_rational_create(ctx, n_e);
  q.f = ep_rational_create(ctx, q.n_plane);
  q.m = ep_rational_create(ctx, n_m);
  q.s = ep_rational_create(ctx, n_src);
  mpq_inits(q.x, q.y, NULL);
  ep_status st = q.e && q.f && q.m && q.s ? EP_OK : EP_E_NOMEM;
  if (st == EP_OK) {
    for (size_t i = 0; i < n_e; i++) mpq_set(q.e[i], i < (size_t)n_row * n_src ? a[i] : w[i - (size_t)n_row * n_src]);
    for (uint32_t k = 0; k < n_row; k++) mpq_set(q.f[k], c[k]);
    for (uint32_t k = 0; k < n_relu; k++) mpq_neg(q.f[n_row + k], t[k]);
    st = enumerate(&q);
  }
  mpq_clears(q.x, q.y, NULL);
  ep_rational_destroy(ctx, q.e, n_e);
  ep_rational_destroy(ctx, q.f, q.n_plane);
  ep_rational_destroy(ctx, q.m, n_m);
  ep_rational_destroy(ctx, q.s, n_src);
  if (st != EP_OK)
    ep_hull_destroy(h);
  else
    *out = h;
  return st;
}

void ep_hull_destroy(ep_hull *h) {
  if (!h) return;
  ep_rational_destroy(h->ctx, h->point, (size_t)h->n_point * h->dim);
  ep_free(h->ctx, h);
}

/* ---- inequalities ---- */

void ep_hull_max(const ep_hull *h, mpq_t *normal, mpq_t out) {
  mpq_t v, t;
  assert(h->n_point);
  mpq_inits(v, t, NULL);
  for (uint32_t i = 0; i < h->n_point; i++) {
    mpq_set_ui(v, 0, 1);
    for (uint32_t j = 0; j < h->dim; j++) ep_rational_add_mul(v, normal[j], h->point[(size_t)i * h->dim + j], t);
    if (i == 0 || mpq_cmp(v, out) > 0) mpq_set(out, v);
  }
  mpq_clears(v, t, NULL);
}

/* The polar around the points' mean o, which lies inside: normals a with a.(v - o) <= 1 for all points v. The largest
 * a.(p - o) exceeds 1 exactly when p is outside; its optimal vertex is the facet that the way from o to p leaves
 * through. A direction in which a.(p - o) grows for ever (the hull is flat and p beside it) is a normal as well. */
static ep_status polar(const ep_hull *h, mpq_t *p, mpq_t *o, mpq_t *d, ep_exact_lp *lp, mpq_t *normal, mpq_t value,
                       bool *is_inside) {
  ep_exact_answer answer;
  mpq_t one;
  mpq_init(one);
  mpq_set_ui(one, 1, 1);
  ep_status st = EP_OK;
  mpq_t *n = &d[h->dim]; /* one more number */
  mpq_set_ui(*n, h->n_point, 1);
  for (uint32_t j = 0; j < h->dim; j++) {
    mpq_set_ui(o[j], 0, 1);
    for (uint32_t i = 0; i < h->n_point; i++) mpq_add(o[j], o[j], h->point[(size_t)i * h->dim + j]);
    mpq_div(o[j], o[j], *n);
  }
  for (uint32_t i = 0; i < h->n_point && st == EP_OK; i++) {
    for (uint32_t j = 0; j < h->dim; j++) mpq_sub(d[j], h->point[(size_t)i * h->dim + j], o[j]);
    st = ep_exact_lp_add(lp, d, one);
  }
  for (uint32_t j = 0; j < h->dim; j++) mpq_sub(d[j], p[j], o[j]);
  if (st == EP_OK) st = ep_exact_lp_maximise(lp, d, &answer, value, normal);
  if (st == EP_OK) {
    assert(answer != EP_EXACT_INFEASIBLE); /* normal = 0 is feasible */
    *is_inside = answer == EP_EXACT_OPTIMAL && mpq_cmp(value, one) <= 0;
  }
  mpq_clear(one);
  return st;
}

ep_status ep_hull_separate(const ep_hull *h, mpq_t *p, mpq_t *normal, mpq_t rhs, bool *is_inside) {
  ep_exact_lp lp;
  ep_exact_lp_init(&lp, h->ctx, h->dim);
  mpq_t *o = ep_rational_create(h->ctx, h->dim), *d = ep_rational_create(h->ctx, h->dim + 1), value;
  mpq_init(value);
  ep_status st = o && d ? polar(h, p, o, d, &lp, normal, value, is_inside) : EP_E_NOMEM;
  if (st == EP_OK) ep_hull_max(h, normal, rhs);
  mpq_clear(value);
  ep_rational_destroy(h->ctx, o, h->dim);
  ep_rational_destroy(h->ctx, d, h->dim + 1);
  ep_exact_lp_clear(&lp);
  return st;
}

/* Rounds the normal, its largest entry scaled to 1; entries below 2^-40 are noise of the point and become 0. */
static void round_normal(const ep_hull *h, mpq_t *normal, double *out) {
  mpq_t most, t;
  mpq_inits(most, t, NULL);
  for (uint32_t j = 0; j < h->dim; j++) {
    mpq_abs(t, normal[j]);
    if (mpq_cmp(t, most) > 0) mpq_set(most, t);
  }
  assert(mpq_sgn(most) > 0);
  for (uint32_t j = 0; j < h->dim; j++) {
    mpq_div(t, normal[j], most);
    out[j] = mpq_get_d(t);
    if (fabs(out[j]) < 0x1p-40) out[j] = 0;
    mpq_set_d(normal[j], out[j]);
  }
  mpq_clears(most, t, NULL);
}

ep_status ep_hull_cut(const ep_hull *h, const double *p, double tolerance, double *normal, double *rhs, bool *is_cut) {
  bool is_inside = true;
  double value = 0;
  mpq_t *x = ep_rational_create(h->ctx, h->dim), *a = ep_rational_create(h->ctx, h->dim), b;
  mpq_init(b);
  *is_cut = false;
  ep_status st = x && a ? EP_OK : EP_E_NOMEM;
  for (uint32_t j = 0; j < h->dim && st == EP_OK; j++) mpq_set_d(x[j], p[j]);
  if (st == EP_OK) st = ep_hull_separate(h, x, a, b, &is_inside);
  if (st == EP_OK && !is_inside) {
    round_normal(h, a, normal);
    ep_hull_max(h, a, b); /* valid by construction for the rounded normal */
    *rhs = ep_rational_up(b);
    for (uint32_t j = 0; j < h->dim; j++) value += normal[j] * p[j];
    *is_cut = value > *rhs + tolerance;
  }
  mpq_clear(b);
  ep_rational_destroy(h->ctx, x, h->dim);
  ep_rational_destroy(h->ctx, a, h->dim);
  return st;
}
