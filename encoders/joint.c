#include "encoders/joint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* How far a point must lie outside a hull to be worth a row. */
#define VIOLATION 1e-6

void ep_joints_init(ep_joints *js, ep_ctx *ctx) { *js = (ep_joints){.ctx = ctx}; }

void ep_joints_clear(ep_joints *js) {
  for (uint32_t i = 0; i < js->n; i++) ep_hull_destroy(js->joint[i].hull);
  if (js->ctx) ep_free(js->ctx, js->joint);
  *js = (ep_joints){0};
}

/* One layer under construction. */
typedef struct layer {
  ep_joints *js;
  const ep_plan *plan;
  const ep_trace_itv *bounds;
  const ep_relax_f64 *relax;
  const ep_joint_opt *opt;
  ep_scratch *s;
  ep_vid z, out;
} layer;

/* ---- octahedra ---- */

/* Certified upper bounds of the signed sums of two sources of value v, as ep_octahedron counts them: sum[4 * n_pair].
 */
static ep_status pair_bounds(const layer *y, ep_vid v, uint32_t n_pair, uint32_t (*pair)[2], double *sum) {
  const ep_plan *p = y->plan;
  size_t rows = 4 * (size_t)n_pair, n_v = p->g->val[v].n;
  ep_scratch_mark m = ep_scratch_save(y->s);
  double *coef = EP_SCRATCH(y->s, double, rows *n_v + 1), *lin = EP_SCRATCH(y->s, double, rows * p->n_x + 1);
  double *cst = EP_SCRATCH(y->s, double, 2 * rows + 1);
  if (!coef || !lin || !cst) return EP_E_NOMEM;
  memset(coef, 0, rows * n_v * sizeof *coef);
  /* Rows are bounded from below: the negated sums. */
  for (size_t r = 0; r < rows; r++)
    for (int e = 0; e < 2; e++) coef[r * n_v + pair[r / 4][e]] = -ep_octahedron_sign((int)(r % 4), e);
  ep_backward_f64 job = {
      .plan = p, .relax = y->relax, .from = v, .rows = rows, .coef = coef, .lin = lin, .cst = cst, .err = cst + rows};
  ep_status st = ep_backward_run_f64(&job, y->s);
  if (st == EP_OK)
    ep_backward_concretize_f64(rows, p->n_x, lin, cst, cst + rows, NULL, y->bounds->lo[p->g->input],
                               y->bounds->hi[p->g->input], sum);
  for (size_t r = 0; r < rows && st == EP_OK; r++) {
    const double c[2] = {-ep_octahedron_sign((int)(r % 4), 0), -ep_octahedron_sign((int)(r % 4), 1)};
    if (y->opt->improve) st = y->opt->improve(y->opt->arg, v, 2, pair[r / 4], c, &sum[r]);
    sum[r] = -sum[r];
  }
  ep_scratch_restore(y->s, m);
  return st;
}

/* The octahedron of a group's sources. False when a source is unbounded. */
static ep_status find_octahedron(const layer *y, const ep_joint *g, ep_octahedron *o, bool *is_bounded) {
  uint32_t pair[EP_OCTAHEDRON_MAX][2], n_pair = 0;
  const double *lo = y->bounds->lo[g->src_value], *hi = y->bounds->hi[g->src_value];
  *o = (ep_octahedron){.n = g->n_src};
  *is_bounded = true;
  for (uint32_t i = 0; i < o->n; i++) {
    o->lo[i] = lo[g->src[i]];
    o->hi[i] = hi[g->src[i]];
    *is_bounded &= fabs(o->lo[i]) < INFINITY && fabs(o->hi[i]) < INFINITY;
    for (int q = 0; q < 4; q++) o->sum[i][q] = INFINITY;
  }
  for (uint32_t i = 0; i < o->n; i++) /* pairs in the order of ep_octahedron_pair */
    for (uint32_t j = i + 1; j < o->n; j++, n_pair++) {
      pair[n_pair][0] = g->src[i];
      pair[n_pair][1] = g->src[j];
    }
  if (!*is_bounded || g->src_value == y->plan->g->input || !n_pair) return EP_OK; /* inputs are independent */
  EP_TRY(pair_bounds(y, g->src_value, n_pair, pair, &o->sum[0][0]));
  ep_octahedron_tidy(o);
  return EP_OK;
}

/* The region of a group as rows a.s <= c, in rationals. */
typedef struct region {
  uint32_t n_row;
  mpq_t *a, *c;
} region;

static void region_row(region *r, uint32_t n, uint32_t i, double ci, uint32_t j, double cj, double rhs) {
  mpq_set_d(r->a[(size_t)r->n_row * n + i], ci);
  if (j != i) mpq_set_d(r->a[(size_t)r->n_row * n + j], cj);
  mpq_set_d(r->c[r->n_row++], rhs);
}

static void fill_region(const ep_octahedron *o, region *r) {
  for (uint32_t i = 0; i < o->n; i++) {
    region_row(r, o->n, i, 1, i, 0, o->hi[i]);
    region_row(r, o->n, i, -1, i, 0, -o->lo[i]);
    for (uint32_t j = i + 1; j < o->n; j++)
      for (int q = 0; q < 4; q++) {
        double sum = o->sum[ep_octahedron_pair(i, j)][q];
        if (sum < INFINITY) region_row(r, o->n, i, ep_octahedron_sign(q, 0), j, ep_octahedron_sign(q, 1), sum);
      }
  }
}

/* ---- groups ---- */

/* Takes the group over with its hull; arguments of its ReLUs w[n_relu x n_src], t[n_relu]. */
static ep_status keep_group(const layer *y, ep_joint *g, mpq_t *w, mpq_t *t) {
  ep_joints *js = y->js;
  uint32_t most = 2 * EP_JOINT_MAX_SOURCES * EP_JOINT_MAX_SOURCES;
  region r = {.a = ep_rational_create(js->ctx, (size_t)most * EP_JOINT_MAX_SOURCES),
              .c = ep_rational_create(js->ctx, most)};
  bool is_bounded = false;
  ep_octahedron o;
  ep_status st = r.a && r.c ? find_octahedron(y, g, &o, &is_bounded) : EP_E_NOMEM;
  if (st == EP_OK && is_bounded) fill_region(&o, &r);
  if (st == EP_OK && is_bounded) st = ep_hull_create(js->ctx, g->n_src, r.n_row, r.a, r.c, g->n_relu, w, t, &g->hull);
  ep_rational_destroy(js->ctx, r.a, (size_t)most * EP_JOINT_MAX_SOURCES);
  ep_rational_destroy(js->ctx, r.c, most);
  /* No points: the box holds no behaviour of the network (bounds of an empty domain). Nothing to say then. */
  if (st != EP_OK || !is_bounded || !g->hull->n_point) {
    ep_hull_destroy(g->hull);
    return st;
  }
  if (js->n == js->cap) {
    uint32_t want = js->cap ? 2 * js->cap : 16;
    ep_joint *more = ep_realloc(js->ctx, js->joint, want * sizeof *more);
    if (!more) {
      ep_hull_destroy(g->hull);
      return EP_E_NOMEM;
    }
    js->joint = more;
    js->cap = want;
  }
  js->joint[js->n++] = *g;
  return EP_OK;
}

static bool is_unstable(const layer *y, uint32_t i) { return y->bounds->lo[y->z][i] < 0 && y->bounds->hi[y->z][i] > 0; }

/* Pre-activations element[n] as sources. */
static ep_status group_pre_activations(const layer *y, uint32_t n, const uint32_t *element) {
  ep_joint g = {.src_value = y->z, .arg_value = y->z, .relu_value = y->out, .n_src = n};
  mpq_t *w = ep_rational_create(y->js->ctx, EP_JOINT_MAX_SOURCES * EP_JOINT_MAX_SOURCES);
  mpq_t *t = ep_rational_create(y->js->ctx, EP_JOINT_MAX_SOURCES);
  for (uint32_t j = 0; j < n && w && t; j++) {
    g.src[j] = element[j];
    if (!is_unstable(y, element[j])) continue;
    mpq_set_ui(w[g.n_relu * n + j], 1, 1);
    g.relu[g.n_relu++] = element[j];
  }
  ep_status st = w && t ? keep_group(y, &g, w, t) : EP_E_NOMEM;
  ep_rational_destroy(y->js->ctx, w, EP_JOINT_MAX_SOURCES * EP_JOINT_MAX_SOURCES);
  ep_rational_destroy(y->js->ctx, t, EP_JOINT_MAX_SOURCES);
  return st;
}

/* The affine node that makes z, when its weights are exact and it has one input. */
static const ep_node *exact_producer(const layer *y) {
  const ep_graph *g = y->plan->g;
  if (y->z == g->input) return NULL;
  const ep_node *nd = &g->node[g->val[y->z].producer];
  if (nd->low.cls != EP_AFFINE || nd->low.is.affine.n_terms != 1 || nd->low.is.affine.A[0].rel_err > 0) return NULL;
  if (nd->low.is.affine.A[0].kind == EP_LINOP_CONV || nd->low.is.affine.A[0].kind == EP_LINOP_CSR) return NULL;
  return nd->low.is.affine.bias_err ? NULL : nd;
}

/* Unstable neurons u[n] over the (at most two) elements of the layer's input that they read: *is_done. */
static ep_status group_sources(const layer *y, uint32_t n, const uint32_t *u, bool *is_done) {
  const ep_node *nd = exact_producer(y);
  *is_done = false;
  if (!nd || n < 1 || n > EP_JOINT_MAX_RELUS) return EP_OK;
  const ep_affine *a = &nd->low.is.affine;
  ep_joint g = {.src_value = nd->in[0], .arg_value = y->z, .relu_value = y->out, .n_relu = n};
  double *row = EP_SCRATCH(y->s, double, (size_t)n * a->A[0].n_in + 1);
  if (!row) return EP_E_NOMEM;
  ep_linop_rows_f64(&a->A[0], n, u, row, false);
  for (uint32_t j = 0; j < a->A[0].n_in; j++) {
    bool is_read = false;
    for (uint32_t k = 0; k < n; k++) is_read |= row[(size_t)k * a->A[0].n_in + j] != 0;
    if (!is_read) continue;
    if (g.n_src == 2) return EP_OK;
    g.src[g.n_src++] = j;
  }
  if (!g.n_src) return EP_OK;
  mpq_t *w = ep_rational_create(y->js->ctx, (size_t)n * g.n_src), *t = ep_rational_create(y->js->ctx, n);
  for (uint32_t k = 0; k < n && w && t; k++) {
    g.relu[k] = u[k];
    for (uint32_t j = 0; j < g.n_src; j++) mpq_set_d(w[k * g.n_src + j], row[(size_t)k * a->A[0].n_in + g.src[j]]);
    mpq_set_d(t[k], a->bias ? a->bias[u[k]] : 0);
  }
  ep_status st = w && t ? keep_group(y, &g, w, t) : EP_E_NOMEM;
  ep_rational_destroy(y->js->ctx, w, (size_t)n * g.n_src);
  ep_rational_destroy(y->js->ctx, t, n);
  *is_done = true;
  return st;
}

/* ---- who goes together ---- */

typedef struct ranked {
  uint32_t element;
  double score;
} ranked;

static int by_score(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->element < y->element ? -1 : x->element > y->element;
}

/* Rows of the layer's matrix times the widths of its inputs, scaled to length 1: their products say how much two
 * neurons have to do with each other. NULL where there is no such matrix, or a huge one. */
static double *profiles(const layer *y, uint32_t n, const uint32_t *element, uint32_t *n_in) {
  const ep_graph *g = y->plan->g;
  const ep_node *nd = y->z == g->input ? NULL : &g->node[g->val[y->z].producer];
  if (!nd || nd->low.cls != EP_AFFINE || nd->low.is.affine.n_terms != 1) return NULL;
  const ep_linop *A = &nd->low.is.affine.A[0];
  if ((double)n * A->n_in > 4e6) return NULL;
  double *p = EP_SCRATCH(y->s, double, (size_t)n * A->n_in + 1);
  if (!p) return NULL;
  *n_in = A->n_in;
  ep_linop_rows_f64(A, n, element, p, false);
  for (uint32_t i = 0; i < n; i++) {
    double *r = p + (size_t)i * A->n_in, sum = 0;
    for (uint32_t j = 0; j < A->n_in; j++) {
      r[j] *= y->bounds->hi[nd->in[0]][j] - y->bounds->lo[nd->in[0]][j];
      sum += r[j] * r[j];
    }
    for (uint32_t j = 0; j < A->n_in && sum > 0; j++) r[j] /= sqrt(sum);
  }
  return p;
}

/* The partners of candidate i, most alike first: candidates that are not i and that share something with it. Returns
 * how many of at most `most` there are. */
static uint32_t partners(const double *profile, uint32_t n_in, uint32_t n, uint32_t i, uint32_t most, ranked *work,
                         uint32_t *out) {
  uint32_t n_like = 0;
  for (uint32_t j = 0; j < n; j++) {
    double like = 0;
    for (uint32_t q = 0; q < n_in; q++) like += profile[(size_t)i * n_in + q] * profile[(size_t)j * n_in + q];
    if (j != i && fabs(like) > 1e-9) work[n_like++] = (ranked){j, fabs(like)};
  }
  qsort(work, n_like, sizeof *work, by_score);
  uint32_t k = 0;
  for (; k < most && k < n_like; k++) out[k] = work[k].element;
  return k;
}

/* Where nothing tells who is alike: the next in the list, whose triangles are of similar size. */
static uint32_t neighbours(uint32_t n, uint32_t i, uint32_t most, uint32_t *out) {
  uint32_t k = 0;
  for (; k < most && i + 1 + k < n; k++) out[k] = i + 1 + k;
  return k;
}

static bool is_in_group(const layer *y, uint32_t from, uint32_t n, const uint32_t *element) {
  for (uint32_t q = from; q < y->js->n; q++) {
    const ep_joint *g = &y->js->joint[q];
    uint32_t n_common = 0;
    for (uint32_t a = 0; a < g->n_src; a++)
      for (uint32_t b = 0; b < n; b++) n_common += g->src[a] == element[b];
    if (g->n_src == n && n_common == n) return true;
  }
  return false;
}

/* Each of the first `most` unstable neurons with its partners: with size 2 pairs with the best three, with size 3 the
 * triples that any two of the best three make. */
static ep_status group_partners(const layer *y, uint32_t n, const uint32_t *element, uint32_t n_first) {
  enum { PARTNERS = 3 };
  uint32_t n_in = 0, from = y->js->n, found[PARTNERS];
  double *profile = profiles(y, n, element, &n_in);
  ranked *work = EP_SCRATCH(y->s, ranked, n + 1u);
  if (!work) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_first; i++) {
    if (ep_ctx_should_stop(y->js->ctx)) return EP_E_STOPPED;
    if (y->opt->until_s > 0 && ep_time_s() > y->opt->until_s) break;
    uint32_t n_found =
        profile ? partners(profile, n_in, n, i, PARTNERS, work, found) : neighbours(n, i, PARTNERS, found);
    bool has_triples = y->opt->size >= 3 && n_found > 1;
    for (uint32_t a = 0; a < n_found; a++)
      for (uint32_t b = has_triples ? a + 1 : a; b < (has_triples ? n_found : a + 1); b++) {
        uint32_t group[3] = {element[i], element[found[a]], element[found[b]]}, size = has_triples ? 3 : 2;
        if (!is_in_group(y, from, size, group)) EP_TRY(group_pre_activations(y, size, group));
      }
  }
  return EP_OK;
}

ep_status ep_joints_add_layer(ep_joints *js, const ep_plan *plan, const ep_trace_itv *bounds, const ep_relax_f64 *relax,
                              uint32_t k, const ep_joint_opt *opt, ep_scratch *s) {
  const ep_node *nd = &plan->g->node[k];
  assert(plan->is_relu[k] && bounds->batch == 1 && opt->size >= 2 && opt->size <= EP_JOINT_MAX_SOURCES);
  layer y = {js, plan, bounds, relax, opt, s, nd->in[0], nd->out};
  uint32_t n_v = plan->g->val[y.z].n, n_unstable = 0, n = 0;
  ep_scratch_mark m = ep_scratch_save(s);
  ranked *r = EP_SCRATCH(s, ranked, n_v + 1u);
  uint32_t *element = EP_SCRATCH(s, uint32_t, n_v + 1u);
  bool is_done = false;
  if (!r || !element) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_v; i++) {
    double l = bounds->lo[y.z][i], u = bounds->hi[y.z][i];
    if (is_unstable(&y, i)) r[n_unstable++] = (ranked){i, -l * u};
  }
  qsort(r, n_unstable, sizeof *r, by_score);
  for (; n < n_unstable; n++) element[n] = r[n].element;
  ep_status st = group_sources(&y, n, element, &is_done);
  for (uint32_t i = 0; i < n_v; i++) /* active neurons pass their argument on */
    if (bounds->lo[y.z][i] >= 0 && bounds->hi[y.z][i] > bounds->lo[y.z][i]) element[n++] = i;
  if (st == EP_OK && !is_done) st = group_partners(&y, n, element, n_unstable < opt->most ? n_unstable : opt->most);
  ep_scratch_restore(s, m);
  return st;
}

/* ---- rows ---- */

static double value_of(const uint32_t *term, uint32_t i, const double *x) {
  return term[i] == EP_NO_VAR ? 0 : x[term[i]];
}

/* The group's part of the point, sources first; false when every ReLU has its exact value there. */
static bool group_point(const ep_joint *g, const ep_network *net, const double *x, double *p) {
  bool is_off = false;
  for (uint32_t j = 0; j < g->n_src; j++) p[j] = value_of(net->term[g->src_value], g->src[j], x);
  for (uint32_t k = 0; k < g->n_relu; k++) {
    double z = value_of(net->term[g->arg_value], g->relu[k], x);
    double y = p[g->n_src + k] = value_of(net->term[g->relu_value], g->relu[k], x);
    is_off |= fabs(y - fmax(z, 0)) > VIOLATION;
  }
  return is_off;
}

static ep_status add_row(const ep_joint *g, ep_network *net, const double *normal, double rhs) {
  uint32_t var[EP_JOINT_MAX_DIM], n = 0;
  double coef[EP_JOINT_MAX_DIM];
  for (uint32_t j = 0; j < g->n_src + g->n_relu; j++) {
    uint32_t t = j < g->n_src ? net->term[g->src_value][g->src[j]] : net->term[g->relu_value][g->relu[j - g->n_src]];
    if (t == EP_NO_VAR || normal[j] == 0) continue; /* the constant 0 */
    var[n] = t;
    coef[n++] = normal[j];
  }
  ep_prob_row r = {.n = n, .var = var, .coef = coef, .lo = -INFINITY, .hi = rhs, .is_implied = true};
  return n ? ep_prob_add(net->prob, EP_PLACE_ALWAYS, &r) : EP_OK;
}

ep_status ep_joints_separate(const ep_joints *js, ep_network *net, const double *x, uint32_t *n_added) {
  *n_added = 0;
  for (uint32_t i = 0; i < js->n; i++) {
    const ep_joint *g = &js->joint[i];
    double p[EP_JOINT_MAX_DIM] = {0}, normal[EP_JOINT_MAX_DIM], rhs, most = 1;
    bool is_cut;
    if (!net->term[g->src_value] || !net->term[g->relu_value]) continue;
    if (!group_point(g, net, x, p)) continue;
    for (uint32_t j = 0; j < g->hull->dim; j++) most = fmax(most, fabs(p[j]));
    if (!(most < INFINITY)) continue;
    if (ep_ctx_should_stop(js->ctx)) return EP_E_STOPPED;
    EP_TRY(ep_hull_cut(g->hull, p, VIOLATION * most, normal, &rhs, &is_cut));
    if (!is_cut || !(rhs < INFINITY)) continue;
    EP_TRY(add_row(g, net, normal, rhs));
    ++*n_added;
  }
  return EP_OK;
}
