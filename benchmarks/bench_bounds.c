/* Speed of the bounds on one network and one property's first box:
 *   - wall time of interval, CROWN and alpha-CROWN bounds of all layers, by number of boxes at once;
 *   - the inner loop of branch and bound: domain-iterations per second (one backward and one forward chain of one
 *     row each), GFLOP/s, and their share of what sgemm of size 512 reaches on one thread in the same run;
 *   - the same loop on every worker at once: how it scales over threads.
 * usage: bench_bounds NET.onnx PROP.vnnlib [seconds per measurement, default 0.5 [threads, 0 = one per CPU
 *        [layers | loop: only that part]]]
 *
 * Flop counts are 2 per weight that the search net stores and use, plus nothing for slopes, biases and Adam: what the
 * products alone would cost. "dense" counts the network's own weights instead, as a pass over the whole network would.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounds/ascent.h"
#include "kernels/mat.h"
#include "models/onnx.h"
#include "verifier/root.h"
#include "verifier/vnnlib.h"

typedef struct bench {
  ep_ctx *ctx;
  ep_graph *g;
  ep_query *q;
  ep_config cfg;
  ep_pool *pool;
  ep_run run;
  ep_root *root;
  double seconds, sgemm; /* GFLOP/s of one thread */
} bench;

static void check(const bench *b, ep_status st) {
  if (st == EP_OK) return;
  fprintf(stderr, "bench_bounds: %s\n", ep_ctx_error(b->ctx).text);
  exit(3);
}

/* ---- time of the bounds of all layers ---- */

typedef struct boxes {
  size_t n;
  double *lo, *hi; /* [n x n_x] */
} boxes;

static boxes make_boxes(const bench *b, size_t n, ep_scratch *s) {
  size_t n_x = b->q->n_x;
  boxes x = {n, EP_SCRATCH(s, double, n *n_x), EP_SCRATCH(s, double, n *n_x)};
  if (!x.lo || !x.hi) exit(3);
  for (size_t i = 0; i < n * n_x; i++) {
    x.lo[i] = b->q->box[0].lo[i % n_x];
    x.hi[i] = b->q->box[0].hi[i % n_x];
  }
  return x;
}

static void run_ibp(const bench *b, size_t n, ep_scratch *s) {
  ep_trace_itv t;
  boxes x = make_boxes(b, n, s);
  check(b, ep_eval_itv(b->g, n, x.lo, x.hi, s, &t));
}

static void run_layers(const bench *b, size_t n, bool is_alpha, ep_scratch *s) {
  ep_trace_itv t;
  ep_relax_f64 relax;
  ep_arena arena;
  ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE};
  ep_ascent_opt ascent = ep_ascent_default();
  boxes x = make_boxes(b, n, s);
  ep_arena_init(&arena, b->ctx);
  check(b, ep_crown_table(b->root->plan, n, s, &t));
  check(b, ep_relax_init_f64(b->root->plan, n, s, &relax));
  t.lo[b->g->input] = x.lo;
  t.hi[b->g->input] = x.hi;
  check(b, is_alpha ? ep_alpha_bounds(b->root->plan, &opt, &ascent, &t, &relax, &arena, s)
                    : ep_crown_run(b->root->plan, &opt, &t, &relax, &arena, s));
  ep_arena_clear(&arena);
}

typedef enum bound { IBP, CROWN, ALPHA } bound;

/* Best of as many runs as fit (one at least), in seconds. */
static double time_of(const bench *b, bound what, size_t n) {
  ep_scratch *s = ep_pool_scratch(b->pool);
  double best = INFINITY, start = ep_time_s();
  do {
    ep_scratch_mark m = ep_scratch_save(s);
    double t0 = ep_time_s();
    if (what == IBP)
      run_ibp(b, n, s);
    else
      run_layers(b, n, what == ALPHA, s);
    best = fmin(best, ep_time_s() - t0);
    ep_scratch_restore(s, m);
  } while (ep_time_s() - start < b->seconds);
  return best;
}

static void layers(const bench *b) {
  const size_t batch[] = {1, 64, 256};
  printf("bounds of all layers, one thread, seconds\n  %6s %10s %10s %12s\n", "boxes", "ibp", "crown", "alpha-crown");
  for (int i = 0; i < 3; i++) {
    printf("  %6zu %10.5f", batch[i], time_of(b, IBP, batch[i]));
    /* Many boxes of a large network would take minutes. */
    if ((double)batch[i] * b->root->plan->max_n < 3e5)
      printf(" %10.5f", time_of(b, CROWN, batch[i]));
    else
      printf(" %10s", "-");
    if (batch[i] == 1) printf(" %12.5f", time_of(b, ALPHA, 1));
    printf("\n");
  }
}

/* ---- the inner loop ---- */

typedef struct loop {
  const bench *b;
  size_t n; /* domains */
  ep_ascent_opt opt;
} loop;

/* One ascent from the root's slopes, all rows the first one of the property. */
static ep_status ascend(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  const loop *l = arg;
  (void)index;
  (void)worker;
  const ep_root *root = l->b->root;
  const ep_snet *net = &root->net;
  ep_scratch_mark m = ep_scratch_save(s);
  float *coef = EP_SCRATCH(s, float, root->spec.n_y), *coef_x = EP_SCRATCH(s, float, net->n_x + 1);
  float *best = EP_SCRATCH(s, float, l->n), *alpha = EP_SCRATCH(s, float, l->n * net->n_u + 1);
  float **alphas = EP_SCRATCH(s, float *, l->n);
  uint32_t *seed = EP_SCRATCH(s, uint32_t, l->n);
  bool *is_done = EP_SCRATCH(s, bool, l->n);
  if (!coef || !coef_x || !best || !alpha || !alphas || !seed || !is_done) return EP_E_NOMEM;
  ep_spec_seed(&root->spec, 0, net, root->bounds.lo[l->b->g->input], coef, root->spec.coef_x ? coef_x : NULL);
  for (size_t r = 0; r < l->n; r++) {
    seed[r] = 0;
    alphas[r] = alpha + r * net->n_u;
  }
  ep_ascent a = {.net = net,
                 .n = l->n,
                 .coef = coef,
                 .coef_x = root->spec.coef_x ? coef_x : NULL,
                 .seed = seed,
                 .best = best,
                 .alpha = alphas,
                 .is_done = is_done};
  ep_status st = ep_ascent_run(&a, &l->opt, s);
  ep_scratch_restore(s, m);
  return st;
}

/* Weights used by one pass over the search net, and over the whole network. */
static double weights(const bench *b, bool is_whole) {
  double n = 0;
  const ep_snet *net = &b->root->net;
  for (uint32_t k = 0; k < net->n_node && !is_whole; k++)
    for (uint32_t j = 0; net->node[k].kind == EP_SNET_AFFINE && j < net->node[k].n_in; j++) {
      const ep_linop *A = &net->node[k].A[j];
      if (A->kind == EP_LINOP_DENSE || A->kind == EP_LINOP_CSR) n += (double)A->n_w;
      if (A->kind == EP_LINOP_CONV) n += (double)A->n_out * A->terms_fwd;
    }
  for (uint32_t k = 0; k < b->g->n_node && is_whole; k++) {
    const ep_lowered *low = &b->g->node[k].low;
    for (uint32_t j = 0; low->cls == EP_AFFINE && j < low->is.affine.n_terms; j++) {
      const ep_linop *A = &low->is.affine.A[j];
      if (A->kind == EP_LINOP_DENSE || A->kind == EP_LINOP_CSR) n += (double)A->n_w;
      if (A->kind == EP_LINOP_CONV) n += (double)A->n_out * A->terms_fwd;
    }
  }
  return n;
}

/* Domain-iterations per second of `tasks` ascents at a time, best of five stretches. */
static double rate_of(const loop *l, size_t tasks) {
  double best = 0;
  for (int stretch = 0; stretch < 5; stretch++) {
    double t0 = ep_time_s(), t;
    size_t runs = 0;
    do {
      check(l->b, ep_pool_run(l->b->pool, tasks, ascend, (void *)(uintptr_t)l));
      runs += tasks;
      t = ep_time_s() - t0;
    } while (t < l->b->seconds / 5);
    best = fmax(best, (double)(runs * l->n * (l->opt.iterations + 1)) / t);
  }
  return best;
}

static void inner_loop(const bench *b) {
  const size_t batch[] = {1, 8, 32, 64, 128, 256};
  double flop = 4 * weights(b, false), dense = 4 * weights(b, true);
  unsigned threads = ep_pool_size(b->pool);
  printf("inner loop: %u unstable neurons, %.3g flop a domain-iteration (%.3g dense), sgemm %.1f GFLOP/s\n",
         b->root->net.n_u, flop, dense, b->sgemm);
  printf("  %7s %14s %9s %7s %9s   %u threads: %14s %8s\n", "domains", "iterations/s", "GFLOP/s", "share", "dense",
         threads, "iterations/s", "speed-up");
  for (int i = 0; i < 6; i++) {
    loop l = {b, batch[i], ep_ascent_default()};
    double one = rate_of(&l, 1), all = rate_of(&l, (size_t)4 * threads);
    printf("  %7zu %14.0f %9.2f %6.0f%% %9.2f              %14.0f %8.2f\n", batch[i], one, one * flop * 1e-9,
           100 * one * flop * 1e-9 / b->sgemm, one * dense * 1e-9, all, all / one);
  }
}

/* ---- set-up ---- */

static double measure_sgemm(const bench *b) {
  enum { N = 512 };
  ep_scratch *s = ep_pool_scratch(b->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  float *a = EP_SCRATCH(s, float, N *N), *x = EP_SCRATCH(s, float, N *N), *y = EP_SCRATCH(s, float, N *N);
  double best = 0, start = ep_time_s();
  if (!a || !x || !y) exit(3);
  for (size_t i = 0; i < (size_t)N * N; i++) a[i] = x[i] = (float)(i % 17) - 8;
  do {
    double t0 = ep_time_s();
    ep_sgemm(false, false, N, N, N, 1, a, N, x, N, 0, y, N);
    best = fmax(best, 2.0 * N * N * N / (ep_time_s() - t0) * 1e-9);
  } while (ep_time_s() - start < b->seconds);
  ep_scratch_restore(s, m);
  return best;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: bench_bounds NET.onnx PROP.vnnlib [SECONDS [THREADS [layers|loop]]]\n");
    return 1;
  }
  bench b = {.ctx = ep_ctx_create(), .seconds = argc > 3 ? atof(argv[3]) : 0.5};
  if (!b.ctx || !(b.seconds > 0)) return 1;
  ep_config_default(&b.cfg);
  check(&b, ep_onnx_read(b.ctx, argv[1], &b.g));
  check(&b, ep_vnnlib_read(b.ctx, argv[2], &b.q));
  check(&b, ep_query_check(b.q, b.g));
  check(&b, ep_pool_create(b.ctx, argc > 4 ? (unsigned)atoi(argv[4]) : 0, &b.pool));
  check(&b, ep_run_init(&b.run, b.ctx, b.g, b.q, &b.cfg, b.pool));
  check(&b, ep_root_create(&b.run, 0, &b.root));
  b.sgemm = measure_sgemm(&b);
  const char *only = argc > 5 ? argv[5] : "";
  if (strcmp(only, "loop") != 0) layers(&b);
  ep_ascent_opt ascent = ep_ascent_default();
  check(&b, ep_root_bound(b.root, EP_ROOT_ALPHA, &ascent));
  if (strcmp(only, "layers") != 0) inner_loop(&b);
  ep_root_destroy(b.root);
  ep_run_clear(&b.run);
  ep_pool_destroy(b.pool);
  ep_query_destroy(b.q);
  ep_graph_destroy(b.g);
  ep_ctx_destroy(b.ctx);
  return 0;
}
