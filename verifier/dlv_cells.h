/* Hidden layers of the layer-by-layer search (verifier/dlv.h): the range of a few neurons is covered by cells, and each
 * is carried back to the input. */
#ifndef EP_VERIFIER_DLV_CELLS_H
#define EP_VERIFIER_DLV_CELLS_H

#include "verifier/dlv.h"
#include "verifier/root.h"

/* Searches pre-activation v over root's box, which must be bounded. First random inputs of the region, which mark the
 * cells that they land in; of those that none lands in, certified linear programs prove most empty; an exact solver
 * decides the rest, each within a moment, until `until_s` (monotonic, 0 = never). What stays open is neither visited
 * nor empty. Back ends that are missing are done without. x[n_x] is work space. */
ep_status ep_dlv_cells(ep_root *root, const ep_dlv_opt *opt, ep_vid v, double until_s, ep_dlv_layer *out, double *x,
                       bool *is_sat);

#endif
