/* The network: ONNX through protobuf-c, every node as an affine map or a relu. Nothing is folded together, so no weight
 * is ever rounded, but for quotients and Gemm's alpha and beta, which carry an error bound. */
#include <math.h>
#include <onnx/onnx.pb-c.h>
#include <string.h>

#include "checker/check.h"

#define U 0x1p-53
enum { MAX_RANK = 8, MAX_ELEMENTS = 1 << 27 };

typedef struct shape {
  uint32_t rank;
  int64_t dim[MAX_RANK];
} shape;

/* What a tensor name stands for: a variable value, or a constant (numbers as doubles, exact; integers too). */
typedef struct tensor {
  const char *name;
  shape s;
  uint32_t value;
  const double *data; /* NULL for a variable */
} tensor;

typedef struct reader {
  ck *c;
  ck_net *net;
  tensor *t;
  size_t n_t;
  const Onnx__NodeProto *nd; /* under way */
  int64_t opset;
} reader;

static const char *op_of(const reader *r) { return r->nd && r->nd->op_type ? r->nd->op_type : "?"; }

#define REFUSE(r, ...) ck_bad_input((r)->c, "network, " __VA_ARGS__)

static uint32_t count(const reader *r, const shape *s) {
  int64_t n = 1;
  for (uint32_t i = 0; i < s->rank; i++) {
    if (s->dim[i] <= 0 || n > MAX_ELEMENTS / s->dim[i]) REFUSE(r, "%s: a tensor is empty or too large", op_of(r));
    n *= s->dim[i];
  }
  return (uint32_t)n;
}

static const tensor *lookup(const reader *r, const char *name) {
  for (size_t i = r->n_t; i-- > 0;)
    if (!strcmp(r->t[i].name, name)) return &r->t[i];
  REFUSE(r, "%s: '%.80s' is not defined before it is used", op_of(r), name);
}

static void define(reader *r, const char *name, tensor t) {
  for (size_t i = 0; i < r->n_t; i++)
    if (!strcmp(r->t[i].name, name)) REFUSE(r, "'%.80s' is defined twice", name);
  r->t = ck_grow(r->c, r->t, r->n_t, sizeof *r->t);
  t.name = name;
  r->t[r->n_t++] = t;
}

static uint32_t new_value(reader *r, const shape *s) {
  ck_net *g = r->net;
  g->size = ck_grow(r->c, g->size, g->n_val, sizeof *g->size);
  g->size[g->n_val] = count(r, s);
  return g->n_val++;
}

static ck_node *new_node(reader *r, uint32_t n_in, const shape *s) {
  ck_net *g = r->net;
  if (!r->nd->n_output) REFUSE(r, "%s: no output", op_of(r));
  g->node = ck_grow(r->c, g->node, g->n_node, sizeof *g->node);
  ck_node *nd = &g->node[g->n_node++];
  uint32_t *in = CK_NEW(r->c, uint32_t, n_in);
  ck_map *map = CK_NEW(r->c, ck_map, n_in);
  *nd = (ck_node){.n_in = n_in, .in = in, .map = map, .name = r->nd->output[0], .out = new_value(r, s)};
  define(r, nd->name, (tensor){.s = *s, .value = nd->out});
  return nd;
}

/* ---- attributes and tensors ---- */

static const Onnx__AttributeProto *attribute(const reader *r, const char *name) {
  for (size_t i = 0; i < r->nd->n_attribute; i++)
    if (r->nd->attribute[i]->name && !strcmp(r->nd->attribute[i]->name, name)) return r->nd->attribute[i];
  return NULL;
}
static int64_t attribute_int(const reader *r, const char *name, int64_t dflt) {
  const Onnx__AttributeProto *a = attribute(r, name);
  return a ? a->i : dflt;
}
static double attribute_float(const reader *r, const char *name, double dflt) {
  const Onnx__AttributeProto *a = attribute(r, name);
  return a ? (double)a->f : dflt;
}
/* ints[k] of a list attribute, or the default when there is no such attribute. */
static int64_t attribute_at(const reader *r, const char *name, size_t k, size_t n, int64_t dflt) {
  const Onnx__AttributeProto *a = attribute(r, name);
  if (!a) return dflt;
  if (a->n_ints != n) REFUSE(r, "%s: attribute %s has %zu entries, expected %zu", op_of(r), name, a->n_ints, n);
  return a->ints[k];
}

static double raw_number(const uint8_t *p, int type) {
  float f;
  double d;
  int64_t i;
  if (type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) return memcpy(&f, p, 4), (double)f;
  if (type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE) return memcpy(&d, p, 8), d;
  return memcpy(&i, p, 8), (double)i;
}

static tensor read_tensor(reader *r, const Onnx__TensorProto *t) {
  tensor out = {0};
  int type = t->data_type;
  bool is_f32 = type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, is_f64 = type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
  const char *name = t->name ? t->name : "constant";
  if (!is_f32 && !is_f64 && type != ONNX__TENSOR_PROTO__DATA_TYPE__INT64)
    REFUSE(r, "tensor '%.80s': unsupported element type", name);
  if (t->n_dims > MAX_RANK) REFUSE(r, "tensor '%.80s': rank %zu", name, t->n_dims);
  if (t->n_external_data) REFUSE(r, "tensor '%.80s': external data is not supported", name);
  out.s.rank = (uint32_t)t->n_dims;
  for (uint32_t i = 0; i < out.s.rank; i++) out.s.dim[i] = t->dims[i];
  size_t n = count(r, &out.s), given = is_f32 ? t->n_float_data : is_f64 ? t->n_double_data : t->n_int64_data;
  size_t size = is_f32 ? 4 : 8, have = t->has_raw_data ? t->raw_data.len / size : given;
  if (have != n) REFUSE(r, "tensor '%.80s': %zu elements, its shape says %zu", name, have, n);
  double *d = CK_NEW(r->c, double, n);
  for (size_t i = 0; i < n; i++) {
    d[i] = t->has_raw_data ? raw_number(t->raw_data.data + i * size, type)
           : is_f32        ? (double)t->float_data[i]
           : is_f64        ? t->double_data[i]
                           : (double)t->int64_data[i];
    if (!isfinite(d[i])) REFUSE(r, "tensor '%.80s': element %zu is not finite", name, i);
  }
  r->net->is_no_f32 |= is_f64;
  out.data = d;
  return out;
}

/* ---- maps ---- */

static void map_start(reader *r, ck_map *m, uint32_t n_row, uint32_t n_col, size_t n_seg) {
  *m = (ck_map){.n_row = n_row, .n_col = n_col};
  m->first = CK_NEW(r->c, uint32_t, n_row + 1);
  m->seg = CK_NEW(r->c, ck_seg, n_seg);
}

/* Counts terms, once all segments are there. */
static void map_finish(reader *r, ck_map *m) {
  uint32_t *terms = CK_NEW(r->c, uint32_t, m->n_col);
  for (uint32_t i = 0; i < m->n_row; i++) {
    uint32_t n = 0;
    for (uint32_t k = m->first[i]; k < m->first[i + 1]; k++) {
      const ck_seg *s = &m->seg[k];
      if (s->col > m->n_col || s->len > m->n_col - s->col) REFUSE(r, "%s: shapes do not fit", op_of(r));
      for (uint32_t j = 0; j < s->len; j++) terms[s->col + j]++, n += s->w[j] != 0;
    }
    if (n > m->row_terms) m->row_terms = n;
  }
  for (uint32_t j = 0; j < m->n_col; j++)
    if (terms[j] > m->col_terms) m->col_terms = terms[j];
}

/* y[i] = w[i] x[i]. */
static void diagonal(reader *r, ck_map *m, uint32_t n, const double *w) {
  map_start(r, m, n, n, n);
  for (uint32_t i = 0; i < n; i++) {
    m->seg[i] = (ck_seg){i, 1, &w[i]};
    m->first[i + 1] = i + 1;
  }
  map_finish(r, m);
}

/* ---- operators ---- */

static const tensor *input_at(const reader *r, size_t k) {
  if (k >= r->nd->n_input || !*r->nd->input[k]) REFUSE(r, "%s: input %zu is missing", op_of(r), k);
  return lookup(r, r->nd->input[k]);
}
static bool has_input(const reader *r, size_t k) { return k < r->nd->n_input && *r->nd->input[k]; }
static const tensor *input_of_kind(const reader *r, size_t k, bool is_constant) {
  const tensor *t = input_at(r, k);
  if ((t->data != NULL) != is_constant)
    REFUSE(r, "%s: input %zu must%s be constant", op_of(r), k, is_constant ? "" : " not");
  return t;
}
static const tensor *variable(const reader *r, size_t k) { return input_of_kind(r, k, false); }
static const tensor *constant(const reader *r, size_t k) { return input_of_kind(r, k, true); }

static ck_node *affine_node(reader *r, const tensor *x, const shape *s, ck_map **m) {
  uint32_t value = x->value;
  ck_node *nd = new_node(r, 1, s);
  ((uint32_t *)nd->in)[0] = value;
  *m = (ck_map *)nd->map;
  return nd;
}

/* Elements of the constant t spread over the shape s by broadcasting. */
static const double *spread(reader *r, const tensor *t, const shape *s) {
  uint32_t n = count(r, s), skip = s->rank - t->s.rank;
  double *d = CK_NEW(r->c, double, n);
  if (t->s.rank > s->rank) REFUSE(r, "%s: unsupported broadcast", op_of(r));
  for (uint32_t i = 0; i < n; i++) {
    size_t rest = i, at = 0, stride = 1;
    for (uint32_t k = s->rank; k-- > 0;) {
      size_t x = rest % (size_t)s->dim[k];
      rest /= (size_t)s->dim[k];
      if (k < skip) continue;
      int64_t have = t->s.dim[k - skip];
      if (have != 1 && have != s->dim[k]) REFUSE(r, "%s: unsupported broadcast", op_of(r));
      at += have == 1 ? 0 : x * stride;
      stride *= (size_t)have;
    }
    d[i] = t->data[at];
  }
  return d;
}

/* a +- b with two variables of one shape, or a variable and a constant. */
static void op_add(reader *r) {
  double sign = *op_of(r) == 'A' ? 1 : -1;
  const tensor *a = input_at(r, 0), *b = input_at(r, 1);
  if (!a->data && !b->data) {
    uint32_t n = count(r, &a->s), va = a->value, vb = b->value;
    if (n != count(r, &b->s) || a->s.rank != b->s.rank) REFUSE(r, "%s: unsupported broadcast", op_of(r));
    for (uint32_t i = 0; i < a->s.rank; i++)
      if (a->s.dim[i] != b->s.dim[i]) REFUSE(r, "%s: unsupported broadcast", op_of(r));
    shape s = a->s;
    double *w = CK_NEW(r->c, double, 2 * (size_t)n);
    for (uint32_t i = 0; i < n; i++) {
      w[i] = 1;
      w[n + i] = sign;
    }
    ck_node *nd = new_node(r, 2, &s);
    nd->is_unit = true;
    diagonal(r, (ck_map *)&nd->map[0], n, w);
    diagonal(r, (ck_map *)&nd->map[1], n, w + n);
    ((uint32_t *)nd->in)[0] = va;
    ((uint32_t *)nd->in)[1] = vb;
    return;
  }
  const tensor *x = a->data ? b : a, *k = a->data ? a : b;
  if (x->data) REFUSE(r, "%s: both inputs are constant", op_of(r));
  shape s = x->s;
  uint32_t n = count(r, &s);
  double *bias = (double *)spread(r, k, &s), *w = CK_NEW(r->c, double, n);
  for (uint32_t i = 0; i < n; i++) {
    w[i] = a->data ? sign : 1;
    bias[i] *= a->data ? 1 : sign;
  }
  ck_map *m;
  ck_node *nd = affine_node(r, x, &s, &m);
  diagonal(r, m, n, w);
  nd->is_unit = true;
  nd->bias = bias;
}

static void op_scale(reader *r) {
  bool is_division = *op_of(r) == 'D';
  const tensor *a = input_at(r, 0), *b = input_at(r, 1);
  bool is_swapped = a->data && !is_division;
  const tensor *x = is_swapped ? b : a, *k = is_swapped ? a : b;
  if (x->data || !k->data) REFUSE(r, "%s: one input must be constant", op_of(r));
  shape s = x->s;
  uint32_t n = count(r, &s);
  double *w = (double *)spread(r, k, &s);
  for (uint32_t i = 0; i < n && is_division; i++) {
    w[i] = 1 / w[i];
    if (!isnormal(w[i])) REFUSE(r, "Div: divisor %u is out of range", i);
  }
  ck_map *m;
  affine_node(r, x, &s, &m);
  diagonal(r, m, n, w);
  m->rel = is_division ? 2 * U : 0;
  r->net->is_no_f32 |= is_division;
}

/* y[a][n] = sum_k x[a][k] w(k,n), w stored as [k][n] or, transposed, [n][k]. */
static void dense(reader *r, ck_map *m, uint32_t rows, uint32_t k_n, uint32_t n_n, const double *w,
                  bool is_transposed) {
  double *t = CK_NEW(r->c, double, (size_t)k_n *n_n); /* [n][k], so that a row is one segment */
  for (uint32_t n = 0; n < n_n; n++)
    for (uint32_t k = 0; k < k_n; k++)
      t[(size_t)n * k_n + k] = is_transposed ? w[(size_t)n * k_n + k] : w[(size_t)k * n_n + n];
  map_start(r, m, rows * n_n, rows * k_n, (size_t)rows * n_n);
  for (uint32_t i = 0; i < rows * n_n; i++) {
    m->seg[i] = (ck_seg){i / n_n * k_n, k_n, t + (size_t)(i % n_n) * k_n};
    m->first[i + 1] = i + 1;
  }
  map_finish(r, m);
}

static void op_matmul(reader *r) {
  const tensor *a = input_at(r, 0), *b = input_at(r, 1);
  const tensor *x = a->data ? b : a, *w = a->data ? a : b;
  if (x->data || !w->data || w->s.rank != 2 || !x->s.rank) REFUSE(r, "MatMul: expected a variable and a 2-D constant");
  shape s = x->s;
  ck_map *m;
  if (w == b) {
    uint32_t k_n = (uint32_t)w->s.dim[0], n_n = (uint32_t)w->s.dim[1];
    if (s.dim[s.rank - 1] != k_n) REFUSE(r, "MatMul: shapes do not fit");
    s.dim[s.rank - 1] = n_n;
    const double *d = w->data;
    uint32_t rows = count(r, &x->s) / k_n;
    affine_node(r, x, &s, &m);
    dense(r, m, rows, k_n, n_n, d, false);
    return;
  }
  bool is_column = s.rank == 1 || (s.rank == 2 && s.dim[1] == 1);
  uint32_t k_n = (uint32_t)w->s.dim[1], n_n = (uint32_t)w->s.dim[0];
  if (!is_column || s.dim[0] != k_n) REFUSE(r, "MatMul: a constant times anything but one column is not supported");
  s.dim[0] = n_n;
  const double *d = w->data;
  affine_node(r, x, &s, &m);
  dense(r, m, 1, k_n, n_n, d, true);
}

/* fl(k w) for a float32 k, with the relative error of one product. */
static const double *times(reader *r, double k, const double *w, size_t n) {
  double *t = CK_NEW(r->c, double, n);
  for (size_t i = 0; i < n; i++) {
    t[i] = k * w[i];
    if (t[i] != 0 && !isnormal(t[i])) REFUSE(r, "%s: a scaled weight is out of range", op_of(r));
  }
  return t;
}

static void op_gemm(reader *r) {
  const tensor *x = variable(r, 0), *w = constant(r, 1);
  double alpha = attribute_float(r, "alpha", 1), beta = attribute_float(r, "beta", 1);
  if (attribute_int(r, "transA", 0) || x->s.rank != 2 || w->s.rank != 2) REFUSE(r, "Gemm: unsupported form");
  bool is_t = attribute_int(r, "transB", 0) != 0;
  uint32_t rows = (uint32_t)x->s.dim[0], k_n = (uint32_t)w->s.dim[is_t ? 1 : 0], n_n = (uint32_t)w->s.dim[is_t ? 0 : 1];
  if (x->s.dim[1] != k_n) REFUSE(r, "Gemm: shapes do not fit");
  shape s = {2, {rows, n_n}};
  const double *d = alpha == 1 ? w->data : times(r, alpha, w->data, (size_t)k_n * n_n), *bias = NULL;
  double *err = NULL;
  if (has_input(r, 2)) {
    bias = spread(r, constant(r, 2), &s);
    if (beta != 1) bias = times(r, beta, bias, (size_t)rows * n_n);
    if (beta != 1) err = CK_NEW(r->c, double, (size_t)rows *n_n);
    for (size_t i = 0; err && i < (size_t)rows * n_n; i++) err[i] = 2 * U * fabs(bias[i]);
  }
  ck_map *m;
  ck_node *nd = affine_node(r, x, &s, &m);
  dense(r, m, rows, k_n, n_n, d, is_t);
  m->rel = alpha == 1 ? 0 : 2 * U;
  r->net->is_no_f32 |= alpha != 1 || beta != 1;
  nd->bias = bias;
  nd->bias_err = err;
}

/* One axis of a convolution. */
typedef struct conv_axis {
  int64_t in, out, kernel, stride, dilation, pad;
} conv_axis;

static void conv_rows(ck_map *m, const double *w, int64_t c_in, int64_t c_out, int64_t groups, conv_axis h,
                      conv_axis v) {
  int64_t g_in = c_in / groups, g_out = c_out / groups;
  uint32_t k = 0, row = 0;
  for (int64_t o = 0; o < c_out; o++)
    for (int64_t y = 0; y < h.out; y++)
      for (int64_t x = 0; x < v.out; x++) {
        for (int64_t c = 0; c < g_in; c++)
          for (int64_t i = 0; i < h.kernel; i++) {
            int64_t at = y * h.stride - h.pad + i * h.dilation;
            if (at < 0 || at >= h.in) continue;
            const double *kernel = w + ((o * g_in + c) * h.kernel + i) * v.kernel;
            int64_t base = ((o / g_out * g_in + c) * h.in + at) * v.in, left = x * v.stride - v.pad;
            for (int64_t j = 0; j < v.kernel; j++) { /* runs of neighbouring columns become one segment */
              int64_t col = left + j * v.dilation;
              if (col < 0 || col >= v.in) continue;
              bool joins = v.dilation == 1 && j && col > 0 && k > m->first[row] &&
                           m->seg[k - 1].w + m->seg[k - 1].len == kernel + j;
              if (joins)
                m->seg[k - 1].len++;
              else
                m->seg[k++] = (ck_seg){(uint32_t)(base + col), 1, kernel + j};
            }
          }
        m->first[++row] = k;
      }
}

static void op_conv(reader *r) {
  const tensor *x = variable(r, 0), *w = constant(r, 1);
  const Onnx__AttributeProto *pad = attribute(r, "auto_pad");
  bool is_2d = x->s.rank == 4;
  size_t n_ax = is_2d ? 2 : 1;
  if ((x->s.rank != 4 && x->s.rank != 3) || w->s.rank != x->s.rank || x->s.dim[0] != 1)
    REFUSE(r, "Conv: unsupported form");
  if (pad && (pad->s.len != 6 || memcmp(pad->s.data, "NOTSET", 6) != 0)) REFUSE(r, "Conv: auto_pad is not supported");
  int64_t groups = attribute_int(r, "group", 1), c_out = w->s.dim[0], c_in = x->s.dim[1];
  if (groups < 1 || c_in % groups || c_out % groups || w->s.dim[1] != c_in / groups) REFUSE(r, "Conv: bad groups");
  conv_axis ax[2] = {{1, 1, 1, 1, 1, 0}, {1, 1, 1, 1, 1, 0}};
  shape s = {x->s.rank, {1, c_out}};
  for (size_t k = 0; k < n_ax; k++) {
    conv_axis *a = &ax[k];
    *a = (conv_axis){x->s.dim[2 + k],
                     0,
                     w->s.dim[2 + k],
                     attribute_at(r, "strides", k, n_ax, 1),
                     attribute_at(r, "dilations", k, n_ax, 1),
                     attribute_at(r, "pads", k, 2 * n_ax, 0)};
    int64_t end = attribute_at(r, "pads", k + n_ax, 2 * n_ax, 0);
    if (a->stride < 1 || a->dilation < 1 || a->pad < 0 || end < 0 || a->stride > 1 << 20 || a->dilation > 1 << 20 ||
        a->pad > 1 << 20 || end > 1 << 20)
      REFUSE(r, "Conv: bad strides, dilations or pads");
    int64_t room = a->in + a->pad + end - a->dilation * (a->kernel - 1) - 1;
    if (room < 0) REFUSE(r, "Conv: the kernel is larger than the image");
    a->out = room / a->stride + 1;
    s.dim[2 + k] = a->out;
  }
  uint32_t n_out = count(r, &s), n_in = count(r, &x->s), per = (uint32_t)(n_out / c_out);
  double *bias = has_input(r, 2) ? CK_NEW(r->c, double, n_out) : NULL;
  if (bias && (constant(r, 2)->s.rank != 1 || constant(r, 2)->s.dim[0] != c_out)) REFUSE(r, "Conv: bad bias");
  for (uint32_t i = 0; bias && i < n_out; i++) bias[i] = constant(r, 2)->data[i / per];
  const double *d = w->data;
  ck_map *m;
  /* a 1-D convolution has its only axis along the rows of the image: columns are then 1 wide */
  int64_t segs = (int64_t)n_out * (c_in / groups) * ax[0].kernel * ax[1].kernel;
  if (segs > MAX_ELEMENTS) REFUSE(r, "Conv: too large");
  ck_node *nd = affine_node(r, x, &s, &m);
  map_start(r, m, n_out, n_in, (size_t)segs);
  conv_rows(m, d, c_in, c_out, groups, ax[0], ax[1]);
  map_finish(r, m);
  nd->bias = bias;
}

static void op_relu(reader *r) {
  const tensor *x = variable(r, 0);
  uint32_t value = x->value;
  shape s = x->s;
  ck_node *nd = new_node(r, 1, &s);
  ((uint32_t *)nd->in)[0] = value;
  nd->is_relu = true;
}

/* The same elements under another shape. */
static void op_view(reader *r) {
  const char *op = op_of(r);
  tensor t = *input_at(r, 0);
  uint32_t n = count(r, &t.s);
  shape s = {0};
  if (!strcmp(op, "Flatten")) {
    int64_t axis = attribute_int(r, "axis", 1), head = 1;
    if (axis < 0) axis += t.s.rank;
    if (axis < 0 || axis > t.s.rank) REFUSE(r, "Flatten: bad axis");
    for (int64_t i = 0; i < axis; i++) head *= t.s.dim[i];
    s = (shape){2, {head, n / head}};
  } else if (!strcmp(op, "Reshape")) {
    const tensor *want = constant(r, 1);
    int64_t known = 1, open = -1;
    s.rank = count(r, &want->s);
    if (want->s.rank != 1 || s.rank > MAX_RANK || attribute_int(r, "allowzero", 0)) REFUSE(r, "Reshape: bad shape");
    for (uint32_t i = 0; i < s.rank; i++) {
      double d = want->data[i];
      if (d == 0 && i >= t.s.rank) REFUSE(r, "Reshape: bad shape");
      s.dim[i] = d == 0 ? t.s.dim[i] : d >= -1 && d < MAX_ELEMENTS ? (int64_t)d : 0;
      if (s.dim[i] == -1 && open < 0)
        open = i;
      else if (s.dim[i] < 1 || (known *= s.dim[i]) > n)
        REFUSE(r, "Reshape: bad shape");
    }
    if (open >= 0) s.dim[open] = n / known;
  } else {
    s = t.s;
  }
  if (count(r, &s) != n || !r->nd->n_output) REFUSE(r, "%s: shapes do not fit", op);
  t.s = s;
  define(r, r->nd->output[0], t);
}

static void op_constant(reader *r) {
  const Onnx__AttributeProto *a = attribute(r, "value");
  if (!a || !a->t || !r->nd->n_output) REFUSE(r, "Constant: unsupported form");
  define(r, r->nd->output[0], read_tensor(r, a->t));
}

static void read_node(reader *r) {
  const char *op = op_of(r);
  if (r->nd->domain && *r->nd->domain && strcmp(r->nd->domain, "ai.onnx") != 0) REFUSE(r, "%s: foreign domain", op);
  for (size_t k = 1; k < r->nd->n_output; k++)
    if (*r->nd->output[k]) REFUSE(r, "%s: more than one output", op);
  static const struct {
    const char *name;
    void (*read)(reader *);
  } ops[] = {{"Add", op_add},       {"Constant", op_constant}, {"Conv", op_conv}, {"Div", op_scale},
             {"Dropout", op_view},  {"Flatten", op_view},      {"Gemm", op_gemm}, {"Identity", op_view},
             {"MatMul", op_matmul}, {"Mul", op_scale},         {"Relu", op_relu}, {"Reshape", op_view},
             {"Sub", op_add}};
  void (*read)(reader *) = NULL;
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (!strcmp(op, ops[i].name)) read = ops[i].read;
  if (!read) REFUSE(r, "operator '%.60s' is not supported", op);
  read(r);
}

/* ---- the graph ---- */

static void read_input(reader *r, const Onnx__GraphProto *g) {
  const Onnx__ValueInfoProto *in = NULL;
  for (size_t i = 0; i < g->n_input; i++) {
    bool is_weight = false;
    for (size_t k = 0; k < g->n_initializer; k++)
      is_weight |= g->initializer[k]->name && !strcmp(g->initializer[k]->name, g->input[i]->name);
    if (is_weight) continue;
    if (in) REFUSE(r, "more than one input");
    in = g->input[i];
  }
  if (!in) REFUSE(r, "no input");
  /* cppcheck-suppress nullPointer ; REFUSE does not return */
  if (!in->type || in->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !in->type->tensor_type->shape)
    REFUSE(r, "the input is no tensor with a shape");
  const Onnx__TensorShapeProto *t = in->type->tensor_type->shape;
  shape s = {.rank = (uint32_t)t->n_dim};
  if (t->n_dim > MAX_RANK) REFUSE(r, "input of rank %zu", t->n_dim);
  for (uint32_t i = 0; i < s.rank; i++) /* symbolic and non-positive dimensions are one sample */
    s.dim[i] = t->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && t->dim[i]->dim_value > 0
                   ? t->dim[i]->dim_value
                   : 1;
  r->net->input = new_value(r, &s);
  r->net->is_no_f32 = in->type->tensor_type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  define(r, in->name, (tensor){.s = s, .value = r->net->input});
}

static bool is_ready(const reader *r, const Onnx__NodeProto *nd) {
  for (size_t k = 0; k < nd->n_input; k++) {
    bool is_there = !*nd->input[k];
    for (size_t i = 0; i < r->n_t && !is_there; i++) is_there = !strcmp(r->t[i].name, nd->input[k]);
    if (!is_there) return false;
  }
  return true;
}

static void read_nodes(reader *r, const Onnx__GraphProto *g) {
  bool *is_done = CK_NEW(r->c, bool, g->n_node);
  for (size_t n_done = 0, before = SIZE_MAX; n_done < g->n_node;) {
    if (n_done == before) REFUSE(r, "nodes that wait for each other or for something undefined");
    before = n_done;
    for (size_t i = 0; i < g->n_node; i++) {
      if (is_done[i] || !is_ready(r, g->node[i])) continue;
      r->nd = g->node[i];
      read_node(r);
      is_done[i] = true;
      n_done++;
    }
  }
  r->nd = NULL;
}

static void number_layers(ck *c, ck_net *net) {
  net->relu = CK_NEW(c, uint32_t, net->n_node);
  net->flat = CK_NEW(c, uint32_t, net->n_node + 1);
  for (uint32_t k = 0; k < net->n_node; k++) {
    if (!net->node[k].is_relu) continue;
    net->node[k].layer = net->n_layer;
    net->flat[net->n_layer + 1] = net->flat[net->n_layer] + net->size[net->node[k].out];
    net->relu[net->n_layer++] = k;
  }
}

static void *take(void *c, size_t n) { return ck_alloc(c, n, 1); }
static void give_back(void *c, void *block) { (void)c, (void)block; }

ck_net *ck_read_net(ck *c, const uint8_t *data, size_t n) {
  reader r = {.c = c, .net = CK_NEW(c, ck_net, 1)};
  ProtobufCAllocator memory = {take, give_back, c};
  Onnx__ModelProto *m = onnx__model_proto__unpack(&memory, n, data); /* stays, names are borrowed from it */
  if (!m) REFUSE(&r, "not an ONNX model");
  const Onnx__GraphProto *g = m->graph;
  if (!g || g->n_output != 1 || g->n_sparse_initializer || m->n_functions) REFUSE(&r, "unsupported kind of model");
  for (size_t i = 0; i < m->n_opset_import; i++)
    if (!m->opset_import[i]->domain || !*m->opset_import[i]->domain) r.opset = m->opset_import[i]->version;
  if (r.opset < 8 || r.opset > 20) REFUSE(&r, "opset %lld (8 to 20 are supported)", (long long)r.opset);
  read_input(&r, g);
  for (size_t i = 0; i < g->n_initializer; i++)
    define(&r, g->initializer[i]->name ? g->initializer[i]->name : "", read_tensor(&r, g->initializer[i]));
  read_nodes(&r, g);
  const tensor *out = lookup(&r, g->output[0]->name);
  if (out->data) REFUSE(&r, "the output does not depend on the input");
  r.net->output = out->value;
  number_layers(c, r.net);
  return r.net;
}
