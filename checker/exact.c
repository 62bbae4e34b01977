/* The same rows in rational arithmetic: no rounding but that of the result. The bounds of the neurons, the slopes and
 * the intercepts are doubles and taken as they are; weights with an error bound, and float32 semantics, still charge
 * theirs. */
#include <gmp.h>
#include <math.h>
#include <stdlib.h>

#include "checker/check.h"

static void clear(mpq_t **q, uint32_t n) {
  for (uint32_t i = 0; *q && i < n; i++) mpq_clear((*q)[i]);
  free(*q);
  *q = NULL;
}

static void make(mpq_t **q, uint32_t n) {
  if (*q) return;
  *q = malloc((n + 1) * sizeof(mpq_t));
  if (!*q) abort(); /* as GMP does */
  for (uint32_t i = 0; i < n; i++) mpq_init((*q)[i]);
}

typedef struct pass {
  ck_state *s;
  mpq_t **c; /* [n_val] */
  mpq_t cst, t, w;
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
  for (uint32_t i = 0; i < p->s->net->size[nd->out]; i++) {
    mpq_t *ci = &p->c[nd->out][i];
    if (!mpq_sgn(*ci)) continue;
    if (nd->bias) add_product(p, p->cst, *ci, nd->bias[i]);
    if (has_err) p->err += fabs(mpq_get_d(*ci)) * p->s->aerr[k][i] * (1 + 0x1p-16) + 0x1p-960;
    for (uint32_t j = 0; j < nd->n_in; j++) {
      const ck_map *m = &nd->map[j];
      mpq_t **dst = &p->c[nd->in[j]];
      make(dst, p->s->net->size[nd->in[j]]);
      for (uint32_t g = m->first[i]; g < m->first[i + 1]; g++)
        for (uint32_t x = 0; x < m->seg[g].len; x++)
          if (m->seg[g].w[x] != 0) add_product(p, (*dst)[m->seg[g].col + x], *ci, m->seg[g].w[x]);
    }
  }
}

static bool through_relu(pass *p, const ck_node *nd) {
  uint32_t z = nd->in[0];
  make(&p->c[z], p->s->net->size[z]);
  for (uint32_t i = 0; i < p->s->net->size[z]; i++) {
    mpq_t *c = &p->c[nd->out][i], *dst = &p->c[z][i];
    ck_line line = ck_relu_line(p->s, nd, i, mpq_sgn(*c) > 0);
    if (!mpq_sgn(*c) && line.beta == 0) continue;
    if (!(line.icpt < INFINITY)) return false;
    add_product(p, *dst, *c, line.slope);
    add_product(p, p->cst, *c, line.icpt);
    mpq_set_d(p->t, line.beta);
    mpq_sub(*dst, *dst, p->t);
  }
  return true;
}

/* Takes the rational coefficients of the input to their minimum over the box. */
static double finish(pass *p) {
  const ck_state *s = p->s;
  uint32_t x = s->net->input;
  for (uint32_t j = 0; p->c[x] && j < s->net->size[x]; j++) {
    mpq_t *c = &p->c[x][j];
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
  if (!s->exact) s->exact = CK_NEW(s->c, mpq_t *, net->n_val);
  pass p = {.s = s, .c = s->exact, .err = err};
  bool is_known = true;
  mpq_inits(p.cst, p.t, p.w, NULL);
  for (uint32_t v = 0; v < net->n_val; v++) {
    if (!s->is_live[v]) continue;
    make(&p.c[v], net->size[v]);
    for (uint32_t i = 0; i < net->size[v]; i++) mpq_set_d(p.c[v][i], s->coef[v][i]);
    s->is_live[v] = false;
  }
  for (uint32_t k = net->n_node; k-- > 0 && is_known;) {
    if (!p.c[net->node[k].out]) continue;
    if (net->node[k].is_relu)
      is_known = through_relu(&p, &net->node[k]);
    else
      through_affine(&p, k);
    clear(&p.c[net->node[k].out], net->size[net->node[k].out]);
  }
  ck_touch(s, net->input);
  double b = is_known ? finish(&p) : -INFINITY;
  for (uint32_t v = 0; v < net->n_val; v++) clear(&p.c[v], net->size[v]);
  mpq_clears(p.cst, p.t, p.w, NULL);
  return b;
}
