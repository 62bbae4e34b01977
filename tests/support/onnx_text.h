/* ONNX files from a line of text, encoded field by field without any schema, so that tests can also write what no
 * exporter would. Statements end with ';': opset 13 [DOMAIN]                        in NAME f 1,?,3          out NAME
 *   init NAME f raw 2,3 1 2 3 4 5 6          (types f d h i l b; forms raw, typed, ext:FILE@OFFSET, none)
 *   node OP[@DOMAIN] a,b,- y,z NAME k=3 k=[1,2] k=0.5 k='text' k=t:c      (t:c = the init written just before) */
#ifndef EP_TESTS_SUPPORT_ONNX_TEXT_H
#define EP_TESTS_SUPPORT_ONNX_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct wire {
  size_t n;
  uint8_t d[8192];
} wire;

static inline void wire_raw(wire *w, const void *p, size_t n) {
  if (n > sizeof w->d - w->n) abort();
  memcpy(w->d + w->n, p, n);
  w->n += n;
}
static inline void wire_varint(wire *w, uint64_t v) {
  for (uint8_t c; v > 127; v >>= 7) wire_raw(w, (c = (uint8_t)(v | 128), &c), 1);
  uint8_t last = (uint8_t)v;
  wire_raw(w, &last, 1);
}
static inline void wire_int(wire *w, unsigned field, int64_t v) {
  wire_varint(w, field << 3);
  wire_varint(w, (uint64_t)v);
}
static inline void wire_bytes(wire *w, unsigned field, const void *p, size_t n) {
  wire_varint(w, field << 3 | 2);
  wire_varint(w, n);
  wire_raw(w, p, n);
}
static inline void wire_text(wire *w, unsigned field, const char *s) { wire_bytes(w, field, s, strlen(s)); }

typedef struct onnx_text {
  wire graph, opsets, last; /* last: the tensor that the latest init made */
} onnx_text;

static inline void onnx_text_ints(wire *w, unsigned field, const char *list) {
  for (const char *s = list; *s && strcmp(s, "-"); s += strcspn(s, ","), s += *s == ',') {
    char *end;
    long long v = strtoll(s, &end, 10);
    wire_int(w, field, v);
  }
}

static inline int onnx_text_type(char c) {
  return c == 'f' ? 1 : c == 'd' ? 11 : c == 'h' ? 10 : c == 'i' ? 6 : c == 'l' ? 7 : c == 'b' ? 9 : c == 's' ? 8 : 16;
}

static inline void onnx_text_value(wire *w, unsigned field, const char *name, char type, const char *dims) {
  wire shape = {0}, tensor = {0}, t = {0}, info = {0};
  for (const char *s = dims; *s && strcmp(s, "-"); s += strcspn(s, ","), s += *s == ',') {
    wire dim = {0};
    if (*s == '?')
      wire_text(&dim, 2, "N");
    else
      wire_int(&dim, 1, strtoll(s, NULL, 10));
    wire_bytes(&shape, 1, dim.d, dim.n);
  }
  wire_int(&tensor, 1, onnx_text_type(type));
  wire_bytes(&tensor, 2, shape.d, shape.n);
  wire_bytes(&t, 1, tensor.d, tensor.n);
  wire_text(&info, 1, name);
  wire_bytes(&info, 2, t.d, t.n);
  wire_bytes(w, field, info.d, info.n);
}

static inline void onnx_text_number(wire *w, char type, bool is_raw, const char *s) {
  double v = strtod(s, NULL);
  float f = (float)v;
  int64_t l = strtoll(s, NULL, 10);
  int32_t i = (int32_t)l;
  uint16_t h = (uint16_t)l; /* float16 by its bits */
  uint8_t b = (uint8_t)l;
  if (type == 'f')
    wire_raw(w, &f, 4);
  else if (type == 'd')
    wire_raw(w, &v, 8);
  else if (!is_raw)
    wire_varint(w, (uint64_t)l);
  else if (type == 'l')
    wire_raw(w, &l, 8);
  else if (type == 'h')
    wire_raw(w, &h, 2);
  else if (type == 'b')
    wire_raw(w, &b, 1);
  else
    wire_raw(w, &i, 4);
}

static inline void onnx_text_external(wire *t, const char *where) {
  char file[256];
  snprintf(file, sizeof file, "%s", where);
  char *at = strchr(file, '@');
  const char *key[2] = {"location", "offset"}, *val[2] = {file, at ? at + 1 : "0"};
  if (at) *at = 0;
  for (int k = 0; k < 2; k++) {
    wire e = {0};
    wire_text(&e, 1, key[k]);
    wire_text(&e, 2, val[k]);
    wire_bytes(t, 13, e.d, e.n);
  }
  wire_int(t, 14, 1);
}

static inline void onnx_text_init(onnx_text *o, char **save, bool is_listed) {
  char *name = strtok_r(NULL, " ", save), *type = strtok_r(NULL, " ", save), *form = strtok_r(NULL, " ", save);
  char *dims = strtok_r(NULL, " ", save);
  wire t = {0}, data = {0};
  bool is_raw = !strcmp(form, "raw");
  onnx_text_ints(&t, 1, dims);
  wire_int(&t, 2, onnx_text_type(*type));
  wire_text(&t, 8, name);
  for (char *v; (v = strtok_r(NULL, " ", save));) onnx_text_number(&data, *type, is_raw, v);
  unsigned typed = *type == 'f' ? 4 : *type == 'd' ? 10 : *type == 'l' ? 7 : 5;
  if (!strncmp(form, "ext:", 4))
    onnx_text_external(&t, form + 4);
  else if (strcmp(form, "none"))
    wire_bytes(&t, is_raw ? 9 : typed, data.d, data.n);
  o->last = t;
  if (is_listed) wire_bytes(&o->graph, 5, t.d, t.n);
}

static inline void onnx_text_attr(const onnx_text *o, wire *node, char *word) {
  wire a = {0};
  char *value = strchr(word, '=');
  *value++ = 0;
  wire_text(&a, 1, word);
  if (*value == '[') {
    bool is_float = strchr(value, '.') != NULL;
    value[strlen(value) - 1] = 0;
    if (is_float) {
      wire list = {0};
      for (char *s = value + 1; *s; s += *s == ',') {
        float f = strtof(s, &s);
        wire_raw(&list, &f, 4);
      }
      wire_bytes(&a, 7, list.d, list.n);
    } else {
      onnx_text_ints(&a, 8, value + 1);
    }
    wire_int(&a, 20, is_float ? 6 : 7);
  } else if (*value == '\'') {
    wire_bytes(&a, 4, value + 1, strlen(value) - 2);
    wire_int(&a, 20, 3);
  } else if (!strncmp(value, "t:", 2)) {
    wire_bytes(&a, 5, o->last.d, o->last.n);
    wire_int(&a, 20, 4);
  } else if (!strcmp(value, "graph")) {
    wire_bytes(&a, 6, "", 0);
    wire_int(&a, 20, 5);
  } else if (strchr(value, '.')) {
    float f = strtof(value, NULL);
    wire_varint(&a, 2 << 3 | 5);
    wire_raw(&a, &f, 4);
    wire_int(&a, 20, 1);
  } else {
    wire_int(&a, 3, strtoll(value, NULL, 10));
    wire_int(&a, 20, 2);
  }
  wire_bytes(node, 5, a.d, a.n);
}

static inline void onnx_text_names(wire *w, unsigned field, char *list) {
  char *save = NULL;
  for (char *s = strtok_r(list, ",", &save); s; s = strtok_r(NULL, ",", &save))
    wire_text(w, field, strcmp(s, "-") ? s : "");
}

static inline void onnx_text_node(onnx_text *o, char **save) {
  char *op = strtok_r(NULL, " ", save), *in = strtok_r(NULL, " ", save), *out = strtok_r(NULL, " ", save);
  char *name = strtok_r(NULL, " ", save), *domain = strchr(op, '@');
  wire n = {0};
  if (domain) *domain++ = 0;
  if (strcmp(in, "none")) onnx_text_names(&n, 1, in);
  if (strcmp(out, "none")) onnx_text_names(&n, 2, out);
  if (name) wire_text(&n, 3, name);
  wire_text(&n, 4, op);
  if (domain) wire_text(&n, 7, domain);
  for (char *a; (a = strtok_r(NULL, " ", save));) onnx_text_attr(o, &n, a);
  wire_bytes(&o->graph, 1, n.d, n.n);
}

static inline void onnx_text_encode(const char *text, wire *model) {
  onnx_text o = {0};
  char copy[2048], *save = NULL;
  snprintf(copy, sizeof copy, "%s", text);
  for (char *s = strtok_r(copy, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
    char *in = NULL, *word = strtok_r(s, " ", &in);
    if (!word) continue;
    if (!strcmp(word, "opset")) {
      char *version = strtok_r(NULL, " ", &in), *domain = strtok_r(NULL, " ", &in);
      wire set = {0};
      if (domain) wire_text(&set, 1, domain);
      wire_int(&set, 2, strtoll(version, NULL, 10));
      wire_bytes(&o.opsets, 8, set.d, set.n);
    } else if (!strcmp(word, "in")) {
      char *name = strtok_r(NULL, " ", &in), *type = strtok_r(NULL, " ", &in);
      onnx_text_value(&o.graph, 11, name, *type, strtok_r(NULL, " ", &in));
    } else if (!strcmp(word, "out")) {
      onnx_text_value(&o.graph, 12, strtok_r(NULL, " ", &in), 'f', "-");
    } else if (!strcmp(word, "node")) {
      onnx_text_node(&o, &in);
    } else {
      onnx_text_init(&o, &in, !strcmp(word, "init"));
    }
  }
  *model = (wire){0};
  wire_int(model, 1, 8);
  wire_bytes(model, 7, o.graph.d, o.graph.n);
  wire_raw(model, o.opsets.d, o.opsets.n);
}

#endif
