/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: what must be true of areas and tables together. */
#include "internal/addrspace.h"
#include "internal/ept.h"

struct check {
    const struct vmxc_addrspace *space;
    struct vmxc_area area;   /* of the last page; size 0: none yet */
    uint64_t expected_bytes; /* in areas that must be mapped entirely */
    uint64_t mapped_bytes;   /* found there */
};

static enum vmxc_status check_area(void *context, const struct vmxc_area *area)
{
    struct check *check = context;

    if (!vmxc_addrspace_contains(check->space, area->base, area->size) || area->backend == NULL)
        return VMXC_BAD_STATE;
    if (!area->lazy)
        check->expected_bytes += area->size;
    return VMXC_OK;
}

/* True if the EPT says of the page what the area says. Flags differ in notation, so entries are compared. */
static bool is_alike(const struct vmxc_addrspace *space, vmxc_map_flags area_flags,
                     vmxc_map_flags page_flags)
{
    uint64_t of_area = 0;
    uint64_t of_page = 0;

    return vmxc_ept_encode(&space->ept, area_flags, &of_area) == VMXC_OK &&
           vmxc_ept_encode(&space->ept, page_flags, &of_page) == VMXC_OK && of_area == of_page;
}

/* Every part of the page lies in an area, which says the same of it. */
static enum vmxc_status check_page(void *context, const struct vmxc_ept_mapping *mapping)
{
    struct check *check = context;
    struct vmxc_area *area = &check->area;
    const vmxc_gpa_t end = mapping->gpa + mapping->page_size;

    for (vmxc_gpa_t gpa = mapping->gpa; gpa < end;) {
        const vmxc_hpa_t hpa = mapping->hpa + (gpa - mapping->gpa);

        if (!vmxc_area_holds(area, gpa))
            VMXC_TRY(vmxc_area_set_find(&check->space->areas, gpa, area));
        if (!is_alike(check->space, area->flags, mapping->flags) ||
            (area->hpa != VMXC_AREA_NO_HPA && area->hpa + (gpa - area->base) != hpa))
            return VMXC_BAD_STATE;
        const vmxc_gpa_t part_end = end < vmxc_area_end(area) ? end : vmxc_area_end(area);
        if (!area->lazy)
            check->mapped_bytes += part_end - gpa;
        gpa = part_end;
    }
    return VMXC_OK;
}

bool vmxc_addrspace_is_valid(const struct vmxc_addrspace *space)
{
    struct check check = {.space = space};

    return vmxc_ept_is_valid(&space->ept) && vmxc_area_set_is_valid(&space->areas) &&
           vmxc_addrspace_for_each_area(space, check_area, &check) == VMXC_OK &&
           vmxc_ept_walk(&space->ept, 0, vmxc_ept_span(&space->ept), check_page, &check) ==
               VMXC_OK &&
           check.mapped_bytes == check.expected_bytes;
}
