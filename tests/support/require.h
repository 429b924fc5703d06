/* SPDX-License-Identifier: Apache-2.0 */
/* ck_assert_msg for hot paths: Check records each assertion that holds, which costs a system call. */
#ifndef VMXSIM_TESTS_REQUIRE_H
#define VMXSIM_TESTS_REQUIRE_H

#include <check.h>

#define require(condition, ...)        \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

#endif
