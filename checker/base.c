/* Failing, memory, files, hashes. */
#include <errno.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "checker/check.h"

struct ck_block {
  ck_block *next;
  _Alignas(16) unsigned char data[];
};

#define STOP(c, format, is_bad)                                                                                        \
  va_list args;                                                                                                        \
  va_start(args, format);                                                                                              \
  vsnprintf((c)->why, sizeof(c)->why, format, args);                                                                   \
  va_end(args);                                                                                                        \
  (c)->is_bad_input = is_bad;                                                                                          \
  longjmp((c)->env, 1)

void ck_reject(ck *c, const char *format, ...) { STOP(c, format, false); }
void ck_bad_input(ck *c, const char *format, ...) { STOP(c, format, true); }

void *ck_alloc(ck *c, size_t n, size_t size) {
  if (n > (SIZE_MAX / 2 - sizeof(ck_block)) / size || n * size > c->limit - c->used)
    ck_bad_input(c, "needs more than %zu MiB of memory", c->limit >> 20);
  ck_block *b = calloc(1, sizeof *b + n * size);
  if (!b) ck_bad_input(c, "out of memory");
  c->used += n * size;
  b->next = c->block;
  c->block = b;
  return b->data;
}

void *ck_grow(ck *c, void *array, size_t n, size_t size) {
  if (n & (n - 1)) return array; /* full only at powers of two */
  void *t = ck_alloc(c, n ? 2 * n : 1, size);
  if (n) memcpy(t, array, n * size);
  return t;
}

void ck_clear(ck *c) {
  while (c->block) {
    ck_block *b = c->block;
    c->block = b->next;
    free(b);
  }
  c->used = 0;
}

uint8_t *ck_read_file(ck *c, const char *path, size_t limit, size_t *n) {
  size_t used = 0, cap = 1 << 16;
  uint8_t *data = CK_NEW(c, uint8_t, cap);
  int got;
  gzFile f = gzopen(path, "rb"); /* reads plain files as they are */
  if (!f) ck_bad_input(c, "%s: %s", path, strerror(errno));
  while ((got = gzread(f, data + used, (unsigned)(cap - used < 1 << 24 ? cap - used - 1 : 1 << 24))) > 0) {
    used += (size_t)got;
    if (used > limit) break;
    if (used + 1 < cap) continue;
    uint8_t *t = CK_NEW(c, uint8_t, cap *= 2);
    memcpy(t, data, used);
    data = t;
  }
  bool is_read = gzclose(f) == Z_OK && got == 0; /* anything else: an error, or a gzip stream that ends early */
  if (!is_read || used > limit)
    ck_bad_input(c, "%s: %s", path, used > limit ? "too large" : "cannot be read to its end");
  *n = used;
  return data;
}

void ck_sha256(const uint8_t *data, size_t n, uint8_t digest[32]) { SHA256(data, n, digest); }
