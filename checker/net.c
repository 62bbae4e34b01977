/* The network: ONNX through protobuf-c, every node as an affine map or a relu; what only moves elements becomes another
 * view of the same value. Nothing is folded together, so no weight is ever rounded, but for quotients and those of
 * BatchNormalization, which carry an error bound. */
#include <math.h>
#include <onnx/onnx.pb-c.h>
#include <stdio.h>
#include <string.h>

#include "checker/check.h"

#define U 0x1p-53
enum { MAX_RANK = 8, MAX_ELEMENTS = 1 << 27 };

typedef struct shape {
  uint32_t rank;
  int64_t dim[MAX_RANK];
} shape;

/* What a tensor name stands for: elements of a value, or a constant (numbers as doubles, exact; integers too). */
typedef struct tensor {
  const char *name;
  shape s;
  uint32_t value;
  const uint32_t *at; /* which elements of the value; NULL = all, in order */
  const double *data; /* NULL for a variable */
} tensor;

typedef struct reader {
  ck *c;
  ck_net *net;
  tensor *t;
  size_t n_t;
  const Onnx__NodeProto *nd; /* under way */
} reader;

static const char *op_of(const reader *r) { return r->nd && r->nd->op_type ? r->nd->op_type : "?"; }

#define REFUSE(r, ...) ck_bad_input((r)->c, "network, " __VA_ARGS__)
#define REFUSE_OP(r, what) REFUSE(r, "%s: " what, op_of(r)) /* the node under way */

static uint32_t count(const reader *r, const shape *s) {
  int64_t n = 1;
  for (uint32_t i = 0; i < s->rank; i++) {
    if (s->dim[i] <= 0 || n > MAX_ELEMENTS / s->dim[i]) REFUSE_OP(r, "a tensor is empty or too large");
    n *= s->dim[i];
  }
  return (uint32_t)n;
}

/* What is called so, or NULL. */
static const tensor *find(const reader *r, const char *name) {
  size_t i = 0;
  while (i < r->n_t && strcmp(r->t[i].name, name) != 0) i++;
  return i < r->n_t ? &r->t[i] : NULL;
}

static tensor lookup(const reader *r, const char *name) {
  if (!find(r, name)) REFUSE(r, "%s: '%.80s' is not defined before it is used", op_of(r), name);
  return *find(r, name);
}

static void define(reader *r, const char *name, tensor t) {
  if (find(r, name)) REFUSE(r, "'%.80s' is defined twice", name);
  r->t = ck_grow(r->c, r->t, r->n_t, sizeof *r->t);
  t.name = name;
  r->t[r->n_t++] = t;
}

static uint32_t new_value(reader *r, const shape *s) {
  r->net->size = ck_grow(r->c, r->net->size, r->net->n_val, sizeof *r->net->size);
  r->net->size[r->net->n_val] = count(r, s);
  return r->net->n_val++;
}

static void define_output(reader *r, tensor t) {
  if (!r->nd->n_output) REFUSE_OP(r, "no output");
  define(r, r->nd->output[0], t);
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
/* ints[k] of a list attribute, or the default when there is no such attribute; lengths and counts only. */
static int64_t attribute_at(const reader *r, const char *name, size_t k, size_t n, int64_t dflt) {
  const Onnx__AttributeProto *a = attribute(r, name);
  if (a && (a->n_ints != n || a->ints[k] < 0 || a->ints[k] > 1 << 20))
    REFUSE(r, "%s: attribute %s is not %zu small numbers", op_of(r), name, n);
  return a ? a->ints[k] : dflt;
}

static tensor read_tensor(reader *r, const Onnx__TensorProto *t) {
  tensor out = {0};
  int type = t->data_type;
  bool is_f32 = type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, is_f64 = type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
  const char *name = t->name ? t->name : "constant";
  if ((!is_f32 && !is_f64 && type != ONNX__TENSOR_PROTO__DATA_TYPE__INT64) || t->n_dims > MAX_RANK ||
      t->n_external_data)
    REFUSE(r, "tensor '%.80s': unsupported element type, rank or external data", name);
  out.s.rank = (uint32_t)t->n_dims;
  for (uint32_t i = 0; i < out.s.rank; i++) out.s.dim[i] = t->dims[i];
  size_t n = count(r, &out.s), given = is_f32 ? t->n_float_data : is_f64 ? t->n_double_data : t->n_int64_data;
  size_t size = is_f32 ? 4 : 8, have = t->has_raw_data ? t->raw_data.len / size : given;
  if (have != n) REFUSE(r, "tensor '%.80s': %zu elements, its shape says %zu", name, have, n);
  const void *from = is_f32 ? (void *)t->float_data : is_f64 ? (void *)t->double_data : (void *)t->int64_data;
  if (t->has_raw_data) from = memcpy(CK_NEW(r->c, double, n), t->raw_data.data, n * size); /* aligned */
  double *d = CK_NEW(r->c, double, n);
  for (size_t i = 0; i < n; i++) {
    d[i] = is_f32   ? (double)((const float *)from)[i]
           : is_f64 ? ((const double *)from)[i]
                    : (double)((const int64_t *)from)[i];
    if (!isfinite(d[i])) REFUSE(r, "tensor '%.80s': element %zu is not finite", name, i);
  }
  r->net->is_no_f32 |= is_f64;
  out.data = d;
  return out;
}

/* ---- affine nodes ---- */

/* A node over the values of the tensors `in`; then come add_term and end_row for each element of s, then finish.
 */
static ck_node *add_node(reader *r, uint32_t n_in, const tensor *in, const shape *s) {
  ck_net *g = r->net;
  g->node = ck_grow(r->c, g->node, g->n_node, sizeof *g->node);
  ck_node *nd = &g->node[g->n_node++];
  uint32_t *value = CK_NEW(r->c, uint32_t, n_in), n = count(r, s);
  *nd = (ck_node){.n_in = n_in, .in = value, .map = CK_NEW(r->c, ck_map, n_in), .name = ""};
  for (uint32_t j = 0; j < n_in; j++) {
    value[j] = in[j].value;
    nd->map[j] = (ck_map){.n_col = g->size[value[j]], .first = CK_NEW(r->c, uint32_t, n + 2)};
  }
  nd->out = new_value(r, s);
  return nd;
}

/* w times element i of x joins the map's current row; neighbours under neighbouring weights make one segment. */
static void add_term(reader *r, ck_map *m, const tensor *x, uint32_t i, const double *w) {
  uint32_t col = x->at ? x->at[i] : i, *n = &m->first[m->n_row + 1];
  ck_seg *last = *n > m->first[m->n_row] ? &m->seg[*n - 1] : NULL;
  if (col >= m->n_col) REFUSE_OP(r, "shapes do not fit");
  if (last && last->col + last->len == col && last->w + last->len == w) {
    last->len++;
    return;
  }
  m->seg = ck_grow(r->c, m->seg, *n, sizeof *m->seg);
  m->seg[(*n)++] = (ck_seg){col, 1, w};
}

static void end_row(ck_map *m) {
  m->n_row++;
  m->first[m->n_row + 1] = m->first[m->n_row];
}

/* The node's output under its shape, once all rows are there. */
static tensor finish(reader *r, ck_node *nd, const shape *s) {
  for (ck_map *m = nd->map; m < nd->map + nd->n_in; m++) {
    uint32_t *terms = CK_NEW(r->c, uint32_t, m->n_col);
    for (uint32_t i = 0; i < m->n_row; i++) {
      uint32_t n = 0;
      for (uint32_t k = m->first[i]; k < m->first[i + 1]; k++)
        for (uint32_t j = 0; j < m->seg[k].len; j++) terms[m->seg[k].col + j]++, n += m->seg[k].w[j] != 0;
      if (n > m->row_terms) m->row_terms = n;
    }
    for (uint32_t j = 0; j < m->n_col; j++)
      if (terms[j] > m->col_terms) m->col_terms = terms[j];
  }
  return (tensor){.s = *s, .value = nd->out};
}

/* y[i] = w[i] x[i] + bias[i] */
static ck_node *diagonal(reader *r, const tensor *x, const double *w, const double *bias, double rel) {
  ck_node *nd = add_node(r, 1, x, &x->s);
  for (uint32_t i = 0, n = count(r, &x->s); i < n; i++) {
    add_term(r, &nd->map[0], x, i, &w[i]);
    end_row(&nd->map[0]);
  }
  nd->bias = bias;
  nd->map[0].rel = rel;
  return nd;
}

/* ---- operators ---- */

static bool has_input(const reader *r, size_t k) { return k < r->nd->n_input && *r->nd->input[k]; }
static tensor input_at(const reader *r, size_t k) {
  if (!has_input(r, k)) REFUSE(r, "%s: input %zu is missing", op_of(r), k);
  return lookup(r, r->nd->input[k]);
}
static tensor input_of_kind(const reader *r, size_t k, bool is_constant) {
  tensor t = input_at(r, k);
  if ((t.data != NULL) != is_constant)
    REFUSE(r, "%s: input %zu must%s be constant", op_of(r), k, is_constant ? "" : " not");
  return t;
}
static tensor constant(const reader *r, size_t k) { return input_of_kind(r, k, true); }
static tensor variable(const reader *r, size_t k) { return input_of_kind(r, k, false); }

/* The numbers of an optional constant input; NULL = not given. */
static const double *numbers(reader *r, size_t k, size_t *n) {
  tensor t = has_input(r, k) ? constant(r, k) : (tensor){0};
  *n = t.data ? count(r, &t.s) : 0;
  return t.data;
}

static uint32_t axis_of(const reader *r, double v, uint32_t rank) {
  if (v < 0) v += rank;
  if (!(v >= 0 && v < rank)) REFUSE_OP(r, "bad axis");
  return (uint32_t)v;
}

/* Along one axis of a result: coordinate c reads start + c step of a source axis. */
typedef struct axis {
  int64_t stride, size, start, step;
} axis;

static void axes_of(const tensor *t, axis *ax) {
  int64_t stride = 1;
  for (uint32_t k = t->s.rank; k-- > 0; stride *= t->s.dim[k]) ax[k] = (axis){stride, t->s.dim[k], 0, 1};
}

/* A tensor of shape s made of elements of t. */
static tensor pick(reader *r, const tensor *t, const shape *s, const axis *ax) {
  uint32_t n = count(r, s), *at = CK_NEW(r->c, uint32_t, n);
  double *data = t->data ? CK_NEW(r->c, double, n) : NULL;
  for (uint32_t i = 0; i < n; i++) {
    int64_t from = 0, rest = i;
    for (uint32_t k = s->rank; k-- > 0; rest /= s->dim[k])
      from += (ax[k].start + rest % s->dim[k] * ax[k].step) * ax[k].stride;
    if (data) data[i] = t->data[from];
    at[i] = t->at ? t->at[from] : (uint32_t)from;
  }
  return (tensor){.s = *s, .value = t->value, .at = at, .data = data};
}

static tensor permuted(reader *r, const tensor *t, const uint32_t *perm) {
  axis own[MAX_RANK], ax[MAX_RANK] = {{0}};
  shape s = t->s;
  axes_of(t, own);
  for (uint32_t k = 0; k < s.rank; k++) {
    s.dim[k] = t->s.dim[perm[k]];
    ax[k] = own[perm[k]];
  }
  return pick(r, t, &s, ax);
}

static tensor transposed(reader *r, const tensor *t) {
  if (t->s.rank != 2) REFUSE_OP(r, "expected a matrix");
  return permuted(r, t, (const uint32_t[]){1, 0});
}

/* Broadcasting to the shape s. */
static tensor spread(reader *r, const tensor *t, const shape *s) {
  axis own[MAX_RANK], ax[MAX_RANK] = {{0}};
  uint32_t skip = s->rank - t->s.rank;
  if (t->s.rank > s->rank) REFUSE_OP(r, "unsupported broadcast");
  axes_of(t, own);
  for (uint32_t k = 0; k < s->rank; k++) {
    ax[k].size = 1;
    if (k >= skip) ax[k] = own[k - skip];
    if (ax[k].size != 1 && ax[k].size != s->dim[k]) REFUSE_OP(r, "unsupported broadcast");
    if (ax[k].size == 1) ax[k].step = 0;
  }
  return pick(r, t, s, ax);
}

/* Both inputs, broadcast to each other. */
static void spread_both(reader *r, tensor t[2]) {
  tensor a = input_at(r, 0), b = input_at(r, 1);
  const shape *o = a.s.rank > b.s.rank ? &b.s : &a.s; /* of fewer axes */
  shape s = o == &b.s ? a.s : b.s;
  for (uint32_t k = 0, skip = s.rank - o->rank; k < o->rank; k++)
    if (s.dim[skip + k] == 1) s.dim[skip + k] = o->dim[k];
  t[0] = spread(r, &a, &s);
  t[1] = spread(r, &b, &s);
  if (a.data && b.data) REFUSE_OP(r, "both inputs are constant");
}

/* Add and Sub: each summand that is a variable gets a map of its own. */
static void op_add(reader *r) {
  static const double one[2] = {1, -1};
  const double *sign[2] = {&one[0], &one[*op_of(r) == 'S']};
  tensor t[2];
  spread_both(r, t);
  uint32_t n = count(r, &t[0].s), n_in = 2;
  double *bias = NULL;
  for (int k = 1; k >= 0; k--) {
    if (!t[k].data) continue;
    bias = CK_NEW(r->c, double, n);
    for (uint32_t i = 0; i < n; i++) bias[i] = *sign[k] * t[k].data[i];
    n_in = 1;
    if (!k) t[0] = t[1], sign[0] = sign[1];
  }
  ck_node *nd = add_node(r, n_in, t, &t[0].s);
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < n_in; j++) {
      add_term(r, &nd->map[j], &t[j], i, sign[j]);
      end_row(&nd->map[j]);
    }
  nd->is_unit = true;
  nd->bias = bias;
  define_output(r, finish(r, nd, &t[0].s));
}

/* Mul, Div and Neg. */
static void op_scale(reader *r) {
  static const double minus = -1;
  bool is_division = *op_of(r) == 'D', is_neg = *op_of(r) == 'N';
  tensor t[2] = {{.data = &minus}, {0}};
  if (is_neg) t[1] = variable(r, 0), t[0] = spread(r, &t[0], &t[1].s);
  if (!is_neg) spread_both(r, t);
  if ((is_division && t[0].data) || (!t[0].data && !t[1].data)) REFUSE_OP(r, "one input must be constant");
  const tensor *x = &t[t[0].data != NULL];
  double *w = (double *)t[t[0].data == NULL].data;
  for (uint32_t i = 0, n = count(r, &x->s); i < n && is_division; i++) {
    w[i] = 1 / w[i];
    if (!isnormal(w[i])) REFUSE(r, "Div: divisor %u is out of range", i);
  }
  r->net->is_no_f32 |= is_division;
  ck_node *nd = diagonal(r, x, w, NULL, is_division ? 2 * U : 0);
  nd->is_unit = is_neg;
  define_output(r, finish(r, nd, &x->s));
}

/* y = scale (x - mean) / sqrt(var + eps) + b, channels along axis 1; at most four roundings in a weight. */
static void op_norm(reader *r) {
  tensor x = variable(r, 0), p[4];
  double eps = attribute_float(r, "epsilon", (double)1e-5f);
  uint32_t n = count(r, &x.s), per = x.s.rank < 2 ? n : n / (uint32_t)(x.s.dim[0] * x.s.dim[1]);
  for (size_t k = 0; k < 4; k++)
    if ((p[k] = constant(r, k + 1)).s.rank != 1 || x.s.rank < 2 || p[k].s.dim[0] != x.s.dim[1] ||
        attribute_int(r, "training_mode", 0) || !attribute_int(r, "spatial", 1))
      REFUSE_OP(r, "unsupported form");
  double *w = CK_NEW(r->c, double, n), *bias = CK_NEW(r->c, double, n), *err = CK_NEW(r->c, double, n);
  for (uint32_t i = 0; i < n; i++) {
    size_t c = i / per % (size_t)x.s.dim[1];
    w[i] = p[0].data[c] / sqrt(p[3].data[c] + eps);
    bias[i] = p[1].data[c] - p[2].data[c] * w[i];
    err[i] = 16 * U * (fabs(p[1].data[c]) + fabs(p[2].data[c] * w[i])) + 0x1p-1000;
    if (w[i] != 0 && !isnormal(w[i])) REFUSE_OP(r, "a weight is out of range");
  }
  ck_node *nd = diagonal(r, &x, w, bias, 8 * U);
  nd->bias_err = err;
  r->net->is_no_f32 = true;
  define_output(r, finish(r, nd, &x.s));
}

/* y[a][n] = sum_k x[a][k] w[n][k] */
static ck_node *dense(reader *r, const tensor *x, uint32_t k_n, uint32_t n_n, const double *w, const shape *s) {
  ck_node *nd = add_node(r, 1, x, s);
  for (uint32_t i = 0, n = count(r, s); i < n; i++) {
    for (uint32_t k = 0; k < k_n; k++) add_term(r, &nd->map[0], x, i / n_n * k_n + k, &w[(size_t)(i % n_n) * k_n + k]);
    end_row(&nd->map[0]);
  }
  return nd;
}

static void op_matmul(reader *r) {
  tensor a = input_at(r, 0), b = input_at(r, 1);
  bool is_left = a.data != NULL; /* y = w x, so y' = x' w' */
  tensor x = !is_left ? a : b.s.rank == 1 ? b : transposed(r, &b), w = is_left ? a : transposed(r, &b);
  if (x.data || !w.data || w.s.rank != 2 || !x.s.rank || x.s.dim[x.s.rank - 1] != w.s.dim[1])
    REFUSE_OP(r, "expected a variable and a 2-D constant that fit");
  shape s = x.s;
  s.dim[s.rank - 1] = w.s.dim[0];
  tensor y = finish(r, dense(r, &x, (uint32_t)w.s.dim[1], (uint32_t)w.s.dim[0], w.data, &s), &s);
  define_output(r, is_left && s.rank == 2 ? transposed(r, &y) : y);
}

static void op_gemm(reader *r) {
  tensor x = variable(r, 0), w = constant(r, 1);
  if (attribute_float(r, "alpha", 1) != 1 || attribute_float(r, "beta", 1) != 1) REFUSE_OP(r, "alpha or beta is not 1");
  if (attribute_int(r, "transA", 0)) x = transposed(r, &x);
  if (!attribute_int(r, "transB", 0)) w = transposed(r, &w);
  if (x.s.rank != 2 || w.s.rank != 2 || x.s.dim[1] != w.s.dim[1]) REFUSE_OP(r, "shapes do not fit");
  shape s = {2, {x.s.dim[0], w.s.dim[0]}};
  ck_node *nd = dense(r, &x, (uint32_t)w.s.dim[1], (uint32_t)w.s.dim[0], w.data, &s);
  tensor c = has_input(r, 2) ? constant(r, 2) : (tensor){0};
  if (c.data) nd->bias = spread(r, &c, &s).data;
  define_output(r, finish(r, nd, &s));
}

/* One spatial axis of a convolution, or of its transpose. */
typedef struct conv_axis {
  int64_t in, out, kernel, stride, dilation, pad;
  bool is_transposed;
} conv_axis;

/* The input position that kernel element k reads (or is spread from) for an output position; -1 = none. */
static int64_t position(const conv_axis *a, int64_t out, int64_t k) {
  int64_t at = a->is_transposed ? out + a->pad - k * a->dilation : out * a->stride - a->pad + k * a->dilation;
  if (a->is_transposed && at % a->stride) return -1;
  if (a->is_transposed) at /= a->stride;
  return at >= 0 && at < a->in ? at : -1;
}

static void read_conv_axis(reader *r, size_t k, size_t n_ax, conv_axis *a) {
  a->stride = attribute_at(r, "strides", k, n_ax, 1);
  a->dilation = attribute_at(r, "dilations", k, n_ax, 1);
  a->pad = attribute_at(r, "pads", k, 2 * n_ax, 0);
  int64_t end = attribute_at(r, "pads", k + n_ax, 2 * n_ax, 0), reach = a->dilation * (a->kernel - 1) + 1;
  int64_t extra = attribute_at(r, "output_padding", k, n_ax, 0);
  if (a->stride < 1 || a->dilation < 1) REFUSE_OP(r, "bad strides or dilations");
  a->out = a->is_transposed ? (a->in - 1) * a->stride + reach + extra - a->pad - end
                            : (a->in + a->pad + end - reach < 0 ? 0 : (a->in + a->pad + end - reach) / a->stride + 1);
}

static void conv_rows(reader *r, ck_map *m, const tensor *x, const double *w, int64_t c_out, int64_t groups,
                      const conv_axis *v) {
  int64_t g_in = x->s.dim[1] / groups, g_out = c_out / groups;
  for (int64_t o = 0, n = c_out * v[0].out * v[1].out; o < n; o++) {
    int64_t co = o / (v[0].out * v[1].out), y = o / v[1].out % v[0].out, z = o % v[1].out, first = co / g_out * g_in;
    for (int64_t c = 0; c < g_in; c++)
      for (int64_t i = 0; i < v[0].kernel; i++)
        for (int64_t j = 0, p = position(&v[0], y, i), q; j < v[1].kernel && p >= 0; j++) {
          if ((q = position(&v[1], z, j)) < 0) continue;
          int64_t at = v->is_transposed ? (first + c) * g_out + co % g_out : co * g_in + c; /* of the kernel */
          add_term(r, m, x, (uint32_t)(((first + c) * v[0].in + p) * v[1].in + q),
                   w + (at * v[0].kernel + i) * v[1].kernel + j);
        }
    end_row(m);
  }
}

/* Conv and ConvTranspose, one or two spatial axes. */
static void op_conv(reader *r) {
  tensor x = variable(r, 0), w = constant(r, 1);
  const Onnx__AttributeProto *pad = attribute(r, "auto_pad");
  bool is_transposed = op_of(r)[4] != 0;
  size_t n_ax = x.s.rank == 4 ? 2 : 1;
  int64_t groups = attribute_int(r, "group", 1);
  if ((x.s.rank != 4 && x.s.rank != 3) || w.s.rank != x.s.rank || x.s.dim[0] != 1 || attribute(r, "output_shape") ||
      (pad && (pad->s.len != 6 || memcmp(pad->s.data, "NOTSET", 6) != 0)) || groups < 1 || x.s.dim[1] % groups ||
      w.s.dim[0] % groups || w.s.dim[!is_transposed] != x.s.dim[1] / (is_transposed ? 1 : groups))
    REFUSE_OP(r, "unsupported form or bad groups");
  int64_t c_out = is_transposed ? w.s.dim[1] * groups : w.s.dim[0];
  conv_axis ax[2] = {{1, 1, 1, 1, 1, 0, is_transposed}, {1, 1, 1, 1, 1, 0, is_transposed}};
  shape s = {x.s.rank, {1, c_out}};
  for (size_t k = 0; k < n_ax; k++) {
    ax[k].in = x.s.dim[2 + k];
    ax[k].kernel = w.s.dim[2 + k];
    read_conv_axis(r, k, n_ax, &ax[k]);
    s.dim[2 + k] = ax[k].out;
  }
  uint32_t n = count(r, &s), per = (uint32_t)(n / c_out);
  if ((uint64_t)n * count(r, &w.s) / (uint64_t)c_out > 1ull << 34) REFUSE_OP(r, "too large");
  ck_node *nd = add_node(r, 1, &x, &s);
  conv_rows(r, &nd->map[0], &x, w.data, c_out, groups, ax);
  if (has_input(r, 2)) {
    tensor b = constant(r, 2);
    double *bias = CK_NEW(r->c, double, n);
    if (b.s.rank != 1 || b.s.dim[0] != c_out) REFUSE_OP(r, "bad bias");
    for (uint32_t i = 0; i < n; i++) bias[i] = b.data[i / per];
    nd->bias = bias;
  }
  define_output(r, finish(r, nd, &s));
}

/* A value whose elements are the tensor's. */
static uint32_t materialise(reader *r, const tensor *t) {
  if (!t->at) return t->value;
  uint32_t n = count(r, &t->s);
  double *w = CK_NEW(r->c, double, n);
  for (uint32_t i = 0; i < n; i++) w[i] = 1;
  ck_node *nd = diagonal(r, t, w, NULL, 0);
  nd->is_unit = true;
  return finish(r, nd, &t->s).value;
}

static void op_relu(reader *r) {
  ck_net *g = r->net;
  tensor x = variable(r, 0);
  x.value = materialise(r, &x);
  ck_node *nd = add_node(r, 1, &x, &x.s);
  nd->is_relu = true;
  nd->layer = g->n_layer;
  define_output(r, (tensor){.s = x.s, .value = nd->out});
  nd->name = r->nd->output[0];
  g->relu = ck_grow(r->c, g->relu, g->n_layer, sizeof *g->relu);
  g->flat = ck_grow(r->c, g->flat, g->n_layer + 1, sizeof *g->flat);
  g->flat[g->n_layer + 1] = g->flat[g->n_layer] + g->size[nd->out];
  g->relu[g->n_layer++] = g->n_node - 1;
}

/* ---- operators that move elements ---- */

static shape reshaped(reader *r, const shape *x, uint32_t n) {
  tensor want = constant(r, 1);
  int64_t known = 1, open = -1;
  shape s = {.rank = count(r, &want.s)};
  if (want.s.rank != 1 || s.rank > MAX_RANK || attribute_int(r, "allowzero", 0)) REFUSE_OP(r, "bad shape");
  for (uint32_t i = 0; i < s.rank; i++) {
    double d = want.data[i];
    if (d == 0 && i >= x->rank) REFUSE_OP(r, "bad shape");
    s.dim[i] = d == 0 ? x->dim[i] : d >= -1 && d < MAX_ELEMENTS ? (int64_t)d : 0;
    if (s.dim[i] == -1 && open < 0)
      open = i;
    else if (s.dim[i] < 1 || (known *= s.dim[i]) > n)
      REFUSE_OP(r, "bad shape");
  }
  if (open >= 0) s.dim[open] = n / known;
  return s;
}

/* The same elements under another shape. */
static void op_view(reader *r) {
  const char *op = op_of(r);
  tensor t = input_at(r, 0);
  uint32_t n = count(r, &t.s);
  if (!strcmp(op, "Flatten")) {
    int64_t end = attribute_int(r, "axis", 1), head = 1;
    if (end < 0) end += t.s.rank;
    if (end < 0 || end > t.s.rank) REFUSE_OP(r, "bad axis");
    for (int64_t i = 0; i < end; i++) head *= t.s.dim[i];
    t.s = (shape){2, {head, n / head}};
  } else if (!strcmp(op, "Reshape")) {
    t.s = reshaped(r, &t.s, n);
  }
  if (count(r, &t.s) != n) REFUSE(r, "%s: shapes do not fit", op);
  define_output(r, t);
}

static void op_transpose(reader *r) {
  tensor t = input_at(r, 0);
  uint32_t perm[MAX_RANK] = {0}, n = t.s.rank, seen = 0;
  for (uint32_t k = 0; k < n; k++) {
    perm[k] = axis_of(r, (double)attribute_at(r, "perm", k, n, n - 1 - k), n);
    seen |= 1u << perm[k];
  }
  if (seen != (1u << n) - 1) REFUSE_OP(r, "bad permutation");
  define_output(r, permuted(r, &t, perm));
}

static void op_slice(reader *r) {
  tensor t = input_at(r, 0);
  axis ax[MAX_RANK];
  shape s = t.s;
  size_t n, n_end, n_axes, n_steps, seen = 0;
  const double *start = numbers(r, 1, &n), *end = numbers(r, 2, &n_end);
  const double *axes = numbers(r, 3, &n_axes), *steps = numbers(r, 4, &n_steps);
  if (n_end != n || (axes && n_axes != n) || (steps && n_steps != n) || n > s.rank) REFUSE_OP(r, "bad lists");
  axes_of(&t, ax);
  for (size_t i = 0; i < n; i++) {
    uint32_t k = axis_of(r, axes ? axes[i] : (double)i, s.rank);
    double dim = (double)t.s.dim[k], step = steps ? steps[i] : 1, last = step > 0 ? dim : dim - 1;
    if (step == 0 || fabs(step) > MAX_ELEMENTS || seen >> k & 1) REFUSE_OP(r, "bad steps or axes");
    seen |= 1u << k;
    double a = fmin(fmax(start[i] < 0 ? start[i] + dim : start[i], 0), last);
    double b = fmin(fmax(end[i] < 0 ? end[i] + dim : end[i], step > 0 ? 0 : -1), last);
    s.dim[k] = (int64_t)fmax(ceil((b - a) / step), 0);
    ax[k].start = (int64_t)a;
    ax[k].step = (int64_t)step;
  }
  define_output(r, pick(r, &t, &s, ax));
}

static void op_concat(reader *r) {
  static const double one = 1;
  uint32_t n_in = (uint32_t)r->nd->n_input, before = 1;
  tensor *in = CK_NEW(r->c, tensor, n_in);
  shape s = input_at(r, 0).s;
  uint32_t along = axis_of(r, (double)attribute_int(r, "axis", 0), s.rank);
  s.dim[along] = 0;
  for (uint32_t k = 0; k < n_in; k++) {
    in[k] = variable(r, k);
    for (uint32_t i = 0; i < s.rank; i++)
      if (in[k].s.rank != s.rank || (i != along && in[k].s.dim[i] != s.dim[i])) REFUSE_OP(r, "shapes do not fit");
    s.dim[along] += in[k].s.dim[along];
  }
  for (uint32_t i = 0; i < along; i++) before *= (uint32_t)s.dim[i];
  ck_node *nd = add_node(r, n_in, in, &s);
  for (uint32_t b = 0; b < before; b++)
    for (uint32_t k = 0; k < n_in; k++)
      for (uint32_t i = 0, len = count(r, &in[k].s) / before; i < len; i++) {
        add_term(r, &nd->map[k], &in[k], b * len + i, &one);
        for (uint32_t j = 0; j < n_in; j++) end_row(&nd->map[j]);
      }
  tensor y = finish(r, nd, &s);
  for (uint32_t j = 1; j < n_in; j++) nd->map[j].row_terms = 0; /* in all maps together a row has one term */
  nd->is_unit = true;
  define_output(r, y);
}

static void op_constant(reader *r) {
  const Onnx__AttributeProto *a = attribute(r, "value");
  if (!a || !a->t) REFUSE_OP(r, "unsupported form");
  define_output(r, read_tensor(r, a->t));
}

static void read_node(reader *r) {
  static const struct {
    const char *names; /* each between spaces */
    void (*read)(reader *);
  } ops[] = {
      {" Add Sub ", op_add},       {" BatchNormalization ", op_norm}, {" Concat ", op_concat},
      {" Constant ", op_constant}, {" Conv ConvTranspose ", op_conv}, {" Gemm ", op_gemm},
      {" MatMul ", op_matmul},     {" Mul Div Neg ", op_scale},       {" Relu ", op_relu},
      {" Slice ", op_slice},       {" Transpose ", op_transpose},     {" Dropout Flatten Identity Reshape ", op_view}};
  char name[64];
  size_t i = 0, n_ops = sizeof ops / sizeof *ops;
  snprintf(name, sizeof name, " %.60s ", strchr(op_of(r), ' ') ? "?" : op_of(r));
  while (i < n_ops && !strstr(ops[i].names, name)) i++;
  if (i == n_ops) REFUSE(r, "operator '%.60s' is not supported", op_of(r));
  if (r->nd->domain && *r->nd->domain && strcmp(r->nd->domain, "ai.onnx") != 0) REFUSE_OP(r, "foreign domain");
  for (size_t k = 1; k < r->nd->n_output; k++)
    if (*r->nd->output[k]) REFUSE_OP(r, "more than one output");
  ops[i].read(r);
}

/* ---- the graph ---- */

static void read_input(reader *r, const Onnx__GraphProto *g) {
  const Onnx__ValueInfoProto *in = NULL;
  for (size_t i = 0; i < g->n_input; i++) {
    if (find(r, g->input[i]->name)) continue; /* older files list the weights as inputs as well */
    if (in) REFUSE(r, "more than one input");
    in = g->input[i];
  }
  if (!in || !in->type || in->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !in->type->tensor_type->shape)
    REFUSE(r, "no input that is a tensor with a shape");
  // cppcheck-suppress nullPointer; REFUSE does not return
  const Onnx__TensorShapeProto *t = in->type->tensor_type->shape;
  shape s = {.rank = (uint32_t)t->n_dim};
  if (t->n_dim > MAX_RANK) REFUSE(r, "input of rank %zu", t->n_dim);
  for (uint32_t i = 0; i < s.rank; i++) /* symbolic and non-positive dimensions are one sample */
    s.dim[i] = t->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && t->dim[i]->dim_value > 0
                   ? t->dim[i]->dim_value
                   : 1;
  r->net->input = new_value(r, &s);
  r->net->is_no_f32 |= in->type->tensor_type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  define(r, in->name, (tensor){.s = s, .value = r->net->input});
}

static void *take(void *c, size_t n) { return ck_alloc(c, n, 1); }
static void give_back(void *c, void *block) { (void)c, (void)block; }

ck_net *ck_read_net(ck *c, const uint8_t *data, size_t n) {
  reader r = {.c = c, .net = CK_NEW(c, ck_net, 1)};
  ProtobufCAllocator memory = {take, give_back, c};
  Onnx__ModelProto *m = onnx__model_proto__unpack(&memory, n, data); /* stays, names are borrowed from it */
  if (!m) REFUSE(&r, "not an ONNX model");
  r.net->flat = CK_NEW(c, uint32_t, 1);
  const Onnx__GraphProto *g = m->graph;
  if (!g || g->n_output != 1 || g->n_sparse_initializer || m->n_functions) REFUSE(&r, "unsupported kind of model");
  long long opset = 0;
  for (size_t i = 0; i < m->n_opset_import; i++)
    if (!m->opset_import[i]->domain || !*m->opset_import[i]->domain) opset = m->opset_import[i]->version;
  if (opset < 8 || opset > 20) REFUSE(&r, "opset %lld (8 to 20 are supported)", opset);
  for (size_t i = 0; i < g->n_initializer; i++)
    define(&r, g->initializer[i]->name ? g->initializer[i]->name : "", read_tensor(&r, g->initializer[i]));
  read_input(&r, g);
  for (size_t i = 0; i < g->n_node; i++) { /* ONNX wants them sorted: inputs first */
    r.nd = g->node[i];
    read_node(&r);
  }
  r.nd = NULL;
  tensor out = lookup(&r, g->output[0]->name);
  if (out.data) REFUSE(&r, "the output does not depend on the input");
  r.net->output = materialise(&r, &out);
  return r.net;
}
