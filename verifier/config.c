#include "verifier/config.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row per line of options.def; the macros put default and range where the type keeps them. */
#define NUMBER(dflt_, min_, max_) .dflt = (double)(dflt_), .min = (double)(min_), .max = (double)(max_)
#define ROW_INT(d, lo, hi) NUMBER(d, lo, hi)
#define ROW_REAL(d, lo, hi) NUMBER(d, lo, hi)
#define ROW_FLAG(d, lo, hi) NUMBER(d, 0, 1)
#define ROW_TEXT(d, lo, hi) .dflt_text = (d)
#define ROW_CHOICE(d, list, hi) .dflt_text = (d), .choices = (list)
const ep_option ep_options[] = {
#define EP_OPT_GROUP(id_, title) {.type = EP_OPTION_GROUP, .id = #id_, .help = (title)},
#define EP_OPT(id_, flag_, type_, dflt_, min_, max_, value_, help_)                                                    \
  {.type = EP_OPTION_##type_,                                                                                          \
   .id = #id_,                                                                                                         \
   .flag = (flag_),                                                                                                    \
   ROW_##type_(dflt_, min_, max_),                                                                                     \
   .value = (value_),                                                                                                  \
   .help = (help_),                                                                                                    \
   .offset = offsetof(ep_config, id_)},
#include "verifier/options.def"
#undef EP_OPT
};
const size_t ep_n_options = sizeof ep_options / sizeof *ep_options;

void ep_config_default(ep_config *cfg) {
  *cfg = (ep_config){
#define EP_OPT(id, flag, type, dflt, min, max, value, help) .id = (dflt),
#include "verifier/options.def"
#undef EP_OPT
  };
}

const ep_option *ep_option_find(const char *flag, size_t n) {
  for (size_t i = 0; i < ep_n_options; i++) {
    const char *f = ep_options[i].flag;
    if (f && strlen(f) == n && memcmp(f, flag, n) == 0) return &ep_options[i];
  }
  return NULL;
}

const ep_option *ep_option_group(const ep_option *opt) {
  while (opt->type != EP_OPTION_GROUP) {
    assert(opt > ep_options); /* options.def opens a group before its first option */
    opt--;
  }
  return opt;
}

bool ep_option_lists(const char *list, const char *separators, const char *word) {
  size_t n = strlen(word);
  for (const char *p = list; *p;) {
    size_t len = strcspn(p, separators);
    if (len == n && memcmp(p, word, n) == 0) return true;
    p += len;
    p += strspn(p, separators);
  }
  return false;
}

/* Edit distance (Levenshtein), capped by the fixed row: flags are short. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m) {
  enum { MAX = 63 };
  size_t row[MAX + 1];
  if (n > MAX || m > MAX) return SIZE_MAX;
  for (size_t j = 0; j <= m; j++) row[j] = j;
  for (size_t i = 1; i <= n; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      size_t best = diagonal + (a[i - 1] != b[j - 1]);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[m];
}

const ep_option *ep_option_nearest(const char *flag, size_t n, const char *groups) {
  const ep_option *best = NULL;
  size_t best_distance = n / 2 + 1; /* at least half of what was typed must be right */
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    if (!o->flag || !ep_option_lists(groups, " ", ep_option_group(o)->id)) continue;
    size_t d = edit_distance(flag, n, o->flag, strlen(o->flag));
    if (d < best_distance) {
      best_distance = d;
      best = o;
    }
  }
  return best;
}

static ep_status out_of_range(ep_ctx *ctx, const ep_option *o, const char *value) {
  return EP_FAIL(ctx, EP_E_OPTION, "--%s: %s is outside %.15g..%.15g", o->flag, value, o->min, o->max);
}

static ep_status set_int(ep_ctx *ctx, int64_t *field, const ep_option *o, const char *value) {
  char *end;
  errno = 0;
  long long v = strtoll(value, &end, 10);
  if (end == value || *end || errno == EINVAL)
    return EP_FAIL(ctx, EP_E_OPTION, "--%s: '%s' is not a whole number", o->flag, value);
  if (errno == ERANGE || (double)v < o->min || (double)v > o->max) return out_of_range(ctx, o, value);
  *field = v;
  return EP_OK;
}

static ep_status set_real(ep_ctx *ctx, double *field, const ep_option *o, const char *value) {
  char *end;
  double v = strtod(value, &end);
  if (end == value || *end || isnan(v)) return EP_FAIL(ctx, EP_E_OPTION, "--%s: '%s' is not a number", o->flag, value);
  if (v < o->min || v > o->max) return out_of_range(ctx, o, value);
  *field = v;
  return EP_OK;
}

static ep_status set_flag(ep_ctx *ctx, bool *field, const ep_option *o, const char *value) {
  if (!value || strcmp(value, "true") == 0)
    *field = true;
  else if (strcmp(value, "false") == 0)
    *field = false;
  else
    return EP_FAIL(ctx, EP_E_OPTION, "--%s: '%s' is neither true nor false", o->flag, value);
  return EP_OK;
}

ep_status ep_option_set(ep_ctx *ctx, ep_config *cfg, const ep_option *o, const char *value) {
  void *field = (char *)cfg + o->offset;
  assert(o->type == EP_OPTION_FLAG || value);
  switch (o->type) {
  case EP_OPTION_INT:
    return set_int(ctx, field, o, value);
  case EP_OPTION_REAL:
    return set_real(ctx, field, o, value);
  case EP_OPTION_FLAG:
    return set_flag(ctx, field, o, value);
  case EP_OPTION_CHOICE:
    if (!ep_option_lists(o->choices, "|", value))
      return EP_FAIL(ctx, EP_E_OPTION, "--%s: '%s' is not one of %s", o->flag, value, o->choices);
    *(const char **)field = value;
    return EP_OK;
  case EP_OPTION_TEXT:
    if (!*value) return EP_FAIL(ctx, EP_E_OPTION, "--%s: empty value", o->flag);
    *(const char **)field = value;
    return EP_OK;
  case EP_OPTION_GROUP:
    break;
  }
  return EP_FAIL(ctx, EP_E_INTERNAL, "option without a type: %s", o->id);
}

const char *ep_option_text(const ep_config *cfg, const ep_option *o, char *buf, size_t n) {
  const void *field = (const char *)cfg + o->offset;
  const char *text;
  switch (o->type) {
  case EP_OPTION_INT:
    snprintf(buf, n, "%lld", (long long)*(const int64_t *)field);
    break;
  case EP_OPTION_REAL:
    snprintf(buf, n, "%.15g", *(const double *)field);
    break;
  case EP_OPTION_FLAG:
    snprintf(buf, n, "%s", *(const bool *)field ? "true" : "false");
    break;
  case EP_OPTION_TEXT:
  case EP_OPTION_CHOICE:
    text = *(const char *const *)field;
    snprintf(buf, n, "%s", text ? text : "");
    break;
  case EP_OPTION_GROUP:
    snprintf(buf, n, "%s", "");
    break;
  }
  return buf;
}
