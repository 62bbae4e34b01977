/* Engine `milp`: branch and bound over linear programs. */
#include "verifier/milp.h"

ep_status ep_engine_milp_run(ep_run *run);

ep_status ep_engine_milp_run(ep_run *run) { return ep_milp_sweep(run, "milp", true); }
