/* Engine `ibp`: certified interval propagation over every box, batched. */
#include <math.h>
#include <string.h>

#include "verifier/engine.h"
#include "verifier/rowcheck.h"

enum { BATCH = 16 };

ep_status ep_engine_ibp_run(ep_run *run);

/* A replay rounds elsewhere: what a certificate is to show must hold by more than the last bits of its terms. */
static ep_itv with_slack(const ep_row *row, uint32_t n_y, const double *ylo, const double *yhi, const ep_input_box *b,
                         ep_itv r) {
  double mass = 0;
  for (uint32_t k = 0; k < row->n; k++) {
    uint32_t v = row->var[k];
    bool is_low = row->coef[k] > 0;
    double end = v < n_y ? (is_low ? ylo[v] : yhi[v]) : is_low ? b->lo[v - n_y] : b->hi[v - n_y];
    mass += fabs(row->coef[k] * end);
  }
  return (ep_itv){r.lo - 1e-12 * mass, r.hi};
}

static ep_status check_box(ep_run *run, uint32_t box, const double *ylo, const double *yhi) {
  const ep_input_box *b = &run->q->box[box];
  for (uint32_t p = 0; p < b->n_poly; p++)
    for (uint32_t r = 0; r < b->poly[p].n_row && !ep_run_is_proved(run, box, p); r++) {
      const ep_row *row = &b->poly[p].row[r];
      ep_itv range = ep_row_range(row, run->q->n_y, ylo, yhi, b->lo, b->hi);
      if (run->certificate) range = with_slack(row, run->q->n_y, ylo, yhi, b, range);
      if (!ep_row_is_refuted(row, range)) continue;
      if (run->certificate) EP_TRY(ep_certificate_add_interval(run->certificate, box, p, r));
      ep_run_mark_proved(run, box, p);
    }
  return EP_OK;
}

static ep_status batch(ep_run *run, uint32_t first, uint32_t n, ep_scratch *s) {
  size_t n_x = run->q->n_x, n_y = run->q->n_y;
  double *lo = EP_SCRATCH(s, double, n *n_x + 1), *hi = EP_SCRATCH(s, double, n *n_x + 1);
  if (!lo || !hi) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    memcpy(lo + i * n_x, run->q->box[first + i].lo, n_x * sizeof *lo);
    memcpy(hi + i * n_x, run->q->box[first + i].hi, n_x * sizeof *hi);
  }
  ep_trace_itv t;
  EP_TRY(ep_eval_itv(run->g, n, lo, hi, s, &t));
  for (uint32_t i = 0; i < n; i++)
    EP_TRY(check_box(run, first + i, t.lo[run->g->output] + i * n_y, t.hi[run->g->output] + i * n_y));
  return EP_OK;
}

ep_status ep_engine_ibp_run(ep_run *run) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run);
  ep_scratch *s = ep_pool_scratch(run->pool);
  ep_status st = EP_OK;
  atomic_store(&run->progress.phase, "ibp");
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK; i += BATCH) {
    if (ep_ctx_should_stop(run->ctx)) return EP_E_STOPPED;
    ep_scratch_mark m = ep_scratch_save(s);
    st = batch(run, i, run->q->n_box - i < BATCH ? run->q->n_box - i : BATCH, s);
    ep_scratch_restore(s, m);
  }
  ep_phase ph = {.name = "ibp",
                 .seconds = ep_time_s() - t0,
                 .domains = run->q->n_box,
                 .proved = open - ep_run_n_open(run),
                 .worst_bound = NAN};
  ep_run_phase(run, &ph);
  return st;
}
