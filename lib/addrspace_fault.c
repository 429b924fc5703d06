/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: handling EPT violations. */
#include "internal/addrspace.h"

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
static enum vmxc_fault_result resolve_fault(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                            vmxc_map_flags access)
{
    struct vmxc_area area;

    if (vmxc_area_set_find(&space->areas, gpa, &area) != VMXC_OK)
        return VMXC_FAULT_NO_AREA;
    if (!vmxc_area_allows(&area, access))
        return VMXC_FAULT_DENIED;
    return area.backend->fault(space, &area, gpa & ~VMXC_PAGE_MASK);
}

enum vmxc_fault_result vmxc_addrspace_handle_page_fault(struct vmxc_addrspace *space,
                                                        vmxc_gpa_t gpa, vmxc_map_flags access)
{
    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_FAULT_NO_AREA;

    const enum vmxc_fault_result result = resolve_fault(space, gpa, access);
    VMXC_HAL_TRACE(space->ept.hal, .kind = VMXC_TRACE_PAGE_FAULT, .gpa = gpa,
                   .value = (uint64_t)result);
    return result;
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
