/* A small random network's box, through the optimised root bounds: where searches start from. */
#ifndef EP_TESTS_SUPPORT_ROOTBOX_H
#define EP_TESTS_SUPPORT_ROOTBOX_H

#include "tests/ep_test.h"

#include "tests/support/nets.h"
#include "verifier/root.h"

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_query *q;
  ep_config cfg;
  ep_pool *pool;
  ep_run run;
  ep_root *root;
} fixture;

/* A box of half-width `radius` around a random point; the query asks whether Y_0 <= threshold can be reached. */
static void open_box(fixture *f, const net_opt *o, uint64_t seed, double radius, double threshold, unsigned threads) {
  double lo[8], hi[8], one = 1;
  uint32_t y0 = 0;
  ep_query_builder *b;
  ep_rng r;
  ep_rng_seed(&r, seed + 5);
  memset(f, 0, sizeof *f);
  f->ctx = ep_ctx_create();
  assert_int_equal(net_make(f->ctx, seed, o, &f->g), EP_OK);
  for (uint32_t j = 0; j < o->n_x; j++) {
    lo[j] = (double)(float)(ep_rng_normal(&r) - radius);
    hi[j] = lo[j] + (double)(float)(2 * radius);
  }
  assert_int_equal(ep_query_builder_create(f->ctx, o->n_x, o->n_y, &b), EP_OK);
  assert_int_equal(ep_query_builder_box(b, lo, hi), EP_OK);
  assert_int_equal(ep_query_builder_polytope(b), EP_OK);
  assert_int_equal(ep_query_builder_row(b, 1, &y0, &one, threshold, false), EP_OK);
  assert_int_equal(ep_query_builder_finish(b, "box", &f->q), EP_OK);
  ep_query_builder_destroy(b);
  ep_config_default(&f->cfg);
  assert_int_equal(ep_pool_create(f->ctx, threads, &f->pool), EP_OK);
  assert_int_equal(ep_run_init(&f->run, f->ctx, f->g, f->q, &f->cfg, f->pool), EP_OK);
  assert_int_equal(ep_root_create(&f->run, 0, &f->root), EP_OK);
  ep_ascent_opt ascent = ep_ascent_default();
  assert_int_equal(ep_root_bound(f->root, EP_ROOT_ALPHA, &ascent), EP_OK);
}

static void close_box(fixture *f) {
  ep_root_destroy(f->root);
  ep_run_clear(&f->run);
  ep_pool_destroy(f->pool);
  ep_query_destroy(f->q);
  ep_graph_destroy(f->g);
  assert_int_equal(ep_ctx_memory_used(f->ctx), 0);
  ep_ctx_destroy(f->ctx);
}

#endif
