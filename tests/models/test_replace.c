/* Replacing files as a whole: the old one stays until the new one is there, links and devices are refused. */
#include "models/replace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/ep_test.h"

static void put(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void assert_holds(const char *path, const char *text) {
  char got[16] = "";
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  assert_non_null(fgets(got, sizeof got, f));
  fclose(f);
  assert_string_equal(got, text);
}

static void test_replace(void **state) {
  (void)state;
  char folder[] = "/tmp/ep_test_replace_XXXXXX", path[64], link[64], temp[EP_REPLACE_MAX_PATH];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/file", folder);
  snprintf(link, sizeof link, "%s/link", folder);
  ep_ctx *ctx = ep_ctx_create();
  assert_int_equal(ep_replace_begin(ctx, path, temp), EP_OK); /* nothing there yet */
  put(temp, "old");
  assert_int_equal(ep_replace_end(ctx, path, temp), EP_OK);
  assert_holds(path, "old");
  assert_int_equal(ep_replace_begin(ctx, path, temp), EP_OK);
  put(temp, "new");
  assert_holds(path, "old");
  assert_int_equal(ep_replace_end(ctx, path, temp), EP_OK);
  assert_holds(path, "new");
  assert_int_not_equal(access(temp, F_OK), 0);
  assert_int_equal(ep_replace_end(ctx, path, temp), EP_E_IO); /* nothing to put into place */
  assert_holds(path, "new");
  ep_ctx_clear_error(ctx);
  assert_int_equal(ep_replace_try(ctx, path), EP_OK);
  assert_int_not_equal(access(temp, F_OK), 0);
  assert_holds(path, "new");
  assert_int_equal(ep_replace_try(ctx, "/tmp/ep_test_no_such_folder/file"), EP_E_IO);
  ep_ctx_clear_error(ctx);
  assert_int_equal(symlink(path, link), 0);
  assert_int_equal(ep_replace_begin(ctx, link, temp), EP_E_IO);
  assert_non_null(strstr(ep_ctx_error(ctx).text, "not a plain file"));
  ep_ctx_clear_error(ctx);
  char longest[EP_REPLACE_MAX_PATH + 8];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
  assert_int_equal(ep_replace_begin(ctx, longest, temp), EP_E_IO);
  ep_ctx_destroy(ctx);
  unlink(link);
  unlink(path);
  rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_replace)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
