#include "models/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ep_status ep_replace_begin(ep_ctx *ctx, const char *path, char temp[EP_REPLACE_MAX_PATH]) {
  struct stat st;
  if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) return EP_FAIL(ctx, EP_E_IO, "%s: not a plain file", path);
  if (strlen(path) + sizeof ".new" > EP_REPLACE_MAX_PATH)
    return EP_FAIL(ctx, EP_E_IO, "%.200s...: %s", path, strerror(ENAMETOOLONG));
  snprintf(temp, EP_REPLACE_MAX_PATH, "%s.new", path);
  return EP_OK;
}

ep_status ep_replace_try(ep_ctx *ctx, const char *path) {
  char temp[EP_REPLACE_MAX_PATH];
  EP_TRY(ep_replace_begin(ctx, path, temp));
  FILE *f = fopen(temp, "wb");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "%s: cannot be written: %s", path, strerror(errno));
  fclose(f);
  unlink(temp);
  return EP_OK;
}

static bool sync_path(const char *path, int flags) {
  int fd = open(path, O_RDONLY | flags);
  bool is_ok = fd >= 0 && fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return is_ok;
}

ep_status ep_replace_end(ep_ctx *ctx, const char *path, const char *temp) {
  char folder[EP_REPLACE_MAX_PATH];
  const char *slash = strrchr(path, '/');
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
  if (sync_path(temp, 0) && rename(temp, path) == 0 && sync_path(folder, O_DIRECTORY)) return EP_OK;
  int error = errno;
  unlink(temp);
  return EP_FAIL(ctx, EP_E_IO, "%s: cannot be saved: %s", path, strerror(error));
}
