/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void (*harness_on_failure)(const char *file, int line);

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
    if (input != NULL)
        reproduce_input(message);
    abort();
}
