/* libFuzzer target for the ONNX reader: any bytes give a graph or one line naming the file; nothing is leaked, and no
 * more than 256 MiB are ever allocated. A graph that is accepted is evaluated once as well. */
#include <stdlib.h>
#include <string.h>

#include "models/eval.h"
#include "models/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void evaluate(const ep_graph *g, ep_ctx *ctx) {
  uint32_t n_x = g->val[g->input].n;
  ep_scratch s;
  ep_trace_f32 t;
  size_t work = 0; /* multiplications: large ones are left out, they are only slow */
  for (uint32_t k = 0; k < g->n_node; k++)
    for (uint32_t j = 0; j < g->node[k].n_in && g->node[k].low.cls == EP_AFFINE; j++)
      work += (size_t)g->node[k].low.is.affine.A[j].terms_fwd * g->val[g->node[k].out].n;
  float *x = work < 10000000 ? ep_calloc(ctx, n_x + 1u, sizeof *x) : NULL;
  if (!x) return;
  ep_scratch_init(&s, ctx);
  (void)ep_eval_f32(g, 1, x, &s, &t);
  ep_scratch_clear(&s);
  ep_free(ctx, x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g = NULL;
  if (!ctx) return 0;
  ep_ctx_set_memory_limit(ctx, (size_t)256 << 20);
  ep_status st = ep_onnx_read_bytes(ctx, "net.onnx", NULL, data, n, &g);
  ep_error e = ep_ctx_error(ctx);
  if (st == EP_OK ? !g : g || st == EP_E_INTERNAL || strncmp(e.text, "net.onnx: ", 10) || strchr(e.text, '\n')) abort();
  if (g) evaluate(g, ctx);
  ep_graph_destroy(g);
  if (ep_ctx_memory_used(ctx)) abort();
  ep_ctx_destroy(ctx);
  return 0;
}
