/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/memory.h"

static enum vmxc_status hal_alloc_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    return vmxsim_frames_alloc(context, label, frame_hpa);
}

static void hal_dealloc_frame(void *context, vmxc_hpa_t frame_hpa)
{
    vmxsim_frames_free(context, frame_hpa);
}

static void *hal_phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    return vmxsim_memory_locate(context, hpa);
}

static enum vmxc_status hal_virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    const struct vmxsim_memory *memory = context;
    const uintptr_t address = (uintptr_t)pointer;
    for (size_t i = 0; i < memory->range_count; i++) {
        const struct vmxsim_ram_range *range = &memory->ranges[i];
        const uint64_t offset = address - (uintptr_t)range->bytes;
        if (address >= (uintptr_t)range->bytes && offset < range->length) {
            *hpa = range->base + offset;
            return VMXC_OK;
        }
    }
    return VMXC_NOT_FOUND;
}

static void hal_invalidate_ept(void *context, uint64_t eptp)
{
    struct vmxsim_memory *memory = context;
    memory->stats.invalidations++;
    vmxsim_tlb_invalidate_everywhere(memory, eptp);
    if (memory->on_invalidate != NULL)
        memory->on_invalidate(memory->invalidate_context, eptp);
}

/* Holes in the middle are skipped as writes skip them. */
static void hal_mark_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    struct vmxsim_memory *memory = context;
    struct vmxsim_ram_range *range = vmxsim_memory_find(memory, hpa);
    if (length == 0)
        return;
    if (range != NULL && length <= range->length - (hpa - range->base)) {
        vmxsim_range_touch(range, hpa - range->base, length);
        return;
    }
    const uint64_t last = length - 1 <= UINT64_MAX - hpa ? hpa + length - 1 : UINT64_MAX;
    for (size_t i = 0; i < memory->range_count; i++) {
        range = &memory->ranges[i];
        const uint64_t range_last = range->base + range->length - 1;
        if (hpa > range_last || last < range->base)
            continue;
        const uint64_t from = hpa > range->base ? hpa : range->base;
        const uint64_t to = last < range_last ? last : range_last;
        vmxsim_range_touch(range, from - range->base, to - from + 1);
    }
}

static void hal_trace(void *context, const struct vmxc_trace_event *event)
{
    const struct vmxsim_memory *memory = context;
    memory->on_trace(memory->trace_context, event);
}

void vmxsim_memory_hal_init(struct vmxsim_memory *memory)
{
    const struct vmxsim_ram_range *range = memory->frames.range;
    memory->hal = (struct vmxc_hal){
        .context = memory,
        .alloc_frame = hal_alloc_frame,
        .dealloc_frame = hal_dealloc_frame,
        .phys_to_virt = hal_phys_to_virt,
        .virt_to_phys = hal_virt_to_phys,
        .invalidate_ept = hal_invalidate_ept,
        .window = {.base = range->base, .length = range->length, .pointer = range->bytes},
        .mark_dirty = hal_mark_dirty,
    };
}

const struct vmxc_hal *vmxsim_memory_hal(struct vmxsim_memory *memory)
{
    return &memory->hal;
}

void vmxsim_memory_on_invalidate(struct vmxsim_memory *memory,
                                 void (*callback)(void *context, uint64_t eptp), void *context)
{
    memory->on_invalidate = callback;
    memory->invalidate_context = context;
}

void vmxsim_memory_on_trace(struct vmxsim_memory *memory,
                            void (*callback)(void *context, const struct vmxc_trace_event *event),
                            void *context)
{
    memory->on_trace = callback;
    memory->trace_context = context;
    memory->hal.trace = callback != NULL ? hal_trace : NULL;
}
