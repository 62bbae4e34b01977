/* Bounds over one box: intervals forward, linear rows backward, in doubles rounded to nearest with the error of every
 * step charged. u = 2^-53; a sum of n products is off by at most gamma_n sum |a||b| in any order of summation, with or
 * without fused multiply-add, gamma_n = n u / (1 - n u) (Higham 2002, lemma 3.1).
 *
 * Invariant of a row: for every input of the box that fits the decided phases,
 *     target >= sum_v coef_v . v(x) + cst - err
 * with v(x) the network's exact values and the stored coefficients taken as exact numbers. */
#include <math.h>
#include <string.h>

#include "checker/check.h"

#define U 0x1p-53
#define ETA 0x1p-960        /* what all underflows of one step can amount to, per unit of magnitude */
#define SLACK (1 + 0x1p-16) /* covers the rounding of error terms: sums of less than 2^30 non-negative products */

static double up(double x) { return nextafter(x, INFINITY); }
static double down(double x) { return nextafter(x, -INFINITY); }
static double gamma_n(uint32_t n) { return ((double)n + 6) * U * SLACK; } /* n < 2^30 */
static double magnitude(const ck_table *t, uint32_t v, uint32_t i) {
  return fmax(fabs(t->lo[v][i]), fabs(t->hi[v][i]));
}

ck_table *ck_table_new(ck *c, const ck_net *net) {
  ck_table *t = CK_NEW(c, ck_table, 1);
  t->lo = CK_NEW(c, double *, net->n_val);
  t->hi = CK_NEW(c, double *, net->n_val);
  for (uint32_t v = 0; v < net->n_val; v++) {
    t->lo[v] = CK_NEW(c, double, net->size[v]);
    t->hi[v] = CK_NEW(c, double, net->size[v]);
  }
  return t;
}

void ck_table_copy(const ck_net *net, const ck_table *from, ck_table *to) {
  for (uint32_t v = 0; v < net->n_val; v++) {
    memcpy(to->lo[v], from->lo[v], net->size[v] * sizeof(double));
    memcpy(to->hi[v], from->hi[v], net->size[v] * sizeof(double));
  }
  to->dirty = from->dirty;
}

ck_state *ck_state_new(ck *c, const ck_net *net) {
  ck_state *s = CK_NEW(c, ck_state, 1);
  uint32_t n_flat = net->flat[net->n_layer];
  s->c = c;
  s->net = net;
  s->aerr = CK_NEW(c, double *, net->n_node);
  for (uint32_t k = 0; k < net->n_node; k++) s->aerr[k] = CK_NEW(c, double, net->size[net->node[k].out]);
  s->sum_mag = CK_NEW(c, double, net->n_val);
  s->slope = CK_NEW(c, double, n_flat);
  s->phase = CK_NEW(c, int8_t, n_flat);
  s->beta = CK_NEW(c, double, n_flat);
  s->coef = CK_NEW(c, double *, net->n_val);
  s->is_live = CK_NEW(c, bool, net->n_val);
  for (uint32_t v = 0; v < net->n_val; v++) s->coef[v] = CK_NEW(c, double, net->size[v]);
  for (uint32_t i = 0; i < n_flat; i++) s->slope[i] = -1;
  return s;
}

/* Keeps the tighter of what is known and [l, h]. NaN brings nothing, nor does a crossing. */
static void meet(ck_table *t, uint32_t v, uint32_t i, double l, double h) {
  double a = l > t->lo[v][i] ? l : t->lo[v][i], b = h < t->hi[v][i] ? h : t->hi[v][i];
  if (!(a <= b)) return;
  t->lo[v][i] = a;
  t->hi[v][i] = b;
}

/* sum over row i of node k's maps of [w lo, w hi], and of |w| max(|lo|, |hi|). */
static void row_range(const ck_state *s, const ck_node *nd, uint32_t i, double *lo, double *hi, double *mass,
                      double *rel_mass) {
  *lo = *hi = *mass = *rel_mass = 0;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    const ck_map *m = &nd->map[j];
    double l = 0, h = 0, a = 0;
    for (uint32_t g = m->first[i]; g < m->first[i + 1]; g++) {
      const double *w = m->seg[g].w, *xl = s->t->lo[nd->in[j]] + m->seg[g].col,
                   *xh = s->t->hi[nd->in[j]] + m->seg[g].col;
#pragma omp simd reduction(+ : l, h, a)
      for (uint32_t k = 0; k < m->seg[g].len; k++) {
        double p = w[k] * xl[k], q = w[k] * xh[k], ap = fabs(p), aq = fabs(q);
        l += p < q ? p : q;
        h += p < q ? q : p;
        a += ap > aq ? ap : aq;
      }
    }
    *lo += l;
    *hi += h;
    *mass += a;
    *rel_mass += m->rel * a;
  }
}

/* Most that a float32 execution can be off in an output with `mass` = sum |w||x|: every term is rounded once as a
 * product and once in every sum, with the other terms and the bias, in whatever order; FLT_MAX must be out of reach. */
static double float32_error(const ck_node *nd, uint32_t terms, double mass, double bias) {
  double n = (double)terms + (nd->bias != NULL) - nd->is_unit, t = n * 0x1p-24;
  double total = (mass + fabs(bias)) * SLACK, e = t < 0.25 ? t / (1 - t) * total : INFINITY;
  if (n == 0) return 0;
  return total + e < 0x1.fffffep127 ? (e + n * 0x1p-149) * SLACK : INFINITY;
}

static void propagate_affine(ck_state *s, uint32_t k) {
  const ck_node *nd = &s->net->node[k];
  ck_table *t = s->t;
  uint32_t terms = 0, n = s->net->size[nd->out];
  double col = 0;
  for (uint32_t j = 0; j < nd->n_in; j++) {
    terms += nd->map[j].row_terms;
    col = fmax(col, gamma_n(nd->map[j].col_terms));
  }
  for (uint32_t i = 0; i < n; i++) {
    double lo, hi, mass, rel_mass, b = nd->bias ? nd->bias[i] : 0, own = nd->bias_err ? nd->bias_err[i] : 0;
    row_range(s, nd, i, &lo, &hi, &mass, &rel_mass);
    if (s->is_f32) own += float32_error(nd, terms, mass, b);
    double e = (gamma_n(terms + nd->n_in) * (mass + fabs(b)) + 2 * rel_mass + own) * SLACK + (mass > 0 ? ETA : 0);
    meet(t, nd->out, i, down(down(lo + b) - e), up(up(hi + b) + e));
    s->aerr[k][i] = (col * mass + 2 * rel_mass + own + gamma_n(n) * fabs(b)) * SLACK;
  }
}

static uint32_t nodes_up_to(const ck_net *net, uint32_t value) {
  for (uint32_t k = 0; k < net->n_node; k++)
    if (net->node[k].out == value) return k + 1;
  return 0;
}

void ck_propagate(ck_state *s, uint32_t value) {
  ck_table *t = s->t;
  for (uint32_t k = t->dirty, end = nodes_up_to(s->net, value); k < end; k++) {
    const ck_node *nd = &s->net->node[k];
    const double *lo = t->lo[nd->in[0]], *hi = t->hi[nd->in[0]];
    if (!nd->is_relu)
      propagate_affine(s, k);
    else
      for (uint32_t i = 0; i < s->net->size[nd->out]; i++)
        meet(t, nd->out, i, lo[i] > 0 ? lo[i] : 0, hi[i] > 0 ? hi[i] : 0);
    for (uint32_t j = 0; j < nd->n_in; j++) {
      double sum = 0;
      for (uint32_t i = 0; i < s->net->size[nd->in[j]]; i++) sum += magnitude(t, nd->in[j], i);
      s->sum_mag[nd->in[j]] = sum;
    }
    t->dirty = k + 1;
  }
}

/* ---- rows ---- */

void ck_row_start(ck_state *s) { memset(s->is_live, 0, s->net->n_val * sizeof(bool)); }

double *ck_touch(ck_state *s, uint32_t v) {
  if (!s->is_live[v]) memset(s->coef[v], 0, s->net->size[v] * sizeof(double));
  s->is_live[v] = true;
  return s->coef[v];
}

/* Through v = sum_j A_j u_j + b: coef_u += coef_v A. What the products and sums lose is inside aerr; what is already in
 * coef_u is rounded once more with each addition. */
static void through_affine(ck_state *s, uint32_t k, double *cst, double *err) {
  const ck_node *nd = &s->net->node[k];
  const double *c = s->coef[nd->out];
  uint32_t n = s->net->size[nd->out];
  double t = 0, e = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (c[i] == 0) continue;
    t += nd->bias ? c[i] * nd->bias[i] : 0;
    e += fabs(c[i]) * s->aerr[k][i];
  }
  *cst += t;
  *err += e + 2 * U * fabs(*cst);
  for (uint32_t j = 0; j < nd->n_in; j++) {
    const ck_map *m = &nd->map[j];
    uint32_t u = nd->in[j];
    double old = 0;
    for (uint32_t i = 0; s->is_live[u] && i < s->net->size[u]; i++) old += fabs(s->coef[u][i]) * magnitude(s->t, u, i);
    double *dst = ck_touch(s, u);
    *err += gamma_n(m->col_terms) * old + ETA * (1 + s->sum_mag[u]);
    for (uint32_t i = 0; i < n; i++) {
      if (c[i] == 0) continue;
      for (uint32_t g = m->first[i]; g < m->first[i + 1]; g++) {
        const double *w = m->seg[g].w, ci = c[i];
        double *restrict d = dst + m->seg[g].col;
        for (uint32_t x = 0; x < m->seg[g].len; x++) d[x] += ci * w[x];
      }
    }
  }
}

/* For l < 0 < u: relu(z) >= low z for any low in [0,1]; relu(z) <= slope z + icpt for any slope >= 0 and
 * icpt = max(-slope l, u - slope u), since relu(z) - slope z is convex. */
ck_line ck_relu_line(const ck_state *s, const ck_node *nd, uint32_t i, bool is_lower) {
  uint32_t z = nd->in[0], flat = s->net->flat[nd->layer] + i;
  double l = s->t->lo[z][i], u = s->t->hi[z][i];
  if (s->phase[flat] == 1) return (ck_line){1, 0, s->beta[flat]};  /* z >= 0: relu(z) = z, and 0 >= -beta z */
  if (s->phase[flat] == 2) return (ck_line){0, 0, -s->beta[flat]}; /* z <= 0: relu(z) = 0, and 0 >= beta z */
  if (l >= 0 || u <= 0) return (ck_line){l >= 0, 0, 0};
  if (!(l > -INFINITY && u < INFINITY)) return (ck_line){0, is_lower ? 0 : u, 0}; /* 0 <= relu <= u is all we know */
  if (is_lower) return (ck_line){s->slope[flat] >= 0 ? s->slope[flat] : u * (1 - 0x1p-20) > -l, 0, 0};
  double slope = u / (u - l);
  if (!(slope >= 0 && slope <= 1)) slope = 1;
  return (ck_line){slope, fmax(up(-slope * l), up(u - down(slope * u))), 0};
}

static void through_relu(ck_state *s, const ck_node *nd, double *cst, double *err) {
  uint32_t z = nd->in[0];
  const double *c = s->coef[nd->out];
  double *dst = ck_touch(s, z);
  *err += ETA * (1 + s->sum_mag[z]);
  for (uint32_t i = 0; i < s->net->size[z]; i++) {
    if (c[i] == 0 && !s->phase[s->net->flat[nd->layer] + i]) continue;
    ck_line line = ck_relu_line(s, nd, i, c[i] > 0);
    double a = c[i] * line.slope - line.beta, t = c[i] == 0 ? 0 : c[i] * line.icpt;
    dst[i] += a;
    *cst += t;
    *err += 4 * U * ((fabs(a) + fabs(dst[i])) * magnitude(s->t, z, i) + fabs(t) + (t != 0 ? fabs(*cst) : 0));
  }
}

double ck_row_bound(ck_state *s, double err) {
  const ck_net *net = s->net;
  s->n_rows++;
  if (s->is_exact && !s->is_direct) return ck_exact_row_bound(s, err);
  double cst = 0;
  for (uint32_t k = s->is_direct ? 0 : net->n_node; k-- > 0;) {
    if (!s->is_live[net->node[k].out]) continue;
    if (net->node[k].is_relu)
      through_relu(s, &net->node[k], &cst, &err);
    else
      through_affine(s, k, &cst, &err);
    s->is_live[net->node[k].out] = false;
  }
  ck_touch(s, net->input);
  double sum = 0, mass = fabs(cst);
  uint32_t n = 0;
  for (uint32_t v = 0; v < net->n_val; v++)
    for (uint32_t j = 0; s->is_live[v] && j < net->size[v]; j++, n++) {
      double c = s->coef[v][j], p = c == 0 ? 0 : c * (c > 0 ? s->t->lo[v][j] : s->t->hi[v][j]);
      sum += p;
      mass += fabs(p);
    }
  err = (err + gamma_n(n) * mass) * SLACK + ETA;
  double b = down(down(sum + cst) - up(err));
  return b < INFINITY ? b : -INFINITY; /* so does NaN end */
}

/* ---- what rows are for ---- */

double ck_neuron_bound(ck_state *s, uint32_t value, uint32_t i, bool is_upper) {
  ck_propagate(s, value);
  ck_row_start(s);
  double *c = ck_touch(s, value);
  c[i] = is_upper ? -1 : 1;
  for (uint32_t l = 0; l < s->net->n_layer; l++) { /* decisions on neurons of the same layer count as well */
    const ck_node *nd = &s->net->node[s->net->relu[l]];
    const int8_t *phase = s->phase + s->net->flat[l];
    for (uint32_t k = 0; nd->in[0] == value && k < s->net->size[value]; k++)
      if (phase[k] && k != i) c[k] = (phase[k] == 1 ? -1 : 1) * s->beta[s->net->flat[l] + k];
  }
  double b = ck_row_bound(s, 0);
  return is_upper ? -b : b;
}

void ck_tighten(ck_state *s, uint32_t value, uint32_t i, bool is_upper, double bound) {
  double *lo = s->t->lo[value], *hi = s->t->hi[value];
  if (is_upper ? !(bound < hi[i]) : !(bound > lo[i])) return;
  meet(s->t, value, i, is_upper ? lo[i] : bound, is_upper ? bound : hi[i]);
  for (uint32_t k = 0; k < s->net->n_node; k++)
    for (uint32_t j = 0; j < s->net->node[k].n_in; j++)
      if (k < s->t->dirty && s->net->node[k].in[j] == value) s->t->dirty = k;
}

double ck_query_bound(ck_state *s, const ck_row *row, uint32_t n_y) {
  double err = 0;
  ck_propagate(s, s->net->output);
  ck_row_start(s);
  for (uint32_t k = 0; k < row->n; k++) {
    bool is_y = row->var[k] < n_y;
    uint32_t v = is_y ? s->net->output : s->net->input, i = row->var[k] - (is_y ? 0 : n_y);
    double *c = ck_touch(s, v), mag = magnitude(s->t, v, i);
    c[i] += row->coef[k]; /* exact: no variable occurs twice, but for a network that hands its input through */
    err += (row->err[k] + 2 * U * (s->net->input == s->net->output ? fabs(c[i]) : 0)) * mag * SLACK;
  }
  return ck_row_bound(s, err);
}

double ck_query_interval(ck_state *s, const ck_row *row, uint32_t n_y) {
  s->is_direct = true;
  double b = ck_query_bound(s, row, n_y);
  s->is_direct = false;
  return b;
}

bool ck_is_refuted(const ck_row *row, double bound) { return row->is_strict ? bound >= row->rhs : bound > row->rhs; }
