/* What others may ask about Softmax nodes. */
#ifndef EP_MODELS_OPS_SOFTMAX_H
#define EP_MODELS_OPS_SOFTMAX_H

#include "models/op.h"

/* A Softmax whose one group is all of its input, so that outputs compare as inputs do? */
bool ep_softmax_is_whole(const ep_node *node);

#endif
