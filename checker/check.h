/* epsproof-check: decides whether a certificate proves that a network never enters the unsafe set of a property. It
 * starts from the raw files and shares no code with the program that wrote the certificate: own readers, own sums.
 *
 * What has to be believed to believe ACCEPTED: these sources, zlib's decompression, protobuf-c's unpacking, GMP, the C
 * library's strtod, the compiler, and IEEE double arithmetic rounded to nearest. docs/certificate.md describes the
 * format and the argument.
 */
#ifndef EP_CHECKER_CHECK_H
#define EP_CHECKER_CHECK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- failing, memory, files: base.c ---- */

typedef struct ck_block ck_block;
typedef struct ck {
  jmp_buf env; /* where ck_reject and ck_bad_input go */
  bool is_bad_input;
  char why[512];
  ck_block *block; /* all memory, freed together */
  size_t used, limit;
} ck;

/* The certificate does not prove the claim. Does not return. */
_Noreturn void ck_reject(ck *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Network, property or command line are not usable, so nothing can be said. Does not return. */
_Noreturn void ck_bad_input(ck *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* n zeroed elements; lives until ck_clear. */
void *ck_alloc(ck *c, size_t n, size_t size);
#define CK_NEW(c, type, n) ((type *)ck_alloc((c), (n), sizeof(type)))
/* Room for element n of an array that doubles. */
void *ck_grow(ck *c, void *array, size_t n, size_t size);
void ck_clear(ck *c);
/* The file's bytes, gunzipped when they are gzip; a zero byte follows them. */
uint8_t *ck_read_file(ck *c, const char *path, size_t limit, size_t *n);
void ck_sha256(const uint8_t *data, size_t n, uint8_t digest[32]);

/* ---- the network: net.c ---- */

/* A linear map, row by row: y[i] = sum over the segments of row i of sum_k w[k] x[col + k]. */
typedef struct ck_seg {
  uint32_t col, len;
  const double *w;
} ck_seg;
typedef struct ck_map {
  /* first[n_row + 1]: where each row's segments start; most weights in one row, in one column */
  uint32_t n_row, n_col, row_terms, col_terms, *first;
  ck_seg *seg;
  double rel; /* |true weight - w| <= rel |w|: 0, unless the weight is a quotient or BatchNormalization's */
} ck_map;

/* y = sum_j map[j] x_j + bias, or y = max(x, 0). Values are flattened tensors. */
typedef struct ck_node {
  bool is_relu, is_unit;     /* unit: affine with weights 1 or -1 only */
  uint32_t n_in, out, layer; /* layer: a relu's number */
  const uint32_t *in;
  ck_map *map; /* affine: [n_in] */
  /* affine: [n_out], |true bias - bias| <= bias_err; NULL = 0 */
  const double *bias, *bias_err;
  const char *name; /* of a relu's output tensor */
} ck_node;

typedef struct ck_net {
  uint32_t n_val, n_node, input, output, n_layer;
  ck_node *node;  /* in an order in which inputs come first */
  bool is_no_f32; /* has doubles or computed weights: no float32 semantics */
  /* size[n_val]: elements of each value; relu[n_layer]: node of each relu layer; flat[n_layer + 1]: place of each layer
   * among all relu neurons */
  uint32_t *size, *relu, *flat;
} ck_net;

ck_net *ck_read_net(ck *c, const uint8_t *data, size_t n);

/* ---- the property: query.c ---- */

/* sum coef[k] var[k] <= rhs (< when strict). Variables 0..n_y-1 are outputs, n_y + i is input i. The true coefficient
 * is within err[k] of coef[k], the true right-hand side not above rhs. */
typedef struct ck_row {
  uint32_t n, *var;
  double *coef, *err;
  double rhs;
  bool is_strict;
} ck_row;
typedef struct ck_poly { /* unsafe when all rows hold */
  uint32_t n_row;
  ck_row *row;
} ck_poly;
typedef struct ck_box {
  double *lo, *hi; /* contain the exact input set */
  bool is_empty;
  uint32_t n_poly;
  ck_poly *poly;
} ck_box;
typedef struct ck_query {
  uint32_t n_x, n_y, n_box;
  ck_box *box;
} ck_query;

ck_query *ck_read_query(ck *c, const uint8_t *data, size_t n);

/* ---- bounds: bound.c ---- */

/* What is known over one input box: bounds of every value, valid for every input of the box. */
typedef struct ck_table {
  double **lo, **hi;
  uint32_t dirty; /* nodes before this one have been propagated since their inputs changed */
} ck_table;

typedef struct ck_state {
  ck *c;
  const ck_net *net;
  bool is_exact;   /* rows in rational arithmetic */
  bool is_f32;     /* float32 semantics: values are those of any float32 execution, affine ones off by f32_err */
  ck_table *t;     /* current */
  double **aerr;   /* [n_node][n_out] error charge per unit of coefficient */
  double *sum_mag; /* [n_val] */
  /* relaxation of the row under way, indexed by flat relu neuron */
  double *slope;   /* lower slope, < 0 = the default rule */
  int8_t *phase;   /* 0 open, 1 decided z >= 0, 2 decided z <= 0 */
  double *beta;    /* multiplier >= 0 of a decided neuron */
  double *price;   /* the coefficient that the neuron's pre-activation is to get, whatever its slope; NaN = none */
  double **coef;   /* [n_val] coefficients of the row under way; those of the input stay after ck_row_bound */
  bool *is_live;   /* [n_val] */
  uint64_t n_rows; /* bounded so far */
  void *exact;     /* exact.c's own */
} ck_state;

ck_state *ck_state_new(ck *c, const ck_net *net);
ck_table *ck_table_new(ck *c, const ck_net *net);
void ck_table_copy(const ck_net *net, const ck_table *from, ck_table *to);
/* Interval propagation of the nodes up to and including the one that makes `value`. */
void ck_propagate(ck_state *s, uint32_t value);
/* Starts a row: all coefficients zero. Then put coefficients into s->coef[v] after ck_touch(s, v). */
void ck_row_start(ck_state *s);
double *ck_touch(ck_state *s, uint32_t value);
/* A lower bound of the seeded row, less err, over the current table's box, for inputs that fit the phases. The inputs
 * of the relus below the seeds must have been propagated. -inf = nothing is known. */
double ck_row_bound(ck_state *s, double err);
/* Lower bound of a property row over the box by back-substitution. */
double ck_query_bound(ck_state *s, const ck_row *row, uint32_t n_y);
bool ck_is_refuted(const ck_row *row, double bound);
/* Lower (or upper) bound of one neuron of a value by back-substitution; kept when it improves the table. */
void ck_tighten(ck_state *s, uint32_t value, uint32_t i, bool is_upper, double bound);
double ck_neuron_bound(ck_state *s, uint32_t value, uint32_t i, bool is_upper);

/* A line under (or over) a relu, and what its phase adds: relu(z) >= slope z + icpt, <= when not is_lower, where the
 * row then loses beta z. icpt = INFINITY: nothing is known. */
typedef struct ck_line {
  double slope, icpt, beta;
} ck_line;
ck_line ck_relu_line(const ck_state *s, const ck_node *relu, uint32_t i, bool is_lower);
/* The least and the greatest pre-activation of neuron i, and the one between them that is nearest to 0; false when they
 * are not bounded. */
bool ck_corners(const ck_state *s, const ck_node *relu, uint32_t i, double z[3]);

/* ---- exact rows: exact.c ---- */
double ck_exact_row_bound(ck_state *s, double err);

/* ---- replay: cert.c ---- */
typedef struct ck_stats {
  bool is_float32; /* what the certificate is about */
  uint64_t n_rows, n_leaves, n_boxes, n_lemmas, n_bytes;
} ck_stats;
/* Returns only when the certificate proves the property. */
void ck_check(ck *c, const uint8_t *cert, size_t n, const uint8_t net_hash[32], const uint8_t query_hash[32],
              const ck_net *net, const ck_query *q, bool is_exact, ck_stats *stats);

#endif
