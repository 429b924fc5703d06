/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/frame.h"

#include "internal/hal.h"
#include "internal/string.h"
#include "internal/text.h"

struct vmxc_frame vmxc_frame_uninit(void)
{
    return (struct vmxc_frame){.hal = NULL, .hpa = 0};
}

bool vmxc_frame_is_allocated(const struct vmxc_frame *frame)
{
    return frame->hal != NULL;
}

/*
 * Where a frame that the HAL handed out can be seen; NULL for one that this library cannot work with: address 0,
 * misaligned, or not mapped.
 */
static void *usable_pointer(const struct vmxc_hal *hal, vmxc_hpa_t hpa)
{
    return hpa != 0 && (hpa & VMXC_PAGE_MASK) == 0 ? vmxc_hal_frame_pointer(hal, hpa) : NULL;
}

/* As vmxc_frame_alloc; *pointer is where the frame can be seen. */
static enum vmxc_status take(const struct vmxc_hal *hal, const char *label,
                             struct vmxc_frame *frame, void **pointer)
{
    vmxc_hpa_t hpa = 0;

    if (!vmxc_hal_is_complete(hal))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(hal->alloc_frame(hal->context, label, &hpa));
    void *const usable = usable_pointer(hal, hpa);
    if (usable == NULL) {
        hal->dealloc_frame(hal->context, hpa);
        return VMXC_BAD_STATE;
    }
    VMXC_HAL_TRACE(hal, .kind = VMXC_TRACE_FRAME_ALLOC, .label = label, .hpa = hpa);
    *frame = (struct vmxc_frame){.hal = hal, .hpa = hpa};
    *pointer = usable;
    return VMXC_OK;
}

enum vmxc_status vmxc_frame_alloc(const struct vmxc_hal *hal, const char *label,
                                  struct vmxc_frame *frame)
{
    void *pointer = NULL;

    return take(hal, label, frame, &pointer);
}

enum vmxc_status vmxc_frame_alloc_zeroed(const struct vmxc_hal *hal, const char *label,
                                         struct vmxc_frame *frame)
{
    void *pointer = NULL;

    VMXC_TRY(take(hal, label, frame, &pointer));
    vmxc_hal_mark_dirty(hal, frame->hpa, VMXC_PAGE_SIZE);
    memset(pointer, 0, VMXC_PAGE_SIZE);
    return VMXC_OK;
}

enum vmxc_status vmxc_frame_hpa(const struct vmxc_frame *frame, vmxc_hpa_t *hpa)
{
    if (!vmxc_frame_is_allocated(frame))
        return VMXC_BAD_STATE;
    *hpa = frame->hpa;
    return VMXC_OK;
}

enum vmxc_status vmxc_frame_ptr(const struct vmxc_frame *frame, void **pointer)
{
    if (!vmxc_frame_is_allocated(frame))
        return VMXC_BAD_STATE;
    void *const mapped = vmxc_hal_frame_pointer(frame->hal, frame->hpa);
    if (mapped == NULL)
        return VMXC_BAD_STATE; /* the HAL stopped mapping a frame that it lent us */
    *pointer = mapped;
    return VMXC_OK;
}

enum vmxc_status vmxc_frame_fill(struct vmxc_frame *frame, uint8_t byte)
{
    void *pointer = NULL;

    VMXC_TRY(vmxc_frame_ptr(frame, &pointer));
    vmxc_hal_mark_dirty(frame->hal, frame->hpa, VMXC_PAGE_SIZE);
    memset(pointer, byte, VMXC_PAGE_SIZE);
    return VMXC_OK;
}

void vmxc_frame_fini(struct vmxc_frame *frame)
{
    if (vmxc_frame_is_allocated(frame))
        vmxc_hal_free_frame(frame->hal, frame->hpa);
    *frame = vmxc_frame_uninit();
}

size_t vmxc_frame_format(const struct vmxc_frame *frame, char *buffer, size_t size)
{
    struct vmxc_text text = vmxc_text_begin(buffer, size);

    vmxc_text_string(&text, "frame ");
    if (vmxc_frame_is_allocated(frame))
        vmxc_text_hex(&text, frame->hpa);
    else
        vmxc_text_string(&text, "(uninitialized)");
    return vmxc_text_end(&text);
}
