/* Gemm and MatMul: batched products y[q] = a[q] c[q] with broadcasting. One constant side makes them affine; two
 * variables are GENERAL (McCormick envelopes of each elementary product). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/op_util.h"
#include "models/ops/mccormick.h"

/* y[q][i][j] = sum_t a[base_a[q] + i*step_i + t*step_ta] * c[base_c[q] + t*step_tc + j*step_j]. Operands are 0 and 1.
 */
typedef struct product {
  size_t n_batch, m, k, n;
  const int32_t *base_a, *base_c;
  size_t step_i, step_ta, step_tc, step_j;
} product;

static size_t at_a(const product *p, size_t q, size_t i, size_t t) {
  return (size_t)p->base_a[q] + i * p->step_i + t * p->step_ta;
}
static size_t at_c(const product *p, size_t q, size_t t, size_t j) {
  return (size_t)p->base_c[q] + t * p->step_tc + j * p->step_j;
}
static size_t n_out_of(const product *p) { return p->n_batch * p->m * p->n; }

static ep_status check_size(const ep_op_build *b, const product *p) {
  size_t n = n_out_of(p);
  if (n >= INT32_MAX || (p->k && n > ((size_t)1 << 30) / p->k)) return OP_FAIL(b, EP_E_SHAPE, "too large");
  if (!ep_dtype_is_float(b->in[0].dtype) || b->in[0].dtype != b->in[1].dtype)
    return OP_FAIL(b, EP_E_UNSUPPORTED, "operands must be floating-point numbers of one type");
  return EP_OK;
}

/* ---- one constant side ---- */

/* A full matrix: the constant side multiplies one vector. */
static ep_status dense(ep_op_build *b, const product *p, uint32_t kc, const double *w, double rel_err, ep_linop *A) {
  size_t n = p->m * p->n;
  double *W = EP_ARENA(b->arena, double, n * p->k + 1);
  if (!W) return EP_E_NOMEM;
  for (size_t o = 0; o < n; o++)
    for (size_t t = 0; t < p->k; t++) W[o * p->k + t] = kc ? w[at_c(p, 0, t, o % p->n)] : w[at_a(p, 0, o / p->n, t)];
  return ep_linop_dense(b->arena, (uint32_t)n, (uint32_t)p->k, W, rel_err, A);
}

/* Otherwise each output has its own few inputs. */
static ep_status sparse(ep_op_build *b, const product *p, uint32_t kc, const double *w, double rel_err, ep_linop *A) {
  size_t n = n_out_of(p), n_in = ep_shape_count(&b->in[1 - kc].shape), at = 0, o = 0;
  uint32_t *ptr = EP_ARENA(b->arena, uint32_t, n + 1), *col = EP_ARENA(b->arena, uint32_t, n * p->k + 1);
  double *val = EP_ARENA(b->arena, double, n * p->k + 1);
  if (!ptr || !col || !val) return EP_E_NOMEM;
  for (size_t q = 0; q < p->n_batch; q++)
    for (size_t i = 0; i < p->m; i++)
      for (size_t j = 0; j < p->n; j++) {
        for (size_t t = 0; t < p->k; t++, at++) {
          col[at] = (uint32_t)(kc ? at_a(p, q, i, t) : at_c(p, q, t, j));
          val[at] = w[kc ? at_c(p, q, t, j) : at_a(p, q, i, t)];
        }
        ptr[++o] = (uint32_t)at;
      }
  return ep_linop_csr(b->arena, (uint32_t)n, (uint32_t)n_in, ptr, col, val, rel_err, A);
}

/* alpha * weights; *rel_err tells what was rounded. */
static ep_status scaled_weights(ep_op_build *b, uint32_t kc, double alpha, const double **w, double *rel_err) {
  EP_TRY(ep_op_floats(b, kc, SIZE_MAX, w));
  *rel_err = 0;
  if (alpha == 1) return EP_OK;
  size_t n = b->in[kc].constant->n;
  double *v = EP_ARENA(b->arena, double, n + 1);
  if (!v) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    v[i] = alpha * (*w)[i];
    if (alpha != 0 && !ep_op_is_normal(v[i], (*w)[i]))
      return OP_FAIL(b, EP_E_UNSUPPORTED, "alpha times a weight underflows");
  }
  *w = v;
  *rel_err = 2 * EP_U64;
  return EP_OK;
}

static ep_status constant_side(ep_op_build *b, const product *p, double alpha, ep_linop *A) {
  uint32_t kc = b->in[0].constant ? 0 : 1;
  const double *w;
  double rel_err;
  EP_TRY(scaled_weights(b, kc, alpha, &w, &rel_err));
  bool is_vector = p->n_batch == 1 && (kc ? p->m : p->n) == 1 && (kc ? p->step_ta : p->step_tc) == 1;
  return is_vector ? dense(b, p, kc, w, rel_err, A) : sparse(b, p, kc, w, rel_err, A);
}

/* ---- two variables ---- */

static void pair_f32(const ep_node *nd, const float *const *x, float *y) {
  const product *p = nd->param;
  for (size_t q = 0; q < p->n_batch; q++)
    for (size_t i = 0; i < p->m; i++)
      for (size_t j = 0; j < p->n; j++) {
        float sum = 0;
        for (size_t t = 0; t < p->k; t++) sum += x[0][at_a(p, q, i, t)] * x[1][at_c(p, q, t, j)];
        *y++ = sum;
      }
}

static void pair_f64(const ep_node *nd, const double *const *x, double *y) {
  const product *p = nd->param;
  for (size_t q = 0; q < p->n_batch; q++)
    for (size_t i = 0; i < p->m; i++)
      for (size_t j = 0; j < p->n; j++) {
        double sum = 0;
        for (size_t t = 0; t < p->k; t++) sum += x[0][at_a(p, q, i, t)] * x[1][at_c(p, q, t, j)];
        *y++ = sum;
      }
}

static void pair_backward(const ep_node *nd, const double *const *x, const double *gy, double *const *gx) {
  const product *p = nd->param;
  for (size_t q = 0; q < p->n_batch; q++)
    for (size_t i = 0; i < p->m; i++)
      for (size_t j = 0; j < p->n; j++, gy++)
        for (size_t t = 0; t < p->k; t++) {
          size_t a = at_a(p, q, i, t), c = at_c(p, q, t, j);
          gx[0][a] += *gy * x[1][c];
          gx[1][c] += *gy * x[0][a];
        }
}

static void pair_box(const ep_node *nd, const double *const *lo, const double *const *hi, double *ylo, double *yhi) {
  const product *p = nd->param;
  for (size_t q = 0; q < p->n_batch; q++)
    for (size_t i = 0; i < p->m; i++)
      for (size_t j = 0; j < p->n; j++) {
        ep_itv sum = ep_itv_point(0);
        for (size_t t = 0; t < p->k; t++) {
          size_t a = at_a(p, q, i, t), c = at_c(p, q, t, j);
          sum = ep_itv_add(sum, ep_itv_mul((ep_itv){lo[0][a], hi[0][a]}, (ep_itv){lo[1][c], hi[1][c]}));
        }
        *ylo++ = sum.lo;
        *yhi++ = sum.hi;
      }
}

static ep_status pair_side(const ep_node *nd, const double *const *lo, const double *const *hi, bool upper,
                           ep_arena *arena, ep_linop *L, double **consts) {
  const product *p = nd->param;
  size_t n = n_out_of(p), o = 0, n0 = ep_shape_count(&nd->in_shape[0]), n1 = ep_shape_count(&nd->in_shape[1]);
  uint32_t *ptr = EP_ARENA(arena, uint32_t, n + 1), *col = EP_ARENA(arena, uint32_t, 2 * n * p->k + 1);
  double *w = EP_ARENA(arena, double, 2 * n * p->k + 1), *sum = EP_ARENA(arena, double, n + 1);
  if (!ptr || !col || !w || !sum) return EP_E_NOMEM;
  size_t e = 0;
  for (size_t q = 0; q < p->n_batch; q++)
    for (size_t i = 0; i < p->m; i++)
      for (size_t j = 0; j < p->n; j++, ptr[++o] = (uint32_t)e)
        for (size_t t = 0; t < p->k; t++, e += 2) {
          size_t a = at_a(p, q, i, t), c = at_c(p, q, t, j);
          double part;
          ep_mccormick_plane((ep_itv){lo[0][a], hi[0][a]}, (ep_itv){lo[1][c], hi[1][c]}, upper, &w[e], &w[e + 1],
                             &part);
          col[e] = (uint32_t)a;
          col[e + 1] = (uint32_t)(n0 + c);
          sum[o] = upper ? ep_add_up(sum[o], part) : ep_add_dn(sum[o], part);
        }
  assert(o == n && e == 2 * n * p->k);
  *consts = sum;
  return ep_linop_csr(arena, (uint32_t)n, (uint32_t)(n0 + n1), ptr, col, w, 0, L);
}

static ep_status pair_relax(const ep_node *nd, const double *const *lo, const double *const *hi, ep_arena *arena,
                            ep_linear_pair *out) {
  EP_TRY(pair_side(nd, lo, hi, false, arena, &out->lower, &out->lower_c));
  return pair_side(nd, lo, hi, true, arena, &out->upper, &out->upper_c);
}

static ep_status two_variables(ep_op_build *b, const product *p) {
  product *kept = EP_ARENA(b->arena, product, 1);
  if (!kept) return EP_E_NOMEM;
  *kept = *p;
  b->param = kept;
  b->low.cls = EP_GENERAL;
  b->low.is.general = (ep_general){pair_f32, pair_f64, pair_backward, pair_box, pair_relax};
  return EP_OK;
}

/* ---- Gemm ---- */

/* The third input, times beta: a bias when constant, else the second term of the affine form. */
static ep_status gemm_bias(ep_op_build *b, double beta, ep_linop *A, uint32_t *n_terms, double **bias, double **err) {
  *bias = *err = NULL;
  if (!ep_op_has(b, 2) || beta == 0)
    return ep_op_has(b, 2) && !b->in[2].constant ? OP_FAIL(b, EP_E_UNSUPPORTED, "beta = 0 with a variable bias")
                                                 : EP_OK;
  size_t n = ep_shape_count(&b->out_shape);
  ep_shape out;
  if (!ep_shape_broadcast(&b->in[2].shape, &b->out_shape, &out) || !ep_shape_equal(&out, &b->out_shape))
    return OP_FAIL(b, EP_E_SHAPE, "bias does not broadcast to the output");
  int32_t *map = EP_ARENA(b->arena, int32_t, n + 1);
  if (!map) return EP_E_NOMEM;
  ep_shape_broadcast_map(&b->in[2].shape, &b->out_shape, map);
  if (!b->in[2].constant) {
    if (beta != 1) return OP_FAIL(b, EP_E_UNSUPPORTED, "beta = %g with a variable bias", beta);
    return ep_linop_map(b->arena, (uint32_t)n, (uint32_t)ep_shape_count(&b->in[2].shape), map, &A[(*n_terms)++]);
  }
  const double *c;
  EP_TRY(ep_op_floats(b, 2, SIZE_MAX, &c));
  *bias = EP_ARENA(b->arena, double, n + 1);
  if (beta != 1) *err = EP_ARENA(b->arena, double, n + 1);
  if (!*bias || (beta != 1 && !*err)) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    (*bias)[i] = beta * c[map[i]];
    if (*err) (*err)[i] = 2 * EP_U64 * fabs((*bias)[i]) + EP_ETA64;
  }
  return EP_OK;
}

static ep_status build_gemm(ep_op_build *b) {
  const ep_shape *sa = &b->in[0].shape, *sc = &b->in[1].shape;
  bool ta = ep_attrs_int(&b->attrs, "transA", 0) != 0, tc = ep_attrs_int(&b->attrs, "transB", 0) != 0;
  double alpha = ep_attrs_float(&b->attrs, "alpha", 1), beta = ep_attrs_float(&b->attrs, "beta", 1);
  if (sa->rank != 2 || sc->rank != 2) return OP_FAIL(b, EP_E_SHAPE, "operands must have rank 2");
  if (!isfinite(alpha) || !isfinite(beta)) return OP_FAIL(b, EP_E_SYNTAX, "alpha or beta is not finite");
  static const int32_t zero = 0;
  product p = {1, (size_t)sa->dim[ta], (size_t)sa->dim[!ta], (size_t)sc->dim[!tc], &zero, &zero, 0, 0, 0, 0};
  p.step_i = ta ? 1 : p.k;
  p.step_ta = ta ? p.m : 1;
  p.step_tc = tc ? 1 : p.n;
  p.step_j = tc ? p.k : 1;
  if ((size_t)sc->dim[tc] != p.k)
    return OP_FAIL(b, EP_E_SHAPE, "inner dimensions %zu and %lld differ", p.k, (long long)sc->dim[tc]);
  EP_TRY(check_size(b, &p));
  b->out_shape = (ep_shape){.rank = 2, .dim = {(int64_t)p.m, (int64_t)p.n}};
  b->out_dtype = b->in[0].dtype;
  bool is_product = !b->in[0].constant && !b->in[1].constant, is_plain = alpha == 1 && !ep_op_has(b, 2);
  if (is_product)
    return is_plain ? two_variables(b, &p) : OP_FAIL(b, EP_E_UNSUPPORTED, "two variables with alpha or a bias");
  if (b->in[0].constant && b->in[1].constant) return OP_FAIL(b, EP_E_UNSUPPORTED, "two constants and a variable bias");
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 2);
  double *bias, *err;
  uint32_t n_terms = 1;
  if (!A) return EP_E_NOMEM;
  EP_TRY(constant_side(b, &p, alpha, &A[0]));
  EP_TRY(gemm_bias(b, beta, A, &n_terms, &bias, &err));
  return ep_op_affine(b, n_terms, A, bias, err);
}

/* ---- MatMul ---- */

/* Start of each batch's matrix in an operand whose batch dimensions are `own`. */
static ep_status bases(ep_op_build *b, const ep_shape *own, const ep_shape *batch, size_t per, const int32_t **out) {
  size_t n = ep_shape_count(batch);
  int32_t *v = EP_ARENA(b->arena, int32_t, n + 1);
  if (!v) return EP_E_NOMEM;
  ep_shape_broadcast_map(own, batch, v);
  for (size_t i = 0; i < n; i++) v[i] = (int32_t)((size_t)v[i] * per);
  *out = v;
  return EP_OK;
}

static ep_status matmul_shape(ep_op_build *b, product *p) {
  ep_shape a = b->in[0].shape, c = b->in[1].shape, batch;
  bool va = a.rank == 1, vc = c.rank == 1;
  if (!a.rank || !c.rank) return OP_FAIL(b, EP_E_SHAPE, "scalar operand");
  if (va) a = (ep_shape){.rank = 2, .dim = {1, a.dim[0]}};
  if (vc) c = (ep_shape){.rank = 2, .dim = {c.dim[0], 1}};
  *p = (product){
      0, (size_t)a.dim[a.rank - 2], (size_t)a.dim[a.rank - 1], (size_t)c.dim[c.rank - 1], NULL, NULL, 0, 1, 0, 1};
  p->step_i = p->k;
  p->step_tc = p->n;
  if ((size_t)c.dim[c.rank - 2] != p->k)
    return OP_FAIL(b, EP_E_SHAPE, "inner dimensions %zu and %lld differ", p->k, (long long)c.dim[c.rank - 2]);
  a.rank -= 2;
  c.rank -= 2;
  if (!ep_shape_broadcast(&a, &c, &batch)) return OP_FAIL(b, EP_E_SHAPE, "batch dimensions do not broadcast");
  b->out_shape = batch;
  if (!va) b->out_shape.dim[b->out_shape.rank++] = (int64_t)p->m;
  if (!vc) b->out_shape.dim[b->out_shape.rank++] = (int64_t)p->n;
  b->out_dtype = b->in[0].dtype;
  p->n_batch = ep_shape_count(&batch);
  if (ep_shape_count(&b->out_shape) >= INT32_MAX || p->n_batch >= INT32_MAX) return OP_FAIL(b, EP_E_SHAPE, "too large");
  EP_TRY(check_size(b, p));
  EP_TRY(bases(b, &a, &batch, p->m * p->k, &p->base_a));
  return bases(b, &c, &batch, p->k * p->n, &p->base_c);
}

static ep_status build_matmul(ep_op_build *b) {
  product p;
  EP_TRY(matmul_shape(b, &p));
  if (!b->in[0].constant && !b->in[1].constant) return two_variables(b, &p);
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  EP_TRY(constant_side(b, &p, 1, A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

extern const ep_op ep_op_gemm, ep_op_matmul;
const ep_op ep_op_gemm = {"Gemm", 2, 3, build_gemm, NULL};
const ep_op ep_op_matmul = {"MatMul", 2, 2, build_matmul, NULL};
