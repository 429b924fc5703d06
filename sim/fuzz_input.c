/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/fuzz.h"

uint64_t vmxsim_fuzz_take(struct vmxsim_fuzz_input *input, unsigned size)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size && input->left > 0; i++) {
        number |= (uint64_t)*input->next++ << (8 * i);
        input->left--;
    }
    return number;
}

uint32_t vmxsim_fuzz_below(struct vmxsim_fuzz_input *input, uint32_t bound)
{
    return (uint32_t)vmxsim_fuzz_take(input, bound > 256 ? 2 : 1) % bound;
}

enum { LITERAL, ONE_BIT, LOW_BITS, ONE_CLEAR, HIGH_BITS, SHAPES };

uint64_t vmxsim_fuzz_value(struct vmxsim_fuzz_input *input)
{
    const unsigned first = (unsigned)vmxsim_fuzz_take(input, 1);
    const unsigned shape = first % SHAPES;

    if (shape == LITERAL)
        return vmxsim_fuzz_take(input, 1 + first / SHAPES % 8);
    const uint64_t bit = UINT64_C(1) << (vmxsim_fuzz_take(input, 1) & 63);
    switch (shape) {
    case ONE_BIT:
        return bit;
    case LOW_BITS:
        return bit - 1;
    case ONE_CLEAR:
        return ~bit;
    default:
        return ~(bit - 1);
    }
}

/* The shape, other than a literal, that has this value, and its bit; LITERAL if none has. */
static unsigned find_shape(uint64_t value, unsigned *bit)
{
    for (*bit = 0; *bit < 64; (*bit)++) {
        const uint64_t one = UINT64_C(1) << *bit;
        if (value == one)
            return ONE_BIT;
        if (value == one - 1)
            return LOW_BITS;
        if (value == ~one)
            return ONE_CLEAR;
        if (value == ~(one - 1))
            return HIGH_BITS;
    }
    return LITERAL;
}

size_t vmxsim_fuzz_put_value(uint64_t value, uint8_t bytes[VMXSIM_FUZZ_VALUE_SIZE])
{
    unsigned bit;
    unsigned size = 1;

    bytes[0] = (uint8_t)find_shape(value, &bit);
    if (bytes[0] != LITERAL) {
        bytes[1] = (uint8_t)bit;
        return 2;
    }
    while (size < 8 && value >> (8 * size) != 0)
        size++;
    bytes[0] = (uint8_t)(LITERAL + SHAPES * (size - 1));
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(value >> (8 * i));
    return 1 + size;
}
