/* Operators: one file each states what the operator *is*, in solver-neutral data; passes are written once per class.
 *
 * AFFINE   y = sum_k A_k x_k + b: the operator lowers to linops and a bias.
 * UNIVAR   y_i = f(x_i), one real function f: the operator supplies f, f', sound enclosures and its shape.
 * GENERAL  anything else (MaxPool, product of two variables): own evaluation, box and linear relaxation.
 *
 * The class may depend on which inputs are constant (Mul by a constant is AFFINE, Mul of two variables GENERAL), so
 * `lower` decides and fills ep_lowered. Registry: models/ops.def, one line per ONNX operator. A new activation is one
 * file in models/ops/ and one line there. */
#ifndef EP_MODELS_OP_H
#define EP_MODELS_OP_H

#include "kernels/itv.h"
#include "kernels/linop.h"
#include "models/tensor.h"

typedef enum ep_op_class { EP_AFFINE, EP_UNIVAR, EP_GENERAL } ep_op_class;

/* ---- AFFINE ---- */
typedef struct ep_affine {
  uint32_t n_terms;       /* variable inputs */
  const ep_linop *A;      /* A[n_terms]; A[k].n_out = number of outputs */
  const double *bias;     /* [n_out] or NULL = 0 */
  const double *bias_err; /* |true bias - bias| <= bias_err, or NULL = exact */
  const float *bias32;    /* rounded bias, NULL iff bias is NULL */
  uint32_t n_round; /* float32 semantics: roundings that a term goes through (models/float32.h); 0 = none, or real */
} ep_affine;

/* ---- UNIVAR ---- */
typedef enum ep_curvature { EP_LINEAR, EP_CONVEX, EP_CONCAVE } ep_curvature;

#define EP_MAX_PIECES 8u
typedef struct ep_univar ep_univar;
struct ep_univar {
  const char *name;
  double param[4]; /* e.g. LeakyRelu's slope, Clip's limits */
  /* Estimates. f32 follows ONNX Runtime's float32 evaluation. df is one subgradient at kinks. */
  double (*f)(const ep_univar *, double x);
  float (*f32)(const ep_univar *, float x);
  double (*df)(const ep_univar *, double x);
  /* @sound outward: enclosure of f(x) for the exact real x, and of f'(x) (at a kink: hull of both sides). */
  ep_itv (*enclose)(const ep_univar *, double x);
  ep_itv (*enclose_df)(const ep_univar *, double x);
  /* Pieces from -inf to +inf. Piece k spans (brk[k-1], brk[k]); each breakpoint is an interval that contains the true
   * one. In LINEAR pieces f(x) = slope[k]*x + icpt[k] exactly. jump[k]: f may be discontinuous at brk[k] (Sign); the
   * values taken there and at both sides are enclosed by jump_lo..jump_hi. */
  uint32_t n_piece;
  ep_curvature piece[EP_MAX_PIECES];
  double slope[EP_MAX_PIECES], icpt[EP_MAX_PIECES];
  ep_itv brk[EP_MAX_PIECES];
  bool has_jump;
  double jump_lo[EP_MAX_PIECES], jump_hi[EP_MAX_PIECES];
  bool is_monotone; /* non-decreasing */
  /* The pieces hold within [-reach, reach], and f is within `range` everywhere; reach = 0: they hold everywhere. */
  double reach;
  ep_itv range;
};

/* ---- GENERAL ---- */
typedef struct ep_node ep_node;
typedef struct ep_linear_pair { /* lower: y >= L x + lc, upper: y <= U x + uc, x = all variable inputs concatenated */
  ep_linop lower, upper;
  double *lower_c, *upper_c;
} ep_linear_pair;
typedef struct ep_general {
  /* x[k]: k-th variable input, one sample. Constant inputs are reached through node->in and the operator's param. */
  void (*forward_f32)(const ep_node *, const float *const *x, float *y);
  void (*forward_f64)(const ep_node *, const double *const *x, double *y);
  /* gx[k] += J^T gy */
  void (*backward_f64)(const ep_node *, const double *const *x, const double *gy, double *const *gx);
  /* @sound outward: y in [ylo,yhi] for all x in [lo,hi]. */
  void (*box)(const ep_node *, const double *const *lo, const double *const *hi, double *ylo, double *yhi);
  /* @sound outward: linear bounds over the box, allocated from `arena`; the constants absorb all rounding. */
  ep_status (*relax)(const ep_node *, const double *const *lo, const double *const *hi, ep_arena *arena,
                     ep_linear_pair *out);
} ep_general;

/* ---- nodes and values ---- */
typedef uint32_t ep_vid;
#define EP_NO_VALUE UINT32_MAX

/* What an operator lowered to. n_var = variable inputs, in order of their first use. */
typedef struct ep_lowered {
  ep_op_class cls;
  union {
    ep_affine affine;
    ep_univar univar;
    ep_general general;
  } is;
} ep_lowered;

typedef struct ep_op ep_op;
struct ep_node {
  const ep_op *op;
  const char *name;  /* ONNX node name or a made-up one, for messages */
  const void *param; /* operator's parsed attributes and what it keeps of constant inputs */
  uint32_t n_in;     /* variable inputs only, after lowering */
  const ep_vid *in;
  const ep_shape *in_shape; /* [n_in] */
  ep_vid out;
  ep_shape out_shape;
  ep_lowered low;
};

/* Attributes, free of any protobuf type. Absent attributes give the default. */
typedef struct ep_attr {
  const char *name;
  enum { EP_ATTR_INT, EP_ATTR_FLOAT, EP_ATTR_STRING, EP_ATTR_INTS, EP_ATTR_FLOATS, EP_ATTR_TENSOR } type;
  int64_t i;
  double f;
  const char *s;
  size_t n; /* ints, floats */
  const int64_t *ints;
  const double *floats;
  const ep_tensor *t;
} ep_attr;
typedef struct ep_attrs {
  size_t n;
  const ep_attr *attr;
} ep_attrs;
const ep_attr *ep_attrs_find(const ep_attrs *a, const char *name);
int64_t ep_attrs_int(const ep_attrs *a, const char *name, int64_t dflt);
double ep_attrs_float(const ep_attrs *a, const char *name, double dflt);

/* One input as the operator sees it while it is being built. Optional inputs that are absent have is_absent. */
typedef struct ep_op_in {
  bool is_absent;
  ep_dtype dtype;
  ep_shape shape;
  const ep_tensor *constant; /* NULL for a variable */
} ep_op_in;

/* Everything a build call gets and makes. Outputs live in `arena`. */
typedef struct ep_op_build {
  ep_ctx *ctx;
  ep_arena *arena; /* the graph's */
  const char *node_name, *op_type;
  int64_t opset;
  ep_attrs attrs;
  uint32_t n_in;
  const ep_op_in *in;
  /* results */
  ep_shape out_shape;
  ep_dtype out_dtype;
  const void *param;
  ep_lowered low;
} ep_op_build;

struct ep_op {
  const char *onnx; /* "Relu" */
  uint32_t min_in, max_in;
  /* Checks arity, attributes and shapes, and fills out_shape/out_dtype/param/low for the variable inputs. Errors name
   * operator and node: EP_FAIL(b->ctx, EP_E_SHAPE, "node '%s' (Conv): ...", ...). Not called when all inputs are
   * constant and `fold` is given. */
  ep_status (*build)(ep_op_build *b);
  /* Evaluates on constants (shape arithmetic, weights): NULL = derived through build and evaluation, rounding and all;
   * the result is what a float32/float64 runtime would compute. */
  ep_status (*fold)(ep_op_build *b, ep_tensor *out);
};

/* All operators, sorted as in models/ops.def. */
extern const ep_op *const ep_ops[];
extern const size_t ep_n_ops;
const ep_op *ep_op_find(const char *onnx);

/* Is it max(z, 0), exactly? */
static inline bool ep_op_is_relu(const ep_lowered *low) {
  const ep_univar *f = &low->is.univar;
  return low->cls == EP_UNIVAR && f->n_piece == 2 && !f->has_jump && f->piece[0] == EP_LINEAR &&
         f->piece[1] == EP_LINEAR && f->slope[0] == 0 && f->icpt[0] == 0 && f->slope[1] == 1 && f->icpt[1] == 0 &&
         f->brk[0].lo == 0 && f->brk[0].hi == 0;
}

#endif
