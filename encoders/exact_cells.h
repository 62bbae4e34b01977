/* All linear pieces of a small ReLU network over a box, in exact rational arithmetic: the box is cut by every neuron
 * that has both signs in what is left, until the network is affine. Exponential in the worst case; meant for networks
 * with a few inputs and neurons, whose exact range it gives. */
#ifndef EP_ENCODERS_EXACT_CELLS_H
#define EP_ENCODERS_EXACT_CELLS_H

#include "encoders/exact_expr.h"
#include "encoders/exact_lp.h"

/* One cell: `region` are its constraints over the inputs (constraints may be added, and have to be taken back), where
 * the outputs are out[n_y x (n_x + 1)]. */
typedef ep_status (*ep_exact_visit)(void *arg, ep_exact_lp *region, mpq_t *out);
/* Visits cells that cover the box lo/hi[n_x]; none is empty, but flat ones may be seen more than once.
 * EP_E_UNSUPPORTED as ep_exact_check says. @sound exact */
ep_status ep_exact_cells(ep_ctx *ctx, const ep_graph *g, mpq_t *lo, mpq_t *hi, ep_exact_visit visit, void *arg);
/* The exact range of every output over the box: out_lo/out_hi[n_y]. @sound exact */
ep_status ep_exact_range(ep_ctx *ctx, const ep_graph *g, mpq_t *lo, mpq_t *hi, mpq_t *out_lo, mpq_t *out_hi);

#endif
