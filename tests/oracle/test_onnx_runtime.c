/* ONNX Runtime as the second opinion on evaluation: random networks of every exportable operator, and the example
 * networks, give the same float32 outputs. With EPSPROOF_SHARED set, also one network of every benchmark in
 * $EPSPROOF_SHARED/vnncomp as it was published. Exit code 77 (skipped) where node or onnxruntime-node is missing;
 * scripts/ort_replay.mjs tells how to install it. */
#include "tests/ep_test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/eval.h"
#include "models/onnx.h"
#include "tests/support/netlang.h"

enum { N_SAMPLE = 8 };
#define SCRIPT EP_SOURCE_DIR "/scripts/ort_replay.mjs"
static char net_path[64], in_path[64];

static void write_inputs(const float *x, uint32_t n) {
  FILE *f = fopen(in_path, "w");
  assert_non_null(f);
  for (int k = 0; k < N_SAMPLE; k++) {
    for (uint32_t i = 0; i < n; i++) fprintf(f, "%c%.9g", i ? ',' : '[', (double)x[(size_t)k * n + i]);
    fprintf(f, "]\n");
  }
  assert_int_equal(fclose(f), 0);
}

/* The runtime's outputs for the inputs in in_path; false when it refuses the model. */
static bool runtime_outputs(const char *model, float *y, size_t n) {
  char *command = NULL;
  assert_true(asprintf(&command, "node '%s' '%s' < '%s'", SCRIPT, model, in_path) > 0);
  FILE *f = popen(command, "r");
  assert_non_null(f);
  size_t got = 0;
  for (int c; (c = fgetc(f)) != EOF;) {
    if (strchr("[],\n", c)) continue;
    ungetc(c, f);
    float v;
    if (fscanf(f, "%g", &v) != 1) break;
    if (got < n) y[got] = v;
    got++;
  }
  free(command);
  return pclose(f) == 0 && got == n;
}

/* Magnitudes inside a network may dwarf its outputs: differences are relative to the largest output. */
static void compare(const char *what, const char *model, const ep_graph *g, ep_ctx *ctx, uint64_t seed) {
  uint32_t n_x = g->val[g->input].n, n_y = g->val[g->output].n;
  float *x = calloc((size_t)N_SAMPLE * n_x, sizeof *x), *y = calloc((size_t)N_SAMPLE * n_y, sizeof *y);
  ep_rng r;
  ep_scratch s;
  ep_trace_f32 t;
  ep_rng_seed(&r, seed);
  ep_scratch_init(&s, ctx);
  for (size_t i = 0; i < (size_t)N_SAMPLE * n_x; i++) x[i] = (float)(2 * ep_rng_uniform(&r) - 1);
  write_inputs(x, n_x);
  if (!runtime_outputs(model, y, (size_t)N_SAMPLE * n_y)) fail_msg("%s: ONNX Runtime refuses the model", what);
  assert_int_equal(ep_eval_f32(g, N_SAMPLE, x, &s, &t), EP_OK);
  for (size_t k = 0; k < N_SAMPLE; k++) {
    const float *ours = t.v[g->output] + k * n_y, *theirs = y + k * n_y;
    float scale = 1e-3f;
    for (uint32_t i = 0; i < n_y; i++) scale = fmaxf(scale, fabsf(theirs[i]));
    for (uint32_t i = 0; i < n_y; i++)
      if (!(fabsf(ours[i] - theirs[i]) <= 1e-4f * scale))
        fail_msg("%s: output %u is %g, ONNX Runtime says %g", what, i, (double)ours[i], (double)theirs[i]);
  }
  ep_scratch_clear(&s);
  free(x);
  free(y);
}

static void random_networks_agree(void **state) {
  (void)state;
  for (int k = 0; k < NETLANG_N; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL;
    ep_status st = netlang_make(ctx, netlang_cases[k], 100u + (uint64_t)k, &g);
    if (st == EP_OK) st = ep_onnx_write(g, net_path);
    if (st != EP_OK) fail_msg("%s: %s", netlang_cases[k], ep_ctx_error(ctx).text);
    compare(netlang_cases[k], net_path, g, ctx, (uint64_t)k);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

/* Reads a published network and compares; false when it uses operators we do not have. */
static bool file_agrees(const char *path) {
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  ep_status st = ep_onnx_read(ctx, path, &g);
  if (st == EP_OK)
    compare(path, path, g, ctx, 1);
  else
    print_message("not compared: %s\n", ep_ctx_error(ctx).text);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  return st == EP_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* At most `most` networks of a folder, none larger than 4 MB on disk; returns how many agreed. */
static int folder_agrees(const char *folder, int most) {
  struct dirent **e;
  int n = scandir(folder, &e, NULL, by_name), n_ok = 0;
  for (int k = 0; k < n; k++) {
    char *path = NULL;
    struct stat info;
    assert_true(asprintf(&path, "%s/%s", folder, e[k]->d_name) > 0);
    bool is_net = strstr(e[k]->d_name, ".onnx") && stat(path, &info) == 0 && info.st_size < 4 << 20;
    if (is_net && n_ok < most) n_ok += file_agrees(path);
    free(path);
    free(e[k]);
  }
  if (n >= 0) free(e);
  return n_ok;
}

static void example_networks_agree(void **state) {
  (void)state;
  assert_true(folder_agrees(EP_SOURCE_DIR "/examples/onnx", 100) >= 5);
}

static void published_networks_agree(void **state) {
  (void)state;
  const char *shared = getenv("EPSPROOF_SHARED");
  if (!shared) {
    print_message("skipped: EPSPROOF_SHARED names no folder with vnncomp/\n");
    skip();
  }
  char *root = NULL;
  assert_true(asprintf(&root, "%s/vnncomp", shared) > 0);
  struct dirent **e;
  int n = scandir(root, &e, NULL, by_name), n_ok = 0;
  for (int k = 0; k < n; k++) {
    char *folder = NULL;
    assert_true(asprintf(&folder, "%s/%s/onnx", root, e[k]->d_name) > 0);
    if (e[k]->d_name[0] != '.') n_ok += folder_agrees(folder, 2);
    free(folder);
    free(e[k]);
  }
  if (n >= 0) free(e);
  free(root);
  print_message("%d published networks agree with ONNX Runtime\n", n_ok);
  assert_true(n_ok > 0);
}

int main(void) {
  if (system("node '" SCRIPT "' --check 2>&1") != 0) return 77;
  snprintf(net_path, sizeof net_path, "test_onnx_runtime_%d.onnx", (int)getpid());
  snprintf(in_path, sizeof in_path, "test_onnx_runtime_%d.txt", (int)getpid());
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks_agree), cmocka_unit_test(example_networks_agree),
                                     cmocka_unit_test(published_networks_agree)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove(net_path);
  remove(in_path);
  return failed;
}
