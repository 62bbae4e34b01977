/* Log lines for people, sent to a sink that the program installs (libraries never print). */
#ifndef EP_KERNELS_LOG_H
#define EP_KERNELS_LOG_H

#include "kernels/status.h"

typedef void (*ep_log_fn)(void *user, int level, const char *line);
/* level: 0 quiet, 1 normal, 2 -v, 3 -vv. The sink may be called from several threads, one call at a time. */
void ep_ctx_set_log(ep_ctx *ctx, int level, ep_log_fn sink, void *user);
int ep_ctx_log_level(const ep_ctx *ctx);
void ep_log(ep_ctx *ctx, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
