/* The headers cmocka wants before its own, in the order it wants them. */
#ifndef EP_TESTS_EP_TEST_H
#define EP_TESTS_EP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
