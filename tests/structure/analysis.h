/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put in front of each file of sim/ that is analysed. Analysers do not look into other files: told of no more than its
 * declaration, they take it that vmxsim_error_set may return VMXC_OK, and follow callers that go on after it.
 */
#ifndef VMXSIM_TESTS_STRUCTURE_ANALYSIS_H
#define VMXSIM_TESTS_STRUCTURE_ANALYSIS_H

#include "vmxsim/error.h"

#define vmxsim_error_set(error, code, ...) \
    ((void)(vmxsim_error_set)(error, code, __VA_ARGS__), (code))

#endif
