/* Failing, memory, files, SHA-256 (FIPS 180-4). */
#include <errno.h>
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

static _Noreturn void leave(ck *c, bool is_bad_input, const char *format, va_list args) {
  vsnprintf(c->why, sizeof c->why, format, args);
  c->is_bad_input = is_bad_input;
  longjmp(c->env, 1);
}

void ck_reject(ck *c, const char *format, ...) {
  va_list args;
  va_start(args, format);
  leave(c, false, format, args);
}

void ck_bad_input(ck *c, const char *format, ...) {
  va_list args;
  va_start(args, format);
  leave(c, true, format, args);
}

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
  uint8_t *data = NULL;
  size_t used = 0, cap = 0;
  int got = 1;
  gzFile f = gzopen(path, "rb"); /* reads plain files as they are */
  if (!f) ck_bad_input(c, "%s: %s", path, strerror(errno));
  while (got > 0) {
    if (used + 1 >= cap) {
      cap = cap ? 2 * cap : 1 << 16;
      uint8_t *t = realloc(data, cap);
      if (!t || used > limit) break;
      data = t;
    }
    got = gzread(f, data + used, (unsigned)(cap - used - 1 < 1 << 24 ? cap - used - 1 : 1 << 24));
    used += got > 0 ? (size_t)got : 0;
  }
  bool is_read = got == 0 && gzclose(f) == Z_OK; /* anything else: an error, or a gzip stream that ends early */
  if (is_read && used <= limit) {
    uint8_t *own = CK_NEW(c, uint8_t, used + 1);
    memcpy(own, data, used);
    free(data);
    *n = used;
    return own;
  }
  free(data);
  ck_bad_input(c, "%s: %s", path, used > limit ? "too large" : "cannot be read to its end");
}

/* ---- SHA-256 ---- */

static uint32_t rotate(uint32_t x, int k) { return x >> k | x << (32 - k); }

static void sha_block(uint32_t h[8], const uint8_t *p) {
  static const uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  uint32_t w[64], v[8];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
           (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
  memcpy(v, h, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25), ch = (v[4] & v[5]) ^ (~v[4] & v[6]);
    uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
    uint32_t maj = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]), t = v[7] + s1 + ch + k[i] + w[i];
    memmove(v + 1, v, 7 * sizeof *v);
    v[4] += t;
    v[0] = t + s0 + maj;
  }
  for (int i = 0; i < 8; i++) h[i] += v[i];
}

void ck_sha256(const uint8_t *data, size_t n, uint8_t digest[32]) {
  uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t tail[128] = {0};
  size_t whole = n / 64 * 64, rest = n - whole, n_tail = rest < 56 ? 64 : 128;
  for (size_t i = 0; i < whole; i += 64) sha_block(h, data + i);
  if (rest) memcpy(tail, data + whole, rest);
  tail[rest] = 0x80;
  for (int i = 0; i < 8; i++) tail[n_tail - 1 - i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
  for (size_t i = 0; i < n_tail; i += 64) sha_block(h, tail + i);
  for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}
