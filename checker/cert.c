/* Replays a certificate. The table of bounds of one input box starts from the box alone and only ever gets tighter,
 * each time by a bound that is computed here; a polytope counts as impossible when a bound computed here says so. The
 * certificate chooses what is computed, in which order and with which slopes, multipliers and cases; none of that can
 * make a bound wrong. Cases are read as binary trees, so that they cover by construction. */
#include <math.h>
#include <string.h>

#include "checker/check.h"

enum { MAX_CASES = 4096, MAX_SPLITS = 1200, MAX_NESTED = 512, MAX_SUM = 1 << 16 };

/* What a case with lemmas of its own needs, by depth. */
typedef struct scope {
  ck_table *t;
  uint32_t *mask;
  uint8_t *last;
} scope;

typedef struct replay {
  ck *c;
  const uint8_t *p, *end;
  const ck_net *net;
  const ck_query *q;
  ck_state *s;
  bool **is_proved;       /* [n_box][n_poly] */
  uint32_t n_layer;       /* relu layers that the certificate speaks of */
  uint32_t *layer;        /* [n_layer] the certificate's numbers of relu layers to ours */
  uint32_t n_flat, *flat; /* [n_flat] its numbers of neurons to ours */
  /* of the lemma or polytope under way */
  uint32_t n_mask, *mask; /* flat neurons that slopes are given for */
  uint8_t *last;          /* [n_mask] slopes of the leaf before */
  uint32_t *path, n_path; /* decided neurons, flat */
  const ck_box *box;
  ck_row sum;        /* of a polytope's rows, [MAX_SUM] */
  bool is_void;      /* bounds of the case under way crossed: no input fits its decisions */
  uint32_t n_case;   /* cases with lemmas of their own, nested */
  scope *scope;      /* [MAX_NESTED] */
  uint64_t n_halved; /* boxes that the certificate ends and we had to halve */
  ck_stats *stats;
} replay;

/* ---- bytes ---- */

static uint8_t byte(replay *r) {
  if (r->p == r->end) ck_reject(r->c, "the certificate ends early");
  return *r->p++;
}

static uint32_t varint(replay *r) {
  uint32_t v = 0;
  for (int shift = 0;; shift += 7) {
    uint8_t b = byte(r);
    if (shift > 28 || (shift == 28 && b > 15)) ck_reject(r->c, "a number is too large");
    v |= (uint32_t)(b & 127) << shift;
    if (b < 128) return v;
  }
}

static uint32_t below(replay *r, uint32_t n, const char *what) {
  uint32_t v = varint(r);
  if (v >= n) ck_reject(r->c, "%s %u does not exist", what, v);
  return v;
}

static const uint8_t *bytes(replay *r, size_t n) {
  if (n > (size_t)(r->end - r->p)) ck_reject(r->c, "the certificate ends early");
  r->p += n;
  return r->p - n;
}

/* n bytes, low ones first. */
static uint64_t word(replay *r, int n) {
  const uint8_t *b = bytes(r, (size_t)n);
  uint64_t v = 0;
  for (int i = 0; i < n; i++) v |= (uint64_t)b[i] << (8 * i);
  return v;
}

static uint32_t layer_value(replay *r, uint32_t *n) {
  uint32_t k = r->net->relu[r->layer[below(r, r->n_layer, "layer")]];
  *n = r->net->size[r->net->node[k].out];
  return r->net->node[k].in[0];
}

/* ---- slopes and cases ---- */

static void read_mask(replay *r) {
  r->n_mask = 0;
  for (uint32_t l = 0; l < r->n_layer; l++) {
    uint32_t flat = r->net->flat[r->layer[l]], n = r->net->flat[r->layer[l] + 1] - flat;
    const uint8_t *bits = bytes(r, (n + 7) / 8);
    for (uint32_t i = 0; i < n; i++)
      if (bits[i / 8] >> (i % 8) & 1) r->mask[r->n_mask++] = flat + i;
  }
  memset(r->last, 0, r->n_mask);
}

/* All slopes: the default rule (< 0), or 0 with those of the mask 1. */
static void set_slopes(replay *r, bool is_default) {
  for (uint32_t i = 0; i < r->net->flat[r->net->n_layer]; i++)
    r->s->slope[i] = is_default ? -1 : 0, r->s->price[i] = NAN;
  for (uint32_t i = 0; i < r->n_mask && !is_default; i++) r->s->slope[r->mask[i]] = 1;
}

/* A float32 of which the upper n bytes are there. */
static double read_float(replay *r, int n) {
  uint32_t bits = (uint32_t)word(r, n) << (32 - 8 * n);
  float f;
  memcpy(&f, &bits, sizeof f);
  if (!(fabsf(f) < INFINITY)) ck_reject(r->c, "a multiplier is not finite");
  return (double)f;
}

/* The multipliers of decided neurons that are not 0, in ascending order; neurons go by the certificate's layers. */
static void read_multipliers(replay *r) {
  for (uint32_t i = 0; i < r->n_path; i++) r->s->beta[r->path[i]] = 0;
  for (uint32_t k = varint(r), at = 0; k > 0; k--) {
    at += varint(r);
    if (at >= r->n_flat || !r->s->phase[r->flat[at]]) ck_reject(r->c, "a multiplier is about a neuron not decided");
    r->s->beta[r->flat[at]] = fabs(read_float(r, 2));
  }
}

/* What a row is bounded with: 1 slopes, a byte is the change against the leaf before and b stands for the float32
 * product b * fl(1/255); 2 slopes 0 and 1; 3 prices; 4 prices 0 for all neurons, which comes to intervals. */
static void read_relaxation(replay *r) {
  uint8_t kind = byte(r);
  if (kind < 1 || kind > 4) ck_reject(r->c, "unknown kind of slopes");
  set_slopes(r, kind != 2);
  for (uint32_t i = 0; i < r->net->flat[r->net->n_layer] && kind == 4; i++) r->s->price[i] = 0;
  const uint8_t *change = kind == 1 ? bytes(r, r->n_mask) : NULL;
  for (uint32_t i = 0; i < r->n_mask && kind % 2; i++) {
    if (!change) {
      r->s->price[r->mask[i]] = read_float(r, 4);
      continue;
    }
    r->last[i] = (uint8_t)(r->last[i] + change[i]);
    r->s->slope[r->mask[i]] = (double)((float)r->last[i] * (1.0f / 255));
  }
  read_multipliers(r);
}

typedef void (*leaf_fn)(replay *r, void *arg);

static void read_case(replay *r, leaf_fn leaf, void *arg);

/* tree = 0 leaf | 1 case | (2 + place in the mask) tree(z <= 0) tree(z >= 0) */
static void tree(replay *r, leaf_fn leaf, void *arg) {
  uint32_t v = varint(r);
  r->stats->n_leaves += !v;
  if (v == 0) leaf(r, arg);
  if (v == 1) read_case(r, leaf, arg);
  if (v < 2) return;
  if (v - 2 >= r->n_mask) ck_reject(r->c, "a case is about a neuron that has no slope");
  uint32_t z = r->mask[v - 2];
  if (r->s->phase[z]) ck_reject(r->c, "a neuron is decided twice");
  if (r->n_path >= MAX_CASES) ck_reject(r->c, "cases are nested too deeply");
  r->path[r->n_path++] = z;
  r->s->phase[z] = 2;
  tree(r, leaf, arg);
  r->s->phase[z] = 1;
  tree(r, leaf, arg);
  r->s->phase[z] = 0;
  r->n_path--;
}

/* ---- lemmas: bounds of neurons ---- */

typedef struct lemma {
  uint32_t value, neuron;
  bool is_upper;
  double bound; /* the weakest over the leaves */
} lemma;

static void lemma_leaf(replay *r, void *arg) {
  lemma *m = arg;
  read_relaxation(r);
  double b = ck_neuron_bound(r->s, m->value, m->neuron, m->is_upper);
  m->bound = m->is_upper ? fmax(m->bound, b) : fmin(m->bound, b);
}

static void read_lemmas(replay *r) {
  uint32_t n, value = layer_value(r, &n);
  read_mask(r);
  for (uint32_t k = varint(r); k > 0; k--) {
    uint32_t v = below(r, 2 * n, "row");
    lemma m = {value, v / 2, v & 1, v & 1 ? -INFINITY : INFINITY};
    tree(r, lemma_leaf, &m);
    set_slopes(r, true);
    r->is_void |= m.is_upper ? m.bound < r->s->t->lo[value][m.neuron] : m.bound > r->s->t->hi[value][m.neuron];
    ck_tighten(r->s, value, m.neuron, m.is_upper, m.bound);
    r->stats->n_lemmas++;
  }
}

/* Does a decision on the way contradict the table? */
static bool is_contradiction(const replay *r) {
  double z[3] = {0};
  for (uint32_t l = 0; l < r->net->n_layer && z[0] <= z[1]; l++)
    for (uint32_t i = 0; i < r->net->flat[l + 1] - r->net->flat[l] && z[0] <= z[1]; i++)
      ck_corners(r->s, &r->net->node[r->net->relu[l]], i, z);
  return z[0] > z[1];
}

/* case = lemma step* ('X' no input fits the decisions | 'T' mask tree). The lemmas hold where the decisions hold: they
 * go into a table of the case's own, and slopes are then about neurons of its own. */
static void read_case(replay *r, leaf_fn leaf, void *arg) {
  replay outer = *r;
  if (r->n_case == MAX_NESTED) ck_reject(r->c, "cases are nested too deeply");
  scope *own = &r->scope[r->n_case++];
  if (!own->t) {
    own->t = ck_table_new(r->c, r->net);
    own->mask = CK_NEW(r->c, uint32_t, r->net->flat[r->net->n_layer]);
    own->last = CK_NEW(r->c, uint8_t, r->net->flat[r->net->n_layer]);
  }
  ck_table *t = r->s->t;
  ck_propagate(r->s, r->net->output);
  ck_table_copy(r->net, t, own->t);
  r->s->t = own->t;
  r->mask = own->mask;
  r->last = own->last;
  uint8_t op;
  while ((op = byte(r)) == 'L') read_lemmas(r);
  if (op == 'T') {
    read_mask(r);
    tree(r, leaf, arg);
  } else if (op != 'X' || !(r->is_void || is_contradiction(r))) {
    ck_reject(r->c, "a case is not shown to be empty");
  }
  r->s->t = t;
  outer.p = r->p;
  *r = outer;
  t->dirty = 0; /* error terms are those of the case's table */
}

/* Both bounds of every neuron of the layer whose sign is open. */
static void bound_layer(replay *r, uint32_t value, uint32_t n) {
  ck_propagate(r->s, value);
  for (uint32_t i = 0; i < n; i++) {
    if (!(r->s->t->lo[value][i] < 0 && r->s->t->hi[value][i] > 0)) continue;
    double lo = ck_neuron_bound(r->s, value, i, false), hi = ck_neuron_bound(r->s, value, i, true);
    ck_tighten(r->s, value, i, false, lo);
    ck_tighten(r->s, value, i, true, hi);
  }
}

/* ---- polytopes ---- */

/* A row (its number + 1), or (0) all of them, each times a weight >= 0. */
static const ck_row *read_row(replay *r, const ck_poly *poly) {
  uint32_t row = below(r, poly->n_row + 1, "row");
  if (row) return &poly->row[row - 1];
  if (varint(r) != poly->n_row) ck_reject(r->c, "a polytope has another number of rows");
  ck_row *m = &r->sum;
  *m = (ck_row){.var = m->var, .coef = m->coef, .err = m->err};
  for (uint32_t k = 0; k < poly->n_row; k++) {
    const ck_row *w = &poly->row[k];
    double f = fabs(read_float(r, 4));
    if (w->n > MAX_SUM - m->n) ck_reject(r->c, "a sum of rows has too many terms");
    for (uint32_t i = 0; i < w->n; i++, m->n++) {
      m->var[m->n] = w->var[i];
      m->coef[m->n] = f * w->coef[i];
      m->err[m->n] = f * w->err[i] * (1 + 0x1p-50) + 0x1p-52 * fabs(m->coef[m->n]) + 0x1p-1000;
    }
    m->rhs = nextafter(m->rhs + nextafter(f * w->rhs, INFINITY), INFINITY);
    m->is_strict |= w->is_strict && f > 0;
  }
  return m;
}

static void poly_leaf(replay *r, void *arg) {
  const ck_row *w = read_row(r, arg);
  read_relaxation(r);
  double b = ck_query_bound(r->s, w, r->q->n_y);
  if (!ck_is_refuted(w, b) && !r->s->is_exact && b > w->rhs - 1e-6 * (1 + fabs(w->rhs))) { /* a hair: exactly then */
    r->s->is_exact = true;
    b = ck_query_bound(r->s, w, r->q->n_y);
    r->s->is_exact = false;
  }
  if (ck_is_refuted(w, b)) return;
  ck_reject(r->c, "a leaf with %u decided neurons is not proved: the bound of its row is %.17g, needed is %.17g",
            r->n_path, b, w->rhs);
}

static void start_box(replay *r, uint32_t box) {
  const ck_net *net = r->net;
  ck_table *t = r->s->t;
  r->box = &r->q->box[box];
  for (uint32_t v = 0; v < net->n_val; v++)
    for (uint32_t i = 0; i < net->size[v]; i++) {
      t->lo[v][i] = v == net->input ? r->box->lo[i] : -INFINITY;
      t->hi[v][i] = v == net->input ? r->box->hi[i] : INFINITY;
    }
  t->dirty = 0;
  r->is_void = false;
}

/* Neurons: lemmas and polytopes of one box, in the order in which they were found. */
static void read_neurons(replay *r) {
  uint32_t box = below(r, r->q->n_box, "box"), n;
  start_box(r, box);
  for (uint8_t op; (op = byte(r)) != 'E';) {
    if (op == 'C') {
      uint32_t value = layer_value(r, &n);
      read_mask(r);
      set_slopes(r, false);
      bound_layer(r, value, n);
      set_slopes(r, true);
    } else if (op == 'L') {
      read_lemmas(r);
    } else if (op == 'P') {
      uint32_t p = below(r, r->box->n_poly, "polytope");
      read_mask(r);
      tree(r, poly_leaf, &r->box->poly[p]);
      set_slopes(r, true);
      r->is_proved[box][p] = true;
    } else {
      ck_reject(r->c, "unknown step %u", op);
    }
  }
}

/* ---- splitting the input ---- */

typedef struct splits {
  uint32_t n_poly;
  ck_table *table[MAX_SPLITS]; /* by depth */
  uint8_t *is_open[MAX_SPLITS];
  double *lo, *hi, *hull_lo, *hull_hi;
} splits;

/* Where inside [lo,hi] a counterexample can be, by a row with coefficients c and margin m over the box: row - rhs >= m
 * + c (x_j - end) with `end` the minimising one, and a counterexample has row - rhs <= 0, so c (x_j - end) <= -m. */
static void clip(const ck_state *s, double margin, double *lo, double *hi) {
  uint32_t x = s->net->input;
  for (uint32_t j = 0; j < s->net->size[x]; j++) {
    double c = s->coef[x][j], l = s->t->lo[x][j], h = s->t->hi[x][j];
    if (c == 0 || !(l < h)) continue;
    double reach = nextafter(-margin / fabs(c), INFINITY);
    if (!(reach >= 0)) continue;
    if (c > 0)
      hi[j] = fmin(hi[j], nextafter(l + reach, INFINITY));
    else
      lo[j] = fmax(lo[j], nextafter(h - reach, -INFINITY));
  }
}

/* Bounds the rows of an open polytope: is it refuted? Otherwise lo, hi become what is left of the box for it, and it is
 * refuted as well when that is nothing. */
static bool refute(replay *r, splits *sp, const ck_poly *poly) {
  uint32_t x = r->net->input;
  size_t n = r->net->size[x] * sizeof(double);
  memcpy(sp->lo, r->s->t->lo[x], n);
  memcpy(sp->hi, r->s->t->hi[x], n);
  for (uint32_t i = 0; i < poly->n_row; i++) {
    double b = ck_query_bound(r->s, &poly->row[i], r->q->n_y);
    if (ck_is_refuted(&poly->row[i], b)) return true;
    clip(r->s, nextafter(b - poly->row[i].rhs, -INFINITY), sp->lo, sp->hi);
  }
  for (uint32_t j = 0; j < r->net->size[x]; j++)
    if (sp->lo[j] > sp->hi[j]) return true;
  return false;
}

/* The input that moves the last row most. */
static uint32_t widest(const ck_state *s) {
  uint32_t x = s->net->input, best = 0;
  double top = -1;
  for (uint32_t j = 0; j < s->net->size[x]; j++) {
    double w = fabs(s->coef[x][j]) * (s->t->hi[x][j] - s->t->lo[x][j]);
    if (w > top) best = j;
    if (w > top) top = w;
  }
  return best;
}

/* box = 0 (all polytopes end here) | 1 ended? a tree of cases for each polytope not ended | (2 + axis) where ended?
 * box(lower part) box(upper part). ended? has a bit for each polytope open so far. */
static void split_box(replay *r, splits *sp, uint32_t depth, bool is_given) {
  ck_table *t = r->s->t = sp->table[depth];
  uint32_t x = r->net->input, n_x = r->net->size[x], v = is_given ? varint(r) : 0, n_open = 0;
  uint32_t halve = n_x;
  uint8_t *is_open = sp->is_open[depth]; /* 2 = and may stay so */
  bool is_first = true;
  r->stats->n_boxes++;
  if (v > n_x + 1) ck_reject(r->c, "input %u does not exist", v - 2);
  if (depth + 1 >= MAX_SPLITS) ck_reject(r->c, "boxes are nested too deeply");
  for (uint32_t l = 0; l < r->net->n_layer; l++) {
    const ck_node *nd = &r->net->node[r->net->relu[l]];
    bound_layer(r, nd->in[0], r->net->size[nd->out]);
  }
  uint64_t bits = v > 1 ? word(r, 8) : 0;
  double at;
  memcpy(&at, &bits, sizeof at);
  for (uint32_t p = 0; p < sp->n_poly; p++) n_open += is_open[p] > 0;
  const uint8_t *ended = v && n_open > 1 ? bytes(r, (n_open + 7) / 8) : NULL;
  for (uint32_t p = 0, k = 0; p < sp->n_poly; p++) {
    if (!is_open[p]) continue;
    bool should_end = !v || (ended && ended[k / 8] >> (k % 8) & 1), is_refuted = refute(r, sp, &r->box->poly[p]);
    k++;
    is_open[p] = should_end ? !is_refuted : 2;
    if (is_refuted) continue;
    if (should_end) halve = widest(r->s);
    for (uint32_t j = 0; j < n_x; j++) {
      sp->hull_lo[j] = is_first || sp->lo[j] < sp->hull_lo[j] ? sp->lo[j] : sp->hull_lo[j];
      sp->hull_hi[j] = is_first || sp->hi[j] > sp->hull_hi[j] ? sp->hi[j] : sp->hull_hi[j];
    }
    is_first = false;
  }
  for (uint32_t j = 0; j < n_x && !is_first; j++) {
    t->lo[x][j] = sp->hull_lo[j];
    t->hi[x][j] = sp->hull_hi[j];
  }
  for (uint32_t p = 0; p < sp->n_poly && v == 1; p++) {
    if (is_open[p] != 2) continue;
    r->n_mask = is_open[p] = 0;
    tree(r, poly_leaf, &r->box->poly[p]);
    set_slopes(r, true);
  }
  if (v == 1) v = 0;
  if (!v && halve == n_x) return;
  if (!v) { /* rounding elsewhere, we may fall short of what the writer saw: then halve */
    uint64_t most = (32 + r->stats->n_boxes / 16) * (r->s->is_exact ? 16 : 1);
    if (r->n_halved++ > most) ck_reject(r->c, "boxes are not proved, one of them at depth %u", depth);
    at = 0.5 * (t->lo[x][halve] + t->hi[x][halve]);
    is_given = false;
    v = halve + 2;
  }
  if (!sp->table[depth + 1]) {
    sp->table[depth + 1] = ck_table_new(r->c, r->net);
    sp->is_open[depth + 1] = CK_NEW(r->c, uint8_t, sp->n_poly);
  }
  /* Within the box, so that the parts cover it, whatever number it was; clipping may have passed it. */
  at = fmin(fmax(at, t->lo[x][v - 2]), t->hi[x][v - 2]);
  for (int side = 0; side < 2; side++) {
    ck_table *part = sp->table[depth + 1];
    ck_table_copy(r->net, t, part);
    *(side ? &part->lo[x][v - 2] : &part->hi[x][v - 2]) = at;
    part->dirty = 0;
    memcpy(sp->is_open[depth + 1], is_open, sp->n_poly);
    split_box(r, sp, depth + 1, is_given);
  }
}

static void read_splits(replay *r) {
  ck_table *own = r->s->t;
  uint32_t box = below(r, r->q->n_box, "box"), n_x = r->q->n_x;
  start_box(r, box);
  splits *sp = CK_NEW(r->c, splits, 1);
  sp->n_poly = r->box->n_poly;
  sp->table[0] = own;
  sp->is_open[0] = CK_NEW(r->c, uint8_t, sp->n_poly);
  sp->lo = CK_NEW(r->c, double, 4 * n_x);
  sp->hi = sp->lo + n_x;
  sp->hull_lo = sp->hi + n_x;
  sp->hull_hi = sp->hull_lo + n_x;
  if (varint(r) != sp->n_poly) ck_reject(r->c, "box %u has another number of polytopes", box);
  const uint8_t *subject = bytes(r, (sp->n_poly + 7) / 8);
  for (uint32_t p = 0; p < sp->n_poly; p++) sp->is_open[0][p] = subject[p / 8] >> (p % 8) & 1;
  split_box(r, sp, 0, true);
  r->s->t = own;
  for (uint32_t p = 0; p < sp->n_poly; p++) r->is_proved[box][p] |= subject[p / 8] >> (p % 8) & 1;
}

/* ---- the whole ---- */

static void read_header(replay *r, const uint8_t net_hash[32], const uint8_t query_hash[32]) {
  const ck_net *net = r->net;
  if (memcmp(bytes(r, 8), "EPCERT\0\2", 8) != 0) ck_reject(r->c, "not a certificate of format 2");
  uint8_t semantics = byte(r);
  if (semantics > 1) ck_reject(r->c, "unknown semantics");
  r->stats->is_float32 = r->s->is_f32 = semantics == 1;
  if (r->s->is_f32 && net->is_no_f32) ck_reject(r->c, "this network has no float32 semantics");
  if (memcmp(bytes(r, 32), net_hash, 32) != 0) ck_reject(r->c, "the certificate is about another network");
  if (memcmp(bytes(r, 32), query_hash, 32) != 0) ck_reject(r->c, "the certificate is about another property");
  bool *is_seen = CK_NEW(r->c, bool, net->n_layer);
  r->n_layer = below(r, net->n_layer + 1, "number of layers"); /* may be fewer: some may not reach the output */
  for (uint32_t l = 0; l < r->n_layer; l++) {
    uint32_t len = varint(r), at = 0;
    const char *name = (const char *)bytes(r, len);
    for (; at < net->n_layer; at++) {
      const ck_node *nd = &net->node[net->relu[at]];
      if (strlen(nd->name) == len && !memcmp(nd->name, name, len)) break;
    }
    if (at < net->n_layer && varint(r) != net->size[net->node[net->relu[at]].out])
      ck_reject(r->c, "layer %u has another size", l);
    if (at == net->n_layer || is_seen[at]) ck_reject(r->c, "layer %u is not one of the network's", l);
    is_seen[at] = true;
    r->layer[l] = at;
    for (uint32_t i = net->flat[at]; i < net->flat[at + 1]; i++) r->flat[r->n_flat++] = i;
  }
}

void ck_check(ck *c, const uint8_t *cert, size_t n, const uint8_t net_hash[32], const uint8_t query_hash[32],
              const ck_net *net, const ck_query *q, bool is_exact, ck_stats *stats) {
  replay r = {.c = c, .p = cert, .end = cert + n, .net = net, .q = q, .s = ck_state_new(c, net), .stats = stats};
  if (q->n_x != net->size[net->input] || q->n_y != net->size[net->output])
    ck_bad_input(c, "the property has %u inputs and %u outputs, the network %u and %u", q->n_x, q->n_y,
                 net->size[net->input], net->size[net->output]);
  uint32_t n_flat = net->flat[net->n_layer];
  r.s->is_exact = is_exact;
  r.s->t = ck_table_new(c, net);
  r.layer = CK_NEW(c, uint32_t, net->n_layer);
  r.flat = CK_NEW(c, uint32_t, n_flat);
  r.mask = CK_NEW(c, uint32_t, n_flat);
  r.last = CK_NEW(c, uint8_t, n_flat);
  r.path = CK_NEW(c, uint32_t, MAX_CASES);
  r.scope = CK_NEW(c, scope, MAX_NESTED);
  r.sum = (ck_row){.var = CK_NEW(c, uint32_t, MAX_SUM), .coef = CK_NEW(c, double, MAX_SUM)};
  r.sum.err = CK_NEW(c, double, MAX_SUM);
  r.is_proved = CK_NEW(c, bool *, q->n_box);
  for (uint32_t i = 0; i < q->n_box; i++) {
    r.is_proved[i] = CK_NEW(c, bool, q->box[i].n_poly);
    memset(r.is_proved[i], q->box[i].is_empty, q->box[i].n_poly);
  }
  read_header(&r, net_hash, query_hash);
  for (uint8_t section; (section = byte(&r)) != 'Z';) {
    if (section == 'N')
      read_neurons(&r);
    else if (section == 'S')
      read_splits(&r);
    else
      ck_reject(c, "unknown section %u", section);
  }
  if (r.p != r.end) ck_reject(c, "%zu bytes after the end", (size_t)(r.end - r.p));
  stats->n_rows = r.s->n_rows;
  for (uint32_t i = 0; i < q->n_box; i++)
    for (uint32_t p = 0; p < q->box[i].n_poly; p++)
      if (!r.is_proved[i][p]) ck_reject(c, "polytope %u of box %u is not proved", p, i);
}
