#include "verifier/robust.h"

#include <assert.h>
#include <math.h>

#include "verifier/decimal.h"

/* A ball of radius 0 (or cut to one point) may hold no double: where it surely holds a number, the double beside it
 * stands in, as for a pinned literal in VNN-LIB. Where rounding leaves more than two neighbours, nothing does. */
static void pin(const ep_robust *r, size_t i, ep_itv v, double lo, double hi, double *lo_in, double *hi_in) {
  if (*lo_in <= *hi_in || ep_up(lo) != hi || v.lo < r->clip_lo || v.hi > r->clip_hi) return;
  size_t c = i / (r->n / r->n_channel);
  double x = (r->x[i] / r->scale - r->mean[c]) / r->std[c];
  *lo_in = *hi_in = x < hi ? lo : hi;
}

/* (v - mean) / std for every v in the interval, outward; std may be negative. */
static ep_itv normalise(ep_itv v, double mean, double std) {
  return ep_decimal_div(ep_decimal_add(v, ep_itv_point(-mean)), ep_itv_point(std));
}

static ep_status make_box(ep_ctx *ctx, const ep_robust *r, double *lo, double *hi, double *lo_in, double *hi_in) {
  size_t per = r->n / r->n_channel;
  for (size_t i = 0; i < r->n; i++) {
    size_t c = i / per;
    ep_itv v = ep_decimal_div(ep_itv_point(r->x[i]), ep_itv_point(r->scale));
    ep_itv a = ep_decimal_add(v, ep_itv_point(-r->epsilon)), b = ep_decimal_add(v, ep_itv_point(r->epsilon));
    if (v.hi < r->clip_lo || v.lo > r->clip_hi)
      return EP_FAIL(ctx, EP_E_OPTION, "input %zu is %g, outside the valid range", i, v.lo);
    a = (ep_itv){fmax(a.lo, r->clip_lo), fmax(a.hi, r->clip_lo)};
    b = (ep_itv){fmin(b.lo, r->clip_hi), fmin(b.hi, r->clip_hi)};
    a = normalise(a, r->mean[c], r->std[c]);
    b = normalise(b, r->mean[c], r->std[c]);
    bool is_flipped = r->std[c] < 0;
    ep_itv low = is_flipped ? b : a, high = is_flipped ? a : b;
    lo[i] = low.lo;
    lo_in[i] = low.hi;
    hi_in[i] = high.lo;
    hi[i] = high.hi;
    assert(lo[i] <= hi[i]);
    pin(r, i, v, lo[i], hi[i], &lo_in[i], &hi_in[i]);
  }
  return EP_OK;
}

static ep_status make_rows(ep_query_builder *b, const ep_robust *r) {
  for (uint32_t j = 0; j < r->n_y; j++) {
    if (j == r->label || (r->target >= 0 && j != r->target)) continue;
    uint32_t var[2] = {r->label, j};
    double coef[2] = {1, -1};
    EP_TRY(ep_query_builder_polytope(b));
    EP_TRY(ep_query_builder_row(b, 2, var, coef, 0, false));
  }
  return EP_OK;
}

static ep_status check(ep_ctx *ctx, const ep_robust *r) {
  if (!(r->epsilon >= 0) || !isfinite(r->epsilon))
    return EP_FAIL(ctx, EP_E_OPTION, "--epsilon must be given and not negative");
  if (r->n_y < 2) return EP_FAIL(ctx, EP_E_SHAPE, "the network has %u output: robustness needs classes", r->n_y);
  if (r->label >= r->n_y)
    return EP_FAIL(ctx, EP_E_OPTION, "label %u, the network has classes 0 to %u", r->label, r->n_y - 1);
  if (r->target >= (int64_t)r->n_y || r->target == r->label)
    return EP_FAIL(ctx, EP_E_OPTION, "--target %lld is not another class", (long long)r->target);
  if (!r->n_channel || r->n % r->n_channel)
    return EP_FAIL(ctx, EP_E_OPTION, "%zu inputs do not divide into %u channels", r->n, r->n_channel);
  if (!(r->clip_lo <= r->clip_hi)) return EP_FAIL(ctx, EP_E_OPTION, "--clip must not be empty");
  if (!(fabs(r->scale) > 0) || !isfinite(r->scale)) return EP_FAIL(ctx, EP_E_OPTION, "--scale must be finite, not 0");
  for (uint32_t c = 0; c < r->n_channel; c++) {
    if (!isfinite(r->mean[c])) return EP_FAIL(ctx, EP_E_OPTION, "--mean must be finite");
    if (!(fabs(r->std[c]) > 0) || !isfinite(r->std[c]))
      return EP_FAIL(ctx, EP_E_OPTION, "--std must be finite and not 0");
  }
  for (size_t i = 0; i < r->n; i++)
    if (!isfinite(r->x[i])) return EP_FAIL(ctx, EP_E_OPTION, "input %zu is not finite", i);
  return EP_OK;
}

ep_status ep_robust_query(ep_ctx *ctx, const ep_robust *r, const char *name, ep_query **out) {
  *out = NULL;
  EP_TRY(check(ctx, r));
  ep_query_builder *b;
  double *m = ep_calloc(ctx, 4 * r->n + 1, sizeof *m);
  if (!m) return EP_E_NOMEM;
  ep_status st = ep_query_builder_create(ctx, (uint32_t)r->n, r->n_y, &b);
  if (st == EP_OK) st = make_box(ctx, r, m, m + r->n, m + 2 * r->n, m + 3 * r->n);
  if (st == EP_OK) st = ep_query_builder_box4(b, m, m + r->n, m + 2 * r->n, m + 3 * r->n);
  if (st == EP_OK) st = make_rows(b, r);
  if (st == EP_OK) st = ep_query_builder_finish(b, name, out);
  ep_query_builder_destroy(b);
  ep_free(ctx, m);
  return st;
}

ep_status ep_robust_sample_query(ep_ctx *ctx, size_t n, const float *x, uint32_t n_y, uint32_t label, double epsilon,
                                 double clip_lo, double clip_hi, ep_query **out) {
  static const double zero = 0, one = 1;
  double *v = ep_alloc(ctx, (n + 1) * sizeof *v);
  if (!v) return EP_E_NOMEM;
  for (size_t i = 0; i < n; i++) v[i] = (double)x[i];
  ep_robust r = {.n = n,
                 .x = v,
                 .n_y = n_y,
                 .label = label,
                 .target = -1,
                 .epsilon = epsilon,
                 .scale = 1,
                 .clip_lo = clip_lo,
                 .clip_hi = clip_hi,
                 .n_channel = 1,
                 .mean = &zero,
                 .std = &one};
  ep_status st = ep_robust_query(ctx, &r, "sample", out);
  ep_free(ctx, v);
  return st;
}
