#include "models/eval.h"

#include <assert.h>
#include <string.h>

typedef enum hot { HOT_NONE, HOT_RELU, HOT_LEAKY, HOT_CLIP, HOT_SIGN } hot;

static hot hot_of(const ep_univar *u) {
  static const char *const name[] = {"", "Relu", "LeakyRelu", "Clip", "Sign"};
  for (hot h = HOT_RELU; h <= HOT_SIGN; h++)
    if (!strcmp(u->name, name[h])) return h;
  return HOT_NONE;
}

#define REAL float
#define FN(name) name##_f32
#define BIAS bias32
#define POINT(u, x) (u)->f32((u), (x))
#define GENERAL forward_f32
#include "models/eval_impl.h"
#undef REAL
#undef FN
#undef BIAS
#undef POINT
#undef GENERAL

#define REAL double
#define FN(name) name##_f64
#define BIAS bias
#define POINT(u, x) (u)->f((u), (x))
#define GENERAL forward_f64
#include "models/eval_impl.h"
