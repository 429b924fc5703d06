/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the address space share. */
#ifndef VMXC_INTERNAL_ADDRSPACE_H
#define VMXC_INTERNAL_ADDRSPACE_H

#include "internal/hal.h"
#include "vmxcore/addrspace.h"

static inline bool vmxc_addrspace_is_initialized(const struct vmxc_addrspace *space)
{
    return space->ept.hal != NULL;
}

/* Errors: VMXC_BAD_STATE, VMXC_INVALID_INPUT (misaligned, empty, wrapping, leaving the space). */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_check_range(const struct vmxc_addrspace *space,
                                                            vmxc_gpa_t gpa, uint64_t size);

/* The first area with a part in [gpa, end). */
static inline bool vmxc_addrspace_first_area(const struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                             vmxc_gpa_t end, struct vmxc_area *area)
{
    return vmxc_area_set_find_from(&space->areas, gpa, area) == VMXC_OK && area->base < end;
}

static inline vmxc_gpa_t vmxc_area_end(const struct vmxc_area *area)
{
    return area->base + area->size;
}

static inline bool vmxc_area_holds(const struct vmxc_area *area, vmxc_gpa_t gpa)
{
    return gpa - area->base < area->size;
}

/* True if `access` names at least one right, rights only, and none that the area lacks. */
static inline bool vmxc_area_allows(const struct vmxc_area *area, vmxc_map_flags access)
{
    return access != 0 && (access & ~(area->flags & VMXC_MAP_ACCESS)) == 0;
}

/*
 * Context of vmxc_addrspace_release_page. Pages come in ascending order, so the area of the last one is nearly
 * always the area of the next.
 */
struct vmxc_addrspace_release {
    struct vmxc_addrspace *space;
    struct vmxc_area area; /* of the last page; size 0: none yet */
};

/*
 * A vmxc_ept_release_fn: hands a page that is no longer mapped to the backends of the areas it lies in. These must
 * still be in the set.
 */
void vmxc_addrspace_release_page(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size);

/* What a fault comes to in an area whose pages are not supplied on demand: ALREADY_BACKED or NOT_LAZY. */
enum vmxc_fault_result vmxc_addrspace_fault_not_lazy(const struct vmxc_addrspace *space,
                                                     vmxc_gpa_t gpa);

static inline uint64_t vmxc_smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
