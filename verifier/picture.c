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

/* v in [-1, 1]: red above 0, blue below, white at 0; one colour component of it. */
static uint8_t signed_colour(double v, size_t k) { return byte_of(v > 0 ? (k == 0 ? 1 : 1 - v) : k == 2 ? 1 : 1 + v); }

typedef struct scales {
  double difference, saliency; /* the largest, 0 = all are 0 */
} scales;

static double part(double v, double largest) { return largest > 0 ? v / largest : 0; }

static void pixel(const ep_picture_case *c, int panel, size_t at, const scales *s, uint8_t rgb[3]) {
  size_t plane = (size_t)c->h * c->w;
  for (size_t k = 0; k < 3; k++) {
    size_t i = (c->c == 3 ? k * plane : 0) + at;
    double x = (double)c->x[i], d = part((double)c->adv[i] - x, s->difference);
    if (panel < 2)
      rgb[k] = byte_of(panel ? (double)c->adv[i] : x);
    else if (panel == 3)
      rgb[k] = signed_colour(part(c->saliency[at], s->saliency), k);
    else
      rgb[k] = c->c == 3 ? byte_of(0.5 + 0.5 * d) : signed_colour(d, k);
  }
}

static void panel(ep_picture *p, const ep_picture_case *c, int which, const scales *s, uint32_t zoom, uint32_t x0) {
  uint8_t rgb[3];
  for (uint32_t y = 0; y < c->h; y++)
    for (uint32_t x = 0; x < c->w; x++) {
      pixel(c, which, (size_t)y * c->w + x, s, rgb);
      fill(p, x0 + x * zoom, GAP + y * zoom, zoom, zoom, rgb);
    }
}

ep_status ep_picture_panels(ep_ctx *ctx, const ep_picture_case *c, ep_picture *out) {
  assert((c->c == 1 || c->c == 3) && c->h && c->w);
  uint32_t longest = c->h > c->w ? c->h : c->w, zoom = longest < 224 ? 224 / longest : 1;
  uint32_t w = c->w * zoom, h = c->h * zoom, step = (w > 224 ? w : 224) + GAP, n = c->saliency ? 4 : 3;
  scales s = {0};
  for (size_t i = 0; i < (size_t)c->c * c->h * c->w; i++) {
    assert(c->adv[i] >= 0 && c->adv[i] <= 1 && c->x[i] >= 0 && c->x[i] <= 1);
    s.difference = fmax(s.difference, fabs((double)c->adv[i] - (double)c->x[i]));
  }
  for (size_t i = 0; c->saliency && i < (size_t)c->h * c->w; i++) s.saliency = fmax(s.saliency, fabs(c->saliency[i]));
  EP_TRY(ep_picture_create(ctx, n * step + GAP, h + 2 * GAP + EP_PICTURE_LINES * LINE, out));
  for (uint32_t k = 0; k < n; k++) {
    panel(out, c, (int)k, &s, zoom, GAP + k * step);
    for (uint32_t i = 0; i < EP_PICTURE_LINES; i++) {
      char line[EP_PICTURE_TEXT];
      snprintf(line, sizeof line, "%.*s", (int)((step - GAP) / (4 * DOT)), c->text[k][i]);
      ep_picture_text(out, GAP + k * step, h + 2 * GAP + i * LINE, DOT, line);
    }
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
