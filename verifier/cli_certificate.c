/* Command certificate: a certificate file as JSON, for people who want to look into one (docs/certificate.md). It only
 * shows what is there; epsproof-check is what judges it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "verifier/cli.h"

enum { MAX_DEPTH = 5000 };
static const size_t MAX_BYTES = (size_t)1 << 31;

/* Writes as it reads; a failure ends the document where it stands. */
typedef struct dump {
  ep_ctx *ctx;
  const char *path;
  const uint8_t *p, *end;
  uint32_t n_layer, *n; /* [n_layer] neurons */
  uint32_t n_mask, cap_mask, (*mask)[2];
  uint8_t *last;
  uint32_t depth;
} dump;

static ep_status broken(const dump *d, const char *what) {
  return EP_FAIL(d->ctx, EP_E_SYNTAX, "%s: not a certificate of format 2: %s", d->path, what);
}

static ep_status take(dump *d, size_t n, const uint8_t **out) {
  if (n > (size_t)(d->end - d->p)) return broken(d, "it ends early");
  *out = d->p;
  d->p += n;
  return EP_OK;
}

static ep_status number(dump *d, uint32_t *out) {
  *out = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const uint8_t *b;
    EP_TRY(take(d, 1, &b));
    *out |= (uint32_t)(*b & 127) << shift;
    if (*b < 128) return EP_OK;
  }
  return broken(d, "a number is too large");
}

static ep_status byte(dump *d, uint8_t *out) {
  const uint8_t *b;
  EP_TRY(take(d, 1, &b));
  *out = *b;
  return EP_OK;
}

static ep_status print_number(dump *d, const char *key, uint32_t *value) {
  EP_TRY(number(d, value));
  printf("\"%s\": %" PRIu32, key, *value);
  return EP_OK;
}

static void print_text(const uint8_t *s, size_t n) {
  putchar('"');
  for (size_t i = 0; i < n; i++)
    if (s[i] < 32 || s[i] == '"' || s[i] == '\\' || s[i] > 126)
      printf("\\u%04x", s[i]);
    else
      putchar(s[i]);
  putchar('"');
}

static ep_status print_hash(dump *d, const char *key) {
  const uint8_t *b;
  EP_TRY(take(d, 32, &b));
  printf(",\n \"%s\": \"", key);
  for (int i = 0; i < 32; i++) printf("%02x", b[i]);
  putchar('"');
  return EP_OK;
}

static ep_status header(dump *d) {
  const uint8_t *b;
  uint8_t semantics;
  EP_TRY(take(d, 8, &b));
  if (memcmp(b, "EPCERT\0\2", 8) != 0) return broken(d, "its first bytes are others");
  EP_TRY(byte(d, &semantics));
  printf("{\"format\": 2,\n \"semantics\": \"%s\"", semantics ? "float32" : "real");
  EP_TRY(print_hash(d, "network_sha256"));
  EP_TRY(print_hash(d, "property_sha256"));
  EP_TRY(number(d, &d->n_layer));
  if (d->n_layer > (size_t)(d->end - d->p)) return broken(d, "it has too many layers");
  d->n = ep_calloc(d->ctx, d->n_layer + 1u, sizeof *d->n);
  if (!d->n) return EP_E_NOMEM;
  printf(",\n \"layers\": [");
  uint64_t sum = 0;
  for (uint32_t l = 0; l < d->n_layer; l++) {
    uint32_t len;
    EP_TRY(number(d, &len));
    EP_TRY(take(d, len, &b));
    printf("%s{\"name\": ", l ? ", " : "");
    print_text(b, len);
    printf(", ");
    EP_TRY(print_number(d, "neurons", &d->n[l]));
    putchar('}');
    sum += d->n[l];
  }
  if (sum > 1u << 28) return broken(d, "it has too many neurons");
  d->cap_mask = (uint32_t)sum;
  d->mask = ep_calloc(d->ctx, sum + 1, sizeof *d->mask);
  d->last = ep_calloc(d->ctx, sum + 1, 1);
  printf("],\n \"sections\": [");
  return d->mask && d->last ? EP_OK : EP_E_NOMEM;
}

static ep_status mask(dump *d) {
  d->n_mask = 0;
  printf("\"neurons\": [");
  for (uint32_t l = 0; l < d->n_layer; l++) {
    const uint8_t *b;
    EP_TRY(take(d, (d->n[l] + 7) / 8, &b));
    for (uint32_t i = 0; i < d->n[l]; i++) {
      if (!(b[i / 8] >> (i % 8) & 1)) continue;
      printf("%s[%" PRIu32 ", %" PRIu32 "]", d->n_mask ? ", " : "", l, i);
      d->mask[d->n_mask][0] = l;
      d->mask[d->n_mask++][1] = i;
    }
  }
  memset(d->last, 0, d->n_mask);
  putchar(']');
  return EP_OK;
}

/* A float of which the upper n bytes are there. */
static ep_status print_float(dump *d, size_t n) {
  const uint8_t *b;
  uint32_t bits = 0;
  float f;
  EP_TRY(take(d, n, &b));
  for (size_t i = 0; i < n; i++) bits |= (uint32_t)b[i] << (8 * (i + 4 - n));
  memcpy(&f, &bits, sizeof f);
  printf(f - f == 0 ? "%.9g" : "null", (double)f);
  return EP_OK;
}

static ep_status print_floats(dump *d, uint32_t n) {
  putchar('[');
  for (uint32_t i = 0; i < n; i++) {
    if (i) printf(", ");
    EP_TRY(print_float(d, 4));
  }
  putchar(']');
  return EP_OK;
}

/* Decided neurons whose multiplier is not 0. */
static ep_status multipliers(dump *d) {
  uint32_t n, gap, at = 0, l;
  EP_TRY(number(d, &n));
  printf("\"multipliers\": [");
  for (uint32_t i = 0; i < n; i++) {
    EP_TRY(number(d, &gap));
    at += gap;
    uint32_t k = at;
    for (l = 0; l < d->n_layer && k >= d->n[l]; l++) k -= d->n[l];
    if (l == d->n_layer) return broken(d, "a multiplier without a neuron");
    printf("%s[%" PRIu32 ", %" PRIu32 ", ", i ? ", " : "", l, k);
    EP_TRY(print_float(d, 2));
    putchar(']');
  }
  putchar(']');
  return EP_OK;
}

static ep_status row(dump *d) {
  uint32_t v;
  EP_TRY(number(d, &v));
  if (v) {
    printf("\"row\": %" PRIu32 ", ", v - 1);
    return EP_OK;
  }
  EP_TRY(number(d, &v));
  printf("\"weights\": ");
  EP_TRY(print_floats(d, v));
  printf(", ");
  return EP_OK;
}

static ep_status leaf(dump *d, bool has_row) {
  uint8_t kind;
  const uint8_t *b;
  putchar('{');
  if (has_row) EP_TRY(row(d));
  EP_TRY(byte(d, &kind));
  static const char *const start[] = {"\"slopes\": [", "\"slopes\": \"ones\"", "\"prices\": ", "\"prices\": 0"};
  if (kind < 1 || kind > 4) return broken(d, "unknown slopes");
  fputs(start[kind - 1], stdout);
  if (kind == 3) EP_TRY(print_floats(d, d->n_mask));
  if (kind == 1) {
    EP_TRY(take(d, d->n_mask, &b));
    for (uint32_t i = 0; i < d->n_mask; i++) {
      d->last[i] = (uint8_t)(d->last[i] + b[i]);
      printf("%s%u", i ? ", " : "", d->last[i]);
    }
    putchar(']');
  }
  printf(", ");
  EP_TRY(multipliers(d));
  putchar('}');
  return EP_OK;
}

static ep_status tree(dump *d, bool has_row);

static ep_status lemmas(dump *d) {
  uint32_t layer, count, v;
  printf("{\"step\": \"lemmas\", ");
  EP_TRY(print_number(d, "layer", &layer));
  printf(", ");
  EP_TRY(mask(d));
  printf(", \"bounds\": [");
  EP_TRY(number(d, &count));
  for (uint32_t k = 0; k < count; k++) {
    EP_TRY(number(d, &v));
    printf("%s\n   {\"neuron\": %" PRIu32 ", \"side\": \"%s\", \"tree\": ", k ? "," : "", v / 2,
           v & 1 ? "upper" : "lower");
    EP_TRY(tree(d, false));
    putchar('}');
  }
  printf("]}");
  return EP_OK;
}

/* A case with lemmas and neurons of its own. */
static ep_status own_case(dump *d, bool has_row) {
  uint32_t n_mask = d->n_mask, (*old)[2] = d->mask, n = 0;
  uint8_t *last = d->last, op;
  d->mask = ep_calloc(d->ctx, d->cap_mask + 1u, sizeof *d->mask);
  d->last = ep_calloc(d->ctx, d->cap_mask + 1u, 1);
  ep_status st = d->mask && d->last ? EP_OK : EP_E_NOMEM;
  printf("{\"lemmas\": [");
  while (st == EP_OK && (st = byte(d, &op)) == EP_OK && op == 'L') {
    if (n++) putchar(',');
    st = lemmas(d);
  }
  if (st == EP_OK && op == 'X') printf("], \"is_empty\": true}");
  if (st == EP_OK && op == 'T') {
    printf("], ");
    st = mask(d);
    printf(", \"tree\": ");
    if (st == EP_OK) st = tree(d, has_row);
    putchar('}');
  } else if (st == EP_OK && op != 'X') {
    st = broken(d, "unknown case");
  }
  ep_free(d->ctx, d->mask);
  ep_free(d->ctx, d->last);
  d->mask = old;
  d->last = last;
  d->n_mask = n_mask;
  return st;
}

static ep_status tree(dump *d, bool has_row) {
  uint32_t v;
  EP_TRY(number(d, &v));
  if (v == 0) return leaf(d, has_row);
  if (d->depth >= MAX_DEPTH) return broken(d, "nested too deeply");
  d->depth++;
  if (v == 1) {
    EP_TRY(own_case(d, has_row));
  } else {
    if (v - 2 >= d->n_mask) return broken(d, "a case without a neuron");
    printf("{\"neuron\": [%" PRIu32 ", %" PRIu32 "], \"inactive\": ", d->mask[v - 2][0], d->mask[v - 2][1]);
    EP_TRY(tree(d, has_row));
    printf(", \"active\": ");
    EP_TRY(tree(d, has_row));
    putchar('}');
  }
  d->depth--;
  return EP_OK;
}

static ep_status neurons(dump *d) {
  uint32_t v, n = 0;
  uint8_t op;
  EP_TRY(print_number(d, "box", &v));
  printf(", \"steps\": [");
  EP_TRY(byte(d, &op));
  while (op != 'E') {
    printf("%s\n  ", n++ ? "," : "");
    if (op == 'L') {
      EP_TRY(lemmas(d));
    } else if (op == 'C') {
      printf("{\"step\": \"layer\", ");
      EP_TRY(print_number(d, "layer", &v));
      printf(", ");
      EP_TRY(mask(d));
      putchar('}');
    } else if (op == 'P') {
      printf("{\"step\": \"polytope\", ");
      EP_TRY(print_number(d, "polytope", &v));
      printf(", ");
      EP_TRY(mask(d));
      printf(", \"tree\": ");
      EP_TRY(tree(d, true));
      putchar('}');
    } else {
      return broken(d, "unknown step");
    }
    EP_TRY(byte(d, &op));
  }
  printf("]");
  return EP_OK;
}

/* The polytopes with is_open that do not end at this box. */
static ep_status read_left(dump *d, uint32_t n_poly, const uint8_t *is_open, uint8_t *left) {
  uint32_t n_open = 0, k = 0;
  const uint8_t *ended = NULL;
  for (uint32_t p = 0; p < n_poly; p++) n_open += is_open[p];
  if (n_open > 1) EP_TRY(take(d, (n_open + 7) / 8, &ended));
  for (uint32_t p = 0; p < n_poly; p++) {
    left[p] = is_open[p] && !(ended && ended[k / 8] >> (k % 8) & 1);
    k += is_open[p];
  }
  return EP_OK;
}

static ep_status boxes(dump *d, uint32_t n_poly, const uint8_t *is_open);

static ep_status halves(dump *d, uint32_t axis, uint32_t n_poly, const uint8_t *is_open, uint8_t *left) {
  const uint8_t *b;
  uint64_t bits = 0;
  double at;
  EP_TRY(take(d, 8, &b));
  for (int i = 0; i < 8; i++) bits |= (uint64_t)b[i] << (8 * i);
  memcpy(&at, &bits, sizeof at);
  EP_TRY(read_left(d, n_poly, is_open, left));
  printf(at - at == 0 ? "{\"input\": %" PRIu32 ", \"at\": %.17g" : "{\"input\": %" PRIu32 ", \"at\": null", axis, at);
  printf(", \"lower\": ");
  EP_TRY(boxes(d, n_poly, left));
  printf(", \"upper\": ");
  EP_TRY(boxes(d, n_poly, left));
  putchar('}');
  return EP_OK;
}

/* A tree for each polytope that does not end by the box alone. */
static ep_status decided(dump *d, uint32_t n_poly, const uint8_t *is_open, uint8_t *left) {
  EP_TRY(read_left(d, n_poly, is_open, left));
  printf("{\"cases\": [");
  d->n_mask = 0;
  for (uint32_t p = 0, n = 0; p < n_poly; p++) {
    if (!left[p]) continue;
    printf("%s{\"polytope\": %" PRIu32 ", \"tree\": ", n++ ? ", " : "", p);
    EP_TRY(tree(d, true));
    putchar('}');
  }
  printf("]}");
  return EP_OK;
}

/* Open polytopes as bytes. */
static ep_status boxes(dump *d, uint32_t n_poly, const uint8_t *is_open) {
  uint32_t v;
  EP_TRY(number(d, &v));
  if (!v) {
    printf("\"end\"");
    return EP_OK;
  }
  if (d->depth >= MAX_DEPTH) return broken(d, "nested too deeply");
  uint8_t *left = ep_calloc(d->ctx, n_poly + 1u, 1);
  if (!left) return EP_E_NOMEM;
  d->depth++;
  ep_status st = v == 1 ? decided(d, n_poly, is_open, left) : halves(d, v - 2, n_poly, is_open, left);
  d->depth--;
  ep_free(d->ctx, left);
  return st;
}

static ep_status splits(dump *d) {
  uint32_t v, n_poly;
  const uint8_t *b;
  EP_TRY(print_number(d, "box", &v));
  EP_TRY(number(d, &n_poly));
  EP_TRY(take(d, ((size_t)n_poly + 7) / 8, &b));
  uint8_t *is_open = ep_calloc(d->ctx, n_poly + 1u, 1);
  if (!is_open) return EP_E_NOMEM;
  printf(", \"polytopes\": [");
  for (uint32_t p = 0, n = 0; p < n_poly; p++) {
    is_open[p] = b[p / 8] >> (p % 8) & 1;
    if (is_open[p]) printf("%s%" PRIu32, n++ ? ", " : "", p);
  }
  printf("], \"tree\": ");
  ep_status st = boxes(d, n_poly, is_open);
  ep_free(d->ctx, is_open);
  return st;
}

static ep_status sections(dump *d) {
  uint8_t op;
  uint32_t n = 0;
  EP_TRY(byte(d, &op));
  while (op != 'Z') {
    printf("%s\n {\"kind\": \"%s\", ", n++ ? "," : "", op == 'N' ? "neurons" : op == 'S' ? "boxes" : "?");
    if (op == 'N') {
      EP_TRY(neurons(d));
    } else if (op == 'S') {
      EP_TRY(splits(d));
    } else {
      return broken(d, "unknown section");
    }
    putchar('}');
    EP_TRY(byte(d, &op));
  }
  printf("]}\n");
  return d->p == d->end ? EP_OK : broken(d, "bytes after its end");
}

static ep_status read_file(ep_ctx *ctx, const char *path, uint8_t **data, size_t *n) {
  size_t cap = 0;
  int got = 1;
  *n = 0;
  gzFile f = gzopen(path, "rb");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  while (got > 0 && *n < MAX_BYTES) {
    if (*n == cap) {
      cap = cap ? 2 * cap : 1 << 16;
      uint8_t *t = ep_realloc(ctx, *data, cap);
      if (!t) break;
      *data = t;
    }
    got = gzread(f, *data + *n, (unsigned)(cap - *n < 1u << 24 ? cap - *n : 1u << 24));
    *n += got > 0 ? (size_t)got : 0;
  }
  if (gzclose(f) == Z_OK && got == 0) return EP_OK;
  return EP_FAIL(ctx, EP_E_IO, "%s: cannot be read to its end", path);
}

ep_status ep_cli_certificate(ep_cli *cli, int *exit_code) {
  uint8_t *data = NULL;
  size_t n;
  dump d = {.ctx = cli->ctx, .path = cli->arg[0]};
  ep_status st;
  *exit_code = 0;
  EP_GOTO(read_file(cli->ctx, d.path, &data, &n));
  d.p = data;
  d.end = data + n;
  EP_GOTO(header(&d));
  EP_GOTO(sections(&d));
done:
  ep_free(cli->ctx, d.n);
  ep_free(cli->ctx, d.mask);
  ep_free(cli->ctx, d.last);
  ep_free(cli->ctx, data);
  return st;
}
