/* SPDX-License-Identifier: Apache-2.0 */
/* What every harness needs: the entry point, and how a property that does not hold ends the process. */
#ifndef VMXSIM_FUZZ_HARNESS_H
#define VMXSIM_FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reproduce.h"
#include "vmxsim/cpu.h"
#include "vmxsim/fuzz.h"

/* One input, one experiment. Returns 0; a property that does not hold aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RAM from address 0 on, without poison; a processor on it. Made once, and never given back. */
struct vmxsim_memory *harness_memory(uint64_t size);
struct vmxsim_cpu *harness_processor(struct vmxsim_memory *memory,
                                     const struct vmxsim_profile *profile);

/* The machine of this input, as every input finds it. */
void harness_next(struct vmxsim_fuzz_loop *loop);

/* Of what the last input left in its machine: memory and statistics. 0: it had none. */
uint64_t harness_digest(void);

/*
 * A harness that notes what it does (reproduce.h) says so at the beginning of each input: if a property does not hold, the
 * input runs again, and is printed as programs.
 */
void harness_reproduces(const uint8_t *data, size_t size);

/* For those who run many inputs to find a smaller one that fails alike: a failure is told to them alone. */
extern void (*harness_on_failure)(const char *file, int line);

/* The file that the input is; NULL: it is none. Named in a failure. */
extern const char *harness_file;

/* Prints the message and aborts if `holds` is false. */
#define REQUIRE(holds, ...)                                        \
    do {                                                           \
        if (!(holds))                                              \
            harness_fail(__FILE__, __LINE__, #holds, __VA_ARGS__); \
    } while (0)

__attribute__((noreturn, format(printf, 4, 5))) void
harness_fail(const char *file, int line, const char *condition, const char *format, ...);

#endif
