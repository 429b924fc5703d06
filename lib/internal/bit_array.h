/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An array of bits in a frame, as VMX bitmaps store it: bit n is bit n % 8 of byte n / 8.
 */
#ifndef VMXC_INTERNAL_BIT_ARRAY_H
#define VMXC_INTERNAL_BIT_ARRAY_H

#include "vmxcore/frame.h"
#include "vmxcore/intercept.h"

/*
 * Gives the bits [first, last] of the frame the same value; last < 32768. Announces the bytes it stores to. Each
 * byte is stored once. Errors: VMXC_BAD_STATE (uninitialized frame).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_bit_array_set(struct vmxc_frame *frame, uint32_t first,
                                                    uint32_t last, bool value);

/* Whether a bit of [first, last] is 1; last < 32768. Errors: VMXC_BAD_STATE (uninitialized frame). */
VMXC_MUST_CHECK enum vmxc_status vmxc_bit_array_any(const struct vmxc_frame *frame, uint32_t first,
                                                    uint32_t last, bool *any);

/* True for the two values of the enumeration, which are those of a bit. */
static inline bool vmxc_is_intercept(enum vmxc_intercept intercept)
{
    return intercept == VMXC_PASSTHROUGH || intercept == VMXC_INTERCEPT;
}

#endif
