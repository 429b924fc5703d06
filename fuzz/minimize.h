/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMXSIM_FUZZ_MINIMIZE_H
#define VMXSIM_FUZZ_MINIMIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Makes an input that fails smaller, as long as it fails at the same place: parts of it go, then bytes become zero. Each attempt
 * runs in a process of its own. `bytes` and `size` change in place. False: the input does not fail.
 */
bool minimize(uint8_t *bytes, size_t *size);

#endif
