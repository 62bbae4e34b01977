#include "benchmarks/plot.h"

#include <math.h>
#include <stdlib.h>

/* Position of a value along an axis. */
static double at(bool is_log, double v) { return is_log ? log10(v) : v; }

static double label(bool is_log, double v) { return is_log ? pow(10, v) : v; }

static void range(const plot_axes *axes, size_t n, const plot_series *s, double *lo, double *hi) {
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < s[k].n; i++) {
      double v[2] = {at(axes->is_log_x, s[k].x[i]), at(axes->is_log_y, s[k].y[i])};
      for (int q = 0; q < 2; q++) {
        lo[q] = fmin(lo[q], v[q]);
        hi[q] = fmax(hi[q], v[q]);
      }
    }
}

int plot_write(const char *path, const plot_axes *axes, size_t n, const plot_series *s) {
  static const char *const colour[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"};
  enum { N_COLOUR = sizeof colour / sizeof *colour };
  double lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
  FILE *f = fopen(path, "wb");
  if (!f) return -1;
  range(axes, n, s, lo, hi);
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"560\" height=\"380\" font-family=\"sans-serif\" "
          "font-size=\"12\">\n"
          "<rect width=\"560\" height=\"380\" fill=\"white\"/><text x=\"70\" y=\"20\">%s</text>\n"
          "<path d=\"M70 30V330H540\" fill=\"none\" stroke=\"black\"/>\n"
          "<text x=\"70\" y=\"350\">%s: %g</text><text x=\"500\" y=\"350\">%g</text>\n"
          "<text x=\"5\" y=\"330\">%.2g</text><text x=\"5\" y=\"40\">%.2g</text>\n",
          axes->title, axes->x_name, label(axes->is_log_x, lo[0]), label(axes->is_log_x, hi[0]),
          label(axes->is_log_y, lo[1]), label(axes->is_log_y, hi[1]));
  for (size_t k = 0; k < n; k++) {
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" points=\"", colour[k % N_COLOUR]);
    for (size_t i = 0; i < s[k].n; i++)
      fprintf(f, "%.1f,%.1f ", 70 + 460 * (at(axes->is_log_x, s[k].x[i]) - lo[0]) / (hi[0] - lo[0] + 1e-12),
              330 - 290 * (at(axes->is_log_y, s[k].y[i]) - lo[1]) / (hi[1] - lo[1] + 1e-12));
    fprintf(f, "\"/><text x=\"330\" y=\"%zu\" fill=\"%s\">%s</text>\n", 40 + 16 * k, colour[k % N_COLOUR], s[k].name);
  }
  fprintf(f, "</svg>\n");
  return fclose(f);
}

FILE *plot_table(const char *folder, const char *name, const char *head) {
  char path[4096];
  snprintf(path, sizeof path, "%.4000s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  if (!f) {
    perror(path);
    exit(1);
  }
  fprintf(f, "%s\n", head);
  return f;
}
