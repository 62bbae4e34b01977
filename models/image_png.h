/* PNG images as raw samples, exactly as stored: no gamma, colour or alpha conversion, because the query must be about
 * the very numbers in the file. Grey or colour (palettes are looked up), 8 or 16 bits; grey with fewer bits is spread
 * over 0..255. Images with transparency are refused. */
#ifndef EP_MODELS_IMAGE_PNG_H
#define EP_MODELS_IMAGE_PNG_H

#include "kernels/status.h"

/* Most samples (width x height x channels) accepted, EP_E_UNSUPPORTED beyond. */
#define EP_IMAGE_PNG_MAX_SAMPLES ((size_t)1 << 26)

/* Decodes n bytes into x[channels][height][width], values 0..255 or 0..65535; the block is the caller's (ep_free).
 * `name` is used in messages: EP_E_SYNTAX for damaged files, EP_E_UNSUPPORTED, EP_E_NOMEM. @sound exact */
ep_status ep_image_png_decode(ep_ctx *ctx, const char *name, const void *data, size_t n, double **x, uint32_t *channels,
                              uint32_t *height, uint32_t *width);

/* Writes samples[height][width][channels] (1 grey, 3 RGB) as an 8-bit PNG. EP_E_IO with the path otherwise. */
ep_status ep_image_png_write(ep_ctx *ctx, const char *path, const uint8_t *samples, uint32_t channels, uint32_t height,
                             uint32_t width);

#endif
