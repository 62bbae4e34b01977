/* Reduced problems: what a network really does (quadruple precision) satisfies every row, piece and goal that it
 * satisfies in the given problem, whatever the precision of the new coefficients; and little else does.
 * Seen to fail when: rounding to the grid is not charged, a definition's sign is lost, an end is rounded inward, the
 * rounding of sums is not charged. */
#include "tests/ep_test.h"

#include <stdlib.h>

#include "encoders/network.h"
#include "encoders/reduce.h"
#include "tests/support/nets.h"

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_scratch s;
  ep_network *net;
  ep_prob *small;
  uint32_t *map;
  double lo[4], hi[4];
  quad *v[64];
  ep_rng rng;
} fixture;

static const net_opt shape = {.n_x = 3, .n_y = 2, .n_layer = 3, .width = 9, .activation = "Relu", .scale = 1};

/* Goal g: both outputs at most their value at the g-th sample (a double above it). */
static void add_goal(fixture *f) {
  ep_prob *p = f->net->prob;
  assert_int_equal(ep_prob_open_goal(p), EP_OK);
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t pair[2] = {f->net->term[f->g->output][i], f->net->term[f->g->output][1 - i]};
    double at = nextafter((double)(f->v[f->g->output][i] - 0.5Q * f->v[f->g->output][1 - i]), INFINITY);
    ep_prob_row r = {.n = 2, .var = pair, .coef = (const double[]){1, -0.5}, .lo = -INFINITY, .hi = at};
    assert_int_equal(ep_prob_add(p, EP_PLACE_GOAL, &r), EP_OK);
  }
}

static void sample(fixture *f) {
  double x[4];
  for (uint32_t j = 0; j < shape.n_x; j++)
    x[j] = fmin(f->hi[j], f->lo[j] + (f->hi[j] - f->lo[j]) * ep_rng_uniform(&f->rng));
  net_eval_quad(f->g, x, f->v);
}

static void open_net(fixture *f, uint64_t seed, double scale, double radius, int bits) {
  ep_trace_itv t;
  net_opt o = shape;
  memset(f, 0, sizeof *f);
  o.scale = scale;
  ep_rng_seed(&f->rng, seed);
  f->ctx = ep_ctx_create();
  ep_scratch_init(&f->s, f->ctx);
  assert_int_equal(net_make(f->ctx, seed, &o, &f->g), EP_OK);
  for (uint32_t i = 0; i < f->g->n_val; i++) f->v[i] = calloc(f->g->val[i].n, sizeof(quad));
  for (uint32_t j = 0; j < shape.n_x; j++) {
    double mid = (double)(float)ep_rng_normal(&f->rng);
    f->lo[j] = mid - radius;
    f->hi[j] = mid + radius;
  }
  assert_int_equal(ep_eval_itv(f->g, 1, f->lo, f->hi, &f->s, &t), EP_OK);
  assert_int_equal(ep_network_create(f->ctx, f->g, &t, &(ep_network_opt){0}, &f->s, &f->net), EP_OK);
  for (int k = 0; k < 5; k++) {
    sample(f);
    add_goal(f);
  }
  f->map = malloc((f->net->prob->n_var + 1) * sizeof(uint32_t));
  assert_int_equal(ep_prob_reduce(f->net->prob, NULL, bits, &f->s, f->map, &f->small), EP_OK);
}

static void close_net(fixture *f) {
  for (uint32_t i = 0; i < f->g->n_val; i++) free(f->v[i]);
  free(f->map);
  ep_prob_destroy(f->small);
  ep_network_destroy(f->net);
  ep_graph_destroy(f->g);
  ep_scratch_clear(&f->s);
  assert_int_equal(ep_ctx_memory_used(f->ctx), 0);
  ep_ctx_destroy(f->ctx);
}

/* The value that the network gives to variable v of p. */
static quad value_of(const fixture *f, const ep_prob *p, uint32_t v) {
  while (p->origin_value[v] == EP_ORIGIN_COPY) abort(); /* not in these networks */
  return f->v[p->origin_value[v]][p->origin_element[v]];
}

static bool holds(const fixture *f, const ep_prob *p, const ep_prob_row *r) {
  quad sum = 0;
  for (uint32_t k = 0; k < r->n; k++) sum += (quad)r->coef[k] * value_of(f, p, r->var[k]);
  quad tiny = 1e-25Q * (1 + (sum < 0 ? -sum : sum)); /* of quadruple precision */
  return sum >= r->lo - tiny && sum <= r->hi + tiny;
}

static bool all_hold(const fixture *f, const ep_prob *p, uint32_t n, const ep_prob_row *r) {
  for (uint32_t i = 0; i < n; i++)
    if (!holds(f, p, &r[i])) return false;
  return true;
}

static void check_sample(const fixture *f) {
  const ep_prob *p = f->small, *q = f->net->prob;
  for (uint32_t v = 0; v < p->n_var; v++) {
    quad x = value_of(f, p, v);
    assert_true(x >= p->lo[v] && x <= p->hi[v]);
  }
  assert_true(all_hold(f, p, p->n_row, p->row));
  for (uint32_t d = 0; d < p->n_disj; d++) {
    assert_int_equal(p->disj[d].n, q->disj[d].n);
    for (uint32_t c = 0; c < p->disj[d].n; c++) {
      const ep_prob_choice *a = &p->choice[p->disj[d].first + c], *b = &q->choice[q->disj[d].first + c];
      if (all_hold(f, q, b->n, q->choice_row + b->first)) assert_true(all_hold(f, p, a->n, p->choice_row + a->first));
    }
  }
  for (uint32_t g = 0; g < p->n_goal; g++)
    if (all_hold(f, q, q->goal[g].n, q->goal_row + q->goal[g].first))
      assert_true(all_hold(f, p, p->goal[g].n, p->goal_row + p->goal[g].first));
}

static void the_network_is_a_solution(void **state) {
  (void)state;
  static const int bits[] = {0, 30, 16, 4, 2};
  static const double scales[] = {1, 1e4}, radii[] = {0.02, 0.6, 3};
  uint32_t n_reduced = 0;
  for (uint64_t seed = 0; seed < 8; seed++)
    for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
      for (int s = 0; s < 2; s++)
        for (int r = 0; r < 3; r++) {
          fixture f;
          open_net(&f, seed, scales[s], radii[r], bits[b]);
          if (f.small) {
            n_reduced++;
            assert_true(f.small->n_var < f.net->prob->n_var && f.small->n_disj == f.net->prob->n_disj);
            for (uint32_t j = 0; j < shape.n_x; j++)
              assert_true(f.map[ep_network_input_var(f.net, j)] < f.small->n_var);
            for (int k = 0; k < 40; k++) {
              sample(&f);
              check_sample(&f);
            }
          }
          close_net(&f);
        }
  assert_int_equal(n_reduced, 8 * 5 * 2 * 3);
}

/* Widest equality, over the size of its terms. */
static double looseness(const ep_prob *p) {
  double worst = 0;
  for (uint32_t i = 0; i < p->n_row; i++) {
    const ep_prob_row *r = &p->row[i];
    double mass = 0;
    for (uint32_t k = 0; k < r->n; k++) mass += fabs(r->coef[k]) * fmax(fabs(p->lo[r->var[k]]), fabs(p->hi[r->var[k]]));
    if (fabs(r->lo) < INFINITY && fabs(r->hi) < INFINITY) worst = fmax(worst, (r->hi - r->lo) / mass);
  }
  return worst;
}

static void little_is_lost(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 8; seed++) {
    static const struct {
      int bits;
      double most;
    } want[] = {{0, 1e-13}, {30, 1e-8}, {16, 1e-3}};
    for (int k = 0; k < 3; k++) {
      fixture f;
      open_net(&f, seed, 1, 0.6, want[k].bits);
      double is = looseness(f.small);
      assert_true(is <= want[k].most);
      assert_true(k == 0 || is > 0);
      close_net(&f);
    }
  }
}

static void nothing_to_replace(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_scratch s;
  ep_prob *p, *small;
  uint32_t a, b, c, map[4];
  ep_scratch_init(&s, ctx);
  assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
  p->input_value = 0;
  assert_int_equal(ep_prob_var(p, -1, 1, 0, 0, &a), EP_OK);
  assert_int_equal(ep_prob_reduce(p, NULL, 16, &s, map, &small), EP_OK);
  assert_null(small);
  /* A variable without bounds stays, and nothing can be charged over it. */
  assert_int_equal(ep_prob_var(p, -INFINITY, INFINITY, 1, 0, &b), EP_OK);
  assert_int_equal(ep_prob_reduce(p, NULL, 16, &s, map, &small), EP_OK);
  assert_null(small);
  /* Defined by a row it goes, its bounds with it. */
  ep_prob_row r = {.n = 2, .var = (const uint32_t[]){a, b}, .coef = (const double[]){3, -1}, .lo = 1, .hi = 1};
  assert_int_equal(ep_prob_add(p, EP_PLACE_ALWAYS, &r), EP_OK);
  assert_int_equal(ep_prob_open_goal(p), EP_OK);
  ep_prob_row goal = {.n = 1, .var = &b, .coef = (const double[]){2}, .lo = -4, .hi = INFINITY, .is_lo_strict = true};
  assert_int_equal(ep_prob_add(p, EP_PLACE_GOAL, &goal), EP_OK);
  assert_int_equal(ep_prob_reduce(p, NULL, 0, &s, map, &small), EP_OK);
  assert_non_null(small);
  assert_true(small->n_var == 1 && map[a] == 0 && map[b] == EP_NO_VAR && small->n_row == 0);
  /* b = 3 a - 1, so 2 b > -4 says 6 a > -2. */
  const ep_prob_row *w = &small->goal_row[0];
  assert_true(w->n == 1 && w->coef[0] == 6 && w->is_lo_strict && w->hi == INFINITY);
  assert_true(w->lo <= -2 && w->lo > -2.0000001);
  ep_prob_destroy(small);
  bool stays[2] = {false, true};
  ep_prob_reduce(p, stays, 0, &s, map, &small);
  assert_null(small); /* it has no bounds to charge errors over */
  p->lo[b] = -4, p->hi[b] = 2;
  assert_int_equal(ep_prob_var(p, 0, 1, 1, 1, &c), EP_OK);
  ep_prob_row copy = {.n = 2, .var = (const uint32_t[]){b, c}, .coef = (const double[]){1, -1}};
  assert_int_equal(ep_prob_add(p, EP_PLACE_ALWAYS, &copy), EP_OK);
  bool stay[3] = {false, true, false};
  assert_int_equal(ep_prob_reduce(p, stay, 0, &s, map, &small), EP_OK);
  assert_true(small->n_var == 2 && map[b] == 1 && map[c] == EP_NO_VAR && small->n_row == 1);
  ep_prob_destroy(small);
  ep_prob_destroy(p);
  ep_scratch_clear(&s);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* Sums of many products to nearest: their error must not exclude the one input there is. No constants, whose own
 * outward rounding would hide it. */
static void rounding_is_charged(void **state) {
  (void)state;
  enum { N = 12 };
  uint32_t n_larger = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_scratch s;
    ep_prob *p, *small;
    ep_rng r;
    uint32_t var[N + 1], map[N + 1];
    double w[N];
    quad sum = 0;
    ep_rng_seed(&r, seed);
    ep_scratch_init(&s, ctx);
    assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
    p->input_value = 0;
    assert_int_equal(ep_prob_var(p, 1, 1, 0, 0, &var[N]), EP_OK);
    for (uint32_t i = 0; i < N; i++) {
      double c = ep_rng_uniform(&r);
      w[i] = ep_rng_uniform(&r);
      sum += (quad)c * w[i];
      assert_int_equal(ep_prob_var(p, 0, 1, 1, i, &var[i]), EP_OK);
      ep_prob_row d = {.n = 2, .var = (const uint32_t[]){var[i], var[N]}, .coef = (const double[]){1, -c}};
      assert_int_equal(ep_prob_add(p, EP_PLACE_ALWAYS, &d), EP_OK);
    }
    double at = (double)sum;
    if (at < sum) at = nextafter(at, INFINITY);
    assert_int_equal(ep_prob_open_goal(p), EP_OK);
    ep_prob_row goal = {.n = N, .var = var, .coef = w, .lo = -INFINITY, .hi = at};
    assert_int_equal(ep_prob_add(p, EP_PLACE_GOAL, &goal), EP_OK);
    assert_int_equal(ep_prob_reduce(p, NULL, 0, &s, map, &small), EP_OK);
    assert_true(small && small->goal_row[0].n == 1);
    assert_true(small->goal_row[0].coef[0] <= small->goal_row[0].hi);
    n_larger += small->goal_row[0].coef[0] > at;
    ep_prob_destroy(small);
    ep_prob_destroy(p);
    ep_scratch_clear(&s);
    ep_ctx_destroy(ctx);
  }
  assert_true(n_larger > 10); /* where the charge decides */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_network_is_a_solution), cmocka_unit_test(little_is_lost),
                                     cmocka_unit_test(nothing_to_replace), cmocka_unit_test(rounding_is_charged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
