/* Greedy shrinking: every simplification is tried in turn and kept when the defect still shows, until none helps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/differential/sample.h"

typedef struct shrinker {
  sample *s, *copy;
  sample_test test;
  void *arg;
  uint32_t kept;
} shrinker;

/* The copy holds a smaller sample: keep it if it still shows the defect. */
static bool keep(shrinker *h) {
  if (!h->test(h->copy, h->arg)) return false;
  memcpy(h->s, h->copy, sizeof *h->s);
  h->kept++;
  return true;
}
static sample *attempt(shrinker *h) {
  memcpy(h->copy, h->s, sizeof *h->s);
  return h->copy;
}

static void drop_parts(shrinker *h) {
  for (uint32_t k = h->s->n_box; k-- > 0;)
    if (h->s->n_box > 1) {
      sample *t = attempt(h);
      memmove(&t->box[k], &t->box[k + 1], (t->n_box - k - 1) * sizeof *t->box);
      t->n_box--;
      keep(h);
    }
  for (uint32_t k = 0; k < h->s->n_box; k++) {
    for (uint32_t p = h->s->box[k].n; p-- > 0;)
      if (h->s->box[k].n > 1) {
        box *b = &attempt(h)->box[k];
        memmove(&b->poly[p], &b->poly[p + 1], (b->n - p - 1) * sizeof *b->poly);
        b->n--;
        keep(h);
      }
    for (uint32_t p = 0; p < h->s->box[k].n; p++)
      for (uint32_t i = h->s->box[k].poly[p].n; i-- > 0;)
        if (h->s->box[k].poly[p].n > 1) {
          poly *q = &attempt(h)->box[k].poly[p];
          memmove(&q->row[i], &q->row[i + 1], (q->n - i - 1) * sizeof *q->row);
          q->n--;
          keep(h);
        }
  }
}

/* Takes layer k out where its input fits its successor. */
static void drop_layers(shrinker *h) {
  for (uint32_t k = h->s->n_layer; k-- > 0;) {
    const layer *l = &h->s->layer[k];
    if (l->n_in != l->n_out || h->s->n_layer == 1) continue;
    sample *t = attempt(h);
    memmove(&t->layer[k], &t->layer[k + 1], (t->n_layer - k - 1) * sizeof *t->layer);
    t->n_layer--;
    bool is_valid = true;
    for (uint32_t i = k; i < t->n_layer; i++)
      if (t->layer[i].kind == SKIP && t->layer[i].from > k && --t->layer[i].from > i) is_valid = false;
    if (is_valid) keep(h);
  }
}

/* Takes neuron r out between dense layers a and b; everything between them works element by element. */
static void drop_neuron(shrinker *h, uint32_t a, uint32_t b, uint32_t r) {
  sample *t = attempt(h);
  layer *la = &t->layer[a], *lb = &t->layer[b];
  memmove(la->w + (size_t)r * la->n_in, la->w + (size_t)(r + 1) * la->n_in,
          (size_t)(la->n_out - r - 1) * la->n_in * sizeof *la->w);
  memmove(la->b + r, la->b + r + 1, (la->n_out - r - 1) * sizeof *la->b);
  float *to = lb->w;
  for (uint32_t i = 0; i < lb->n_out; i++)
    for (uint32_t j = 0; j < lb->n_in; j++)
      if (j != r) *to++ = lb->w[(size_t)i * lb->n_in + j];
  la->n_out--;
  lb->n_in--;
  for (uint32_t k = a + 1; k < b; k++) t->layer[k].n_in = t->layer[k].n_out = la->n_out;
  keep(h);
}

static void drop_neurons(shrinker *h) {
  for (uint32_t a = 0; a < h->s->n_layer; a++) {
    uint32_t b = a + 1;
    while (b < h->s->n_layer && h->s->layer[b].kind == ACTIVATION) b++;
    if (b == h->s->n_layer || h->s->layer[a].kind != DENSE || h->s->layer[b].kind != DENSE) continue;
    bool is_used = false; /* a skip that starts between the two keeps their width */
    for (uint32_t k = 0; k < h->s->n_layer; k++)
      is_used |= h->s->layer[k].kind == SKIP && h->s->layer[k].from > a && h->s->layer[k].from <= b;
    for (uint32_t r = h->s->layer[a].n_out; !is_used && r-- > 0;)
      if (h->s->layer[a].n_out > 1) drop_neuron(h, a, b, r);
  }
}

/* 0 first, then the nearest integer. */
static void simplify_weight(shrinker *h, float *in_copy, const float *now) {
  const float to[2] = {0, rintf(*now)};
  for (int i = 0; i < 2; i++) {
    if (*now == to[i] || *now == 0) continue;
    attempt(h);
    *in_copy = to[i];
    if (keep(h)) return;
  }
}

static void simplify_weights(shrinker *h) {
  for (uint32_t k = 0; k < h->s->n_layer; k++) {
    const layer *l = &h->s->layer[k];
    uint32_t n_w = l->kind == DENSE ? l->n_in * l->n_out : l->kind == CONV ? l->c_out * l->c_in * 4 : 0;
    uint32_t n_b = l->kind == DENSE ? l->n_out : l->kind == CONV ? l->c_out : 0;
    for (uint32_t i = 0; i < n_w; i++) simplify_weight(h, &h->copy->layer[k].w[i], &h->s->layer[k].w[i]);
    for (uint32_t i = 0; i < n_b; i++) simplify_weight(h, &h->copy->layer[k].b[i], &h->s->layer[k].b[i]);
  }
  for (uint32_t k = 0; k < h->s->n_box; k++)
    for (uint32_t i = 0; i < h->s->n_x; i++) {
      if (h->s->box[k].lo[i] < h->s->box[k].hi[i]) {
        sample *t = attempt(h);
        t->box[k].hi[i] = t->box[k].lo[i];
        if (!keep(h)) {
          t = attempt(h);
          t->box[k].lo[i] = t->box[k].hi[i];
          keep(h);
        }
      }
    }
}

uint32_t sample_shrink(sample *s, sample_test test, void *arg) {
  shrinker h = {.s = s, .copy = malloc(sizeof *s), .test = test, .arg = arg};
  if (!h.copy) return 0;
  for (uint32_t before = UINT32_MAX; h.kept != before;) {
    before = h.kept;
    drop_parts(&h);
    drop_layers(&h);
    drop_neurons(&h);
    simplify_weights(&h);
  }
  free(h.copy);
  return h.kept;
}
