/* The hybrid of both ways to split: a box of the input split in which few neurons are unstable is decided by their
 * phases. Slopes are optimised there and neurons split, for a few domains at most. */
#ifndef EP_VERIFIER_BOX_NEURONS_H
#define EP_VERIFIER_BOX_NEURONS_H

#include "verifier/root.h"

/* Which boxes are worth a try: those with at most max_unstable unstable neurons. The limit follows what tries cost and
 * what they save: one box in PROBE_EVERY that qualifies is split instead, and the boxes that takes are counted. All in
 * numbers of domains and boxes, so that a search does not depend on clocks or threads. */
typedef struct ep_box_neurons {
  uint32_t max_unstable, most_unstable; /* the latter: the limit's own limit */
  uint64_t n_seen;                      /* boxes */
  uint64_t n_try, n_closed, domains;    /* of tries since the last change */
  uint64_t n_probe, boxes;              /* probes that ended, and the boxes they took */
  struct ep_box_probe {
    uint64_t boxes, open; /* bounded so far; still open, 0 = place free */
  } probe[64];
} ep_box_neurons;
enum { EP_NO_PROBE = 0 }; /* probe numbers start at 1 */

ep_box_neurons ep_box_neurons_default(uint32_t most_unstable);
/* Is the next box one that should become a probe if it qualifies? */
bool ep_box_neurons_is_probe(ep_box_neurons *a);
/* A box that becomes a probe is split in two: the probe's number, EP_NO_PROBE when too many are under way. */
uint32_t ep_box_neurons_start(ep_box_neurons *a);
/* A box of a probe was bounded; it is closed, or split in two. */
void ep_box_neurons_count(ep_box_neurons *a, uint32_t probe, bool is_closed);
/* Takes tries into account and moves the limit. */
void ep_box_neurons_adapt(ep_box_neurons *a, uint64_t n_try, uint64_t n_closed, uint64_t domains);

/* What came of a try. */
typedef struct ep_box_try {
  bool is_closed;     /* every case was closed by a certified bound */
  bool has_candidate; /* corner[n_x] (the caller's) looks like a counterexample */
  double *corner;
  uint64_t domains; /* bounded; added to */
  /* Where the cases are recorded, NULL = nowhere; and what became of them when is_closed: a closed block, the caller's.
   */
  ep_proof *proof;
  ep_proof_block *block;
} ep_box_try;
/* A way to decide polytope `poly` over a part of query box `box` whose certified bounds and lines are given (batch 1).
 * Nothing is marked in the run. Called by several threads at once; memory from `s` and given back. */
typedef ep_status ep_box_decide(void *arg, ep_run *run, uint32_t box, const ep_plan *plan, const ep_spec *spec,
                                const ep_trace_itv *bounds, const ep_relax_f64 *relax, uint32_t poly, ep_box_try *out,
                                ep_scratch *s);
typedef struct ep_box_decider {
  ep_box_decide *decide;
  void *arg;
  uint32_t
      most_unstable; /* neurons that a box may have; the limit in force only falls below it where tries do not pay */
  bool needs_relu;   /* ReLU networks only, and at least one unstable neuron */
} ep_box_decider;

/* By phases of neurons: branch and bound, a few domains at most. */
extern const ep_box_decider ep_box_neurons_decider;
/* Are there no more than max_unstable unstable neurons over `bounds`, and does the decider take such a network? */
bool ep_box_neurons_applies(const ep_box_decider *decider, const ep_plan *plan, const ep_trace_itv *bounds,
                            uint32_t max_unstable);
ep_box_decide ep_box_neurons_try;
#endif
