#include "encoders/relaxation.h"

#include <string.h>

static const struct {
  const char *name, *help;
  bool is_program;
} convex[] = {
#define EP_CONVEX(ID, text, is_lp, help_text) {text, help_text, is_lp},
#include "encoders/relaxations.def"
#undef EP_CONVEX
};

const char *ep_convex_name(ep_convex c) { return c < EP_N_CONVEX ? convex[c].name : "?"; }
const char *ep_convex_help(ep_convex c) { return c < EP_N_CONVEX ? convex[c].help : "?"; }
bool ep_convex_is_program(ep_convex c) { return c < EP_N_CONVEX && convex[c].is_program; }

bool ep_convex_find(const char *name, ep_convex *out) {
  for (int c = 0; c < EP_N_CONVEX; c++) {
    if (strcmp(convex[c].name, name) != 0) continue;
    *out = (ep_convex)c;
    return true;
  }
  return false;
}
