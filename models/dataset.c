#include "models/dataset.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/image_png.h"
#include "models/onnx_bytes.h"

#define MAX_FILE ((size_t)1 << 30)

static ep_status take(ep_ctx *ctx, size_t n, ep_sample *out) {
  out->n = n;
  out->channels = 1;
  out->x = ep_calloc(ctx, n + 1, sizeof *out->x);
  return out->x ? EP_OK : EP_E_NOMEM;
}

/* Bytes per element of an IDX type, 0 = unknown. */
static size_t idx_size(uint8_t type) {
  switch (type) {
  case 0x08:
  case 0x09:
    return 1;
  case 0x0b:
    return 2;
  case 0x0c:
  case 0x0d:
    return 4;
  case 0x0e:
    return 8;
  default:
    return 0;
  }
}

static uint64_t big_endian(const uint8_t *p, size_t n) {
  uint64_t v = 0;
  for (size_t i = 0; i < n; i++) v = v << 8 | p[i];
  return v;
}

static double idx_value(uint8_t type, const uint8_t *p) {
  uint64_t v = big_endian(p, idx_size(type));
  switch (type) {
  case 0x09:
    return (int8_t)v;
  case 0x0b:
    return (int16_t)v;
  case 0x0c:
    return (int32_t)v;
  case 0x0d: {
    uint32_t u = (uint32_t)v;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
  }
  case 0x0e: {
    double d;
    memcpy(&d, &v, sizeof d);
    return d;
  }
  default:
    return (double)v;
  }
}

/* Entry `index` of IDX bytes: magic 0 0 type rank, big-endian sizes, row-major data. */
static ep_status idx_entry(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, size_t index, ep_sample *out) {
  size_t rank = n >= 4 ? p[3] : 0, size = n >= 4 ? idx_size(p[2]) : 0, per = 1;
  if (n < 4 || p[0] || p[1] || !size || !rank || rank > 8 || n < 4 + 4 * rank)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not an IDX file", path);
  size_t count = (size_t)big_endian(p + 4, 4);
  for (size_t i = 1; i < rank; i++) {
    size_t d = (size_t)big_endian(p + 4 + 4 * i, 4);
    if (!d || per > MAX_FILE / d) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: bad IDX sizes", path);
    per *= d;
  }
  if (index >= count) return EP_FAIL(ctx, EP_E_OPTION, "%s: entry %zu of %zu", path, index, count);
  size_t at = 4 + 4 * rank;
  if (per * size > n || index > (n - at) / (per * size) || n - at - index * per * size < per * size)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: truncated IDX file", path);
  EP_TRY(take(ctx, per, out));
  for (size_t i = 0; i < per; i++) out->x[i] = idx_value(p[2], p + at + (index * per + i) * size);
  return EP_OK;
}

typedef struct npy_header {
  size_t size;    /* bytes per value */
  bool is_float;  /* else uint8 */
  size_t at, len; /* of the data, bytes */
} npy_header;

/* Number of values that "'shape': (2, 3)," announces; SIZE_MAX when it makes no sense. */
static size_t npy_count(const char *head) {
  const char *s = strstr(head, "'shape': (");
  size_t count = 1;
  if (!s) return SIZE_MAX;
  for (s += strlen("'shape': ("); *s != ')';) {
    char *end;
    if (!isdigit((unsigned char)*s)) return SIZE_MAX;
    unsigned long long d = strtoull(s, &end, 10);
    if (d && count > MAX_FILE / d) return SIZE_MAX;
    count *= (size_t)d;
    for (s = end; *s == ',' || *s == ' '; s++) continue;
  }
  return count;
}

/* NPY versions 1 to 3, C order, |u1 <f4 <f8. */
static ep_status npy_header_read(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, npy_header *h) {
  if (n < 12 || memcmp(p, "\x93NUMPY", 6) != 0) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not an .npy file", path);
  size_t wide = p[6] >= 2 ? 4 : 2, len = 0;
  for (size_t i = 0; i < wide; i++) len |= (size_t)p[8 + i] << (8 * i);
  if (len > n - 8 - wide || len > 65535) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: truncated .npy header", path);
  char *head = ep_alloc(ctx, len + 1);
  if (!head) return EP_E_NOMEM;
  memcpy(head, p + 8 + wide, len);
  head[len] = 0;
  h->is_float = strstr(head, "'<f4'") || strstr(head, "'<f8'");
  h->size = strstr(head, "'<f8'") ? 8 : h->is_float ? 4 : 1;
  h->at = 8 + wide + len;
  h->len = n - h->at;
  bool is_known = h->is_float || strstr(head, "'|u1'"), is_c = strstr(head, "'fortran_order': False") != NULL;
  size_t count = npy_count(head);
  ep_free(ctx, head);
  if (!is_known || !is_c)
    return EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: expected float32, float64 or uint8 values in C order", path);
  if (count != h->len / h->size || h->len % h->size)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: truncated, or of another size than its header says", path);
  return EP_OK;
}

static ep_status npy_entry(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, size_t index, size_t expected,
                           ep_sample *out) {
  npy_header h;
  EP_TRY(npy_header_read(ctx, path, p, n, &h));
  size_t total = h.len / h.size, per = expected ? expected : total;
  if (!per || total % per) return EP_FAIL(ctx, EP_E_SHAPE, "%s: %zu values, expected entries of %zu", path, total, per);
  if (index >= total / per) return EP_FAIL(ctx, EP_E_OPTION, "%s: entry %zu of %zu", path, index, total / per);
  EP_TRY(take(ctx, per, out));
  for (size_t i = 0; i < per; i++) {
    const uint8_t *v = p + h.at + (index * per + i) * h.size;
    float f;
    if (h.size == 8) {
      memcpy(&out->x[i], v, 8);
    } else if (h.is_float) {
      memcpy(&f, v, 4);
      out->x[i] = f;
    } else {
      out->x[i] = *v;
    }
  }
  return EP_OK;
}

/* Line `index` of a CSV file. */
static ep_status csv_entry(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, size_t index, ep_sample *out) {
  char *text = ep_alloc(ctx, n + 1), *line;
  if (!text) return EP_E_NOMEM;
  memcpy(text, p, n);
  text[n] = 0;
  line = text;
  for (size_t k = 0; k < index && line; k++) {
    line = strchr(line, '\n');
    if (line) line++;
  }
  ep_status st = EP_OK;
  size_t count = 1;
  for (char *c = line; c && *c && *c != '\n'; c++) count += *c == ',';
  if (!line || !*line || *line == '\n') st = EP_FAIL(ctx, EP_E_OPTION, "%s: no line %zu", path, index + 1);
  if (st == EP_OK) st = take(ctx, count, out);
  for (size_t i = 0; st == EP_OK && i < count; i++) {
    char *end;
    line += strspn(line, " \t"); /* strtod alone would step over the end of the line */
    out->x[i] = strtod(line, &end);
    end += strspn(end, " \t");
    if (end == line || *line == '\n' || *line == '\r' || (*end != ',' && *end != '\n' && *end != '\r' && *end))
      st = EP_FAIL(ctx, EP_E_SYNTAX, "%s:%zu: field %zu is not a number", path, index + 1, i + 1);
    line = *end ? end + 1 : end;
  }
  ep_free(ctx, text);
  return st;
}

static ep_status png_entry(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, size_t index, ep_sample *out) {
  uint32_t height, width;
  if (index) return EP_FAIL(ctx, EP_E_OPTION, "%s: entry %zu of 1", path, index);
  EP_TRY(ep_image_png_decode(ctx, path, p, n, &out->x, &out->channels, &height, &width));
  out->n = (size_t)out->channels * height * width;
  return EP_OK;
}

static bool has_suffix(const char *s, const char *suffix) {
  size_t n = strlen(s), k = strlen(suffix);
  return n > k && !strcmp(s + n - k, suffix);
}

ep_status ep_dataset_read(ep_ctx *ctx, const char *path, size_t index, size_t n_expected, ep_sample *out) {
  uint8_t *p;
  size_t n;
  *out = (ep_sample){0};
  EP_TRY(ep_onnx_bytes_read(ctx, path, MAX_FILE, &p, &n));
  ep_status st;
  if (has_suffix(path, ".npy"))
    st = npy_entry(ctx, path, p, n, index, n_expected, out);
  else if (has_suffix(path, ".csv"))
    st = csv_entry(ctx, path, p, n, index, out);
  else if (has_suffix(path, ".png"))
    st = png_entry(ctx, path, p, n, index, out);
  else
    st = idx_entry(ctx, path, p, n, index, out);
  ep_free(ctx, p);
  if (st == EP_OK && n_expected && out->n != n_expected)
    st = EP_FAIL(ctx, EP_E_SHAPE, "%s: %zu values, the network takes %zu", path, out->n, n_expected);
  for (size_t i = 0; st == EP_OK && i < out->n; i++)
    if (!isfinite(out->x[i])) st = EP_FAIL(ctx, EP_E_SYNTAX, "%s: value %zu is not finite", path, i);
  if (st != EP_OK) {
    ep_free(ctx, out->x);
    *out = (ep_sample){0};
  }
  return st;
}

ep_status ep_dataset_label(ep_ctx *ctx, const char *path, size_t index, uint32_t *out) {
  ep_sample s;
  EP_TRY(ep_dataset_read(ctx, path, index, 1, &s));
  double v = s.x[0];
  ep_free(ctx, s.x);
  if (!(v >= 0 && v < UINT32_MAX) || v != floor(v))
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: entry %zu is %g, no label", path, index, v);
  *out = (uint32_t)v;
  return EP_OK;
}

/* Every number of a CSV text, lines one after the other. */
static ep_status csv_all(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, ep_sample *out) {
  char *text = ep_alloc(ctx, n + 1);
  if (!text) return EP_E_NOMEM;
  memcpy(text, p, n);
  text[n] = 0;
  size_t count = 1, at = 0, line = 1;
  for (size_t i = 0; i < n; i++) count += text[i] == ',' || text[i] == '\n';
  ep_status st = take(ctx, count, out);
  for (char *s = text; st == EP_OK;) {
    for (; *s == ' ' || *s == '\t' || *s == '\r' || *s == '\n'; s++) line += *s == '\n';
    if (!*s) break;
    char *end;
    double v = strtod(s, &end);
    char *after = end + strspn(end, " \t\r");
    if (end == s || (*after && *after != ',' && *after != '\n')) {
      st = EP_FAIL(ctx, EP_E_SYNTAX, "%s:%zu: '%.20s' is not a number", path, line, s);
      break;
    }
    out->x[at++] = v;
    s = *after == ',' ? after + 1 : after;
  }
  out->n = at;
  ep_free(ctx, text);
  return st;
}

/* All bytes of an IDX file as numbers. */
static ep_status idx_all(ep_ctx *ctx, const char *path, const uint8_t *p, size_t n, ep_sample *out) {
  size_t rank = n >= 4 ? p[3] : 0, size = n >= 4 ? idx_size(p[2]) : 0, total = 1;
  if (n < 4 || p[0] || p[1] || !size || !rank || rank > 8 || n < 4 + 4 * rank)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not an IDX file", path);
  for (size_t i = 0; i < rank; i++) {
    size_t d = (size_t)big_endian(p + 4 + 4 * i, 4);
    if (!d || total > MAX_FILE / d) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: bad IDX sizes", path);
    total *= d;
  }
  if ((n - 4 - 4 * rank) / size < total) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: truncated IDX file", path);
  EP_TRY(take(ctx, total, out));
  for (size_t i = 0; i < total; i++) out->x[i] = idx_value(p[2], p + 4 + 4 * rank + i * size);
  return EP_OK;
}

ep_status ep_dataset_read_all(ep_ctx *ctx, const char *path, ep_sample *out) {
  uint8_t *p;
  size_t n;
  *out = (ep_sample){0};
  EP_TRY(ep_onnx_bytes_read(ctx, path, MAX_FILE, &p, &n));
  ep_status st;
  if (has_suffix(path, ".npy"))
    st = npy_entry(ctx, path, p, n, 0, 0, out);
  else if (has_suffix(path, ".csv"))
    st = csv_all(ctx, path, p, n, out);
  else
    st = idx_all(ctx, path, p, n, out);
  ep_free(ctx, p);
  if (st != EP_OK) {
    ep_free(ctx, out->x);
    *out = (ep_sample){0};
  }
  return st;
}

/* Version 1.0: magic, header padded to a multiple of 64. */
void ep_dataset_npy_head(FILE *f, const char *descr, size_t rank, const uint32_t *shape) {
  char dict[160];
  assert(rank <= 8);
  int len = snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
  for (size_t i = 0; i < rank; i++) len += snprintf(dict + len, sizeof dict - (size_t)len, "%u,", shape[i]);
  len += snprintf(dict + len, sizeof dict - (size_t)len, "), }");
  int total = (10 + len + 1 + 63) / 64 * 64 - 10;
  fwrite("\x93NUMPY\x01\x00", 1, 8, f);
  fputc(total & 255, f);
  fputc(total >> 8, f);
  fprintf(f, "%-*s\n", total - 1, dict);
}

ep_status ep_dataset_write_npy(ep_ctx *ctx, const char *path, size_t rank, const uint32_t *shape, const float *x) {
  size_t n = 1;
  for (size_t i = 0; i < rank; i++) n *= shape[i];
  FILE *f = fopen(path, "wb");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  ep_dataset_npy_head(f, "<f4", rank, shape);
  bool is_ok = fwrite(x, sizeof *x, n, f) == n && !ferror(f);
  is_ok = fclose(f) == 0 && is_ok;
  return is_ok ? EP_OK : EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
}
