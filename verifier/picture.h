/* Pictures of counterexamples: original, counterexample, amplified signed difference and saliency side by side with
 * captions, and sheets of many of them. PNG, 8 bits RGB. */
#ifndef EP_VERIFIER_PICTURE_H
#define EP_VERIFIER_PICTURE_H

#include "kernels/status.h"

/* RGB pixels; the caller clears it. */
typedef struct ep_picture {
  ep_ctx *ctx;
  uint32_t w, h;
  uint8_t *rgb; /* [h][w][3] */
} ep_picture;

enum { EP_PICTURE_PANELS = 4, EP_PICTURE_LINES = 4, EP_PICTURE_TEXT = 64 };

/* One counterexample: images x, adv[c][h][w] with pixels in [0,1] (c = 1 or 3); saliency[h][w], what each pixel's
 * change did (NULL: no such panel); and what is written under the panels. portrait.h makes one from a network. */
typedef struct ep_picture_case {
  uint32_t c, h, w;
  const float *x, *adv;
  const double *saliency;
  char text[EP_PICTURE_PANELS][EP_PICTURE_LINES][EP_PICTURE_TEXT];
} ep_picture_case;

ep_status ep_picture_create(ep_ctx *ctx, uint32_t w, uint32_t h, ep_picture *out); /* white */
void ep_picture_clear(ep_picture *p);
/* Text in capitals, digits and .,-+=:%>/ at (x, y), 3 x 5 dots of size `dot` each; what does not fit is cut off. */
void ep_picture_text(ep_picture *p, uint32_t x, uint32_t y, uint32_t dot, const char *text);
/* Panels side by side (original, counterexample, their difference over its largest part, saliency over its largest
 * part) with their texts below. Red is up, blue is down; differences of colour images are shown per channel around mid
 * grey. */
ep_status ep_picture_panels(ep_ctx *ctx, const ep_picture_case *c, ep_picture *out);
/* n pictures of one size in columns. */
ep_status ep_picture_sheet(ep_ctx *ctx, size_t n, const ep_picture *p, uint32_t columns, ep_picture *out);
ep_status ep_picture_write(const ep_picture *p, const char *path);

#endif
