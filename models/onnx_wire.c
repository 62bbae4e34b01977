#include "models/onnx_wire.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/onnx_bytes.h"

enum { MAX_DEPTH = 24 }; /* model > graph > node > attribute > graph > ... ; real files need less than 10 */

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *v) {
  *v = 0;
  for (unsigned k = 0; k < 70; k += 7) {
    if (*p == end) return false;
    uint8_t c = *(*p)++;
    if (k < 64) *v |= (uint64_t)(c & 127) << k;
    if (c < 128) return true;
  }
  return false;
}

/* Follows exactly the fields that the generated reader would recurse into. */
static bool depth_ok(const ProtobufCMessageDescriptor *d, const uint8_t *p, const uint8_t *end, unsigned left) {
  assert(p <= end && left <= MAX_DEPTH);
  while (p < end) {
    uint64_t key, len;
    if (!varint(&p, end, &key)) return false;
    switch (key & 7) {
    case 0:
      if (!varint(&p, end, &len)) return false;
      break;
    case 1:
      if (end - p < 8) return false;
      p += 8;
      break;
    case 5:
      if (end - p < 4) return false;
      p += 4;
      break;
    case 2: {
      if (!varint(&p, end, &len) || len > (uint64_t)(end - p)) return false;
      const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, (unsigned)(key >> 3));
      if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && (!left || !depth_ok(f->descriptor, p, p + len, left - 1)))
        return false;
      p += len;
      break;
    }
    default:
      return false;
    }
  }
  return true;
}

static void *wire_alloc(void *ctx, size_t n) { return ep_alloc(ctx, n); }
static void wire_free(void *ctx, void *p) { ep_free(ctx, p); }
static ProtobufCAllocator allocator(ep_ctx *ctx) { return (ProtobufCAllocator){wire_alloc, wire_free, ctx}; }

ep_status ep_onnx_wire_unpack(ep_ctx *ctx, const char *name, const uint8_t *data, size_t n, Onnx__ModelProto **out) {
  *out = NULL;
  if (!n) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: empty file", name);
  if (!depth_ok(&onnx__model_proto__descriptor, data, data + n, MAX_DEPTH))
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not an ONNX model (truncated, damaged or nested too deeply)", name);
  ProtobufCAllocator a = allocator(ctx);
  *out = onnx__model_proto__unpack(&a, n, data);
  if (*out) return EP_OK;
  ep_error e = ep_ctx_error(ctx);
  if (e.code == EP_E_NOMEM || e.code == EP_E_LIMIT) return e.code;
  return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not an ONNX model", name);
}

void ep_onnx_wire_free(ep_ctx *ctx, Onnx__ModelProto *model) {
  ProtobufCAllocator a = allocator(ctx);
  if (model) onnx__model_proto__free_unpacked(model, &a);
}

enum { T_FLOAT = 1, T_INT32 = 6, T_INT64 = 7, T_BOOL = 9, T_HALF = 10, T_DOUBLE = 11 };

bool ep_onnx_wire_dtype(int32_t onnx, ep_dtype *out) {
  switch (onnx) {
  case T_FLOAT:
  case T_HALF:
    *out = EP_DT_F32;
    return true;
  case T_DOUBLE:
    *out = EP_DT_F64;
    return true;
  case T_INT64:
    *out = EP_DT_I64;
    return true;
  case T_INT32:
    *out = EP_DT_I32;
    return true;
  case T_BOOL:
    *out = EP_DT_BOOL;
    return true;
  default:
    return false;
  }
}

static size_t element_size(int32_t type) {
  return type == T_DOUBLE || type == T_INT64 ? 8 : type == T_HALF ? 2 : type == T_BOOL ? 1 : 4;
}

/* IEEE binary16, exactly. */
static double half_value(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  double v = e == 0    ? m * 0x1p-24
             : e == 31 ? (m ? (double)NAN : (double)INFINITY)
                       : (1024 + m) * 0x1p-25 * (double)(1u << e);
  return h >> 15 ? -v : v;
}

/* Little-endian raw bytes (x86 and ARM Linux are little-endian; others are refused at configuration). */
static void from_raw(int32_t type, const uint8_t *p, size_t n, double *f, int64_t *v) {
  assert((f || v) && (p || !n)); /* a tensor is of one kind */
  for (size_t i = 0; i < n; i++) {
    switch (type) {
    case T_FLOAT: {
      float x;
      memcpy(&x, p + 4 * i, 4);
      f[i] = x;
      break;
    }
    case T_DOUBLE:
      memcpy(&f[i], p + 8 * i, 8);
      break;
    case T_HALF: {
      uint16_t h;
      memcpy(&h, p + 2 * i, 2);
      f[i] = half_value(h);
      break;
    }
    case T_INT64:
      assert(v);
      memcpy(&v[i], p + 8 * i, 8);
      break;
    case T_INT32: {
      int32_t x;
      memcpy(&x, p + 4 * i, 4);
      v[i] = x;
      break;
    }
    default:
      assert(v);
      v[i] = p[i] != 0;
    }
  }
}

/* Typed fields; false when the count does not fit. */
static bool from_typed(const Onnx__TensorProto *t, size_t n, double *f, int64_t *v) {
  size_t have = t->data_type == T_FLOAT    ? t->n_float_data
                : t->data_type == T_DOUBLE ? t->n_double_data
                : t->data_type == T_INT64  ? t->n_int64_data
                                           : t->n_int32_data;
  assert(f || v);
  if (have != n) return false;
  for (size_t i = 0; i < n; i++) {
    switch (t->data_type) {
    case T_FLOAT:
      f[i] = t->float_data[i];
      break;
    case T_DOUBLE:
      f[i] = t->double_data[i];
      break;
    case T_HALF:
      f[i] = half_value((uint16_t)t->int32_data[i]);
      break;
    case T_INT64:
      assert(v);
      v[i] = t->int64_data[i];
      break;
    default:
      assert(v);
      v[i] = t->data_type == T_BOOL ? t->int32_data[i] != 0 : t->int32_data[i];
    }
  }
  return true;
}

/* A relative path none of whose parts is "..". */
static bool is_inside(const char *p) {
  if (!p || !*p || *p == '/') return false;
  for (const char *part = p; part; part = strchr(part, '/')) {
    part += *part == '/';
    size_t n = strcspn(part, "/");
    if (n == 2 && part[0] == '.' && part[1] == '.') return false;
  }
  return true;
}

/* External data: a file inside the model's folder. */
static ep_status external(ep_ctx *ctx, const char *name, const char *dir, const Onnx__TensorProto *t, size_t bytes,
                          uint8_t **data) {
  const char *location = NULL;
  uint64_t offset = 0, length = bytes;
  const char *tensor = t->name ? t->name : "";
  for (size_t i = 0; i < t->n_external_data; i++) {
    const char *k = t->external_data[i]->key, *v = t->external_data[i]->value;
    if (!k || !v) continue;
    if (!strcmp(k, "location"))
      location = v;
    else if (!strcmp(k, "offset"))
      offset = strtoull(v, NULL, 10);
    else if (!strcmp(k, "length"))
      length = strtoull(v, NULL, 10);
  }
  if (!dir || !is_inside(location))
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: tensor '%s': external data must lie in the model's folder", name, tensor);
  if (length != bytes)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: tensor '%s': external data of %llu bytes, expected %zu", name, tensor,
                   (unsigned long long)length, bytes);
  assert(location);
  size_t len = strlen(dir) + strlen(location) + 2;
  char *path = ep_alloc(ctx, len);
  if (!path) return EP_E_NOMEM;
  snprintf(path, len, "%s/%s", dir, location);
  ep_status st = ep_onnx_bytes_range(ctx, path, offset, bytes, data);
  ep_free(ctx, path);
  return st;
}

ep_status ep_onnx_wire_tensor(ep_arena *arena, const char *name, const char *dir, const Onnx__TensorProto *t,
                              ep_tensor *out) {
  ep_ctx *ctx = arena->ctx;
  const char *tensor = t->name ? t->name : "";
  *out = (ep_tensor){0};
  if (!ep_onnx_wire_dtype(t->data_type, &out->dtype))
    return EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: tensor '%s': element type %d", name, tensor, t->data_type);
  if (t->n_dims > EP_MAX_RANK)
    return EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: tensor '%s': rank %zu", name, tensor, t->n_dims);
  if (t->segment) return EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: tensor '%s' is stored in segments", name, tensor);
  out->shape.rank = (uint32_t)t->n_dims;
  for (size_t i = 0; i < t->n_dims; i++) out->shape.dim[i] = t->dims[i];
  out->n = ep_shape_count(&out->shape);
  size_t size = element_size(t->data_type);
  if (out->n >= INT32_MAX) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: tensor '%s': bad dimensions", name, tensor);
  bool is_external = t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  size_t have = t->n_float_data + t->n_double_data + t->n_int32_data + t->n_int64_data;
  /* Checked before anything is allocated: a few hostile bytes may claim a huge tensor. */
  if (!is_external && (t->has_raw_data ? t->raw_data.len != out->n * size : have != out->n))
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: tensor '%s': data does not match its %zu elements", name, tensor, out->n);
  assert(out->n <= SIZE_MAX / 8);
  uint8_t *file = NULL;
  if (is_external) EP_TRY(external(ctx, name, dir, t, out->n * size, &file));
  double *f = NULL;
  int64_t *v = NULL;
  if (ep_dtype_is_float(out->dtype))
    out->f64 = f = EP_ARENA(arena, double, out->n + 1);
  else
    out->i64 = v = EP_ARENA(arena, int64_t, out->n + 1);
  if (file && (f || v)) from_raw(t->data_type, file, out->n, f, v);
  ep_free(ctx, file);
  if (!f && !v) return EP_E_NOMEM;
  if (is_external) return EP_OK;
  if (t->has_raw_data)
    from_raw(t->data_type, t->raw_data.data, out->n, f, v);
  else if (!from_typed(t, out->n, f, v))
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: tensor '%s': data does not match its type", name, tensor);
  return EP_OK;
}
