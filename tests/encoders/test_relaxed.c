/* The registry's relaxations with certified double arithmetic: they enclose the exact range (compared in rationals),
 * their order holds, and they come within 1e-6 of what exact arithmetic says about the same relaxation; rows of joint
 * hulls hold at the network's own values (quadruple precision); max(x, y) and max over four inputs are exact jointly.
 * Seen to fail when: an octahedron's sum is a little too small, has the wrong sign or the signs swapped; a ReLU's
 * argument loses its bias or half its weight; a cut is negated or never separated; a bound of a neuron or an output is
 * off. */
#include "tests/ep_test.h"

#include <stdlib.h>

#include "encoders/exact_bounds.h"
#include "encoders/exact_cells.h"
#include "encoders/relaxed.h"
#include "tests/support/nets.h"

enum { MAX_IO = 8 };

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_scratch s;
  ep_arena arena;
  ep_plan *plan;
  uint32_t n_x, n_y;
  double x_lo[MAX_IO], x_hi[MAX_IO];
} fixture;

static bool has_lp(void) {
  ep_ctx *ctx = ep_ctx_create();
  const ep_backend *be;
  bool has = ep_backend_find(ctx, "glpk", &be) == EP_OK;
  ep_ctx_clear_error(ctx);
  ep_ctx_destroy(ctx);
  return has;
}

static void open_plan(fixture *f) {
  ep_scratch_init(&f->s, f->ctx);
  ep_arena_init(&f->arena, f->ctx);
  f->n_x = f->g->val[f->g->input].n;
  f->n_y = f->g->val[f->g->output].n;
  assert_int_equal(ep_plan_create(f->ctx, f->g, f->x_lo, f->x_hi, &f->s, &f->plan), EP_OK);
}

static void open_random(fixture *f, uint64_t seed, const net_opt *o, double radius) {
  ep_rng r;
  ep_rng_seed(&r, seed + 11);
  *f = (fixture){.ctx = ep_ctx_create()};
  assert_int_equal(net_make(f->ctx, seed, o, &f->g), EP_OK);
  for (uint32_t i = 0; i < o->n_x; i++) {
    f->x_lo[i] = (double)(float)(0.5 * ep_rng_normal(&r)) - radius;
    f->x_hi[i] = f->x_lo[i] + 2 * radius;
  }
  open_plan(f);
}

static void close_fixture(fixture *f) {
  ep_plan_destroy(f->plan);
  ep_arena_clear(&f->arena);
  ep_scratch_clear(&f->s);
  ep_graph_destroy(f->g);
  assert_int_equal(ep_ctx_memory_used(f->ctx), 0);
  ep_ctx_destroy(f->ctx);
}

static ep_relaxed_opt with_group(uint32_t size) { return (ep_relaxed_opt){.group = size, .tightens = true}; }

static void bounds_of(fixture *f, ep_convex c, uint32_t group, double *lo, double *hi) {
  ep_relaxed_opt opt = with_group(group);
  assert_int_equal(ep_relaxed_bounds(f->plan, c, &opt, f->x_lo, f->x_hi, lo, hi, &f->arena, &f->s), EP_OK);
}

/* ---- against exact arithmetic ---- */

typedef struct truth {
  mpq_t *x_lo, *x_hi, *lo, *hi;
} truth;

static void truth_init(truth *t, const fixture *f) {
  t->x_lo = ep_rational_create(f->ctx, MAX_IO);
  t->x_hi = ep_rational_create(f->ctx, MAX_IO);
  t->lo = ep_rational_create(f->ctx, MAX_IO);
  t->hi = ep_rational_create(f->ctx, MAX_IO);
  for (uint32_t i = 0; i < f->n_x; i++) {
    mpq_set_d(t->x_lo[i], f->x_lo[i]);
    mpq_set_d(t->x_hi[i], f->x_hi[i]);
  }
}

static void truth_clear(truth *t, ep_ctx *ctx) {
  ep_rational_destroy(ctx, t->x_lo, MAX_IO);
  ep_rational_destroy(ctx, t->x_hi, MAX_IO);
  ep_rational_destroy(ctx, t->lo, MAX_IO);
  ep_rational_destroy(ctx, t->hi, MAX_IO);
}

static void agree_with_exact_arithmetic(void **state) {
  (void)state;
  if (!has_lp()) skip();
  int n_tighter[EP_N_CONVEX] = {0};
  for (uint64_t seed = 0; seed < 50; seed++) {
    fixture f;
    net_opt o = {.n_x = 1 + (uint32_t)(seed % 3),
                 .n_y = 2,
                 .n_layer = 1 + (uint32_t)(seed % 2),
                 .width = 3 + (uint32_t)(seed % 2),
                 .activation = "Relu",
                 .residual = seed % 5 == 0,
                 .scale = 1,
                 .integer = seed % 7 == 0};
    double lo[EP_N_CONVEX][MAX_IO], hi[EP_N_CONVEX][MAX_IO];
    truth t;
    open_random(&f, seed, &o, seed % 4 == 3 ? 1e-3 : 0.7);
    truth_init(&t, &f);
    assert_int_equal(ep_exact_range(f.ctx, f.g, t.x_lo, t.x_hi, t.lo, t.hi), EP_OK);
    for (int c = 0; c < EP_N_CONVEX; c++) {
      ep_exact *a = NULL;
      mpq_t want;
      mpq_init(want);
      bounds_of(&f, (ep_convex)c, 2 + (uint32_t)(seed / 2 % 2), lo[c], hi[c]);
      bool is_same = c == EP_CONVEX_IBP || c == EP_CONVEX_TRIANGLE, has_lines = c != EP_CONVEX_MULTI_NEURON;
      if (has_lines) assert_int_equal(ep_exact_create(f.ctx, f.g, (ep_convex)c, t.x_lo, t.x_hi, &a), EP_OK);
      for (uint32_t i = 0; i < f.n_y; i++) {
        assert_true(ep_rational_compare(lo[c][i], t.lo[i]) <= 0 && ep_rational_compare(hi[c][i], t.hi[i]) >= 0);
        /* The same relaxation without rounding. (Groups differ for joint hulls. Lines are cut with intervals here,
         * which over several layers may even lose: back-substitution is not monotone in the bounds between.) */
        if (has_lines) assert_int_equal(ep_exact_output(a, i, true, want, NULL), EP_OK);
        double w = mpq_get_d(want), slack = 1e-6 * (1 + fabs(w));
        if (is_same || (o.n_layer == 1 && has_lines)) assert_true(hi[c][i] <= w + slack);
        if (is_same) assert_true(hi[c][i] >= w - slack);
        for (int b = 0; b < c && c >= EP_CONVEX_TRIANGLE; b++) {
          assert_true(hi[c][i] <= hi[b][i] + 1e-6 * (1 + fabs(hi[b][i])));
          assert_true(lo[c][i] >= lo[b][i] - 1e-6 * (1 + fabs(lo[b][i])));
        }
        n_tighter[c] += c > 0 && hi[c][i] < hi[c - 1][i] - 1e-6;
      }
      mpq_clear(want);
      ep_exact_destroy(a);
    }
    truth_clear(&t, f.ctx);
    close_fixture(&f);
  }
  for (int c = 1; c < EP_N_CONVEX; c++) assert_true(n_tighter[c] >= 5);
}

/* ---- rows of joint hulls ---- */

/* Values of all nodes at a random point of the box, in quadruple precision. */
static void random_values(fixture *f, ep_rng *r, quad *const *v) {
  double x[MAX_IO];
  for (uint32_t i = 0; i < f->n_x; i++) {
    double u = ep_rng_below(r, 3) ? ep_rng_uniform(r) : (double)ep_rng_below(r, 2);
    x[i] = fmin(f->x_hi[i], f->x_lo[i] + u * (f->x_hi[i] - f->x_lo[i]));
  }
  net_eval_quad(f->g, x, v);
}

static void assert_rows_hold(fixture *f, const ep_network *net, uint64_t seed) {
  const ep_prob *p = net->prob;
  ep_rng r;
  ep_rng_seed(&r, seed);
  quad **v = calloc(f->g->n_val, sizeof *v), *x = calloc(p->n_var, sizeof *x);
  for (uint32_t i = 0; i < f->g->n_val; i++) v[i] = calloc(f->g->val[i].n, sizeof **v);
  for (int round = 0; round < 50; round++) {
    random_values(f, &r, v);
    for (uint32_t i = 0; i < p->n_var; i++)
      if (p->origin_value[i] < f->g->n_val) x[i] = v[p->origin_value[i]][p->origin_element[i]];
    for (uint32_t k = 0; k < p->n_row; k++) {
      quad sum = 0;
      bool is_plain = true;
      for (uint32_t i = 0; i < p->row[k].n; i++) {
        is_plain &= p->origin_value[p->row[k].var[i]] < f->g->n_val;
        sum += (quad)p->row[k].coef[i] * x[p->row[k].var[i]];
      }
      quad slack = (quad)1e-28; /* of the evaluation */
      if (is_plain) assert_true(sum >= (quad)p->row[k].lo - slack && sum <= (quad)p->row[k].hi + slack);
    }
  }
  for (uint32_t i = 0; i < f->g->n_val; i++) free(v[i]);
  free(v);
  free(x);
}

static void cuts_hold_at_the_networks_values(void **state) {
  (void)state;
  if (!has_lp()) skip();
  uint64_t n_cut = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    fixture f;
    net_opt o = {.n_x = 1 + (uint32_t)(seed % 5),
                 .n_y = 1,
                 .n_layer = 2,
                 .width = 4 + (uint32_t)(seed % 4),
                 .activation = "Relu",
                 .residual = seed % 2,
                 .scale = 0.8};
    open_random(&f, seed, &o, 0.6);
    ep_trace_itv bounds;
    ep_relax_f64 relax;
    ep_joints joints;
    ep_relaxed *r;
    assert_int_equal(ep_crown_table(f.plan, 1, &f.s, &bounds), EP_OK);
    assert_int_equal(ep_relax_init_f64(f.plan, 1, &f.s, &relax), EP_OK);
    memcpy(bounds.lo[f.g->input], f.x_lo, sizeof f.x_lo[0] * f.n_x);
    memcpy(bounds.hi[f.g->input], f.x_hi, sizeof f.x_hi[0] * f.n_x);
    ep_crown_opt crown = {.rule = EP_RELAX_ADAPTIVE};
    assert_int_equal(ep_crown_run(f.plan, &crown, &bounds, &relax, &f.arena, &f.s), EP_OK);
    ep_joints_init(&joints, f.ctx);
    ep_relaxed_opt opt = with_group(2 + (uint32_t)(seed % 2));
    opt.relaxation = EP_CONVEX_MULTI_NEURON;
    opt.tightens = seed % 3 != 0;
    assert_int_equal(ep_relaxed_layers(f.plan, &opt, &bounds, &relax, &joints, &f.arena, &f.s), EP_OK);
    assert_int_equal(ep_relaxed_create(f.ctx, f.g, &bounds, &(ep_network_opt){0}, &joints, &f.s, &r), EP_OK);
    for (int side = -1; side <= 1; side += 2) {
      double c = side, lower = -INFINITY;
      assert_int_equal(ep_relaxed_minimise(r, f.g->output, 1, &(uint32_t){0}, &c, &lower), EP_OK);
      assert_true(lower > -1e6);
    }
    n_cut += r->cuts;
    assert_rows_hold(&f, r->net, seed);
    ep_relaxed_destroy(r);
    ep_joints_clear(&joints);
    close_fixture(&f);
  }
  assert_true(n_cut > 100);
}

/* ---- networks whose answer is known ---- */

static void maxima_are_exact_jointly(void **state) {
  (void)state;
  if (!has_lp()) skip();
  for (uint32_t d = 2; d <= 5; d++)
    for (uint32_t group = 2; group <= 3; group++) {
      fixture f = {.ctx = ep_ctx_create()};
      double lo, hi;
      assert_int_equal(net_make_max(f.ctx, d, &f.g), EP_OK);
      for (uint32_t i = 0; i < d; i++) f.x_hi[i] = 1;
      open_plan(&f);
      bounds_of(&f, EP_CONVEX_TRIANGLE, group, &lo, &hi);
      assert_true(hi > 1.49);
      bounds_of(&f, EP_CONVEX_MULTI_NEURON, group, &lo, &hi);
      assert_true(hi >= 1 && hi < 1 + 1e-9);
      assert_true(lo <= 0 && lo > -1e-9);
      close_fixture(&f);
    }
}

/* One input: kinks at -1, 0, 1; the function is relu(x + 1) - 2 relu(x) + relu(x - 1), a tent of height 1 over
 * [-2, 2]: only the hull of all three neurons knows its range. */
static void a_tent_needs_all_its_neurons(void **state) {
  (void)state;
  if (!has_lp()) skip();
  fixture f = {.ctx = ep_ctx_create(), .x_lo = {-2}, .x_hi = {2}};
  ep_builder *b;
  ep_shape s = {.rank = 2, .dim = {1, 1}};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  double w[3] = {1, 1, 1}, c[3] = {1, 0, -1}, v[3] = {1, -2, 1}, lo, hi;
  ep_tensor t[2] = {{EP_DT_F32, {2, {3, 1}}, 3, w, NULL}, {EP_DT_F32, {1, {3}}, 3, c, NULL}};
  assert_int_equal(ep_builder_create(f.ctx, 13, &b), EP_OK);
  assert_int_equal(ep_builder_input(b, "x", EP_DT_F32, &s), EP_OK);
  assert_int_equal(ep_builder_constant(b, "w", &t[0]), EP_OK);
  assert_int_equal(ep_builder_constant(b, "c", &t[1]), EP_OK);
  assert_int_equal(ep_builder_node(b, "Gemm", "z", 3, (const char *[]){"x", "w", "c"}, "z", &(ep_attrs){1, &trans}),
                   EP_OK);
  assert_int_equal(ep_builder_node(b, "Relu", "a", 1, (const char *[]){"z"}, "a", &(ep_attrs){0}), EP_OK);
  assert_int_equal(net_matrix(b, "a", "y", 1, 3, v), EP_OK);
  assert_int_equal(ep_builder_finish(b, "y", &f.g), EP_OK);
  ep_builder_destroy(b);
  open_plan(&f);
  bounds_of(&f, EP_CONVEX_TRIANGLE, 2, &lo, &hi);
  assert_true(hi > 1.2 && lo < -0.2);
  bounds_of(&f, EP_CONVEX_MULTI_NEURON, 2, &lo, &hi);
  assert_true(hi >= 1 && hi < 1 + 1e-9 && lo <= 0 && lo > -1e-9);
  close_fixture(&f);
}

static void refuses_without_an_encoding(void **state) {
  (void)state;
  if (!has_lp()) skip();
  fixture f;
  net_opt o = {.n_x = 2, .n_y = 1, .n_layer = 1, .width = 3, .activation = "Tanh", .scale = 1};
  double lo, hi;
  open_random(&f, 3, &o, 0.5);
  ep_relaxed_opt opt = with_group(2);
  assert_int_equal(ep_relaxed_bounds(f.plan, EP_CONVEX_TRIANGLE, &opt, f.x_lo, f.x_hi, &lo, &hi, &f.arena, &f.s),
                   EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(f.ctx).text, "Tanh"));
  ep_ctx_clear_error(f.ctx);
  bounds_of(&f, EP_CONVEX_DEEPPOLY_0, 2, &lo, &hi); /* lines know every operator */
  assert_true(lo < hi && lo > -100);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agree_with_exact_arithmetic), cmocka_unit_test(cuts_hold_at_the_networks_values),
      cmocka_unit_test(maxima_are_exact_jointly),    cmocka_unit_test(a_tent_needs_all_its_neurons),
      cmocka_unit_test(refuses_without_an_encoding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
