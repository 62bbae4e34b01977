#include "models/train/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/lanes.h"

enum { L = EP_LANES };

/* log sum_j exp(-m_j) with m_label = 0, shifted by the largest term. */
static void loss_cross_entropy(uint32_t n_class, const uint32_t *label, const float *m, float *loss, float *g) {
  (void)label;
  assert(n_class >= 2);
  for (size_t l = 0; l < L; l++) {
    float top = 0, sum; /* the label's own term is exp(0) */
    for (uint32_t j = 0; j < n_class; j++) top = fmaxf(top, -m[j * L + l]);
    sum = g[l] = expf(-m[l] - top);
    for (uint32_t j = 1; j < n_class; j++) sum += g[j * L + l] = expf(-m[j * L + l] - top);
    for (uint32_t j = 0; j < n_class; j++) g[j * L + l] *= -1 / sum;
    loss[l] = top + logf(sum);
  }
}

static void loss_margin(uint32_t n_class, const uint32_t *label, const float *m, float *loss, float *g) {
  for (size_t l = 0; l < L; l++) {
    uint32_t worst = label[l] ? 0 : 1;
    for (uint32_t j = 0; j < n_class; j++) {
      g[j * L + l] = 0;
      if (j != label[l] && m[j * L + l] < m[worst * L + l]) worst = j;
    }
    loss[l] = fmaxf(0, 1 - m[worst * L + l]);
    if (loss[l] > 0) g[worst * L + l] = -1;
    if (isnan(m[worst * L + l])) loss[l] = NAN;
  }
}

const ep_loss ep_losses[] = {
#define EP_LOSS(id, name, help) {name, help, loss_##id},
#include "models/train/losses.def"
#undef EP_LOSS
};
const size_t ep_n_losses = sizeof ep_losses / sizeof *ep_losses;

const ep_loss *ep_loss_find(const char *name) {
  for (size_t i = 0; i < ep_n_losses; i++)
    if (!strcmp(ep_losses[i].name, name)) return &ep_losses[i];
  return NULL;
}

const ep_method ep_methods[] = {
#define EP_METHOD(id, name, point, box, combine, share, help)                                                          \
  {name, help, EP_METHOD_POINT_##point, EP_METHOD_BOX_##box, EP_METHOD_COMBINE_##combine, EP_METHOD_SHARE_##share},
#include "models/train/methods.def"
#undef EP_METHOD
};
const size_t ep_n_methods = sizeof ep_methods / sizeof *ep_methods;

const ep_method *ep_method_find(const char *name) {
  for (size_t i = 0; i < ep_n_methods; i++)
    if (!strcmp(ep_methods[i].name, name)) return &ep_methods[i];
  return NULL;
}

static void scale_lanes(uint32_t n_class, const float *by, float *g) {
  for (uint32_t j = 0; j < n_class; j++)
    for (size_t l = 0; l < L; l++) g[j * L + l] *= by[l];
}

/* d(Lp^(1-s) Lb^s) = (1-s) Q/Lp dLp + s Q/Lb dLb; losses are kept away from 0, where a power has no slope. */
static void power(float s, uint32_t n_class, const float *lp, const float *lb, float *out, float *g_point,
                  float *g_box) {
  const float least = 1e-5f;
  float a[L], b[L];
  for (size_t l = 0; l < L; l++) {
    float p = fmaxf(lp[l], least), q = fmaxf(lb[l], least);
    if (isnan(lp[l]) || isnan(lb[l])) p = q = NAN;
    out[l] = powf(p, 1 - s) * powf(q, s);
    a[l] = (1 - s) * out[l] / p;
    b[l] = s * out[l] / q;
  }
  scale_lanes(n_class, a, g_point);
  scale_lanes(n_class, b, g_box);
}

void ep_loss_combine(const ep_loss *loss, ep_method_combine how, float s, uint32_t n_class, const uint32_t *label,
                     const float *m_point, const float *m_box, float *out, float *g_point, float *g_box,
                     float *scratch) {
  size_t n = (size_t)n_class * L;
  float *lp = scratch, *lb = lp + L, *mix = lb + L;
  assert(m_point || m_box);
  assert((m_box || s == 0) && (m_point || s == 1)); /* NOLINT: exact by construction */
  if (how == EP_METHOD_COMBINE_MARGINS && m_point && m_box) {
    for (size_t k = 0; k < n; k++) mix[k] = (1 - s) * m_point[k] + s * m_box[k];
    loss->run(n_class, label, mix, out, g_point);
    for (size_t k = 0; k < n; k++) {
      g_box[k] = s * g_point[k];
      g_point[k] *= 1 - s;
    }
    return;
  }
  memset(lp, 0, 2 * L * sizeof *lp);
  if (m_point) loss->run(n_class, label, m_point, lp, g_point);
  if (m_box) loss->run(n_class, label, m_box, lb, g_box);
  if (how == EP_METHOD_COMBINE_POWER && m_point && m_box) {
    power(s, n_class, lp, lb, out, g_point, g_box);
    return;
  }
  for (size_t l = 0; l < L; l++) out[l] = (m_point ? (1 - s) * lp[l] : 0) + (m_box ? s * lb[l] : 0);
  for (size_t k = 0; k < n && m_point; k++) g_point[k] *= 1 - s;
  for (size_t k = 0; k < n && m_box; k++) g_box[k] *= s;
}
