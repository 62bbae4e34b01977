/* Configuration of a run: one field per line of options.def, constant after start. */
#ifndef EP_VERIFIER_CONFIG_H
#define EP_VERIFIER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ep_config {
#define EP_OPT_FIELD_INT int64_t
#define EP_OPT_FIELD_REAL double
#define EP_OPT_FIELD_FLAG bool
#define EP_OPT_FIELD_TEXT const char *
#define EP_OPT_FIELD_CHOICE const char *
#define EP_OPT(id, flag, type, dflt, min, max, value, help) EP_OPT_FIELD_##type id;
#include "verifier/options.def"
#undef EP_OPT
} ep_config;

/* Defaults of options.def. */
void ep_config_default(ep_config *cfg);

#endif
