/* Gemm and MatMul. A constant matrix makes them affine; MatMul of two variables is refused (no network of the first tier
 * needs it). */
#include <math.h>
#include <string.h>

#include "models/op_util.h"

static ep_status build_gemm(ep_op_build *b) {
  const ep_shape *sa = &b->in[0].shape, *sb = &b->in[1].shape;
  bool ta = ep_attrs_int(&b->attrs, "transA", 0) != 0, tb = ep_attrs_int(&b->attrs, "transB", 0) != 0;
  double alpha = ep_attrs_float(&b->attrs, "alpha", 1), beta = ep_attrs_float(&b->attrs, "beta", 1);
  if (b->in[0].constant || !b->in[1].constant)
    return OP_FAIL(b, EP_E_UNSUPPORTED, "only a variable times a constant matrix");
  if (sa->rank != 2 || sb->rank != 2) return OP_FAIL(b, EP_E_SHAPE, "operands must have rank 2");
  int64_t m = sa->dim[ta], k = sa->dim[!ta], k2 = sb->dim[tb], n = sb->dim[!tb];
  if (k != k2) return OP_FAIL(b, EP_E_SHAPE, "inner dimensions %lld and %lld differ", (long long)k, (long long)k2);
  if (m != 1) return OP_FAIL(b, EP_E_UNSUPPORTED, "batch of %lld rows", (long long)m);
  const double *w, *c;
  EP_TRY(ep_op_floats(b, 1, SIZE_MAX, &w));
  b->out_shape = (ep_shape){.rank = 2, .dim = {1, n}};
  b->out_dtype = b->in[0].dtype;
  double *W = EP_ARENA(b->arena, double, (size_t)(n * k) + 1), *bias = NULL, *berr = NULL;
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!W || !A) return EP_E_NOMEM;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < k; j++) W[i * k + j] = alpha * (tb ? w[i * k + j] : w[j * n + i]);
  EP_TRY(ep_linop_dense(b->arena, (uint32_t)n, (uint32_t)k, W, alpha == 1 ? 0 : 2 * EP_U64, A));
  EP_TRY(ep_op_floats(b, 2, SIZE_MAX, &c));
  if (c) {
    ep_shape out;
    if (!ep_shape_broadcast(&b->in[2].shape, &b->out_shape, &out) || !ep_shape_equal(&out, &b->out_shape))
      return OP_FAIL(b, EP_E_SHAPE, "bias does not broadcast to the output");
    int32_t *map = EP_ARENA(b->arena, int32_t, (size_t)n + 1);
    bias = EP_ARENA(b->arena, double, (size_t)n + 1);
    if (beta != 1) berr = EP_ARENA(b->arena, double, (size_t)n + 1);
    if (!map || !bias || (beta != 1 && !berr)) return EP_E_NOMEM;
    ep_shape_broadcast_map(&b->in[2].shape, &b->out_shape, map);
    for (int64_t i = 0; i < n; i++) {
      bias[i] = beta * c[map[i]];
      if (berr) berr[i] = 2 * EP_U64 * fabs(bias[i]) + EP_ETA64;
    }
  } else if (ep_op_has(b, 2)) {
    return OP_FAIL(b, EP_E_UNSUPPORTED, "variable bias");
  }
  return ep_op_affine(b, 1, A, bias, berr);
}

/* Batched matrix product with one constant side, as sparse rows (dense when there is one row and no batch). */
typedef struct mm {
  ep_shape a, c, batch; /* operands with rank >= 2, broadcast batch dimensions */
  size_t n_batch, m, k, n;
} mm;

static ep_status mm_shape(ep_op_build *b, mm *p) {
  p->a = b->in[0].shape;
  p->c = b->in[1].shape;
  bool va = p->a.rank == 1, vc = p->c.rank == 1;
  if (!p->a.rank || !p->c.rank) return OP_FAIL(b, EP_E_SHAPE, "scalar operand");
  if (va) p->a = (ep_shape){.rank = 2, .dim = {1, p->a.dim[0]}};
  if (vc) p->c = (ep_shape){.rank = 2, .dim = {p->c.dim[0], 1}};
  uint32_t ra = p->a.rank, rc = p->c.rank;
  p->m = (size_t)p->a.dim[ra - 2];
  p->k = (size_t)p->a.dim[ra - 1];
  p->n = (size_t)p->c.dim[rc - 1];
  if ((size_t)p->c.dim[rc - 2] != p->k)
    return OP_FAIL(b, EP_E_SHAPE, "inner dimensions %zu and %lld differ", p->k, (long long)p->c.dim[rc - 2]);
  p->a.rank -= 2;
  p->c.rank -= 2;
  if (!ep_shape_broadcast(&p->a, &p->c, &p->batch)) return OP_FAIL(b, EP_E_SHAPE, "batch dimensions do not broadcast");
  p->n_batch = ep_shape_count(&p->batch);
  b->out_shape = p->batch;
  if (!va) b->out_shape.dim[b->out_shape.rank++] = (int64_t)p->m;
  if (!vc) b->out_shape.dim[b->out_shape.rank++] = (int64_t)p->n;
  b->out_dtype = b->in[0].dtype;
  return EP_OK;
}

static ep_status build_matmul(ep_op_build *b) {
  mm p;
  const double *w;
  EP_TRY(mm_shape(b, &p));
  if (!b->in[0].constant == !b->in[1].constant) return OP_FAIL(b, EP_E_UNSUPPORTED, "product of two variables");
  uint32_t kc = b->in[0].constant ? 0 : 1;
  EP_TRY(ep_op_floats(b, kc, SIZE_MAX, &w));
  size_t n_out = p.n_batch * p.m * p.n, n_in = ep_shape_count(&b->in[1 - kc].shape);
  if (n_out >= INT32_MAX || n_in >= INT32_MAX || (p.k && n_out > ((size_t)1 << 31) / p.k))
    return OP_FAIL(b, EP_E_SHAPE, "too large");
  ep_linop *A = EP_ARENA(b->arena, ep_linop, 1);
  if (!A) return EP_E_NOMEM;
  if (kc == 1 && p.n_batch == 1 && p.m == 1) {
    double *W = EP_ARENA(b->arena, double, n_out * p.k + 1);
    if (!W) return EP_E_NOMEM;
    for (size_t i = 0; i < p.n; i++)
      for (size_t j = 0; j < p.k; j++) W[i * p.k + j] = w[j * p.n + i];
    EP_TRY(ep_linop_dense(b->arena, (uint32_t)n_out, (uint32_t)n_in, W, 0, A));
    return ep_op_affine(b, 1, A, NULL, NULL);
  }
  int32_t *ba = EP_ARENA(b->arena, int32_t, p.n_batch + 1), *bc = EP_ARENA(b->arena, int32_t, p.n_batch + 1);
  uint32_t *ptr = EP_ARENA(b->arena, uint32_t, n_out + 1), *col = EP_ARENA(b->arena, uint32_t, n_out * p.k + 1);
  double *val = EP_ARENA(b->arena, double, n_out * p.k + 1);
  if (!ba || !bc || !ptr || !col || !val) return EP_E_NOMEM;
  ep_shape_broadcast_map(&p.a, &p.batch, ba);
  ep_shape_broadcast_map(&p.c, &p.batch, bc);
  size_t at = 0, o = 0;
  for (size_t q = 0; q < p.n_batch; q++)
    for (size_t i = 0; i < p.m; i++)
      for (size_t j = 0; j < p.n; j++) {
        for (size_t t = 0; t < p.k; t++, at++) {
          size_t ia = ((size_t)ba[q] * p.m + i) * p.k + t, ic = ((size_t)bc[q] * p.k + t) * p.n + j;
          col[at] = (uint32_t)(kc ? ia : ic);
          val[at] = w[kc ? ic : ia];
        }
        ptr[++o] = (uint32_t)at;
      }
  EP_TRY(ep_linop_csr(b->arena, (uint32_t)n_out, (uint32_t)n_in, ptr, col, val, 0, A));
  return ep_op_affine(b, 1, A, NULL, NULL);
}

extern const ep_op ep_op_gemm, ep_op_matmul;
const ep_op ep_op_gemm = {"Gemm", 2, 3, build_gemm, NULL};
const ep_op ep_op_matmul = {"MatMul", 2, 2, build_matmul, NULL};
