/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The alloc backend: zeroed frames from the HAL, all when the area is mapped, or each on its first access (lazy).
 * A frame belongs to the EPT entry that maps it; the area keeps no list.
 */
#include "internal/addrspace.h"
#include "internal/ept.h"
#include "vmxcore/frame.h"

static enum vmxc_status take_page(const struct vmxc_addrspace *space, vmxc_hpa_t *page_hpa)
{
    struct vmxc_frame frame;

    VMXC_TRY(vmxc_frame_alloc_zeroed(space->areas.hal, "guest page", &frame));
    *page_hpa = frame.hpa;
    return VMXC_OK;
}

/* A run of pages is given back frame by frame: merging may have made one large page of them. */
static void give_pages(const struct vmxc_addrspace *space, vmxc_hpa_t hpa, uint64_t size)
{
    for (uint64_t offset = 0; offset < size; offset += VMXC_PAGE_SIZE)
        vmxc_hal_free_frame(space->areas.hal, hpa + offset);
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
    return take_page(populate->space, page_hpa);
}

static void undo_page(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size)
{
    const struct populate *populate = context;

    (void)gpa;
    give_pages(populate->space, hpa, size);
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
    give_pages(space, hpa, size);
}

/* The frame is zero before an entry leads to it. */
static enum vmxc_fault_result alloc_fault(struct vmxc_addrspace *space,
                                          const struct vmxc_area *area, vmxc_gpa_t gpa)
{
    struct populate populate = {.space = space};
    struct vmxc_ept_source source = {
        .supply = supply_page, .release = undo_page, .context = &populate};

    if (!area->lazy)
        return vmxc_addrspace_fault_not_lazy(space, gpa);
    if (vmxc_ept_encode(&space->ept, area->flags, &source.leaf) != VMXC_OK)
        return VMXC_FAULT_NO_MEMORY; /* impossible: the flags were checked when the area was mapped */
    switch (vmxc_ept_map_page(&space->ept, gpa, &source)) {
    case VMXC_OK:
        return VMXC_FAULT_MAPPED;
    case VMXC_ALREADY_EXISTS:
        return VMXC_FAULT_ALREADY_BACKED;
    default:
        return VMXC_FAULT_NO_MEMORY;
    }
}

const struct vmxc_backend_ops vmxc_backend_alloc = {
    .name = "alloc",
    .map = alloc_map,
    .replace = alloc_replace,
    .release = alloc_release,
    .fault = alloc_fault,
};
