/* Losses on margins and how training methods combine those of points and of boxes. All values are lane-major:
 * m[n_class][EP_LANES]; the label's own margin is 0. @sound estimate */
#ifndef EP_MODELS_TRAIN_LOSS_H
#define EP_MODELS_TRAIN_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ep_loss {
  const char *name, *help;
  /* loss[l] and g = d loss / d m, for each lane. */
  void (*run)(uint32_t n_class, const uint32_t *label, const float *m, float *loss, float *g);
} ep_loss;
extern const ep_loss ep_losses[];
extern const size_t ep_n_losses;
const ep_loss *ep_loss_find(const char *name);

typedef enum ep_method_point { EP_METHOD_POINT_NONE, EP_METHOD_POINT_CLEAN, EP_METHOD_POINT_ATTACKED } ep_method_point;
typedef enum ep_method_box {
  EP_METHOD_BOX_NONE,
  EP_METHOD_BOX_FULL,
  EP_METHOD_BOX_SMALL,
  EP_METHOD_BOX_CROWN
} ep_method_box;
typedef enum ep_method_combine {
  EP_METHOD_COMBINE_SUM,
  EP_METHOD_COMBINE_POWER,
  EP_METHOD_COMBINE_MARGINS
} ep_method_combine;
typedef enum ep_method_share {
  EP_METHOD_SHARE_NONE,
  EP_METHOD_SHARE_RAMP,
  EP_METHOD_SHARE_ALL,
  EP_METHOD_SHARE_MIX
} ep_method_share;

typedef struct ep_method {
  const char *name, *help;
  ep_method_point point;
  ep_method_box box;
  ep_method_combine combine;
  ep_method_share share;
} ep_method;
extern const ep_method ep_methods[];
extern const size_t ep_n_methods;
const ep_method *ep_method_find(const char *name);
/* Does the method run an attack on each batch? */
static inline bool ep_method_attacks(const ep_method *m) {
  return m->point == EP_METHOD_POINT_ATTACKED || m->box == EP_METHOD_BOX_SMALL;
}

/* The method's loss of one group with the box's share `s`, and its gradients. m_box may be NULL (then s is 0), m_point
 * may be NULL (then s is 1). `scratch` has room for 2 * (n_class + 1) * EP_LANES numbers. */
void ep_loss_combine(const ep_loss *loss, ep_method_combine how, float s, uint32_t n_class, const uint32_t *label,
                     const float *m_point, const float *m_box, float *out, float *g_point, float *g_box,
                     float *scratch);

#endif
