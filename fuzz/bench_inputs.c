/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs of a certain length for measurements: bench_inputs HARNESS OPERATIONS COUNT FOLDER writes COUNT inputs of a head and
 * so many operations, made by the mutators, always the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/fuzz_shape.h"
#include "shapes.h"

enum { MAX_SIZE = 1 << 12, MAX_PATH = 4096 };

/* Bytes that count as one operation where a shape knows none. */
enum { BYTES_OF_CHOICES = 14 };

static bool is_bytes(const struct vmxsim_fuzz_shape *shape)
{
    return shape->operation_count == 1 && strcmp(shape->operation[0], "1") == 0;
}

/* Where the operation of this number starts; 0 if the input has fewer. */
static size_t end_of(const struct vmxsim_fuzz_shape *shape, const uint8_t *bytes, size_t size,
                     unsigned long operations)
{
    size_t at = vmxsim_fuzz_skip(vmxsim_fuzz_head(shape, bytes, size));

    for (; operations > 0 && at < size; operations--)
        at = vmxsim_fuzz_skip(vmxsim_fuzz_operation(shape, bytes, size, at));
    return operations == 0 ? at : 0;
}

/* Grows an input until it has enough operations, and cuts it behind the last of them. */
static size_t make(const struct vmxsim_fuzz_shape *shape, unsigned long operations, uint64_t seed,
                   uint8_t bytes[MAX_SIZE])
{
    size_t size = 0, end = 0;

    for (uint64_t i = 0; end == 0; i++) {
        size = vmxsim_fuzz_mutate(shape, bytes, size, MAX_SIZE, seed + i);
        if (size > 0 && shape->operation_count == 0 && i >= 16)
            return size;
        end = end_of(shape, bytes, size, operations);
    }
    return end;
}

static bool write_file(const char *folder, unsigned long number, const uint8_t *bytes, size_t size)
{
    char path[MAX_PATH];
    const int length = snprintf(path, sizeof path, "%s/%03lu", folder, number);
    FILE *const file = length > 0 && length < MAX_PATH ? fopen(path, "wb") : NULL;

    if (file == NULL)
        return false;
    const bool written = fwrite(bytes, 1, size, file) == size;
    return fclose(file) == 0 && written;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[MAX_SIZE];
    const struct vmxsim_fuzz_shape *const shape = argc == 5 ? fuzz_shape(argv[1]) : NULL;

    if (shape == NULL || shape->head == NULL) { /* too few arguments, or a text */
        (void)fprintf(stderr, "usage: %s HARNESS OPERATIONS COUNT FOLDER\n", argv[0]);
        return 2;
    }
    const unsigned long factor = is_bytes(shape) ? BYTES_OF_CHOICES : 1;
    const unsigned long operations = strtoul(argv[2], NULL, 10) * factor;
    const unsigned long count = strtoul(argv[3], NULL, 10);
    for (unsigned long i = 0; i < count; i++) {
        const size_t size = make(shape, operations, i * 100000, bytes);
        if (!write_file(argv[4], i, bytes, size)) {
            perror(argv[4]);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
