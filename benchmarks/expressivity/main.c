/* What convex relaxations of ReLU networks can express (Baader, Mueller, Mao, Vechev, ICLR 2024; Mao, Zhang, Vechev,
 * ICLR 2026), made executable in exact rational arithmetic:
 *
 *   - the table of classes of functions of one variable by relaxations, from precise networks over many boxes, and what
 *     the wrong encodings lose;
 *   - for every network that computes max(x, y) (built in, and the ONNX files given) a box where the triangle
 *     relaxation has a gap;
 *   - max over [0,1]^d: one problem with joint hulls, or a tree.
 *
 * Writes CSV and SVG files to DIR; exit code 1 when a result contradicts the theory.
 * usage: expressivity DIR [--functions N] [--boxes M] [--dims D] [--seed S] [NET.onnx ..] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/expressivity/study.h"

static int usage(void) {
  fputs("usage: expressivity DIR [--functions N] [--boxes M] [--dims D] [--seed S] [NET.onnx ..]\n", stderr);
  return 1;
}

int main(int argc, char **argv) {
  study s = {.functions = 100, .boxes = 50, .dims = 12, .seed = 1};
  int i = 2;
  if (argc < 2 || argv[1][0] == '-') return usage();
  s.folder = argv[1];
  for (; i < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
    long v = i + 1 < argc ? strtol(argv[i + 1], NULL, 10) : 0;
    if (v <= 0 || v > 1000000) return usage();
    if (strcmp(argv[i], "--functions") == 0)
      s.functions = (uint32_t)v;
    else if (strcmp(argv[i], "--boxes") == 0)
      s.boxes = (uint32_t)v;
    else if (strcmp(argv[i], "--dims") == 0)
      s.dims = (uint32_t)v;
    else if (strcmp(argv[i], "--seed") == 0)
      s.seed = (uint64_t)v;
    else
      return usage();
  }
  s.net = argv + i;
  s.n_net = (uint32_t)(argc - i);
  s.ctx = ep_ctx_create();
  if (!s.ctx) return 3;
  double t0 = ep_time_s();
  ep_status st = study_table(&s);
  if (st == EP_OK) st = study_maximum(&s);
  if (st == EP_OK) st = study_dimension(&s);
  if (st != EP_OK) {
    ep_error e = ep_ctx_error(s.ctx);
    fprintf(stderr, "expressivity: %s\n", e.code != EP_OK ? e.text : ep_status_text(st));
  } else {
    printf("%llu unexpected results (%.1f s)\n", (unsigned long long)s.unexpected, ep_time_s() - t0);
  }
  ep_ctx_destroy(s.ctx);
  return st != EP_OK ? ep_status_exit_code(st) : s.unexpected ? 1 : 0;
}
