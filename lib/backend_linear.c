/* SPDX-License-Identifier: Apache-2.0 */
/* The linear backend: host memory of the caller at a fixed offset, mapped at once. */
#include "internal/addrspace.h"

static enum vmxc_status linear_map(struct vmxc_addrspace *space, const struct vmxc_area *area)
{
    return vmxc_ept_map(&space->ept, area->base, area->hpa, area->size, area->flags);
}

static enum vmxc_status linear_replace(struct vmxc_addrspace *space, const struct vmxc_area *area,
                                       vmxc_ept_release_fn release, void *context)
{
    return vmxc_ept_remap(&space->ept, area->base, area->hpa, area->size, area->flags, release,
                          context);
}

/* The memory stays the caller's. */
static void linear_release(struct vmxc_addrspace *space, const struct vmxc_area *area,
                           vmxc_hpa_t hpa, uint64_t size)
{
    (void)space;
    (void)area;
    (void)hpa;
    (void)size;
}

/* All pages were mapped when the area was. */
static enum vmxc_fault_result linear_fault(struct vmxc_addrspace *space,
                                           const struct vmxc_area *area, vmxc_gpa_t gpa)
{
    (void)area;
    return vmxc_addrspace_fault_not_lazy(space, gpa);
}

const struct vmxc_backend_ops vmxc_backend_linear = {
    .name = "linear",
    .map = linear_map,
    .replace = linear_replace,
    .release = linear_release,
    .fault = linear_fault,
};
