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

uint64_t vmxsim_fuzz_value(struct vmxsim_fuzz_input *input)
{
    enum { LITERAL, ONE_BIT, LOW_BITS, ONE_CLEAR, HIGH_BITS, SHAPES };
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
