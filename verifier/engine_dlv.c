/* Engine `dlv`: layer-by-layer search of every box's discretised features; finds counterexamples, proves nothing (its
 * "safe" is about a grid). The command `dlv` tells what was covered. */
#include <math.h>
#include <string.h>

#include "verifier/dlv.h"

ep_status ep_engine_dlv_run(ep_run *run);

ep_status ep_engine_dlv_run(ep_run *run) {
  double t0 = ep_time_s();
  ep_dlv_opt opt = {.n_feature = (uint32_t)run->cfg->features,
                    .count = (uint32_t)run->cfg->manipulations,
                    .n_layer = (uint32_t)run->cfg->layers,
                    .by_gradient = strcmp(run->cfg->feature_by, "gradient") == 0};
  ep_dlv_result r = {0};
  ep_phase ph = {.name = "dlv", .worst_bound = NAN};
  atomic_store(&run->progress.phase, "dlv");
  ep_status st = EP_OK;
  if (run->q->n_box != 1) return EP_FAIL(run->ctx, EP_E_UNSUPPORTED, "dlv searches around one input: one input box");
  st = ep_dlv_run(run, &opt, &r);
  for (uint32_t k = 0; k < r.n_layer; k++) ph.domains += r.layer[k].visited + r.layer[k].empty;
  ph.seconds = ep_time_s() - t0;
  ep_run_phase(run, &ph);
  return st;
}
