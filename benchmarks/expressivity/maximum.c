/* No ReLU network computes max(x, y) precisely under the triangle relaxation (a theorem for all networks). Here, for
 * every network that is given: the proof that it computes max on the unit square (all linear pieces, in rationals), and
 * a box on which the triangle's upper bound is too large, with the point of the relaxation that shows it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/expressivity/study.h"
#include "benchmarks/plot.h"
#include "encoders/exact_cells.h"
#include "models/onnx.h"

/* Layers as text: each "rows:w w w;.." is [W | b] row by row, ReLU between them. */
typedef struct given {
  const char *name, *formula, *layers;
} given;
static const given networks[] = {
    {"right", "y + relu(x - y)", "1 -1 0;0 1 0|1 1 0"},
    {"left", "x + relu(y - x)", "-1 1 0;1 0 0|1 1 0"},
    {"symmetric", "(x + y + relu(x - y) + relu(y - x)) / 2", "1 -1 0;-1 1 0;1 1 0|0.5 0.5 0.5 0"},
    {"mixed", "1/4 right + 3/4 left", "1 -1 0;-1 1 0;1 0 0;0 1 0|0.25 0.75 0.75 0.25 0"},
    {"signed", "relu(x - y) + relu(y) - relu(-y)", "1 -1 0;0 1 0;0 -1 0|1 1 -1 0"},
    {"twice", "max(max(x, y), x)", "1 -1 0;0 1 0;1 0 0|1 1 -1 0;0 0 1 0|1 1 0"},
    {"cut", "m - relu(m - 1), m = y + relu(x - y)", "1 -1 0;0 1 0|1 1 0;1 1 -1|1 -1 0"},
    {"cut-twice", "m - relu(m - 1) - relu(m - 1/2) + relu(m - 1/2)",
     "1 -1 0;0 1 0|1 1 0;1 1 -1;1 1 -0.5;1 1 -0.5|1 -1 -1 1 0"},
    {"offset", "relu(x - y + 1/2) + relu(x - y) - relu(x - y + 1/2) + y", "1 -1 0.5;1 -1 0;0 1 0;1 -1 0.5|1 1 1 -1 0"},
    {"by-parts", "relu(x - y) / 2 + relu(2x - 2y) / 4 + y", "1 -1 0;2 -2 0;0 1 0|0.5 0.25 1 0"},
};
enum { N_GIVEN = sizeof networks / sizeof *networks, MOST_BOXES = 20000 };

/* One layer of the text; returns what follows. */
static ep_status text_layer(ep_builder *b, const char **text, uint32_t k, const char *in, const char *out) {
  double w[64], c[8];
  uint32_t n_out = 0, n_w = 0, n_in = 0;
  char wn[16], cn[16];
  const char *s = *text;
  for (;; s++) { /* a row: weights, the last number is the bias */
    uint32_t from = n_w;
    char *end;
    for (double v; v = strtod(s, &end), end != s; s = end) w[n_w++] = v;
    c[n_out++] = w[--n_w];
    n_in = n_w - from;
    if (*s != ';') break;
  }
  *text = *s ? s + 1 : s;
  snprintf(wn, sizeof wn, "w%u", k);
  snprintf(cn, sizeof cn, "c%u", k);
  ep_tensor tw = {EP_DT_F32, {2, {n_out, n_in}}, (size_t)n_out * n_in, w, NULL};
  ep_tensor tc = {EP_DT_F32, {1, {n_out}}, n_out, c, NULL};
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  assert(n_w == n_out * n_in && n_w <= 64 && n_out <= 8);
  EP_TRY(ep_builder_constant(b, wn, &tw));
  EP_TRY(ep_builder_constant(b, cn, &tc));
  return ep_builder_node(b, "Gemm", out, 3, (const char *[]){in, wn, cn}, out, &(ep_attrs){1, &trans});
}

static ep_status from_text(ep_ctx *ctx, const char *text, ep_graph **out) {
  ep_builder *b;
  ep_shape s = {.rank = 2, .dim = {1, 2}};
  char in[16] = "x", z[16], a[16];
  EP_TRY(ep_builder_create(ctx, 13, &b));
  ep_status st = ep_builder_input(b, "x", EP_DT_F32, &s);
  for (uint32_t k = 0; *text && st == EP_OK; k++) {
    snprintf(z, sizeof z, "z%u", k);
    snprintf(a, sizeof a, "a%u", k);
    st = text_layer(b, &text, k, in, z);
    if (st == EP_OK && *text) st = ep_builder_node(b, "Relu", a, 1, (const char *[]){z}, a, &(ep_attrs){0});
    memcpy(in, a, sizeof in);
  }
  if (st == EP_OK) st = ep_builder_finish(b, z, out);
  ep_builder_destroy(b);
  return st;
}

/* ---- is it max? ---- */

typedef struct proof {
  uint32_t cells;
  bool is_max;
  mpq_t *row, *at, value, zero;
} proof;

/* On the half of the cell where x_i is the larger input, out - x_i is 0: its maximum and its minimum are. */
static ep_status check_half(proof *p, ep_exact_lp *region, mpq_t *out, int i) {
  uint32_t n_row = region->n_row;
  ep_exact_answer answer;
  mpq_set_si(p->row[i], -1, 1);
  mpq_set_si(p->row[1 - i], 1, 1);
  EP_TRY(ep_exact_lp_add(region, p->row, p->zero));
  ep_status st = EP_OK;
  for (int sign = 1; sign >= -1 && st == EP_OK; sign -= 2) {
    for (int j = 0; j < 3; j++) mpq_set(p->row[j], out[j]);
    mpq_set_ui(p->value, 1, 1);
    mpq_sub(p->row[i], p->row[i], p->value);
    for (int j = 0; j < 3 && sign < 0; j++) mpq_neg(p->row[j], p->row[j]);
    st = ep_exact_lp_maximise(region, p->row, &answer, p->value, p->at);
    if (st != EP_OK || answer == EP_EXACT_INFEASIBLE) break; /* the cell lies in the other half */
    mpq_add(p->value, p->value, p->row[2]);
    p->is_max &= mpq_sgn(p->value) == 0;
  }
  ep_exact_lp_cut_back(region, n_row);
  return st;
}

static ep_status check_cell(void *arg, ep_exact_lp *region, mpq_t *out) {
  proof *p = arg;
  p->cells++;
  EP_TRY(check_half(p, region, out, 0));
  return check_half(p, region, out, 1);
}

static ep_status is_maximum(study *s, const ep_graph *g, uint32_t *cells, bool *is_max) {
  proof p = {.is_max = true, .row = ep_rational_create(s->ctx, 3), .at = ep_rational_create(s->ctx, 2)};
  mpq_t *lo = ep_rational_create(s->ctx, 2), *hi = ep_rational_create(s->ctx, 2);
  mpq_inits(p.value, p.zero, NULL);
  for (int i = 0; i < 2; i++) mpq_set_ui(hi[i], 1, 1);
  ep_status st = ep_exact_cells(s->ctx, g, lo, hi, check_cell, &p);
  *cells = p.cells;
  *is_max = p.is_max;
  mpq_clears(p.value, p.zero, NULL);
  ep_rational_destroy(s->ctx, p.row, 3);
  ep_rational_destroy(s->ctx, p.at, 2);
  ep_rational_destroy(s->ctx, lo, 2);
  ep_rational_destroy(s->ctx, hi, 2);
  return st;
}

/* ---- the box with a gap ---- */

/* The unit square, squares along the diagonal, then random boxes that the diagonal crosses; multiples of 1/64. */
static void candidate(uint32_t k, ep_rng *r, mpq_t *lo, mpq_t *hi) {
  long l[2] = {0, 0}, h[2] = {64, 64};
  if (k > 0 && k < 15) { /* halves, quarters, eighths */
    uint32_t parts = k < 3 ? 2 : k < 7 ? 4 : 8, i = k + 1 - parts;
    for (int j = 0; j < 2; j++) {
      l[j] = (long)(64 / parts * i);
      h[j] = l[j] + 64 / (long)parts;
    }
  } else if (k >= 15) {
    do
      for (int j = 0; j < 2; j++) {
        l[j] = (long)ep_rng_below(r, 64);
        h[j] = l[j] + 1 + (long)ep_rng_below(r, 64 - (uint64_t)l[j]);
      }
    while (l[0] >= h[1] || l[1] >= h[0]);
  }
  for (int j = 0; j < 2; j++) {
    mpq_set_si(lo[j], l[j], 64);
    mpq_set_si(hi[j], h[j], 64);
    mpq_canonicalize(lo[j]);
    mpq_canonicalize(hi[j]);
  }
}

typedef struct gap {
  bool is_found;
  uint32_t tried;
  mpq_t lo[2], hi[2], upper, joint, truth, x[2];
} gap;

static ep_status upper_bound(study *s, const ep_graph *g, ep_convex c, gap *f, mpq_t value, bool wants_point) {
  ep_exact *a;
  EP_TRY(ep_exact_create(s->ctx, g, c, f->lo, f->hi, &a));
  mpq_t *at = ep_rational_create(s->ctx, a->cap);
  ep_status st = at ? ep_exact_output(a, 0, true, value, wants_point ? at : NULL) : EP_E_NOMEM;
  for (int j = 0; j < 2 && wants_point && st == EP_OK; j++) mpq_set(f->x[j], at[j]);
  ep_rational_destroy(s->ctx, at, a->cap);
  ep_exact_destroy(a);
  return st;
}

static ep_status find_gap(study *s, const ep_graph *g, gap *f) {
  ep_rng r;
  ep_rng_seed(&r, s->seed + 5);
  for (; f->tried < MOST_BOXES && !f->is_found; f->tried++) {
    candidate(f->tried, &r, f->lo, f->hi);
    EP_TRY(upper_bound(s, g, EP_CONVEX_TRIANGLE, f, f->upper, true));
    mpq_set(f->truth, mpq_cmp(f->hi[0], f->hi[1]) > 0 ? f->hi[0] : f->hi[1]);
    f->is_found = mpq_cmp(f->upper, f->truth) > 0;
  }
  return f->is_found ? upper_bound(s, g, EP_CONVEX_MULTI_NEURON, f, f->joint, false) : EP_OK;
}

static ep_status study_network(study *s, const char *name, const char *formula, const ep_graph *g, FILE *csv) {
  gap f = {0};
  uint32_t cells = 0;
  bool is_max = false;
  mpq_inits(f.lo[0], f.lo[1], f.hi[0], f.hi[1], f.upper, f.joint, f.truth, f.x[0], f.x[1], NULL);
  ep_status st = is_maximum(s, g, &cells, &is_max);
  if (st == EP_OK && is_max) st = find_gap(s, g, &f);
  if (st == EP_OK && !is_max) {
    printf("  %-10s %s: is not max(x, y) on the unit square\n", name, formula);
    s->unexpected++;
  } else if (st == EP_OK && !f.is_found) {
    printf("  %-10s %s: no gap on %u boxes\n", name, formula, f.tried);
    s->unexpected++;
  } else if (st == EP_OK) {
    gmp_printf(
        "  %-10s %s\n             is max on %u pieces; box %u, [%Qd, %Qd] x [%Qd, %Qd]: triangle %Qd at (%Qd, %Qd), "
        "true %Qd, joint hulls %Qd\n",
        name, formula, cells, f.tried, f.lo[0], f.hi[0], f.lo[1], f.hi[1], f.upper, f.x[0], f.x[1], f.truth, f.joint);
    gmp_fprintf(csv, "%s,%u,%u,%Qd,%Qd,%Qd,%Qd,%Qd,%Qd,%Qd,%Qd,%Qd\n", name, cells, f.tried, f.lo[0], f.hi[0], f.lo[1],
                f.hi[1], f.upper, f.truth, f.joint, f.x[0], f.x[1]);
  }
  mpq_clears(f.lo[0], f.lo[1], f.hi[0], f.hi[1], f.upper, f.joint, f.truth, f.x[0], f.x[1], NULL);
  return st;
}

static ep_status study_file(study *s, const char *path, FILE *csv) {
  ep_graph *g;
  EP_TRY(ep_onnx_read(s->ctx, path, &g));
  ep_status st = EP_OK;
  if (g->val[g->input].n != 2 || g->val[g->output].n != 1)
    st = EP_FAIL(s->ctx, EP_E_SHAPE, "%s: max(x, y) has 2 inputs and 1 output, this network %u and %u", path,
                 g->val[g->input].n, g->val[g->output].n);
  if (st == EP_OK) st = study_network(s, path, "from a file", g, csv);
  ep_graph_destroy(g);
  return st;
}

ep_status study_maximum(study *s) {
  FILE *csv = plot_table(s->folder, "maximum.csv",
                         "network,pieces,boxes_tried,x_lo,x_hi,y_lo,y_hi,triangle,true,multi_neuron,at_x,at_y");
  ep_status st = EP_OK;
  printf("networks for max(x, y) under the triangle relaxation:\n");
  for (int i = 0; i < N_GIVEN && st == EP_OK; i++) {
    ep_graph *g = NULL;
    st = from_text(s->ctx, networks[i].layers, &g);
    if (st == EP_OK) st = study_network(s, networks[i].name, networks[i].formula, g, csv);
    ep_graph_destroy(g);
  }
  for (uint32_t i = 0; i < s->n_net && st == EP_OK; i++) st = study_file(s, s->net[i], csv);
  if (fclose(csv) != 0 && st == EP_OK) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write maximum.csv");
  return st;
}
