/* The table of operator cases with naive references: every operator that takes a variable appears. */
#ifndef EP_TESTS_MODELS_OPCASES_H
#define EP_TESTS_MODELS_OPCASES_H

#include "tests/models/opcase.h"

/* ---- elementwise ---- */
static double read_broadcast(const tens *t, const ep_shape *out, const int64_t *at) {
  int64_t own[EP_MAX_RANK];
  for (uint32_t k = 0; k < t->shape.rank; k++) {
    int64_t c = at[k + out->rank - t->shape.rank];
    own[k] = t->shape.dim[k] == 1 ? 0 : c;
  }
  return t->v[flat_of(&t->shape, own)];
}
static void ref_arith(const inst *t, tens *out) {
  for (size_t i = 0; i < out->n; i++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, i, at);
    double a = read_broadcast(&t->in[0], &out->shape, at), b = read_broadcast(&t->in[1], &out->shape, at);
    out->v[i] = t->c->op[0] == 'A' ? a + b : t->c->op[0] == 'S' ? a - b : t->c->op[0] == 'M' ? a * b : a / b;
  }
}
static double unary(const inst *t, double x) {
  const char *op = t->c->op;
  if (!strcmp(op, "Neg")) return -x;
  if (!strcmp(op, "Abs")) return x < 0 ? -x : x;
  if (!strcmp(op, "Relu")) return fmax(x, 0);
  if (!strcmp(op, "LeakyRelu")) return x < 0 ? attr_f(t, "alpha", (double)0.01f) * x : x;
  if (!strcmp(op, "Sign")) return x > 0 ? 1 : x < 0 ? -1 : 0;
  if (!strcmp(op, "Sigmoid")) return 1 / (1 + exp(-x));
  if (!strcmp(op, "Tanh")) return tanh(x);
  if (!strcmp(op, "Sin")) return sin(x);
  if (!strcmp(op, "Cos")) return cos(x);
  if (!strcmp(op, "Clip")) {
    double lo = t->n_in > 1 && t->in[1].kind != '-' ? t->in[1].v[0] : attr_f(t, "min", -INFINITY);
    double hi = t->n_in > 2 && t->in[2].kind != '-' ? t->in[2].v[0] : attr_f(t, "max", INFINITY);
    return fmin(fmax(x, lo), hi);
  }
  return x; /* Identity, Dropout, Reshape, ... */
}
static void ref_unary(const inst *t, tens *out) {
  for (size_t i = 0; i < out->n; i++) out->v[i] = unary(t, t->in[0].v[i]);
}
/* Over one axis; before opset 13 over all axes from there on. */
static void ref_softmax(const inst *t, tens *out) {
  bool is_old = t->c->opset < 13;
  int64_t axis = attr_i(t, "axis", is_old ? 1 : -1);
  if (axis < 0) axis += out->shape.rank;
  for (size_t i = 0; i < out->n; i++) {
    int64_t at[EP_MAX_RANK], other[EP_MAX_RANK];
    double sum = 0;
    coords(&out->shape, i, at);
    for (size_t k = 0; k < out->n; k++) {
      bool is_same = true;
      coords(&out->shape, k, other);
      for (int64_t a = 0; a < out->shape.rank; a++)
        if (a != axis && !(is_old && a > axis)) is_same &= at[a] == other[a];
      if (is_same) sum += exp(t->in[0].v[k]);
    }
    out->v[i] = exp(t->in[0].v[i]) / sum;
  }
}
static void ref_batch_norm(const inst *t, tens *out) {
  for (size_t i = 0; i < out->n; i++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, i, at);
    size_t c = (size_t)at[1];
    out->v[i] =
        t->in[1].v[c] * (t->in[0].v[i] - t->in[3].v[c]) / sqrt(t->in[4].v[c] + attr_f(t, "epsilon", (double)1e-5f)) +
        t->in[2].v[c];
  }
}

/* ---- products ---- */
static void ref_gemm(const inst *t, tens *out) {
  const tens *a = &t->in[0], *b = &t->in[1];
  bool ta = attr_i(t, "transA", 0), tb = attr_i(t, "transB", 0);
  int64_t k = a->shape.dim[!ta];
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[2];
    coords(&out->shape, o, at);
    double s = 0;
    for (int64_t j = 0; j < k; j++)
      s += a->v[flat_of(&a->shape, (int64_t[]){ta ? j : at[0], ta ? at[0] : j})] *
           b->v[flat_of(&b->shape, (int64_t[]){tb ? at[1] : j, tb ? j : at[1]})];
    out->v[o] = attr_f(t, "alpha", 1) * s;
    if (t->n_in > 2) out->v[o] += attr_f(t, "beta", 1) * read_broadcast(&t->in[2], &out->shape, at);
  }
}
static void ref_matmul(const inst *t, tens *out) {
  tens a = t->in[0], b = t->in[1];
  ep_shape full = out->shape; /* with the dimensions that vectors drop put back */
  if (a.shape.rank == 1) {
    a.shape = (ep_shape){2, {1, a.shape.dim[0]}};
    full.dim[full.rank] = full.rank ? full.dim[full.rank - 1] : 0;
    if (full.rank && b.shape.rank > 1)
      full.dim[full.rank - 1] = 1;
    else
      full.dim[full.rank] = 1;
    full.rank++;
  }
  if (b.shape.rank == 1) {
    b.shape = (ep_shape){2, {b.shape.dim[0], 1}};
    full.dim[full.rank++] = 1;
  }
  int64_t k = a.shape.dim[a.shape.rank - 1];
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK], pa[EP_MAX_RANK], pb[EP_MAX_RANK];
    coords(&full, o, at);
    out->v[o] = 0;
    for (int64_t j = 0; j < k; j++) {
      memcpy(pa, at, sizeof pa);
      memcpy(pb, at, sizeof pb);
      pa[full.rank - 1] = j;
      pb[full.rank - 2] = j;
      out->v[o] += read_broadcast(&a, &full, pa) * read_broadcast(&b, &full, pb);
    }
  }
}

/* ---- windows; pads are those that auto_pad must come to, given as "is ref_pads" ---- */
static int64_t pad_of(const inst *t, size_t k) {
  return attr(t, "ref_pads") ? attr_is(t, "ref_pads", k, 0) : attr_is(t, "pads", k, 0);
}
static void ref_conv(const inst *t, tens *out) {
  const tens *x = &t->in[0], *w = &t->in[1];
  uint32_t na = x->shape.rank - 2;
  int64_t g = attr_i(t, "group", 1), per_out = w->shape.dim[0] / g;
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK], aw[EP_MAX_RANK], ax[EP_MAX_RANK] = {0};
    coords(&out->shape, o, at);
    out->v[o] = t->n_in > 2 ? t->in[2].v[at[1]] : 0;
    for (size_t q = 0; q < w->n; q++) {
      coords(&w->shape, q, aw);
      if (aw[0] != at[1]) continue;
      bool in = true;
      ax[1] = at[1] / per_out * w->shape.dim[1] + aw[1];
      for (uint32_t k = 0; k < na; k++) {
        ax[k + 2] = at[k + 2] * attr_is(t, "strides", k, 1) + aw[k + 2] * attr_is(t, "dilations", k, 1) - pad_of(t, k);
        in = in && ax[k + 2] >= 0 && ax[k + 2] < x->shape.dim[k + 2];
      }
      if (in) out->v[o] += w->v[q] * x->v[flat_of(&x->shape, ax)];
    }
  }
}
static void ref_conv_transpose(const inst *t, tens *out) {
  const tens *x = &t->in[0], *w = &t->in[1];
  uint32_t na = x->shape.rank - 2;
  int64_t g = attr_i(t, "group", 1), per_in = x->shape.dim[1] / g, per_out = w->shape.dim[1];
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, o, at);
    out->v[o] = t->n_in > 2 ? t->in[2].v[at[1]] : 0;
  }
  for (size_t i = 0; i < x->n; i++)
    for (size_t q = 0; q < w->n; q++) {
      int64_t ax[EP_MAX_RANK], aw[EP_MAX_RANK], ay[EP_MAX_RANK] = {0};
      coords(&x->shape, i, ax);
      coords(&w->shape, q, aw);
      if (aw[0] != ax[1]) continue;
      bool in = true;
      ay[1] = ax[1] / per_in * per_out + aw[1];
      for (uint32_t k = 0; k < na; k++) {
        ay[k + 2] = ax[k + 2] * attr_is(t, "strides", k, 1) + aw[k + 2] * attr_is(t, "dilations", k, 1) - pad_of(t, k);
        in = in && ay[k + 2] >= 0 && ay[k + 2] < out->shape.dim[k + 2];
      }
      if (in) out->v[flat_of(&out->shape, ay)] += w->v[q] * x->v[i];
    }
}
static void ref_pool(const inst *t, tens *out) {
  const tens *x = &t->in[0];
  uint32_t na = x->shape.rank - 2;
  bool is_max = t->c->op[0] == 'M';
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK], count = 0;
    coords(&out->shape, o, at);
    double sum = 0, most = -INFINITY;
    int64_t k0 = attr_is(t, "kernel_shape", 0, 1), k1 = na > 1 ? attr_is(t, "kernel_shape", 1, 1) : 1;
    for (int64_t q = 0; q < k0 * k1; q++) {
      int64_t kk[2] = {q / k1, q % k1}, ax[EP_MAX_RANK] = {0, at[1]};
      bool in = true, in_padded = true;
      for (uint32_t k = 0; k < na; k++) {
        ax[k + 2] = at[k + 2] * attr_is(t, "strides", k, 1) + kk[k] * attr_is(t, "dilations", k, 1) - pad_of(t, k);
        in = in && ax[k + 2] >= 0 && ax[k + 2] < x->shape.dim[k + 2];
        in_padded = in_padded && ax[k + 2] < x->shape.dim[k + 2] + pad_of(t, k + na);
      }
      count += attr_i(t, "count_include_pad", 0) ? in_padded : in;
      if (!in) continue;
      double v = x->v[flat_of(&x->shape, ax)];
      sum += v;
      most = v > most ? v : most;
    }
    out->v[o] = is_max ? most : sum / (double)count;
  }
}
static void ref_reduce(const inst *t, tens *out) {
  const tens *x = &t->in[0];
  const bool is_global = t->c->op[0] == 'G', is_mean = is_global || !strcmp(t->c->op, "ReduceMean");
  bool all = !attr(t, "axes") && t->n_in < 2 && !is_global, keep = attr_i(t, "keepdims", 1),
       gone[EP_MAX_RANK] = {false};
  size_t n = 1;
  for (uint32_t k = 0; k < x->shape.rank; k++) {
    gone[k] = all || (is_global && k > 1);
    for (size_t j = 0; attr(t, "axes") && j < attr(t, "axes")->n; j++)
      gone[k] |= (attr_is(t, "axes", j, 0) + x->shape.rank) % x->shape.rank == k;
    for (size_t j = 0; t->n_in > 1 && j < t->in[1].n; j++)
      gone[k] |= (t->in[1].i[j] + x->shape.rank) % x->shape.rank == k;
    n *= gone[k] ? (size_t)x->shape.dim[k] : 1;
  }
  for (size_t o = 0; o < out->n; o++) out->v[o] = 0;
  for (size_t i = 0; i < x->n; i++) {
    int64_t at[EP_MAX_RANK], to[EP_MAX_RANK];
    uint32_t r = 0;
    coords(&x->shape, i, at);
    for (uint32_t k = 0; k < x->shape.rank; k++)
      if (!gone[k] || keep) to[r++] = gone[k] ? 0 : at[k];
    out->v[flat_of(&out->shape, to)] += x->v[i] / (is_mean ? (double)n : 1);
  }
}

/* ---- moves ---- */
static void ref_transpose(const inst *t, tens *out) {
  const tens *x = &t->in[0];
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK], from[EP_MAX_RANK] = {0};
    coords(&out->shape, o, at);
    for (uint32_t k = 0; k < x->shape.rank; k++) from[attr_is(t, "perm", k, x->shape.rank - 1 - k)] = at[k];
    out->v[o] = x->v[flat_of(&x->shape, from)];
  }
}
/* "is ref_start" and "is ref_step" per axis: where a slice begins and how it goes. */
static void ref_slice(const inst *t, tens *out) {
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, o, at);
    for (uint32_t k = 0; k < out->shape.rank; k++)
      at[k] = attr_is(t, "ref_start", k, 0) + at[k] * attr_is(t, "ref_step", k, 1);
    out->v[o] = t->in[0].v[flat_of(&t->in[0].shape, at)];
  }
}
static void ref_gather(const inst *t, tens *out) { /* a vector of indices */
  const tens *x = &t->in[0];
  size_t axis = (size_t)((attr_i(t, "axis", 0) + x->shape.rank) % x->shape.rank);
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, o, at);
    at[axis] = (t->in[1].i[at[axis]] + x->shape.dim[axis]) % x->shape.dim[axis];
    out->v[o] = x->v[flat_of(&x->shape, at)];
  }
}
static void ref_pad(const inst *t, tens *out) {
  const tens *x = &t->in[0];
  double value = t->n_in > 2 ? t->in[2].v[0] : attr_f(t, "value", 0);
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK];
    bool in = true;
    coords(&out->shape, o, at);
    for (uint32_t k = 0; k < x->shape.rank; k++) {
      at[k] -= t->n_in > 1 ? t->in[1].i[k] : attr_is(t, "pads", k, 0);
      in = in && at[k] >= 0 && at[k] < x->shape.dim[k];
    }
    out->v[o] = in ? x->v[flat_of(&x->shape, at)] : value;
  }
}
static void ref_expand(const inst *t, tens *out) {
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, o, at);
    out->v[o] = read_broadcast(&t->in[0], &out->shape, at);
  }
}
static void ref_concat(const inst *t, tens *out) {
  size_t axis = (size_t)((attr_i(t, "axis", 0) + out->shape.rank) % out->shape.rank);
  for (size_t o = 0; o < out->n; o++) {
    int64_t at[EP_MAX_RANK];
    coords(&out->shape, o, at);
    uint32_t k = 0;
    while (at[axis] >= t->in[k].shape.dim[axis]) at[axis] -= t->in[k++].shape.dim[axis];
    out->v[o] = t->in[k].v[flat_of(&t->in[k].shape, at)];
  }
}

static const opcase cases[] = {
    {"Abs", 13, "v2,3", "", "2,3", ref_unary, true},
    {"Relu", 13, "v2,3", "", "2,3", ref_unary, true},
    {"LeakyRelu", 16, "v2,7", "", "2,7", ref_unary, true},
    {"LeakyRelu", 16, "v2,7", "f alpha 3.3", "2,7", ref_unary, true},
    {"LeakyRelu", 16, "v2,7", "f alpha -0.25", "2,7", ref_unary, true},
    {"Clip", 6, "v4,4", "f min -0.25; f max 0.5", "4,4", ref_unary, true},
    {"Clip", 6, "v4,4", "f max 0.5", "4,4", ref_unary, true},
    {"Clip", 13, "v4,4 | c | -", "", "4,4", ref_unary, true},
    {"Clip", 13, "v4,4 | - | c", "", "4,4", ref_unary, true},
    {"Clip", 13, "v4,4", "", "4,4", ref_unary, false},
    {"Clip", 13, "v4,4 | c | p", "", "4,4", ref_unary, true},
    {"Sign", 13, "v3,3", "", "3,3", ref_unary, true},
    {"Sigmoid", 13, "v3,3", "", "3,3", ref_unary, false},
    {"Sin", 13, "v3,3", "", "3,3", ref_unary, false},
    {"Cos", 13, "v3,3", "", "3,3", ref_unary, false},
    {"Softmax", 13, "v2,5", "", "2,5", ref_softmax, false},
    {"Softmax", 13, "v2,3,4", "i axis 1", "2,3,4", ref_softmax, false},
    {"Softmax", 13, "v2,3,4", "i axis -3", "2,3,4", ref_softmax, false},
    {"Softmax", 11, "v2,3,4", "", "2,3,4", ref_softmax, false},
    {"Tanh", 13, "v3,3", "", "3,3", ref_unary, false},
    {"Neg", 13, "v3,3", "", "3,3", ref_unary, false},
    {"Identity", 13, "v3,3", "", "3,3", ref_unary, false},
    {"Dropout", 10, "v3,3", "f ratio 0.5", "3,3", ref_unary, false},
    {"Dropout", 13, "v3,3 | c", "", "3,3", ref_unary, false},
    {"Cast", 13, "v3,3", "i to 1", "3,3", ref_unary, false},
    {"Add", 13, "v2,3 | v2,3", "", "2,3", ref_arith, false},
    {"Add", 13, "v2,1,3 | v4,1", "", "2,4,3", ref_arith, false},
    {"Add", 13, "v2,3 | c3", "", "2,3", ref_arith, false},
    {"Add", 13, "c2,3 | v3", "", "2,3", ref_arith, false},
    {"Sub", 13, "v2,3 | v3", "", "2,3", ref_arith, false},
    {"Sub", 13, "c4,2,3 | v2,1", "", "4,2,3", ref_arith, false},
    {"Sub", 13, "v2,3 | c", "", "2,3", ref_arith, false},
    {"Mul", 13, "v2,3 | c3", "", "2,3", ref_arith, false},
    {"Mul", 13, "c2,3 | v1,3", "", "2,3", ref_arith, false},
    {"Mul", 13, "v2,3 | v3", "", "2,3", ref_arith, false},
    {"Mul", 13, "v2,1,3 | v4,1", "", "2,4,3", ref_arith, false},
    {"Div", 13, "v2,3 | p3", "", "2,3", ref_arith, false},
    {"Div", 13, "v2,3 | p", "", "2,3", ref_arith, false},
    {"Gemm", 13, "v1,4 | c4,3", "", "1,3", ref_gemm, false},
    {"Gemm", 13, "v1,4 | c3,4 | c3", "i transB 1", "1,3", ref_gemm, false},
    {"Gemm", 13, "v1,4 | c3,4 | c1,3", "i transB 1; f alpha 0.3; f beta 1.7", "1,3", ref_gemm, false},
    {"Gemm", 13, "v4,1 | c4,3 | c", "i transA 1", "1,3", ref_gemm, false},
    {"Gemm", 13, "v2,4 | c4,3 | c3", "", "2,3", ref_gemm, false},
    {"Gemm", 13, "v4,2 | c3,4 | c2,1", "i transA 1; i transB 1; f alpha -2", "2,3", ref_gemm, false},
    {"Gemm", 13, "c2,4 | v4,3 | c2,3", "", "2,3", ref_gemm, false},
    {"Gemm", 13, "c2,4 | v4,1", "", "2,1", ref_gemm, false},
    {"Gemm", 13, "v1,4 | c4,3 | v3", "", "1,3", ref_gemm, false},
    {"Gemm", 13, "v2,4 | v3,4", "i transB 1", "2,3", ref_gemm, false},
    {"MatMul", 13, "v1,4 | c4,3", "", "1,3", ref_matmul, false},
    {"MatMul", 13, "v4 | c4,3", "", "3", ref_matmul, false},
    {"MatMul", 13, "c3,4 | v4", "", "3", ref_matmul, false},
    {"MatMul", 13, "c3,4 | v4,1", "", "3,1", ref_matmul, false},
    {"MatMul", 13, "v2,3,4 | c4,5", "", "2,3,5", ref_matmul, false},
    {"MatMul", 13, "v2,3,4 | c2,4,5", "", "2,3,5", ref_matmul, false},
    {"MatMul", 13, "c2,1,3,4 | v2,4,5", "", "2,2,3,5", ref_matmul, false},
    {"MatMul", 13, "v3,4 | c4", "", "3", ref_matmul, false},
    {"MatMul", 13, "v4 | c4", "", "", ref_matmul, false},
    {"MatMul", 13, "v2,3,4 | v4,2", "", "2,3,2", ref_matmul, false},
    {"MatMul", 13, "v4 | v4", "", "", ref_matmul, false},
    {"Conv", 13, "v1,2,5,6 | c3,2,3,3 | c3", "", "1,3,3,4", ref_conv, false},
    {"Conv", 13, "v1,2,5,6 | c3,2,3,2", "is pads 1 0 2 1; is strides 2 1", "1,3,3,6", ref_conv, false},
    {"Conv", 13, "v1,4,5,5 | c6,2,3,3 | c6", "i group 2; is pads 1 1 1 1", "1,6,5,5", ref_conv, false},
    {"Conv", 13, "v1,3,7,7 | c3,1,3,3", "i group 3; is dilations 2 2", "1,3,3,3", ref_conv, false},
    {"Conv", 13, "v1,2,5,5 | c2,2,2,2", "s auto_pad SAME_UPPER; is ref_pads 0 0 1 1", "1,2,5,5", ref_conv, false},
    {"Conv", 13, "v1,2,5,5 | c2,2,2,2", "s auto_pad SAME_LOWER; is ref_pads 1 1 0 0", "1,2,5,5", ref_conv, false},
    {"Conv", 13, "v1,2,5,5 | c2,2,2,2", "s auto_pad VALID; is kernel_shape 2 2", "1,2,4,4", ref_conv, false},
    {"Conv", 13, "v1,2,9 | c3,2,3 | c3", "is strides 2; is pads 1 1", "1,3,5", ref_conv, false},
    {"ConvTranspose", 13, "v1,2,3,4 | c2,3,3,2 | c3", "", "1,3,5,5", ref_conv_transpose, false},
    {"ConvTranspose", 13, "v1,4,3,3 | c4,2,3,3", "i group 2; is strides 2 2; is pads 1 1 1 1", "1,4,5,5",
     ref_conv_transpose, false},
    {"ConvTranspose", 13, "v1,2,3,3 | c2,1,3,3", "is strides 3 2; is output_padding 1 1", "1,1,10,8",
     ref_conv_transpose, false},
    {"ConvTranspose", 13, "v1,2,5 | c2,3,3 | c3", "is dilations 2", "1,3,9", ref_conv_transpose, false},
    {"AveragePool", 13, "v1,2,5,5", "is kernel_shape 2 2; is strides 2 2", "1,2,2,2", ref_pool, false},
    {"AveragePool", 13, "v1,2,5,5", "is kernel_shape 3 3; is strides 2 2; i ceil_mode 1", "1,2,2,2", ref_pool, false},
    {"AveragePool", 13, "v1,2,6,6", "is kernel_shape 3 3; is strides 2 2; i ceil_mode 1", "1,2,3,3", ref_pool, false},
    {"AveragePool", 13, "v1,2,5,5", "is kernel_shape 3 3; is pads 1 1 1 1; is strides 2 2", "1,2,3,3", ref_pool, false},
    {"AveragePool", 13, "v1,2,5,5", "is kernel_shape 3 3; is pads 1 1 1 1; is strides 2 2; i count_include_pad 1",
     "1,2,3,3", ref_pool, false},
    {"AveragePool", 13, "v1,2,6,6",
     "is kernel_shape 3 3; is pads 1 1 1 1; is strides 2 2; i count_include_pad 1; i ceil_mode 1", "1,2,4,4", ref_pool,
     false},
    {"AveragePool", 13, "v1,3,8", "is kernel_shape 3; is strides 2", "1,3,3", ref_pool, false},
    {"AveragePool", 19, "v1,1,7,7", "is kernel_shape 2 2; is dilations 2 3", "1,1,5,4", ref_pool, false},
    {"MaxPool", 13, "v1,2,5,5", "is kernel_shape 2 2; is strides 2 2", "1,2,2,2", ref_pool, true},
    {"MaxPool", 13, "v1,2,6,5", "is kernel_shape 3 2; is pads 1 0 1 1; is strides 2 1", "1,2,3,5", ref_pool, true},
    {"MaxPool", 13, "v1,2,6,6", "is kernel_shape 3 3; is strides 2 2; i ceil_mode 1", "1,2,3,3", ref_pool, true},
    {"MaxPool", 13, "v1,1,7,7", "is kernel_shape 2 2; is dilations 2 3", "1,1,5,4", ref_pool, true},
    {"MaxPool", 13, "v1,1,5,5", "is kernel_shape 2 2; s auto_pad SAME_LOWER; is ref_pads 1 1 0 0", "1,1,5,5", ref_pool,
     true},
    {"MaxPool", 13, "v1,2,9", "is kernel_shape 3; is strides 3", "1,2,3", ref_pool, true},
    {"GlobalAveragePool", 13, "v1,3,4,3", "", "1,3,1,1", ref_reduce, false},
    {"ReduceMean", 13, "v2,3,4", "is axes 1 -1", "2,1,1", ref_reduce, false},
    {"ReduceMean", 18, "v2,3,4 | i-2", "i keepdims 0", "2,4", ref_reduce, false},
    {"ReduceSum", 11, "v2,3,4", "", "1,1,1", ref_reduce, false},
    {"ReduceSum", 13, "v2,3,4 | i0,2", "i keepdims 0", "3", ref_reduce, false},
    {"BatchNormalization", 9, "v1,3,2,2 | c3 | c3 | c3 | p3", "", "1,3,2,2", ref_batch_norm, false},
    {"BatchNormalization", 15, "v1,3 | c3 | c3 | c3 | p3", "f epsilon 0.01", "1,3", ref_batch_norm, false},
    {"Reshape", 13, "v2,3,4 | i0,-1", "", "2,12", ref_unary, false},
    {"Reshape", 14, "v2,3,4 | i4,6", "i allowzero 1", "4,6", ref_unary, false},
    {"Flatten", 13, "v2,3,4", "i axis -1", "6,4", ref_unary, false},
    {"Flatten", 13, "v2,3,4", "i axis 0", "1,24", ref_unary, false},
    {"Squeeze", 11, "v1,3,1,2", "is axes 2", "1,3,2", ref_unary, false},
    {"Squeeze", 13, "v1,3,1,2 | i-4", "", "3,1,2", ref_unary, false},
    {"Squeeze", 13, "v1,3,1,2", "", "3,2", ref_unary, false},
    {"Unsqueeze", 11, "v3,2", "is axes 0 3", "1,3,2,1", ref_unary, false},
    {"Unsqueeze", 13, "v3,2 | i-1,1", "", "3,1,2,1", ref_unary, false},
    {"Transpose", 13, "v2,3,4", "", "4,3,2", ref_transpose, false},
    {"Transpose", 13, "v2,3,4,2", "is perm 0 2 3 1", "2,4,2,3", ref_transpose, false},
    {"Slice", 9, "v4,5", "is starts 1 0; is ends 3 -1; is ref_start 1 0", "2,4", ref_slice, false},
    {"Slice", 13, "v4,5 | i1 | i100 | i-1 | i2", "is ref_start 0 1; is ref_step 1 2", "4,2", ref_slice, false},
    {"Slice", 13, "v4,5 | i-1,10 | i-100,1 | i0,1 | i-1,-3", "is ref_start 3 4; is ref_step -1 -3", "4,1", ref_slice,
     false},
    {"Gather", 13, "v4,5 | i2,0,-1", "", "3,5", ref_gather, false},
    {"Gather", 13, "v4,5 | i2,2", "i axis -1", "4,2", ref_gather, false},
    {"Pad", 9, "v2,3", "is pads 1 0 0 2; f value 0.5", "3,5", ref_pad, false},
    {"Pad", 13, "v2,3 | i0,1,1,-1", "", "3,3", ref_pad, false},
    {"Pad", 13, "v2,3 | i0,1,1,0 | c", "", "3,4", ref_pad, false},
    {"Expand", 13, "v3,1 | i2,1,4", "", "2,3,4", ref_expand, false},
    {"Concat", 13, "v2,3 | v2,2", "i axis 1", "2,5", ref_concat, false},
    {"Concat", 13, "v2,3 | c1,3 | v2,3", "i axis -2", "5,3", ref_concat, false},
};
enum { N_CASES = sizeof cases / sizeof *cases };

#endif
