#include "verifier/vnnlib_dnf.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "verifier/vnnlib.h"

typedef ep_vnn_atom atom;
typedef ep_vnn_conj conj;
typedef ep_vnn_dnf dnf;

ep_status ep_vnn_dnf_grow(ep_vnn_store *s, void **array, uint32_t *cap, uint32_t n, size_t size) {
  if (n < *cap) return EP_OK;
  uint32_t want = *cap ? 2 * *cap : 1; /* most terms have one variable, most formulas one atom */
  void *t = ep_arena_alloc(&s->arena, want, size);
  if (!t) return EP_E_NOMEM;
  if (n) memcpy(t, *array, n * size);
  *array = t;
  *cap = want;
  return EP_OK;
}

ep_status ep_vnn_dnf_add_atom(ep_vnn_store *s, conj *c, const atom *a) {
  EP_TRY(ep_vnn_dnf_grow(s, (void **)&c->a, &c->cap, c->n, sizeof *c->a));
  c->a[c->n++] = *a;
  return EP_OK;
}

static ep_status too_many(ep_vnn_store *s) {
  return ep_lex_fail(s->lex, EP_E_UNSUPPORTED, "more than %u disjuncts in normal form", EP_VNNLIB_MAX_CONJUNCTS);
}

ep_status ep_vnn_dnf_add_conj(ep_vnn_store *s, dnf *d, const conj *c) {
  if (d->n >= EP_VNNLIB_MAX_CONJUNCTS) return too_many(s);
  EP_TRY(ep_vnn_dnf_grow(s, (void **)&d->c, &d->cap, d->n, sizeof *d->c));
  d->c[d->n++] = *c;
  return EP_OK;
}

static uint64_t count_atoms(const dnf *d) {
  uint64_t n = 0;
  for (uint32_t i = 0; i < d->n; i++) n += d->c[i].n;
  return n;
}

/* What distributing will copy, asked before anything is. */
static ep_status check_room(ep_vnn_store *s, const dnf *d, const dnf *e) {
  if (e->n && d->n > EP_VNNLIB_MAX_CONJUNCTS / e->n) return too_many(s);
  s->n_joined += d->n * count_atoms(e) + (e->n == 1 ? 0 : e->n * count_atoms(d));
  if (s->n_joined > EP_VNNLIB_MAX_JOINED)
    return ep_lex_fail(s->lex, EP_E_UNSUPPORTED, "more than %u comparisons in normal form", EP_VNNLIB_MAX_JOINED);
  return EP_OK;
}

static ep_status join_in_place(ep_vnn_store *s, dnf *d, const conj *e) {
  for (uint32_t i = 0; i < d->n; i++)
    for (uint32_t k = 0; k < e->n; k++) EP_TRY(ep_vnn_dnf_add_atom(s, &d->c[i], &e->a[k]));
  return EP_OK;
}

ep_status ep_vnn_dnf_join(ep_vnn_store *s, dnf *d, const dnf *e) {
  if (d->n == 1 && !d->c[0].n) { /* "true": takes e over as it is */
    *d = *e;
    return EP_OK;
  }
  EP_TRY(check_room(s, d, e));
  if (e->n == 1) return join_in_place(s, d, &e->c[0]); /* the usual case */
  dnf r = {0};
  for (uint32_t i = 0; i < d->n; i++)
    for (uint32_t j = 0; j < e->n; j++) {
      const conj *l = &d->c[i], *m = &e->c[j];
      if (ep_ctx_should_stop(s->lex->ctx)) return EP_E_STOPPED;
      conj c = {l->n + m->n, l->n + m->n, EP_ARENA(&s->arena, atom, (size_t)l->n + m->n)};
      if (!c.a) return EP_E_NOMEM;
      if (l->n) memcpy(c.a, l->a, l->n * sizeof *c.a);
      if (m->n) memcpy(c.a + l->n, m->a, m->n * sizeof *c.a);
      EP_TRY(ep_vnn_dnf_add_conj(s, &r, &c));
    }
  *d = r;
  return EP_OK;
}

/* X_3, or X[0,3] of VNN-LIB 2. */
static const char *variable_text(const ep_vnn_store *s, uint32_t v, char *buf, size_t n) {
  if (!s->declared) {
    snprintf(buf, n, "%c_%u", v & 1 ? 'Y' : 'X', v / 2);
    return buf;
  }
  const ep_query_tensor *t = v & 1 ? &s->declared->y : &s->declared->x;
  uint32_t rest = v / 2;
  ep_shape at = t->shape;
  for (uint32_t k = at.rank; k-- > 0; rest /= (uint32_t)t->shape.dim[k]) at.dim[k] = rest % t->shape.dim[k];
  char index[128];
  snprintf(buf, n, "%.60s%s", t->name, at.rank ? ep_shape_text(&at, index, sizeof index) : "");
  return buf;
}

/* What turns assertions into a query. */
typedef struct build {
  ep_vnn_store *s;
  ep_ctx *ctx;
  uint32_t n_x, n_y;
  ep_query_builder *qb;
} build;

/* Variable-free atoms are decided here: 1 true, 0 false, -1 cannot be told. An enclosure that is not a point holds its
 * number strictly inside (see compare_bounds in vnnlib_box.c). */
static int decide(const atom *a) {
  bool is_point = a->c.lo == a->c.hi;
  if (a->c.hi < 0 || (a->c.hi == 0 && !(a->is_strict && is_point))) return 1;
  if (a->c.lo >= 0) return 0;
  return -1;
}

static ep_status emit_row(build *w, const atom *a) {
  uint32_t *var = EP_ARENA(&w->s->arena, uint32_t, a->n + 1u);
  double *coef = EP_ARENA(&w->s->arena, double, a->n + 1u), rel = 0;
  char text[256];
  if (!var || !coef) return EP_E_NOMEM;
  for (uint32_t i = 0; i < a->n; i++) {
    var[i] = a->var[i] & 1 ? a->var[i] / 2 : w->n_y + a->var[i] / 2;
    coef[i] = 0.5 * a->coef[i].lo + 0.5 * a->coef[i].hi;
    if (a->coef[i].lo == a->coef[i].hi) continue;
    if (a->coef[i].lo <= 0 && a->coef[i].hi >= 0)
      return EP_FAIL(w->ctx, EP_E_UNSUPPORTED, "%s: a coefficient of %s cannot be told from zero", w->s->lex->name,
                     variable_text(w->s, a->var[i], text, sizeof text));
    double off = ep_up(fmax(ep_sub_up(a->coef[i].hi, coef[i]), ep_sub_up(coef[i], a->coef[i].lo)) / fabs(coef[i]));
    rel = fmax(rel, off);
  }
  return ep_query_builder_row_itv(w->qb, a->n, var, coef, rel, (ep_itv){-a->c.hi, -a->c.lo}, a->is_strict);
}

/* A distinct box and the disjuncts that lie in it, in order of appearance. */
typedef struct group {
  uint64_t hash;
  ep_vnn_box b;
  uint32_t first, last; /* list of conjuncts through `next` */
  uint32_t next_in_slot;
} group;

typedef struct grouping {
  group *g;
  uint32_t n, cap;
  uint32_t *slot; /* hash table of first group index + 1 */
  size_t n_slot;
  uint32_t *next; /* [conjuncts] next conjunct of the same group, UINT32_MAX = last */
} grouping;

static ep_status into_group(build *w, grouping *gr, const ep_vnn_box *b, uint32_t conjunct) {
  uint64_t h = ep_vnn_box_hash(b);
  uint32_t *slot = &gr->slot[h & (gr->n_slot - 1)];
  gr->next[conjunct] = UINT32_MAX;
  for (uint32_t k = *slot; k; k = gr->g[k - 1].next_in_slot) {
    assert(gr->g && k <= gr->n);
    group *g = &gr->g[k - 1];
    if (g->hash != h || !ep_vnn_box_is_equal(&g->b, b)) continue;
    gr->next[g->last] = conjunct;
    g->last = conjunct;
    return EP_OK;
  }
  EP_TRY(ep_vnn_dnf_grow(w->s, (void **)&gr->g, &gr->cap, gr->n, sizeof *gr->g));
  group *g = &gr->g[gr->n++];
  *g = (group){.hash = h, .first = conjunct, .last = conjunct, .next_in_slot = *slot};
  EP_TRY(ep_vnn_box_init(&w->s->arena, w->n_x, &g->b));
  ep_vnn_box_copy(b, &g->b);
  *slot = gr->n;
  return EP_OK;
}

/* All assertions as one DNF over a base box: assertions of one conjunct narrow the base directly. */
static ep_status combine(build *w, const dnf *asserts, size_t n_assert, ep_vnn_box *base, conj *shared, dnf *all,
                         bool *is_false) {
  conj empty = {0};
  EP_TRY(ep_vnn_dnf_add_conj(w->s, all, &empty));
  for (size_t i = 0; i < n_assert; i++) {
    const dnf *d = &asserts[i];
    if (d->n != 1) {
      EP_TRY(ep_vnn_dnf_join(w->s, all, d));
      continue;
    }
    for (uint32_t k = 0; k < d->c[0].n; k++) {
      const atom *a = &d->c[0].a[k];
      if (a->n == 0 && decide(a) == 0)
        *is_false = true;
      else if (ep_vnn_bounds_input(a))
        ep_vnn_box_narrow(base, a);
      else
        EP_TRY(ep_vnn_dnf_add_atom(w->s, shared, a));
    }
  }
  return EP_OK;
}

static ep_status emit_rows(build *w, const conj *c, bool skip_box) {
  for (uint32_t k = 0; k < c->n; k++) {
    const atom *a = &c->a[k];
    if ((skip_box && ep_vnn_bounds_input(a)) || (a->n == 0 && decide(a) == 1)) continue;
    EP_TRY(emit_row(w, a));
  }
  return EP_OK;
}

static ep_status check_bounded(build *w, const ep_vnn_box *b) {
  char text[256];
  for (uint32_t i = 0; i < w->n_x; i++)
    if (b->lo[i] == -INFINITY || b->hi[i] == INFINITY)
      return EP_FAIL(w->ctx, EP_E_SYNTAX, "%s: input %s has no %s bound", w->s->lex->name,
                     variable_text(w->s, 2 * i, text, sizeof text), b->lo[i] == -INFINITY ? "lower" : "upper");
  return EP_OK;
}

ep_status ep_vnn_dnf_build(ep_vnn_store *s, const dnf *asserts, size_t n_assert, uint32_t n_x, uint32_t n_y,
                           ep_query_builder *qb) {
  build state = {s, s->lex->ctx, n_x, n_y, qb}, *w = &state;
  ep_vnn_box base, box;
  conj shared = {0};
  dnf all = {0};
  bool is_false = false;
  EP_TRY(ep_vnn_box_init(&w->s->arena, w->n_x, &base));
  EP_TRY(ep_vnn_box_init(&w->s->arena, w->n_x, &box));
  EP_TRY(combine(w, asserts, n_assert, &base, &shared, &all, &is_false));
  grouping gr = {.n_slot = 64};
  while (gr.n_slot < 2 * (size_t)all.n) gr.n_slot *= 2;
  gr.slot = EP_ARENA(&w->s->arena, uint32_t, gr.n_slot);
  gr.next = EP_ARENA(&w->s->arena, uint32_t, all.n + 1u);
  if (!gr.slot || !gr.next) return EP_E_NOMEM;
  for (uint32_t i = 0; i < all.n; i++) {
    if (ep_ctx_should_stop(w->ctx)) return EP_E_STOPPED;
    ep_vnn_box_copy(&base, &box);
    bool is_dead = is_false;
    for (uint32_t k = 0; k < all.c[i].n; k++) {
      const atom *a = &all.c[i].a[k];
      if (a->n == 0 && decide(a) == 0)
        is_dead = true;
      else if (ep_vnn_bounds_input(a))
        ep_vnn_box_narrow(&box, a);
    }
    EP_TRY(check_bounded(w, &box));
    ep_vnn_box_settle(&box);
    if (!is_dead) EP_TRY(into_group(w, &gr, &box, i));
  }
  for (uint32_t k = 0; k < gr.n; k++) {
    EP_TRY(ep_query_builder_box4(w->qb, gr.g[k].b.lo, gr.g[k].b.hi, gr.g[k].b.lo_in, gr.g[k].b.hi_in));
    for (uint32_t i = gr.g[k].first; i != UINT32_MAX; i = gr.next[i]) {
      EP_TRY(ep_query_builder_polytope(w->qb));
      EP_TRY(emit_rows(w, &shared, false));
      EP_TRY(emit_rows(w, &all.c[i], true));
    }
  }
  return EP_OK;
}
