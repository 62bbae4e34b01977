/* Encoded networks against evaluation: with the input pinned to a point, an exact back end must give the network's own
 * outputs and refute any other; the relaxation of a floating-point one must contain them. Over all piecewise linear
 * operators, wide boxes (most neurons unstable) and narrow ones.
 * Seen to fail when: a piece loses its end, MaxPool forgets a candidate, a hull row takes the other side's intercept,
 * a stable neuron counts as the wrong piece. */
#include "tests/ep_test.h"

#include "encoders/backend.h"
#include "encoders/network.h"
#include "tests/support/netlang.h"

static const char *const nets[] = {
    "x:1,3; a = Gemm x c5,3 c5 transB=1; b = Relu a; c = Gemm b c4,5 c4 transB=1; d = Relu c; y = Gemm d c2,4 c2 "
    "transB=1",
    "x:1,3; a = Gemm x c4,3 c4 transB=1; b = LeakyRelu a alpha=0.125; c = Abs b; y = Gemm c c2,4 c2 transB=1",
    "x:1,3; a = Gemm x c4,3 c4 transB=1; b = LeakyRelu a alpha=-0.5; y = Gemm b c2,4 c2 transB=1",
    "x:1,3; a = Gemm x c4,3 c4 transB=1; b = Clip a p1 p1; y = Gemm b c2,4 c2 transB=1",
    "x:1,3; a = Gemm x c4,3 c4 transB=1; b = Sign a; c = Gemm b c3,4 c3 transB=1; d = Relu c; y = Gemm d c2,3 transB=1",
    "x:1,1,4,4; a = Conv x c2,1,3,3 c2 pads=[1,1,1,1]; b = Relu a; c = MaxPool b kernel_shape=[2,2] strides=[2,2]; "
    "d = Flatten c; y = Gemm d c2,8 c2 transB=1",
    "x:1,1,4,4; a = MaxPool x kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1]; b = Conv a c2,1,2,2 c2; c = Flatten b; "
    "y = "
    "Abs c",
    "x:1,4; a = Gemm x c4,4 c4 transB=1; b = Relu a; c = Add b x; d = Relu c; e = Concat d x axis=1; y = Gemm e c2,8 "
    "c2 "
    "transB=1",
    "x:1,6; a = Slice x i1 i5 i1; b = Neg a; c = Concat a b axis=1; d = Pad c i0,1,0,2; e = Abs d; y = Relu e",
    "x:1,2,3,3; a = Conv x c3,2,2,2 c3; n = BatchNormalization a p3 c3 c3 p3; b = Relu n; d = AveragePool b "
    "kernel_shape=[2,2]; y = Flatten d",
    "x:1,4; a = Add x x; b = Sub a x; c = Relu b; y = Add c x",
};
enum { N_NETS = sizeof nets / sizeof *nets };

typedef struct fixture {
  ep_ctx *ctx;
  ep_graph *g;
  ep_scratch s;
  ep_network *net;
  uint32_t n_x, n_y;
  double lo[64], hi[64];
} fixture;

static void open_net(fixture *f, const char *text, uint64_t seed, double radius) {
  ep_rng r;
  ep_trace_itv t;
  memset(f, 0, sizeof *f);
  ep_rng_seed(&r, seed + 1000);
  f->ctx = ep_ctx_create();
  ep_scratch_init(&f->s, f->ctx);
  assert_int_equal(netlang_make(f->ctx, text, seed, &f->g), EP_OK);
  f->n_x = f->g->val[f->g->input].n;
  f->n_y = f->g->val[f->g->output].n;
  for (uint32_t i = 0; i < f->n_x; i++) {
    double mid = (double)(float)(0.5 * ep_rng_normal(&r));
    f->lo[i] = mid - radius;
    f->hi[i] = mid + radius;
  }
  assert_int_equal(ep_eval_itv(f->g, 1, f->lo, f->hi, &f->s, &t), EP_OK);
  assert_int_equal(ep_network_create(f->ctx, f->g, &t, &(ep_network_opt){.folds_pinned = seed == 1}, &f->s, &f->net),
                   EP_OK);
}

static void close_net(fixture *f) {
  ep_network_destroy(f->net);
  ep_graph_destroy(f->g);
  ep_scratch_clear(&f->s);
  assert_int_equal(ep_ctx_memory_used(f->ctx), 0);
  ep_ctx_destroy(f->ctx);
}

static ep_answer_kind answer_with(const ep_backend *be, ep_solver *s, uint32_t var, double lo, double hi) {
  ep_answer_kind k;
  assert_int_equal(be->push(s), EP_OK);
  assert_int_equal(be->bound(s, var, lo, hi), EP_OK);
  assert_int_equal(be->check(s, NULL, &k), EP_OK);
  be->pop(s);
  return k;
}

/* The outputs at x lie in [ylo,yhi]: what does the back end say? */
static void check_exact(const fixture *f, const ep_backend *be, ep_solver *s, const double *ylo, const double *yhi) {
  ep_answer_kind k;
  assert_int_equal(be->check(s, NULL, &k), EP_OK);
  assert_int_equal(k, EP_ANSWER_SAT);
  double slack = f->net->prob->is_exact ? 0 : 1e-9;
  for (uint32_t i = 0; i < f->n_y; i++) {
    uint32_t v = f->net->term[f->g->output][i];
    double y = v == EP_NO_VAR ? 0 : be->value(s, v), tiny = 1e-13 * (1 + fabs(y)) + slack;
    assert_true(y >= ylo[i] - tiny && y <= yhi[i] + tiny);
  }
  uint32_t v = f->net->term[f->g->output][0];
  if (v == EP_NO_VAR) return;
  double tiny = 1e-12 * (1 + fabs(yhi[0])) + 2 * slack;
  assert_int_equal(answer_with(be, s, v, yhi[0] + tiny, INFINITY), EP_ANSWER_UNSAT);
  assert_int_equal(answer_with(be, s, v, -INFINITY, ylo[0] - tiny), EP_ANSWER_UNSAT);
}

static void check_relaxed(const fixture *f, const ep_backend *be, ep_solver *s, const double *ylo, const double *yhi) {
  ep_answer_kind k;
  for (uint32_t i = 0; i < f->n_y; i++) {
    uint32_t v = f->net->term[f->g->output][i];
    if (v == EP_NO_VAR) continue;
    for (double sign = -1; sign <= 1; sign += 2) {
      assert_int_equal(be->minimise(s, 1, &v, &sign), EP_OK);
      assert_int_equal(be->check(s, NULL, &k), EP_OK);
      assert_int_equal(k, EP_ANSWER_SAT);
      double y = sign > 0 ? yhi[i] : -ylo[i];
      assert_true(be->objective(s) <= y + 1e-6 * (1 + fabs(y)));
    }
  }
}

static void outputs_are_the_networks(void **state) {
  (void)state;
  uint32_t n_disj = 0;
  for (int c = 0; c < N_NETS; c++)
    for (uint64_t seed = 0; seed < 3; seed++) {
      fixture f;
      ep_rng r;
      open_net(&f, nets[c], seed, seed == 2 ? 0.01 : 1);
      ep_rng_seed(&r, seed);
      n_disj += f.net->prob->n_disj;
      for (size_t b = 0; b < ep_n_backends; b++) {
        const ep_backend *be = ep_backends[b];
        ep_solver *s;
        if (!be || !(be->caps & EP_CAP_LINEAR)) continue;
        assert_int_equal(be->create(f.ctx, f.net->prob, &s), EP_OK);
        for (int point = 0; point < 3; point++) {
          double x[64];
          ep_trace_itv t;
          ep_scratch_mark m = ep_scratch_save(&f.s);
          assert_int_equal(be->push(s), EP_OK);
          for (uint32_t i = 0; i < f.n_x; i++) {
            x[i] = point == 0 ? f.lo[i] : f.lo[i] + ep_rng_uniform(&r) * (f.hi[i] - f.lo[i]);
            assert_int_equal(be->bound(s, ep_network_input_var(f.net, i), x[i], x[i]), EP_OK);
          }
          assert_int_equal(ep_eval_itv(f.g, 1, x, x, &f.s, &t), EP_OK);
          const double *ylo = t.lo[f.g->output], *yhi = t.hi[f.g->output];
          if (be->caps & EP_CAP_EXACT)
            check_exact(&f, be, s, ylo, yhi);
          else
            check_relaxed(&f, be, s, ylo, yhi);
          be->pop(s);
          ep_scratch_restore(&f.s, m);
        }
        be->destroy(s);
      }
      close_net(&f);
    }
  assert_true(n_disj > 100);
}

/* Sign at its jump: x = 0 gives 0, neither -1 nor 1. */
static void a_jump_has_a_value_of_its_own(void **state) {
  (void)state;
  const ep_backend *be;
  fixture f;
  open_net(&f, "x:1,1; y = Sign x", 0, 2);
  f.lo[0] = -1, f.hi[0] = 1;
  ep_trace_itv t;
  ep_network_destroy(f.net);
  assert_int_equal(ep_eval_itv(f.g, 1, f.lo, f.hi, &f.s, &t), EP_OK);
  assert_int_equal(ep_network_create(f.ctx, f.g, &t, &(ep_network_opt){0}, &f.s, &f.net), EP_OK);
  if (ep_backend_find(f.ctx, "z3", &be) == EP_OK) {
    ep_solver *s;
    uint32_t y = f.net->term[f.g->output][0], x = ep_network_input_var(f.net, 0);
    assert_int_equal(be->create(f.ctx, f.net->prob, &s), EP_OK);
    assert_int_equal(answer_with(be, s, y, 0.25, 0.75), EP_ANSWER_UNSAT);
    assert_int_equal(answer_with(be, s, y, 0, 0), EP_ANSWER_SAT);
    assert_int_equal(be->push(s), EP_OK);
    assert_int_equal(be->bound(s, x, 0, 0), EP_OK);
    assert_int_equal(answer_with(be, s, y, 0.5, 1), EP_ANSWER_UNSAT);
    assert_int_equal(answer_with(be, s, y, -1, -0.5), EP_ANSWER_UNSAT);
    be->pop(s);
    be->destroy(s);
  }
  close_net(&f);
}

/* A window in which three of four can be the largest: each of them, when it is, decides the output. */
static void a_pool_keeps_whoever_can_win(void **state) {
  (void)state;
  const ep_backend *be;
  fixture f;
  ep_trace_itv t;
  open_net(&f, "x:1,1,2,2; a = MaxPool x kernel_shape=[2,2]; y = Flatten a", 0, 1);
  const double lo[4] = {0, 0.0625, 0.125, 0}, hi[4] = {0.25, 0.25, 0.25, 0.0625};
  memcpy(f.lo, lo, sizeof lo);
  memcpy(f.hi, hi, sizeof hi);
  ep_network_destroy(f.net);
  assert_int_equal(ep_eval_itv(f.g, 1, f.lo, f.hi, &f.s, &t), EP_OK);
  assert_int_equal(ep_network_create(f.ctx, f.g, &t, &(ep_network_opt){0}, &f.s, &f.net), EP_OK);
  assert_int_equal(f.net->prob->disj[0].n, 3);
  if (ep_backend_find(f.ctx, "z3", &be) == EP_OK) {
    ep_solver *s;
    assert_int_equal(be->create(f.ctx, f.net->prob, &s), EP_OK);
    for (uint32_t winner = 0; winner < 3; winner++) {
      double y = hi[winner];
      assert_int_equal(be->push(s), EP_OK);
      for (uint32_t i = 0; i < 4; i++) {
        double x = i == winner ? hi[i] : lo[i];
        assert_int_equal(be->bound(s, ep_network_input_var(f.net, i), x, x), EP_OK);
      }
      check_exact(&f, be, s, &y, &y);
      be->pop(s);
    }
    be->destroy(s);
  }
  close_net(&f);
}

static void what_has_no_encoding_is_refused(void **state) {
  (void)state;
  static const char *const bad[][2] = {{"x:1,3; a = Sigmoid x; y = Neg a", "Sigmoid"},
                                       {"x:1,3; a = Mul x x; y = Neg a", "Mul"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g;
    assert_int_equal(netlang_make(ctx, bad[i][0], 1, &g), EP_OK);
    assert_int_equal(ep_network_check(ctx, g), EP_E_UNSUPPORTED);
    assert_non_null(strstr(ep_ctx_error(ctx).text, bad[i][1]));
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

/* Every allocation fails once: no leak, no crash, the failure is reported. */
static void survives_failing_allocations(void **state) {
  (void)state;
  fixture f;
  open_net(&f, nets[0], 1, 1);
  ep_trace_itv t;
  assert_int_equal(ep_eval_itv(f.g, 1, f.lo, f.hi, &f.s, &t), EP_OK);
  for (uint64_t k = 1; k < 200; k++) {
    ep_network *net = NULL;
    ep_ctx_fail_allocation(f.ctx, k);
    ep_status st = ep_network_create(f.ctx, f.g, &t, &(ep_network_opt){0}, &f.s, &net);
    ep_solver *s = NULL;
    for (size_t b = 0; b < ep_n_backends && st == EP_OK; b++) {
      if (!ep_backends[b] || !(ep_backends[b]->caps & EP_CAP_LINEAR)) continue;
      st = ep_backends[b]->create(f.ctx, net->prob, &s);
      if (st == EP_OK) ep_backends[b]->destroy(s);
    }
    ep_ctx_fail_allocation(f.ctx, 0);
    ep_network_destroy(net);
    ep_ctx_clear_error(f.ctx);
    if (st == EP_OK) break;
    assert_int_equal(st, EP_E_NOMEM);
  }
  close_net(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outputs_are_the_networks),     cmocka_unit_test(a_jump_has_a_value_of_its_own),
      cmocka_unit_test(a_pool_keeps_whoever_can_win), cmocka_unit_test(what_has_no_encoding_is_refused),
      cmocka_unit_test(survives_failing_allocations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
