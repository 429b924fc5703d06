/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMX region: the 4-KByte frame that VMXON takes, or that holds a VMCS.
 *
 *     byte 0          4               8
 *     +---------------+---------------+----------------------------- - -
 *     | revision 30:0 | VMX-abort     | the processor's own data
 *     | shadow   31   | indicator     | (read and written by VMX instructions only)
 *     +---------------+---------------+----------------------------- - -
 *
 * A zero-initialized region is uninitialized; calls on it answer with VMXC_BAD_STATE. Regions are plain
 * values; copying one does not copy ownership of its frame.
 *
 * Source: Intel SDM volume 3, "Format of the VMCS Region", "Software Use of Virtual-Machine Control Structures".
 */
#ifndef VMXC_REGION_H
#define VMXC_REGION_H

#include "vmxcore/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxc_region {
    struct vmxc_frame frame;
};

/* What a region is for: it decides bit 31 of the first four bytes, the shadow-VMCS indicator. */
enum vmxc_region_kind {
    VMXC_REGION_ORDINARY, /* VMXON region, ordinary VMCS */
    VMXC_REGION_SHADOW,   /* shadow VMCS; needs "VMCS shadowing" */
};

/*
 * Takes a zeroed frame and writes the revision identifier and the shadow-VMCS indicator. The caller vouches that
 * a region fits into a frame; vmxc_region_init_for checks it.
 * Errors: VMXC_INVALID_INPUT (bit 31 of `revision` is set, unknown kind, no HAL), VMXC_NO_MEMORY, VMXC_BAD_STATE
 * (the HAL's frame was refused).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_region_init(struct vmxc_region *region,
                                                  const struct vmxc_hal *hal, uint32_t revision,
                                                  enum vmxc_region_kind kind);

/*
 * As vmxc_region_init, for the processor whose IA32_VMX_BASIC is `vmx_basic`: the revision identifier comes
 * from there. Errors: also VMXC_UNSUPPORTED (regions larger than a frame), VMXC_INVALID_INPUT (no processor
 * reports this value), VMXC_BAD_STATE (VMX structures must lie below 4 GBytes and the HAL's frame does not).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_region_init_for(struct vmxc_region *region,
                                                      const struct vmxc_hal *hal,
                                                      uint64_t vmx_basic,
                                                      enum vmxc_region_kind kind);

/*
 * Gives the frame back. The processor must not use the region any more: VMXOFF or VMCLEAR comes first. Twice is
 * harmless.
 */
void vmxc_region_fini(struct vmxc_region *region);

/* The address that VMXON, VMPTRLD and VMCLEAR take. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_region_hpa(const struct vmxc_region *region, vmxc_hpa_t *hpa);

/* The revision identifier (bits 30:0) that the region holds. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_region_revision(const struct vmxc_region *region,
                                                      uint32_t *revision);

/* Whether the region holds a shadow VMCS. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_region_kind(const struct vmxc_region *region,
                                                  enum vmxc_region_kind *kind);

/* The VMX-abort indicator: 0, or why the processor gave up on a VM exit. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_region_abort_indicator(const struct vmxc_region *region,
                                                             uint32_t *indicator);

#ifdef __cplusplus
}
#endif

#endif
