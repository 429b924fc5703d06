/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address space: operations that change a range.
 *
 * Each takes the same steps, so that it happens as a whole or not at all:
 *
 *     check      arguments, flags, areas                 refuses; nothing was changed
 *     reserve    nodes for the areas to come             may find no memory; nothing was changed
 *     apply      ONE call of the EPT, all or nothing     may find no memory; the reserve goes back
 *     record     cut, add and erase areas                cannot fail
 *
 * One EPT call is also one invalidation, and pages are released between the last two steps: when the entries are
 * gone and invalidated, and while the areas that say whose the pages are still exist.
 */
#include "internal/addrspace.h"
#include "internal/ept.h"

static void trace_range(const struct vmxc_addrspace *space, enum vmxc_trace_kind kind,
                        vmxc_gpa_t gpa, uint64_t size, vmxc_hpa_t hpa)
{
    VMXC_HAL_TRACE(space->ept.hal, .kind = kind, .gpa = gpa, .hpa = hpa, .size = size);
}

static void trace_map(const struct vmxc_addrspace *space, const struct vmxc_area *area)
{
    trace_range(space, VMXC_TRACE_MAP, area->base, area->size,
                area->hpa == VMXC_AREA_NO_HPA ? 0 : area->hpa);
}

/* ---- Areas of a range ---- */

/* The ends of a range, and at which of them it cuts an area. */
struct cuts {
    vmxc_gpa_t gpa, end;
    bool at_gpa, at_end;
};

static bool is_inside(const struct vmxc_area *area, vmxc_gpa_t gpa)
{
    return area->base != gpa && vmxc_area_holds(area, gpa);
}

/* `first` is the first area with a part in the range, and nearly always the last. */
static struct cuts find_cuts(const struct vmxc_addrspace *space, vmxc_gpa_t gpa, vmxc_gpa_t end,
                             const struct vmxc_area *first)
{
    struct cuts cuts = {.gpa = gpa, .end = end, .at_gpa = is_inside(first, gpa)};
    struct vmxc_area last = *first;

    if (vmxc_area_end(first) < end && vmxc_area_set_find(&space->areas, end, &last) != VMXC_OK)
        return cuts;
    cuts.at_end = is_inside(&last, end);
    return cuts;
}

/* Reserves a node for each cut. */
static enum vmxc_status reserve_cuts(struct vmxc_addrspace *space, const struct cuts *cuts)
{
    enum vmxc_status status = VMXC_OK;

    if (cuts->at_gpa)
        status = vmxc_area_set_reserve(&space->areas, cuts->gpa, 1);
    if (status == VMXC_OK && cuts->at_end)
        status = vmxc_area_set_reserve(&space->areas, cuts->end, 1);
    if (status != VMXC_OK)
        vmxc_area_set_trim(&space->areas);
    return status;
}

/* Makes both ends of the range boundaries of areas. Reserved: does not fail. */
static enum vmxc_status cut(struct vmxc_addrspace *space, const struct cuts *cuts)
{
    if (cuts->at_gpa)
        VMXC_TRY(vmxc_area_set_split(&space->areas, cuts->gpa));
    return cuts->at_end ? vmxc_area_set_split(&space->areas, cuts->end) : VMXC_OK;
}

static enum vmxc_status erase_areas(struct vmxc_addrspace *space, vmxc_gpa_t gpa, vmxc_gpa_t end)
{
    struct vmxc_area area;

    for (; gpa < end && vmxc_addrspace_first_area(space, gpa, end, &area);
         gpa = vmxc_area_end(&area))
        VMXC_TRY(vmxc_area_set_erase(&space->areas, area.base));
    return VMXC_OK;
}

/* ---- Map ---- */

/* What can be said without looking at what is mapped. A lazy area is held to the same as one that is mapped now. */
static enum vmxc_status check_new_area(const struct vmxc_addrspace *space,
                                       const struct vmxc_area *area)
{
    uint64_t leaf = 0;

    VMXC_TRY(vmxc_addrspace_check_range(space, area->base, area->size));
    if (area->hpa != VMXC_AREA_NO_HPA &&
        !vmxc_ept_is_host_range(&space->ept, area->hpa, area->size))
        return VMXC_INVALID_INPUT;
    return vmxc_ept_encode(&space->ept, area->flags, &leaf);
}

static enum vmxc_status map_area(struct vmxc_addrspace *space, const struct vmxc_area *area)
{
    struct vmxc_area other;

    VMXC_TRY(check_new_area(space, area));
    if (vmxc_addrspace_first_area(space, area->base, vmxc_area_end(area), &other))
        return VMXC_ALREADY_EXISTS;
    VMXC_TRY(vmxc_area_set_reserve(&space->areas, area->base, 1));
    enum vmxc_status status = area->backend->map(space, area);
    if (status == VMXC_OK)
        status = vmxc_area_set_insert(&space->areas, area);
    vmxc_area_set_trim(&space->areas);
    VMXC_TRY(status);
    trace_map(space, area);
    return VMXC_OK;
}

/* ---- Replace ---- */

/*
 * Puts `area` in the place of those in its range, of which there is at least one. The first is overwritten and not
 * erased, because an insertion after erasures might need a node that nobody reserved.
 */
static enum vmxc_status record_replacement(struct vmxc_addrspace *space,
                                           const struct vmxc_area *area, const struct cuts *cuts)
{
    const vmxc_gpa_t end = vmxc_area_end(area);
    struct vmxc_area first;

    VMXC_TRY(cut(space, cuts));
    VMXC_TRY(vmxc_area_set_find_from(&space->areas, area->base, &first));
    VMXC_TRY(erase_areas(space, vmxc_area_end(&first), end));
    return vmxc_area_set_update(&space->areas, first.base, area);
}

static enum vmxc_status replace_area(struct vmxc_addrspace *space, const struct vmxc_area *area)
{
    struct vmxc_addrspace_release release = {.space = space};
    struct vmxc_area other;

    VMXC_TRY(check_new_area(space, area));
    if (!vmxc_addrspace_first_area(space, area->base, vmxc_area_end(area), &other))
        return map_area(space, area);
    const struct cuts cuts = find_cuts(space, area->base, vmxc_area_end(area), &other);
    VMXC_TRY(reserve_cuts(space, &cuts));
    enum vmxc_status status =
        area->backend->replace(space, area, vmxc_addrspace_release_page, &release);
    if (status == VMXC_OK)
        status = record_replacement(space, area, &cuts);
    vmxc_area_set_trim(&space->areas);
    VMXC_TRY(status);
    trace_range(space, VMXC_TRACE_UNMAP, area->base, area->size, 0);
    trace_map(space, area);
    return VMXC_OK;
}

static struct vmxc_area linear_area(vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size,
                                    vmxc_map_flags flags)
{
    return (struct vmxc_area){
        .base = gpa, .size = size, .backend = &vmxc_backend_linear, .hpa = hpa, .flags = flags};
}

static struct vmxc_area alloc_area(vmxc_gpa_t gpa, uint64_t size, vmxc_map_flags flags, bool lazy)
{
    return (struct vmxc_area){.base = gpa,
                              .size = size,
                              .backend = &vmxc_backend_alloc,
                              .hpa = VMXC_AREA_NO_HPA,
                              .flags = flags,
                              .lazy = lazy};
}

enum vmxc_status vmxc_addrspace_map_linear(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                           vmxc_hpa_t hpa, uint64_t size, vmxc_map_flags flags)
{
    const struct vmxc_area area = linear_area(gpa, hpa, size, flags);

    return map_area(space, &area);
}

enum vmxc_status vmxc_addrspace_map_alloc(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                          uint64_t size, vmxc_map_flags flags, bool populate)
{
    const struct vmxc_area area = alloc_area(gpa, size, flags, !populate);

    return map_area(space, &area);
}

enum vmxc_status vmxc_addrspace_replace_linear(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                               vmxc_hpa_t hpa, uint64_t size, vmxc_map_flags flags)
{
    const struct vmxc_area area = linear_area(gpa, hpa, size, flags);

    return replace_area(space, &area);
}

enum vmxc_status vmxc_addrspace_replace_alloc(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                              uint64_t size, vmxc_map_flags flags, bool populate)
{
    const struct vmxc_area area = alloc_area(gpa, size, flags, !populate);

    return replace_area(space, &area);
}

/* ---- Unmap, protect, clear ---- */

enum vmxc_status vmxc_addrspace_unmap(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t size)
{
    struct vmxc_addrspace_release release = {.space = space};
    const vmxc_gpa_t end = gpa + size;

    VMXC_TRY(vmxc_addrspace_check_range(space, gpa, size));
    if (!vmxc_addrspace_first_area(space, gpa, end, &release.area))
        return VMXC_NOT_FOUND;
    const struct cuts cuts = find_cuts(space, gpa, end, &release.area);
    VMXC_TRY(reserve_cuts(space, &cuts));
    enum vmxc_status status =
        vmxc_ept_unmap(&space->ept, gpa, size, vmxc_addrspace_release_page, &release);
    if (status == VMXC_OK)
        status = cut(space, &cuts);
    if (status == VMXC_OK)
        status = erase_areas(space, gpa, end);
    vmxc_area_set_trim(&space->areas);
    VMXC_TRY(status);
    trace_range(space, VMXC_TRACE_UNMAP, gpa, size, 0);
    return VMXC_OK;
}

/* Errors: VMXC_NOT_FOUND unless areas follow one another without a hole from `first` on up to `end`. */
static enum vmxc_status check_covered(const struct vmxc_addrspace *space,
                                      const struct vmxc_area *first, vmxc_gpa_t end)
{
    struct vmxc_area area = *first;

    while (vmxc_area_end(&area) < end)
        VMXC_TRY(vmxc_area_set_find(&space->areas, vmxc_area_end(&area), &area));
    return VMXC_OK;
}

static enum vmxc_status record_flags(struct vmxc_addrspace *space, const struct cuts *cuts,
                                     vmxc_map_flags flags)
{
    struct vmxc_area area;

    VMXC_TRY(cut(space, cuts));
    for (vmxc_gpa_t gpa = cuts->gpa; gpa < cuts->end; gpa = vmxc_area_end(&area)) {
        VMXC_TRY(vmxc_area_set_find(&space->areas, gpa, &area));
        area.flags = flags;
        VMXC_TRY(vmxc_area_set_update(&space->areas, area.base, &area));
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_addrspace_protect(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t size,
                                        vmxc_map_flags flags)
{
    const vmxc_gpa_t end = gpa + size;
    struct vmxc_area first;
    uint64_t leaf = 0;

    VMXC_TRY(vmxc_addrspace_check_range(space, gpa, size));
    VMXC_TRY(vmxc_ept_encode(&space->ept, flags, &leaf));
    VMXC_TRY(vmxc_area_set_find(&space->areas, gpa, &first));
    VMXC_TRY(check_covered(space, &first, end));
    const struct cuts cuts = find_cuts(space, gpa, end, &first);
    VMXC_TRY(reserve_cuts(space, &cuts));
    enum vmxc_status status = vmxc_ept_protect(&space->ept, gpa, size, flags);
    if (status == VMXC_OK)
        status = record_flags(space, &cuts, flags);
    vmxc_area_set_trim(&space->areas);
    VMXC_TRY(status);
    trace_range(space, VMXC_TRACE_PROTECT, gpa, size, 0);
    return VMXC_OK;
}

/* No page crosses the ends of the space, so nothing is split and no memory is needed. */
enum vmxc_status vmxc_addrspace_clear(struct vmxc_addrspace *space)
{
    struct vmxc_addrspace_release release = {.space = space};

    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_BAD_STATE;
    VMXC_TRY(vmxc_ept_unmap(&space->ept, space->base, space->size, vmxc_addrspace_release_page,
                            &release));
    vmxc_area_set_fini(&space->areas);
    trace_range(space, VMXC_TRACE_UNMAP, space->base, space->size, 0);
    return VMXC_OK;
}
