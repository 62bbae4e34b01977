#include "models/image_png.h"

#include <assert.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

/* Everything that must survive libpng's longjmp lives here, not in locals. */
typedef struct reader {
  ep_ctx *ctx;
  const char *name;
  const uint8_t *at, *end;
  png_structp png;
  png_infop info;
  uint8_t *data;
  png_bytep *rows;
  uint32_t width, height, channels, bytes; /* per sample */
  char message[160];
} reader;

static void on_error(png_structp png, png_const_charp text) {
  reader *r = png_get_error_ptr(png);
  size_t n = 0;
  for (; text[n] && n + 1 < sizeof r->message; n++) r->message[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
  r->message[n] = 0;
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
  (void)png;
  (void)text; /* about chunks that do not touch the samples */
}

static void on_read(png_structp png, png_bytep out, size_t n) {
  reader *r = png_get_io_ptr(png);
  if ((size_t)(r->end - r->at) < n) png_error(png, "the file ends too early");
  memcpy(out, r->at, n);
  r->at += n;
}

static ep_status read_header(reader *r) {
  png_read_info(r->png, r->info);
  int bits = png_get_bit_depth(r->png, r->info), type = png_get_color_type(r->png, r->info);
  if ((type & PNG_COLOR_MASK_ALPHA) || png_get_valid(r->png, r->info, PNG_INFO_tRNS))
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: image with transparency, expected plain grey or RGB", r->name);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r->png);
  if (type == PNG_COLOR_TYPE_GRAY && bits < 8) png_set_expand_gray_1_2_4_to_8(r->png);
  png_set_interlace_handling(r->png);
  png_read_update_info(r->png, r->info);
  r->width = png_get_image_width(r->png, r->info);
  r->height = png_get_image_height(r->png, r->info);
  r->channels = png_get_channels(r->png, r->info);
  r->bytes = png_get_bit_depth(r->png, r->info) / 8u;
  assert((r->channels == 1 || r->channels == 3) && (r->bytes == 1 || r->bytes == 2));
  if ((uint64_t)r->width * r->height > EP_IMAGE_PNG_MAX_SAMPLES / r->channels)
    return EP_FAIL(r->ctx, EP_E_UNSUPPORTED, "%s: image of %u x %u is too large", r->name, r->width, r->height);
  return EP_OK;
}

static ep_status read_samples(reader *r) {
  size_t row = png_get_rowbytes(r->png, r->info);
  assert(row == (size_t)r->width * r->channels * r->bytes);
  r->data = ep_calloc(r->ctx, r->height, row);
  r->rows = ep_calloc(r->ctx, r->height, sizeof *r->rows);
  if (!r->data || !r->rows) return EP_E_NOMEM;
  for (size_t y = 0; y < r->height; y++) r->rows[y] = r->data + y * row;
  png_read_image(r->png, r->rows);
  png_read_end(r->png, NULL);
  return EP_OK;
}

/* The only frame that libpng's errors return to. */
static ep_status read_guarded(reader *r) {
  if (setjmp(png_jmpbuf(r->png))) return EP_FAIL(r->ctx, EP_E_SYNTAX, "%s: bad PNG: %s", r->name, r->message);
  EP_TRY(read_header(r));
  return read_samples(r);
}

/* Interleaved big-endian samples to channel planes. */
static ep_status to_planes(const reader *r, double **x) {
  size_t pixels = (size_t)r->width * r->height;
  double *out = ep_calloc(r->ctx, pixels * r->channels, sizeof *out);
  if (!out) return EP_E_NOMEM;
  const uint8_t *p = r->data;
  for (size_t i = 0; i < pixels; i++)
    for (size_t c = 0; c < r->channels; c++, p += r->bytes)
      out[c * pixels + i] = r->bytes == 2 ? (double)(p[0] << 8 | p[1]) : (double)p[0];
  *x = out;
  return EP_OK;
}

ep_status ep_image_png_decode(ep_ctx *ctx, const char *name, const void *data, size_t n, double **x, uint32_t *channels,
                              uint32_t *height, uint32_t *width) {
  reader r = {.ctx = ctx, .name = name, .at = data, .end = (const uint8_t *)data + n};
  *x = NULL;
  if (n < 8 || png_sig_cmp(data, 0, 8)) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not a PNG file", name);
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
  r.info = r.png ? png_create_info_struct(r.png) : NULL;
  ep_status st = EP_OK;
  if (!r.info) {
    st = EP_FAIL(ctx, EP_E_NOMEM, "%s: out of memory", name);
  } else {
    png_set_read_fn(r.png, &r, on_read);
    st = read_guarded(&r);
  }
  if (st == EP_OK) st = to_planes(&r, x);
  if (r.png) png_destroy_read_struct(&r.png, &r.info, NULL);
  ep_free(ctx, r.data);
  ep_free(ctx, r.rows);
  *channels = r.channels;
  *height = r.height;
  *width = r.width;
  return st;
}

ep_status ep_image_png_write(ep_ctx *ctx, const char *path, const uint8_t *samples, uint32_t channels, uint32_t height,
                             uint32_t width) {
  assert((channels == 1 || channels == 3) && height && width);
  png_image image = {.version = PNG_IMAGE_VERSION,
                     .width = width,
                     .height = height,
                     .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
  if (png_image_write_to_file(&image, path, 0, samples, 0, NULL)) return EP_OK;
  return EP_FAIL(ctx, EP_E_IO, "%s: cannot be written: %s", path, image.message);
}
