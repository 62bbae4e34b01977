/* The ONNX reader: every form in which weights, batch dimensions and nodes come; refusals with one line that names the
 * file; and no damage whatever bytes it is given. `test_onnx_read --write-corpus DIR` writes the models as fuzzing
 * seeds. */
#include "tests/ep_test.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "models/eval.h"
#include "models/onnx.h"
#include "tests/support/netlang.h"
#include "tests/support/onnx_text.h"

#define HEAD "opset 13; in x f 1,2; out y; "
#define FILE_NAME "net.onnx"

typedef struct good_case {
  const char *name, *text;
  float y[4]; /* at x = 1, -2, 3, -4, ...; as many as there are outputs */
} good_case;

static const good_case good_cases[] = {
    {"raw_float", HEAD "init w f raw 2,2 1 2 3 4; node MatMul x,w y n", {-5, -6}},
    {"typed_float", HEAD "init w f typed 2,2 1 2 3 4; node MatMul x,w y n", {-5, -6}},
    {"raw_double", "opset 13; in x d 1,2; out y; init w d raw 2,2 1 2 3 4; node MatMul x,w y n", {-5, -6}},
    {"typed_double", "opset 13; in x d 1,2; out y; init w d typed 2,2 1 2 3 4; node MatMul x,w y n", {-5, -6}},
    /* bits of 1, the smallest subnormal, -0.5, 0 */
    {"raw_half", HEAD "init w h raw 2,2 15360 1 47104 0; node MatMul x,w y n", {2, 0x1p-24f}},
    {"typed_half", HEAD "init w h typed 2,2 15360 1 47104 0; node MatMul x,w y n", {2, 0x1p-24f}},
    {"raw_int64", HEAD "init s l raw 2 2 1; node Reshape x,s r n; node Relu r y", {1, 0}},
    {"typed_int64", HEAD "init s l typed 2 2 1; node Reshape x,s r n; node Relu r y", {1, 0}},
    {"int32", HEAD "init s i raw 1 1; node Gather x,s r n axis=1; node Neg r y", {2}},
    {"symbolic_batch", "opset 13; in x f ?,2; out y; node Relu x y", {1, 0}},
    {"zero_batch", "opset 13; in x f 0,2; out y; node Relu x y", {1, 0}},
    {"negative_batch", "opset 13; in x f -1,2; out y; node Relu x y", {1, 0}},
    {"larger_batch", "opset 13; in x f 2,2; out y; node Relu x y", {1, 0, 3, 0}},
    {"no_batch", "opset 13; in x f 2; out y; node Relu x y", {1, 0}},
    {"initialiser_as_input", HEAD "in w f 2,2; init w f raw 2,2 1 2 3 4; node MatMul x,w y n", {-5, -6}},
    {"constant_tensor",
     HEAD "value w f raw 2,2 1 2 3 4; node Constant none c n value=t:c; node MatMul x,c y",
     {-5, -6}},
    {"constant_scalar", HEAD "node Constant none c n value_float=0.5; node Mul x,c y", {0.5f, -1}},
    {"constant_floats", HEAD "node Constant none c n value_floats=[0.5,2.0]; node Mul x,c y", {0.5f, -4}},
    {"constant_ints", HEAD "node Constant none c n value_ints=[2,1]; node Reshape x,c r; node Relu r y", {1, 0}},
    {"constant_int", HEAD "node Constant none c n value_int=1; node Gather x,c r m axis=1; node Neg r y", {2}},
    {"unsorted", HEAD "node Neg b y last; node Relu a b; node Neg x a", {0, -2}},
    {"absent_input", HEAD "init hi f raw - 0.5; node Clip x,-,hi y n", {0.5f, -2}},
    {"dropout_mask", HEAD "node Dropout x,- d,mask n; node Relu d y", {1, 0}},
    {"split_equal", "opset 13; in x f 1,4; out y; node Split x a,b n axis=1; node Sub a,b y", {-2, 2}},
    {"split_uneven", "opset 18; in x f 1,3; out y; node Split x a,b n axis=-1 num_outputs=2; node Neg b y", {-3}},
    {"split_attribute", "opset 11; in x f 1,4; out y; node Split x a,b n axis=1 split=[1,3]; node Neg b y", {2, -3, 4}},
    {"split_input", "opset 13; in x f 1,4; out y; init s l raw 2 3 1; node Split x,s -,b n axis=1; node Neg b y", {4}},
    {"other_domain_unused", "opset 2 ai.onnx.ml; opset 9; in x f 1,2; out y; node Relu x y", {1, 0}},
    {"named_domain", "opset 13 ai.onnx; in x f 1,2; out y; node Relu@ai.onnx x y", {1, 0}},
    {"convolution",
     "opset 13; in x f 1,1,2,2; out y; init w f raw 1,1,2,2 1 1 1 1; init b f raw 1 0.5; node Conv x,w,b c n "
     "pads=[0,0,0,0] auto_pad='NOTSET'; node Flatten c y",
     {-1.5f}},
};
enum { N_GOOD = sizeof good_cases / sizeof *good_cases };

typedef struct bad_case {
  const char *name, *text;
  ep_status status;
  const char *message; /* part of the line */
} bad_case;

static const bad_case bad_cases[] = {
    {"no_opset", "in x f 1,2; out y; node Relu x y", EP_E_SYNTAX, "which opset"},
    {"old_opset", "opset 6; in x f 1,2; out y; node Relu x y", EP_E_UNSUPPORTED, "opset 6"},
    {"new_opset", "opset 99; in x f 1,2; out y; node Relu x y", EP_E_UNSUPPORTED, "opset 99"},
    {"unknown", HEAD "node Foo x a; node Bar a b; node Foo b y", EP_E_UNSUPPORTED,
     "3 of 3 nodes use unsupported operators: Foo Bar"},
    {"unknown_prefix", HEAD "node Food x a; node Foo a b; node Food b y", EP_E_UNSUPPORTED, "operators: Food Foo"},
    {"foreign", HEAD "node Relu@com.example x y", EP_E_UNSUPPORTED, "Relu (domain com.example)"},
    {"two_inputs", "opset 13; in x f 1,2; in z f 1,2; out y; node Add x,z y", EP_E_UNSUPPORTED, "2 inputs ('x', 'z')"},
    {"no_input", "opset 13; out y; node Constant none y n value_float=0.5", EP_E_UNSUPPORTED, "0 inputs"},
    {"two_outputs", HEAD "out z; node Relu x y; node Neg x z", EP_E_UNSUPPORTED, "2 outputs ('y', 'z')"},
    {"no_output", "opset 13; in x f 1,2; node Relu x y", EP_E_UNSUPPORTED, "0 outputs"},
    {"missing_output", HEAD "node Relu x z", EP_E_SYNTAX, "output 'y'"},
    {"constant_output", HEAD "node Constant none y n value_float=0.5", EP_E_UNSUPPORTED, "'y' does not depend"},
    {"integer_input", "opset 13; in x l 1,2; out y; node Relu x y", EP_E_UNSUPPORTED, "input 'x'"},
    {"huge_input", "opset 13; in x f 1,99999999999; out y; node Relu x y", EP_E_SHAPE, "'x' of shape"},
    {"missing_tensor", HEAD "node Add x,nowhere y lost", EP_E_SYNTAX, "node 'lost' (Add): input 'nowhere'"},
    {"cycle", HEAD "node Add x,b a one; node Relu a b two; node Neg b y", EP_E_SYNTAX, "cycle"},
    {"self_cycle", HEAD "node Add x,y y self", EP_E_SYNTAX, "node 'self' (Add) is part of a cycle"},
    {"same_output", HEAD "node Relu x a; node Neg x a; node Abs a y", EP_E_SYNTAX, "'a' is defined twice"},
    {"same_weight", HEAD "init w f raw 1 1; init w f raw 1 1; node Mul x,w y", EP_E_SYNTAX, "'w' is defined twice"},
    {"no_output_name", HEAD "node Relu x none n", EP_E_SYNTAX, "no output"},
    {"second_output", HEAD "node Relu x y,z n", EP_E_UNSUPPORTED, "output 'z'"},
    {"used_mask", HEAD "node Dropout x d,mask n; node Add d,mask y", EP_E_UNSUPPORTED, "output 'mask'"},
    {"subgraph", HEAD "node Relu x y n body=graph", EP_E_UNSUPPORTED, "attribute 'body'"},
    {"too_many_inputs", HEAD "node Relu x,x y wide", EP_E_SYNTAX, "node 'wide' (Relu): 2 inputs"},
    {"no_operand", HEAD "node Relu none y empty", EP_E_SYNTAX, "node 'empty' (Relu)"},
    {"short_raw", HEAD "init w f raw 2,2 1 2 3; node MatMul x,w y", EP_E_SYNTAX, "tensor 'w'"},
    {"long_typed", HEAD "init w f typed 1 1 2; node Mul x,w y", EP_E_SYNTAX, "tensor 'w'"},
    {"wrong_typed", HEAD "init w f none 2; node Mul x,w y", EP_E_SYNTAX, "tensor 'w'"},
    {"negative_dim", HEAD "init w f raw -2 1 2; node Mul x,w y", EP_E_SYNTAX, "tensor 'w'"},
    {"overflow", HEAD "init w f none 4611686018427387904,4 ; node Mul x,w y", EP_E_SYNTAX, "tensor 'w'"},
    {"rank", HEAD "init w f raw 1,1,1,1,1,1,1,1,1 1; node Mul x,w y", EP_E_UNSUPPORTED, "rank 9"},
    {"bfloat", HEAD "init w z raw 1 1; node Mul x,w y", EP_E_UNSUPPORTED, "element type 16"},
    {"nan_weight", HEAD "init w f raw 1 nan; node Mul x,w y", EP_E_SYNTAX, "'w' holds nan"},
    {"infinite_weight", HEAD "init w h raw 1 31744; node Mul x,w y", EP_E_SYNTAX, "'w' holds inf"},
    {"shapes", HEAD "init w f raw 3,1 1 2 3; node MatMul x,w y mm", EP_E_SHAPE, "node 'mm' (MatMul)"},
    {"split_sizes", HEAD "node Split x y,z n axis=1 split=[1,2]", EP_E_SHAPE, "node 'n' (Split)"},
    {"split_axis", HEAD "node Split x y,z n axis=5", EP_E_SHAPE, "no such axis"},
    {"control_name", HEAD "node MatMul x,x y a\n\033[2Jb", EP_E_SHAPE, "node 'a??[2Jb' (MatMul)"},
    {"split_to_nothing", HEAD "node Split x none n axis=1; node Relu x y", EP_E_SYNTAX, "node 'n' (Split): no output"},
    {"external_here", HEAD "init w f ext:weights.bin 2; node Mul x,w y", EP_E_SYNTAX, "model's folder"},
};
enum { N_BAD = sizeof bad_cases / sizeof *bad_cases };

static void good_models_compute(void **state) {
  (void)state;
  for (size_t k = 0; k < N_GOOD; k++) {
    const good_case *c = &good_cases[k];
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL;
    wire w;
    onnx_text_encode(c->text, &w);
    if (ep_onnx_read_bytes(ctx, FILE_NAME, NULL, w.d, w.n, &g) != EP_OK)
      fail_msg("%s: %s", c->name, ep_ctx_error(ctx).text);
    float x[4] = {1, -2, 3, -4};
    ep_scratch s;
    ep_trace_f32 t;
    ep_scratch_init(&s, ctx);
    assert_int_equal(ep_eval_f32(g, 1, x, &s, &t), EP_OK);
    uint32_t n = g->val[g->output].n;
    assert_in_range(n, 1, 4);
    for (uint32_t i = 0; i < n; i++)
      if (t.v[g->output][i] != c->y[i])
        fail_msg("%s: output %u is %.9g, expected %.9g", c->name, i, (double)t.v[g->output][i], (double)c->y[i]);
    assert_true(n == 4 || c->y[n] == 0);
    ep_scratch_clear(&s);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

static void refuse(const char *name, const uint8_t *data, size_t n, const char *dir, ep_status want,
                   const char *message) {
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  ep_status st = ep_onnx_read_bytes(ctx, FILE_NAME, dir, data, n, &g);
  ep_error e = ep_ctx_error(ctx);
  if (st != want || e.code != want || g || !strstr(e.text, message) || strncmp(e.text, FILE_NAME ": ", 10) ||
      strchr(e.text, '\n') || strstr(e.text + 5, FILE_NAME))
    fail_msg("%s: status %d (wanted %d), message: %s", name, (int)st, (int)want, e.text);
  ep_ctx_destroy(ctx);
}

static void bad_models_are_refused(void **state) {
  (void)state;
  for (size_t k = 0; k < N_BAD; k++) {
    wire w;
    onnx_text_encode(bad_cases[k].text, &w);
    refuse(bad_cases[k].name, w.d, w.n, NULL, bad_cases[k].status, bad_cases[k].message);
  }
}

static void files_that_are_no_models(void **state) {
  (void)state;
  wire w = {0};
  refuse("empty", w.d, 0, NULL, EP_E_SYNTAX, "empty file");
  wire_text(&w, 1, "this is no model");
  refuse("text", (const uint8_t *)"hello, world\n", 13, NULL, EP_E_SYNTAX, "not an ONNX model");
  w.n = 0;
  wire_int(&w, 1, 8);
  refuse("no graph", w.d, w.n, NULL, EP_E_SYNTAX, "no graph");
  /* attribute > graph > node > attribute > ... far deeper than any real file */
  static wire deep[2];
  deep[0].n = 0;
  for (int k = 0; k < 300; k++) {
    wire *from = &deep[k % 2], *to = &deep[1 - k % 2];
    to->n = 0;
    wire_bytes(to, k % 3 == 0 ? 6 : k % 3 == 1 ? 5 : 1, from->d, from->n);
  }
  w.n = 0;
  wire_bytes(&w, 7, deep[0].d, deep[0].n);
  refuse("deep", w.d, w.n, NULL, EP_E_SYNTAX, "nested too deeply");
}

static size_t gzip(const void *data, size_t n, uint8_t *out, size_t room) {
  z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)room};
  assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
  deflateEnd(&z);
  return z.total_out;
}

/* The same function and the same fingerprint, gzipped, in two joined parts, or plain; half a gzip file is refused. */
static void gzip_is_transparent(void **state) {
  (void)state;
  static uint8_t z[3][9000];
  char sha[3][65];
  wire w;
  onnx_text_encode(good_cases[0].text, &w);
  size_t n[3] = {w.n, gzip(w.d, w.n, z[1], sizeof z[1]), 0};
  memcpy(z[0], w.d, w.n);
  n[2] = gzip(w.d, 50, z[2], sizeof z[2]);
  n[2] += gzip(w.d + 50, w.n - 50, z[2] + n[2], sizeof z[2] - n[2]);
  for (int k = 0; k < 3; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL;
    if (ep_onnx_read_bytes(ctx, FILE_NAME, NULL, z[k], n[k], &g) != EP_OK) fail_msg("%s", ep_ctx_error(ctx).text);
    memcpy(sha[k], g->sha256, sizeof sha[k]);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
  assert_string_equal(sha[0], sha[1]);
  assert_string_equal(sha[0], sha[2]);
  refuse("half", z[1], n[1] / 2, NULL, EP_E_SYNTAX, "damaged or truncated gzip");
}

static void write_file(const char *path, const void *data, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

static void external_data_stays_inside(void **state) {
  (void)state;
  char dir[64], path[128];
  snprintf(dir, sizeof dir, "test_onnx_read_%d", (int)getpid());
  assert_int_equal(mkdir(dir, 0700), 0);
  const float data[5] = {9, 1, 2, 3, 4};
  snprintf(path, sizeof path, "%s/w..bin", dir);
  write_file(path, data, sizeof data);
  wire w;
  onnx_text_encode(HEAD "init w f ext:w..bin@4 2,2; node MatMul x,w y n", &w);
  snprintf(path, sizeof path, "%s/net.onnx", dir);
  write_file(path, w.d, w.n);
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  if (ep_onnx_read(ctx, path, &g) != EP_OK) fail_msg("%s", ep_ctx_error(ctx).text);
  ep_scratch s;
  ep_trace_f32 t;
  ep_scratch_init(&s, ctx);
  assert_int_equal(ep_eval_f32(g, 1, (const float[]){1, -2}, &s, &t), EP_OK);
  assert_true(t.v[g->output][0] == -5 && t.v[g->output][1] == -6);
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  static const struct {
    const char *where;
    ep_status status;
    const char *message;
  } refused[] = {{"../w..bin", EP_E_SYNTAX, "model's folder"},
                 {"a/../../w..bin", EP_E_SYNTAX, "model's folder"},
                 {"/etc/hostname", EP_E_SYNTAX, "model's folder"},
                 {"..", EP_E_SYNTAX, "model's folder"},
                 {"w..bin@8", EP_E_SYNTAX, "too short"},
                 {"w..bin@18446744073709551615", EP_E_SYNTAX, "too short"},
                 {"absent.bin", EP_E_IO, "absent.bin"},
                 {".", EP_E_IO, "not a regular file"}};
  for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
    char text[200];
    snprintf(text, sizeof text, HEAD "init w f ext:%s 2,2; node MatMul x,w y n", refused[k].where);
    onnx_text_encode(text, &w);
    refuse(refused[k].where, w.d, w.n, dir, refused[k].status, refused[k].message);
  }
  remove(path);
  snprintf(path, sizeof path, "%s/w..bin", dir);
  remove(path);
  rmdir(dir);
}

static void unreadable_paths(void **state) {
  (void)state;
  const char *paths[] = {"no/such/net.onnx", "."};
  for (int k = 0; k < 2; k++) {
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL;
    assert_int_equal(ep_onnx_read(ctx, paths[k], &g), EP_E_IO);
    assert_int_equal(strncmp(ep_ctx_error(ctx).text, paths[k], strlen(paths[k])), 0);
    ep_ctx_destroy(ctx);
  }
}

/* ---- damage ---- */

/* Whatever the bytes: a graph or one line, nothing leaked, memory within the limit. */
static void survive(const uint8_t *data, size_t n) {
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  ep_ctx_set_memory_limit(ctx, (size_t)256 << 20);
  ep_status st = ep_onnx_read_bytes(ctx, FILE_NAME, NULL, data, n, &g);
  ep_error e = ep_ctx_error(ctx);
  if ((st == EP_OK) != (g != NULL) || (st != EP_OK && strncmp(e.text, FILE_NAME ": ", 10)) || st == EP_E_INTERNAL)
    fail_msg("status %d, message: %s", (int)st, e.text);
  ep_graph_destroy(g);
  assert_int_equal(ep_ctx_memory_used(ctx), 0);
  ep_ctx_destroy(ctx);
}

/* Every prefix, and every byte replaced by a few others, of a seed. */
static void damage(uint8_t *data, size_t n) {
  static const uint8_t other[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
  survive(data, n);
  for (size_t k = 0; k < n; k++) survive(data, k);
  for (size_t k = 0; k < n; k++) {
    uint8_t old = data[k];
    for (size_t j = 0; j < sizeof other; j++) {
      data[k] = other[j];
      survive(data, n);
    }
    for (unsigned bit = 0; bit < 8; bit++) {
      data[k] = (uint8_t)(old ^ 1u << bit);
      survive(data, n);
    }
    data[k] = old;
  }
}

static void damaged_models_are_survived(void **state) {
  (void)state;
  wire w;
  for (size_t k = 0; k < N_GOOD; k++) {
    onnx_text_encode(good_cases[k].text, &w);
    damage(w.d, w.n);
  }
}

/* The fuzzing corpus, with what fuzzing has found: each file as it is and cut short. */
static void the_corpus_is_survived(void **state) {
  (void)state;
  static uint8_t data[1 << 16];
  const char *folder = EP_SOURCE_DIR "/tests/fuzz/corpus/onnx";
  DIR *d = opendir(folder);
  assert_non_null(d);
  int n_file = 0;
  for (struct dirent *e; (e = readdir(d));) {
    char *path = NULL;
    if (e->d_name[0] == '.') continue;
    assert_true(asprintf(&path, "%s/%s", folder, e->d_name) > 0);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    free(path);
    survive(data, n);
    for (size_t k = 0; k < n; k += 1 + n / 100) survive(data, k);
    n_file++;
  }
  closedir(d);
  assert_true(n_file >= 20);
}

static void write_corpus(const char *dir) {
  for (size_t k = 0; k < N_GOOD + N_BAD; k++) {
    char path[512];
    wire w;
    onnx_text_encode(k < N_GOOD ? good_cases[k].text : bad_cases[k - N_GOOD].text, &w);
    snprintf(path, sizeof path, "%s/%s", dir, k < N_GOOD ? good_cases[k].name : bad_cases[k - N_GOOD].name);
    FILE *f = fopen(path, "wb");
    if (!f) return;
    fwrite(w.d, 1, w.n, f);
    fclose(f);
  }
  for (int k = 0; k < NETLANG_N; k++) {
    char path[512];
    ep_ctx *ctx = ep_ctx_create();
    ep_graph *g = NULL;
    snprintf(path, sizeof path, "%s/network_%d", dir, k);
    if (netlang_make(ctx, netlang_cases[k], 1, &g) == EP_OK) (void)ep_onnx_write(g, path);
    ep_graph_destroy(g);
    ep_ctx_destroy(ctx);
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "--write-corpus")) {
    write_corpus(argv[2]);
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_models_compute),         cmocka_unit_test(bad_models_are_refused),
      cmocka_unit_test(files_that_are_no_models),    cmocka_unit_test(gzip_is_transparent),
      cmocka_unit_test(external_data_stays_inside),  cmocka_unit_test(unreadable_paths),
      cmocka_unit_test(damaged_models_are_survived), cmocka_unit_test(the_corpus_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
