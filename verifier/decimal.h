/* Decimal literals as enclosing doubles, and interval sums and products that stay exact when the result is. */
#ifndef EP_VERIFIER_DECIMAL_H
#define EP_VERIFIER_DECIMAL_H

#include "kernels/itv.h"

/* The tightest interval of doubles around the decimal number `text` ([+-]digits[.digits][e[+-]digits], fully consumed);
 * lo == hi when it is a double. False when it is not such a literal or overflows. @sound exact */
bool ep_decimal_parse(const char *text, ep_itv *out);
/* Sign of a - b for two texts that ep_decimal_parse accepts. @sound exact */
int ep_decimal_compare(const char *a, const char *b);
/* Outward, but a point where the exact result is a double. @sound outward */
ep_itv ep_decimal_add(ep_itv a, ep_itv b);
ep_itv ep_decimal_mul(ep_itv a, ep_itv b);
ep_itv ep_decimal_div(ep_itv a, ep_itv b);

#endif
