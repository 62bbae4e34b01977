#include "verifier/sweep.h"

#include <math.h>

#include "verifier/bab.h"
#include "verifier/refine.h"

enum { FIRST_LEAVES = 4, LEAVES_GROWTH = 4, MAX_LEAVES = 4096 };
/* Branch and bound gets the time that the next refinement is expected to take, so that neither costs more than double;
 * after a good refinement, a share of it. */
static const double MIN_TURN_S = 0.5, MAX_TURN = 0.25; /* the latter of the time left, where that is limited */
static const double GOOD_TURN = 0.05;
/* Shares of the gap: a refinement that closes less is the last; one that closes more is good. */
static const double MIN_GAIN = 0.05, GOOD_GAIN = 0.5;
static const double REFINE_SHARE = 0.4; /* of the time left, for one refinement */

enum { ALPHA, REFINE, BAB, N_PHASE };

typedef struct sweep {
  ep_run *run;
  double deadline_s; /* 0 = none */
  ep_phase phase[N_PHASE];
  uint32_t n_open; /* before the phase under way */
  bool is_sat, is_stuck;
} sweep;

/* One box. */
typedef struct turn {
  sweep *w;
  ep_root *root;
  double budget_s; /* of the next search */
} turn;

static void begin(sweep *w, int phase) { atomic_store(&w->run->progress.phase, w->phase[phase].name); }

static void end(sweep *w, int phase, double since, double worst_bound) {
  ep_phase *ph = &w->phase[phase];
  ph->seconds += ep_time_s() - since;
  ph->proved += w->n_open - ep_run_n_open(w->run);
  ph->worst_bound = worst_bound < INFINITY ? worst_bound : NAN; /* of the last box and turn */
  w->n_open = ep_run_n_open(w->run);
}

static ep_status optimise(turn *t, ep_root_method method) {
  ep_ascent_opt ascent = ep_ascent_default();
  ascent.iterations = (uint32_t)t->w->run->cfg->iterations;
  return ep_root_bound(t->root, method, &ascent);
}

static bool is_over(const turn *t) { return t->w->is_sat || ep_root_worst(t->root) == INFINITY; }

static double least(double a, double b) { return a <= 0 ? b : b <= 0 ? a : fmin(a, b); }

/* Searches until the turn's budget is used up, or to the end when nothing is left to refine. */
static ep_status search(turn *t) {
  sweep *w = t->w;
  double t0 = ep_time_s();
  ep_bab_opt opt = ep_bab_default(w->run);
  ep_bab_stats stats;
  double limit = least(w->deadline_s, ep_ctx_deadline(w->run->ctx));
  double turn_s = fmax(MIN_TURN_S, limit > 0 ? fmin(t->budget_s, MAX_TURN * (limit - t0)) : t->budget_s);
  opt.deadline_s = least(w->deadline_s, t->root->leaves ? t0 + turn_s : 0);
  begin(w, BAB);
  ep_status st = ep_bab_run(t->root, &opt, &stats, &w->is_sat);
  w->phase[BAB].domains += stats.domains;
  if (st == EP_OK && !w->is_sat && !is_over(t) && stats.stuck && !stats.open) {
    w->is_stuck = true;
    t->root->leaves = 0;
  }
  end(w, BAB, t0, stats.worst_margin);
  return st;
}

static ep_status refine(turn *t) {
  sweep *w = t->w;
  double t0 = ep_time_s(), before = ep_root_worst(t->root), limit = least(w->deadline_s, ep_ctx_deadline(w->run->ctx));
  ep_refine_opt opt = {.leaves = t->root->leaves, .deadline_s = limit > 0 ? t0 + REFINE_SHARE * (limit - t0) : 0};
  ep_refine_stats stats;
  begin(w, REFINE);
  EP_TRY(ep_refine_bounds(t->root, &opt, &stats));
  EP_TRY(optimise(t, EP_ROOT_ROWS));
  w->phase[REFINE].domains += stats.domains;
  double worst = ep_root_worst(t->root);
  end(w, REFINE, t0, worst);
  double gain = (worst - before) / (fabs(before) + 1e-300), spent = ep_time_s() - t0;
  if (!stats.domains || !(gain > MIN_GAIN) || t->root->leaves >= MAX_LEAVES)
    t->root->leaves = 0;
  else if (!stats.is_cut_short)
    t->root->leaves *= LEAVES_GROWTH;
  double next = spent * LEAVES_GROWTH;
  t->budget_s = gain > GOOD_GAIN ? GOOD_TURN * next : next;
  return EP_OK;
}

/* What the first refinement should take, at the speed of the search so far. */
static double first_refinement(const turn *t) {
  const ep_phase *bab = &t->w->phase[BAB];
  return (double)(ep_refine_rows(t->root) * FIRST_LEAVES) * bab->seconds / (double)(bab->domains + 1);
}

static bool is_out_of_time(const sweep *w) { return w->deadline_s > 0 && ep_time_s() > w->deadline_s; }

/* The root's bounds; their time does not count against the budget. */
static ep_status start(turn *t) {
  sweep *w = t->w;
  double t0 = ep_time_s();
  begin(w, ALPHA);
  EP_TRY(optimise(t, EP_ROOT_ALPHA));
  w->phase[ALPHA].domains++;
  end(w, ALPHA, t0, ep_root_worst(t->root));
  t->root->leaves = ep_refine_rows(t->root) ? FIRST_LEAVES : 0;
  if (w->deadline_s > 0) w->deadline_s += ep_time_s() - t0;
  return EP_OK;
}

static ep_status solve(turn *t) {
  sweep *w = t->w;
  if (!t->root->has_slopes) EP_TRY(start(t));
  for (bool is_first = true; !is_over(t) && !is_out_of_time(w); is_first = false) {
    bool is_last = !t->root->leaves;
    EP_TRY(search(t));
    if (is_last || is_over(t) || is_out_of_time(w)) break;
    if (is_first && t->root->leaves == FIRST_LEAVES) {
      t->budget_s = first_refinement(t);
      if (t->budget_s > MIN_TURN_S) EP_TRY(search(t));
      if (is_over(t) || is_out_of_time(w)) break;
    }
    if (t->root->leaves) EP_TRY(refine(t));
  }
  return EP_OK;
}

ep_status ep_sweep_neurons(ep_run *run, double budget_s, ep_root_keep *keep, bool *is_sat, bool *is_stuck) {
  sweep w = {.run = run, .deadline_s = budget_s > 0 ? ep_time_s() + budget_s : 0, .n_open = ep_run_n_open(run)};
  static const char *const name[N_PHASE] = {"alpha-crown", "refine", "bab"};
  for (int i = 0; i < N_PHASE; i++) w.phase[i] = (ep_phase){.name = name[i], .worst_bound = NAN};
  ep_status st = EP_OK;
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK && !w.is_sat; i++) {
    if (!ep_run_is_box_open(run, i)) continue;
    if (is_out_of_time(&w)) break;
    turn t = {.w = &w};
    st = ep_root_open(run, i, keep, &t.root);
    if (st == EP_OK) st = solve(&t);
    ep_status closed = ep_root_close(t.root, keep);
    if (st == EP_OK) st = closed;
  }
  for (int i = 0; i < N_PHASE; i++)
    if (w.phase[i].domains) ep_run_phase(run, &w.phase[i]);
  *is_sat = w.is_sat;
  *is_stuck = w.is_stuck;
  return st;
}
