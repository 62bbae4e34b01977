#include "bounds/lines.h"

#include <assert.h>
#include <math.h>

#include "models/enclose.h"

const char *ep_lines_rule_name(ep_relax_rule rule) {
  static const char *const name[] = {
#define EP_RELAXATION(id, text, help) text,
#include "bounds/relaxations.def"
#undef EP_RELAXATION
  };
  return rule < EP_N_RELAX_RULES ? name[rule] : "?";
}

ep_status ep_relax_init_f64(const ep_plan *p, size_t batch, ep_scratch *s, ep_relax_f64 *out) {
  const ep_graph *g = p->g;
  out->batch = batch;
  out->lines = EP_SCRATCH(s, ep_lines_f64, g->n_node + 1);
  out->general = EP_SCRATCH(s, ep_linear_pair *, g->n_node + 1);
  out->f32_err = EP_SCRATCH(s, double *, g->n_node + 1);
  if (!out->lines || !out->general || !out->f32_err) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    out->lines[k] = (ep_lines_f64){0};
    out->general[k] = NULL;
    out->f32_err[k] = NULL;
    size_t n = g->val[g->node[k].out].n * batch;
    if (g->node[k].low.cls == EP_UNIVAR) {
      double *a = EP_SCRATCH(s, double, 4 * n);
      if (!a) return EP_E_NOMEM;
      out->lines[k] = (ep_lines_f64){a, a + n, a + 2 * n, a + 3 * n};
    } else if (g->node[k].low.cls == EP_GENERAL) {
      out->general[k] = EP_SCRATCH(s, ep_linear_pair, batch);
      if (!out->general[k]) return EP_E_NOMEM;
    } else if (g->node[k].low.is.affine.n_round) {
      out->f32_err[k] = EP_SCRATCH(s, double, n + 1);
      if (!out->f32_err[k]) return EP_E_NOMEM;
      for (size_t i = 0; i < n; i++) out->f32_err[k][i] = INFINITY;
    }
  }
  return EP_OK;
}

/* Certified ReLU lines of one neuron. The comparisons are written so that a NaN bound ends in the last branch with
 * infinite intercepts: no information. */
static void relu_lines(ep_relax_rule rule, double l, double u, double *sl, double *tl, double *su, double *tu) {
  *tl = 0;
  *tu = 0;
  if (l >= 0 && u >= l) {
    *sl = *su = 1;
  } else if (u <= 0 && u >= l) {
    *sl = *su = 0;
  } else if (l < 0 && u > 0 && u < INFINITY && l > -INFINITY) {
    double k = u / (u - l);
    if (!(k >= 0 && k <= 1)) k = 1;
    *su = k;
    /* z -> relu(z) - k z is convex: its maximum over [l,u] is at an end point: -k l or u - k u. */
    *tu = fmax(ep_up(-k * l), ep_up(u - ep_dn(k * u)));
    switch (rule) {
    case EP_RELAX_ZERO:
      *sl = 0;
      break;
    case EP_RELAX_ONE:
      *sl = 1;
      break;
    case EP_RELAX_PARALLEL:
      *sl = k;
      break;
    default:
      *sl = u * (1 - 0x1p-20) > -l ? 1
                                   : 0; /* a tie must not turn on the last bits: replays of the bound round elsewhere */
      break;
    }
  } else {
    *sl = 0; /* relu >= 0 always */
    *su = 0;
    *tu = u >= 0 ? u : INFINITY; /* relu(z) <= max(u, 0); NaN fails the test */
  }
}

/* Gap between f and the line of slope k on side `upper`, summed over the end points and the middle; the certified
 * intercept comes back in *t. */
static double line_gap(const ep_univar *f, double k, double l, double u, bool upper, double *t) {
  ep_itv e = ep_enclose(f, k, l, u);
  *t = upper ? e.hi : e.lo;
  double gap = 0, at[3] = {l, 0.5 * (l + u), u};
  for (int i = 0; i < 3; i++) gap += fabs(f->f(f, at[i]) - (k * at[i] + *t)) * (i == 1 ? 2 : 1);
  return gap;
}

static void best_line(const ep_univar *f, double l, double u, bool upper, double *slope, double *icpt) {
  double mid = 0.5 * (l + u);
  double chord = u > l ? (f->f(f, u) - f->f(f, l)) / (u - l) : f->df(f, mid);
  double cand[6] = {chord, f->df(f, mid), f->df(f, l), f->df(f, u), 0, f->df(f, 0.75 * l + 0.25 * u)};
  double best = INFINITY;
  *slope = 0;
  line_gap(f, 0, l, u, upper, icpt);
  for (int i = 0; i < 6; i++) {
    double t;
    if (!isfinite(cand[i])) continue;
    double gap = line_gap(f, cand[i], l, u, upper, &t);
    if (gap < best && isfinite(t)) {
      best = gap;
      *slope = cand[i];
      *icpt = t;
    }
  }
}

bool ep_lines_is_linear(const ep_univar *f, double l, double u) {
  for (uint32_t k = 0; k < f->n_piece; k++) {
    double a = k == 0 ? -INFINITY : f->brk[k - 1].hi, b = k + 1 == f->n_piece ? INFINITY : f->brk[k].lo;
    bool closed = !f->has_jump;
    bool in = closed ? l >= a && u <= b : l > a && u < b;
    if (in) return f->piece[k] == EP_LINEAR;
  }
  return false;
}

static void univar_lines(const ep_univar *f, double l, double u, double *sl, double *tl, double *su, double *tu) {
  if (!(l <= u && l > -INFINITY && u < INFINITY)) {
    ep_itv e = ep_enclose_range(f, l, u);
    *sl = *su = 0;
    *tl = e.lo;
    *tu = e.hi;
    return;
  }
  best_line(f, l, u, false, sl, tl);
  best_line(f, l, u, true, su, tu);
}

void ep_lines_node(const ep_plan *p, uint32_t k, ep_relax_rule rule, size_t d0, size_t n_dom, const double *lo,
                   const double *hi, ep_relax_f64 *out) {
  const ep_node *nd = &p->g->node[k];
  size_t n = p->g->val[nd->out].n, base = d0 * n;
  assert(nd->low.cls == EP_UNIVAR && d0 + n_dom <= out->batch);
  ep_lines_f64 *ln = &out->lines[k];
  for (size_t i = 0; i < n_dom * n; i++) {
    double *sl = ln->sl + base + i, *tl = ln->tl + base + i, *su = ln->su + base + i, *tu = ln->tu + base + i;
    if (p->is_relu[k])
      relu_lines(rule, lo[i], hi[i], sl, tl, su, tu);
    else
      univar_lines(&nd->low.is.univar, lo[i], hi[i], sl, tl, su, tu);
  }
}
