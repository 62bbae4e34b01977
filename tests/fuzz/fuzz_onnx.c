/* libFuzzer target: any bytes through the ONNX reader; what is accepted is evaluated once. Allocation cap 256 MiB. */
#include <stddef.h>
#include <stdint.h>

#include "models/eval.h"
#include "models/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  if (!ctx) return 0;
  ep_ctx_set_memory_limit(ctx, (size_t)256 << 20);
  if (ep_onnx_read_bytes(ctx, "fuzz", NULL, data, size, &g) == EP_OK && g->val[g->input].n < 4096) {
    ep_scratch s;
    ep_trace_itv t;
    ep_scratch_init(&s, ctx);
    double *x = EP_SCRATCH(&s, double, g->val[g->input].n);
    if (x) {
      for (uint32_t i = 0; i < g->val[g->input].n; i++) x[i] = 0.25 * (double)i;
      (void)!ep_eval_itv(g, 1, x, x, &s, &t);
    }
    ep_scratch_clear(&s);
  }
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  return 0;
}
