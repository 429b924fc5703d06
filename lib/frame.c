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

enum vmxc_status vmxc_frame_alloc(const struct vmxc_hal *hal, const char *label,
                                  struct vmxc_frame *frame)
{
    struct vmxc_frame fresh = {.hal = hal};
    void *pointer = NULL;

    if (!vmxc_hal_is_complete(hal))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_hal_take_frame(hal, label, &fresh.hpa, &pointer));
    *frame = fresh;
    return VMXC_OK;
}

enum vmxc_status vmxc_frame_alloc_zeroed(const struct vmxc_hal *hal, const char *label,
                                         struct vmxc_frame *frame)
{
    struct vmxc_frame fresh = {.hal = hal};

    if (!vmxc_hal_is_complete(hal))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_hal_take_zeroed_frame(hal, label, &fresh.hpa));
    *frame = fresh;
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
