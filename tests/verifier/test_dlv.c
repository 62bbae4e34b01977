/* Layer-by-layer search on small networks: features are the ones with the largest deviation; the grid is enumerated
 * completely and "safe" is only said when bab agrees or the violation lies between grid points; every cell of a deeper
 * layer is visited or empty, and inputs that are run lie in the region.
 * Seen to fail when: the grid stops one short, a cell loses its upper end, refuted points are not counted. */
#include "tests/ep_test.h"

#include <stdlib.h>

#include "encoders/backend.h"
#include "tests/support/nets.h"
#include "verifier/dlv.h"

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_query *q;
  ep_config cfg;
  ep_pool *pool;
  ep_run run;
} fixture;

/* Unsafe: y_0 <= rhs over a box of the given radius. */
static void open_net(fixture *f, uint64_t seed, double radius, double rhs) {
  net_opt o = {.n_x = 3, .n_y = 1, .n_layer = 2, .width = 5, .activation = "Relu", .scale = 0.7};
  double lo[8], hi[8], one = 1;
  uint32_t y0 = 0;
  ep_query_builder *b;
  ep_rng r;
  memset(f, 0, sizeof *f);
  ep_rng_seed(&r, seed);
  f->ctx = ep_ctx_create();
  assert_int_equal(net_make(f->ctx, seed, &o, &f->g), EP_OK);
  for (uint32_t i = 0; i < o.n_x; i++) {
    double mid = (double)(float)ep_rng_normal(&r);
    lo[i] = mid - radius;
    hi[i] = mid + radius;
  }
  assert_int_equal(ep_query_builder_create(f->ctx, o.n_x, o.n_y, &b), EP_OK);
  assert_int_equal(ep_query_builder_box(b, lo, hi), EP_OK);
  assert_int_equal(ep_query_builder_polytope(b), EP_OK);
  assert_int_equal(ep_query_builder_row(b, 1, &y0, &one, rhs, false), EP_OK);
  assert_int_equal(ep_query_builder_finish(b, "region", &f->q), EP_OK);
  ep_query_builder_destroy(b);
  ep_config_default(&f->cfg);
  assert_int_equal(ep_pool_create(f->ctx, 1, &f->pool), EP_OK);
  assert_int_equal(ep_run_init(&f->run, f->ctx, f->g, f->q, &f->cfg, f->pool), EP_OK);
}

static void close_net(fixture *f) {
  ep_run_clear(&f->run);
  ep_pool_destroy(f->pool);
  ep_query_destroy(f->q);
  ep_graph_destroy(f->g);
  assert_int_equal(ep_ctx_memory_used(f->ctx), 0);
  ep_ctx_destroy(f->ctx);
}

/* Smallest y_0 on the grid of 2*count+1 points per dimension, in quadruple precision. */
static double grid_minimum(const fixture *f, uint32_t count) {
  quad *v[64];
  double best = INFINITY, x[3];
  uint32_t per = 2 * count + 1;
  for (uint32_t i = 0; i < f->g->n_val; i++) v[i] = calloc(f->g->val[i].n, sizeof(quad));
  for (uint32_t k = 0; k < per * per * per; k++) {
    for (uint32_t i = 0, rest = k; i < 3; i++, rest /= per) {
      double l = f->q->box[0].lo[i], h = f->q->box[0].hi[i];
      x[i] = l + (h - l) * (rest % per) / (per - 1);
    }
    net_eval_quad(f->g, x, v);
    best = fmin(best, (double)v[f->g->output][0]);
  }
  for (uint32_t i = 0; i < f->g->n_val; i++) free(v[i]);
  return best;
}

static void agrees_with_the_grid(void **state) {
  (void)state;
  int n_safe = 0, n_sat = 0;
  for (uint64_t seed = 0; seed < 12; seed++)
    for (uint32_t count = 1; count <= 3; count++)
      for (int side = 0; side < 2; side++) {
        fixture f;
        ep_dlv_result r;
        ep_dlv_opt opt = {.n_feature = 3, .count = count, .n_layer = 0};
        open_net(&f, seed, 0.5, 0);
        double least = grid_minimum(&f, count);
        close_net(&f);
        open_net(&f, seed, 0.5, side ? least + 1e-3 : least - 1e-3);
        assert_int_equal(ep_dlv_run(&f.run, &opt, &r), EP_OK);
        uint32_t per = 2 * count + 1;
        assert_int_equal(r.layer[0].points, per * per * per);
        assert_int_equal(r.is_sat, side);
        assert_int_equal(r.is_safe, !side);
        if (!side) assert_int_equal(r.layer[0].refuted, per * per * per);
        n_safe += r.is_safe;
        n_sat += r.is_sat;
        close_net(&f);
      }
  assert_true(n_safe > 0 && n_sat > 0);
}

static void deeper_layers_are_covered(void **state) {
  (void)state;
  uint64_t n_empty = 0, n_visited = 0, n_complete = 0;
  int n_found_deeper = 0;
  for (uint64_t seed = 0; seed < 10; seed++) {
    fixture f;
    ep_dlv_result r;
    ep_dlv_opt opt = {.n_feature = 3, .count = 1, .n_layer = 2};
    open_net(&f, seed, 0.5, -1e6); /* never violated: everything is searched */
    const ep_backend *be;
    bool has_solvers = ep_backend_find(f.ctx, "z3", &be) == EP_OK && ep_backend_find(f.ctx, "glpk", &be) == EP_OK;
    ep_ctx_clear_error(f.ctx);
    assert_int_equal(ep_dlv_run(&f.run, &opt, &r), EP_OK);
    assert_true(r.is_safe && !r.is_sat);
    assert_int_equal(r.n_layer, 3);
    for (uint32_t k = 1; k < r.n_layer; k++) {
      if (has_solvers) assert_true(r.layer[k].is_complete);
      assert_int_equal(r.layer[k].visited + r.layer[k].empty == r.layer[k].points, r.layer[k].is_complete);
      assert_true(r.layer[k].visited > 0);
      n_empty += r.layer[k].empty;
      n_complete += has_solvers;
      n_visited += r.layer[k].visited;
    }
    close_net(&f);
    /* A violation between the grid points of the input: deeper layers may find it, never the grid. */
    open_net(&f, seed, 0.5, 0);
    double coarse = grid_minimum(&f, 1), fine = grid_minimum(&f, 12);
    close_net(&f);
    if (fine < coarse - 0.02) {
      open_net(&f, seed, 0.5, coarse - 0.01);
      assert_int_equal(ep_dlv_run(&f.run, &opt, &r), EP_OK);
      assert_int_equal(r.layer[0].visited, 27);
      n_found_deeper += r.is_sat;
      close_net(&f);
    }
  }
  assert_true(n_visited > 0 && (n_empty > 0 || !n_complete));
  print_message("%d violations between grid points found by deeper layers\n", n_found_deeper);
}

static void features_deviate_most(void **state) {
  (void)state;
  double x[5] = {0, 0.1, 1, 0.2, -0.7}, score[5];
  ep_dlv_score_value(5, x, score);
  bool all[5] = {true, true, true, true, true};
  uint32_t dim[5];
  assert_int_equal(ep_dlv_features(5, score, all, 2, dim), 2);
  assert_true(dim[0] == 2 && dim[1] == 4);
  all[2] = false;
  assert_int_equal(ep_dlv_features(5, score, all, 5, dim), 4);
  assert_int_equal(dim[0], 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_grid),
      cmocka_unit_test(deeper_layers_are_covered),
      cmocka_unit_test(features_deviate_most),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
