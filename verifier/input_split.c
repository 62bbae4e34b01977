#include "verifier/input_split.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "bounds/crown.h"
#include "verifier/split_record.h"

enum { TASKS_PER_ROUND = 8, MAX_BATCH = 32 };

/* An open box: followed in memory by lo[n_x], hi[n_x], prior bounds zlo[nz], zhi[nz] and the open flags. */
typedef struct entry {
  struct entry *next; /* free list */
  uint32_t root;      /* box of the query */
  uint32_t id;        /* in the root's record */
  bool has_prior;
  uint32_t probe;   /* part of a probe (verifier/box_neurons.h), EP_NO_PROBE = of none */
  double log_share; /* log2 of its share of the root box's volume */
  double *lo, *hi, *zlo, *zhi;
  bool *is_open; /* [polytopes of the root box] */
} entry;

typedef struct split {
  ep_run *run;
  const ep_plan *plan;
  const ep_spec *spec; /* [n_box] */
  size_t n_x, nz, max_poly, n_root;
  entry **stack;
  size_t n_stack, cap_stack;
  entry *free_list;
  uint64_t *n_open;        /* [n_box] boxes of each root still open */
  bool *is_stuck;          /* [n_box] a box could not be split further */
  ep_split_record *record; /* [n_box] for the certificate, NULL = none is wanted */
  ep_proof *proof;         /* the same: what the neurons of boxes decide */
  double worst;
  const ep_box_decider *decider;
  ep_box_neurons neurons;
  uint64_t domains; /* of searches on neurons */
} split;

static entry *entry_take(split *sp) {
  entry *e = sp->free_list;
  if (e) {
    sp->free_list = e->next;
    return e;
  }
  size_t n = sizeof(entry) + (2 * sp->n_x + 2 * sp->nz) * sizeof(double) + sp->max_poly + 1;
  e = ep_alloc(sp->run->ctx, n);
  if (!e) return NULL;
  e->lo = (double *)(e + 1);
  e->hi = e->lo + sp->n_x;
  e->zlo = e->hi + sp->n_x;
  e->zhi = e->zlo + sp->nz;
  e->is_open = (bool *)(e->zhi + sp->nz);
  return e;
}

static void entry_give(split *sp, entry *e) {
  e->next = sp->free_list;
  sp->free_list = e;
}

/* Takes ownership of e, also when it fails. */
static ep_status push(split *sp, entry *e) {
  ep_status st = ep_reserve(sp->run->ctx, (void **)&sp->stack, &sp->cap_stack, sp->n_stack, sizeof *sp->stack);
  if (st != EP_OK) {
    entry_give(sp, e);
    return st;
  }
  sp->stack[sp->n_stack++] = e;
  return EP_OK;
}

static void split_clear(split *sp) {
  for (size_t i = 0; i < sp->n_stack; i++) entry_give(sp, sp->stack[i]);
  while (sp->free_list) {
    entry *e = sp->free_list;
    sp->free_list = e->next;
    ep_free(sp->run->ctx, e);
  }
  ep_free(sp->run->ctx, sp->stack);
  for (uint32_t i = 0; sp->record && i < sp->run->q->n_box; i++) ep_split_record_clear(&sp->record[i]);
  ep_proof_destroy(sp->proof);
}

/* ---- one batch ---- */

typedef enum outcome { OPEN, CLOSED, STUCK } outcome;

typedef struct batch {
  split *sp;
  size_t n;
  entry *e[MAX_BATCH];
  /* results, per box */
  outcome out[MAX_BATCH];
  uint32_t axis[MAX_BATCH];
  double margin[MAX_BATCH];                       /* best margin of its worst open polytope */
  bool may_probe[MAX_BATCH], is_probe[MAX_BATCH]; /* verifier/box_neurons.h */
  /* Boxes whose neurons were tried, closed by that, and the domains it took. */
  uint64_t n_try, n_closed, domains;
  ep_bytes trees[MAX_BATCH];     /* for the certificate, when neurons closed the box */
  double *corner;                /* [n x n_x] candidate inputs, in the batch's own memory */
  bool has_candidate[MAX_BATCH]; /* the float64 forward pass says the corner is a counterexample */
  /* while it runs: bounds and lines, the rows' coefficients at activations, the inputs' shares in pre-activations */
  ep_trace_itv t;
  ep_relax_f64 relax;
  double **kept;
  float **influence;
} batch;

/* Cuts [lo,hi] along one axis to where a counterexample can lie. The row has certified margin m over the box (row - rhs
 * >= m) and coefficient c here; a counterexample has row - rhs <= 0, so it is within -m/|c| of the end that minimises
 * the row: c (x - end) <= (row - rhs) - m <= -m. */
static void clip_axis(double c, double margin, double box_lo, double box_hi, double *lo, double *hi) {
  if (!(fabs(c) > 0) || !(box_lo < box_hi)) return;
  double reach = ep_div_up(-margin, fabs(c));
  if (!(reach >= 0)) return;
  if (c > 0)
    *hi = fmin(*hi, ep_add_up(box_lo, reach));
  else
    *lo = fmax(*lo, ep_sub_dn(box_hi, reach));
}

/* Clips the entry's box to the hull over its open polytopes of what each polytope's rows leave; a polytope of which
 * nothing is left closes. */
static void clip_box(const split *sp, const ep_spec *spec, entry *e, const size_t *row_at, const double *margin,
                     const double *lin, double *tmp) {
  size_t n_x = sp->n_x;
  double *lo = tmp, *hi = lo + n_x, *hull_lo = hi + n_x, *hull_hi = hull_lo + n_x;
  bool is_first = true;
  for (uint32_t p = 0; p < spec->n_poly; p++) {
    if (!e->is_open[p]) continue;
    bool is_empty = false;
    for (size_t j = 0; j < n_x; j++) {
      lo[j] = e->lo[j];
      hi[j] = e->hi[j];
      for (uint32_t r = spec->first[p]; r < spec->first[p + 1]; r++) {
        size_t at = row_at[p] + (r - spec->first[p]);
        clip_axis(lin[at * n_x + j], margin[at], e->lo[j], e->hi[j], &lo[j], &hi[j]);
      }
      is_empty |= lo[j] > hi[j];
    }
    e->is_open[p] = !is_empty;
    if (is_empty) continue;
    for (size_t j = 0; j < n_x; j++) {
      hull_lo[j] = is_first || lo[j] < hull_lo[j] ? lo[j] : hull_lo[j];
      hull_hi[j] = is_first || hi[j] > hull_hi[j] ? hi[j] : hull_hi[j];
    }
    is_first = false;
  }
  if (is_first) return;
  memcpy(e->lo, hull_lo, n_x * sizeof(double));
  memcpy(e->hi, hull_hi, n_x * sizeof(double));
}

/* Which inputs are to blame for row `at`'s looseness over box d: each neuron's relaxation gap, weighed by the row's
 * coefficient, goes to the inputs by their shares in that neuron's range. A little of |coefficient| * width is mixed in
 * for boxes where every neuron is stable. */
static void blame(const batch *b, size_t d, size_t at, const double *lin, double *score) {
  const split *sp = b->sp;
  const ep_graph *g = sp->plan->g;
  size_t n_x = sp->n_x;
  const entry *e = b->e[d];
  for (size_t j = 0; j < n_x; j++) score[j] += 1e-3 * fabs(lin[at * n_x + j]) * (e->hi[j] - e->lo[j]);
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *nd = &g->node[k];
    if (nd->low.cls != EP_UNIVAR || !b->kept[k]) continue;
    size_t n = g->val[nd->out].n;
    const ep_lines_f64 *ln = &b->relax.lines[k];
    const float *share = b->influence[nd->in[0]];
    for (size_t i = 0; i < n; i++) {
      size_t z = d * n + i;
      double c = b->kept[k][at * n + i], mid = 0.5 * (b->t.lo[nd->in[0]][z] + b->t.hi[nd->in[0]][z]);
      double gap = fabs(c) * ((ln->su[z] - ln->sl[z]) * mid + ln->tu[z] - ln->tl[z]);
      if (!(gap > 0)) continue;
      for (size_t j = 0; j < n_x; j++) score[j] += gap * (double)share[z * n_x + j];
    }
  }
}

/* Decides box d after its margins are known: which polytopes close, where to split, which corner to try. */
static void judge(batch *b, size_t d, const size_t *row_at, const double *margin, const double *lin, double *tmp) {
  split *sp = b->sp;
  entry *e = b->e[d];
  const ep_spec *spec = &sp->spec[e->root];
  size_t n_x = sp->n_x;
  double *score = tmp, *width = tmp + n_x, *rest = width + n_x;
  for (size_t j = 0; j < n_x; j++) width[j] = e->hi[j] - e->lo[j];
  memset(score, 0, n_x * sizeof *score);
  double worst = INFINITY;
  bool any = false;
  for (uint32_t p = 0; p < spec->n_poly; p++) {
    if (!e->is_open[p]) continue;
    double best = -INFINITY;
    size_t best_at = row_at[p];
    for (uint32_t r = spec->first[p]; r < spec->first[p + 1]; r++) {
      size_t at = row_at[p] + (r - spec->first[p]);
      if (margin[at] > best) {
        best = margin[at];
        best_at = at;
      }
      if (ep_spec_refutes(spec, r, margin[at])) e->is_open[p] = false;
    }
    if (!e->is_open[p]) continue;
    any = true;
    for (uint32_t r = spec->first[p]; r < spec->first[p + 1]; r++)
      blame(b, d, row_at[p] + (r - spec->first[p]), lin, score);
    if (best < worst) {
      worst = best;
      for (size_t j = 0; j < n_x; j++) b->corner[d * n_x + j] = lin[best_at * n_x + j] > 0 ? e->lo[j] : e->hi[j];
    }
  }
  b->margin[d] = worst;
  b->out[d] = any ? OPEN : CLOSED;
  if (!any) return;
  clip_box(sp, spec, e, row_at, margin, lin, rest);
  any = false;
  for (uint32_t p = 0; p < spec->n_poly; p++) any |= e->is_open[p];
  if (!any) {
    b->out[d] = CLOSED;
    return;
  }
  double top = -1;
  b->out[d] = STUCK;
  for (size_t j = 0; j < n_x; j++) {
    double mid = 0.5 * (e->lo[j] + e->hi[j]);
    if (!(e->lo[j] < mid && mid < e->hi[j])) continue;
    /* Clipping may have taken some of the width that the score was made for. */
    double w = (score[j] + 1e-300) * ((e->hi[j] - e->lo[j]) / width[j]);
    if (w > top || !(top >= 0)) {
      top = w;
      b->axis[d] = (uint32_t)j;
      b->out[d] = OPEN;
    }
  }
}

/* Box d of the batch by itself. */
static ep_status view_of(const batch *b, size_t d, ep_scratch *s, ep_trace_itv *t, ep_relax_f64 *relax) {
  const ep_graph *g = b->sp->plan->g;
  *t = (ep_trace_itv){1, EP_SCRATCH(s, double *, g->n_val + 1), EP_SCRATCH(s, double *, g->n_val + 1)};
  *relax = (ep_relax_f64){.batch = 1,
                          .lines = EP_SCRATCH(s, ep_lines_f64, g->n_node + 1),
                          .f32_err = EP_SCRATCH(s, double *, g->n_node + 1)};
  if (!t->lo || !t->hi || !relax->lines || !relax->f32_err) return EP_E_NOMEM;
  for (uint32_t v = 0; v < g->n_val; v++) {
    t->lo[v] = b->t.lo[v] + d * g->val[v].n;
    t->hi[v] = b->t.hi[v] + d * g->val[v].n;
  }
  /* What clipping left of the box: a counterexample can only be there. */
  t->lo[g->input] = b->e[d]->lo;
  t->hi[g->input] = b->e[d]->hi;
  for (uint32_t k = 0; k < g->n_node; k++) {
    size_t at = d * g->val[g->node[k].out].n;
    const ep_lines_f64 *l = &b->relax.lines[k];
    relax->f32_err[k] = b->relax.f32_err[k] ? b->relax.f32_err[k] + at : NULL;
    if (g->node[k].low.cls == EP_UNIVAR)
      relax->lines[k] = (ep_lines_f64){l->sl + at, l->tl + at, l->su + at, l->tu + at};
  }
  return EP_OK;
}

/* Tries the open polytopes of box d. What is recorded has all of them closed by neurons or none. */
static ep_status decide_box(batch *b, size_t d, const ep_trace_itv *t, const ep_relax_f64 *relax, bool *is_closed,
                            ep_scratch *s) {
  split *sp = b->sp;
  entry *e = b->e[d];
  const ep_spec *spec = &sp->spec[e->root];
  ep_box_try one = {.corner = b->corner + d * sp->n_x, .is_closed = true, .proof = sp->proof};
  ep_status st = EP_OK;
  for (uint32_t p = 0; p < spec->n_poly && one.is_closed && st == EP_OK; p++) {
    if (!e->is_open[p]) continue;
    st = sp->decider->decide(sp->decider->arg, sp->run, e->root, sp->plan, spec, t, relax, p, &one, s);
    if (st == EP_OK && one.is_closed && !sp->proof) e->is_open[p] = false;
    if (!one.block) continue;
    const ep_bytes *tree = ep_proof_block_bytes(one.block);
    if (st == EP_OK) st = ep_bytes_add_number(&b->trees[d], 1);
    if (st == EP_OK) st = ep_bytes_add(&b->trees[d], tree->data, tree->n);
    ep_proof_block_destroy(one.block);
  }
  b->domains += one.domains;
  *is_closed = one.is_closed;
  return st;
}

/* Boxes that are open with few unstable neurons: closed if the phases of these do it. */
static ep_status decide_neurons(batch *b, ep_scratch *s) {
  split *sp = b->sp;
  for (size_t d = 0; d < b->n; d++) {
    ep_scratch_mark m = ep_scratch_save(s);
    ep_trace_itv t;
    ep_relax_f64 relax;
    if (b->out[d] == CLOSED || b->e[d]->probe != EP_NO_PROBE) continue;
    EP_TRY(view_of(b, d, s, &t, &relax));
    bool is_open = !ep_box_neurons_applies(sp->decider, sp->plan, &t, sp->neurons.max_unstable);
    /* Other deciders record nothing; and of float32 executions the checker's errors may be larger than those here. */
    is_open |= sp->proof && (sp->decider != &ep_box_neurons_decider || sp->run->g->is_float32);
    b->is_probe[d] = !is_open && b->may_probe[d];
    is_open |= b->is_probe[d];
    b->n_try += !is_open;
    bool is_closed = false;
    if (!is_open) EP_TRY(decide_box(b, d, &t, &relax, &is_closed, s));
    is_open = !is_closed;
    b->n_closed += is_closed;
    if (!is_open) b->out[d] = CLOSED;
    ep_scratch_restore(s, m);
  }
  return EP_OK;
}

/* Bounds of all layers for the batch's boxes; tables from `s`. */
static ep_status batch_bounds(batch *b, ep_arena *arena, ep_scratch *s) {
  ep_trace_itv *t = &b->t;
  ep_relax_f64 *relax = &b->relax;
  const split *sp = b->sp;
  const ep_plan *p = sp->plan;
  size_t n_x = sp->n_x;
  EP_TRY(ep_crown_table(p, b->n, s, t));
  EP_TRY(ep_relax_init_f64(p, b->n, s, relax));
  float **influence = b->influence = EP_SCRATCH(s, float *, p->g->n_val);
  if (!influence) return EP_E_NOMEM;
  for (uint32_t v = 0; v < p->g->n_val; v++) influence[v] = NULL;
  for (size_t d = 0; d < b->n; d++) {
    const entry *e = b->e[d];
    memcpy(t->lo[p->g->input] + d * n_x, e->lo, n_x * sizeof(double));
    memcpy(t->hi[p->g->input] + d * n_x, e->hi, n_x * sizeof(double));
    if (!e->has_prior) continue;
    for (uint32_t i = 0; i < p->n_z; i++) {
      if (p->z_val[i] == p->g->input) continue;
      size_t n = p->z_off[i + 1] - p->z_off[i];
      memcpy(t->lo[p->z_val[i]] + d * n, e->zlo + p->z_off[i], n * sizeof(double));
      memcpy(t->hi[p->z_val[i]] + d * n, e->zhi + p->z_off[i], n * sizeof(double));
    }
  }
  for (uint32_t i = 0; i < p->n_z; i++) {
    size_t n = b->n * (p->z_off[i + 1] - p->z_off[i]) * n_x;
    influence[p->z_val[i]] = EP_SCRATCH(s, float, n + 1);
    if (!influence[p->z_val[i]]) return EP_E_NOMEM;
    memset(influence[p->z_val[i]], 0, n * sizeof(float));
  }
  ep_crown_opt opt = {.rule = EP_RELAX_ADAPTIVE, .influence = influence};
  EP_TRY(ep_crown_run(p, &opt, t, relax, arena, s));
  for (size_t d = 0; d < b->n; d++) {
    entry *e = b->e[d];
    e->has_prior = true;
    for (uint32_t i = 0; i < p->n_z; i++) {
      size_t n = p->z_off[i + 1] - p->z_off[i];
      memcpy(e->zlo + p->z_off[i], t->lo[p->z_val[i]] + d * n, n * sizeof(double));
      memcpy(e->zhi + p->z_off[i], t->hi[p->z_val[i]] + d * n, n * sizeof(double));
    }
  }
  return EP_OK;
}

/* Room for the rows' coefficients at every UNIVAR output. */
static ep_status kept_tables(batch *b, size_t n_row, ep_scratch *s) {
  const ep_graph *g = b->sp->plan->g;
  b->kept = EP_SCRATCH(s, double *, g->n_node + 1);
  if (!b->kept) return EP_E_NOMEM;
  for (uint32_t k = 0; k < g->n_node; k++) {
    b->kept[k] = NULL;
    if (g->node[k].low.cls != EP_UNIVAR) continue;
    size_t n = n_row * g->val[g->node[k].out].n;
    b->kept[k] = EP_SCRATCH(s, double, n + 1);
    if (!b->kept[k]) return EP_E_NOMEM;
    memset(b->kept[k], 0, n * sizeof(double));
  }
  return EP_OK;
}

/* Tries every open box's corner in the float64 forward pass. */
static ep_status try_corners(batch *b, ep_scratch *s) {
  const split *sp = b->sp;
  ep_trace_f64 tr;
  EP_TRY(ep_eval_f64(sp->run->g, b->n, b->corner, s, &tr));
  for (size_t d = 0; d < b->n; d++) {
    const entry *e = b->e[d];
    const ep_spec *spec = &sp->spec[e->root];
    b->has_candidate[d] = false;
    for (uint32_t p = 0; p < spec->n_poly && b->out[d] != CLOSED; p++) {
      bool is_all = e->is_open[p];
      for (uint32_t r = spec->first[p]; r < spec->first[p + 1] && is_all; r++)
        is_all = ep_spec_value(spec, r, tr.v[sp->run->g->output] + d * spec->n_y, b->corner + d * sp->n_x) <= 0;
      b->has_candidate[d] |= is_all;
    }
  }
  return EP_OK;
}

static ep_status run_batch(void *arg, size_t index, unsigned worker, ep_scratch *s) {
  batch *b = &((batch *)arg)[index];
  split *sp = b->sp;
  (void)worker;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_arena arena;
  ep_arena_init(&arena, sp->run->ctx);
  ep_status st;
  EP_GOTO(batch_bounds(b, &arena, s));
  size_t n_row = 0;
  for (size_t d = 0; d < b->n; d++) n_row += sp->spec[b->e[d]->root].n_row;
  uint32_t *row = EP_SCRATCH(s, uint32_t, n_row + 1), *dom = EP_SCRATCH(s, uint32_t, n_row + 1);
  size_t *row_at = EP_SCRATCH(s, size_t, b->n * sp->max_poly + 1);
  double *margin = EP_SCRATCH(s, double, n_row + 1), *lin = EP_SCRATCH(s, double, n_row * sp->n_x + 1);
  double *tmp = EP_SCRATCH(s, double, 7 * sp->n_x + 1);
  st = EP_E_NOMEM;
  if (!row || !dom || !row_at || !margin || !lin || !tmp) goto done;
  EP_GOTO(kept_tables(b, n_row, s));
  /* Runs of boxes with the same root share their spec; a batch may mix roots. */
  size_t k = 0;
  for (size_t d = 0; d < b->n;) {
    size_t k0 = k, d1 = d;
    const ep_spec *spec = &sp->spec[b->e[d]->root];
    for (; d1 < b->n && b->e[d1]->root == b->e[d]->root; d1++)
      for (uint32_t p = 0; p < spec->n_poly; p++) {
        row_at[d1 * sp->max_poly + p] = k;
        for (uint32_t r = spec->first[p]; r < spec->first[p + 1] && b->e[d1]->is_open[p]; r++, k++) {
          row[k] = r;
          dom[k] = (uint32_t)d1;
        }
      }
    double **kept = EP_SCRATCH(s, double *, sp->plan->g->n_node + 1);
    st = EP_E_NOMEM;
    if (!kept) goto done;
    for (uint32_t i = 0; i < sp->plan->g->n_node; i++)
      kept[i] = b->kept[i] ? b->kept[i] + k0 * sp->plan->g->val[sp->plan->g->node[i].out].n : NULL;
    EP_GOTO(ep_spec_margins(spec, sp->plan, &b->relax, &b->t, k - k0, row + k0, dom + k0, NULL, NULL, 0, kept,
                            margin + k0, lin + k0 * sp->n_x, s));
    d = d1;
  }
  for (size_t d = 0; d < b->n; d++) judge(b, d, row_at + d * sp->max_poly, margin, lin, tmp);
  EP_GOTO(decide_neurons(b, s));
  EP_GOTO(try_corners(b, s));
done:
  ep_arena_clear(&arena);
  ep_scratch_restore(s, m);
  return st;
}

/* ---- rounds ---- */

/* The middle; for a certificate, which holds it, a float32 number where there is one. */
static double split_point(const split *sp, double lo, double hi) {
  double mid = 0.5 * (lo + hi), coarse = (double)(float)mid;
  return sp->record && lo < coarse && coarse < hi ? coarse : mid;
}

static ep_status settle(split *sp, batch *b, size_t d) {
  entry *e = b->e[d];
  bool is_split = b->out[d] == OPEN;
  b->e[d] = NULL;
  if (e->probe != EP_NO_PROBE)
    ep_box_neurons_count(&sp->neurons, e->probe, !is_split);
  else if (b->is_probe[d] && is_split)
    e->probe = ep_box_neurons_start(&sp->neurons);
  if (!is_split) {
    ep_status st = EP_OK;
    if (b->out[d] == STUCK) sp->is_stuck[e->root] = true;
    if (b->out[d] == CLOSED && b->trees[d].n)
      st = ep_split_record_neurons(&sp->record[e->root], e->id, e->is_open, &b->trees[d]);
    sp->n_open[e->root]--;
    entry_give(sp, e);
    return st;
  }
  entry *f = entry_take(sp);
  if (!f) {
    entry_give(sp, e);
    return EP_E_NOMEM;
  }
  uint32_t j = b->axis[d];
  double mid = split_point(sp, e->lo[j], e->hi[j]);
  f->root = e->root;
  f->has_prior = e->has_prior;
  f->probe = e->probe;
  e->log_share = f->log_share = e->log_share - 1;
  memcpy(f->lo, e->lo, (2 * sp->n_x + 2 * sp->nz) * sizeof(double));
  memcpy(f->is_open, e->is_open, sp->max_poly);
  e->hi[j] = mid;
  f->lo[j] = mid;
  sp->n_open[e->root]++;
  ep_status st = EP_OK;
  if (sp->record) st = ep_split_record_cut(&sp->record[e->root], e->id, j, mid, e->is_open, &e->id);
  f->id = e->id + 1;
  if (st == EP_OK)
    st = push(sp, f);
  else
    entry_give(sp, f);
  if (st == EP_OK) return push(sp, e);
  entry_give(sp, e);
  return st;
}

static ep_status round_of_batches(split *sp, batch *bs, double *corners, size_t batch_size, bool *is_sat,
                                  uint64_t *boxes) {
  size_t want = sp->n_stack, n_b = 0;
  size_t per = (want + TASKS_PER_ROUND - 1) / TASKS_PER_ROUND;
  per = per < 1 ? 1 : per > batch_size ? batch_size : per;
  for (; n_b < TASKS_PER_ROUND && sp->n_stack; n_b++) {
    batch *b = &bs[n_b];
    b->sp = sp;
    b->corner = corners + n_b * MAX_BATCH * sp->n_x;
    b->n_try = b->n_closed = b->domains = 0;
    for (b->n = 0; b->n < per && sp->n_stack; b->n++) {
      b->e[b->n] = sp->stack[--sp->n_stack];
      b->trees[b->n] = (ep_bytes){.ctx = sp->run->ctx};
      b->out[b->n] = OPEN;
      b->is_probe[b->n] = false;
      b->may_probe[b->n] = ep_box_neurons_is_probe(&sp->neurons);
    }
    *boxes += b->n;
  }
  ep_status st = ep_pool_run(sp->run->pool, n_b, run_batch, bs);
  for (size_t i = 0; i < n_b; i++) {
    ep_box_neurons_adapt(&sp->neurons, bs[i].n_try, bs[i].n_closed, bs[i].domains);
    sp->domains += bs[i].domains;
  }
  sp->worst = INFINITY;
  for (size_t i = 0; i < n_b; i++)
    for (size_t d = 0; d < bs[i].n; d++) {
      batch *b = &bs[i];
      if (st == EP_OK && !*is_sat && b->has_candidate[d])
        st = ep_run_witness(sp->run, b->e[d]->root, b->corner + d * sp->n_x, ep_pool_scratch(sp->run->pool), is_sat);
      if (b->margin[d] < sp->worst) sp->worst = b->margin[d];
      if (st == EP_OK)
        st = settle(sp, b, d);
      else
        entry_give(sp, b->e[d]); /* the search is over; root n_open stays positive */
      ep_bytes_clear(&b->trees[d]);
    }
  return st;
}

static ep_status push_roots(split *sp) {
  ep_run *run = sp->run;
  for (uint32_t i = run->q->n_box; i-- > 0;) {
    const ep_input_box *box = &run->q->box[i];
    bool any = false;
    for (uint32_t p = 0; p < box->n_poly; p++) any |= !ep_run_is_proved(run, i, p);
    if (!any || box->is_empty) continue;
    entry *e = entry_take(sp);
    if (!e) return EP_E_NOMEM;
    e->root = i;
    e->has_prior = false;
    e->probe = EP_NO_PROBE;
    e->log_share = 0;
    memcpy(e->lo, box->lo, sp->n_x * sizeof(double));
    memcpy(e->hi, box->hi, sp->n_x * sizeof(double));
    for (uint32_t p = 0; p < box->n_poly; p++) e->is_open[p] = !ep_run_is_proved(run, i, p);
    sp->n_open[i] = 1;
    sp->n_root++;
    e->id = 0;
    if (sp->record && ep_split_record_init(&sp->record[i], run->ctx, box->n_poly, e->is_open) != EP_OK) {
      entry_give(sp, e);
      return EP_E_NOMEM;
    }
    EP_TRY(push(sp, e));
  }
  return EP_OK;
}

static void report(split *sp, uint64_t boxes, ep_input_split_stats *stats) {
  ep_progress *pr = &sp->run->progress;
  atomic_store(&pr->domains, boxes);
  atomic_store(&pr->open, sp->n_stack);
  atomic_store(&pr->worst_bound, sp->worst);
  stats->boxes = boxes + sp->domains;
  stats->open = sp->n_stack;
  stats->worst_margin = sp->worst;
}

static ep_status add_to_certificate(const split *sp, uint32_t root) {
  ep_bytes tree = {.ctx = sp->run->ctx};
  const ep_split_record *r = &sp->record[root];
  ep_status st = ep_split_record_write(r, &tree);
  if (st == EP_OK)
    st = ep_certificate_add_splits(sp->run->certificate, root, r->n_poly, (const bool *)r->is_open, &tree);
  ep_bytes_clear(&tree);
  return st;
}

/* All boxes of a root gone and none stuck: every polytope still open was closed in every box that covers the root. */
static ep_status mark(split *sp) {
  for (uint32_t i = 0; i < sp->run->q->n_box; i++) {
    if (sp->n_open[i] || sp->is_stuck[i] || !ep_run_is_box_open(sp->run, i)) continue;
    if (sp->record) EP_TRY(add_to_certificate(sp, i));
    for (uint32_t p = 0; p < sp->run->q->box[i].n_poly; p++)
      if (!ep_run_is_proved(sp->run, i, p)) ep_run_mark_proved(sp->run, i, p);
  }
  return EP_OK;
}

/* Share of the roots' volume in boxes still open (clipping is not counted). */
static double volume_left(const split *sp) {
  double v = 0;
  for (size_t i = 0; i < sp->n_stack; i++) v += exp2(sp->stack[i]->log_share);
  return v / (sp->n_root ? (double)sp->n_root : 1);
}

static ep_status search(split *sp, const ep_input_split_opt *opt, ep_scratch *s, ep_input_split_stats *stats) {
  ep_run *run = sp->run;
  batch *bs = EP_SCRATCH(s, batch, TASKS_PER_ROUND);
  double *corners = EP_SCRATCH(s, double, TASKS_PER_ROUND *MAX_BATCH * sp->n_x + 1);
  if (!bs || !corners) return EP_E_NOMEM;
  size_t batch_size = ((size_t)1 << 14) / (sp->plan->max_n + 1);
  batch_size = batch_size < 1 ? 1 : batch_size > MAX_BATCH ? MAX_BATCH : batch_size;
  uint64_t boxes = 0;
  bool is_sat = false, is_timed = opt->deadline_s > 0;
  while (sp->n_stack && !is_sat) {
    if (ep_ctx_should_stop(run->ctx)) return EP_E_STOPPED;
    if (is_timed && ep_time_s() > opt->deadline_s) {
      if (volume_left(sp) >= opt->keep_below) break;
      is_timed = false;
    }
    if (opt->max_boxes && boxes >= opt->max_boxes) break;
    EP_TRY(round_of_batches(sp, bs, corners, batch_size, &is_sat, &boxes));
    report(sp, boxes, stats);
  }
  stats->volume_left = volume_left(sp);
  return is_sat ? EP_OK : mark(sp);
}

/* A plan whose magnitudes hold on the hull of all boxes, and the rows of each box. */
static ep_status prepare(split *sp, ep_plan **plan, ep_scratch *s) {
  ep_run *run = sp->run;
  const ep_query *q = run->q;
  double *lo = EP_SCRATCH(s, double, 2 * sp->n_x + 1), *hi = lo ? lo + sp->n_x : NULL;
  ep_spec *spec = EP_SCRATCH(s, ep_spec, q->n_box + 1);
  sp->n_open = EP_SCRATCH(s, uint64_t, q->n_box + 1);
  sp->is_stuck = EP_SCRATCH(s, bool, q->n_box + 1);
  if (!lo || !spec || !sp->n_open || !sp->is_stuck) return EP_E_NOMEM;
  for (size_t j = 0; j < sp->n_x; j++) {
    lo[j] = INFINITY;
    hi[j] = -INFINITY;
  }
  for (uint32_t i = 0; i < q->n_box; i++) {
    sp->n_open[i] = 0;
    sp->is_stuck[i] = false;
    if (q->box[i].n_poly > sp->max_poly) sp->max_poly = q->box[i].n_poly;
    for (size_t j = 0; j < sp->n_x && !q->box[i].is_empty; j++) {
      lo[j] = fmin(lo[j], q->box[i].lo[j]);
      hi[j] = fmax(hi[j], q->box[i].hi[j]);
    }
  }
  EP_TRY(ep_plan_create(run->ctx, run->g, lo, hi, s, plan));
  sp->plan = *plan;
  if (run->certificate) {
    (*plan)->margin_factor = ep_plan_replay_factor(run->g);
    sp->record = EP_SCRATCH(s, ep_split_record, q->n_box + 1);
    if (!sp->record) return EP_E_NOMEM;
    memset(sp->record, 0, q->n_box * sizeof *sp->record);
    EP_TRY(ep_proof_create(run->ctx, run->g, &sp->proof));
  }
  sp->nz = sp->plan->z_off[sp->plan->n_z];
  for (uint32_t i = 0; i < q->n_box; i++) EP_TRY(ep_spec_init(&spec[i], *plan, q, i, s));
  sp->spec = spec;
  return EP_OK;
}

static ep_status split_run(ep_run *run, const ep_input_split_opt *opt, ep_input_split_stats *stats) {
  ep_scratch own; /* lives across pool runs, so not worker 0's scratch */
  ep_scratch_init(&own, run->ctx);
  split sp = {.run = run, .n_x = run->q->n_x, .decider = opt->decider ? opt->decider : &ep_box_neurons_decider};
  sp.neurons = ep_box_neurons_default(sp.decider->most_unstable);
  ep_plan *plan = NULL;
  ep_status st;
  *stats = (ep_input_split_stats){.worst_margin = NAN};
  if (!ep_run_n_open(run)) goto none;
  EP_GOTO(prepare(&sp, &plan, &own));
  EP_GOTO(push_roots(&sp));
  EP_GOTO(search(&sp, opt, &own, stats));
done:
  split_clear(&sp);
  ep_plan_destroy(plan);
  ep_scratch_clear(&own);
  return st;
none:
  st = EP_OK;
  goto done;
}

ep_status ep_input_split_run(ep_run *run, const ep_input_split_opt *opt, ep_input_split_stats *stats) {
  double t0 = ep_time_s();
  uint32_t open = ep_run_n_open(run);
  atomic_store(&run->progress.phase, "input-split");
  ep_status st = split_run(run, opt, stats);
  ep_phase ph = {.name = "input-split",
                 .seconds = ep_time_s() - t0,
                 .domains = stats->boxes,
                 .proved = open - ep_run_n_open(run),
                 .worst_bound = stats->worst_margin};
  ep_run_phase(run, &ph);
  return st;
}
