#include "encoders/backend.h"

#include <string.h>

#define EP_BACKEND(ID, id, package, help) extern const ep_backend ep_backend_##id;
#include "encoders/backends.def"
#undef EP_BACKEND

/* A build without a solver has no such object: its line must not refer to it. */
#if EP_WITH_Z3
#define PRESENT_Z3(x) (x)
#else
#define PRESENT_Z3(x) NULL
#endif
#if EP_WITH_GLPK
#define PRESENT_GLPK(x) (x)
#else
#define PRESENT_GLPK(x) NULL
#endif

#if EP_WITH_PICOSAT
#define PRESENT_PICOSAT(x) (x)
#else
#define PRESENT_PICOSAT(x) NULL
#endif

const ep_backend *const ep_backends[] = {
#define EP_BACKEND(ID, id, package, help) PRESENT_##ID(&ep_backend_##id),
#include "encoders/backends.def"
#undef EP_BACKEND
};
const size_t ep_n_backends = sizeof ep_backends / sizeof *ep_backends;

static const struct {
  const char *name, *option, *package;
} known[] = {
#define EP_BACKEND(ID, id, package, help) {#id, #ID, package},
#include "encoders/backends.def"
#undef EP_BACKEND
};

ep_status ep_backend_find(ep_ctx *ctx, const char *name, const ep_backend **out) {
  *out = NULL;
  for (size_t i = 0; i < ep_n_backends; i++) {
    if (strcmp(known[i].name, name) != 0) continue;
    *out = ep_backends[i];
    if (*out) return EP_OK;
    return EP_FAIL(ctx, EP_E_UNSUPPORTED, "this build has no %s (install %s, configure with -DEP_WITH_%s=ON)", name,
                   known[i].package, known[i].option);
  }
  return EP_FAIL(ctx, EP_E_INTERNAL, "no back end called '%s'", name);
}
