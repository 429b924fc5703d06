/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For fuzz harnesses: the bytes a fuzzer supplies, read as numbers.
 *
 * Any bytes are a valid input. Where they end, zeros follow, so that a shorter input is the same experiment with less in it,
 * and a fuzzer that cuts an input down keeps what matters.
 */
#ifndef VMXSIM_FUZZ_H
#define VMXSIM_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif

#endif
