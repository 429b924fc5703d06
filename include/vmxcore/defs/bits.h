/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits and fields written the way the manual prints them: bit 7, bits 51:12.
 *
 *     VMXC_BITS(5, 3)                         -> 0x38
 *     VMXC_FIELD_GET(eptp, VMXC_BITS(5, 3))   -> the field's value, shifted down
 */
#ifndef VMXC_DEFS_BITS_H
#define VMXC_DEFS_BITS_H

#include <stdint.h>

#define VMXC_BIT(n)       (UINT64_C(1) << (n))
#define VMXC_BITS(hi, lo) ((~UINT64_C(0) >> (63 - ((hi) - (lo)))) << (lo))

/* The lowest set bit of a mask is the field's scale: multiply to shift up, divide to shift down. */
#define VMXC_LOWEST_BIT(mask)        ((mask) & (~(mask) + 1))
#define VMXC_FIELD_GET(value, mask)  (((value) & (mask)) / VMXC_LOWEST_BIT(mask))
#define VMXC_FIELD_MAKE(value, mask) (((uint64_t)(value)*VMXC_LOWEST_BIT(mask)) & (mask))

#endif
