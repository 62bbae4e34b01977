#include "models/train/warmup.h"

#include <math.h>

enum { L = EP_LANES };
#define TOLERANCE 0.5

/* max(0, tol - r)/tol for r = a/b or b/a, whichever is below 1, with its derivatives in a and b; a, b > 0. */
static double balance(double a, double b, double *da, double *db) {
  double r = a < b ? a / b : b / a;
  *da = *db = 0;
  if (!(r < TOLERANCE)) return 0;
  double up = -1 / TOLERANCE;
  *da = up * (a < b ? 1 / b : -b / (a * a));
  *db = up * (a < b ? -a / (b * b) : 1 / a);
  return (TOLERANCE - r) / TOLERANCE;
}

static double mean(size_t n, const float *x) {
  double sum = 0;
  for (size_t k = 0; k < n; k++) sum += (double)x[k];
  return sum / (double)n;
}

double ep_warmup_add(ep_pass *p, uint32_t i, uint32_t n_relu, double weight) {
  const ep_net *net = p->w->net;
  uint32_t v = net->layer[i].in[0];
  size_t n = (size_t)ep_net_size(net, v) * L;
  const float *m = p->val[EP_MID][v], *r = p->val[EP_RAD][v];
  float *gm = ep_pass_grad(p, EP_MID, v), *gr = ep_pass_grad(p, EP_RAD, v);
  double w0 = mean((size_t)ep_net_size(net, 0) * L, p->val[EP_RAD][0]), w1 = mean(n, r), scale = weight / n_relu;
  double loss = 0, d_rad = 0;
  if (w1 > 0 && w0 / w1 < TOLERANCE) { /* d(-w0/w1) = w0/w1^2 dw1 */
    loss += (TOLERANCE - w0 / w1) / TOLERANCE;
    d_rad = w0 / (w1 * w1) / TOLERANCE / (double)n;
  }
  double centre = mean(n, m), act = 0, dead = 0, var_act = 0, var_dead = 0, sum_act = 0, sum_dead = 0;
  for (size_t k = 0; k < n; k++) {
    double c = (double)m[k], d = (c - centre) * (c - centre);
    if (m[k] - r[k] > 0) {
      act += c;
      var_act += d;
      sum_act += c - centre;
    } else if (m[k] + r[k] < 0) {
      dead -= c;
      var_dead += d;
      sum_dead += c - centre;
    }
  }
  double d_act = 0, d_dead = 0, d_va = 0, d_vd = 0;
  if (act > 0 && dead > 0) loss += balance(act, dead, &d_act, &d_dead);
  if (var_act > 0 && var_dead > 0) loss += balance(var_act, var_dead, &d_va, &d_vd);
  double all = -2 * (d_va * sum_act + d_vd * sum_dead) / (double)n; /* through the mean */
  for (size_t k = 0; k < n; k++) {
    double c = (double)m[k], g = all;
    if (m[k] - r[k] > 0)
      g += d_act + 2 * d_va * (c - centre);
    else if (m[k] + r[k] < 0)
      g += -d_dead + 2 * d_vd * (c - centre);
    gm[k] += (float)(scale * g);
    gr[k] += (float)(scale * d_rad);
  }
  return scale * loss;
}
