/* SPDX-License-Identifier: Apache-2.0 */
/* The address space as an object: life cycle, extent, and the areas in it. */
#include "vmxcore/addrspace.h"

#include "internal/addrspace.h"

static bool is_page_range(vmxc_gpa_t gpa, uint64_t size)
{
    return size != 0 && ((gpa | size) & VMXC_PAGE_MASK) == 0 && size <= UINT64_MAX - gpa;
}

enum vmxc_status vmxc_addrspace_init(struct vmxc_addrspace *space, const struct vmxc_hal *hal,
                                     const struct vmxc_ept_config *config, vmxc_gpa_t base,
                                     uint64_t size)
{
    struct vmxc_addrspace fresh = {.base = base, .size = size};

    if (!is_page_range(base, size))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_ept_init(&fresh.ept, hal, config));
    if (base + size > vmxc_ept_span(&fresh.ept)) {
        vmxc_ept_fini(&fresh.ept, NULL, NULL);
        return VMXC_INVALID_INPUT;
    }
    vmxc_area_set_init(&fresh.areas, hal);
    *space = fresh;
    return VMXC_OK;
}

void vmxc_addrspace_fini(struct vmxc_addrspace *space)
{
    struct vmxc_addrspace_release release = {.space = space};

    if (!vmxc_addrspace_is_initialized(space))
        return;
    vmxc_ept_fini(&space->ept, vmxc_addrspace_release_page, &release);
    vmxc_area_set_fini(&space->areas);
    *space = (struct vmxc_addrspace){.base = 0};
}

vmxc_gpa_t vmxc_addrspace_base(const struct vmxc_addrspace *space)
{
    return space->base;
}

vmxc_gpa_t vmxc_addrspace_end(const struct vmxc_addrspace *space)
{
    return space->base + space->size;
}

uint64_t vmxc_addrspace_size(const struct vmxc_addrspace *space)
{
    return space->size;
}

bool vmxc_addrspace_contains(const struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t size)
{
    return size != 0 && gpa >= space->base && gpa - space->base < space->size &&
           size <= space->size - (gpa - space->base);
}

vmxc_hpa_t vmxc_addrspace_root(const struct vmxc_addrspace *space)
{
    return space->ept.root_hpa;
}

uint64_t vmxc_addrspace_eptp(const struct vmxc_addrspace *space)
{
    return vmxc_addrspace_is_initialized(space) ? vmxc_ept_eptp(&space->ept) : 0;
}

struct vmxc_ept *vmxc_addrspace_ept(struct vmxc_addrspace *space)
{
    return &space->ept;
}

enum vmxc_status vmxc_addrspace_check_range(const struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                            uint64_t size)
{
    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_BAD_STATE;
    if (((gpa | size) & VMXC_PAGE_MASK) != 0 || !vmxc_addrspace_contains(space, gpa, size))
        return VMXC_INVALID_INPUT;
    return VMXC_OK;
}

/*
 * A page may lie in several areas: vmxc_ept_merge joins what is contiguous and alike without knowing of areas. Each
 * part goes to the backend of its area.
 */
VMXC_SELDOM static void release_parts(struct vmxc_addrspace_release *release, vmxc_gpa_t gpa,
                                      vmxc_hpa_t hpa, uint64_t size)
{
    struct vmxc_area *area = &release->area;

    while (size > 0) {
        if (!vmxc_area_holds(area, gpa) &&
            vmxc_area_set_find(&release->space->areas, gpa, area) != VMXC_OK)
            return;
        const uint64_t left = vmxc_area_end(area) - gpa;
        const uint64_t part = size < left ? size : left;
        area->backend->release(release->space, area, hpa, part);
        gpa += part;
        hpa += part;
        size -= part;
    }
}

void vmxc_addrspace_release_page(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size)
{
    struct vmxc_addrspace_release *release = context;
    const struct vmxc_area *area = &release->area;

    if (vmxc_area_holds(area, gpa) && size <= vmxc_area_end(area) - gpa)
        area->backend->release(release->space, area, hpa, size);
    else
        release_parts(release, gpa, hpa, size);
}

enum vmxc_status vmxc_addrspace_for_each_area(const struct vmxc_addrspace *space,
                                              vmxc_area_visit_fn visit, void *context)
{
    struct vmxc_area area;

    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_BAD_STATE;
    for (vmxc_gpa_t gpa = space->base;
         vmxc_addrspace_first_area(space, gpa, vmxc_addrspace_end(space), &area);
         gpa = vmxc_area_end(&area))
        VMXC_TRY(visit(context, &area));
    return VMXC_OK;
}
