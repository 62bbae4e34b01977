/* Files for the ONNX reader: whole (possibly gzipped) files within a cap. */
#ifndef EP_MODELS_ONNX_BYTES_H
#define EP_MODELS_ONNX_BYTES_H

#include "kernels/status.h"

/* Reads a file, inflating gzip; the block is the caller's (ep_free). Messages name the path. */
ep_status ep_onnx_bytes_read(ep_ctx *ctx, const char *path, size_t cap, uint8_t **out, size_t *n);
/* Reads exactly n bytes from `offset` of a regular, uncompressed file; the block is the caller's. Nothing is allocated
 * before the file is known to be that long. */
ep_status ep_onnx_bytes_range(ep_ctx *ctx, const char *path, uint64_t offset, size_t n, uint8_t **out);
/* Inflates gzipped bytes into a new block, or returns NULL in *out when they are not gzipped. */
ep_status ep_onnx_bytes_inflate(ep_ctx *ctx, const char *name, const void *data, size_t n, size_t cap, uint8_t **out,
                                size_t *n_out);
#endif
