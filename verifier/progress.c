#include "verifier/progress.h"

#include <math.h>
#include <stdio.h>

struct ep_progress_line {
  ep_ctx *ctx;
  double last_s;
  uint64_t last_domains;
  const char *last_phase;
  double rate; /* smoothed domains per second */
  bool is_drawn;
};

ep_progress_line *ep_progress_create(ep_ctx *ctx) {
  ep_progress_line *line = ep_calloc(ctx, 1, sizeof *line);
  if (!line) return NULL;
  line->ctx = ctx;
  line->last_s = ep_time_s();
  return line;
}

void ep_progress_text(char *buf, size_t n, const char *phase, uint64_t domains, double rate, uint64_t open,
                      double worst_bound, double left_s) {
  char bound[32] = "", left[32] = "";
  if (isfinite(worst_bound)) snprintf(bound, sizeof bound, ", worst bound %.4g", worst_bound);
  if (left_s >= 0) snprintf(left, sizeof left, ", %.0f s left", left_s);
  snprintf(buf, n, "%s: %llu domains, %.0f/s, %llu open%s%s", phase, (unsigned long long)domains, rate,
           (unsigned long long)open, bound, left);
}

void ep_progress_draw(ep_progress_line *line, const ep_session *s) {
  ep_run *run = atomic_load(&s->run);
  if (!run) return;
  double now_s = ep_time_s();
  const char *phase = atomic_load(&run->progress.phase);
  uint64_t domains = atomic_load(&run->progress.domains);
  if (phase != line->last_phase || domains < line->last_domains) { /* a new phase counts from its own start */
    line->last_phase = phase;
    line->rate = 0;
  } else if (now_s > line->last_s) {
    double rate = (double)(domains - line->last_domains) / (now_s - line->last_s);
    line->rate = line->rate > 0 ? 0.7 * line->rate + 0.3 * rate : rate;
  }
  line->last_domains = domains;
  line->last_s = now_s;
  char text[256];
  double left_s = s->cfg->timeout > 0 ? fmax(0, s->start_s + s->cfg->timeout - now_s) : -1;
  ep_progress_text(text, sizeof text, phase, domains, line->rate, atomic_load(&run->progress.open),
                   atomic_load(&run->progress.worst_bound), left_s);
  fprintf(stderr, "\r\x1b[K%.78s", text);
  fflush(stderr);
  line->is_drawn = true;
}

void ep_progress_destroy(ep_progress_line *line) {
  if (!line) return;
  if (line->is_drawn) {
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
  }
  ep_free(line->ctx, line);
}
