/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/msr_bitmap.h"

#include "internal/bit_array.h"

#define MSRS_PER_RANGE 0x2000u
#define HIGH_RANGE     UINT32_C(0xc0000000)
#define HIGH_RANGE_BIT (0x400u * 8) /* first bit of the high range within its direction */
#define WRITE_BIT      (0x800u * 8) /* first bit of the write direction */
#define ACCESS_ALL     (VMXC_MSR_ACCESS_READ | VMXC_MSR_ACCESS_WRITE)

static bool is_access(uint32_t access)
{
    return access != 0 && (access & ~ACCESS_ALL) == 0;
}

static bool is_low(uint32_t msr)
{
    return msr < MSRS_PER_RANGE;
}

/* Unsigned arithmetic: an MSR below the range wraps to a large offset. */
static bool is_high(uint32_t msr)
{
    return msr - HIGH_RANGE < MSRS_PER_RANGE;
}

bool vmxc_msr_bitmap_covers(uint32_t msr)
{
    return is_low(msr) || is_high(msr);
}

/* Number of the bit for reading a covered MSR. */
static uint32_t read_bit(uint32_t msr)
{
    return is_low(msr) ? msr : HIGH_RANGE_BIT + (msr - HIGH_RANGE);
}

static enum vmxc_status fill(struct vmxc_msr_bitmap *bitmap, enum vmxc_intercept intercept)
{
    return vmxc_frame_fill(&bitmap->frame, intercept == VMXC_INTERCEPT ? 0xff : 0x00);
}

enum vmxc_status vmxc_msr_bitmap_init(struct vmxc_msr_bitmap *bitmap, const struct vmxc_hal *hal,
                                      enum vmxc_intercept all)
{
    struct vmxc_msr_bitmap fresh;
    enum vmxc_status status;

    if (!vmxc_is_intercept(all))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_frame_alloc(hal, "MSR bitmaps", &fresh.frame));
    status = fill(&fresh, all);
    if (status != VMXC_OK) {
        vmxc_frame_fini(&fresh.frame);
        return status;
    }
    *bitmap = fresh;
    return VMXC_OK;
}

void vmxc_msr_bitmap_fini(struct vmxc_msr_bitmap *bitmap)
{
    vmxc_frame_fini(&bitmap->frame);
}

enum vmxc_status vmxc_msr_bitmap_hpa(const struct vmxc_msr_bitmap *bitmap, vmxc_hpa_t *hpa)
{
    return vmxc_frame_hpa(&bitmap->frame, hpa);
}

enum vmxc_status vmxc_msr_bitmap_set_range(struct vmxc_msr_bitmap *bitmap, uint32_t first,
                                           uint32_t last, uint32_t access,
                                           enum vmxc_intercept intercept)
{
    const bool one_range = (is_low(first) && is_low(last)) || (is_high(first) && is_high(last));
    const bool value = intercept == VMXC_INTERCEPT;
    uint32_t first_bit, last_bit;

    if (!vmxc_frame_is_allocated(&bitmap->frame))
        return VMXC_BAD_STATE;
    if (!one_range || last < first || !is_access(access) || !vmxc_is_intercept(intercept))
        return VMXC_INVALID_INPUT;
    first_bit = read_bit(first);
    last_bit = read_bit(last);
    if ((access & VMXC_MSR_ACCESS_READ) != 0)
        VMXC_TRY(vmxc_bit_array_set(&bitmap->frame, first_bit, last_bit, value));
    if ((access & VMXC_MSR_ACCESS_WRITE) != 0)
        VMXC_TRY(
            vmxc_bit_array_set(&bitmap->frame, WRITE_BIT + first_bit, WRITE_BIT + last_bit, value));
    return VMXC_OK;
}

enum vmxc_status vmxc_msr_bitmap_set(struct vmxc_msr_bitmap *bitmap, uint32_t msr, uint32_t access,
                                     enum vmxc_intercept intercept)
{
    return vmxc_msr_bitmap_set_range(bitmap, msr, msr, access, intercept);
}

enum vmxc_status vmxc_msr_bitmap_intercept_all(struct vmxc_msr_bitmap *bitmap)
{
    return fill(bitmap, VMXC_INTERCEPT);
}

enum vmxc_status vmxc_msr_bitmap_passthrough_all(struct vmxc_msr_bitmap *bitmap)
{
    return fill(bitmap, VMXC_PASSTHROUGH);
}

enum vmxc_status vmxc_msr_bitmap_query(const struct vmxc_msr_bitmap *bitmap, uint32_t msr,
                                       uint32_t access, bool *exits)
{
    uint32_t bit;
    bool reads = false, writes = false;

    if (!vmxc_frame_is_allocated(&bitmap->frame))
        return VMXC_BAD_STATE;
    if (!vmxc_msr_bitmap_covers(msr) || !is_access(access))
        return VMXC_INVALID_INPUT;
    bit = read_bit(msr);
    if ((access & VMXC_MSR_ACCESS_READ) != 0)
        VMXC_TRY(vmxc_bit_array_any(&bitmap->frame, bit, bit, &reads));
    if ((access & VMXC_MSR_ACCESS_WRITE) != 0)
        VMXC_TRY(vmxc_bit_array_any(&bitmap->frame, WRITE_BIT + bit, WRITE_BIT + bit, &writes));
    *exits = reads || writes;
    return VMXC_OK;
}

bool vmxc_msr_bitmap_exits(const struct vmxc_msr_bitmap *bitmap, uint32_t msr, uint32_t access)
{
    bool exits;

    return vmxc_msr_bitmap_query(bitmap, msr, access, &exits) != VMXC_OK || exits;
}
