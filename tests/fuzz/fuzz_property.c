/* libFuzzer target: any bytes through both readers of properties, the verifier's and the checker's. What both read must
 * have the same numbers of inputs and outputs. */
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"
#include "verifier/vnnlib.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How they list empty or repeated cases may differ (a certificate is then rejected): sizes may not. */
static void compare(const ck_query *a, const ep_query *b) {
  if (a->n_x != b->n_x || a->n_y != b->n_y) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ck c;
  uint8_t *text = calloc(size + 1, 1);
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = NULL;
  if (!text || !ctx) abort();
  memcpy(text, data, size);
  c.limit = (size_t)256 << 20;
  ep_ctx_set_memory_limit(ctx, c.limit);
  ep_status st = ep_vnnlib_read_bytes(ctx, "fuzz", data, size, &q);
  if (!setjmp(c.env)) {
    const ck_query *k = ck_read_query(&c, text, size);
    if (st == EP_OK) compare(k, q);
  }
  ck_clear(&c);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
  free(text);
  return 0;
}
