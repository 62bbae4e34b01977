/* The certified pass against exact arithmetic. Seen to fail when: the sign of a beta is flipped, aerr or the univariate
 * charge is dropped, tu loses its upward rounding, a decision's side is swapped, neuron indices are off by one. */
#include "tests/ep_test.h"

#include <stdlib.h>

#include "bounds/ascent.h"
#include "bounds/forward.h"
#include "tests/support/nets.h"

enum { MAX_N = 64 };

typedef struct fixture {
  ep_ctx *ctx;
  ep_scratch s;
  ep_arena arena;
  ep_graph *g;
  ep_plan *plan;
  ep_trace_itv b;
  ep_relax_f64 relax;
  double lo[MAX_N], hi[MAX_N];
  quad *v[64];
} fixture;

static void open_net(fixture *f, uint64_t seed, const net_opt *o, double center, double radius) {
  ep_rng r;
  ep_rng_seed(&r, seed * 7919 + 1);
  f->ctx = ep_ctx_create();
  ep_scratch_init(&f->s, f->ctx);
  ep_arena_init(&f->arena, f->ctx);
  assert_int_equal(net_make(f->ctx, seed, o, &f->g), EP_OK);
  for (uint32_t i = 0; i < o->n_x; i++) {
    double c = (double)(float)(center * ep_rng_normal(&r));
    f->lo[i] = c - radius * ep_rng_uniform(&r);
    f->hi[i] = c + radius * ep_rng_uniform(&r);
  }
  assert_int_equal(ep_plan_create(f->ctx, f->g, f->lo, f->hi, &f->s, &f->plan), EP_OK);
  assert_int_equal(ep_crown_table(f->plan, 1, &f->s, &f->b), EP_OK);
  assert_int_equal(ep_relax_init_f64(f->plan, 1, &f->s, &f->relax), EP_OK);
  memcpy(f->b.lo[f->g->input], f->lo, o->n_x * sizeof(double));
  memcpy(f->b.hi[f->g->input], f->hi, o->n_x * sizeof(double));
  for (uint32_t v = 0; v < f->g->n_val; v++) f->v[v] = calloc(f->g->val[v].n, sizeof(quad));
}

static void close_net(fixture *f) {
  for (uint32_t v = 0; v < f->g->n_val; v++) free(f->v[v]);
  ep_plan_destroy(f->plan);
  ep_graph_destroy(f->g);
  ep_arena_clear(&f->arena);
  ep_scratch_clear(&f->s);
  ep_ctx_destroy(f->ctx);
}

static void sample(const fixture *f, ep_rng *r, double *x) {
  for (uint32_t i = 0; i < f->plan->n_x; i++) {
    uint64_t kind = ep_rng_below(r, 3);
    x[i] = kind == 0 ? f->lo[i] : kind == 1 ? f->hi[i] : f->lo[i] + ep_rng_uniform(r) * (f->hi[i] - f->lo[i]);
    if (x[i] > f->hi[i]) x[i] = f->hi[i];
  }
}

/* Every exact value lies in the certified bounds, and in the lines at every activation. */
static void check_bounds(fixture *f, ep_rng *r, int n_sample) {
  double x[MAX_N];
  for (int t = 0; t < n_sample; t++) {
    sample(f, r, x);
    net_eval_quad(f->g, x, f->v);
    for (uint32_t v = 0; v < f->g->n_val; v++)
      for (uint32_t i = 0; i < f->g->val[v].n; i++) {
        assert_true(f->v[v][i] >= (quad)f->b.lo[v][i]);
        assert_true(f->v[v][i] <= (quad)f->b.hi[v][i]);
      }
    for (uint32_t k = 0; k < f->g->n_node; k++) {
      const ep_node *nd = &f->g->node[k];
      if (nd->low.cls != EP_UNIVAR) continue;
      for (uint32_t i = 0; i < f->g->val[nd->out].n; i++) {
        quad z = f->v[nd->in[0]][i], y = f->v[nd->out][i];
        const ep_lines_f64 *ln = &f->relax.lines[k];
        assert_true(y >= (quad)ln->sl[i] * z + (quad)ln->tl[i]);
        assert_true(y <= (quad)ln->su[i] * z + (quad)ln->tu[i]);
      }
    }
  }
}

static const net_opt nets[] = {
    {3, 2, 2, 8, "Relu", false, false, 1, false, false, false},
    {2, 3, 3, 6, "Relu", true, false, 0.7, false, false, false},
    {4, 2, 2, 7, "Relu", false, true, 1, false, false, false},
    {3, 2, 3, 5, "LeakyRelu", true, true, 1, false, false, false},
    {3, 2, 2, 6, "Abs", false, false, 1, false, false, false},
    {2, 2, 3, 6, "Relu", true, true, 1, true, false, false},
    {3, 2, 3, 8, "Relu", false, false, 1000, false, false, false},
    {3, 2, 3, 8, "Relu", false, false, 1e-3, false, false, false},
};
enum { N_NETS = sizeof nets / sizeof *nets };

static void crown_contains_exact_values(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 40; seed++) {
    fixture f;
    ep_rng r;
    ep_rng_seed(&r, seed);
    open_net(&f, seed, &nets[seed % N_NETS], 1, seed % 5 == 0 ? 0 : 0.8);
    ep_crown_opt opt = {.rule = (ep_relax_rule)(seed % EP_N_RELAX_RULES)};
    assert_int_equal(ep_crown_run(f.plan, &opt, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    check_bounds(&f, &r, 60);
    close_net(&f);
  }
}

static void forward_contains_exact_values(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 40; seed++) {
    fixture f;
    ep_rng r;
    ep_rng_seed(&r, seed);
    open_net(&f, seed, &nets[seed % N_NETS], 1, seed % 5 == 0 ? 0 : 0.8);
    ep_trace_itv box;
    assert_int_equal(ep_eval_itv(f.g, 1, f.lo, f.hi, &f.s, &box), EP_OK);
    assert_int_equal(ep_forward_run(f.plan, EP_RELAX_ADAPTIVE, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    check_bounds(&f, &r, 60);
    ep_vid y = f.g->output;
    for (uint32_t i = 0; i < f.g->val[y].n; i++) {
      assert_true(f.b.lo[y][i] >= box.lo[y][i] - 1e-9 * fabs(box.lo[y][i]));
      assert_true(f.b.hi[y][i] <= box.hi[y][i] + 1e-9 * fabs(box.hi[y][i]));
    }
    close_net(&f);
  }
}

static void alpha_contains_exact_values_and_is_tighter(void **state) {
  (void)state;
  double sum_crown = 0, sum_alpha = 0;
  for (uint64_t seed = 0; seed < 24; seed++) {
    fixture f;
    ep_rng r;
    ep_rng_seed(&r, seed);
    open_net(&f, seed, &nets[seed % N_NETS], 1, 0.8);
    ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE};
    ep_ascent_opt aopt = ep_ascent_default();
    assert_int_equal(ep_crown_run(f.plan, &opt, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    ep_vid last = f.plan->z_val[f.plan->n_z - 1];
    double before = 0, after = 0;
    for (uint32_t i = 0; i < f.g->val[last].n; i++) before += f.b.hi[last][i] - f.b.lo[last][i];
    assert_int_equal(ep_alpha_bounds(f.plan, &opt, &aopt, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    for (uint32_t i = 0; i < f.g->val[last].n; i++) after += f.b.hi[last][i] - f.b.lo[last][i];
    assert_true(after <= before);
    sum_crown += before;
    sum_alpha += after;
    check_bounds(&f, &r, 60);
    close_net(&f);
  }
  assert_true(sum_alpha < 0.995 * sum_crown);
}

static void interval_contains_crown(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 16; seed++) {
    fixture f;
    open_net(&f, seed, &nets[seed % N_NETS], 1, 0.5);
    ep_trace_itv box;
    ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE};
    assert_int_equal(ep_eval_itv(f.g, 1, f.lo, f.hi, &f.s, &box), EP_OK);
    assert_int_equal(ep_crown_run(f.plan, &opt, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    for (uint32_t i = 0; i < f.g->val[f.g->output].n; i++) {
      double slack = 1e-9 * (fabs(box.lo[f.g->output][i]) + fabs(box.hi[f.g->output][i]));
      assert_true(box.lo[f.g->output][i] <= f.b.lo[f.g->output][i] + slack);
      assert_true(box.hi[f.g->output][i] >= f.b.hi[f.g->output][i] - slack);
    }
    close_net(&f);
  }
}

/* Slopes for every ReLU of `rows` rows. `wild` ones lie outside [0,1] everywhere, which must do no harm. */
static void random_slopes(fixture *f, ep_rng *r, size_t rows, bool wild, double **alpha) {
  for (uint32_t k = 0; k < f->g->n_node; k++) {
    alpha[k] = NULL;
    if (!f->plan->is_relu[k]) continue;
    size_t n = rows * f->g->val[f->g->node[k].out].n;
    alpha[k] = EP_SCRATCH(&f->s, double, n);
    for (size_t i = 0; i < n; i++)
      alpha[k][i] = wild ? 1.25 : ep_rng_below(r, 20) == 0 ? (double)NAN : 1.6 * ep_rng_uniform(r) - 0.3;
  }
}

static bool satisfies(const fixture *f, const ep_decision *dec, size_t n, size_t row) {
  for (size_t i = 0; i < n; i++) {
    quad z = f->v[f->g->node[dec[i].node].in[0]][dec[i].neuron];
    if (dec[i].row == row && !(dec[i].is_active ? z >= 0 : z <= 0)) return false;
  }
  return true;
}

/* Two rows over the output with random slopes and multipliers, the second with the first one's decisions turned around:
 * each linear bound holds at every exact point that satisfies its own decisions, whatever slopes and multipliers are.
 */
static void decided_rows_hold_where_decisions_hold(void **state) {
  (void)state;
  int n_checked[2] = {0, 0};
  for (uint64_t seed = 0; seed < 80; seed++) {
    fixture f;
    ep_rng r;
    ep_rng_seed(&r, seed + 1000);
    net_opt o = nets[seed % 3];
    open_net(&f, seed, &o, 1, 0.8);
    ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE};
    assert_int_equal(ep_crown_run(f.plan, &opt, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    ep_decision dec[4];
    size_t n_dec = 0, max_dec = seed % 4 == 0 ? 0 : seed % 2 ? 2 : 4;
    for (uint32_t k = 0; k < f.g->n_node && n_dec < max_dec; k++)
      for (uint32_t i = 0; f.plan->is_relu[k] && i < f.g->val[f.g->node[k].out].n && n_dec < max_dec; i++)
        if (f.b.lo[f.g->node[k].in[0]][i] < 0 && f.b.hi[f.g->node[k].in[0]][i] > 0 && ep_rng_below(&r, 2)) {
          bool up = ep_rng_below(&r, 2) != 0;
          dec[n_dec++] = (ep_decision){k, i, 0, up, (float)(3 * ep_rng_uniform(&r))};
          dec[n_dec++] = (ep_decision){k, i, 1, !up, (float)(3 * ep_rng_uniform(&r))};
        }
    if (n_dec == 4 && dec[2].node == dec[0].node) { /* sorted by node, then row */
      ep_decision t = dec[1];
      dec[1] = dec[2];
      dec[2] = t;
    }
    double *alpha[64], coef[2 * MAX_N], lin[2 * MAX_N], cst[2], err[2], low[2];
    uint32_t dom[2] = {0, 0};
    random_slopes(&f, &r, 2, seed % 4 == 0, alpha);
    for (uint32_t i = 0; i < 2 * o.n_y; i++) coef[i] = ep_rng_normal(&r);
    ep_backward_f64 job = {.plan = f.plan,
                           .relax = &f.relax,
                           .from = f.g->output,
                           .rows = 2,
                           .dom = dom,
                           .coef = coef,
                           .alpha = alpha,
                           .decision = dec,
                           .n_decision = n_dec,
                           .lin = lin,
                           .cst = cst,
                           .err = err};
    assert_int_equal(ep_backward_run_f64(&job, &f.s), EP_OK);
    ep_backward_concretize_f64(2, o.n_x, lin, cst, err, dom, f.lo, f.hi, low);
    for (int t = 0; t < 800; t++) {
      double x[MAX_N];
      size_t row = (size_t)(t % 2);
      sample(&f, &r, x);
      net_eval_quad(f.g, x, f.v);
      if (!satisfies(&f, dec, n_dec, row)) continue;
      quad value = 0, bound = (quad)cst[row] - (quad)err[row];
      for (uint32_t i = 0; i < o.n_y; i++) value += (quad)coef[row * o.n_y + i] * f.v[f.g->output][i];
      for (uint32_t i = 0; i < o.n_x; i++) bound += (quad)lin[row * o.n_x + i] * x[i];
      assert_true(value >= bound);
      assert_true(value >= (quad)low[row]);
      n_checked[row]++;
    }
    assert_true(err[0] < 1e-9 * (1 + fabs(cst[0])) && err[1] < 1e-9 * (1 + fabs(cst[1])));
    close_net(&f);
  }
  assert_true(n_checked[0] > 2000 && n_checked[1] > 2000);
}

/* Zero-radius boxes leave nothing but rounding: bounds must still contain the exact value, so a missing error term
 * shows. Weights of very different size make float64 results miss by many ulps. */
static void rounding_is_paid_for(void **state) {
  (void)state;
  int n_inexact = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    fixture f;
    /* Without biases and with one input, only the products of coefficients with weights round, under heavy
     * cancellation; at the origin, only the products with biases do. Either way a single missing term shows. */
    net_opt o = {seed % 4 == 3 ? 6 : 1, 1, 2, 24, "Relu", false, seed % 4 == 3, 1, false, seed % 2 == 0, false};
    o.scale = seed % 3 == 0 ? 1e6 : seed % 3 == 1 ? 1 : 1e-5;
    open_net(&f, seed, &o, seed % 4 == 1 ? 0 : 1, 0);
    ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE};
    assert_int_equal(ep_crown_run(f.plan, &opt, &f.b, &f.relax, &f.arena, &f.s), EP_OK);
    net_eval_quad(f.g, f.lo, f.v);
    double one = 1, lin[MAX_N], cst, err, low, mid = 0;
    for (int sign = -1; sign <= 1; sign += 2) {
      one = sign;
      ep_backward_f64 job = {.plan = f.plan,
                             .relax = &f.relax,
                             .from = f.g->output,
                             .rows = 1,
                             .coef = &one,
                             .lin = lin,
                             .cst = &cst,
                             .err = &err};
      assert_int_equal(ep_backward_run_f64(&job, &f.s), EP_OK);
      ep_backward_concretize_f64(1, o.n_x, lin, &cst, &err, NULL, f.lo, f.hi, &low);
      quad exact = (quad)sign * f.v[f.g->output][0];
      assert_true(exact >= (quad)low);
      mid = cst;
      for (uint32_t i = 0; i < o.n_x; i++) mid += lin[i] * f.lo[i];
      n_inexact += (quad)mid > exact; /* without the error terms this row would claim too much */
    }
    close_net(&f);
  }
  assert_true(n_inexact > 50);
}

/* One affine layer, one input, a row over many outputs: the coefficient at the input is a long sum under cancellation,
 * and nothing but the affine charge pays for its rounding. */
static void affine_rounding_is_paid_for(void **state) {
  (void)state;
  int n_inexact = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    fixture f;
    ep_rng r;
    net_opt o = {1, 48, 0, 1, "Relu", false, false, 1, false, true, false};
    open_net(&f, seed, &o, 1, 0);
    ep_rng_seed(&r, seed);
    double coef[MAX_N], lin, cst, err, low;
    for (uint32_t i = 0; i < o.n_y; i++) coef[i] = ep_rng_normal(&r);
    net_eval_quad(f.g, f.lo, f.v);
    quad exact = 0, rest = 0;
    for (uint32_t i = 0; i + 1 < o.n_y; i++) rest += (quad)coef[i] * f.v[f.g->output][i];
    coef[o.n_y - 1] = (double)(-rest / f.v[f.g->output][o.n_y - 1]); /* nearly all of it cancels */
    for (uint32_t i = 0; i < o.n_y; i++) exact += (quad)coef[i] * f.v[f.g->output][i];
    ep_backward_f64 job = {.plan = f.plan,
                           .relax = &f.relax,
                           .from = f.g->output,
                           .rows = 1,
                           .coef = coef,
                           .lin = &lin,
                           .cst = &cst,
                           .err = &err};
    assert_int_equal(ep_backward_run_f64(&job, &f.s), EP_OK);
    ep_backward_concretize_f64(1, o.n_x, &lin, &cst, &err, NULL, f.lo, f.hi, &low);
    assert_true(exact >= (quad)low);
    n_inexact += (quad)lin * f.lo[0] > exact;
    close_net(&f);
  }
  assert_true(n_inexact > 50);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(crown_contains_exact_values),
      cmocka_unit_test(forward_contains_exact_values),
      cmocka_unit_test(alpha_contains_exact_values_and_is_tighter),
      cmocka_unit_test(interval_contains_crown),
      cmocka_unit_test(decided_rows_hold_where_decisions_hold),
      cmocka_unit_test(rounding_is_paid_for),
      cmocka_unit_test(affine_rounding_is_paid_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
