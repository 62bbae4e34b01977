#include "verifier/certificate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

struct ep_certificate {
  ep_ctx *ctx;
  size_t mask_bytes; /* of a set of neurons */
  ep_bytes bytes;    /* header and sections */
};

/* 64 hexadecimal digits as 32 bytes. */
static ep_status add_hash(ep_bytes *b, const char *hex) {
  assert(strlen(hex) == 64);
  uint8_t h[32] = {0};
  for (int i = 0; i < 64; i++) { /* as ep_sha256_hex writes them */
    unsigned digit = (unsigned)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
    assert(digit < 16);
    h[i / 2] = (uint8_t)(h[i / 2] << 4 | digit);
  }
  return ep_bytes_add(b, h, 32);
}

static ep_status add_header(ep_bytes *b, const ep_graph *g, const ep_query *q, bool is_float32) {
  EP_TRY(ep_bytes_add(b, "EPCERT\0\2", 8));
  EP_TRY(ep_bytes_add_byte(b, is_float32));
  EP_TRY(add_hash(b, g->sha256));
  EP_TRY(add_hash(b, q->sha256));
  uint32_t n = 0;
  for (uint32_t k = 0; k < g->n_node; k++) n += g->node[k].low.cls == EP_UNIVAR;
  EP_TRY(ep_bytes_add_number(b, n));
  for (uint32_t k = 0; k < g->n_node; k++) {
    if (g->node[k].low.cls != EP_UNIVAR) continue;
    const char *name = g->val[g->node[k].out].name;
    EP_TRY(ep_bytes_add_number(b, (uint32_t)strlen(name)));
    EP_TRY(ep_bytes_add(b, name, strlen(name)));
    EP_TRY(ep_bytes_add_number(b, g->val[g->node[k].out].n));
  }
  return EP_OK;
}

ep_status ep_certificate_create(ep_ctx *ctx, const ep_graph *g, const ep_query *q, bool is_float32,
                                ep_certificate **out) {
  bool has_twins;
  *out = NULL;
  EP_TRY(ep_proof_check(g));
  EP_TRY(ep_query_has_twin_boxes(ctx, q, &has_twins));
  if (has_twins) /* the checker, which only knows what boxes contain, counts them as one */
    return EP_FAIL(ctx, EP_E_UNSUPPORTED, "certificates cannot tell input boxes apart that differ in strictness alone");
  ep_certificate *c = ep_calloc(ctx, 1, sizeof *c);
  if (!c) return EP_E_NOMEM;
  c->ctx = c->bytes.ctx = ctx;
  for (uint32_t k = 0; k < g->n_node; k++)
    if (g->node[k].low.cls == EP_UNIVAR) c->mask_bytes += (g->val[g->node[k].out].n + 7) / 8;
  ep_status st = add_header(&c->bytes, g, q, is_float32);
  if (st != EP_OK)
    ep_certificate_destroy(c);
  else
    *out = c;
  return st;
}

void ep_certificate_destroy(ep_certificate *c) {
  if (!c) return;
  ep_bytes_clear(&c->bytes);
  ep_free(c->ctx, c);
}

ep_status ep_certificate_add_interval(ep_certificate *c, uint32_t box, uint32_t poly, uint32_t row) {
  EP_TRY(ep_bytes_add_byte(&c->bytes, 'N'));
  EP_TRY(ep_bytes_add_number(&c->bytes, box));
  EP_TRY(ep_bytes_add_byte(&c->bytes, 'P'));
  EP_TRY(ep_bytes_add_number(&c->bytes, poly));
  for (size_t i = 0; i <= c->mask_bytes; i++) EP_TRY(ep_bytes_add_byte(&c->bytes, 0)); /* no neurons, then a leaf */
  EP_TRY(ep_bytes_add_number(&c->bytes, row + 1));
  return ep_bytes_add(&c->bytes, "\4\0E", 3); /* all prices 0, no multipliers; end */
}

ep_status ep_certificate_add_neurons(ep_certificate *c, uint32_t box, const ep_proof *proof) {
  if (!proof->n_useful) return EP_OK;
  EP_TRY(ep_bytes_add_byte(&c->bytes, 'N'));
  EP_TRY(ep_bytes_add_number(&c->bytes, box));
  EP_TRY(ep_bytes_add(&c->bytes, proof->bytes.data, proof->n_useful));
  return ep_bytes_add_byte(&c->bytes, 'E');
}

ep_status ep_certificate_add_splits(ep_certificate *c, uint32_t box, uint32_t n_poly, const bool *is_subject,
                                    const ep_bytes *tree) {
  EP_TRY(ep_bytes_add_byte(&c->bytes, 'S'));
  EP_TRY(ep_bytes_add_number(&c->bytes, box));
  EP_TRY(ep_bytes_add_number(&c->bytes, n_poly));
  for (uint32_t p = 0; p < n_poly; p += 8) {
    uint8_t bits = 0;
    for (uint32_t k = p; k < n_poly && k < p + 8; k++) bits = (uint8_t)(bits | (unsigned)is_subject[k] << (k - p));
    EP_TRY(ep_bytes_add_byte(&c->bytes, bits));
  }
  return ep_bytes_add(&c->bytes, tree->data, tree->n);
}

ep_status ep_certificate_write(const ep_certificate *c, const char *path, uint64_t *n_bytes) {
  gzFile f =
      gzopen(path, "wb1R"); /* what repeats are runs of equal slopes; more effort saves 7 % and takes twice the time */
  if (!f) return EP_FAIL(c->ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  bool is_ok = true;
  for (size_t at = 0; at < c->bytes.n && is_ok;) {
    size_t n = c->bytes.n - at < (1u << 24) ? c->bytes.n - at : 1u << 24;
    is_ok = gzwrite(f, c->bytes.data + at, (unsigned)n) == (int)n;
    at += n;
  }
  is_ok = is_ok && gzputc(f, 'Z') == 'Z';
  is_ok = gzclose(f) == Z_OK && is_ok;
  struct stat info;
  if (!is_ok || stat(path, &info) != 0)
    return EP_FAIL(c->ctx, EP_E_IO, "%s: the certificate could not be written", path);
  *n_bytes = (uint64_t)info.st_size;
  return EP_OK;
}
