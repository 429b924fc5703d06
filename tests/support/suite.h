/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMXSIM_TESTS_SUITE_H
#define VMXSIM_TESTS_SUITE_H

#include <check.h>

/* Runs the suite and frees it; CK_VERBOSITY says how much it prints. Returns the exit status for main. */
int run_suite(Suite *suite);

#endif
