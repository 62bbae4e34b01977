#include "benchmarks/expressivity/functions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *const class_name[N_CLASS] = {"cpwl", "monotone", "convex", "monotone-convex"};
const char *const encoding_name[N_ENCODING] = {"steps",      "steps-mirrored", "from-minimum",
                                               "to-minimum", "one-way",        "any-way"};

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static bool has(const double *v, uint32_t n, double x) {
  for (uint32_t i = 0; i < n; i++)
    if (v[i] == x) return true;
  return false;
}

function function_random(ep_rng *r, function_class c, uint32_t n_kink) {
  function f = {.at_left = ((double)ep_rng_below(r, 33) - 16) / 4};
  assert(n_kink <= MAX_KINKS);
  while (f.n < n_kink) {
    double t = ((double)ep_rng_below(r, 31) - 15) / 4;
    if (!has(f.kink, f.n, t)) f.kink[f.n++] = t;
  }
  qsort(f.kink, f.n, sizeof *f.kink, ascending);
  for (uint32_t i = 0; i <= f.n; i++) {
    double s;
    do { /* every kink bends */
      s = ((double)ep_rng_below(r, 65) - 32) / 4;
      if (c == MONOTONE || c == MONOTONE_CONVEX) s = fabs(s);
    } while (c == CONVEX || c == MONOTONE_CONVEX ? has(f.slope, i, s) : i > 0 && s == f.slope[i - 1]);
    f.slope[i] = s;
  }
  if (c == CONVEX || c == MONOTONE_CONVEX) qsort(f.slope, f.n + 1, sizeof *f.slope, ascending);
  return f;
}

double function_at(const function *f, double x) {
  double y = f->at_left, from = -DOMAIN;
  for (uint32_t i = 0; i < f->n && f->kink[i] < x; i++) {
    y += f->slope[i] * (f->kink[i] - from);
    from = f->kink[i];
  }
  uint32_t last = 0;
  while (last < f->n && f->kink[last] < x) last++;
  return y + f->slope[last] * (x - from);
}

/* The value at a rational point. */
static void value_at(const function *f, mpq_t x, mpq_t out) {
  uint32_t i = 0;
  double from = -DOMAIN;
  while (i < f->n && ep_rational_compare(f->kink[i], x) < 0) from = f->kink[i++];
  mpq_t t;
  mpq_init(t);
  mpq_set_d(t, from);
  mpq_sub(out, x, t);
  mpq_set_d(t, f->slope[i]);
  mpq_mul(out, out, t);
  mpq_set_d(t, function_at(f, from));
  mpq_add(out, out, t);
  mpq_clear(t);
}

void function_range(const function *f, mpq_t lo, mpq_t hi, mpq_t out_lo, mpq_t out_hi) {
  mpq_t y;
  mpq_init(y);
  value_at(f, lo, out_lo);
  mpq_set(out_hi, out_lo);
  for (uint32_t i = 0; i <= f->n; i++) {
    if (i == f->n)
      value_at(f, hi, y);
    else if (ep_rational_compare(f->kink[i], lo) > 0 && ep_rational_compare(f->kink[i], hi) < 0)
      mpq_set_d(y, function_at(f, f->kink[i]));
    else
      continue;
    if (mpq_cmp(y, out_lo) < 0) mpq_set(out_lo, y);
    if (mpq_cmp(y, out_hi) > 0) mpq_set(out_hi, y);
  }
  mpq_clear(y);
}

/* ---- networks ---- */

enum { MAX_UNITS = 3 * MAX_KINKS + 8 };

/* A layer's weights, row-major w[n_out x n_in]. */
typedef struct weights {
  uint32_t n_out, n_in;
  double w[MAX_UNITS * MAX_UNITS], b[MAX_UNITS];
} weights;

static void set(weights *l, uint32_t i, uint32_t j, double w) { l->w[i * l->n_in + j] = w; }

static ep_status affine(ep_builder *b, const weights *l, uint32_t layer, const char *in, const char *out) {
  char w[16], c[16];
  snprintf(w, sizeof w, "w%u", layer);
  snprintf(c, sizeof c, "c%u", layer);
  ep_tensor tw = {EP_DT_F32, {2, {l->n_out, l->n_in}}, (size_t)l->n_out * l->n_in, (double *)(uintptr_t)l->w, NULL};
  ep_tensor tc = {EP_DT_F32, {1, {l->n_out}}, l->n_out, (double *)(uintptr_t)l->b, NULL};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  EP_TRY(ep_builder_constant(b, w, &tw));
  EP_TRY(ep_builder_constant(b, c, &tc));
  return ep_builder_node(b, "Gemm", out, 3, (const char *[]){in, w, c}, out, &(ep_attrs){1, &trans});
}

/* x -> affine -> ReLU -> .. -> affine. */
static ep_status network(ep_ctx *ctx, uint32_t n_layer, const weights *l, ep_graph **out) {
  ep_builder *b;
  char in[16] = "x", z[16], a[16];
  *out = NULL;
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_shape s = {.rank = 2, .dim = {1, l[0].n_in}};
  ep_status st = ep_builder_input(b, "x", EP_DT_F32, &s);
  for (uint32_t k = 0; k < n_layer && st == EP_OK; k++) {
    snprintf(z, sizeof z, "z%u", k);
    snprintf(a, sizeof a, "a%u", k);
    st = affine(b, &l[k], k, in, z);
    if (st == EP_OK && k + 1 < n_layer) st = ep_builder_node(b, "Relu", a, 1, (const char *[]){z}, a, &(ep_attrs){0});
    memcpy(in, a, sizeof in);
  }
  if (st == EP_OK) st = ep_builder_finish(b, z, out);
  ep_builder_destroy(b);
  return st;
}

/* One hidden layer: linear part a x + c through relu(x + 4), and units g relu(turn (x - t)). */
typedef struct one_layer {
  double a, c;
  uint32_t n;
  double g[2 * MAX_KINKS], t[2 * MAX_KINKS], turn[2 * MAX_KINKS];
} one_layer;

static ep_status one_layer_network(ep_ctx *ctx, const one_layer *o, weights *l, ep_graph **out) {
  l[0] = (weights){.n_out = o->n + 1, .n_in = 1};
  l[1] = (weights){.n_out = 1, .n_in = o->n + 1};
  for (uint32_t i = 0; i < o->n; i++) {
    set(&l[0], i, 0, o->turn[i]);
    l[0].b[i] = -o->turn[i] * o->t[i];
    set(&l[1], 0, i, o->g[i]);
  }
  set(&l[0], o->n, 0, 1);
  l[0].b[o->n] = DOMAIN;
  set(&l[1], 0, o->n, o->a);
  l[1].b[0] = o->c - o->a * DOMAIN;
  return network(ctx, 2, l, out);
}

static void add_unit(one_layer *o, double g, double t, double turn) {
  o->g[o->n] = g;
  o->t[o->n] = t;
  o->turn[o->n++] = turn;
}

/* Kinks turned as the bits say; the slope left over is that at a point all units are away from. */
static void turned(const function *f, uint32_t turns, one_layer *o) {
  o->a = f->slope[0];
  double at_zero = function_at(f, 0); /* the constant follows from one value */
  for (uint32_t i = 0; i < f->n; i++) {
    bool is_left = turns >> i & 1;
    double g = f->slope[i + 1] - f->slope[i];
    add_unit(o, g, f->kink[i], is_left ? -1 : 1);
    if (is_left) o->a += g;
    at_zero -= g * fmax(0, is_left ? f->kink[i] : -f->kink[i]);
  }
  o->c = at_zero;
}

/* The unit part * relu(turn (x - t)); or, mirrored, the same as part * (z + relu(-z)), z = turn (x - t). */
static void add_turned(one_layer *o, double part, double t, double turn, bool is_mirrored) {
  add_unit(o, part, t, is_mirrored ? -turn : turn);
  if (!is_mirrored) return;
  o->a += part * turn;
  o->c -= part * turn * t;
}

/* A convex function as its minimum plus units that are 0 at the minimiser and grow away from it; there is no linear
 * part at all. `is_mirrored` turns each of them round. */
static void about_minimum(const function *f, bool is_mirrored, one_layer *o) {
  uint32_t m = 0;
  while (m <= f->n && f->slope[m] < 0) m++; /* the first slope that does not fall starts at the minimiser */
  double at = m == 0 ? -DOMAIN : m > f->n ? DOMAIN : f->kink[m - 1];
  o->c = function_at(f, at);
  if (m <= f->n && f->slope[m] > 0) add_turned(o, f->slope[m], at, 1, is_mirrored);
  if (m > 0) add_turned(o, -f->slope[m - 1], at, -1, is_mirrored);
  for (uint32_t i = 0; i < f->n; i++)
    if (f->kink[i] != at)
      add_turned(o, f->slope[i + 1] - f->slope[i], f->kink[i], f->kink[i] > at ? 1 : -1, is_mirrored);
}

/* Segment i: from t_i, width w_i, slope s_i. */
static uint32_t segments(const function *f, double *t, double *w) {
  for (uint32_t i = 0; i <= f->n; i++) {
    t[i] = i ? f->kink[i - 1] : -DOMAIN;
    w[i] = (i < f->n ? f->kink[i] : DOMAIN) - t[i];
  }
  return f->n + 1;
}

static ep_status steps(ep_ctx *ctx, const function *f, weights *l, ep_graph **out) {
  double t[MAX_KINKS + 1], w[MAX_KINKS + 1];
  uint32_t n = segments(f, t, w);
  l[0] = (weights){.n_out = n, .n_in = 1};
  l[1] = (weights){.n_out = n, .n_in = n};
  l[2] = (weights){.n_out = 1, .n_in = n, .b = {f->at_left}};
  for (uint32_t i = 0; i < n; i++) {
    set(&l[0], i, 0, 1);
    l[0].b[i] = -t[i];
    set(&l[1], i, i, -1);
    l[1].b[i] = w[i];
    set(&l[2], 0, i, -f->slope[i]);
    l[2].b[0] += f->slope[i] * w[i];
  }
  return network(ctx, 3, l, out);
}

/* clip(x - t, 0, w) = (x - t) + y - relu(x - t + y - w), y = relu(t - x). Second layer: those, then y + 16 and x + 4,
 * which stay positive and so pass through. */
static ep_status steps_mirrored(ep_ctx *ctx, const function *f, weights *l, ep_graph **out) {
  enum { OFFSET = 16 };
  double t[MAX_KINKS + 1], w[MAX_KINKS + 1];
  uint32_t n = segments(f, t, w);
  l[0] = (weights){.n_out = n + 1, .n_in = 1};
  l[1] = (weights){.n_out = 2 * n + 1, .n_in = n + 1};
  l[2] = (weights){.n_out = 1, .n_in = 2 * n + 1, .b = {f->at_left}};
  for (uint32_t i = 0; i < n; i++) {
    double s = f->slope[i];
    set(&l[0], i, 0, -1);
    l[0].b[i] = t[i];
    set(&l[1], i, i, 1);
    set(&l[1], i, n, 1);
    l[1].b[i] = -DOMAIN - t[i] - w[i];
    set(&l[1], n + i, i, 1);
    l[1].b[n + i] = OFFSET;
    set(&l[2], 0, i, -s);
    set(&l[2], 0, n + i, s);
    l[2].w[2 * n] += s;
    l[2].b[0] += s * (-DOMAIN - t[i] - OFFSET);
  }
  set(&l[0], n, 0, 1);
  l[0].b[n] = DOMAIN;
  set(&l[1], 2 * n, n, 1);
  return network(ctx, 3, l, out);
}

ep_status function_network(ep_ctx *ctx, const function *f, encoding e, uint32_t turns, ep_graph **out) {
  weights *l = ep_calloc(ctx, 3, sizeof *l);
  one_layer o = {0};
  *out = NULL;
  if (!l) return EP_E_NOMEM;
  ep_status st;
  if (e == STEPS || e == STEPS_MIRRORED) {
    st = e == STEPS ? steps(ctx, f, l, out) : steps_mirrored(ctx, f, l, out);
  } else {
    if (e == FROM_MINIMUM || e == TO_MINIMUM)
      about_minimum(f, e == TO_MINIMUM, &o);
    else
      turned(f, e == ONE_WAY ? 0 : turns, &o);
    st = one_layer_network(ctx, &o, l, out);
  }
  ep_free(ctx, l);
  return st;
}
