/* Unpacking hostile protobuf bytes safely: memory through the context, nesting bounded. Used by the ONNX reader only.
 */
#ifndef EP_MODELS_ONNX_WIRE_H
#define EP_MODELS_ONNX_WIRE_H

#include <onnx/onnx.pb-c.h>

#include "models/tensor.h"

/* Unpacks a model; free with ep_onnx_wire_free. EP_E_SYNTAX for malformed or too deeply nested bytes. */
ep_status ep_onnx_wire_unpack(ep_ctx *ctx, const char *name, const uint8_t *data, size_t n, Onnx__ModelProto **out);
void ep_onnx_wire_free(ep_ctx *ctx, Onnx__ModelProto *model);
/* TensorProto -> ep_tensor with data in `arena`. `dir` resolves external data (NULL = refused). Messages name `name`,
 * the model file, and the tensor. */
ep_status ep_onnx_wire_tensor(ep_arena *arena, const char *name, const char *dir, const Onnx__TensorProto *t,
                              ep_tensor *out);
/* ONNX element type -> ours, false when it has none. */
bool ep_onnx_wire_dtype(int32_t onnx, ep_dtype *out);

#endif
