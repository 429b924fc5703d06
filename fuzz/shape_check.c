/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a harness reads its input as its row in shapes.def says. The linker puts the functions here between the harness and
 * the library (--wrap); they note what the harness reads, and it must be what the shape tells of the same bytes. A harness
 * may stop early, at a limit or where an experiment ends; each operation of the shape must come up.
 */
#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal/fuzz_shape.h"
#include "shapes.h"

enum { MAX_SIZE = 512, MAX_READS = MAX_SIZE, INPUTS = 1000, START_AGAIN = 40 };

static unsigned reads[MAX_READS]; /* widths; 0: a value */
static size_t read_count;
static const uint8_t *reached;
static bool is_harness; /* the mutators read, too */

/* ---- What the harness reads ---- */

/* Where the input has ended, harnesses read zeros as they please. What is read again was noted the first time. */
static void note(const struct vmxsim_fuzz_input *input, unsigned width)
{
    is_harness = is_harness && input->next >= reached;
    reached = input->next;
    if (is_harness && input->left > 0 && read_count < MAX_READS)
        reads[read_count++] = width;
}

uint64_t __real_vmxsim_fuzz_take(struct vmxsim_fuzz_input *input, unsigned size);
uint64_t __wrap_vmxsim_fuzz_take(struct vmxsim_fuzz_input *input, unsigned size);
uint32_t __real_vmxsim_fuzz_below(struct vmxsim_fuzz_input *input, uint32_t bound);
uint32_t __wrap_vmxsim_fuzz_below(struct vmxsim_fuzz_input *input, uint32_t bound);
uint64_t __real_vmxsim_fuzz_value(struct vmxsim_fuzz_input *input);
uint64_t __wrap_vmxsim_fuzz_value(struct vmxsim_fuzz_input *input);

uint64_t __wrap_vmxsim_fuzz_take(struct vmxsim_fuzz_input *input, unsigned size)
{
    note(input, size);
    return __real_vmxsim_fuzz_take(input, size);
}

uint32_t __wrap_vmxsim_fuzz_below(struct vmxsim_fuzz_input *input, uint32_t bound)
{
    note(input, bound > 256 ? 2 : 1);
    return __real_vmxsim_fuzz_below(input, bound);
}

uint64_t __wrap_vmxsim_fuzz_value(struct vmxsim_fuzz_input *input)
{
    note(input, 0);
    return __real_vmxsim_fuzz_value(input);
}

/* ---- What the shape says ---- */

struct comparison {
    const struct vmxsim_fuzz_shape *shape;
    size_t compared; /* reads */
    bool seen[256];  /* operations */
    size_t seen_count;
};

/* False: the harness has stopped. */
static bool compare(struct comparison *comparison, struct vmxsim_fuzz_cursor *cursor)
{
    struct vmxsim_fuzz_item item;

    while (cursor->at < cursor->size && vmxsim_fuzz_peek(cursor, &item)) {
        if (comparison->compared == read_count)
            return false;
        REQUIRE(reads[comparison->compared] == item.width,
                "read %zu, at byte %zu: %u bytes, the shape says %u (0: a value)",
                comparison->compared, cursor->at, reads[comparison->compared], item.width);
        comparison->compared++;
        vmxsim_fuzz_advance(cursor, &item);
    }
    return true;
}

static void note_operation(struct comparison *comparison, unsigned byte)
{
    const struct vmxsim_fuzz_shape *const shape = comparison->shape;
    const size_t number =
        (shape->selector ? byte & shape->selector : byte) % shape->operation_count;

    comparison->seen_count += !comparison->seen[number];
    comparison->seen[number] = true;
}

static void run(struct comparison *comparison, const uint8_t *bytes, size_t size)
{
    struct vmxsim_fuzz_cursor cursor = vmxsim_fuzz_head(comparison->shape, bytes, size);

    read_count = 0;
    comparison->compared = 0;
    is_harness = true;
    reached = bytes;
    (void)LLVMFuzzerTestOneInput(bytes, size);
    is_harness = false;
    bool goes_on = compare(comparison, &cursor);
    while (goes_on && cursor.at < size && comparison->shape->operation_count > 0) {
        const unsigned byte = bytes[cursor.at];
        cursor = vmxsim_fuzz_operation(comparison->shape, bytes, size, cursor.at);
        goes_on = compare(comparison, &cursor);
        if (goes_on)
            note_operation(comparison, byte);
    }
    REQUIRE(comparison->compared == read_count, "%zu reads, the shape has %zu", read_count,
            comparison->compared);
}

int main(void)
{
    static struct comparison comparison;
    static uint8_t bytes[MAX_SIZE];
    size_t size = 0;

    comparison.shape = fuzz_shape(HARNESS);
    REQUIRE(vmxsim_fuzz_shape_is_valid(comparison.shape), "the shape is not valid");
    for (uint64_t seed = 0; seed < INPUTS; seed++) {
        size = vmxsim_fuzz_mutate(comparison.shape, bytes, seed % START_AGAIN == 0 ? 0 : size,
                                  sizeof bytes, seed);
        run(&comparison, bytes, size);
    }
    REQUIRE(comparison.seen_count == comparison.shape->operation_count,
            "%zu of %zu operations came up", comparison.seen_count,
            comparison.shape->operation_count);
    (void)printf("%d inputs, %zu operations\n", INPUTS, comparison.seen_count);
    return EXIT_SUCCESS;
}
