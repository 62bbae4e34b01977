/* Prices from the duals of linear programmes: they keep the programme's bound, and no prices, whatever they are, exceed
 * what the network does at a sampled input that fits the phases. Seen to fail when: rows of other consumers of a
 * pre-activation are left out (the residual shape), a corner of a neuron's range is forgotten. */
#include "tests/ep_test.h"

#include "encoders/backend.h"
#include "kernels/rng.h"
#include "tests/support/samples.h"
#include "verifier/price.h"

static const net_opt shapes[] = {
    {.n_x = 2, .n_y = 1, .n_layer = 1, .width = 8, .activation = "Relu", .scale = 1},
    {.n_x = 2, .n_y = 1, .n_layer = 2, .width = 6, .activation = "Relu", .scale = 1},
    {.n_x = 2, .n_y = 1, .n_layer = 3, .width = 5, .activation = "Relu", .scale = 1, .residual = true},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static double bound_of(const fixture *f, const ep_prices *p) {
  double one = 1, bound;
  assert_int_equal(ep_prices_bound(p, f->g->output, &one, NULL, ep_pool_scratch(f->pool), &bound), EP_OK);
  return bound;
}

static void lp_bound_is_kept(void **state) {
  (void)state;
  const ep_backend *lp;
  uint32_t n_priced = 0;
  for (size_t i = 0; i < N_SHAPES; i++)
    for (uint64_t seed = 40; seed < 60; seed++) {
      fixture f;
      ep_network *net;
      ep_prices p;
      ep_solver *solver;
      ep_answer_kind answer;
      double one = 1, y[2048];
      open_box(&f, &shapes[i], seed, 0.8, -1e6, 1);
      if (ep_backend_find(f.ctx, "glpk", &lp) != EP_OK) { /* not compiled in */
        close_box(&f);
        skip();
      }
      assert_int_equal(
          ep_network_create(f.ctx, f.g, &f.root->bounds, &(ep_network_opt){0}, ep_pool_scratch(f.pool), &net), EP_OK);
      assert_int_equal(ep_prices_init(&p, f.root, net), EP_OK);
      assert_int_equal(lp->create(f.ctx, net->prob, &solver), EP_OK);
      uint32_t var = net->term[f.g->output][0];
      assert_int_equal(lp->minimise(solver, 1, &var, &one), EP_OK);
      assert_int_equal(lp->check(solver, NULL, &answer), EP_OK);
      assert_int_equal(answer, EP_ANSWER_SAT);
      assert_true(net->prob->n_row + net->prob->n_choice_row < 2048);
      assert_int_equal(lp->duals(solver, y), EP_OK);
      ep_prices_take(&p, y, 1, &var, &one, EP_NO_GOAL, 1);
      double least = lp->objective(solver), bound = bound_of(&f, &p);
      assert_true(bound <= sampled_minimum(&f));
      assert_true(bound >= least - 1e-5 * (1 + fabs(least)));
      n_priced += p.n_u;
      lp->destroy(solver);
      ep_network_destroy(net);
      close_box(&f);
    }
  assert_true(n_priced > 100);
}

static void any_prices_bound(void **state) {
  (void)state;
  uint32_t n_tight = 0;
  ep_rng r;
  ep_rng_seed(&r, 7);
  for (size_t i = 0; i < N_SHAPES; i++)
    for (uint64_t seed = 40; seed < 46; seed++) {
      fixture f;
      ep_network *net;
      ep_prices p;
      open_box(&f, &shapes[i], seed, 0.8, -1e6, 1);
      assert_int_equal(
          ep_network_create(f.ctx, f.g, &f.root->bounds, &(ep_network_opt){0}, ep_pool_scratch(f.pool), &net), EP_OK);
      assert_int_equal(ep_prices_init(&p, f.root, net), EP_OK);
      samples s = samples_open(&f);
      for (uint32_t t = 0; samples_at(&s, t); t++) {
        for (uint32_t d = 0; d < p.n_u; d++) {
          bool is_active = s.v[f.g->node[p.u[d].node].in[0]][p.u[d].neuron] >= 0;
          p.price[d] = (float)ep_rng_normal(&r);
          p.phase[d] = (d + t) % 3 ? (uint8_t)(is_active ? 2 : 1) : 0;
        }
        double value = (double)s.v[f.g->output][0], bound = bound_of(&f, &p);
        assert_true(bound <= value);
        n_tight += bound > value - 5;
      }
      samples_close(&s);
      ep_network_destroy(net);
      close_box(&f);
    }
  assert_true(n_tight > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lp_bound_is_kept), cmocka_unit_test(any_prices_bound)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
