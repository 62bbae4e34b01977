/* Engine `smt`: a short attack, certified bounds, then the exact encoding of what they leave open, decided by Z3. Where
 * inputs can be split, in turn with that: on the parts of the input box, few cases are left to the solver. */
#include "verifier/parts.h"
#include "verifier/smt.h"

ep_status ep_engine_smt_run(ep_run *run);

ep_status ep_engine_smt_run(ep_run *run) { return ep_parts_search(run, "z3", ep_parts_by_exact, ep_smt_sweep); }
