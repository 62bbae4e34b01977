/* The VNN-LIB fuzzer's seeds in the plain test run: as they are, cut anywhere, and with bytes changed, moved and
 * repeated. Whatever comes in: a query or one line, no leak, bounded memory. */
#include "tests/ep_test.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rng.h"
#include "verifier/vnnlib.h"

enum { MAX_SEED = 16384 };

/* True when the text is a query. */
static bool try_text(const char *text, size_t n) {
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = NULL;
  ep_ctx_set_memory_limit(ctx, (size_t)256 << 20);
  ep_status st = ep_vnnlib_read_bytes(ctx, "t", text, n, &q);
  ep_error e = ep_ctx_error(ctx);
  if ((st == EP_OK) != (q != NULL)) fail_msg("status and query disagree");
  if (st != EP_OK && (!e.text[0] || strchr(e.text, '\n'))) fail_msg("'%s' is not one line", e.text);
  for (uint32_t b = 0; q && b < q->n_box; b++)
    for (uint32_t i = 0; i < q->n_x; i++) {
      const ep_input_box *box = &q->box[b];
      bool is_ok = box->is_empty || (box->lo[i] <= box->lo_in[i] && box->lo_in[i] <= box->hi_in[i] &&
                                     box->hi_in[i] <= box->hi[i] && isfinite(box->lo[i]) && isfinite(box->hi[i]));
      if (!is_ok) fail_msg("bounds of X_%u are out of order: %.*s", i, (int)n, text);
    }
  ep_query_destroy(q);
  if (ep_ctx_memory_used(ctx)) fail_msg("leak: %.*s", (int)n, text);
  ep_ctx_destroy(ctx);
  return st == EP_OK;
}

static void mutate(ep_rng *r, char *text, size_t n) {
  size_t at = ep_rng_below(r, n), from = ep_rng_below(r, n), len = ep_rng_below(r, 16);
  static const char odd[] = "()<>=+-*/.eEXY_0129; \n\"|\x01\xff";
  if (at + len > n) len = n - at;
  if (from + len > n) len = n - from;
  switch (ep_rng_below(r, 3)) {
  case 0:
    text[at] = odd[ep_rng_below(r, sizeof odd - 1)];
    break;
  case 1:
    text[at] = (char)(text[at] ^ (1 << ep_rng_below(r, 8)));
    break;
  default:
    memmove(text + at, text + from, len);
  }
}

static void seeds_whole_cut_and_mutated(void **state) {
  (void)state;
  glob_t files;
  char seed[MAX_SEED], copy[MAX_SEED];
  ep_rng r;
  size_t n_ok = 0;
  ep_rng_seed(&r, 5);
  assert_int_equal(glob(EP_SOURCE_DIR "/tests/fuzz/corpus/vnnlib/*", 0, NULL, &files), 0);
  for (size_t i = 0; i < files.gl_pathc; i++) {
    FILE *f = fopen(files.gl_pathv[i], "rb");
    assert_non_null(f);
    size_t n = fread(seed, 1, sizeof seed, f);
    fclose(f);
    assert_true(n > 0 && n < sizeof seed);
    n_ok += try_text(seed, n);
    for (size_t k = 0; k < n; k++) try_text(seed, k);
    for (int k = 0; k < 300; k++) {
      memcpy(copy, seed, n);
      for (uint64_t m = 1 + ep_rng_below(&r, 3); m > 0; m--) mutate(&r, copy, n);
      try_text(copy, n);
    }
  }
  /* Most seeds are good queries: the corpus reaches beyond the tokens. */
  assert_true(n_ok * 2 > files.gl_pathc);
  globfree(&files);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(seeds_whole_cut_and_mutated)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
