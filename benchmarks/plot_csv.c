/* Draws columns of a CSV file as an SVG plot: lines over a column of numbers, or one point per row, labelled with the
 * first column. Rows whose cells are no numbers are left out.
 * usage: plot_csv (lines|points)[,logx][,logy] TITLE X_COLUMN Y_COLUMN[,Y_COLUMN..] FILE.csv OUT.svg */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_COLUMN = 32,
  MAX_ROW = 512,
  CELL = 64,
  WIDTH = 640,
  HEIGHT = 420,
  LEFT = 70,
  RIGHT = 20,
  TOP = 40,
  BOTTOM = 50
};

typedef struct table {
  size_t n_column, n_row;
  char name[MAX_COLUMN][CELL], cell[MAX_ROW][MAX_COLUMN][CELL];
} table;

typedef struct axis {
  bool is_log;
  double lo, hi;   /* of the data, logarithms when is_log */
  double from, to; /* on the page */
} axis;

static size_t split(char *line, char cell[MAX_COLUMN][CELL]) {
  size_t n = 0;
  line[strcspn(line, "\r\n")] = 0;
  for (char *at = line; n < MAX_COLUMN; n++) {
    size_t len = strcspn(at, ",");
    snprintf(cell[n], CELL, "%.*s", (int)(len < CELL ? len : CELL - 1), at);
    if (!at[len]) return n + 1;
    at += len + 1;
  }
  return n;
}

static bool read_table(const char *path, table *t) {
  char line[4096];
  FILE *f = fopen(path, "r");
  if (!f) return false;
  if (fgets(line, sizeof line, f)) t->n_column = split(line, t->name);
  while (t->n_row < MAX_ROW && fgets(line, sizeof line, f)) split(line, t->cell[t->n_row++]);
  fclose(f);
  return t->n_column > 0;
}

static size_t column(const table *t, const char *name, size_t n) {
  for (size_t c = 0; c < t->n_column; c++)
    if (strlen(t->name[c]) == n && !memcmp(t->name[c], name, n)) return c;
  fprintf(stderr, "plot_csv: no column '%.*s'\n", (int)n, name);
  exit(1);
}

/* NAN where the cell holds no number that the axis can show. */
static double value(const table *t, size_t row, size_t c, bool is_log) {
  char *end;
  double v = strtod(t->cell[row][c], &end);
  if (end == t->cell[row][c] || *end || !isfinite(v) || (is_log && v <= 0)) return NAN;
  return is_log ? log10(v) : v;
}

static void widen(axis *a, double v) {
  if (isnan(v)) return;
  a->lo = fmin(a->lo, v);
  a->hi = fmax(a->hi, v);
}

static double place(const axis *a, double v) { return a->from + (a->to - a->from) * (v - a->lo) / (a->hi - a->lo); }

/* Some room around the data; the step between ticks: 1, 2 or 5 times a power of ten, whole decades on logarithmic axes.
 */
static double finish(axis *a) {
  if (!(a->hi > a->lo)) {
    a->lo = isfinite(a->lo) ? a->lo - 1 : 0;
    a->hi = a->lo + 2;
  }
  double room = 0.05 * (a->hi - a->lo), step;
  a->lo -= room;
  a->hi += room;
  step = pow(10, floor(log10((a->hi - a->lo) / 4)));
  if ((a->hi - a->lo) / step > 10) step *= 2;
  if ((a->hi - a->lo) / step > 10) step *= 2.5;
  return a->is_log ? fmax(1, round(step)) : step;
}

static void ticks(FILE *f, const axis *a, double step, bool is_x) {
  for (double v = ceil(a->lo / step) * step; v <= a->hi; v += step) {
    double at = place(a, v), shown = a->is_log ? pow(10, v) : fabs(v) < step / 2 ? 0 : v;
    if (is_x)
      fprintf(f,
              "<path d=\"M%.1f %dv5\" stroke=\"black\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n",
              at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 18, shown);
    else
      fprintf(f,
              "<path d=\"M%d %.1fh-5\" stroke=\"black\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
              LEFT, at, LEFT - 8, at + 4, shown);
  }
}

static void draw_frame(FILE *f, const char *title, const char *x_name, const axis *x, const axis *y, double x_step,
                       double y_step) {
  fprintf(
      f,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n<text x=\"%d\" y=\"20\" "
      "font-size=\"14\">%s</text>\n<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"black\"/>\n<text x=\"%d\" y=\"%d\" "
      "text-anchor=\"middle\">%s</text>\n",
      WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, title, LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2,
      HEIGHT - 10, x_name);
  ticks(f, x, x_step, true);
  ticks(f, y, y_step, false);
}

static const char *const colours[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"};

static void draw_lines(FILE *f, const table *t, size_t cx, size_t cy, size_t series, const axis *x, const axis *y) {
  const char *colour = colours[series % 6];
  fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" points=\"", colour);
  for (size_t r = 0; r < t->n_row; r++) {
    double u = value(t, r, cx, x->is_log), v = value(t, r, cy, y->is_log);
    if (!isnan(u) && !isnan(v)) fprintf(f, "%.1f,%.1f ", place(x, u), place(y, v));
  }
  fprintf(f, "\"/>\n<text x=\"%d\" y=\"%zu\" text-anchor=\"end\" fill=\"%s\">%s</text>\n", WIDTH - RIGHT,
          TOP + 16 * series, colour, t->name[cy]);
}

static void draw_points(FILE *f, const table *t, size_t cx, size_t cy, const axis *x, const axis *y) {
  for (size_t r = 0; r < t->n_row; r++) {
    double u = value(t, r, cx, x->is_log), v = value(t, r, cy, y->is_log);
    if (isnan(u) || isnan(v)) continue;
    bool is_right = place(x, u) > WIDTH - 120;
    fprintf(f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/><text x=\"%.1f\" y=\"%.1f\" "
            "text-anchor=\"%s\">%s</text>\n",
            place(x, u), place(y, v), colours[r % 6], place(x, u) + (is_right ? -7 : 7), place(y, v) - 5,
            is_right ? "end" : "start", t->cell[r][0]);
  }
  fprintf(f, "<text x=\"15\" y=\"%d\" transform=\"rotate(-90 15 %d)\" text-anchor=\"middle\">%s</text>\n",
          (TOP + HEIGHT - BOTTOM) / 2, (TOP + HEIGHT - BOTTOM) / 2, t->name[cy]);
}

int main(int argc, char **argv) {
  static table t;
  if (argc != 7) {
    fputs("usage: plot_csv (lines|points)[,logx][,logy] TITLE X_COLUMN Y_COLUMN[,Y_COLUMN..] FILE.csv OUT.svg\n",
          stderr);
    return 1;
  }
  if (!read_table(argv[5], &t)) return perror(argv[5]), 1;
  bool is_points = !strncmp(argv[1], "points", 6);
  axis x = {strstr(argv[1], "logx") != NULL, INFINITY, -INFINITY, LEFT, WIDTH - RIGHT};
  axis y = {strstr(argv[1], "logy") != NULL, INFINITY, -INFINITY, HEIGHT - BOTTOM, TOP};
  size_t cx = column(&t, argv[3], strlen(argv[3])), cy[MAX_COLUMN], n = 0;
  for (const char *at = argv[4]; n < MAX_COLUMN; at += strcspn(at, ",") + 1) {
    cy[n++] = column(&t, at, strcspn(at, ","));
    if (!at[strcspn(at, ",")]) break;
  }
  for (size_t r = 0; r < t.n_row; r++) {
    widen(&x, value(&t, r, cx, x.is_log));
    for (size_t k = 0; k < n; k++) widen(&y, value(&t, r, cy[k], y.is_log));
  }
  FILE *f = fopen(argv[6], "w");
  if (!f) return perror(argv[6]), 1;
  double x_step = finish(&x), y_step = finish(&y);
  draw_frame(f, argv[2], argv[3], &x, &y, x_step, y_step);
  for (size_t k = 0; k < n; k++)
    if (is_points)
      draw_points(f, &t, cx, cy[k], &x, &y);
    else
      draw_lines(f, &t, cx, cy[k], k, &x, &y);
  fprintf(f, "</svg>\n");
  if (fclose(f) != 0) return perror(argv[6]), 1;
  return 0;
}
