/* Branch and bound on the input box, for networks with few free inputs (ACAS Xu class).
 *
 * Every box gets certified float64 bounds of every layer by back-substitution, starting from its parent's bounds; open
 * boxes are clipped by their output rows' linear bounds, their minimising corners are tried as counterexamples, and
 * they are cut along the axis with the largest |coefficient| * width. Boxes are handled in batches (siblings share
 * GEMMs); batches of a round run in parallel and their composition does not depend on the number of threads. */
#ifndef EP_VERIFIER_INPUT_SPLIT_H
#define EP_VERIFIER_INPUT_SPLIT_H

#include "verifier/box_neurons.h"

typedef struct ep_input_split_opt {
  double deadline_s;             /* monotonic time to give up at; 0 = none but the run's own */
  uint64_t max_boxes;            /* 0 = no limit */
  const ep_box_decider *decider; /* of boxes with few unstable neurons; NULL = ep_box_neurons_decider */
  double keep_below; /* at its deadline it goes on when less than this share of the volume is left; 0 = never */
} ep_input_split_opt;

typedef struct ep_input_split_stats {
  uint64_t boxes;      /* boxes bounded */
  uint64_t open;       /* boxes left when it stopped */
  double volume_left;  /* share of the input volume still open, 0..1 (measured over free coordinates) */
  double worst_margin; /* smallest certified margin seen in the last round, NAN = none */
} ep_input_split_stats;

/* Works on all open polytopes; marks those proved, or accepts a witness. Running out of its own budget is EP_OK with
 * stats->open > 0. Appends the phase input-split. */
ep_status ep_input_split_run(ep_run *run, const ep_input_split_opt *opt, ep_input_split_stats *stats);

#endif
