/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void (*harness_on_failure)(const char *file, int line);
const char *harness_file;

static const struct vmxsim_fuzz_loop *current; /* of the input that runs */

struct vmxsim_memory *harness_memory(uint64_t size)
{
    const struct vmxsim_range ram = {.base = 0, .length = size};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    struct vmxsim_memory *memory;

    REQUIRE(vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK, "no memory");
    return memory;
}

struct vmxsim_cpu *harness_processor(struct vmxsim_memory *memory,
                                     const struct vmxsim_profile *profile)
{
    struct vmxsim_cpu *cpu;

    REQUIRE(vmxsim_cpu_create(memory, profile, &cpu) == VMXC_OK, "no processor");
    return cpu;
}

void harness_next(struct vmxsim_fuzz_loop *loop)
{
    vmxsim_fuzz_loop_next(loop);
    current = loop;
}

uint64_t harness_digest(void)
{
    if (current == NULL)
        return 0;
    const struct vmxsim_digest memory = vmxsim_memory_digest(current->memory);
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(current->memory);

    return memory.low ^ stats.allocations << 1 ^ stats.frees << 17 ^ stats.frames_peak << 33 ^
           stats.hole_reads << 40 ^ stats.hole_writes << 48 ^ stats.invalidations << 25;
}

/* The input that runs, of a harness that notes what it does. */
static const uint8_t *input;
static size_t input_size;

void harness_reproduces(const uint8_t *data, size_t size)
{
    input = data;
    input_size = size;
}

/* The input once more, with notes; it fails again and ends there. */
static void reproduce_input(const char *what)
{
    reproduce_begin(what);
    (void)LLVMFuzzerTestOneInput(input, input_size);
    (void)fprintf(stderr, "the input does not fail again: it depends on those before it\n");
}

void harness_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    char message[512];
    va_list arguments;

    if (harness_on_failure != NULL)
        harness_on_failure(file, line);
    if (reproducing) {
        reproduce_print();
        abort();
    }
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    (void)fflush(stdout); /* what a harness has printed of the experiment */
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n    %s\n", file, line, condition, message);
    if (harness_file != NULL)
        (void)fprintf(stderr, "    input: %s\n", harness_file);
    if (input != NULL)
        reproduce_input(message);
    abort();
}
