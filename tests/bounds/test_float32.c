/* Float32 semantics: runs with sums in random order, fused or not, lie in the intervals and CROWN bounds of a float32
 * graph and above its certified rows; the bounds of the real function do not hold for them. Seen to fail when: the
 * float32 error is dropped from interval propagation, from the rows, or counts one rounding in ten. */
#include "tests/ep_test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bounds/crown.h"
#include "kernels/rng.h"
#include "models/float32.h"
#include "models/onnx.h"

enum { MAX_N = 512 };

typedef struct fixture {
  ep_ctx *ctx;
  ep_scratch s;
  ep_arena arena;
  ep_graph *g;
  ep_plan *plan;
  ep_trace_itv b;
  ep_relax_f64 relax;
} fixture;

static void open_net(fixture *f, const char *name, bool is_float32, uint64_t seed, double radius) {
  char path[512];
  ep_rng r;
  ep_rng_seed(&r, seed);
  f->ctx = ep_ctx_create();
  ep_scratch_init(&f->s, f->ctx);
  ep_arena_init(&f->arena, f->ctx);
  snprintf(path, sizeof path, "%s/examples/onnx/%s.onnx", EP_SOURCE_DIR, name);
  assert_int_equal((is_float32 ? ep_onnx_read_float32 : ep_onnx_read)(f->ctx, path, &f->g), EP_OK);
  assert_true(f->g->is_float32 == is_float32);
  double lo[MAX_N], hi[MAX_N];
  uint32_t n = f->g->val[f->g->input].n;
  for (uint32_t i = 0; i < n; i++) {
    double c = ep_rng_normal(&r);
    lo[i] = (double)(float)(c - radius * ep_rng_uniform(&r));
    hi[i] = (double)(float)(c + radius * ep_rng_uniform(&r));
  }
  assert_int_equal(ep_plan_create(f->ctx, f->g, lo, hi, &f->s, &f->plan), EP_OK);
  assert_int_equal(ep_crown_table(f->plan, 1, &f->s, &f->b), EP_OK);
  assert_int_equal(ep_relax_init_f64(f->plan, 1, &f->s, &f->relax), EP_OK);
  memcpy(f->b.lo[f->g->input], lo, n * sizeof *lo);
  memcpy(f->b.hi[f->g->input], hi, n * sizeof *hi);
  ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE};
  assert_int_equal(ep_crown_run(f->plan, &opt, &f->b, &f->relax, &f->arena, &f->s), EP_OK);
}

static void close_net(fixture *f) {
  ep_plan_destroy(f->plan);
  ep_graph_destroy(f->g);
  ep_arena_clear(&f->arena);
  ep_scratch_clear(&f->s);
  ep_ctx_destroy(f->ctx);
}

/* Output i of an affine node: terms and bias in random order. */
static float run_sum(const ep_node *nd, uint32_t i, float *const *x, ep_rng *r) {
  static float term[4 * MAX_N][2];
  static double row[MAX_N];
  const ep_affine *a = &nd->low.is.affine;
  size_t n = 0;
  for (uint32_t j = 0; j < a->n_terms; j++) {
    assert_true(a->A[j].n_in <= MAX_N);
    ep_linop_rows_f64(&a->A[j], 1, &i, row, false);
    for (uint32_t k = 0; k < a->A[j].n_in; k++) {
      if (row[k] == 0) continue;
      term[n][0] = (float)row[k];
      term[n++][1] = x[nd->in[j]][k];
    }
  }
  if (a->bias) {
    term[n][0] = a->bias32[i];
    term[n++][1] = 1;
  }
  float sum = 0;
  for (size_t k = n, first = 1; k-- > 0; first = 0) {
    size_t at = ep_rng_below(r, k + 1);
    float p = term[at][0], q = term[at][1];
    memcpy(term[at], term[k], sizeof *term);
    sum = first ? p * q : ep_rng_below(r, 2) ? sum + p * q : fmaf(p, q, sum);
  }
  return sum;
}

static void run(const fixture *f, ep_rng *r, float **x) {
  const ep_graph *g = f->g;
  for (uint32_t i = 0; i < g->val[g->input].n; i++) {
    double lo = f->b.lo[g->input][i], hi = f->b.hi[g->input][i];
    x[g->input][i] = (float)(ep_rng_below(r, 2) ? lo : hi);
  }
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    for (uint32_t i = 0; i < g->val[nd->out].n; i++) {
      float z = nd->low.cls == EP_AFFINE ? run_sum(nd, i, x, r) : x[nd->in[0]][i];
      x[nd->out][i] = nd->low.cls == EP_AFFINE || z > 0 ? z : 0;
    }
  }
}

/* A random row over the output is bounded from below. */
static void check_row(fixture *f, ep_rng *r, float *const *x) {
  const ep_graph *g = f->g;
  uint32_t n_y = g->val[g->output].n, n_x = g->val[g->input].n;
  double coef[MAX_N], lin[MAX_N], cst, err, low, value = 0;
  for (uint32_t i = 0; i < n_y; i++) {
    coef[i] = ep_rng_normal(r);
    value += coef[i] * (double)x[g->output][i];
  }
  ep_backward_f64 b = {.plan = f->plan,
                       .relax = &f->relax,
                       .from = g->output,
                       .rows = 1,
                       .coef = coef,
                       .lin = lin,
                       .cst = &cst,
                       .err = &err};
  assert_int_equal(ep_backward_run_f64(&b, &f->s), EP_OK);
  ep_backward_concretize_f64(1, n_x, lin, &cst, &err, NULL, f->b.lo[g->input], f->b.hi[g->input], &low);
  assert_true(low > -INFINITY && low <= value + 1e-12 * fabs(value));
}

static void test_runs(void **unused) {
  (void)unused;
  static const char *const nets[] = {"edges", "residual", "saw", "xor", "centres"};
  size_t n_beyond = 0;
  for (size_t i = 0; i < 5; i++)
    for (uint64_t seed = 0; seed < 30; seed++) {
      fixture f, real;
      ep_rng r;
      ep_rng_seed(&r, 100 * i + seed);
      open_net(&f, nets[i], true, seed, 1e-7);
      open_net(&real, nets[i], false, seed, 1e-7);
      float **x = EP_ARENA(&f.arena, float *, f.g->n_val);
      for (uint32_t v = 0; v < f.g->n_val; v++) x[v] = EP_ARENA(&f.arena, float, f.g->val[v].n + 1u);
      for (int k = 0; k < 10; k++) {
        run(&f, &r, x);
        for (uint32_t v = 0; v < f.g->n_val; v++)
          for (uint32_t j = 0; j < f.g->val[v].n; j++)
            assert_true((double)x[v][j] >= f.b.lo[v][j] && (double)x[v][j] <= f.b.hi[v][j]);
        check_row(&f, &r, x);
        for (uint32_t j = 0; j < f.g->val[f.g->output].n; j++) {
          double y = (double)x[f.g->output][j];
          n_beyond += y < real.b.lo[real.g->output][j] || y > real.b.hi[real.g->output][j];
        }
      }
      close_net(&f);
      close_net(&real);
    }
  assert_true(n_beyond > 0); /* or float32 semantics would be for nothing */
}

/* u = 2^-24; nothing is claimed where a sum may overflow. */
static void test_error(void **unused) {
  (void)unused;
  double g1 = ep_float32_gamma(1), g100 = ep_float32_gamma(100);
  assert_true(g1 >= 0x1p-24 && g1 < 0x1.001p-24 && g100 >= 100 * 0x1p-24 && g100 < 101 * 0x1p-24);
  assert_true(ep_float32_gamma(1u << 24) == INFINITY);
  assert_true(ep_float32_error(0, 5) == 0);
  assert_true(ep_float32_error(1, 3) >= 3 * 0x1p-24 && ep_float32_error(1, 3) < 3.01 * 0x1p-24);
  assert_true(ep_float32_error(1, 0) >= 0x1p-150 && ep_float32_error(1, 0) <= 0x1p-149);
  assert_true(ep_float32_error(10, 3.5e38) == INFINITY && ep_float32_error(10, 3e38) < INFINITY);
  assert_true(ep_float32_error(10, NAN) == INFINITY && ep_float32_error(10, INFINITY) == INFINITY);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_error)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
