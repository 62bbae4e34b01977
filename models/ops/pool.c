/* AveragePool, GlobalAveragePool, ReduceMean, ReduceSum (affine, sparse rows) and MaxPool (GENERAL). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/ops/window.h"

/* Lowers to sparse rows whose row i averages (or sums) col[ptr[i]..ptr[i+1]) with weight w. */
static ep_status sparse(ep_op_build *b, const uint32_t *ptr, const uint32_t *col, const double *w, bool is_exact) {
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  EP_TRY(ep_linop_csr(b->arena, (uint32_t)ep_shape_count(&b->out_shape), (uint32_t)ep_shape_count(&b->in[0].shape), ptr,
                      col, w, is_exact ? 0 : 2 * EP_U64, A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

static bool is_power_of_two(double x) {
  int e;
  return frexp(x, &e) == 0.5;
}

/* Lists the input elements of output pixel (h, v) of a channel; returns how many. */
static uint32_t window_at(const ep_window *w, size_t channel, int64_t h, int64_t v, uint32_t *col) {
  uint32_t n = 0;
  for (int64_t i = 0; i < w->kernel[0]; i++)
    for (int64_t j = 0; j < w->kernel[1]; j++) {
      int64_t y = h * w->stride[0] + i * w->dilation[0] - w->pad_lo[0];
      int64_t x = v * w->stride[1] + j * w->dilation[1] - w->pad_lo[1];
      if (y < 0 || y >= w->in[0] || x < 0 || x >= w->in[1]) continue;
      col[n++] = (uint32_t)((channel * (size_t)w->in[0] + (size_t)y) * (size_t)w->in[1] + (size_t)x);
    }
  return n;
}

/* Cells of the window that lie in the padded input (count_include_pad counts those, not what ceil_mode adds). */
static double padded_count(const ep_window *w, int64_t h, int64_t v) {
  double n = 1;
  int64_t at[2] = {h, v};
  for (int a = 0; a < 2; a++) {
    int64_t c = 0, end = w->in[a] + w->pad_lo[a] + w->pad_hi[a];
    for (int64_t i = 0; i < w->kernel[a]; i++) c += at[a] * w->stride[a] + i * w->dilation[a] < end;
    n *= (double)c;
  }
  return n;
}

static ep_status pool_setup(ep_op_build *b, ep_window *w, size_t *n_out, uint32_t **ptr, uint32_t **col) {
  EP_TRY(ep_window_read(b, NULL, true, w));
  b->out_shape = ep_window_shape(b, w, b->in[0].shape.dim[1]);
  b->out_dtype = b->in[0].dtype;
  size_t taps = (size_t)(w->kernel[0] * w->kernel[1]);
  *n_out = ep_shape_count(&b->out_shape);
  if (*n_out >= INT32_MAX || *n_out * taps >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "too large");
  *ptr = EP_ARENA(b->arena, uint32_t, *n_out + 1);
  *col = EP_ARENA(b->arena, uint32_t, *n_out * taps + 1);
  if (!*ptr || !*col) return EP_E_NOMEM;
  size_t o = 0, at = 0;
  for (size_t c = 0; c < (size_t)b->in[0].shape.dim[1]; c++)
    for (int64_t h = 0; h < w->out[0]; h++)
      for (int64_t v = 0; v < w->out[1]; v++) {
        at += window_at(w, c, h, v, *col + at);
        (*ptr)[++o] = (uint32_t)at;
      }
  assert(o == *n_out && at <= *n_out * taps);
  return EP_OK;
}

static ep_status build_average(ep_op_build *b) {
  ep_window w;
  size_t n, o = 0;
  uint32_t *ptr, *col;
  EP_TRY(pool_setup(b, &w, &n, &ptr, &col));
  bool with_pad = ep_attrs_int(&b->attrs, "count_include_pad", 0) != 0, is_exact = true;
  double *val = EP_ARENA(b->arena, double, ptr[n] + 1u);
  if (!val) return EP_E_NOMEM;
  for (size_t c = 0; c < (size_t)b->in[0].shape.dim[1]; c++)
    for (int64_t h = 0; h < w.out[0]; h++)
      for (int64_t v = 0; v < w.out[1]; v++, o++) {
        double count = with_pad ? padded_count(&w, h, v) : (double)(ptr[o + 1] - ptr[o]);
        is_exact = is_exact && is_power_of_two(count);
        for (uint32_t k = ptr[o]; k < ptr[o + 1]; k++) val[k] = 1 / count;
      }
  return sparse(b, ptr, col, val, is_exact);
}

/* Reduction over a set of axes. */
static ep_status reduce(ep_op_build *b, const bool *is_reduced, bool keep, bool is_mean) {
  const ep_shape *s = &b->in[0].shape;
  size_t n_in = ep_shape_count(s), n_out = 1, stride[EP_MAX_RANK] = {0};
  b->out_shape = (ep_shape){0};
  b->out_dtype = b->in[0].dtype;
  if (n_in >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "too large");
  for (uint32_t i = s->rank; i-- > 0;) {
    if (is_reduced[i]) continue;
    stride[i] = n_out;
    n_out *= (size_t)s->dim[i];
  }
  for (uint32_t i = 0; i < s->rank; i++)
    if (!is_reduced[i] || keep) b->out_shape.dim[b->out_shape.rank++] = is_reduced[i] ? 1 : s->dim[i];
  if (!n_in || !n_out) return OP_FAIL(b, EP_E_SHAPE, "empty tensor");
  size_t per = n_in / n_out;
  uint32_t *ptr = EP_ARENA(b->arena, uint32_t, n_out + 1), *col = EP_ARENA(b->arena, uint32_t, n_in + 1);
  uint32_t *fill = EP_ARENA(b->arena, uint32_t, n_out + 1);
  double *val = EP_ARENA(b->arena, double, n_in + 1);
  if (!ptr || !col || !fill || !val) return EP_E_NOMEM;
  for (size_t o = 0; o <= n_out; o++) ptr[o] = (uint32_t)(o * per);
  int64_t at[EP_MAX_RANK] = {0};
  for (size_t k = 0; k < n_in; k++) {
    size_t o = 0;
    for (uint32_t i = 0; i < s->rank; i++) o += (size_t)at[i] * stride[i];
    val[k] = is_mean ? 1 / (double)per : 1;
    col[o * per + fill[o]++] = (uint32_t)k;
    for (uint32_t i = s->rank; i-- > 0;) {
      if (++at[i] < s->dim[i]) break;
      at[i] = 0;
    }
  }
  return sparse(b, ptr, col, val, !is_mean || is_power_of_two((double)per));
}

static ep_status build_global(ep_op_build *b) {
  bool is_reduced[EP_MAX_RANK] = {false};
  if (b->in[0].shape.rank < 3) return OP_FAIL(b, EP_E_SHAPE, "no spatial axes");
  for (uint32_t i = 2; i < b->in[0].shape.rank; i++) is_reduced[i] = true;
  return reduce(b, is_reduced, true, true);
}

static ep_status build_reduce(ep_op_build *b, bool is_mean) {
  const int64_t *axes;
  size_t n;
  bool is_reduced[EP_MAX_RANK] = {false};
  EP_TRY(ep_op_ints(b, 1, "axes", &axes, &n));
  bool all = n == SIZE_MAX || n == 0;
  if (all && ep_attrs_int(&b->attrs, "noop_with_empty_axes", 0)) return OP_FAIL(b, EP_E_UNSUPPORTED, "no axes");
  for (uint32_t i = 0; i < b->in[0].shape.rank; i++) is_reduced[i] = all;
  for (size_t i = 0; !all && i < n; i++) {
    uint32_t a;
    EP_TRY(ep_op_axis(b, axes[i], b->in[0].shape.rank, &a));
    is_reduced[a] = true;
  }
  return reduce(b, is_reduced, ep_attrs_int(&b->attrs, "keepdims", 1) != 0, is_mean);
}
static ep_status build_mean(ep_op_build *b) { return build_reduce(b, true); }
static ep_status build_sum(ep_op_build *b) { return build_reduce(b, false); }

/* ---- MaxPool ---- */

static void max_f32(const ep_node *nd, const float *const *x, float *y) {
  const ep_max_windows *p = nd->param;
  for (size_t i = 0; i < p->n; i++) {
    y[i] = x[0][p->col[p->ptr[i]]];
    for (uint32_t k = p->ptr[i] + 1; k < p->ptr[i + 1]; k++) y[i] = x[0][p->col[k]] > y[i] ? x[0][p->col[k]] : y[i];
  }
}

static uint32_t arg_max(const ep_max_windows *p, size_t i, const double *x) {
  uint32_t best = p->col[p->ptr[i]];
  for (uint32_t k = p->ptr[i] + 1; k < p->ptr[i + 1]; k++)
    if (x[p->col[k]] > x[best]) best = p->col[k];
  return best;
}

static void max_f64(const ep_node *nd, const double *const *x, double *y) {
  const ep_max_windows *p = nd->param;
  for (size_t i = 0; i < p->n; i++) y[i] = x[0][arg_max(p, i, x[0])];
}

static void max_backward(const ep_node *nd, const double *const *x, const double *gy, double *const *gx) {
  const ep_max_windows *p = nd->param;
  for (size_t i = 0; i < p->n; i++) gx[0][arg_max(p, i, x[0])] += gy[i];
}

static void max_box(const ep_node *nd, const double *const *lo, const double *const *hi, double *ylo, double *yhi) {
  max_f64(nd, lo, ylo);
  max_f64(nd, hi, yhi);
}

/* Lower: the input j with the largest lower bound, y >= x_j. Upper: the same input when no other can exceed it, else
 * the constant max hi. Slopes 1 and 0: nothing is rounded. */
static ep_status max_relax(const ep_node *nd, const double *const *lo, const double *const *hi, ep_arena *arena,
                           ep_linear_pair *out) {
  const ep_max_windows *p = nd->param;
  uint32_t n = (uint32_t)p->n, n_in = (uint32_t)ep_shape_count(&nd->in_shape[0]);
  uint32_t *ptr = EP_ARENA(arena, uint32_t, n + 1u), *col = EP_ARENA(arena, uint32_t, n + 1u);
  double *wl = EP_ARENA(arena, double, n + 1u), *wu = EP_ARENA(arena, double, n + 1u);
  out->lower_c = EP_ARENA(arena, double, n + 1u);
  out->upper_c = EP_ARENA(arena, double, n + 1u);
  if (!ptr || !col || !wl || !wu || !out->lower_c || !out->upper_c) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t j = arg_max(p, i, lo[0]);
    double others = -INFINITY;
    for (uint32_t k = p->ptr[i]; k < p->ptr[i + 1]; k++)
      if (p->col[k] != j) others = fmax(others, hi[0][p->col[k]]);
    bool dominates = lo[0][j] >= others;
    ptr[i + 1] = i + 1;
    col[i] = j;
    wl[i] = 1;
    wu[i] = dominates ? 1 : 0;
    out->upper_c[i] = dominates ? 0 : hi[0][arg_max(p, i, hi[0])];
  }
  EP_TRY(ep_linop_csr(arena, n, n_in, ptr, col, wl, 0, &out->lower));
  return ep_linop_csr(arena, n, n_in, ptr, col, wu, 0, &out->upper);
}

static ep_status build_max(ep_op_build *b) {
  ep_window w;
  size_t n;
  uint32_t *ptr, *col;
  EP_TRY(pool_setup(b, &w, &n, &ptr, &col));
  for (size_t i = 0; i < n; i++)
    if (ptr[i] == ptr[i + 1]) return OP_FAIL(b, EP_E_UNSUPPORTED, "a window lies wholly in the padding");
  ep_max_windows *p = EP_ARENA(b->arena, ep_max_windows, 1);
  if (!p) return EP_E_NOMEM;
  *p = (ep_max_windows){n, ptr, col};
  b->param = p;
  b->low.cls = EP_GENERAL;
  b->low.is.general = (ep_general){max_f32, max_f64, max_backward, max_box, max_relax};
  return EP_OK;
}

extern const ep_op ep_op_average_pool, ep_op_global_average_pool, ep_op_reduce_mean, ep_op_reduce_sum, ep_op_max_pool;
const ep_op ep_op_average_pool = {"AveragePool", 1, 1, build_average, NULL};
const ep_op ep_op_global_average_pool = {"GlobalAveragePool", 1, 1, build_global, NULL};
const ep_op ep_op_reduce_mean = {"ReduceMean", 1, 2, build_mean, NULL};
const ep_op ep_op_reduce_sum = {"ReduceSum", 1, 2, build_sum, NULL};
const ep_op ep_op_max_pool = {"MaxPool", 1, 1, build_max, NULL};
