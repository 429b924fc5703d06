/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: handling EPT violations. */
#include "internal/addrspace.h"
#include "internal/area_set.h"

enum vmxc_fault_result vmxc_addrspace_fault_not_lazy(const struct vmxc_addrspace *space,
                                                     vmxc_gpa_t gpa)
{
    struct vmxc_ept_mapping mapping;

    return vmxc_ept_query(&space->ept, gpa, &mapping) == VMXC_OK ? VMXC_FAULT_ALREADY_BACKED
                                                                 : VMXC_FAULT_NOT_LAZY;
}

/*
 * A page that is mapped is never supplied again: its content is the guest's. What the area allows its mapping allows
 * as well, since both change together.
 */
static inline enum vmxc_fault_result resolve_in(struct vmxc_addrspace *space,
                                                const struct vmxc_area *area, vmxc_gpa_t gpa,
                                                vmxc_map_flags access)
{
    if (!vmxc_area_allows(area, access))
        return VMXC_FAULT_DENIED;
    return area->backend->fault(space, area, gpa & ~VMXC_PAGE_MASK);
}

/* Any fault, in any state of the space. */
VMXC_SELDOM static enum vmxc_fault_result resolve(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                  vmxc_map_flags access)
{
    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_FAULT_NO_AREA;

    const struct vmxc_area *const area = vmxc_area_set_recall(&space->areas, gpa);
    const enum vmxc_fault_result result =
        area == NULL ? VMXC_FAULT_NO_AREA : resolve_in(space, area, gpa, access);
    VMXC_HAL_TRACE(space->ept.hal, .kind = VMXC_TRACE_PAGE_FAULT, .gpa = gpa,
                   .value = (uint64_t)result);
    return result;
}

/* Nearly every fault is in the area of the one before, and nobody is told of it. */
enum vmxc_fault_result vmxc_addrspace_handle_page_fault(struct vmxc_addrspace *space,
                                                        vmxc_gpa_t gpa, vmxc_map_flags access)
{
    const struct vmxc_area *const recent = &space->areas.recent;

    if (vmxc_area_holds(recent, gpa) && space->ept.hal->trace == NULL)
        return resolve_in(space, recent, gpa, access);
    return resolve(space, gpa, access);
}

const char *vmxc_fault_result_name(enum vmxc_fault_result result)
{
    static const char *const names[] = {
        [VMXC_FAULT_MAPPED] = "mapped",     [VMXC_FAULT_ALREADY_BACKED] = "already backed",
        [VMXC_FAULT_NO_AREA] = "no area",   [VMXC_FAULT_DENIED] = "denied",
        [VMXC_FAULT_NOT_LAZY] = "not lazy", [VMXC_FAULT_NO_MEMORY] = "no memory",
    };

    return (size_t)result < sizeof(names) / sizeof(names[0]) ? names[result] : "unknown";
}
