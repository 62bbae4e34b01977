/* Pictures of what a network does at an input and at a counterexample nearby: what is needed for verifier/picture.h,
 * from the network itself. Estimates all; the verdict is not made here. */
#ifndef EP_VERIFIER_PORTRAIT_H
#define EP_VERIFIER_PORTRAIT_H

#include "models/graph.h"
#include "verifier/picture.h"

/* How the values of an input lie as an image. */
typedef struct ep_portrait_layout {
  uint32_t c, h, w; /* c = 1 or 3 */
  bool is_channel_last;
} ep_portrait_layout;
/* The layout of a network's input of n values: [c,h,w] or [h,w,c] in its shape, else square (of 3 colours where only
 * that fits), else one row. n_colour = 1 or 3 overrules, 0 does not. */
ep_portrait_layout ep_portrait_layout_of(const ep_shape *shape, uint32_t n, uint32_t n_colour);

/* Both inputs as the network takes them. A pixel is value * std + mean of its channel, shown black at `lo` and white at
 * `hi`; one beyond them (by more than rounding) is refused: nothing out of the valid range is drawn as if it were in
 * it. */
typedef struct ep_portrait {
  const ep_graph *g;
  const double *x, *adv; /* [n_input] */
  ep_portrait_layout layout;
  double lo, hi;
  uint32_t n_channel; /* of mean and std, 0 = no mean and std */
  const double *mean, *std;
  int64_t label;  /* the class that x should have; -1 = whichever the network gives it */
  double epsilon; /* radius of the query; < 0 = none */
} ep_portrait;

/* What the change of each input did to a combination of outputs, coef[n_output]: integrated gradients along the
 * straight way from x to adv (Sundararajan et al. 2017). out[n_input] adds up to the change of the combination, up to
 * the error of the midpoint rule in 32 steps. @sound estimate */
ep_status ep_portrait_saliency(const ep_graph *g, const double *x, const double *adv, const float *coef, ep_scratch *s,
                               double *out);
/* EP_E_OPTION where a pixel is out of range. */
ep_status ep_portrait_draw(ep_ctx *ctx, const ep_portrait *p, ep_picture *out);
ep_status ep_portrait_write(ep_ctx *ctx, const ep_portrait *p, const char *path);

#endif
