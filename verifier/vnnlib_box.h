/* Input boxes of a VNN-LIB query while assertions narrow them: outward and inward doubles, and for each bound the
 * assertion that gives it, so that questions which doubles cannot answer (is X < 0.1 and X >= 0.1 empty?) are put to
 * the decimal literals themselves. */
#ifndef EP_VERIFIER_VNNLIB_BOX_H
#define EP_VERIFIER_VNNLIB_BOX_H

#include "kernels/arena.h"
#include "kernels/itv.h"

/* sum coef*var + c <= 0, or < 0. Variables: even = X_(v/2), odd = Y_(v/2). */
typedef struct ep_vnn_atom {
  uint32_t n;
  const uint32_t *var;
  const ep_itv *coef;
  ep_itv c;
  const char *literal; /* of a plain "X_i against number" whose number is no double: its decimal text; else NULL */
  bool is_strict;
} ep_vnn_atom;

typedef struct ep_vnn_box {
  uint32_t n_x;
  double *lo, *hi, *lo_in, *hi_in;        /* [n_x] each, one block that starts at lo */
  const ep_vnn_atom **lo_from, **hi_from; /* [n_x] each, one block: whose bound holds; NULL when unbounded */
} ep_vnn_box;

/* Does the atom bound a single input? (A coefficient that may be zero does not.) */
bool ep_vnn_bounds_input(const ep_vnn_atom *a);
/* The whole space; memory from `arena`. */
ep_status ep_vnn_box_init(ep_arena *arena, uint32_t n_x, ep_vnn_box *b);
void ep_vnn_box_copy(const ep_vnn_box *from, ep_vnn_box *to);
/* Intersects with a bound on one input; `a` must outlive the box. lo, hi: @sound outward; lo_in, hi_in: inward */
void ep_vnn_box_narrow(ep_vnn_box *b, const ep_vnn_atom *a);
/* Settles the coordinates whose exact interval holds no double: contradictory ones become lo > hi, those that hold some
 * number get the nearest double as lo_in = hi_in, and where neither is certain lo_in > hi_in stays. */
void ep_vnn_box_settle(ep_vnn_box *b);
uint64_t ep_vnn_box_hash(const ep_vnn_box *b);
bool ep_vnn_box_is_equal(const ep_vnn_box *a, const ep_vnn_box *b);

#endif
