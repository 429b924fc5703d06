/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MSR bitmaps: one frame, one bit per MSR and direction for two ranges of MSRs, 1 causes a VM exit.
 *
 *     byte 000H  RDMSR of 00000000H-00001FFFH
 *     byte 400H  RDMSR of C0000000H-C0001FFFH
 *     byte 800H  WRMSR of 00000000H-00001FFFH
 *     byte C00H  WRMSR of C0000000H-C0001FFFH
 *
 * An access to an MSR outside both ranges always causes a VM exit; the bitmaps have no bit for it.
 *
 * A zero-initialized bitmap is uninitialized; calls on it answer with VMXC_BAD_STATE. A processor may run with the
 * bitmaps while they are changed: it sees each byte before or after the change.
 *
 * Source: Intel SDM volume 3, "MSR-Bitmap Address".
 */
#ifndef VMXC_MSR_BITMAP_H
#define VMXC_MSR_BITMAP_H

#include "vmxcore/frame.h"
#include "vmxcore/intercept.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxc_msr_bitmap {
    struct vmxc_frame frame;
};

/* Directions, combined with |. */
#define VMXC_MSR_ACCESS_READ  1u
#define VMXC_MSR_ACCESS_WRITE 2u

/*
 * Takes one frame; every access starts as `all` says. Errors: VMXC_INVALID_INPUT (unknown value, no HAL),
 * VMXC_NO_MEMORY, VMXC_BAD_STATE (the HAL's frame was refused).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_init(struct vmxc_msr_bitmap *bitmap,
                                                      const struct vmxc_hal *hal,
                                                      enum vmxc_intercept all);

/* Gives the frame back. No VMCS in use may name it any more. Twice is harmless. */
void vmxc_msr_bitmap_fini(struct vmxc_msr_bitmap *bitmap);

/* The address for the VMCS field "address of MSR bitmaps". Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_hpa(const struct vmxc_msr_bitmap *bitmap,
                                                     vmxc_hpa_t *hpa);

/* True if the bitmaps have bits for this MSR. */
bool vmxc_msr_bitmap_covers(uint32_t msr);

/*
 * Sets the bits of one MSR for the directions in `access`. Errors: VMXC_INVALID_INPUT (the MSR is in neither range;
 * no direction or an unknown one; unknown intercept), VMXC_BAD_STATE.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_set(struct vmxc_msr_bitmap *bitmap, uint32_t msr,
                                                     uint32_t access,
                                                     enum vmxc_intercept intercept);

/* As vmxc_msr_bitmap_set for the MSRs [first, last], both included and in the same range. Errors: also
 * VMXC_INVALID_INPUT if last < first or the two lie in different ranges; nothing is changed then. */
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_set_range(struct vmxc_msr_bitmap *bitmap,
                                                           uint32_t first, uint32_t last,
                                                           uint32_t access,
                                                           enum vmxc_intercept intercept);

/* Every MSR of both ranges at once, both directions. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_intercept_all(struct vmxc_msr_bitmap *bitmap);
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_passthrough_all(struct vmxc_msr_bitmap *bitmap);

/*
 * Whether an access to `msr` in any of the directions in `access` causes a VM exit by the bitmaps. Errors:
 * VMXC_INVALID_INPUT (the MSR is in neither range, so it always does; no direction or an unknown one),
 * VMXC_BAD_STATE.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_msr_bitmap_query(const struct vmxc_msr_bitmap *bitmap,
                                                       uint32_t msr, uint32_t access, bool *exits);

/*
 * Whether the access causes a VM exit, where a status is of no use: true for MSRs outside both ranges and for
 * everything else that vmxc_msr_bitmap_query refuses.
 */
bool vmxc_msr_bitmap_exits(const struct vmxc_msr_bitmap *bitmap, uint32_t msr, uint32_t access);

#ifdef __cplusplus
}
#endif

#endif
