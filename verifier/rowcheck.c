#include "verifier/rowcheck.h"

#include "verifier/decimal.h"

ep_itv ep_row_range(const ep_row *row, uint32_t n_y, const double *ylo, const double *yhi, const double *xlo,
                    const double *xhi) {
  ep_itv sum = ep_itv_point(0);
  for (uint32_t k = 0; k < row->n; k++) {
    uint32_t v = row->var[k];
    ep_itv x = v < n_y ? (ep_itv){ylo[v], yhi[v]} : (ep_itv){xlo[v - n_y], xhi[v - n_y]};
    ep_itv c = ep_itv_point(row->coef[k]);
    if (row->coef_rel_err > 0) {
      double e = ep_mul_up(row->coef_rel_err, fabs(row->coef[k]));
      c = (ep_itv){ep_sub_dn(c.lo, e), ep_add_up(c.hi, e)};
    }
    /* Sums and products that are exact stay exact: ties such as y_0 <= y_1 at equality are decided, not blurred. */
    sum = ep_decimal_add(sum, ep_decimal_mul(c, x));
    if (!(sum.lo <= sum.hi)) return ep_itv_whole();
  }
  return sum;
}

bool ep_row_is_refuted(const ep_row *row, ep_itv r) {
  return row->is_strict ? r.lo >= row->rhs.hi : r.lo > row->rhs.hi;
}

bool ep_row_is_satisfied(const ep_row *row, ep_itv r) {
  return row->is_strict ? r.hi < row->rhs.lo : r.hi <= row->rhs.lo;
}
