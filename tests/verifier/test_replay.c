/* Replay is the only source of `sat`: what lies outside the box, violates only through rounding, or ties where
 * strictness forbids it must be refused. */
#include "tests/ep_test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/nets.h"
#include "verifier/replay.h"
#include "verifier/rowcheck.h"
#include "verifier/witness.h"

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_query *q;
  ep_scratch s;
  double x[4], y[4];
} fixture;

/* y = w0 x0 + w1 x1 + c as a float32 network; unsafe: y <= rhs or y < rhs. */
static void open_net(fixture *f, double w0, double w1, double c, double lo, double hi, double rhs, bool is_strict) {
  f->ctx = ep_ctx_create();
  ep_scratch_init(&f->s, f->ctx);
  ep_builder *b;
  double w[2] = {w0, w1};
  ep_tensor tw = {EP_DT_F32, {2, {1, 2}}, 2, w, NULL}, tc = {EP_DT_F32, {1, {1}}, 1, &c, NULL};
  ep_shape s = {2, {1, 2}};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  ep_attrs attrs = {1, &trans};
  const char *ins[3] = {"x", "w", "c"};
  assert_int_equal(ep_builder_create(f->ctx, 13, &b), EP_OK);
  assert_int_equal(ep_builder_input(b, "x", EP_DT_F32, &s), EP_OK);
  assert_int_equal(ep_builder_constant(b, "w", &tw), EP_OK);
  assert_int_equal(ep_builder_constant(b, "c", &tc), EP_OK);
  assert_int_equal(ep_builder_node(b, "Gemm", "g", 3, ins, "y", &attrs), EP_OK);
  assert_int_equal(ep_builder_finish(b, "y", &f->g), EP_OK);
  ep_builder_destroy(b);
  ep_query_builder *qb;
  double l[2] = {lo, lo}, h[2] = {hi, hi}, one = 1;
  uint32_t var = 0;
  assert_int_equal(ep_query_builder_create(f->ctx, 2, 1, &qb), EP_OK);
  assert_int_equal(ep_query_builder_box(qb, l, h), EP_OK);
  assert_int_equal(ep_query_builder_polytope(qb), EP_OK);
  assert_int_equal(ep_query_builder_row(qb, 1, &var, &one, rhs, is_strict), EP_OK);
  assert_int_equal(ep_query_builder_finish(qb, "t", &f->q), EP_OK);
  ep_query_builder_destroy(qb);
}

static void close_net(fixture *f) {
  ep_query_destroy(f->q);
  ep_graph_destroy(f->g);
  ep_scratch_clear(&f->s);
  ep_ctx_destroy(f->ctx);
}

static bool replays(fixture *f, double x0, double x1, ep_witness *w) {
  double x[2] = {x0, x1};
  bool is_sat;
  *w = (ep_witness){.x = f->x, .y = f->y};
  assert_int_equal(ep_replay(f->g, f->q, 0, x, &f->s, w, &is_sat), EP_OK);
  return is_sat;
}

static void inside_and_outside(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  open_net(&f, 1, 1, 0, 0, 1, 0.5, false);
  assert_true(replays(&f, 0.125, 0.25, &w));
  assert_true(w.is_float32 && w.x[0] == 0.125 && w.y[0] == 0.375);
  assert_false(replays(&f, 0.5, 0.5, &w));
  /* A candidate outside the box is moved into it before anything is decided: -5 becomes 0. */
  assert_true(replays(&f, -5, 0.25, &w));
  assert_true(w.x[0] == 0);
  assert_false(replays(&f, 7, 0, &w));
  assert_true(w.x[0] == 1);
  close_net(&f);
}

static void ties_follow_strictness(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  open_net(&f, 1, 0, 0, 0, 1, 0, false);
  assert_true(ep_row_is_satisfied(&f.q->box[0].poly[0].row[0], ep_itv_point(0)));
  assert_false(ep_row_is_refuted(&f.q->box[0].poly[0].row[0], ep_itv_point(0)));
  close_net(&f);
  open_net(&f, 1, 0, 0, 0, 1, 0, true);
  assert_false(replays(&f, 0, 0, &w)); /* y = 0 is not < 0 */
  assert_true(ep_row_is_refuted(&f.q->box[0].poly[0].row[0], ep_itv_point(0)));
  close_net(&f);
}

/* 1 + 2^-30 - 1: float32 loses the small term and shows y = 0, the real network gives 2^-30 > 0. */
static void violations_by_rounding_alone_are_refused(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  open_net(&f, 0x1p-30, 1, -1, 1, 1, 0x1p-31, false);
  assert_false(replays(&f, 1, 1, &w));
  assert_true(w.y[0] == 0); /* float32 alone would have said yes */
  close_net(&f);
  /* The other way round: the real network violates (-2^-30 < 0), float32 shows 0. */
  open_net(&f, -0x1p-30, 1, -1, 1, 1, 0, true);
  assert_false(replays(&f, 1, 1, &w));
  close_net(&f);
}

static void pinned_inputs_without_a_float_use_the_double(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  open_net(&f, 1, 1, 0, 0.1, 0.1, 0.5, false);
  assert_true(replays(&f, 0.1, 0.1, &w));
  assert_false(w.is_float32);
  assert_true(w.x[0] == 0.1);
  close_net(&f);
}

/* In float32 the pinned input itself is rounded, and rows that read it see the rounded one: y - x = 0 there. */
static void rows_see_the_input_that_was_run(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  double pin[2] = {0.1, 0.1}, coef[2] = {1, -1};
  uint32_t var[2] = {0, 1};
  open_net(&f, 1, 0, 0, 0.1, 0.1, 2, false);
  ep_query_destroy(f.q);
  ep_query_builder *qb;
  assert_int_equal(ep_query_builder_create(f.ctx, 2, 1, &qb), EP_OK);
  assert_int_equal(ep_query_builder_box(qb, pin, pin), EP_OK);
  assert_int_equal(ep_query_builder_polytope(qb), EP_OK);
  assert_int_equal(ep_query_builder_row(qb, 2, var, coef, 1e-12, false), EP_OK);
  assert_int_equal(ep_query_builder_finish(qb, "t", &f.q), EP_OK);
  ep_query_builder_destroy(qb);
  assert_true(replays(&f, 0.1, 0.1, &w));
  assert_true(w.y[0] == (double)0.1f);
  close_net(&f);
}

/* The nearest float may lie outside: its neighbour inside is taken, the double only when the box holds no float. */
static void snapping_stays_inside(void **state) {
  (void)state;
  double lo[4] = {0.1, 0.1, 0.3, -1e300}, hi[4] = {0.3, 0.3, 0.3, 1e300}, got[4];
  double x[4] = {0.3, 0.1, 0.3, 1e299};
  ep_input_box b = {.lo = lo, .hi = hi, .lo_in = lo, .hi_in = hi};
  bool is_float32;
  ep_replay_snap(&b, 4, x, got, &is_float32);
  assert_false(is_float32);
  assert_true(got[0] == (double)nextafterf(0.3f, 0) && got[0] < 0.3 && 0.3f > 0.3);
  assert_true(got[1] == (double)0.1f && got[2] == 0.3 && got[3] == (double)FLT_MAX);
  ep_replay_snap(&b, 2, x, got, &is_float32);
  assert_true(is_float32);
  lo[0] = -0.3;
  x[0] = -0.3;
  x[1] = (double)NAN;
  ep_replay_snap(&b, 2, x, got, &is_float32);
  assert_true(is_float32 && got[0] == -(double)nextafterf(0.3f, 0) && got[1] == (double)0.1f);
}

/* No double lies in such a box for sure: what a search finds there is nobody's counterexample. */
static void proof_only_boxes_are_never_sat(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  double lo[2] = {0.5, 0.5}, hi[2] = {0.5, 0.5}, lo_in[2] = {0.5, nextafter(0.5, 1)}, hi_in[2] = {0.5, 0.5};
  open_net(&f, 1, 1, 0, 0.5, 0.5, 2, false);
  assert_true(replays(&f, 0.5, 0.5, &w));
  ep_query_destroy(f.q);
  ep_query_builder *qb;
  assert_int_equal(ep_query_builder_create(f.ctx, 2, 1, &qb), EP_OK);
  assert_int_equal(ep_query_builder_box4(qb, lo, hi, lo_in, hi_in), EP_OK);
  assert_int_equal(ep_query_builder_polytope(qb), EP_OK); /* no rows: every input of the box would do */
  assert_int_equal(ep_query_builder_finish(qb, "t", &f.q), EP_OK);
  ep_query_builder_destroy(qb);
  assert_false(replays(&f, 0.5, 0.5, &w));
  close_net(&f);
}

static void rows_are_outward(void **state) {
  (void)state;
  ep_rng r;
  ep_rng_seed(&r, 3);
  for (int t = 0; t < 20000; t++) {
    uint32_t var[4] = {0, 1, 2, 3};
    double coef[4], lo[4], hi[4];
    quad exact = 0;
    for (int i = 0; i < 4; i++) {
      coef[i] = ep_rng_normal(&r) * ldexp(1, (int)ep_rng_below(&r, 60) - 30);
      lo[i] = hi[i] = ep_rng_normal(&r) * ldexp(1, (int)ep_rng_below(&r, 60) - 30);
      exact += (quad)coef[i] * lo[i];
    }
    ep_row row = {4, var, coef, 0, {0, 0}, false};
    ep_itv v = ep_row_range(&row, 2, lo, hi, lo + 2, hi + 2);
    assert_true((quad)v.lo <= exact && exact <= (quad)v.hi);
    row.coef_rel_err = 0x1p-20;
    ep_itv wide = ep_row_range(&row, 2, lo, hi, lo + 2, hi + 2);
    assert_true(wide.lo < v.lo && wide.hi > v.hi);
  }
}

static void witness_files_round_trip(void **state) {
  (void)state;
  fixture f;
  ep_witness w;
  double x[3], y[1];
  char path[64] = "test_replay_witness.txt";
  open_net(&f, 1, 1, 0, 0, 1, 0.5, false);
  assert_true(replays(&f, 0.1, 0.2, &w));
  assert_int_equal(ep_witness_write(f.ctx, path, f.q, &w), EP_OK);
  assert_int_equal(ep_witness_read(f.ctx, path, 2, 1, x, y), EP_OK);
  assert_true(x[0] == w.x[0] && x[1] == w.x[1] && y[0] == w.y[0]);
  assert_int_equal(ep_witness_check(f.q, x, y), 0);
  y[0] = 0.75;
  assert_int_equal(ep_witness_check(f.q, x, y), UINT32_MAX);
  y[0] = 0;
  x[0] = nextafter(1, 2);
  assert_int_equal(ep_witness_check(f.q, x, y), UINT32_MAX);
  assert_int_equal(ep_witness_read(f.ctx, path, 3, 1, x, y), EP_E_SYNTAX); /* X_2 is missing */
  assert_int_equal(ep_witness_read(f.ctx, "no_such_file", 2, 1, x, y), EP_E_IO);
  remove(path);
  assert_int_equal(ep_witness_write(f.ctx, "test_replay_witness.npy", f.q, &w), EP_OK);
  FILE *npy = fopen("test_replay_witness.npy", "rb");
  char head[10];
  assert_int_equal(fread(head, 1, 10, npy), 10);
  assert_memory_equal(head, "\x93NUMPY\x01\x00", 8);
  fseek(npy, 0, SEEK_END);
  assert_int_equal(ftell(npy) % 64, 2 * sizeof(float));
  fclose(npy);
  remove("test_replay_witness.npy");
  close_net(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(inside_and_outside),
      cmocka_unit_test(ties_follow_strictness),
      cmocka_unit_test(violations_by_rounding_alone_are_refused),
      cmocka_unit_test(pinned_inputs_without_a_float_use_the_double),
      cmocka_unit_test(rows_see_the_input_that_was_run),
      cmocka_unit_test(snapping_stays_inside),
      cmocka_unit_test(proof_only_boxes_are_never_sat),
      cmocka_unit_test(rows_are_outward),
      cmocka_unit_test(witness_files_round_trip),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
