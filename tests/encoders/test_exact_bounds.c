/* The five relaxations in exact arithmetic: known gaps of networks for max(x, y); on random networks every relaxation
 * encloses the exact range and the registry's order holds; the multi-neuron relaxation of one layer over one input is
 * the exact range; cells of linearity against evaluation.
 * Seen to fail when: a corner takes the other side, the octahedra are left out, cuts are added before their layer's
 * variables exist, the triangle's chord or half of a cell is left out. */
#include "tests/ep_test.h"

#include "encoders/exact_bounds.h"
#include "encoders/exact_cells.h"
#include "kernels/rng.h"
#include "tests/support/nets.h"

typedef struct range {
  mpq_t lo, hi;
} range;

static void range_init(range *r) { mpq_inits(r->lo, r->hi, NULL); }
static void range_clear(range *r) { mpq_clears(r->lo, r->hi, NULL); }

static void relaxed(ep_ctx *ctx, const ep_graph *g, ep_convex c, mpq_t *lo, mpq_t *hi, uint32_t y, range *out) {
  ep_exact *a;
  assert_int_equal(ep_exact_create(ctx, g, c, lo, hi, &a), EP_OK);
  assert_int_equal(ep_exact_output(a, y, false, out->lo, NULL), EP_OK);
  assert_int_equal(ep_exact_output(a, y, true, out->hi, NULL), EP_OK);
  ep_exact_destroy(a);
}

static bool is_within(const range *inner, const range *outer) {
  return mpq_cmp(inner->lo, outer->lo) >= 0 && mpq_cmp(inner->hi, outer->hi) <= 0;
}

/* ---- max(x, y) ---- */

/* x [1, n] -> Gemm W1 b1 -> Relu -> Gemm W2: all weights given. */
static ep_graph *two_layers(ep_ctx *ctx, uint32_t n_x, uint32_t n_hidden, const double *w1, const double *b1,
                            const double *w2) {
  ep_builder *b;
  ep_graph *g;
  ep_shape s = {.rank = 2, .dim = {1, n_x}};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  ep_tensor t[3] = {{EP_DT_F32, {2, {n_hidden, n_x}}, (size_t)n_hidden * n_x, (double *)(uintptr_t)w1, NULL},
                    {EP_DT_F32, {1, {n_hidden}}, n_hidden, (double *)(uintptr_t)b1, NULL},
                    {EP_DT_F32, {2, {1, n_hidden}}, n_hidden, (double *)(uintptr_t)w2, NULL}};
  assert_int_equal(ep_builder_create(ctx, 13, &b), EP_OK);
  assert_int_equal(ep_builder_input(b, "x", EP_DT_F32, &s), EP_OK);
  assert_int_equal(ep_builder_constant(b, "W1", &t[0]), EP_OK);
  assert_int_equal(ep_builder_constant(b, "b1", &t[1]), EP_OK);
  assert_int_equal(ep_builder_constant(b, "W2", &t[2]), EP_OK);
  assert_int_equal(ep_builder_node(b, "Gemm", "one", 3, (const char *[]){"x", "W1", "b1"}, "z", &attrs), EP_OK);
  assert_int_equal(ep_builder_node(b, "Relu", "relu", 1, (const char *[]){"z"}, "a", &(ep_attrs){0}), EP_OK);
  assert_int_equal(ep_builder_node(b, "Gemm", "two", 2, (const char *[]){"a", "W2"}, "y", &attrs), EP_OK);
  assert_int_equal(ep_builder_finish(b, "y", &g), EP_OK);
  ep_builder_destroy(b);
  return g;
}

static void assert_equals(mpq_t q, long num, unsigned long den) {
  if (mpq_cmp_si(q, num, den) != 0) {
    gmp_printf("got %Qd, expected %ld/%lu\n", q, num, den);
    fail();
  }
}

/* y + relu(x - y) on [0,1]^2 has the range [0,1]; intervals say [0,2], DeepPoly-0 [0,3/2], DeepPoly-1 and triangle
 * [0,3/2], joint hulls [0,1]. */
static void known_gaps_of_max(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = two_layers(ctx, 2, 2, (const double[]){1, -1, 0, 1}, (const double[]){0, 0}, (const double[]){1, 1});
  mpq_t *lo = ep_rational_create(ctx, 2), *hi = ep_rational_create(ctx, 2);
  const long upper[EP_N_CONVEX] = {4, 3, 3, 3, 2}; /* halves */
  for (int i = 0; i < 2; i++) mpq_set_ui(hi[i], 1, 1);
  range r, exact;
  range_init(&r);
  range_init(&exact);
  assert_int_equal(ep_exact_range(ctx, g, lo, hi, &exact.lo, &exact.hi), EP_OK);
  assert_equals(exact.lo, 0, 1);
  assert_equals(exact.hi, 1, 1);
  for (int c = 0; c < EP_N_CONVEX; c++) {
    relaxed(ctx, g, (ep_convex)c, lo, hi, 0, &r);
    assert_equals(r.hi, upper[c], 2);
    assert_equals(r.lo, 0, 1);
  }
  /* On [0,1] x [1/2,3/2]: the triangle's chord over [-3/2,1/2] gives max y + (x - y + 3/2) / 4 = 3/2 + 1/4. */
  mpq_set_ui(lo[1], 1, 2);
  mpq_set_ui(hi[1], 3, 2);
  relaxed(ctx, g, EP_CONVEX_TRIANGLE, lo, hi, 0, &r);
  assert_equals(r.hi, 7, 4);
  relaxed(ctx, g, EP_CONVEX_MULTI_NEURON, lo, hi, 0, &r);
  assert_equals(r.hi, 3, 2);
  range_clear(&r);
  range_clear(&exact);
  ep_rational_destroy(ctx, lo, 2);
  ep_rational_destroy(ctx, hi, 2);
  ep_graph_destroy(g);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* max over [0,1]^d needs what the layers before know about sums: relu + x_k = m <= 1. */
static void maxima_need_octahedra(void **state) {
  (void)state;
  for (uint32_t d = 3; d <= 6; d++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g;
    range r;
    range_init(&r);
    mpq_t *lo = ep_rational_create(ctx, d), *hi = ep_rational_create(ctx, d);
    for (uint32_t i = 0; i < d; i++) mpq_set_ui(hi[i], 1, 1);
    assert_int_equal(net_make_max(ctx, d, &g), EP_OK);
    relaxed(ctx, g, EP_CONVEX_TRIANGLE, lo, hi, 0, &r);
    assert_true(mpq_cmp_ui(r.hi, 3, 2) > 0);
    relaxed(ctx, g, EP_CONVEX_MULTI_NEURON, lo, hi, 0, &r);
    assert_equals(r.hi, 1, 1);
    assert_equals(r.lo, 0, 1);
    range_clear(&r);
    ep_rational_destroy(ctx, lo, d);
    ep_rational_destroy(ctx, hi, d);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

/* ---- random networks ---- */

/* Quarters between about -2 and 2; now and then a point. */
static void random_box(ep_rng *r, uint32_t n, mpq_t *lo, mpq_t *hi) {
  for (uint32_t i = 0; i < n; i++) {
    long at = (long)ep_rng_below(r, 17) - 8;
    mpq_set_si(lo[i], at, 4);
    mpq_set_si(hi[i], at + (long)ep_rng_below(r, 9), 4);
    mpq_canonicalize(lo[i]);
    mpq_canonicalize(hi[i]);
  }
}

static void order_holds_on_random_networks(void **state) {
  (void)state;
  uint32_t n_tighter[EP_N_CONVEX] = {0}, n_gap = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_rng rng;
    ep_rng_seed(&rng, seed);
    net_opt o = {.n_x = 1 + (uint32_t)ep_rng_below(&rng, 3),
                 .n_y = 1,
                 .n_layer = 1 + (uint32_t)ep_rng_below(&rng, 2),
                 .width = 2 + (uint32_t)ep_rng_below(&rng, 3),
                 .activation = "Relu",
                 .residual = seed % 3 == 0,
                 .scale = 1,
                 .integer = seed % 4 != 1};
    ep_graph *g;
    assert_int_equal(net_make(ctx, seed, &o, &g), EP_OK);
    mpq_t *lo = ep_rational_create(ctx, 3), *hi = ep_rational_create(ctx, 3);
    range r[EP_N_CONVEX], exact;
    range_init(&exact);
    random_box(&rng, o.n_x, lo, hi);
    assert_int_equal(ep_exact_range(ctx, g, lo, hi, &exact.lo, &exact.hi), EP_OK);
    for (int c = 0; c < EP_N_CONVEX; c++) {
      range_init(&r[c]);
      relaxed(ctx, g, (ep_convex)c, lo, hi, 0, &r[c]);
      assert_true(is_within(&exact, &r[c]));
    }
    /* DeepPoly's variants compare neither with each other nor, over several layers, with intervals. */
    for (int c = EP_CONVEX_IBP; c < EP_CONVEX_TRIANGLE; c++) assert_true(is_within(&r[EP_CONVEX_TRIANGLE], &r[c]));
    assert_true(is_within(&r[EP_CONVEX_MULTI_NEURON], &r[EP_CONVEX_TRIANGLE]));
    /* One input, one layer: the joint hull of all neurons. */
    if (o.n_x == 1 && o.n_layer == 1) assert_true(is_within(&r[EP_CONVEX_MULTI_NEURON], &exact));
    for (int c = 1; c < EP_N_CONVEX; c++) n_tighter[c] += !is_within(&r[c - 1], &r[c]);
    n_gap += !is_within(&r[EP_CONVEX_TRIANGLE], &exact);
    for (int c = 0; c < EP_N_CONVEX; c++) range_clear(&r[c]);
    range_clear(&exact);
    ep_rational_destroy(ctx, lo, 3);
    ep_rational_destroy(ctx, hi, 3);
    ep_graph_destroy(g);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
  for (int c = 1; c < EP_N_CONVEX; c++) assert_true(n_tighter[c] >= 20); /* the order is strict on many */
  assert_true(n_gap >= 30);
}

/* ---- cells ---- */

typedef struct points {
  ep_ctx *ctx;
  const ep_graph *g;
  uint32_t n_cell;
} points;

/* At an optimal vertex of each cell the cell's affine function is the network. */
static ep_status check_cell(void *arg, ep_exact_lp *region, mpq_t *out) {
  points *p = arg;
  ep_exact_answer answer;
  ep_exact *a;
  uint32_t n_x = region->n_var;
  mpq_t value, want, t, *x = ep_rational_create(p->ctx, n_x), *up = ep_rational_create(p->ctx, n_x);
  mpq_inits(value, want, t, NULL);
  for (uint32_t j = 0; j < n_x; j++) mpq_set_si(up[j], p->n_cell % 2 ? 1 : -1, 1);
  p->n_cell++;
  assert_int_equal(ep_exact_lp_maximise(region, up, &answer, value, x), EP_OK);
  assert_int_equal(answer, EP_EXACT_OPTIMAL);
  mpq_set(want, out[n_x]);
  for (uint32_t j = 0; j < n_x; j++) ep_rational_add_mul(want, out[j], x[j], t);
  /* Over a single point intervals are exact. */
  assert_int_equal(ep_exact_create(p->ctx, p->g, EP_CONVEX_IBP, x, x, &a), EP_OK);
  assert_int_equal(ep_exact_output(a, 0, true, value, NULL), EP_OK);
  assert_true(mpq_equal(value, want));
  assert_int_equal(ep_exact_output(a, 0, false, value, NULL), EP_OK);
  assert_true(mpq_equal(value, want));
  ep_exact_destroy(a);
  mpq_clears(value, want, t, NULL);
  ep_rational_destroy(p->ctx, x, n_x);
  ep_rational_destroy(p->ctx, up, n_x);
  return EP_OK;
}

static void cells_are_the_network(void **state) {
  (void)state;
  uint32_t total = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    ep_ctx *ctx = ep_ctx_create();
    net_opt o = {.n_x = 2, .n_y = 1, .n_layer = 2, .width = 4, .activation = "Relu", .residual = true, .scale = 1};
    ep_graph *g;
    assert_int_equal(net_make(ctx, seed, &o, &g), EP_OK);
    mpq_t *lo = ep_rational_create(ctx, 2), *hi = ep_rational_create(ctx, 2);
    for (int i = 0; i < 2; i++) {
      mpq_set_si(lo[i], -3, 2);
      mpq_set_si(hi[i], 2, 1);
    }
    points p = {ctx, g, 0};
    assert_int_equal(ep_exact_cells(ctx, g, lo, hi, check_cell, &p), EP_OK);
    total += p.n_cell;
    ep_rational_destroy(ctx, lo, 2);
    ep_rational_destroy(ctx, hi, 2);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
  assert_true(total > 100);
}

static void refuses_what_it_cannot_read(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  net_opt o = {.n_x = 1, .n_y = 1, .n_layer = 1, .width = 2, .activation = "Sigmoid", .scale = 1};
  ep_graph *g;
  ep_exact *a;
  mpq_t *x = ep_rational_create(ctx, 1);
  assert_int_equal(net_make(ctx, 1, &o, &g), EP_OK);
  assert_int_equal(ep_exact_create(ctx, g, EP_CONVEX_TRIANGLE, x, x, &a), EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "Sigmoid"));
  assert_null(a);
  ep_ctx_clear_error(ctx);
  ep_rational_destroy(ctx, x, 1);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_gaps_of_max),
      cmocka_unit_test(maxima_need_octahedra),
      cmocka_unit_test(order_holds_on_random_networks),
      cmocka_unit_test(cells_are_the_network),
      cmocka_unit_test(refuses_what_it_cannot_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
