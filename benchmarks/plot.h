/* Line plots as SVG files, for the reproductions in this folder. */
#ifndef EP_BENCHMARKS_PLOT_H
#define EP_BENCHMARKS_PLOT_H

#include <stdbool.h>
#include <stdio.h>

enum { PLOT_MAX_POINTS = 64 };

typedef struct plot_series {
  const char *name;
  size_t n;
  double x[PLOT_MAX_POINTS], y[PLOT_MAX_POINTS];
} plot_series;

typedef struct plot_axes {
  const char *title, *x_name;
  bool is_log_x, is_log_y; /* logarithmic: all values positive */
} plot_axes;

/* Returns 0, or -1 when the file cannot be written. */
int plot_write(const char *path, const plot_axes *axes, size_t n, const plot_series *s);
/* Opens FOLDER/NAME and writes the line `head`; ends the program with a message when that fails. */
FILE *plot_table(const char *folder, const char *name, const char *head);
static inline void plot_add(plot_series *s, double x, double y) {
  if (s->n == PLOT_MAX_POINTS) return;
  s->x[s->n] = x;
  s->y[s->n++] = y;
}

#endif
