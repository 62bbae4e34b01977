/* Engine `input-split`: branch and bound on the input box until everything is decided or the run is stopped. */

#include "verifier/input_split.h"

ep_status ep_engine_input_split_run(ep_run *run);

ep_status ep_engine_input_split_run(ep_run *run) {
  ep_input_split_opt opt = {0};
  ep_input_split_stats stats;
  return ep_input_split_run(run, &opt, &stats);
}
