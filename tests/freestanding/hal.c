/* SPDX-License-Identifier: Apache-2.0 */
#include "hal.h"

#define ARENA_SIZE (ARENA_FRAMES * VMXC_PAGE_SIZE)

static _Alignas(4096) uint8_t arena_bytes[ARENA_SIZE];
static uint8_t is_taken[ARENA_FRAMES];

uint8_t *arena_pointer(vmxc_hpa_t hpa)
{
    return hpa - ARENA_HPA < ARENA_SIZE ? arena_bytes + (hpa - ARENA_HPA) : NULL;
}

void arena_init(struct arena *arena)
{
    *arena = (struct arena){.free_count = ARENA_FRAMES};
    for (uint32_t i = 0; i < ARENA_FRAMES; i++) {
        arena->free[i] = ARENA_FRAMES - 1 - i;
        is_taken[i] = 0;
    }
    for (size_t i = 0; i < ARENA_SIZE; i++)
        arena_bytes[i] = 0xa5;
}

static enum vmxc_status alloc_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct arena *arena = context;
    (void)label;
    if (arena->free_count == 0)
        return VMXC_NO_MEMORY;
    const uint32_t number = arena->free[--arena->free_count];
    is_taken[number] = 1;
    *frame_hpa = ARENA_HPA + number * VMXC_PAGE_SIZE;
    return VMXC_OK;
}

static void dealloc_frame(void *context, vmxc_hpa_t frame_hpa)
{
    struct arena *arena = context;
    const uint64_t number = (frame_hpa - ARENA_HPA) / VMXC_PAGE_SIZE;
    if (number >= ARENA_FRAMES || (frame_hpa & VMXC_PAGE_MASK) != 0 || !is_taken[number]) {
        arena->bad_frees++;
        return;
    }
    is_taken[number] = 0;
    arena->free[arena->free_count++] = (uint32_t)number;
}

static void *phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    (void)context;
    return arena_pointer(hpa);
}

static enum vmxc_status virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    (void)context;
    const uintptr_t offset = (uintptr_t)pointer - (uintptr_t)arena_bytes;
    if (offset >= ARENA_SIZE)
        return VMXC_NOT_FOUND;
    *hpa = ARENA_HPA + offset;
    return VMXC_OK;
}

static void invalidate_ept(void *context, uint64_t eptp)
{
    struct arena *arena = context;
    arena->invalidations++;
    arena->last_eptp = eptp;
}

struct vmxc_hal arena_hal(struct arena *arena)
{
    return (struct vmxc_hal){
        .context = arena,
        .alloc_frame = alloc_frame,
        .dealloc_frame = dealloc_frame,
        .phys_to_virt = phys_to_virt,
        .virt_to_phys = virt_to_phys,
        .invalidate_ept = invalidate_ept,
    };
}
