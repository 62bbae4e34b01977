/* The same rows in rational arithmetic: no rounding but that of the result. The bounds of the neurons, the slopes and
 * the intercepts are doubles and taken as they are; weights with an error bound, and float32 semantics, still charge
 * theirs. */
#include <gmp.h>
#include <math.h>
#include <stdlib.h>

#include "checker/check.h"

typedef struct rationals {
  uint32_t n;
  mpq_t *q;
} rationals;

static rationals make(uint32_t n) {
  rationals r = {n, malloc((n + 1) * sizeof(mpq_t))};
  if (!r.q) abort(); /* as GMP does */
  for (uint32_t i = 0; i < n; i++) mpq_init(r.q[i]);
  return r;
}

static void clear(rationals *r) {
  for (uint32_t i = 0; i < r->n; i++) mpq_clear(r->q[i]);
  free(r->q);
  *r = (rationals){0};
}

typedef struct pass {
  ck_state *s;
  rationals *c; /* [n_val] */
  mpq_t cst, t, w, least;
  double err; /* charges that no arithmetic can take away */
} pass;

/* dst += q x */
static void add_product(pass *p, mpq_t dst, const mpq_t q, double x) {
  mpq_set_d(p->w, x);
  mpq_mul(p->w, p->w, q);
  mpq_add(dst, dst, p->w);
}

static void through_affine(pass *p, uint32_t k) {
  const ck_node *nd = &p->s->net->node[k];
  bool has_err = nd->bias_err || p->s->is_f32;
  for (uint32_t j = 0; j < nd->n_in; j++) has_err |= nd->map[j].rel > 0;
  for (uint32_t i = 0; i < p->c[nd->out].n; i++) {
    mpq_t *ci = &p->c[nd->out].q[i];
    if (!mpq_sgn(*ci)) continue;
    if (nd->bias) add_product(p, p->cst, *ci, nd->bias[i]);
    if (has_err) p->err += fabs(mpq_get_d(*ci)) * p->s->aerr[k][i] * (1 + 0x1p-16) + 0x1p-960;
    for (uint32_t j = 0; j < nd->n_in; j++) {
      const ck_map *m = &nd->map[j];
      rationals *dst = &p->c[nd->in[j]];
      if (!dst->q) *dst = make(p->s->net->size[nd->in[j]]);
      for (uint32_t g = m->first[i]; g < m->first[i + 1]; g++)
        for (uint32_t x = 0; x < m->seg[g].len; x++)
          if (m->seg[g].w[x] != 0) add_product(p, dst->q[m->seg[g].col + x], *ci, m->seg[g].w[x]);
    }
  }
}

/* As least_gap in bound.c, added to the constant. */
static void add_least_gap(pass *p, const mpq_t c, double v, const double z[3]) {
  for (int j = 0; j < 3; j++) {
    mpq_set_d(p->t, -v);
    if (z[j] > 0) mpq_add(p->t, p->t, c);
    mpq_set_d(p->w, z[j]);
    mpq_mul(p->t, p->t, p->w);
    if (!j || mpq_cmp(p->t, p->least) < 0) mpq_set(p->least, p->t);
  }
  mpq_add(p->cst, p->cst, p->least);
}

static bool through_relu(pass *p, const ck_node *nd) {
  const ck_state *s = p->s;
  uint32_t z = nd->in[0], flat = s->net->flat[nd->layer];
  if (!p->c[z].q) p->c[z] = make(s->net->size[z]);
  for (uint32_t i = 0; i < s->net->size[z]; i++) {
    mpq_t *c = &p->c[nd->out].q[i], *dst = &p->c[z].q[i];
    int8_t phase = s->phase[flat + i];
    double k, t, corner[3], a = phase == 1 ? -s->beta[flat + i] : phase == 2 ? s->beta[flat + i] : 0;
    if (!isnan(s->price[flat + i])) {
      a = s->price[flat + i];
      ck_corners(s, nd, i, corner);
      if (!isfinite(corner[0]) || !isfinite(corner[1])) return false;
      add_least_gap(p, *c, a, corner);
    } else if (mpq_sgn(*c)) {
      ck_line(s, nd, i, mpq_sgn(*c) > 0, &k, &t);
      if (!isfinite(t)) return false;
      add_product(p, *dst, *c, k);
      add_product(p, p->cst, *c, t);
    }
    mpq_set_d(p->t, a);
    mpq_add(*dst, *dst, p->t);
  }
  return true;
}

/* Takes the rational coefficients of the input to their minimum over the box. */
static double finish(pass *p) {
  const ck_state *s = p->s;
  uint32_t x = s->net->input;
  for (uint32_t j = 0; j < p->c[x].n; j++) {
    mpq_t *c = &p->c[x].q[j];
    if (mpq_sgn(*c)) add_product(p, p->cst, *c, mpq_sgn(*c) > 0 ? s->t->lo[x][j] : s->t->hi[x][j]);
    s->coef[x][j] = mpq_get_d(*c);
  }
  if (!isfinite(p->err)) return -INFINITY;
  mpq_set_d(p->t, nextafter(p->err, INFINITY));
  mpq_sub(p->cst, p->cst, p->t);
  return nextafter(mpq_get_d(p->cst), -INFINITY); /* mpq_get_d truncates */
}

double ck_exact_row_bound(ck_state *s, double err) {
  const ck_net *net = s->net;
  if (!s->exact) s->exact = CK_NEW(s->c, rationals, net->n_val);
  pass p = {.s = s, .c = s->exact, .err = err};
  bool is_known = true;
  mpq_inits(p.cst, p.t, p.w, p.least, NULL);
  for (uint32_t v = 0; v < net->n_val; v++) {
    if (!s->is_live[v]) continue;
    p.c[v] = make(net->size[v]);
    for (uint32_t i = 0; i < net->size[v]; i++) mpq_set_d(p.c[v].q[i], s->coef[v][i]);
    s->is_live[v] = false;
  }
  for (uint32_t k = net->n_node; k-- > 0 && is_known;) {
    if (!p.c[net->node[k].out].q) continue;
    if (net->node[k].is_relu)
      is_known = through_relu(&p, &net->node[k]);
    else
      through_affine(&p, k);
    clear(&p.c[net->node[k].out]);
  }
  ck_touch(s, net->input);
  double b = is_known ? finish(&p) : -INFINITY;
  for (uint32_t v = 0; v < net->n_val; v++) clear(&p.c[v]);
  mpq_clears(p.cst, p.t, p.w, p.least, NULL);
  return b;
}
