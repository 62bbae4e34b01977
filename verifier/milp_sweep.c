/* What the engines `lp` and `milp` share: certified bounds, bounds tightened by linear programs within a share of the
 * time limit, the triangle relaxation of every open polytope; `milp` goes on to branch. */
#include <math.h>

#include "verifier/boxes.h"
#include "verifier/cuts.h"
#include "verifier/milp.h"

typedef struct sweep {
  const ep_milp_sweep_opt *opt;
  double until_s; /* 0 = the run's own limit */
  uint32_t n_stuck;
} sweep;

/* When the tightening of bounds has to end. */
static double tightening_ends(const sweep *w, const ep_run *run, uint32_t n_left) {
  double now_s = ep_time_s(), end_s = w->until_s > 0 ? w->until_s : ep_ctx_deadline(run->ctx);
  double left_s = end_s > 0 ? fmax(0, end_s - now_s) : 60;
  return now_s + run->cfg->obbt * left_s / n_left;
}

static ep_status encode(const sweep *w, ep_root *root, ep_phase *ph, ep_milp **m) {
  if (*m) ph->domains += (*m)->cases;
  ep_milp_destroy(*m);
  *m = NULL;
  EP_TRY(ep_milp_create(root, m));
  ep_milp_end_at(*m, w->until_s);
  return ep_milp_relax(*m);
}

/* The problem again, with rows of joint hulls over bounds improved until `until_s`, and the relaxation over it. */
static ep_status join_neurons(const sweep *w, ep_root *root, double until_s, ep_phase *ph, ep_milp **m) {
  ep_joints joints;
  ep_goals goals;
  ep_ascent_opt opt = ep_ascent_default();
  ep_scratch *s = ep_pool_scratch(root->run->pool);
  ph->domains += (*m)->cases;
  ep_milp_destroy(*m);
  *m = NULL;
  ep_status st = ep_cuts_join(root, until_s, &joints);
  if (st == EP_OK) st = ep_root_bound(root, EP_ROOT_CROWN, &opt);
  if (st == EP_OK && ep_run_is_box_open(root->run, root->box)) {
    st = ep_goals_create(root, false, s, &goals);
    if (st == EP_OK) {
      st = ep_cuts_add(&goals, &joints);
      if (st == EP_OK)
        st = ep_milp_create_for(root, &goals, s, m);
      else
        ep_goals_clear(&goals);
    }
    if (st == EP_OK) ep_milp_end_at(*m, w->until_s);
    if (st == EP_OK) st = ep_milp_relax(*m);
  }
  ep_joints_clear(&joints);
  return st;
}

/* Certified bounds, then linear programs. */
static ep_status solve(sweep *w, ep_root *root, uint32_t n_left, ep_phase *ph, ep_milp **m, bool *is_sat) {
  ep_run *run = root->run;
  ep_ascent_opt opt = ep_ascent_default();
  ep_obbt_stats tight;
  ep_convex relaxation;
  opt.iterations = (uint32_t)run->cfg->iterations;
  EP_TRY(ep_root_bound(root, EP_ROOT_CROWN, &opt));
  if (!ep_run_is_box_open(run, root->box)) return EP_OK;
  EP_TRY(ep_root_bound(root, EP_ROOT_ALPHA, &opt));
  if (!ep_run_is_box_open(run, root->box)) return EP_OK;
  EP_TRY(encode(w, root, ph, m));
  if (!ep_run_is_box_open(run, root->box)) return EP_OK;
  if (run->cfg->obbt > 0) {
    EP_TRY(ep_milp_tighten(root, tightening_ends(w, run, n_left), &tight));
    ep_log(run->ctx, 2, "obbt: box %u: %u unstable neurons before, %u after %llu linear programs", root->box,
           tight.unstable_before, tight.unstable_after, (unsigned long long)tight.programs);
    if (!ep_run_is_box_open(run, root->box)) return EP_OK;
    EP_TRY(encode(w, root, ph, m));
  }
  EP_TRY(ep_cuts_relaxation(run->ctx, run->cfg, &relaxation));
  if (relaxation == EP_CONVEX_MULTI_NEURON) {
    EP_TRY(join_neurons(w, root, run->cfg->obbt > 0 ? tightening_ends(w, run, n_left) : 0, ph, m));
    if (!*m) return EP_OK;
  }
  for (uint32_t g = 0; w->opt->is_branching && g < (*m)->goals.n && !*is_sat; g++) {
    bool is_stuck = false;
    if (!ep_run_is_proved(run, root->box, (*m)->goals.poly[g])) EP_TRY(ep_milp_search(*m, g, is_sat, &is_stuck));
    w->n_stuck += is_stuck;
  }
  return EP_OK;
}

static ep_status solve_box(void *arg, ep_run *run, uint32_t box, uint32_t n_left, ep_phase *ph, bool *is_sat) {
  ep_root *root;
  ep_milp *m = NULL;
  EP_TRY(ep_root_create(run, box, &root));
  ep_status st = solve(arg, root, n_left, ph, &m, is_sat);
  ph->worst_bound = fmin(ph->worst_bound, ep_root_worst(root));
  if (m) ph->domains += m->cases;
  ep_milp_destroy(m);
  ep_status closed = ep_root_close(root, NULL);
  return st == EP_OK ? closed : st;
}

ep_status ep_milp_sweep(ep_run *run, const ep_milp_sweep_opt *opt, bool *is_sat, bool *is_stuck) {
  const ep_backend *be;
  sweep w = {.opt = opt, .until_s = opt->budget_s > 0 ? ep_time_s() + opt->budget_s : 0};
  EP_TRY(ep_network_check(run->ctx, run->g));
  EP_TRY(ep_backend_find(run->ctx, "glpk", &be));
  EP_TRY(ep_boxes_sweep(run, opt->name, solve_box, &w, is_sat));
  *is_stuck = w.n_stuck == ep_run_n_open(run);
  return EP_OK;
}
