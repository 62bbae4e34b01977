/* The progress line on stderr: phase, domains, domains per second, open ones, worst bound, time left. */
#ifndef EP_VERIFIER_PROGRESS_H
#define EP_VERIFIER_PROGRESS_H

#include "verifier/report.h"

typedef struct ep_progress_line ep_progress_line;

/* NULL when memory runs out: the run goes on without a line. */
ep_progress_line *ep_progress_create(ep_ctx *ctx);
/* Draws the line anew from the run's live numbers, which it only reads. */
void ep_progress_draw(ep_progress_line *line, const ep_session *s);
/* Wipes the line and frees it. NULL is fine. */
void ep_progress_destroy(ep_progress_line *line);
/* Makes the text of one line. `rate` is domains per second, left_s < 0 = no time limit. */
void ep_progress_text(char *buf, size_t n, const char *phase, uint64_t domains, double rate, uint64_t open,
                      double worst_bound, double left_s);

#endif
