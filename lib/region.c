/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/region.h"

#include "internal/hal.h"
#include "vmxcore/caps.h"
#include "vmxcore/defs/msr.h"

/* Layout of the first eight bytes. */
#define REGION_WORD_IDENTIFIER 0u /* revision identifier and shadow indicator */
#define REGION_WORD_ABORT      1u /* VMX-abort indicator */
#define REGION_SHADOW          UINT32_C(0x80000000)

static enum vmxc_status read_word(const struct vmxc_region *region, uint32_t index, uint32_t *word)
{
    void *pointer;

    VMXC_TRY(vmxc_frame_ptr(&region->frame, &pointer));
    *word = ((const volatile uint32_t *)pointer)[index];
    return VMXC_OK;
}

static enum vmxc_status write_word(struct vmxc_region *region, uint32_t index, uint32_t word)
{
    void *pointer;

    VMXC_TRY(vmxc_frame_ptr(&region->frame, &pointer));
    vmxc_hal_mark_dirty(region->frame.hal, region->frame.hpa + index * sizeof(word), sizeof(word));
    ((uint32_t *)pointer)[index] = word;
    return VMXC_OK;
}

enum vmxc_status vmxc_region_init(struct vmxc_region *region, const struct vmxc_hal *hal,
                                  uint32_t revision, enum vmxc_region_kind kind)
{
    struct vmxc_region fresh;
    enum vmxc_status status;

    if ((revision & REGION_SHADOW) != 0)
        return VMXC_INVALID_INPUT;
    if (kind != VMXC_REGION_ORDINARY && kind != VMXC_REGION_SHADOW)
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_frame_alloc_zeroed(hal, "VMX region", &fresh.frame));
    status = write_word(&fresh, REGION_WORD_IDENTIFIER,
                        kind == VMXC_REGION_SHADOW ? revision | REGION_SHADOW : revision);
    if (status != VMXC_OK) {
        vmxc_frame_fini(&fresh.frame);
        return status;
    }
    *region = fresh;
    return VMXC_OK;
}

enum vmxc_status vmxc_region_init_for(struct vmxc_region *region, const struct vmxc_hal *hal,
                                      uint64_t vmx_basic, enum vmxc_region_kind kind)
{
    const struct vmxc_caps_basic basic = vmxc_caps_basic(vmx_basic);
    struct vmxc_region fresh;

    if (basic.region_size == 0 || (vmx_basic & VMXC_BIT(31)) != 0)
        return VMXC_INVALID_INPUT;
    if (!vmxc_caps_has_frame_sized_regions(vmx_basic))
        return VMXC_UNSUPPORTED;
    VMXC_TRY(vmxc_region_init(&fresh, hal, basic.revision, kind));
    if (basic.address_32 && fresh.frame.hpa > UINT32_MAX) {
        vmxc_region_fini(&fresh);
        return VMXC_BAD_STATE;
    }
    *region = fresh;
    return VMXC_OK;
}

void vmxc_region_fini(struct vmxc_region *region)
{
    vmxc_frame_fini(&region->frame);
}

enum vmxc_status vmxc_region_hpa(const struct vmxc_region *region, vmxc_hpa_t *hpa)
{
    return vmxc_frame_hpa(&region->frame, hpa);
}

enum vmxc_status vmxc_region_revision(const struct vmxc_region *region, uint32_t *revision)
{
    uint32_t word;

    VMXC_TRY(read_word(region, REGION_WORD_IDENTIFIER, &word));
    *revision = word & ~REGION_SHADOW;
    return VMXC_OK;
}

enum vmxc_status vmxc_region_kind(const struct vmxc_region *region, enum vmxc_region_kind *kind)
{
    uint32_t word;

    VMXC_TRY(read_word(region, REGION_WORD_IDENTIFIER, &word));
    *kind = (word & REGION_SHADOW) != 0 ? VMXC_REGION_SHADOW : VMXC_REGION_ORDINARY;
    return VMXC_OK;
}

enum vmxc_status vmxc_region_abort_indicator(const struct vmxc_region *region, uint32_t *indicator)
{
    return read_word(region, REGION_WORD_ABORT, indicator);
}
