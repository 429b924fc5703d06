/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The alloc backend: zeroed frames from the HAL, all when the area is mapped, or each on its first access (lazy).
 * A frame belongs to the EPT entry that maps it; the area keeps no list.
 */
#include "internal/addrspace.h"
#include "internal/ept.h"

/* Merging has made one large page of many. */
VMXC_SELDOM static void give_frames(const struct vmxc_hal *hal, vmxc_hpa_t hpa, uint64_t size)
{
    for (uint64_t offset = 0; offset < size; offset += VMXC_PAGE_SIZE)
        vmxc_hal_free_frame(hal, hpa + offset);
}

static void give_page(const struct vmxc_hal *hal, vmxc_hpa_t hpa, uint64_t size)
{
    if (size == VMXC_PAGE_SIZE)
        vmxc_hal_free_frame(hal, hpa);
    else
        give_frames(hal, hpa, size);
}

/* Context of the callbacks below. */
struct populate {
    const struct vmxc_addrspace *space;
    vmxc_ept_release_fn release; /* takes replaced pages */
    void *context;
};

static enum vmxc_status supply_page(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    const struct populate *populate = context;

    (void)gpa;
    return vmxc_hal_take_zeroed_frame(populate->space->ept.hal, "guest page", page_hpa);
}

static void undo_page(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size)
{
    const struct populate *populate = context;

    (void)gpa;
    give_page(populate->space->ept.hal, hpa, size);
}

static void pass_replaced_page(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size)
{
    const struct populate *populate = context;

    populate->release(populate->context, gpa, hpa, size);
}

static enum vmxc_status alloc_map(struct vmxc_addrspace *space, const struct vmxc_area *area)
{
    struct populate populate = {.space = space};

    if (area->lazy)
        return VMXC_OK;
    return vmxc_ept_map_region(&space->ept, area->base, area->size, area->flags, supply_page,
                               undo_page, &populate);
}

static enum vmxc_status alloc_replace(struct vmxc_addrspace *space, const struct vmxc_area *area,
                                      vmxc_ept_release_fn release, void *context)
{
    struct populate populate = {.space = space, .release = release, .context = context};

    if (area->lazy)
        return vmxc_ept_unmap(&space->ept, area->base, area->size, release, context);
    return vmxc_ept_remap_region(&space->ept, area->base, area->size, area->flags, supply_page,
                                 undo_page, pass_replaced_page, &populate);
}

static void alloc_release(struct vmxc_addrspace *space, const struct vmxc_area *area,
                          vmxc_hpa_t hpa, uint64_t size)
{
    (void)area;
    give_page(space->ept.hal, hpa, size);
}

/* A fault where a table may be missing: the first in a table. */
VMXC_SELDOM static enum vmxc_fault_result
fault_with_table(struct vmxc_addrspace *space, const struct vmxc_area *area, vmxc_gpa_t gpa)
{
    struct populate populate = {.space = space};

    switch (vmxc_ept_map_region(&space->ept, gpa, VMXC_PAGE_SIZE, area->flags, supply_page,
                                undo_page, &populate)) {
    case VMXC_OK:
        return VMXC_FAULT_MAPPED;
    case VMXC_ALREADY_EXISTS:
        return VMXC_FAULT_ALREADY_BACKED;
    default:
        return VMXC_FAULT_NO_MEMORY;
    }
}

/* Takes a zeroed frame that an entry can hold. */
static inline bool take_page(const struct vmxc_ept *ept, vmxc_hpa_t *page_hpa)
{
    if (vmxc_hal_take_zeroed_frame(ept->hal, "guest page", page_hpa) != VMXC_OK)
        return false;
    if (vmxc_ept_is_host_frame(ept, *page_hpa))
        return true;
    vmxc_hal_free_frame(ept->hal, *page_hpa);
    return false;
}

/* The frame is zero before an entry leads to it. */
static enum vmxc_fault_result alloc_fault(struct vmxc_addrspace *space,
                                          const struct vmxc_area *area, vmxc_gpa_t gpa)
{
    struct vmxc_ept *const ept = &space->ept;
    struct vmxc_ept_node node;
    vmxc_hpa_t page_hpa = 0;

    if (!area->lazy)
        return vmxc_addrspace_fault_not_lazy(space, gpa);
    if (!vmxc_ept_is_near(ept, gpa) && !vmxc_ept_approach(ept, gpa))
        return fault_with_table(space, area, gpa);
    if (vmxc_ept_descend_near(ept, gpa, &node) != 0)
        return VMXC_FAULT_ALREADY_BACKED;
    if (node.level != VMXC_PAGE_LEVEL_4K)
        return fault_with_table(space, area, gpa);
    if (!take_page(ept, &page_hpa))
        return VMXC_FAULT_NO_MEMORY;
    vmxc_ept_store(ept, &node, vmxc_ept_index(gpa, VMXC_PAGE_LEVEL_4K),
                   vmxc_ept_leaf_of(area->flags) | page_hpa);
    return VMXC_FAULT_MAPPED;
}

const struct vmxc_backend_ops vmxc_backend_alloc = {
    .name = "alloc",
    .map = alloc_map,
    .replace = alloc_replace,
    .release = alloc_release,
    .fault = alloc_fault,
};
