/* The option table: every rule is tried on every option of options.def. */
#include "tests/ep_test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "verifier/config.h"

static int setup(void **state) {
  *state = ep_ctx_create();
  return *state ? 0 : -1;
}

static int teardown(void **state) {
  ep_ctx_destroy(*state);
  return 0;
}

static void expect_refused(ep_ctx *ctx, const ep_option *o, const char *value) {
  ep_config cfg, before;
  ep_config_default(&cfg);
  ep_config_default(&before);
  assert_int_equal(ep_option_set(ctx, &cfg, o, value), EP_E_OPTION);
  ep_error e = ep_ctx_error(ctx);
  assert_int_equal(e.code, EP_E_OPTION);
  assert_non_null(strstr(e.text, o->flag));
  assert_null(strchr(e.text, '\n'));
  assert_int_equal(ep_status_exit_code(e.code), 1);
  char a[64], b[64]; /* a refused value changes nothing */
  assert_string_equal(ep_option_text(&cfg, o, a, sizeof a), ep_option_text(&before, o, b, sizeof b));
  ep_ctx_clear_error(ctx);
}

static void defaults_are_in_range_and_read_back(void **state) {
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    if (o->type == EP_OPTION_GROUP) continue;
    ep_config cfg;
    ep_config_default(&cfg);
    char text[128], again[128];
    ep_option_text(&cfg, o, text, sizeof text);
    assert_ptr_equal(ep_option_find(o->flag, strlen(o->flag)), o);
    if (*text) assert_int_equal(ep_option_set(*state, &cfg, o, text), EP_OK);
    assert_string_equal(ep_option_text(&cfg, o, again, sizeof again), text);
    if (o->type == EP_OPTION_CHOICE) assert_true(ep_option_lists(o->choices, "|", o->dflt_text));
  }
}

static void values_reach_their_own_field(void **state) {
  ep_config cfg;
  ep_config_default(&cfg);
  assert_int_equal(ep_option_set(*state, &cfg, ep_option_find("timeout", 7), "2.5"), EP_OK);
  assert_int_equal(ep_option_set(*state, &cfg, ep_option_find("seed", 4), "77"), EP_OK);
  assert_int_equal(ep_option_set(*state, &cfg, ep_option_find("engine", 6), "crown"), EP_OK);
  assert_int_equal(ep_option_set(*state, &cfg, ep_option_find("format", 6), "json"), EP_OK);
  assert_true(cfg.timeout == 2.5);
  assert_int_equal(cfg.seed, 77);
  assert_string_equal(cfg.engine, "crown");
  assert_string_equal(cfg.format, "json");
}

static void bad_values_are_refused(void **state) {
  char text[64];
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    switch (o->type) {
    case EP_OPTION_INT:
    case EP_OPTION_REAL:
      snprintf(text, sizeof text, "%.0f", floor(o->min) - 1);
      expect_refused(*state, o, text);
      snprintf(text, sizeof text, "%.0f", o->max * 2);
      expect_refused(*state, o, text);
      expect_refused(*state, o, "");
      expect_refused(*state, o, "12x");
      expect_refused(*state, o, "nan");
      if (o->type == EP_OPTION_INT) expect_refused(*state, o, "1.5");
      if (o->type == EP_OPTION_INT) expect_refused(*state, o, "99999999999999999999999");
      break;
    case EP_OPTION_FLAG:
      expect_refused(*state, o, "maybe");
      break;
    case EP_OPTION_CHOICE:
      expect_refused(*state, o, "");
      expect_refused(*state, o, "no such choice");
      expect_refused(*state, o, strchr(o->choices, '|') ? o->choices : "|"); /* the list is not a member of itself */
      break;
    case EP_OPTION_TEXT:
      expect_refused(*state, o, "");
      break;
    case EP_OPTION_GROUP:
      break;
    }
  }
}

static void flags_are_distinct_and_grouped(void **state) {
  (void)state;
  assert_int_equal(ep_options[0].type, EP_OPTION_GROUP);
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    assert_non_null(o->help);
    assert_int_equal(ep_option_group(o)->type, EP_OPTION_GROUP);
    for (size_t k = 0; k < i; k++)
      if (o->flag && ep_options[k].flag) assert_string_not_equal(o->flag, ep_options[k].flag);
  }
}

static void nearest_spelling(void **state) {
  (void)state;
  const ep_option *o = ep_option_nearest("timout", 6, "time search");
  assert_non_null(o);
  assert_string_equal(o->flag, "timeout");
  o = ep_option_nearest("retsarts", 8, "general search");
  assert_non_null(o);
  assert_string_equal(o->flag, "restarts");
  assert_null(ep_option_nearest("timout", 6, "output")); /* only options that the command takes are proposed */
  assert_null(ep_option_nearest("xyzzyxyzzy", 10, "general search output"));
  char lengthy[200];
  memset(lengthy, 'a', sizeof lengthy);
  assert_null(ep_option_nearest(lengthy, sizeof lengthy, "general"));
}

static void word_lists(void **state) {
  (void)state;
  assert_true(ep_option_lists("a|bc|d", "|", "bc"));
  assert_false(ep_option_lists("a|bc|d", "|", "b"));
  assert_false(ep_option_lists("a|bc|d", "|", "a|bc"));
  assert_false(ep_option_lists("", " ", "a"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(defaults_are_in_range_and_read_back, setup, teardown),
      cmocka_unit_test_setup_teardown(values_reach_their_own_field, setup, teardown),
      cmocka_unit_test_setup_teardown(bad_values_are_refused, setup, teardown),
      cmocka_unit_test(flags_are_distinct_and_grouped),
      cmocka_unit_test(nearest_spelling),
      cmocka_unit_test(word_lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
