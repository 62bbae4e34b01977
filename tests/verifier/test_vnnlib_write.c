/* A query written as VNN-LIB and read again has the same outward box and the same rows, to the last bit; the checker's
 * hash is that of the text. Seen to fail when: the strictness is lost, the two variables of a row change places,
 * numbers are written with 17 digits. */
#include "tests/ep_test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verifier/robust.h"
#include "verifier/vnnlib.h"
#include "verifier/vnnlib_write.h"

static ep_query *again(ep_ctx *ctx, const ep_query *q) {
  char path[] = "/tmp/ep_write_XXXXXX";
  ep_bytes text = {.ctx = ctx};
  ep_query *out = NULL;
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(ep_vnnlib_write(q, &text), EP_OK);
  assert_int_equal(write(fd, text.data, text.n), (ssize_t)text.n);
  close(fd);
  assert_int_equal(ep_vnnlib_read(ctx, path, &out), EP_OK);
  unlink(path);
  ep_bytes_clear(&text);
  return out;
}

static void assert_same(const ep_query *a, const ep_query *b) {
  assert_int_equal(b->n_x, a->n_x);
  assert_int_equal(b->n_y, a->n_y);
  assert_int_equal(b->n_box, 1);
  assert_memory_equal(a->box[0].lo, b->box[0].lo, a->n_x * sizeof(double));
  assert_memory_equal(a->box[0].hi, b->box[0].hi, a->n_x * sizeof(double));
  assert_int_equal(b->box[0].n_poly, a->box[0].n_poly);
  for (uint32_t p = 0; p < a->box[0].n_poly; p++) {
    assert_int_equal(b->box[0].poly[p].n_row, a->box[0].poly[p].n_row);
    for (uint32_t k = 0; k < a->box[0].poly[p].n_row; k++) {
      const ep_row *x = &a->box[0].poly[p].row[k], *y = &b->box[0].poly[p].row[k];
      assert_int_equal(y->n, x->n);
      assert_int_equal(y->is_strict, x->is_strict);
      assert_true(y->rhs.lo == x->rhs.lo && y->rhs.hi == x->rhs.hi);
      for (uint32_t i = 0; i < x->n; i++) {
        uint32_t at = 0; /* a reader may sort a row's variables */
        while (at < y->n && y->var[at] != x->var[i]) at++;
        assert_true(at < y->n && y->coef[at] == x->coef[i]);
      }
    }
  }
}

static void robust_queries_come_back(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  const double x[4] = {1, 77, 254, 0}, mean[2] = {0.1307, -3}, std[2] = {0.3081, -0.7};
  for (int k = 0; k < 20; k++) {
    ep_query *q, *r;
    ep_robust o = {.n = 4, .x = x, .n_y = 5, .label = 2, .target = k % 4 == 3 ? 1 : -1};
    o.epsilon = 0.001 * (k * k + 1) / 7;
    o.scale = 255;
    o.clip_lo = k % 2 ? 0 : -INFINITY;
    o.clip_hi = k % 2 ? 1 : INFINITY;
    o.n_channel = k % 3 ? 2 : 1;
    o.mean = mean;
    o.std = std;
    assert_int_equal(ep_robust_query(ctx, &o, "a ball", &q), EP_OK);
    r = again(ctx, q);
    assert_same(q, r);
    ep_query_destroy(r);
    ep_query_destroy(q);
  }
  ep_ctx_destroy(ctx);
}

static void rows_come_back_or_are_refused(void **state) {
  (void)state;
  ep_ctx *ctx = ep_ctx_create();
  const double lo[2] = {-1e-310, 0x1.fffffep127}, hi[2] = {0.1, 1e39}, plus[2] = {1, -1}, minus = -1,
               half[2] = {0.5, 1};
  const uint32_t var[2] = {0, 1};
  ep_query_builder *b;
  ep_query *q, *r;
  ep_bytes text = {.ctx = ctx};
  for (int kind = 0; kind < 2; kind++) {
    assert_int_equal(ep_query_builder_create(ctx, 2, 2, &b), EP_OK);
    assert_int_equal(ep_query_builder_box(b, lo, hi), EP_OK);
    assert_int_equal(ep_query_builder_polytope(b), EP_OK);
    assert_int_equal(ep_query_builder_row(b, 2, var, plus, 0, true), EP_OK);
    assert_int_equal(ep_query_builder_row(b, 1, var, &minus, -0x1.23456789abcdep-40, false), EP_OK);
    if (kind) assert_int_equal(ep_query_builder_row(b, 2, var, half, 0, false), EP_OK);
    assert_int_equal(ep_query_builder_finish(b, "rows", &q), EP_OK);
    ep_query_builder_destroy(b);
    if (kind) {
      assert_int_equal(ep_vnnlib_write(q, &text), EP_E_UNSUPPORTED);
    } else {
      r = again(ctx, q);
      assert_same(q, r);
      ep_query_destroy(r);
    }
    ep_query_destroy(q);
  }
  ep_bytes_clear(&text);
  ep_ctx_destroy(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(robust_queries_come_back),
                                     cmocka_unit_test(rows_come_back_or_are_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
