/* ONNX files: import into the graph IR, export of a graph. Opset 8 to 20; float32, float64 and integer initialisers,
 * raw, typed or external data; plain or gzipped; batch dimension 1 or symbolic (read as 1). */
#ifndef EP_MODELS_ONNX_H
#define EP_MODELS_ONNX_H

#include "models/graph.h"

/* Largest (uncompressed) model accepted, bytes; beyond it EP_E_LIMIT... reported as bad input. */
#define EP_ONNX_MAX_BYTES ((size_t)2 << 30)

ep_status ep_onnx_read(ep_ctx *ctx, const char *path, ep_graph **out);
/* From memory (already uncompressed or gzipped). `name` is used in messages, `dir` resolves external data (NULL =
 * external data refused). */
ep_status ep_onnx_read_bytes(ep_ctx *ctx, const char *name, const char *dir, const void *data, size_t n,
                             ep_graph **out);
/* Writes the graph as it stands after simplification (Gemm/Conv/MatMul, Relu, ...), float32 weights. Reading it back
 * gives the same function up to float32 rounding of weights that carry rel_err. */
ep_status ep_onnx_write(const ep_graph *g, const char *path);

#endif
