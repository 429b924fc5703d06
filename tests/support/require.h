/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions for hot paths: Check records each of its own that holds, which costs a system call. */
#ifndef VMXSIM_TESTS_REQUIRE_H
#define VMXSIM_TESTS_REQUIRE_H

#include <check.h>
#include <stdint.h>

#define require(condition, ...)        \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

#define require_that(condition) require(condition, "'%s' does not hold", #condition)

/* require_uint(count, <=, limit): numbers that are not negative, enumerations included; a failure prints both. */
#define require_uint(left, operator, right)                                     \
    do {                                                                        \
        const uintmax_t left_ = (uintmax_t)(left), right_ = (uintmax_t)(right); \
        require(left_ operator right_, "'%s' does not hold: %#jx, %#jx",        \
                #left " " #operator" " #right, left_, right_);                  \
    } while (0)

#endif
