/* Joint hulls: every cut holds at every vertex of every piece and touches one (exactly); cutting planes alone reach the
 * largest value of a functional over the graph of the ReLUs (exactly, random octahedra of 2 and 3 sources); points of
 * the graph lie inside; over a plain box the hull is the product of the triangles; max(x, y) needs the joint hull.
 * Seen to fail when: the zeros of the ReLUs are left out of the arrangement, region rows are not checked, a cut's
 * right-hand side is rounded down, the normal is not rounded before the right-hand side is found. */
#include "tests/ep_test.h"

#include "encoders/hull.h"
#include "kernels/rng.h"

enum { MAX_SRC = 3, MAX_RELU = 4, MAX_REGION = 18, MAX_DIM = MAX_SRC + MAX_RELU };

typedef struct shape {
  ep_ctx *ctx;
  uint32_t n_src, n_relu, n_row;
  mpq_t *a, *c, *w, *t;
  ep_hull *h;
} shape;

static void shape_init(shape *s, uint32_t n_src, uint32_t n_relu) {
  *s = (shape){.ctx = ep_ctx_create(), .n_src = n_src, .n_relu = n_relu};
  s->a = ep_rational_create(s->ctx, MAX_REGION * MAX_SRC);
  s->c = ep_rational_create(s->ctx, MAX_REGION);
  s->w = ep_rational_create(s->ctx, MAX_RELU * MAX_SRC);
  s->t = ep_rational_create(s->ctx, MAX_RELU);
}

static void row(shape *s, const int *a, long num, unsigned long den) {
  for (uint32_t j = 0; j < s->n_src; j++) mpq_set_si(s->a[s->n_row * s->n_src + j], a[j], 1);
  mpq_set_si(s->c[s->n_row], num, den);
  mpq_canonicalize(s->c[s->n_row++]);
}

static void shape_build(shape *s) {
  assert_int_equal(ep_hull_create(s->ctx, s->n_src, s->n_row, s->a, s->c, s->n_relu, s->w, s->t, &s->h), EP_OK);
}

static void shape_clear(shape *s) {
  ep_hull_destroy(s->h);
  ep_rational_destroy(s->ctx, s->a, MAX_REGION * MAX_SRC);
  ep_rational_destroy(s->ctx, s->c, MAX_REGION);
  ep_rational_destroy(s->ctx, s->w, MAX_RELU * MAX_SRC);
  ep_rational_destroy(s->ctx, s->t, MAX_RELU);
  assert_int_equal(ep_ctx_memory_used(s->ctx), 0);
  ep_ctx_destroy(s->ctx);
}

/* A random octahedron, perhaps flat or empty; the ReLUs read the sources, or random combinations of them. */
static void octahedron(shape *s, uint64_t seed) {
  ep_rng r;
  ep_rng_seed(&r, seed);
  uint32_t n = 1 + (uint32_t)ep_rng_below(&r, MAX_SRC);
  bool is_plain = ep_rng_below(&r, 2);
  shape_init(s, n, is_plain ? n : 1 + (uint32_t)ep_rng_below(&r, MAX_RELU));
  for (uint32_t i = 0; i < n; i++)
    for (int sign = -1; sign <= 1; sign += 2) {
      int a[MAX_SRC] = {0};
      a[i] = sign;
      row(s, a, (long)ep_rng_below(&r, 7), 2);
    }
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = i + 1; j < n; j++)
      for (int q = 0; q < 4; q++) {
        int a[MAX_SRC] = {0};
        a[i] = q & 1 ? -1 : 1;
        a[j] = q & 2 ? -1 : 1;
        row(s, a, (long)ep_rng_below(&r, 12) - 1, 3);
      }
  for (uint32_t k = 0; k < s->n_relu; k++) {
    for (uint32_t j = 0; j < n; j++) mpq_set_si(s->w[k * n + j], is_plain ? j == k : (int)ep_rng_below(&r, 5) - 2, 1);
    mpq_set_si(s->t[k], is_plain ? 0 : (int)ep_rng_below(&r, 5) - 2, 2);
    mpq_canonicalize(s->t[k]);
  }
  shape_build(s);
}

static void dot(mpq_t out, uint32_t n, mpq_t *a, mpq_t *b) {
  mpq_t t;
  mpq_init(t);
  mpq_set_ui(out, 0, 1);
  for (uint32_t j = 0; j < n; j++) ep_rational_add_mul(out, a[j], b[j], t);
  mpq_clear(t);
}

/* The largest of obj over {(s, relu(z(s)))}: one linear program over the sources per sign pattern of the ReLUs. */
static bool largest_by_patterns(const shape *s, mpq_t *obj, mpq_t best) {
  uint32_t n = s->n_src;
  bool has_any = false;
  mpq_t value, c, *x = ep_rational_create(s->ctx, n), *f = ep_rational_create(s->ctx, n);
  mpq_inits(value, c, NULL);
  for (uint32_t pattern = 0; pattern < 1u << s->n_relu; pattern++) {
    ep_exact_lp lp;
    ep_exact_answer answer;
    ep_exact_lp_init(&lp, s->ctx, n);
    for (uint32_t k = 0; k < s->n_row; k++) assert_int_equal(ep_exact_lp_add(&lp, s->a + k * n, s->c[k]), EP_OK);
    for (uint32_t j = 0; j < n; j++) mpq_set(f[j], obj[j]);
    mpq_t cst;
    mpq_init(cst);
    for (uint32_t k = 0; k < s->n_relu; k++) {
      bool is_active = pattern >> k & 1;
      for (uint32_t j = 0; j < n; j++) is_active ? mpq_neg(x[j], s->w[k * n + j]) : mpq_set(x[j], s->w[k * n + j]);
      is_active ? mpq_set(c, s->t[k]) : mpq_neg(c, s->t[k]);
      assert_int_equal(ep_exact_lp_add(&lp, x, c), EP_OK);
      for (uint32_t j = 0; is_active && j < n; j++) ep_rational_add_mul(f[j], obj[n + k], s->w[k * n + j], value);
      if (is_active) ep_rational_add_mul(cst, obj[n + k], s->t[k], value);
    }
    assert_int_equal(ep_exact_lp_maximise(&lp, f, &answer, value, x), EP_OK);
    if (answer == EP_EXACT_OPTIMAL) {
      mpq_add(value, value, cst);
      if (!has_any || mpq_cmp(value, best) > 0) mpq_set(best, value);
      has_any = true;
    }
    mpq_clear(cst);
    ep_exact_lp_clear(&lp);
  }
  mpq_clears(value, c, NULL);
  ep_rational_destroy(s->ctx, x, n);
  ep_rational_destroy(s->ctx, f, n);
  return has_any;
}

/* Cutting planes from a huge box down to the hull. */
static void largest_by_cuts(const shape *s, mpq_t *obj, mpq_t best, int *n_cut) {
  uint32_t dim = s->h->dim;
  ep_exact_lp lp;
  ep_exact_answer answer;
  mpq_t rhs, reach, *at = ep_rational_create(s->ctx, dim), *cut = ep_rational_create(s->ctx, dim);
  mpq_inits(rhs, reach, NULL);
  ep_exact_lp_init(&lp, s->ctx, dim);
  for (uint32_t j = 0; j < 2 * dim; j++) {
    for (uint32_t k = 0; k < dim; k++) mpq_set_si(cut[k], k == j / 2 ? (j % 2 ? 1 : -1) : 0, 1);
    mpq_set_ui(rhs, 1000, 1);
    assert_int_equal(ep_exact_lp_add(&lp, cut, rhs), EP_OK);
  }
  for (bool is_inside = false; !is_inside;) {
    assert_int_equal(ep_exact_lp_maximise(&lp, obj, &answer, best, at), EP_OK);
    assert_int_equal(answer, EP_EXACT_OPTIMAL);
    assert_int_equal(ep_hull_separate(s->h, at, cut, rhs, &is_inside), EP_OK);
    if (is_inside) break;
    dot(reach, dim, cut, at);
    assert_true(mpq_cmp(reach, rhs) > 0); /* it cuts */
    bool touches = false;
    for (uint32_t i = 0; i < s->h->n_point; i++) { /* and is valid and tight */
      dot(reach, dim, cut, s->h->point + (size_t)i * dim);
      assert_true(mpq_cmp(reach, rhs) <= 0);
      touches |= mpq_equal(reach, rhs);
    }
    assert_true(touches);
    assert_int_equal(ep_exact_lp_add(&lp, cut, rhs), EP_OK);
    assert_true(++*n_cut < 100000);
  }
  mpq_clears(rhs, reach, NULL);
  ep_rational_destroy(s->ctx, at, dim);
  ep_rational_destroy(s->ctx, cut, dim);
  ep_exact_lp_clear(&lp);
}

static void cuts_reach_the_true_maximum(void **state) {
  (void)state;
  int n_cut = 0, n_full = 0, n_empty = 0;
  for (uint64_t seed = 0; seed < 120; seed++) {
    shape s;
    ep_rng r;
    octahedron(&s, seed);
    ep_rng_seed(&r, seed + 77);
    mpq_t truth, value, *obj = ep_rational_create(s.ctx, MAX_DIM);
    mpq_inits(truth, value, NULL);
    for (int round = 0; round < 3; round++) {
      for (uint32_t j = 0; j < s.n_src + s.n_relu; j++) mpq_set_si(obj[j], (long)ep_rng_below(&r, 9) - 4, 1);
      bool has_any = largest_by_patterns(&s, obj, truth);
      assert_int_equal(has_any, s.h->n_point > 0);
      n_empty += !has_any;
      if (!has_any) break;
      n_full++;
      ep_hull_max(s.h, obj, value);
      assert_true(mpq_equal(value, truth));
      largest_by_cuts(&s, obj, value, &n_cut);
      assert_true(mpq_equal(value, truth));
    }
    ep_rational_destroy(s.ctx, obj, MAX_DIM);
    mpq_clears(truth, value, NULL);
    shape_clear(&s);
  }
  assert_true(n_full > 250 && n_empty > 3 && n_cut > 1000);
}

/* Cuts as the encoder adds them: doubles whose right-hand side covers the whole graph, exactly. */
static void rounded_cuts_stay_valid(void **state) {
  (void)state;
  int n_cut = 0, n_inside = 0, n_rounded = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    shape s;
    ep_rng r;
    octahedron(&s, seed);
    ep_rng_seed(&r, seed + 3);
    mpq_t *a = ep_rational_create(s.ctx, MAX_DIM), reach;
    mpq_init(reach);
    for (int round = 0; round < 4 && s.h->n_point; round++) {
      double p[MAX_DIM], normal[MAX_DIM], rhs;
      bool is_cut;
      for (uint32_t j = 0; j < s.h->dim; j++)
        p[j] = mpq_get_d(s.h->point[ep_rng_below(&r, s.h->n_point) * s.h->dim + j]) + 0.3 * ep_rng_normal(&r);
      assert_int_equal(ep_hull_cut(s.h, p, 1e-7, normal, &rhs, &is_cut), EP_OK);
      n_inside += !is_cut;
      if (!is_cut) continue;
      n_cut++;
      double most = 0;
      for (uint32_t j = 0; j < s.h->dim; j++) {
        mpq_set_d(a[j], normal[j]);
        most = fmax(most, fabs(normal[j]));
        n_rounded += normal[j] * 1048576 != rint(normal[j] * 1048576);
      }
      assert_true(most == 1);
      ep_hull_max(s.h, a, reach);
      assert_true(ep_rational_compare(rhs, reach) >= 0 && ep_rational_compare(nextafter(rhs, -INFINITY), reach) < 0);
    }
    mpq_clear(reach);
    ep_rational_destroy(s.ctx, a, MAX_DIM);
    shape_clear(&s);
  }
  assert_true(n_cut > 500 && n_inside > 10 && n_rounded > 100);
}

/* Points of the graph are never cut off. */
static void contains_the_graph(void **state) {
  (void)state;
  int n = 0;
  for (uint64_t seed = 0; seed < 100; seed++) {
    shape s;
    ep_rng r;
    octahedron(&s, seed);
    ep_rng_seed(&r, seed + 5);
    mpq_t *p = ep_rational_create(s.ctx, MAX_DIM), *cut = ep_rational_create(s.ctx, MAX_DIM), v;
    mpq_init(v);
    for (int round = 0; round < 20; round++) {
      bool is_inside, is_in_region = true;
      for (uint32_t j = 0; j < s.n_src; j++) {
        mpq_set_si(p[j], (long)ep_rng_below(&r, 73) - 36, 12);
        mpq_canonicalize(p[j]);
      }
      for (uint32_t k = 0; k < s.n_row; k++) {
        dot(v, s.n_src, s.a + k * s.n_src, p);
        is_in_region &= mpq_cmp(v, s.c[k]) <= 0;
      }
      if (!is_in_region) continue;
      n++;
      for (uint32_t k = 0; k < s.n_relu; k++) {
        dot(v, s.n_src, s.w + k * s.n_src, p);
        mpq_add(v, v, s.t[k]);
        mpq_sgn(v) > 0 ? mpq_set(p[s.n_src + k], v) : mpq_set_ui(p[s.n_src + k], 0, 1);
      }
      assert_int_equal(ep_hull_separate(s.h, p, cut, v, &is_inside), EP_OK);
      assert_true(is_inside);
    }
    mpq_clear(v);
    ep_rational_destroy(s.ctx, p, MAX_DIM);
    ep_rational_destroy(s.ctx, cut, MAX_DIM);
    shape_clear(&s);
  }
  assert_true(n > 100);
}

/* b + relu(a), a = x - y, b = y over the unit square of x and y: 1 jointly, 3/2 from the triangle. */
static void knows_the_maximum_of_two(void **state) {
  (void)state;
  for (int is_joint = 0; is_joint < 2; is_joint++) {
    shape s;
    shape_init(&s, 2, 1);
    row(&s, (const int[]){1, 0}, 1, 1);
    row(&s, (const int[]){-1, 0}, 1, 1);
    row(&s, (const int[]){0, 1}, 1, 1);
    row(&s, (const int[]){0, -1}, 0, 1);
    if (is_joint) { /* 0 <= x = a + b <= 1 */
      row(&s, (const int[]){1, 1}, 1, 1);
      row(&s, (const int[]){-1, -1}, 0, 1);
    }
    mpq_set_ui(s.w[0], 1, 1);
    shape_build(&s);
    mpq_t *obj = ep_rational_create(s.ctx, 3), value;
    mpq_init(value);
    mpq_set_ui(obj[1], 1, 1);
    mpq_set_ui(obj[2], 1, 1);
    ep_hull_max(s.h, obj, value);
    assert_int_equal(mpq_cmp_ui(value, is_joint ? 1 : 2, 1), 0); /* without the link, a = b = 1 is allowed */
    mpq_clear(value);
    ep_rational_destroy(s.ctx, obj, 3);
    shape_clear(&s);
  }
}

static void refuses_huge_arrangements(void **state) {
  (void)state;
  shape s;
  shape_init(&s, 3, 4);
  ep_ctx *ctx = s.ctx;
  mpq_t *a = ep_rational_create(ctx, 3 * 200), *c = ep_rational_create(ctx, 200);
  for (int k = 0; k < 200; k++) mpq_set_ui(a[3 * k + k % 3], 1, 1);
  assert_int_equal(ep_hull_create(ctx, 3, 200, a, c, 4, s.w, s.t, &s.h), EP_E_LIMIT);
  assert_null(s.h);
  ep_ctx_clear_error(ctx);
  ep_rational_destroy(ctx, a, 3 * 200);
  ep_rational_destroy(ctx, c, 200);
  shape_clear(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cuts_reach_the_true_maximum), cmocka_unit_test(rounded_cuts_stay_valid),
      cmocka_unit_test(contains_the_graph),          cmocka_unit_test(knows_the_maximum_of_two),
      cmocka_unit_test(refuses_huge_arrangements),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
