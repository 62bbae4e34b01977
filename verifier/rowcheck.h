/* Rows against boxes of outputs and inputs, in outward interval arithmetic. Part of the trusted base. */
#ifndef EP_VERIFIER_ROWCHECK_H
#define EP_VERIFIER_ROWCHECK_H

#include "verifier/query.h"

/* Range of coef . (y, x) over the boxes [ylo,yhi] and [xlo,xhi]. @sound outward */
ep_itv ep_row_range(const ep_row *row, uint32_t n_y, const double *ylo, const double *yhi, const double *xlo,
                    const double *xhi);
/* The row cannot hold anywhere in the range. @sound exact */
bool ep_row_is_refuted(const ep_row *row, ep_itv range);
/* The row holds everywhere in the range. @sound exact */
bool ep_row_is_satisfied(const ep_row *row, ep_itv range);

#endif
