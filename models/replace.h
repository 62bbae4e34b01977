/* Files that are replaced as a whole: written under another name, synced, renamed, so that the old file is there until
 * the new one is. */
#ifndef EP_MODELS_REPLACE_H
#define EP_MODELS_REPLACE_H

#include "kernels/status.h"

enum { EP_REPLACE_MAX_PATH = 4096 };

/* The name to write to. EP_E_IO when `path` is neither a plain file nor free: a device or a link would be lost. */
ep_status ep_replace_begin(ep_ctx *ctx, const char *path, char temp[EP_REPLACE_MAX_PATH]);
/* Can `path` be replaced at all? For long work to fail before it begins. */
ep_status ep_replace_try(ep_ctx *ctx, const char *path);
/* Puts the finished file `temp` into place. Failing, it leaves `path` alone and removes `temp`. */
ep_status ep_replace_end(ep_ctx *ctx, const char *path, const char *temp);

#endif
