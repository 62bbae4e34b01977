#include "verifier/branching.h"

#include <math.h>
#include <string.h>

static void branch_babsr(size_t n, const ep_unstable *u, const float *coef, float *score) {
  for (size_t i = 0; i < n; i++) {
    float k = u[i].hi / (u[i].hi - u[i].lo), c = coef[i];
    float bias = fmaxf(u[i].bias * (k - 1) * c, u[i].bias * k * c);
    float icpt = fminf(c, 0) * -u[i].lo * k;
    score[i] = fabsf(bias + icpt);
  }
}

static void branch_intercept(size_t n, const ep_unstable *u, const float *coef, float *score) {
  for (size_t i = 0; i < n; i++) {
    float k = u[i].hi / (u[i].hi - u[i].lo);
    score[i] = fmaxf(-coef[i], 0) * -u[i].lo * k;
  }
}

static void branch_unstable(size_t n, const ep_unstable *u, const float *coef, float *score) {
  for (size_t i = 0; i < n; i++) score[i] = fminf(u[i].hi, -u[i].lo) * fabsf(coef[i]);
}

static void branch_gradient(size_t n, const ep_unstable *u, const float *coef, float *score) {
  (void)u;
  for (size_t i = 0; i < n; i++) score[i] = fabsf(coef[i]);
}

const ep_branching ep_branchings[] = {
#define EP_BRANCHING(id, name, help) {name, help, branch_##id},
#include "verifier/branchings.def"
#undef EP_BRANCHING
};
const size_t ep_n_branchings = sizeof ep_branchings / sizeof *ep_branchings;

const ep_branching *ep_branching_find(const char *name) {
  for (size_t i = 0; i < ep_n_branchings; i++)
    if (!strcmp(ep_branchings[i].name, name)) return &ep_branchings[i];
  return NULL;
}
