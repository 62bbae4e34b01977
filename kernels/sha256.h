/* SHA-256 (FIPS 180-4), to name networks and queries in results and certificates. */
#ifndef EP_KERNELS_SHA256_H
#define EP_KERNELS_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct ep_sha256 {
  uint32_t h[8];
  uint64_t n_bytes;
  uint8_t block[64];
} ep_sha256;

void ep_sha256_init(ep_sha256 *s);
void ep_sha256_update(ep_sha256 *s, const void *data, size_t n);
void ep_sha256_final(ep_sha256 *s, uint8_t digest[32]);
/* Lower-case hex with a final NUL. */
void ep_sha256_hex(const uint8_t digest[32], char hex[65]);

#endif
