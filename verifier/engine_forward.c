/* Engine `forward`: one certified pass of forward linear bounds per box. */
#include "verifier/root.h"

ep_status ep_engine_forward_run(ep_run *run);

ep_status ep_engine_forward_run(ep_run *run) { return ep_root_sweep(run, EP_ROOT_FORWARD, "forward", NULL); }
