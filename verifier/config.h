/* Configuration of a run: one field per line of options.def, constant after start; and the option table that the
 * command line, the help, the man page and the JSON dump are made from. */
#ifndef EP_VERIFIER_CONFIG_H
#define EP_VERIFIER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/status.h"

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

typedef enum ep_option_type {
  EP_OPTION_GROUP, /* a title between options: only id and help are set */
  EP_OPTION_INT,
  EP_OPTION_REAL,
  EP_OPTION_FLAG,
  EP_OPTION_TEXT,
  EP_OPTION_CHOICE
} ep_option_type;

typedef struct ep_option {
  ep_option_type type;
  const char *id, *flag;
  double dflt, min, max; /* INT, REAL, FLAG */
  const char *dflt_text; /* TEXT, CHOICE; NULL = unset */
  const char *choices;   /* CHOICE: "a|b|c" */
  const char *value;     /* placeholder in help */
  const char *help;
  size_t offset; /* of the field in ep_config */
} ep_option;

/* options.def in order, groups included. */
extern const ep_option ep_options[];
extern const size_t ep_n_options;

/* The option called `flag` (n characters, without dashes) or NULL. */
const ep_option *ep_option_find(const char *flag, size_t n);
/* The group that an option belongs to. */
const ep_option *ep_option_group(const ep_option *opt);
/* Is `word` one of the words of `list`, which are separated by any of `separators`? */
bool ep_option_lists(const char *list, const char *separators, const char *word);
/* The option closest to `flag` in spelling, or NULL when none is near. Only options whose group is in `groups`. */
const ep_option *ep_option_nearest(const char *flag, size_t n, const char *groups);
/* Parses and range-checks `value` (borrowed for TEXT and CHOICE). EP_E_OPTION with one clear line otherwise; a FLAG
 * takes NULL as "true". */
ep_status ep_option_set(ep_ctx *ctx, ep_config *cfg, const ep_option *opt, const char *value);
/* The current value as text ("" when unset); returns buf. */
const char *ep_option_text(const ep_config *cfg, const ep_option *opt, char *buf, size_t n);

#endif
