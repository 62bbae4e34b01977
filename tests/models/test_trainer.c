/* Training runs: learning something, resuming exactly, refusing foreign or damaged checkpoints, losses gone wrong. */
#include "models/train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/ep_test.h"

enum { N = 400, SIDE = 6, N_EPOCH = 3 };

typedef struct fixture {
  ep_ctx *ctx;
  ep_pool *pool;
  ep_data data;
  ep_net *net;
  ep_trainer *t;
  ep_train_opt opt;
} fixture;

/* Two classes: a bright left half or a bright right half, with noise. */
static void make_data(ep_ctx *ctx, ep_data *d) {
  ep_rng rng;
  ep_rng_seed(&rng, 4);
  *d = (ep_data){.ctx = ctx, .n = N, .n_in = SIDE * SIDE, .c = 1, .h = SIDE, .w = SIDE, .n_class = 2};
  d->x = ep_alloc(ctx, N * d->n_in * sizeof *d->x);
  d->label = ep_alloc(ctx, N * sizeof *d->label);
  for (size_t i = 0; i < N; i++) {
    d->label[i] = (uint32_t)ep_rng_below(&rng, 2);
    for (size_t k = 0; k < d->n_in; k++)
      d->x[i * d->n_in + k] = 0.6f * (float)ep_rng_uniform(&rng) + ((k % SIDE < SIDE / 2) == d->label[i] ? 0.4f : 0);
  }
}

static ep_train_opt options(const char *method) {
  return (ep_train_opt){.method = ep_method_find(method),
                        .loss = ep_loss_find("cross-entropy"),
                        .init = EP_INIT_KAIMING,
                        .rate = 1e-2,
                        .epochs = N_EPOCH,
                        .ramp_to = 1,
                        .decay_at = {2},
                        .decay = 0.2,
                        .n_decay = 1,
                        .epsilon = 0.05,
                        .eval_epsilon = 0.02,
                        .kappa = 0.5,
                        .mix = 0.5,
                        .box_ratio = 0.4,
                        .attack_rate = 0.25,
                        .warmup = 0.5,
                        .freeze_norm = INFINITY,
                        .clip_hi = 1,
                        .batch = 64,
                        .attack_steps = 3,
                        .shift = 1,
                        .is_flipped = false,
                        .validation = 0.2,
                        .seed = 9};
}

static void open_fixture_of(fixture *f, const char *arch, const ep_train_opt *o, unsigned threads) {
  *f = (fixture){.ctx = ep_ctx_create(), .opt = *o};
  make_data(f->ctx, &f->data);
  assert_int_equal(ep_pool_create(f->ctx, threads, &f->pool), EP_OK);
  assert_int_equal(ep_net_create(f->ctx, ep_arch_find(arch), 1, SIDE, SIDE, 2, &f->net), EP_OK);
  assert_int_equal(ep_trainer_create(f->net, &f->data, &f->opt, false, f->pool, &f->t), EP_OK);
}

static void open_fixture(fixture *f, const ep_train_opt *o, unsigned threads) {
  open_fixture_of(f, "fc-tiny", o, threads);
}

static void close_fixture(fixture *f) {
  ep_trainer_destroy(f->t);
  ep_net_destroy(f->net);
  ep_pool_destroy(f->pool);
  ep_data_clear(&f->data);
  ep_ctx_destroy(f->ctx);
}

static ep_train_report run(fixture *f) {
  ep_train_report r = {0};
  while (ep_trainer_epoch(f->t) < N_EPOCH) assert_int_equal(ep_trainer_run(f->t, NULL, NULL, &r), EP_OK);
  return r;
}

static void test_learns(void **state) {
  (void)state;
  for (size_t m = 0; m < ep_n_methods; m++) {
    fixture f;
    ep_train_opt o = options(ep_methods[m].name);
    open_fixture(&f, &o, 2);
    ep_train_report r = run(&f);
    assert_int_equal(r.valid.n, N / 5);
    assert_int_equal(ep_trainer_n_valid(f.t), N / 5);
    if (r.valid.n_correct < N / 5 * 95 / 100) fail_msg("%s: %d right", ep_methods[m].name, (int)r.valid.n_correct);
    if (!strcmp(ep_methods[m].name, "ibp") && r.valid.n_certified < N / 5 * 60 / 100)
      fail_msg("%d certified", (int)r.valid.n_certified);
    close_fixture(&f);
  }
}

static void temp_path(char *path, size_t n) { snprintf(path, n, "/tmp/ep_test_trainer_%d.ckpt", (int)getpid()); }

/* A binarised network learns, too; stopped and resumed (the numbers behind its weights are in the checkpoint) it is the
 * same. */
static void test_binary(void **state) {
  (void)state;
  char path[64];
  temp_path(path, sizeof path);
  uint8_t note[64] = {0};
  ep_train_opt o = options("natural");
  o.freeze_norm = 1;
  fixture f[2];
  ep_train_report r = {0};
  for (int k = 0; k < 2; k++) {
    open_fixture_of(&f[k], "bnn-tiny", &o, 1);
    if (k) assert_int_equal(ep_trainer_load(f[k].t, path, note), EP_OK);
    while (ep_trainer_epoch(f[k].t) < N_EPOCH) {
      assert_int_equal(ep_trainer_run(f[k].t, NULL, NULL, &r), EP_OK);
      if (!k && r.epoch == 1) assert_int_equal(ep_trainer_save(f[k].t, path, note), EP_OK);
    }
  }
  if (r.valid.n_correct < N / 5 * 85 / 100) fail_msg("%d right", (int)r.valid.n_correct);
  const ep_layer *l = &f[0].net->layer[f[0].net->n_layer - 1];
  for (size_t k = l->w; k < l->b; k++) assert_true(fabsf(f[0].net->param[k]) == fabsf(f[0].net->param[l->w]));
  assert_memory_equal(f[0].net->param, f[1].net->param, f[0].net->n_param * sizeof(float));
  close_fixture(&f[0]);
  close_fixture(&f[1]);
  unlink(path);
}

static bool is_same_report(const ep_train_report *a, const ep_train_report *b) {
  return a->loss == b->loss && a->rate == b->rate && a->gradient_norm == b->gradient_norm && a->train.n == b->train.n &&
         a->train.n_correct == b->train.n_correct && a->train.n_certified == b->train.n_certified &&
         a->valid.n_correct == b->valid.n_correct && a->epoch == b->epoch;
}

/* Stops the run after the third step of an epoch. */
static void stop_at_third(void *user, uint32_t epoch, double done, const ep_batch_sums *sums, double rate) {
  const fixture *f = user;
  (void)epoch;
  (void)done;
  (void)rate;
  if (sums->n == 3 * (uint64_t)f->opt.batch) ep_ctx_interrupt(f->ctx);
}

/* Straight through with one thread = stopped inside the second epoch, saved there, and resumed with three threads. */
static void test_resume(void **state) {
  (void)state;
  char path[64];
  temp_path(path, sizeof path);
  for (size_t m = 0; m < ep_n_methods; m++) {
    fixture a, b, c;
    ep_train_opt o = options(ep_methods[m].name);
    ep_train_report r, whole;
    uint8_t note[64] = "kept", back[64];
    open_fixture(&a, &o, 1);
    assert_int_equal(ep_trainer_run(a.t, NULL, NULL, &r), EP_OK);
    assert_int_equal(ep_trainer_run(a.t, NULL, NULL, &whole), EP_OK);
    run(&a);
    open_fixture(&b, &o, 2);
    assert_int_equal(ep_trainer_run(b.t, NULL, NULL, &r), EP_OK);
    assert_int_equal(ep_trainer_run(b.t, stop_at_third, &b, &r), EP_E_STOPPED);
    assert_int_equal(ep_trainer_steps(b.t), 3);
    assert_int_equal(ep_trainer_save(b.t, path, note), EP_OK);
    close_fixture(&b);
    open_fixture(&c, &o, 3);
    assert_int_equal(ep_trainer_load(c.t, path, back), EP_OK);
    assert_memory_equal(note, back, sizeof note);
    assert_int_equal(ep_trainer_epoch(c.t), 1);
    assert_int_equal(ep_trainer_steps(c.t), 3);
    assert_int_equal(ep_trainer_run(c.t, NULL, NULL, &r), EP_OK);
    assert_true(is_same_report(&whole, &r));
    run(&c);
    assert_memory_equal(a.net->param, c.net->param, a.net->n_param * sizeof(float));
    close_fixture(&a);
    close_fixture(&c);
  }
  unlink(path);
}

static void flip_byte(const char *path, long at) {
  FILE *f = fopen(path, "r+b");
  fseek(f, at, SEEK_SET);
  int c = fgetc(f);
  fseek(f, at, SEEK_SET);
  fputc(c ^ 1, f);
  fclose(f);
}

static void test_bad_checkpoints(void **state) {
  (void)state;
  char path[64];
  uint8_t note[64] = {0};
  temp_path(path, sizeof path);
  ep_train_opt o = options("ibp");
  fixture f, g;
  open_fixture(&f, &o, 1);
  assert_int_equal(ep_trainer_save(f.t, path, note), EP_OK);
  o.rate *= 2;
  open_fixture(&g, &o, 1);
  assert_int_equal(ep_trainer_load(g.t, path, note), EP_E_OPTION);
  close_fixture(&g);
  flip_byte(path, 700);
  assert_int_equal(ep_trainer_load(f.t, path, note), EP_E_SYNTAX);
  ep_ctx_clear_error(f.ctx);
  assert_int_equal(truncate(path, 50), 0);
  assert_int_equal(ep_trainer_load(f.t, path, note), EP_E_SYNTAX);
  ep_ctx_clear_error(f.ctx);
  unlink(path);
  assert_int_equal(ep_trainer_load(f.t, path, note), EP_E_IO);
  ep_ctx_clear_error(f.ctx);
  /* A save that fails leaves the old file alone. */
  assert_int_equal(ep_trainer_save(f.t, path, note), EP_OK);
  char temp[80];
  snprintf(temp, sizeof temp, "%s.new", path);
  assert_int_equal(mkdir(temp, 0700), 0);
  assert_int_equal(ep_trainer_save(f.t, path, note), EP_E_IO);
  rmdir(temp);
  ep_ctx_clear_error(f.ctx);
  assert_int_equal(ep_trainer_load(f.t, path, note), EP_OK);
  unlink(path);
  close_fixture(&f);
}

static void test_not_finite(void **state) {
  (void)state;
  fixture f;
  ep_train_opt o = options("natural");
  ep_train_report r;
  o.rate = 1e30;
  open_fixture(&f, &o, 1);
  ep_status st = EP_OK;
  for (int i = 0; i < N_EPOCH && st == EP_OK; i++) st = ep_trainer_run(f.t, NULL, NULL, &r);
  assert_int_equal(st, EP_E_UNSUPPORTED);
  assert_non_null(strstr(ep_ctx_error(f.ctx).text, "not finite"));
  close_fixture(&f);
}

static void test_misfits(void **state) {
  (void)state;
  fixture f;
  ep_trainer *t;
  ep_train_opt o = options("natural");
  open_fixture(&f, &o, 1);
  o.batch = 65;
  assert_int_equal(ep_trainer_create(f.net, &f.data, &o, false, f.pool, &t), EP_E_OPTION);
  ep_ctx_clear_error(f.ctx);
  o.batch = 512;
  assert_int_equal(ep_trainer_create(f.net, &f.data, &o, false, f.pool, &t), EP_E_OPTION);
  ep_ctx_clear_error(f.ctx);
  o.batch = 64;
  f.data.n_class = 3;
  assert_int_equal(ep_trainer_create(f.net, &f.data, &o, false, f.pool, &t), EP_E_SHAPE);
  ep_ctx_clear_error(f.ctx);
  f.data.n_class = 2;
  f.data.n_in--;
  assert_int_equal(ep_trainer_create(f.net, &f.data, &o, false, f.pool, &t), EP_E_SHAPE);
  f.data.n_in++;
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_learns),     cmocka_unit_test(test_binary),
                                     cmocka_unit_test(test_resume),     cmocka_unit_test(test_bad_checkpoints),
                                     cmocka_unit_test(test_not_finite), cmocka_unit_test(test_misfits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
