/* ONNX files: import into the graph IR, export of a graph. Opset 8 to 20; float16 (widened), float32, float64 and
 * integer initialisers, raw, typed or external data; plain or gzipped; one input, one output. Symbolic dimensions are
 * read as 1; a fixed batch larger than 1 is part of the input, which then has that many samples' elements.
 *
 * Every failure leaves one line that starts with the file's name: EP_E_IO, EP_E_SYNTAX (damaged, or not a network),
 * EP_E_SHAPE, EP_E_UNSUPPORTED (all unsupported operators in one line), EP_E_NOMEM, EP_E_LIMIT. */
#ifndef EP_MODELS_ONNX_H
#define EP_MODELS_ONNX_H

#include "models/graph.h"

/* Versions of the default operator set that are read. */
#define EP_ONNX_MIN_OPSET 8
#define EP_ONNX_MAX_OPSET 20
/* Largest (uncompressed) model accepted, bytes; beyond it EP_E_UNSUPPORTED. */
#define EP_ONNX_MAX_BYTES ((size_t)2 << 30)

/* Operators that importing replaces, besides those of models/ops.def; NULL ends the list. */
extern const char *const ep_onnx_replaced[];

ep_status ep_onnx_read(ep_ctx *ctx, const char *path, ep_graph **out);
/* The same network, meant as every float32 execution of it (models/float32.h). */
ep_status ep_onnx_read_float32(ep_ctx *ctx, const char *path, ep_graph **out);
/* From memory (already uncompressed or gzipped). `name` is used in messages, `dir` resolves external data (NULL =
 * external data refused). */
ep_status ep_onnx_read_bytes(ep_ctx *ctx, const char *name, const char *dir, const void *data, size_t n,
                             ep_graph **out);
/* Writes the graph as it stands after simplification (Gemm/Conv/MatMul, Relu, ...), float32 weights. Reading it back
 * gives the same function up to float32 rounding of weights that carry rel_err. */
ep_status ep_onnx_write(const ep_graph *g, const char *path);

/* A tensor of float32 or float64 elements as a file of its own (TensorProto, raw data). */
ep_status ep_onnx_write_tensor(ep_ctx *ctx, const char *path, const char *name, const ep_tensor *t);

#endif
