/* libFuzzer target: any bytes through the VNN-LIB reader. Allocation cap 256 MiB. */
#include <stddef.h>
#include <stdint.h>

#include "verifier/vnnlib.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ep_ctx *ctx = ep_ctx_create();
  ep_query *q = NULL;
  if (!ctx) return 0;
  ep_ctx_set_memory_limit(ctx, (size_t)256 << 20);
  (void)!ep_vnnlib_read_bytes(ctx, "fuzz", data, size, &q);
  ep_query_destroy(q);
  ep_ctx_destroy(ctx);
  return 0;
}
