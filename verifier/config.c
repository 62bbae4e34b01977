#include "verifier/config.h"

void ep_config_default(ep_config *cfg) {
  *cfg = (ep_config){
#define EP_OPT(id, flag, type, dflt, min, max, value, help) .id = dflt,
#include "verifier/options.def"
#undef EP_OPT
  };
}
