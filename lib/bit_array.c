/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/bit_array.h"

#include "internal/hal.h"
#include "internal/string.h"

/* The bits of byte `index` that lie in the bit range [first, last]. */
static uint8_t byte_mask(uint32_t index, uint32_t first, uint32_t last)
{
    const uint32_t low = index == first / 8 ? first % 8 : 0;
    const uint32_t high = index == last / 8 ? last % 8 : 7;

    return (uint8_t)((0xffu >> (7 - high)) & (0xffu << low));
}

static void store(uint8_t *byte, uint8_t mask, bool value)
{
    *byte = (uint8_t)(value ? *byte | mask : *byte & ~mask);
}

enum vmxc_status vmxc_bit_array_set(struct vmxc_frame *frame, uint32_t first, uint32_t last,
                                    bool value)
{
    const uint32_t first_byte = first / 8, last_byte = last / 8;
    void *pointer;
    uint8_t *bytes;

    VMXC_TRY(vmxc_frame_ptr(frame, &pointer));
    bytes = pointer;
    vmxc_hal_mark_dirty(frame->hal, frame->hpa + first_byte, last_byte - first_byte + 1);
    store(&bytes[first_byte], byte_mask(first_byte, first, last), value);
    if (last_byte == first_byte)
        return VMXC_OK;
    memset(&bytes[first_byte + 1], value ? 0xff : 0, last_byte - first_byte - 1);
    store(&bytes[last_byte], byte_mask(last_byte, first, last), value);
    return VMXC_OK;
}

enum vmxc_status vmxc_bit_array_any(const struct vmxc_frame *frame, uint32_t first, uint32_t last,
                                    bool *any)
{
    void *pointer;
    const uint8_t *bytes;
    uint8_t found = 0;

    VMXC_TRY(vmxc_frame_ptr(frame, &pointer));
    bytes = pointer;
    for (uint32_t i = first / 8; i <= last / 8; i++)
        found |= (uint8_t)(bytes[i] & byte_mask(i, first, last));
    *any = found != 0;
    return VMXC_OK;
}
