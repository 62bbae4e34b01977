/* Pictures of counterexamples: original, counterexample and amplified signed difference side by side with a caption,
 * and sheets of many of them. PNG, 8 bits RGB. */
#ifndef EP_VERIFIER_PICTURE_H
#define EP_VERIFIER_PICTURE_H

#include "kernels/status.h"

/* RGB pixels; the caller clears it. */
typedef struct ep_picture {
  ep_ctx *ctx;
  uint32_t w, h;
  uint8_t *rgb; /* [h][w][3] */
} ep_picture;

/* One counterexample: images x, adv[c][h][w] with pixels in [0,1] (c = 1 or 3), the network's classes and softmax
 * confidences there, margin of the label at adv (negative: lost), radius of the query (< 0 = none). */
typedef struct ep_picture_case {
  uint32_t c, h, w;
  const float *x, *adv;
  uint32_t label, predicted, fooled;
  double confidence, fooled_confidence, margin, epsilon;
} ep_picture_case;

ep_status ep_picture_create(ep_ctx *ctx, uint32_t w, uint32_t h, ep_picture *out); /* white */
void ep_picture_clear(ep_picture *p);
/* Text in capitals, digits and .,-+=:%>/ at (x, y), 3 x 5 dots of size `dot` each; what does not fit is cut off. */
void ep_picture_text(ep_picture *p, uint32_t x, uint32_t y, uint32_t dot, const char *text);
/* Three panels and a caption of three lines. Sizes other than images (h*w of a vector) are drawn as one row. */
ep_status ep_picture_triptych(ep_ctx *ctx, const ep_picture_case *c, ep_picture *out);
/* n pictures of one size in columns. */
ep_status ep_picture_sheet(ep_ctx *ctx, size_t n, const ep_picture *p, uint32_t columns, ep_picture *out);
ep_status ep_picture_write(const ep_picture *p, const char *path);

#endif
