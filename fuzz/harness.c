/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void harness_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list arguments;

    (void)fflush(stdout); /* what a harness has printed of the experiment */
    va_start(arguments, format);
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n    ", file, line, condition);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    abort();
}
