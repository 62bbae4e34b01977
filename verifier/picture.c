#include "verifier/picture.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/image_png.h"

enum { GAP = 6, LINE = 14, DOT = 2 };

ep_status ep_picture_create(ep_ctx *ctx, uint32_t w, uint32_t h, ep_picture *out) {
  *out = (ep_picture){.ctx = ctx, .w = w, .h = h};
  if ((uint64_t)w * h > EP_IMAGE_PNG_MAX_SAMPLES / 3)
    return EP_FAIL(ctx, EP_E_UNSUPPORTED, "a picture of %u x %u is too large", w, h);
  out->rgb = ep_alloc(ctx, (size_t)w * h * 3 + 1);
  if (!out->rgb) return EP_E_NOMEM;
  memset(out->rgb, 255, (size_t)w * h * 3);
  return EP_OK;
}

void ep_picture_clear(ep_picture *p) {
  if (p->rgb) ep_free(p->ctx, p->rgb);
  p->rgb = NULL;
}

ep_status ep_picture_write(const ep_picture *p, const char *path) {
  return ep_image_png_write(p->ctx, path, p->rgb, 3, p->h, p->w);
}

static void fill(ep_picture *p, uint32_t x, uint32_t y, uint32_t w, uint32_t h, const uint8_t rgb[3]) {
  for (uint32_t i = y; i < y + h && i < p->h; i++)
    for (uint32_t k = x; k < x + w && k < p->w; k++) memcpy(p->rgb + ((size_t)i * p->w + k) * 3, rgb, 3);
}

/* Five rows of three dots, one octal digit a row. */
static const char *glyph(char c) {
  static const struct {
    char c;
    const char rows[6];
  } font[] = {{'0', "75557"}, {'1', "26227"}, {'2', "71747"}, {'3', "71717"}, {'4', "55711"}, {'5', "74717"},
              {'6', "74757"}, {'7', "71222"}, {'8', "75757"}, {'9', "75717"}, {'A', "75755"}, {'B', "65656"},
              {'C', "74447"}, {'D', "65556"}, {'E', "74647"}, {'F', "74644"}, {'G', "74557"}, {'H', "55755"},
              {'I', "72227"}, {'J', "11157"}, {'K', "55655"}, {'L', "44447"}, {'M', "57755"}, {'N', "65555"},
              {'O', "25552"}, {'P', "75744"}, {'Q', "75571"}, {'R', "75765"}, {'S', "34216"}, {'T', "72222"},
              {'U', "55557"}, {'V', "55552"}, {'W', "55775"}, {'X', "55255"}, {'Y', "55222"}, {'Z', "71247"},
              {'.', "00002"}, {',', "00024"}, {'-', "00700"}, {'+', "02720"}, {'=', "07070"}, {':', "02020"},
              {'%', "51245"}, {'>', "42124"}, {'/', "11244"}};
  for (size_t i = 0; i < sizeof font / sizeof *font; i++)
    if (font[i].c == c) return font[i].rows;
  return "00000";
}

void ep_picture_text(ep_picture *p, uint32_t x, uint32_t y, uint32_t dot, const char *text) {
  static const uint8_t black[3] = {0, 0, 0};
  for (; *text; text++, x += 4 * dot) {
    const char *rows = glyph((char)toupper((unsigned char)*text));
    for (uint32_t r = 0; r < 5; r++)
      for (uint32_t k = 0; k < 3; k++)
        if ((rows[r] - '0') >> (2 - k) & 1) fill(p, x + k * dot, y + r * dot, dot, dot, black);
  }
}

static uint8_t byte_of(double v) { return (uint8_t)lround(255 * fmin(fmax(v, 0), 1)); }

/* Differences: grey images in red (up) and blue (down) on white, colour images per channel around mid grey. */
static void pixel(const ep_picture_case *c, int panel, size_t at, double largest, uint8_t rgb[3]) {
  size_t plane = (size_t)c->h * c->w;
  for (size_t k = 0; k < 3; k++) {
    size_t i = (c->c == 3 ? k * plane : 0) + at;
    double x = (double)c->x[i], d = largest > 0 ? ((double)c->adv[i] - x) / largest : 0;
    if (panel < 2)
      rgb[k] = byte_of(panel ? (double)c->adv[i] : x);
    else if (c->c == 3)
      rgb[k] = byte_of(0.5 + 0.5 * d);
    else
      rgb[k] = byte_of(d > 0 ? (k == 0 ? 1 : 1 - d) : k == 2 ? 1 : 1 + d);
  }
}

static void panel(ep_picture *p, const ep_picture_case *c, int which, double largest, uint32_t zoom, uint32_t x0) {
  uint8_t rgb[3];
  for (uint32_t y = 0; y < c->h; y++)
    for (uint32_t x = 0; x < c->w; x++) {
      pixel(c, which, (size_t)y * c->w + x, largest, rgb);
      fill(p, x0 + x * zoom, GAP + y * zoom, zoom, zoom, rgb);
    }
}

ep_status ep_picture_triptych(ep_ctx *ctx, const ep_picture_case *c, ep_picture *out) {
  assert((c->c == 1 || c->c == 3) && c->h && c->w);
  uint32_t longest = c->h > c->w ? c->h : c->w, zoom = longest < 224 ? 224 / longest : 1;
  uint32_t w = c->w * zoom, h = c->h * zoom, step = (w > 224 ? w : 224) + GAP;
  double largest = 0;
  char text[64];
  for (size_t i = 0; i < (size_t)c->c * c->h * c->w; i++) {
    assert(c->adv[i] >= 0 && c->adv[i] <= 1);
    largest = fmax(largest, fabs((double)c->adv[i] - (double)c->x[i]));
  }
  EP_TRY(ep_picture_create(ctx, 3 * step + GAP, h + 2 * GAP + 3 * LINE, out));
  for (int k = 0; k < 3; k++) panel(out, c, k, largest, zoom, GAP + (uint32_t)k * step);
  uint32_t y = h + 2 * GAP, x1 = GAP + step, x2 = GAP + 2 * step;
  ep_picture_text(out, GAP, y, DOT, "original");
  snprintf(text, sizeof text, "class %u, label %u", c->predicted, c->label);
  ep_picture_text(out, GAP, y + LINE, DOT, text);
  snprintf(text, sizeof text, "confidence %.3f", c->confidence);
  ep_picture_text(out, GAP, y + 2 * LINE, DOT, text);
  ep_picture_text(out, x1, y, DOT, "counterexample");
  snprintf(text, sizeof text, "class %u, margin %.3g", c->fooled, c->margin);
  ep_picture_text(out, x1, y + LINE, DOT, text);
  snprintf(text, sizeof text, "confidence %.3f", c->fooled_confidence);
  ep_picture_text(out, x1, y + 2 * LINE, DOT, text);
  snprintf(text, sizeof text, "difference x %.3g", largest > 0 ? 1 / largest : 0);
  ep_picture_text(out, x2, y, DOT, text);
  snprintf(text, sizeof text, "largest %.4f", largest);
  ep_picture_text(out, x2, y + LINE, DOT, text);
  if (c->epsilon >= 0) {
    snprintf(text, sizeof text, "epsilon %.4g", c->epsilon);
    ep_picture_text(out, x2, y + 2 * LINE, DOT, text);
  }
  return EP_OK;
}

ep_status ep_picture_sheet(ep_ctx *ctx, size_t n, const ep_picture *p, uint32_t columns, ep_picture *out) {
  assert(n && columns);
  if (n < columns) columns = (uint32_t)n;
  uint32_t rows = (uint32_t)((n + columns - 1) / columns);
  EP_TRY(ep_picture_create(ctx, columns * p->w, rows * p->h, out));
  for (size_t i = 0; i < n; i++) {
    assert(p[i].w == p->w && p[i].h == p->h);
    size_t x = i % columns * p->w, y = i / columns * p->h;
    for (size_t r = 0; r < p->h; r++)
      memcpy(out->rgb + ((y + r) * out->w + x) * 3, p[i].rgb + r * p->w * 3, (size_t)p->w * 3);
  }
  return EP_OK;
}
