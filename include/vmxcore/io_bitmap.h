/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O bitmaps A (ports 0-7FFFH) and B (ports 8000H-FFFFH): one bit per port, 1 causes a VM exit.
 *
 * An access of 1, 2 or 4 bytes at a port touches as many ports; it causes a VM exit if the bit of any of them is
 * 1. An access that wraps around FFFFH always does, whatever the bitmaps say.
 *
 * A zero-initialized bitmap is uninitialized; calls on it answer with VMXC_BAD_STATE. A processor may run with the
 * bitmaps while they are changed: it sees each byte before or after the change.
 *
 * Source: Intel SDM volume 3, "I/O-Bitmap Addresses", "Instructions That Cause VM Exits Conditionally".
 */
#ifndef VMXC_IO_BITMAP_H
#define VMXC_IO_BITMAP_H

#include "vmxcore/frame.h"
#include "vmxcore/intercept.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxc_io_bitmap {
    struct vmxc_frame a, b;
};

/*
 * Takes two frames; every port starts as `all` says. Errors: VMXC_INVALID_INPUT (unknown value, no HAL),
 * VMXC_NO_MEMORY, VMXC_BAD_STATE (the HAL's frame was refused).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_init(struct vmxc_io_bitmap *bitmap,
                                                     const struct vmxc_hal *hal,
                                                     enum vmxc_intercept all);

/* Gives the frames back. No VMCS in use may name them any more. Twice is harmless. */
void vmxc_io_bitmap_fini(struct vmxc_io_bitmap *bitmap);

/* The addresses for the VMCS fields "address of I/O bitmap A" and "B". Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_hpa(const struct vmxc_io_bitmap *bitmap,
                                                    vmxc_hpa_t *a_hpa, vmxc_hpa_t *b_hpa);

/*
 * Sets the bits of the `size` (1, 2 or 4) ports from `port` on. Errors: VMXC_INVALID_INPUT (another size, the
 * ports wrap around FFFFH, unknown intercept), VMXC_BAD_STATE.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_set(struct vmxc_io_bitmap *bitmap, uint16_t port,
                                                    uint32_t size, enum vmxc_intercept intercept);

/* Sets the bits of the ports [first, last], both included. Errors: VMXC_INVALID_INPUT (last < first, unknown
 * intercept), VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_set_range(struct vmxc_io_bitmap *bitmap,
                                                          uint16_t first, uint16_t last,
                                                          enum vmxc_intercept intercept);

/* Every port at once. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_intercept_all(struct vmxc_io_bitmap *bitmap);
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_passthrough_all(struct vmxc_io_bitmap *bitmap);

/*
 * Whether an access of `size` bytes at `port` causes a VM exit. Errors: VMXC_INVALID_INPUT (the size is not 1, 2
 * or 4), VMXC_BAD_STATE.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_io_bitmap_query(const struct vmxc_io_bitmap *bitmap,
                                                      uint16_t port, uint32_t size, bool *exits);

/* The same where a status is of no use: true also for every access that vmxc_io_bitmap_query refuses. */
bool vmxc_io_bitmap_exits(const struct vmxc_io_bitmap *bitmap, uint16_t port, uint32_t size);

#ifdef __cplusplus
}
#endif

#endif
