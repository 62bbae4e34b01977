/* What the engines `lp` and `milp` share: certified bounds, bounds tightened by linear programs within a share of the
 * time limit, the triangle relaxation of every open polytope; `milp` goes on to branch. */
#include <math.h>

#include "verifier/cuts.h"
#include "verifier/milp.h"

/* When the tightening of bounds has to end. */
static double tightening_ends(const ep_run *run, uint32_t n_boxes) {
  double now_s = ep_time_s(), deadline_s = ep_ctx_deadline(run->ctx);
  double left_s = deadline_s > 0 ? fmax(0, deadline_s - now_s) : 60;
  return now_s + run->cfg->obbt * left_s / n_boxes;
}

/* The problem again, with rows of joint hulls over bounds improved until `until_s`, and the relaxation over it. */
static ep_status join_neurons(ep_root *root, double until_s, ep_milp **m) {
  ep_joints joints;
  ep_ascent_opt opt = ep_ascent_default();
  ep_milp_destroy(*m);
  *m = NULL;
  ep_status st = ep_cuts_join(root, until_s, &joints);
  if (st == EP_OK) st = ep_root_bound(root, EP_ROOT_CROWN, &opt);
  if (st == EP_OK && ep_run_is_box_open(root->run, root->box)) {
    st = ep_milp_create(root, m);
    if (st == EP_OK) st = ep_cuts_add(&(*m)->goals, &joints);
    if (st == EP_OK) st = ep_milp_renew(*m);
    if (st == EP_OK) st = ep_milp_relax(*m);
  }
  ep_joints_clear(&joints);
  return st;
}

static ep_status solve_box(ep_root *root, bool is_branching, uint32_t n_boxes, ep_phase *ph, bool *is_sat) {
  ep_run *run = root->run;
  ep_milp *m = NULL;
  ep_status st;
  ep_ascent_opt opt = ep_ascent_default();
  ep_obbt_stats tight;
  ep_convex relaxation;
  opt.iterations = (uint32_t)run->cfg->iterations;
  EP_TRY(ep_root_bound(root, EP_ROOT_CROWN, &opt));
  if (!ep_run_is_box_open(run, root->box)) return EP_OK;
  EP_TRY(ep_root_bound(root, EP_ROOT_ALPHA, &opt));
  if (!ep_run_is_box_open(run, root->box)) return EP_OK;
  EP_GOTO(ep_milp_create(root, &m));
  EP_GOTO(ep_milp_relax(m));
  ph->domains += m->cases;
  if (!ep_run_is_box_open(run, root->box)) goto done;
  if (run->cfg->obbt > 0) {
    EP_GOTO(ep_milp_tighten(root, tightening_ends(run, n_boxes), &tight));
    ep_log(run->ctx, 2, "obbt: box %u: %u unstable neurons before, %u after %llu linear programs", root->box,
           tight.unstable_before, tight.unstable_after, (unsigned long long)tight.programs);
    ep_milp_destroy(m);
    m = NULL;
    if (!ep_run_is_box_open(run, root->box)) goto done;
    EP_GOTO(ep_milp_create(root, &m));
    EP_GOTO(ep_milp_relax(m));
  }
  EP_GOTO(ep_cuts_relaxation(run->ctx, run->cfg, &relaxation));
  if (relaxation == EP_CONVEX_MULTI_NEURON) {
    EP_GOTO(join_neurons(root, run->cfg->obbt > 0 ? tightening_ends(run, n_boxes) : 0, &m));
    if (!m) goto done;
  }
  for (uint32_t g = 0; is_branching && g < m->goals.n && !*is_sat; g++)
    if (!ep_run_is_proved(run, root->box, m->goals.poly[g])) EP_GOTO(ep_milp_search(m, g, is_sat));
done:
  if (m) ph->domains += m->cases;
  ep_milp_destroy(m);
  return st;
}

ep_status ep_milp_sweep(ep_run *run, const char *name, bool is_branching) {
  double t0 = ep_time_s();
  const ep_backend *be;
  uint32_t open = ep_run_n_open(run), n_boxes = 0;
  bool is_sat = false;
  ep_status st = EP_OK;
  EP_TRY(ep_network_check(run->ctx, run->g));
  EP_TRY(ep_backend_find(run->ctx, "glpk", &be));
  ep_phase ph = {.name = name, .worst_bound = INFINITY};
  atomic_store(&run->progress.phase, name);
  for (uint32_t i = 0; i < run->q->n_box; i++) n_boxes += ep_run_is_box_open(run, i);
  for (uint32_t i = 0; i < run->q->n_box && st == EP_OK && !is_sat; i++) {
    if (!ep_run_is_box_open(run, i)) continue;
    ep_root *root;
    st = ep_root_create(run, i, &root);
    if (st != EP_OK) break;
    st = solve_box(root, is_branching, n_boxes--, &ph, &is_sat);
    ph.worst_bound = fmin(ph.worst_bound, ep_root_worst(root));
    ep_root_destroy(root);
  }
  ph.seconds = ep_time_s() - t0;
  ph.proved = open - ep_run_n_open(run);
  if (!(fabs(ph.worst_bound) < INFINITY)) ph.worst_bound = NAN;
  ep_run_phase(run, &ph);
  return st;
}
