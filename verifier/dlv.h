/* Layer-by-layer search of a discretised region around an input: DLV (Huang, Kwiatkowska, Wang, Wu, Safety verification
 * of deep neural networks, CAV 2017).
 *
 * The region varies a few feature dimensions of the input and pins the rest. Layer 0 is searched on the grid that the
 * manipulations (+-span per dimension, `count` times) span. Deeper layers take the pre-activations that the region
 * moves most; the box that certified bounds give them is covered by cells, and every cell is carried back to the input:
 * either no input of the region lands in it (the cell is empty), or one does, and that input is run forward
 * (verifier/dlv_cells.h). A finer layer thus visits inputs that the grid of the layer before missed.
 *
 * "Safe" is claimed only of the grid of layer 0, and only after every point of it was refuted by rigorous evaluation:
 * with a step of one grey level that is every image of the region (no manipulation in between exists). Whatever layers
 * find counts only after replay. */
#ifndef EP_VERIFIER_DLV_H
#define EP_VERIFIER_DLV_H

#include "verifier/engine.h"

enum { EP_DLV_MAX_FEATURES = 12, EP_DLV_MAX_LAYERS = 16 };
/* Most grid points of layer 0, and most cells of a deeper one that are carried back; beyond it the layer is searched in
 * part and not complete. */
#define EP_DLV_MAX_POINTS ((uint64_t)1 << 20)
#define EP_DLV_MAX_CELLS ((uint64_t)1 << 12)

typedef struct ep_dlv_opt {
  uint32_t n_feature; /* of a layer */
  uint32_t count;     /* manipulations to each side */
  uint32_t n_layer;   /* hidden layers searched after the input */
  bool by_gradient;   /* how features of layer 0 are chosen where more dimensions vary */
} ep_dlv_opt;

typedef struct ep_dlv_layer {
  ep_vid value;
  uint32_t n_dim;
  uint32_t dim[EP_DLV_MAX_FEATURES];
  double lo[EP_DLV_MAX_FEATURES], hi[EP_DLV_MAX_FEATURES]; /* range that is covered */
  uint64_t points;                                         /* grid points or cells */
  uint64_t visited;                                        /* whose input was run */
  uint64_t refuted;                                        /* of those, rigorously of the class */
  uint64_t empty;                                          /* cells that no input of the region reaches (exact) */
  bool is_complete;                                        /* every one was visited or empty */
} ep_dlv_layer;

typedef struct ep_dlv_result {
  bool is_safe; /* layer 0 complete, every point refuted */
  bool is_sat;  /* a counterexample was accepted (run->result.witness) */
  uint32_t n_layer;
  ep_dlv_layer layer[EP_DLV_MAX_LAYERS];
} ep_dlv_result;

/* Features: the n dimensions with the largest score among those where `may_vary`; returns how many. */
uint32_t ep_dlv_features(uint32_t n_x, const double *score, const bool *may_vary, uint32_t n, uint32_t *dim);
/* Scores: |x_i - mean(x)| ("activation"), or |d margin / d x_i| * (hi_i - lo_i) for the nearest polytope of box 0
 * ("derivative"). score[n_x] @sound estimate */
void ep_dlv_score_value(uint32_t n_x, const double *x, double *score);
ep_status ep_dlv_score_gradient(const ep_graph *g, const ep_query *q, const double *x, ep_scratch *s, double *score);
/* For the search's own files: runs x and counts it in `l`; base to the n (cut off beyond the limits above). */
ep_status ep_dlv_visit(ep_run *run, const double *x, ep_scratch *s, ep_dlv_layer *l, bool *is_sat);
uint64_t ep_dlv_power(uint64_t base, uint32_t n);
/* Searches box 0 of run's query: its non-degenerate dimensions (at most n_feature) are the features, `count` steps to
 * each side of the middle reach its ends. Without back ends, cells of deeper layers are only visited, never shown
 * empty.
 */
ep_status ep_dlv_run(ep_run *run, const ep_dlv_opt *opt, ep_dlv_result *out);

#endif
