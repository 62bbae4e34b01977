/* Mutation campaign over one certificate: mutate_certificate NET PROP CERT COUNT SEED [VIOLATED]
 *
 * Every mutant is checked in this process. One that is accepted must be confirmed by the exact mode; if its header
 * (format, hashes, layer names) differs from the original's it must not be accepted at all; and with VIOLATED, a
 * property that really is violated, every mutant is also put before that property with its hash filled in, and must be
 * rejected. Prints "N mutants, N accepted, N wrong"; exit code 0 when none is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"

typedef struct claim {
  ck c; /* owns net and query */
  const ck_net *net;
  const ck_query *q;
  uint8_t net_hash[32], query_hash[32];
} claim;

static uint64_t state;

/* splitmix64 */
static uint64_t draw(uint64_t n) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (z ^ z >> 31) % n;
}

static int load(claim *k, const char *net, const char *property) {
  size_t n[2];
  k->c.limit = (size_t)4 << 30;
  if (setjmp(k->c.env)) {
    fprintf(stderr, "%s\n", k->c.why);
    return 0;
  }
  const uint8_t *a = ck_read_file(&k->c, net, (size_t)1 << 30, &n[0]);
  const uint8_t *b = ck_read_file(&k->c, property, (size_t)1 << 30, &n[1]);
  ck_sha256(a, n[0], k->net_hash);
  ck_sha256(b, n[1], k->query_hash);
  k->net = ck_read_net(&k->c, a, n[0]);
  k->q = ck_read_query(&k->c, b, n[1]);
  return 1;
}

static int is_accepted(const claim *k, const uint8_t *cert, size_t n, bool is_exact) {
  ck *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->limit = (size_t)2 << 30;
  int is_ok = 0;
  if (!setjmp(c->env)) {
    ck_stats st = {0};
    ck_check(c, cert, n, k->net_hash, k->query_hash, k->net, k->q, is_exact, &st);
    ck_clear(c);
    free(c);
    return 1;
  }
  ck_clear(c);
  free(c);
  return is_ok;
}

/* One to three changes: bytes, bits, numbers +-1, cuts, copies, swaps. Returns the new length. */
static size_t mutate(uint8_t *m, size_t n, size_t cap) {
  for (uint64_t k = 1 + draw(3); k > 0 && n > 1; k--) {
    size_t at = draw(n), len = 1 + draw(16), to = draw(n);
    if (draw(3) == 0 && n > 73) at = 73 + draw(n - 73); /* past the hashes */
    len = len > n - at ? n - at : len;
    switch (draw(8)) {
    case 0:
      m[at] ^= (uint8_t)(1u << draw(8));
      break;
    case 1:
      m[at] = (uint8_t)draw(256);
      break;
    case 2:
      m[at] = (uint8_t)(m[at] + (draw(2) ? 1 : 255));
      break;
    case 3: /* drop */
      memmove(m + at, m + at + len, n - at - len);
      n -= len;
      break;
    case 4: /* duplicate */
      if (n + len > cap) break;
      memmove(m + at + len, m + at, n - at);
      n += len;
      break;
    case 5: /* truncate */
      if (draw(8) == 0) n = at + 1;
      break;
    case 6: /* copy elsewhere */
      memmove(m + to, m + at, len > n - to ? n - to : len);
      break;
    default: { /* swap */
      uint8_t t = m[at];
      m[at] = m[to];
      m[to] = t;
    }
    }
  }
  return n;
}

int main(int argc, char **argv) {
  static claim own, violated;
  if (argc != 6 && argc != 7) return 2;
  if (!load(&own, argv[1], argv[2]) || (argc == 7 && !load(&violated, argv[1], argv[6]))) return 2;
  size_t n;
  const uint8_t *cert = ck_read_file(&own.c, argv[3], (size_t)1 << 30, &n);
  unsigned long count = strtoul(argv[4], NULL, 10), n_accepted = 0, n_wrong = 0;
  state = strtoull(argv[5], NULL, 10);
  if (!is_accepted(&own, cert, n, false)) {
    fprintf(stderr, "the certificate itself is rejected\n");
    return 2;
  }
  size_t cap = n + 64;
  uint8_t *m = malloc(cap);
  if (!m) return 2;
  for (unsigned long i = 0; i < count; i++) {
    memcpy(m, cert, n);
    size_t len = mutate(m, n, cap);
    bool has_own_header = len >= 73 && !memcmp(m, cert, 8) && !memcmp(m + 9, cert + 9, 64);
    if (is_accepted(&own, m, len, false)) {
      n_accepted++;
      bool is_right = has_own_header && is_accepted(&own, m, len, true);
      n_wrong += !is_right;
      if (!is_right) fprintf(stderr, "mutant %lu is accepted and not confirmed\n", i);
    }
    if (argc == 7 && len >= 73) {
      memcpy(m + 41, violated.query_hash, 32);
      if (is_accepted(&violated, m, len, false)) {
        n_wrong++;
        fprintf(stderr, "mutant %lu proves a violated property\n", i);
      }
    }
  }
  printf("%lu mutants, %lu accepted, %lu wrong\n", count, n_accepted, n_wrong);
  free(m);
  ck_clear(&own.c);
  ck_clear(&violated.c);
  return n_wrong > 0;
}
