#include "models/tensor.h"

#include <assert.h>
#include <stdio.h>

size_t ep_shape_count(const ep_shape *s) {
  size_t n = 1;
  for (uint32_t i = 0; i < s->rank; i++) {
    if (s->dim[i] < 0) return SIZE_MAX;
    if (s->dim[i] && n > ((size_t)1 << 40) / (size_t)s->dim[i]) return SIZE_MAX;
    n *= (size_t)s->dim[i];
  }
  return n;
}

bool ep_shape_equal(const ep_shape *a, const ep_shape *b) {
  if (a->rank != b->rank) return false;
  for (uint32_t i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

const char *ep_shape_text(const ep_shape *s, char *buf, size_t n) {
  size_t at = (size_t)snprintf(buf, n, "[");
  for (uint32_t i = 0; i < s->rank && at < n; i++)
    at += (size_t)snprintf(buf + at, n - at, i ? ",%lld" : "%lld", (long long)s->dim[i]);
  if (at < n) snprintf(buf + at, n - at, "]");
  return buf;
}

bool ep_shape_broadcast(const ep_shape *a, const ep_shape *b, ep_shape *out) {
  uint32_t rank = a->rank > b->rank ? a->rank : b->rank;
  ep_shape r = {.rank = rank};
  for (uint32_t i = 0; i < rank; i++) {
    int64_t p = i + a->rank >= rank ? a->dim[i + a->rank - rank] : 1;
    int64_t q = i + b->rank >= rank ? b->dim[i + b->rank - rank] : 1;
    if (p != q && p != 1 && q != 1) return false;
    r.dim[i] = p == 1 ? q : p;
  }
  *out = r;
  return true;
}

void ep_shape_broadcast_map(const ep_shape *in, const ep_shape *out, int32_t *map) {
  size_t n = ep_shape_count(out);
  assert(in->rank <= out->rank && n < INT32_MAX);
  int64_t stride[EP_MAX_RANK] = {0}, run = 1;
  for (uint32_t i = in->rank; i-- > 0;) {
    stride[i + out->rank - in->rank] = in->dim[i] == 1 ? 0 : run;
    run *= in->dim[i];
  }
  int64_t at[EP_MAX_RANK] = {0};
  for (size_t k = 0; k < n; k++) {
    int64_t flat = 0;
    for (uint32_t i = 0; i < out->rank; i++) flat += at[i] * stride[i];
    map[k] = (int32_t)flat;
    for (uint32_t i = out->rank; i-- > 0;) {
      if (++at[i] < out->dim[i]) break;
      at[i] = 0;
    }
  }
}

bool ep_dtype_is_float(ep_dtype t) { return t == EP_DT_F32 || t == EP_DT_F64; }

const char *ep_dtype_text(ep_dtype t) {
  static const char *const text[] = {"float32", "float64", "int64", "int32", "bool"};
  return text[t];
}
