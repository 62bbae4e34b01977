#include "tests/ep_test.h"

#include <math.h>
#include <string.h>

#include "verifier/progress.h"

static void line_holds_the_live_numbers(void **state) {
  (void)state;
  char text[256];
  ep_progress_text(text, sizeof text, "bab", 1200, 345.6, 7, -0.125, 12.2);
  assert_string_equal(text, "bab: 1200 domains, 346/s, 7 open, worst bound -0.125, 12 s left");
}

static void unknown_figures_are_left_out(void **state) {
  (void)state;
  char text[256];
  ep_progress_text(text, sizeof text, "attack", 0, 0, 1, NAN, -1);
  assert_string_equal(text, "attack: 0 domains, 0/s, 1 open");
  ep_progress_text(text, sizeof text, "ibp", 1, 1, 1, -INFINITY, 0);
  assert_string_equal(text, "ibp: 1 domains, 1/s, 1 open, 0 s left");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(line_holds_the_live_numbers),
      cmocka_unit_test(unknown_figures_are_left_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
