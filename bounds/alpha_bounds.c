/* Optimised intermediate bounds of one box: every unstable neuron's own bounds are ascended in float32 over the slopes
 * of the layers before it, then certified. Each neuron having its own slopes is what makes deep fully connected
 * networks tractable. */
#include <assert.h>
#include <string.h>

#include "bounds/ascent.h"

typedef struct sweep {
  const ep_plan *plan;
  const ep_ascent_opt *opt;
  const ep_relax_f64 *relax;
  ep_trace_itv *bounds;
  ep_snet net;
  ep_vid v;
  size_t n_pair, chunk;
  const uint32_t *dom, *neuron;
} sweep;

static ep_status sweep_chunk(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  const sweep *sw = arg;
  (void)worker;
  if (ep_ctx_should_stop(sw->plan->ctx)) return EP_E_STOPPED;
  size_t at = index * sw->chunk, n = sw->n_pair - at < sw->chunk ? sw->n_pair - at : sw->chunk, rows = 2 * n;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  uint32_t *neuron = EP_SCRATCH(s, uint32_t, rows);
  int8_t *sign = EP_SCRATCH(s, int8_t, rows);
  uint32_t *group = EP_SCRATCH(s, uint32_t, rows);
  float *target = EP_SCRATCH(s, float, rows);
  double **alpha;
  if (!neuron || !sign || !group || !target) goto done;
  for (size_t i = 0; i < rows; i++) {
    group[i] = (uint32_t)(i / 2);
    neuron[i] = sw->neuron[at + i / 2];
    sign[i] = i % 2 ? -1 : 1;
    target[i] = 0; /* beyond it the neuron is stable: nothing left to gain */
  }
  ep_ascent a = {.net = &sw->net, .n = rows, .neuron = neuron, .sign = sign, .target = target, .group = group};
  EP_GOTO(ep_ascent_slopes(&a, sw->opt, sw->relax, s, &alpha));
  if (sw->plan->proof) ep_proof_round(sw->plan->proof, alpha, rows);
  EP_GOTO(ep_crown_tighten(sw->plan, sw->relax, sw->v, n, sw->dom + at, sw->neuron + at, alpha, NULL, sw->bounds, s));
done:
  ep_scratch_restore(s, m);
  return st;
}

/* Pairs per chunk: all tables of a chunk (coefficients, slopes, moments, values) near the cache. */
static size_t chunk_pairs(const ep_plan *p) {
  size_t n = 0;
  for (uint32_t v = 0; v < p->g->n_val; v++) n += p->g->val[v].n;
  size_t pairs = ((size_t)1 << 17) / (n + 1);
  return pairs < 16 ? 16 : pairs > 128 ? 128 : pairs;
}

/* Does a ReLU come before v, so that there are slopes to optimise? */
static bool has_slopes(const ep_plan *p, ep_vid v) {
  for (uint32_t k = 0; k < p->g->n_node; k++) {
    if (p->g->node[k].out == v) return false;
    if (p->is_relu[k]) return true;
  }
  return false;
}

ep_status ep_alpha_value(const ep_plan *p, ep_vid v, const ep_ascent_opt *opt, ep_trace_itv *bounds,
                         const ep_relax_f64 *relax, ep_pool *pool, ep_scratch *s) {
  sweep sw = {.plan = p, .opt = opt, .relax = relax, .bounds = bounds, .v = v};
  if (!has_slopes(p, v)) return EP_OK;
  size_t n = p->g->val[sw.v].n * sw.bounds->batch;
  ep_scratch_mark m = ep_scratch_save(s);
  uint32_t *dom = EP_SCRATCH(s, uint32_t, n + 1), *neuron = EP_SCRATCH(s, uint32_t, n + 1);
  if (!dom || !neuron) return EP_E_NOMEM;
  sw.n_pair = ep_crown_unstable(p, sw.v, sw.bounds, dom, neuron);
  sw.dom = dom;
  sw.neuron = neuron;
  sw.chunk = chunk_pairs(p);
  EP_TRY(ep_snet_init(&sw.net, p, sw.bounds, sw.relax, sw.v, s));
  size_t n_chunk = (sw.n_pair + sw.chunk - 1) / sw.chunk;
  ep_status st = EP_OK;
  if (p->proof) EP_TRY(ep_proof_begin_lemmas(p->proof, v, sw.net.n_u, sw.net.u));
  if (pool && n_chunk > 1)
    st = ep_pool_run(pool, n_chunk, sweep_chunk, &sw);
  else
    for (size_t i = 0; i < n_chunk && st == EP_OK; i++) st = sweep_chunk(&sw, i, 0, s);
  if (p->proof && st == EP_OK) st = ep_proof_commit(p->proof);
  ep_scratch_restore(s, m);
  return st;
}

ep_status ep_alpha_bounds(const ep_plan *p, const ep_crown_opt *crown, const ep_ascent_opt *opt, ep_trace_itv *b,
                          ep_relax_f64 *relax, ep_arena *arena, ep_scratch *s) {
  const ep_graph *g = p->g;
  assert(b->batch == 1);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_status st = EP_E_NOMEM;
  bool *is_done = EP_SCRATCH(s, bool, g->n_val);
  if (!is_done) goto done;
  memset(is_done, 0, g->n_val * sizeof(bool));
  is_done[g->input] = true;
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    for (uint32_t j = 0; j < nd->n_in && nd->low.cls != EP_AFFINE; j++) {
      ep_vid v = nd->in[j];
      if (is_done[v]) continue;
      is_done[v] = true;
      if (has_slopes(p, v))
        EP_GOTO(ep_alpha_value(p, v, opt, b, relax, crown->pool, s));
      else
        EP_GOTO(ep_crown_value(p, crown, v, b, relax, s));
    }
    EP_GOTO(ep_crown_node(p, k, crown->rule, b, relax, arena, s));
  }
done:
  ep_scratch_restore(s, m);
  return st;
}
