/* SPDX-License-Identifier: Apache-2.0 */
#include "support/frame_hal.h"

#include <check.h>
#include <string.h>

static size_t index_of(const struct frame_hal *frames, vmxc_hpa_t hpa)
{
    if (hpa < frames->base || hpa >= frames->base + FRAME_HAL_FRAMES * VMXC_PAGE_SIZE)
        ck_abort_msg("0x%jx is not memory of this HAL", (uintmax_t)hpa);
    return (size_t)((hpa - frames->base) / VMXC_PAGE_SIZE);
}

static enum vmxc_status alloc_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct frame_hal *frames = context;

    ck_assert_ptr_nonnull(label);
    if (frames->allocations++ == frames->fail_allocation)
        return VMXC_NO_MEMORY;
    for (size_t i = 0; i < FRAME_HAL_FRAMES; i++) {
        if (frames->used[i])
            continue;
        frames->used[i] = true;
        frames->live++;
        memset(frames->content[i], FRAME_HAL_POISON, VMXC_PAGE_SIZE);
        memset(frames->before[i], FRAME_HAL_POISON, VMXC_PAGE_SIZE);
        memset(frames->announced[i], 0, sizeof(frames->announced[i]));
        *frame_hpa = frames->base + i * VMXC_PAGE_SIZE;
        return VMXC_OK;
    }
    return VMXC_NO_MEMORY;
}

static void dealloc_frame(void *context, vmxc_hpa_t frame_hpa)
{
    struct frame_hal *frames = context;
    const size_t index = index_of(frames, frame_hpa);

    ck_assert_msg(frames->used[index], "frame 0x%jx given back twice", (uintmax_t)frame_hpa);
    frames->used[index] = false;
    frames->live--;
}

static void *phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    struct frame_hal *frames = context;

    if (frames->maps_left == 0)
        return NULL;
    if (frames->maps_left != FRAME_HAL_NEVER)
        frames->maps_left--;
    return frame_hal_bytes(frames, hpa);
}

static enum vmxc_status virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    (void)context;
    (void)pointer;
    (void)hpa;
    return VMXC_NOT_FOUND;
}

static void invalidate_ept(void *context, uint64_t eptp)
{
    (void)context;
    ck_abort_msg("nothing here has translations to drop (EPTP 0x%jx)", (uintmax_t)eptp);
}

static void mark_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    struct frame_hal *frames = context;
    const size_t index = index_of(frames, hpa);
    const uint64_t offset = hpa % VMXC_PAGE_SIZE;

    if (length == 0 || offset + length > VMXC_PAGE_SIZE)
        ck_abort_msg("0x%jx: announced length %ju", (uintmax_t)hpa, (uintmax_t)length);
    for (uint64_t i = offset; i < offset + length; i++) {
        if (frames->content[index][i] != frames->before[index][i] && !frames->announced[index][i])
            ck_abort_msg("0x%jx was stored before it was announced", (uintmax_t)(hpa - offset + i));
    }
    memset(&frames->announced[index][offset], true, length);
}

void frame_hal_init(struct frame_hal *frames)
{
    *frames = (struct frame_hal){
        .hal =
            {
                .context = frames,
                .alloc_frame = alloc_frame,
                .dealloc_frame = dealloc_frame,
                .phys_to_virt = phys_to_virt,
                .virt_to_phys = virt_to_phys,
                .invalidate_ept = invalidate_ept,
                .mark_dirty = mark_dirty,
            },
        .base = FRAME_HAL_BASE,
        .fail_allocation = FRAME_HAL_NEVER,
        .maps_left = FRAME_HAL_NEVER,
    };
}

uint8_t *frame_hal_bytes(struct frame_hal *frames, vmxc_hpa_t hpa)
{
    return frames->content[index_of(frames, hpa)] + hpa % VMXC_PAGE_SIZE;
}

void frame_hal_check_announced(const struct frame_hal *frames)
{
    for (size_t i = 0; i < FRAME_HAL_FRAMES; i++) {
        for (size_t byte = 0; byte < VMXC_PAGE_SIZE; byte++)
            if (frames->content[i][byte] != frames->before[i][byte] && !frames->announced[i][byte])
                ck_abort_msg("frame %zu, byte 0x%zx changed unannounced", i, byte);
    }
}

void frame_hal_settle(struct frame_hal *frames)
{
    memcpy(frames->before, frames->content, sizeof(frames->before));
    memset(frames->announced, 0, sizeof(frames->announced));
}
