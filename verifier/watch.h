/* The watchdog: one thread that keeps the promise about time. It turns SIGINT and SIGTERM into a request to stop, draws
 * the progress line, and when the run has not ended a moment after its deadline or a signal, it tells what is known and
 * ends the process, so that a verdict is out within 0.2 s whatever an engine is doing. */
#ifndef EP_VERIFIER_WATCH_H
#define EP_VERIFIER_WATCH_H

#include "verifier/report.h"

typedef struct ep_watch ep_watch;

/* Starts watching `session`, which must outlive it. One watch per process at a time. */
ep_status ep_watch_start(ep_session *session, ep_watch **out);
/* Ends the thread, wipes the progress line, restores the signal handlers. NULL is fine. */
void ep_watch_stop(ep_watch *watch);

/* For commands that look after themselves between signals: the first SIGINT or SIGTERM interrupts `ctx`, a second one
 * ends the process. No thread. Not together with ep_watch_start. */
void ep_watch_catch(ep_ctx *ctx);
void ep_watch_release(void);
/* The signal that interrupted last, 0 = none since the watch began. */
int ep_watch_signal(void);

#endif
