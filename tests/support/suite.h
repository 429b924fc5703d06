/* SPDX-License-Identifier: Apache-2.0 */
/* What every suite needs around its tests. */
#ifndef VMXSIM_TESTS_SUITE_H
#define VMXSIM_TESTS_SUITE_H

#include <check.h>

/* Elements of an array; an int, as the bounds of Check's loop tests are. */
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* A new test case of the suite whose tests each run between `set_up` and `tear_down`. */
TCase *suite_case(Suite *suite, const char *name, void (*set_up)(void), void (*tear_down)(void));

/* Runs the suite and frees it; CK_VERBOSITY says how much it prints. Returns the exit status for main. */
int run_suite(Suite *suite);

#endif
