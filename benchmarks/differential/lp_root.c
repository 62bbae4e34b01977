/* Linear programs at a root against CROWN and the truth: over random small networks of all operators that solvers know
 * (dense, convolution, residual, binarised, every piecewise linear activation, MaxPool) and their boxes,
 *
 *   - the certified bound of the linear relaxation, from its dual alone, is not worse than CROWN's over the same
 *     intermediate bounds (up to 1e-6, what repairing a dual costs), with joint hulls not worse than without;
 *   - the bounds that are used (the better of both) are never worse at all;
 *   - no bound excludes a value that the network takes: rigorous evaluation at random points and corners, and for
 *     networks of ReLUs the exact range in rationals.
 *
 * One line per defect and a summary; exit code 1 when there was a defect.
 * usage: lp_root [--count N] [--seed S] [--shift X]   (X is added to every lower bound of programs: a defect on
 * purpose)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/differential/sample.h"
#include "encoders/exact_cells.h"
#include "encoders/relaxed.h"

enum { POINTS = 60, N_KIND = 3 }; /* CROWN, triangle, joint hulls */
#define TOLERANCE 1e-6

static const char *const kind_name[N_KIND] = {"crown", "triangle", "multi-neuron"};

typedef struct tally {
  uint64_t networks, bounds, exact, defects, tighter[N_KIND];
  double width[N_KIND];
} tally;

/* Output bounds of one box by each kind: lo/hi, and for programs what their duals alone gave. */
typedef struct found {
  double lo[N_KIND][MAX_WIDTH], hi[N_KIND][MAX_WIDTH], raw_lo[N_KIND][MAX_WIDTH], raw_hi[N_KIND][MAX_WIDTH];
} found;

typedef struct work {
  ep_ctx *ctx;
  ep_graph *g;
  ep_scratch s;
  ep_arena arena;
  ep_plan *plan;
  double x_lo[MAX_WIDTH], x_hi[MAX_WIDTH];
  uint32_t n_x, n_y;
  uint64_t seed;
  double shift;
} work;

static bool is_worse(double lower, double than) { return lower < than - TOLERANCE * (1 + fabs(than)); }

/* The programs' own bounds over CROWN's intermediate ones. */
static ep_status from_duals(work *w, int kind, found *f) {
  ep_trace_itv b;
  ep_relax_f64 relax;
  ep_joints joints;
  ep_relaxed *r = NULL;
  ep_joints_init(&joints, w->ctx);
  EP_TRY(ep_crown_table(w->plan, 1, &w->s, &b));
  EP_TRY(ep_relax_init_f64(w->plan, 1, &w->s, &relax));
  memcpy(b.lo[w->g->input], w->x_lo, w->n_x * sizeof *w->x_lo);
  memcpy(b.hi[w->g->input], w->x_hi, w->n_x * sizeof *w->x_hi);
  ep_crown_opt crown = {.rule = EP_RELAX_ADAPTIVE};
  EP_TRY(ep_crown_run(w->plan, &crown, &b, &relax, &w->arena, &w->s));
  ep_relaxed_opt opt = {.relaxation = EP_CONVEX_MULTI_NEURON, .group = 2 + (uint32_t)(w->seed % 2)};
  ep_status st = EP_OK;
  if (kind == 2) st = ep_relaxed_layers(w->plan, &opt, &b, &relax, &joints, &w->arena, &w->s);
  /* Nothing of the outputs' own bounds may come in: their boxes are opened. */
  for (uint32_t i = 0; i < w->n_y; i++) {
    b.lo[w->g->output][i] = fmin(b.lo[w->g->output][i], -1e6);
    b.hi[w->g->output][i] = fmax(b.hi[w->g->output][i], 1e6);
  }
  if (st == EP_OK) st = ep_relaxed_create(w->ctx, w->g, &b, &(ep_network_opt){0}, &joints, &w->s, &r);
  for (uint32_t i = 0; i < 2 * w->n_y && st == EP_OK; i++) {
    uint32_t y = i / 2;
    double c = i % 2 ? -1 : 1, lower = -INFINITY;
    st = ep_relaxed_minimise(r, w->g->output, 1, &y, &c, &lower);
    *(i % 2 ? &f->raw_hi[kind][y] : &f->raw_lo[kind][y]) = c * (lower + w->shift);
  }
  ep_relaxed_destroy(r);
  ep_joints_clear(&joints);
  return st;
}

/* CROWN's bounds, step by step as ep_relaxed_bounds begins. */
static ep_status from_lines(work *w, found *f) {
  ep_trace_itv b;
  ep_relax_f64 relax;
  uint32_t dom[MAX_WIDTH] = {0}, neuron[MAX_WIDTH];
  EP_TRY(ep_crown_table(w->plan, 1, &w->s, &b));
  EP_TRY(ep_relax_init_f64(w->plan, 1, &w->s, &relax));
  memcpy(b.lo[w->g->input], w->x_lo, w->n_x * sizeof *w->x_lo);
  memcpy(b.hi[w->g->input], w->x_hi, w->n_x * sizeof *w->x_hi);
  ep_crown_opt crown = {.rule = EP_RELAX_ADAPTIVE};
  EP_TRY(ep_crown_run(w->plan, &crown, &b, &relax, &w->arena, &w->s));
  EP_TRY(ep_plan_refine(w->plan, &b, &w->s));
  for (uint32_t i = 0; i < w->n_y; i++) neuron[i] = i;
  EP_TRY(ep_crown_tighten(w->plan, &relax, w->g->output, w->n_y, dom, neuron, NULL, NULL, &b, &w->s));
  memcpy(f->lo[0], b.lo[w->g->output], w->n_y * sizeof(double));
  memcpy(f->hi[0], b.hi[w->g->output], w->n_y * sizeof(double));
  return EP_OK;
}

/* One kind, over a plan of its own: bounds refine plans, which moves last bits. */
static ep_status find_kind(work *w, int kind, found *f) {
  ep_convex c = kind == 1 ? EP_CONVEX_TRIANGLE : EP_CONVEX_MULTI_NEURON;
  ep_relaxed_opt opt = {.group = 2 + (uint32_t)(w->seed % 2), .tightens = true};
  EP_TRY(ep_plan_create(w->ctx, w->g, w->x_lo, w->x_hi, &w->s, &w->plan));
  ep_status st = kind == 0 ? from_lines(w, f) : from_duals(w, kind, f);
  if (st == EP_OK && kind)
    st = ep_relaxed_bounds(w->plan, c, &opt, w->x_lo, w->x_hi, f->lo[kind], f->hi[kind], &w->arena, &w->s);
  for (uint32_t i = 0; i < w->n_y && kind; i++) f->lo[kind][i] += w->shift;
  ep_plan_destroy(w->plan);
  w->plan = NULL;
  return st;
}

static ep_status find(work *w, found *f) {
  for (int kind = 0; kind < N_KIND; kind++) EP_TRY(find_kind(w, kind, f));
  return EP_OK;
}

static void defect(const work *w, tally *t, int kind, uint32_t y, const char *what, double bound, double other) {
  t->defects++;
  printf("DEFECT seed %llu, output %u, %s: %s (%.17g, %.17g)\n", (unsigned long long)w->seed, y, kind_name[kind], what,
         bound, other);
}

static void compare(const work *w, const found *f, tally *t) {
  for (int kind = 1; kind < N_KIND; kind++)
    for (uint32_t i = 0; i < w->n_y; i++) {
      t->bounds += 2;
      if (is_worse(f->raw_lo[kind][i], f->lo[0][i]))
        defect(w, t, kind, i, "dual below CROWN", f->raw_lo[kind][i], f->lo[0][i]);
      if (is_worse(-f->raw_hi[kind][i], -f->hi[0][i]))
        defect(w, t, kind, i, "dual above CROWN", f->raw_hi[kind][i], f->hi[0][i]);
      if (kind == 2 && (is_worse(f->raw_lo[2][i], f->raw_lo[1][i]) || is_worse(-f->raw_hi[2][i], -f->raw_hi[1][i])))
        defect(w, t, kind, i, "looser than the triangle", f->raw_lo[2][i], f->raw_lo[1][i]);
      if (f->lo[kind][i] < f->lo[0][i]) defect(w, t, kind, i, "below CROWN", f->lo[kind][i], f->lo[0][i]);
      if (f->hi[kind][i] > f->hi[0][i]) defect(w, t, kind, i, "above CROWN", f->hi[kind][i], f->hi[0][i]);
      double width = f->hi[kind][i] - f->lo[kind][i], before = f->hi[kind - 1][i] - f->lo[kind - 1][i];
      t->tighter[kind] += width < before - TOLERANCE * (1 + before);
      t->width[kind] += width;
      if (kind == 1) t->width[0] += before;
    }
}

/* A value that is certainly taken lies in [v.lo, v.hi]: a bound must not exclude all of it. */
static void check_value(const work *w, const found *f, tally *t, uint32_t i, double v_lo, double v_hi) {
  for (int kind = 0; kind < N_KIND; kind++) {
    double lo = kind ? fmax(f->lo[kind][i], f->raw_lo[kind][i]) : f->lo[0][i];
    double hi = kind ? fmin(f->hi[kind][i], f->raw_hi[kind][i]) : f->hi[0][i];
    if (lo > v_hi) defect(w, t, kind, i, "unsound lower bound", lo, v_hi);
    if (hi < v_lo) defect(w, t, kind, i, "unsound upper bound", hi, v_lo);
  }
}

static ep_status check_points(work *w, const found *f, tally *t) {
  ep_rng r;
  ep_rng_seed(&r, w->seed + 17);
  for (int k = 0; k < POINTS; k++) {
    double x[MAX_WIDTH];
    ep_trace_itv v;
    ep_scratch_mark m = ep_scratch_save(&w->s);
    for (uint32_t i = 0; i < w->n_x; i++) {
      double u = k % 2 ? ep_rng_uniform(&r) : (double)ep_rng_below(&r, 2);
      x[i] = fmin(w->x_hi[i], fmax(w->x_lo[i], w->x_lo[i] + u * (w->x_hi[i] - w->x_lo[i])));
    }
    EP_TRY(ep_eval_itv(w->g, 1, x, x, &w->s, &v));
    for (uint32_t i = 0; i < w->n_y; i++) check_value(w, f, t, i, v.lo[w->g->output][i], v.hi[w->g->output][i]);
    ep_scratch_restore(&w->s, m);
  }
  return EP_OK;
}

/* Few ReLUs and nothing else: the exact range. Its ends are values that are taken. */
static ep_status check_exactly(work *w, const found *f, tally *t) {
  uint32_t n_relu = 0;
  for (uint32_t k = 0; k < w->g->n_node; k++)
    if (w->g->node[k].low.cls == EP_UNIVAR) n_relu += w->g->val[w->g->node[k].out].n;
  if (n_relu > 12 || ep_exact_check(w->ctx, w->g) != EP_OK) {
    ep_ctx_clear_error(w->ctx);
    return EP_OK;
  }
  mpq_t *x_lo = ep_rational_create(w->ctx, w->n_x), *x_hi = ep_rational_create(w->ctx, w->n_x);
  mpq_t *lo = ep_rational_create(w->ctx, w->n_y), *hi = ep_rational_create(w->ctx, w->n_y);
  for (uint32_t i = 0; i < w->n_x; i++) {
    mpq_set_d(x_lo[i], w->x_lo[i]);
    mpq_set_d(x_hi[i], w->x_hi[i]);
  }
  ep_status st = ep_exact_range(w->ctx, w->g, x_lo, x_hi, lo, hi);
  for (uint32_t i = 0; i < w->n_y && st == EP_OK; i++) {
    check_value(w, f, t, i, ep_rational_dn(lo[i]), ep_rational_up(lo[i]));
    check_value(w, f, t, i, ep_rational_dn(hi[i]), ep_rational_up(hi[i]));
  }
  t->exact += st == EP_OK;
  ep_rational_destroy(w->ctx, x_lo, w->n_x);
  ep_rational_destroy(w->ctx, x_hi, w->n_x);
  ep_rational_destroy(w->ctx, lo, w->n_y);
  ep_rational_destroy(w->ctx, hi, w->n_y);
  return st;
}

static ep_status run_box(work *w, tally *t) {
  found f;
  ep_status st = find(w, &f);
  if (st == EP_OK) compare(w, &f, t);
  if (st == EP_OK) st = check_points(w, &f, t);
  if (st == EP_OK) st = check_exactly(w, &f, t);
  return st;
}

static void run_one(uint64_t seed, double shift, sample *s, tally *t) {
  work w = {.ctx = ep_ctx_create(), .seed = seed, .shift = shift};
  if (!w.ctx) exit(3);
  ep_scratch_init(&w.s, w.ctx);
  ep_arena_init(&w.arena, w.ctx);
  ep_status st = sample_make(w.ctx, seed, s);
  if (st == EP_OK) st = sample_graph(w.ctx, s, &w.g);
  w.n_x = s->n_x;
  w.n_y = s->n_y;
  for (uint32_t i = 0; i < w.n_x; i++) {
    w.x_lo[i] = (double)s->box[0].lo[i];
    w.x_hi[i] = (double)s->box[0].hi[i];
  }
  if (st == EP_OK) st = run_box(&w, t);
  if (st != EP_OK) {
    t->defects++;
    printf("DEFECT seed %llu: %s\n", (unsigned long long)seed, ep_ctx_error(w.ctx).text);
  }
  t->networks++;
  ep_arena_clear(&w.arena);
  ep_scratch_clear(&w.s);
  ep_graph_destroy(w.g);
  ep_ctx_destroy(w.ctx);
}

int main(int argc, char **argv) {
  uint64_t count = 1000, seed = 1;
  double shift = 0, t0 = ep_time_s();
  tally t = {0};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--count") == 0)
      count = strtoull(argv[i + 1], NULL, 10);
    else if (strcmp(argv[i], "--seed") == 0)
      seed = strtoull(argv[i + 1], NULL, 10);
    else if (strcmp(argv[i], "--shift") == 0)
      shift = strtod(argv[i + 1], NULL);
    else
      argc = 0;
  }
  sample *s = malloc(sizeof *s);
  if (argc % 2 == 0 || !s) {
    fputs("usage: lp_root [--count N] [--seed S] [--shift X]\n", stderr);
    return 1;
  }
  for (uint64_t k = 0; k < count; k++) run_one(seed + k, shift, s, &t);
  free(s);
  printf("%llu networks from seed %llu: %llu bounds, %llu networks with the exact range, %llu defects (%.1f s)\n",
         (unsigned long long)t.networks, (unsigned long long)seed, (unsigned long long)t.bounds,
         (unsigned long long)t.exact, (unsigned long long)t.defects, ep_time_s() - t0);
  printf("  mean width: crown %.6g, triangle %.6g (tighter on %llu outputs), multi-neuron %.6g (on %llu more)\n",
         2 * t.width[0] / (double)(t.bounds / 2 + !t.bounds), 2 * t.width[1] / (double)(t.bounds / 2 + !t.bounds),
         (unsigned long long)t.tighter[1], 2 * t.width[2] / (double)(t.bounds / 2 + !t.bounds),
         (unsigned long long)t.tighter[2]);
  return t.defects ? 1 : 0;
}
