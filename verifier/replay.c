#include "verifier/replay.h"

#include <math.h>
#include <string.h>

#include "verifier/rowcheck.h"

/* The float32 in [lo, hi] nearest to x; false when there is none. */
static bool float_inside(double lo, double hi, double x, double *out) {
  float f = (float)x;
  if ((double)f > hi) f = nextafterf(f, -INFINITY);
  if ((double)f < lo) f = nextafterf(f, INFINITY);
  *out = (double)f;
  return *out >= lo && *out <= hi;
}

void ep_replay_snap(const ep_input_box *box, uint32_t n_x, const double *x, double *snapped, bool *is_float32) {
  *is_float32 = true;
  for (uint32_t i = 0; i < n_x; i++) {
    double lo = box->lo_in[i], hi = box->hi_in[i];
    double v = x[i] >= lo ? (x[i] <= hi ? x[i] : hi) : lo; /* NaN goes to lo */
    if (float_inside(lo, hi, v, &snapped[i])) continue;
    snapped[i] = v;
    *is_float32 = false;
  }
}

static bool polytope_holds(const ep_polytope *p, uint32_t n_y, const double *ylo, const double *yhi, const double *x) {
  for (uint32_t r = 0; r < p->n_row; r++)
    if (!ep_row_is_satisfied(&p->row[r], ep_row_range(&p->row[r], n_y, ylo, yhi, x, x))) return false;
  return true;
}

ep_status ep_replay(const ep_graph *g, const ep_query *q, uint32_t box, const double *x, ep_scratch *s, ep_witness *w,
                    bool *is_sat) {
  const ep_input_box *b = &q->box[box];
  *is_sat = false;
  if (b->is_empty || b->is_proof_only) return EP_OK;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  double *xf = EP_SCRATCH(s, double, q->n_x + 1u);
  float *x32 = EP_SCRATCH(s, float, q->n_x + 1u);
  if (!xf || !x32) goto done;
  ep_replay_snap(b, q->n_x, x, w->x, &w->is_float32);
  for (uint32_t i = 0; i < q->n_x; i++) {
    x32[i] = (float)w->x[i];
    xf[i] = (double)x32[i];
  }
  ep_trace_f32 t32;
  EP_GOTO(ep_eval_f32(g, 1, x32, s, &t32));
  for (uint32_t i = 0; i < q->n_y; i++) w->y[i] = (double)t32.v[g->output][i];
  bool any = false;
  for (uint32_t p = 0; p < b->n_poly && !any; p++) any = polytope_holds(&b->poly[p], q->n_y, w->y, w->y, xf);
  if (!any) goto done; /* the float32 network shows no violation: no need for the rigorous pass */
  if (g->is_float32) { /* that pass was an execution: it counts when its input is a float32 point of the box */
    for (uint32_t p = 0; p < b->n_poly && w->is_float32 && !*is_sat; p++) {
      *is_sat = polytope_holds(&b->poly[p], q->n_y, w->y, w->y, xf);
      w->box = box;
      w->poly = p;
    }
    goto done;
  }
  ep_trace_itv t;
  EP_GOTO(ep_eval_itv(g, 1, w->x, w->x, s, &t));
  for (uint32_t p = 0; p < b->n_poly && !*is_sat; p++) {
    /* The same disjunct under both semantics. */
    if (!polytope_holds(&b->poly[p], q->n_y, w->y, w->y, xf) ||
        !polytope_holds(&b->poly[p], q->n_y, t.lo[g->output], t.hi[g->output], w->x))
      continue;
    w->box = box;
    w->poly = p;
    *is_sat = true;
  }
done:
  ep_scratch_restore(s, m);
  return st;
}
