/* Which classes of functions of one variable a relaxation can express: precise networks are built and the relaxation's
 * range is compared with the exact one over many boxes; where no precise network exists, or none is known, what its
 * best-known encodings lose is shown. */
#include <stdlib.h>
#include <string.h>

#include "benchmarks/expressivity/study.h"
#include "benchmarks/plot.h"

/* What the theory says of a class under a relaxation. */
typedef enum verdict { YES, NO, OPEN } verdict;
static const char *const verdict_name[] = {"yes", "no", "open"};

typedef struct cell {
  ep_convex relaxation;
  function_class cls;
  verdict theory;
  encoding e;
} cell;

static const cell cells[] = {
    {EP_CONVEX_IBP, CPWL, NO, STEPS},
    {EP_CONVEX_IBP, MONOTONE, YES, STEPS},
    {EP_CONVEX_IBP, CONVEX, NO, STEPS},
    {EP_CONVEX_IBP, MONOTONE_CONVEX, YES, STEPS},
    {EP_CONVEX_DEEPPOLY_0, CPWL, OPEN, ONE_WAY},
    {EP_CONVEX_DEEPPOLY_0, MONOTONE, YES, STEPS},
    {EP_CONVEX_DEEPPOLY_0, CONVEX, YES, FROM_MINIMUM},
    {EP_CONVEX_DEEPPOLY_0, MONOTONE_CONVEX, YES, FROM_MINIMUM},
    {EP_CONVEX_DEEPPOLY_1, CPWL, OPEN, ONE_WAY},
    {EP_CONVEX_DEEPPOLY_1, MONOTONE, YES, STEPS_MIRRORED},
    {EP_CONVEX_DEEPPOLY_1, CONVEX, YES, TO_MINIMUM},
    {EP_CONVEX_DEEPPOLY_1, MONOTONE_CONVEX, YES, TO_MINIMUM},
    {EP_CONVEX_TRIANGLE, CPWL, OPEN, ONE_WAY},
    {EP_CONVEX_TRIANGLE, MONOTONE, YES, STEPS},
    {EP_CONVEX_TRIANGLE, CONVEX, YES, ANY_WAY},
    {EP_CONVEX_TRIANGLE, MONOTONE_CONVEX, YES, ANY_WAY},
    {EP_CONVEX_MULTI_NEURON, CPWL, YES, ONE_WAY},
    {EP_CONVEX_MULTI_NEURON, MONOTONE, YES, ONE_WAY},
    {EP_CONVEX_MULTI_NEURON, CONVEX, YES, ONE_WAY},
    {EP_CONVEX_MULTI_NEURON, MONOTONE_CONVEX, YES, ONE_WAY},
};
/* The wrong encoding for the relaxation: all of them lose. */
static const cell swapped[] = {
    {EP_CONVEX_DEEPPOLY_0, CONVEX, NO, TO_MINIMUM},
    {EP_CONVEX_DEEPPOLY_1, CONVEX, NO, FROM_MINIMUM},
    {EP_CONVEX_DEEPPOLY_0, CONVEX, NO, ONE_WAY},
    {EP_CONVEX_DEEPPOLY_1, CONVEX, NO, ONE_WAY},
    {EP_CONVEX_DEEPPOLY_0, MONOTONE, NO, STEPS_MIRRORED},
    {EP_CONVEX_DEEPPOLY_1, MONOTONE, NO, STEPS},
    {EP_CONVEX_IBP, MONOTONE, NO, ONE_WAY},
    {EP_CONVEX_IBP, CONVEX, NO, FROM_MINIMUM},
};

typedef struct outcome {
  uint64_t boxes, with_gap;
  mpq_t largest;
} outcome;

/* The relaxation's range of the output over a box. */
static ep_status relaxed_range(ep_ctx *ctx, const ep_graph *g, ep_convex c, mpq_t *lo, mpq_t *hi, mpq_t out_lo,
                               mpq_t out_hi) {
  ep_exact *a;
  EP_TRY(ep_exact_create(ctx, g, c, lo, hi, &a));
  ep_status st = ep_exact_output(a, 0, false, out_lo, NULL);
  if (st == EP_OK) st = ep_exact_output(a, 0, true, out_hi, NULL);
  ep_exact_destroy(a);
  return st;
}

/* The larger distance of the relaxation's ends from the exact ones. */
static void find_gap(mpq_t lo, mpq_t hi, mpq_t exact_lo, mpq_t exact_hi, mpq_t gap) {
  mpq_t t;
  mpq_init(t);
  mpq_sub(gap, hi, exact_hi);
  mpq_sub(t, exact_lo, lo);
  if (mpq_cmp(t, gap) > 0) mpq_set(gap, t);
  mpq_clear(t);
}

/* Ends of boxes: kinks and domain ends (critical ones), quarters, sixtieths, any mixture. */
static void random_end(const function *f, ep_rng *r, mpq_t x) {
  switch (ep_rng_below(r, 3)) {
  case 0:
    mpq_set_d(x, f->kink[ep_rng_below(r, f->n)]);
    break;
  case 1:
    mpq_set_si(x, (long)ep_rng_below(r, 33) - 16, 4);
    break;
  default:
    mpq_set_si(x, (long)ep_rng_below(r, 481) - 240, 60);
  }
  mpq_canonicalize(x);
}

static void random_box(const function *f, ep_rng *r, mpq_t *lo, mpq_t *hi) {
  do {
    random_end(f, r, *lo);
    random_end(f, r, *hi);
  } while (mpq_equal(*lo, *hi));
  if (mpq_cmp(*lo, *hi) > 0) mpq_swap(*lo, *hi);
}

/* Is the network the function? Both are affine between kinks, ends and the kinks of the network's layers, which are
 * among the former: equal there and halfway is equal everywhere. */
static ep_status is_encoded(study *s, const function *f, const ep_graph *g, bool *is_equal) {
  mpq_t x, lo, hi, y;
  mpq_inits(x, lo, hi, y, NULL);
  ep_status st = EP_OK;
  *is_equal = true;
  for (uint32_t i = 0; i < 2 * f->n + 3 && st == EP_OK; i++) {
    double from = i < 2 ? -DOMAIN : f->kink[i / 2 - 1], to = i / 2 < f->n ? f->kink[i / 2] : DOMAIN;
    double at = i % 2 ? (from + to) / 2 : i == 2 * f->n + 2 ? DOMAIN : from;
    mpq_set_d(x, at);
    mpq_set_d(y, function_at(f, at));
    st = relaxed_range(s->ctx, g, EP_CONVEX_IBP, &x, &x, lo, hi);
    *is_equal &= mpq_equal(lo, y) && mpq_equal(hi, y);
  }
  mpq_clears(x, lo, hi, y, NULL);
  return st;
}

/* One network over `boxes` boxes. */
static ep_status measure(study *s, const cell *c, const function *f, const ep_graph *g, uint32_t boxes, ep_rng *r,
                         uint64_t serial, FILE *csv, outcome *o) {
  mpq_t x[2], y[2], exact[2], gap;
  mpq_inits(x[0], x[1], y[0], y[1], exact[0], exact[1], gap, NULL);
  ep_status st = EP_OK;
  for (uint32_t k = 0; k < boxes && st == EP_OK; k++) {
    random_box(f, r, &x[0], &x[1]);
    function_range(f, x[0], x[1], exact[0], exact[1]);
    st = relaxed_range(s->ctx, g, c->relaxation, &x[0], &x[1], y[0], y[1]);
    if (st != EP_OK) break;
    find_gap(y[0], y[1], exact[0], exact[1], gap);
    if (mpq_cmp(y[0], exact[0]) > 0 || mpq_cmp(y[1], exact[1]) < 0) {
      printf("UNSOUND: %s, %s\n", ep_convex_name(c->relaxation), encoding_name[c->e]);
      s->unexpected++;
    }
    o->boxes++;
    o->with_gap += mpq_sgn(gap) > 0;
    if (mpq_cmp(gap, o->largest) > 0) mpq_set(o->largest, gap);
    if (csv) {
      fprintf(csv, "%s,%s,%s,%llu,%u,", ep_convex_name(c->relaxation), class_name[c->cls], encoding_name[c->e],
              (unsigned long long)serial, f->n);
      gmp_fprintf(csv, "%Qd,%Qd,%Qd,%.9g\n", x[0], x[1], gap, mpq_get_d(gap));
    }
  }
  mpq_clears(x[0], x[1], y[0], y[1], exact[0], exact[1], gap, NULL);
  return st;
}

static ep_status measure_function(study *s, const cell *c, const function *f, uint32_t turns, uint32_t boxes, ep_rng *r,
                                  uint64_t serial, FILE *csv, outcome *o) {
  ep_graph *g;
  bool is_equal;
  EP_TRY(function_network(s->ctx, f, c->e, turns, &g));
  ep_status st = is_encoded(s, f, g, &is_equal);
  if (st == EP_OK && !is_equal) {
    printf("WRONG NETWORK: %s of a %s function\n", encoding_name[c->e], class_name[c->cls]);
    s->unexpected++;
  }
  if (st == EP_OK) st = measure(s, c, f, g, boxes, r, serial, csv, o);
  ep_graph_destroy(g);
  return st;
}

static ep_status measure_cell(study *s, const cell *c, uint32_t index, FILE *csv, outcome *o) {
  ep_rng r;
  ep_rng_seed(&r, s->seed * 1000 + index);
  for (uint32_t k = 0; k < s->functions; k++) {
    function f = function_random(&r, c->cls, 1 + k % 6);
    EP_TRY(measure_function(s, c, &f, (uint32_t)ep_rng_below(&r, 64), s->boxes, &r, k, csv, o));
  }
  return EP_OK;
}

/* Gaps where the theory says none, or none where the encoding must lose. */
static void judge(study *s, const cell *c, const outcome *o) {
  bool is_expected = c->theory == YES ? o->with_gap == 0 : o->with_gap > 0;
  if (is_expected) return;
  s->unexpected++;
  printf("UNEXPECTED: %s, %s, %s: %llu of %llu boxes with a gap\n", ep_convex_name(c->relaxation), class_name[c->cls],
         encoding_name[c->e], (unsigned long long)o->with_gap, (unsigned long long)o->boxes);
}

static void print_cell(const cell *c, const outcome *o, const char *part, FILE *csv) {
  printf("  %-13s %-16s %-15s %-5s %6llu boxes, %6llu with a gap, largest %.6g\n", ep_convex_name(c->relaxation),
         class_name[c->cls], encoding_name[c->e], part[0] == 's' ? "-" : verdict_name[c->theory],
         (unsigned long long)o->boxes, (unsigned long long)o->with_gap, mpq_get_d(o->largest));
  fprintf(csv, "%s,%s,%s,%s,%s,%llu,%llu,", part, ep_convex_name(c->relaxation), class_name[c->cls],
          encoding_name[c->e], part[0] == 's' ? "" : verdict_name[c->theory], (unsigned long long)o->boxes,
          (unsigned long long)o->with_gap);
  gmp_fprintf(csv, "%Qd,%.9g\n", o->largest, mpq_get_d(o->largest));
}

static ep_status measure_cells(study *s, const char *part, size_t n, const cell *list, FILE *gaps, FILE *table,
                               outcome *all) {
  printf("%s encodings:\n", part);
  for (size_t i = 0; i < n; i++) {
    EP_TRY(measure_cell(s, &list[i], (uint32_t)i, gaps, &all[i]));
    judge(s, &list[i], &all[i]);
    print_cell(&list[i], &all[i], part, table);
    fflush(stdout);
  }
  return EP_OK;
}

/* The table as a picture: relaxations by classes, green where no box has a gap. */
static int draw_table(const char *folder, const outcome *all) {
  char path[4096];
  snprintf(path, sizeof path, "%.4000s/table.svg", folder);
  FILE *f = fopen(path, "wb");
  if (!f) return -1;
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
          "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
          130 + 150 * N_CLASS, 40 + 44 * EP_N_CONVEX);
  for (int c = 0; c < N_CLASS; c++) fprintf(f, "<text x=\"%d\" y=\"22\">%s</text>\n", 136 + 150 * c, class_name[c]);
  for (int c = 0; c < EP_N_CONVEX; c++)
    fprintf(f, "<text x=\"6\" y=\"%d\">%s</text>\n", 56 + 44 * c, ep_convex_name((ep_convex)c));
  for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
    int x = 130 + 150 * (int)cells[i].cls, y = 30 + 44 * (int)cells[i].relaxation;
    fprintf(f,
            "<rect x=\"%d\" y=\"%d\" width=\"146\" height=\"40\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s (%s)</text>"
            "<text x=\"%d\" y=\"%d\">gap %.3g</text>\n",
            x, y, all[i].with_gap ? "#f4c7c3" : "#b7e1cd", x + 6, y + 16, verdict_name[cells[i].theory],
            encoding_name[cells[i].e], x + 6, y + 33, mpq_get_d(all[i].largest));
  }
  fprintf(f, "</svg>\n");
  return fclose(f);
}

/* Triangles are exact for every choice of directions (2^n networks for one function); the lines of DeepPoly only for
 * one of them. Largest gaps against the number of kinks. */
static ep_status all_turns(study *s, outcome *total) {
  enum { MOST = 6 };
  plot_series lines[3] = {{.name = "deeppoly-0"}, {.name = "deeppoly-1"}, {.name = "triangle"}};
  static const ep_convex relaxation[3] = {EP_CONVEX_DEEPPOLY_0, EP_CONVEX_DEEPPOLY_1, EP_CONVEX_TRIANGLE};
  FILE *csv =
      plot_table(s->folder, "turns.csv", "relaxation,kinks,networks,boxes,with_gap,largest_gap,largest_gap_decimal");
  char path[4096];
  ep_status st = EP_OK;
  for (uint32_t n = 1; n <= MOST && st == EP_OK; n++)
    for (int q = 0; q < 3 && st == EP_OK; q++) {
      ep_rng r;
      outcome o = {0};
      cell c = {relaxation[q], CONVEX, NO, ANY_WAY};
      mpq_init(o.largest);
      ep_rng_seed(&r, s->seed * 77 + n);
      for (uint32_t k = 0; k < 4; k++) {
        function f = function_random(&r, CONVEX, n);
        for (uint32_t turns = 0; turns < 1u << n && st == EP_OK; turns++)
          st = measure_function(s, &c, &f, turns, s->boxes < 20 ? s->boxes : 20, &r, k, NULL, &o);
      }
      plot_add(&lines[q], n, mpq_get_d(o.largest));
      fprintf(csv, "%s,%u,%u,%llu,%llu,", ep_convex_name(c.relaxation), n, 4u << n, (unsigned long long)o.boxes,
              (unsigned long long)o.with_gap);
      gmp_fprintf(csv, "%Qd,%.9g\n", o.largest, mpq_get_d(o.largest));
      total[q].boxes += o.boxes;
      total[q].with_gap += o.with_gap;
      if (mpq_cmp(o.largest, total[q].largest) > 0) mpq_set(total[q].largest, o.largest);
      mpq_clear(o.largest);
    }
  fclose(csv);
  snprintf(path, sizeof path, "%.4000s/turns.svg", s->folder);
  const plot_axes axes = {"Largest gap over all directions of the kinks, convex functions", "kinks", false, false};
  if (st == EP_OK && plot_write(path, &axes, 3, lines) != 0) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write %s", path);
  return st;
}

static ep_status turns_part(study *s) {
  outcome total[3] = {0};
  for (int q = 0; q < 3; q++) mpq_init(total[q].largest);
  ep_status st = all_turns(s, total);
  if (st == EP_OK) {
    printf("all 2^n directions of n = 1..6 kinks, convex functions:\n");
    for (int q = 0; q < 3; q++)
      printf("  %-13s %6llu boxes, %6llu with a gap, largest %.6g\n",
             q == 2 ? "triangle"
             : q    ? "deeppoly-1"
                    : "deeppoly-0",
             (unsigned long long)total[q].boxes, (unsigned long long)total[q].with_gap, mpq_get_d(total[q].largest));
    s->unexpected += total[2].with_gap > 0;
    s->unexpected += total[0].with_gap == 0;
    s->unexpected += total[1].with_gap == 0;
  }
  for (int q = 0; q < 3; q++) mpq_clear(total[q].largest);
  return st;
}

ep_status study_table(study *s) {
  enum { N = sizeof cells / sizeof *cells, M = sizeof swapped / sizeof *swapped };
  outcome all[N + M] = {0};
  for (int i = 0; i < N + M; i++) mpq_init(all[i].largest);
  FILE *gaps = plot_table(s->folder, "gaps.csv", "relaxation,class,encoding,function,kinks,lo,hi,gap,gap_decimal");
  FILE *table = plot_table(s->folder, "table.csv",
                           "part,relaxation,class,encoding,theory,boxes,with_gap,largest_gap,largest_gap_decimal");
  ep_status st = measure_cells(s, "precise", N, cells, gaps, table, all);
  if (st == EP_OK) st = measure_cells(s, "swapped", M, swapped, gaps, table, all + N);
  if (st == EP_OK && draw_table(s->folder, all) != 0) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write table.svg");
  for (int i = 0; i < N + M; i++) mpq_clear(all[i].largest);
  if (fclose(gaps) != 0 && st == EP_OK) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write gaps.csv");
  if (fclose(table) != 0 && st == EP_OK) st = EP_FAIL(s->ctx, EP_E_IO, "cannot write table.csv");
  return st == EP_OK ? turns_part(s) : st;
}
