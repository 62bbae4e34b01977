#include "tests/ep_test.h"

#include <string.h>

#include "kernels/sha256.h"

static void check_digest(const char *text, size_t repeat, size_t chunk, const char *want) {
  ep_sha256 s;
  uint8_t digest[32];
  char hex[65], buffer[1000];
  size_t n = strlen(text);
  ep_sha256_init(&s);
  if (repeat == 1) {
    for (size_t i = 0; i < n; i += chunk) ep_sha256_update(&s, text + i, n - i < chunk ? n - i : chunk);
  } else {
    memset(buffer, text[0], sizeof buffer);
    for (size_t left = repeat; left; left -= left < chunk ? left : chunk)
      ep_sha256_update(&s, buffer, left < chunk ? left : chunk);
  }
  ep_sha256_final(&s, digest);
  ep_sha256_hex(digest, hex);
  assert_string_equal(hex, want);
}

/* FIPS 180-4 examples, fed in pieces of every size. */
static void sha256_examples(void **state) {
  (void)state;
  check_digest("", 1, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  for (size_t chunk = 1; chunk <= 60; chunk++) {
    check_digest("abc", 1, chunk, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_digest(two, 1, chunk, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  }
  const size_t chunks[] = {1, 63, 64, 65, 127, 1000};
  for (int i = 0; i < 6; i++)
    check_digest("a", 1000000, chunks[i], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(sha256_examples)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
