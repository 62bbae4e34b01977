/* Training steps: gradients against finite differences for every method and kind of layer, the same bits for any number
 * of threads, accuracies against plain evaluation. */
#include "models/train/batch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/eval.h"
#include "tests/ep_test.h"

enum { BATCH = 64, SIDE = 8, N_CLASS = 4 };

typedef struct fixture {
  ep_ctx *ctx;
  ep_pool *pool;
  ep_net *net;
  ep_batch *batch;
  float data[BATCH][2 * SIDE * SIDE];
  const float *x[BATCH];
  uint32_t label[BATCH];
} fixture;

static ep_status arch_plain(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_conv(net, &at, 5, 3, 2, 1));
  EP_TRY(ep_net_relu(net, &at));
  net->layer[net->n_layer - 1].slope = 0.1f;
  EP_TRY(ep_net_conv(net, &at, 6, 3, 1, 0));
  EP_TRY(ep_net_relu(net, &at));
  EP_TRY(ep_net_dense(net, &at, 37));
  EP_TRY(ep_net_relu(net, &at));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_residual(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_conv(net, &at, 4, 3, 1, 1));
  EP_TRY(ep_net_relu(net, &at));
  ep_net_image skip = at;
  EP_TRY(ep_net_conv(net, &at, 4, 3, 1, 1));
  EP_TRY(ep_net_add(net, &at, &skip));
  EP_TRY(ep_net_relu(net, &at));
  EP_TRY(ep_net_avg_pool(net, &at, 2));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_windows(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_conv(net, &at, 6, 3, 1, 1));
  EP_TRY(ep_net_max_pool(net, &at, 3, 2)); /* windows overlap */
  EP_TRY(ep_net_relu(net, &at));
  EP_TRY(ep_net_conv_groups(net, &at, 9, 2, 1, 1, 3));
  EP_TRY(ep_net_relu(net, &at));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_norm(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_conv(net, &at, 5, 3, 1, 1));
  EP_TRY(ep_net_batch_norm(net, &at));
  EP_TRY(ep_net_relu(net, &at));
  EP_TRY(ep_net_dense(net, &at, 20));
  EP_TRY(ep_net_batch_norm(net, &at));
  EP_TRY(ep_net_relu(net, &at));
  return ep_net_dense(net, &at, n_class);
}

static void open_fixture(fixture *f, ep_status (*make)(ep_net *, uint32_t), unsigned threads) {
  const ep_arch arch = {"test", "", make};
  ep_rng rng;
  *f = (fixture){.ctx = ep_ctx_create()};
  ep_rng_seed(&rng, 5);
  assert_int_equal(ep_pool_create(f->ctx, threads, &f->pool), EP_OK);
  assert_int_equal(ep_net_create(f->ctx, &arch, 2, SIDE, SIDE, N_CLASS, &f->net), EP_OK);
  ep_net_init(f->net, EP_INIT_KAIMING, &rng);
  for (size_t i = 0; i < f->net->n_param; i++) f->net->param[i] += 0.02f * (float)ep_rng_normal(&rng);
  for (size_t i = 0; i < BATCH; i++) {
    f->x[i] = f->data[i];
    f->label[i] = (uint32_t)ep_rng_below(&rng, N_CLASS);
    for (size_t k = 0; k < 2 * SIDE * SIDE; k++) f->data[i][k] = (float)ep_rng_uniform(&rng);
  }
  assert_int_equal(ep_batch_create(f->net, BATCH, f->pool, &f->batch), EP_OK);
}

static void close_fixture(fixture *f) {
  ep_batch_destroy(f->batch);
  ep_net_destroy(f->net);
  ep_pool_destroy(f->pool);
  ep_ctx_destroy(f->ctx);
}

static ep_batch_opt settings(const char *method) {
  return (ep_batch_opt){.method = ep_method_find(method),
                        .loss = ep_loss_find("cross-entropy"),
                        .epsilon = 0.02,
                        .share = !strcmp(method, "sabr") ? 1 : 0.3,
                        .crown = 0.6,
                        .box_ratio = 0.4,
                        .clip_hi = 1,
                        .attack_steps = 2,
                        .attack_rate = 0, /* only the random start, which does not move with the weights */
                        .seed = 3};
}

static double loss_of(fixture *f, const ep_batch_opt *o) {
  ep_batch_sums s = {0};
  assert_int_equal(ep_batch_update(f->batch), EP_OK);
  assert_int_equal(ep_batch_run(f->batch, o, BATCH, f->x, f->label, &s), EP_OK);
  return s.loss / BATCH;
}

/* Each layer's weights, then its biases, moved along their own gradient: the slope of the loss is the gradient's norm.
 */
static void check_gradient(fixture *f, const ep_batch_opt *o, uint32_t first_layer, const char *what) {
  size_t n = f->net->n_param;
  float *g = ep_alloc(f->ctx, n * sizeof *g), *kept = ep_alloc(f->ctx, n * sizeof *kept);
  loss_of(f, o);
  memcpy(g, ep_batch_gradient(f->batch), n * sizeof *g);
  memcpy(kept, f->net->param, n * sizeof *kept);
  for (uint32_t i = first_layer; i < f->net->n_layer; i++)
    for (int part = 0; part < 2; part++) {
      const ep_layer *l = &f->net->layer[i];
      size_t from = part ? l->b : l->w, to = part ? l->b + l->n_b : l->w + l->n_w;
      double norm = 0, h = 5e-4, at[2];
      for (size_t k = from; k < to; k++) norm += (double)g[k] * (double)g[k];
      norm = sqrt(norm);
      if (norm < 1e-3) continue; /* biases before BatchNormalization */
      for (int side = 0; side < 2; side++) {
        for (size_t k = from; k < to; k++)
          f->net->param[k] = (float)((double)kept[k] + (side ? -h : h) * (double)g[k] / norm);
        at[side] = loss_of(f, o);
      }
      memcpy(f->net->param, kept, n * sizeof *kept);
      double slope = (at[0] - at[1]) / (2 * h);
      if (!(fabs(slope - norm) <= 0.02 * norm + 5e-4))
        fail_msg("%s, layer %u, %s: gradient %g, slope of the loss %g", what, i, part ? "biases" : "weights", norm,
                 slope);
    }
  ep_free(f->ctx, g);
  ep_free(f->ctx, kept);
}

static void test_gradients(void **state) {
  (void)state;
  ep_status (*const arch[])(ep_net *, uint32_t) = {arch_plain, arch_residual, arch_windows};
  for (size_t a = 0; a < 3; a++)
    for (size_t m = 0; m < ep_n_methods; m++)
      for (size_t k = 0; k < ep_n_losses; k++) {
        fixture f;
        char what[64];
        open_fixture(&f, arch[a], 2);
        ep_batch_opt o = settings(ep_methods[m].name);
        if (o.method->box == EP_METHOD_BOX_CROWN) o.crown = 0; /* lower lines jump: see test_crown */
        o.loss = &ep_losses[k];
        snprintf(what, sizeof what, "net %zu, %s, %s", a, ep_methods[m].name, ep_losses[k].name);
        check_gradient(&f, &o, 0, what);
        close_fixture(&f);
      }
}

static ep_status arch_shallow(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_conv(net, &at, 5, 3, 2, 1));
  EP_TRY(ep_net_relu(net, &at));
  EP_TRY(ep_net_avg_pool(net, &at, 2));
  return ep_net_dense(net, &at, n_class);
}

static ep_status arch_shallow_max(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_conv_groups(net, &at, 6, 3, 2, 1, 2));
  EP_TRY(ep_net_relu(net, &at));
  EP_TRY(ep_net_max_pool(net, &at, 2, 2));
  return ep_net_dense(net, &at, n_class);
}

/* The lower line of an unstable neuron jumps between two slopes, so the loss has steps. There are none where all
 * coefficients are negative (one hidden layer, the label's row below all others), and small ones where the activation
 * is almost linear; between them every term of the gradient counts. */
static void test_crown(void **state) {
  (void)state;
  fixture f;
  ep_batch_opt o = settings("crown-ibp");
  o.crown = 1;
  o.epsilon = 0.1;
  for (int k = 0; k < 2; k++) {
    open_fixture(&f, k ? arch_shallow_max : arch_shallow, 2);
    const ep_layer *last = &f.net->layer[f.net->n_layer - 1];
    for (size_t i = 0; i < last->n_w; i++)
      f.net->param[last->w + i] = i < last->n_in ? -0.5f : fabsf(f.net->param[last->w + i]);
    memset(f.label, 0, sizeof f.label);
    check_gradient(&f, &o, 0, k ? "crown-ibp, chords and maxima" : "crown-ibp, chords");
    close_fixture(&f);
  }
  ep_status (*const arch[])(ep_net *, uint32_t) = {arch_plain, arch_residual};
  for (size_t a = 0; a < 2; a++) {
    open_fixture(&f, arch[a], 2);
    for (uint32_t i = 0; i < f.net->n_layer; i++)
      if (f.net->layer[i].kind == EP_LAYER_RELU) f.net->layer[i].slope = 0.995f;
    check_gradient(&f, &o, 0, "crown-ibp, almost linear");
    close_fixture(&f);
  }
}

/* Linear bounds of the shallow network: tighter than intervals, above what an attack finds. */
static void test_crown_margins(void **state) {
  (void)state;
  fixture f;
  ep_batch_opt o = settings("crown-ibp");
  open_fixture(&f, arch_plain, 2);
  o.epsilon = 0.05;
  o.share = 1;
  o.crown = 0;
  double ibp = loss_of(&f, &o);
  o.crown = 1;
  double crown = loss_of(&f, &o);
  o.method = ep_method_find("pgd");
  o.attack_rate = 0.25;
  o.attack_steps = 10;
  double attacked = loss_of(&f, &o);
  if (!(crown < ibp - 0.05 && crown > attacked)) fail_msg("intervals %g, linear %g, attack %g", ibp, crown, attacked);
  close_fixture(&f);
}

/* Batch statistics are differentiated for points; boxes take them as constants, so there only what follows the last
 * BatchNormalization has the loss's own slope. */
static void test_batch_norm(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f, arch_norm, 2);
  ep_batch_opt o = settings("natural");
  check_gradient(&f, &o, 0, "natural with BatchNormalization");
  o = settings("ibp");
  check_gradient(&f, &o, f.net->n_layer - 2, "ibp behind BatchNormalization");
  o = settings("sabr");
  check_gradient(&f, &o, f.net->n_layer - 2, "sabr behind BatchNormalization");
  close_fixture(&f);
}

static void test_warmup(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f, arch_plain, 1);
  ep_batch_opt o = settings("ibp");
  double without = loss_of(&f, &o);
  o.warmup = 2;
  assert_true(loss_of(&f, &o) > without + 0.01);
  close_fixture(&f);
}

static void test_threads(void **state) {
  (void)state;
  for (size_t m = 0; m < ep_n_methods; m++) {
    fixture f[2];
    ep_batch_opt o = settings(ep_methods[m].name);
    open_fixture(&f[0], arch_norm, 1);
    open_fixture(&f[1], arch_norm, 3);
    assert_true(loss_of(&f[0], &o) == loss_of(&f[1], &o));
    assert_memory_equal(ep_batch_gradient(f[0].batch), ep_batch_gradient(f[1].batch),
                        f[0].net->n_param * sizeof(float));
    close_fixture(&f[0]);
    close_fixture(&f[1]);
  }
}

/* Natural accuracy and certified margins against the exported graph's own evaluation, for a part of a batch. */
static void test_evaluation(void **state) {
  (void)state;
  enum { N = 45 };
  fixture f;
  ep_scratch s;
  ep_graph *g;
  open_fixture(&f, arch_norm, 2);
  for (size_t i = 0; i < f.net->n_stat; i++) f.net->stat[i] = 0.7f + 0.01f * (float)i;
  ep_batch_opt o = settings("ibp");
  o.is_evaluation = true;
  o.eval_epsilon = 0.004;
  ep_batch_sums sums = {0};
  assert_int_equal(ep_batch_update(f.batch), EP_OK);
  assert_int_equal(ep_batch_run(f.batch, &o, N, f.x, f.label, &sums), EP_OK);
  assert_int_equal(ep_net_export(f.net, &g), EP_OK);
  ep_scratch_init(&s, f.ctx);
  uint64_t right = 0, certified = 0;
  for (size_t i = 0; i < N; i++) {
    ep_trace_f32 t;
    ep_trace_itv box;
    double lo[2 * SIDE * SIDE], hi[2 * SIDE * SIDE];
    assert_int_equal(ep_eval_f32(g, 1, f.x[i], &s, &t), EP_OK);
    for (size_t k = 0; k < 2 * SIDE * SIDE; k++) {
      lo[k] = fmax((double)f.x[i][k] - o.eval_epsilon, 0);
      hi[k] = fmin((double)f.x[i][k] + o.eval_epsilon, 1);
    }
    assert_int_equal(ep_eval_itv(g, 1, lo, hi, &s, &box), EP_OK);
    bool is_right = true, is_certified = true;
    for (uint32_t j = 0; j < N_CLASS; j++) {
      if (j == f.label[i]) continue;
      is_right = is_right && t.v[g->output][f.label[i]] > t.v[g->output][j];
      is_certified = is_certified && box.lo[g->output][f.label[i]] > box.hi[g->output][j];
    }
    right += is_right;
    certified += is_certified;
  }
  assert_int_equal(sums.n, N);
  assert_int_equal(sums.n_correct, right);
  assert_true(right > 3 && right < N);
  assert_true(sums.n_certified >= certified && sums.n_certified <= sums.n_correct); /* elision is never looser */
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  close_fixture(&f);
}

/* Steps of the attack raise the loss, within the ball. */
static void test_attack(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f, arch_plain, 1);
  ep_batch_opt o = settings("pgd");
  o.epsilon = 0.1;
  double start = loss_of(&f, &o), natural;
  o.attack_rate = 0.25;
  o.attack_steps = 8;
  double attacked = loss_of(&f, &o);
  o.method = ep_method_find("natural");
  natural = loss_of(&f, &o);
  assert_true(attacked > start + 0.02 && attacked > natural + 0.02);
  o.method = ep_method_find("ibp");
  o.share = 1;
  assert_true(loss_of(&f, &o) > attacked); /* a sound bound is above every attack */
  close_fixture(&f);
}

/* Statistics that stay: the running ones are used and kept, and taken as constants by the gradient. */
static void test_frozen_norm(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f, arch_norm, 2);
  ep_batch_opt o = settings("ibp");
  loss_of(&f, &o); /* statistics of something */
  float *kept = ep_alloc(f.ctx, f.net->n_stat * sizeof *kept);
  memcpy(kept, f.net->stat, f.net->n_stat * sizeof *kept);
  o.is_norm_frozen = true;
  check_gradient(&f, &o, 0, "ibp with frozen statistics"); /* boxes too: what they take as constants are constants */
  assert_memory_equal(kept, f.net->stat, f.net->n_stat * sizeof *kept);
  ep_free(f.ctx, kept);
  close_fixture(&f);
}

static ep_status arch_signs(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_fixed_norm(net, &at, 0.5f, 0.5f));
  EP_TRY(ep_net_sign(net, &at));
  return ep_net_dense(net, &at, n_class);
}

static void test_signs(void **state) {
  (void)state;
  fixture f;
  ep_batch_sums sums = {0};
  open_fixture(&f, arch_signs, 1);
  ep_batch_opt o = settings("crown-ibp");
  assert_int_equal(ep_batch_run(f.batch, &o, BATCH, f.x, f.label, &sums), EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(f.ctx).text, "is a sign"));
  ep_ctx_clear_error(f.ctx);
  o = settings("natural");
  check_gradient(&f, &o, 2, "behind signs"); /* before them the slope of the loss is 0, the gradient is not */
  double square = 0;
  for (size_t k = 0; k < f.net->layer[0].b + f.net->layer[0].n_b; k++)
    square += (double)ep_batch_gradient(f.batch)[k] * (double)ep_batch_gradient(f.batch)[k];
  assert_true(square > 1e-6);
  close_fixture(&f);
}

static ep_status arch_dense(ep_net *net, uint32_t n_class) {
  ep_net_image at = ep_net_input(net);
  EP_TRY(ep_net_dense(net, &at, 20));
  EP_TRY(ep_net_relu(net, &at));
  return ep_net_dense(net, &at, n_class);
}

/* The sizes of binary weights are constants: around the input 0 a box moves with the sizes alone, so the first layer's
 * weights have a gradient exactly when they are not binary. */
static void test_binary_radius(void **state) {
  (void)state;
  for (int k = 0; k < 4; k++) {
    fixture f;
    open_fixture(&f, k / 2 ? arch_dense : arch_plain, 1);
    memset(f.data, 0, sizeof f.data);
    f.net->layer[0].is_binary = k % 2;
    ep_batch_opt o = settings("ibp");
    o.share = 1;
    o.clip_lo = -1;
    loss_of(&f, &o);
    double square = 0;
    for (size_t i = 0; i < f.net->layer[0].n_w; i++)
      square += (double)ep_batch_gradient(f.batch)[i] * (double)ep_batch_gradient(f.batch)[i];
    assert_true(k % 2 ? square == 0 : square > 1e-8);
    close_fixture(&f);
  }
}

static void test_last_layer(void **state) {
  (void)state;
  fixture f;
  ep_batch *b;
  open_fixture(&f, arch_plain, 1);
  f.net->n_layer--; /* ends with a ReLU */
  assert_int_equal(ep_batch_create(f.net, BATCH, f.pool, &b), EP_E_UNSUPPORTED);
  f.net->n_layer++;
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gradients),     cmocka_unit_test(test_batch_norm), cmocka_unit_test(test_crown),
      cmocka_unit_test(test_crown_margins), cmocka_unit_test(test_warmup),     cmocka_unit_test(test_threads),
      cmocka_unit_test(test_evaluation),    cmocka_unit_test(test_attack),     cmocka_unit_test(test_last_layer),
      cmocka_unit_test(test_frozen_norm),   cmocka_unit_test(test_signs),      cmocka_unit_test(test_binary_radius)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
