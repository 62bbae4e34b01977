/* A domain's own bounds hold at every sample of the box that satisfies its decisions, a domain is called empty only
 * when no sample does, and the division built on them proves thresholds below the sampled minimum and never one above
 * it. Seen to fail when: a multiplier at the bounded layer changes its sign, upper rows keep the sign of lower ones, a
 * decision is carried over with its other side, the search below a domain forgets one child. */
#include "tests/ep_test.h"

#include "tests/support/samples.h"
#include "verifier/divide.h"
#include "verifier/rebound.h"

static const net_opt shapes[] = {
    {.n_x = 2, .n_y = 1, .n_layer = 1, .width = 10, .activation = "Relu", .scale = 1},
    {.n_x = 2, .n_y = 1, .n_layer = 3, .width = 8, .activation = "Relu", .scale = 1},
    {.n_x = 2, .n_y = 1, .n_layer = 4, .width = 6, .activation = "Relu", .scale = 1, .residual = true},
    {.n_x = 2, .n_y = 1, .n_layer = 3, .width = 6, .activation = "Relu", .scale = 1, .integer = true},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* ---- rebound ---- */

static ep_vid input_of(const fixture *f, const ep_unstable *u) { return f->g->node[u->node].in[0]; }

static bool satisfies(const samples *s, const ep_snet *net, const ep_domain *d) {
  for (uint32_t k = 0; k < d->n_dec; k++) {
    const ep_unstable *u = &net->u[d->dec[k] / 2];
    quad z = s->v[input_of(s->f, u)][u->neuron];
    if (d->dec[k] & 1 ? z < 0 : z > 0) return false;
  }
  return true;
}

/* `n_dec` random neurons decided at random, or as the box's middle sample has them when `is_real`. */
static ep_domain *random_domain(const fixture *f, const ep_tree *t, uint32_t n_dec, bool is_real, ep_rng *r) {
  samples s = samples_open(f);
  samples_at(&s, (SAMPLE_STEPS + 1) * (SAMPLE_STEPS / 3) + SAMPLE_STEPS / 2);
  uint32_t n_u = t->net->n_u, n = 0;
  if (n_dec > n_u) n_dec = n_u;
  ep_domain *d = ep_domain_create(f->ctx, t->n_row, n_u, n_dec);
  assert_non_null(d);
  for (uint32_t u = 0; u < n_u && n < n_dec; u++) {
    if (ep_rng_below(r, n_u - u) >= n_dec - n) continue;
    bool z = s.v[input_of(f, &t->net->u[u])][t->net->u[u].neuron] >= 0;
    d->beta[n] = 0;
    d->dec[n++] = 2 * u + (is_real ? z : (uint32_t)ep_rng_below(r, 2));
  }
  memset(d->slope, 128, n_u);
  samples_close(&s);
  return d;
}

typedef struct tally {
  double before, after; /* widths of undecided unstable neurons */
  uint32_t n_empty;
} tally;

static void check_domain(const fixture *f, const ep_tree *t, const ep_domain *d, tally *sum, ep_scratch *s) {
  ep_scratch_mark m = ep_scratch_save(s);
  ep_ascent_opt opt = ep_ascent_default();
  ep_rebound own;
  assert_int_equal(ep_rebound_run(t, d, &opt, NULL, s, &own), EP_OK);
  samples at = samples_open(f);
  bool is_hit = false;
  for (uint32_t k = 0; samples_at(&at, k); k++) {
    if (!satisfies(&at, t->net, d)) continue;
    is_hit = true;
    for (uint32_t i = 0; i < f->root->plan->n_z && !own.is_empty; i++) {
      ep_vid v = f->root->plan->z_val[i];
      for (uint32_t j = 0; j < f->g->val[v].n; j++)
        if (own.root.bounds.lo[v][j] > (double)at.v[v][j] || own.root.bounds.hi[v][j] < (double)at.v[v][j])
          fail_msg("value %u neuron %u: [%.17g, %.17g] misses %.17g", v, j, own.root.bounds.lo[v][j],
                   own.root.bounds.hi[v][j], (double)at.v[v][j]);
    }
  }
  samples_close(&at);
  if (own.is_empty) {
    assert_false(is_hit);
    sum->n_empty++;
  } else {
    assert_true(own.root.net.n_u <= t->net->n_u);
    for (uint32_t k = 0; k < t->net->n_u; k++) {
      const ep_unstable *u = &t->net->u[k];
      ep_vid v = input_of(f, u);
      sum->before += f->root->bounds.hi[v][u->neuron] - f->root->bounds.lo[v][u->neuron];
      sum->after += own.root.bounds.hi[v][u->neuron] - own.root.bounds.lo[v][u->neuron];
    }
    /* What is kept of the decisions has its side and its neuron. */
    for (uint32_t k = 0; k < own.domain->n_dec; k++) {
      const ep_unstable *u = &own.root.net.u[own.domain->dec[k] / 2];
      bool is_there = false;
      for (uint32_t j = 0; j < d->n_dec; j++) {
        const ep_unstable *w = &t->net->u[d->dec[j] / 2];
        is_there |= w->node == u->node && w->neuron == u->neuron && (d->dec[j] & 1) == (own.domain->dec[k] & 1);
      }
      assert_true(is_there);
    }
    ep_free(f->ctx, own.domain);
  }
  ep_scratch_restore(s, m);
}

static void bounds_hold_where_the_decisions_do(void **state) {
  (void)state;
  for (size_t i = 0; i < N_SHAPES; i++) {
    tally sum = {0};
    for (uint64_t seed = 0; seed < 12; seed++) {
      fixture f;
      ep_rng r;
      open_box(&f, &shapes[i], seed, 0.8, -1e6, 1);
      ep_rng_seed(&r, seed + 77);
      ep_tree t;
      ep_scratch *s = ep_pool_scratch(f.pool);
      ep_scratch_mark m = ep_scratch_save(s);
      assert_int_equal(ep_tree_init_polytope(&t, f.root, 0, s), EP_OK);
      for (uint32_t k = 1; k <= 8; k++) {
        ep_domain *d = random_domain(&f, &t, k, k % 2, &r);
        check_domain(&f, &t, d, &sum, s);
        ep_free(f.ctx, d);
      }
      ep_scratch_restore(s, m);
      close_box(&f);
    }
    print_message("shape %zu: widths %.4g before, %.4g after, %u empty\n", i, sum.before, sum.after, sum.n_empty);
    assert_true(sum.after < 0.95 * sum.before);
    assert_true(sum.n_empty > 0);
  }
}

/* ---- division ---- */

/* Divides from the root domain alone; is the polytope closed? */
static bool divide(const fixture *f, bool *is_sat, ep_divide_stats *stats) {
  ep_scratch *s = ep_pool_scratch(f->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_tree t;
  ep_queue q = {0};
  *is_sat = false;
  assert_int_equal(ep_tree_init_polytope(&t, f->root, 0, s), EP_OK);
  t.rule = ep_branching_find("babsr");
  t.ascent = ep_ascent_default();
  t.ascent.iterations = 4;
  assert_true(ep_divide_applies(&t));
  assert_int_equal(ep_queue_push(f->ctx, &q, root_domain(f)), EP_OK);
  assert_int_equal(ep_divide_run(&t, &q, 0, stats, is_sat), EP_OK);
  ep_queue_clear(f->ctx, &q);
  ep_scratch_restore(s, m);
  return !*is_sat && !stats->open && !stats->stuck;
}

static void proves_what_is_true_and_nothing_else(void **state) {
  (void)state;
  uint32_t n_proved = 0, n_true = 0, n_sat = 0, n_deep = 0;
  for (size_t i = 0; i < N_SHAPES; i++)
    for (uint64_t seed = 20; seed < 32; seed++)
      for (int side = 0; side < 2; side++) {
        fixture f;
        bool is_sat;
        ep_divide_stats stats;
        open_box(&f, &shapes[i], seed, 0.8, -1e6, 1);
        double least = sampled_minimum(&f), room = 0.25 * (1 + fabs(least));
        close_box(&f);
        open_box(&f, &shapes[i], seed, 0.8, side ? least + 1e-9 * room : least - room, 1 + seed % 2);
        if (!ep_run_is_proved(&f.run, 0, 0)) {
          bool is_closed = divide(&f, &is_sat, &stats);
          if (side) assert_false(is_closed);
          n_deep += stats.domains > 8;
          n_true += !side && !is_sat;
          n_proved += !side && is_closed;
          n_sat += is_sat;
          if (is_sat) assert_true(f.run.result.has_witness);
        } else {
          assert_false(side);
        }
        close_box(&f);
      }
  print_message("%u of %u true ones proved, %u refuted, %u with a tree\n", n_proved, n_true, n_sat, n_deep);
  assert_true(n_proved > 0.8 * n_true && n_true > 8 && n_sat > 0 && n_deep > 8);
}

static void the_deadline_leaves_it_open(void **state) {
  (void)state;
  fixture f;
  bool is_sat;
  ep_divide_stats stats;
  open_box(&f, &shapes[1], 3, 0.8, 1e6, 1);
  ep_scratch *s = ep_pool_scratch(f.pool);
  ep_tree t;
  ep_queue q = {0};
  assert_int_equal(ep_tree_init_polytope(&t, f.root, 0, s), EP_OK);
  ep_domain *d = ep_domain_create(f.ctx, 1, t.net->n_u, 0);
  assert_int_equal(ep_queue_push(f.ctx, &q, d), EP_OK);
  assert_int_equal(ep_divide_run(&t, &q, ep_time_s() - 1, &stats, &is_sat), EP_OK);
  assert_int_equal(stats.open, 1);
  assert_false(is_sat);
  ep_queue_clear(f.ctx, &q);
  close_box(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(bounds_hold_where_the_decisions_do),
                                     cmocka_unit_test(proves_what_is_true_and_nothing_else),
                                     cmocka_unit_test(the_deadline_leaves_it_open)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
