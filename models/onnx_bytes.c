#include "models/onnx_bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static bool is_gzip(const uint8_t *p, size_t n) { return n >= 2 && p[0] == 0x1f && p[1] == 0x8b; }

ep_status ep_onnx_bytes_read(ep_ctx *ctx, const char *path, size_t cap, uint8_t **out, size_t *n) {
  *out = NULL;
  FILE *f = fopen(path, "rb");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  ep_status st = EP_OK;
  size_t used = 0, room = 0;
  uint8_t *buf = NULL;
  for (;;) {
    if (used == room) {
      room = room ? 2 * room : 1 << 16;
      uint8_t *t = ep_realloc(ctx, buf, room);
      if (!t) {
        st = EP_E_NOMEM;
        break;
      }
      buf = t;
    }
    size_t got = fread(buf + used, 1, room - used, f);
    used += got;
    assert(used <= room);
    if (used > cap) st = EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: larger than %zu MiB", path, cap >> 20);
    if (st != EP_OK || !got) break;
  }
  if (st == EP_OK && ferror(f)) st = EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  fclose(f);
  if (st == EP_OK && is_gzip(buf, used)) {
    uint8_t *plain;
    size_t n_plain;
    st = ep_onnx_bytes_inflate(ctx, path, buf, used, cap, &plain, &n_plain);
    ep_free(ctx, buf);
    buf = plain;
    used = n_plain;
  }
  if (st != EP_OK) {
    ep_free(ctx, buf);
    return st;
  }
  *out = buf;
  *n = used;
  return EP_OK;
}

ep_status ep_onnx_bytes_range(ep_ctx *ctx, const char *path, uint64_t offset, size_t n, uint8_t **out) {
  struct stat info;
  *out = NULL;
  if (stat(path, &info) != 0) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  if (!S_ISREG(info.st_mode)) return EP_FAIL(ctx, EP_E_IO, "%s: not a regular file", path);
  uint64_t have = (uint64_t)info.st_size;
  if (offset > have || n > have - offset)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: %llu bytes, too short for %zu at %llu", path, (unsigned long long)have, n,
                   (unsigned long long)offset);
  FILE *f = fopen(path, "rb");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  uint8_t *buf = ep_alloc(ctx, n + 1);
  ep_status st = buf ? EP_OK : EP_E_NOMEM;
  if (buf && (fseeko(f, (off_t)offset, SEEK_SET) != 0 || fread(buf, 1, n, f) != n))
    st = EP_FAIL(ctx, EP_E_IO, "%s: cannot be read", path);
  fclose(f);
  if (st != EP_OK) {
    ep_free(ctx, buf);
    return st;
  }
  *out = buf;
  return EP_OK;
}

ep_status ep_onnx_bytes_inflate(ep_ctx *ctx, const char *name, const void *data, size_t n, size_t cap, uint8_t **out,
                                size_t *n_out) {
  *out = NULL;
  *n_out = 0;
  if (!is_gzip(data, n)) return EP_OK;
  if (n > UINT32_MAX) return EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: too large", name);
  z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n};
  if (inflateInit2(&z, 15 + 16) != Z_OK) return EP_FAIL(ctx, EP_E_NOMEM, "%s: out of memory", name);
  size_t room = n * 4 + 1024 < cap ? n * 4 + 1024 : cap + 1, used = 0;
  uint8_t *buf = NULL;
  ep_status st = EP_OK;
  int rc = Z_OK;
  while (st == EP_OK && rc != Z_STREAM_END) {
    uint8_t *t = ep_realloc(ctx, buf, room);
    if (!t) {
      st = EP_E_NOMEM;
      break;
    }
    buf = t;
    size_t chunk = room - used;
    z.next_out = buf + used;
    z.avail_out = chunk > (1u << 30) ? 1u << 30 : (uInt)chunk;
    uInt before = z.avail_out;
    rc = inflate(&z, Z_NO_FLUSH);
    used += before - z.avail_out;
    assert(used <= room && room <= cap + 1);
    if (rc != Z_OK && rc != Z_STREAM_END) st = EP_FAIL(ctx, EP_E_SYNTAX, "%s: damaged or truncated gzip data", name);
    if (used > cap) st = EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: larger than %zu MiB", name, cap >> 20);
    if (used == room) room = room < cap / 2 ? 2 * room : cap + 1;
    /* gzip files may be joined end to end */
    if (rc == Z_STREAM_END && is_gzip(z.next_in, z.avail_in) && inflateReset(&z) == Z_OK) rc = Z_OK;
  }
  inflateEnd(&z);
  if (st != EP_OK) {
    ep_free(ctx, buf);
    return st;
  }
  *out = buf;
  *n_out = used;
  return EP_OK;
}
