/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame: one owned 4-KByte page of physical memory.
 *
 * A frame value is either *allocated* (it owns a page and must be given back with vmxc_frame_fini) or
 * *uninitialized* (vmxc_frame_uninit, or after fini). Every call on an uninitialized frame answers with
 * VMXC_BAD_STATE. Frames are plain values; copying one does not copy ownership.
 */
#ifndef VMXC_FRAME_H
#define VMXC_FRAME_H

#include "vmxcore/hal.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxc_frame {
    const struct vmxc_hal *hal; /* NULL: uninitialized */
    vmxc_hpa_t hpa;
};

/* An uninitialized frame. */
struct vmxc_frame vmxc_frame_uninit(void);

/* True if the frame owns a page. */
bool vmxc_frame_is_allocated(const struct vmxc_frame *frame);

/*
 * Takes a frame from the HAL; its content is undefined. `label` is a static string, see
 * vmxc_hal.alloc_frame. A HAL that hands out address 0, a misaligned address or one it cannot map is
 * refused: the frame goes back to it and the call returns VMXC_BAD_STATE.
 * Errors: VMXC_NO_MEMORY, VMXC_BAD_STATE, VMXC_INVALID_INPUT (no HAL, one without a mandatory member, or one whose
 * window starts within a page).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_frame_alloc(const struct vmxc_hal *hal, const char *label,
                                                  struct vmxc_frame *frame);

/* As vmxc_frame_alloc; every byte is zero. */
VMXC_MUST_CHECK enum vmxc_status
vmxc_frame_alloc_zeroed(const struct vmxc_hal *hal, const char *label, struct vmxc_frame *frame);

/* The frame's host-physical address (4-KByte aligned, never 0). Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_frame_hpa(const struct vmxc_frame *frame, vmxc_hpa_t *hpa);

/*
 * The frame's 4096 bytes as this processor sees them, for reading. Stores through the pointer must be
 * announced with vmxc_hal.mark_dirty where the HAL has it; vmxc_frame_fill does so by itself.
 * Errors: VMXC_BAD_STATE.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_frame_ptr(const struct vmxc_frame *frame, void **pointer);

/* Sets every byte of the frame. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_frame_fill(struct vmxc_frame *frame, uint8_t byte);

/* Gives the page back and makes the frame uninitialized. On an uninitialized frame: does nothing. */
void vmxc_frame_fini(struct vmxc_frame *frame);

/*
 * Writes a one-line description ("frame 0x3000000" or "frame (uninitialized)") into buffer[size],
 * always NUL-terminated if size > 0. Returns the length of the whole text, without the NUL, as snprintf
 * does; buffer may be NULL if size is 0.
 */
size_t vmxc_frame_format(const struct vmxc_frame *frame, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
