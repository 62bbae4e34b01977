/* The watchdog's word when a run does not return: each case is a child process that hangs on purpose. */
#include "tests/ep_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "verifier/watch.h"

typedef struct told {
  int exit_code;
  char out[8192];
} told;

/* Runs `hang` in a child whose standard output is captured. */
static told watch_child(void (*hang)(ep_session *), ep_config *cfg) {
  told t = {.exit_code = -1};
  int fd[2];
  assert_int_equal(pipe(fd), 0);
  fflush(stdout);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    dup2(fd[1], STDOUT_FILENO);
    ep_session s = {.ctx = ep_ctx_create(),
                    .cfg = cfg,
                    .command = "verify",
                    .network = "net.onnx",
                    .property = "p",
                    .start_s = ep_time_s()};
    ep_watch *w;
    if (ep_watch_start(&s, &w) != EP_OK) _exit(99);
    hang(&s);
    _exit(98); /* the watchdog should have ended us */
  }
  close(fd[1]);
  size_t n = 0;
  for (ssize_t k; n < sizeof t.out - 1 && (k = read(fd[0], t.out + n, sizeof t.out - 1 - n)) > 0;) n += (size_t)k;
  close(fd[0]);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WIFEXITED(status)) t.exit_code = WEXITSTATUS(status);
  return t;
}

static ep_config config(double timeout_s, const char *format) {
  ep_config cfg;
  ep_config_default(&cfg);
  cfg.timeout = timeout_s;
  cfg.format = format;
  return cfg;
}

static void hang(ep_session *s) {
  (void)s;
  for (int i = 0; i < 600; i++) usleep(100000);
}

static void hang_after_signal(ep_session *s) {
  raise(SIGTERM);
  hang(s);
}

static void hang_after_two_signals(ep_session *s) {
  raise(SIGINT);
  raise(SIGINT);
  hang(s);
}

static void hang_after_claim(ep_session *s) {
  assert_true(ep_report_claim(s));
  usleep(600000);
  puts("the run's own answer");
  fflush(stdout);
  _exit(7);
}

/* A run that has laid down a phase and, if asked, a witness, and then hangs. */
static void hang_in_engine(ep_session *s, bool has_witness) {
  static ep_run run; /* the watchdog reads it until the process ends */
  ep_query_builder *b;
  ep_query *q;
  const double lo = 0, hi = 1;
  if (ep_query_builder_create(s->ctx, 1, 1, &b) != EP_OK || ep_query_builder_box(b, &lo, &hi) != EP_OK ||
      ep_query_builder_polytope(b) != EP_OK || ep_query_builder_finish(b, "p", &q) != EP_OK)
    _exit(97);
  double x = 0.5, y = 2;
  run = (ep_run){.ctx = s->ctx, .q = q, .cfg = s->cfg, .n_poly = 1};
  pthread_mutex_init(&run.lock, NULL);
  atomic_store(&run.progress.phase, "bab");
  atomic_store(&run.progress.domains, 41);
  bool is_proved = false;
  run.is_proved = &is_proved;
  ep_run_phase(&run, &(ep_phase){.name = "crown", .seconds = 0.5, .domains = 3, .worst_bound = -1});
  atomic_store(&s->query, q);
  atomic_store(&s->run, &run);
  if (has_witness) {
    pthread_mutex_lock(&run.lock);
    run.result.witness = (ep_witness){.x = &x, .y = &y, .is_float32 = true};
    run.result.has_witness = true;
    pthread_mutex_unlock(&run.lock);
  }
  hang(s);
}
static void hang_in_search(ep_session *s) { hang_in_engine(s, false); }
static void hang_with_witness(ep_session *s) { hang_in_engine(s, true); }

static void deadline_passes_while_loading(void **state) {
  (void)state;
  ep_config cfg = config(0.05, "text");
  told t = watch_child(hang, &cfg);
  assert_int_equal(t.exit_code, 0);
  assert_memory_equal(t.out, "timeout\n", 8);
}

static void phases_so_far_are_told(void **state) {
  (void)state;
  ep_config cfg = config(0.05, "json");
  told t = watch_child(hang_in_search, &cfg);
  assert_int_equal(t.exit_code, 0);
  assert_non_null(strstr(t.out, "\"verdict\": \"timeout\""));
  assert_non_null(strstr(t.out, "\"name\": \"crown\""));
  assert_non_null(strstr(t.out, "\"phase\": \"bab\""));
  assert_non_null(strstr(t.out, "\"domains\": 41"));
  assert_non_null(strstr(t.out, "\"decided_by\": null"));
}

static void accepted_witness_is_not_lost(void **state) {
  (void)state;
  ep_config cfg = config(0.05, "vnncomp");
  told t = watch_child(hang_with_witness, &cfg);
  assert_int_equal(t.exit_code, 10);
  assert_memory_equal(t.out, "sat\n", 4);
  assert_non_null(strstr(t.out, "(X_0 0.5)"));
}

static void signals_end_it(void **state) {
  (void)state;
  ep_config cfg = config(0, "text");
  told t = watch_child(hang_after_signal, &cfg);
  assert_int_equal(t.exit_code, 0);
  assert_memory_equal(t.out, "unknown\nreason: interrupted\n", 28);
  t = watch_child(hang_after_two_signals, &cfg);
  assert_int_equal(t.exit_code, 0);
  assert_memory_equal(t.out, "unknown\nreason: interrupted\n", 28);
}

static void only_one_of_both_tells(void **state) {
  (void)state;
  ep_config cfg = config(0.05, "text");
  told t = watch_child(hang_after_claim, &cfg);
  assert_int_equal(t.exit_code, 7);
  assert_string_equal(t.out, "the run's own answer\n");
}

static void start_and_stop_leave_nothing(void **state) {
  (void)state;
  ep_config cfg = config(60, "text");
  ep_session s = {.ctx = ep_ctx_create(), .cfg = &cfg, .start_s = ep_time_s()};
  for (int i = 0; i < 3; i++) {
    ep_watch *w;
    assert_int_equal(ep_watch_start(&s, &w), EP_OK);
    ep_watch_stop(w);
  }
  ep_watch_stop(NULL);
  struct sigaction act;
  assert_int_equal(sigaction(SIGINT, NULL, &act), 0);
  assert_true(act.sa_handler == SIG_DFL);
  assert_int_equal(ep_ctx_memory_used(s.ctx), 0);
  ep_ctx_destroy(s.ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(deadline_passes_while_loading), cmocka_unit_test(phases_so_far_are_told),
      cmocka_unit_test(accepted_witness_is_not_lost),  cmocka_unit_test(signals_end_it),
      cmocka_unit_test(only_one_of_both_tells),        cmocka_unit_test(start_and_stop_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
