#include "verifier/portrait.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/eval.h"

static uint32_t square_root(uint32_t n) {
  uint32_t side = (uint32_t)lround(sqrt((double)n));
  return side * side == n ? side : 0;
}

/* A vector: square if it can be, also of three colours, else one row. */
static ep_portrait_layout of_vector(uint32_t n) {
  uint32_t side = square_root(n), side3 = n % 3 == 0 ? square_root(n / 3) : 0;
  return side    ? (ep_portrait_layout){1, side, side, false}
         : side3 ? (ep_portrait_layout){3, side3, side3, false}
                 : (ep_portrait_layout){1, 1, n, false};
}

static bool is_colours(int64_t n) { return n == 1 || n == 3; }

ep_portrait_layout ep_portrait_layout_of(const ep_shape *shape, uint32_t n, uint32_t n_colour) {
  ep_portrait_layout l = of_vector(n);
  uint32_t first = shape->rank > 3 ? shape->rank - 3 : 0;
  bool is_one = true; /* batch dimensions */
  for (uint32_t i = 0; i < first; i++) is_one &= shape->dim[i] == 1;
  const int64_t *d = shape->dim + first;
  if (is_one && shape->rank - first == 3) {
    bool is_last = !is_colours(d[0]) && is_colours(d[2]);
    int64_t h = is_last ? d[0] : d[1], w = is_last ? d[1] : d[2];
    if (h > 1 && w > 1 && (is_last || is_colours(d[0])))
      l = (ep_portrait_layout){(uint32_t)(is_last ? d[2] : d[0]), (uint32_t)h, (uint32_t)w, is_last};
  } else if (shape->rank == 2 && d[0] > 1 && d[1] > 1) {
    l = (ep_portrait_layout){1, (uint32_t)d[0], (uint32_t)d[1], false};
  }
  if (n_colour && l.c != n_colour && n % n_colour == 0) {
    uint32_t side = square_root(n / n_colour);
    l = (ep_portrait_layout){n_colour, side ? side : 1, side ? side : n / n_colour, false};
  }
  assert((uint64_t)l.c * l.h * l.w == n);
  return l;
}

ep_status ep_portrait_saliency(const ep_graph *g, const double *x, const double *adv, const float *coef, ep_scratch *s,
                               double *out) {
  enum { STEPS = 32 };
  uint32_t n = g->val[g->input].n, n_y = g->val[g->output].n;
  ep_scratch_mark m = ep_scratch_save(s);
  ep_trace_f32 t;
  float *z = EP_SCRATCH(s, float, (size_t)STEPS *n), *gx = EP_SCRATCH(s, float, (size_t)STEPS *n);
  float *gy = EP_SCRATCH(s, float, (size_t)STEPS *n_y);
  ep_status st = z && gx && gy ? EP_OK : EP_E_NOMEM;
  for (uint32_t k = 0; k < STEPS && st == EP_OK; k++) {
    for (uint32_t i = 0; i < n; i++) z[(size_t)k * n + i] = (float)(x[i] + (k + 0.5) / STEPS * (adv[i] - x[i]));
    memcpy(gy + (size_t)k * n_y, coef, n_y * sizeof *gy);
  }
  if (st == EP_OK) st = ep_eval_f32(g, STEPS, z, s, &t);
  if (st == EP_OK) st = ep_grad_f32(g, &t, gy, gx, s);
  for (uint32_t i = 0; i < n && st == EP_OK; i++) {
    double sum = 0;
    for (uint32_t k = 0; k < STEPS; k++) sum += (double)gx[(size_t)k * n + i];
    out[i] = sum / STEPS * (adv[i] - x[i]);
  }
  ep_scratch_restore(s, m);
  return st;
}

/* ---- drawing ---- */

typedef struct canvas {
  const ep_portrait *p;
  uint32_t n, n_y;
  float *image;                /* [2][c][h][w] */
  double *saliency, *by_pixel; /* [n] of inputs, [h][w] of pixels */
  float *y[2];                 /* outputs at x and adv */
} canvas;

/* Where input `i` lies in [c][h][w]. */
static size_t place(const ep_portrait_layout *l, size_t i) {
  size_t plane = (size_t)l->h * l->w;
  return l->is_channel_last ? i % l->c * plane + i / l->c : i;
}

static ep_status pixels(ep_ctx *ctx, canvas *c) {
  const ep_portrait *p = c->p;
  const double slack = 1e-6 * (p->hi - p->lo);
  for (uint32_t i = 0; i < c->n; i++) {
    size_t channel = p->n_channel ? i / (c->n / p->n_channel) : 0;
    for (int k = 0; k < 2; k++) {
      double v = k ? p->adv[i] : p->x[i];
      if (p->n_channel) v = v * p->std[channel] + p->mean[channel];
      if (!(v >= p->lo - slack && v <= p->hi + slack))
        return EP_FAIL(ctx, EP_E_OPTION, "pixel %u is %g, pictures need [%g,%g] (--scale, --clip)", i, v, p->lo, p->hi);
      double shade = p->hi > p->lo ? (v - p->lo) / (p->hi - p->lo) : 0;
      c->image[(size_t)k * c->n + place(&c->p->layout, i)] = (float)fmin(fmax(shade, 0), 1);
    }
  }
  return EP_OK;
}

static ep_status outputs(canvas *c, ep_scratch *s) {
  for (int k = 0; k < 2; k++) {
    ep_scratch_mark m = ep_scratch_save(s);
    ep_trace_f32 t;
    float *x = EP_SCRATCH(s, float, c->n);
    if (!x) return EP_E_NOMEM;
    for (uint32_t i = 0; i < c->n; i++) x[i] = (float)(k ? c->p->adv[i] : c->p->x[i]);
    EP_TRY(ep_eval_f32(c->p->g, 1, x, s, &t));
    memcpy(c->y[k], t.v[c->p->g->output], c->n_y * sizeof *x);
    ep_scratch_restore(s, m);
  }
  return EP_OK;
}

static uint32_t winner(const float *y, uint32_t n, uint32_t except) {
  uint32_t best = except == 0 ? 1 : 0;
  for (uint32_t j = 0; j < n; j++)
    if (j != except && y[j] > y[best]) best = j;
  return best;
}

/* Softmax of the scores. */
static double confidence(const float *y, uint32_t n, uint32_t class) {
  double sum = 0;
  for (uint32_t k = 0; k < n; k++) sum += exp((double)y[k] - (double)y[class]);
  return 1 / sum;
}

static ep_status explain(canvas *c, const float *coef, double change, ep_picture_case *out, ep_scratch *s) {
  double most = 0, sum = 0;
  EP_TRY(ep_portrait_saliency(c->p->g, c->p->x, c->p->adv, coef, s, c->saliency));
  memset(c->by_pixel, 0, (size_t)c->p->layout.h * c->p->layout.w * sizeof *c->by_pixel);
  for (uint32_t i = 0; i < c->n; i++)
    c->by_pixel[place(&c->p->layout, i) % ((size_t)c->p->layout.h * c->p->layout.w)] += c->saliency[i];
  size_t top = 0;
  for (size_t i = 0; i < (size_t)c->p->layout.h * c->p->layout.w; i++) {
    sum += fabs(c->by_pixel[i]);
    if (fabs(c->by_pixel[i]) > most) {
      most = fabs(c->by_pixel[i]);
      top = i;
    }
  }
  out->saliency = c->by_pixel;
  snprintf(out->text[3][0], EP_PICTURE_TEXT, "what the change did");
  snprintf(out->text[3][1], EP_PICTURE_TEXT, "%s by %.3g", c->n_y > 1 ? "margin fell" : "output rose", change);
  snprintf(out->text[3][2], EP_PICTURE_TEXT, "most: %zu,%zu with %.1f %%", top / c->p->layout.w, top % c->p->layout.w,
           sum > 0 ? 100 * most / sum : 0);
  return EP_OK;
}

/* Captions and saliency of a classifier: the margin is that of the label over the class that wins at the
 * counterexample. */
static ep_status tell_classes(canvas *c, ep_picture_case *out, ep_scratch *s) {
  const float *y = c->y[0], *z = c->y[1];
  uint32_t n = c->n_y, first = winner(y, n, UINT32_MAX);
  uint32_t label = c->p->label >= 0 ? (uint32_t)c->p->label : first, rival = winner(z, n, label);
  float *coef = EP_SCRATCH(s, float, n);
  if (!coef) return EP_E_NOMEM;
  memset(coef, 0, n * sizeof *coef);
  coef[rival] = 1;
  coef[label] = -1;
  double before = (double)y[label] - (double)y[rival], after = (double)z[label] - (double)z[rival];
  if (c->p->label >= 0)
    snprintf(out->text[0][1], EP_PICTURE_TEXT, "class %u, label %u", first, label);
  else
    snprintf(out->text[0][1], EP_PICTURE_TEXT, "class %u, margin %.3g", first, before);
  snprintf(out->text[0][2], EP_PICTURE_TEXT, "confidence %.3f", confidence(y, n, first));
  uint32_t second = after <= 0 ? rival : winner(z, n, UINT32_MAX); /* what violates need not be another class */
  snprintf(out->text[1][1], EP_PICTURE_TEXT, "class %u, margin %.3g", second, after);
  snprintf(out->text[1][2], EP_PICTURE_TEXT, "confidence %.3f", confidence(z, n, second));
  return explain(c, coef, before - after, out, s);
}

static ep_status tell_output(canvas *c, ep_picture_case *out, ep_scratch *s) {
  static const float one = 1;
  for (int k = 0; k < 2; k++) snprintf(out->text[k][1], EP_PICTURE_TEXT, "output %.5g", (double)c->y[k][0]);
  return explain(c, &one, (double)c->y[1][0] - (double)c->y[0][0], out, s);
}

static void tell_difference(const canvas *c, ep_picture_case *out) {
  const ep_portrait *p = c->p;
  double largest = 0;
  for (uint32_t i = 0; i < c->n; i++)
    largest = fmax(largest, fabs((double)c->image[c->n + i] - (double)c->image[i]) * (p->hi - p->lo));
  snprintf(out->text[0][0], EP_PICTURE_TEXT, "original");
  snprintf(out->text[1][0], EP_PICTURE_TEXT, "counterexample");
  snprintf(out->text[2][0], EP_PICTURE_TEXT, "difference x %.3g", largest > 0 ? (p->hi - p->lo) / largest : 0);
  snprintf(out->text[2][1], EP_PICTURE_TEXT, "largest %.4g", largest);
  if (p->epsilon >= 0) snprintf(out->text[2][2], EP_PICTURE_TEXT, "epsilon %.4g", p->epsilon);
  if (p->lo != 0 || p->hi != 1) snprintf(out->text[2][3], EP_PICTURE_TEXT, "shown from %.4g to %.4g", p->lo, p->hi);
}

static ep_status draw(ep_ctx *ctx, canvas *c, ep_scratch *s, ep_picture *out) {
  ep_picture_case pc = {.c = c->p->layout.c, .h = c->p->layout.h, .w = c->p->layout.w};
  pc.x = c->image = EP_SCRATCH(s, float, 2 * (size_t)c->n);
  c->saliency = EP_SCRATCH(s, double, c->n);
  c->by_pixel = EP_SCRATCH(s, double, c->n);
  for (int k = 0; k < 2; k++) c->y[k] = EP_SCRATCH(s, float, c->n_y);
  if (!c->image || !c->saliency || !c->by_pixel || !c->y[0] || !c->y[1]) return EP_E_NOMEM;
  pc.adv = c->image + c->n;
  EP_TRY(pixels(ctx, c));
  EP_TRY(outputs(c, s));
  tell_difference(c, &pc);
  EP_TRY(c->n_y > 1 ? tell_classes(c, &pc, s) : tell_output(c, &pc, s));
  return ep_picture_panels(ctx, &pc, out);
}

ep_status ep_portrait_draw(ep_ctx *ctx, const ep_portrait *p, ep_picture *out) {
  uint32_t n = p->g->val[p->g->input].n;
  ep_scratch s;
  *out = (ep_picture){0};
  ep_scratch_init(&s, ctx);
  canvas c = {.p = p, .n = n, .n_y = p->g->val[p->g->output].n};
  assert((uint64_t)p->layout.c * p->layout.h * p->layout.w == n);
  ep_status st = draw(ctx, &c, &s, out);
  ep_scratch_clear(&s);
  return st;
}

ep_status ep_portrait_write(ep_ctx *ctx, const ep_portrait *p, const char *path) {
  ep_picture picture;
  EP_TRY(ep_portrait_draw(ctx, p, &picture));
  ep_status st = ep_picture_write(&picture, path);
  ep_picture_clear(&picture);
  return st;
}
