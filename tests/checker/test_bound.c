/* The checker's sums: rows with random slopes, phases and multipliers are lower bounds at sampled points (long double
 * against double), fast and exact modes agree to rounding, tables contain sampled values, float32 semantics contain
 * float32 runs in random order. Seen to fail when: the multiplier changes sign, a price forgets one of
 * its three corners, the intercept is halved, the upper
 * line's slope is used below, the box corner is the wrong one, the float32 error is left out. */
#include "tests/ep_test.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"

static uint64_t state = 1;

static double draw(void) { /* in [0,1) */
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) * 0x1p-53;
}

typedef struct fixture {
  ck c;
  const ck_net *net;
  ck_state *s;
} fixture;

static const char *const nets[] = {"edges", "residual", "saw", "xor", "centres"};
enum { N_NETS = sizeof nets / sizeof *nets, N_POINTS = 200, N_ROWS = 60 };

static void open_net(fixture *f, size_t i, double radius) {
  char path[512];
  size_t n;
  memset(f, 0, sizeof *f);
  f->c.limit = (size_t)1 << 30;
  if (setjmp(f->c.env)) fail_msg("%s", f->c.why);
  snprintf(path, sizeof path, "%s/examples/onnx/%s.onnx", EP_SOURCE_DIR, nets[i]);
  const uint8_t *data = ck_read_file(&f->c, path, (size_t)1 << 30, &n);
  f->net = ck_read_net(&f->c, data, n);
  f->s = ck_state_new(&f->c, f->net);
  ck_table *t = f->s->t = ck_table_new(&f->c, f->net);
  for (uint32_t v = 0; v < f->net->n_val; v++)
    for (uint32_t k = 0; k < f->net->size[v]; k++) {
      double mid = draw();
      t->lo[v][k] = v == f->net->input ? (double)(float)(mid - radius * draw()) : -INFINITY;
      t->hi[v][k] = v == f->net->input ? (double)(float)(mid + radius * draw()) : INFINITY;
    }
}

/* Values of the network at a random point of the box. */
static void run_exactly(const fixture *f, long double **x) {
  const ck_net *net = f->net;
  for (uint32_t j = 0; j < net->size[net->input]; j++) {
    double t = draw(), lo = f->s->t->lo[net->input][j], hi = f->s->t->hi[net->input][j];
    x[net->input][j] = t < 0.2 ? lo : t > 0.8 ? hi : lo + (t - 0.2) / 0.6 * (hi - lo);
  }
  for (uint32_t k = 0; k < net->n_node; k++) {
    const ck_node *nd = &net->node[k];
    for (uint32_t i = 0; i < net->size[nd->out]; i++) {
      long double sum = nd->bias ? (long double)nd->bias[i] : 0, z = x[nd->in[0]][nd->is_relu ? i : 0];
      for (uint32_t j = 0; j < nd->n_in && !nd->is_relu; j++)
        for (uint32_t g = nd->map[j].first[i]; g < nd->map[j].first[i + 1]; g++)
          for (uint32_t e = 0; e < nd->map[j].seg[g].len; e++)
            sum += nd->map[j].seg[g].w[e] * x[nd->in[j]][nd->map[j].seg[g].col + e];
      x[nd->out][i] = nd->is_relu ? (z > 0 ? z : 0) : sum;
    }
  }
}

static long double **values(fixture *f) {
  long double **x = CK_NEW(&f->c, long double *, f->net->n_val);
  for (uint32_t v = 0; v < f->net->n_val; v++) x[v] = CK_NEW(&f->c, long double, f->net->size[v]);
  return x;
}

/* Does the point fit the phases? */
static bool fits(const fixture *f, long double *const *x) {
  for (uint32_t l = 0; l < f->net->n_layer; l++) {
    const ck_node *nd = &f->net->node[f->net->relu[l]];
    for (uint32_t i = 0; i < f->net->size[nd->out]; i++) {
      int phase = f->s->phase[f->net->flat[l] + i];
      if ((phase == 1 && x[nd->in[0]][i] < 0) || (phase == 2 && x[nd->in[0]][i] > 0)) return false;
    }
  }
  return true;
}

/* Phases that fit the point for a few neurons, any slopes and multipliers; in some rows prices instead. */
static void choose(fixture *f, long double *const *x) {
  double has_price = draw() < 0.3 ? 0.4 : 0;
  for (uint32_t l = 0; l < f->net->n_layer; l++) {
    const ck_node *nd = &f->net->node[f->net->relu[l]];
    for (uint32_t i = 0; i < f->net->size[nd->out]; i++) {
      uint32_t at = f->net->flat[l] + i;
      f->s->slope[at] = draw() < 0.3 ? -1 : draw();
      f->s->phase[at] = draw() < 0.8 ? 0 : x[nd->in[0]][i] >= 0 ? 1 : 2;
      f->s->beta[at] = draw() < 0.5 ? 0 : 3 * draw();
      f->s->price[at] = draw() < has_price ? draw() - 0.5 : NAN;
    }
  }
}

static double bound(fixture *f, const double *row, bool is_exact) {
  const ck_net *net = f->net;
  ck_row_start(f->s);
  memcpy(ck_touch(f->s, net->output), row, net->size[net->output] * sizeof *row);
  f->s->is_exact = is_exact;
  double b = ck_row_bound(f->s, 0);
  f->s->is_exact = false;
  return b;
}

static void test_rows(void **unused) {
  (void)unused;
  size_t n_fit = 0, n_tight = 0;
  for (size_t i = 0; i < N_NETS; i++) {
    fixture f;
    open_net(&f, i, 0.4);
    long double **x = values(&f);
    ck_propagate(f.s, f.net->output);
    uint32_t n_y = f.net->size[f.net->output];
    double *row = CK_NEW(&f.c, double, n_y);
    for (int r = 0; r < N_ROWS; r++) {
      for (uint32_t j = 0; j < n_y; j++) row[j] = 2 * draw() - 1;
      run_exactly(&f, x);
      choose(&f, x);
      double b = bound(&f, row, false), e = bound(&f, row, true), mass = 1 + fabs(b);
      assert_true(b > -INFINITY && b <= e && e - b < 1e-9 * mass);
      for (int p = 0; p < N_POINTS; p++) {
        long double y = 0;
        if (p) run_exactly(&f, x);
        if (!fits(&f, x)) continue;
        for (uint32_t j = 0; j < n_y; j++) y += row[j] * x[f.net->output][j];
        assert_true(y >= e);
        n_fit++;
        n_tight += y < e + 1;
      }
    }
    ck_clear(&f.c);
  }
  assert_true(n_fit > 5000 && n_tight > 1000);
}

/* The least of relu(z) - p z, 0 < p < 1, is at z = 0: nothing but the price's constant is in such a row. */
static void test_prices(void **unused) {
  (void)unused;
  size_t n = 0;
  for (size_t i = 0; i < N_NETS; i++) {
    fixture f;
    open_net(&f, i, 0.4);
    ck_propagate(f.s, f.net->output);
    for (uint32_t l = 0; l < f.net->n_layer; l++) {
      const ck_node *nd = &f.net->node[f.net->relu[l]];
      for (uint32_t k = 0; k < f.net->size[nd->out]; k++) {
        double lo = f.s->t->lo[nd->in[0]][k], hi = f.s->t->hi[nd->in[0]][k], p = 0.1 + 0.8 * draw();
        uint32_t at = f.net->flat[l] + k;
        if (!(lo < 0 && hi > 0)) continue;
        for (int8_t phase = 0; phase < 3; phase++)
          for (int is_exact = 0; is_exact < 2; is_exact++) {
            f.s->phase[at] = phase;
            f.s->price[at] = phase ? (phase == 1 ? 2 : -1) : p;
            ck_row_start(f.s);
            ck_touch(f.s, nd->out)[k] = 1;
            ck_touch(f.s, nd->in[0])[k] = -f.s->price[at];
            f.s->is_exact = is_exact;
            double b = ck_row_bound(f.s, 0), least = phase == 1 ? -hi : phase == 2 ? lo : 0;
            assert_true(b <= least && b > least - 1e-9 * (1 + hi - lo));
          }
        f.s->phase[at] = 0;
        f.s->price[at] = NAN;
        n++;
      }
    }
    ck_clear(&f.c);
  }
  assert_true(n > 20);
}

/* Both sides of neurons, and the table after tightening, hold at points. */
static void test_tables(void **unused) {
  (void)unused;
  for (size_t i = 0; i < N_NETS; i++) {
    fixture f;
    open_net(&f, i, 0.5);
    long double **x = values(&f);
    for (uint32_t l = 0; l < f.net->n_layer; l++) {
      uint32_t v = f.net->node[f.net->relu[l]].in[0];
      for (uint32_t k = 0; k < f.net->size[v]; k++) {
        double lo = ck_neuron_bound(f.s, v, k, false), hi = ck_neuron_bound(f.s, v, k, true);
        assert_true(lo <= hi);
        ck_tighten(f.s, v, k, false, lo);
        ck_tighten(f.s, v, k, true, hi);
      }
    }
    ck_propagate(f.s, f.net->output);
    for (int p = 0; p < 20 * N_POINTS; p++) {
      run_exactly(&f, x);
      for (uint32_t v = 0; v < f.net->n_val; v++)
        for (uint32_t k = 0; k < f.net->size[v]; k++)
          assert_true(x[v][k] >= f.s->t->lo[v][k] && x[v][k] <= f.s->t->hi[v][k]);
    }
    ck_clear(&f.c);
  }
}

/* One float32 run of an affine output: terms in random order, products rounded or fused, the bias anywhere. */
static float run_sum(const ck_node *nd, uint32_t i, float *const *x) {
  float term[512][2], sum = 0;
  size_t n = 0;
  for (uint32_t j = 0; j < nd->n_in; j++)
    for (uint32_t g = nd->map[j].first[i]; g < nd->map[j].first[i + 1]; g++)
      for (uint32_t e = 0; e < nd->map[j].seg[g].len; e++) {
        term[n][0] = (float)nd->map[j].seg[g].w[e];
        term[n++][1] = x[nd->in[j]][nd->map[j].seg[g].col + e];
      }
  if (nd->bias) {
    term[n][0] = (float)nd->bias[i];
    term[n++][1] = 1;
  }
  assert_true(n && n <= 512);
  for (size_t k = n; k-- > 0;) {
    size_t at = (size_t)(draw() * (double)(k + 1));
    float a = term[at][0], b = term[at][1];
    memcpy(term[at], term[k], sizeof *term);
    sum = k + 1 == n ? a * b : draw() < 0.5 ? sum + a * b : fmaf(a, b, sum);
  }
  return sum;
}

static void test_float32_runs(void **unused) {
  (void)unused;
  size_t n_outside_real = 0;
  for (size_t i = 0; i < N_NETS; i++)
    for (int round = 0; round < 40; round++) {
      fixture f, real;
      uint64_t seed = state;
      open_net(&f, i, 1e-7);
      state = seed;
      open_net(&real, i, 1e-7);
      f.s->is_f32 = true;
      const ck_net *net = f.net;
      ck_propagate(f.s, net->output);
      ck_propagate(real.s, net->output);
      float **x = CK_NEW(&f.c, float *, net->n_val);
      for (uint32_t v = 0; v < net->n_val; v++) x[v] = CK_NEW(&f.c, float, net->size[v]);
      for (uint32_t j = 0; j < net->size[net->input]; j++) x[net->input][j] = (float)f.s->t->lo[net->input][j];
      for (uint32_t k = 0; k < net->n_node; k++) {
        const ck_node *nd = &net->node[k];
        for (uint32_t j = 0; j < net->size[nd->out]; j++) {
          float z = x[nd->in[0]][nd->is_relu ? j : 0];
          x[nd->out][j] = nd->is_relu ? (z > 0 ? z : 0) : run_sum(nd, j, x);
          double y = (double)x[nd->out][j];
          assert_true(y >= f.s->t->lo[nd->out][j] && y <= f.s->t->hi[nd->out][j]);
          n_outside_real += y < real.s->t->lo[nd->out][j] || y > real.s->t->hi[nd->out][j];
        }
      }
      ck_clear(&f.c);
      ck_clear(&real.c);
    }
  assert_true(n_outside_real > 0); /* or the test would prove nothing */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_prices),
                                     cmocka_unit_test(test_tables), cmocka_unit_test(test_float32_runs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
