#include "verifier/box_neurons.h"

#include <string.h>

#include "verifier/expand.h"

enum { MOST_UNSTABLE = 40, LEAST_UNSTABLE = 2, MAX_DOMAINS = 24, ITERATIONS = 8 };
enum { PROBE_EVERY = 8, WINDOW = 32, MIN_PROBES = 4, MAX_PROBE = 4096 };
static const double BOXES_PER_DOMAIN = 8; /* what a domain costs beside a box, which is bounded with many others */

ep_box_neurons ep_box_neurons_default(uint32_t most_unstable) {
  return (ep_box_neurons){.max_unstable = most_unstable, .most_unstable = most_unstable};
}

bool ep_box_neurons_is_probe(ep_box_neurons *a) { return a->n_seen++ % PROBE_EVERY == 0; }

uint32_t ep_box_neurons_start(ep_box_neurons *a) {
  for (uint32_t i = 0; i < sizeof a->probe / sizeof *a->probe; i++) {
    if (a->probe[i].open) continue;
    a->probe[i] = (struct ep_box_probe){.boxes = 1, .open = 2};
    return i + 1;
  }
  return EP_NO_PROBE;
}

/* A probe that does not end says nothing: a try would not have closed that box either. */
void ep_box_neurons_count(ep_box_neurons *a, uint32_t probe, bool is_closed) {
  struct ep_box_probe *p = &a->probe[probe - 1];
  p->boxes++;
  p->open += is_closed ? -1 : 1;
  if (p->open || p->boxes > MAX_PROBE) return;
  a->n_probe++;
  a->boxes += p->boxes;
}

/* A try pays when what it costs is less than what splitting takes for those boxes that it closes. */
void ep_box_neurons_adapt(ep_box_neurons *a, uint64_t n_try, uint64_t n_closed, uint64_t domains) {
  a->n_try += n_try;
  a->n_closed += n_closed;
  a->domains += domains;
  if (a->n_try < WINDOW || a->n_probe < MIN_PROBES) return;
  double cost = BOXES_PER_DOMAIN * (double)a->domains / (double)a->n_try;
  double saved = (double)a->n_closed / (double)a->n_try * (double)a->boxes / (double)a->n_probe;
  uint32_t u = a->max_unstable;
  if (cost > saved)
    a->max_unstable = u * 3 / 4 > LEAST_UNSTABLE ? u * 3 / 4 : LEAST_UNSTABLE;
  else if (cost < 0.5 * saved && u < a->most_unstable)
    a->max_unstable++;
  a->n_try = a->n_closed = a->domains = 0;
  a->n_probe /= 2; /* older probes fade */
  a->boxes /= 2;
}

bool ep_box_neurons_applies(const ep_box_decider *d, const ep_plan *p, const ep_trace_itv *b, uint32_t max_unstable) {
  uint32_t n = 0;
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    const ep_node *nd = &p->g->node[k];
    if (nd->low.cls == EP_AFFINE) continue;
    if (!p->is_relu[k] && (d->needs_relu || nd->low.cls != EP_UNIVAR)) return false;
    const double *lo = b->lo[nd->in[0]], *hi = b->hi[nd->in[0]];
    for (uint32_t i = 0; i < p->g->val[nd->out].n; i++)
      n += p->is_relu[k] ? lo[i] < 0 && hi[i] > 0 : !ep_lines_is_linear(&nd->low.is.univar, lo[i], hi[i]);
    if (n > max_unstable) return false;
  }
  return n > 0 || !d->needs_relu;
}

/* The search below the box, worst domain first; gives up at MAX_DOMAINS or at a case that no split is left for. */
static ep_status search(const ep_tree *t, ep_queue *q, ep_box_try *out, ep_scratch *s) {
  uint64_t n = 0, n_stuck = 0;
  size_t n_x = t->root->spec.n_x;
  while (q->n && n < MAX_DOMAINS && !n_stuck && !out->has_candidate) {
    ep_scratch_mark m = ep_scratch_save(s);
    ep_step *e = EP_SCRATCH(s, ep_step, 1);
    if (!e) return EP_E_NOMEM;
    ep_status st = ep_step_init(e, t, s);
    while (st == EP_OK && q->n && e->n_parent < ep_tree_batch(t)) e->parent[e->n_parent++] = ep_queue_pop(q);
    if (st == EP_OK) st = ep_step_run(e, s);
    for (size_t i = 0; i < e->n_child; i++) {
      for (size_t j = 0; e->has_candidate[i] && j < n_x; j++) out->corner[j] = e->corner[i * n_x + j];
      out->has_candidate |= e->has_candidate[i];
    }
    st = ep_step_take(e, q, n, st);
    n += e->n_bounded;
    n_stuck += e->n_stuck;
    ep_scratch_restore(s, m);
    if (st != EP_OK) return st;
  }
  out->domains += n;
  out->is_closed = !q->n && !n_stuck;
  return EP_OK;
}

const ep_box_decider ep_box_neurons_decider = {
    .decide = ep_box_neurons_try, .most_unstable = MOST_UNSTABLE, .needs_relu = true};

ep_status ep_box_neurons_try(void *arg, ep_run *run, uint32_t box, const ep_plan *plan, const ep_spec *spec,
                             const ep_trace_itv *bounds, const ep_relax_f64 *relax, uint32_t poly, ep_box_try *out,
                             ep_scratch *s) {
  (void)arg;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_queue q = {0};
  ep_tree t = {0};
  /* A root of its own in all but name: the plan is only read. */
  ep_root root = {
      .run = run, .box = box, .plan = (ep_plan *)(uintptr_t)plan, .spec = *spec, .bounds = *bounds, .relax = *relax};
  out->is_closed = out->has_candidate = false;
  out->block = NULL;
  ep_status st = ep_snet_init(&root.net, plan, bounds, relax, run->g->output, s);
  if (st == EP_OK) st = ep_tree_init_polytope(&t, &root, poly, s);
  if (st != EP_OK || !t.n_row) goto done;
  t.rule = ep_branching_find(run->cfg->branching);
  t.ascent = ep_ascent_default();
  t.ascent.iterations = ITERATIONS;
  if (out->proof) EP_GOTO(ep_proof_block_create(out->proof, &out->block));
  if (out->proof) EP_GOTO(ep_proof_block_neurons(out->block, root.net.n_u, root.net.u));
  t.proof = out->block;
  ep_domain *d = ep_domain_create(run->ctx, t.n_row, root.net.n_u, 0);
  st = EP_E_NOMEM;
  if (!d) goto done;
  for (uint32_t j = 0; j < t.n_row; j++)
    for (uint32_t l = 0; l < root.net.n_layer; l++)
      for (uint32_t i = 0; i < root.net.layer[l].n_u; i++)
        d->slope[j * root.net.n_u + root.net.layer[l].first + i] = ep_slope_pack(root.net.layer[l].sl[i]);
  st = ep_queue_push(run->ctx, &q, d);
  if (st == EP_OK) st = search(&t, &q, out, s);
  if (st == EP_OK && out->is_closed && out->block) st = ep_proof_block_close(out->block);
done:
  if (st != EP_OK || !out->is_closed) {
    ep_proof_block_destroy(out->block);
    out->block = NULL;
  }
  ep_queue_clear(run->ctx, &q);
  ep_scratch_restore(s, m);
  return st;
}
