/* libFuzzer target: any bytes as a certificate for a small network and property of examples/; what is accepted must be
 * confirmed in rational arithmetic. The first byte chooses the example; hashes are filled in, or nothing would get
 * past them. */
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct claim {
  ck c;
  const ck_net *net;
  const ck_query *q;
} claim;

static const char *const files[][2] = {
    {EP_SOURCE_DIR "/examples/onnx/residual.onnx", EP_SOURCE_DIR "/examples/vnnlib/residual_norm.vnnlib"},
    {EP_SOURCE_DIR "/examples/onnx/saw.onnx", EP_SOURCE_DIR "/examples/vnnlib/saw_is_bounded.vnnlib"},
    {EP_SOURCE_DIR "/examples/onnx/xor.onnx", EP_SOURCE_DIR "/examples/vnnlib/xor_can_pass_0.9.vnnlib"},
    {EP_SOURCE_DIR "/examples/onnx/edges.onnx", EP_SOURCE_DIR "/examples/vnnlib/edges_reachable.vnnlib"}};
enum { N_FILES = sizeof files / sizeof *files, N_TRUE = 2 }; /* the others are violated: never to be accepted */

static const claim *load(size_t i) {
  static claim claims[N_FILES];
  claim *k = &claims[i];
  if (k->net) return k;
  size_t n[2];
  k->c.limit = (size_t)1 << 30;
  if (setjmp(k->c.env)) abort();
  const uint8_t *a = ck_read_file(&k->c, files[i][0], (size_t)1 << 30, &n[0]);
  const uint8_t *b = ck_read_file(&k->c, files[i][1], (size_t)1 << 30, &n[1]);
  k->q = ck_read_query(&k->c, b, n[1]);
  k->net = ck_read_net(&k->c, a, n[0]);
  return k;
}

static bool is_accepted(const claim *k, const uint8_t *cert, size_t n, bool is_exact) {
  static const uint8_t zero[32];
  ck *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->limit = (size_t)256 << 20;
  if (setjmp(c->env)) {
    ck_clear(c);
    free(c);
    return false;
  }
  ck_stats st = {0};
  ck_check(c, cert, n, zero, zero, k->net, k->q, is_exact, &st);
  ck_clear(c);
  free(c);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 1 << 16) return 0;
  size_t which = data[0] % N_FILES, n = size - 1 + 73;
  uint8_t *cert = calloc(1, n);
  if (!cert) return 0;
  memcpy(cert, "EPCERT\0\2", 8);
  cert[8] = data[0] / N_FILES % 2;
  memcpy(cert + 73, data + 1, size - 1);
  if (is_accepted(load(which), cert, n, false) && (which >= N_TRUE || !is_accepted(load(which), cert, n, true)))
    abort();
  free(cert);
  return 0;
}
