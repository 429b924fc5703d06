/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For fuzz harnesses: the bytes a fuzzer supplies, read as numbers; mutators that know how a harness reads them; and a
 * machine that each input finds as it was.
 *
 * Any bytes are a valid input. Where they end, zeros follow, so that a shorter input is the same experiment with less in it,
 * and a fuzzer that cuts an input down keeps what matters.
 *
 * vmxsim/fuzz_engine.h makes the entry points of libFuzzer and AFL++ from a shape.
 */
#ifndef VMXSIM_FUZZ_H
#define VMXSIM_FUZZ_H

#include "vmxsim/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Input ---- */

/* What is left of an input; the bytes stay the caller's. */
struct vmxsim_fuzz_input {
    const uint8_t *next;
    size_t left;
};

/* The next `size` bytes (1 to 8) as a little-endian number. */
uint64_t vmxsim_fuzz_take(struct vmxsim_fuzz_input *input, unsigned size);

/* 0 to bound - 1, from one byte or, for a bound above 256, from two; bound: 1 to 65536. */
uint32_t vmxsim_fuzz_below(struct vmxsim_fuzz_input *input, uint32_t bound);

/*
 * A number of up to 64 bits as rules tend to decide about them. The first byte says which: a few bytes as they are, one bit,
 * all bits below one, or either of these inverted; further bytes supply what it needs.
 */
uint64_t vmxsim_fuzz_value(struct vmxsim_fuzz_input *input);

enum { VMXSIM_FUZZ_VALUE_SIZE = 9 }; /* bytes that a value takes at most */

/* The reverse: bytes that vmxsim_fuzz_value reads as `value`, few of them. Returns how many; for seeds and mutators. */
size_t vmxsim_fuzz_put_value(uint64_t value, uint8_t bytes[VMXSIM_FUZZ_VALUE_SIZE]);

/*
 * How a harness reads its input: some items once, then operations until the input ends. Items are letters, spaces do not
 * count:
 *
 *     1 to 8          a number of that many bytes (vmxsim_fuzz_take; vmxsim_fuzz_below takes 1, or 2 for a bound above 256)
 *     v               vmxsim_fuzz_value
 *     f               the ordinal of a VMCS field (vmxsim_fuzz_below); a value right after it is the field's
 *     m               the index of an MSR, by vmxsim_fuzz_value
 *     1>bf(v:2)       a number, and if it is greater than the hexadecimal one `v`, otherwise `2`; `:2` may be missing
 *
 * A byte in front of an operation's own items selects it, if there are several: operation[(byte & selector) % count].
 */
struct vmxsim_fuzz_shape {
    const char *head;             /* NULL: the input is text; nothing else counts then */
    const char *const *operation; /* NULL if nothing follows the head */
    size_t operation_count;
    uint8_t selector; /* 0: all bits of the byte count */
};

/* Whether the items are written as told. Mutators take the end of what they can read for the end of the items. */
bool vmxsim_fuzz_shape_is_valid(const struct vmxsim_fuzz_shape *shape);

/*
 * Changes an input of `size` bytes in place, a few times: operations go, come, change places, are repeated or made anew, one
 * operand changes to a value next to what it was or next to one that rules decide about. Of a text: the same with lines and
 * words. The same arguments lead to the same bytes.
 *
 * The buffer has max_size bytes; of an input that is longer, the rest is dropped. Returns the new size.
 */
size_t vmxsim_fuzz_mutate(const struct vmxsim_fuzz_shape *shape, uint8_t *data, size_t size,
                          size_t max_size, uint64_t seed);

/* Puts operations (lines) of another input between those of this one, or in place of its last ones; otherwise the same. */
size_t vmxsim_fuzz_splice(const struct vmxsim_fuzz_shape *shape, uint8_t *data, size_t size,
                          size_t max_size, const uint8_t *other, size_t other_size, uint64_t seed);

/* ---- The machine ---- */

/*
 * A harness sets its machine up once, as far as inputs have it in common, and begins a loop there; each input starts with
 * vmxsim_fuzz_loop_next, and what the one before it did is undone, at the cost of the pages that it wrote:
 *
 *     if (loop.memory == NULL)
 *         set_up(&loop); ... vmxsim_fuzz_loop_begin(&loop, memory, values, 2) ...
 *     vmxsim_fuzz_loop_next(&loop);
 *
 * Memory, frames in use, counters, failure injection and the processors of the memory return, and so do the values that
 * are named at the beginning (snapshot.h says what a value may be). Callbacks stay: whoever sets one for an input
 * takes it away again.
 */
struct vmxsim_fuzz_value_at {
    void *value; /* struct vmxc_addrspace, a bitmap, an account that the harness keeps ... */
    size_t size; /* bytes */
};

#define VMXSIM_FUZZ_MAX_VALUES 8u

/* All zero: not begun. */
struct vmxsim_fuzz_loop {
    struct vmxsim_memory *memory;
    void *value[VMXSIM_FUZZ_MAX_VALUES];
    uint32_t count;
};

/*
 * Every vmxsim_fuzz_loop_next returns to here. `count` values, at most VMXSIM_FUZZ_MAX_VALUES, stay where they are until
 * the loop ends. Errors: VMXC_INVALID_INPUT (too many values, or one that is NULL or empty), VMXC_ALREADY_EXISTS (a
 * value is registered already), VMXC_BUSY (the memory has a snapshot), VMXC_NO_MEMORY; nothing has changed then.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_fuzz_loop_begin(struct vmxsim_fuzz_loop *loop,
                                                        struct vmxsim_memory *memory,
                                                        const struct vmxsim_fuzz_value_at *values,
                                                        size_t count);

/* All is as it was at the beginning. Without a beginning nothing happens. */
void vmxsim_fuzz_loop_next(struct vmxsim_fuzz_loop *loop);

/* Forgets the snapshot and the values; the machine stays as it is. */
void vmxsim_fuzz_loop_end(struct vmxsim_fuzz_loop *loop);

/*
 * Calls `visit` for each 4-KByte page that may have been written since the last vmxsim_fuzz_loop_next (or since the loop began),
 * ascending: what a harness compares to see what an operation changed. `visit` must not write to the memory.
 */
void vmxsim_fuzz_loop_written_pages(const struct vmxsim_fuzz_loop *loop,
                                    void (*visit)(void *context, uint64_t hpa,
                                                  const uint8_t *bytes),
                                    void *context);

#ifdef __cplusplus
}
#endif

#endif
