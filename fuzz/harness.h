/* SPDX-License-Identifier: Apache-2.0 */
/* What every harness needs: the entry point, and how a property that does not hold ends the process. */
#ifndef VMXSIM_FUZZ_HARNESS_H
#define VMXSIM_FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmxsim/fuzz.h"

/* One input, one experiment. Returns 0; a property that does not hold aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prints the message and aborts if `holds` is false. */
#define REQUIRE(holds, ...)                                        \
    do {                                                           \
        if (!(holds))                                              \
            harness_fail(__FILE__, __LINE__, #holds, __VA_ARGS__); \
    } while (0)

__attribute__((noreturn, format(printf, 4, 5))) void
harness_fail(const char *file, int line, const char *condition, const char *format, ...);

#endif
