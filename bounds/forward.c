/* With t in [-1,1]^n_x the input's position in the box, value v satisfies for all t
 *
 *     M(t) - D(t) - e <= v <= M(t) + D(t) + e,
 *
 * M and D affine in t (row 0 holds constants, row 1+j the coefficients of t_j), e >= 0 a number per element that
 * collects all rounding. For y = A x + b the bounds A+ L + A- U and A+ U + A- L are, in this form, just M' = A M + b,
 * D' = |A| D. Every stored coefficient taken as exact, a rounded operation on a coefficient of size c moves the
 * function by at most its error, as |t_j| <= 1: so each rounding of relative size r costs r*(sum of coefficient sizes),
 * added to e. */
#include "bounds/forward.h"

#include <math.h>
#include <string.h>

typedef struct form {
  double *M, *D; /* [(n_x+1) x n] */
  double *e;     /* [n] */
} form;

typedef struct pass {
  const ep_plan *p;
  ep_scratch *s;
  size_t k; /* n_x + 1 rows */
  form *f;  /* [n_val] */
} pass;

static ep_status form_alloc(pass *q, ep_vid v) {
  size_t n = q->p->g->val[v].n;
  form *f = &q->f[v];
  f->M = EP_SCRATCH(q->s, double, q->k *n + 1);
  f->D = EP_SCRATCH(q->s, double, q->k *n + 1);
  f->e = EP_SCRATCH(q->s, double, n + 1);
  if (!f->M || !f->D || !f->e) return EP_E_NOMEM;
  memset(f->M, 0, q->k * n * sizeof(double));
  memset(f->D, 0, q->k * n * sizeof(double));
  memset(f->e, 0, n * sizeof(double));
  return EP_OK;
}

/* A value known only by its box: constants. */
static void form_box(pass *q, ep_vid v, const double *lo, const double *hi) {
  form *f = &q->f[v];
  for (uint32_t i = 0; i < q->p->g->val[v].n; i++) {
    f->M[i] = 0.5 * lo[i] + 0.5 * hi[i];
    double a = ep_sub_up(f->M[i], lo[i]), b = ep_sub_up(hi[i], f->M[i]);
    f->D[i] = a > b ? a : b;
  }
}

/* x_j = mid_j + rad_j t_j. */
static void form_input(pass *q, const double *lo, const double *hi) {
  ep_vid v = q->p->g->input;
  size_t n = q->p->n_x;
  form_box(q, v, lo, hi);
  for (size_t j = 0; j < n; j++) {
    q->f[v].M[(1 + j) * n + j] = q->f[v].D[j];
    q->f[v].D[j] = 0;
  }
}

/* Sum over rows of |M| + |D|, per element: the size that relative errors refer to. */
static void size_of(const pass *q, const form *f, size_t n, double *out) {
  memset(out, 0, n * sizeof *out);
  for (size_t r = 0; r < q->k; r++)
    for (size_t i = 0; i < n; i++) out[i] += fabs(f->M[r * n + i]) + fabs(f->D[r * n + i]);
}

static ep_status affine(pass *q, const ep_node *nd) {
  const ep_affine *a = &nd->low.is.affine;
  size_t n = q->p->g->val[nd->out].n;
  form *y = &q->f[nd->out];
  size_t terms = 8u + 2u * a->n_terms;
  for (uint32_t j = 0; j < a->n_terms; j++) terms += a->A[j].terms_fwd;
  for (uint32_t j = 0; j < a->n_terms; j++) {
    const ep_linop *A = &a->A[j];
    const form *x = &q->f[nd->in[j]];
    ep_scratch_mark m = ep_scratch_save(q->s);
    double *size = EP_SCRATCH(q->s, double, A->n_in + 1u);
    if (!size) return EP_E_NOMEM;
    size_of(q, x, A->n_in, size);
    double w = (ep_gamma64(terms) + A->rel_err) * EP_ERR_SLACK;
    for (uint32_t i = 0; i < A->n_in; i++) size[i] = x->e[i] + w * (size[i] + x->e[i]) + (double)(q->k + 1) * EP_ETA64;
    EP_TRY(ep_linop_apply_f64(A, q->k, x->M, y->M, j > 0, q->s));
    EP_TRY(ep_linop_apply_abs_f64(A, q->k, x->D, y->D, j > 0, q->s));
    EP_TRY(ep_linop_apply_abs_f64(A, 1, size, y->e, j > 0, q->s));
    ep_scratch_restore(q->s, m);
  }
  for (size_t i = 0; i < n; i++) {
    double b = a->bias ? a->bias[i] : 0;
    y->M[i] += b;
    y->e[i] = (y->e[i] + (a->bias_err ? a->bias_err[i] : 0) + 2 * EP_U64 * (fabs(b) + fabs(y->M[i]))) * EP_ERR_SLACK +
              (double)terms * EP_ETA64;
  }
  return EP_OK;
}

/* Range of value v over the box, intersected with what the table knows. */
static void concretise(pass *q, ep_vid v, double *lo, double *hi) {
  size_t n = q->p->g->val[v].n;
  const form *f = &q->f[v];
  double gamma = ep_gamma64(2 * q->k + 8) * EP_ERR_SLACK;
  for (size_t i = 0; i < n; i++) {
    double l = f->M[i] - f->D[i], u = f->M[i] + f->D[i], size = fabs(f->M[i]) + fabs(f->D[i]);
    for (size_t r = 1; r < q->k; r++) {
      double m = f->M[r * n + i], d = f->D[r * n + i];
      l -= fabs(m - d);
      u += fabs(m + d);
      size += fabs(m) + fabs(d);
    }
    double e = (f->e[i] + gamma * size) * EP_ERR_SLACK;
    double a = ep_sub_dn(l, e), b = ep_add_up(u, e);
    a = a > lo[i] ? a : lo[i];
    b = b < hi[i] ? b : hi[i];
    if (!(a <= b)) continue; /* NaN: keep what was known */
    lo[i] = a;
    hi[i] = b;
  }
}

/* a >= sl z + tl and a <= su z + tu, with z replaced by its own lower or upper function according to the slope's sign.
 */
static void univar(pass *q, uint32_t k, const ep_relax_f64 *relax, size_t d) {
  const ep_node *nd = &q->p->g->node[k];
  size_t n = q->p->g->val[nd->out].n;
  const ep_lines_f64 *ln = &relax->lines[k];
  const form *z = &q->f[nd->in[0]];
  form *y = &q->f[nd->out];
  for (size_t i = 0; i < n; i++) {
    double sl = ln->sl[d * n + i], su = ln->su[d * n + i], tl = ln->tl[d * n + i], tu = ln->tu[d * n + i];
    double a = sl >= 0 ? -1 : 1, b = su >= 0 ? 1 : -1, size = 0;
    for (size_t r = 0; r < q->k; r++) {
      double m = z->M[r * n + i], dev = z->D[r * n + i];
      double low = sl * (m + a * dev), up = su * (m + b * dev);
      if (r == 0) {
        low += tl;
        up += tu;
      }
      y->M[r * n + i] = 0.5 * low + 0.5 * up;
      y->D[r * n + i] = 0.5 * up - 0.5 * low;
      size += (fabs(sl) + fabs(su)) * (fabs(m) + fabs(dev)) + fabs(low) + fabs(up);
    }
    double s = fabs(sl) > fabs(su) ? fabs(sl) : fabs(su);
    y->e[i] = (s * z->e[i] + 8 * EP_U64 * (size + fabs(tl) + fabs(tu))) * EP_ERR_SLACK + (double)q->k * 8 * EP_ETA64;
  }
}

static ep_status one_box(const ep_plan *p, ep_relax_rule rule, ep_trace_itv *b, size_t d, ep_relax_f64 *relax,
                         ep_scratch *s) {
  const ep_graph *g = p->g;
  pass q = {.p = p, .s = s, .k = p->n_x + 1u};
  q.f = EP_SCRATCH(s, form, g->n_val);
  if (!q.f) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) EP_TRY(form_alloc(&q, v));
  form_input(&q, b->lo[g->input] + d * p->n_x, b->hi[g->input] + d * p->n_x);
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    size_t at = d * g->val[nd->out].n;
    if (ep_ctx_should_stop(p->ctx)) return EP_E_STOPPED;
    if (nd->low.cls == EP_AFFINE) {
      EP_TRY(affine(&q, nd));
      concretise(&q, nd->out, b->lo[nd->out] + at, b->hi[nd->out] + at);
    } else if (nd->low.cls == EP_UNIVAR) {
      ep_lines_node(p, k, rule, d, 1, b->lo[nd->in[0]] + at, b->hi[nd->in[0]] + at, relax);
      univar(&q, k, relax, d);
    } else {
      /* Only the box that ep_crown_node found goes on. */
      form_box(&q, nd->out, b->lo[nd->out] + at, b->hi[nd->out] + at);
    }
  }
  return EP_OK;
}

ep_status ep_forward_run(const ep_plan *p, ep_relax_rule rule, ep_trace_itv *b, ep_relax_f64 *relax, ep_arena *arena,
                         ep_scratch *s) {
  /* Intervals first: they give every box a value and GENERAL nodes their relaxation. */
  ep_crown_opt interval = {.rule = rule, .is_interval_only = true};
  EP_TRY(ep_crown_run(p, &interval, b, relax, arena, s));
  for (size_t d = 0; d < b->batch; d++) {
    ep_scratch_mark m = ep_scratch_save(s);
    ep_status st = one_box(p, rule, b, d, relax, s);
    ep_scratch_restore(s, m);
    EP_TRY(st);
  }
  /* Once more from the tightened pre-activations: activations' boxes and all lines agree with them. */
  return ep_crown_run(p, &interval, b, relax, arena, s);
}
