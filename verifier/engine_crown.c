/* Engine `crown`: one certified pass per box. */
#include "verifier/root.h"

ep_status ep_engine_crown_run(ep_run *run);

ep_status ep_engine_crown_run(ep_run *run) { return ep_root_sweep(run, EP_ROOT_CROWN, "crown", NULL); }
