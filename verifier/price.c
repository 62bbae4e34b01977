#include "verifier/price.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* What a replay's rounding may cost, as a share of the magnitudes that were added up. */
static const double SLACK = 1e-10;

static ep_status prices_fill(ep_prices *p, const ep_graph *g, ep_arena *a) {
  uint32_t n_flat = 0;
  p->flat = EP_ARENA(a, uint32_t, g->n_node + 1u);
  if (!p->flat) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    p->flat[k] = n_flat;
    if (ep_op_is_relu(&g->node[k].low)) n_flat += g->val[g->node[k].out].n;
  }
  p->u = EP_ARENA(a, ep_unstable, p->n_u + 1u);
  p->of_var = EP_ARENA(a, uint32_t, p->prob->n_var + 1u);
  p->at = EP_ARENA(a, uint32_t, n_flat + 1u);
  p->sum = EP_ARENA(a, double, p->n_u + 1u);
  p->price = EP_ARENA(a, float, p->n_u + 1u);
  p->phase = EP_ARENA(a, uint8_t, p->n_u + 1u);
  if (!p->u || !p->of_var || !p->at || !p->sum || !p->price || !p->phase) return EP_E_NOMEM;
  for (uint32_t i = 0; i < n_flat; i++) p->at[i] = EP_NO_VAR;
  for (uint32_t v = 0; v < p->prob->n_var; v++) p->of_var[v] = EP_NO_VAR;
  for (uint32_t d = 0; d < p->n_u; d++) {
    const ep_prob_disj *disj = &p->prob->disj[d];
    uint32_t k = g->val[disj->value].producer;
    assert(disj->n == 2 && ep_op_is_relu(&g->node[k].low));
    p->u[d] = (ep_unstable){.node = k, .neuron = disj->element};
    p->of_var[disj->arg] = d;
    p->at[p->flat[k] + disj->element] = d;
  }
  return EP_OK;
}

ep_status ep_prices_init(ep_prices *p, const ep_root *root, ep_network *net) {
  ep_prob *prob = net->prob;
  *p = (ep_prices){.root = root, .prob = prob, .n_u = prob->n_disj};
  EP_TRY(prices_fill(p, net->g, &prob->arena));
  for (uint32_t v = 0; v < prob->n_var; v++) {
    if (prob->origin_value[v] == net->g->input || p->of_var[v] != EP_NO_VAR) continue;
    double room = 1 + (prob->hi[v] - prob->lo[v]); /* no bound at an optimum: the rows imply what was there */
    prob->lo[v] -= room;
    prob->hi[v] += room;
  }
  for (uint32_t d = 0; d < prob->n_disj; d++) { /* as the triangle has it */
    prob->lo[prob->disj[d].out] = 0;
    prob->hi[prob->disj[d].out] = prob->hi[prob->disj[d].arg];
  }
  return EP_OK;
}

static void add_row(ep_prices *p, const ep_prob_row *r, double y, bool is_relu) {
  double end = y > 0 ? r->lo : r->hi;
  if (y == 0 || !(fabs(y) < INFINITY) || !(fabs(end) < INFINITY)) return; /* as encoders/dual.c */
  for (uint32_t k = 0; k < r->n; k++) {
    uint32_t d = p->of_var[r->var[k]];
    if (d == EP_NO_VAR) continue;
    bool is_input = p->prob->origin_value[r->var[k]] == p->root->run->g->input;
    if (is_input == is_relu) p->sum[d] += is_relu ? -y * r->coef[k] : y * r->coef[k];
  }
}

/* The multiplier of the row that makes z, less what other rows than the neuron's own take from it or give to it. An
 * input has no such row: there it is what the neuron's own rows give. */
void ep_prices_take(ep_prices *p, const double *y, uint32_t n, const uint32_t *var, const double *coef, uint32_t goal,
                    double scale) {
  const ep_prob *prob = p->prob;
  memset(p->sum, 0, p->n_u * sizeof *p->sum);
  for (uint32_t i = 0; i < n; i++)
    if (p->of_var[var[i]] != EP_NO_VAR && prob->origin_value[var[i]] != p->root->run->g->input)
      p->sum[p->of_var[var[i]]] -= coef[i];
  for (uint32_t i = 0; i < prob->n_row; i++) add_row(p, &prob->row[i], y[i], prob->row[i].is_implied);
  for (uint32_t i = 0; i < prob->n_choice_row; i++) add_row(p, &prob->choice_row[i], y[prob->n_row + i], true);
  if (goal != EP_NO_GOAL)
    for (uint32_t k = prob->goal[goal].first; k < prob->goal[goal].first + prob->goal[goal].n; k++)
      add_row(p, &prob->goal_row[k], y[prob->n_row + prob->n_choice_row + k], false);
  for (uint32_t d = 0; d < p->n_u; d++) p->price[d] = (float)(p->sum[d] / scale);
}

float ep_prices_of(const ep_prices *p, const ep_unstable *u) {
  uint32_t d = p->at[p->flat[u->node] + u->neuron];
  return d == EP_NO_VAR ? 0 : p->price[d];
}

/* One row on its way down. */
typedef struct pass {
  double **c; /* [n_val], NULL = nothing there */
  double cst, mass;
} pass;

static double *touch(pass *t, const ep_graph *g, ep_vid v, ep_scratch *s) {
  if (t->c[v]) return t->c[v];
  t->c[v] = EP_SCRATCH(s, double, g->val[v].n + 1u);
  if (t->c[v]) memset(t->c[v], 0, g->val[v].n * sizeof(double));
  return t->c[v];
}

static void add(pass *t, double x) {
  t->cst += x;
  t->mass += fabs(x);
}

static ep_status through_affine(const ep_prices *p, pass *t, const ep_node *nd, ep_scratch *s) {
  const ep_graph *g = p->root->run->g;
  const ep_affine *a = &nd->low.is.affine;
  const ep_trace_itv *b = &p->root->bounds;
  const double *c = t->c[nd->out];
  for (uint32_t i = 0; i < g->val[nd->out].n; i++) {
    if (a->bias) add(t, c[i] * a->bias[i]);
    t->mass += fabs(c[i]) * fmax(fabs(b->lo[nd->out][i]), fabs(b->hi[nd->out][i]));
  }
  for (uint32_t q = 0; q < a->n_terms; q++) {
    double *dst = touch(t, g, nd->in[q], s);
    if (!dst) return EP_E_NOMEM;
    EP_TRY(ep_linop_apply_t_f64(&a->A[q], 1, c, dst, true, s));
  }
  return EP_OK;
}

/* c relu(z) >= price z + least, over what the case leaves of z's range. */
static ep_status through_relu(const ep_prices *p, pass *t, uint32_t node, ep_scratch *s) {
  const ep_graph *g = p->root->run->g;
  const ep_node *nd = &g->node[node];
  const double *lo = p->root->bounds.lo[nd->in[0]], *hi = p->root->bounds.hi[nd->in[0]], *c = t->c[nd->out];
  double *dst = touch(t, g, nd->in[0], s);
  if (!dst) return EP_E_NOMEM;
  for (uint32_t i = 0; i < g->val[nd->out].n; i++) {
    uint32_t d = p->at[p->flat[node] + i];
    if (d == EP_NO_VAR) {
      dst[i] += lo[i] >= 0 ? c[i] : 0;
      continue;
    }
    double v = (double)p->price[d], l = p->phase[d] == 2 ? fmax(lo[i], 0) : lo[i];
    double h = p->phase[d] == 1 ? fmin(hi[i], 0) : hi[i], at[3] = {l, h, fmin(fmax(0, l), h)}, least = INFINITY;
    for (int k = 0; k < 3; k++) least = fmin(least, (at[k] > 0 ? c[i] - v : -v) * at[k]);
    dst[i] += v;
    add(t, least);
    t->mass += (fabs(v) + fabs(c[i])) * fmax(fabs(l), fabs(h));
  }
  return EP_OK;
}

ep_status ep_prices_bound(const ep_prices *p, ep_vid from, const double *coef, const double *coef_x, ep_scratch *s,
                          double *bound) {
  const ep_graph *g = p->root->run->g;
  const ep_trace_itv *b = &p->root->bounds;
  ep_scratch_mark m = ep_scratch_save(s);
  pass t = {.c = EP_SCRATCH(s, double *, g->n_val + 1u)};
  ep_status st = EP_E_NOMEM;
  if (!t.c) goto done;
  for (uint32_t v = 0; v < g->n_val; v++) t.c[v] = NULL;
  double *x = touch(&t, g, g->input, s), *y = touch(&t, g, from, s);
  if (!x || !y) goto done;
  for (uint32_t j = 0; coef_x && j < g->val[g->input].n; j++) x[j] = coef_x[j];
  for (uint32_t j = 0; j < g->val[from].n; j++) y[j] += coef[j];
  for (uint32_t k = g->n_node; k-- > 0;) {
    const ep_node *nd = &g->node[k];
    if (!t.c[nd->out]) continue;
    EP_GOTO(nd->low.cls == EP_AFFINE ? through_affine(p, &t, nd, s) : through_relu(p, &t, k, s));
  }
  for (uint32_t j = 0; j < g->val[g->input].n; j++)
    add(&t, x[j] * (x[j] > 0 ? b->lo[g->input][j] : b->hi[g->input][j]));
  *bound = t.cst - SLACK * t.mass;
  if (!(*bound == *bound)) *bound = -INFINITY;
  st = EP_OK;
done:
  ep_scratch_restore(s, m);
  return st;
}
