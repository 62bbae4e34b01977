/* epsproof-check NETWORK PROPERTY CERTIFICATE: prints ACCEPTED or REJECTED: reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checker/check.h"

static const char usage[] =
    "usage: epsproof-check [--exact] [--stats] NETWORK.onnx PROPERTY.vnnlib CERTIFICATE\n"
    "Decides whether the certificate proves that the network never enters the unsafe set of the property.\n"
    "  --exact   every bound in rational arithmetic (slow)\n"
    "  --stats   figures on standard error\n"
    "Prints ACCEPTED (exit code 0) or REJECTED: reason (1); 2 = network, property or usage are bad.\n";

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(ck *c, char **path, bool is_exact, bool has_stats) {
  uint8_t hash[2][32], *data[3];
  size_t n[3];
  for (int i = 0; i < 3; i++) data[i] = ck_read_file(c, path[i], (size_t)2 << 30, &n[i]);
  for (int i = 0; i < 2; i++) ck_sha256(data[i], n[i], hash[i]);
  const ck_net *net = ck_read_net(c, data[0], n[0]);
  const ck_query *q = ck_read_query(c, data[1], n[1]);
  ck_stats st = {.n_bytes = n[2]};
  ck_check(c, data[2], n[2], hash[0], hash[1], net, q, is_exact, &st);
  printf("ACCEPTED\nsemantics: %s\n", st.is_float32 ? "float32" : "real");
  if (has_stats)
    fprintf(stderr, "rows %llu, leaves %llu, lemmas %llu, boxes %llu, bytes %llu, cpu seconds %.3f\n",
            (unsigned long long)st.n_rows, (unsigned long long)st.n_leaves, (unsigned long long)st.n_lemmas,
            (unsigned long long)st.n_boxes, (unsigned long long)st.n_bytes, cpu_seconds());
}

static int judge(ck *c, char **path, bool is_exact, bool has_stats) {
  if (!setjmp(c->env)) {
    check(c, path, is_exact, has_stats);
    return 0;
  }
  if (c->is_bad_input) return fprintf(stderr, "error: %s\n", c->why), 2;
  return printf("REJECTED: %s\n", c->why), 1;
}

int main(int argc, char **argv) {
  bool is_exact = false, has_stats = false, is_usage = false;
  for (; argc > 4 && !is_usage; argc--, argv++) {
    is_exact |= !strcmp(argv[1], "--exact");
    has_stats |= !strcmp(argv[1], "--stats");
    is_usage = strcmp(argv[1], "--exact") != 0 && strcmp(argv[1], "--stats") != 0;
  }
  if (argc != 4 || is_usage || argv[1][0] == '-') return fputs(usage, stderr), 2;
  ck *c = calloc(1, sizeof *c);
  if (!c) return 2;
  c->limit = (size_t)8 << 30;
  int code = judge(c, argv + 1, is_exact, has_stats);
  ck_clear(c);
  free(c);
  return code;
}
