/* libFuzzer target: any bytes through both readers of properties, the verifier's and the checker's. What both read must
 * have as many polytopes with as many rows, or certificates would count other things. How they are put together in
 * boxes may differ where bounds are scaled, since each reader rounds for itself (a certificate is then rejected). */
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"
#include "verifier/vnnlib.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const ck_query *a, const ep_query *b) {
  uint64_t n_poly[2] = {0, 0}, n_row[2] = {0, 0};
  for (uint32_t i = 0; i < a->n_box; i++) {
    n_poly[0] += a->box[i].n_poly;
    for (uint32_t p = 0; p < a->box[i].n_poly; p++) n_row[0] += a->box[i].poly[p].n_row;
  }
  for (uint32_t i = 0; i < b->n_box; i++) {
    n_poly[1] += b->box[i].n_poly;
    for (uint32_t p = 0; p < b->box[i].n_poly; p++) n_row[1] += b->box[i].poly[p].n_row;
  }
  if (a->n_x != b->n_x || a->n_y != b->n_y || n_poly[0] != n_poly[1] || n_row[0] != n_row[1]) abort();
  for (uint32_t i = 0; a->n_box == b->n_box && i < a->n_box; i++)
    if (a->box[i].is_empty && !b->box[i].is_empty) abort();
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
